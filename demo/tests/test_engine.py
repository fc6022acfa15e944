import pytest
from ferry.engine import start


@pytest.mark.parametrize("serial_number", range(1, 21))
def test_engine_starts(serial_number):
    assert start(serial_number) == "running"
