"""What the runner does so that the host can put an end to tests that take too long."""

from __future__ import annotations

import argparse
import os
import struct
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from harness import DEADLINE, Runner
from xdist_pytest import memory, options
from xdist_pytest.channel import STATUS_BYTES, Item, Status
from xdist_pytest.dumps import DUMP_SIGNAL

Suite = Callable[..., Path]
Start = Callable[..., Runner]

BUSY = {
    "holding the interpreter lock": "tell(); ctypes.PyDLL(None).pause()",
    "in a loop": "tell()\n            while True: pass",
    "in a deadlock": "tell(); lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "in a thread": "thread = threading.Thread(target=lambda: (tell(), time.sleep(600))); thread.start(); thread.join()",
}


def started(runner: Runner) -> int:
    """When the running item began, on the monotonic clock."""
    (value,) = struct.unpack("<Q", os.pread(runner.status, 8, 16))
    return int(value)


def options_of(runner: Runner) -> dict[str, Any]:
    """The `RunOptions` that a runner tells; ends its session."""
    runner.drain()
    fields: dict[str, Any] = runner.wait("ready")["options"]
    runner.finish()
    return fields


@pytest.mark.parametrize("isolate", [(), ("--isolate",)])
@pytest.mark.parametrize("code", BUSY.values(), ids=BUSY)
def test_the_stacks_are_dumped_whatever_goes_on_and_the_process_ends(
    suite: Suite, start: Start, code: str, isolate: tuple[str, ...]
) -> None:
    directory = suite(
        test_a=f"""
        import ctypes, pathlib, threading, time

        def tell():
            pathlib.Path("running").touch()

        def hang():
            {code}

        def test_a(): hang()
        def test_b(): pass
        """
    )
    runner = start(*isolate)
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    runner.item(1)
    runner.wait_for_file(directory / "running")
    runner.signal(DUMP_SIGNAL)
    runner.finish()
    assert runner.process.returncode == -DUMP_SIGNAL
    assert b"in hang" in runner.error_output
    assert (b"in _be_the_test" in runner.error_output) == bool(isolate), "it is the test's stack"
    assert runner.activity() == ((0, 7), "call")
    assert "item_finished" not in runner.kinds()


def test_a_test_may_do_with_the_signal_what_it_likes(suite: Suite, start: Start) -> None:
    suite(
        test_a=f"""
        import os, signal

        def test_a():
            came = []
            previous = signal.signal({DUMP_SIGNAL}, lambda *_: came.append(1))
            os.kill(os.getpid(), {DUMP_SIGNAL})
            signal.signal({DUMP_SIGNAL}, previous or signal.SIG_DFL)
            assert came
        """
    )
    (report,) = start().run_all()
    assert report.get("class", "pass") == "pass"


def test_waiting_to_be_told_of_the_successor_is_not_the_items_time(suite: Suite, start: Start) -> None:
    directory = suite(
        test_a="""
        import pathlib, time, pytest

        @pytest.fixture(scope="module")
        def module_thing():
            yield
            while not pathlib.Path("go").exists():
                time.sleep(0.001)

        def test_a(module_thing): pass
        """
    )
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    wait_until(runner.is_waiting, runner)
    before, since = started(runner), time.monotonic_ns()
    while time.monotonic_ns() - since < 1_000_000:
        pass
    runner.park()
    wait_until(lambda: not runner.is_waiting(), runner)
    assert started(runner) - before >= 1_000_000
    (directory / "go").touch()
    runner.drain()
    runner.finish()
    assert runner.kinds().count("item_finished") == 1


def test_the_host_never_reads_a_status_page_that_is_being_cleared() -> None:
    with tempfile.TemporaryFile() as page:
        page.truncate(STATUS_BYTES)
        status = Status(os.dup(page.fileno()))
        status.begin(Item(3, 7))
        child = os.fork()
        if child == 0:
            for _ in range(100_000):
                status.stop_clock()
                status.start_clock()
            os._exit(0)
        torn = 0
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            index, lease, _, _, started = struct.unpack("<IIBB6xQ", os.pread(page.fileno(), 24, 0))
            torn += (index, lease) != (3, 7) or started == 0
        assert torn == 0


def wait_until(is_so: Callable[[], bool], runner: Runner) -> None:
    """Waits until something is so in the runner."""
    end = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < end, runner.errors()


def wait_for_activity(runner: Runner, activity: str) -> None:
    """Waits until something goes on in the runner."""
    end = time.monotonic() + DEADLINE
    while runner.activity()[1] != activity:
        assert time.monotonic() < end, runner.errors()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], None),
        (["--timeout=0"], None),
        (["--timeout", "1.5"], 1500),
        (["--test-timeout=2m"], 120_000),
        (["--timeout=3", "--test-timeout=4"], 4000),
    ],
)
def test_the_time_limit_of_tests_is_told(suite: Suite, start: Start, args: list[str], expected: Optional[int]) -> None:
    assert options_of(start(*args)).get("timeout_ms") == expected


@pytest.mark.parametrize(
    ("args", "expected"),
    [([], 60_000), (["--slow-after=0"], 0), (["--slow-after=1.5"], 1500), (["--slow-after=5m"], 300_000)],
)
def test_when_a_test_is_slow_is_told(suite: Suite, start: Start, args: list[str], expected: int) -> None:
    assert options_of(start(*args))["slow_after_ms"] == expected


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], {}),
        (["--max-tests-per-worker=100"], {"max_tests": 100}),
        (["--worker-memory-limit=1048576"], {"memory_limit_kib": 1024}),
        (["--worker-memory-limit", "500M"], {"memory_limit_kib": 500 << 10}),
        (["--worker-memory-limit=1.5GiB"], {"memory_limit_kib": 3 << 19}),
        (["--worker-memory-limit=10kb"], {"memory_limit_kib": 10}),
        (["--worker-memory-limit=1"], {"memory_limit_kib": 1}),
    ],
)
def test_when_workers_are_recycled_is_told(
    suite: Suite, start: Start, args: list[str], expected: dict[str, int]
) -> None:
    told = options_of(start(*args))
    assert {name: told[name] for name in ("max_tests", "memory_limit_kib") if name in told} == expected


def test_a_percentage_is_of_the_memory_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total_kib", lambda: 1000)
    assert options.memory_kib("25%") == options.memory_kib("25.0 %") == 250
    monkeypatch.setattr(memory, "total_kib", lambda: None)
    with pytest.raises(argparse.ArgumentTypeError, match="how much memory there is"):
        options.memory_kib("25%")


@pytest.mark.parametrize("text", ["", "0", "-1M", "many", "5X", "M", "%", "1e9"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a size"):
        options.memory_kib(text)


def test_recycling_and_a_scheduler_of_ones_own_do_not_go_together(suite: Suite, start: Start) -> None:
    suite(conftest="def pytest_xdist_make_scheduler(config, log): pass", test_a="def test_a(): pass")
    runner = start("--max-tests-per-worker=5")
    runner.finish()
    assert "pytest_xdist_make_scheduler" in runner.of_kind("usage_error")[0]["text"]


GROUPS = {
    "a/memory.max": "max",
    "a/b/memory.max": str(8 << 20),
    "a/b/memory.current": str(5 << 20),
    "a/b/memory.stat": "anon 7\ninactive_file 2097152\nactive_file 9",
    "memory/x/memory.limit_in_bytes": str(4 << 20),
    "memory/x/memory.usage_in_bytes": str(3 << 20),
    "memory/x/memory.stat": "inactive_file 7\ntotal_inactive_file 1048576",
    "memory/memory.limit_in_bytes": "9223372036854771712",
    "meminfo": "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    12288 kB",
}


@pytest.mark.parametrize(
    ("membership", "total", "available"),
    [
        # What the kernel would drop first is as good as free.
        ("0::/a/b", 8192, 5120),
        ("0::/a", 16384, 12288),
        ("4:memory:/x\n2:cpu:/a/b", 4096, 2048),
        ("4:memory:/", 16384, 12288),
        ("0::/a/b\n4:memory:/x", 4096, 2048),
        ("0::/gone", 16384, 12288),
        ("junk", 16384, 12288),
    ],
)
def test_how_much_memory_there_is(tmp_path: Path, membership: str, total: int, available: int) -> None:
    for name, text in GROUPS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "membership").write_text(membership + "\n")
    places = [str(tmp_path), str(tmp_path / "membership"), str(tmp_path / "meminfo")]
    assert memory.total_kib(*places) == total
    assert memory.available_kib(*places) == available


def test_a_group_may_have_more_than_its_limit(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("4096")
    (tmp_path / "memory.current").write_text("8192")
    (tmp_path / "membership").write_text("0::/")
    assert memory.available_kib(str(tmp_path), str(tmp_path / "membership"), str(tmp_path / "nowhere")) == 0


def test_nothing_may_be_known_of_memory(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert memory.total_kib(nowhere, nowhere, nowhere) is None
    assert memory.available_kib(nowhere, nowhere, nowhere) is None


@pytest.mark.parametrize("value", ["-1", "soon", "nan"])
def test_a_time_limit_that_is_none_is_a_usage_error(suite: Suite, start: Start, value: str) -> None:
    runner = start(f"--timeout={value}")
    runner.finish()
    assert "expected a duration" in runner.of_kind("usage_error")[0]["text"]


PLUGIN = """
    def pytest_addoption(parser):
        parser.getgroup("{group}").addoption("--timeout", type=float, default=7)

    def pytest_configure(config):
        assert config.getoption("--timeout") == config.option.timeout == {value}
"""


@pytest.mark.parametrize(
    ("where", "args"), [("conftest", []), ("tests/conftest.py", []), ("their_timeout", ["-p", "their_timeout"])]
)
@pytest.mark.parametrize("group", ["timeout", "general", "xdist"])
def test_another_option_of_that_name_wins(suite: Suite, start: Start, where: str, args: list[str], group: str) -> None:
    suite(
        **{where: PLUGIN.format(group=group, value=3.0)},
        **{"tests/test_a.py": "def test_a(): pass", "pytest.ini": "[pytest]\ntestpaths = tests\npythonpath = .\n"},
    )
    surroundings = {"PYTHONPATH": str(suite())}
    told = options_of(start(*args, "--timeout", "3", "--test-timeout=5", environment=surroundings))
    assert told["timeout_ms"] == 5000


def test_the_value_of_the_option_is_not_taken_for_a_file(suite: Suite, start: Start) -> None:
    suite(
        **{
            "pytest.ini": "[pytest]\ntestpaths = tests\n",
            "tests/conftest.py": "def pytest_addoption(parser): parser.addoption('--theirs')",
            "tests/test_a.py": "def test_a(): pass",
        }
    )
    runner = start("--timeout", "3", "--theirs=x")
    assert len(runner.run_all()) == 1
