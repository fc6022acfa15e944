"""When boats leave, in minutes after midnight."""

import time

FIRST, LAST = 6 * 60, 22 * 60


def departures(interval: int) -> list[int]:
    """All departures of a day."""
    return list(range(FIRST, LAST + 1, interval))


def simulate(crossings: int) -> int:
    """Sails some crossings, at a two-hundred-thousandth of their real length, and counts those on time."""
    for _ in range(crossings):
        time.sleep(0.009)
    return crossings
