"""What is done to make tests cost less is not to be noticed by them: frozen objects, and capture that stays on."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from harness import PYTHON, Runner

Suite = Callable[..., Path]
Start = Callable[..., Runner]

GARBAGE = """
    import gc, weakref

    class Made:
        pass

    kept, cycle = Made(), Made()
    cycle.self = cycle
    ref = weakref.ref(cycle)

    def test_objects_made_at_import_are_seen():
        assert any(each is kept for each in gc.get_objects())
        assert any(each is globals() for each in gc.get_referrers(kept))

    def test_cycles_made_at_import_are_collected():
        global cycle
        del cycle
        gc.collect()
        assert ref() is None

    def test_nobody_else_has_frozen_anything():
        assert gc.get_freeze_count() == 0
        gc.freeze()
        assert gc.get_freeze_count() > 0
        gc.unfreeze()
        assert gc.get_freeze_count() == 0
"""


def outcomes(runner: Runner) -> list[str]:
    """The classes of the items' reports."""
    return [report.get("class", "pass") for report in runner.run_all()]


@pytest.mark.parametrize("option", [(), ("--no-freeze",)])
def test_frozen_objects_are_seen_by_those_who_look(suite: Suite, start: Start, option: tuple[str, ...]) -> None:
    suite(test_a=GARBAGE)
    assert outcomes(start(*option)) == ["pass"] * 3


def test_what_collection_leaves_is_frozen_unless_it_is_not_to_be(suite: Suite, start: Start) -> None:
    # The way around the functions of the module.
    suite(test_a="def test(): assert FROZEN", conftest=PROBE)
    assert outcomes(start()) == ["pass"]
    assert outcomes(start("--no-freeze")) == ["fail"]


@pytest.mark.parametrize("look", ["", "gc.collect()", "gc.get_objects()"])
def test_garbage_of_collection_is_collected_before_the_first_test(suite: Suite, start: Start, look: str) -> None:
    suite(
        conftest=f"import gc, weakref\nclass Made: pass\nmade = Made()\nmade.cycle = made\n{look}",
        test_a="""
        import weakref, conftest
        ref = weakref.ref(conftest.made)
        del conftest.made

        def test():
            assert ref() is None
        """,
    )
    assert outcomes(start()) == ["pass"]


FINALIZERS = """
    import gc, warnings

    class Warns:
        def __del__(self): warnings.warn("in a finalizer")

    class Raises:
        def __del__(self): raise RuntimeError("raised by a finalizer")

    made = {made}()
    made.cycle = made
    del made

    def test_one(): pass
    def test_two(): pass
"""


@pytest.mark.parametrize(
    ("made", "category"), [("Warns", "UserWarning"), ("Raises", "PytestUnraisableExceptionWarning")]
)
def test_what_finalizers_say_when_garbage_is_looked_for_is_a_tests_warning(
    suite: Suite, start: Start, made: str, category: str
) -> None:
    suite(test_a=FINALIZERS.format(made=made), conftest="import gc\ngc.disable()")
    runner = start()
    assert outcomes(runner) == ["pass"] * 2
    (told,) = [each["warning"] for each in runner.of_kind("warning") if each["warning"]["when"] == "runtest"]
    assert told["category"].endswith(category)
    assert told["node"].endswith("test_one")
    assert "finalizer" in told["message"]


@pytest.mark.parametrize("made", ["Warns", "Raises"])
def test_what_finalizers_say_may_be_an_error(suite: Suite, start: Start, made: str) -> None:
    suite(test_a=FINALIZERS.format(made=made), conftest="import gc\ngc.disable()")
    assert sorted(outcomes(start("-W", "error"))) == ["fail", "pass"]


PROBE = """
    import builtins, gc, pytest
    count = gc.get_freeze_count.__wrapped__

    @pytest.fixture(autouse=True)
    def probe():
        builtins.FROZEN = count() > 0
"""


def sections(report: dict[str, Any]) -> dict[str, str]:
    """Titles and texts of what was captured, of all phases."""
    return {each["title"]: each["text"] for phase in report["phases"] for each in phase.get("sections", ())}


def test_each_phase_has_its_own_output(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
        import os, sys, pytest

        @pytest.fixture
        def loud():
            print("setting up")
            yield
            os.write(2, b"tearing down")

        def test(loud):
            print("calling")
            print("complaining", file=sys.stderr)
            assert 0
        """
    )
    (report,) = start().run_all()
    assert sections(report) == {
        "Captured stdout setup": "setting up\n",
        "Captured stdout call": "calling\n",
        "Captured stderr call": "complaining\n",
        "Captured stderr teardown": "tearing down",
    }


@pytest.mark.parametrize(
    ("capture", "spoil"),
    [
        ("sys", "sys.stdout = io.StringIO()"),
        ("fd", "sys.stdout = io.StringIO()"),
        ("fd", "os.dup2(os.open(os.devnull, os.O_WRONLY), 1)"),
        ("fd", "os.close(1)"),
    ],
)
def test_a_test_that_spoils_standard_output_spoils_no_other(
    suite: Suite, start: Start, capture: str, spoil: str
) -> None:
    suite(test_a=f"import io, os, sys\ndef test_it(): {spoil}\ndef test_next(): print('still there'); assert 0")
    report = start(f"--capture={capture}").run_all()[1]
    assert sections(report) == {"Captured stdout call": "still there\n"}


def test_hooks_write_outside_what_is_captured(suite: Suite, start: Start) -> None:
    suite(
        test_a="def test(): print('captured'); assert 0",
        conftest="def pytest_runtest_logreport(report): print('reported', report.when, flush=True)",
    )
    runner = start()
    (report,) = runner.run_all()
    assert sections(report) == {"Captured stdout call": "captured\n"}
    assert runner.output.decode().split("\n")[:-1] == ["reported setup", "reported call", "reported teardown"]


def test_capture_ends_with_the_last_test(suite: Suite, start: Start) -> None:
    suite(test_a="def test(): pass", conftest="def pytest_sessionfinish(): print('finished', flush=True)")
    runner = start()
    runner.run_all()
    assert runner.output.decode() == "finished\n"


def test_capture_can_be_disabled_in_a_test(suite: Suite, start: Start) -> None:
    suite(test_a="def test(capsys):\n  with capsys.disabled(): print('straight', flush=True)\n  print('held')")
    runner = start()
    runner.run_all()
    assert runner.output.decode() == "straight\n"


def test_output_through_another_description_of_the_same_file_is_captured(suite: Suite, start: Start) -> None:
    # Where the file is written from is then not where pytest left off.
    suite(
        test_a="""
        import os

        def test_written():
            with open("/proc/self/fd/1", "w") as file:
                file.write("written anew")
            assert 0

        def test_emptied():
            print("a long line")
            os.ftruncate(1, 0)

        def test_after_it():
            print("the next")
            assert 0
        """
    )
    written, _, after = start().run_all()
    assert sections(written) == {"Captured stdout call": "written anew"}
    assert sections(after) == {"Captured stdout call": "the next\n"}


def test_hooks_of_a_directory_are_for_its_tests_only(suite: Suite, start: Start) -> None:
    hook = "def pytest_runtest_setup(item): print('set up by', {!r})"
    suite(
        **{
            "a/conftest.py": hook.format("a"),
            "b/conftest.py": hook.format("b"),
            "a/test_a.py": "def test(): assert 0\ndef test_again(): assert 0",
            "b/test_b.py": "def test(): assert 0",
            "c/test_c.py": "def test(): assert 0",
        }
    )
    reports = start("--import-mode=importlib").run_all()
    assert [sections(report).get("Captured stdout setup") for report in reports] == [
        "set up by a\n",
        "set up by a\n",
        "set up by b\n",
        None,
    ]


def test_a_plugin_that_comes_late_is_heard(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
        def test_first(request):
            class Late:
                def pytest_runtest_setup(self, item):
                    print("late")
            request.config.pluginmanager.register(Late())

        def test_second():
            assert 0
        """
    )
    _, second = start().run_all()
    assert sections(second) == {"Captured stdout setup": "late\n"}


def test_each_test_is_located_in_its_own_file(suite: Suite, start: Start) -> None:
    suite(
        base="class Base:\n    def test_inherited(self): assert 0",
        test_a="from base import Base\nclass TestA(Base):\n    def test_own(self): assert 0",
        test_b="def test(): assert 0",
    )
    locations = [report["phases"][1]["location"] for report in start().run_all()]
    assert [(each["path"], each["line"]) for each in locations] == [("base.py", 1), ("test_a.py", 2), ("test_b.py", 0)]


def test_code_without_a_file_is_located_as_pytest_does(suite: Suite, start: Start) -> None:
    suite(test_a="exec(compile('def test(): assert 0', 'made up.py', 'exec'))")
    (report,) = start().run_all()
    assert report["phases"][1]["location"]["path"] == "made up.py"


def test_functions_of_modules_may_be_taken_away(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
        import gc, os, sys

        def test(monkeypatch):
            monkeypatch.delattr(sys, "_getframe")
            gc.collect()
        """
    )
    assert outcomes(start()) == ["pass"]


def test_keywords_of_reports_are_those_of_their_items(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
        import pytest
        from _pytest.mark.structures import NodeKeywords

        def pytest_collection_modifyitems(session, items):
            session.keywords["of session"] = 1
            for item in items:
                item.parent.keywords["of parent"] = item.keywords["of item"] = 1
                # All at once, before there are shortcuts.
                item.expected = list(item.keywords)

        @pytest.hookimpl(wrapper=True) if hasattr(pytest, "Directory") else pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(item):
            yielded = yield
            report = yielded if hasattr(yielded, "keywords") else yielded.get_result()
            assert list(report.keywords) == item.expected
            assert {"of session", "of parent", "of item", "test_a.py", "mark"} <= set(report.keywords)
            return report
        """,
        test_a="""
        import pytest

        class TestClass:
            @pytest.mark.mark
            def test_one(self): pass

        @pytest.mark.mark
        def test_a_py(): pass
        """,
    )
    assert outcomes(start()) == ["pass"] * 2


def test_the_header_is_that_of_pytest(suite: Suite, start: Start) -> None:
    suite(test_a="def test(): pass")
    runner = start()
    header = runner.wait("ready")["header"]
    versions = "import platform, pytest, pluggy; print(pytest.__version__, pluggy.__version__)"
    done = subprocess.run([PYTHON, "-c", versions], capture_output=True, text=True, check=True)
    pytest_version, pluggy_version = done.stdout.split()
    assert f"pytest-{pytest_version}, pluggy-{pluggy_version}" in header[0]
