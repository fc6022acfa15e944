"""Finds plugins and conftests that have something to do on the coordinator's side."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

#: Hooks that are called only there.
_XDIST_HOOKS = (
    "pytest_configure_node",
    "pytest_testnodeready",
    "pytest_testnodedown",
    "pytest_xdist_setupnodes",
    "pytest_xdist_newgateway",
    "pytest_xdist_rsyncstart",
    "pytest_xdist_rsyncfinish",
    "pytest_xdist_node_collection_finished",
    "pytest_xdist_make_scheduler",
    "pytest_handlecrashitem",
)
#: Hooks that are called in workers too, but mostly serve to tell something about the whole run.
_REPORTING_HOOKS = (
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_collectreport",
    "pytest_warning_recorded",
    "pytest_internalerror",
    "pytest_terminal_summary",
)
#: What code mentions that does one thing in workers and another on the coordinator's side.
_TELLS_SIDES = frozenset(
    {
        "workerinput",
        "workeroutput",
        "is_xdist_worker",
        "is_xdist_controller",
        "is_xdist_master",
        "pytest_configure_node",
        "pytest_testnodedown",
        "pytest_handlecrashitem",
    }
)


#: What code mentions that puts another terminal in the place of pytest's.
_REPLACES_TERMINAL = frozenset({"terminalreporter", "unregister"})


def _given(*names: str) -> Callable[[pytest.Config, bool], bool]:
    """That one of these options is given."""
    return lambda config, _: any(config.getoption(name, None) for name in names)


def _never(_config: pytest.Config, _terminal: bool) -> bool:
    return False


#: Well-known plugins by their module, and when they have something to do on the coordinator's side: that hangs on options,
#: and on whether the output is a terminal. Of others their hooks and their code tell.
_KNOWN: dict[str, Callable[[pytest.Config, bool], bool]] = {
    # With libcst it offers a patch for examples that failed.
    "_hypothesis_pytestplugin": lambda config, _: (
        bool(config.getoption("hypothesis_show_statistics", None)) or find_spec("libcst") is not None
    ),
    "allure_pytest": _never,
    "anyio": _never,
    "pytest_asyncio": _never,
    "pytest_benchmark": _never,
    "pytest_cov": _given("cov_source"),
    "pytest_django": _never,
    "pytest_forked": _never,
    "pytest_html": _given("htmlpath"),
    "pytest_instafail": _given("instafail"),
    "pytest_jsonreport": _given("json_report"),
    "pytest_metadata": _never,
    "pytest_mock": _never,
    "pytest_split": _given("store_durations"),
    "pytest_subtests": _never,
    "pytest_sugar": lambda config, terminal: terminal or bool(config.getoption("force_sugar", None)),
    "pytest_timeout": _never,
    "xdist": _never,
}
_OWN = ("_pytest", "xdist_pytest", "pluggy")


def controller_hooks(config: pytest.Config, terminal: bool) -> list[str]:
    """What there is to do on the coordinator's side, each with the plugin that wants it; empty if there is nothing.

    `terminal` is whether the output is one.
    """
    wanted = []
    for name, plugin in config.pluginmanager.list_name_plugin():
        if plugin is None:
            continue
        module = _module_of(plugin)
        package = module.split(".")[0]
        if package in _OWN:
            continue
        known = _KNOWN.get(package)
        if known is not None and not known(config, terminal):
            continue
        found = [hook for hook in (*_XDIST_HOOKS, *_REPORTING_HOOKS) if callable(getattr(plugin, hook, None))]
        if not found and (known is not None or _tells_sides(plugin, module)):
            found = ["its code"]
        wanted += [f"{hook} ({name})" for hook in found]
    return wanted


def _module_of(plugin: Any) -> str:
    if isinstance(plugin, ModuleType):
        return plugin.__name__
    return str(getattr(plugin, "__module__", "") or type(plugin).__module__)


def _tells_sides(plugin: Any, module: str) -> bool:
    """Whether the module of a plugin has code that asks which side it is on, or has something to show there."""
    found = plugin if isinstance(plugin, ModuleType) else sys.modules.get(module)
    return found is not None and any(_mentions(code) for code in _code_of(vars(found), found.__name__))


def _code_of(names: dict[str, Any], module: str) -> Iterator[CodeType]:
    for value in list(names.values()):
        # What is imported from elsewhere says nothing.
        if getattr(value, "__module__", None) != module:
            continue
        if isinstance(value, FunctionType):
            yield value.__code__
        elif isinstance(value, type):
            yield from _code_of(dict(vars(value)), module)


def _mentions(code: CodeType) -> bool:
    words = set(_words(code))
    return not _TELLS_SIDES.isdisjoint(words) or words >= _REPLACES_TERMINAL


def _words(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _words(constant)
        elif isinstance(constant, str):
            yield constant
