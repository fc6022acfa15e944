"""pytest-split: durations of all workers' tests are stored, and groups are the same in all of them."""

import json

import pytest
from doors import REFERENCE
from suites_for_plugins import OUTCOMES


@pytest.fixture
def parts(suite):
    suite.file("test_outcomes.py", OUTCOMES)
    return suite


def stored(run):
    """The tests of which durations are stored."""
    if not run.files(".test_durations"):
        return None
    durations = json.loads(run.read(".test_durations"))
    assert all(duration >= 0 for duration in durations.values())
    return sorted(durations)


def test_store(parts):
    runs = parts.compare("--store-durations", what=stored)
    assert len(stored(runs[REFERENCE])) == 17, runs[REFERENCE]


def test_groups(parts):
    for group in (1, 2, 3):
        parts.compare("--splits=3", f"--group={group}")


def test_groups_by_duration(parts):
    known = parts.run("pytest", "--store-durations", n=0)
    parts.file(".test_durations", known.read(".test_durations"))
    for algorithm in ("duration_based_chunks", "least_duration"):
        parts.compare("--splits=2", "--group=1", f"--splitting-algorithm={algorithm}")


def test_wrong_usage(parts):
    runs = {door: parts.run(door, "--splits=2") for door in (REFERENCE, *parts.doors)}
    assert {run.code for run in runs.values()} == {4}
    assert all("argument `--group` is required" in run.out + run.err for run in runs.values())
