"""A pytest plugin that writes when every test starts and ends: ``-p stamps``, to the file named by $BENCH_STAMPS.

A line is the monotonic clock in nanoseconds, which all processes of a machine share, then the process, the event and
the test. Works in plain pytest and in the workers of anything that runs pytest.
"""

import os
import time

import pytest


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    _stamp("start", item)
    yield
    _stamp("end", item)


def _stamp(event, item):
    line = f"{time.monotonic_ns()} {os.getpid()} {event} {item.nodeid}\n"
    # Opened each time: a file that is open across a fork would be one more thing to keep apart.
    file = os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
