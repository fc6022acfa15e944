"""Test processes that die: the right test and phase are blamed, the rest is run, nothing hangs."""

import platform
import re

import pytest
from conftest import DEADLINE
from processes import Watched

DEATHS = {
    "segfault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "exit": ("import os; os._exit(7)", "exit code 7"),
    "kill": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    "abort": ("import os; os.abort()", "SIGABRT"),
}

OTHERS = "import pytest\n\n@pytest.mark.parametrize('n', range(10))\ndef test_other(n):\n    pass\n"


@pytest.fixture(params=DEATHS)
def death(request):
    return DEATHS[request.param]


def crash_report(out: str) -> str:
    """What the failure section says of the crash."""
    return out.partition("crashed while running")[2].partition("short test summary")[0]


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
def test_the_right_test_and_phase_are_blamed(xdist, death, phase):
    code, cause = death
    bodies = {when: code if when == phase else "pass" for when in ("setup", "call", "teardown")}
    xdist.files(
        test_a=f"""
        import pytest

        @pytest.fixture
        def fixture():
            {bodies["setup"]}
            yield
            {bodies["teardown"]}

        def test_dies(fixture):
            {bodies["call"]}
        """,
        test_b=OTHERS,
    )
    result = xdist.run("-n2", "-rf")
    assert result.code == 1, result.text
    # What is reported before the process dies stands, as in pytest-xdist.
    assert result.totals == {"failed": 1, "passed": 11 if phase == "teardown" else 10}, result.text
    assert result.outcome_of["test_dies"] == "failed"
    assert "crashed while running 'test_a.py::test_dies'" in result.out
    assert cause in result.out
    assert phase in crash_report(result.out), result.out


@pytest.mark.parametrize(
    ("setup", "call", "counts"),
    [
        ("", "assert 0, 'why'", {"failed": 2}),
        ("", "pytest.skip('why')", {"failed": 1, "skipped": 1}),
        ("", "pytest.xfail('why')", {"failed": 1, "xfailed": 1}),
        ("raise ValueError('why')", "pass", {"failed": 1, "error": 1}),
    ],
)
def test_what_was_reported_before_a_death_in_teardown_is_shown_and_counted(xdist, setup, call, counts):
    xdist.files(
        test_a=f"""
        import os, pytest

        @pytest.fixture
        def deadly():
            yield
            os._exit(7)

        @pytest.fixture
        def fixture(deadly):
            {setup or "pass"}

        def test_dies(fixture):
            {call}
        """
    )
    result = xdist.run("-n1", "-rA", "--junitxml=junit.xml")
    assert (result.code, result.totals) == (1, counts), result.text
    assert "why" in result.out
    assert "crashed while running 'test_a.py::test_dies'" in result.out
    junit = (xdist.directory / "junit.xml").read_text()
    assert "why" in junit and "crashed while running" in junit


def test_the_report_shows_the_stack_and_the_last_words(xdist):
    xdist.files(
        test_a="""
        import ctypes, os

        def descend():
            ctypes.string_at(0)

        def test_dies():
            os.write(2, b"the last words\\n")
            descend()
        """
    )
    result = xdist.run("-n1", "-s")
    assert result.code == 1
    assert "in descend" in result.out, "faulthandler's stack"
    assert "the last words" in result.text


@pytest.mark.parametrize("args", [[], ["--pytest-host=always"]], ids=["here", "pytest host"])
def test_the_line_of_the_death_tells_who_and_where_and_for_how_long(xdist, args):
    xdist.files(
        test_a="""
        import os, pytest

        @pytest.fixture
        def fixture():
            signal(os.getpid())
            os._exit(7)

        def test_dies(fixture):
            pass
        """
    )
    result = xdist.run("-n1", *args)
    pid, host = xdist.signals.next(), re.escape(platform.node())
    line = rf"\[gw0\] node down: exit code 7, in setup of test_a.py::test_dies, after [\d.]+m?s \(pid {pid} on {host}\)"
    assert re.search(f"^{line}$", result.out, re.M), result.out
    assert f"(pid {pid} on {platform.node()}, peak memory " in crash_report(result.out), result.out
    (crash,) = [event for event in result.events if event["$report_type"] == "Crashed"]
    assert (crash["worker_id"], crash["pid"], crash["host"]) == ("gw0", int(pid), platform.node())


def test_death_at_import_of_a_test_module(xdist):
    xdist.files(test_a="import os\nos._exit(5)\n")
    result = xdist.run("-n2")
    assert result.code == 3, result.text
    assert "exit code 5" in result.text


def test_a_conftest_that_crashes_at_import_is_shown_by_its_stack(xdist):
    xdist.files(conftest="import os\n\ndef fall():\n    os.abort()\n\nfall()\n", test_a="def test(): pass")
    result = xdist.run("-n2")
    assert result.code == 3, result.text
    assert "in fall" in result.text


def test_death_between_tests_blames_no_test_that_did_not_run(xdist):
    xdist.files(
        conftest="""
        import os

        def pytest_runtest_logfinish(nodeid):
            # Not in the pytest host, where this hook is called too.
            if nodeid.endswith("test_first") and "PYTEST_XDIST_WORKER" in os.environ:
                os._exit(6)
        """,
        test_a="def test_first():\n    pass\n\ndef test_second():\n    pass\n\ndef test_third():\n    pass\n",
    )
    result = xdist.run("-n1")
    assert "exit code 6" in result.text
    assert result.code == 1
    assert result.outcome_of["test_second"] == result.outcome_of["test_third"] == "passed"


def test_a_test_that_closes_every_descriptor_is_blamed_and_not_run_again(xdist):
    xdist.files(
        test_a="""
        import os

        def test_closes():
            signal("closes")
            os.closerange(3, 1000)
            signal("closed")

        def test_other():
            signal("other")
        """
    )
    result = xdist.run("-n1")
    assert (result.code, result.totals) == (1, {"failed": 1, "passed": 1}), result.text
    assert "crashed while running 'test_a.py::test_closes'" in result.out
    assert [xdist.signals.next() for _ in range(3)] == ["closes", "closed", "other"]


@pytest.mark.parametrize("mode", ["load", "loadscope", "loadfile", "loadgroup", "worksteal"])
@pytest.mark.parametrize("workers", [1, 2])
def test_finished_tests_are_not_run_again(xdist, mode, workers):
    xdist.files(
        test_a="import os\n\ndef test_1():\n    signal('1')\n\ndef test_2():\n    os._exit(1)\n\ndef test_3():\n    signal('3')\n"
    )
    result = xdist.run(f"-n{workers}", f"--dist={mode}")
    assert (result.code, result.totals) == (1, {"failed": 1, "passed": 2}), result.text
    assert sorted(xdist.signals.next() for _ in range(2)) == ["1", "3"]


def test_each_counts_every_workers_crash(xdist):
    xdist.files(
        test_a="import os\n\ndef test_1():\n    pass\n\ndef test_2():\n    os._exit(1)\n\ndef test_3():\n    pass\n"
    )
    result = xdist.run("-n2", "--dist=each")
    assert (result.code, result.totals) == (1, {"failed": 2, "passed": 4}), result.text


def test_no_replacement(xdist):
    xdist.files(
        test_a="import os\n\ndef test_1():\n    os._exit(1)\n\ndef test_2():\n    os._exit(1)\n\ndef test_3():\n    pass\n"
    )
    result = xdist.run("-n1", "--max-worker-restart=0")
    assert result.code == 1
    assert result.totals["failed"] == 1
    assert "not run" in result.out, "what was left is accounted for"


def test_restart_limit(xdist):
    xdist.files(
        test_a="import os, pytest\n\n@pytest.mark.parametrize('n', range(20))\ndef test_dies(n):\n    os._exit(1)\n"
    )
    result = xdist.run("-n2", "--max-worker-restart=2")
    assert result.code == 1
    assert "maximum crashed workers reached: 2" in result.out
    assert 3 <= result.totals["failed"] <= 4


def test_a_grandchild_that_holds_the_pipes_holds_nothing_up(xdist):
    xdist.files(
        test_a="""
        import os, subprocess, sys, time

        def test_leaks():
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            signal(child.pid)
            while not os.path.exists("go"):
                time.sleep(0.01)
            os._exit(3)
        """,
        test_b=OTHERS,
    )
    run = xdist.start("-n2")
    leaked = Watched(int(xdist.signals.next()))
    (xdist.directory / "go").touch()
    result = run.wait()
    assert result.totals == {"failed": 1, "passed": 10}, result.text
    assert leaked.gone_within(DEADLINE)
    leaked.close()
