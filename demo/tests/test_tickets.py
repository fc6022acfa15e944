import pytest
from ferry.tickets import BASE, ISLANDS, fare, price


@pytest.mark.parametrize("island", ISLANDS)
@pytest.mark.parametrize("vehicle", BASE)
def test_price_grows_with_distance(vehicle, island):
    assert price(vehicle, island) == BASE[vehicle] * ISLANDS[island]


@pytest.mark.parametrize("passengers", range(1, 11))
@pytest.mark.parametrize("island", ISLANDS)
def test_nobody_pays_more_in_a_group(island, passengers):
    assert price("foot", island, passengers) <= passengers * price("foot", island)


def test_four_are_a_group():
    prices = {number: price("foot", "near", number) for number in range(3, 7)}
    assert prices == {3: 1350, 4: 1620, 5: 2025, 6: 2430}


@pytest.mark.parametrize("vehicle", BASE)
def test_old_name_still_works(vehicle):
    assert fare(vehicle, "near") == price(vehicle, "near")


@pytest.mark.parametrize("island", ["lost", "sunken", "imaginary"])
def test_no_boats_to_unknown_islands(island):
    with pytest.raises(KeyError):
        price("foot", island)
