"""pytest-timeout: by a signal, which fails the test, and by a thread, which ends the process."""

import pytest

TESTS = """
    import time

    import pytest

    @pytest.mark.timeout(30)
    def test_quick():
        pass

    def test_slow():
        print("begun")
        time.sleep(60)

    @pytest.mark.timeout(30)
    def test_with_a_mark():
        time.sleep(0.2)

    @pytest.mark.timeout(30)
    def test_also_quick():
        pass
"""
SLOW_FIXTURE = """
    import time

    import pytest

    @pytest.fixture
    def slow():
        time.sleep(60)

    def test_slow_setup(slow):
        pass

    @pytest.fixture
    def slow_end():
        yield
        time.sleep(60)

    def test_slow_teardown(slow_end):
        pass
"""


@pytest.fixture
def timed(suite):
    suite.file("test_slow.py", TESTS)
    return suite


def test_signal(timed):
    timed.file("test_fixture.py", SLOW_FIXTURE)
    timed.compare(
        "--timeout=0.5",
        "--timeout-method=signal",
        what=lambda run: run.lines("^(FAILED|ERROR)|^E +Failed: Timeout|^timeout"),
    )


def test_thread(timed):
    runs = timed.compare("--timeout=0.5", "--timeout-method=thread", what=lambda run: run.lines("^FAILED"))
    assert all(run.counts == {"failed": 1, "passed": 3} for run in runs.values()), runs
    # The stacks that pytest-timeout writes stand in our report of the crash.
    for door in timed.doors:
        assert "+++ Timeout +++" in runs[door].out + runs[door].err, runs[door]


def test_session(timed):
    timed.compare(
        "--session-timeout=0.3", "--timeout=20", "--deselect=test_slow.py::test_slow", what=lambda run: run.code
    )
