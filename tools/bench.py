"""Measures `xdist run` beside plain pytest, pytest-xdist, pytest-fast and pytest-rs; docs/benchmarks.md says how.

    python tools/bench.py [--suites jinja2,trivial,...] [--rounds 5] [-n 2,8] [--modes ...] [--no-memory] [--tables ...]

Prints Markdown: a table of real suites, one of synthetic ones, one of the coordinator alone, one of many workers.
Exit code 1 if pytest-xdist or `xdist run` gave other outcomes than plain pytest.
"""

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import contenders
import costs
import edges
import gen_suites
import outcomes
import suites
from contenders import OURS, REFERENCE, Contender
from costs import Cost

REAL = ("networkx", "sympy", "numpy", "jinja2", "click", "attrs", "more-itertools")
TABLES = ("real", "synthetic", "edges", "coordinator", "scale")
MODES = ("load", "loadscope", "loadfile", "loadgroup", "worksteal")
# Open files that a coordinator of a thousand hosts needs, a few for each.
OPEN_FILES = 8192


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", help="only these, separated by commas; then no other table is made")
    parser.add_argument("--tables", help=f"only these, separated by commas: {', '.join(TABLES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-n", "--workers", default="2,8", help="how many, separated by commas")
    parser.add_argument(
        "--contenders", default="", help="only those whose name contains one of these, and plain pytest"
    )
    parser.add_argument("--modes", help="pytest-xdist and xdist run in these modes instead, separated by commas")
    parser.add_argument("--no-memory", action="store_true", help="leave out the runs that memory is measured in")
    parser.add_argument("--xdist", type=Path, default=suites.ROOT / "target" / "release" / "xdist")
    options = parser.parse_args()

    wanted_suites = options.suites.split(",") if options.suites else [*REAL, *gen_suites.SUITES]
    tables = options.tables.split(",") if options.tables else TABLES[:2] if options.suites else TABLES
    modes = options.modes.split(",") if options.modes else []
    for what, wanted, there in (
        ("suite", wanted_suites, (*suites.SUITES, *gen_suites.SUITES)),
        ("table", tables, TABLES),
        ("mode", modes, MODES),
    ):
        unknown = [name for name in wanted if name not in there]
        if unknown:
            parser.error(f"there is no {what} called {', '.join(unknown)}; there are {', '.join(there)}")
    costs.adopt_orphans()
    print(f"{machine()}; {options.rounds} interleaved rounds; median, with the lowest and highest in brackets.")
    code = 0
    for table, title, known in (("real", "Real suites", suites.SUITES), ("synthetic", "Synthetic", gen_suites.SUITES)):
        names = [name for name in wanted_suites if name in known]
        if table in tables and names:
            head(title)
            code |= max([bench(name, options) for name in names])
    if "edges" in tables:
        print("\n### The edges of a run\n")
        edges.bench(
            prepared,
            # The other two do not take `-p stamps`.
            lambda suite, workers: [
                contenders.plain(suite.python),
                *(each for each in chosen(suite, workers, options) if each.name.startswith((REFERENCE, OURS))),
            ],
            options.rounds,
        )
    for table in ("coordinator", "scale"):
        if table in tables:
            coordinator(table, options)
    return code


def machine() -> str:
    return (
        f"{platform.system()} {platform.machine()}, {cpus()} CPUs, Python {platform.python_version()}, {suites.PYTEST}"
    )


def cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def head(title: str) -> None:
    print(f"\n### {title}\n")
    print("| suite | runner | wall, s | CPU, s | peak PSS, MiB | pytest-xdist / this | efficiency |")
    print("| --- | --- | --- | --- | --- | --- | --- |")


def bench(name: str, options: argparse.Namespace) -> int:
    """Measures everyone on one suite, prints a line for each, and says whether outcomes were as they should be."""
    suite = prepared(name)
    plain = contenders.plain(suite.python)
    others = [each for workers in map(int, options.workers.split(",")) for each in chosen(suite, workers, options)]
    with tempfile.TemporaryDirectory(prefix="xdist-bench-") as scratch:
        runs = Runs(suite, Path(scratch))
        refusals = runs.judge(plain, others)
        timed = [plain, *(contender for contender in others if contender not in refusals)]
        costs: dict[Contender, list[Cost]] = {contender: [] for contender in timed}
        for _ in range(options.rounds):
            for contender in timed:
                costs[contender].append(runs.cost(contender))
        memory = {} if options.no_memory else {contender: runs.memory(contender) for contender in timed}
    for contender in (plain, *others):
        runner = contender.name + (f" -n {contender.workers}" if contender.workers else "")
        if contender in refusals:
            cells = [refusals[contender], "", "", "", ""]
        else:
            cells = figures(contender, costs, memory.get(contender))
        print(f"| {name} | {runner} | {' | '.join(cells)} |", flush=True)
    return int(any(contender.name.startswith((REFERENCE, OURS)) for contender in refusals))


def chosen(suite: suites.Prepared, workers: int, options: argparse.Namespace) -> list[Contender]:
    """Everyone but plain pytest, with this many workers, as far as --contenders lets them."""
    modes = tuple(options.modes.split(",")) if options.modes else ()
    everyone = contenders.all_of(suite, options.xdist.resolve(), workers, modes)
    return [each for each in everyone if any(word in each.name for word in options.contenders.split(","))]


def figures(contender: Contender, costs: dict[Contender, list[Cost]], memory: "float | None") -> list[str]:
    """The cells of one contender."""
    wall = {other: statistics.median(cost.wall for cost in measured) for other, measured in costs.items()}
    mine = wall[contender]
    plain = next(iter(wall.values()))
    beside = (f"{REFERENCE} {contender.beside}", contender.workers)
    reference = [time for other, time in wall.items() if (other.name, other.workers) == beside]
    useful = min(contender.workers, cpus())
    return [
        spread([cost.wall for cost in costs[contender]]),
        spread([cost.cpu for cost in costs[contender]]),
        f"{memory:.0f}" if memory is not None else "",
        f"{reference[0] / mine:.2f}" if reference else "",
        f"{plain / useful / mine:.2f}" if useful else "",
    ]


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def prepared(name: str) -> suites.Prepared:
    """The suite, with an environment that has pytest and pytest-xdist."""
    if name in suites.SUITES:
        return suites.prepare(name, subset=True, extra=(suites.PYTEST_XDIST,), tail="-bench")
    source = gen_suites.write(suites.CACHE / "synthetic", name)
    requirements = gen_suites.REQUIREMENTS.get(name, ())
    home = f"synthetic-{name}" if requirements else "synthetic"
    python = suites.environment(suites.CACHE / "venvs" / home, (suites.PYTEST, suites.PYTEST_XDIST, *requirements))
    return suites.Prepared(name, source, python, (".",), requirements)


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

    def judge(self, plain: Contender, others: list[Contender]) -> dict[Contender, str]:
        """Why some are not measured: they cannot run, or give other outcomes than plain pytest."""
        expected: dict[Callable, tuple[Counter, set[str]]] = {}
        junit = contenders.plain_junit(self._suite.python)
        for reference in (plain, junit):
            first, second = self.outcomes(reference), self.outcomes(reference)
            if not first:
                raise SystemExit(f"{self._suite.name}: plain pytest runs no test in {self._suite.source}")
            expected[reference.read] = first, outcomes.unsettled(first, second)
        refusals = {}
        for contender in others:
            if contender.not_run:
                refusals[contender] = f"not run: {contender.not_run}"
                continue
            wanted, ignored = expected.get(contender.read, expected[plain.read])
            given = self.outcomes(contender)
            lines = outcomes.differences(wanted, given, ignored)
            if wanted and not given:
                refusals[contender] = "not run: it gave no outcomes"
            elif lines:
                refusals[contender] = f"not run: {len(lines)} outcomes differ, such as {lines[0]}".replace("|", r"\|")
        return refusals

    def outcomes(self, contender: Contender) -> Counter:
        log = self._scratch / "outcomes"
        log.unlink(missing_ok=True)
        costs.run(*self._invocation(contender, contender.recording(log)))
        return contender.read(log) if log.exists() else Counter()

    def cost(self, contender: Contender) -> Cost:
        return costs.run(*self._invocation(contender, contender.command))

    def memory(self, contender: Contender) -> float:
        return costs.peak_memory(*self._invocation(contender, contender.command))

    def _invocation(self, contender: Contender, command: tuple[str, ...]) -> tuple:
        basetemp = self._scratch / "tmp"
        shutil.rmtree(basetemp, ignore_errors=True)
        arguments = (f"--basetemp={basetemp}", *self._suite.args)
        if contender.in_environment:
            return command, self._suite.source, {**self._env, "PYTEST_ADDOPTS": " ".join(arguments)}
        return (*command, *arguments), self._suite.source, self._env


def coordinator(table: str, options: argparse.Namespace) -> None:
    """The tables that xdist-coord's own benchmark prints."""
    print(f"\n### {'The coordinator alone' if table == 'coordinator' else 'Many workers'}", flush=True)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, most), most))
    parts = ["scale"] if table == "scale" else ["server", "session", f"frontends={options.xdist.resolve()}"]
    subprocess.run(
        ["cargo", "bench", "--quiet", "--locked", "--package", "xdist-coord", "--bench", "coordinator", "--", *parts],
        cwd=suites.ROOT, check=True,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
