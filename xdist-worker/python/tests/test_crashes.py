"""What reports say of crashed test processes."""

from __future__ import annotations

from typing import Any

import pytest
from xdist_pytest import crashes

CRASH: dict[str, Any] = {"cause": "signal 11 (SIGSEGV)", "phase": "call", "running_ms": 5}
STACK = """Fatal Python error: Segmentation fault

Current thread 0x01 (most recent call first):
  File "/suite/test_a.py", line 5 in test_a
  File "/lib/_pytest/python.py", line 187 in pytest_pyfunc_call
  File "/lib/pluggy/_callers.py", line 103 in _multicall
  File "<string>", line 1 in <module>

Thread 0x02 (most recent call first):
  File "/lib/_pytest/python.py", line 187 in pytest_pyfunc_call
"""


def text(**changes: Any) -> list[str]:
    report = crashes.report("gw0", "test_a.py::test_a", {**CRASH, **changes})
    assert report.failed and report.when == "???"
    return str(report.longrepr).splitlines()


def test_the_first_line_is_that_of_pytest_xdist() -> None:
    assert text()[0] == "worker 'gw0' crashed while running 'test_a.py::test_a'"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "in call, after 5ms: signal 11 (SIGSEGV)"),
        ({"phase": None, "running_ms": None}, "in an unknown phase: signal 11 (SIGSEGV)"),
        ({"running_ms": 250, "pid": 7}, "in call, after 0.2s: signal 11 (SIGSEGV) (pid 7)"),
        ({"running_ms": 63_000}, "in call, after 63.0s: signal 11 (SIGSEGV)"),
        ({"running_ms": 723_000}, "in call, after 12m03s: signal 11 (SIGSEGV)"),
        ({"running_ms": 3_720_000}, "in call, after 1h02m: signal 11 (SIGSEGV)"),
        ({"peak_rss_kib": 35_328, "pid": 7}, "in call, after 5ms: signal 11 (SIGSEGV) (pid 7, peak memory 34.5 MiB)"),
        ({"out_of_memory": True}, "in call, after 5ms: signal 11 (SIGSEGV), out of memory"),
    ],
)
def test_the_second_tells_the_circumstances(changes: dict[str, Any], line: str) -> None:
    assert text(**changes)[1:] == [line]


def test_the_stack_is_without_frames_that_are_the_same_for_every_test() -> None:
    assert text(stack=STACK)[2:] == [
        "",
        "stack:",
        "Fatal Python error: Segmentation fault",
        "",
        "Current thread 0x01 (most recent call first):",
        '  File "/suite/test_a.py", line 5 in test_a',
        "  ... and 3 frames of pytest around it",
        "",
        # Where the machinery itself crashed, its frames are all there is to see.
        "Thread 0x02 (most recent call first):",
        '  File "/lib/_pytest/python.py", line 187 in pytest_pyfunc_call',
    ]


def test_the_last_words() -> None:
    assert text(stderr_tail="one\ntwo\n\n")[2:] == ["", "last lines on standard error:", "one", "two"]
    assert text(stderr_tail=" \n", stack="\n")[2:] == []


@pytest.mark.parametrize(
    ("phase", "passed"), [("setup", []), ("call", ["setup"]), ("teardown", ["setup", "call"]), (None, [])]
)
def test_phases_before_the_crash_have_passed(phase: Any, passed: list[str]) -> None:
    assert [each["phase"] for each in crashes.passed_before({"phase": phase})["phases"]] == passed


def test_what_differs_between_two_collections() -> None:
    told = crashes.mismatch("gw0", "gw1", {"missing": ["test_a.py::test_b"], "extra": ["test_a.py::test_c"]})
    assert "Different tests were collected between gw0 and gw1. The difference is:" in told
    assert "-test_a.py::test_b" in told.splitlines() and "+test_a.py::test_c" in told.splitlines()
