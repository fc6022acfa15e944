"""pytest-rerunfailures: failed tests are run again, and those whose process died too."""

import pytest
from doors import REFERENCE
from suites_for_plugins import OUTCOMES

# Every attempt leaves a mark in a file, so that it is known how many there were.
ATTEMPTS = """
    import os
    import pathlib

    import pytest

    def attempt(name):
        with open(pathlib.Path(__file__).with_name(name + ".attempts"), "a+") as file:
            file.write("x")
            file.flush()
            file.seek(0)
            return len(file.read())
"""
FLAKY = """
    import os

    import pytest
    from attempts import attempt

    def test_passes():
        assert attempt("passes") == 1

    def test_passes_the_third_time():
        assert attempt("third") == 3

    def test_never_passes():
        attempt("never")
        assert False, "as always"

    @pytest.mark.flaky(reruns=1)
    def test_marked():
        assert attempt("marked") == 2

    @pytest.fixture
    def flaky_fixture():
        assert attempt("fixture") == 2

    def test_setup_fails_once(flaky_fixture):
        pass

    @pytest.fixture
    def flaky_end():
        yield
        assert attempt("end") == 2

    def test_teardown_fails_once(flaky_end):
        pass

    class Special(Exception):
        pass

    def test_special():
        if attempt("special") < 2:
            raise Special("try again")

    def test_ordinary():
        if attempt("ordinary") < 2:
            raise ValueError("do not try again")
"""
CRASHES = """
    import os
    import time

    import pytest
    from attempts import attempt

    def crash():
        # The plugin has told the controller how often the test may be run, and waits for no answer. Under pytest-xdist a
        # crash that is told before that has arrived is not made good.
        time.sleep(0.3)
        os._exit(1)

    def test_before():
        pass

    def test_crashes_once():
        if attempt("crash") == 1:
            crash()

    def test_between():
        pass

    def test_crashes_always():
        attempt("always")
        crash()

    def test_fails_then_crashes_then_passes():
        number = attempt("mixed")
        if number == 2:
            crash()
        assert number > 2
"""
PYTHONPATH = "pythonpath = .\n"


@pytest.fixture
def flaky(make_suite):
    suite = make_suite(installed=True)
    suite.ini(PYTHONPATH)
    suite.file("attempts.py", ATTEMPTS)
    suite.file("test_flaky.py", FLAKY)
    return suite


def attempts(run):
    """How often each test was begun, and what is said of it in the end."""
    begun = {name: len(run.read(name)) for name in run.files("*.attempts")}
    return begun, run.lines(r"^(RERUN|FAILED|ERROR) ")


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--reruns=3",),
        ("--reruns=2", "--only-rerun=Special"),
        pytest.param(("--reruns=2", "--rerun-except=ValueError"), marks=pytest.mark.thorough),
        pytest.param(("--reruns=2", "--reruns-delay=0.01"), marks=pytest.mark.thorough),
    ],
    ids=" ".join,
)
def test_failures(flaky, args):
    runs = flaky.compare(*args, "-rfER", what=attempts)
    if args == ("--reruns=3",):
        assert runs[REFERENCE].counts == {"failed": 1, "passed": 8, "rerun": 10}, runs[REFERENCE]


@pytest.mark.thorough
def test_limit_for_the_run(flaky):
    # Which tests are run again is up to chance; how often that happens is not.
    for door in (REFERENCE, *flaky.doors):
        run = flaky.run(door, "--reruns=3", "--max-suite-reruns=2")
        assert run.counts["rerun"] == 2 and run.code == 1, run


@pytest.mark.parametrize("reruns", [1, 2])
def test_crashes(flaky, reruns):
    flaky.file("test_crashes.py", CRASHES)
    runs = flaky.compare(f"--reruns={reruns}", "-rfER", "--max-worker-restart=20", what=attempts)
    assert attempts(runs[REFERENCE])[0]["always.attempts"] == reruns + 1, runs[REFERENCE]


def test_retries_of_ours_do_not_make_a_test_pass_that_always_crashes(flaky):
    flaky.file("test_crashes.py", CRASHES)
    for door in flaky.doors:
        run = flaky.run(door, "--reruns=1", "--retries=1", "--max-worker-restart=20", "-k", "always")
        assert (run.code, run.counts["failed"]) == (1, 1), run


@pytest.mark.thorough
def test_crashes_that_are_not_retried(flaky):
    flaky.file("test_crashes.py", CRASHES)
    flaky.compare("-rfER", what=attempts)


@pytest.mark.thorough
def test_other_outcomes(flaky):
    flaky.file("test_outcomes.py", OUTCOMES)
    flaky.compare("--reruns=1", "-rfER", "-k", "test_outcomes", what=attempts)
