"""The image: a process that has collected and does nothing but fork workers, for the host that asks for them.

It is forked from the first worker when that has collected, and is as alike to it as can be. What differs between
workers (names, descriptors, directories) is set anew in every worker that is forked from it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import struct
import sys
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from . import descriptors

if TYPE_CHECKING:
    from .descriptors import Identity

_PID = struct.Struct("<I")
_PR_SET_PDEATHSIG = 1


class Birth(NamedTuple):
    """The descriptors of a worker that was just forked, as those that `runner.main` gets."""

    commands: int
    events: int
    status: int
    configuration: int


def fork_image(
    control: socket.socket,
    streams: tuple[Optional[Identity], Optional[Identity]],
    keep_random: bool,
    unseeded: list[random.Random],
) -> Optional[Birth]:
    """Forks the image, which takes requests from `control` until that ends.

    `streams` are the pipes that are the first worker's standard output and error. Returns `None` in the process that
    called it, once the image is up, and a `Birth` in every worker that is forked from the image. With `keep_random` the
    state of the random module is kept in them, and the generators that are `unseeded` are seeded anew.

    Raises `OSError` if the image did not come up.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    ready, image_is_ready = os.pipe()
    libc = ctypes.CDLL(None)
    state = random.getstate() if keep_random else None
    image = _fork_orphan()
    if image is not None:
        os.close(image_is_ready)
        came_up = os.read(ready, 1)
        os.close(ready)
        control.close()
        if not came_up:
            raise OSError(f"the process {image} ended at once")
        return None
    try:
        os.close(ready)
        birth = _Image(libc, control, streams).serve(image_is_ready)
        if state is not None:
            random.setstate(state)
        for generator in unseeded:
            generator.seed()
        _seed_numpy()
    except BaseException:
        # What goes wrong here is of no interest to the tests. The host sees the end, and starts workers otherwise.
        os._exit(1)
    return birth


class _Image:
    """What the image knows."""

    def __init__(
        self, libc: ctypes.CDLL, control: socket.socket, streams: tuple[Optional[Identity], Optional[Identity]]
    ) -> None:
        self._libc = libc
        self._control = control
        self._die_with(os.getppid())
        self._stdout, self._stderr = map(descriptors.all_of, streams)
        # The pipes are the first worker's, and have to end with it.
        for descriptor in (*self._stdout, *self._stderr):
            _replace(descriptor, 0)
        descriptors.make_files_private()

    def serve(self, is_ready: int) -> Birth:
        """Forks until the host wants no more, which ends the process. Returns in forked workers."""
        self._control.send(_PID.pack(os.getpid()))
        os.write(is_ready, b"!")
        os.close(is_ready)
        while True:
            _, received, _, _ = socket.recv_fds(self._control, 1, 6)
            if len(received) != 6:
                os._exit(0)
            worker = _fork_orphan()
            if worker is None:
                return self._become_worker(*received)
            for descriptor in received:
                os.close(descriptor)
            self._control.send(_PID.pack(worker))

    def _become_worker(
        self, commands: int, events: int, status: int, configuration: int, stdout: int, stderr: int
    ) -> Birth:
        self._die_with(os.getppid())
        self._control.close()
        for copies, own in ((self._stdout, stdout), (self._stderr, stderr)):
            for descriptor in copies:
                _replace(descriptor, own)
            os.close(own)
        descriptors.make_files_private()
        return Birth(commands, events, status, configuration)

    def _die_with(self, parent: int) -> None:
        """Lets the kernel end this process with the host."""
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def _seed_numpy() -> None:
    """Gives numpy's global generator a new seed if nobody gave it one."""
    mtrand: Any = sys.modules.get("numpy.random.mtrand")
    try:
        # What it was seeded from at import; a seed given later leaves nothing here.
        is_unseeded = mtrand is not None and mtrand._rand._bit_generator._seed_seq is not None
    except AttributeError:
        return
    if is_unseeded:
        mtrand.seed()


def _replace(descriptor: int, by: int) -> None:
    os.dup2(by, descriptor, inheritable=os.get_inheritable(descriptor))


def _fork_orphan() -> Optional[int]:
    """Forks a process that is nobody's child here, so that the host, which adopts orphans, can wait for it.

    It leads a process group. Answers its id, or `None` in the process itself, which has been adopted by then.
    """
    go, send_go = os.pipe()
    tell, send_tell = os.pipe()
    middle = _fork()
    if middle == 0:
        _fork_and_tell(send_tell)
        # The orphan.
        for descriptor in (send_go, tell, send_tell):
            os.close(descriptor)
        os.read(go, 1)
        os.close(go)
        return None
    os.close(send_tell)
    told = os.read(tell, _PID.size)
    with contextlib.suppress(ChildProcessError):
        # The user's handling of SIGCHLD may have been faster.
        os.waitpid(middle, 0)
    # The end of the one in the middle has been dealt with by now, and with it the adoption.
    for descriptor in (send_go, go, tell):
        os.close(descriptor)
    if len(told) != _PID.size:
        raise OSError("it has no room for another process")
    (orphan,) = _PID.unpack(told)
    return int(orphan)


def _fork_and_tell(send_tell: int) -> None:
    """Returns in the child only."""
    orphan = -1
    try:
        orphan = _fork()
        if orphan == 0:
            return
        os.setpgid(orphan, orphan)
        os.write(send_tell, _PID.pack(orphan))
    finally:
        if orphan != 0:
            os._exit(0)


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 and later warn of threads, which have been thought of.
        warnings.simplefilter("ignore")
        return os.fork()
