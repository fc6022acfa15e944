"""Reports and warnings as the pytest host gets them: what plugins put in comes out again."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from xdist_pytest import msgpack, whole

ITEM = {"id": "dir/test_a.py::TestB::test_c[1]", "file": "dir/test_a.py", "line": 4, "keywords": ["slow"]}


class Opaque:
    """Has no counterpart anywhere else."""

    def __repr__(self) -> str:
        return "<opaque>"


def made_report(**attributes: Any) -> Any:
    report: Any = pytest.TestReport(ITEM["id"], ("dir/test_a.py", 4, "TestB.test_c[1]"), {}, "passed", None, "call")  # type: ignore[arg-type]
    report.__dict__.update(attributes)
    return report


def round_trip(config: pytest.Config, *reports: Any) -> list[Any]:
    packed = whole.pack_reports(config, reports)
    assert packed
    return whole.Reviver(config).reports(ITEM, {"full": packed, "us": [0, 0, 0]})


@pytest.mark.parametrize(
    "value",
    [
        None, True, 17, -1, 2**63, -(2**63), 2**64, 10**40, -(10**40), 1.5, float("inf"), "text", "", "\udc80 half", b"bytes",
        b"\xff\x00", (), (1, 2), ("a", ("b",)), [1, [2]], {"key": {"nested": (1,)}}, {1: "one", (2, 3): "pair"}, {1, 2},
        frozenset({"a"}), 1 + 2j, {None: False},
    ],
    ids=repr,
)  # fmt: skip
def test_values_come_out_as_they_went_in(pytestconfig: pytest.Config, value: Any) -> None:
    (report,) = round_trip(pytestconfig, made_report(user_properties=[("key", value)], added=value))
    (pair,) = report.user_properties
    assert tuple(pair) == ("key", value) and type(pair[1]) is type(value)
    assert report.added == value and type(report.added) is type(value)


def test_what_cannot_be_sent_becomes_its_text(pytestconfig: pytest.Config) -> None:
    attributes = {"user_properties": [("key", Opaque())], "added": [Opaque()], "nested": {"a": (Opaque(), 1)}}
    (report,) = round_trip(pytestconfig, made_report(**attributes))
    assert [tuple(pair) for pair in report.user_properties] == [("key", "<opaque>")]
    assert report.added == ["<opaque>"]
    assert report.nested == {"a": ("<opaque>", 1)}


def test_a_failure_keeps_its_traceback(pytestconfig: pytest.Config) -> None:
    with pytest.raises(ValueError) as raised:
        raise ValueError("as ever")
    longrepr = raised.getrepr(style="long")
    (report,) = round_trip(pytestconfig, made_report(outcome="failed", longrepr=longrepr))
    assert report.failed and str(report.longrepr) == str(longrepr)
    assert report.longrepr.reprcrash.message == "ValueError: as ever"


def test_a_skip_keeps_its_place(pytestconfig: pytest.Config) -> None:
    place = ("/suite/test_a.py", 5, "Skipped: not today")
    (report,) = round_trip(pytestconfig, made_report(outcome="skipped", longrepr=place))
    assert tuple(report.longrepr) == place


def test_all_reports_of_an_item_come_in_order(pytestconfig: pytest.Config) -> None:
    reports = [made_report(when=when, outcome=outcome)
               for when, outcome in (("setup", "passed"), ("call", "rerun"), ("setup", "passed"), ("call", "passed"))]  # fmt: skip
    revived = round_trip(pytestconfig, *reports)
    assert [(report.when, report.outcome) for report in revived] == [(each.when, each.outcome) for each in reports]


def test_a_report_that_cannot_be_taken_apart_is_not_sent() -> None:
    def fail(**_: Any) -> None:
        raise TypeError("no")

    config: Any = SimpleNamespace(hook=SimpleNamespace(pytest_report_to_serializable=fail))
    assert whole.pack_reports(config, [made_report()]) == b""
    assert whole.pack_collect_report(config, made_report()) == b""


def test_a_report_that_cannot_be_put_together_is_told_in_short(pytestconfig: pytest.Config) -> None:
    told = []
    config: Any = SimpleNamespace(
        hook=pytestconfig.hook, issue_config_time_warning=lambda warning, level: told.append(str(warning))
    )
    report = {"full": msgpack.pack_value([{"$report_type": "TestReport", "nodeid": 1}]), "us": [1, 2, 3]}
    revived = whole.Reviver(config).reports(ITEM, report)
    assert [each.when for each in revived] == ["setup", "call", "teardown"]
    assert len(told) == 1 and ITEM["id"] in told[0]


def test_a_passed_item_needs_no_more_than_its_durations(pytestconfig: pytest.Config) -> None:
    revived = whole.Reviver(pytestconfig).reports(ITEM, {"start": 5_000_000, "us": [1000, 2_000_000, 0]})
    assert [(each.when, each.outcome, each.duration) for each in revived] == [
        ("setup", "passed", 0.001), ("call", "passed", 2.0), ("teardown", "passed", 0.0),
    ]  # fmt: skip
    call: Any = revived[1]
    assert call.nodeid == ITEM["id"] and call.location == ("dir/test_a.py", 4, "TestB.test_c[1]")
    assert call.keywords == {"slow": 1}
    assert (call.start, call.stop) == (5.001, 7.001)


def test_reports_of_a_worker_that_is_not_ours(pytestconfig: pytest.Config) -> None:
    phases = [
        {"phase": "setup", "class": "pass", "us": 10},
        {"phase": "call", "class": "fail", "us": 20, "failure": {"text": "it broke"},
         "sections": [{"title": "Captured stdout call", "text": "out"}], "properties": [["key", 5]]},
        {"phase": "teardown", "class": "skip", "skip": {"path": "a.py", "line": 3, "reason": "why"}, "xfail": "known"},
    ]  # fmt: skip
    setup, call, teardown = whole.Reviver(pytestconfig).reports(ITEM, {"us": [], "phases": phases})
    assert setup.passed
    assert call.failed and str(call.longrepr) == "it broke" and call.capstdout == "out"
    assert call.user_properties == [("key", 5)]
    assert teardown.skipped and teardown.longrepr == ("a.py", 3, "why") and teardown.wasxfail == "known"


def test_plain_reports_travel_small() -> None:
    assert whole.is_plain(made_report())
    assert not whole.is_plain(made_report(user_properties=[("key", 1)]))
    assert not whole.is_plain(made_report(sections=[("Captured stdout call", "out")]))
    assert not whole.is_plain(made_report(added_by_a_plugin=1))


class Ours(UserWarning):
    """Of two values."""

    def __init__(self, code: int, detail: Any) -> None:
        super().__init__(code, detail)
        self.code = code


def revived_warning(message: Warning, category: Any = None) -> warnings.WarningMessage:
    recorded = warnings.WarningMessage(message, category or type(message), "file.py", 12, line="the line")
    return whole.revive_warning({"full": whole.pack_warning(recorded), "category": "x", "when": "runtest"})


def test_a_warning_comes_out_as_it_went_in() -> None:
    revived = revived_warning(DeprecationWarning("old", 5))
    assert revived.category is DeprecationWarning and type(revived.message) is DeprecationWarning
    assert revived.message.args == ("old", 5)
    assert (revived.filename, revived.lineno, revived.line) == ("file.py", 12, "the line")
    own: Any = revived_warning(Ours(5, (1, 2))).message
    assert type(own) is Ours and own.code == 5 and own.args == (5, (1, 2))


def test_a_warning_of_a_class_that_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = type("Gone", (UserWarning,), {"__module__": "a_module_of_the_suite"})
    revived = revived_warning(gone("the text"))
    assert revived.category.__name__ == "Gone" and revived.category.__module__ == "a_module_of_the_suite"
    assert issubclass(revived.category, Warning) and str(revived.message) == "the text"

    # The module is there, but its import fails, or has another thing by that name.
    broken = ModuleType("a_module_of_the_suite")
    broken.Gone = 17  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_module_of_the_suite", broken)
    assert revived_warning(gone("the text")).category.__name__ == "Gone"


def test_a_warning_whose_values_cannot_be_sent() -> None:
    assert revived_warning(UserWarning(Opaque())).message.args == ("<opaque>",)  # type: ignore[union-attr]

    class Strict(UserWarning):
        def __init__(self) -> None:
            super().__init__("told in full")

    Strict.__qualname__ = "Strict"
    sys.modules[__name__].Strict = Strict  # type: ignore[attr-defined]
    # It takes no arguments, but has one.
    revived = revived_warning(Strict())
    assert revived.category is Strict and str(revived.message) == "told in full"


def test_a_warning_of_a_worker_that_is_not_ours() -> None:
    revived = whole.revive_warning({"category": "UserWarning", "message": "text", "path": "a.py", "line": 3})
    assert revived.category is UserWarning and str(revived.message) == "text" and revived.lineno == 3
