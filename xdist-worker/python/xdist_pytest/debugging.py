"""Debuggers in a worker: `breakpoint()`, `--pdb` and `--trace` talk to the person at the terminal that the run was started in.

The coordinator lends the terminal to one worker at a time. Meanwhile it is standard input, output and error here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from _pytest import config as pytest_config
from _pytest.debugging import pytestPDB

_STANDARD = (0, 1, 2)


class Debugging:
    """The plugin that borrows the terminal for pytest's debugger."""

    def __init__(
        self, config: pytest.Config, ask: Callable[[], Any], give_back: Callable[[], None], wait: Callable[[bool], None]
    ) -> None:
        """`ask` gets the coordinator's reply, and `give_back` tells it; `wait` says whether a person is waited for."""
        self._config = config
        self._ask = ask
        self._give_back = give_back
        self._wait = wait
        self._terminal = -1
        self._saved: list[int] = []
        self._writer: Any = None

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        """Has pytest's debugger borrow the terminal before it says anything. pytest 9.2, `_pytest/debugging.py`."""
        init, import_class = pytestPDB._init_pdb, pytestPDB._import_pdb_cls
        borrow = self.borrow

        def init_pdb(method: str, *args: Any, **options: Any) -> Any:
            borrow()
            return init(method, *args, **options)

        def import_pdb_class(capture: Any) -> Any:
            class Debugger(import_class(capture)):  # type: ignore[misc]
                def setup(self, *args: Any) -> Any:
                    # It may have been continued meanwhile, and have come to another breakpoint.
                    borrow()
                    return super().setup(*args)

            return Debugger

        pytestPDB._init_pdb = init_pdb  # type: ignore[method-assign]
        pytestPDB._import_pdb_cls = import_pdb_class  # type: ignore[method-assign]

        def undo() -> None:
            pytestPDB._init_pdb = init  # type: ignore[method-assign]
            pytestPDB._import_pdb_cls = import_class  # type: ignore[method-assign]

        self._config.add_cleanup(undo)

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(self) -> None:
        """Borrows the terminal before `--pdb` shows the failure."""
        if self._config.pluginmanager.hasplugin("pdbinvoke"):
            self.borrow()

    @pytest.hookimpl(trylast=True)
    def pytest_leave_pdb(self) -> None:
        """Gives the terminal back when the test goes on."""
        self.give_back()

    def borrow(self) -> None:
        """Waits for the terminal, and makes it the standard streams. Fails the test if there is none."""
        if self._terminal >= 0:
            return
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.suspend(in_=True)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        reply = self._ask()
        path = reply.get("terminal") if isinstance(reply, dict) else None
        try:
            if path is None:
                problem = reply["refused"] if isinstance(reply, dict) else str(reply)
                pytest.fail(f"a debugger needs a terminal: {problem}, or the test with -n 0", pytrace=False)
            self._take(path)
        except BaseException:
            if capture is not None:
                capture.resume()
            raise

    def _take(self, path: str) -> None:
        try:
            self._terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
        except OSError as error:
            self._give_back()
            pytest.fail(f"a debugger needs the terminal, which cannot be opened: {error}", pytrace=False)
        self._saved = [os.dup(number) for number in _STANDARD]
        for number in _STANDARD:
            os.dup2(self._terminal, number)
        _come_to_the_foreground(self._terminal)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError):
                stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            self._writer = reporter._tw
            reporter._tw = pytest_config.create_terminal_writer(self._config, sys.stdout)
        self._wait(True)

    def give_back(self) -> None:
        """Ends what `borrow` began, if it did."""
        if self._terminal < 0:
            return
        self._wait(False)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, saved in zip(_STANDARD, self._saved):
            # Where pytest captures again, it is not the terminal any more.
            if os.path.sameopenfile(number, self._terminal):
                os.dup2(saved, number)
            os.close(saved)
        os.close(self._terminal)
        self._terminal = -1
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter._tw = self._writer
        self._give_back()


def _come_to_the_foreground(terminal: int) -> None:
    """Lets this process read from the terminal and hear its Ctrl-C, where it is the session's own."""
    with _in_the_background(), contextlib.suppress(OSError):
        os.tcsetpgrp(terminal, os.getpgrp())


@contextlib.contextmanager
def _in_the_background() -> Iterator[None]:
    """Does not hear the signal by which the system stops processes that are not in the foreground."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
