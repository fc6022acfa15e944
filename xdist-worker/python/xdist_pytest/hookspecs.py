"""The hooks that pytest-xdist defines, so that conftests and plugins that implement them load.

Of these only `pytest_xdist_auto_num_workers` is called in a worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from pytest import hookspec

if TYPE_CHECKING:
    import pytest


def pytest_xdist_setupnodes(config: pytest.Config, specs: Any) -> None:
    """The workers are about to be started."""


def pytest_xdist_newgateway(gateway: Any) -> None:
    """A worker's interpreter is up."""


def pytest_xdist_rsyncstart(source: Any, gateways: Any) -> None:
    """A directory is about to be copied to workers."""


def pytest_xdist_rsyncfinish(source: Any, gateways: Any) -> None:
    """A directory has been copied to workers."""


@hookspec(firstresult=True)
def pytest_xdist_getremotemodule() -> Any:
    """The module that a worker is to execute."""


def pytest_configure_node(node: Any) -> None:
    """A worker's configuration is about to be sent."""


def pytest_testnodeready(node: Any) -> None:
    """A worker is ready to collect."""


def pytest_testnodedown(node: Any, error: Optional[object]) -> None:
    """A worker has ended, cleanly if there is no error."""


def pytest_xdist_node_collection_finished(node: Any, ids: Any) -> None:
    """A worker has collected."""


@hookspec(firstresult=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The scheduler to use."""


@hookspec(firstresult=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Optional[int]:
    """How many workers `-n auto` or `-n logical` (`config.option.numprocesses`) stands for."""


@hookspec(firstresult=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport, sched: Any) -> None:
    """A worker crashed while it ran an item; the report may be changed."""
