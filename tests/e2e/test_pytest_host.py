"""What plugins and conftests do on the coordinator's side, through both doors: `xdist run` and `pytest -n`."""

import os
import signal

import pytest
from conftest import DEADLINE
from processes import Watched

DOORS = ("xdist run", "pytest -n")


@pytest.fixture(params=DOORS)
def run(request, xdist):
    """Runs the suite through one of the doors."""

    def through_the_door(*args, **env):
        start = xdist.start if request.param == "xdist run" else xdist.start_pytest
        return start(*args, **env).wait()

    return through_the_door


EXCHANGE = """
    def pytest_configure_node(node):
        node.workerinput["mine"] = (node.gateway.id, {1, 2}, b"\\xff", 1 << 80, node.config.option.numprocesses)

    def pytest_testnodedown(node, error):
        print("down", node.gateway.id, error, node.workeroutput["back"])

    def pytest_sessionfinish(session):
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["back"] = ("bye", session.config.workerinput["workerid"])
"""


def test_data_goes_to_workers_and_back_with_its_types(xdist, run):
    xdist.files(
        conftest=EXCHANGE,
        test_a="""
        import pytest

        @pytest.mark.parametrize("n", range(6))
        def test_it(pytestconfig, worker_id, n):
            name, numbers, data, big, count = pytestconfig.workerinput["mine"]
            assert type(pytestconfig.workerinput["mine"]) is tuple
            assert (name, numbers, data, big, count) == (worker_id, {1, 2}, b"\\xff", 1 << 80, 2)
        """,
    )
    result = run("-n2")
    assert (result.code, result.totals) == (0, {"passed": 6}), result.text
    for worker in ("gw0", "gw1"):
        assert f"down {worker} None ('bye', '{worker}')" in result.out


def test_hooks_come_in_the_order_of_pytest_xdist(xdist, run):
    xdist.files(
        conftest="""
        import pytest

        def _tell(name):
            def hook(**_):
                print("hook", name)
            return hook

        def pytest_xdist_setupnodes(config, specs):
            print("hook setupnodes", len(specs))

        def pytest_xdist_newgateway(gateway):
            print("hook newgateway", gateway.id, gateway.spec.popen)

        def pytest_configure_node(node):
            print("hook configure_node", sorted(node.workerinput))

        def pytest_testnodeready(node):
            print("hook testnodeready", node.workerinfo["id"], node.gateway._rinfo().executable != "")

        def pytest_xdist_node_collection_finished(node, ids):
            print("hook collection_finished", ids)

        def pytest_runtest_logstart(nodeid, location):
            print("hook logstart", nodeid, location)

        def pytest_runtest_logreport(report):
            if hasattr(report, "node"):
                print("hook report", report.when, report.worker_id, report.item_index, report.node.gateway.id)

        def pytest_runtest_logfinish(nodeid, location):
            print("hook logfinish", nodeid)

        def pytest_testnodedown(node, error):
            print("hook testnodedown", error, node.workeroutput["exitstatus"])

        def pytest_terminal_summary(terminalreporter):
            print("hook summary")
        """,
        test_a="def test_it():\n    pass\n",
    )
    result = run("-n1")
    told = [line[line.index("hook ") + 5 :] for line in result.out.splitlines() if "hook " in line]
    assert told == [
        "setupnodes 1",
        "newgateway gw0 True",
        "configure_node ['mainargv', 'testrunuid', 'workercount', 'workerid']",
        "testnodeready gw0 True",
        "collection_finished ['test_a.py::test_it']",
        "logstart test_a.py::test_it ('test_a.py', 1, 'test_it')",
        "report setup gw0 0 gw0",
        "report call gw0 0 gw0",
        "report teardown gw0 0 gw0",
        "logfinish test_a.py::test_it",
        "testnodedown None 0",
        "summary",
    ], result.text


def test_a_crashed_test_can_be_run_again(xdist, run):
    xdist.files(
        conftest="""
        def pytest_testnodedown(node, error):
            print("down", error)

        def pytest_handlecrashitem(crashitem, report, sched):
            print("crashed", crashitem, report.outcome)
            if not hasattr(sched.config, "once"):
                sched.config.once = True
                sched.mark_test_pending(crashitem)
                report.outcome = "skipped"
                report.longrepr = ("there", 1, "once more")
        """,
        test_a="""
        import os

        def test_crash(tmp_path_factory):
            flag = tmp_path_factory.getbasetemp().parent / "flag"
            if not flag.exists():
                flag.touch()
                os._exit(7)

        def test_ok():
            pass
        """,
    )
    result = run("-n2")
    assert (result.code, result.totals) == (0, {"passed": 2, "skipped": 1}), result.text
    assert result.out.index("down exit code 7") < result.out.index("crashed test_a.py::test_crash failed")


def test_a_crash_is_told_with_all_that_is_known(xdist, run):
    xdist.files(
        conftest="def pytest_testnodedown(node, error):\n    print('down', error)\n",
        test_a="import os\n\ndef test_crash():\n    os._exit(7)\n\ndef test_ok():\n    pass\n",
    )
    result = run("-n1")
    assert (result.code, result.totals) == (1, {"passed": 1, "failed": 1}), result.text
    assert "worker 'gw0' crashed while running 'test_a.py::test_crash'" in result.out
    assert "in call, after" in result.out and "exit code 7" in result.out
    assert "replacing crashed worker gw0" in result.out


def scheduler(body, base="LoadScopeScheduling"):
    """A conftest with a scheduler of its own."""
    return f"""
    from xdist.scheduler import {base}

    class Own({base}):
        {body}

    def pytest_xdist_make_scheduler(config, log):
        return Own(config, log)
    """


def test_a_scheduler_written_in_python_decides(xdist, run):
    xdist.files(
        conftest=scheduler("_split_scope = lambda self, nodeid: nodeid.partition('[')[2][0]"),
        test_a="""
        import pytest

        @pytest.mark.parametrize("key", ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"])
        def test_it(key, worker_id):
            signal(f"{key[0]} {worker_id}")
        """,
    )
    result = run("-n3", "-v")
    assert (result.code, result.totals) == (0, {"passed": 9}), result.text
    assert "scheduling tests via Own" in result.out
    seen = {xdist.signals.next() for _ in range(9)}
    assert len(seen) == 3, f"each group runs on one worker: {seen}"


@pytest.mark.parametrize("mode", ["Load", "WorkStealing", "LoadScope", "LoadFile", "LoadGroup"])
@pytest.mark.parametrize("workers", [1, 3])
def test_every_scheduler_survives_a_crash(xdist, mode, workers):
    xdist.files(
        conftest=scheduler("pass", f"{mode}Scheduling"),
        test_a="""
        import os
        import pytest

        @pytest.mark.parametrize("n", range(20))
        def test_it(n):
            if n == 7:
                os._exit(1)
        """,
        test_b="import pytest\n\n@pytest.mark.parametrize('n', range(20))\ndef test_it(n):\n    pass\n",
    )
    result = xdist.run(f"-n{workers}")
    assert (result.code, result.totals) == (1, {"passed": 39, "failed": 1}), result.text


def test_a_scheduler_that_hands_out_nothing_is_named(xdist, run):
    xdist.files(
        conftest=scheduler("schedule = lambda self: None; tests_finished = False"), test_a="def test_it():\n    pass\n"
    )
    result = run("-n2")
    assert result.code != 0
    assert "the scheduler Own gives nothing to any worker, and 1 tests are left" in result.text


def test_a_scheduler_that_hands_out_a_test_twice_is_named(xdist, run):
    xdist.files(
        conftest=scheduler("schedule = lambda self: [node.send_runtest_some([0]) for node in self.nodes]"),
        test_a="def test_it():\n    pass\n",
    )
    result = run("-n2")
    assert result.code == 3, result.text
    assert "its scheduler gives out test_a.py::test_it" in result.text


@pytest.mark.parametrize("choice, told", [("never", False), ("always", True), ("auto", False)])
def test_the_host_is_started_when_it_has_something_to_do(xdist, choice, told):
    xdist.files(
        conftest="""
        import os

        def pytest_unconfigure():
            if "PYTEST_XDIST_WORKER" not in os.environ:
                signal("host")
        """,
        test_a="def test_it():\n    signal('test')\n",
    )
    result = xdist.run("-n1", f"--pytest-host={choice}")
    assert (result.code, result.totals) == (0, {"passed": 1}), result.text
    xdist.signals.path.open("w").write("end\n")
    expected = ["test", *(["host"] if told else []), "end"]
    assert [xdist.signals.next() for _ in expected] == expected


def test_a_wrong_choice_is_a_usage_error(xdist):
    xdist.files(test_a="def test_it():\n    pass\n")
    result = xdist.run("--pytest-host=perhaps")
    assert result.code == 4
    assert '--pytest-host takes auto, always or never, not "perhaps"' in result.err


def test_a_host_that_dies_ends_the_run_and_says_so(xdist):
    xdist.files(
        conftest="""
        import fcntl, os

        def pytest_configure():
            global held
            if "PYTEST_XDIST_WORKER" not in os.environ:
                held = open("alive", "w")
                fcntl.flock(held, fcntl.LOCK_EX)

        def pytest_runtest_logreport(report):
            if "PYTEST_XDIST_WORKER" not in os.environ:
                os._exit(9)
        """,
        test_a="""
        import fcntl, pytest

        @pytest.mark.parametrize("n", range(50))
        def test_it(n):
            # The run is not over before the host is dead.
            if n >= 2:
                with open("alive") as file:
                    fcntl.flock(file, fcntl.LOCK_SH)
        """,
    )
    result = xdist.run("-n2")
    assert result.code != 0
    assert "pytest host" in result.text and "exit status: 9" in result.text


def test_a_host_that_dies_when_all_workers_have_ended_is_told_of(xdist):
    xdist.files(
        conftest="""
        import os, pathlib, time

        def pytest_runtest_logreport(report):
            if "PYTEST_XDIST_WORKER" not in os.environ:
                while not pathlib.Path("go").exists():
                    time.sleep(0.01)
                os._exit(9)
        """,
        # More than the host's link holds.
        test_a="""
        import os, pytest

        @pytest.mark.parametrize("n", range(100))
        def test_it(n):
            if n == 0:
                signal(os.getpid())
            print("." * 60_000)
            assert 0
        """,
    )
    run = xdist.start("-n1")
    worker = Watched(int(xdist.signals.next()))
    assert worker.gone_within(DEADLINE)
    (xdist.directory / "go").touch()
    result = run.wait()
    assert result.code == 9, result.text
    assert "xdist: lost the pytest host: " in result.err and "exit status: 9" in result.err, result.text


@pytest.mark.parametrize(("status", "code"), [(0, 3), (9, 9)])
def test_a_host_that_ends_before_it_knows_everything_is_told_of_whatever_it_exits_with(xdist, status, code):
    xdist.files(
        conftest=f"""
        import os

        def pytest_xdist_setupnodes(config, specs):
            pass

        def pytest_testnodedown(node, error):
            os._exit({status})
        """,
        test_a="def test_it():\n    assert 0\n",
    )
    # It may be gone before the last worker is, or after, or in between.
    for _ in range(10):
        result = xdist.run("-n2")
        assert result.code == code, result.text
        assert f"exit status: {status}" in result.err and "lost the pytest host: " in result.err, result.text


def test_a_host_that_is_killed_while_it_comes_to_its_end_is_told_of(xdist):
    xdist.files(
        conftest="""
        import os, signal

        def pytest_unconfigure():
            if "PYTEST_XDIST_WORKER" not in os.environ:
                os.kill(os.getpid(), signal.SIGKILL)
        """,
        test_a="def test_it():\n    pass\n",
    )
    result = xdist.run("-n1", "--pytest-host=always")
    assert result.code == 3, result.text
    assert "xdist: lost the pytest host: " in result.err and "signal: 9" in result.err, result.text


def test_the_first_failure_ends_the_run(xdist, run):
    xdist.files(
        conftest="def pytest_testnodedown(node, error):\n    pass\n",
        test_a="import pytest\n\n@pytest.mark.parametrize('n', range(200))\ndef test_it(n):\n    assert n\n",
    )
    result = run("-n2", "-x")
    assert result.code == 2
    assert "xdist.dsession.Interrupted: stopping after 1 failures" in result.out
    assert result.totals["failed"] == 1


def test_outcomes_and_reports_are_those_of_plain_pytest(xdist, run):
    xdist.files(
        conftest="""
        import pytest

        @pytest.hookimpl(optionalhook=True)
        def pytest_testnodedown(node, error):
            pass
        """,
        test_a="""
        import pytest
        import warnings

        def test_passes(record_property):
            record_property("key", ("tuple", 1))
            print("output")

        def test_fails():
            assert {1: 2} == {1: 3}

        @pytest.mark.skip(reason="why")
        def test_skipped():
            pass

        @pytest.mark.xfail(reason="known", strict=True)
        def test_xpasses():
            pass

        @pytest.fixture
        def broken():
            raise ValueError("broken")

        def test_error(broken):
            pass

        def test_warns():
            warnings.warn("careful", DeprecationWarning)

        @pytest.mark.filterwarnings("error")
        def test_unknown_warning():
            class OwnWarning(UserWarning):
                pass
            with pytest.warns(OwnWarning):
                warnings.warn("own", OwnWarning)
        """,
        test_broken="import nothing_of_that_name\n",
    )
    for name in ("CI", "BUILD_NUMBER"):
        # There, summaries have several lines for a test.
        xdist.env.pop(name, None)
    plain = xdist.pytest("--continue-on-collection-errors", "-rA")
    ours = run("-n2", "-rA", "--junitxml=ours.xml")
    assert ours.outcomes == plain.outcomes, ours.text
    assert ours.totals == plain.totals

    def summary(text):
        lines = text.partition("short test summary info")[2].splitlines()[1:-1]
        # Of a module that cannot be imported, what has travelled as text is shown (as in pytest-xdist).
        return sorted(line.rstrip().partition(" - ImportError")[0] for line in lines)

    assert summary(ours.out) == summary(plain.out)
    assert (xdist.directory / "ours.xml").stat().st_size > 0


def test_the_last_failed_tests_are_known_to_the_next_run(xdist, run):
    xdist.files(
        conftest="def pytest_testnodedown(node, error):\n    pass\n",
        test_a="def test_fails():\n    assert 0\n\ndef test_passes():\n    pass\n",
    )
    assert run("-n2").totals == {"failed": 1, "passed": 1}
    assert run("-n2", "--lf").totals["failed"] == 1
    assert "passed" not in run("-n2", "--lf").totals


def test_ctrl_c_lets_tests_finish_their_teardown(xdist):
    xdist.files(
        test_a="""
        import pytest
        import time

        @pytest.fixture
        def thing():
            yield
            signal("teardown")

        def test_long(thing):
            signal("running")
            time.sleep(50)
        """
    )
    process = xdist.start_pytest("-n1")
    assert xdist.signals.next() == "running"
    os.killpg(process.popen.pid, signal.SIGINT)
    assert xdist.signals.next() == "teardown"
    result = process.wait()
    assert result.code == 2, result.text
    assert "KeyboardInterrupt" in result.out


def test_without_n_pytest_is_plain(xdist):
    xdist.files(test_a="def test_it(worker_id):\n    assert worker_id == 'master'\n")
    assert xdist.start_pytest().wait().totals == {"passed": 1}
    assert xdist.start_pytest("-n0").wait().totals == {"passed": 1}
    assert xdist.start_pytest("-n2", "--collect-only", "-q").wait().code == 0


def test_errors_in_arguments_are_told_once(xdist):
    xdist.files(test_a="def test_it():\n    pass\n")
    result = xdist.start_pytest("-n2", "nothing_there.py").wait()
    assert result.code == 4
    assert result.text.count("nothing_there.py") <= 2, result.text
    assert xdist.start_pytest("-n", "many").wait().code == 4


def test_the_program_must_be_there(xdist):
    xdist.files(test_a="def test_it():\n    pass\n")
    result = xdist.start_pytest("-n2", XDIST_BINARY="/nothing/there").wait()
    assert result.code == 4
    assert "cannot start /nothing/there" in result.text


@pytest.mark.parametrize(
    ("made", "args", "expected"),
    [
        ("5", [], "returned int, which is no scheduler: it has no nodes"),
        ("scheduler.EachScheduling(config, log)", [], "returned EachScheduling, but in mode each no scheduler decides"),
        ("scheduler.LoadScheduling(config, log)", ["--dist=each"], "returned LoadScheduling, but in mode each no"),
        ("Idle(config, log)", [], "the scheduler Idle gives nothing to any worker, and 1 tests are left"),
    ],
    ids=["no scheduler", "each", "mode each", "idle"],
)
@pytest.mark.parametrize("door", ["start", "start_pytest"])
def test_schedulers_that_cannot_work_are_refused_by_name(xdist, door, made, args, expected):
    xdist.files(
        conftest=f"""
        def pytest_xdist_make_scheduler(config, log):
            from xdist import scheduler
            class Idle(scheduler.LoadScheduling):
                def schedule(self):
                    self.collection = next(iter(self.node2collection.values()))
            return {made}
        """,
        test_a="def test_a(): pass",
    )
    result = getattr(xdist, door)("-n", "2", *args).wait()
    assert result.code == 4
    assert expected in result.text


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("door", ["start", "start_pytest"])
def test_a_scheduler_that_lets_all_workers_go_before_the_end_is_named(xdist, door, workers):
    xdist.files(
        conftest="""
        def pytest_xdist_make_scheduler(config, log):
            from xdist import scheduler
            class Half(scheduler.LoadScheduling):
                def _begin(self):
                    for node in self.nodes:
                        self._send_tests(node, 3)
                        node.shutdown()
            return Half(config, log)
        """,
        test_a="import pytest\n\n@pytest.mark.parametrize('n', range(20))\ndef test_it(n):\n    pass\n",
    )
    result = getattr(xdist, door)("-n", str(workers)).wait()
    assert result.code == 4, result.text
    left = 20 - 3 * workers
    assert f"the scheduler Half gives nothing to any worker, and {left} tests are left" in result.text
    assert result.totals == {"passed": 3 * workers, "not run": left}


@pytest.mark.parametrize("door", ["start", "start_pytest"])
def test_a_scheduler_is_not_blamed_for_a_crash_after_which_nothing_restarts(xdist, door):
    xdist.files(
        conftest="""
        def pytest_xdist_make_scheduler(config, log):
            from xdist import scheduler
            return scheduler.LoadScheduling(config, log)
        """,
        test_a="""
        import os
        def test_0():
            os._exit(3)
        def test_1(): pass
        def test_2(): pass
        def test_3(): pass
        """,
    )
    result = getattr(xdist, door)("-n2", "--max-worker-restart=0").wait()
    assert result.code == 1, result.text
    assert "more than 0 workers crashed" in result.text and "gives nothing" not in result.text


def test_a_run_does_not_outlive_the_pytest_that_was_killed(xdist):
    xdist.files(
        test_a="""
        import os, time
        from signals_of_suite import signal
        def test_a():
            signal(f"{os.getpid()} {os.getppid()}")
            time.sleep(600)
        """
    )
    run = xdist.start_pytest("-n", "1")
    watched = [Watched(int(pid)) for pid in xdist.signals.next().split()]
    run.signal(signal.SIGKILL)
    for process in watched:
        assert process.gone_within(DEADLINE)
        process.close()


def test_thousands_of_subtests_arrive_as_what_they_are(xdist):
    xdist.files(
        test_a="""
        import unittest
        class TestMany(unittest.TestCase):
            def test_a(self):
                for number in range(10_000):
                    with self.subTest("a message that is not short", number=number):
                        pass
        """
    )
    result = xdist.start_pytest("-n", "1", "-q").wait()
    assert "1 passed, 10000 subtests passed" in result.out, result.text[-500:]
