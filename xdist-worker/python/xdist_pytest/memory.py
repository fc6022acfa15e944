"""How much memory there is: of the machine, and of the control groups that this process is in (Linux)."""

from __future__ import annotations

import os
from typing import NamedTuple, Optional

_GROUPS = "/sys/fs/cgroup"
_MEMBERSHIP = "/proc/self/cgroup"
_MACHINE = "/proc/meminfo"


class _Group(NamedTuple):
    """The limit of a control group and what counts against it, in bytes."""

    limit: int
    used: int


def total_kib(root: str = _GROUPS, membership: str = _MEMBERSHIP, machine: str = _MACHINE) -> Optional[int]:
    """How much memory this process could have at most, in KiB; `None` if that is not known."""
    limits = [group.limit // 1024 for group in _groups(root, membership)]
    limits += _of_machine(machine, "MemTotal")
    return min(limits) if limits else None


def available_kib(root: str = _GROUPS, membership: str = _MEMBERSHIP, machine: str = _MACHINE) -> Optional[int]:
    """How much more memory this process could have now, in KiB; `None` if that is not known."""
    rooms = [max(0, group.limit - group.used) // 1024 for group in _groups(root, membership)]
    rooms += _of_machine(machine, "MemAvailable")
    return min(rooms) if rooms else None


def _groups(root: str, membership: str) -> list[_Group]:
    """The limits of this process's control groups, and of those that they are in."""
    found = []
    for line in read(membership).splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        _, controllers, path = parts
        if not controllers:
            found += [_group_v2(directory) for directory in ancestors(root, path)]
        elif "memory" in controllers.split(","):
            for mount in (controllers, "memory"):
                found += [_group_v1(directory) for directory in ancestors(os.path.join(root, mount), path)]
    return [group for group in found if group is not None]


def _group_v2(directory: str) -> Optional[_Group]:
    # The limit may be the word "max".
    limit = _number(read(os.path.join(directory, "memory.max")))
    return None if limit is None else _Group(limit, _used(directory, "memory.current", "inactive_file"))


def _group_v1(directory: str) -> Optional[_Group]:
    limit = _number(read(os.path.join(directory, "memory.limit_in_bytes")))
    return None if limit is None else _Group(limit, _used(directory, "memory.usage_in_bytes", "total_inactive_file"))


def _used(directory: str, current: str, reclaimable: str) -> int:
    """What counts against the limit of a group, without what the kernel would drop first."""
    used = _number(read(os.path.join(directory, current))) or 0
    for line in read(os.path.join(directory, "memory.stat")).splitlines():
        key, _, value = line.partition(" ")
        if key == reclaimable:
            used -= _number(value) or 0
    return max(0, used)


def _of_machine(path: str, key: str) -> list[int]:
    """A line of `/proc/meminfo`, in KiB, if it is there."""
    for line in read(path).splitlines():
        name, _, value = line.partition(":")
        number = _number(value.replace("kB", ""))
        if name == key and number is not None:
            return [number]
    return []


def _number(text: str) -> Optional[int]:
    try:
        return int(text)
    except ValueError:
        return None


def ancestors(root: str, path: str) -> list[str]:
    """A control group's directory and those above it, of which some may not exist in a container."""
    directories = [root]
    for part in path.split("/"):
        if part and part != "..":
            directories.append(os.path.join(directories[-1], part))
    return directories


def read(path: str) -> str:
    """A file's text; empty if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
