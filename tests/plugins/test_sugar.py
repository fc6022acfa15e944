"""pytest-sugar: its terminal takes the place of pytest's, on the controller's side."""

import re

import pytest
from doors import normal
from suites_for_plugins import CRASH, OUTCOMES


@pytest.fixture
def sweet(suite):
    suite.file("test_outcomes.py", OUTCOMES)
    return suite


def shown(run):
    """What sugar shows, in any order."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", run.out)
    lines = [normal(line) for line in text.splitlines()]
    return sorted(
        line for line in lines if re.search(r"^Test session starts|^Results|^ *\d+ \w+$|^FAILED|^ - |― test", line)
    )


def test_forced(sweet):
    sweet.compare("--force-sugar", what=lambda run: (shown(run), "100%" in run.out))


def test_not_a_terminal(sweet):
    sweet.compare(what=lambda run: run.lines("^(FAILED|ERROR)"))


def test_crash(sweet):
    sweet.file("test_crash.py", CRASH)
    sweet.compare("--force-sugar", what=shown)
