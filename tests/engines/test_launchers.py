"""Commands that have hosts join: how they end. Shells, in place of the engines that they would call."""

import signal

import pytest
from end_to_end import DEADLINE, PYTHON
from processes import Watched, descendants

TWENTY = """
    import pytest

    @pytest.mark.parametrize("n", range(20))
    def test_n(n):
        pass
"""


@pytest.fixture
def launcher(commands):
    """Makes a command of a script, in which `worker` is a host's."""

    def make(script):
        path = commands.scratch / "launcher.sh"
        path.write_text(f"worker() {{ xdist worker --join --slots 1 --python {PYTHON}; }}\n{script}\n")
        return f"exec=sh {path}//hosts=1"

    return make


def _is_gone(pid):
    try:
        return Watched(pid).gone_within(DEADLINE)
    except ProcessLookupError:
        return True


def test_a_launcher_ends_with_its_hosts(commands, launcher):
    commands.files(test_a=TWENTY)
    result = commands.run("--tx", launcher("trap 'touch told' TERM; worker; touch done"))
    assert (result.code, result.totals) == (0, {"passed": 20}), result.text
    assert (commands.directory / "done").exists() and not (commands.directory / "told").exists()


def test_a_launcher_that_stays_is_told_to_end_with_all_that_it_has_started(commands, launcher):
    commands.files(test_a=TWENTY)
    script = "trap 'touch told; exit 0' TERM; sleep 1000 & echo $! >sleeper; worker; wait"
    run = commands.start("--tx", launcher(script), "--dist", "load")
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 20}), result.text
    assert (commands.directory / "told").exists()
    assert _is_gone(int((commands.directory / "sleeper").read_text()))


def test_a_launcher_that_takes_no_notice_is_ended(commands, launcher):
    commands.files(test_a=TWENTY)
    result = commands.run("--tx", launcher("trap '' TERM; sleep 1000 & echo $! >sleeper; worker; wait"))
    assert (result.code, result.totals) == (0, {"passed": 20}), result.text
    assert _is_gone(int((commands.directory / "sleeper").read_text()))


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_a_launcher_whose_hosts_never_came_ends_with_the_run(commands, launcher, way):
    commands.files(test_a=TWENTY)
    run = commands.start("--tx", launcher("echo in the queue; exec sleep 1000"))
    # What it prints is shown.
    while "in the queue" not in run.popen.stderr.readline():
        assert run.popen.poll() is None
    below = [Watched(pid) for pid in descendants(run.popen.pid)]
    assert len(below) >= 3, "the gate, the keeper and the launcher"
    run.signal(way)
    run.popen.communicate(timeout=DEADLINE)
    assert run.popen.returncode == (2 if way == signal.SIGINT else -9)
    assert all(process.gone_within(DEADLINE) for process in below)


def test_a_launcher_that_has_done_its_work_may_end_before_its_hosts(commands, launcher):
    commands.files(test_a=TWENTY)
    result = commands.run("--tx", launcher("worker & exit 0"))
    assert (result.code, result.totals) == (0, {"passed": 20}), result.text
