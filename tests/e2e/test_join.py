"""`xdist gate` and `xdist worker --join`, by hand: a coordinator made of a socket pair, and what goes wrong, in words.

What a run does with hosts that join is in other files; that a gate withstands strangers, in xdist-link/tests/security.rs.
"""

import array
import base64
import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from conftest import DEADLINE, ROOT
from processes import Watched, descendants

BINARY = os.environ.get("XDIST", str(ROOT / "target" / "debug" / "xdist"))

# What a host says first.
PREAMBLE = b"\x89XDIST"


class Gate:
    """A gate, and the coordinator's end of its control socket."""

    def __init__(self, *args: str):
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(DEADLINE)
        args = ("--listen", "127.0.0.1:0", "--run", "r1", "--link-fd", str(theirs.fileno()), *args)
        self.process = subprocess.Popen([BINARY, "gate", *args], pass_fds=[theirs.fileno()])
        theirs.close()
        found = re.search(rb"xdist-join-1-[\w-]+", self.control.recv(1 << 14))
        assert found, "the gate is not open"
        self.token = found.group().decode()

    def next_link(self) -> socket.socket:
        while True:
            _, ancillary, _, _ = self.control.recvmsg(1 << 14, socket.CMSG_SPACE(4))
            for _, _, data in ancillary:
                link = socket.socket(fileno=array.array("i", data)[0])
                link.settimeout(DEADLINE)
                return link

    def close(self) -> None:
        self.control.close()
        assert self.process.wait(DEADLINE) == 0


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.close()


def worker(*args: str, environment=None, **more) -> subprocess.Popen:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("XDIST_")}
    more = {"stderr": subprocess.PIPE, "text": True, **more}
    return subprocess.Popen([BINARY, "worker", *args], env={**inherited, **(environment or {})}, **more)


def refusal(*args: str, **more) -> str:
    """What a worker says that does not come to work."""
    process = worker(*args, **more)
    said = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == 4, said
    assert said.startswith("xdist: error: ") and len(said.splitlines()) == 1, said
    return said


def joined(gate: Gate, process: subprocess.Popen) -> socket.socket:
    link = gate.next_link()
    assert link.recv(6, socket.MSG_WAITALL) == PREAMBLE, process
    return link


def test_the_token_may_be_in_a_file(gate, tmp_path):
    file = tmp_path / "token"
    file.write_text(gate.token + "\n")
    process = worker("--join", str(file))
    joined(gate, process).close()
    process.communicate(timeout=DEADLINE)


def test_the_token_may_be_in_the_environment(gate):
    process = worker("--join", environment={"XDIST_JOIN": gate.token})
    link = joined(gate, process)
    # Tests have no use for it.
    for pid in descendants(process.pid):
        assert gate.token.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    link.close()
    process.communicate(timeout=DEADLINE)


def test_the_token_may_come_on_standard_input(gate):
    process = worker("--join", "-", stdin=subprocess.PIPE)
    process.stdin.write(gate.token + "\n")
    # Standard input stays open, as a terminal's would.
    process.stdin.flush()
    joined(gate, process).close()
    process.communicate(timeout=DEADLINE)


def test_a_token_among_the_arguments_does_not_stay_there(gate):
    process = worker("--join", gate.token, "--slots", "3")
    link = joined(gate, process)
    for pid in (process.pid, *descendants(process.pid)):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"worker" in arguments and gate.token.encode() not in arguments
    link.close()
    said = process.communicate(timeout=DEADLINE)[1]
    assert "--join FILE" in said.splitlines()[0], said
    assert gate.token not in said


def test_a_launcher_is_known_by_its_number(gate):
    process = worker("--join", environment={"XDIST_JOIN": gate.token, "XDIST_LAUNCH": "23"})
    datagram, ancillary, _, _ = gate.control.recvmsg(1 << 14, socket.CMSG_SPACE(4))
    assert b"\xa6launch\x17" in datagram
    os.close(array.array("i", ancillary[0][2])[0])
    process.communicate(timeout=DEADLINE)


def test_a_dialer_that_is_asked_to_end_ends_its_host(gate):
    process = worker("--join", environment={"XDIST_JOIN": gate.token})
    link = joined(gate, process)
    hosts = [Watched(pid) for pid in descendants(process.pid)]
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 2
    assert all(host.gone_within(DEADLINE) for host in hosts)
    while link.recv(1 << 16):
        pass
    link.close()


def test_no_host_outlives_a_dialer_that_is_killed(gate):
    process = worker("--join", environment={"XDIST_JOIN": gate.token})
    link = joined(gate, process)
    hosts = [Watched(pid) for pid in descendants(process.pid)]
    assert hosts
    process.kill()
    assert all(host.gone_within(DEADLINE) for host in hosts)
    link.close()


def test_the_end_of_the_coordinator_ends_the_gate_and_the_hosts():
    gate = Gate()
    process = worker("--join", environment={"XDIST_JOIN": gate.token})
    link = joined(gate, process)
    hosts = [Watched(pid) for pid in descendants(process.pid)]
    link.close()
    gate.close()
    process.wait(DEADLINE)
    assert all(host.gone_within(DEADLINE) for host in hosts)


def test_a_gate_that_cannot_listen_says_so():
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.settimeout(DEADLINE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:{}".format(taken.getsockname()[1])
        args = [BINARY, "gate", "--listen", address, "--run", "r", "--link-fd", str(theirs.fileno())]
        process = subprocess.Popen(args, pass_fds=[theirs.fileno()])
        said = control.recv(1 << 14)
    assert b"failed" in said and address.encode() in said and b"choose another port" in said
    assert process.wait(DEADLINE) == 4
    control.close()
    theirs.close()


def test_there_is_no_token():
    assert "name the file that it is in" in refusal("--join")


def test_a_file_that_is_not_there(tmp_path):
    said = refusal("--join", str(tmp_path / "nothing"))
    assert str(tmp_path / "nothing") in said and "No such file" in said and "--join takes a file" in said


def test_a_file_without_a_name():
    assert '--join: "" is the name of no file; --join takes a file' in refusal("--join", "")


def test_what_is_no_token(tmp_path):
    (tmp_path / "file").write_text("hello")
    said = refusal("--join", str(tmp_path / "file"))
    assert "cannot join with what is in" in said and "this is no join token" in said
    assert "XDIST_JOIN" in refusal("--join", environment={"XDIST_JOIN": "hello"})


def test_a_token_that_was_cut_off(gate):
    said = refusal("--join", environment={"XDIST_JOIN": gate.token[:-5]})
    assert "incomplete or was changed" in said and gate.token[:-5] not in said


def test_a_token_of_another_version(gate):
    token = gate.token.replace("-join-1-", "-join-2-")
    assert "use the same xdist on both sides" in refusal("--join", environment={"XDIST_JOIN": token})


def test_a_run_that_is_over(gate):
    earlier = Gate()
    earlier.close()
    said = refusal("--join", "--patience", "0", environment={"XDIST_JOIN": earlier.token})
    assert "refused" in said and "is the run over?" in said and "firewall" in said, said


def test_something_else_listens_there():
    gate = Gate()
    port = int(re.search(r":(\d+)$", gate_address(gate)).group(1))
    gate.close()
    with socket.create_server(("127.0.0.1", port)) as server:

        def answer():
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"SSH-2.0-OpenSSH\r\n")
                while peer.recv(4096):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        said = refusal("--join", environment={"XDIST_JOIN": gate.token})
        thread.join(DEADLINE)
    assert "does not speak TLS" in said and "is the port right?" in said


def gate_address(gate: Gate) -> str:
    """Where it listens, by its token."""
    content = gate.token.removeprefix("xdist-join-1-")
    decoded = base64.urlsafe_b64decode(content + "=" * (-len(content) % 4))
    return re.search(rb"127\.0\.0\.1:\d+", decoded).group().decode()


def test_a_directory_that_is_not_there(gate, tmp_path):
    missing = str(tmp_path / "missing")
    said = refusal("--join", "--chdir", missing, environment={"XDIST_JOIN": gate.token})
    assert "--chdir" in said and missing in said
