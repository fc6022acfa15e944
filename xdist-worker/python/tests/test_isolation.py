"""`--isolate`: a process for every test."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Callable

import pytest
from harness import Runner

Suite = Callable[..., Path]
Start = Callable[..., Runner]


def test_no_test_sees_what_another_has_left(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
        import os, pytest
        seen = []

        @pytest.fixture(scope="session")
        def session_thing():
            seen.append("up")
            yield os.getpid()
            seen.append("down")

        @pytest.mark.parametrize("n", range(3))
        def test(n, session_thing):
            assert session_thing == os.getpid() and seen == ["up"]
        """
    )
    runner = start("--isolate")
    reports = runner.run_all()
    assert [report.get("class", "pass") for report in reports] == ["pass"] * 3
    assert runner.of_kind("worker_output")[0]["exit_status"] == 0


def test_a_thread_that_is_left_running_is_waited_for(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
        import concurrent.futures, threading, time

        def test_thread():
            threading.Thread(target=time.sleep, args=(0.1,)).start()

        def test_executor():
            concurrent.futures.ThreadPoolExecutor().submit(time.sleep, 0)

        def test_next():
            pass
        """
    )
    runner = start("--isolate")
    assert [report.get("class", "pass") for report in runner.run_all()] == ["pass"] * 3
    assert runner.of_kind("worker_output")[0]["exit_status"] == 0


def test_output_and_failures_are_told_as_ever(suite: Suite, start: Start) -> None:
    suite(test_a="import os\ndef test_a(): print('a'); assert 0\ndef test_b(): os.write(1, b'b'); assert 0")
    first, second = start("--isolate").run_all()
    texts = [
        phase["sections"][0]["text"] for report in (first, second) for phase in report["phases"] if "sections" in phase
    ]
    assert texts == ["a\n", "b"]


@pytest.mark.parametrize(
    ("end", "code"),
    [("os._exit(7)", 7), ("os.kill(os.getpid(), 9)", -9), ("os.abort()", -signal.SIGABRT), ("os._exit(0)", 0)],
)
def test_a_crash_of_the_test_is_one_of_the_worker(suite: Suite, start: Start, end: str, code: int) -> None:
    suite(test_a=f"import os\ndef test_a(): pass\ndef test_b(): {end}\ndef test_c(): pass")
    runner = start("--isolate")
    runner.run_all()
    assert runner.process.returncode == code
    assert runner.activity() == ((1, 7), "call")
    assert runner.kinds().count("item_finished") == 1


def test_a_stop_is_told_once_and_ends_the_session(suite: Suite, start: Start) -> None:
    suite(test_a="import pytest\ndef test_a(): pytest.exit('enough')\ndef test_b(): pass")
    runner = start("--isolate")
    runner.run_all(1)
    assert [stop["reason"] for stop in runner.of_kind("stop_requested")] == ["enough"]
    assert "worker_output" in runner.kinds()


def test_an_interrupt_reaches_the_test_and_lets_it_be_torn_down(suite: Suite, start: Start, tmp_path: Path) -> None:
    suite(
        test_a="""
        import os, pathlib, time, pytest

        @pytest.fixture
        def thing():
            yield
            pathlib.Path("torn-down").touch()

        def test_a(thing):
            pathlib.Path("pid").write_text(str(os.getpid()))
            pathlib.Path("running").touch()
            time.sleep(60)
        """
    )
    runner = start("--isolate")
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    directory = suite()
    runner.wait_for_file(directory / "running")
    runner.interrupt()
    runner.finish()
    assert (directory / "torn-down").exists()
    assert runner.of_kind("stop_requested") == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((directory / "pid").read_text()), 0)
