"""`--timeout`: tests that take too long are ended from outside, whatever they are doing, and the rest is run."""

import pytest
from processes import Watched

ENDLESS = {
    "loop": "while True: pass",
    "deadlock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "loop in C": "sum(itertools.repeat(0))",
    "signals blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); signal.pause()",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "exceptions caught": """
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass""",
}

#: Ends soon, even where there is much else to do.
LIMIT = "--timeout=1.5"

OTHERS = "import pytest\n\n@pytest.mark.parametrize('n', range(10))\ndef test_other(n):\n    pass\n"


def suite(xdist, call="pass", setup="pass", teardown="pass"):
    xdist.files(
        test_a=f"""
        import itertools, os, signal, subprocess, sys, threading, time
        import pytest

        @pytest.fixture
        def fixture():
            {setup}
            yield
            {teardown}

        def test_hangs(fixture):
            {call}
        """,
        test_b=OTHERS,
    )


@pytest.mark.parametrize("code", ENDLESS)
def test_a_test_that_hangs_fails_and_the_others_are_run(xdist, code):
    suite(xdist, ENDLESS[code])
    result = xdist.run("-n2", LIMIT)
    assert (result.code, result.totals) == (1, {"failed": 1, "passed": 10}), result.text
    assert result.outcome_of["test_hangs"] == "failed"
    assert "timeout: ran for more than 1.5 s (in call)" in result.out


@pytest.mark.parametrize("code", ["loop in C", "deadlock"])
@pytest.mark.parametrize("args", [["-n1", "--start=spawn"], ["-n1", "--isolate"], ["-n2", "-s"]], ids=" ".join)
def test_it_does_so_however_the_worker_was_started(xdist, code, args):
    suite(xdist, ENDLESS[code])
    result = xdist.run(*args, LIMIT)
    assert (result.code, result.totals) == (1, {"failed": 1, "passed": 10}), result.text
    assert "in test_hangs" in result.out, "the stack"


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
def test_the_report_names_the_phase_and_shows_the_stack_and_the_last_words(xdist, phase):
    suite(xdist, **{phase: "os.write(2, b'the last words\\n'); time.sleep(600)"})
    result = xdist.run("-n1", LIMIT, "-s", "--junitxml=junit.xml")
    # What was reported before stands, as of a crash in teardown.
    assert result.totals == {"failed": 1, "passed": 11 if phase == "teardown" else 10}, result.text
    assert f"FAILED test_a.py::test_hangs - timeout: ran for more than 1.5 s (in {phase})" in result.out
    report = result.out.partition("FAILURES")[2]
    place = "test_hangs" if phase == "call" else "fixture"
    assert f"in {place}" in report and "the last words" in report
    assert "timeout: ran for more than 1.5 s" in (xdist.directory / "junit.xml").read_text()
    (crash,) = [event for event in result.events if event["$report_type"] == "Crashed"]
    assert (crash["when"], crash["timeout"]) == (phase, 1.5)
    assert crash["running"] >= 1.5


def test_no_worker_is_short_of_replacements_for_it(xdist):
    xdist.files(
        test_a="""
        import pytest

        @pytest.mark.parametrize("n", range(3))
        def test_hangs(n):
            while True:
                pass

        def test_passes():
            pass
        """
    )
    result = xdist.run("-n1", "--timeout=1", "--max-worker-restart=0")
    assert (result.code, result.totals) == (1, {"failed": 3, "passed": 1}), result.text
    assert "maximum crashed workers" not in result.text and "restarting disabled" not in result.text


def test_it_counts_as_a_failure(xdist):
    xdist.files(
        test_a="""
        def test_1():
            while True:
                pass

        def test_2():
            pass
        """
    )
    result = xdist.run("-n1", "-x", "--timeout=1")
    assert result.code == 2
    assert result.totals == {"failed": 1, "not run": 1}, result.text


def test_what_the_test_has_started_is_ended_with_it(xdist):
    suite(
        xdist,
        """
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            from signals_of_suite import signal as tell
            tell(child.pid)
            child.wait()""",
    )
    run = xdist.start("-n2", LIMIT)
    child = Watched(int(xdist.signals.next()))
    result = run.wait()
    assert result.totals == {"failed": 1, "passed": 10}, result.text
    assert child.gone_within(10)
    child.close()


def test_every_worker_has_its_own_limit_in_mode_each(xdist):
    suite(xdist, "while True: pass")
    result = xdist.run("-n2", "--dist=each", LIMIT)
    assert (result.code, result.totals) == (1, {"failed": 2, "passed": 20}), result.text


def test_tests_within_the_limit_are_left_alone(xdist):
    suite(xdist)
    for limit in ("--timeout=60", "--timeout=0", "--test-timeout=1h"):
        result = xdist.run("-n2", limit)
        assert (result.code, result.totals) == (0, {"passed": 11}), result.text


def test_the_limit_may_stand_in_the_configuration(xdist):
    suite(xdist, "while True: pass")
    xdist.ini("addopts = --timeout 1.5\n")
    assert xdist.run("-n1").totals == {"failed": 1, "passed": 10}


def test_without_workers_it_is_said_that_there_is_no_limit(xdist):
    suite(xdist)
    result = xdist.run("-n0", LIMIT)
    assert (result.code, result.totals) == (0, {"passed": 11})
    assert "the time limit of tests is not enforced without workers" in result.out


def test_pytest_timeouts_option_of_that_name_wins(xdist, plugins):
    suite(xdist, "time.sleep(600)")
    result = xdist.run("-n2", "--timeout=1", PYTHONPATH=plugins)
    assert (result.code, result.totals) == (1, {"failed": 1, "passed": 10}), result.text
    assert "from pytest-timeout" in result.out


def test_ours_has_another_name_where_pytest_timeout_is(xdist, plugins):
    suite(xdist, "sum(itertools.repeat(0))")
    result = xdist.run("-n2", "--test-timeout=1.5", "--timeout=1", PYTHONPATH=plugins)
    assert (result.code, result.totals) == (1, {"failed": 1, "passed": 10}), result.text
    assert "timeout: ran for more than 1.5 s (in call)" in result.out


def test_pytest_timeout_can_be_kept_away(xdist, plugins):
    suite(xdist, "sum(itertools.repeat(0))")
    result = xdist.run("-n2", "-p", "no:timeout", LIMIT, PYTHONPATH=plugins)
    assert "timeout: ran for more than 1.5 s (in call)" in result.out, result.text
