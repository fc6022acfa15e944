"""What pytest-xdist 3.8 says in which situation, with which exit code: a table for `test_texts.py`.

The sections are those of a user's session: starting, running, stopping, crashing, collecting, doing something else.
"""

from dataclasses import dataclass, field

from doors import PLUGIN, RUN

PASSES = """
    import pytest

    @pytest.mark.parametrize("number", range(3))
    def test_passes(number):
        pass
"""
ONE = """
    def test_passes():
        pass
"""
FAILS = """
    def test_passes():
        pass

    def test_fails():
        assert 0
"""
FAIL = """
    def test_first():
        assert 0

    def test_second():
        assert 0

    def test_third():
        assert 0
"""
SLOW = """
    import time

    def test_slow():
        time.sleep(0.1)
"""
GROUP = """
    import pytest

    @pytest.mark.xdist_group("db")
    def test_of_group():
        assert 0
"""
IDENTITY = """
    import os

    def test_identity(worker_id, testrun_uid):
        names = ["PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"]
        assert 0, " ".join([worker_id, testrun_uid, *map(os.environ.get, names)])
"""
WARNS = """
    import warnings

    def test_warns():
        warnings.warn("careful")
"""
BROKEN = """
    import a_module_that_is_not_there
"""
SKIPPED = """
    import pytest

    pytest.skip("not here", allow_module_level=True)
"""
DIFFERS = """
    import os

    import pytest

    @pytest.mark.parametrize("worker", [os.environ.get("PYTEST_XDIST_WORKER")])
    def test_it(worker):
        pass
"""
CRASHES = """
    import os

    def test_crashes():
        os._exit(1)
"""
CRASH_FIRST = (
    CRASHES
    + """
    def test_passes():
        pass
"""
)
CRASH_OFTEN = """
    import os

    import pytest

    @pytest.mark.parametrize("number", range(4))
    def test_crashes(number):
        os._exit(1)
"""
INTERRUPTS = """
    def test_interrupts():
        raise KeyboardInterrupt
"""
EXITS = """
    import pytest

    def test_exits():
        pytest.exit("enough", returncode=7)
"""
# It takes a moment more, and whatever has been asked for happens within that time.
SIGNALS = """
    import os
    import pathlib
    import signal
    import time

    def test_signals():
        os.kill(int(pathlib.Path(__file__).with_name("pid").read_text()), signal.{})
        time.sleep(1)

    def test_other():
        pass
"""
STOPS = """
    def pytest_runtest_teardown(item):
        item.session.shouldstop = "that will do"
"""
EXITS_EARLY = """
    import pytest

    def pytest_sessionstart():
        pytest.exit("enough")
"""
HOOK_FAILS = """
    def pytest_runtest_protocol():
        raise ZeroDivisionError("a hook is broken")
"""
FAILS_IN_WORKERS = """
    import os

    if "PYTEST_XDIST_WORKER" in os.environ:
        raise ZeroDivisionError("only here")
"""
DIES_EARLY = """
    import os

    def pytest_collection(session):
        if hasattr(session.config, "workerinput"):
            os._exit(1)
"""
WRITES = """
    import os

    def pytest_sessionfinish(session):
        if hasattr(session.config, "workerinput"):
            os.write(2, b"said by a worker\\n")
"""


@dataclass(frozen=True)
class Other:
    """What is different here, on purpose."""

    # The first cell or the bold words of where docs/guide/coming-from-pytest-xdist.md says so.
    guide: str
    code: int
    # Lines that are shown instead.
    shows: str
    doors: tuple[str, ...] = (RUN, PLUGIN)


@dataclass(frozen=True)
class Row:
    """A situation, and what is told there."""

    name: str
    args: str
    code: int
    # Lines that are shown, in this order; `…` is anything.
    shows: str
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    # Where it differs, the rest of the output may differ too; otherwise it is the same line by line.
    differs: Other | None = None
    # Why the rest of the output is not compared although nothing differs on purpose.
    only: str = ""
    # Whether it is part of the quick run.
    quick: bool = False

    @property
    def is_parallel(self) -> bool:
        """Whether order and workers hang on who is first."""
        return any(each in self.args for each in ("-n2", "-n4", "-nauto", "2*popen", "--tx=popen --tx"))


def test(text: str, **more: str) -> dict[str, str]:
    """A test module, and other files by the names that they have without `.py`."""
    return {"test_it.py": text, **{f"{name}.py": other for name, other in more.items()}}


def settings(text: str, module: str = PASSES) -> dict[str, str]:
    """A test module, and pytest's settings."""
    return {"test_it.py": module, "pytest.ini": f"[pytest]\n{text}\n"}


MODES = {
    "each": "EachScheduling",
    "load": "LoadScheduling",
    "loadscope": "LoadScopeScheduling",
    "loadfile": "LoadFileScheduling",
    "loadgroup": "LoadGroupScheduling",
    "worksteal": "WorkStealingScheduling",
}

# Columns of code would be taken apart.
# fmt: off

STARTING = [
    Row("no workers", "-n0", 0, """
        === test session starts ===
        collected 3 items
        test_it.py ... [100%]
        === 3 passed in TIME ===
    """),
    Row("one worker", "-n1", 0, """
        === test session starts ===
        configfile: pytest.ini
        created: 1/1 worker
        1 worker [3 items]

        ... [100%]
        === 3 passed in TIME ===
    """, quick=True),
    Row("one test", "-n1", 0, """
        created: 1/1 worker
        1 worker [1 item]
    """, test(ONE)),
    Row("two workers", "-n2", 0, """
        created: 2/2 workers
        2 workers [3 items]
        === 3 passed in TIME ===
    """, quick=True),
    Row("-v", "-n1 -v --dist=load", 0, """
        cachedir: .pytest_cache
        1 worker [3 items]
        scheduling tests via LoadScheduling
        [gw0] [ 33%] PASSED test_it.py::test_passes[0]
        [gw0] [ 66%] PASSED test_it.py::test_passes[1]
        [gw0] [100%] PASSED test_it.py::test_passes[2]
    """),
    Row("-q", "-n2 -q", 0, """
        bringing up nodes...
        bringing up nodes...
        3 passed in TIME
    """, quick=True),
    Row("-qq", "-n1 -qq", 0, """
        bringing up nodes...
        bringing up nodes...
        ... [100%]
    """),
    *(
        Row(f"--dist={mode}", f"-n2 -v --dist={mode}", 0, f"""
            2 workers [3 items]
            scheduling tests via {name}
        """, quick=mode == "loadscope")
        for mode, name in MODES.items()
    ),
    Row("-d", "-n2 -v -d", 0, "scheduling tests via LoadScheduling"),
    Row("no --dist", "-n1 -v", 0, "scheduling tests via LoadScheduling",
        differs=Other("The default mode is `worksteal`", 0, "scheduling tests via WorkStealingScheduling")),
    Row("--dist=no", "-n2 --dist=no", 0, "2 workers [3 items]",
        differs=Other("`-n 2 --dist no`", 0, "collected 3 items")),
    Row("--tx", "--tx=2*popen --dist=load -v", 0, """
        created: 2/2 workers
        2 workers [3 items]
        scheduling tests via LoadScheduling
    """),
    Row("--tx with a name", "--tx=popen//id=first --dist=load -v", 0, """
        1 worker [3 items]
        [first] [ 33%] PASSED test_it.py::test_passes[0]
    """),
    Row("--tx without --dist", "--tx=popen", 0, "collected 3 items",
        differs=Other("`--tx` without `--dist`", 0, "1 worker [3 items]")),
    Row("--tx with -n", "-n1 --tx=3*popen", 0, "1 worker [3 items]"),
    Row("--px", "-n1 --px=popen//id=proxy", 0, "1 worker [3 items]"),
    Row("--px without a name", "-n1 --px=popen", 4, "ERROR: Proxy gateway popen must include an id",
        only="pytest-xdist has written the header by then"),
    Row("another interpreter", "--tx=popen --tx=popen//python=PYTHON3 --dist=load -v", 0, """
        created: 2/2 workers
        [gwN] linux Python … cwd: SUITE
        [gwN] Python ….….… (…) [GCC …
        2 workers [3 items]
    """, only="pytest-xdist adds the line of the status as it is then"),
    Row("--maxprocesses", "-n4 --maxprocesses=2", 0, """
        created: 2/2 workers
        2 workers [3 items]
    """),
    Row("--maxprocesses in addopts", "-n4", 1, """
        created: 2/2 workers
        E AssertionError: gwN mine gwN 2 mine
    """, settings("addopts = --maxprocesses=2 --testrunuid=mine", IDENTITY),
        only="both workers are started before the settings are read, and one of two may run it"),
    Row("number in the environment", "-nauto", 0, """
        created: 3/3 workers
        3 workers [3 items]
    """, env={"PYTEST_XDIST_AUTO_NUM_WORKERS": "3"}),
    Row("addopts", "", 0, """
        created: 2/2 workers
        scheduling tests via LoadFileScheduling
    """, settings("addopts = -n2 --dist=loadfile -v"), quick=True),
    Row("identity", "-n1 --testrunuid=mine", 1, """
        worker_id = 'gw0', testrun_uid = 'mine'
        E AssertionError: gw0 mine gw0 1 mine
        === 1 failed in TIME ===
    """, test(IDENTITY)),
    Row("identity without workers", "-n0", 1, "E TypeError: …", test(IDENTITY), only="the run's name is a new one"),
]

RUNNING = [
    Row("a failure", "-n1", 1, """
        .F [100%]
        === FAILURES ===
        ___ test_fails ___
        [gw0] linux -- Python … PYTHON
        > assert 0
        test_it.py:6: AssertionError
        === short test summary info ===
        FAILED test_it.py::test_fails - assert 0
        === 1 failed, 1 passed in TIME ===
    """, test(FAILS), quick=True),
    Row("a failure, -v", "-n1 -v --dist=load", 1, """
        [gw0] [ 50%] PASSED test_it.py::test_passes
        [gw0] [100%] FAILED test_it.py::test_fails
    """, test(FAILS)),
    Row("a failure, -q", "-n1 -q", 1, """
        .F [100%]
        FAILED test_it.py::test_fails - assert 0
        1 failed, 1 passed in TIME
    """, test(FAILS)),
    Row("-rA", "-n1 -rA", 1, """
        === short test summary info ===
        PASSED test_it.py::test_passes
        FAILED test_it.py::test_fails - assert 0
    """, test(FAILS)),
    Row("--no-summary", "-n1 --no-summary", 1, """
        .F [100%]
        === 1 failed, 1 passed in TIME ===
    """, test(FAILS)),
    *(
        Row(f"console_output_style = {style}", "-n1 -v --dist=load", 1, f"[gw0]{shown} FAILED test_it.py::test_fails",
            settings(f"console_output_style = {style}", FAILS))
        for style, shown in {"classic": "", "count": " [2/2]", "times": " …"}.items()
    ),
    Row("--setup-show", "-n1 --setup-show", 0, """
        ...
        === 3 passed in TIME ===
    """),
    Row("--durations", "-n1 --durations=3", 0, """
        === slowest 3 durations ===
        TIME call test_it.py::test_slow
        (2 durations < TIME hidden. Use -vv to show these durations.)
    """, test(SLOW)),
    Row("a warning", "-n2", 0, """
        === warnings summary ===
        test_it.py::test_warns
        SUITE/test_it.py:5: UserWarning: careful
        -- Docs: https://docs.pytest.org/en/stable/how-to/capture-warnings.html
        === 1 passed, 1 warning in TIME ===
    """, test(WARNS), quick=True),
    Row("-W error", "-n1 -Werror", 1, """
        E UserWarning: careful
        FAILED test_it.py::test_warns - UserWarning: careful
    """, test(WARNS)),
    Row("a group", "-n1 -v --dist=loadgroup", 1, """
        [gw0] [100%] FAILED test_it.py::test_of_group
        ___ test_of_group ___
        FAILED test_it.py::test_of_group - assert 0
    """, test(GROUP), differs=Other("Node ids stay as they are", 1, """
        [gw0] [100%] FAILED test_it.py::test_of_group@db
        ___ test_of_group ___
        FAILED test_it.py::test_of_group - assert 0
    """)),
    Row("--strict-markers", "-n1 --strict-markers", 1, "=== 1 failed in TIME ===", test(GROUP)),
    Row("standard error of a worker", "-n1", 0, """
        === 3 passed in TIME ===
        said by a worker
    """, test(PASSES, conftest=WRITES), differs=Other("What workers write to standard error", 0, """
        === 3 passed in TIME ===
        [gw0] said by a worker
    """)),
]

NOT_RUN = "tests that were not run"
STOPPING = [
    Row("-x", "-n1 -x", 2, """
        F
        === FAILURES ===
        FAILED test_it.py::test_first - assert 0
        !!! stopping after 1 failures !!!
        !!! xdist.dsession.Interrupted: stopping after 1 failures !!!
        === 1 failed in TIME ===
    """, test(FAIL), quick=True, differs=Other(NOT_RUN, 2, """
        F
        === FAILURES ===
        FAILED test_it.py::test_first - assert 0
        === 2 tests not run: stopping after 1 failures ===
        !!! stopping after 1 failures !!!
        !!! xdist.dsession.Interrupted: stopping after 1 failures !!!
        === 2 not run, 1 failed in TIME ===
    """)),
    Row("-x -v", "-n1 -x -v --dist=load", 2, """
        [gw0] [ 33%] FAILED test_it.py::test_first
        !!! xdist.dsession.Interrupted: stopping after 1 failures !!!
    """, test(FAIL), differs=Other(NOT_RUN, 2, """
        [gw0] [ 33%] FAILED test_it.py::test_first
        === 2 tests not run: stopping after 1 failures ===
        NOT RUN test_it.py::test_second
        NOT RUN test_it.py::test_third
        !!! xdist.dsession.Interrupted: stopping after 1 failures !!!
    """)),
    Row("--maxfail", "-n1 --maxfail=2", 2, """
        !!! stopping after 2 failures !!!
        !!! xdist.dsession.Interrupted: stopping after 2 failures !!!
        === 2 failed in TIME ===
    """, test(FAIL), differs=Other(NOT_RUN, 2, """
        === 1 test not run: stopping after 2 failures ===
        !!! stopping after 2 failures !!!
        !!! xdist.dsession.Interrupted: stopping after 2 failures !!!
        === 1 not run, 2 failed in TIME ===
    """)),
    Row("--maxfail at the last test", "-n1 --maxfail=3", 2, """
        !!! stopping after 3 failures !!!
        !!! xdist.dsession.Interrupted: stopping after 3 failures !!!
        === 3 failed in TIME ===
    """, test(FAIL)),
    Row("--maxfail not reached", "-n1 --maxfail=4", 1, "=== 3 failed in TIME ===", test(FAIL)),
    Row("-x and a broken module", "-n1 -x", 2, """
        created: 1/1 worker
        === ERRORS ===
        ___ ERROR collecting test_broken.py ___
        !!! stopping after 1 failures !!!
        !!! xdist.dsession.Interrupted: stopping after 1 failures !!!
        === 1 error in TIME ===
    """, test(PASSES, test_broken=BROKEN)),
    Row("session.shouldstop", "-n1", 2, """
        !!! xdist.dsession.Interrupted: that will do !!!
        === 1 passed in TIME ===
    """, test(PASSES, conftest=STOPS), differs=Other(NOT_RUN, 2, """
        === 2 tests not run: that will do ===
        !!! xdist.dsession.Interrupted: that will do !!!
        === 2 not run, 1 passed in TIME ===
    """)),
    Row("KeyboardInterrupt in a test", "-n1", 2, """
        [gw0] node down: keyboard-interrupt
        replacing crashed worker gw0
        worker 'gw0' crashed while running 'test_it.py::test_interrupts'
        !!! xdist.dsession.Interrupted: <WorkerController gw0> received keyboard-interrupt !!!
        === 1 failed in TIME ===
    """, test(INTERRUPTS), quick=True, differs=Other("a test raises `KeyboardInterrupt`", 2, """
        === 1 test not run: KeyboardInterrupt on gw0 ===
        !!! xdist.dsession.Interrupted: <WorkerController gw0> received keyboard-interrupt !!!
        === 1 not run in TIME ===
    """)),
    Row("pytest.exit in a test", "-n1", 3, """
        INTERNALERROR> AssertionError: ('test_it.py::test_exits', <WorkerController gw0>)
        === no tests ran in TIME ===
    """, test(EXITS), differs=Other("`pytest.exit(returncode=7)`", 7, """
        === 1 not run in TIME ===
    """)),
    Row("pytest.exit at the start", "-n1", 2, "!!! _pytest.outcomes.Exit: enough !!!",
        test(PASSES, conftest=EXITS_EARLY),
        only="pytest-xdist repeats it on standard error"),
    Row("Ctrl-C", "-n1", 2, """
        !!! KeyboardInterrupt !!!
        … in TIME ===
    """, test(SIGNALS.format("SIGINT")), differs=Other(NOT_RUN, 2, """
        === … not run: interrupted ===
        !!! KeyboardInterrupt !!!
        … in TIME ===
    """)),
    Row("SIGTERM", "-n1", -15, "1 worker [2 items]", test(SIGNALS.format("SIGTERM")), differs=Other("SIGTERM", 2, """
        1 worker [2 items]
        === … not run: interrupted ===
    """, doors=(RUN,))),
    Row("a broken hook in a worker", "-n1", 3, """
        INTERNALERROR> E ZeroDivisionError: a hook is broken
        INTERNALERROR> RuntimeError: Unexpectedly no active workers available
        === no tests ran in TIME ===
    """, test(PASSES, conftest=HOOK_FAILS), quick=True, differs=Other("a worker has an internal error", 3, """
        INTERNALERROR> ZeroDivisionError: a hook is broken
        === 3 tests not run: internal error ===
        === 3 not run in TIME ===
    """)),
]

CRASH = "what is said of a crash"
CRASHING = [
    Row("a crash", "-n1 --dist=load", 1, """
        [gw0] node down: Not properly terminated
        F
        replacing crashed worker gw0
        === FAILURES ===
        ___ test_it.py ___
        [gw0] linux -- Python … PYTHON
        worker 'gw0' crashed while running 'test_it.py::test_crashes'
        === short test summary info ===
        FAILED test_it.py::test_crashes - worker 'gw0' crashed while running 'test_it...
        === 1 failed in TIME ===
    """, test(CRASHES), quick=True, differs=Other(CRASH, 1, """
        [gw0] node down: exit code 1, in call of test_it.py::test_crashes, after TIME (pid PID on HOST)
        F
        replacing crashed worker gw0
        === FAILURES ===
        ___ test_it.py ___
        [gw0] linux -- Python … PYTHON
        worker 'gw0' crashed while running 'test_it.py::test_crashes'
        in call, after TIME: exit code 1 (pid PID on HOST, peak memory SIZE)
        === short test summary info ===
        FAILED test_it.py::test_crashes - worker 'gw0' crashed while running 'test_it...
        === 1 failed in TIME ===
    """)),
    Row("a crash, -v", "-n1 -v --dist=load", 1, """
        [gw0] node down: Not properly terminated
        [gw0] [100%] FAILED test_it.py::test_crashes
        replacing crashed worker gw0
    """, test(CRASHES), differs=Other(CRASH, 1, """
        [gw0] node down: exit code 1, in call of test_it.py::test_crashes, after TIME (pid PID on HOST)
        [gw0] [100%] FAILED test_it.py::test_crashes
        replacing crashed worker gw0
    """)),
    Row("a crash, -q", "-n1 -q --dist=load", 1, """
        [gw0] node down: Not properly terminated
        F [100%]
        1 failed in TIME
    """, test(CRASHES), differs=Other(CRASH, 1, """
        [gw0] node down: exit code 1, in call of test_it.py::test_crashes, after TIME (pid PID on HOST)
        F [100%]
        1 failed in TIME
    """)),
    Row("no replacements", "-n1 --max-worker-restart=0 --dist=load", 1, """
        worker gw0 crashed and worker restarting disabled
        worker 'gw0' crashed while running 'test_it.py::test_crashes'
        === xdist: worker gw0 crashed and worker restarting disabled ===
        --- generated xml file: SUITE/junit.xml ---
        === short test summary info ===
        === 1 failed in TIME ===
    """, test(CRASHES), differs=Other(CRASH, 1, """
        worker gw0 crashed and worker restarting disabled
        worker 'gw0' crashed while running 'test_it.py::test_crashes'
        === xdist: worker gw0 crashed and worker restarting disabled ===
        --- generated xml file: SUITE/junit.xml ---
        === short test summary info ===
        === 1 failed in TIME ===
    """)),
    Row("no more replacements", "-n1 --max-worker-restart=1 --dist=load", 1, """
        [gw0] node down: Not properly terminated
        replacing crashed worker gw0
        [gw1] node down: Not properly terminated
        maximum crashed workers reached: 1
        === xdist: maximum crashed workers reached: 1 ===
        === short test summary info ===
        === 2 failed in TIME ===
    """, test(CRASH_OFTEN), differs=Other(NOT_RUN, 1, """
        [gw0] node down: exit code 1, in call of test_it.py::test_crashes[0], after TIME (pid PID on HOST)
        replacing crashed worker gw0
        [gw1] node down: exit code 1, in call of test_it.py::test_crashes[1], after TIME (pid PID on HOST)
        maximum crashed workers reached: 1
        === xdist: maximum crashed workers reached: 1 ===
        === short test summary info ===
        === 2 tests not run: more than 1 worker crashed ===
        === 2 not run, 2 failed in TIME ===
    """)),
    Row("a crash and -x", "-n1 -x --dist=load", 1, """
        replacing crashed worker gw0
        !!! stopping after 1 failures !!!
        === 1 failed, 1 passed in TIME ===
    """, test(CRASH_FIRST), differs=Other("a crash and `-x`", 2, """
        === 1 test not run: stopping after 1 failures ===
        !!! stopping after 1 failures !!!
        !!! xdist.dsession.Interrupted: stopping after 1 failures !!!
        === 1 not run, 1 failed in TIME ===
    """)),
    Row("a crash in each worker", "-n2 --dist=each", 1, """
        replacing crashed worker gwN
        replacing crashed worker gwN
        worker 'gwN' crashed while running 'test_it.py::test_crashes'
        worker 'gwN' crashed while running 'test_it.py::test_crashes'
        === 2 failed in TIME ===
    """, test(CRASHES), differs=Other(CRASH, 1, """
        replacing crashed worker gwN
        replacing crashed worker gwN
        worker 'gwN' crashed while running 'test_it.py::test_crashes'
        worker 'gwN' crashed while running 'test_it.py::test_crashes'
        === 2 failed in TIME ===
    """)),
    Row("all workers die", "-n1", 5, """
        [gw4] node down: Not properly terminated
        maximum crashed workers reached: 4
        === no tests ran in TIME ===
    """, test(PASSES, conftest=DIES_EARLY), differs=Other("all workers die while they start", 3, """
        [gw0] node down: exit code 1 (pid PID on HOST)
        INTERNALERROR> no worker is left (gw0: exit code 1)
        === no tests ran in TIME ===
    """)),
]

COLLECTING = [
    Row("no tests", "-n2", 5, """
        2 workers [0 items]
        === no tests ran in TIME ===
    """, test(""), quick=True),
    Row("no tests, -v", "-n1 -v --dist=load", 5, """
        1 worker [0 items]
        scheduling tests via LoadScheduling
        === no tests ran in TIME ===
    """, test("")),
    Row("no tests, -q", "-n1 -q", 5, "no tests ran in TIME", test("")),
    Row("all deselected", "-n1 -k nothing", 5, """
        1 worker [0 items]
        === no tests ran in TIME ===
    """, differs=Other("deselected tests", 5, """
        1 worker [0 items]
        === 3 deselected in TIME ===
    """)),
    Row("a broken module", "-n2", 1, """
        2 workers [3 items]
        === ERRORS ===
        ___ ERROR collecting test_broken.py ___
        ImportError while importing test module 'SUITE/test_broken.py'.
        E ModuleNotFoundError: No module named 'a_module_that_is_not_there'
        === short test summary info ===
        ERROR test_broken.py - ImportError while importing test module …
        === 3 passed, 1 error in TIME ===
    """, test(PASSES, test_broken=BROKEN), quick=True),
    Row("only a broken module", "-n1 -v --dist=load", 1, """
        1 worker [0 items]
        scheduling tests via LoadScheduling
        === 1 error in TIME ===
    """, test(BROKEN)),
    Row("--continue-on-collection-errors", "-n1 --continue-on-collection-errors", 1,
        "=== 3 passed, 1 error in TIME ===",
        test(PASSES, test_broken=BROKEN)),
    Row("a skipped module", "-n1 -rs", 0, """
        SKIPPED [1] test_skipped.py:4: not here
        === 3 passed, 1 skipped in TIME ===
    """, test(PASSES, test_skipped=SKIPPED)),
    Row("different tests", "-n2", 1, """
        2 workers [1 item]
        === ERRORS ===
        ___ ERROR collecting gwN ___
        Different tests were collected between gwN and gwN. The difference is:
        --- gwN
        +++ gwN
        @@ -1 +1 @@
        -test_it.py::test_it[gwN]
        +test_it.py::test_it[gwN]
        To see why this happens see 'Known limitations' in documentation for pytest-xdist
        ERROR gwN - Different tests were collected between gwN and gwN. The differenc...
        === 1 error in TIME ===
    """, test(DIFFERS), quick=True, differs=Other("what is said of different tests", 1, """
        2 workers [1 item]
        === ERRORS ===
        ___ ERROR collecting gwN ___
        Different tests were collected between gwN and gwN. The difference is:
        --- gwN
        +++ gwN
        -test_it.py::test_it[gwN]
        +test_it.py::test_it[gwN]
        To see why this happens see 'Known limitations' in documentation for pytest-xdist
        ERROR gwN - Different tests were collected between gwN and gwN. The differenc...
        === 1 error in TIME ===
    """)),
    Row("a missing file", "-n2 nowhere.py", 5, """
        2 workers [0 items]
        === no tests ran in TIME ===
    """, differs=Other("a file or test that does not exist", 4, """
        === no tests ran in TIME ===
        ERROR: file or directory not found: nowhere.py
    """)),
    Row("a broken conftest", "-n1", 4, """
        ImportError while loading conftest 'SUITE/conftest.py'.
        E ModuleNotFoundError: No module named 'a_module_that_is_not_there'
    """, test(PASSES, conftest=BROKEN), quick=True),
    Row("a conftest that is broken in workers", "-n1", 5, """
        [gw0] node down: Traceback (most recent call last):
        maximum crashed workers reached: 4
        === no tests ran in TIME ===
    """, test(PASSES, conftest=FAILS_IN_WORKERS), differs=Other("a conftest fails in workers only", 4, """
        E ZeroDivisionError: only here
    """)),
]

OTHERWISE = [
    Row("--collect-only", "-n2 --collect-only", 0, """
        collected 3 items
        <Module test_it.py>
        <Function test_passes[0]>
        === 3 tests collected in TIME ===
    """),
    Row("--collect-only -q", "-n2 --collect-only -q", 0, """
        test_it.py::test_passes[0]
        3 tests collected in TIME
    """),
    Row("--version", "-n2 --version", 0, "pytest 9.2.0"),
    Row("--markers", "-n1 --markers", 0, "@pytest.mark.xdist_group…", only="the mark is described in other words"),
    Row("--fixtures", "-n1 --fixtures", 0, "worker_id [session scope] -- …",
        only="pytest-xdist begins a run for it, and places differ"),
    Row("--setup-plan", "-n1 --setup-plan", 0, """
        1 worker [3 items]
        === no tests ran in TIME ===
    """, differs=Other("`--setup-plan`", 0, """
        collected 3 items
        SETUP F number[0]
        === no tests ran in TIME ===
    """)),
    Row("no terminal", "-n1 -p no:terminal", 0, "", quick=True),
    Row("no terminal, a failure", "-n2 -p no:terminal", 1, "", test(FAILS)),
    Row("--pdb", "-n1 --pdb", 4,
        "ERROR: --pdb is incompatible with distributing tests; try using -n0 or -nauto.",
        quick=True),
    Row("--pdb with --tx", "--tx=popen --dist=load --pdb", 4,
        "ERROR: --pdb is incompatible with distributing tests; try using -n0 or -nauto."),
    Row("--pdb with -n auto", "-nauto --pdb", 0, "collected 3 items"),
    Row("--pdb with -n 0", "-n0 --pdb", 0, "collected 3 items"),
    Row("an unknown option", "-n2 --nonsense", 4, "pytest: error: unrecognized arguments: --nonsense"),
    Row("an unknown mode", "--dist=some", 4, "pytest: error: argument --dist: invalid choice: 'some' (choose from …)",
        only="where the settings are is told by `pytest -n` alone"),
    Row("not a number", "-nmany", 4,
        "pytest: error: argument -n/--numprocesses: invalid parse_numprocesses value: 'many'",
        differs=Other("options that make no sense", 4,
        "pytest: error: argument -n/--numprocesses: expected a number of workers, 'auto' or 'logical', not 'many'")),
    Row("a negative number", "-n-1", 0, "collected 3 items",
        differs=Other("options that make no sense", 4,
        "pytest: error: argument -n/--numprocesses: expected a number of workers, 'auto' or 'logical', not '-1'")),
    Row("not a number of replacements", "-n1 --max-worker-restart=many", 3,
        "INTERNALERROR> ValueError: invalid literal for int() with base 10: 'many'",
        differs=Other("options that make no sense", 4,
        "pytest: error: argument --max-worker-restart: expected a number that is not negative, not 'many'")),
    Row("a key twice", "--tx=popen//popen --dist=load", 3,
        "INTERNALERROR> ValueError: duplicate key: 'popen' in 'popen//popen'",
        differs=Other("options that make no sense", 4,
        """xdist: error: --tx: "popen//popen": "popen" is given twice""")),
    Row("--rsyncdir", "-n1 --rsyncdir=.", 0, "=== 3 passed, 2 warnings in TIME ===",
        differs=Other("`--rsyncdir`", 0, "=== 3 passed in TIME ===")),
]

ROWS = [*STARTING, *RUNNING, *STOPPING, *CRASHING, *COLLECTING, *OTHERWISE]
