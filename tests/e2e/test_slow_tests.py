"""`--slow-after`: of a test that takes long it is said, while it runs."""

import re
from itertools import pairwise

import pytest

SLOW = """
import os, time

def test_slow():
    # It ends when it has been told of twice.
    while open(os.environ["LOG"]).read().count('"slow":') < 2:
        time.sleep(0.01)

def test_quick():
    pass
"""


def run(xdist, *args):
    xdist.files(test_a=SLOW)
    log = xdist.scratch / "log.jsonl"
    result = xdist.run("--report-log", log, "--timeout=60", *args, LOG=str(log))
    result.log = log
    return result


@pytest.mark.parametrize("args", [["-n1"], ["-n2", "-v"], ["-n1", "-q"]], ids=" ".join)
def test_a_slow_test_is_told_of_each_time_its_time_has_doubled(xdist, args):
    result = run(xdist, "--slow-after=0.6", *args)
    assert (result.code, result.totals) == (0, {"passed": 2}), result.text
    lines = [line for line in result.out.splitlines() if line.startswith("SLOW")]
    form = re.compile(r"SLOW \[gw\d\] > (.+)s test_a.py::test_slow \(in call, pid \d+ on .+\)")
    times = [float(form.fullmatch(line)[1]) for line in lines]
    # Whoever looks late tells later, and whoever is told of late lasts longer.
    assert len(times) >= 2 and all(later >= 2 * earlier for earlier, later in pairwise(times)), lines
    assert set(times) <= {0.6 * 2**doubled for doubled in range(10)}, lines
    told = [event for event in result.events if "slow" in event]
    assert [event["slow"] for event in told] == times
    assert all(event["running"] >= event["slow"] and event["when"] == "call" for event in told)


def test_nothing_is_said_of_tests_that_are_not_slow(xdist):
    xdist.files(test_a="import time\n\ndef test_a():\n    time.sleep(0.7)\n")
    for args in (["--slow-after=60"], ["--slow-after=0"], []):
        result = xdist.run("-n1", *args)
        assert "SLOW" not in result.text
        assert any(event["$report_type"] == "ItemStarted" for event in result.events)


def test_where_plugins_have_the_terminal_it_is_said_too(xdist):
    result = run(xdist, "-n1", "--slow-after=0.6", "--pytest-host=always")
    assert (result.code, result.totals) == (0, {"passed": 2}), result.text
    lines = re.findall(r"^SLOW \[gw0\] > [\d.]+s test_a.py::test_slow \(in call, pid \d+\)$", result.out, re.M)
    assert len(lines) == len([event for event in result.events if "slow" in event]) >= 2, result.out
