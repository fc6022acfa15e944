"""Reasons not to fork that need no run to be seen; the others are in `tests/e2e/test_fork.py`."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from harness import HALF
from xdist_pytest import forkable
from xdist_pytest.watch import Watch, WatchedInput

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="for Linux only")


@pytest.fixture
def register(pytestconfig: pytest.Config) -> Iterator[Any]:
    """Registers plugins for the length of a test."""
    registered = []

    def register(plugin: object, name: str) -> None:
        pytestconfig.pluginmanager.register(plugin, name)
        registered.append(plugin)

    yield register
    for plugin in registered:
        pytestconfig.pluginmanager.unregister(plugin)


def problem(config: pytest.Config, watch: Any = None) -> Any:
    return forkable.early_problem(config, watch or Watch())


def test_nothing_stands_against_it(pytestconfig: pytest.Config) -> None:
    assert problem(pytestconfig) is None


@pytest.mark.parametrize(("name", "title"), [("_cov", "pytest-cov"), ("xvfb", "pytest-xvfb")])
def test_plugins_that_change_the_process(pytestconfig: pytest.Config, register: Any, name: str, title: str) -> None:
    register(object(), name)
    assert problem(pytestconfig) == f"{title} has to be started in every worker"


class Ends:
    """A plugin that nobody has installed."""

    def pytest_sessionfinish(self) -> None:
        """Does nothing."""


class Wraps:
    """Another."""

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtestloop(self) -> Iterator[None]:
        """Does nothing."""
        yield


class Runs:
    """A plugin that would run the tests itself."""

    @pytest.hookimpl(trylast=True)
    def pytest_runtestloop(self) -> None:
        """Does nothing."""


def test_hooks_of_the_suite(pytestconfig: pytest.Config, register: Any) -> None:
    register(Runs(), "runs")
    assert problem(pytestconfig) is None
    register(Wraps(), "wraps")
    assert problem(pytestconfig) == "Wraps wraps pytest_runtestloop"
    register(Ends(), "ends")
    assert problem(pytestconfig) == "Ends implements pytest_sessionfinish"


def test_hooks_of_installed_plugins_are_trusted(
    pytestconfig: pytest.Config, register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(Ends(), "ends")
    listed = [(sys.modules[__name__], None)]
    monkeypatch.setattr(pytestconfig.pluginmanager, "list_plugin_distinfo", lambda: listed)
    assert problem(pytestconfig) is None


def test_what_was_noted(pytestconfig: pytest.Config) -> None:
    watch = Watch()
    watch.cleanups.append(("_pytest.capture", "capture.py:1"))
    assert problem(pytestconfig, watch) is None
    watch.cleanups.append(("conftest", "conftest.py:2"))
    assert problem(pytestconfig, watch) == "conftest.py:2 asks for something to be done when pytest ends"
    watch.at_exit.append("module.function")
    assert problem(pytestconfig, watch) == "module.function is to be called at exit"
    watch.lasting = "conftest.py:1 asks which worker it is in"
    assert problem(pytestconfig, watch) == "conftest.py:1 asks which worker it is in"


def test_python_without_ctypes(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert problem(pytestconfig) == "this Python has no ctypes"


def test_systems_without_a_safe_fork(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert problem(pytestconfig) == "darwin has no safe fork"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_of_workerinput_are_plain_and_count_as_reading(duplicate: Any) -> None:
    watch = Watch()
    made = duplicate(WatchedInput({"workerid": "gw0", "workercount": 2}, watch))
    assert type(made) is dict and made == {"workerid": "gw0", "workercount": 2}
    assert watch.noted is not None


def test_showing_workerinput_counts_as_reading() -> None:
    watch = Watch()
    assert repr(WatchedInput({"workerid": "gw0"}, watch)) == "{'workerid': 'gw0'}"
    assert watch.noted is not None


@pytest.mark.parametrize(
    ("room", "told"), [(3, ["child", "child"]), (2, ["child", "none"]), (1, "no room"), (0, "no room")]
)
def test_processes_are_forked_as_long_as_there_is_room(room: int, told: object) -> None:
    program = f"""if True:
        import os, sys
        sys.path.insert(0, {HALF!r})
        from xdist_pytest import image
        forks = 0

        def fork(really=image.fork):
            global forks
            forks += 1
            if forks > {room}:
                raise BlockingIOError("no room")
            return really()

        image.fork = fork
        try:
            own, orphans = image._fork_orphans([(), ()])
        except OSError:
            print("no room")
        else:
            if own is not None:
                os._exit(0)
            print(["child" if pid > 1 else "none" for pid in orphans])
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == str(told)
