"""How many processors there are, and the options that concern output."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from harness import Runner
from xdist_pytest import memory, options

Suite = Callable[..., Path]
Start = Callable[..., Runner]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this look like a machine with so many processors."""
    for name in ("PYTEST_XDIST_AUTO_NUM_WORKERS", "PYTHON_CPU_COUNT", "TRAVIS"):
        monkeypatch.delenv(name, raising=False)

    def make(affinity: int, quota: Any = None, xoptions: Any = None, memory_mib: Any = None) -> None:
        memory_kib = None if memory_mib is None else memory_mib << 10
        monkeypatch.setattr(memory, "available_kib", lambda: memory_kib)
        monkeypatch.setitem(sys.modules, "psutil", None)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(affinity)), raising=False)
        monkeypatch.setattr(os, "process_cpu_count", lambda: affinity, raising=False)
        monkeypatch.setattr(sys, "_xoptions", xoptions or {})
        monkeypatch.setattr(options, "cgroup_processors", lambda: quota)

    return make


@pytest.mark.parametrize(("affinity", "quota", "expected"), [(8, None, 8), (8, 3, 3), (2, 3, 2)])
def test_auto_is_what_the_process_may_use(
    machine: Callable[..., None], affinity: int, quota: Any, expected: int
) -> None:
    machine(affinity, quota)
    assert options.count_processors(logical=False) == expected
    assert options.count_processors(logical=True) == expected


@pytest.mark.parametrize(
    ("memory_mib", "expected"), [(None, 8), (100_000, 8), (2048, 8), (2047, 7), (512, 2), (511, 1), (0, 1)]
)
def test_auto_is_no_more_than_there_is_memory_for(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, memory_mib: Any, expected: int
) -> None:
    machine(8, memory_mib=memory_mib)
    assert options.count_processors(logical=False) == options.count_processors(logical=True) == expected
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "20")
    assert options.count_processors(logical=False) == 20


@pytest.mark.parametrize(
    ("environment", "xoptions", "expected"),
    [
        ({"PYTEST_XDIST_AUTO_NUM_WORKERS": "20"}, {}, 20),
        ({"PYTHON_CPU_COUNT": "5"}, {}, 5),
        ({"PYTHON_CPU_COUNT": "5"}, {"cpu_count": "6"}, 6),
        ({"PYTHON_CPU_COUNT": "5"}, {"cpu_count": "default"}, 8),
        ({"PYTHON_CPU_COUNT": "junk"}, {}, 8),
        ({"PYTEST_XDIST_AUTO_NUM_WORKERS": "7", "PYTHON_CPU_COUNT": "5"}, {}, 7),
    ],
)
def test_the_environment_may_say_what_auto_is(
    machine: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    xoptions: dict[str, str],
    expected: int,
) -> None:
    machine(8, xoptions=xoptions)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert options.count_processors(logical=False) == expected


def test_a_number_that_is_none_is_ignored_with_a_warning(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(8)
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "many")
    with pytest.warns(UserWarning, match="'many'"):
        assert options.count_processors(logical=False) == 8


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({"a/b/cpu.max": "150000 100000"}, "0::/a/b", 2),
        ({"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 1),
        ({"cpu.max": "400000 100000"}, "0::/../other", 4),
        ({"a/cpu.max": "max 100000"}, "0::/a", None),
        (
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/a",
            3,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/a", None),
        ({"cpu.max": "junk"}, "0::/", None),
        ({}, "0::/nowhere", None),
        ({}, "junk", None),
    ],
)
def test_the_quota_of_control_groups_is_a_limit(
    tmp_path: Path, files: dict[str, str], membership: str, expected: Any
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "membership").write_text(membership + "\n")
    assert options.cgroup_processors(str(tmp_path), str(tmp_path / "membership")) == expected


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], {"verbosity": 0, "color": False, "traceback_style": "auto", "capture": "fd", "show_capture": "all"}),
        (["-vv"], {"verbosity": 2}),
        (["-qq"], {"verbosity": -2}),
        (["--color=yes"], {"color": True}),
        (["-rA", "--disable-warnings"], {"report_chars": "PpsxXEf", "no_warnings": True}),
        (["-rfsw"], {"report_chars": "fsw"}),
        (["--tb=line"], {"traceback_style": "line"}),
        (["--durations=0", "--durations-min=1.5"], {"durations": 0, "durations_min_ms": 1500}),
        (["-s", "--show-capture=no"], {"capture": "no", "show_capture": "no"}),
        (["--no-header", "--no-summary"], {"no_header": True, "no_summary": True}),
        (["-oconsole_output_style=count"], {"progress_style": "count"}),
        (["-pno:terminal"], {"no_terminal": True}),
    ],
)
def test_the_options_of_output_are_told(suite: Suite, start: Start, args: list[str], expected: dict[str, Any]) -> None:
    shown = _shown(start(*args))
    for name, value in expected.items():
        if name == "report_chars":
            assert set(shown[name]) == set(value)
        else:
            assert shown[name] == value, name


@pytest.mark.parametrize(
    ("environment", "terminal", "expected"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"PY_COLORS": "0"}, True, False),
        ({}, False, False),
    ],
)
def test_colors_depend_on_terminal_and_environment(
    suite: Suite, start: Start, environment: dict[str, str], terminal: bool, expected: bool
) -> None:
    surroundings = {"NO_COLOR": None, "FORCE_COLOR": None, "PY_COLORS": None, **environment}
    assert _shown(start(environment=surroundings, wants={"terminal": terminal}))["color"] is expected


def test_the_cache_directory_is_absolute_or_absent(suite: Suite, start: Start) -> None:
    directory = suite()
    assert _shown(start())["cache_dir"] == str(directory / ".pytest_cache")
    assert _shown(start("-ocache_dir=y"))["cache_dir"] == str(directory / "y")
    assert "cache_dir" not in _shown(start("-pno:cacheprovider"))


def test_the_settings_of_junit_are_told(suite: Suite, start: Start) -> None:
    directory = suite(
        **{"pytest.ini": "[pytest]\njunit_suite_name = mine\njunit_family = legacy\njunit_logging = all\n"}
    )
    assert "junit" not in _shown(start())
    assert _shown(start("--junitxml=out/x.xml", "--junitprefix=pre"))["junit"] == {
        "path": str(directory / "out" / "x.xml"),
        "prefix": "pre",
        "suite_name": "mine",
        "family": "xunit1",
        "logging": "all",
        "log_passing": True,
        "duration_report": "total",
    }


def test_the_cache_is_read_and_not_written(suite: Suite, start: Start) -> None:
    directory = suite(test_a="def test_a(): assert 0\ndef test_b(): pass")
    failed = directory / ".pytest_cache" / "v" / "cache" / "lastfailed"
    failed.parent.mkdir(parents=True)
    failed.write_text('{"test_a.py::test_a": true}')
    before = failed.stat().st_mtime_ns
    runner = start("--lf")
    runner.run_all()
    assert runner.of_kind("collected")[0]["count"] == 1
    assert failed.stat().st_mtime_ns == before
    assert not (failed.parent / "nodeids").exists()


def test_what_to_fetch_is_told_as_it_was_given(suite: Suite, start: Start) -> None:
    suite(**{"pytest.ini": "[pytest]\naddopts = --fetch=a/*.xml\n"})
    runner = start("--fetch", ".coverage*", "--fetch-to=far")
    runner.drain()
    options = runner.wait("ready")["options"]
    runner.finish()
    assert (options["fetch"], options["fetch_to"]) == (["a/*.xml", ".coverage*"], "far")


def test_what_is_in_the_files_is_told_if_it_is_wanted(suite: Suite, start: Start) -> None:
    suite(test_a="def test_a(): pass")
    for wanted in (False, True):
        runner = start(wants={"files": wanted})
        runner.run_all()
        assert list(runner.of_kind("collected")[0].get("files", {})) == (["test_a.py"] if wanted else [])


def _shown(runner: Runner) -> dict[str, Any]:
    """The `DisplayOptions` that a runner tells; ends its session."""
    runner.drain()
    fields: dict[str, Any] = runner.wait("ready")["display"]
    runner.finish()
    return fields


def test_several_workers_of_one_specification_are_told_apart_by_numbers_behind_their_id() -> None:
    specs = ["2*popen//python=py//id=x", "popen//id=x", "1*popen//id=y", "2*popen//env:id=z"]
    assert options.expanded_specs(specs) == [
        "popen//python=py//id=x0",
        "popen//python=py//id=x1",
        "popen//id=x",
        "popen//id=y",
        "popen//env:id=z",
        "popen//env:id=z",
    ]
