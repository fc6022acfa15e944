"""When Ctrl-C may reach the tests, and when it has to wait."""

from __future__ import annotations

import signal
from typing import Any


class Interrupts:
    """SIGINT raises `KeyboardInterrupt` as in any Python program, except while it is held.

    Python's own handler is in place whenever interrupts are not held, since asyncio and others look for exactly that
    one. A handler that a test installed is left alone.
    """

    def __init__(self) -> None:
        #: Whether an interrupt came while they were held.
        self.came = False
        self._held = False

    def start(self) -> None:
        """Makes SIGINT work even if the process was started with it ignored, as shells do for background jobs."""
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def hold(self) -> bool:
        """Holds interrupts back; answers whether they were not held before."""
        if self._held or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return False
        signal.signal(signal.SIGINT, self._note)
        self._held = True
        return True

    def release(self) -> None:
        """Lets interrupts through again. One that came meanwhile is kept in `came`."""
        if self._held:
            self._held = False
            if signal.getsignal(signal.SIGINT) == self._note:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    def deliver(self) -> None:
        """Lets interrupts through again, beginning with one that came meanwhile.

        Raises `KeyboardInterrupt` then.
        """
        self.release()
        if self.came:
            self.came = False
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: Any) -> None:
        self.came = True
