"""When Ctrl-C may reach the tests, and when it has to wait."""

from __future__ import annotations

import signal
from typing import Any


class Interrupts:
    """SIGINT raises `KeyboardInterrupt` as in any Python program, except while it is held.

    The handler that does so takes the place of Python's own, also by the name of that, since asyncio and others look for
    exactly that one. A handler that a test installed is left alone.
    """

    def __init__(self) -> None:
        #: Whether an interrupt came while they were held.
        self.came = False
        self._held = False

    def start(self) -> None:
        """Makes SIGINT work even if the process was started with it ignored, as shells do for background jobs."""

        def default_int_handler(_number: int, _frame: Any, /) -> None:
            """Raises KeyboardInterrupt, or notes that it is to be raised later."""
            if not self._held:
                raise KeyboardInterrupt
            self.came = True

        signal.default_int_handler = default_int_handler
        signal.signal(signal.SIGINT, default_int_handler)
        # The host sends it after SIGINT, which may have come just before the system was asked to wait. It means nothing to
        # whoever has no handler for it.
        signal.signal(signal.SIGURG, lambda _number, _frame: None)

    def hold(self) -> bool:
        """Holds interrupts back; answers whether they were not held before."""
        held, self._held = self._held, True
        return not held

    def release(self) -> None:
        """Lets interrupts through again. One that came meanwhile is kept in `came`."""
        self._held = False

    def deliver(self) -> None:
        """Lets interrupts through again, beginning with one that came meanwhile.

        Raises `KeyboardInterrupt` then.
        """
        self.release()
        if self.came:
            self.came = False
            raise KeyboardInterrupt
