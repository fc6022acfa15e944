"""Lets the host fork further workers from what this one has collected."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Optional

from . import descriptors, forkable
from .finalizers import FinalizerReports
from .watch import Watch

if TYPE_CHECKING:
    import pytest

    from .descriptors import Identity
    from .freezing import Freezing
    from .image import Birth


class Sharing:
    """What the first worker on a host does, so that the others need not collect."""

    def __init__(self, control: int, freezing: Freezing) -> None:
        """`control` is the descriptor that the image gets its requests from; -1 if the host wants none."""
        #: Whether this worker was itself forked from an image.
        self.is_forked = False
        self.watch = Watch()
        #: What was said when garbage was looked for.
        self.finalizers = FinalizerReports()
        self._freezing = freezing
        self._freezes = True
        self._is_settled = False
        self._open_at_start: frozenset[Identity] = frozenset()
        self._mapped_at_start: frozenset[str] = frozenset()
        self._streams: tuple[Optional[Identity], Optional[Identity]] = None, None
        self._control: Optional[socket.socket] = None
        self._forced = False
        # Why nothing can be shared, if that turned out while things were collected.
        self._problem: Optional[str] = None
        if control >= 0:
            os.set_inheritable(control, False)
            self._control = socket.socket(fileno=control)
            self._control.settimeout(None)
            # The runner's own, which are replaced in forked workers, and whatever the host has inherited, which workers
            # share anyway.
            if sys.platform == "linux":
                self._open_at_start = descriptors.inventory()
                self._mapped_at_start = descriptors.shared_memory()
                self._streams = descriptors.identity(1), descriptors.identity(2)
            self.watch.start()

    def pytest_is_imported(self) -> None:
        """Hides pytest from the garbage collector. To be called before anything of the user's is imported."""
        self._freezing.hide_before_collection()

    def problem_before_collection(self, config: pytest.Config) -> Optional[str]:
        """Why nothing can be shared, if that is known so early."""
        self._freezes = bool(config.getoption("freeze", True))
        if not self._freezes:
            self._freezing.show()
            self._freezing.look_as_usual()
        if self._control is None:
            return None
        start = config.getoption("start", "auto")
        self._forced = start == "fork"
        if start == "spawn":
            return self._give_up("--start=spawn")
        if self._forced:
            return None
        self.watch.start_on(config)
        problem = forkable.early_problem(config, self.watch)
        return None if problem is None else self._give_up(problem)

    def problem_during_collection(self) -> bool:
        """Whether it has turned out just now that nothing can be shared."""
        if self._control is None or self._forced:
            return False
        self._problem = self.watch.lasting
        if self._problem is None:
            return False
        self._give_up(self._problem)
        return True

    def share(self, config: pytest.Config) -> tuple[Optional[Birth], Optional[str]]:
        """Forks the image after collection, if the host wants one and nothing stands against it.

        Returns in this worker, with what stands against it, and in every worker that is forked from the image, with
        its `Birth`.
        """
        control = self._control
        if control is None:
            return None, self._problem
        if not self._forced:
            problem = forkable.late_problem(config, self.watch, self._open_at_start, self._mapped_at_start)
            if problem is not None:
                return None, self._give_up(problem)
        from .image import fork_image

        self._control = None
        self.watch.stop()
        try:
            birth = fork_image(control, self._streams, self.watch.seeded, list(self.watch.unseeded))
        except OSError as error:
            control.close()
            return None, f"the system refuses: {error}"
        self.is_forked = birth is not None
        return birth, None

    def settle_garbage(self) -> None:
        """Hides what collection has left from the garbage collector, which is as usual from here on. To be called when others
        have been forked, and perhaps again.

        The garbage in it is collected first, once for all workers that share it. Before they are forked, one copy less of the
        objects would be made, and everybody would wait for it: a quarter of a second for 33 000 tests.
        """
        if self._is_settled:
            return
        self._is_settled = True
        if self._freezes and self.is_forked:
            self._freezing.hide()
        elif self._freezes:
            with self.finalizers.kept():
                self._freezing.look_through_and_hide()
        self._freezing.look_as_usual()

    def _give_up(self, reason: str) -> str:
        if self._control is not None:
            self._control.close()
            self._control = None
            self.watch.stop()
        return reason
