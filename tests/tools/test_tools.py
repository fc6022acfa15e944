"""The tools that judge outcomes must see a difference when there is one."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import contenders  # noqa: E402  (from tools/)
import costs  # noqa: E402
import edges  # noqa: E402
import gen_suites  # noqa: E402
import outcomes  # noqa: E402
import picture  # noqa: E402
import suites  # noqa: E402


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


def test_outcomes_are_read_from_junit_files(tmp_path):
    path = tmp_path / "junit.xml"
    path.write_text(
        "<testsuites><testsuite><testcase classname='a.TestA' name='test_1'><properties /></testcase>"
        "<testcase classname='a' name='test_2'><failure /><error /></testcase>"
        "<testcase classname='a' name='test_3'><skipped /></testcase></testsuite></testsuites>"
    )
    assert outcomes.read_junit(path) == Counter(
        {
            ("a.TestA::test_1", "passed"): 1,
            ("a::test_2", "failure"): 1,
            ("a::test_2", "error"): 1,
            ("a::test_3", "skipped"): 1,
        }
    )


def test_a_contender_is_told_where_to_record():
    plain = contenders.plain(Path("python"))
    assert plain.recording(Path("log"))[-4:] == ("-p", "recorder", "--record", "log")
    assert contenders.plain_junit(Path("python")).recording(Path("log"))[-1] == "--junitxml=log"


def test_in_a_mode_whoever_is_measured_is_compared_with_the_same_mode():
    suite = suites.Prepared("name", Path("source"), Path("python"), (".",), ())
    modes = contenders.all_of(suite, Path("xdist"), 2, ("loadgroup", "loadscope"))
    named = {each.name: each for each in modes}
    for mode in ("loadgroup", "loadscope"):
        theirs, ours = named[f"pytest-xdist {mode}"], named[f"xdist run --dist {mode}"]
        assert theirs.command[-2:] == ours.command[-2:] == ("--dist", mode)
        assert f"pytest-xdist {ours.beside}" == theirs.name


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are only adopted on Linux")
def test_the_cost_of_a_process_whose_parent_has_ended_is_counted():
    # In a process of its own, since this one is not to adopt orphans. The run's first process ends at once.
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    leave = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {burn!r}])"
    measure = (
        "import os, sys, pathlib, costs\ncosts.adopt_orphans()\n"
        f"print(costs.run((sys.executable, '-c', {leave!r}), pathlib.Path('.'), dict(os.environ)).cpu)"
    )
    done = subprocess.run(
        [sys.executable, "-c", measure], cwd=ROOT / "tools", capture_output=True, text=True, check=True
    )
    assert float(done.stdout) >= 0.3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_every_process_counts():
    hold = "import os; os.fork(); block = os.urandom(64 << 20); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert (process.stdout.readline(), process.stdout.readline()) == ("\n", "\n")
        held = costs.memory(os.getpid())
        process.communicate("\n\n")
    assert held >= 128


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


def test_stamps_tell_when_tests_start_and_end(tmp_path, monkeypatch):
    (tmp_path / "test_it.py").write_text("def test_a():\n    pass\n\n\ndef test_b():\n    assert False\n")
    monkeypatch.setenv("BENCH_STAMPS", str(tmp_path / "stamps"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tools"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "stamps", "-p", "no:cacheprovider", str(tmp_path)]
    assert subprocess.run(command, cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == 1

    stamps = edges.read(tmp_path / "stamps")
    assert [(stamp.event, stamp.test) for stamp in stamps] == [
        ("start", "test_it.py::test_a"),
        ("end", "test_it.py::test_a"),
        ("start", "test_it.py::test_b"),
        ("end", "test_it.py::test_b"),
    ]
    run = edges.Run(started=0.0, ended=0.0, interrupted=0.0, stamps=stamps)
    assert run.first_start() < run.of("start", "test_b").at < run.last_end()
