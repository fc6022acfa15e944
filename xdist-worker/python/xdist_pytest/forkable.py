"""Whether workers can be forked from this process with nobody noticing, and if not, why."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Optional

from . import descriptors
from .process import fork, undisturbed

if TYPE_CHECKING:
    import pytest

    from .descriptors import Identity
    from .watch import Watch

#: Plugins that do something to the process they are in, by the name that they are registered under.
_NEED_THEIR_OWN_START = {"_cov": "pytest-cov", "xvfb": "pytest-xvfb"}
#: What ends something that was begun once per worker.
_ENDS = ("pytest_sessionfinish", "pytest_unconfigure")
#: What is going on when workers are forked: a wrapper's first part was run once, and its second is run in each of them.
_ROUND_ABOUT = ("pytest_cmdline_main", "pytest_runtestloop")


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
    return _problem_of_hooks(config) or _noted(config, watch)


def late_problem(
    config: pytest.Config, watch: Watch, known: frozenset[Identity], known_memory: frozenset[str]
) -> Optional[str]:
    """What is to be said after collection. What was there when the process started does not count: `known`, `known_memory`."""
    factory = getattr(config, "_tmp_path_factory", None)
    if getattr(factory, "_basetemp", None) is not None:
        return "the temporary directory is in use already"
    for finalizer in weakref.finalize._registry:  # type: ignore[attr-defined]
        if finalizer.atexit:
            return "something is to be cleaned up at exit (weakref.finalize, tempfile.TemporaryDirectory)"
    return (
        _problem_of_hooks(config)
        or _noted(config, watch)
        or _problem_of_children()
        or descriptors.problem(known)
        or _problem_of_memory(known_memory)
        or _problem_of_timers()
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
    installed = _installed_packages(config)
    for hook in _ENDS:
        for implementation in getattr(config.hook, hook).get_hookimpls():
            if _package(implementation.plugin) not in installed:
                return f"{_name_of(implementation.plugin)} implements {hook}"
    for hook in _ROUND_ABOUT:
        for implementation in getattr(config.hook, hook).get_hookimpls():
            if _is_wrapper(implementation) and _package(implementation.plugin) not in installed:
                return f"{_name_of(implementation.plugin)} wraps {hook}"
    return None


def _installed_packages(config: pytest.Config) -> set[str]:
    packages = {"_pytest", "xdist_pytest"}
    packages.update(_package(plugin) for plugin, _ in config.pluginmanager.list_plugin_distinfo())
    return packages


def _is_wrapper(implementation: Any) -> bool:
    # Those of the new style are known since pluggy 1.2.
    return bool(implementation.hookwrapper or getattr(implementation, "wrapper", False))


def _name_of(plugin: object) -> str:
    return str(getattr(plugin, "__file__", None) or getattr(plugin, "__name__", None) or type(plugin).__qualname__)


def _package(plugin: object) -> str:
    name = getattr(plugin, "__name__", None) if hasattr(plugin, "__spec__") else type(plugin).__module__
    return str(name).partition(".")[0]


def _noted(config: pytest.Config, watch: Watch) -> Optional[str]:
    if watch.noted is not None:
        return watch.noted
    if watch.at_exit:
        return f"{watch.at_exit[0]} is to be called at exit"
    installed = _installed_packages(config)
    for module, place in watch.cleanups:
        if module.partition(".")[0] not in installed:
            return f"{place} asks for something to be done when pytest ends"
    return None


def _problem_of_children() -> Optional[str]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return "a child process is there"


def _problem_of_memory(known: frozenset[str]) -> Optional[str]:
    """Locks and values of multiprocessing, for example, which are not one for each worker any more after a fork."""
    shared = sorted(descriptors.shared_memory() - known)
    return f"memory is shared with forked processes: {shared[0].split(maxsplit=2)[-1]}" if shared else None


def _problem_of_timers() -> Optional[str]:
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        if any(signal.getitimer(timer)):
            return "a timer is running (signal.alarm, signal.setitimer)"
    return None


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
    with undisturbed():
        child = fork()
        if child == 0:
            os._exit(0)
        with contextlib.suppress(ChildProcessError):
            # A handler that is not Python's may have been faster.
            os.waitpid(child, 0)
