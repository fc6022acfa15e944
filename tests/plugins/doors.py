"""One suite, run under pytest-xdist and through both doors of this project, and what came out of it."""

import difflib
import os
import pprint
import re
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable
from xml.etree import ElementTree

import environments
import pytest

# Under pytest-xdist; everything is compared with that.
REFERENCE = "pytest-xdist"
# `xdist run -n 2`, which starts the pytest host by itself.
RUN = "xdist run"
# `pytest -p no:xdist -p xdist_pytest.entry -n 2`, in the same environment.
PLUGIN = "pytest -n"
# `pytest -n 2` where this project is installed and pytest-xdist is not.
INSTALLED = "pytest -n, installed"
# pytest alone.
PLAIN = "pytest"

# What a command stands behind for its process id to be kept, and to be run on a terminal.
KEEP_PID = ("sh", "-c", 'echo $$ > pid; exec "$@"', "sh")
ON_TERMINAL = (sys.executable, "-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)")

# For anything that should take a moment; generous, since it is only reached when something is wrong.
DEADLINE = 120.0


@dataclass(repr=False)
class Run:
    """A finished run."""

    door: str
    directory: Path
    # What stands for paths that differ between runs.
    places: dict[str, str]
    code: int
    out: str
    err: str

    def __post_init__(self):
        self.out, self.err = self._placed(self.out), self._placed(self.err)

    def _placed(self, text: str) -> str:
        for path, word in self.places.items():
            text = text.replace(path, word)
        return text

    def __repr__(self) -> str:
        return f"--- {self.door}: exit code {self.code}\n{self.out}\n--- its standard error\n{self.err}\n---"

    @property
    def counts(self) -> dict[str, int]:
        """The counts of the last line, for example `{"passed": 3, "failed": 1}`."""
        for line in reversed(self.out.splitlines()):
            if re.search(r" in \d+(\.\d+)?s", line):
                counts = {
                    word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+(?: run)?)", line.split(" in ")[0])
                }
                # Which pytest-xdist does not tell.
                counts.pop("deselected", None)
                return counts
        return {}

    @property
    def outcomes(self) -> Counter:
        """(test, what pytest's JUnit XML has below it) pairs."""
        found: Counter = Counter()
        for case in ElementTree.parse(self.directory / "junit.xml").iter("testcase"):
            kinds = sorted(child.tag for child in case if child.tag in ("failure", "error", "skipped"))
            found[(f"{case.get('classname')}::{case.get('name')}", *kinds)] += 1
        return found

    @property
    def had_host(self) -> bool:
        """Whether `xdist run` has started the pytest host."""
        return "starting the pytest host" in self.err

    def lines(self, pattern: str) -> list[str]:
        """Lines of the output in which the pattern is found, without what differs between two runs, sorted."""
        return sorted(normal(line) for line in self.out.splitlines() if re.search(pattern, line))

    def section(self, title: str) -> list[str]:
        """The lines of the output below a separator with this title, up to the next one, as they are."""
        lines = self.out.splitlines()
        starts = [at for at, line in enumerate(lines) if re.fullmatch(rf"[=\-_ ]+{title}[=\-_ ]+", line)]
        if not starts:
            return []
        rest = lines[starts[0] + 1 :]
        end = next((at for at, line in enumerate(rest) if re.match(r"={5,}|_{5,} ", line)), len(rest))
        return rest[:end]

    def read(self, name: str) -> str:
        """A file that the run has left, without paths that differ between runs."""
        return self._placed((self.directory / name).read_text(encoding="utf-8"))

    def files(self, pattern: str) -> list[str]:
        """The names of files that the run has left."""
        return sorted(path.relative_to(self.directory).as_posix() for path in self.directory.glob(pattern))


def normal(line: str) -> str:
    """A line without what differs between two runs of the same: workers, durations, widths."""
    line = re.sub(r"\bgw\d+\b", "gwN", line)
    line = re.sub(r"\d+\.\d+(e-\d+)?( ?m?s\b| ?seconds)", "TIME", line)
    line = re.sub(r"([=_-])\1{3,}", r"\1\1\1", line)
    line = re.sub(r"\[ *\d+%\]", "[N%]", line)
    return " ".join(line.split())


class Suite:
    """A suite for one plugin, and runs of it, each in a fresh copy."""

    def __init__(self, plugin: str, directory: Path, binary: str, installed: bool = False):
        self._python = environments.with_pytest_xdist(plugin)
        self._installed = environments.with_xdist_installed(plugin) if installed else None
        self._scratch = directory
        self._home = directory / "suite"
        self._home.mkdir()
        self._binary = binary
        self.ini("")
        self._runs = 0

    def file(self, name: str, text: str) -> None:
        """Writes a file of the suite."""
        path = self._home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")

    def ini(self, text: str) -> None:
        """Writes pytest's settings; there is a file of them in any case, so that the root is here."""
        self.file("pytest.ini", "[pytest]\n" + textwrap.dedent(text))

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return self._python

    @property
    def python_half(self) -> str:
        """Where this project's Python modules are."""
        return str(environments.ROOT / "xdist-worker" / "python")

    @property
    def doors(self) -> list[str]:
        """The doors to try, beside pytest-xdist."""
        return [RUN, PLUGIN, *([INSTALLED] if self._installed else [])]

    def run(
        self, door: str, *args: str, n: int | None = 2, keep: Path = None, on_terminal: bool = False, **env: str
    ) -> Run:
        """Runs the suite in a fresh copy, or where an earlier run was (`keep`); without `-n` where `n` is `None`.

        The process id of the program that was called is in the file `pid`.
        """
        self._runs += 1
        directory = keep or self._scratch / f"run{self._runs:02}" / "suite"
        if keep is None:
            shutil.copytree(self._home, directory)
        python = self._installed if door == INSTALLED else self._python
        command = self._command(door, python, n)
        done = subprocess.run(
            [*(ON_TERMINAL if on_terminal else ()), *KEEP_PID, *command, "--junitxml=junit.xml", *args],
            cwd=directory, env={**self._environment(door, python), **env}, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE,
        )  # fmt: skip
        places = {str(directory): "SUITE", str(python): "PYTHON"}
        return Run(door, directory, places, done.returncode, done.stdout, done.stderr)

    def _command(self, door: str, python: Path, n: int | None) -> list[str]:
        pytest = str(python.with_name("pytest"))
        count = [] if n is None else ["-n", str(n)]
        return {
            REFERENCE: [pytest, *count],
            RUN: [self._binary, "run", "--python", str(python), *count],
            PLUGIN: [pytest, "-p", "no:xdist", "-p", "xdist_pytest.entry", *count],
            INSTALLED: [pytest, *count],
            PLAIN: [pytest, "-p", "no:xdist"],
        }[door]

    def _environment(self, door: str, python: Path) -> dict[str, str]:
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "XDIST", "COV_", "COVERAGE_"))
            and name not in ("VIRTUAL_ENV", "COLUMNS", "CI", "PYTHONPATH", "BUILD_NUMBER")
        }
        if door == RUN:
            env["XDIST_LOG"] = "info"
        if door == PLUGIN:
            env["PYTHONPATH"] = self.python_half
            env["XDIST_BINARY"] = self._binary
        return env

    def compare(self, *args: str, what: Callable[[Run], Any] = None, **options: Any) -> dict[str, Run]:
        """Runs the suite everywhere and compares exit codes, counts, outcomes, and what `what` gives."""
        runs = {door: self.run(door, *args, **options) for door in (REFERENCE, *self.doors)}
        check(runs, lambda run: run.code, "exit code")
        check(runs, lambda run: run.counts, "counts")
        check(runs, lambda run: run.outcomes, "outcomes in JUnit XML")
        if what is not None:
            check(runs, what, "what the plugin has made")
        return runs


def check(runs: dict[str, Run], what: Callable[[Run], Any], name: str) -> None:
    """Compares something of every run with what it is under pytest-xdist."""
    reference = runs[REFERENCE]
    expected = what(reference)
    for run in runs.values():
        found = what(run)
        if found != expected:
            lines = difflib.unified_diff(
                pprint.pformat(expected, width=120).splitlines(), pprint.pformat(found, width=120).splitlines(),
                reference.door, run.door, lineterm="",
            )  # fmt: skip
            pytest.fail("\n".join([f"{name} of {run.door}:", *lines, str(reference), str(run)]), pytrace=False)
