"""Workers on another machine, over ssh. That machine is this one, behind an ssh server of the tests' own."""

import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import textwrap

import pytest
from conftest import PYTHON, ROOT
from processes import Watched, descendants
from sshd import box  # noqa: F401  (a fixture)

TWENTY = """
    import pytest

    @pytest.mark.parametrize("n", range(20))
    def test_n(n):
        pass
"""


# What `start_pytest` gives to pytest has to be there too.
RECORDER = f"env:PYTHONPATH={ROOT / 'tools'}"


def script(path, text):
    """A program of a few lines."""
    path.write_text("#!/bin/sh\n" + textwrap.dedent(text))
    path.chmod(0o755)
    return path


def told(result):
    """What was said, in one line."""
    return " ".join(result.text.split())


@pytest.fixture
def up(box):  # noqa: F811
    box.start()
    return box


def test_the_program_is_sent_once_and_then_used(xdist, up):
    xdist.files(test_a=TWENTY)
    sent = set()
    for _ in range(2):
        result = xdist.run("--tx", up.tx(count=2, python=PYTHON))
        assert result.code == 0, result.text
        assert result.totals == {"passed": 20}
        (program,) = up.programs
        assert stat.S_IMODE(program.stat().st_mode) == 0o700
        sent.add((program.stat().st_ino, program.stat().st_mtime_ns))
        assert up.rest == []
    assert len(sent) == 1, "the second run has sent it again"
    assert "[box]" not in result.text


def test_workers_of_one_specification_are_on_one_connection(xdist, up):
    xdist.files(
        test_a="""
        import os, pytest

        @pytest.mark.parametrize("n", range(6))
        def test_n(n, worker_id, record_property):
            signal(f"{worker_id} {os.environ['SSH_CONNECTION'].split()[1]} {os.nice(0)} {os.environ.get('K')}")
        """
    )
    result = xdist.run("--tx", up.tx("nice=3", "env:K=V", count=2, python=PYTHON), "--tx", up.tx("id=x", machine="bystander", python=PYTHON))  # fmt: skip
    assert result.code == 0, result.text
    seen = {xdist.signals.next() for _ in range(6)}
    ports = {}
    for line in seen:
        worker, port, nice, value = line.split()
        host = "bystander" if worker == "x" else "box"
        assert ports.setdefault(host, port) == port
        base = os.nice(0)
        assert (int(nice), value) == ((base + 3, "V") if host == "box" else (base, "None"))


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_several_workers_of_one_specification_have_numbers_behind_their_id(xdist, up, door):
    xdist.files(
        test_a="""
        import pytest

        @pytest.mark.parametrize("n", range(3))
        def test_n(n, worker_id):
            signal(worker_id)
        """
    )
    args = ("--tx", up.tx(RECORDER, "id=far", count=3, python=PYTHON), "--dist", "each")
    result = xdist.run(*args) if door == "run" else xdist.start_pytest(*args).wait()
    assert result.code == 0, result.text
    assert {xdist.signals.next() for _ in range(9)} == {"far0", "far1", "far2"}


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_a_machine_in_between_relays(xdist, up, door):
    xdist.files(
        test_a="""
        import os

        def test_a():
            signal(os.environ["SSH_CONNECTION"])
        """
    )
    args = ("--px", f"ssh=box//ssh_config={up.config}//id=gate", "--tx", up.tx(RECORDER, "via=gate", machine="bystander", python=PYTHON), "--dist", "load")  # fmt: skip
    result = xdist.run(*args) if door == "run" else xdist.start_pytest(*args).wait()
    assert result.code == 0, result.text
    assert len(xdist.signals.next().split()) == 4
    log = (up.directory / "log").read_text()
    assert log.count("Accepted publickey") == 2, log


def test_a_way_over_nobody_is_an_error(xdist):
    xdist.files(test_a=TWENTY)
    result = xdist.run("--tx", "ssh=box//via=gate")
    assert result.code == 4, result.text
    assert 'no --px has the id "gate"' in told(result)


def test_failures_name_the_machine(xdist, up):
    xdist.files(test_a="def test_a():\n    assert 0\n")
    for door in ("run", "pytest"):
        args = ("--tx", up.tx(RECORDER, python=PYTHON), "--dist", "load")
        result = xdist.run(*args) if door == "run" else xdist.start_pytest(*args).wait()
        assert result.code == 1, result.text
        header = next(line for line in result.out.splitlines() if line.startswith("[gw0] linux -- Python"))
        assert header.endswith(" (on box)")


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_a_checkout_elsewhere_is_used(xdist, up, tmp_path, door):
    xdist.files(
        test_a="""
        import os

        def test_a(pytestconfig):
            signal(f"{os.getcwd()} {pytestconfig.rootpath} {pytestconfig.inipath}")
        """
    )
    elsewhere = tmp_path / "elsewhere"
    os.rename(xdist.directory, elsewhere)
    xdist.directory.mkdir()
    xdist.ini("")
    args = ["--tx", up.tx(f"chdir={elsewhere}", RECORDER, python=PYTHON), "--dist", "load", "test_a.py"]
    result = xdist.run(*args) if door == "run" else xdist.start_pytest(*args).wait()
    assert result.code == 0, result.text
    assert xdist.signals.next() == f"{elsewhere} {elsewhere} {elsewhere / 'pytest.ini'}"


def test_the_cache_of_the_run_stays_on_this_side(xdist, up, tmp_path):
    xdist.files(test_a="def test_a():\n    assert 0\n")
    elsewhere = tmp_path / "elsewhere"
    os.rename(xdist.directory, elsewhere)
    xdist.directory.mkdir()
    xdist.ini("")
    result = xdist.run("--tx", up.tx(f"chdir={elsewhere}", python=PYTHON))
    assert result.code == 1, result.text
    assert (xdist.directory / ".pytest_cache" / "v" / "cache" / "lastfailed").exists()


def test_a_missing_tree_is_an_error_and_not_made(xdist, up, tmp_path):
    xdist.files(test_a=TWENTY)
    missing = tmp_path / "missing"
    result = xdist.run("--tx", up.tx(f"chdir={missing}", python=PYTHON))
    assert result.code == 3
    assert f'there is no directory "{missing}"' in told(result) and "chdir=" in told(result)
    assert not missing.exists()


def test_the_default_interpreter_is_that_machines(xdist, up, tmp_path):
    xdist.files(test_a=TWENTY)
    bin = tmp_path / "bin"
    bin.mkdir()
    script(bin / "python3", f'echo called >>{tmp_path}/called\nexec {shlex.quote(PYTHON)} "$@"\n')
    up.stop()
    up.start(f'ForceCommand PATH={bin}:/usr/bin:/bin; export PATH; eval "$SSH_ORIGINAL_COMMAND"')
    result = xdist.run("--tx", up.tx())
    assert result.code == 0, result.text
    assert (tmp_path / "called").exists()


def test_an_interpreter_without_pytest_is_told_with_its_machine(xdist, up, tmp_path):
    xdist.files(test_a=TWENTY)
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = tmp_path / "bare" / "bin" / "python"
    result = xdist.run("--tx", up.tx(python=str(python)))
    assert result.code == 4, result.text
    assert f"{python} has no pytest" in told(result) and result.text.rstrip().endswith("(on box)")


# --- no way in


def lost(xdist, server, *args, code=3, **env):
    """The reason of a run that reaches no machine."""
    xdist.files(test_a=TWENTY)
    result = xdist.run("--tx", server.tx(python=PYTHON), *args, **env)
    assert result.code == code, result.text
    assert "Traceback" not in result.text and "panicked" not in result.text
    (line,) = [line for line in result.text.splitlines() if "] host lost: " in line]
    return line.partition("] host lost: ")[2]


def test_no_server(xdist, box):  # noqa: F811
    reason = lost(xdist, box)
    assert reason.startswith("it cannot be reached (ssh: connect to host 127.0.0.1") and "sshd" in reason


def test_no_permission(xdist, up):
    up.configure(key="stranger")
    reason = lost(xdist, up)
    assert reason.startswith("cannot log in (") and "BatchMode=yes" in reason and str(up.config) in reason


def test_another_host_key(xdist, up):
    up.known("stranger")
    assert "ssh-keygen -R" in lost(xdist, up)


def test_no_ssh(xdist, up):
    assert lost(xdist, up, XDIST_SSH="/nowhere/ssh").startswith('cannot start "/nowhere/ssh"')


def test_a_login_that_runs_nothing(xdist, up):
    up.stop()
    up.start("ForceCommand echo not today >&2; exit 1")
    assert lost(xdist, up).startswith("the login there ended (exit code 1) without running a command: not today")


def test_silence(xdist, tmp_path):
    silent = script(tmp_path / "silent", "exec sleep 600\n")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            [xdist.binary, "connect", "--link-fd", str(theirs.fileno()), "--patience", "0.1", "ssh", "--", "box"],
            pass_fds=[theirs.fileno()], env={**xdist.env, "XDIST_SSH": str(silent)}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.startswith("no login: nothing came from it for 0.1 s; check with: ")


def test_the_others_go_on_without_a_machine_that_cannot_be_reached(xdist, box):  # noqa: F811
    xdist.files(test_a=TWENTY)
    result = xdist.run("--tx", "popen", "--tx", box.tx(count=2, python=PYTHON))
    assert result.totals == {"passed": 20}, result.text
    assert result.code == 0
    assert result.text.count("] host lost: ") == 1


# --- strange far sides


def test_a_profile_that_prints(xdist, up):
    up.stop()
    # As a login shell would that greets everybody: without an end of its last line.
    greeting = 'echo "Welcome!"; echo "more" >&2; printf "no end of line> "; eval "$SSH_ORIGINAL_COMMAND"'
    up.start(f"ForceCommand {greeting}")
    xdist.files(test_a=TWENTY)
    result = xdist.run("--tx", up.tx(count=2, python=PYTHON))
    assert result.code == 0, result.text
    assert "Welcome" not in result.text
    assert "[box] more" in result.err


def test_a_connection_that_is_shared_with_others(xdist, up):
    # The first ssh leaves a process behind that keeps what it has inherited. Paths of sockets are short.
    directory = tempfile.mkdtemp(prefix="xdist-")
    up.configure("ControlMaster auto", f"ControlPath {directory}/socket", "ControlPersist 60")
    try:
        xdist.files(test_a=TWENTY)
        for _ in range(2):
            result = xdist.run("--tx", up.tx(count=2, python=PYTHON))
            assert result.code == 0, result.text
        assert os.path.exists(f"{directory}/socket")
    finally:
        subprocess.run(["ssh", "-F", up.config, "-O", "exit", "box"], stderr=subprocess.DEVNULL)
        # It answers before it takes its socket away.
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_a_program_that_is_damaged_on_the_way_is_not_used(xdist, up, tmp_path, damage):
    # In place of `head`, which receives it.
    bin = tmp_path / "bin"
    bin.mkdir()
    broken = {
        "truncated": 'n=$2; /usr/bin/head -c 100000; /usr/bin/head -c $((n - 100000)) >/dev/null',
        "changed": '/usr/bin/head "$@"; echo more',
    }  # fmt: skip
    script(bin / "head", broken[damage] + "\n")
    up.stop()
    up.start(f'ForceCommand PATH={bin}:$PATH; export PATH; eval "$SSH_ORIGINAL_COMMAND"')
    reason = lost(xdist, up)
    if damage == "changed":
        assert reason.startswith("the program that arrived there is not the one that was sent")
    else:
        assert reason.startswith("the program that was sent there does not run (exit code ")
    assert (up.programs, up.rest) == ([], [])


def damaged(good, how, mark):
    """What is there in place of a program."""
    middle = len(good) // 2
    return {
        "flipped": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "truncated": good[: len(good) // 3],
        # Shells take these for scripts that end well.
        "empty": b"",
        "zeros": bytes(1 << 16),
        "script": f"#!/bin/sh\n[ $1 = worker ] && touch {mark}\n".encode(),
        "not for execution": good,
    }[how]


@pytest.mark.parametrize("how", ["flipped", "truncated", "empty", "zeros", "script", "not for execution"])
def test_a_program_that_is_damaged_where_it_is_kept_is_sent_anew(xdist, up, tmp_path, how):
    xdist.files(test_a=TWENTY)
    with open(xdist.binary, "rb") as file:
        good = file.read()
    program = up.place(xdist.binary)
    program.parent.mkdir(parents=True)
    program.write_bytes(damaged(good, how, tmp_path / "mark"))
    program.chmod(0o600 if how == "not for execution" else 0o700)
    result = xdist.run("--tx", up.tx(python=PYTHON))
    assert result.code == 0, result.text
    assert result.totals == {"passed": 20}
    assert program.read_bytes() == good and stat.S_IMODE(program.stat().st_mode) == 0o700
    assert (up.programs, up.rest) == ([program], [])
    assert not (tmp_path / "mark").exists(), "it was used"


@pytest.fixture
def planted(xdist, up, tmp_path):
    """A program that somebody else has put where ours is looked for, which leaves a mark when it is executed."""
    if os.getuid() != 0:
        pytest.skip("not run: only root can make files that are somebody else's")
    xdist.files(test_a=TWENTY)
    program = up.place(xdist.binary)
    program.parent.mkdir(parents=True)
    script(program, f"touch {tmp_path / 'mark'}\n")
    yield program
    assert not (tmp_path / "mark").exists(), "it was executed"


NOBODY = 65534


def test_a_program_that_somebody_else_has_planted_is_replaced_and_not_executed(xdist, up, planted):
    os.chown(planted, NOBODY, NOBODY)
    result = xdist.run("--tx", up.tx(python=PYTHON))
    assert result.code == 0, result.text
    assert planted.stat().st_uid == 0 and planted.stat().st_size == os.path.getsize(xdist.binary)
    assert up.rest == []


@pytest.mark.parametrize("how", ["directory", "link"])
def test_a_directory_of_somebody_else_is_neither_used_nor_written_into(xdist, up, planted, how):
    directory = planted.parent
    if how == "directory":
        os.chown(directory, NOBODY, NOBODY)
    else:
        # It leads to something of ours, in which nobody wants a program of this name.
        directory.rename(up.cache / "elsewhere")
        directory.symlink_to(up.cache / "elsewhere")
    before = planted.read_text()
    reason = lost(xdist, up)
    assert reason.startswith(
        f"the program cannot be put into the cache directory there: {directory} belongs to somebody else or is a link; "
    )
    assert "XDIST_CACHE_DIR" in reason
    assert planted.read_text() == before and up.rest == []


def test_no_place_for_the_program(xdist, up):
    up.cache.write_text("no directory")
    reason = lost(xdist, up)
    assert reason.startswith("the program cannot be put into the cache directory there: ")
    assert "XDIST_CACHE_DIR" in reason


def test_another_platform_needs_xdist_installed(xdist, up, tmp_path):
    bin = tmp_path / "bin"
    bin.mkdir()
    script(bin / "uname", "echo Plan9 mips\n")
    up.stop()
    up.start(f'ForceCommand PATH={bin}:/usr/bin:/bin; export PATH; eval "$SSH_ORIGINAL_COMMAND"')
    assert lost(xdist, up).startswith("it is Plan9 mips, and the xdist of this machine is for Linux ")
    # Of another version.
    script(bin / "xdist", "echo xdist 0.0.1\n")
    assert "(it is xdist 0.0.1 now)" in lost(xdist, up)
    # Of this one.
    (bin / "xdist").unlink()
    os.symlink(os.path.abspath(xdist.binary), bin / "xdist")
    result = xdist.run("--tx", up.tx(python=PYTHON))
    assert result.code == 0, result.text
    assert up.programs == []


# --- in the middle of a run


def test_a_crash_is_reported_as_ever(xdist, up):
    xdist.files(
        test_a="""
        import os, pytest

        @pytest.mark.parametrize("n", range(6))
        def test_n(n):
            if n == 2:
                os.kill(os.getpid(), 11)
        """
    )
    result = xdist.run("--tx", up.tx(count=2, python=PYTHON))
    assert result.totals == {"failed": 1, "passed": 5}, result.text
    assert "signal 11" in result.text and " on box" in result.text


def test_an_interrupt_leaves_nothing_behind(xdist, up):
    xdist.files(test_a="import os, time\n\ndef test_a():\n    signal(os.getpid())\n    time.sleep(600)\n")
    run = xdist.start("--tx", up.tx(python=PYTHON))
    test = Watched(int(xdist.signals.next()))
    below = [Watched(pid) for pid in descendants(run.popen.pid)]
    assert below, "ssh is there"
    run.signal(signal.SIGINT)
    result = run.wait()
    assert result.code == 2, result.text
    assert all(process.gone_within(30) for process in [test, *below])


def test_nothing_outlives_a_coordinator_that_is_killed(xdist, up):
    xdist.files(test_a="import os, time\n\ndef test_a():\n    signal(os.getpid())\n    time.sleep(600)\n")
    run = xdist.start("--tx", up.tx(python=PYTHON))
    test = Watched(int(xdist.signals.next()))
    below = [Watched(pid) for pid in descendants(run.popen.pid)]
    run.signal(signal.SIGKILL)
    run.wait()
    assert all(process.gone_within(30) for process in [test, *below])


def test_when_ssh_dies_its_tests_go_to_others_even_the_one_that_was_running(xdist, up):
    xdist.files(
        test_a="""
        import os, pytest, time

        @pytest.mark.parametrize("n", range(40))
        def test_n(n):
            if "SSH_CONNECTION" in os.environ and not os.path.exists("lost"):
                signal("there")
                time.sleep(600)
        """
    )
    run = xdist.start("--tx", "popen", "--tx", up.tx(python=PYTHON), "--max-worker-restart", "0")
    assert xdist.signals.next() == "there"
    (xdist.directory / "lost").touch()
    (ssh,) = [pid for pid in descendants(run.popen.pid) if name_of(pid) == "ssh"]
    os.kill(ssh, signal.SIGKILL)
    result = run.wait()
    assert result.code == 0, result.text
    assert result.totals == {"passed": 40}, result.text
    assert "host lost: " in result.text


def test_a_lost_machine_is_reached_again(xdist, up):
    xdist.files(
        test_a="""
        import os, pytest, time

        @pytest.mark.parametrize("n", range(10))
        def test_n(n):
            if not os.path.exists("lost"):
                signal("there")
                time.sleep(600)
        """
    )
    run = xdist.start("--tx", up.tx(python=PYTHON))
    assert xdist.signals.next() == "there"
    (xdist.directory / "lost").touch()
    (ssh,) = [pid for pid in descendants(run.popen.pid) if name_of(pid) == "ssh"]
    os.kill(ssh, signal.SIGKILL)
    result = run.wait()
    assert result.code == 0, result.text
    assert result.totals == {"passed": 10}, result.text
    assert "replacing crashed worker gw0" in result.text


def name_of(pid):
    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read().strip()


# --- what is refused


def test_a_name_that_two_workers_would_have_is_refused_with_what_to_do(xdist):
    xdist.files(test_a=TWENTY)
    result = xdist.run("--tx", "popen//id=x1", "--tx", "2*ssh=box//id=x")
    assert result.code == 4, result.text
    assert '--tx: "2*ssh=box//id=x": another worker is called "x1" already; give each --tx an id' in told(result)


@pytest.mark.parametrize(
    ("spec", "instead"),
    [
        ("socket=localhost:8888", "use ssh=[USER@]HOST"),
        ("vagrant_ssh=box", "vagrant ssh-config"),
    ],
)
@pytest.mark.parametrize("door", ["run", "pytest"])
def test_what_is_refused_names_what_to_use(xdist, door, spec, instead):
    xdist.files(test_a=TWENTY)
    args = ("--tx", spec, "--dist", "load")
    result = xdist.run(*args) if door == "run" else xdist.start_pytest(*args).wait()
    assert result.code == 4, result.text
    assert "is not supported: " in told(result) and instead in told(result)


# --- what is wrong there


def test_an_unknown_machine(xdist):
    xdist.files(test_a=TWENTY)
    result = xdist.run("--tx", "ssh=no-such-machine.invalid//ssh_config=/dev/null")
    assert result.code == 3, result.text
    (line,) = [line for line in result.text.splitlines() if "] host lost: " in line]
    assert "host lost: there is no such machine (ssh: Could not resolve hostname no-such-machine.invalid" in line
    assert "check the name" in line


@pytest.mark.parametrize("option", ["-v", "-q"])
def test_why_a_machine_is_lost_is_said_once_for_all_its_workers(xdist, option):
    xdist.files(test_a=TWENTY)
    result = xdist.run(option, "--tx", "3*ssh=no-such-machine.invalid//ssh_config=/dev/null//id=far")
    assert result.code == 3, result.text
    lines = result.text.splitlines()
    assert [line for line in lines if "node down" in line] == [f"[far{n}] node down: host lost" for n in range(3)]
    why = [line for line in lines if "Could not resolve hostname" in line]
    assert len(why) == 2 and "] host lost: " in why[0], "neither by ssh itself nor of every worker"
    assert "no worker is left (far0: host lost: there is no such machine" in why[1]
    assert 'what to do stands above, behind "host lost"' in why[1]


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_an_interpreter_that_is_not_there(xdist, up, door):
    xdist.files(test_a=TWENTY)
    args = ("--tx", up.tx(RECORDER, python="/nowhere/python"), "--dist", "load")
    result = xdist.run(*args) if door == "run" else xdist.start_pytest(*args).wait()
    assert result.code == 4, result.text
    (line,) = [line for line in result.text.splitlines() if line.startswith("ERROR: ")]
    assert 'cannot start the Python interpreter "/nowhere/python": No such file' in line
    assert "python= in --tx" in line and line.endswith("(on box)")


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_an_interpreter_that_is_none(xdist, up, tmp_path, door):
    xdist.files(test_a=TWENTY)
    # As an old one would, or a program that is something else.
    old = script(tmp_path / "old", "echo 'SyntaxError: invalid syntax' >&2\nexit 1\n")
    args = ("--tx", up.tx(RECORDER, python=str(old)), "--dist", "load")
    result = xdist.run(*args) if door == "run" else xdist.start_pytest(*args).wait()
    assert result.code == 4, result.text
    (line,) = [line for line in result.text.splitlines() if line.startswith("ERROR: ")]
    assert 'it ended with exit code 1 and said "SyntaxError: invalid syntax"' in line and line.endswith("(on box)")


@pytest.fixture
def disk(tmp_path):
    """Makes small disks."""
    mounted = []

    def mount(*options):
        directory = tmp_path / f"disk-{len(mounted)}"
        directory.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", directory]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"not run: no disk can be mounted, which needs root ({done.stderr.strip()})")
        mounted.append(directory)
        return directory

    yield mount
    for directory in mounted:
        subprocess.run(["umount", "--lazy", directory], check=True)


def restart(server, *lines, cache=None):
    server.stop()
    server.cache = cache or server.cache
    server.start(*lines)


def test_a_disk_that_is_full(xdist, up, disk):
    restart(up, cache=disk("size=1m"))
    reason = lost(xdist, up)
    assert reason.startswith("the program cannot be written there: "), reason
    assert "No space left on device" in reason and "free space in ~/.cache/xdist" in reason
    assert (up.programs, up.rest) == ([], [])


def test_a_disk_that_is_full_when_the_program_is_there(xdist, up, disk):
    program = os.path.getsize(xdist.binary) // 4096 + 1
    # Enough for the program, and not for the Python half; the other place for that is full too.
    full = disk("size=4k", "nr_inodes=2")
    (full / "file").touch()
    cache = disk(f"size={(program + 8) * 4096}")
    restart(up, f'ForceCommand TMPDIR={full}; export TMPDIR; eval "$SSH_ORIGINAL_COMMAND"', cache=cache)
    reason = lost(xdist, up)
    assert "No space left on device" in reason, reason


def test_a_directory_that_cannot_be_written_to(xdist, up, disk):
    restart(up, cache=disk("size=1m", "ro") / "xdist")
    reason = lost(xdist, up)
    assert reason.startswith("the program cannot be put into the cache directory there: "), reason
    assert "Read-only file system" in reason and "XDIST_CACHE_DIR" in reason


def test_tests_in_a_directory_that_cannot_be_written_to(xdist, up, disk):
    # pytest's cache cannot be written there, which is no reason not to run tests.
    xdist.files(test_a=TWENTY)
    elsewhere = disk("size=1m")
    shutil.copytree(xdist.directory, elsewhere / "suite")
    subprocess.run(["mount", "-o", "remount,ro", elsewhere], check=True)
    result = xdist.run("--tx", up.tx(f"chdir={elsewhere / 'suite'}", python=PYTHON))
    assert result.code == 0, result.text
    assert result.totals == {"passed": 20}
