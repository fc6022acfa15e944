"""The `xdist` fixture: suites in temporary directories, and runs of the built binary on them.

The binary is `$XDIST`, else the debug build. Nothing of the pytest that runs these tests reaches the pytest inside: its
environment variables are taken away.
"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import outcomes  # noqa: E402  (from tools/)

# The interpreter whose pytest is driven; another one than that of these tests if need be.
PYTHON = os.environ.get("XDIST_TEST_PYTHON", sys.executable)

# Plugins of others, which are not there for every suite.
PLUGINS = os.environ.get("XDIST_TEST_PLUGINS", os.path.join(sys.prefix, "plugins"))

# For anything that should take a moment; generous, since it is only reached when something is wrong.
DEADLINE = 60.0


@dataclass
class Result:
    """A finished run."""

    code: int
    out: str
    err: str
    log: Path

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def totals(self) -> dict[str, int]:
        """The counts of the last line, for example `{"passed": 3, "failed": 1}`."""
        for line in reversed(self.out.splitlines()):
            if re.search(r" in \d+(\.\d+)?s", line):
                return {word.rstrip("s") if word in ("errors", "warnings") else word: int(number)
                        for number, word in re.findall(r"(\d+) ([a-z]+(?: run)?)", line.split(" in ")[0])}  # fmt: skip
        return {}

    @property
    def outcomes(self) -> Counter:
        """(node id, outcome) pairs, from the report log."""
        return outcomes.read(self.log)

    @property
    def outcome_of(self) -> dict[str, str]:
        """The outcome of each test by its bare name."""
        return {node_id.rpartition("::")[2]: outcome for node_id, outcome in self.outcomes}

    @property
    def events(self) -> list[dict]:
        """Every line of the report log."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


class Process:
    """A run that has been started."""

    def __init__(self, process: subprocess.Popen, log: Path):
        self.popen = process
        self._log = log

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def wait(self) -> Result:
        out, err = self.popen.communicate(timeout=DEADLINE)
        return Result(self.popen.returncode, out, err, self._log)


class Signals:
    """Lines that tests of a suite write to a named pipe, so that the outer test knows where they are."""

    def __init__(self, path: Path):
        os.mkfifo(path)
        self.path = path
        # Open for writing too, so that the pipe has no end when a writer closes it.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._buffer = b""

    def next(self) -> str:
        """The next line; fails when none comes."""
        end = time.monotonic() + DEADLINE
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no signal came; have {self._buffer!r}"
            self._buffer += os.read(self._fd, 65536)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def close(self) -> None:
        os.close(self._fd)


class Terminal:
    """A program at a terminal, and the person who reads and types there."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str]):
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execve(command[0], command, env)
        self.text = ""
        self._seen = 0

    def expect(self, text: str) -> str:
        """Waits until this appears, after what was waited for before; answers what came before it."""
        end = time.monotonic() + DEADLINE
        while (at := self.text.find(text, self._seen)) < 0:
            if time.monotonic() > end or not self._read(end):
                pytest.fail(f"{text!r} does not appear:\n{self.text}")
        before = self.text[self._seen : at]
        self._seen = at + len(text)
        return before

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def signal(self, number: int) -> None:
        """Signals the program alone."""
        os.kill(self.pid, number)

    def ends(self) -> int:
        """Waits for the program's end; its exit code."""
        end = time.monotonic() + DEADLINE
        while self._read(end):
            pass
        if time.monotonic() > end:
            self.close()
            pytest.fail(f"it does not end:\n{self.text}")
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status)

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], max(0.0, end - time.monotonic()))
        try:
            data = os.read(self._fd, 1 << 16) if ready else b""
        except OSError:
            # The last process at the terminal is gone.
            data = b""
        self.text += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            os.close(self._fd)


class Xdist:
    """Makes suites and runs them."""

    def __init__(self, directory: Path):
        self.directory = directory / "suite"
        self.directory.mkdir()
        # Keeps pytest from looking for its root further up.
        (self.directory / "pytest.ini").write_text("[pytest]\n")
        self.binary = os.environ.get("XDIST", str(ROOT / "target" / "debug" / "xdist"))
        self.python = PYTHON
        self.signals = Signals(directory / "signals")
        self.scratch = directory
        self.env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "XDIST", "COV_", "COVERAGE_")) and name not in ("VIRTUAL_ENV", "COLUMNS")
        }
        self.env["SIGNALS"] = str(self.signals.path)
        # Of its own, or pytest warns when it and another run remove the same old directories.
        temporary = directory / "tmp"
        temporary.mkdir()
        self.env["PYTEST_DEBUG_TEMPROOT"] = str(temporary)
        self._runs = 0
        self._started: list[subprocess.Popen] = []

    def files(self, **texts: str) -> None:
        """Writes modules: `files(test_a="...")`. Each gets `signal(text)`, which `self.signals` receives."""
        (self.directory / "signals_of_suite.py").write_text(
            "import os\n\n\ndef signal(text):\n"
            "    fd = os.open(os.environ['SIGNALS'], os.O_WRONLY)\n"
            "    os.write(fd, f'{text}\\n'.encode())\n    os.close(fd)\n"
        )
        for name, text in texts.items():
            path = self.directory / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("from signals_of_suite import signal\n" + textwrap.dedent(text))

    def ini(self, text: str) -> None:
        (self.directory / "pytest.ini").write_text("[pytest]\n" + textwrap.dedent(text))

    def start(self, *args, python: str = PYTHON, on=list, **env: str) -> Process:
        """Starts `xdist run`; an empty `python` leaves the choice of interpreter to it. `on` makes of the command one that
        runs it elsewhere."""
        self._runs += 1
        log = self.scratch / f"report-{self._runs}.jsonl"
        chosen = ["--python", python] if python else []
        if not any(str(arg).startswith("--report-log") for arg in args):
            chosen += ["--report-log", str(log)]
        process = subprocess.Popen(
            on([self.binary, "run", *chosen, *map(str, args)]),
            cwd=self.directory, env={**self.env, **env}, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._started.append(process)
        return Process(process, log)

    def start_pytest(self, *args, **env: str) -> Process:
        """Starts `pytest` with the plugin that makes `-n` run on xdist."""
        self._runs += 1
        log = self.scratch / f"report-{self._runs}.jsonl"
        process = subprocess.Popen(
            [*self._pytest_command(), "-p", "recorder", "--record", str(log), *map(str, args)],
            cwd=self.directory, env={**self._pytest_env(), **env}, text=True, errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self._started.append(process)
        return Process(process, log)

    def _pytest_command(self) -> list[str]:
        return [PYTHON, "-m", "pytest", "-p", "no:xdist", "-p", "xdist_pytest.entry"]

    def _pytest_env(self) -> dict[str, str]:
        path = f"{ROOT / 'xdist-worker' / 'python'}{os.pathsep}{ROOT / 'tools'}"
        return {**self.env, "PYTHONPATH": path, "XDIST_BINARY": self.binary}

    def at_terminal(self, door: str, *args) -> Terminal:
        """Starts `xdist run` (`door="run"`) or `pytest` with the plugin at a terminal of its own."""
        command = [self.binary, "run", "--python", PYTHON] if door == "run" else self._pytest_command()
        env = self.env if door == "run" else self._pytest_env()
        return Terminal([*command, "-p", "no:cacheprovider", *args], self.directory, {**env, "TERM": "dumb"})

    def run(self, *args, **options) -> Result:
        return self.start(*args, **options).wait()

    def pytest(self, *args) -> Result:
        """Plain pytest on the same suite, as the command of that name."""
        self._runs += 1
        log = self.scratch / f"report-{self._runs}.jsonl"
        done = subprocess.run(
            [Path(PYTHON).with_name("pytest"), "-p", "recorder", "--record", log, "-p", "no:cacheprovider", *args],
            cwd=self.directory, env={**self.env, "PYTHONPATH": str(ROOT / "tools")}, text=True, capture_output=True,
            timeout=DEADLINE,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr, log)

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.signals.close()


@pytest.fixture
def xdist(tmp_path):
    made = Xdist(tmp_path)
    yield made
    made.close()


@pytest.fixture
def plugins():
    """A directory for `PYTHONPATH` that has the plugins of `tools/requirements-plugins.txt`."""
    assert os.path.isdir(PLUGINS), f"{PLUGINS} is not there; `make test` makes it"
    return PLUGINS
