"""`once_per_run` and `run_lock`: what all workers of a run share.

What is called is counted by files: each call makes one of its own, so the count is right whoever called at the same time.
"""

import pytest

DOORS = ("xdist run", "pytest -n")

HELPERS = """
    import os, tempfile

    DIRECTORY = os.environ["COUNTED"]

    def count(name):
        descriptor, _ = tempfile.mkstemp(prefix=name + "-", dir=DIRECTORY)
        os.close(descriptor)

    def is_first(name):
        try:
            os.close(os.open(os.path.join(DIRECTORY, name + ".first"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def made(name):
        return sum(entry.startswith(name + "-") for entry in os.listdir(DIRECTORY))
"""

CONFTEST = """
    import os
    import pytest
    from helpers import count, made

    def make():
        count("make")
        return {"url": "postgres://", "ports": (1, 2), "by": os.environ.get("PYTEST_XDIST_WORKER", "master"), "none": None}

    def clean(value):
        assert value["ports"] == (1, 2)
        count("clean")

    @pytest.fixture(scope="session")
    def database(once_per_run):
        value = once_per_run("database", make, clean)
        assert once_per_run("database", make, clean) is value
        yield value
        assert made("clean") == 0
"""


SUITE = """
    import pytest

    @pytest.mark.parametrize("n", range(12))
    def test(n, database):
        assert database["none"] is None
"""


class Run:
    """Runs a suite, and knows how often it has called what."""

    def __init__(self, xdist, door):
        self._xdist = xdist
        self._door = door
        self._directory = xdist.scratch / "counted"
        self._directory.mkdir()

    def __call__(self, *args, **suite):
        return self.start(*args, **suite).wait()

    def start(self, *args, conftest=CONFTEST, **suite):
        self._xdist.files(helpers=HELPERS, conftest=conftest, **suite)
        start = self._xdist.start if self._door == "xdist run" else self._xdist.start_pytest
        return start(*args, COUNTED=str(self._directory))

    def called(self, name):
        return sum(path.name.startswith(f"{name}-") for path in self._directory.iterdir())


@pytest.fixture(params=DOORS)
def run(request, xdist):
    """Through one of the doors."""
    return Run(xdist, request.param)


@pytest.mark.parametrize(
    "args",
    [
        ("-n", "4"),
        ("-n", "4", "--start", "spawn"),
        ("-n", "4", "--start", "fork"),
        ("-n", "4", "--dist", "loadfile"),
        ("-n", "4", "--dist", "each"),
        ("-n", "3", "--isolate"),
        ("-n", "0"),
    ],
    ids=" ".join,
)
def test_a_value_is_made_and_cleaned_up_once(run, args):
    result = run(*args, test_a=SUITE)
    assert result.code == 0, result.text
    assert result.totals == {"passed": 48 if "each" in args else 12}
    assert (run.called("make"), run.called("clean")) == (1, 1)


def test_workers_that_take_the_place_of_others_get_the_same_value(run):
    result = run("-n", "2", "--max-tests-per-worker", "2", test_a=SUITE)
    assert result.code == 0, result.text
    assert run.called("make") == 1
    assert run.called("clean") <= 1


def test_what_makes_it_may_fail_and_then_another_one_makes_it(run):
    conftest = CONFTEST.replace(
        'count("make")',
        """if is_first("failure"):
            raise RuntimeError("no disk")
        count("make")""",
    ).replace("import count", "import is_first, count")
    result = run("-n", "3", "--dist", "each", conftest=conftest, test_a="def test(database): pass")
    assert result.code == 1, result.text
    assert result.totals == {"passed": 2, "error": 1}, result.text
    assert "RuntimeError: no disk" in result.out
    assert (run.called("make"), run.called("clean")) == (1, 1)


def test_what_makes_it_may_die_and_then_another_one_makes_it(run):
    conftest = CONFTEST.replace(
        'count("make")',
        """if is_first("death"):
            os._exit(7)
        count("make")""",
    ).replace("import count", "import is_first, count")
    result = run("-n", "3", conftest=conftest, test_a=SUITE)
    assert result.code == 1, result.text
    assert result.totals == {"passed": 11, "failed": 1}, result.text
    assert (run.called("make"), run.called("clean")) == (1, 1)


@pytest.mark.parametrize("args", [("-n", "2"), ("-n", "0")], ids=" ".join)
def test_a_value_that_cannot_be_sent_is_named(run, args):
    suite = """
    import threading

    def test(once_per_run):
        once_per_run("guard", lambda: {"a": [threading.Lock()]})
    """
    result = run(*args, test_a=suite)
    assert result.code == 1
    assert "TypeError: once_per_run('guard') cannot pass on a value of type _thread.lock to other workers" in result.out


def test_a_cleanup_that_fails_is_told(run):
    conftest = CONFTEST.replace('count("clean")', 'raise OSError("still in use")')
    result = run("-n", "2", conftest=conftest, test_a=SUITE)
    assert result.code == 3, result.text
    assert "the cleanup of once_per_run('database') failed" in result.text
    assert "OSError: still in use" in result.text


@pytest.mark.parametrize("args", [("-n", "4"), ("-n", "4", "--isolate"), ("-n", "0")], ids=" ".join)
def test_a_lock_is_had_by_one_worker_at_a_time(run, args):
    suite = """
    import os, time
    import pytest
    from helpers import DIRECTORY, count

    @pytest.mark.parametrize("n", range(16))
    def test(n, run_lock):
        path = os.path.join(DIRECTORY, "inside")
        with run_lock("door"):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            sum(range(100_000))
            os.unlink(path)
        count("done")
    """
    result = run(*args, test_a=suite)
    assert result.code == 0, result.text
    assert run.called("done") == 16


def test_a_worker_that_dies_lets_others_have_its_lock(run):
    suite = """
    import os
    import pytest
    from helpers import is_first

    @pytest.mark.parametrize("n", range(6))
    def test(n, run_lock):
        with run_lock("door"):
            if is_first("death"):
                os._exit(7)
    """
    result = run("-n", "3", test_a=suite)
    assert result.totals == {"passed": 5, "failed": 1}, result.text


def test_locks_that_wait_for_each_other_are_refused(run):
    suite = """
    import os
    import pytest
    from helpers import DIRECTORY, count, made

    @pytest.mark.parametrize("first, second", [("x", "y"), ("y", "x")])
    def test(first, second, run_lock):
        with run_lock(first):
            count("there")
            while made("there") < 2:
                os.sched_yield()
            with run_lock(second):
                pass
    """
    result = run("-n", "2", test_a=suite)
    assert result.totals == {"passed": 1, "failed": 1}, result.text
    assert "nobody could go on; take them in the same order everywhere" in result.out


def test_waiting_counts_for_no_limit(run):
    suite = """
    import time

    def test(run_lock):
        with run_lock("door"):
            # The last of the four waits for longer than the limit.
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                sum(range(1000))
    """
    result = run("-n", "4", "--dist", "each", "--timeout", "4", test_a=suite)
    assert result.totals == {"passed": 4}, result.text


def test_who_waits_can_be_interrupted_by_a_signal_of_its_own(run):
    suite = """
    import signal
    import pytest
    from helpers import count, made

    class Impatient(Exception):
        pass

    def give_up(*_):
        raise Impatient

    @pytest.mark.parametrize("n", range(2))
    def test(n, run_lock):
        signal.signal(signal.SIGALRM, give_up)
        if n == 0:
            with run_lock("door"):
                count("in")
                while not made("out"):
                    pass
        else:
            while not made("in"):
                pass
            with pytest.raises(Impatient):
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                with run_lock("door"):
                    raise AssertionError("two have the lock")
            count("out")
            with run_lock("door"):
                pass
    """
    result = run("-n", "2", test_a=suite)
    assert result.totals == {"passed": 2}, result.text


def test_helpers_import_them_from_the_module(run):
    conftest = """
    import pytest
    from helpers import count
    from xdist import once_per_run, run_lock

    def pytest_sessionstart(session):
        if hasattr(session.config, "workerinput"):
            with run_lock("start"):
                assert once_per_run("start", lambda: count("make") or 5, lambda value: count("clean")) == 5
    """
    result = run(
        "-n",
        "3",
        "--start",
        "spawn",
        conftest=conftest,
        test_a=SUITE.replace("database", "tmp_path").replace("assert", "#"),
    )
    assert result.code in (0, 1), result.text
    assert (run.called("make"), run.called("clean")) == (1, 1), result.text


def test_an_interrupted_run_is_not_waited_for(run, xdist):
    import signal as signals

    suite = """
    import time
    import pytest
    from signals_of_suite import signal

    @pytest.mark.parametrize("n", range(2))
    def test(n, database, run_lock):
        signal("asks")
        with run_lock("door"):
            time.sleep(60)
    """
    process = run.start("-n", "2", test_a=suite)
    assert [xdist.signals.next(), xdist.signals.next()] == ["asks", "asks"]
    process.signal(signals.SIGINT)
    result = process.wait()
    assert result.code == 2, result.text
    assert "INTERNALERROR" not in result.text
    assert run.called("clean") <= 1
