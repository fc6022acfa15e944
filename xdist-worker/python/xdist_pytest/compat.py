"""The module `xdist` for programs that import it, where pytest-xdist itself is not installed."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Callable, Optional

#: What pytest-xdist has that people import, and where it is here.
_MODULES = {
    "xdist": "api",
    "xdist.newhooks": "hookspecs",
    "xdist.plugin": "api",
    "xdist.dsession": "dsession",
    "xdist.workermanage": "workermanage",
    "xdist.scheduler": "scheduling",
    "xdist.scheduler.protocol": "scheduling",
    "xdist.scheduler.each": "scheduling",
    "xdist.scheduler.load": "scheduling",
    "xdist.scheduler.loadscope": "scheduling",
    "xdist.scheduler.loadfile": "scheduling",
    "xdist.scheduler.loadgroup": "scheduling",
    "xdist.scheduler.worksteal": "scheduling",
}
_VERSION = "3.8.0"


class _Loader(importlib.abc.Loader):
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Optional[types.ModuleType]:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module).update(_contents(module.__name__))


def find_spec(name: str) -> Optional[importlib.machinery.ModuleSpec]:
    """What an import of this module finds here. Also called by the `.pth` file that is installed with the package."""
    if name not in _MODULES:
        return None
    return importlib.machinery.ModuleSpec(name, _Loader(), is_package=name in ("xdist", "xdist.scheduler"))


def find_distributions(context: Any = None) -> Iterable[Any]:
    """What a question for the version of pytest-xdist finds here: pytest-rerunfailures asks."""
    name = str(getattr(context, "name", None) or "").lower().replace("_", "-")
    if name != "pytest-xdist":
        return []
    from .distribution import Stated

    return [Stated("pytest-xdist", _VERSION)]


class _Finder(importlib.abc.MetaPathFinder):
    """Comes last, so that a pytest-xdist that is installed is found first."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[importlib.machinery.ModuleSpec]:
        return find_spec(name)

    def find_distributions(self, context: Any = None) -> Iterable[Any]:
        return find_distributions(context)


def install() -> None:
    """Makes `import xdist` work."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def is_ours(spec: importlib.machinery.ModuleSpec) -> bool:
    """Whether a module comes from here."""
    return isinstance(spec.loader, _Loader)


def _contents(name: str) -> dict[str, Any]:
    kind = _MODULES[name]
    if kind == "hookspecs":
        from . import hookspecs

        return _public(hookspecs)
    if kind == "scheduling":
        from . import scheduling

        return _public(scheduling)
    if kind == "workermanage":
        from . import nodes

        return {"WorkerController": nodes.Node, "NodeManager": nodes.NodeManager}
    if kind == "dsession":
        from . import controller, scheduling

        return {"DSession": controller.DistSession, "Interrupted": controller.Interrupted, **_public(scheduling)}
    return {
        "__version__": _VERSION,
        "get_xdist_worker_id": get_xdist_worker_id,
        "is_xdist_controller": is_xdist_controller,
        "is_xdist_master": is_xdist_controller,
        "is_xdist_worker": is_xdist_worker,
        "once_per_run": once_per_run,
        "run_lock": run_lock,
    }


#: The sessions of this process that are configured, the innermost last.
configs: list[Any] = []


def once_per_run(key: str, make: Callable[[], Any], cleanup: Optional[Callable[[Any], object]] = None) -> Any:
    """The same as the fixture of this name, for hooks and helpers."""
    return _shared("once_per_run").once_per_run(key, make, cleanup)


def run_lock(name: str) -> AbstractContextManager[None]:
    """The same as the fixture of this name, for hooks and helpers."""
    context: AbstractContextManager[None] = _shared("run_lock").run_lock(name)
    return context


def _shared(function: str) -> Any:
    from . import shared

    config = configs[-1] if configs else None
    if config is None:
        raise RuntimeError(f"{function} works from pytest_configure on, while pytest runs")
    if not hasattr(config, "workerinput") and getattr(config.option, "dist", "no") != "no":
        raise RuntimeError(f"{function} works in workers, and this is the controller of a distributed run")
    return shared.of(config)


def _public(module: types.ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


def is_xdist_worker(request_or_session: Any) -> bool:
    """Whether this is a worker of a distributed run. Takes a `request` or a session."""
    return hasattr(request_or_session.config, "workerinput")


def is_xdist_controller(request_or_session: Any) -> bool:
    """Whether this is the session that a distributed run is controlled from."""
    return not is_xdist_worker(request_or_session) and request_or_session.config.option.dist != "no"


def get_xdist_worker_id(request_or_session: Any) -> str:
    """What the worker is called, or `master` on the controller's side and where nothing is distributed."""
    if is_xdist_worker(request_or_session):
        return str(request_or_session.config.workerinput["workerid"])
    return "master"
