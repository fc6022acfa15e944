"""What tests write is shown while they run, line by line, with the worker's name."""

import os

import pytest

SUITE = """
import logging
import sys

def test_it():
    print("to stdout", flush=True)
    print("to stderr", file=sys.stderr, flush=True)
    logging.getLogger("suite").warning("to the log")
    # Ends once the outer test has seen the line.
    with open(GO) as go:
        go.read()
"""


@pytest.mark.parametrize(
    ("args", "expected"),
    [(["-s"], "[gw0] to stdout"), (["-o", "log_cli=true"], "[gw0] WARNING  suite:test_a.py:10 to the log")],
    ids=["output", "log"],
)
def test_lines_are_shown_while_the_test_runs(xdist, tmp_path, args, expected):
    go = tmp_path / "go"
    os.mkfifo(go)
    xdist.files(test_a=f"GO = {str(go)!r}\n" + SUITE)
    process = xdist.start("-n1", *args)
    lines = []
    while expected not in lines:
        line = process.popen.stdout.readline()
        assert line, f"the run ended before the line came: {lines}"
        lines.append(line.rstrip())
    with open(go, "w"):
        pass
    assert process.wait().code == 0
