"""pytest's terminal plugin for a worker: there, as plugins expect, but it prints nothing and costs nothing per test.

Except for what another thread than the main one has to say: that is pytest-timeout, which is about to end the process.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import Any

import pluggy
import pytest
from _pytest import terminal
from _pytest._io import TerminalWriter


class NullFile(io.TextIOBase):
    """A text file that forgets what the main thread writes to it; the rest becomes the last words on standard error."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        """Forgets the text."""
        if threading.current_thread() is not threading.main_thread() and sys.__stderr__ is not None:
            sys.__stderr__.write(text)
        return len(text)

    def writable(self) -> bool:
        """Always."""
        return True


class QuietReporter(terminal.TerminalReporter):  # type: ignore[misc]
    """Writes to nowhere, but keeps the lines of the header."""

    def __init__(self, config: pytest.Config, file: Any = None) -> None:
        super().__init__(config, NullFile())  # type: ignore[arg-type]
        #: pytest's header without the title.
        self.header: list[str] = []
        self._shows_logs = bool(config.getoption("log_cli_level", None) is not None or _setting(config, "log_cli"))

    # pytest takes only functions for hooks, so these are none.
    pytest_runtest_logstart: Any = None
    pytest_runtest_logreport: Any = None
    pytest_runtest_logfinish: Any = None
    pytest_warning_recorded: Any = None
    pytest_collectreport: Any = None
    pytest_internalerror: Any = None
    # It renders the whole traceback, which takes a tenth of a second.
    pytest_keyboard_interrupt: Any = None
    # Only some versions have this one.
    pytest_runtestloop: Any = None

    def _report_keyboardinterrupt(self) -> None:
        """Nothing was kept of it."""

    def write(self, content: str, *, flush: bool = False, **markup: bool) -> None:
        """Forgets the text, unless live logs are wanted: these come here, while nothing is captured."""
        if self._shows_logs and sys.stdout is sys.__stdout__:
            sys.stdout.write(content)
            sys.stdout.flush()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Collects the header instead of printing it."""
        _find_version_of_pluggy()
        recorded = io.StringIO()
        writer, self._tw = self._tw, TerminalWriter(recorded)
        try:
            super().pytest_sessionstart(session)
        finally:
            self._tw = writer
        lines = recorded.getvalue().splitlines()
        self.header = [line for line in lines if line and not line.startswith("=====")]


def _find_version_of_pluggy() -> None:
    """Finds what pluggy says of itself in the header by the name of its metadata.

    It would be read from there, for which a parser of electronic mail is imported: ten milliseconds.
    """
    if "__version__" in vars(pluggy):
        return
    name, suffix = "pluggy-", ".dist-info"
    beside = os.listdir(os.path.dirname(os.path.dirname(pluggy.__file__)))
    versions = [
        entry[len(name) : -len(suffix)] for entry in beside if entry.startswith(name) and entry.endswith(suffix)
    ]
    if len(versions) == 1:
        pluggy.__version__ = versions[0]  # type: ignore[misc]


def _setting(config: Any, name: str) -> Any:
    """A setting, if the plugin that has it is there."""
    try:
        return config.getini(name)
    except (KeyError, ValueError):
        return None


_Reporter = terminal.TerminalReporter


def install() -> None:
    """Makes pytest use the quiet reporter; to be called before it configures itself."""
    terminal.TerminalReporter = QuietReporter  # type: ignore[misc]


def take_over(config: pytest.Config) -> None:
    """Takes the place of a reporter that a plugin has put there: it is for the coordinator's side.

    To be called when pytest has configured itself: tests that run pytest in this process have it as it is.
    """
    terminal.TerminalReporter = _Reporter  # type: ignore[misc]
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None and not isinstance(reporter, QuietReporter):
        config.pluginmanager.unregister(reporter)
        config.pluginmanager.register(QuietReporter(config), "terminalreporter")
