"""Workers that a real mpirun starts, all on this machine."""

import os
import shutil
import signal

import pytest
from end_to_end import DEADLINE
from pages import follow
from processes import Watched, descendants

TWENTY = """
    import pytest

    @pytest.mark.parametrize("n", range(20))
    def test_n(n):
        pass
"""

# The first test of every worker says so, and waits until it is allowed to go on.
WAITING = """
    import os, pathlib, pytest, time

    @pytest.mark.parametrize("n", range(8))
    def test_n(n, worker_id):
        signal(f"{os.getpid()} {n} {os.environ['OMPI_COMM_WORLD_RANK']}")
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
"""

LAUNCHER = "exec=mpirun {}-n 2 -x XDIST_JOIN -x XDIST_LAUNCH xdist worker --join --slots 1//hosts=2"


@pytest.fixture
def mpi(commands):
    """The suite, where `mpirun` works as it does for users who have machines enough."""
    if not shutil.which("mpirun", path=commands.env["PATH"]):
        pytest.skip("not run: no mpirun on this machine")
    commands.env.update(
        OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1"
    )
    return commands


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_the_outcomes_are_those_of_pytest(mpi, door):
    mpi.files(
        test_a="""
        import os, pytest

        def test_passes(): pass
        def test_fails(): print("said"); assert 0
        def test_skips(): pytest.skip("why")
        def test_crashes(): os.abort()
        """
    )
    start = mpi.start if door == "run" else mpi.start_pytest
    result = start("--tx", LAUNCHER.format(""), "--min-workers", "2").wait()
    expected = dict(mpi.pytest("--deselect", "test_a.py::test_crashes").outcome_of)
    found = dict(result.outcome_of)
    assert found.pop("test_crashes") == "failed" and found == expected, result.text
    assert "2 workers [4 items]" in result.text


@pytest.mark.parametrize(("way", "code"), [(signal.SIGINT, 2), (signal.SIGKILL, -9)])
def test_nothing_outlives_the_run(mpi, way, code):
    mpi.files(test_a=WAITING)
    run = mpi.start("--tx", LAUNCHER.format(""), "--min-workers", "2")
    tests = [int(mpi.signals.next().split()[0]) for _ in range(2)]
    below = [Watched(pid) for pid in {*descendants(run.popen.pid), *tests}]
    run.signal(way)
    run.popen.wait(DEADLINE)
    assert run.popen.returncode == code
    assert all(process.gone_within(DEADLINE) for process in below)


def test_with_recovery_the_others_run_what_a_lost_host_had(mpi):
    mpi.files(test_a=WAITING)
    run = mpi.start("--tx", LAUNCHER.format("--enable-recovery "), "--min-workers", "2", "--host-timeout", "5s")
    begun = [mpi.signals.next().split() for _ in range(2)]
    lost = begun[0]
    below = {pid: (_read(pid, "cmdline"), _read(pid, "environ")) for pid in descendants(run.popen.pid)}
    # What mpirun has started, which joined; not what that has started.
    rank = f"OMPI_COMM_WORLD_RANK={lost[2]}"
    (joined,) = [pid for pid, (line, variables) in below.items() if "--join" in line and rank in variables]
    test = Watched(int(lost[0]))
    os.kill(joined, signal.SIGKILL)
    # Else it could begin the one after, which waits in its pipe.
    assert test.gone_within(DEADLINE)
    (mpi.directory / "go").touch()
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 8}), result.text
    later = [mpi.signals.next().split() for _ in range(7)]
    assert lost[1] in {number for _, number, _ in later} and {rank for _, _, rank in later} == {begun[1][2]}


def _read(pid, name):
    """The words of a file about a process."""
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read().split("\0")
    except OSError:
        # It has ended.
        return []


def test_what_mpirun_says_of_a_failure_is_told(mpi):
    mpi.files(test_a=TWENTY)
    result = mpi.run("--tx", "exec=mpirun -n 2 no-such-program//hosts=2")
    assert result.code == 3, result.text
    text = " ".join(result.text.split())
    assert "mpirun was unable to find the specified executable file" in text and "it ended with exit code" in text


def test_the_page_can_be_followed_to_the_letter(mpi):
    mpi.files(tests__test_a=TWENTY)
    shutil.copy(mpi.directory / "signals_of_suite.py", mpi.directory / "tests")
    done = follow("mpi.md", mpi.directory, mpi.env, DEADLINE)
    assert len(done) == 5
    for command, code, said in done:
        assert code == 0 and "20 passed" in said, f"{command}\n{said}"
        assert "4 workers [20 items]" in said or "--min-workers" not in command, said
