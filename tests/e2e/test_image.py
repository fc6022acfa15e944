# ruff: noqa: F811 (tests take the fixture `suite`)
"""The image that workers are forked from, and how all of them end."""

import os
import signal
import sys

import pytest
from conftest import DEADLINE
from forking import OUTCOMES, imports, in_each, suite  # noqa: F401  (the last is a fixture)
from processes import Watched, descendants

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


@pytest.mark.parametrize("victim", ["gw0", "gw1"])
def test_a_replacement_is_forked_too(suite, victim):
    suite.files(
        test_a=f"""
        import os

        def test_before():
            pass

        def test_dies(worker_id):
            if worker_id == "{victim}":
                os._exit(7)

        def test_after(worker_id):
            signal(f"{{worker_id}} {{os.environ['PYTEST_XDIST_WORKER']}}")
        """
    )
    result = suite.run("-n2", "--dist=each")
    assert (result.code, result.totals) == (1, {"failed": 1, "passed": 5}), result.text
    assert f"worker '{victim}' crashed while running 'test_a.py::test_dies'" in result.out
    assert "exit code 7" in result.out
    survivor = "gw1" if victim == "gw0" else "gw0"
    assert {suite.signals.next() for _ in range(2)} == {f"{survivor} {survivor}", "gw2 gw2"}
    assert imports(suite) == 1


def test_every_worker_may_crash_and_be_replaced(suite):
    suite.files(
        test_a="import os, pytest\n\n@pytest.mark.parametrize('n', range(8))\ndef test_dies(n):\n    os._exit(1)\n"
    )
    result = suite.run("-n2")
    assert (result.code, result.totals) == (1, {"failed": 8}), result.text
    assert imports(suite) == 1


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_the_stack_and_the_last_words_of_a_forked_worker(suite, capture):
    suite.files(
        test_a="""
        import ctypes, os

        def descend():
            ctypes.string_at(0)

        def test_dies(worker_id):
            if worker_id == "gw1":
                descend()
        """
    )
    result = suite.run("-n2", "--dist=each", f"--capture={capture}")
    assert result.totals == {"failed": 1, "passed": 1}, result.text
    assert "SIGSEGV" in result.out
    assert "in descend" in result.out
    assert imports(suite) == 1


def test_exit_from_a_forked_worker(suite):
    suite.files(
        test_a="""
        import sys, pytest

        def test_sys(worker_id):
            if worker_id == "gw1":
                sys.exit(3)

        def test_pytest(worker_id):
            if worker_id == "gw1":
                pytest.exit("enough", 9)
        """
    )
    result = suite.run("-n2", "--dist=each")
    assert result.code == 9, result.text
    assert result.totals["failed"] == 1, "sys.exit is a failure as any other"
    assert "enough" in result.out


@pytest.mark.parametrize("victim", ["interrupted", "coordinator", "host"])
def test_nothing_stays_alive(suite, victim):
    suite.files(
        test_a="""
        import pytest, time

        @pytest.mark.parametrize("n", range(2))
        def test_slow(n):
            signal("running")
            time.sleep(600)
        """
    )
    run = suite.start("-n2")
    for _ in range(2):
        suite.signals.next()
    # The host is the coordinator's only child; below it are two workers and the image.
    host, *others = descendants(run.popen.pid)
    assert len(others) == 3
    watched = [Watched(pid) for pid in (host, *others)]
    if victim == "host":
        os.kill(host, signal.SIGKILL)
    else:
        run.signal(signal.SIGINT if victim == "interrupted" else signal.SIGKILL)
    alive = [process.pid for process in watched if not process.gone_within(DEADLINE)]
    for process in watched:
        process.close()
    assert not alive
    if victim == "host":
        # It may be replaced, and what it ran is then run elsewhere.
        run.popen.kill()
    run.popen.communicate(timeout=30)


def test_interrupt_while_the_others_wait_for_the_first(suite):
    suite.files(test_a="import time\nsignal('collecting')\ntime.sleep(600)\n")
    run = suite.start("-n3")
    assert suite.signals.next() == "collecting"
    run.signal(signal.SIGINT)
    result = run.wait()
    assert result.code == 2, result.text


@pytest.mark.parametrize("option", ["--start=auto", "--isolate"])
def test_an_interrupt_that_interrupts_nothing_is_followed_by_nudges(suite, option):
    suite.files(
        test_a="""
        import signal as signals, time

        def nudge(*_):
            raise KeyboardInterrupt

        def test():
            # As if the signal had come just before the system was asked to wait.
            signals.signal(signals.SIGINT, lambda *_: None)
            signals.signal(signals.SIGURG, nudge)
            signal("running")
            time.sleep(600)
        """
    )
    run = suite.start("-n1", option)
    assert suite.signals.next() == "running"
    run.signal(signal.SIGINT)
    assert run.wait().code == 2


def test_an_image_that_is_killed(suite):
    suite.files(
        test_a="""
        import os, pathlib, time
        import pytest

        def test_dies():
            signal(os.getpid())
            while not pathlib.Path(__file__).with_name("go").exists():
                time.sleep(0.01)
            os._exit(3)

        @pytest.mark.parametrize("n", range(10))
        def test_other(n):
            pass
        """
    )
    run = suite.start("-n2", "--dist=each")
    workers = {int(suite.signals.next()) for _ in range(2)}
    _, *others = descendants(run.popen.pid)
    (image,) = set(others) - workers
    watched = Watched(image)
    os.kill(image, signal.SIGKILL)
    assert watched.gone_within(DEADLINE)
    watched.close()
    (suite.directory / "go").touch()
    result = run.wait()
    assert (result.code, result.totals) == (1, {"failed": 2, "passed": 20}), result.text
    assert imports(suite) == 3, "once for all, and once by each replacement"


def test_an_image_that_hangs_holds_nobody_up(suite):
    suite.files(
        test_a="""
        import os, pathlib, time
        import pytest

        def test_pid(worker_id):
            signal(f"{worker_id} {os.getpid()}")
            while not pathlib.Path(__file__).with_name("go").exists():
                time.sleep(0.01)

        @pytest.mark.parametrize("n", range(200))
        def test_other(n):
            pass

        def test_last(worker_id):
            signal(f"{worker_id} has ended")
        """
    )
    run = suite.start("-n2", "--dist=each")
    pids = dict(suite.signals.next().split() for _ in range(2))
    _, *others = descendants(run.popen.pid)
    (image,) = {str(pid) for pid in others} - set(pids.values())
    os.kill(int(image), signal.SIGSTOP)
    os.kill(int(pids["gw1"]), signal.SIGKILL)
    (suite.directory / "go").touch()
    # More than it had been told of before.
    assert suite.signals.next() == "gw0 has ended"
    os.kill(int(image), signal.SIGCONT)
    assert suite.signals.next() == "gw2 has ended"
    result = run.wait()
    assert (result.code, result.totals) == (1, {"failed": 1, "passed": 403}), result.text
    assert imports(suite) == 1


def test_many_workers_are_forked_at_once(suite):
    suite.files(
        test_a="""
        import os

        def test(worker_id, tmp_path_factory):
            signal(f"{worker_id} {os.environ['PYTEST_XDIST_WORKER']} {tmp_path_factory.getbasetemp().name}")
        """
    )
    assert in_each(suite, workers=9) == {f"gw{n}": f"gw{n} popen-gw{n}" for n in range(9)}


def test_death_of_the_first_worker_while_it_collects(suite):
    suite.files(
        test_a="""
        import os

        if os.path.exists("imports") and len(open("imports").readlines()) == 1:
            os._exit(5)
        """,
        test_b=OUTCOMES,
    )
    result = suite.run("-n2")
    expected = suite.run("-n2", "--start=spawn")
    assert "exit code 5" in result.text
    assert result.code in (1, expected.code), result.text


@pytest.mark.parametrize("start", ["auto", "spawn"])
def test_the_first_worker_killed_while_it_collects_is_replaced(suite, start):
    suite.files(
        test_a="import os, pathlib, signal\ntry:\n    pathlib.Path('killed').touch(exist_ok=False)\n"
        "except FileExistsError:\n    pass\nelse:\n    os.kill(os.getpid(), signal.SIGKILL)\ndef test():\n    pass\n"
    )
    result = suite.run("-n2", "--dist=each", f"--start={start}")
    assert result.totals == {"passed": 2}, result.text
    assert "replacing crashed worker" in result.text
