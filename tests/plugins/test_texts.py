"""Lines and exit codes, situation by situation, beside pytest-xdist: the table is in `texts.py`."""

import re
import textwrap

import pytest
import texts
from doors import REFERENCE, Run, check, normal
from environments import ROOT
from texts import Other, Row

GUIDE = ROOT / "docs" / "guide" / "coming-from-pytest-xdist.md"


def rows(found):
    return [pytest.param(row, id=row.name, marks=() if row.quick else pytest.mark.thorough) for row in found]


@pytest.mark.parametrize("row", rows(texts.ROWS))
def test_text(make_suite, row):
    suite = make_suite()
    for name, text in (row.files or texts.test(texts.PASSES)).items():
        suite.file(name, text)
    python3 = str(suite.python.with_name("python3"))
    args = row.args.replace("PYTHON3", python3).split()
    # The program's log is no part of what it shows.
    runs = {door: suite.run(door, *args, n=None, XDIST_LOG="off", **row.env) for door in (REFERENCE, *suite.doors)}
    for door, run in runs.items():
        here = row.differs if row.differs and door in row.differs.doors else row
        assert run.code == here.code, run
        check_shown(run, row, here)
    if not (row.differs or row.only):
        check(runs, lambda run: told(run, row, whole=True), "output")


def check_shown(run: Run, row: Row, here: Row | Other) -> None:
    """Checks that the lines are there, in this order."""
    lines = iter(told(run, row))
    for wanted in textwrap.dedent(here.shows).splitlines():
        pattern = ".*".join(map(re.escape, wanted.strip().split("…")))
        assert not wanted or any(re.fullmatch(pattern, line) for line in lines), (
            f"no {wanted!r} here, or not in its place:\n{run}"
        )


def told(run: Run, row: Row, whole: bool = False) -> list[str]:
    """What was shown, without what differs between two runs; `whole` where it is all to be compared.

    Only pytest-xdist is among the plugins of the header. With -v, `xdist run` does not tell that a test has begun.
    """
    lines = [*run.out.replace("plugins: xdist-3.8.0\n", "").splitlines(), *run.err.splitlines()]
    if "-v" in " ".join([row.args, *row.files.values()]).split():
        lines = [line for line in lines if not re.fullmatch(r"test_\w+\.py::\S+ *", line)]
    lines = [same(line, row.is_parallel) for line in lines]
    return sorted(filter(None, lines)) if whole and row.is_parallel else lines


def same(line: str, is_parallel: bool) -> str:
    """A line without what differs between two runs: times, processes, widths; and workers where there are several."""
    line = re.sub(r"pid \d+ on [^ ,)]+", "pid PID on HOST", line)
    line = re.sub(r"peak memory \S+ \w+", "peak memory SIZE", line)
    line = re.sub(r"\d+\.\d+(e-\d+)?( ?[mu]?s\b| ?seconds)|\b\d+ms\b", "TIME", line)
    line = re.sub(r"^([-=_!])\1* (.*) \1+$", r"\1\1\1 \2 \1\1\1", line)
    return normal(line) if is_parallel else " ".join(line.split())


@pytest.mark.parametrize("row", rows([row for row in texts.ROWS if row.differs]))
def test_guide(row):
    """What differs on purpose is said in the guide."""
    page = GUIDE.read_text(encoding="utf-8")
    assert f"\n| {row.differs.guide} |" in page or f"- **{row.differs.guide}" in page


def test_help(make_suite):
    """Every option of pytest-xdist is among ours."""
    suite = make_suite()
    theirs, *ours = [
        set(re.findall(r"(?<!\w)--[a-z-]+", suite.run(door, "--help", n=None).out))
        for door in (REFERENCE, *suite.doors)
    ]
    for found in ours:
        assert theirs - found == set()


def test_terminal(make_suite):
    """On a terminal the line of the status is written over: which states are seen hangs on who is quicker."""
    suite = make_suite()
    suite.file("test_it.py", texts.PASSES)
    for door in (REFERENCE, *suite.doors):
        run = suite.run(door, n=2, on_terminal=True, TERM="xterm")
        states = re.findall(r"\x1b\[1m\s?(\w+: \d/2 workers|2 workers \[3 items\]) *\x1b\[0m", run.out)
        order = ["created", "initialized", "ready", "collecting"]
        at = [order.index(state.partition(":")[0]) for state in states if ":" in state]
        assert run.code == 0 and at == sorted(at) and states[-1] == "2 workers [3 items]", run
