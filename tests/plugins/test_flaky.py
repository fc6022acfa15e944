"""flaky: runs tests again, and reports at the end what the workers had to say."""

import pytest
from doors import REFERENCE

TESTS = """
    import pytest
    from flaky import flaky

    counts = {}

    def count(name):
        counts[name] = counts.get(name, 0) + 1
        return counts[name]

    @flaky
    def test_second_time():
        assert count("second") == 2

    @flaky(max_runs=3, min_passes=2)
    def test_two_of_three():
        assert count("two") != 1

    @pytest.mark.flaky(max_runs=3)
    def test_never():
        assert False

    def test_without():
        pass

    @pytest.mark.parametrize("number", range(4))
    def test_ordinary(number):
        pass
"""


@pytest.fixture
def flaky_suite(suite):
    suite.file("test_flaky_ones.py", TESTS)
    return suite


def report(run):
    """What flaky says, in any order."""
    return run.lines(r"^test_\w+ (passed|failed)|Flaky Test Report|^test_\w+ \(\d")


@pytest.mark.parametrize("args", [(), ("--no-success-flaky-report",), ("--no-flaky-report",)], ids=" ".join)
def test_report(flaky_suite, args):
    runs = flaky_suite.compare(*args, what=report)
    if not args:
        assert any("test_second_time" in line for line in report(runs[REFERENCE])), runs[REFERENCE]


def test_forced(flaky_suite):
    flaky_suite.compare("--force-flaky", "--max-runs=3", what=report)
