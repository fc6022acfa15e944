"""Workers that Slurm starts: a real one, with two nodes on this machine."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from end_to_end import DEADLINE, PYTHON
from pages import follow
from processes import Watched, descendants

DOORS = ["run", "pytest"]

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
        signal(f"{worker_id} {os.getpid()} {n} {os.environ.get('SLURM_JOB_ID')} {os.environ.get('SLURMD_NODENAME')}")
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
"""


def start(xdist, door, *args, **env):
    return xdist.start(*args, **env) if door == "run" else xdist.start_pytest(*args, **env)


def words(result):
    return " ".join(result.text.split())


@pytest.mark.parametrize("door", DOORS)
def test_the_outcomes_are_those_of_pytest(slurm, xdist, door):
    xdist.files(
        test_a="""
        import os, pytest, sys

        def test_passes(): pass
        def test_fails(): print("said"); assert 0
        def test_skips(): pytest.skip("why")
        def test_long(): print("x" * 3_000_000); assert 0
        def test_crashes(): os.abort()
        @pytest.mark.xfail
        def test_x(): assert 0
        @pytest.fixture
        def broken(): raise RuntimeError
        def test_e(broken): pass
        """
    )
    result = start(xdist, door, "--tx", "slurm=2//cpus=2", "--min-workers", "4").wait()
    expected = dict(xdist.pytest("--deselect", "test_a.py::test_crashes").outcome_of)
    found = dict(result.outcome_of)
    assert found.pop("test_crashes") == "failed" and found == expected, result.text
    assert result.code == 1 and "4 workers [7 items]" in result.text
    slurm.await_queue()


@pytest.mark.parametrize("door", DOORS)
def test_slurm_among_the_settings_counts_too(slurm, xdist, door):
    xdist.files(test_a=TWENTY)
    xdist.ini("addopts = --tx slurm=2//partition=debug --dist load")
    result = start(xdist, door).wait()
    assert (result.code, result.totals) == (0, {"passed": 20}), result.text


def test_a_node_is_a_host_with_as_many_workers_as_processors(slurm, xdist):
    xdist.files(
        test_a="""
        import os, pytest, sys

        @pytest.mark.parametrize("n", range(40))
        def test_n(n):
            signal(json.dumps([sys.executable, os.getcwd(), os.nice(0), os.environ["K"], os.environ["SLURMD_NODENAME"],
                               os.environ["SLURM_CPUS_ON_NODE"], os.environ.get("XDIST_JOIN")]))
        """.replace("import os", "import json, os", 1)
    )
    spec = "slurm=2//cpus=3//nice=2//env:K=V//slurm_args=--job-name=xdist"
    result = xdist.run("--tx", spec, "--min-workers", "6", "--dist", "load")
    assert (result.code, result.totals) == (0, {"passed": 40}) and "6 workers" in result.out, result.text
    told = [json.loads(xdist.signals.next()) for _ in range(40)]
    nodes = {line.pop(4) for line in told}
    assert nodes == {"node1", "node2"}
    expected = [PYTHON, str(xdist.directory), os.nice(0) + 2, "V", "3", None]
    assert all(line == expected for line in told), told[0]


@pytest.mark.parametrize("way", ["salloc", "sbatch", "srun"])
def test_in_an_allocation_the_nodes_and_processors_are_those_that_it_has(slurm, xdist, way):
    xdist.files(test_a=TWENTY)
    run = [xdist.binary, "run", "--python", PYTHON, "--tx", "slurm", "--min-workers", "4", "--report-log", "log"]
    asked = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=2", "--job-name=outer"]
    if way == "sbatch":
        script = xdist.scratch / "job.sh"
        script.write_text(f"#!/bin/sh\n{' '.join(run)}\n")
        command = ["sbatch", "--wait", "--output=out", *asked, script]
    else:
        # A step within a step shares what that has.
        command = [way, *asked, *(["sh", "-c", f"[ $SLURM_PROCID = 0 ] || exit 0; {' '.join(run)}"] if way == "srun" else run)]  # fmt: skip
    done = subprocess.run(command, cwd=xdist.directory, env=xdist.env, text=True, capture_output=True, timeout=DEADLINE)
    said = (xdist.directory / "out").read_text() if way == "sbatch" else done.stdout
    assert done.returncode == 0 and "20 passed" in said and "4 workers [20 items]" in said, said + done.stderr
    slurm.await_queue(name="outer")


def test_ctrl_c_leaves_nothing_behind(slurm, xdist):
    xdist.files(test_a=WAITING)
    run = xdist.start("--tx", "slurm=2")
    test = Watched(int(xdist.signals.next().split()[1]))
    assert slurm.queue() == ["RUNNING"]
    run.signal(signal.SIGINT)
    result = run.wait()
    assert result.code == 2, result.text
    assert test.gone_within(DEADLINE)
    slurm.await_queue()


def test_ctrl_c_in_an_allocation_ends_the_step_alone(slurm, xdist):
    xdist.files(test_a=WAITING)
    command = [xdist.binary, "run", "--python", PYTHON, "--tx", "slurm"]
    script = f"{' '.join(command)} > /dev/null & echo $!; wait $!; echo $?; read line"
    shell = subprocess.Popen(["salloc", "--nodes=2", "--job-name=outer", "sh", "-c", script], cwd=xdist.directory,
                             env=xdist.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    try:
        pid = int(shell.stdout.readline())
        xdist.signals.next()
        # Those of `sh` in the background take no notice of Ctrl-C.
        os.kill(pid, signal.SIGTERM)
        lines = iter(shell.stdout.readline, "")
        assert next(line for line in lines if line.strip().isdigit()) == "2\n"
        slurm.await_steps(slurm.jobs("outer")[0])
        assert slurm.queue("outer") == ["RUNNING"]
    finally:
        shell.communicate("\n", timeout=DEADLINE)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("state", ["running", "pending"])
def test_nothing_outlives_a_coordinator_that_is_killed(slurm, xdist, door, state):
    xdist.files(test_a=WAITING)
    if state == "pending":
        slurm.occupy()
    run = start(xdist, door, "--tx", "slurm=2")
    if state == "pending":
        slurm.await_queue("PENDING")
    else:
        xdist.signals.next()
    below = [Watched(pid) for pid in descendants(run.popen.pid)]
    assert below
    run.signal(signal.SIGKILL)
    slurm.await_queue()
    assert all(process.gone_within(DEADLINE) for process in below)


@pytest.mark.parametrize("door", DOORS)
def test_an_allocation_that_is_pending_is_cancelled(slurm, xdist, door):
    xdist.files(test_a=TWENTY)
    slurm.occupy()
    run = start(xdist, door, "--tx", "slurm=2")
    slurm.await_queue("PENDING")
    run.signal(signal.SIGINT)
    result = run.wait()
    assert result.code == 2 and "queued and waiting for resources" in result.text, result.text
    slurm.await_queue()
    assert slurm.queue("other") == ["RUNNING"]


def test_an_allocation_that_does_not_come_in_time_is_cancelled(slurm, xdist):
    xdist.files(test_a=TWENTY)
    slurm.occupy()
    result = xdist.run("--tx", "slurm=2", "--wait-for-workers", "1s")
    assert result.code == 3 and "no worker joined within 1 s" in result.text, result.text
    slurm.await_queue()


def test_a_run_begins_with_the_workers_that_are_there_while_others_wait_in_the_queue(slurm, xdist):
    xdist.files(test_a=TWENTY)
    slurm.occupy()
    result = xdist.run("--tx", "slurm=2", "--tx", "popen")
    assert (result.code, result.totals) == (0, {"passed": 20}), result.text
    slurm.await_queue()


@pytest.mark.parametrize("step", ["", ".0"])
def test_when_a_job_or_step_is_cancelled_others_run_its_tests(slurm, xdist, step):
    xdist.files(test_a=WAITING)
    run = xdist.start("--tx", "2*slurm=1", "--min-workers", "2", "--host-timeout", "5s")
    begun = [xdist.signals.next().split() for _ in range(2)]
    slurm.cancel(begun[0][3] + step)
    slurm.await_queue("RUNNING")
    (xdist.directory / "go").touch()
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 8}), result.text
    later = [xdist.signals.next().split() for _ in range(7)]
    assert begun[0][2] in {test for _, _, test, _, _ in later}, "it ran once more"
    assert {job for _, _, _, job, _ in later} == {begun[1][3]}
    slurm.await_queue()


def test_when_the_only_job_is_cancelled_the_run_says_so(slurm, xdist):
    xdist.files(test_a=WAITING)
    run = xdist.start("--tx", "slurm=2", "--host-timeout", "5s")
    job = xdist.signals.next().split()[3]
    slurm.cancel(job)
    result = run.wait()
    assert result.code == 3, result.text
    assert "it was cancelled, or its machines are needed by others" in words(result), result.text


# --- what is kept secret


def _of(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        # It has ended.
        return ""


def _listens_at(pid):
    """The IPv4 addresses that a process listens at, as the kernel writes them."""
    sockets = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    lines = [line.split() for line in _of(pid, "net/tcp").splitlines()[1:]]
    return {line[1].partition(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets}


def test_nothing_listens_more_widely_than_slurm_needs(slurm, xdist):
    xdist.files(test_a=WAITING)
    launcher = f"exec={xdist.binary} worker --join --slots 1 --python {PYTHON}//hosts=1"
    found = []
    for spec in ("slurm=1", launcher):
        run = xdist.start("--tx", spec)
        xdist.signals.next()
        (gate,) = [pid for pid in descendants(run.popen.pid) if "\0gate\0" in _of(pid, "cmdline")]
        found.append(_listens_at(gate))
        run.signal(signal.SIGINT)
        assert run.wait().code == 2
    everywhere, loopback = "00000000", "0100007F"
    assert len(found[0]) == 1 and everywhere not in found[0], found
    assert found[1] == {loopback}, found


def test_the_token_is_on_no_command_line_and_slurm_does_not_show_it(slurm, xdist):
    xdist.files(test_a=WAITING)
    run = xdist.start("--tx", "slurm=1")
    job = xdist.signals.next().split()[3]
    processes = [pid for pid in os.listdir("/proc") if pid.isdigit()]
    variables = "\0".join(_of(pid, "environ") for pid in descendants(run.popen.pid)).split("\0")
    (token,) = {line.partition("=")[2] for line in variables if line.startswith("XDIST_JOIN=")}
    secret = token[20:60]
    lines = [_of(pid, "cmdline") for pid in processes]
    assert any("\0--join\0" in line for line in lines) and any("srun\0" in line for line in lines)
    assert not [line for line in lines if secret in line]
    shown = slurm.show("job", job) + slurm.show("step", f"{job}.0")
    assert f"JobId={job}" in shown and f"StepId={job}.0" in shown and secret not in shown
    (xdist.directory / "go").touch()
    result = run.wait()
    assert result.code == 0 and secret not in result.text + result.log.read_text()


# --- bad input


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("slurm=1//partition=nope", "Invalid partition name specified; `sinfo` lists the partitions there are"),
        ("slurm", "there is no allocation here (no SLURM_JOB_ID), so say how many hosts: --tx slurm=N"),
        ("slurm=1//chdir=/no/such/place", "node1: there is no directory /no/such/place here; start in one that"),
        ("slurm=1//slurm_args=--no-such-option", "srun failed: it ended with exit code"),
    ],
)
def test_what_cannot_be_had_is_one_line_with_what_to_do(slurm, xdist, door, spec, reason):
    xdist.files(test_a=TWENTY)
    result = start(xdist, door, "--tx", spec).wait()
    assert result.code == 3 and reason in words(result), result.text
    assert "Traceback" not in result.text and "panic" not in result.text
    slurm.await_queue()


def test_a_cluster_that_is_not_reached_is_told_of(slurm, xdist):
    xdist.files(test_a=TWENTY)
    # srun looks for one that is absent for a minute.
    (xdist.scratch / "empty").touch()
    result = xdist.run("--tx", "slurm=1", SLURM_CONF=str(xdist.scratch / "empty"))
    assert result.code == 3 and "see where SLURM_CONF leads" in words(result), result.text


def test_without_srun_there_is_no_slurm(xdist):
    xdist.files(test_a=TWENTY)
    result = xdist.run("--tx", "slurm=1", PATH=str(xdist.scratch))
    assert result.code == 3 and "there is no srun on the PATH here" in words(result), result.text


def test_a_program_that_the_nodes_have_not_is_looked_for_on_their_path(slurm, xdist):
    """The nodes do not see the directory that the program is in: it is another one in the coordinator's name space."""
    hidden = xdist.scratch / "hidden"
    hidden.mkdir()
    wrap = f"mount -t tmpfs none {hidden} && cp {xdist.binary} {hidden}/xdist && exec {hidden}/xdist"
    if subprocess.run(["unshare", "-m", "sh", "-c", f"mount -t tmpfs none {hidden}"], capture_output=True).returncode:
        pytest.skip("not run: no mount name spaces on this machine")
    xdist.files(test_a=TWENTY)

    def run(path):
        command = f"{wrap} run --python {PYTHON} --tx slurm=1"
        return subprocess.run(["unshare", "-m", "sh", "-c", command], cwd=xdist.directory, text=True, timeout=DEADLINE,
                              env={**xdist.env, "PATH": path}, capture_output=True)  # fmt: skip

    path = os.pathsep.join(way for way in xdist.env["PATH"].split(os.pathsep) if not shutil.which("xdist", path=way))
    done = run(path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert f"node1: there is no program {hidden}/xdist here; install xdist where" in " ".join(done.stdout.split())
    assert run(f"{os.path.dirname(xdist.binary)}:{path}").returncode == 0


# --- the guide


def test_the_page_can_be_followed_to_the_letter(slurm, commands):
    commands.files(tests__test_a=TWENTY)
    shutil.copy(commands.directory / "signals_of_suite.py", commands.directory / "tests")
    done = follow("slurm.md", commands.directory, commands.env, DEADLINE)
    assert len(done) >= 5
    for command, code, said in done:
        assert code == 0, f"{command}\n{said}"
        assert "passed" in said or "xdist run" not in command, f"{command}\n{said}"
    assert "20 passed" in (commands.directory / "tests.out").read_text()
    slurm.await_queue()
