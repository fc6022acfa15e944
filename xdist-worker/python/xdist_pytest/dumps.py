"""Has a process that takes too long dump its stacks and end, when the host wants it to (`dump_signal` of `sys.rs`)."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Ends processes unless something else was said of it, which is what is wanted here once the stacks are dumped.
DUMP_SIGNAL = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else signal.SIGSYS


class Dumps:
    """Answers the signal, without the interpreter, which may be busy for ever."""

    def __init__(self, stderr: int) -> None:
        """`stderr` is a descriptor that stays standard error when that is captured."""
        self._stderr = stderr

    def answer(self) -> None:
        """Dumps the stacks of this process."""
        # PyPy may lack it. Without a dump, the process just ends.
        if hasattr(faulthandler, "register"):
            signal.signal(DUMP_SIGNAL, signal.SIG_DFL)
            faulthandler.unregister(DUMP_SIGNAL)
            faulthandler.register(DUMP_SIGNAL, file=self._stderr, all_threads=True, chain=True)

    @contextlib.contextmanager
    def fork_in_peace(self) -> Iterator[None]:
        """Has the signal wait until it is clear, in either process, who is to answer it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [DUMP_SIGNAL])
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [DUMP_SIGNAL])

    def pass_on_to(self, child: int) -> None:
        """Has a child of this process dump its stacks in place of this one, which only waits for it."""

        def pass_on(_number: int, _frame: Any) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, DUMP_SIGNAL)

        signal.signal(DUMP_SIGNAL, pass_on)
