"""What tests write is shown while they run, line by line, with the worker's name."""

import os

SUITE = """
import logging
import sys

def test_it():
    print("to stdout", flush=True)
    print("to stderr", file=sys.stderr, flush=True)
    logging.getLogger("suite").warning("to the log")
    signal("written")
    # Ends once the outer test has seen the lines.
    with open(GO) as go:
        go.read()
"""


def lines_while_running(xdist, tmp_path, *args):
    """Runs the suite, and gives the lines that are shown before the test has ended."""
    go = tmp_path / "go"
    os.mkfifo(go)
    xdist.files(test_a=f"GO = {str(go)!r}\n" + SUITE)
    process = xdist.start("-n1", *args)
    assert xdist.signals.next() == "written"
    lines = []
    while not any("[gw0]" in line and "to " in line for line in lines[-1:]) or len(seen(lines)) < wanted(args):
        lines.append(process.popen.stdout.readline())
        assert lines[-1], "the run ended before the lines came"
    with open(go, "w"):
        pass
    assert process.wait().code == 0
    return seen(lines)


def wanted(args):
    return 2 if "-s" in args else 1


def seen(lines):
    return sorted(line.strip() for line in lines if line.startswith("[gw0]") and "to " in line)


def test_output_is_streamed_with_s(xdist, tmp_path):
    assert lines_while_running(xdist, tmp_path, "-s") == ["[gw0] to stderr", "[gw0] to stdout"]


def test_live_logs_are_streamed(xdist, tmp_path):
    (line,) = lines_while_running(xdist, tmp_path, "-o", "log_cli=true")
    assert line.startswith("[gw0] WARNING") and line.endswith("to the log")
