"""Runs a command and measures its whole process tree: wall and CPU time, or the peak of its memory.

Linux only, for memory and for processes that outlive their parents.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_SECONDS = 0.05
# What a run leaves behind may take so long to end by itself.
LEFT_BEHIND_SECONDS = 5.0


@dataclass(frozen=True)
class Cost:
    """What one run took, in seconds. `cpu` is that of every process of the run."""

    wall: float
    cpu: float


def adopt_orphans() -> None:
    """Makes every process whose parent ends a child of this one, so that its CPU time is counted too."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(command: tuple[str, ...], cwd: Path, env: dict[str, str]) -> Cost:
    """Runs a command to its end. The clock stops then; the CPU time includes what is left behind, which is ended."""
    before = _cpu()
    started = time.perf_counter()
    _start(command, cwd, env).wait()
    wall = time.perf_counter() - started
    end_orphans()
    return Cost(wall, _cpu() - before)


def peak_memory(command: tuple[str, ...], cwd: Path, env: dict[str, str]) -> float:
    """The highest sum of proportional set sizes (PSS) over the processes of a run, in MiB, looked at every 50 ms."""
    process = _start(command, cwd, env)
    peak = 0.0
    done = threading.Event()
    threading.Thread(target=lambda: (process.wait(), done.set()), daemon=True).start()
    while not done.wait(SAMPLE_SECONDS):
        peak = max(peak, memory(os.getpid()))
    end_orphans()
    return peak


def memory(root: int) -> float:
    """The sum of the proportional set sizes of the processes below this one at the moment, in MiB."""
    return sum(map(_pss_kib, descendants(root))) / 1024


def descendants(root: int) -> list[int]:
    """The processes below this one at the moment."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text(errors="replace")
            except OSError:
                continue
            # Behind the name, which may have blanks and parentheses in it: the state, then the parent.
            children.setdefault(int(stat[stat.rindex(")") + 1 :].split()[1]), []).append(int(entry))
    found = list(children.get(root, ()))
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _start(command: tuple[str, ...], cwd: Path, env: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _pss_kib(pid: int) -> int:
    try:
        for line in Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def end_orphans() -> None:
    """Waits for what a run left behind, and kills what does not end: a daemon, say."""
    deadline = time.monotonic() + LEFT_BEHIND_SECONDS
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            if time.monotonic() > deadline:
                for left in descendants(os.getpid()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(left, signal.SIGKILL)
            time.sleep(0.01)
