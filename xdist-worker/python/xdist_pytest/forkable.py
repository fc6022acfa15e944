"""Whether workers can be forked from this process with nobody noticing, and if not, why."""

from __future__ import annotations

import os
import sys
import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Optional

from . import descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from .watch import Watch

#: Plugins that do something to the process they are in, by the name that they are registered under.
_NEED_THEIR_OWN_START = {"_cov": "pytest-cov", "xvfb": "pytest-xvfb"}
#: What ends something that was begun once per worker.
_ENDS = ("pytest_sessionfinish", "pytest_unconfigure")


def early_problem(config: pytest.Config, watch: Watch) -> Optional[str]:
    """What can be said before collection."""
    if sys.platform != "linux":
        return f"{sys.platform} has no safe fork"
    try:
        import ctypes  # noqa: F401
    except ImportError:
        return "this Python has no ctypes"
    for name, title in _NEED_THEIR_OWN_START.items():
        if config.pluginmanager.hasplugin(name):
            return f"{title} has to be started in every worker"
    if _is_measured():
        return "coverage is being measured"
    return _problem_of_hooks(config) or _noted(watch)


def late_problem(config: pytest.Config, watch: Watch, known: frozenset[tuple[int, int]]) -> Optional[str]:
    """What is to be said after collection. Descriptors in the inventory `known` do not count."""
    factory = getattr(config, "_tmp_path_factory", None)
    if getattr(factory, "_basetemp", None) is not None:
        return "the temporary directory is in use already"
    for finalizer in weakref.finalize._registry:  # type: ignore[attr-defined]
        if finalizer.atexit:
            return "something is to be cleaned up at exit (weakref.finalize, tempfile.TemporaryDirectory)"
    return (
        _problem_of_hooks(config)
        or _noted(watch)
        or _problem_of_children()
        or descriptors.problem(known)
        or _problem_of_threads()
    )


def _is_measured() -> bool:
    coverage: Any = sys.modules.get("coverage")
    try:
        return coverage is not None and coverage.Coverage.current() is not None
    except AttributeError:
        return False


def _problem_of_hooks(config: pytest.Config) -> Optional[str]:
    """A conftest that undoes something in every worker which was then done once."""
    installed = {"_pytest", "xdist_pytest"}
    installed.update(_package(plugin) for plugin, _ in config.pluginmanager.list_plugin_distinfo())
    for hook in _ENDS:
        for plugin in _implementers(config, hook):
            if _package(plugin) not in installed:
                return f"{_name_of(plugin)} implements {hook}"
    return None


def _implementers(config: pytest.Config, hook: str) -> Iterator[object]:
    for implementation in getattr(config.hook, hook).get_hookimpls():
        yield implementation.plugin


def _name_of(plugin: object) -> str:
    return str(getattr(plugin, "__file__", None) or getattr(plugin, "__name__", None) or type(plugin).__qualname__)


def _package(plugin: object) -> str:
    name = getattr(plugin, "__name__", None) if hasattr(plugin, "__spec__") else type(plugin).__module__
    return str(name).partition(".")[0]


def _noted(watch: Watch) -> Optional[str]:
    if watch.identity_reader is not None:
        return f"{watch.identity_reader} asks which worker it is in"
    if watch.at_exit:
        return f"{watch.at_exit[0]} is to be called at exit"
    return None


def _problem_of_children() -> Optional[str]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return "a child process is there"


def _problem_of_threads() -> Optional[str]:
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others:
        return f"a thread is running: {others[0]}"
    if _count_threads() == 1:
        return None
    # Libraries that know of forks end their threads before one and start them again when they are needed.
    _try_to_fork()
    count = _count_threads()
    return None if count == 1 else f"{count - 1} threads of libraries are running"


def _count_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _try_to_fork() -> None:
    with warnings.catch_warnings():
        # Python 3.12 and later say that threads and forks do not go together, which is what is to be found out.
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
