"""The fixtures that pytest-xdist has, and those for what all workers share."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager
from typing import Any, Callable

import pytest


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """The name of this worker, such as `gw0`; `master` if the session is not distributed."""
    workerinput = getattr(request.config, "workerinput", None)
    return "master" if workerinput is None else str(workerinput["workerid"])


@pytest.fixture(scope="session")
def testrun_uid(request: pytest.FixtureRequest) -> str:
    """A name for this run, the same in all its workers."""
    workerinput = getattr(request.config, "workerinput", None)
    return uuid.uuid4().hex if workerinput is None else str(workerinput["testrunuid"])


@pytest.fixture(scope="session")
def once_per_run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`once_per_run(key, make, cleanup=None)`: a value that one worker makes and all workers of the run get."""
    from . import shared

    return shared.of(request.config).once_per_run


@pytest.fixture(scope="session")
def run_lock(request: pytest.FixtureRequest) -> Callable[[str], AbstractContextManager[None]]:
    """`with run_lock(name):` a block that one worker of the run is in at a time."""
    from . import shared

    return shared.of(request.config).run_lock
