"""The runner's four descriptors: commands, events, status and configuration (`xdist-worker/src/runner.rs`)."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import struct
import time
from typing import Any, Callable, NamedTuple, NoReturn, Optional, TypeVar, Union

from . import msgpack
from .interrupts import Interrupts

#: Longest payload of a frame that is sent. The wire's limit is 16 MiB.
MAX_PAYLOAD_BYTES = 15 << 20
#: Up to this length a write to a pipe is not divided.
_ATOMIC_BYTES = 512
#: What pytest exits with for an error that is not a test's.
_INTERNAL_ERROR = 3

#: In front of what is for the host alone (`xdist-worker/src/runner.rs`).
PRIVATE = b"\xc1"

STATUS_BYTES = 32
NO_ITEM = 0xFFFF_FFFF

STARTING, SETUP, CALL, TEARDOWN, COLLECTING, IDLE, FINISHING = range(7)

PROCEED = "proceed"
ANSWER = "answer"
COLLECT = "collect"
SEND_COLLECTION = "send_collection"
PARK = "park"
DRAIN = "drain"
INTERRUPT = "interrupt"


class Item(NamedTuple):
    """The command to run an item."""

    index: int
    lease: int


Command = Union[str, Item]

_T = TypeVar("_T")

_KINDS = {b"G": PROCEED, b"C": COLLECT, b"S": SEND_COLLECTION, b"A": ANSWER, b"P": PARK, b"D": DRAIN, b"X": INTERRUPT}
_NUMBER = struct.Struct("<I")
_TIME = struct.Struct("<Q")
_ITEM = struct.Struct("<cII")
_PREFIX = struct.Struct(">I")
#: How long the host takes to take commands back, in seconds; about.
_HOST_STEP = 0.001


def _decode(datagram: bytes) -> Command:
    if len(datagram) == _ITEM.size and datagram[:1] == b"I":
        _, index, lease = _ITEM.unpack(datagram)
        return Item(index, lease)
    try:
        return _KINDS[datagram]
    except KeyError:
        raise RuntimeError(f"the host sent an unknown command: {datagram!r}") from None


def _die(text: str) -> NoReturn:
    """Ends the process at once: nothing can be told any more, and the status page must stay as it is."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())
    os._exit(_INTERNAL_ERROR)


class RunOver(Exception):
    """The session is to end, and nothing that it asks is answered any more."""


class Commands:
    """The datagrams from the host."""

    def __init__(self, descriptor: int) -> None:
        self.open(descriptor)

    def open(self, descriptor: int) -> None:
        """Takes commands from this descriptor, from the first one on."""
        os.set_inheritable(descriptor, False)
        self._socket: Optional[socket.socket] = socket.socket(fileno=descriptor)
        # Not what `socket.setdefaulttimeout` in a sitecustomize may say.
        self._socket.settimeout(None)
        #: The number of the next command.
        self.number = 0

    def receive(self) -> Command:
        """The next command; waits for it. `DRAIN` once the host is gone."""
        while self._socket is not None:
            command = self._take(self._socket.recv(64))
            if command is not None:
                return command
        return DRAIN

    def receive_now(self) -> Optional[Command]:
        """The next command, if it is there already."""
        while self._socket is not None:
            try:
                command = self._take(self._socket.recv(64, socket.MSG_DONTWAIT))
            except BlockingIOError:
                return None
            if command is not None:
                return command
        return DRAIN

    def _take(self, datagram: bytes) -> Optional[Command]:
        command = self._next(datagram)
        if command is not None:
            self.number = (self.number + 1) & 0xFFFF_FFFF
        return command

    def peek(self) -> Optional[Command]:
        """The command that `receive` would take, if there is one already."""
        if self._socket is None:
            return DRAIN
        try:
            return self._next(self._socket.recv(64, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return None

    def wait_for_answer(self) -> None:
        """Waits for `ANSWER`, and takes no other command for it: the host takes back what is in front of it.

        Raises `RunOver` if the session is to end instead.
        """
        while self._socket is not None:
            datagram = self._socket.recv(64, socket.MSG_PEEK)
            command = self._next(datagram)
            if command == ANSWER:
                self.receive()
                return
            if not datagram or command == INTERRUPT:
                break
            time.sleep(_HOST_STEP)
        raise RunOver

    def _next(self, datagram: bytes) -> Optional[Command]:
        """The command in a datagram, if it is the next one.

        If it is not, the host is taking commands back at this moment, and has the ones before it; it knows that this
        one does not count, and sends anew from the number expected.
        """
        if not datagram:
            # The host is gone.
            return DRAIN
        (number,) = _NUMBER.unpack_from(datagram)
        return _decode(datagram[_NUMBER.size :]) if number == self.number else None

    def close(self) -> None:
        """Gives the descriptor up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Events:
    """The pipe to the host. Once the host is gone, events vanish; the commands then tell the session to end."""

    def __init__(self, descriptor: int, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._write = os.write
        self.worker = 0
        self.open(descriptor)

    def open(self, descriptor: int) -> None:
        """Sends to this descriptor."""
        os.set_inheritable(descriptor, False)
        self._descriptor: Optional[int] = descriptor

    def send(self, kind: str, /, **fields: object) -> None:
        """Sends a message about this worker; fields that are `None` are left out."""
        self.send_payload(self.payload(kind, **fields))

    def payload(self, kind: str, /, **fields: object) -> bytes:
        """What `send` sends."""
        body: dict[str, object] = {"worker": self.worker}
        body.update((name, value) for name, value in fields.items() if value is not None)
        return msgpack.pack({kind: body})

    def send_payload(self, payload: bytes) -> None:
        """Sends an encoded message, at most `MAX_PAYLOAD_BYTES` long."""
        self.send_frame(_PREFIX.pack(len(payload)) + payload)

    def send_frame(self, frame: bytes) -> None:
        """Sends an encoded message with its length in front."""
        if self._descriptor is None:
            return
        # An exception between two parts of a frame would ruin the stream.
        holding = len(frame) > _ATOMIC_BYTES and self._interrupts.hold()
        try:
            written = self._write(self._descriptor, frame)
            while written < len(frame):
                written += self._write(self._descriptor, memoryview(frame)[written:])
        except BrokenPipeError:
            self.close()
        except OSError as error:
            _die(f"xdist: a test closed a descriptor that was not its own: {error}")
        if holding:
            self._interrupts.deliver()

    def close(self) -> None:
        """Gives the descriptor up."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Status:
    """The page that tells the host what is running, also after a sudden death.

    The host may read it at any time, and `pack_into` clears what it is going to write. So the bytes are packed first.
    """

    _ITEM = struct.Struct("<IIBB6xQ")
    _WAITS = 9
    _STARTED = slice(16, 24)
    _TAKEN = slice(24, 28)
    _IS_UP = 28

    def __init__(self, descriptor: int) -> None:
        self.open(descriptor)
        # Kept here since time-travelling test tools replace the functions of modules.
        self._now = time.monotonic_ns
        self._stopped_at = 0

    def open(self, descriptor: int) -> None:
        """Writes to the page behind this descriptor."""
        self._page = mmap.mmap(descriptor, STATUS_BYTES)
        os.close(descriptor)
        self._page[self._IS_UP] = 1

    def begin(self, item: Item) -> None:
        """An item's setup begins."""
        self._page[: self._ITEM.size] = self._ITEM.pack(item.index, item.lease, SETUP, 0, self._now())

    def enter(self, activity: int) -> None:
        """What is going on changes, for the same item."""
        self._page[8] = activity

    def wait(self, wait: Callable[[], _T]) -> _T:
        """Calls what waits for the host, and does not count the time as the item's."""
        self.stop_clock()
        try:
            return wait()
        finally:
            self.start_clock()

    def stop_clock(self) -> None:
        """What follows is not the item's time."""
        self._stopped_at = self._now()
        self._page[self._WAITS] = 1

    def start_clock(self) -> None:
        """Ends what `stop_clock` began."""
        (started,) = _TIME.unpack(self._page[self._STARTED])
        self._page[self._STARTED] = _TIME.pack(started + self._now() - self._stopped_at)
        self._page[self._WAITS] = 0

    @property
    def taken(self) -> int:
        """How many commands were taken, as far as that was noted. Only this half has to do with it."""
        return int(_NUMBER.unpack(self._page[self._TAKEN])[0])

    @taken.setter
    def taken(self, number: int) -> None:
        self._page[self._TAKEN] = _NUMBER.pack(number)

    def has_item(self) -> bool:
        """Whether an item is running, in this process or in one that was forked from it."""
        return bool(self._ITEM.unpack_from(self._page)[0] != NO_ITEM)

    def leave(self, activity: int = IDLE) -> None:
        """No item is running any more."""
        self._page[: self._ITEM.size] = self._ITEM.pack(NO_ITEM, 0, activity, 0, 0)


class Channel:
    """All four descriptors."""

    def __init__(self, commands: int, events: int, status: int, interrupts: Interrupts) -> None:
        self.commands = Commands(commands)
        self.events = Events(events, interrupts)
        self.status = Status(status)
        #: Whether a child that is forked now is to speak for the worker.
        self.survives_fork = False
        # A forked child is not the worker, and must not keep the host from seeing the worker's end.
        os.register_at_fork(after_in_child=self._close_in_child)

    def open(self, commands: int, events: int, status: int) -> None:
        """Takes other descriptors, in a process that was forked to be a worker."""
        self.commands.open(commands)
        self.events.open(events)
        self.status.open(status)

    def note_taken(self) -> None:
        """Tells the process that this one was forked from, or will be, how many commands were taken."""
        self.status.taken = self.commands.number

    def heed_taken(self) -> None:
        """Goes on behind the commands that a forked process has taken in the meantime."""
        self.commands.number = self.status.taken

    def _close_in_child(self) -> None:
        """Gives commands and events up; the status page stays, as a forked child may run a phase of the item."""
        if self.survives_fork:
            self.survives_fork = False
        else:
            self.commands.close()
            self.events.close()


def read_command(descriptor: int, kind: str) -> dict[str, Any]:
    """The fields of a command of this kind, from the memory file that the host puts it into."""
    size = os.fstat(descriptor).st_size
    parts = []
    position = 0
    while position < size:
        part = os.pread(descriptor, size - position, position)
        if not part:
            break
        parts.append(part)
        position += len(part)
    fields = msgpack.unpack(b"".join(parts))[kind]
    if not isinstance(fields, dict):
        raise msgpack.DecodeError(f"not a {kind} command")
    return fields
