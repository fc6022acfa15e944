"""pytest-randomly: one seed for the whole run, the same order in every worker."""

import re

import pytest
from doors import PLAIN, check

# Every test writes what chance gave it.
CHANCE = """
    import pathlib
    import random

    import pytest

    # In any order, the same number for the same seed.
    @pytest.mark.parametrize("number", range(12))
    def test_chance(number):
        path = pathlib.Path(__file__).with_name(f"{number}.chance")
        path.write_text(str(random.random()))
"""
ORDER = """
    import pathlib

    def pytest_collection_finish(session):
        if session.items:
            name = getattr(session.config, "workerinput", {}).get("workerid", "plain")
            text = "\\n".join(item.nodeid for item in session.items)
            (pathlib.Path(__file__).with_name(f"{name}.order")).write_text(text)
"""


@pytest.fixture
def random_suite(make_suite):
    suite = make_suite(installed=True)
    suite.file("test_chance.py", CHANCE)
    return suite


def chances(run):
    """What each test drew."""
    return {name: run.read(name) for name in run.files("*.chance")}


def seed(run):
    """The seed in the header."""
    return re.search(r"Using --randomly-seed=(\d+)", run.out)[1]


def test_given_seed(random_suite):
    runs = random_suite.compare("--randomly-seed=4711", what=chances)
    plain = random_suite.run(PLAIN, "--randomly-seed=4711", n=0)
    check({"pytest-xdist": plain, **runs}, chances, "numbers without workers")
    assert {seed(run) for run in runs.values()} == {"4711"}


def test_order(random_suite):
    random_suite.file("conftest.py", ORDER)
    runs = random_suite.compare("--randomly-seed=4711", what=orders)
    plain = random_suite.run(PLAIN, "--randomly-seed=4711", n=0)
    assert {order for run in runs.values() for order in orders(run)} == set(orders(plain))


def orders(run):
    """The orders of collection, which is one."""
    found = sorted({run.read(name) for name in run.files("*.order")})
    assert len(found) == 1, run
    return found


def test_seed_of_the_run(random_suite):
    for door in random_suite.doors:
        run = random_suite.run(door)
        plain = random_suite.run(PLAIN, f"--randomly-seed={seed(run)}", n=0)
        assert chances(run) == chances(plain), (run, plain)


def test_last_seed(random_suite):
    for door in random_suite.doors:
        first = random_suite.run(door)
        again = random_suite.run(door, "--randomly-seed=last", keep=first.directory)
        assert seed(first) == seed(again) and chances(first) == chances(again), (first, again)


@pytest.mark.thorough
def test_switched_off(random_suite):
    random_suite.compare("-p", "no:randomly", what=lambda run: len(chances(run)))
