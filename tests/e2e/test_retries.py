"""`--retries`: tests that fail run again, on another worker if there is one; those that pass then are flaky."""

import json
import re
from xml.etree import ElementTree

import pytest

DOORS = ("xdist run", "pytest -n")

#: Fails, or ends its process, as long as it was not run as often as it takes.
SUITE = """
    import os, signal, sys
    from pathlib import Path

    HERE = Path(__file__).parent

    def attempt(name):
        "The how-manieth attempt this is. One worker has a test at a time, so nobody else counts."
        file = HERE / f"attempts-{name}"
        with open(file, "a") as out:
            out.write(os.environ.get("PYTEST_XDIST_WORKER", "main") + "\\n")
        return len(file.read_text().splitlines())
"""

FLAKY = """
    from common import attempt

    def test_ok():
        pass

    def test_flaky():
        assert attempt("flaky") > 1, "not the first time"
"""

ALWAYS = """
    from common import attempt

    def test_always():
        attempt("always")
        assert False, "as ever"
"""


@pytest.fixture(params=DOORS)
def run(request, xdist):
    """Runs the suite through one of the doors."""
    xdist.files(common=SUITE)

    def through_the_door(*args, **env):
        start = xdist.start if request.param == "xdist run" else xdist.start_pytest
        return start(*args, **env).wait()

    return through_the_door


@pytest.fixture
def suite(xdist):
    xdist.files(common=SUITE)
    return xdist


def workers(xdist, name):
    """Where each attempt ran, in order."""
    return (xdist.directory / f"attempts-{name}").read_text().split()


@pytest.mark.parametrize("count", [1, 2])
def test_a_test_that_passes_in_the_end_has_passed_and_is_told_as_flaky(xdist, run, count):
    xdist.files(test_a=FLAKY)
    result = run(f"-n{count}", "--retries=2")
    assert result.code == 0, result.text
    assert (result.totals["passed"], result.totals["flaky"]) == (2, 1), result.text
    assert "failed" not in result.totals
    first, second = workers(xdist, "flaky")
    assert (first == second) == (count == 1)
    assert "= FLAKY =" in result.out and "_ test_flaky _" in result.out
    assert f"FLAKY test_a.py::test_flaky - passed after 1 retry ({first}: AssertionError: not " in result.out
    assert result.outcomes["test_a.py::test_flaky", "passed"] == 1
    assert result.outcomes["test_a.py::test_flaky", "rerun"] == 1


def test_what_passed_before_a_teardown_failed_does_not_count_twice(xdist, run):
    xdist.files(
        test_a="""
        import pathlib, pytest
        @pytest.fixture
        def thing():
            yield
            flag = pathlib.Path(__file__).with_name("flag")
            if not flag.exists():
                flag.touch()
                assert 0
        def test_a(thing): pass
        """
    )
    result = run("-n", "2", "--retries", "1")
    assert result.code == 0, result.text
    assert (result.totals["passed"], result.totals["flaky"]) == (1, 1)


def test_flaky_tests_fail_the_run_where_they_are_to(xdist, run):
    xdist.files(test_a=FLAKY)
    result = run("-n2", "--retries=1", "--flaky=fail")
    assert result.code == 1, result.text
    assert (result.totals["passed"], result.totals["flaky"]) == (2, 1)
    assert "! 1 flaky test (--flaky=fail) !" in result.out
    again = run("-n2", "--retries=1", "--flaky=fail")
    assert (again.code, again.totals) == (0, {"passed": 2}), again.text


def test_a_test_that_fails_every_time_has_failed_once(xdist, run):
    xdist.files(test_a=FLAKY, test_b=ALWAYS)
    result = run("-n2", "--retries=2")
    assert result.code == 1, result.text
    assert {name: result.totals[name] for name in ("failed", "passed", "flaky")} == {
        "failed": 1,
        "passed": 2,
        "flaky": 1,
    }
    assert len(workers(xdist, "always")) == 3
    assert result.out.count("FAILED test_b.py::test_always") == 1
    assert "FLAKY test_b.py" not in result.out


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGSEGV)"])
@pytest.mark.parametrize("args", [["-n1"], ["-n2"], ["-n2", "--isolate"], ["-n2", "--start=spawn"]], ids=" ".join)
def test_a_test_that_crashes_runs_again(xdist, run, end, args):
    xdist.files(
        test_a=f"""
        import os, signal
        from common import attempt

        def test_crash():
            if attempt("crash") == 1:
                {end}

        def test_ok():
            pass
        """
    )
    result = run(*args, "--retries=1")
    assert result.code == 0, result.text
    assert (result.totals["passed"], result.totals["flaky"]) == (2, 1)
    first, second = workers(xdist, "crash")
    assert first != second, "a worker that has crashed is replaced"
    cause = "exit code 3" if "exit" in end else "signal 11"
    assert f"FLAKY test_a.py::test_crash - passed after 1 retry ({first}: {cause}" in result.out
    assert result.out.count("node down") == 1


def test_a_crash_that_nobody_is_left_for_is_the_result(xdist, run):
    xdist.files(test_a="import os\n\ndef test_crash():\n    os._exit(3)\n")
    result = run("-n1", "--retries=3", "--max-worker-restart=0")
    assert result.code == 1, result.text
    assert result.totals["failed"] == 1 and "not run" not in result.text
    assert "flaky" not in result.totals
    assert result.out.count("node down") == 1


def test_a_test_that_takes_too_long_runs_again(suite):
    suite.files(
        test_a="""
        import threading
        from common import attempt

        def test_hangs():
            if attempt("hangs") == 1:
                threading.Event().wait()
        """
    )
    result = suite.run("-n1", "--retries=1", "--timeout=1.5")
    assert (result.code, result.totals) == (0, {"passed": 1, "flaky": 1}), result.text
    assert "(gw0: timeout: ran for m" in result.out


def test_only_the_last_failure_stops_the_run(xdist, run):
    xdist.files(test_a=FLAKY)
    assert run("-n1", "-x", "--retries=1").code == 0
    xdist.files(test_b=ALWAYS)
    result = run("-n1", "-x", "--retries=1")
    assert result.code == 2, result.text
    assert len(workers(xdist, "always")) == 2
    assert result.totals["failed"] == 1


def test_what_waits_when_the_run_stops_ends_with_its_last_failure(suite):
    suite.files(
        test_a="""
        import pytest
        from common import attempt

        def test_first():
            attempt("first")
            assert False, "first"

        def test_stops(request):
            request.session.shouldstop = "enough"
        """
    )
    result = suite.run("-n1", "--retries=1")
    assert (result.code, result.totals) == (2, {"failed": 1, "passed": 1}), result.text
    assert len(workers(suite, "first")) == 1
    assert "FAILED test_a.py::test_first - AssertionError: first" in result.out


@pytest.mark.parametrize("args", [["-n1"], ["-n0"], ["-n1", "--isolate"]], ids=" ".join)
def test_where_it_runs_again_on_the_same_worker_everything_is_set_up_anew(xdist, run, args):
    xdist.files(
        test_a="""
        import pytest
        from common import attempt

        @pytest.fixture(scope="session")
        def session():
            return attempt("session")

        @pytest.fixture(scope="module")
        def module(session):
            if attempt("module") == 1:
                raise OSError("not yet there")

        def test_one(module, record_property, capsys):
            record_property("attempt", attempt("one"))

        class TestUnit:
            def test_two(self, session):
                print("attempt", attempt("two"))
                assert session > 1
        """
    )
    result = run(*args, "--retries=2", "-rA")
    assert result.code == 0, result.text
    assert result.totals["passed"] == 2 and result.totals["flaky"] >= 1
    assert len(workers(xdist, "one")) == 1, "it did not come so far the first time"


def test_nothing_of_a_failure_is_left_in_the_reports_of_the_next_attempt(suite):
    suite.files(
        test_a="""
        from common import attempt

        def test_it(record_property):
            number = attempt("it")
            record_property("attempt", number)
            print(f"this is attempt {number}")
            assert number > 2
        """
    )
    result = suite.run("-n1", "--retries=2", "-rP")
    calls = [event for event in result.events if event.get("when") == "call"]
    assert [(call["attempt"], call["outcome"]) for call in calls] == [(1, "rerun"), (2, "rerun"), (3, "passed")]
    for number, call in enumerate(calls, 1):
        assert call["user_properties"] == [["attempt", number]]
        assert call["sections"] == [["Captured stdout call", f"this is attempt {number}\n"]]


def test_in_mode_each_it_runs_again_where_it_failed(suite):
    suite.files(
        test_a="""
        import os
        from common import attempt

        def test_it(worker_id):
            assert attempt(worker_id) > 1
        """
    )
    result = suite.run("-n2", "--dist=each", "--retries=1")
    assert (result.code, result.totals) == (0, {"passed": 2, "flaky": 2}), result.text


@pytest.mark.parametrize("mode", ["loadscope", "loadgroup", "loadfile"])
def test_where_units_stay_together_only_the_item_moves(suite, mode):
    suite.files(
        test_a="""
        import pytest
        from common import attempt

        pytestmark = pytest.mark.xdist_group("one")

        def test_flaky():
            assert attempt("flaky") > 1

        @pytest.mark.parametrize("n", range(3))
        def test_other(n):
            attempt("other")
        """,
        test_b="def test_b():\n    pass\n",
    )
    result = suite.run("-n2", "--dist", mode, "--retries=1")
    assert (result.code, result.totals) == (0, {"passed": 5, "flaky": 1}), result.text
    first, second = workers(suite, "flaky")
    assert first != second
    assert set(workers(suite, "other")) == {first}


def test_an_unexpected_pass_that_is_a_failure_runs_again(suite):
    suite.files(
        test_a="""
        import pytest
        from common import attempt

        @pytest.mark.xfail(strict=True)
        def test_it():
            assert attempt("it") == 1
        """
    )
    result = suite.run("-n1", "--retries=1")
    assert (result.code, result.totals) == (0, {"xfailed": 1, "flaky": 1}), result.text
    assert "FLAKY test_a.py::test_it - skipped after 1 retry" in result.out


def test_collection_is_not_tried_again(suite):
    suite.files(test_a="from common import attempt\nattempt('import')\nassert False\n", test_b="def test(): pass\n")
    result = suite.run("-n1", "--retries=2")
    assert (result.code, result.totals) == (1, {"passed": 1, "error": 1}), result.text
    assert len(workers(suite, "import")) == 1


def test_lines_and_letters(xdist, run):
    xdist.files(test_a=FLAKY)
    assert re.search(r"^[.R]*R[.R]* +\[100%\]$", run("-n1", "--retries=2").out, re.MULTILINE)
    (xdist.directory / "attempts-flaky").unlink()
    out = run("-n1", "--retries=2", "-v").out
    assert re.search(r"^\[gw0\] \[ *\d+%\] (RETRY 1/2|RERUN) test_a.py::test_flaky", out, re.MULTILINE), out


def test_reports_tell_every_attempt(suite):
    suite.files(test_a=FLAKY, test_b=ALWAYS)
    result = suite.run("-n1", "--retries=1", "--junitxml=junit.xml")
    cases = {case.get("name"): case for case in ElementTree.parse(suite.directory / "junit.xml").iter("testcase")}
    assert [child.tag for child in cases["test_flaky"]] == ["flakyFailure"]
    assert [child.tag for child in cases["test_always"]] == ["failure", "rerunFailure"]
    assert "not the first time" in cases["test_flaky"].find("flakyFailure/stackTrace").text
    retried = [event for event in result.events if event["$report_type"] == "ItemRetried"]
    assert [(event["nodeid"], event["retry"], event["retries"]) for event in retried] == [
        ("test_a.py::test_flaky", 1, 1),
        ("test_b.py::test_always", 1, 1),
    ]
    assert result.events[-1]["flaky"] == 1 and result.events[-1]["failed"] == 1


def test_flaky_tests_are_not_among_those_that_failed_last(xdist, run):
    xdist.files(test_a=FLAKY, test_b=ALWAYS)
    run("-n2", "--retries=1")
    cache = json.loads((xdist.directory / ".pytest_cache" / "v" / "cache" / "lastfailed").read_text())
    assert cache == {"test_b.py::test_always": True}


def test_it_may_stand_in_the_configuration(xdist, run):
    xdist.ini("addopts = --retries 1 --flaky fail")
    xdist.files(test_a=FLAKY)
    assert run("-n2").code == 1
    assert run("-n2", "--flaky=pass").code == 0
    (xdist.directory / "attempts-flaky").unlink()
    assert run("-n2", "--flaky=pass").code == 0
    (xdist.directory / "attempts-flaky").unlink()
    assert run("-n2", "--retries=0").code == 1


def test_another_plugins_options_are_left_to_it(xdist, run):
    xdist.files(
        conftest="""
        def pytest_addoption(parser):
            parser.addoption("--retries", type=int, default=0)
            parser.addoption("--flaky", action="store_true")
        """,
        test_a=FLAKY,
    )
    assert run("-n2", "--retries=1", "--flaky").code == 1
    (xdist.directory / "attempts-flaky").unlink()
    assert run("-n2", "--test-retries=1").code == 0
    (xdist.directory / "attempts-flaky").unlink()
    assert run("-n2", "--test-retries=1", "--test-flaky=fail").code == 1


def test_a_scheduler_of_ones_own_does_not_know_of_it(suite):
    suite.files(
        conftest="""
        from xdist.scheduler import LoadScheduling

        def pytest_xdist_make_scheduler(config, log):
            return LoadScheduling(config, log)
        """,
        test_a=FLAKY,
    )
    result = suite.run("-n2", "--retries=1")
    assert result.code == 4, result.text
    assert "--retries does not go together with a scheduler of your own" in result.text


@pytest.mark.parametrize("args", [["--retries=-1"], ["--retries=many"], ["--flaky=maybe"]])
def test_values_that_make_no_sense_are_refused(suite, args):
    suite.files(test_a=FLAKY)
    result = suite.run("-n2", *args)
    assert result.code == 4 and args[0].partition("=")[2].strip("-") in result.text, result.text


def test_plugins_see_attempts_as_reruns(xdist, run):
    xdist.files(
        conftest="""
        def pytest_runtest_logreport(report):
            if hasattr(report, "node") and report.when == "call":
                print("seen", report.outcome, getattr(report, "rerun", None), report.worker_id)

        def pytest_testnodedown(node, error):
            pass
        """,
        test_a=FLAKY,
    )
    result = run("-n1", "--retries=1", "-s", "-k", "flaky")
    assert re.findall(r"seen (\w+) (\w+) gw0", result.out) == [("rerun", "0"), ("passed", "None")], result.text
    assert (result.totals["rerun"], result.totals["flaky"]) == (1, 1)


@pytest.mark.parametrize("reruns", [0, 1])
def test_a_plugin_that_judges_crashes_is_asked_first_and_knows_when_it_is_enough(xdist, run, reruns):
    xdist.files(
        conftest=f"""
        asked = []

        def pytest_handlecrashitem(crashitem, report, sched):
            asked.append(crashitem)
            if len(asked) <= {reruns}:
                report.outcome = "rerun"
                sched.mark_test_pending(crashitem)

        def pytest_terminal_summary(terminalreporter):
            if asked:
                terminalreporter.write_line(f"asked {{len(asked)}} times")
        """,
        test_a="""
        import os
        from common import attempt

        def test_crash():
            if attempt("crash") < 3:
                os._exit(3)
        """,
    )
    result = run("-n1", "--retries=2")
    assert "asked 2 times" in result.out, result.text
    if reruns:
        # It has had the test run again, and does not want it once more.
        assert (result.code, result.totals["failed"], result.totals["rerun"]) == (1, 1, 1), result.text
    else:
        assert (result.code, result.totals["passed"], result.totals["flaky"]) == (0, 1, 1), result.text
        assert "passed after 2 retries (gw0: exit code 3)" in result.out
