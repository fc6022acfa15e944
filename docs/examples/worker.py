#!/usr/bin/env python3
"""A worker for xdist that knows nothing of pytest: its tests are shell scripts.

    xdist run --tx "2*exec=python3 docs/examples/worker.py" directory script.sh ...

Every `*.sh` in the given directories is a test, and so is every script given by name. Exit status 0 is a pass, 77 a
skip, everything else a failure. Written from docs/protocol.md alone; numbers in brackets are its sections.
"""

import hashlib
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PREAMBLE = b"\x89XDIST\x01\x00"
MAX_DEPTH = 64  # of values within each other
MAX_TEXT = 256 << 10  # characters of a script's output that are reported
LIST_PART = 1000  # items in one `collection`
COMMANDS = ("collect", "send_collection", "run", "steal", "cancel", "park", "drain", "interrupt", "shutdown")


# MessagePack, as far as the protocol needs it [3]
NUMBERS = dict(zip(range(0xCA, 0xD4), [">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"]))
# Markers with a length behind them: what they are, and the width of the length.
COUNTED = {m + n: (k, 1 << n) for m, k in ((0xC4, "bytes"), (0xC7, "extension"), (0xD9, "text")) for n in range(3)}
COUNTED |= {m + n: (k, 2 << n) for m, k in ((0xDC, "array"), (0xDE, "map")) for n in range(2)}


def pack(value):
    def head(short, room, long):
        return bytes([short | len(value)]) if len(value) < room else bytes([long]) + struct.pack(">I", len(value))

    if isinstance(value, int):
        width = "b" if -32 <= value < 128 else "q" if value < 0 else "Q"
        return {"b": b"", "q": b"\xd3", "Q": b"\xcf"}[width] + struct.pack(">" + width, value)
    if isinstance(value, str):
        value = value.encode("utf-8", "backslashreplace")
        return head(0xA0, 32, 0xDB) + value
    if isinstance(value, bytes):  # digests only
        return b"\xc4" + bytes([len(value)]) + value
    if isinstance(value, list):
        return head(0x90, 16, 0xDD) + b"".join(map(pack, value))
    return head(0x80, 16, 0xDF) + b"".join(pack(key) + pack(item) for key, item in value.items())


def unpack(data, at=0, depth=1):
    """The value at an offset, and the offset behind it."""

    def take(size):
        nonlocal at
        if size > len(data) - at or depth > MAX_DEPTH:
            raise ValueError("a message is cut off or nested too deeply")
        at += size
        return data[at - size : at]

    (marker,) = take(1)
    if marker < 0x80 or marker >= 0xE0:
        return (marker if marker < 0x80 else marker - 256), at
    if marker in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[marker], at
    if marker in NUMBERS:
        return struct.unpack(NUMBERS[marker], take(struct.calcsize(NUMBERS[marker])))[0], at
    if marker < 0xC0:
        kind, count = {8: "map", 9: "array"}.get(marker >> 4, "text"), marker & (0x1F if marker >= 0xA0 else 0x0F)
    elif 0xD4 <= marker <= 0xD8:
        kind, count = "extension", 1 << (marker - 0xD4)
    elif marker in COUNTED:
        kind, width = COUNTED[marker]
        count = int.from_bytes(take(width), "big")
    else:
        raise ValueError("a byte that begins no value")
    if kind in ("array", "map"):
        values = []
        for _ in range(count * (2 if kind == "map" else 1)):
            value, at = unpack(data, at, depth + 1)
            values.append(value)
        # Only values for plugins have keys that are no text, and this worker has no plugins.
        return (values if kind == "array" else dict(zip(map(str, values[::2]), values[1::2]))), at
    content = take(count + (kind == "extension"))  # An extension has a byte for its type.
    return (content.decode("utf-8", "backslashreplace") if kind == "text" else content), at


class Link:
    """Frames over the socket, and the opening exchange [3, 6]."""

    def __init__(self, sock):
        self.sock, self.buffer, self.limit = sock, b"", 1 << 20

    def send(self, kind, **fields):
        payload = pack({kind: fields})
        self.sock.sendall(struct.pack(">I", len(payload)) + payload)

    def receive(self):
        """Waits for bytes; false at the end of the stream."""
        self.buffer += (data := self.sock.recv(1 << 16))
        return bool(data)

    def message(self):
        """The next message that has arrived, as kind and fields, if there is one."""
        while len(self.buffer) >= 4:
            (length,) = struct.unpack(">I", self.buffer[:4])
            if not 0 < length <= self.limit:
                raise ValueError(f"a frame of {length} bytes")
            if len(self.buffer) < 4 + length:
                return None
            payload, self.buffer = self.buffer[4 : 4 + length], self.buffer[4 + length :]
            message, end = unpack(payload)
            if not isinstance(message, dict) or len(message) != 1 or end != length:
                raise ValueError("not a message")
            ((kind, fields),) = message.items()
            if not kind.startswith("~"):
                return kind, fields

    def open(self):
        self.sock.sendall(PREAMBLE)
        name, versions = {"name": "shell-scripts", "version": "1"}, {"min": [1, 0], "max": [1, 0]}
        self.send("hello", implementation=name, versions=versions, role="worker", slots=1)
        while len(self.buffer) < len(PREAMBLE) and self.receive():
            continue
        if self.buffer[:6] != PREAMBLE[:6] or self.buffer[6:7] > b"\x01":
            raise ValueError("the other side does not speak version 1 of the protocol")
        self.buffer = self.buffer[len(PREAMBLE) :]
        while not (answer := self.message()) and self.receive():
            pass
        if not answer or answer[0] != "welcome":
            raise ValueError(f"the coordinator's answer is {answer}")
        self.limit = answer[1]["max_frame_bytes"]


class Worker:
    """The queue of one worker, and the script that it is running. Every command has a method of its name [8, 9]."""

    def __init__(self, link, fields):
        self.link, self.id, args = link, fields["worker"], fields.get("args", [])
        self.root = Path(fields.get("chdir") or ".").resolve()
        self.env = {**os.environ, **fields.get("env", {}), "XDIST_WORKER": fields["name"]}
        values = [value for option, value in zip(args, args[1:]) if option in ("--tx", "--dist")]
        self.paths = [arg for arg in args if not arg.startswith("-") and arg not in values] or ["."]
        self.wants_output = fields.get("wants", {}).get("passed_output", False)
        self.items, self.queue, self.script, self.finished, self.failed = [], [], None, 0, 0
        self.is_ending = self.is_interrupted = self.is_down = False
        for path in self.paths:
            if not (self.root / path).exists():
                self.send("usage_error", text=f"ERROR: file or directory not found: {path}", exit_code=4)
                return self.down({"exited": 4})
        self.send("ready", pid=os.getpid(), platform=sys.platform, cwd=str(self.root), rootdir=str(self.root))

    def send(self, kind, **fields):
        self.link.send(kind, worker=self.id, **fields)

    def collect(self, fields):
        self.send("collecting")
        for path in map(self.root.joinpath, self.paths):
            scripts = sorted(path.rglob("*.sh")) if path.is_dir() else [path]
            self.items += [os.path.relpath(script, self.root) for script in scripts]
        names = b"".join(item.encode("utf-8", "backslashreplace") + b"\0" for item in self.items)
        self.send("collected", digest=hashlib.blake2b(names, digest_size=16).digest(), count=len(self.items))

    def send_collection(self, fields):
        for offset in range(0, len(self.items), LIST_PART):
            part = [{"id": item} for item in self.items[offset : offset + LIST_PART]]
            self.send("collection", offset=offset, total=len(self.items), items=part)

    def run(self, fields):
        if not self.is_ending:
            self.queue += [(item, fields["lease"]) for item in fields["items"]]

    def steal(self, fields):
        wanted, queued = set(fields["items"]), [item for item, _ in self.queue]
        taken = wanted if wanted <= set(queued) else set()  # all or none
        self.queue = [entry for entry in self.queue if entry[0] not in taken]
        self.send("unscheduled", request=fields["request"], items=[item for item in queued if item in taken])

    def cancel(self, fields):
        self.steal({**fields, "items": [item for item, _ in self.queue]})

    def park(self, fields):
        pass  # Nothing is kept from one script to the next.

    def drain(self, fields):
        self.is_ending = True

    def interrupt(self, fields):
        self.is_ending, self.is_interrupted, self.queue = True, True, []
        self.kill(signal.SIGINT)

    def shutdown(self, fields):  # At once: a script has no use for the time that the command grants.
        self.kill(signal.SIGKILL)
        script = self.script
        crash = {"item": {"lease": script.lease, "item": script.item, "phase": "call"}} if script else {}
        self.down({"killed": "the coordinator asked for it"}, **crash)

    def kill(self, number):
        if self.script and self.script.process.poll() is None:
            os.killpg(self.script.process.pid, number)

    def advance(self):
        """Does what is due: the end of a script, the beginning of the next one, the end of the session."""
        if self.script and self.script.process.poll() is not None:
            script, self.script = self.script, None
            if not self.is_interrupted:  # Otherwise it was cut off, and counts as not run.
                report = script.report(self.wants_output)
                self.finished, self.failed = self.finished + 1, self.failed + (report.get("class") == "fail")
                self.send("item_finished", lease=script.lease, item=script.item, report=report)
        if not self.script and self.queue:
            self.script = Script(self, *self.queue.pop(0))
        elif not self.script and self.is_ending:
            status = 2 if self.is_interrupted else 1 if self.failed else 0 if self.finished else 5
            self.send("worker_output", exit_status=status)
            self.down({"exited": status})

    def down(self, cause, **fields):
        self.is_down = True
        self.send("down", cause=cause, finished=self.finished, **fields)


class Script:
    """A script that runs, in a session of its own, so that its children can be ended with it."""

    def __init__(self, worker, item, lease):
        self.item, self.lease, self.name, self.start = item, lease, worker.items[item], time.time()
        self.output = tempfile.TemporaryFile()
        streams = {"stdin": subprocess.DEVNULL, "stdout": self.output, "stderr": subprocess.STDOUT}
        command, place = ["sh", "--", self.name], {"cwd": worker.root, "env": worker.env}
        self.process = subprocess.Popen(command, start_new_session=True, **streams, **place)

    def report(self, wants_output):
        status, took_us = self.process.returncode, max(0, int((time.time() - self.start) * 1e6))
        self.output.seek(0)
        text = self.output.read().decode("utf-8", "backslashreplace")[-MAX_TEXT:]
        report = {"start": int(self.start * 1e6), "us": [0, took_us, 0]}
        if status == 0 and not (text and wants_output):
            return report
        outcome = {0: "pass", 77: "skip"}.get(status, "fail")
        phase = {"phase": "call", "class": outcome, "us": took_us, "location": {"path": self.name, "domain": self.name}}
        if outcome == "fail":
            phase["failure"] = {"text": f"exit status {status}" if status > 0 else f"killed by signal {-status}"}
        elif outcome == "skip":
            phase["skip"] = {"path": self.name, "reason": (text.splitlines() or ["exit status 77"])[-1]}
        phase["sections"] = [{"title": "Captured output call", "text": text}] if text else []
        return {**report, "class": outcome, "phases": [phase]}


def obey(link, workers, kind, fields):
    if kind == "ping":
        link.send("pong", nonce=fields["nonce"])
    elif kind == "configure":
        if fields["worker"] not in workers:
            workers[fields["worker"]] = Worker(link, fields)
    elif kind not in COMMANDS:
        raise ValueError(f"unknown message kind {kind!r}")
    elif not workers[fields["worker"]].is_down:
        getattr(workers[fields["worker"]], kind)(fields)


def serve(link, workers):
    """Waits for commands and for the ends of scripts, until the coordinator closes the link."""
    # The end of a script is a signal, which wakes the selector through a socket.
    child_ended, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(link.sock, selectors.EVENT_READ)
    selector.register(child_ended, selectors.EVENT_READ)
    while True:
        while message := link.message():
            obey(link, workers, *message)
        for worker in [worker for worker in workers.values() if not worker.is_down]:
            worker.advance()
        for ready, _ in selector.select():
            if ready.fileobj is child_ended:
                child_ended.recv(4096)
            elif not link.receive():
                return


def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # After `&` in a shell, scripts would inherit none.
    link, workers = Link(socket.socket(fileno=int(os.environ.pop("XDIST_LINK_FD")))), {}
    link.sock.set_inheritable(False)  # A script that lingers would keep the link open.
    try:
        link.open()
        serve(link, workers)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        sys.exit(f"worker.py: {error!r}")
    finally:
        for worker in workers.values():
            worker.kill(signal.SIGKILL)


if __name__ == "__main__":
    main()
