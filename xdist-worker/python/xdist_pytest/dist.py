"""Makes a pytest session the controller of a distributed run: its options, and the plugins that pytest-xdist has there."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Callable, Union

import pytest

from . import options
from .controller import DistSession
from .link import Link
from .plugin import auto_workers

if TYPE_CHECKING:
    import socket

    from .freezing import Freezing

_DEFAULT_MODE = "worksteal"


def settle_options(config: pytest.Config) -> None:
    """Gives the options the values that they have on pytest-xdist's controller."""
    option = config.option
    count: Union[int, str, None] = option.numprocesses
    if isinstance(count, options.DefaultText) and option.tx:
        count = option.numprocesses = None
    elif isinstance(count, str):
        count = auto_workers(config)
    if isinstance(count, int):
        if option.maxprocesses:
            count = min(count, option.maxprocesses)
        option.numprocesses = count
        option.tx = ["popen"] * count
    else:
        option.tx = options.expanded_specs(option.tx)
    if option.distload:
        option.dist = "load"
    elif isinstance(option.dist, options.DefaultText):
        option.dist = _DEFAULT_MODE
    if option.loadscopereorder is None:
        option.loadscopereorder = True


def install(config: pytest.Config, connect: Callable[[DistSession], Link]) -> None:
    """Registers the plugin that takes the main loop over, under the name that pytest-xdist's has."""
    run_id = config.option.testrunuid or uuid.uuid4().hex
    session = DistSession(config, connect, run_id, len(config.option.tx))
    config.pluginmanager.register(session, "dsession")


class HostPlugin:
    """Makes a session the host of a run that is going on already."""

    def __init__(self, connection: socket.socket, freezing: Freezing) -> None:
        self._connection = connection
        self._freezing = freezing

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Takes the options for what pytest-xdist makes of them on its controller."""
        settle_options(config)

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Takes the main loop over."""
        install(config, self._open)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Ends the time in which garbage is looked for less often."""
        self._freezing.look_as_usual()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hides what there is from the garbage collector.

        pytest will look through it twice for garbage of tests, which is not here.
        """
        if session.config.getoption("freeze"):
            self._freezing.hide()

    def _open(self, session: DistSession) -> Link:
        link = Link(self._connection)
        link.open(*session.features())
        return link
