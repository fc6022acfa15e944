"""`import xdist` without pytest-xdist, and who serves `-n` where both are installed."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from _pytest.config import PytestPluginManager
from _pytest.config.argparsing import Parser
from xdist_pytest import compat, entry
from xdist_pytest.distributor import Distributor
from xdist_pytest.plugin import XdistPlugin


def ours(name: str) -> Any:
    """A module as compat gives it, whether pytest-xdist is installed or not."""
    spec = compat.find_spec(name)
    assert spec is not None and spec.loader is not None and compat.is_ours(spec)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("xdist", ["__version__", "get_xdist_worker_id", "is_xdist_worker", "is_xdist_controller", "is_xdist_master"]),
        ("xdist.plugin", ["get_xdist_worker_id", "is_xdist_worker", "is_xdist_controller"]),
        ("xdist.newhooks", ["pytest_handlecrashitem", "pytest_configure_node", "pytest_testnodedown"]),
        ("xdist.dsession", ["DSession", "Interrupted", "LoadScheduling"]),
        ("xdist.workermanage", ["WorkerController", "NodeManager"]),
        ("xdist.scheduler", ["LoadScheduling", "LoadScopeScheduling", "WorkStealingScheduling", "EachScheduling"]),
        ("xdist.scheduler.loadscope", ["LoadScopeScheduling"]),
        ("xdist.scheduler.loadfile", ["LoadFileScheduling"]),
    ],
)
def test_modules_have_what_people_import(name: str, attributes: list[str]) -> None:
    made = ours(name)
    assert [attribute for attribute in attributes if not hasattr(made, attribute)] == []


def test_other_modules_are_not_ours() -> None:
    assert compat.find_spec("xdist.nothing_of_that_name") is None
    assert compat.find_spec("xdistant") is None


def test_the_version_that_is_told() -> None:
    (found,) = compat.find_distributions(SimpleNamespace(name="pytest_xdist"))
    assert found.metadata["Name"] == "pytest-xdist" and found.version == ours("xdist").__version__
    assert list(compat.find_distributions(SimpleNamespace(name="pytest"))) == []
    assert list(compat.find_distributions(SimpleNamespace(name=None))) == []


def test_an_installed_one_is_found_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    compat.install()
    compat.install()
    assert isinstance(sys.meta_path[-1], compat._Finder)
    assert sum(isinstance(finder, compat._Finder) for finder in sys.meta_path) == 1


@pytest.mark.parametrize(
    ("config", "worker", "controller", "name"),
    [
        (SimpleNamespace(workerinput={"workerid": "gw3"}, option=SimpleNamespace(dist="no")), True, False, "gw3"),
        (SimpleNamespace(option=SimpleNamespace(dist="load")), False, True, "master"),
        (SimpleNamespace(option=SimpleNamespace(dist="no")), False, False, "master"),
    ],
    ids=["worker", "controller", "plain"],
)
def test_who_am_i(config: Any, worker: bool, controller: bool, name: str) -> None:
    request = SimpleNamespace(config=config)
    assert compat.is_xdist_worker(request) is worker
    assert compat.is_xdist_controller(request) is controller
    assert compat.get_xdist_worker_id(request) == name


@pytest.fixture
def manager() -> PytestPluginManager:
    return PytestPluginManager()


def add_options(manager: PytestPluginManager) -> None:
    entry.pytest_addoption(Parser(_ispytest=True), manager)


def test_with_both_installed_the_user_is_asked(manager: PytestPluginManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_is_installed", lambda: True)
    with pytest.raises(pytest.UsageError) as raised:
        add_options(manager)
    assert "-p no:xdist_rs" in str(raised.value) and "-p no:xdist " in str(raised.value)
    assert not manager.has_plugin("xdist")


def test_with_pytest_xdist_blocked_we_serve(manager: PytestPluginManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_is_installed", lambda: True)
    manager.set_blocked("xdist")
    add_options(manager)
    assert isinstance(manager.get_plugin("xdist"), Distributor)


def test_alone_we_serve(manager: PytestPluginManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_is_installed", lambda: False)
    add_options(manager)
    assert isinstance(manager.get_plugin("xdist"), Distributor)


def test_where_xdist_run_started_pytest_nothing_is_added(manager: PytestPluginManager) -> None:
    plugin = XdistPlugin()
    manager.register(plugin)
    add_options(manager)
    assert manager.get_plugin("xdist") is plugin


@pytest.mark.parametrize(
    ("found", "installed"),
    [
        (None, False),
        (compat.find_spec("xdist.dsession"), False),
        (SimpleNamespace(loader=object()), True),
    ],
    ids=["none", "ours", "pytest-xdist"],
)
def test_our_modules_are_not_taken_for_pytest_xdist(
    monkeypatch: pytest.MonkeyPatch, found: Any, installed: bool
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    assert entry._is_installed() is installed


def test_another_package_of_that_name_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a project xdist on PyPI, whose module is not a package."""
    monkeypatch.setitem(sys.modules, "xdist", ModuleType("xdist"))
    assert entry._is_installed() is False
