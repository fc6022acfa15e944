"""pytest-benchmark: does not measure where tests run beside each other, and says so."""

import pytest
from doors import PLAIN, REFERENCE, RUN

TESTS = """
    import pytest

    @pytest.mark.parametrize("number", range(4))
    def test_speed(benchmark, number):
        assert benchmark(lambda: number + 1) == number + 1

    def test_without():
        pass
"""


@pytest.fixture
def measured(suite):
    suite.file("test_speed.py", TESTS)
    return suite


def test_is_switched_off(measured):
    measured.compare(what=lambda run: run.lines("benchmark:|Name .time in"))
    runs = [measured.run(door, n=1) for door in (REFERENCE, *measured.doors)]
    assert all(warnings(run) for run in runs), runs


def warnings(run):
    """Whether there is one. By whom depends on who is the first to have a benchmark."""
    return "Benchmarks are automatically disabled" in run.err


def test_without_warning(measured):
    measured.compare("--benchmark-disable", what=warnings)


def test_skipped(measured):
    measured.compare("--benchmark-skip")


def test_measures_in_one_process(measured):
    run = measured.run(RUN, "--benchmark-min-rounds=2", "--benchmark-max-time=0.01", n=0)
    plain = measured.run(PLAIN, "--benchmark-min-rounds=2", "--benchmark-max-time=0.01", n=0)
    assert len(run.lines(r"^test_speed\[\d\] ")) == len(plain.lines(r"^test_speed\[\d\] ")) == 4, (run, plain)
