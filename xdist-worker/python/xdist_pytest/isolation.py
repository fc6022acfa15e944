"""A process for every test (`--isolate`): the worker forks one from what it has collected, and waits for its end."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Callable, NoReturn

from .process import fork, leave

if TYPE_CHECKING:
    from .channel import Channel
    from .dumps import Dumps
    from .interrupts import Interrupts

#: What a test's process exits with, where it is not the test that decides: the session goes on, or wants to end.
GOES_ON, WANTS_STOP = 0, 250


def run_isolated(channel: Channel, interrupts: Interrupts, dumps: Dumps, run: Callable[[], bool]) -> bool:
    """Calls `run` in a process of its own; answers whether the session is to go on, as `run` does there.

    If that process crashes, so does this one, in the same way: the host then blames the test and starts another worker.
    An interrupt is passed on, and raised here once the test has been torn down.
    """
    channel.note_taken()
    channel.survives_fork = True
    with dumps.fork_in_peace():
        child = fork()
        channel.survives_fork = False
        if child == 0:
            dumps.answer()
        else:
            dumps.pass_on_to(child)
    if child == 0:
        _be_the_test(run)
    interrupted = False
    while True:
        try:
            _, status = os.waitpid(child, 0)
            break
        except KeyboardInterrupt:
            interrupted = True
            interrupts.hold()
            os.kill(child, signal.SIGINT)
    channel.heed_taken()
    code = os.waitstatus_to_exitcode(status)
    if interrupted:
        raise KeyboardInterrupt
    # `os._exit(0)` in a test looks like a good end.
    if code not in (GOES_ON, WANTS_STOP) or (code == GOES_ON and channel.status.has_item()):
        _end_in_the_same_way(code)
    return code == GOES_ON


def _be_the_test(run: Callable[[], bool]) -> NoReturn:
    try:
        code = GOES_ON if run() else WANTS_STOP
    except KeyboardInterrupt:
        # The worker was interrupted too, and tells so.
        code = GOES_ON
    except SystemExit:
        code = WANTS_STOP
    except BaseException:
        traceback.print_exc()
        code = 1
    leave(code)


def _end_in_the_same_way(code: int) -> NoReturn:
    if code >= 0:
        sys.stdout.flush()
        os._exit(code)
    # The test's process has dumped what there is to dump.
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if -code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    # A signal that does not end processes, and that the test's process was ended with by other means.
    os._exit(1)
