"""pytest-instafail: failures are shown as they happen, once."""

import re

import pytest
from suites_for_plugins import BROKEN, CRASH, OUTCOMES


@pytest.fixture
def failing(suite):
    suite.file("test_outcomes.py", OUTCOMES)
    return suite


def headlines(run):
    """The headlines of failures, and that none comes after the last progress."""
    lines = run.out.splitlines()
    found = sorted(line.strip("_ ") for line in lines if re.fullmatch(r"_{3,} .* _{3,}", line))
    return found, any("= FAILURES =" in line or "= ERRORS =" in line for line in lines)


@pytest.mark.parametrize("style", ["long", "line", "no"])
def test_failures(failing, style):
    failing.compare("--instafail", f"--tb={style}", what=lambda run: (headlines(run), run.lines(r"^(E +|.*Error: )")))


def test_broken_module(failing):
    failing.file("test_broken.py", BROKEN)
    failing.compare("--instafail", what=headlines)


def test_crash(failing):
    failing.file("test_crash.py", CRASH)
    runs = failing.compare("--instafail", what=headlines)
    assert all("crashed while running" in run.out for run in runs.values())
