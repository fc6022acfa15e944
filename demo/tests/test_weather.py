import sys

import pytest


@pytest.mark.parametrize("force", range(13))
def test_sailing_in_wind(force):
    if force > 9:
        pytest.skip(f"no boat leaves in a force {force} wind")
    assert force <= 9


@pytest.mark.skipif(sys.platform != "ferryOS", reason="needs the bridge's own computer")
def test_bridge_instruments():
    raise AssertionError("never reached")


@pytest.mark.xfail(reason="nobody can forecast fog here")
@pytest.mark.parametrize("month", ["May", "June", "October"])
def test_fog_forecast(month):
    assert month == "a month without fog"


@pytest.mark.xfail(reason="thought to be beyond our instruments")
def test_sunrise():
    assert True
