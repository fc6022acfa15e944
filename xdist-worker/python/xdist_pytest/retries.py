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
    #: How that came about: `passed after 1 retry (gw0: AssertionError: assert 0)`.
    story: str


class Attempts:
    """What has failed and was to run again, and what of it did not fail in the end."""

    def __init__(self) -> None:
        self.flaky: list[Flaky] = []
        #: Of every attempt the first report that failed, and why it did.
        self._failed: dict[Key, list[tuple[Any, str]]] = {}

    def failed(self, key: Key, reports: list[Any], retry: int, cause: Optional[str]) -> None:
        """Turns the reports of an attempt that another one follows into such that are no failures.

        `cause` is how its test process ended, if that is how it failed.
        """
        failures = [report for report in reports if report.outcome == "failed"]
        for report in failures:
            report.outcome = RERUN
            report.rerun = retry - 1
        first = (failures or reports)[0]
        self._failed.setdefault(key, []).append((first, cause or _reason(first)))

    def is_last_failure(self, key: Key, retries: int) -> bool:
        """Whether a result that comes after so many failures is the last of them, since the item could not run again."""
        return len(self._failed.get(key, ())) > retries

    def finished(self, key: Key, reports: list[Any], retries: int) -> bool:
        """Takes in an item's result; answers whether the item is flaky."""
        failed = self._failed.pop(key, [])[:retries]
        outcomes = {report.outcome for report in reports}
        if not failed or "failed" in outcomes:
            return False
        first, reason = failed[0]
        outcome = "skipped" if "skipped" in outcomes else "passed"
        times = "1 retry" if retries == 1 else f"{retries} retries"
        worker = getattr(first, "worker_id", None)
        self.flaky.append(Flaky(first, f"{outcome} after {times} ({f'{worker}: ' if worker else ''}{reason})"))
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
            word = reporter._tw.markup("FLAKY", yellow=True)
            reporter.write_line(f"{word} {each.first.nodeid} - {each.story}")


def blame(reporter: Any, count: int) -> None:
    """Says that the run has failed because of so many flaky tests."""
    reporter.write_sep("!", f"{count} flaky {'test' if count == 1 else 'tests'} (--flaky=fail)", red=True)


def _title(reporter: Any, report: Any) -> str:
    title: str = reporter._getfailureheadline(report)
    return f"ERROR at {report.when} of {title}" if report.when in ("setup", "teardown") else title


def _reason(report: Any) -> str:
    """Why it failed, in one line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash is not None else str(report.longrepr)
    return (message.strip().splitlines() or ["it failed"])[0]
