"""Open descriptors: which of them a forked process must not share, and how it gets its own. For Linux."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from typing import Optional

#: Device and inode: which pipe or file a descriptor is of.
Identity = tuple[int, int]

_HARMLESS_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/pts/")


def all_open() -> list[int]:
    """Every open descriptor, and perhaps one that was open only for this."""
    listing = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return sorted(descriptor for descriptor in map(int, os.listdir(listing)) if descriptor != listing)
    finally:
        os.close(listing)


def identity(descriptor: int) -> Optional[Identity]:
    """Which pipe or file it is of; `None` if it is not open."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def all_of(wanted: Optional[Identity]) -> list[int]:
    """Every descriptor of this pipe."""
    return [] if wanted is None else [each for each in all_open() if identity(each) == wanted]


def inventory() -> frozenset[Identity]:
    """What is open now."""
    return frozenset(found for found in map(identity, all_open()) if found is not None)


def shared_memory() -> frozenset[str]:
    """What this process can write to memory that a forked process would see, by device, inode and name."""
    found = set()
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            _, permissions, _, *what = line.rstrip("\n").split(maxsplit=5)
            if permissions[1] == "w" and permissions[3] == "s":
                found.add(" ".join(what))
    return frozenset(found)


def problem(known: frozenset[Identity]) -> Optional[str]:
    """What is open that two processes cannot share, if anything, beside what was in the inventory."""
    for descriptor in all_open():
        if identity(descriptor) in known:
            continue
        try:
            mode = os.fstat(descriptor).st_mode
            target = os.readlink(f"/proc/self/fd/{descriptor}")
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            is_locked = _is_locked(descriptor)
        except OSError:
            # Closed meanwhile.
            continue
        found = f"a file is locked: {target}" if is_locked else _problem_of(mode, target, flags)
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


def _is_locked(descriptor: int) -> bool:
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii", errors="replace") as info:
        return any(line.startswith("lock:") for line in info)


def _is_temporary(target: str) -> bool:
    """Whether it is a file without a name, such as those of `tempfile.TemporaryFile`."""
    return target.endswith(" (deleted)") and not target.startswith("/memfd:")


def make_files_private() -> None:
    """Gives this process positions of its own in all open files, and contents of its own of those without a name."""
    files = [descriptor for descriptor in all_open() if _is_file(descriptor)]
    while files:
        first = files.pop(0)
        duplicates = [other for other in files if identity(other) == identity(first) and _move_together(first, other)]
        try:
            own = _open_again(first)
        except OSError:
            # A file that cannot be opened again: its permissions were changed, or it lies on a disk that is gone.
            continue
        try:
            os.lseek(own, os.lseek(first, 0, os.SEEK_CUR), os.SEEK_SET)
            for descriptor in (first, *duplicates):
                os.dup2(own, descriptor, inheritable=os.get_inheritable(descriptor))
        finally:
            os.close(own)
        files = [descriptor for descriptor in files if descriptor not in duplicates]


def _is_file(descriptor: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _move_together(first: int, second: int) -> bool:
    """Whether descriptors of the same file have one position, as `dup` makes them."""
    position = os.lseek(first, 0, os.SEEK_CUR)
    if os.lseek(second, 0, os.SEEK_CUR) != position:
        return False
    os.lseek(first, position + 1, os.SEEK_SET)
    together = os.lseek(second, 0, os.SEEK_CUR) != position
    os.lseek(first, position, os.SEEK_SET)
    return together


def _open_again(descriptor: int) -> int:
    """Another descriptor of the same file, or of a copy if it is writable and has no name; its position is its own."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    writable = flags & os.O_ACCMODE != os.O_RDONLY
    if writable and _is_temporary(os.readlink(f"/proc/self/fd/{descriptor}")):
        return _copy(descriptor)
    return os.open(f"/proc/self/fd/{descriptor}", flags & (os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK))


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
