"""Measures what a user waits for beside the tests: the start, the end, a crash, Ctrl-C, and `-x`."""

import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import costs
import suites
from contenders import Contender

WORKERS = 2
# Nothing measured here takes as long.
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.002


@dataclass(frozen=True)
class Stamp:
    """One line of stamps.py; `at` is in seconds."""

    at: float
    pid: int
    event: str
    test: str


@dataclass(frozen=True)
class Run:
    """When a run was started, when it ended, when it was interrupted, and what its tests said in between."""

    started: float
    ended: float
    interrupted: float
    stamps: list[Stamp]

    def first_start(self) -> float:
        return min(stamp.at for stamp in self.stamps)

    def last_end(self) -> float:
        return max(stamp.at for stamp in self.stamps if stamp.event == "end")

    def of(self, event: str, test: str) -> Stamp:
        return next(stamp for stamp in self.stamps if stamp.event == event and stamp.test.endswith(test))

    def first_of_a_new_process(self, after: float) -> float:
        known = {stamp.pid for stamp in self.stamps if stamp.at <= after}
        return min(stamp.at for stamp in self.stamps if stamp.at > after and stamp.pid not in known)


@dataclass(frozen=True)
class Edge:
    """One of the waits: what it is, the suite to see it in, and how long it took in a run."""

    title: str
    suite: str
    seconds: Callable[[Run], float]
    arguments: tuple[str, ...] = ()
    # Press Ctrl-C once so many tests have ended.
    interrupt_after: int = 0
    # Whether plain pytest has it too.
    plain: bool = True


EDGES = (
    Edge("Enter to the first test", "trivial", lambda run: run.first_start() - run.started),
    Edge("Enter to the first test", "imports", lambda run: run.first_start() - run.started),
    Edge("Enter to the first test", "click", lambda run: run.first_start() - run.started),
    Edge("last test to the prompt", "trivial", lambda run: run.ended - run.last_end()),
    Edge("last test to the prompt", "click", lambda run: run.ended - run.last_end()),
    Edge(
        "crash to a replacement's first test", "crash",
        lambda run: run.first_of_a_new_process(crashed := run.of("start", "test_crash").at) - crashed, plain=False,
    ),
    Edge("Ctrl-C to the prompt", "sleepers", lambda run: run.ended - run.interrupted, interrupt_after=100),
    Edge(
        "failure to the prompt, with -x", "failure",
        lambda run: run.ended - run.of("start", "test_failure").at, arguments=("-x",),
    ),
)  # fmt: skip


def bench(
    prepare: Callable[[str], suites.Prepared],
    contenders_of: Callable[[suites.Prepared, int], Iterable[Contender]],
    rounds: int,
) -> None:
    """Prints a line for each edge and contender: the median in milliseconds, with the lowest and the highest."""
    print("| from, to | suite | runner | wall, ms |\n| --- | --- | --- | --- |")
    for edge in EDGES:
        suite = prepare(edge.suite)
        contenders = [each for each in contenders_of(suite, WORKERS) if edge.plain or each.workers]
        waits: dict[Contender, list[float]] = {contender: [] for contender in contenders}
        for _ in range(rounds):
            for contender in contenders:
                waits[contender].append(edge.seconds(run(contender, suite, edge)) * 1000)
        for contender, measured in waits.items():
            name = contender.name + (f" -n {contender.workers}" if contender.workers else "")
            spread = f"{statistics.median(measured):.0f} ({min(measured):.0f} to {max(measured):.0f})"
            print(f"| {edge.title} | {edge.suite} | {name} | {spread} |", flush=True)


def run(contender: Contender, suite: suites.Prepared, edge: Edge) -> Run:
    with tempfile.TemporaryDirectory(prefix="xdist-bench-") as scratch:
        log = Path(scratch, "stamps")
        log.touch()
        command = (*contender.command, "-p", "stamps", f"--basetemp={scratch}/tmp", *edge.arguments, *suite.args)
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        env.update(PYTHONPATH=str(Path(__file__).parent), BENCH_STAMPS=str(log))
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=suite.source, env=env, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        interrupted = interrupt(process, log, edge.interrupt_after) if edge.interrupt_after else 0.0
        process.wait(PATIENCE_SECONDS)
        ended = time.monotonic()
        costs.end_orphans()
        return Run(started, ended, interrupted, read(log))


def interrupt(process: subprocess.Popen, log: Path, after: int) -> float:
    """Does what Ctrl-C does, to the whole process group, once so many tests have ended; says when."""
    while process.poll() is None and log.read_bytes().count(b" end ") < after:
        time.sleep(POLL_SECONDS)
    now = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    return now


def read(log: Path) -> list[Stamp]:
    fields = (line.split(" ", 3) for line in log.read_text().splitlines())
    return [Stamp(int(at) / 1e9, int(pid), event, test) for at, pid, event, test in fields]
