"""Where `xdist run` starts the pytest host: the pytest process that does what plugins have to do on this side."""

from __future__ import annotations

import os
import signal
import socket
from typing import NoReturn

from .freezing import Freezing
from .process import become_pytest, leave


def main(args: list[str]) -> NoReturn:
    """Runs pytest with these arguments, on a link that was inherited, and exits with its code."""
    descriptor = int(os.environ.pop("XDIST_LINK_FD"))
    # Ctrl-C is for the coordinator, which tells of it. Not ignored, which would be handed down to child processes.
    signal.signal(signal.SIGINT, lambda *_: None)
    become_pytest(args)
    freezing = Freezing()
    freezing.install()
    freezing.look_less_often()

    from .dist import HostPlugin
    from .plain import run_pytest
    from .plugin import XdistPlugin

    leave(run_pytest(args, [XdistPlugin("auto"), HostPlugin(socket.socket(fileno=descriptor), freezing)]))
