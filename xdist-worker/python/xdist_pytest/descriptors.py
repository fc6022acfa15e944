"""Open descriptors: which of them a forked process must not share, and how it gets its own. For Linux."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from typing import Optional

_HARMLESS_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/pts/")


def all_open() -> list[int]:
    """Every open descriptor."""
    listing = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return sorted(descriptor for descriptor in map(int, os.listdir(listing)) if descriptor != listing)
    finally:
        os.close(listing)


def same_as(descriptor: int) -> list[int]:
    """Every descriptor of the same open pipe, this one included."""
    wanted = _identity(descriptor)
    return [each for each in all_open() if _identity(each) == wanted]


def inventory() -> frozenset[tuple[int, int]]:
    """What is open now: device and inode of every descriptor."""
    return frozenset(identity for identity in map(_identity, all_open()) if identity is not None)


def problem(known: frozenset[tuple[int, int]]) -> Optional[str]:
    """What is open that two processes cannot share, if anything, beside what was in the inventory."""
    for descriptor in all_open():
        if _identity(descriptor) in known:
            continue
        try:
            mode = os.fstat(descriptor).st_mode
            target = os.readlink(f"/proc/self/fd/{descriptor}")
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        except OSError:
            # Closed meanwhile by another thread.
            continue
        found = _problem_of(mode, target, flags)
        if found is not None:
            return found
    return None


def _problem_of(mode: int, target: str, flags: int) -> Optional[str]:
    if stat.S_ISREG(mode):
        # Two processes that write to a database by the same handle spoil it.
        shared = flags & os.O_ACCMODE == os.O_RDWR and not flags & os.O_APPEND and not _is_temporary(target)
        return f"a file is open for reading and writing: {target}" if shared else None
    if stat.S_ISSOCK(mode):
        return "a socket is open"
    if stat.S_ISFIFO(mode):
        return "a pipe is open"
    if stat.S_ISCHR(mode):
        return None if target.startswith(_HARMLESS_DEVICES) else f"a device is open: {target}"
    if stat.S_ISDIR(mode):
        return None
    return f"this is open: {target}"


def _is_temporary(target: str) -> bool:
    """Whether it is a file without a name, such as those of `tempfile.TemporaryFile`."""
    return target.endswith(" (deleted)") and not target.startswith("/memfd:")


def make_files_private() -> None:
    """Gives this process positions of its own in all open files, and contents of its own of those without a name."""
    for descriptor in all_open():
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                continue
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            writable = flags & os.O_ACCMODE != os.O_RDONLY
            if writable and _is_temporary(os.readlink(f"/proc/self/fd/{descriptor}")):
                own = _copy(descriptor)
            else:
                own = os.open(f"/proc/self/fd/{descriptor}", flags & (os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK))
        except OSError:
            # A file that cannot be opened again: its permissions were changed, or it lies on a disk that is gone.
            continue
        try:
            os.lseek(own, os.lseek(descriptor, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(own, descriptor, inheritable=os.get_inheritable(descriptor))
        finally:
            os.close(own)


def _copy(descriptor: int) -> int:
    """A file without a name and with the same contents."""
    with tempfile.TemporaryFile(buffering=0) as file:
        size = os.fstat(descriptor).st_size
        position = 0
        while position < size:
            part = os.pread(descriptor, min(size - position, 1 << 20), position)
            if not part:
                break
            file.write(part)
            position += len(part)
        return os.dup(file.fileno())


def _identity(descriptor: int) -> Optional[tuple[int, int]]:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
