# ruff: noqa: F811 (tests take the fixture `suite`)
"""One collection for all workers: what a forked worker has of its own, and when none are forked."""

import sys
from collections import Counter

import pytest
from conftest import Xdist
from forking import OUTCOMES, imports, in_each, suite  # noqa: F401  (the last is a fixture)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def facts(result) -> tuple:
    return result.code, result.totals, result.outcomes


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The facts of `OUTCOMES` where every worker collects by itself."""
    made = Xdist(tmp_path_factory.mktemp("expected"))
    made.files(test_a=OUTCOMES)
    yield facts(made.run("-n2", "--start=spawn"))
    made.close()


# One collection.


@pytest.mark.parametrize(("start", "count"), [("auto", 1), ("fork", 1), ("spawn", 3)])
@pytest.mark.parametrize("where", ["command line", "addopts", "PYTEST_ADDOPTS"])
def test_how_workers_start_can_be_said_anywhere(suite, start, count, where):
    suite.files(test_a=OUTCOMES)
    args, env = ["-n3"], {}
    if where == "command line":
        args += [f"--start={start}"]
    elif where == "addopts":
        suite.ini(f"addopts = --start={start}\n")
    else:
        env = {"PYTEST_ADDOPTS": f"--start={start}"}
    result = suite.run(*args, **env)
    assert (result.code, result.totals) == (1, {"failed": 1, "passed": 6, "skipped": 1, "error": 1}), result.text
    assert imports(suite) == count


@pytest.mark.parametrize("option", ["-n 3", "-n 3 --testrunuid=mine", "--tx 3*popen --dist=load"])
def test_workers_whose_number_only_the_first_finds_out_share_its_collection(suite, option):
    suite.ini(f"addopts = {option}\n")
    suite.files(
        test_a="""
        import os

        def test_number(worker_id, testrun_uid, pytestconfig):
            assert os.environ["PYTEST_XDIST_TESTRUNUID"] == testrun_uid
            assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == str(pytestconfig.workerinput["workercount"]) == "3"
        """
    )
    result = suite.run("--dist=each")
    assert (result.code, result.totals) == (0, {"passed": 3}), result.text
    assert imports(suite) == 1


@pytest.mark.parametrize("workers", [1, 8])
def test_any_number_of_workers(suite, workers):
    suite.files(test_a="def test_who(worker_id):\n    signal(f'{worker_id} here')\n")
    in_each(suite, workers=workers)


def test_each_kind_of_worker_has_its_own_collection(suite):
    suite.files(
        test_a="""
        import os, sys

        def test_who(worker_id):
            signal(f"{worker_id} {os.environ.get('KIND')} {os.path.basename(os.getcwd())} {os.path.basename(sys.executable)}")
        """
    )
    (suite.directory / "elsewhere").mkdir()
    other = suite.scratch / "other-python"
    other.write_text(f'#!/bin/sh\nKIND=python exec "{suite.python}" "$@"\n')
    other.chmod(0o755)
    specs = ["popen", "popen//env:KIND=env", "popen//chdir=elsewhere", f"popen//python={other}"]
    args = [part for spec in specs for part in ("--tx", f"2*{spec}")]
    result = suite.run("--dist=each", *args, suite.directory / "test_a.py")
    assert (result.code, result.totals) == (0, {"passed": 8}), result.text
    assert imports(suite) == 4
    places = Counter(suite.signals.next().split(" ", 1)[1].rpartition(" ")[0] for _ in range(8))
    assert places == {"None suite": 2, "env suite": 2, "None elsewhere": 2, "python suite": 2}


def test_nothing_to_run(suite):
    suite.files(test_a="")
    result = suite.run("-n2")
    assert result.code == 5, result.text
    assert imports(suite) == 1


@pytest.mark.parametrize("args", [[], ["--continue-on-collection-errors"], ["-x"]])
def test_errors_of_collection_are_told_once(suite, args):
    suite.files(test_a=OUTCOMES, test_b="raise ValueError('at import')\n")
    result = suite.run("-n3", *args)
    collected = imports(suite)
    expected = suite.run("-n3", "--start=spawn", *args)
    assert facts(result) == facts(expected), result.text
    assert result.text.count("ValueError: at import") == expected.text.count("ValueError: at import")
    assert collected == 1


@pytest.mark.parametrize(
    "where", ["import", "pytest_configure", "pytest_sessionstart", "pytest_collection_modifyitems"]
)
@pytest.mark.parametrize("how", ["pytest.exit('enough', 7)", "sys.exit(7)"])
def test_a_conftest_that_ends_the_session(suite, where, how):
    text = how if where == "import" else f"def {where}():\n    {how}"
    suite.files(conftest=f"import pytest, sys\n{text}\n", test_a=OUTCOMES)
    result = suite.run("-n2")
    expected = suite.run("-n2", "--start=spawn")
    # As under plain pytest, the code is 7 only where pytest expects such an end.
    assert result.code in (3, 4, 7)
    assert facts(result) == facts(expected)


def test_only_the_failed_ones_of_the_last_run(suite):
    suite.files(test_a=OUTCOMES)
    assert suite.run("-n2").code == 1
    result = suite.run("-n2", "--lf")
    assert result.totals == {"failed": 1, "error": 1}, result.text
    assert imports(suite) == 2


def test_warnings_and_plugins_may_be_strict(suite):
    """From 3.12 on Python warns of forks where threads are."""
    suite.files(test_a="def test_who(worker_id):\n    signal(f'{worker_id} here')\n")
    in_each(suite, "-W", "error")
    in_each(suite, PYTHONWARNINGS="error", PYTHONDEVMODE="1")


# What each worker has of its own.


def test_identity_and_directories(suite):
    suite.files(
        test_a="""
        import os

        def test_who(worker_id, testrun_uid, pytestconfig, tmp_path, tmp_path_factory):
            assert os.environ["PYTEST_XDIST_WORKER"] == worker_id == pytestconfig.workerinput["workerid"]
            assert os.environ["PYTEST_XDIST_TESTRUNUID"] == testrun_uid == pytestconfig.workerinput["testrunuid"]
            assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "3" == str(pytestconfig.workerinput["workercount"])
            base = tmp_path_factory.getbasetemp()
            assert base in tmp_path.parents
            assert base.name == f"popen-{worker_id}"
            signal(f"{worker_id} {base.parent} {testrun_uid}")
        """
    )
    assert len(set(in_each(suite).values())) == 1


SPEAKING = """
import logging, os, sys

import addressed

def test_speaks(worker_id):
    print(f"<{worker_id} print>")
    print(f"<{worker_id} stderr>", file=sys.stderr)
    os.write(1, f"<{worker_id} raw>".encode())
    addressed.LOGGER.warning(f"<{worker_id} handler>")
    addressed.KEPT.write(f"<{worker_id} kept>")
    assert 0
"""

ADDRESSED = """
import logging, sys

LOGGER = logging.getLogger("addressed")
LOGGER.addHandler(logging.StreamHandler())
KEPT = sys.stdout
"""


@pytest.mark.parametrize("capture", ["fd", "sys", "tee-sys", "no"])
def test_output_is_the_workers_own(suite, capture):
    suite.files(conftest="import addressed\n", addressed=ADDRESSED, test_a=SPEAKING)
    told = {}
    for start in ("fork", "spawn"):
        result = suite.run("-n3", "--dist=each", f"--capture={capture}", f"--start={start}")
        assert result.code == 1, result.text
        reports = [
            event for event in result.events if event["$report_type"] == "TestReport" and event["when"] == "call"
        ]
        assert len(reports) == 3
        told[start] = {
            report["worker_id"]: sorted((title, text) for title, text in report["sections"]) for report in reports
        }
        for worker, sections in told[start].items():
            for _, text in sections:
                assert text.count("<gw") == text.count(f"<{worker} "), text
        for worker in told[start]:
            for what in ("print", "stderr", "raw", "handler", "kept"):
                assert f"<{worker} {what}>" in result.text, "said or shown somewhere"
    assert told["fork"] == told["spawn"]
    assert imports(suite) == 1 + 3


def test_output_redirected_at_import_stays_so(suite):
    suite.files(
        conftest="""
        import os
        os.dup2(os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        """,
        test_a="""
        import os

        def test_writes(worker_id):
            os.write(2, f"{worker_id}\\n".encode())
            signal(f"{worker_id} done")
        """,
    )
    in_each(suite, "-s")
    assert sorted((suite.directory / "log").read_text().split()) == ["gw0", "gw1", "gw2"]


@pytest.mark.parametrize(
    ("at_import", "alike"),
    [
        ("", False),
        ("random.seed()", False),
        ("random.seed(42)", True),
        ("random.seed(42); random.random()", True),
        ("state = random.getstate(); random.seed(); random.setstate(state)", True),
    ],
)
def test_random_numbers(suite, at_import, alike):
    suite.files(
        conftest=f"import random\n{at_import}\n",
        test_a="import random\n\ndef test_draws(worker_id):\n    signal(f'{worker_id} {random.random()}')\n",
    )
    drawn = set(in_each(suite).values())
    assert len(drawn) == (1 if alike else 3)
    if "42" in at_import:
        assert suite.run("-n1", "--start=spawn").code == 0
        assert suite.signals.next().split()[1] in drawn


def test_generators_of_random_numbers(suite):
    suite.files(
        conftest="""
        import random

        UNSEEDED = random.Random()
        SEEDED = random.Random(42)
        ANEW = random.Random(42)
        ANEW.seed()
        LATE = random.Random()
        LATE.seed(42)
        """,
        test_a="""
        import conftest

        def test_draws(worker_id):
            drawn = [each.random() for each in (conftest.UNSEEDED, conftest.SEEDED, conftest.ANEW, conftest.LATE)]
            signal(f"{worker_id} {' '.join(map(str, drawn))}")
        """,
    )
    told = in_each(suite).values()
    unseeded, seeded, anew, late = (len(set(column)) for column in zip(*(line.split() for line in told)))
    assert (unseeded, seeded, anew, late) == (3, 1, 3, 1)


@pytest.mark.parametrize(("seed_left_at_import", "anew"), [("object()", True), ("None", False)])
def test_numpys_generator_is_seeded_unless_the_suite_has_done_so(suite, seed_left_at_import, anew):
    suite.files(
        conftest=f"""
        import os, sys, types

        # As much of numpy as matters here.
        NUMPY = types.ModuleType("numpy.random.mtrand")
        NUMPY._rand = types.SimpleNamespace(_bit_generator=types.SimpleNamespace(_seed_seq={seed_left_at_import}))
        NUMPY.seed = lambda: setattr(NUMPY, "seeded_in", os.getpid())
        sys.modules["numpy.random.mtrand"] = NUMPY
        """,
        test_a="""
        import os
        from conftest import NUMPY

        def test_seeded(worker_id):
            signal(f"{worker_id} {getattr(NUMPY, 'seeded_in', 0) == os.getpid()}")
        """,
    )
    # The first worker goes on from where it was.
    assert in_each(suite) == {"gw0": "False", "gw1": str(anew), "gw2": str(anew)}


def test_positions_in_files_and_files_without_a_name(suite):
    (suite.directory / "lines").write_text("first\nsecond\nthird\n")
    suite.files(
        conftest="""
        import os, tempfile

        LINES = open(os.path.join(os.path.dirname(__file__), "lines"), buffering=1)
        os.lseek(LINES.fileno(), len("first\\n"), os.SEEK_SET)
        SCRATCH = tempfile.TemporaryFile(buffering=0)
        SCRATCH.write(b"common ")
        DUPLICATE = os.dup(SCRATCH.fileno())

        import pytest

        @pytest.fixture
        def files():
            return LINES, SCRATCH, DUPLICATE
        """,
        test_a="""
        import os

        def test_reads(worker_id, files):
            lines, scratch, duplicate = files
            os.write(duplicate, worker_id.encode())
            scratch.write(b" end")
            scratch.seek(0)
            signal(f"{worker_id} {os.read(lines.fileno(), 6)} {scratch.read()}")
        """,
    )
    told = in_each(suite)
    assert told == {worker: f"{b'second'} {f'common {worker} end'.encode()}" for worker in told}


def test_what_tests_register_to_be_called_at_exit(suite):
    suite.files(
        test_a="""
        import atexit

        def test_registers(worker_id):
            atexit.register(signal, f"{worker_id} exit")
        """
    )
    in_each(suite)


def test_handlers_of_signals_are_kept(suite):
    suite.files(
        conftest="""
        import signal as signals

        CAME = []
        signals.signal(signals.SIGUSR1, lambda number, frame: CAME.append(number))
        """,
        test_a="""
        import os, signal as signals
        import conftest

        def test_signal(worker_id):
            os.kill(os.getpid(), signals.SIGUSR1)
            assert conftest.CAME == [signals.SIGUSR1]
            signal(f"{worker_id} done")
        """,
    )
    in_each(suite)


@pytest.mark.parametrize("handling", ["signals.SIG_IGN", "reap", "complain"])
def test_a_suite_that_minds_its_children_itself(suite, handling):
    suite.files(
        conftest=f"""
        import os, signal as signals

        def reap(*_):
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pass

        def complain(*_):
            raise RuntimeError("a child that nobody has started")

        signals.signal(signals.SIGCHLD, {handling})
        """,
        test_a=f"""
        import conftest, signal as signals

        def test_who(worker_id):
            assert signals.getsignal(signals.SIGCHLD) is {handling if "." in handling else f"conftest.{handling}"}
            signal(f"{{worker_id}} here")
        """,
    )
    in_each(suite)


def test_a_test_may_fork(suite):
    suite.files(
        test_a="""
        import os, subprocess, sys, threading

        def test_forks(worker_id):
            child = os.fork()
            if child == 0:
                os._exit(5)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
            assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\\n"
            thread = threading.Thread(target=lambda: None)
            thread.start()
            thread.join()
            signal(f"{worker_id} done")
        """
    )
    in_each(suite)


@pytest.mark.parametrize("policy", ["all", "failed", "none"])
@pytest.mark.parametrize("given", [True, False])
def test_which_temporary_directories_are_kept(suite, policy, given):
    suite.ini(f"tmp_path_retention_policy = {policy}\ntmp_path_retention_count = 2\n")
    suite.files(test_a=OUTCOMES)
    trees = []
    for start in ("fork", "spawn"):
        root = suite.scratch / f"root-{start}"
        root.mkdir()
        args = ["--basetemp", root / "base"] if given else []
        for _ in range(3):
            suite.run("-n2", "--dist=each", f"--start={start}", *args, PYTEST_DEBUG_TEMPROOT=str(root))
        trees.append(sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_symlink()))
    assert trees[0] == trees[1]
    assert any("popen-gw1" in path for path in trees[0]) or (policy == "none" and not given)


# When no worker is forked.

REASONS = {
    "environment": ("import os; os.environ['PYTEST_XDIST_WORKER']", "asks which worker it is in"),
    "getenv": ("import os; os.getenv('PYTEST_XDIST_WORKER')", "conftest.py:8 asks which worker it is in"),
    "environment in bytes": ("import os; os.environb[b'PYTEST_XDIST_WORKER']", "asks which worker it is in"),
    "copy of the environment": ("import os; dict(os.environ)", "asks which worker it is in"),
    "workerinput": (
        "def pytest_configure(config):\n    config.workerinput['workerid']",
        "asks which worker it is in",
    ),
    "workerinput in collection": (
        "def pytest_collection_modifyitems(config):\n    config.workerinput.get('workerid')",
        "asks which worker it is in",
    ),
    "session's end": ("def pytest_sessionfinish():\n    pass", "conftest.py implements pytest_sessionfinish"),
    "configuration's end": ("def pytest_unconfigure():\n    pass", "conftest.py implements pytest_unconfigure"),
    "cleanup": (
        "def pytest_configure(config):\n    config.add_cleanup(lambda: None)",
        "asks for something to be done when pytest ends",
    ),
    "wrapper": (
        "import pytest\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtestloop():\n    yield",
        "conftest.py wraps pytest_runtestloop",
    ),
    "thread": (
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True, name='mine').start()",
        "a thread is running: mine",
    ),
    "library's thread": ("import faulthandler; faulthandler.dump_traceback_later(600)", "1 threads of libraries"),
    "child": ("import subprocess; CHILD = subprocess.Popen(['sleep', '600'])", "a child process is there"),
    "socket": ("import socket; SOCKET = socket.socket()", "a socket is open"),
    "pipe": ("import os; PIPE = os.pipe()", "a pipe is open"),
    "device": ("import os; DEVICE = os.open('/dev/ptmx', os.O_RDWR)", "a device is open: /dev/ptmx"),
    "event loop": ("import select; POLL = select.epoll()", "this is open: anon_inode"),
    "database": ("FILE = open('database', 'w+b')", "a file is open for reading and writing"),
    "lock": ("import fcntl; FILE = open('lock', 'w'); fcntl.flock(FILE, fcntl.LOCK_SH)", "a file is locked"),
    "shared memory": ("import mmap; SHARED = mmap.mmap(-1, 4096)", "memory is shared"),
    "multiprocessing's lock": ("import multiprocessing; LOCK = multiprocessing.Lock()", "memory is shared"),
    "multiprocessing's value": ("import multiprocessing; VALUE = multiprocessing.Value('i')", "memory is shared"),
    "timer": ("import signal as signals; signals.alarm(600)", "a timer is running"),
    "temporary place": ("import tempfile; PLACE = tempfile.mkdtemp()", "makes temporary files"),
    "temporary name": ("import tempfile; PLACE = tempfile.mktemp()", "takes a name for temporary files"),
    "port": (
        "import socket\nwith socket.socket() as one:\n    one.bind(('127.0.0.1', 0))\n    PORT = one.getsockname()[1]",
        "takes an address of the network",
    ),
    "process": ("import os; NAME = os.getpid()", "asks for the number of the process"),
    "unique name": ("import uuid; NAME = uuid.uuid4()", "asks for randomness"),
    "random parameters": (
        "import pytest, uuid\n@pytest.mark.parametrize('one', [uuid.uuid4()])\n@pytest.mark.parametrize('two', [1, 2])\n"
        "def test_unused(one, two):\n    pass",
        "asks for randomness",
    ),
    "secret": ("import secrets; NAME = secrets.token_hex()", "asks for randomness"),
    "exit": ("import atexit; atexit.register(print)", "print is to be called at exit"),
    "temporary directory": ("import tempfile; DIRECTORY = tempfile.TemporaryDirectory()", "makes temporary files"),
    "basetemp": (
        "def pytest_sessionstart(session):\n    session.config._tmp_path_factory.mktemp('early')",
        "the temporary directory is in use already",
    ),
    "coverage": (
        "import sys, types\nclass Coverage:\n    current = classmethod(lambda cls: cls)\n"
        "sys.modules['coverage'] = types.SimpleNamespace(Coverage=Coverage)",
        "coverage is being measured",
    ),
    "pytest-cov": (
        "def pytest_addoption(parser, pluginmanager):\n    pluginmanager.register(type('Plugin', (), {})(), '_cov')",
        "pytest-cov has to be started in every worker",
    ),
    "forks that fail": (
        "import os; os.register_at_fork(after_in_child=lambda: os._exit(1))",
        "the system refuses: it has no room for another process",
    ),
    "no ctypes": ("import sys; sys.modules['ctypes'] = None", "this Python has no ctypes"),
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_difference_that_could_be_noticed(suite, expected, reason):
    text, told = REASONS[reason]
    suite.files(conftest=text + "\n", test_a=OUTCOMES)
    # It would import the conftest too.
    result = suite.run("-n2", "-v", "--pytest-host=never")
    assert imports(suite) == 2, result.text
    assert result.out.count("every worker collects by itself: ") == 1, result.text
    assert told in result.out.partition("every worker collects by itself: ")[2].partition("\n")[0]
    assert facts(result) == expected


def test_others_begin_as_soon_as_it_is_known_that_they_cannot_be_forked(suite):
    # The second module is imported to its end only if the other worker is there by then.
    suite.files(
        test_a="import pathlib, uuid\nNAME = uuid.uuid4()\n"
        "pathlib.Path(f'here-{NAME}').touch()\ndef test():\n    pass\n",
        test_b="import pathlib, time\nend = time.monotonic() + 60\n"
        "while len(list(pathlib.Path().glob('here-*'))) < 2:\n"
        "    assert time.monotonic() < end\n    time.sleep(0.01)\ndef test():\n    pass\n",
    )
    result = suite.run("-n2", "-v", "--pytest-host=never")
    assert result.totals == {"passed": 2}, result.text
    assert "asks for randomness" in result.out, result.text


HARMLESS = {
    "logging": "import logging; logging.basicConfig(filename='log')",
    "standard library": "import asyncio, concurrent.futures, multiprocessing, pdb, unittest.mock, weakref",
    "null": "NULL = open('/dev/null', 'r+')",
    "reading": "FILE = open(__file__)",
    "appending": "FILE = open('log', 'a+')",
    "temporary file": "import tempfile; FILE = tempfile.TemporaryFile()",
    # It may not have left when it is said to have ended.
    "finished thread": "import os, threading; thread = threading.Thread(target=print); thread.start(); thread.join()\n"
    "while len(os.listdir('/proc/self/task')) > 1: pass",
    "finished child": "import subprocess; subprocess.run(['true'])",
    "other variables": "import os; os.environ.get('HOME'); os.environ['MINE'] = '1'; 'PYTEST_XDIST_WORKER' in os.environ",
    "being a worker": "def pytest_configure(config):\n    assert hasattr(config, 'workerinput')",
    "beginning": "def pytest_sessionstart():\n    pass",
    "private memory": "import mmap; MEMORY = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)",
    "temporary file that is gone": "import tempfile\nwith tempfile.NamedTemporaryFile() as file:\n    pass",
    "log record": "import logging; logging.LogRecord('mine', 10, 'file', 1, 'text', (), None)",
    "event loop": "import asyncio; loop = asyncio.new_event_loop(); loop.close()",
}


@pytest.mark.parametrize("what", HARMLESS)
def test_what_cannot_be_noticed(suite, expected, what):
    suite.files(conftest=HARMLESS[what] + "\n", test_a=OUTCOMES)
    result = suite.run("-n2", "-v", "--pytest-host=never")
    assert imports(suite) == 1, result.text
    assert "collects by itself" not in result.out
    assert facts(result) == expected


def test_why_is_told_only_to_those_who_ask(suite):
    suite.files(conftest="import socket; SOCKET = socket.socket()\n", test_a=OUTCOMES)
    assert "collects by itself" not in suite.run("-n2").text


@pytest.mark.parametrize(
    "reason", ["environment", "session's end", "socket", "exit", "thread", "multiprocessing's lock"]
)
def test_forking_can_be_forced(suite, reason):
    suite.files(conftest=REASONS[reason][0] + "\n", test_a=OUTCOMES)
    result = suite.run("-n2", "-v", "--start=fork")
    assert (result.code, result.totals["passed"]) == (1, 6), result.text
    assert imports(suite) == 1
    assert "collects by itself" not in result.out
