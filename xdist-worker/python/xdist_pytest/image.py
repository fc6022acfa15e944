"""The image: a process that has collected and does nothing but fork workers, for the host that asks for them.

It is forked from the first worker when that has collected, and is as alike to it as can be. What differs between
workers (names, descriptors, directories) is set anew in every worker that is forked from it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import select
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from . import descriptors
from .process import fork, undisturbed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .descriptors import Identity

_PID = struct.Struct("<I")
#: Instead of the id of a process that could not be forked.
_NONE = 0
#: What a pipe holds.
_MOST_TOLD = 1 << 16
_PR_SET_PDEATHSIG = 1
#: How many descriptors come with a request: commands, events, status, configuration, standard output and error.
_REQUESTED = 6


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
    own, _ = _fork_orphans([()])
    if own is None:
        os.close(image_is_ready)
        came_up = os.read(ready, 1)
        os.close(ready)
        control.close()
        if not came_up:
            raise OSError("the process ended at once")
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
            request = self._receive()
            if request is None:
                os._exit(0)
            own, told = _fork_orphans(self._with_more(request))
            if own is not None:
                return self._become_worker(*own)
            for descriptor in request:
                os.close(descriptor)
            for worker in told:
                self._control.send(_PID.pack(worker))

    def _with_more(self, request: Sequence[int]) -> Iterator[Sequence[int]]:
        """This request, and those that have come meanwhile."""
        waiting = select.poll()
        waiting.register(self._control, select.POLLIN)
        wanted: Optional[Sequence[int]] = request
        while wanted is not None:
            yield wanted
            wanted = self._receive() if waiting.poll(0) else None

    def _receive(self) -> Optional[Sequence[int]]:
        """The next request's descriptors, or `None` if the host wants no more."""
        _, received, _, _ = socket.recv_fds(self._control, 1, _REQUESTED)
        return received if len(received) == _REQUESTED else None

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


def _fork_orphans(requests: Iterable[Sequence[int]]) -> tuple[Optional[Sequence[int]], list[int]]:
    """Forks processes that are nobody's children here, so that the host, which adopts orphans, can wait for them.

    Each leads a process group, and has been adopted when this returns there, with the request that it was forked for.
    The caller gets their ids. They have one parent in common, which takes the requests, since copying a process takes time:
    two copies for each would take twice as much.

    Raises `OSError` if there is no room for the first of them.
    """
    with undisturbed():
        return _fork_orphans_undisturbed(requests)


def _fork_orphans_undisturbed(requests: Iterable[Sequence[int]]) -> tuple[Optional[Sequence[int]], list[int]]:
    go, send_go = os.pipe()
    tell, send_tell = os.pipe()
    parent = fork()
    if parent == 0:
        own = _fork_each(requests, send_tell)
        # An orphan.
        for descriptor in (send_go, tell, send_tell):
            os.close(descriptor)
        os.read(go, 1)
        os.close(go)
        return own, []
    os.close(send_tell)
    with contextlib.suppress(ChildProcessError):
        # A handler that is not Python's may have been faster.
        os.waitpid(parent, 0)
    # That end has been dealt with by now, and with it the adoption.
    told = os.read(tell, _MOST_TOLD)
    for descriptor in (send_go, go, tell):
        os.close(descriptor)
    orphans = [orphan for (orphan,) in _PID.iter_unpack(told)]
    if not orphans or orphans[0] == _NONE:
        raise OSError("it has no room for another process")
    return None, orphans


def _fork_each(requests: Iterable[Sequence[int]], send_tell: int) -> Sequence[int]:
    """Returns in the children only, with their requests. Ends after a request that cannot be granted, and tells of it."""
    is_parent = True
    try:
        for request in requests:
            try:
                orphan = fork()
            except OSError:
                os.write(send_tell, _PID.pack(_NONE))
                break
            if orphan == 0:
                is_parent = False
                return request
            os.setpgid(orphan, orphan)
            os.write(send_tell, _PID.pack(orphan))
            for descriptor in request:
                os.close(descriptor)
    finally:
        if is_parent:
            os._exit(0)
    raise AssertionError("only children return")
