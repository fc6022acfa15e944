"""Ctrl-C, SIGTERM, and a coordinator that is killed."""

import signal

import pytest
from conftest import DEADLINE
from processes import Watched

SUITE = """
import os, subprocess, sys, time
import pytest

def test_quick():
    pass

@pytest.fixture
def fixture():
    yield
    signal("teardown")

def test_slow(fixture):
    signal(f"running {os.getpid()}")
    time.sleep(600)
"""


def await_running(xdist) -> int:
    word, pid = xdist.signals.next().split()
    assert word == "running"
    return int(pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_lets_teardown_run_and_prints_the_summary(xdist, number):
    xdist.files(test_a=SUITE)
    run = xdist.start("-n1")
    await_running(xdist)
    run.signal(number)
    result = run.wait()
    assert xdist.signals.next() == "teardown"
    assert result.code == 2, result.text
    assert result.totals["passed"] == 1


def test_twice_ends_at_once(xdist):
    xdist.files(
        test_a="""
        import os, time
        import pytest

        @pytest.fixture
        def fixture():
            yield
            signal("teardown")
            time.sleep(600)

        def test_slow(fixture):
            signal(f"running {os.getpid()}")
            time.sleep(600)
        """
    )
    run = xdist.start("-n1")
    runner = Watched(await_running(xdist))
    run.signal(signal.SIGINT)
    assert xdist.signals.next() == "teardown"
    run.signal(signal.SIGINT)
    assert run.wait().code == 2
    assert runner.gone_within(DEADLINE)
    runner.close()


def test_a_test_that_ignores_interrupts_does_not_outlive_the_second(xdist):
    xdist.files(
        test_a="""
        import os, time

        def test_stubborn():
            word = f"running {os.getpid()}"
            while True:
                try:
                    signal(word)
                    time.sleep(600)
                except KeyboardInterrupt:
                    word = "ignored"
        """
    )
    run = xdist.start("-n1")
    runner = Watched(await_running(xdist))
    run.signal(signal.SIGINT)
    assert xdist.signals.next() == "ignored"
    run.signal(signal.SIGINT)
    assert run.wait().code == 2
    assert runner.gone_within(DEADLINE)
    runner.close()


def test_sigkill_of_the_coordinator_leaves_nothing_alive(xdist):
    xdist.files(
        test_a="""
        import os, subprocess, sys, time
        import pytest

        @pytest.mark.parametrize("n", range(2))
        def test_slow(n):
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            signal(f"{os.getpid()} {os.getppid()} {child.pid}")
            time.sleep(600)
        """
    )
    run = xdist.start("-n2")
    pids = {int(pid) for _ in range(2) for pid in xdist.signals.next().split()}
    assert len(pids) == 5, "two runners with a child each, and their host"
    watched = [Watched(pid) for pid in sorted(pids)]
    run.signal(signal.SIGKILL)
    alive = [process.pid for process in watched if not process.gone_within(DEADLINE)]
    for process in watched:
        process.close()
    run.popen.communicate(timeout=DEADLINE)
    assert not alive
