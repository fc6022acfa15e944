"""The terminal plugin of a worker."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path
from typing import Callable

import pytest
from harness import Runner
from xdist_pytest.quiet import NullFile

LOUD = """
    import pytest
    from _pytest.terminal import TerminalReporter

    class Loud(TerminalReporter):
        def pytest_runtest_logreport(self, report):
            print("LOUD")
            self.write_line("LOUD")

    @pytest.hookimpl(trylast=True)
    def pytest_configure(config):
        old = config.pluginmanager.getplugin("terminalreporter")
        config.pluginmanager.unregister(old)
        config.pluginmanager.register(Loud(config), "terminalreporter")
"""


def test_what_the_main_thread_writes_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", errors)
    assert NullFile().write("text") == 4
    assert errors.getvalue() == ""


def test_last_words_of_another_thread_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", errors)
    thread = threading.Thread(target=NullFile().write, args=("timed out",))
    thread.start()
    thread.join()
    assert errors.getvalue() == "timed out"


def test_a_reporter_that_a_plugin_has_put_there_is_replaced(
    suite: Callable[..., Path], start: Callable[..., Runner]
) -> None:
    suite(conftest=LOUD, test_a="def test_a():\n    pass\n")
    runner = start("-s")
    assert [report.get("class", "pass") for report in runner.run_all()] == ["pass"]
    assert b"LOUD" not in runner.output + runner.error_output


def test_tests_that_run_pytest_in_this_process_see_what_it_prints(
    suite: Callable[..., Path], start: Callable[..., Runner]
) -> None:
    suite(
        conftest="pytest_plugins = ['pytester']",
        test_a="""
        def test_inner(pytester):
            pytester.makepyfile("def test(): assert 0")
            pytester.runpytest_inprocess().assert_outcomes(failed=1)
        """,
    )
    assert [report.get("class", "pass") for report in start().run_all()] == ["pass"]
