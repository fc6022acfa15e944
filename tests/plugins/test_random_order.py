"""pytest-random-order: every worker has the same order, which is the seed's."""

import re

import pytest
from doors import PLAIN
from test_randomly import ORDER, orders

TESTS = """
    import pytest

    @pytest.mark.parametrize("number", range(12))
    def test_number(number):
        assert number != 7
"""


@pytest.fixture
def ordered(suite):
    suite.file("test_one.py", TESTS)
    suite.file("test_two.py", TESTS)
    suite.file("conftest.py", ORDER)
    return suite


@pytest.mark.parametrize("bucket", ["module", "global", "none"])
def test_given_seed(ordered, bucket):
    args = (f"--random-order-bucket={bucket}", "--random-order-seed=4711")
    ordered.compare(*args, what=lambda run: (orders(run), run.lines("Using --random-order")))


def test_seed_of_the_run(ordered):
    for door in ordered.doors:
        run = ordered.run(door, "--random-order")
        seed = re.search(r"Using --random-order-seed=(\d+)", run.out)[1]
        plain = ordered.run(PLAIN, "--random-order", f"--random-order-seed={seed}", n=0)
        assert orders(run) == orders(plain), (run, plain)
