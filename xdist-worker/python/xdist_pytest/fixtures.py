"""The fixtures that pytest-xdist has."""

from __future__ import annotations

import uuid

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
