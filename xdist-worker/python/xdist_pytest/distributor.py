"""`pytest -n 4`: the user's own pytest process is the host, and starts the coordinator, which starts everything else."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING, Optional

import pytest

from . import dist, options
from .link import Link, LinkError
from .plugin import XdistPlugin

if TYPE_CHECKING:
    from .controller import DistSession

#: Names the program, for those who keep it elsewhere.
_BINARY_VARIABLE = "XDIST_BINARY"


class Distributor(XdistPlugin):
    """The options and hooks of `xdist run`, and what makes a session with `-n` a distributed one."""

    def __init__(self) -> None:
        super().__init__()
        self._coordinator: Optional[subprocess.Popen[bytes]] = None
        self._args: list[str] = []
        # Now, since pytest puts something else in its place while it captures.
        self._terminal = _terminal()

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Finds out whether the session is to be distributed."""
        if hasattr(config, "workerinput"):
            return
        option = config.option
        self._args = list(config.invocation_params.args)
        is_given = option.numprocesses is not None or option.tx or option.listen
        if not is_given or self._plain_reason(config) is not None:
            option.numprocesses = 0
            option.dist = "no"
            option.distload = False
            option.tx = []
            option.listen = []
            return
        dist.settle_options(config)
        if not option.tx and not option.listen:
            option.numprocesses = 0
            option.dist = "no"

    def _plain_reason(self, config: pytest.Config) -> Optional[str]:
        if config.option.numprocesses in ("auto", "logical") and (config.option.usepdb or config.option.trace):
            return "--pdb"
        return options.plain_reason(config, self._terminal is not None)

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Takes the main loop over if there is something to distribute."""
        super().pytest_configure(config)
        if options.distributes(config):
            dist.install(config, self._start)

    @pytest.hookimpl
    def pytest_report_header(self, config: pytest.Config) -> Optional[str]:
        """Says what has no effect, where nothing is distributed."""
        is_plain = not options.distributes(config) and not hasattr(config, "workerinput")
        return options.unheeded(config) if is_plain else None

    def _start(self, session: DistSession) -> Link:
        """Starts the coordinator."""
        ours, theirs = socket.socketpair()
        descriptor = theirs.fileno()
        command = [
            *(find_binary(), "run", "--controller-fd", str(descriptor), "--python", sys.executable),
            *self._pinned(session.config),
            *self._files(session.config),
            *(() if self._terminal is None else ("--terminal", self._terminal)),
            *("--worker-specs", "\n".join(session.config.option.tx), "--dist", session.config.option.dist, *self._args),
        ]
        environment = {**os.environ, "XDIST_CONTROLLER": "1"}
        try:
            self._coordinator = subprocess.Popen(
                command,
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=session.config.invocation_params.dir,
                # Ctrl-C is for this process, which passes it on.
                start_new_session=True,
            )
        except OSError as error:
            raise pytest.UsageError(
                f"cannot start {command[0]}: {error}; install xdist anew, or set {_BINARY_VARIABLE}"
            ) from error
        theirs.close()
        link = Link(ours)
        try:
            link.open(*session.features())
        except LinkError:
            if self._coordinator.wait() != pytest.ExitCode.USAGE_ERROR:
                raise
            raise pytest.UsageError("xdist does not take these options; its reason stands above") from None
        session.interrupt_with(lambda: link.send("interrupt_run"))
        return link

    @staticmethod
    def _pinned(config: pytest.Config) -> list[str]:
        """What workers are not to find out by themselves: files that a plugin has made meanwhile may mislead them."""
        pinned = [f"--found-rootdir={config.rootpath}"]
        if config.inipath is not None and not config.getoption("inifilename", None):
            pinned.append(f"--found-inifile={config.inipath}")
        return pinned

    @staticmethod
    def _files(config: pytest.Config) -> list[str]:
        """What is copied to workers elsewhere, which may stand in settings that the coordinator does not read."""
        if not options.starts_elsewhere(config):
            return []
        return ["--found-files", "\n".join(options.files_as_lines(config))]

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Sees the coordinator out."""
        super().pytest_unconfigure(config)
        if self._coordinator is not None:
            self._coordinator.wait()


def _terminal() -> Optional[str]:
    """The path of the terminal on standard input, if this process may read from it."""
    try:
        return os.ttyname(0) if os.tcgetpgrp(0) == os.getpgrp() else None
    except OSError:
        return None


def find_binary() -> str:
    """The program `xdist` that came with this package.

    Raises `pytest.UsageError` if it is not there.
    """
    chosen = os.environ.get(_BINARY_VARIABLE)
    if chosen:
        return chosen
    for directory in (sysconfig.get_path("scripts"), os.path.dirname(sys.executable)):
        candidate = os.path.join(directory, "xdist")
        if os.access(candidate, os.X_OK):
            return candidate
    found = shutil.which("xdist")
    if found is None:
        raise pytest.UsageError(
            f"the program xdist is not beside {sys.executable}; install the package xdist-pytest anew"
        )
    return found
