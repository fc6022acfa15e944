"""The terminal's lines are those that pytest-xdist shows: all of them, in any order."""

import re

import pytest
from doors import normal
from suites_for_plugins import BROKEN, OUTCOMES


@pytest.fixture
def suite(make_suite):
    suite = make_suite(plugin="mock")
    suite.file("test_outcomes.py", OUTCOMES)
    return suite


def lines(run):
    """The lines without progress, and without pytest-xdist among the plugins.

    With -v, `xdist run` tells why a test was skipped, and not that one has begun.
    """
    found = [normal(line) for line in run.out.replace(", xdist-3.8.0", "").splitlines()]
    found = [re.sub(r"^(\[gwN\] .*::\w+) \([\w ]+\)$", r"\1", line) for line in found]
    found = [line for line in found if not line.startswith("test_outcomes.py::")]
    return sorted(line for line in found if line and not re.fullmatch(r"[.FEsxX]+( \[N%\])?|\[N%\]", line))


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("-v",),
        ("-vv",),
        ("-q",),
        ("-qq",),
        ("-rA",),
        ("-rfEsxX", "--tb=short"),
        ("--tb=line",),
        ("--tb=no", "--no-header"),
        ("--no-summary",),
        ("--show-capture=no",),
    ],
    ids=" ".join,
)
def test_lines(suite, args):
    suite.compare("--dist=load", *args, what=lines)


def test_broken_module(suite):
    suite.file("test_broken.py", BROKEN)
    suite.compare("--dist=load", what=lines)
