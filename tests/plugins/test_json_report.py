"""pytest-json-report: one file of all workers' tests."""

import json
import re

import pytest
from doors import REFERENCE
from suites_for_plugins import BROKEN, CRASH, OUTCOMES

METADATA = """
    import warnings

    def test_with_metadata(json_metadata):
        json_metadata["key"] = {"nested": [1, 2, 3]}

    def test_with_property(record_property):
        record_property("key", 17)

    def test_with_warnings():
        warnings.warn("an ordinary one")
        # Not a class of the suite: that ends the run under pytest-xdist.
        warnings.warn(DeprecationWarning("another"))
"""
HOOKS = """
    def pytest_json_runtest_metadata(item, call):
        return {"phase": call.when, "name": item.name}

    def pytest_json_modifyreport(json_report):
        json_report["added"] = "by a hook"
"""


@pytest.fixture
def reported(make_suite):
    suite = make_suite()
    suite.file("test_outcomes.py", OUTCOMES)
    suite.file("test_metadata.py", METADATA)
    return suite


def report(run):
    """The report without durations, workers, and what depends on the order."""
    text = run.read("report.json").replace(str(run.directory), "ROOT")
    data = json.loads(re.sub(r"\bgw\d+\b", "gwN", text))
    for name in ("created", "duration"):
        del data[name]
    # pytest-xdist is none of them where it is not used.
    data["environment"].pop("Plugins", None)
    data.get("warnings", []).sort(key=str)
    for test in data.get("tests", ()):
        for phase in ("setup", "call", "teardown", "???"):
            test.get(phase, {}).pop("duration", None)
            for record in test.get(phase, {}).get("log", ()):
                for name in ("created", "msecs", "relativeCreated", "process", "processName", "thread", "taskName"):
                    record.pop(name, None)
    data.get("tests", []).sort(key=lambda test: test["nodeid"])
    data.get("collectors", []).sort(key=str)
    return data


ARGS = ("--json-report", "--json-report-file=report.json")


def test_report(reported):
    runs = reported.compare(*ARGS, what=report)
    data = report(runs[REFERENCE])
    assert data["summary"]["total"] == len(data["tests"]) == 20 and len(data["warnings"]) == 2
    assert any(test.get("metadata") == {"key": {"nested": [1, 2, 3]}} for test in data["tests"])


def test_summary_only(reported):
    reported.compare(*ARGS, "--json-report-summary", what=report)


def test_omitted_parts(reported):
    reported.compare(*ARGS, "--json-report-omit", "traceback", "streams", "log", "keywords", what=report)


def test_hooks(reported):
    reported.file("conftest.py", HOOKS)
    runs = reported.compare(*ARGS, what=report)
    assert report(runs[REFERENCE])["added"] == "by a hook"


def test_broken_module(reported):
    reported.file("test_broken.py", BROKEN)
    reported.compare(*ARGS, what=report)


def test_crash(reported):
    reported.file("test_crash.py", CRASH)
    reported.compare(*ARGS, "--json-report-omit", "traceback", what=without_crash_text)


def without_crash_text(run):
    """The report without what is said of the crash, which is more than pytest-xdist's."""
    data = report(run)
    for test in data["tests"]:
        if "???" in test:
            test["???"]["longrepr"] = test["???"]["longrepr"].partition("\n")[0]
    return data
