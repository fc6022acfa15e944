"""pytest's entry point: with this package installed, `pytest -n 4` runs on xdist.

Whatever is not needed where `xdist run` has started pytest is imported later.
"""

from __future__ import annotations

import importlib.util

import pytest

from .plugin import is_served, register_anew

_CLASH = (
    "pytest-xdist and xdist are both installed, and both want -n. Choose with -p no:xdist_rs (then pytest-xdist runs the "
    "tests) or -p no:xdist (then xdist does), for example in addopts."
)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Takes pytest-xdist's place, unless `xdist run` has done so already."""
    if is_served(pluginmanager):
        return
    if not pluginmanager.is_blocked("xdist") and _is_installed():
        raise pytest.UsageError(_CLASH)
    from .distributor import Distributor

    register_anew(pluginmanager, Distributor())


def _is_installed() -> bool:
    """Whether pytest-xdist is. Another project has the same name on PyPI, but no such module."""
    from . import compat

    try:
        spec = importlib.util.find_spec("xdist.dsession")
    except ImportError:
        return False
    return spec is not None and not compat.is_ours(spec)
