"""syrupy: snapshots that no test of any worker uses are found, and fail the run."""

import pytest
from doors import PLAIN, REFERENCE

TESTS = """
    import pytest

    @pytest.mark.parametrize("number", range(6))
    def test_number(snapshot, number):
        assert {"number": number} == snapshot

    def test_two(snapshot):
        assert "first" == snapshot
        assert "second" == snapshot
"""
OTHER = """
    def test_other(snapshot):
        assert [1, 2, 3] == snapshot

    def test_without():
        pass
"""


@pytest.fixture
def shots(make_suite):
    suite = make_suite()
    suite.file("test_shots.py", TESTS)
    suite.file("test_other.py", OTHER)
    made = suite.run(PLAIN, "--snapshot-update", n=0)
    assert made.code == 0, made
    for name in made.files("__snapshots__/*"):
        suite.file(name, made.read(name))
    return suite


def summary(run):
    """What syrupy says at the end, and the snapshots that are there."""
    lines = run.lines(
        r"snapshots? (passed|failed|generated|updated|deleted|unused)|^Unused|^Deleted|^Generated|^Re-run|^Updated"
    )
    return lines, {name: run.read(name) for name in run.files("__snapshots__/*")}


def test_all_used(shots):
    runs = shots.compare(what=summary)
    assert summary(runs[REFERENCE])[0] == ["9 snapshots passed."], runs[REFERENCE]


def test_unused(shots):
    shots.file("test_shots.py", TESTS.replace("range(6)", "range(4)"))
    runs = shots.compare(what=summary)
    assert runs[REFERENCE].code == 1 and "7 snapshots passed. 2 snapshots unused." in summary(runs[REFERENCE])[0]


@pytest.mark.thorough
def test_unused_is_a_warning(shots):
    shots.file("test_shots.py", TESTS.replace("range(6)", "range(4)"))
    runs = shots.compare("--snapshot-warn-unused", what=summary)
    assert runs[REFERENCE].code == 0


def test_update_deletes(shots):
    shots.file("test_shots.py", TESTS.replace("range(6)", "range(4)").replace('"first"', '"changed"'))
    shots.compare("--snapshot-update", what=summary)


def test_changed(shots):
    shots.file("test_shots.py", TESTS.replace('"second"', '"changed"'))
    shots.compare(what=summary)


@pytest.mark.thorough
def test_selection(shots):
    shots.compare("test_other.py", what=summary)
    shots.compare("-k", "test_number", what=summary)


@pytest.mark.thorough
def test_new(shots):
    shots.file("test_new.py", OTHER.replace("test_other", "test_new"))
    shots.compare(what=summary)
