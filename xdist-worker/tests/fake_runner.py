"""A runner without pytest: speaks the contract of `src/runner.rs`, and behaves as the plan in FAKE_PLAN says.

The plan is a JSON object: `count` items (default 10); `at`, which maps `ITEM:PHASE` to what is done there; `options`, which
it reports; `boot`, what it says before it dies at once. A phase is `setup`, `call`, `teardown` or `after`, which is past the item's report.
"""

import ctypes
import faulthandler
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys

# The listing itself takes a descriptor, which is gone afterwards.
LISTED = [int(name) for name in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{name}")]
INHERITED = sorted(set(LISTED) - {0, 1, 2} - set(map(int, sys.argv[-5:-1])))

STARTING, SETUP, CALL, TEARDOWN, COLLECTING, IDLE, FINISHING, WAITING = range(8)
PLAN = json.loads(os.environ.get("FAKE_PLAN", "{}"))
COUNT = PLAN.get("count", 10)
WORKER = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))


def pack(value):
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, str):
        data = value.encode()
        return b"\xdb" + struct.pack(">I", len(data)) + data
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
    pairs = b"".join(pack(key) + pack(entry) for key, entry in value.items())
    return b"\xdf" + struct.pack(">I", len(value)) + pairs


class Runner:
    def __init__(self, commands, events, status, configuration):
        for descriptor in (commands, events, status, configuration):
            os.set_inheritable(descriptor, False)
        self.commands = socket.socket(fileno=commands)
        self.events = events
        self.page = mmap.mmap(status, 32)
        self.page[28] = 1
        self.waiting = None
        self.number = 0
        assert os.pread(configuration, 1 << 20, 0)

    def write(self, frame):
        while frame:
            frame = frame[os.write(self.events, frame) :]

    def send(self, kind, /, **fields):
        payload = pack({kind: {"worker": WORKER, **fields}})
        self.write(struct.pack(">I", len(payload)) + payload)

    def receive(self):
        """The next command that is not answered on the spot."""
        if self.waiting is not None:
            command, self.waiting = self.waiting, None
            return command
        while True:
            datagram = self.commands.recv(64)
            number, command = datagram[:4], datagram[4:] or b"D"
            if datagram and struct.unpack("<I", number)[0] != self.number:
                continue
            self.number += 1
            if command != b"S":
                return command
            items = [{"id": f"t.py::test_{n}"} for n in range(COUNT)]
            self.send("collection", offset=0, total=COUNT, items=items)

    def show(self, item, lease, activity):
        now = int(__import__("time").monotonic_ns())
        struct.pack_into("<IIB7xQ", self.page, 0, item, lease, activity, now)

    def run(self):
        names = ["PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID", "PYTEST_XDIST_WORKER_COUNT", "XDIST_RUN_DIR"]
        header = [f"{name}={os.environ.get(name)}" for name in [*names, "EXTRA"]]
        header.append(f"descriptors={INHERITED}")
        options = PLAN.get("options", {})
        self.send("ready", pid=os.getpid(), cwd=os.getcwd(), header=header, options=options)
        command = self.receive()
        if command == b"C":
            self.page[8] = COLLECTING
            self.send("collecting")
            self.send("collected", digest=bytes(16), count=COUNT)
        exit_status = self.items()
        self.send("worker_output", exit_status=exit_status)
        sys.exit(exit_status)

    def items(self):
        while True:
            self.show(0xFFFFFFFF, 0, IDLE)
            command = self.receive()
            if command[:1] == b"I":
                try:
                    self.item(*struct.unpack("<II", command[1:]))
                except KeyboardInterrupt:
                    return 2
            elif command in (b"D", b"X"):
                return 2 if command == b"X" else 0

    def item(self, item, lease):
        self.text = ""
        self.running = {"lease": lease, "item": item}
        self.show(item, lease, SETUP)
        self.do(f"{item}:setup")
        self.page[8] = CALL
        try:
            self.do(f"{item}:call")
        finally:
            self.page[8] = TEARDOWN
            self.do(f"{item}:teardown")
            self.waiting = self.receive()
            self.send("item_finished", lease=lease, item=item, report=self.report())
            self.show(0xFFFFFFFF, 0, IDLE)
            self.do(f"{item}:after")

    def report(self):
        if not self.text:
            return {"start": 1, "us": [1, 2, 3]}
        failure = {"phase": "call", "class": "fail", "failure": {"text": self.text}}
        return {"class": "fail", "start": 1, "us": [1, 2, 3], "phases": [failure]}

    def do(self, where):
        for deed in PLAN.get("at", {}).get(where, "").split():
            getattr(self, "do_" + deed)()

    def do_segfault(self):
        faulthandler.enable()
        os.kill(os.getpid(), signal.SIGSEGV)

    def do_exit(self):
        os._exit(7)

    def do_kill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def do_stop(self):
        print("stopping", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)

    def do_hold(self):
        """Holds the interpreter lock, in a call that no signal handler of Python's can end."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("holding", flush=True)
        while True:
            ctypes.PyDLL(None).pause()

    def do_dump_when_asked(self):
        faulthandler.register(signal.SIGRTMAX - 3, all_threads=True, chain=True)

    def do_be_deaf(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))

    def do_end_when_asked(self):
        """Ends the item as soon as the host wants the stacks."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMAX - 3])
        signal.sigwait([signal.SIGRTMAX - 3])

    def do_wait_for_host(self):
        """As pytest does where it cannot go on without the next item."""
        self.page[8] = WAITING
        print("waiting", flush=True)

    def do_wait(self):
        print("waiting", flush=True)
        while True:
            signal.pause()

    def do_ignore_sigterm(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def do_child(self):
        child = subprocess.Popen(["sleep", "1000"])
        print(f"child {child.pid}", flush=True)

    def do_garbage(self):
        self.write(b"\x00\x00\x00\x04junk")

    def do_huge(self):
        self.write(b"\xff\xff\xff\xff")

    def do_foreign(self):
        self.send("collecting", worker=WORKER + 1)

    def do_pong(self):
        self.send("pong", nonce=1)

    def do_twice(self):
        self.send("item_finished", lease=99, item=99, report=self.report())

    def do_close(self):
        os.close(self.events)
        os._exit(0)

    def do_long(self):
        self.text = "begin" + "x" * (1 << 20) + "end"

    def do_so_far(self):
        self.text = "it failed"
        payload = b"\xc1" + pack({"item_finished": {"worker": WORKER, **self.running, "report": self.report()}})
        self.write(struct.pack(">I", len(payload)) + payload)

    def do_flood(self):
        line = b"y" * 1023 + b"\n"
        for _ in range(16 << 10):
            os.write(1, line)

    def do_partial(self):
        os.write(2, b"whole line\nno end")

    def do_stop_requested(self):
        self.send("stop_requested", kind="exit", reason="enough")


runner = Runner(*map(int, sys.argv[-5:-1]))
if "boot" in PLAN:
    sys.exit(PLAN["boot"])
runner.run()
