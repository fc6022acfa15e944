"""Where the host starts: `main` runs one worker's pytest session.

Nothing here needs pytest, so that its absence can be told.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from typing import Any, NoReturn, Optional

from .channel import Channel, read_command
from .dumps import Dumps
from .freezing import Freezing
from .interrupts import Interrupts
from .process import become_pytest, leave
from .sharing import Sharing

#: What pytest exits with for wrong arguments, and for an error that is not a test's.
USAGE_ERROR = 4
INTERNAL_ERROR = 3
_OLDEST_PYTEST = (7, 0)


def main(commands: int, events: int, status: int, configuration: int, control: int) -> NoReturn:
    """Runs the session that the `configure` command in `configuration` describes, then ends the process.

    The arguments are the five descriptors of `xdist-worker/src/runner.rs`.
    """
    # pytest does so too, but later than a conftest can crash. It captures standard error before that.
    stderr = os.dup(2)
    faulthandler.enable(file=stderr)
    dumps = Dumps(stderr)
    dumps.answer()
    interrupts = Interrupts()
    interrupts.start()
    channel = Channel(commands, events, status, interrupts)
    os.set_inheritable(configuration, False)
    configure = read_command(configuration, "configure")
    channel.events.worker = configure["worker"]
    become_pytest(list(configure.get("args", [])))
    freezing = Freezing()
    freezing.install()
    freezing.look_less_often()
    leave(_run(channel, interrupts, dumps, configure, configuration, Sharing(control, freezing)))


def _run(
    channel: Channel,
    interrupts: Interrupts,
    dumps: Dumps,
    configure: dict[str, Any],
    configuration: int,
    sharing: Sharing,
) -> int:
    """Runs the session; answers what pytest would exit with."""
    try:
        problem = pytest_problem()
        if problem is not None:
            channel.events.send("usage_error", text=problem, exit_code=USAGE_ERROR, unfit=True)
            return USAGE_ERROR

        from .session import run

        sharing.pytest_is_imported()
        return run(channel, interrupts, dumps, configure, configuration, sharing)
    except KeyboardInterrupt:
        channel.events.send("stop_requested", kind="interrupt", reason="KeyboardInterrupt")
        return 2
    except Exception:
        channel.events.send("internal_error", text=traceback.format_exc().rstrip("\n"))
        return INTERNAL_ERROR


def pytest_problem() -> Optional[str]:
    """Why the interpreter's pytest cannot be used, and what to do, if that is so."""
    install = f"{sys.executable} -m pip install"
    try:
        import pytest
    except ModuleNotFoundError as error:
        if error.name not in ("pytest", "_pytest"):
            raise
        return f"ERROR: {sys.executable} has no pytest. Install it with: {install} pytest"
    version = getattr(pytest, "version_tuple", None)
    if version is None or tuple(version[:2]) < _OLDEST_PYTEST:
        return (
            f"ERROR: pytest {pytest.__version__} of {sys.executable} is too old: 7.0 or newer is needed. "
            f"Install it with: {install} --upgrade pytest"
        )
    return None
