"""The plugins that are tried, at pinned versions, each in a virtual environment of its own under `.cache/venvs`."""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import suites  # noqa: E402  (from tools/)

# By the name of the test module. pytest and pytest-xdist come on top, at the versions of tools/suites.py.
REQUIREMENTS = {
    "allure": ("allure-pytest==2.16.2",),
    "asyncio": ("pytest-asyncio==1.5.0",),
    "benchmark": ("pytest-benchmark==5.3.1",),
    "cov": ("pytest-cov==7.1.0", "coverage==7.17.3"),
    "django": ("pytest-django==4.14.0", "django==5.2.19"),
    "flaky": ("flaky==3.8.1",),
    "html": ("pytest-html==4.2.0", "pytest-metadata==3.1.1"),
    "hypothesis": ("hypothesis==6.170.15",),
    "instafail": ("pytest-instafail==0.5.0",),
    "json_report": ("pytest-json-report==1.5.0", "pytest-metadata==3.1.1"),
    "metadata": ("pytest-metadata==3.1.1",),
    "mock": ("pytest-mock==3.17.0",),
    "random_order": ("pytest-random-order==1.2.0",),
    "randomly": ("pytest-randomly==5.1.0",),
    "rerunfailures": ("pytest-rerunfailures==16.7",),
    "split": ("pytest-split==0.11.0",),
    # pytest 9 has it built in, and leaves the plugin alone.
    "subtests": ("pytest==8.4.2", "pytest-subtests==0.15.0"),
    "sugar": ("pytest-sugar==1.1.1",),
    "syrupy": ("syrupy==7.0.2",),
    # pytest-xdist alone.
    "texts": (),
    "timeout": ("pytest-timeout==2.4.0",),
}


class CannotInstall(Exception):
    """A plugin cannot be had here, mostly because there is no network."""


@functools.lru_cache(maxsize=None)
def with_pytest_xdist(plugin: str) -> Path:
    """The interpreter of an environment with a plugin and pytest-xdist."""
    return _environment(plugin, (suites.PYTEST_XDIST, *_requirements(plugin)))


@functools.lru_cache(maxsize=None)
def with_xdist_installed(plugin: str) -> Path:
    """The interpreter of an environment with a plugin and this project, as `pip install .` does it; no pytest-xdist."""
    python = _environment(f"{plugin}-installed", _requirements(plugin))
    # Every time, since the project changes without a new version.
    _pip(python, "install", "--force-reinstall", "--no-deps", str(_wheel()))
    return python


def _requirements(plugin: str) -> tuple[str, ...]:
    own = REQUIREMENTS[plugin]
    return own if any(each.startswith("pytest==") for each in own) else (suites.PYTEST, *own)


def _environment(name: str, requirements: tuple[str, ...]) -> Path:
    try:
        return suites.environment(suites.CACHE / "venvs" / f"plugin-{name}", requirements)
    except subprocess.CalledProcessError as error:
        raise CannotInstall(f"{' '.join(requirements)}: {error}") from error


@functools.lru_cache(maxsize=None)
def _wheel() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="xdist-wheel-"))
    _pip(Path(sys.executable), "wheel", "--no-deps", "--wheel-dir", str(directory), str(ROOT))
    return next(directory.glob("*.whl"))


def _pip(python: Path, *arguments: str) -> None:
    subprocess.run(
        [python, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"],
        check=True, stdin=subprocess.DEVNULL, env={**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target")},
    )  # fmt: skip
