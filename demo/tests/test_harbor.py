import pytest


@pytest.mark.parametrize("hour", range(12))
def test_every_boat_finds_a_berth(harbor, boat, hour):
    assert boat in harbor.values()


@pytest.fixture
def harbormaster():
    raise ConnectionError("the harbormaster is at lunch")


def test_permission_to_leave(harbormaster):
    assert harbormaster.permits("Heron")


@pytest.fixture
def mooring_line():
    yield "tied"
    raise RuntimeError("the line broke while it was taken in")


def test_boat_is_moored(mooring_line):
    assert mooring_line == "tied"
