"""Makes a process that was started with `-c` look as one started by the command `pytest`, forks it, and ends it."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import sysconfig
import threading
import traceback
import warnings
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator


def become_pytest(args: list[str]) -> None:
    """Sets `sys.argv` and `sys.path` as the command `pytest` has them.

    The first entry of `sys.path` is the directory of that command, not the current directory (which the package has
    removed by now) or ours; none is added where Python is told not to (`-P`, `-I`). Our package still finds its modules
    by its `__path__`.
    """
    scripts = _scripts_directory()
    sys.argv = [os.path.join(scripts, "pytest"), *args]
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if ours in sys.path:
        sys.path.remove(ours)
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        sys.path.insert(0, scripts)


def _scripts_directory() -> str:
    candidates = [sysconfig.get_path("scripts"), os.path.dirname(sys.executable)]
    user_scheme = f"{os.name}_user"
    if user_scheme in sysconfig.get_scheme_names():
        candidates.append(sysconfig.get_path("scripts", user_scheme))
    for candidate in candidates:
        if candidate and os.path.isfile(os.path.join(candidate, "pytest")):
            return candidate
    return candidates[0] or ""


def leave(status: int) -> NoReturn:
    """Ends the process as Python does, but for what makes no difference.

    A Python process waits for its threads, calls what is registered for its exit, and then takes the interpreter down. The
    latter takes a while and does nothing useful here.
    """
    try:
        threading._shutdown()
    except BaseException:
        traceback.print_exc()
    try:
        atexit._run_exitfuncs()
    except BaseException:
        # Python prints what an exit function raises and goes on; some versions raise the last one as well.
        pass
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            continue
    os._exit(status & 0xFF)


def fork() -> int:
    """Forks in spite of threads: that there are none, or that they do no harm, has been seen to."""
    with warnings.catch_warnings():
        # Python 3.12 and later warn of them.
        warnings.simplefilter("ignore")
        return os.fork()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keeps the end of a child that is waited for here from the user's handler of SIGCHLD."""
    handler = signal.getsignal(signal.SIGCHLD)
    if handler is None:
        # It is not Python's.
        yield
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)
