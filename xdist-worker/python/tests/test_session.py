"""A whole session: what the runner does for the host's commands, and what it tells."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path
from typing import Any, Callable

import pytest
from harness import Runner

Suite = Callable[..., Path]
Start = Callable[..., Runner]

OUTCOMES = """
    import pytest

    def test_pass():
        print("seen by nobody")

    def test_fail():
        print("shown with the failure")
        assert [1, 2] == [1, 3]

    def test_skip():
        pytest.skip("no network")

    @pytest.mark.xfail(reason="known")
    def test_xfail():
        assert 0

    @pytest.mark.xfail(reason="maybe")
    def test_xpass():
        pass

    @pytest.mark.xfail(reason="surely", strict=True)
    def test_strict():
        pass

    @pytest.fixture
    def broken_setup():
        raise ValueError("set up")

    @pytest.fixture
    def broken_teardown():
        yield
        print("from the teardown")
        raise ValueError("torn down")

    def test_setup(broken_setup):
        pass

    def test_teardown(broken_teardown):
        pass
"""


def phase(report: dict[str, Any], name: str) -> dict[str, Any]:
    """The only report of a phase."""
    (found,) = [each for each in report["phases"] if each["phase"] == name]
    return found


def test_every_outcome_is_told(suite: Suite, start: Start) -> None:
    suite(test_a=OUTCOMES)
    runner = start()
    passed, failed, skipped, xfailed, xpassed, strict, setup, teardown = runner.run_all()

    assert set(passed) == {"start", "us"}
    assert all(duration > 0 for duration in passed["us"])

    assert failed["class"] == "fail"
    call = phase(failed, "call")
    assert call["class"] == "fail"
    assert "assert [1, 2] == [1, 3]" in call["failure"]["text"]
    assert not call["failure"]["text"].endswith("\n")
    assert call["failure"]["crash"]["line"] == 9
    assert call["failure"]["crash"]["message"].startswith("assert [1, 2] == [1, 3]")
    assert call["location"] == {"path": "test_a.py", "line": 6, "domain": "test_fail"}
    assert call["sections"] == [{"title": "Captured stdout call", "text": "shown with the failure\n"}]
    assert "sections" not in phase(failed, "teardown")

    assert skipped["class"] == "skip"
    assert phase(skipped, "call")["skip"]["reason"] == "Skipped: no network"
    assert phase(skipped, "call")["skip"]["line"] == 12

    assert xfailed["class"] == "skip"
    assert phase(xfailed, "call")["detail"] == "xfailed"
    assert phase(xfailed, "call")["xfail"] == "known"
    assert "failure" not in phase(xfailed, "call")

    assert "class" not in xpassed
    assert phase(xpassed, "call")["detail"] == "xpassed"
    assert phase(xpassed, "call")["xfail"] == "maybe"

    assert strict["class"] == "fail"
    assert phase(strict, "call")["detail"] == "xpassed"
    assert phase(strict, "call")["failure"]["text"].startswith("[XPASS(strict)] surely")

    assert setup["class"] == "fail"
    assert setup["us"][1] == 0
    assert [each["phase"] for each in setup["phases"]] == ["setup", "teardown"]
    assert phase(setup, "setup")["failure"]["crash"]["message"] == "ValueError: set up"

    assert teardown["class"] == "fail"
    assert phase(teardown, "call")["class"] == "pass"
    assert phase(teardown, "teardown")["failure"]["crash"]["message"] == "ValueError: torn down"
    assert phase(teardown, "teardown")["sections"][0]["text"] == "from the teardown\n"

    assert runner.kinds()[:3] == ["ready", "collecting", "collected"]
    assert runner.kinds()[-1] == "worker_output"
    assert runner.of_kind("worker_output")[0]["exit_status"] == 1
    assert runner.process.returncode == 1
    assert runner.output == b"" and runner.error_output == b""


def test_a_passed_test_takes_less_than_100_bytes(suite: Suite, start: Start) -> None:
    suite(test_a="def test_a(): print('x')")
    runner = start()
    runner.run_all()
    (finished,) = runner.of_kind("item_finished")
    assert finished["_bytes"] < 100
    assert finished["lease"] == 7
    assert finished["item"] == 0
    assert runner.process.returncode == 0


@pytest.mark.parametrize(
    ("args", "wants"),
    [(["-rP"], False), (["-rA"], False), (["--junitxml=x.xml", "-ojunit_logging=all"], False), ([], True)],
)
def test_output_of_passed_tests_is_sent_where_it_is_shown(
    suite: Suite, start: Start, args: list[str], wants: bool
) -> None:
    suite(test_a="def test_a(): print('x')")
    (report,) = start(*args, wants={"passed_output": wants}).run_all()
    assert phase(report, "call")["sections"] == [{"title": "Captured stdout call", "text": "x\n"}]


def test_the_collection_is_named_by_its_digest_and_sent_when_asked_for(suite: Suite, start: Start) -> None:
    suite(
        base="""
            class Base:
                def test_inherited(self):
                    pass
        """,
        test_a="""
            import pytest
            from base import Base

            @pytest.mark.xdist_group
            @pytest.mark.xdist_group("b")
            @pytest.mark.xdist_group(name="a")
            def test_grouped():
                pass

            class TestIt(Base):
                pass

            def test_other():
                pass
        """,
    )
    runner = start("-k", "not other", wants={"locations": True})
    runner.collect()
    runner.send_collection()
    collected = runner.wait("collected")
    node_ids = ["test_a.py::test_grouped", "test_a.py::TestIt::test_inherited"]
    digest = hashlib.blake2b(b"".join(each.encode() + b"\0" for each in node_ids), digest_size=16).digest()
    assert (collected["digest"], collected["count"], collected["deselected"]) == (digest, 2, 1)
    chunk = runner.wait("collection")
    assert (chunk["offset"], chunk["total"]) == (0, 2)
    assert chunk["items"] == [
        {"id": node_ids[0], "line": 4, "groups": ["a", "b", "default"]},
        {"id": node_ids[1], "file": "base.py", "line": 2},
    ]


def test_items_say_what_they_cannot_run_beside(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
            import pytest

            def pytest_collection_modifyitems(items):
                items[1].add_marker(pytest.mark.xdist_exclusive)
        """,
        test_a="""
            import pytest

            pytestmark = pytest.mark.xdist_resource("module", limit=3)

            @pytest.mark.xdist_resource("a", "b", limit=2)
            class TestIt:
                @pytest.mark.xdist_resource("c")
                @pytest.mark.xdist_resource("b")
                @pytest.mark.parametrize("n", [0, pytest.param(1, marks=pytest.mark.xdist_resource("a", limit=5))])
                def test_inherits(self, n):
                    pass
        """,
        test_b="""
            import pytest

            @pytest.mark.xdist_exclusive
            def test_alone():
                pass

            def test_free():
                pass
        """,
    )
    runner = start("--strict-markers")
    runner.collect()
    runner.send_collection()
    items = {item.pop("id").rpartition("::")[2]: item for item in runner.wait("collection")["items"]}
    limits = {"a": 2, "b": 1, "c": 1, "module": 3}
    resources = [{"name": name, "limit": limit} for name, limit in limits.items()]
    assert items == {
        "test_inherits[0]": {"resources": resources},
        "test_inherits[1]": {"resources": resources, "exclusive": True},
        "test_alone": {"exclusive": True},
        "test_free": {},
    }


def test_faulty_marks_are_errors_of_their_tests(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
            import pytest

            def pytest_collection_modifyitems(items):
                items[0].add_marker(pytest.mark.xdist_resource(name="db"))
        """,
        test_a="""
            def test_marked_late(): pass

            def test_right(): pass
        """,
    )
    runner = start()
    runner.collect()
    report = runner.wait("collect_report")["report"]
    assert report["node"] == "test_a.py::test_marked_late"
    assert report["failure"]["text"] == (
        "test_a.py:2: test_marked_late: xdist mark xdist_resource(name='db') has an argument name: it takes names, and limit="
    )
    assert runner.wait("collected")["count"] == 1


def test_locations_are_found_only_for_those_who_want_them(suite: Suite, start: Start) -> None:
    suite(test_a="def test(): pass")
    for args, expected in (((), {}), (("-v",), {"line": 0}), (("--junitxml=out.xml",), {"line": 0})):
        runner = start(*args)
        runner.collect()
        runner.send_collection()
        assert runner.wait("collection")["items"] == [{"id": "test_a.py::test", **expected}]
    runner.drain()
    runner.finish()


def test_a_long_collection_is_sent_in_chunks(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            import pytest

            @pytest.mark.parametrize("value", range(3000), ids=lambda value: f"{value}-" + "x" * 300)
            def test_a(value):
                pass
        """
    )
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.send_collection()
    items: list[Any] = []
    chunks = 0
    while len(items) < 3000:
        chunk = runner.wait("collection")
        assert chunk["offset"] == len(items)
        assert chunk["total"] == 3000
        assert chunk["_bytes"] < 512 << 10
        items += chunk["items"]
        chunks += 1
    assert chunks > 1
    assert items[2999]["id"].startswith("test_a.py::test_a[2999-xxx")
    runner.drain()
    runner.finish()


def test_an_empty_collection_can_be_asked_for(suite: Suite, start: Start) -> None:
    suite(test_a="")
    runner = start()
    runner.collect()
    assert runner.wait("collected")["count"] == 0
    runner.send_collection()
    assert runner.wait("collection")["items"] == []
    runner.drain()
    runner.finish()
    assert runner.of_kind("worker_output")[0]["exit_status"] == 5


def test_the_other_tests_run_where_a_file_cannot_be_collected(suite: Suite, start: Start) -> None:
    suite(
        test_a="import nonexistent_module",
        test_b="import pytest\npytest.skip('not here', allow_module_level=True)",
        test_c="def test_c(): pass",
    )
    runner = start()
    (report,) = runner.run_all()
    assert "class" not in report
    failed, skipped = [each["report"] for each in runner.of_kind("collect_report")]
    assert (failed["node"], failed["class"]) == ("test_a.py", "fail")
    assert "nonexistent_module" in failed["failure"]["text"]
    assert (skipped["node"], skipped["class"]) == ("test_b.py", "skip")
    assert skipped["skip"]["reason"].endswith("not here")
    assert runner.of_kind("worker_output")[0]["exit_status"] == 1


SCOPED = """
    import pathlib, pytest

    @pytest.fixture(scope="module", autouse=True)
    def module():
        yield
        pathlib.Path("torn_down").touch()

    @pytest.fixture
    def slow_teardown():
        yield
        pathlib.Path("in_teardown").touch()

    def test_a(slow_teardown):
        pathlib.Path("in_call").touch()
        import time
        while not pathlib.Path("go").exists():
            time.sleep(0.005)

    def test_b():
        pathlib.Path("b_ran").touch()
"""


def test_the_successor_is_not_read_before_the_teardown(suite: Suite, start: Start) -> None:
    directory = suite(test_a=SCOPED)
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(0, lease=4)
    runner.item(1, lease=5)
    runner.wait_for_file(directory / "in_call")
    assert runner.activity() == ((0, 4), "call")
    assert [each[:1] for each in runner.claw_back()] == [b"I"]
    (directory / "go").touch()
    # The runner waits for a successor now, and gets one.
    runner.item(1, lease=6)
    assert runner.wait("item_finished")["lease"] == 4
    # The module's fixture was kept for it.
    runner.park()
    finished = runner.wait("item_finished")
    assert (finished["item"], finished["lease"]) == (1, 6)
    assert (directory / "torn_down").exists()
    runner.drain()
    runner.finish()


def test_a_parked_runner_has_torn_everything_down_and_goes_on_later(suite: Suite, start: Start) -> None:
    directory = suite(test_a=SCOPED)
    (directory / "go").touch()
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    runner.park()
    runner.park()
    runner.wait("item_finished")
    assert (directory / "torn_down").exists()
    (directory / "torn_down").unlink()
    runner.item(1)
    runner.send_collection()
    runner.drain()
    runner.finish()
    assert (directory / "b_ran").exists() and (directory / "torn_down").exists()
    # Asked for during the teardown, answered at once.
    assert runner.kinds()[-3:] == ["collection", "item_finished", "worker_output"]


def test_fixtures_live_on_as_long_as_the_successor_needs_them(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            import pytest
            made = []

            @pytest.fixture(scope="module")
            def shared():
                made.append(1)
                yield len(made)

            @pytest.mark.parametrize("number", range(3))
            def test_a(shared, number):
                assert shared == 1
        """
    )
    assert [report.get("class", "pass") for report in start().run_all()] == ["pass"] * 3


def test_plugins_may_look_at_the_successor_whenever_they_like(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
            import pytest
            seen = []

            def pytest_runtest_protocol(item, nextitem):
                seen.append((bool(nextitem), nextitem == None, isinstance(nextitem, pytest.Item),
                             nextitem.nodeid if nextitem else None))

            def pytest_sessionfinish(session):
                session.config.workeroutput["seen"] = seen
        """,
        test_a="def test_a(): pass\ndef test_b(): pass",
    )
    runner = start()
    runner.run_all()
    seen = runner.of_kind("worker_output")[0]["values"]["seen"]
    assert seen == [(True, False, True, "test_a.py::test_b"), (False, True, False, None)]


def test_the_end_of_the_host_is_the_end_of_the_session(suite: Suite, start: Start) -> None:
    directory = suite(test_a=SCOPED)
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.ours.close()
    runner.theirs.close()
    runner.finish()
    assert runner.kinds()[-1] == "worker_output"
    assert not (directory / "b_ran").exists()


@pytest.mark.parametrize(("phase_name", "code"), [("setup", 3), ("call", 4), ("teardown", 5)])
def test_the_status_page_tells_what_ran_when_the_process_died(
    suite: Suite, start: Start, phase_name: str, code: int
) -> None:
    suite(
        test_a=f"""
            import os, pytest

            @pytest.fixture
            def deadly():
                if {phase_name!r} == "setup":
                    os._exit({code})
                yield
                if {phase_name!r} == "teardown":
                    os._exit({code})

            def test_a(): pass

            def test_b(deadly):
                if {phase_name!r} == "call":
                    os._exit({code})
        """
    )
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    runner.item(1, lease=9)
    runner.park()
    runner.finish()
    assert runner.process.returncode == code
    assert runner.activity() == ((1, 9), phase_name)
    assert len(runner.of_kind("item_finished")) == 1


def test_what_did_not_pass_is_told_before_another_attempt(suite: Suite, start: Start) -> None:
    """As pytest-rerunfailures runs a test again: the reports of an attempt come after its teardown."""
    suite(
        conftest="""
            from _pytest.runner import runtestprotocol

            def pytest_runtest_protocol(item, nextitem):
                for attempt in (1, 2):
                    for report in runtestprotocol(item, nextitem=nextitem, log=False):
                        if report.failed:
                            report.outcome = "rerun"
                        item.ihook.pytest_runtest_logreport(report=report)
                return True
        """,
        test_a="""
            import os

            attempts = []

            def test_a():
                attempts.append(1)
                if len(attempts) == 2:
                    os._exit(3)
                assert 0
        """,
    )
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    runner.park()
    runner.finish()
    (told,) = runner.of_kind("so_far")
    assert [phase["phase"] for phase in told["report"]["phases"]] == ["setup", "call", "teardown"]


def test_what_did_not_pass_is_told_before_the_teardown(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            import os, pytest

            @pytest.fixture
            def deadly():
                yield
                os._exit(3)

            def test_a(): pass

            def test_b(deadly):
                assert 0
        """
    )
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    runner.item(1, lease=9)
    runner.park()
    runner.finish()
    (told,) = runner.of_kind("so_far")
    assert (told["item"], told["lease"]) == (1, 9)
    assert [(phase["phase"], phase["class"]) for phase in told["report"]["phases"]] == [
        ("setup", "pass"),
        ("call", "fail"),
    ]


def test_the_status_page_is_clear_after_the_result_is_told(suite: Suite, start: Start) -> None:
    suite(test_a="def test_a(): pass")
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    runner.drain()
    runner.finish()
    assert runner.activity() == (None, "finishing")
    assert len(runner.of_kind("item_finished")) == 1


def test_the_status_page_names_an_item_whose_result_cannot_be_told(suite: Suite, start: Start) -> None:
    suite(test_a="import os\n\ndef test_a():\n    os.closerange(3, 1000)\n")
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(0, lease=9)
    runner.park()
    runner.finish()
    assert runner.process.returncode != 0
    # pytest's capture has lost its descriptors too, which fails the call.
    assert runner.activity() == ((0, 9), "call")


WAITING = """
    import pathlib, time, pytest

    def wait():
        while not pathlib.Path("go").exists():
            time.sleep(0.005)

    @pytest.fixture
    def slow():
        yield
        pathlib.Path("in_teardown").touch()
        wait()
        pathlib.Path("teardown_done").touch()

    def test_call(slow):
        pathlib.Path("in_call").touch()
        wait()

    def test_teardown(slow):
        pass

    def test_never():
        pathlib.Path("never").touch()
"""


def test_an_interrupt_of_the_host_ends_the_call_and_runs_the_teardown(suite: Suite, start: Start) -> None:
    directory = suite(test_a=WAITING)
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    runner.wait_for_file(directory / "in_call")
    runner.interrupt()
    (directory / "go").touch()
    runner.finish()
    assert (directory / "teardown_done").exists()
    assert "stop_requested" not in runner.kinds() and "item_finished" not in runner.kinds()
    assert runner.of_kind("worker_output")[0]["exit_status"] == 2


def test_another_interrupt_is_told(suite: Suite, start: Start) -> None:
    directory = suite(test_a=WAITING)
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    runner.item(2)
    runner.wait_for_file(directory / "in_call")
    runner.signal(signal.SIGINT)
    (directory / "go").touch()
    runner.finish()
    assert runner.of_kind("stop_requested")[0]["kind"] == "interrupt"
    assert not (directory / "never").exists()
    assert len(runner.claw_back()) == 1


@pytest.mark.parametrize("by_host", [True, False])
def test_an_interrupt_waits_for_the_teardown_and_the_result(suite: Suite, start: Start, by_host: bool) -> None:
    directory = suite(test_a=WAITING)
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(1)
    runner.park()
    runner.wait_for_file(directory / "in_teardown")
    if by_host:
        runner.interrupt()
    else:
        runner.signal(signal.SIGINT)
        runner.item(2)
    (directory / "go").touch()
    runner.finish()
    assert (directory / "teardown_done").exists()
    assert len(runner.of_kind("item_finished")) == 1
    assert "class" not in runner.of_kind("item_finished")[0]["report"]
    assert ("stop_requested" in runner.kinds()) == (not by_host)
    assert not (directory / "never").exists()


def test_an_interrupt_ends_an_idle_runner(suite: Suite, start: Start) -> None:
    suite(test_a=WAITING)
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.signal(signal.SIGINT)
    runner.finish()
    assert runner.of_kind("stop_requested")[0]["kind"] == "interrupt"
    assert runner.of_kind("worker_output")[0]["exit_status"] == 2


def test_the_handler_that_tests_see_is_pythons_own(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            import signal, pytest

            @pytest.fixture
            def check():
                assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
                yield

            @pytest.mark.parametrize("number", range(2))
            def test_a(check, number):
                assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        """
    )
    assert [report.get("class", "pass") for report in start().run_all()] == ["pass", "pass"]


@pytest.mark.parametrize(
    ("statement", "kind", "reason", "exit_code", "status"),
    [
        ("request.session.shouldstop = 'enough'", "should_stop", "enough", None, None),
        ("request.session.shouldfail = 'broken'", "should_fail", "broken", None, None),
        ("pytest.exit('bye', returncode=7)", "exit", "bye", 7, 7),
        ("pytest.exit('bye')", "exit", "bye", None, 2),
        ("raise KeyboardInterrupt", "interrupt", "KeyboardInterrupt", None, 2),
    ],
)
def test_a_session_that_wants_to_stop_says_so_and_runs_no_more(
    suite: Suite, start: Start, statement: str, kind: str, reason: str, exit_code: Any, status: Any
) -> None:
    suite(
        test_a=f"""
            import pytest
            def test_a(request): {statement}
            def test_b(): pass
        """
    )
    runner = start()
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    runner.item(1)
    runner.finish()
    (stop,) = runner.of_kind("stop_requested")
    assert (stop["kind"], stop["reason"], stop.get("exit_code")) == (kind, reason, exit_code)
    assert len(runner.of_kind("item_finished")) == (0 if status is not None else 1)
    assert len(runner.claw_back()) == 1
    if status is not None:
        assert runner.of_kind("worker_output")[0]["exit_status"] == status


def test_the_first_failure_stops_the_session_with_x(suite: Suite, start: Start) -> None:
    suite(test_a="def test_a(): assert 0\ndef test_b(): pass")
    runner = start("-x")
    runner.run_all()
    assert runner.of_kind("ready")[0]["options"]["max_fail"] == 1
    assert runner.of_kind("stop_requested")[0]["kind"] == "should_fail"
    assert len(runner.of_kind("item_finished")) == 1


def test_a_collection_error_stops_the_session_with_x(suite: Suite, start: Start) -> None:
    suite(test_a="import nonexistent", test_b="def test_b(): pass")
    runner = start("-x")
    runner.collect()
    runner.finish()
    assert [kind for kind in runner.kinds() if kind != "collected"] == [
        "ready",
        "collecting",
        "collect_report",
        "stop_requested",
        "worker_output",
    ]
    assert runner.of_kind("stop_requested")[0]["kind"] == "should_fail"


@pytest.mark.parametrize("hook", ["pytest_runtest_logreport", "pytest_collection_modifyitems", "pytest_sessionstart"])
def test_an_internal_error_is_told(suite: Suite, start: Start, hook: str) -> None:
    suite(conftest=f"def {hook}(): raise RuntimeError('broken plugin')", test_a="def test_a(): pass")
    runner = start()
    runner.collect()
    runner.item(0)
    runner.drain()
    runner.finish()
    (error,) = runner.of_kind("internal_error")
    assert "RuntimeError: broken plugin" in error["text"]
    assert not error["text"].startswith("INTERNALERROR")
    assert runner.of_kind("worker_output")[0]["exit_status"] == 3
    assert runner.output == b"" and runner.error_output == b""


def test_exit_in_the_end_is_told_too(suite: Suite, start: Start) -> None:
    suite(
        conftest="import pytest\ndef pytest_sessionfinish(): pytest.exit('late', returncode=9)",
        test_a="def test_a(): pass",
    )
    runner = start()
    runner.run_all()
    assert runner.of_kind("stop_requested")[0]["exit_code"] == 9
    assert runner.of_kind("worker_output")[0]["exit_status"] == 9


def test_what_plugins_give_the_worker_and_get_from_it(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
            def pytest_configure(config):
                assert config.workerinput["cov"] == ("a", {1}), config.workerinput
                config.workeroutput["early"] = b"\\0"

            def pytest_sessionfinish(session):
                session.config.workeroutput["odd"] = session

            def pytest_unconfigure(config):
                config.workeroutput["late"] = (1, {2})
        """,
        test_a="def test_a(): pass",
    )
    runner = start(input={"cov": ("a", {1})})
    runner.run_all()
    values = runner.of_kind("worker_output")[0]["values"]
    assert values["early"] == b"\0"
    assert values["late"] == (1, {2})
    assert values["odd"].type_name == "_pytest.main.Session"
    assert values["exitstatus"] == 0


def test_warnings_are_told_whatever_they_are(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
            import warnings

            def pytest_configure(config):
                config.issue_config_time_warning(UserWarning("early"), 2)
        """,
        test_a="""
            import warnings

            class Odd(UserWarning):
                def __init__(self, a, b): self.a = a
                def __str__(self): return "odd " + str(self.a)

            def test_a():
                warnings.warn(Odd(object, 1))
                warnings.warn(UserWarning("foo", object()))
        """,
    )
    runner = start()
    (report,) = runner.run_all()
    assert "phases" not in report
    early, odd, plain = [each["warning"] for each in runner.of_kind("warning")]
    assert runner.kinds()[:2] == ["ready", "warning"]
    assert (early["when"], early["message"], early["node"]) == ("config", "early", "")
    assert odd["category"] == "Odd"
    assert odd["message"].startswith("odd <class")
    assert odd["node"] == "test_a.py::test_a"
    assert odd["line"] == 9
    assert odd["path"].endswith("test_a.py")
    assert "test_a.py:9: Odd: odd <class" in odd["text"]
    assert plain["category"] == "UserWarning"


def test_recorded_properties_are_sent_once(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            import pytest

            @pytest.fixture
            def fixture(record_property):
                record_property("setup", 1)
                yield
                record_property("teardown", (1, object))

            def test_a(fixture, record_property):
                record_property("call", {"a": [1]})
        """
    )
    (report,) = start().run_all()
    assert phase(report, "setup")["properties"] == [["setup", 1]]
    assert phase(report, "call")["properties"] == [["call", {"a": [1]}]]
    ((name, value),) = phase(report, "teardown")["properties"]
    assert name == "teardown"
    assert value[0] == 1 and value[1].text == "<class 'object'>"
    assert "class" not in report


def test_sections_are_sent_once_and_for_every_phase(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            import pytest

            @pytest.fixture
            def fixture():
                print("one")
                yield
                print("three")

            def test_a(fixture):
                print("two")
                assert 0
        """
    )
    (report,) = start().run_all()
    texts = [[section["text"] for section in each.get("sections", [])] for each in report["phases"]]
    assert texts == [["one\n"], ["two\n"], ["three\n"]]


def test_text_that_is_not_unicode_ends_nothing(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            import os

            def test_a():
                os.write(1, b"raw \\xff\\n")
                print("\\udcff")
                assert "\\ud800" == ""
        """
    )
    (report,) = start().run_all()
    assert report["class"] == "fail"


def test_a_result_too_long_for_a_frame_is_shortened(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            def test_a():
                print("begin" + "x" * 30_000_000 + "end")
                raise ValueError("y" * 30_000_000)
        """
    )
    runner = start("--tb=short")
    (report,) = runner.run_all()
    (section,) = phase(report, "call")["sections"]
    assert section["text"].startswith("beginxxx") and section["text"].endswith("xxxend\n")
    assert "characters left out" in section["text"]
    assert runner.of_kind("item_finished")[0]["_bytes"] < 16 << 20


def test_a_report_that_cannot_be_rendered_is_sent_in_part(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
            import pytest

            class Odd:
                def toterminal(self, writer):
                    raise RuntimeError("cannot")
                def __str__(self):
                    raise RuntimeError("cannot")
                __repr__ = __str__

            @pytest.hookimpl(hookwrapper=True)
            def pytest_runtest_makereport(item, call):
                outcome = yield
                report = outcome.get_result()
                if report.failed:
                    report.longrepr = Odd()
        """,
        test_a="def test_a(): assert 0\ndef test_b(): pass",
    )
    first, second = start().run_all()
    assert first["class"] == "fail"
    assert "could not be rendered" in phase(first, "call")["failure"]["text"]
    assert "phases" not in second


def test_names_of_outcomes_that_plugins_give_are_sent(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
            import copy

            def pytest_report_teststatus(report):
                if report.outcome == "rerun":
                    return "rerun", "R", ("RERUN", {"yellow": True})

            def pytest_runtest_protocol(item, nextitem):
                from _pytest.runner import runtestprotocol
                for attempt in range(2):
                    for report in runtestprotocol(item, nextitem=nextitem, log=False):
                        if report.failed and attempt == 0:
                            report.outcome = "rerun"
                        item.ihook.pytest_runtest_logreport(report=report)
                return True
        """,
        test_a="""
            runs = []
            def test_a():
                runs.append(1)
                assert len(runs) == 2
        """,
    )
    (report,) = start().run_all()
    assert "class" not in report
    assert [each["phase"] for each in report["phases"]] == ["setup", "call", "teardown"] * 2
    rerun = report["phases"][1]
    assert (rerun["class"], rerun["detail"]) == ("pass", "rerun")
    assert rerun["status"] == {"category": "rerun", "letter": "R", "word": "RERUN"}
    assert "assert 1 == 2" in rerun["failure"]["text"]
    assert not any("status" in each for each in report["phases"][2:])


def test_failures_are_rendered_in_the_style_asked_for(suite: Suite, start: Start) -> None:
    suite(test_a="def test_a():\n    unseen = 1\n    assert 0")
    (long,) = start().run_all()
    (short,) = start("--tb=short", "--color=yes").run_all()
    text = phase(long, "call")["failure"]["text"]
    assert "unseen = 1" in text
    failure = phase(short, "call")["failure"]
    assert "unseen = 1" not in failure["text"]
    assert "\x1b[" in failure["ansi"] and "\x1b[" not in failure["text"]


def test_a_forked_child_does_not_speak_for_the_worker(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            import os, warnings

            def test_a():
                pid = os.fork()
                if pid == 0:
                    # The child goes on as if it were the worker.
                    return
                os.waitpid(pid, 0)

            def test_b():
                pass
        """
    )
    runner = start()
    runner.run_all()
    assert len(runner.of_kind("item_finished")) == 2


def test_threads_that_python_waits_for_are_waited_for(suite: Suite, start: Start) -> None:
    directory = suite(
        test_a="""
            import atexit, pathlib, threading, time

            def work():
                while not pathlib.Path("go").exists():
                    time.sleep(0.005)
                pathlib.Path("done").touch()

            def test_a():
                threading.Thread(target=work).start()
                atexit.register(pathlib.Path("exited").touch)
        """
    )
    runner = start()
    runner.collect()
    runner.item(0)
    runner.drain()
    runner.wait("worker_output")
    (directory / "go").touch()
    runner.finish()
    assert (directory / "done").exists() and (directory / "exited").exists()


def test_exit_functions_run(suite: Suite, start: Start) -> None:
    directory = suite(
        test_a="""
            import atexit, pathlib

            def test_a():
                atexit.register(pathlib.Path("exited").touch)
        """
    )
    start().run_all()
    assert (directory / "exited").exists()


def test_the_descriptors_are_not_inherited_by_programs(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
            import os, subprocess, sys

            def test_a():
                for name in os.listdir("/proc/self/fd"):
                    try:
                        link = os.readlink(f"/proc/self/fd/{name}")
                    except OSError:
                        continue
                    if int(name) > 2 and link.startswith(("pipe:", "socket:", "/memfd:xdist")):
                        assert not os.get_inheritable(int(name)), (name, link)
        """
    )
    (report,) = start("--capture=sys").run_all()
    assert "phases" not in report, report


def test_the_ramp_delays_the_first_test_but_not_the_end(suite: Suite, start: Start) -> None:
    suite(test_a="def test_a(): pass")
    runner = start(ramp_delay_ms=3_600_000)
    runner.collect()
    runner.wait("collected")
    runner.item(0)
    runner.send_collection()
    assert len(runner.claw_back()) == 2
    runner.drain()
    runner.finish()
    assert "item_finished" not in runner.kinds()


def test_an_interrupt_that_came_just_before_a_wait_is_raised_at_the_next_nudge(suite: Suite, start: Start) -> None:
    directory = suite(
        test_a="""
        import _thread, pathlib, threading, time

        def interrupt():
            # Notes the signal, but interrupts nothing that the system does.
            _thread.interrupt_main()
            pathlib.Path("interrupted").touch()

        def test():
            threading.Timer(0.3, interrupt).start()
            time.sleep(600)
        """
    )
    runner = start()
    runner.collect()
    runner.item(0)
    runner.wait_for_file(directory / "interrupted")
    runner.signal(signal.SIGURG)
    assert runner.wait("stop_requested")["kind"] == "interrupt"
