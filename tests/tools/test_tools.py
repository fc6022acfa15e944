"""The tools that judge outcomes must see a difference when there is one."""

import json
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import gen_suites  # noqa: E402  (from tools/)
import outcomes  # noqa: E402
import picture  # noqa: E402


def log(tmp_path, *reports):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(report) + "\n" for report in reports))
    return outcomes.read(path)


def report(nodeid, when, outcome, **more):
    return {"$report_type": "TestReport", "nodeid": nodeid, "when": when, "outcome": outcome, **more}


def test_the_worst_phase_decides(tmp_path):
    phases = [report("a", "setup", "passed"), report("a", "call", "passed"), report("a", "teardown", "failed")]
    assert log(tmp_path, *phases) == Counter({("a", "error"): 1})
    assert log(tmp_path, *phases[:2]) == Counter({("a", "passed"): 1})
    assert log(tmp_path, report("a", "call", "skipped", wasxfail="")) == Counter({("a", "xfailed"): 1})


def test_a_node_id_may_run_twice(tmp_path):
    once = [report("a", "setup", "passed"), report("a", "call", "passed"), report("a", "teardown", "passed")]
    assert log(tmp_path, *once, *once) == Counter({("a", "passed"): 2})


def test_differences_are_seen_on_both_sides():
    expected = Counter({("a", "passed"): 1, ("b", "passed"): 2, ("c", "passed"): 1})
    actual = Counter({("a", "failed"): 1, ("b", "passed"): 1, ("c", "failed"): 1})
    assert outcomes.differences(expected, actual, ignore={"c"}) == [
        "missing: a passed",
        "missing: b passed",
        "extra: a failed",
    ]
    assert outcomes.unsettled(expected, actual) == {"a", "b", "c"}
    assert outcomes.differences(expected, expected, ignore=set()) == []


def test_suites_are_the_same_every_time():
    for make in gen_suites.SUITES.values():
        assert make() == make()
        for text in make().values():
            compile(text, "suite", "exec")


def test_picture_keeps_text_and_color():
    svg = picture.draw("title", "\x1b[31m<red>\x1b[0m plain\n", 80)
    assert "&lt;red&gt;" in svg
    assert picture.COLORS[31] in svg
    assert "\x1b" not in svg
