"""From the configuration to `ready`: options, identity, surroundings, and errors on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from harness import HALF, PYTHON, Runner

Suite = Callable[..., Path]
Start = Callable[..., Runner]


def ready(runner: Runner) -> dict[str, Any]:
    """What the runner tells of itself; ends the session."""
    runner.drain()
    fields = runner.wait("ready")
    runner.finish()
    return fields


def usage_error(runner: Runner) -> tuple[str, int]:
    """The text and exit code of the only thing that the runner has to say."""
    runner.collect()
    runner.drain()
    runner.finish()
    assert runner.kinds()[-1] == "usage_error", runner.events
    fields = runner.of_kind("usage_error")[0]
    assert runner.process.returncode == fields["exit_code"]
    # Some combinations of pluggy and pytest have a warning of their own to tell there.
    assert b"ERROR" not in runner.error_output
    return fields["text"], fields["exit_code"]


def test_the_runner_tells_of_itself(suite: Suite, start: Start) -> None:
    directory = suite(conftest="def pytest_report_header(): return ['one', 'two']")
    fields = ready(start())
    assert fields["pid"] > 0
    assert fields["platform"] == sys.platform
    assert fields["rootdir"] == fields["cwd"] == str(directory)
    version = ".".join(map(str, fields["python"]))
    assert fields["python_text"].startswith(version)
    assert fields["header"][0].startswith(f"platform {sys.platform} -- Python {version}")
    assert {"one", "two", f"rootdir: {directory}"} < {line.split(", ")[0] for line in fields["header"]}


@pytest.mark.parametrize("option", ["-q", "--no-header", "-pno:terminal"])
def test_there_may_be_no_header(suite: Suite, start: Start, option: str) -> None:
    assert ready(start(option))["header"] == []


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], {"tx": [], "ramp_ms": 0}),
        (["-n3"], {"workers": 3}),
        (["-n", "3", "--maxprocesses=2"], {"workers": 3, "max_workers": 2}),
        (["--dist=loadscope"], {"dist": "loadscope"}),
        (["-d"], {"dist": "load"}),
        (["-n2", "--dist=no"], {"workers": 2, "dist": "no", "plain": "--dist no"}),
        (["--tx=2*popen", "--tx", "ssh=host//python=python3"], {"tx": ["2*popen", "ssh=host//python=python3"]}),
        (["--maxschedchunk=5"], {"max_chunk": 5}),
        (["--no-loadscope-reorder"], {"reorder_scopes": False}),
        (["--loadscope-reorder"], {"reorder_scopes": True}),
        (["--max-worker-restart=0"], {"max_restarts": 0}),
        (["--testrunuid=abc"], {"run": "abc"}),
        (["--ramp=10"], {"ramp_ms": 10_000}),
        (["--ramp=0.5s"], {"ramp_ms": 500}),
        (["--ramp=5m"], {"ramp_ms": 300_000}),
        (["--ramp=1h"], {"ramp_ms": 3_600_000}),
        (["-x"], {"max_fail": 1}),
        (["--maxfail=3"], {"max_fail": 3}),
        (["--durations-from=/a/../b"], {"durations_from": "/b"}),
    ],
)
def test_the_options_of_the_run_are_told(suite: Suite, start: Start, args: list[str], expected: dict[str, Any]) -> None:
    assert ready(start(*args))["options"] == {"tx": [], "ramp_ms": 0, "slow_after_ms": 60_000, **expected}


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--collect-only"], "--collect-only"),
        (["--co", "-n2"], "--collect-only"),
        (["--fixtures"], "--fixtures"),
        (["--fixtures-per-test"], "--fixtures-per-test"),
        (["--markers"], "--markers"),
        (["--help"], "--help"),
        (["-VV"], "--version"),
        (["--version"], "--version"),
        (["--cache-show"], "--cache-show"),
        (["--setup-plan"], "--setup-plan"),
        (["-n0"], "-n 0"),
        (["-n0", "--dist=load", "--tx=popen"], "-n 0"),
        (["--dist=no"], "--dist no"),
        (["-n2", "--dist=no"], "--dist no"),
        (["--pdb", "-nauto"], "--pdb"),
        (["--pdb"], "--pdb"),
        (["--trace", "-nlogical"], "--trace"),
        (["-pno:xdist"], "-p no:xdist"),
    ],
)
def test_what_is_not_distributed_is_left_to_plain_pytest(
    suite: Suite, start: Start, args: list[str], reason: str
) -> None:
    suite(conftest="def pytest_configure(): raise RuntimeError('not to be called')")
    runner = start(*args)
    assert ready(runner)["options"]["plain"] == reason
    assert runner.kinds() == ["ready"]
    assert runner.output == b"" and runner.error_output == b""


@pytest.mark.parametrize("args", [[], ["-n2"], ["--cache-clear"], ["--dist=load"], ["-d"]])
def test_the_rest_is_distributed(suite: Suite, start: Start, args: list[str]) -> None:
    assert "plain" not in ready(start(*args))["options"]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["-n", "x"], "argument -n/--numprocesses: expected a number of workers, 'auto' or 'logical', not 'x'"),
        (["-n", "-1"], "argument -n/--numprocesses: expected a number of workers"),
        (["--dist=unknown"], "argument --dist: invalid choice: 'unknown'"),
        (["--ramp=inf"], "argument --ramp: expected a duration"),
        (["--ramp=nan"], "argument --ramp: expected a duration"),
        (["--ramp=-1"], "argument --ramp: expected a duration"),
        (["--ramp=1d"], "argument --ramp: expected a duration"),
        (["--maxschedchunk=0"], "argument --maxschedchunk: expected a number greater than 0"),
        (["--max-worker-restart=x"], "argument --max-worker-restart: expected a number that is not negative"),
        (["--nonexistent"], "unrecognized arguments: --nonexistent"),
        (["--pdb", "-n2"], "--pdb is incompatible with distributing tests"),
        (["--pdb", "-d", "--tx=popen"], "--pdb is incompatible with distributing tests"),
        (["--looponfail"], "--looponfail is not supported"),
        (["nonexistent.py"], "ERROR: file or directory not found: nonexistent.py"),
    ],
)
def test_wrong_arguments_are_told_as_pytest_does(suite: Suite, start: Start, args: list[str], text: str) -> None:
    suite(test_a="def test_a(): pass")
    told, code = usage_error(start(*args))
    assert text in told
    assert told.startswith("ERROR: ")
    assert "\x1b" not in told
    assert code == 4


def test_usage_is_shown_under_the_name_of_the_command(suite: Suite, start: Start) -> None:
    told, _ = usage_error(start("--nonexistent", environment={"FORCE_COLOR": "1"}))
    assert told.startswith("ERROR: usage: pytest [options]")
    assert "\npytest: error: unrecognized arguments" in told


def test_a_broken_conftest_is_told_as_pytest_does(suite: Suite, start: Start) -> None:
    directory = suite(conftest="import nonexistent_module")
    told, code = usage_error(start())
    assert told.startswith(f"ImportError while loading conftest '{directory / 'conftest.py'}'.")
    assert told.endswith("E   ModuleNotFoundError: No module named 'nonexistent_module'")
    assert code == 4


@pytest.mark.parametrize("hook", ["pytest_addoption", "pytest_configure", "pytest_sessionstart"])
def test_exit_in_a_hook_is_told(suite: Suite, start: Start, hook: str) -> None:
    suite(conftest=f"import pytest\ndef {hook}(): pytest.exit('no display', returncode=5)")
    runner = start()
    runner.finish()
    (stop,) = runner.of_kind("stop_requested")
    assert (stop["kind"], stop["reason"], stop["exit_code"]) == ("exit", "no display", 5)
    assert runner.process.returncode == 5


def test_a_plugin_that_breaks_on_parsing_is_told(suite: Suite, start: Start) -> None:
    suite(conftest="def pytest_addoption(): raise RuntimeError('broken')")
    runner = start()
    runner.finish()
    assert "RuntimeError: broken" in runner.of_kind("internal_error")[0]["text"]


def test_an_interpreter_without_pytest_is_told(start: Start) -> None:
    told, code = usage_error(start(python=[PYTHON, "-S"]))
    assert told.startswith("ERROR: ") and "-m pip install pytest" in told and "has no pytest" in told
    assert code == 4


@pytest.fixture
def installed_xdist(tmp_path: Path) -> str:
    """A directory for PYTHONPATH with a distribution that looks like pytest-xdist."""
    site = tmp_path / "site"
    (site / "xdist").mkdir(parents=True)
    (site / "xdist" / "__init__.py").write_text("")
    for name in ("plugin", "looponfail"):
        (site / "xdist" / f"{name}.py").write_text("raise RuntimeError('the real plugin must not be loaded')")
    information = site / "pytest_xdist-3.8.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-xdist\nVersion: 3.8.0\n")
    (information / "entry_points.txt").write_text(
        "[pytest11]\nxdist = xdist.plugin\nxdist.looponfail = xdist.looponfail\n"
    )
    (information / "RECORD").write_text("")
    return str(site)


#: Lets pytest load what is installed.
AUTOLOAD = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": None}


@pytest.mark.parametrize(
    ("args", "environment"),
    [
        ([], AUTOLOAD),
        (["-p", "xdist"], AUTOLOAD),
        (["-p", "xdist.plugin"], AUTOLOAD),
        (["-pno:xdist.looponfail"], AUTOLOAD),
        (["-p", "xdist"], {}),
        ([], {"PYTEST_PLUGINS": "xdist,xdist.plugin"}),
    ],
)
def test_an_installed_pytest_xdist_is_not_loaded(
    suite: Suite, start: Start, installed_xdist: str, args: list[str], environment: dict[str, Any]
) -> None:
    suite(test_a="def test_a(worker_id): assert worker_id == 'gw3'")
    runner = start(*args, environment={"PYTHONPATH": installed_xdist, **environment})
    (report,) = runner.run_all()
    assert "phases" not in report, report


def test_options_may_come_from_settings_and_environment(suite: Suite, start: Start) -> None:
    suite(**{"pytest.ini": "[pytest]\naddopts = -n 4 --dist=loadfile\nrsyncdirs = a b\n"})
    options = ready(start(environment={"PYTEST_ADDOPTS": "--maxprocesses=3"}))["options"]
    assert (options["workers"], options["dist"], options["max_workers"]) == (4, "loadfile", 3)


def test_conftests_with_hooks_of_pytest_xdist_are_understood(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
            import pytest
            def pytest_xdist_setupnodes(config, specs): assert False
            def pytest_xdist_newgateway(gateway): assert False
            def pytest_xdist_rsyncstart(source, gateways): assert False
            def pytest_xdist_rsyncfinish(source, gateways): assert False
            def pytest_xdist_getremotemodule(): assert False
            def pytest_configure_node(node): assert False
            def pytest_testnodeready(node): assert False
            def pytest_testnodedown(node, error): assert False
            def pytest_xdist_node_collection_finished(node, ids): assert False
            def pytest_xdist_make_scheduler(config, log): assert False
            def pytest_handlecrashitem(crashitem, report, sched): assert False
        """,
        test_a="def test_a(): pass",
    )
    (report,) = start().run_all()
    assert "phases" not in report


def test_a_worker_looks_to_plugins_as_in_pytest_xdist(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
            import os

            def pytest_configure(config):
                option = config.option
                assert (option.dist, option.numprocesses, option.maxprocesses, option.tx) == ("no", None, None, [])
                assert (option.distload, option.looponfail, option.usepdb) == (False, False, False)
                assert config.workerinput["workerid"] == "gw3" == os.environ["PYTEST_XDIST_WORKER"]
                assert config.workerinput["workercount"] == 2
                assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "2"
                assert config.workerinput["testrunuid"] == "cafe" == os.environ["PYTEST_XDIST_TESTRUNUID"]
                assert config.workerinput["mainargv"][1:] == ["-n2", "--dist=loadfile", "--strict-markers"]
                assert config.workeroutput == {}
                assert config.pluginmanager.hasplugin("xdist")
        """,
        test_a="""
            import pytest
            @pytest.mark.xdist_group("a")
            def test_a(worker_id, testrun_uid, pytestconfig):
                assert (worker_id, testrun_uid) == ("gw3", "cafe")
                assert pytestconfig.pluginmanager.getplugin("terminalreporter") is not None
        """,
    )
    (report,) = start("-n2", "--dist=loadfile", "--strict-markers").run_all()
    assert "phases" not in report, report


def test_the_option_names_the_run(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            import os
            def test_a(testrun_uid):
                assert testrun_uid == os.environ["PYTEST_XDIST_TESTRUNUID"] == "mine"
        """
    )
    (report,) = start("--testrunuid=mine").run_all()
    assert "phases" not in report


@pytest.mark.parametrize(
    ("args", "count"),
    [(["-n5"], 5), (["-n5", "--maxprocesses=4"], 4), (["--tx=3*popen", "--tx=popen"], 4), (["-nauto"], 6)],
)
def test_the_first_worker_learns_the_number_of_workers(suite: Suite, start: Start, args: list[str], count: int) -> None:
    suite(
        test_a=f"""
            import os
            def test_a(pytestconfig):
                assert pytestconfig.workerinput["workercount"] == {count}
                assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "{count}"
        """
    )
    environment = {"PYTEST_XDIST_AUTO_NUM_WORKERS": "6"}
    (report,) = start(*args, worker_count=0, environment=environment).run_all()
    assert "phases" not in report, report


def test_auto_asks_the_hook(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
            def pytest_xdist_auto_num_workers(config):
                return {"auto": 11, "logical": 12}[config.option.numprocesses]
        """
    )
    assert ready(start("-nauto", worker_count=0))["options"]["workers"] == 11
    assert ready(start("-nlogical", worker_count=0))["options"]["workers"] == 12
    options = ready(start(worker_count=0))["options"]
    assert options["auto_workers"] == 11
    assert "workers" not in options


def test_the_process_looks_like_the_command_pytest(suite: Suite, start: Start) -> None:
    suite(
        **{
            "struct.py": "raise RuntimeError('shadows the standard library')",
            "signal.py": "raise RuntimeError('shadows the standard library')",
            "tests/test_a.py": f"""
                import os, sys, threading, xdist_pytest.session

                def test_a():
                    assert os.path.basename(sys.argv[0]) == "pytest"
                    assert sys.argv[1:] == ["tests"]
                    assert sys.path[0] == os.path.abspath("tests")
                    assert sys.path[1] == os.path.dirname(sys.argv[0])
                    assert "" not in sys.path and {HALF!r} not in sys.path
                    assert threading.current_thread() is threading.main_thread()
                    assert threading.active_count() == 1
                    assert sys.stdin is not None
                    assert "XDIST_RUN_DIR" not in os.environ
            """,
        }
    )
    (report,) = start("tests").run_all()
    assert "phases" not in report, report


def test_multiprocessing_with_spawn_works(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            import multiprocessing

            def double(number):
                return 2 * number

            def test_a():
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    assert pool.map(double, [1, 2]) == [2, 4]
        """
    )
    (report,) = start().run_all()
    assert "phases" not in report, report


def test_no_output_of_pytest_reaches_the_standard_streams(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
            def pytest_terminal_summary(terminalreporter):
                terminalreporter.write_line("from a plugin")
        """,
        test_a="def test_a(): assert 0",
    )
    runner = start("-v", "--durations=1")
    runner.run_all()
    assert runner.output == b"" and runner.error_output == b""


def test_output_that_is_not_captured_goes_to_the_standard_streams(suite: Suite, start: Start) -> None:
    suite(test_a="import sys\ndef test_a(): print('out'); print('err', file=sys.stderr)")
    runner = start("-s")
    runner.run_all()
    assert runner.output == b"out\n" and runner.error_output == b"err\n"


WHERE = """
    import pathlib
    def test_a(tmp_path_factory, worker_id):
        pathlib.Path(worker_id).write_text(str(tmp_path_factory.getbasetemp()))
"""


def test_workers_of_a_run_share_a_parent(suite: Suite, start: Start, tmp_path: Path) -> None:
    directory = suite(test_a=WHERE)
    for name in ("gw0", "gw1"):
        (report,) = start(name=name, environment={"XDIST_RUN_DIR": str(tmp_path / "run")}).run_all()
        assert "phases" not in report, report
    places = [Path((directory / name).read_text()) for name in ("gw0", "gw1")]
    assert [place.name for place in places] == ["popen-gw0", "popen-gw1"]
    assert places[0].parent == places[1].parent
    assert places[0].parent.name == "pytest-0"


def test_another_run_has_another_parent(suite: Suite, start: Start, tmp_path: Path) -> None:
    directory = suite(test_a=WHERE)
    for number in (0, 1):
        start(name=f"gw{number}", environment={"XDIST_RUN_DIR": str(tmp_path / f"run{number}")}).run_all()
    assert Path((directory / "gw1").read_text()).parent.name == "pytest-1"


def test_basetemp_is_emptied_once(suite: Suite, start: Start, tmp_path: Path) -> None:
    directory = suite(test_a=WHERE)
    base = directory / "base"
    (base / "old").mkdir(parents=True)
    for name in ("gw0", "id/../odd"):
        start("--basetemp=base", name=name, environment={"XDIST_RUN_DIR": str(tmp_path / "run")}).run_all()
    assert sorted(each.name for each in base.iterdir()) == ["popen-gw0", "popen-id_.._odd"]


def test_the_tmpdir_plugin_may_be_off(suite: Suite, start: Start) -> None:
    suite(test_a="def test_a(): pass")
    (report,) = start("-pno:tmpdir").run_all()
    assert "phases" not in report


BOOT_PLAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from xdist_pytest.plain import main; main(sys.argv[1:])"


def plain(directory: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    """Runs plain pytest as the host does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return subprocess.run(
        [PYTHON, "-c", BOOT_PLAIN, HALF, *args], cwd=directory, env=environment, capture_output=True, text=True
    )


def test_plain_pytest_understands_the_options(suite: Suite) -> None:
    directory = suite(
        **{"pytest.ini": "[pytest]\naddopts = -n auto --dist=loadfile\n"},
        test_a="""
            import sys
            def test_a(worker_id, pytestconfig):
                assert worker_id == "master"
                assert (pytestconfig.option.numprocesses, pytestconfig.option.dist) == (0, "no")
                assert "" not in sys.path
            def test_b(): assert 0
        """,
    )
    done = plain(directory, "-v")
    assert "test_a.py::test_a PASSED" in done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("args", "text", "code"),
    [
        (["--collect-only", "-q"], "test_a.py::test_a", 0),
        (["--help"], "--numprocesses", 0),
        (["--markers"], "@pytest.mark.xdist_group(name)", 0),
        (["--fixtures"], "worker_id", 0),
        (["--nonexistent"], "", 4),
    ],
)
def test_plain_pytest_does_what_is_not_distributed(suite: Suite, args: list[str], text: str, code: int) -> None:
    directory = suite(test_a="def test_a(): pass")
    done = plain(directory, *args)
    assert text in done.stdout
    assert done.returncode == code
