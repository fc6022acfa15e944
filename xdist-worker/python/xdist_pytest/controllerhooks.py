"""Finds plugins and conftests that have something to do on the coordinator's side."""

from __future__ import annotations

import sys
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


def _given(name: str) -> Callable[[pytest.Config], bool]:
    """That an option is given."""
    return lambda config: bool(config.getoption(name, None))


def _never(_: pytest.Config) -> bool:
    return False


#: Well-known plugins by their module, and when they have something to do on the coordinator's side. Of others their hooks
#: and their code tell.
_KNOWN: dict[str, Callable[[pytest.Config], bool]] = {
    "_hypothesis_pytestplugin": _given("hypothesis_show_statistics"),
    "allure_pytest": _never,
    "anyio": _never,
    "pytest_asyncio": _never,
    "pytest_benchmark": _never,
    "pytest_cov": _given("cov_source"),
    "pytest_django": _never,
    "pytest_forked": _never,
    "pytest_html": _given("htmlpath"),
    "pytest_jsonreport": lambda config: _given("json_report")(config) or _given("json_report_file")(config),
    "pytest_metadata": _never,
    "pytest_mock": _never,
    "pytest_split": _given("store_durations"),
    "pytest_subtests": _never,
    "pytest_timeout": _never,
    "xdist": _never,
}
_OWN = ("_pytest", "xdist_pytest", "pluggy")


def controller_hooks(config: pytest.Config) -> list[str]:
    """What there is to do on the coordinator's side, each with the plugin that wants it; empty if there is nothing."""
    wanted = []
    for name, plugin in config.pluginmanager.list_name_plugin():
        if plugin is None:
            continue
        module = _module_of(plugin)
        package = module.split(".")[0]
        if package in _OWN:
            continue
        known = _KNOWN.get(package)
        if known is not None and not known(config):
            continue
        found = [hook for hook in (*_XDIST_HOOKS, *_REPORTING_HOOKS) if callable(getattr(plugin, hook, None))]
        if not found and _tells_sides(plugin, module):
            found = ["workerinput"]
        wanted += [f"{hook} ({name})" for hook in found]
    return wanted


def _module_of(plugin: Any) -> str:
    if isinstance(plugin, ModuleType):
        return plugin.__name__
    return str(getattr(plugin, "__module__", "") or type(plugin).__module__)


def _tells_sides(plugin: Any, module: str) -> bool:
    """Whether the module of a plugin has code that asks which side it is on."""
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
    if not _TELLS_SIDES.isdisjoint(code.co_names):
        return True
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if _mentions(constant):
                return True
        elif isinstance(constant, str) and constant in _TELLS_SIDES:
            return True
    return False
