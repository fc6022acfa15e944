"""Waits for processes that are not our children."""

import contextlib
import os
import select
import time


class Watched:
    """A process that is alive now, to be waited for later; its id cannot be mistaken for a later process's."""

    def __init__(self, pid: int):
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def gone_within(self, seconds: float) -> bool:
        """Whether it ends in time."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                return True
        return False

    def close(self) -> None:
        os.close(self._fd)


def descendants(pid: int) -> list[int]:
    """The ids of all processes below this one, for Linux."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in _children(pid, task):
                found += [child, *descendants(child)]
    return found


def _children(pid: int, thread: str) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    return []
