"""Plays the host for a runner: the other ends of its descriptors, and a record of its events."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, Optional

from xdist_pytest import msgpack
from xdist_pytest.channel import PRIVATE

HALF = str(Path(__file__).resolve().parent.parent)
#: The interpreter whose pytest is driven; another one than that of these tests if need be.
PYTHON = os.environ.get("XDIST_TEST_PYTHON", sys.executable)
#: Nothing that is waited for takes this long unless it is broken, in seconds.
DEADLINE = 60.0

BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from xdist_pytest.runner import main; main(*map(int, sys.argv[2:7]))"
)
ACTIVITIES = ("starting", "setup", "call", "teardown", "collecting", "idle", "finishing")


class Event(NamedTuple):
    """A message from the runner."""

    kind: str
    fields: dict[str, Any]


class Runner:
    """A runner process and the host's view of it."""

    def __init__(
        self,
        directory: Path,
        *args: str,
        python: Optional[list[str]] = None,
        environment: Optional[dict[str, Optional[str]]] = None,
        **configure: Any,
    ) -> None:
        self.events: list[Event] = []
        self.buffer = b""
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs = theirs
        self.pipe, writer = os.pipe()
        self.status = _memory(struct.pack("<IIB7xQ8x", 0xFFFFFFFF, 0, 0, 0))
        fields = {
            "worker": 3,
            "name": "gw3",
            "worker_count": 2,
            "run": "cafe",
            "args": list(args),
            "wants": {"width": 80},
            **configure,
        }
        inputs = fields.pop("input", {})
        fields["input"] = {name: msgpack.Value(value) for name, value in inputs.items()}
        self.number = 0
        configuration = _memory(msgpack.pack({"configure": fields}))
        descriptors = [theirs.fileno(), writer, self.status, configuration]
        self.process = subprocess.Popen(
            [*(python or [PYTHON]), "-c", BOOT, HALF, *map(str, descriptors), "-1"],
            cwd=directory,
            env=_environment(environment or {}),
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.close(writer)
        os.close(configuration)

    def collect(self) -> None:
        self._command(b"C")

    def send_collection(self) -> None:
        self._command(b"S")

    def item(self, index: int, lease: int = 7) -> None:
        self._command(struct.pack("<cII", b"I", index, lease))

    def park(self) -> None:
        self._command(b"P")

    def drain(self) -> None:
        self._command(b"D")

    def interrupt(self) -> None:
        self._command(b"X")
        self.signal(signal.SIGINT)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def claw_back(self) -> list[bytes]:
        """The commands that the runner has not read."""
        taken = []
        while True:
            try:
                taken.append(self.theirs.recv(64, socket.MSG_DONTWAIT))
            except BlockingIOError:
                break
        if taken:
            (self.number,) = struct.unpack_from("<I", taken[0])
        return [datagram[4:] for datagram in taken]

    def _command(self, command: bytes) -> None:
        self.ours.send(struct.pack("<I", self.number) + command)
        self.number += 1

    def activity(self) -> tuple[Optional[tuple[int, int]], str]:
        """The running item with its lease, and what is going on."""
        item, lease, activity, waits = struct.unpack("<IIBB", os.pread(self.status, 10, 0))
        return None if item == 0xFFFFFFFF else (item, lease), "waiting" if waits else ACTIVITIES[activity]

    def is_waiting(self) -> bool:
        """Whether what is going on waits for the host."""
        return os.pread(self.status, 1, 9) != b"\0"

    def wait(self, kind: str) -> dict[str, Any]:
        """Waits for the next event of a kind; those before it are kept in `events`."""
        while True:
            event = self.next_event()
            assert event is not None, f"no {kind}: {self.events}\n{self.errors()}"
            if event.kind == kind:
                return event.fields

    def next_event(self) -> Optional[Event]:
        """The next event, or `None` once the runner has closed the pipe."""
        while True:
            if len(self.buffer) >= 4:
                (length,) = struct.unpack(">I", self.buffer[:4])
                if len(self.buffer) >= 4 + length:
                    payload, self.buffer = self.buffer[4 : 4 + length], self.buffer[4 + length :]
                    so_far = payload.startswith(PRIVATE)
                    ((kind, fields),) = msgpack.unpack(payload[so_far:]).items()
                    event = Event("so_far" if so_far else kind, {**fields, "_bytes": 4 + length})
                    assert fields["worker"] == 3
                    self.events.append(event)
                    return event
            ready, _, _ = select.select([self.pipe], [], [], DEADLINE)
            assert ready, f"the runner is silent: {self.events}"
            part = os.read(self.pipe, 1 << 16)
            if not part:
                assert not self.buffer, "the stream is cut off"
                return None
            self.buffer += part

    def wait_for_file(self, path: Path) -> None:
        """Waits for a test to make a file."""
        end = time.monotonic() + DEADLINE
        while not path.exists():
            assert time.monotonic() < end and self.process.poll() is None, self.errors()
            select.select([], [], [], 0.005)

    def finish(self) -> list[Event]:
        """Takes in all events until the end, and waits for the process."""
        while self.next_event() is not None:
            pass
        self.output, self.error_output = self.process.communicate(timeout=DEADLINE)
        return self.events

    def run_all(self, count: Optional[int] = None) -> list[dict[str, Any]]:
        """Collects, runs all items in order, drains; answers the results' reports."""
        self.collect()
        total = self.wait("collected")["count"]
        for index in range(total if count is None else count):
            self.item(index)
        self.drain()
        self.finish()
        return [event.fields["report"] for event in self.events if event.kind == "item_finished"]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The fields of all events of a kind so far."""
        return [event.fields for event in self.events if event.kind == kind]

    def kinds(self) -> list[str]:
        """The kinds of all events so far."""
        return [event.kind for event in self.events]

    def errors(self) -> str:
        """What a failed runner wrote to standard error."""
        self.process.kill()
        output, errors = self.process.communicate(timeout=DEADLINE)
        return (output + errors).decode(errors="replace")

    def close(self) -> None:
        """Ends the process if it still lives, and gives everything back."""
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self.process.wait(timeout=DEADLINE)
        self.ours.close()
        self.theirs.close()
        os.close(self.pipe)
        os.close(self.status)


def _memory(content: bytes) -> int:
    descriptor = os.memfd_create("xdist-test")
    os.write(descriptor, content)
    return descriptor


def _environment(changes: dict[str, Optional[str]]) -> dict[str, str]:
    """This process's environment without what the outer pytest put there."""
    environment: dict[str, Optional[str]] = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PY_COLORS", "XDIST_"))
    }
    environment.update(changes)
    return {name: value for name, value in environment.items() if value is not None}
