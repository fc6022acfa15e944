"""Engines that place processes on machines. What is not installed here is reported as not run, by name."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

E2E = Path(__file__).resolve().parents[1] / "e2e"
sys.path.insert(0, str(Path(__file__).parent))
# For `processes` and `ports`.
sys.path.append(str(E2E))

_spec = importlib.util.spec_from_file_location("end_to_end", E2E / "conftest.py")
sys.modules["end_to_end"] = end_to_end = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(end_to_end)

import slurm_cluster  # noqa: E402

xdist = end_to_end.xdist


@pytest.fixture
def commands(xdist):
    """The suite's directory, in which `xdist` and `python3` are commands, as in an environment that was activated."""
    ways = [os.path.dirname(xdist.binary), os.path.dirname(xdist.python), xdist.env["PATH"]]
    xdist.env["PATH"] = os.pathsep.join(ways)
    return xdist


@pytest.fixture(scope="session")
def _cluster():
    if slurm_cluster.MISSING:
        pytest.skip(f"not run: no {', '.join(slurm_cluster.MISSING)} on this machine, so no Slurm of our own")
    cluster = slurm_cluster.Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def slurm(_cluster, xdist):
    """A Slurm that nobody else uses."""
    for name in [name for name in xdist.env if name.startswith("SLURM_")]:
        del xdist.env[name]
    xdist.env["SLURM_CONF"] = str(_cluster.configuration)
    yield _cluster
    _cluster.clear()
