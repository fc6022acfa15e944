"""Who is measured by bench.py: how each is started, and how it is told to record its outcomes."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import outcomes
import suites

PYTEST_FAST = "pytest-fast==0.16.0"
PYTEST_RS = "pytest-rs==0.0.12"
# Below this version of Python, these two cannot be installed.
PEERS_PYTHON = (3, 13)

PLAIN = "plain pytest"
REFERENCE = "pytest-xdist"
OURS = "xdist run"


@dataclass(frozen=True)
class Contender:
    """A command to measure."""

    name: str
    # How many workers; 0 for plain pytest.
    workers: int
    command: tuple[str, ...]
    # What makes it write its outcomes to the file whose path follows, or is joined if this ends with `=`.
    record: tuple[str, ...]
    # Makes comparable outcomes of that file, and of plain pytest's.
    read: Callable[[Path], Counter] = outcomes.read
    # Whether the suite's arguments go into PYTEST_ADDOPTS, for lack of a place on the command line.
    in_environment: bool = False
    # Why it cannot be measured at all.
    not_run: str = ""
    # The mode of pytest-xdist that it is compared with: -n alone means `load`, and that is how people start it.
    beside: str = "load"

    def recording(self, log: Path) -> tuple[str, ...]:
        """The command, with outcomes recorded to `log`."""
        *options, last = self.record
        return (*self.command, *options, *((last + str(log),) if last.endswith("=") else (last, str(log))))


def plain(python: Path) -> Contender:
    """What the others are compared with."""
    return Contender(PLAIN, 0, (*_pytest(python), "-p", "no:xdist"), ("-p", "recorder", "--record"))


def plain_junit(python: Path) -> Contender:
    """The same, its outcomes recorded in the only way that pytest-rs has."""
    return replace(plain(python), record=("--junitxml=",), read=outcomes.read_junit)


def all_of(suite: suites.Prepared, xdist: Path, workers: int, modes: tuple[str, ...] = ()) -> list[Contender]:
    """Everyone but plain pytest, with this many workers; with modes, pytest-xdist and `xdist run` in each of them."""
    recorder = ("-p", "recorder", "--record")
    count = ("-n", str(workers))
    pytest = _pytest(suite.python)
    ours = (str(xdist), "run", "--python", str(suite.python), "-p", "no:cacheprovider", "-q", *count)
    references = [
        Contender(f"{REFERENCE} {mode}", workers, (*pytest, *count, "--dist", mode), recorder)
        for mode in modes or ("load", "worksteal")
    ]
    if modes:
        own = [
            Contender(f"{OURS} --dist {mode}", workers, (*ours, "--dist", mode), ("--report-log",), beside=mode)
            for mode in modes
        ]
        return references + own
    return [
        *references,
        *(
            Contender(f"{OURS} {' '.join(how)}", workers, (*ours, *how), ("--report-log",))
            for how in (("--start", "auto"), ("--start", "auto", "--no-freeze"), ("--start", "spawn"))
        ),
        _pytest_fast(suite, workers),
        _pytest_rs(suite, workers),
    ]


def _pytest(python: Path) -> tuple[str, ...]:
    return (str(python), "-m", "pytest", "-p", "no:cacheprovider", "-q")


def _pytest_fast(suite: suites.Prepared, workers: int) -> Contender:
    python, reason = _peer(suite, "-fast", suites.PYTEST, PYTEST_FAST)
    # A run from nothing: a daemon that has collected beforehand is no way to run a suite once.
    command = (str(python), "-m", "pytest_fast", "--workers", str(workers))
    return Contender("pytest-fast", workers, command, ("--dump",), _read_dump, True, reason)


def _pytest_rs(suite: suites.Prepared, workers: int) -> Contender:
    # It takes pytest's place, so its environment is without it.
    python, reason = _peer(suite, "-rs", PYTEST_RS)
    command = (str(python.parent / "pytest-rs"), "-q", "-p", "no:cacheprovider", "-n", str(workers))
    return Contender("pytest-rs", workers, command, ("--junitxml=",), outcomes.read_junit, False, reason)


def _peer(suite: suites.Prepared, tail: str, *runner: str) -> tuple[Path, str]:
    """The interpreter that has this runner and the suite, and why there is none."""
    if sys.version_info < PEERS_PYTHON:
        return Path(), "needs Python {}.{}".format(*PEERS_PYTHON)
    try:
        return suite.environment(tail, *runner), ""
    except subprocess.CalledProcessError:
        return Path(), "cannot be installed"


def _read_dump(path: Path) -> Counter:
    """Reads what pytest-fast dumps: `{node id: outcome}`."""
    return Counter(json.loads(path.read_text()).items())
