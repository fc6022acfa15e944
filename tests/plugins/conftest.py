"""The `suite` fixture: a suite for the plugin that the test module is named for (`test_cov.py`: pytest-cov)."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import doors  # noqa: E402
import environments  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "thorough: left out of the quick run of a few plugins, which CI does")


@pytest.fixture
def make_suite(request, tmp_path):
    """Makes a suite; `installed=True` for the plugin door where this project is installed, too.

    `plugin` is another one than the module's name says.
    """

    def make(installed=False, plugin=""):
        plugin = plugin or request.module.__name__.removeprefix("test_")
        # It takes a build for release, and then a while for each of them.
        installed = installed and os.environ.get("XDIST_TEST_INSTALLED") == "1"
        binary = os.environ.get("XDIST", str(environments.ROOT / "target" / "debug" / "xdist"))
        try:
            return doors.Suite(plugin, tmp_path, binary, installed)
        except environments.CannotInstall as error:
            pytest.skip(f"not run, since it cannot be installed: {error}")

    return make


@pytest.fixture
def suite(make_suite):
    return make_suite()
