"""Which plugins and conftests want the pytest host."""

from __future__ import annotations

import textwrap
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from xdist_pytest import controllerhooks
from xdist_pytest.controllerhooks import controller_hooks


def module(name: str, text: str = "") -> ModuleType:
    """A module as if it had been imported from a file."""
    made = ModuleType(name)
    exec(compile(textwrap.dedent(text), f"{name}.py", "exec"), made.__dict__)
    return made


def wanted(*plugins: Any, terminal: bool = False, **options: Any) -> list[str]:
    """What is wanted if these plugins are registered and these options given."""
    named = [(getattr(plugin, "__name__", str(plugin)), plugin) for plugin in plugins]
    config: Any = SimpleNamespace(
        pluginmanager=SimpleNamespace(list_name_plugin=lambda: named),
        getoption=lambda name, default=None: options.get(name, default),
    )
    return controller_hooks(config, terminal)


def test_nothing_is_wanted_without_plugins() -> None:
    assert wanted() == []


@pytest.mark.parametrize(
    "hook",
    ["pytest_configure_node", "pytest_testnodedown", "pytest_handlecrashitem", "pytest_xdist_make_scheduler",
     "pytest_runtest_logreport", "pytest_terminal_summary", "pytest_warning_recorded"],
)  # fmt: skip
def test_a_hook_of_the_controllers_side_is_wanted(hook: str) -> None:
    assert wanted(module("conftest", f"def {hook}(): pass")) == [f"{hook} (conftest)"]


@pytest.mark.parametrize(
    "hook", ["pytest_configure", "pytest_sessionfinish", "pytest_runtest_setup", "pytest_xdist_auto_num_workers"]
)
def test_a_hook_that_works_in_a_worker_is_not(hook: str) -> None:
    assert wanted(module("conftest", f"def {hook}(): pass")) == []


def test_a_plugin_may_be_an_object() -> None:
    class Plugin:
        def pytest_testnodedown(self) -> None:
            pass

    assert wanted(Plugin())[0].startswith("pytest_testnodedown (")


@pytest.mark.parametrize(
    "text",
    [
        "def pytest_configure(config):\n    return hasattr(config, 'workerinput')",
        "def pytest_configure(config):\n    return config.workerinput",
        "def pytest_sessionfinish(session):\n    session.config.workeroutput['x'] = 1",
        "def make():\n    def inner(config):\n        return config.workerinput\n    return inner",
        "class Plugin:\n    def pytest_configure(self, config):\n        return config.workerinput",
        "def pytest_configure(config):\n    import xdist\n    return xdist.is_xdist_worker(config)",
        # Puts a terminal of its own in the place of pytest's.
        "def pytest_configure(config):\n    old = config.pluginmanager.getplugin('terminalreporter')\n"
        "    config.pluginmanager.unregister(old)",
    ],
)
def test_code_that_tells_the_sides_apart_is_wanted(text: str) -> None:
    assert wanted(module("conftest", text)) == ["its code (conftest)"]


def test_words_of_others_are_not_the_plugins_code() -> None:
    other = module("other", "def helper(config):\n    return config.workerinput")
    plugin = module("conftest", "def pytest_configure(config): pass\nNAME = 'workerinput'")
    plugin.helper = other.helper  # type: ignore[attr-defined]
    assert wanted(plugin) == []


def test_unregistering_alone_does_not_count() -> None:
    text = "def pytest_configure(config):\n    config.pluginmanager.unregister(name='doctest')"
    assert wanted(module("conftest", text)) == []


@pytest.mark.parametrize("name", ["_pytest.terminal", "xdist_pytest.plugin", "xdist.plugin", "pytest_asyncio.plugin"])
def test_pytest_and_plugins_without_a_part_there_are_left_out(name: str) -> None:
    assert wanted(module(name, "def pytest_terminal_summary(): pass\ndef f(config): config.workerinput")) == []


def test_a_plugin_that_was_blocked_is_left_out() -> None:
    assert wanted(None) == []


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("pytest_cov.plugin", "cov_source"),
        ("pytest_html.plugin", "htmlpath"),
        ("pytest_jsonreport.plugin", "json_report"),
        ("pytest_instafail", "instafail"),
        ("pytest_split.plugin", "store_durations"),
        ("pytest_sugar", "force_sugar"),
        ("_hypothesis_pytestplugin", "hypothesis_show_statistics"),
    ],
)
def test_known_plugins_want_it_only_when_they_are_used(monkeypatch: pytest.MonkeyPatch, name: str, option: str) -> None:
    monkeypatch.setattr(controllerhooks, "find_spec", lambda _name: None)
    plugin = module(name, "def pytest_configure(config): config.workerinput")
    assert wanted(plugin) == []
    assert wanted(plugin, **{option: True}) == [f"its code ({name})"]


def test_hypothesis_offers_patches_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controllerhooks, "find_spec", lambda name: name == "libcst" or None)
    assert wanted(module("_hypothesis_pytestplugin")) == ["its code (_hypothesis_pytestplugin)"]


def test_sugar_is_for_terminals() -> None:
    assert wanted(module("pytest_sugar"), terminal=True) == ["its code (pytest_sugar)"]
    assert wanted(module("pytest_instafail"), terminal=True) == []
