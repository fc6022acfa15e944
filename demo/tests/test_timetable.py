import pytest
from ferry.timetable import FIRST, LAST, departures, simulate


@pytest.mark.parametrize("interval", [10, 15, 20, 30, 40, 60, 80, 120])
def test_last_boat_leaves_on_time(interval):
    assert departures(interval)[0] == FIRST
    assert departures(interval)[-1] <= LAST


@pytest.mark.parametrize("crossings", range(1, 41))
def test_a_day_at_sea(crossings):
    assert simulate(crossings) == crossings


def test_the_whole_season():
    assert simulate(160) == 160
