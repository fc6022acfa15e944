"""pytest's capture of output, without switching it off and on between the phases of every test.

Each switch is four system calls, and there are six in a test: a seventh of the time of a trivial one. They make a
difference only to what is written outside the phases, by somebody's hooks.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    import pytest

# Tests replace and remove functions of modules.
_getframe, _fstat = sys._getframe, os.fstat

#: Hooks that are called while a test runs, and outside what is captured.
_BETWEEN_PHASES = (
    "pytest_runtest_protocol",
    "pytest_runtest_logstart",
    "pytest_runtest_logfinish",
    "pytest_runtest_makereport",
    "pytest_runtest_logreport",
    "pytest_exception_interact",
    "pytest_report_teststatus",
    "pytest_warning_recorded",
)
#: Hooks of which wrappers are called outside what is captured.
_PHASES = ("pytest_runtest_setup", "pytest_runtest_call", "pytest_runtest_teardown")

#: Packages whose hooks write nothing.
_SILENT = frozenset({"_pytest", "xdist_pytest", "_hypothesis_pytestplugin"})


class LastingCapture:
    """Lets capture stay on from one phase to the next if nobody can tell."""

    def __init__(self, config: pytest.Config) -> None:
        self._manager: Any = config.pluginmanager.getplugin("capturemanager")
        self._suspend: Optional[Callable[..., None]] = None
        self._streams: tuple[object, ...] = ()
        self._files: Optional[list[tuple[int, int]]] = None
        if hasattr(self._manager, "item_capture") and not _somebody_writes_between_phases(config):
            self._begin()

    def _begin(self) -> None:
        self._suspend = self._manager.suspend_global_capture
        self._manager.resume_global_capture()
        self._streams = (sys.stdout, sys.stderr)
        self._files = _standard_files()
        self._suspend(in_=False)
        self._manager.suspend_global_capture = self._suspend_if_it_matters

    def _suspend_if_it_matters(self, in_: bool = False) -> None:
        # Others, such as `capsys.disabled` and the debugger, mean it.
        phase_has_ended = _getframe(1).f_code.co_name == "item_capture"
        if self._suspend is not None and not (phase_has_ended and self._streams == (sys.stdout, sys.stderr)):
            self._suspend(in_=in_)

    def after_item(self) -> None:
        """Mends what a test has left of the standard streams: pytest does so by switching capture on again."""
        if self._suspend is not None and _standard_files() != self._files:
            self._suspend(in_=False)

    def end(self) -> None:
        """Switches capture off, until somebody needs it again."""
        if self._suspend is not None:
            self._manager.suspend_global_capture = self._suspend
            self._suspend(in_=False)
            self._suspend = None


def _standard_files() -> Optional[list[tuple[int, int]]]:
    try:
        return [(status.st_dev, status.st_ino) for status in map(_fstat, (1, 2))]
    except OSError:
        return None


def _somebody_writes_between_phases(config: pytest.Config) -> bool:
    for hooks, only_wrappers in ((_BETWEEN_PHASES, False), (_PHASES, True)):
        for name in hooks:
            for implementation in getattr(config.hook, name).get_hookimpls():
                wraps = implementation.hookwrapper or getattr(implementation, "wrapper", False)
                if (wraps or not only_wrappers) and _package(implementation.function) not in _SILENT:
                    return True
    return False


def _package(function: object) -> str:
    return str(getattr(function, "__module__", "")).partition(".")[0]
