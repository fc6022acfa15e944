"""A frontend's link to the coordinator: what it hears and what it says (`xdist-proto/src/frontend.rs`)."""

from __future__ import annotations

import os
import platform
import select
import socket
import struct
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any, Optional

from . import msgpack

_PREAMBLE = b"\x89XDIST\x01\x00"
_VERSION = [1, 0]
_LENGTH = struct.Struct(">I")
_READ_BYTES = 1 << 18


class LinkError(Exception):
    """The coordinator is gone, or is none that can be talked to."""


class Link:
    """A socket to the coordinator."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(True)
        # What a test or plugin starts has no business with it.
        os.set_inheritable(connection.fileno(), False)
        self._socket = connection
        self._received = b""
        self._position = 0
        self._sending = False
        self._late: list[bytes] = []
        self._held: deque[Optional[tuple[str, dict[str, Any]]]] = deque()

    def open(self, *features: str) -> None:
        """Says who this is, with the questions that it answers.

        Raises `LinkError` if the coordinator does not want to hear more.
        """
        hello = {
            "implementation": {"name": "xdist-pytest", "version": "1"},
            "versions": {"min": _VERSION, "max": _VERSION},
            "role": "frontend",
            "host": {"hostname": platform.node(), "pid": os.getpid(), "os": sys.platform, "arch": platform.machine()},
            "features": dict.fromkeys(features, 1),
        }
        self._write(_PREAMBLE)
        self.send("hello", **hello)
        preamble = self._take(len(_PREAMBLE))
        if preamble is None or preamble[:6] != _PREAMBLE[:6]:
            raise LinkError("what is at the other end of the link is no coordinator of xdist")
        answer = self.receive()
        if answer is None or answer[0] != "welcome":
            text = "it closed the link" if answer is None else answer[1].get("text", "")
            raise LinkError(f"the coordinator refuses: {text}")

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        while True:
            message = self.receive()
            if message is None:
                return
            yield message

    def receive(self) -> Optional[tuple[str, dict[str, Any]]]:
        """The next message's kind and fields; `None` at the end. Waits for it."""
        return self._held.popleft() if self._held else self._read()

    def _read(self) -> Optional[tuple[str, dict[str, Any]]]:
        head = self._take(_LENGTH.size)
        if head is None:
            return None
        payload = self._take(_LENGTH.unpack(head)[0])
        if payload is None:
            raise LinkError("the coordinator closed the link in the middle of a message")
        for kind, fields in msgpack.unpack(payload).items():
            return kind, fields
        raise LinkError("the coordinator sent no message")

    def hold_until(self, last: str) -> None:
        """Waits for a message of this kind. It and those before it are there to be read afterwards."""
        while True:
            message = self._read()
            self._held.append(message)
            if message is None or message[0] == last:
                return

    def has_more(self) -> bool:
        """Whether a message can be read without waiting."""
        return bool(self._held) or self._position < len(self._received) or bool(select.select([self._socket], [], [], 0)[0])

    def _take(self, count: int) -> Optional[bytes]:
        while len(self._received) - self._position < count:
            try:
                data = self._socket.recv(_READ_BYTES)
            except ConnectionResetError:
                data = b""
            if not data:
                if self._position < len(self._received):
                    raise LinkError("the coordinator closed the link in the middle of a message")
                return None
            self._received = self._received[self._position :] + data
            self._position = 0
        end = self._position + count
        taken = self._received[self._position : end]
        self._position = end
        return taken

    def send(self, kind: str, **fields: object) -> None:
        """Sends a message; may be called from a signal handler while another one is being sent."""
        payload = msgpack.pack({kind: fields})
        frame = _LENGTH.pack(len(payload)) + payload
        if self._sending:
            self._late.append(frame)
            return
        self._write(frame)
        while self._late:
            self._write(self._late.pop(0))

    def _write(self, data: bytes) -> None:
        self._sending = True
        try:
            self._socket.sendall(data)
        except OSError as error:
            # What the coordinator said last may still be there to read; its end is seen then.
            if not isinstance(error, (BrokenPipeError, ConnectionResetError)):
                raise
        finally:
            self._sending = False

    def close(self) -> None:
        """Gives the link up."""
        self._socket.close()
