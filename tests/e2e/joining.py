"""Runs that others may join, and those who do. All of them are gone when the test is over."""

import os
import re
import signal
import subprocess

import pytest
from conftest import DEADLINE, PYTHON, ROOT


class Joiner:
    """`xdist worker --join`."""

    def __init__(self, xdist, *args, cwd=None, on=list, python=PYTHON, env=None, **options):
        self.popen = subprocess.Popen(
            on([xdist.binary, "worker", "--join", *map(str, args), "--python", python]),
            # What `start_pytest` gives to pytest has to be there too.
            cwd=cwd or xdist.directory, env={**(env or xdist.env), "PYTHONPATH": str(ROOT / "tools")}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options,
        )  # fmt: skip

    def wait(self):
        """Exit code, and what it said."""
        out, err = self.popen.communicate(timeout=DEADLINE)
        return self.popen.returncode, out + err


class Run:
    """A run that others may join."""

    def __init__(self, xdist, *args, door="run", listen="0", on=list):
        self.file = xdist.scratch / "join"
        args = ("--listen", listen, "--join-file", self.file, *args)
        self.process = xdist.start(*args, on=on) if door == "run" else xdist.start_pytest(*args)
        # It goes where a person sees it, whoever writes the report.
        stream = self.process.popen.stderr
        self.said = ""
        while "workers can join" not in self.said:
            line = stream.readline()
            assert line, self.said + self.process.popen.stdout.read()
            self.said += line
        self.port = int(re.search(r":(\d+):", self.said)[1])

    def wait(self):
        return self.process.wait()


@pytest.fixture
def join(xdist):
    joiners = []

    def start(*args, **options):
        joiners.append(Joiner(xdist, *args, **options))
        return joiners[-1]

    yield start
    for joiner in joiners:
        if joiner.popen.poll() is None:
            os.killpg(joiner.popen.pid, signal.SIGKILL)
            joiner.popen.communicate()
