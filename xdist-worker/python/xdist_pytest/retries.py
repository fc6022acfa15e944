"""Tests that failed and run again, as pytest on the coordinator's side is told of them: as pytest-rerunfailures does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Optional

if TYPE_CHECKING:
    import pytest

RERUN = "rerun"

#: Whose the item is in mode `each`, and its index.
Key = tuple[Optional[int], int]


class Flaky(NamedTuple):
    """A test that failed first, and did not in the end."""

    #: The first report that failed.
    first: Any
    retries: int
    outcome: str


class Attempts:
    """What has failed and was to run again, and what of it did not fail in the end."""

    def __init__(self) -> None:
        self.flaky: list[Flaky] = []
        self._failed: dict[Key, list[Any]] = {}

    def failed(self, key: Key, reports: list[Any], retry: int) -> None:
        """Turns the reports of an attempt that another one follows into such that are no failures."""
        failures = [report for report in reports if report.outcome == "failed"]
        for report in failures:
            report.outcome = RERUN
            report.rerun = retry - 1
        # Of every attempt one, whatever its reports are.
        self._failed.setdefault(key, []).append(failures[0] if failures else None)

    def is_last_failure(self, key: Key, retries: int) -> bool:
        """Whether a result that comes after so many failures is the last of them, since the item could not run again."""
        return len(self._failed.get(key, ())) > retries

    def finished(self, key: Key, reports: list[Any], retries: int) -> bool:
        """Takes in an item's result; answers whether the item is flaky."""
        failed = [report for report in self._failed.pop(key, [])[:retries] if report is not None]
        outcomes = {report.outcome for report in reports}
        if not failed or "failed" in outcomes:
            return False
        self.flaky.append(Flaky(failed[0], retries, "skipped" if "skipped" in outcomes else "passed"))
        return True


def status(report: Any) -> Optional[tuple[str, str, tuple[str, dict[str, bool]]]]:
    """What the terminal is to show for a report, if it is of an attempt that another one follows."""
    return (RERUN, "R", ("RERUN", {"yellow": True})) if report.outcome == RERUN else None


def summary(reporter: Any, flaky: list[Flaky]) -> None:
    """Shows how flaky tests failed first, as failures are shown."""
    if not flaky:
        return
    config: pytest.Config = reporter.config
    if config.option.tbstyle != "no":
        reporter.write_sep("=", "FLAKY")
        for each in flaky:
            reporter.write_sep("_", _title(reporter, each.first), yellow=True, bold=True)
            reporter._outrep_summary(each.first)
    if "f" in reporter.reportchars:
        for each in flaky:
            reporter.write("FLAKY", yellow=True)
            reporter.write_line(f" {each.first.nodeid} - {_reason(each)}")


def _title(reporter: Any, report: Any) -> str:
    title: str = reporter._getfailureheadline(report)
    return f"ERROR at {report.when} of {title}" if report.when in ("setup", "teardown") else title


def _reason(flaky: Flaky) -> str:
    """`passed after 1 retry (gw0: AssertionError: assert 0)`."""
    report = flaky.first
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash is not None else str(report.longrepr)
    retries = "1 retry" if flaky.retries == 1 else f"{flaky.retries} retries"
    worker = getattr(report, "worker_id", "")
    lines = message.strip().splitlines() or ["it failed"]
    return f"{flaky.outcome} after {retries} ({f'{worker}: ' if worker else ''}{lines[0]})"
