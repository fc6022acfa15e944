"""`--retries` in a session that is not distributed: tests that failed run again at once, in the same process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import pytest

from . import options, retries
from .distterminal import Unreported

if TYPE_CHECKING:
    from collections.abc import Generator


def install(config: pytest.Config) -> None:
    """Has tests run again, if that is wanted and this session runs them by itself."""
    option = config.option
    is_plain = not options.distributes(config) and not hasattr(config, "workerinput")
    if option.testretries and is_plain and not option.usepdb:
        config.pluginmanager.register(PlainRetries(config), "xdist-retries")


class PlainRetries:
    """Wraps pytest's protocol for a test, and so leaves other plugins theirs."""

    def __init__(self, config: pytest.Config) -> None:
        self._limit: int = config.option.testretries
        self._flaky_fails = config.option.flakyresult == "fail"
        self._attempts = retries.Attempts()
        self._item: Optional[pytest.Item] = None
        self._retry = 0
        #: Those of the attempt at hand.
        self._reports: list[Any] = []
        self._failed_because_of_flaky = False

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: Optional[pytest.Item]) -> Generator[None, Any, None]:
        """Runs the test again as long as it fails and may."""
        if self._item is item:
            yield
            return
        self._item, self._retry, self._reports = item, 0, []
        properties, sections = len(item.user_properties), len(item._report_sections)
        try:
            outcome = yield
            while outcome.excinfo is None and any(report.outcome == retries.RERUN for report in self._reports):
                self._retry, self._reports = self._retry + 1, []
                _set_up_anew(item)
                del item.user_properties[properties:]
                del item._report_sections[sections:]
                item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            if self._attempts.finished((None, id(item)), self._reports, self._retry):
                self._count_flaky(item.config)
        finally:
            self._item = None

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> Generator[None, Any, None]:
        """Makes of a failure that another attempt follows what it is, before anyone sees it."""
        if self._item is not None and report.nodeid == self._item.nodeid:
            failed_before = any(earlier.outcome == retries.RERUN for earlier in self._reports)
            if report.outcome == "failed" and self._retry < self._limit:
                if failed_before:
                    report.outcome = retries.RERUN
                else:
                    self._attempts.failed((None, id(self._item)), [report], self._retry + 1, None)
            self._reports.append(report)
        yield

    @pytest.hookimpl
    def pytest_report_teststatus(self, report: Any) -> Optional[tuple[str, str, tuple[str, dict[str, bool]]]]:
        """As in a distributed session."""
        return retries.status(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Takes flaky tests for a failure where they are to be."""
        if self._flaky_fails and self._attempts.flaky and exitstatus == pytest.ExitCode.OK:
            self._failed_because_of_flaky = True
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """As in a distributed session."""
        retries.summary(terminalreporter, self._attempts.flaky)
        if self._failed_because_of_flaky:
            retries.blame(terminalreporter, len(self._attempts.flaky))

    @staticmethod
    def _count_flaky(config: pytest.Config) -> None:
        reporter = config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter._add_stats("flaky", [Unreported()])


def _set_up_anew(item: pytest.Item) -> None:
    """Tears down what the test shares with others. It was torn down itself."""
    try:
        item.session._setupstate.teardown_exact(None)
    except Exception as error:
        item.warn(pytest.PytestWarning(f"xdist: teardown failed before {item.nodeid} ran again: {error!r}"))
