"""Measures `xdist run -n 2` beside plain pytest and pytest-xdist: wall and CPU time, medians of interleaved runs.

    python tools/bench.py [--suites networkx,trivial,...] [--rounds 5] [-n 2] [--xdist target/release/xdist]

Prints a Markdown table. CPU time is that of the whole process tree: every process of a run is waited for by its
parent, so the times add up to those of the process started here. Before anything is timed, every contender runs once
with its outcomes recorded; one that differs from plain pytest is reported and not timed. The rounds are interleaved
(every contender once, then again), so that a slow minute of the machine hits all alike.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import gen_suites
import outcomes
import suites

REAL = ("networkx",)


@dataclass(frozen=True)
class Contender:
    """A command to measure, and how it is told to record its outcomes."""

    name: str
    command: tuple[str, ...]
    record: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """What one run took, in seconds."""

    wall: float
    cpu: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", default=",".join((*REAL, *gen_suites.SUITES)), help="which, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-n", "--workers", type=int, default=2)
    parser.add_argument("--xdist", type=Path, default=suites.ROOT / "target" / "release" / "xdist")
    options = parser.parse_args()

    print(f"{machine()}; {options.rounds} interleaved rounds; median, with the lowest and highest in brackets.\n")
    print("| suite | runner | wall, s | CPU, s | wall beside plain pytest |")
    print("| --- | --- | --- | --- | --- |")
    return max(bench(name, options) for name in options.suites.split(","))


def machine() -> str:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {cpus} CPUs, Python {platform.python_version()}, {suites.PYTEST}"


def bench(name: str, options: argparse.Namespace) -> int:
    suite = prepared(name)
    plain, *others = contenders(suite.python, options.xdist.resolve(), options.workers)
    code = 0
    with tempfile.TemporaryDirectory(prefix="xdist-bench-") as scratch:
        runs = Runs(suite, Path(scratch))
        expected = runs.outcomes(plain)
        ignored = outcomes.unsettled(expected, runs.outcomes(plain))
        timed = [plain]
        for contender in others:
            lines = outcomes.differences(expected, runs.outcomes(contender), ignored)
            if lines:
                code = 1
                print(f"| {name} | {contender.name} | {len(lines)} outcomes differ: {lines[0]} | | |")
            else:
                timed.append(contender)
        costs: dict[str, list[Cost]] = {contender.name: [] for contender in timed}
        for _ in range(options.rounds):
            for contender in timed:
                costs[contender.name].append(runs.cost(contender))
    base = statistics.median(cost.wall for cost in costs[plain.name])
    for contender, measured in costs.items():
        wall = [cost.wall for cost in measured]
        cpu = [cost.cpu for cost in measured]
        print(
            f"| {name} | {contender} | {spread(wall)} | {spread(cpu)} | {statistics.median(wall) / base:.2f} |",
            flush=True,
        )
    return code


def prepared(name: str) -> suites.Prepared:
    """The suite with an environment that has pytest and pytest-xdist."""
    if name in suites.SUITES:
        return suites.prepare(name, with_pytest_xdist=True)
    source = gen_suites.write(suites.CACHE / "synthetic", name)
    python = suites.environment(suites.CACHE / "venvs" / "synthetic", (suites.PYTEST, suites.PYTEST_XDIST))
    return suites.Prepared(name, source, python, (".",))


def contenders(python: Path, xdist: Path, workers: int) -> list[Contender]:
    pytest = (str(python), "-m", "pytest", "-p", "no:cacheprovider", "-q")
    recorder = ("-p", "recorder", "--record")
    off = ("-p", "no:xdist")
    spread_out = ("-n", str(workers), "--dist")
    run = (str(xdist), "run", "--python", str(python), "-p", "no:cacheprovider", "-q", "-n", str(workers))
    return [
        Contender("plain pytest", (*pytest, *off), recorder),
        Contender(f"pytest-xdist -n {workers} load", (*pytest, *spread_out, "load"), recorder),
        Contender(f"pytest-xdist -n {workers} worksteal", (*pytest, *spread_out, "worksteal"), recorder),
        Contender(f"xdist run -n {workers}", run, ("--report-log",)),
    ]


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


class Runs:
    """Runs contenders on one suite."""

    def __init__(self, suite: suites.Prepared, scratch: Path):
        self._suite = suite
        self._scratch = scratch
        self._env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "VIRTUAL_ENV")) and name != "PYTHONDONTWRITEBYTECODE"
        }
        self._env["PYTHONPATH"] = str(Path(__file__).parent)

    def outcomes(self, contender: Contender):
        log = self._scratch / "outcomes.jsonl"
        log.unlink(missing_ok=True)
        self._run((*contender.command, *contender.record, str(log)))
        return outcomes.read(log)

    def cost(self, contender: Contender) -> Cost:
        return self._run(contender.command)

    def _run(self, command: tuple[str, ...]) -> Cost:
        basetemp = self._scratch / "tmp"
        shutil.rmtree(basetemp, ignore_errors=True)
        command = (*command, f"--basetemp={basetemp}", *self._suite.args)
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=self._suite.source, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        return Cost(wall, usage.ru_utime + usage.ru_stime)


if __name__ == "__main__":
    sys.exit(main())
