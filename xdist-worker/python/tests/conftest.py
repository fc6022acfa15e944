"""Fixtures for the tests of the Python half. Nothing here depends on an installed pytest-xdist, or on its absence."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import Runner  # noqa: E402


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., Path]:
    """Writes files of a suite: `suite(test_a="...", conftest="...")`; answers its directory."""
    directory = tmp_path / "suite"
    directory.mkdir()
    (directory / "pytest.ini").write_text("[pytest]\n")

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = directory / (name if "." in name else f"{name}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return directory

    return write


@pytest.fixture
def start(suite: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    """Starts a runner in the suite's directory."""
    runners = []

    def start(*args: str, environment: Any = None, **configure: Any) -> Runner:
        # Plugins that happen to be installed are no concern of these tests.
        surroundings = {"PYTEST_DEBUG_TEMPROOT": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        surroundings.update(environment or {})
        runner = Runner(suite(), *args, environment=surroundings, **configure)
        runners.append(runner)
        return runner

    yield start
    for runner in runners:
        runner.close()
