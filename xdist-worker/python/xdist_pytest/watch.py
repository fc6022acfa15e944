"""Notes what stands in the way of forking workers from this process, from before the first line of the user's code."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import sys
from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The variable that differs between workers; the others do not.
_WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
#: The entry of `config.workerinput` that differs between workers.
_WORKER_ENTRY = "workerid"

#: Functions that may run at the exit of every forked worker: they look at the process that they are in, or do no more
#: than flush and release.
_HARMLESS_AT_EXIT = frozenset({
    "_pytest.pathlib",
    "concurrent.futures.thread",
    "logging",
    "multiprocessing.util",
    "weakref",
})  # fmt: skip


class Watch:
    """What was noted so far. There is one in a process, since it changes the process."""

    def __init__(self) -> None:
        #: Who wanted to know which worker this is, and where: `conftest.py:3`.
        self.identity_reader: Optional[str] = None
        #: The functions that were registered with `atexit`, as far as they are not harmless in a forked process.
        self.at_exit: list[str] = []
        #: Whether somebody gave the random module a seed.
        self.seeded = False
        self._register = atexit.register
        self._seed = random.seed

    def start(self) -> None:
        """Begins to watch."""
        watch = self

        class WatchedEnviron(type(os.environ)):  # type: ignore[misc]
            """`os.environ`, as long as it matters who reads it."""

            def __getitem__(self, key: str) -> str:
                if key == _WORKER_VARIABLE:
                    watch.note_reader()
                return str(super().__getitem__(key))

            def __contains__(self, key: object) -> bool:
                # It is there in every worker.
                return key == _WORKER_VARIABLE or super().__contains__(key)

            def __iter__(self) -> Any:
                watch.note_reader()
                return super().__iter__()

        os.environ.__class__ = WatchedEnviron
        atexit.register = self._watched_register  # type: ignore[assignment]
        random.seed = self._watched_seed

    def stop(self) -> None:
        """Leaves everything as it was found."""
        os.environ.__class__ = type(os.environ).__mro__[1]
        atexit.register = self._register
        random.seed = self._seed

    @contextlib.contextmanager
    def looking_away(self) -> Iterator[None]:
        """Does not count functions that are registered with `atexit` meanwhile."""
        count = len(self.at_exit)
        yield
        del self.at_exit[count:]

    def note_reader(self) -> None:
        """Notes that the caller's caller reads the worker's identity."""
        if self.identity_reader is None:
            self.identity_reader = _caller()

    def _watched_register(self, function: Callable[..., Any], *args: Any, **options: Any) -> Callable[..., Any]:
        module = str(getattr(function, "__module__", None))
        if module not in _HARMLESS_AT_EXIT:
            self.at_exit.append(f"{module}.{getattr(function, '__qualname__', type(function).__name__)}")
        self._register(function, *args, **options)
        return function

    def _watched_seed(self, *args: Any, **options: Any) -> None:
        self.seeded = True
        self._seed(*args, **options)


class WatchedInput(dict[str, Any]):
    """`config.workerinput`, which tells who reads the worker's name out of it."""

    def __init__(self, entries: dict[str, Any], watch: Optional[Watch]) -> None:
        super().__init__(entries)
        #: Nobody once the worker is what it will be.
        self.watch = watch

    def __getitem__(self, name: str) -> Any:
        self._note(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:  # type: ignore[override]
        """As of any dictionary."""
        self._note(name)
        return super().get(name, default)

    def __iter__(self) -> Any:
        self._note()
        return super().__iter__()

    def keys(self) -> Any:
        """As of any dictionary."""
        self._note()
        return super().keys()

    def values(self) -> Any:
        """As of any dictionary."""
        self._note()
        return super().values()

    def items(self) -> Any:
        """As of any dictionary."""
        self._note()
        return super().items()

    def copy(self) -> dict[str, Any]:
        """As of any dictionary."""
        self._note()
        return super().copy()

    def _note(self, name: str = _WORKER_ENTRY) -> None:
        if name == _WORKER_ENTRY and self.watch is not None:
            self.watch.note_reader()


def _caller() -> str:
    """The place outside this module and the modules of mappings that is being run."""
    skipped = (__file__, os.__file__, "<frozen os>", "<frozen _collections_abc>")
    frame = sys._getframe(2)
    while frame.f_back is not None and (
        frame.f_code.co_filename in skipped or frame.f_code.co_filename.endswith("_collections_abc.py")
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
