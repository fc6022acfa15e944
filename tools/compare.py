"""Shows that `xdist run` gives the same outcomes as plain pytest: every mode, with 1, 2 and 4 workers.

    python tools/compare.py networkx [--modes load,worksteal] [-n 1,2,4] [--subset] [--xdist target/release/xdist]

Plain pytest runs twice; node ids whose outcome differs between these two runs say nothing and are left out. Exit
code 1 if any run differs otherwise.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import outcomes
import suites

MODES = ("load", "worksteal", "loadscope", "loadfile", "loadgroup", "each")
SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=sorted(suites.SUITES))
    parser.add_argument("--modes", default=",".join(MODES), help="which, separated by commas")
    parser.add_argument("-n", "--workers", default="1,2,4", help="how many, separated by commas")
    parser.add_argument("--subset", action="store_true", help="a part of the suite, where it is a large one")
    parser.add_argument("--xdist", type=Path, default=suites.ROOT / "target" / "release" / "xdist")
    options = parser.parse_args()

    suite = suites.prepare(options.suite, subset=options.subset)
    with tempfile.TemporaryDirectory(prefix="xdist-compare-") as scratch:
        return compare(suite, Runs(suite, options.xdist.resolve(), Path(scratch)), options)


def compare(suite: suites.Prepared, runs: "Runs", options: argparse.Namespace) -> int:
    print(f"{suite.name} {suites.SUITES[suite.name].version}: pytest {' '.join(suite.args)}")
    # The first run also fills the suite's own caches (hypothesis's examples, byte-code), so it is told apart.
    first, second = runs.plain(), runs.plain()
    ignored = outcomes.unsettled(first.outcomes, second.outcomes)
    print(f"plain pytest     {second.seconds:7.1f} s  {outcomes.summary(second.outcomes)}")
    for node_id in sorted(ignored):
        print(f"    differs between two plain runs: {node_id}")
    if not second.outcomes:
        print(second.output)
        return 1

    wrong = 0
    for mode in options.modes.split(","):
        for workers in map(int, options.workers.split(",")):
            run = runs.distributed(mode, workers)
            expected = every_worker(second.outcomes, workers) if mode == "each" else second.outcomes
            lines = outcomes.differences(expected, run.outcomes, ignored)
            if run.code != second.code and not ignored:
                lines.append(f"exit code {run.code} instead of {second.code}")
            verdict = f"{len(lines)} DIFFERENCES" if lines else "same"
            print(f"{mode:<10} -n {workers:<3} {run.seconds:7.1f} s  {verdict}", flush=True)
            for line in lines[:SHOWN]:
                print(f"    {line}")
            if lines:
                wrong += 1
                print("    " + "\n    ".join(run.output.splitlines()[-SHOWN:]))
    print("every run gave plain pytest's outcomes" if not wrong else f"{wrong} runs differ from plain pytest")
    return 1 if wrong else 0


def every_worker(plain: Counter, workers: int) -> Counter:
    """What mode `each` is to give: every worker runs every test, and what collection gave is told once."""
    return Counter({
        (node_id, outcome): count if outcome.startswith("collection") else count * workers
        for (node_id, outcome), count in plain.items()
    })  # fmt: skip


class Run:
    """One finished run."""

    def __init__(self, code: int, seconds: float, output: str, log: Path):
        self.code = code
        self.seconds = seconds
        self.output = output
        self.outcomes = outcomes.read(log) if log.exists() else Counter()


class Runs:
    """Starts runs of one suite."""

    def __init__(self, suite: suites.Prepared, xdist: Path, scratch: Path):
        self._suite = suite
        self._xdist = xdist
        self._scratch = scratch
        self._count = 0

    def plain(self) -> Run:
        log = self._log()
        return self._run([self._suite.python, "-m", "pytest", "-p", "recorder", "--record", log], log)

    def distributed(self, mode: str, workers: int) -> Run:
        log = self._log()
        return self._run(
            [self._xdist, "run", "--python", self._suite.python, "-n", workers, "--dist", mode, "--report-log", log],
            log,
        )

    def _log(self) -> Path:
        self._count += 1
        return self._scratch / f"{self._count}.jsonl"

    def _run(self, command: list, log: Path) -> Run:
        basetemp = self._scratch / f"{self._count}-tmp"
        command = [*command, "-q", "-p", "no:cacheprovider", f"--basetemp={basetemp}", *self._suite.args]
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VIRTUAL_ENV"))}
        env["PYTHONPATH"] = str(Path(__file__).parent)
        started = time.monotonic()
        done = subprocess.run(
            [str(part) for part in command], cwd=self._suite.source, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        return Run(done.returncode, time.monotonic() - started, done.stdout, log)


if __name__ == "__main__":
    sys.exit(main())
