"""What a crossing costs, in cents."""

import warnings

BASE = {"foot": 450, "bicycle": 700, "motorcycle": 1_200, "car": 2_900, "lorry": 9_800}
ISLANDS = {"near": 1, "middle": 2, "far": 3, "outer": 5}


def price(vehicle: str, island: str, passengers: int = 1) -> int:
    """The price of one crossing. Four or more foot passengers are a group and pay a tenth less."""
    total = BASE[vehicle] * ISLANDS[island]
    if vehicle == "foot":
        total *= passengers
        # The price list says "four or more"; whoever wrote this read "more than four".
        if passengers > 4:
            total = total * 9 // 10
    return total


def fare(vehicle: str, island: str) -> int:
    """The old name of `price`."""
    warnings.warn("fare() is now called price()", DeprecationWarning, stacklevel=2)
    return price(vehicle, island)
