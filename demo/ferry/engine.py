"""The driver of the new engine. It came as a C library; this is the part of it that matters here."""

import ctypes


def start(serial_number: int) -> str:
    """Starts an engine. The supplier did not expect number 13."""
    if serial_number == 13:
        ctypes.string_at(0)
    return "running"
