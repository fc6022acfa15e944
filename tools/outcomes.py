"""What a run gave: each node id with its outcome, as read from a report log."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from xml.etree import ElementTree

# The worst phase decides; what is not here (a plugin's own outcome) ranks above all of these.
_RANK = {"passed": 0, "xpassed": 1, "skipped": 2, "xfailed": 3, "failed": 4, "error": 5}


def read(path: Path) -> Counter:
    """Counts (node id, outcome) pairs in a report log; a node id may occur more than once.

    The outcome is that of pytest's last line: `error` for a failure in setup or teardown, `xfailed` and `xpassed`
    told apart from `skipped` and `passed`. Reports of subtests count by themselves.
    """
    items: dict[str, list[list[str]]] = defaultdict(list)
    result: Counter = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        report = json.loads(line)
        kind = report.get("$report_type")
        if kind == "CollectReport":
            if report["outcome"] != "passed":
                result[report["nodeid"], f"collection {report['outcome']}"] += 1
        elif kind == "SubtestReport":
            result[report["nodeid"], f"subtest {_name(report)}"] += 1
        elif kind == "TestReport":
            runs = items[report["nodeid"]]
            # Setup opens a run. A crash report comes alone, or adds to the run that it cut short.
            if report["when"] == "setup" or not runs:
                runs.append([])
            runs[-1].append(_name(report))
    for node_id, runs in items.items():
        for outcomes in runs:
            result[node_id, max(outcomes, key=lambda outcome: _RANK.get(outcome, 9))] += 1
    return result


def _name(report: dict) -> str:
    outcome = report["outcome"]
    if "wasxfail" in report:
        return {"skipped": "xfailed", "passed": "xpassed"}.get(outcome, outcome)
    if outcome == "failed" and report["when"] in ("setup", "teardown"):
        return "error"
    return outcome


def summary(outcomes: Counter) -> str:
    """A line such as `12 failed, 340 passed`."""
    totals: Counter = Counter()
    for (_, outcome), count in outcomes.items():
        totals[outcome] += count
    return ", ".join(f"{totals[name]} {name}" for name in sorted(totals)) or "nothing"


def unsettled(first: Counter, second: Counter) -> set[str]:
    """Node ids whose outcome differs between two runs of the same."""
    return {node_id for node_id, _ in (first - second) + (second - first)}


def differences(expected: Counter, actual: Counter, ignore: set[str]) -> list[str]:
    """One line for every outcome that only one side has, `ignore`d node ids left out."""
    lines = []
    for sign, surplus in (("missing", expected - actual), ("extra", actual - expected)):
        for (node_id, outcome), count in sorted(surplus.items()):
            if node_id not in ignore:
                lines.append(f"{sign}: {node_id} {outcome}" + (f" ({count} times)" if count > 1 else ""))
    return lines


def read_junit(path: Path) -> Counter:
    """Counts (class and name, outcome) pairs in a JUnit XML file."""
    result: Counter = Counter()
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        name = f"{case.get('classname')}::{case.get('name')}"
        result.update((name, kind) for kind in kinds or ["passed"])
    return result
