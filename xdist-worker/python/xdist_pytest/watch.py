"""Notes what stands in the way of forking workers from this process, from before the first line of the user's code."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import random
import socket
import sys
import tempfile
import weakref
from collections.abc import ItemsView, ValuesView
from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

#: The variable that differs between workers; the others do not.
_WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
#: The same in `os.environb`.
_WORKER_BYTES = b"PYTEST_XDIST_WORKER"
#: The entry of `config.workerinput` that differs between workers.
_WORKER_ENTRY = "workerid"
_ASKS_WHO = "asks which worker it is in"
#: Entries that are the same for all workers.
_COMMON_ENTRIES = frozenset({"workercount", "testrunuid", "mainargv"})

#: The code that goes through all of a mapping for somebody.
_GO_THROUGH_ALL = (ItemsView.__iter__.__code__, ValuesView.__iter__.__code__)

#: Functions that may run at the exit of every forked worker: they look at the process that they are in, or do no more
#: than flush and release.
_HARMLESS_AT_EXIT = frozenset({
    "_pytest.pathlib",
    "concurrent.futures.thread",
    "logging",
    "multiprocessing.util",
    "rlcompleter",
    "weakref",
})  # fmt: skip


class Watch:
    """What was noted so far. There is one in a process, since it changes the process."""

    def __init__(self) -> None:
        #: The first of what is noted that stays, unlike a file that may be removed.
        self.lasting: Optional[str] = None
        # The worker's name, where somebody went through all of the environment, and who that was.
        self._shown: list[tuple[weakref.ref[ShownName], str]] = []
        # Temporary files and directories that were made, and where.
        self._temporary: list[tuple[str, str]] = []
        self._patches: list[tuple[Any, str, Any]] = []
        #: The functions that were registered with `atexit`, as far as they are not harmless in a forked process.
        self.at_exit: list[str] = []
        #: Who gave the configuration something to call at its end: the name of the module, and the place in it.
        self.cleanups: list[tuple[str, str]] = []
        #: Whether somebody gave the random module a seed.
        self.seeded = False
        #: Generators of random numbers that nobody gave a seed, so that they are to differ between workers.
        self.unseeded: weakref.WeakSet[random.Random] = weakref.WeakSet()
        self._register = atexit.register
        self._seed = random.seed
        self._setstate = random.setstate
        self._methods = random.Random.seed, random.Random.setstate
        self._config: Optional[pytest.Config] = None

    @property
    def noted(self) -> Optional[str]:
        """What forked workers would share that is to be each worker's own, and who has it."""
        if self.lasting is not None:
            return self.lasting
        for reference, place in self._shown:
            if reference() is not None:
                return f"{place} {_ASKS_WHO}"
        for path, place in self._temporary:
            if os.path.lexists(path):
                return f"{place} makes temporary files"
        return None

    def start(self) -> None:
        """Begins to watch."""
        watch = self

        class WatchedEnviron(type(os.environ)):  # type: ignore[misc]
            """`os.environ`, as long as it matters who reads it."""

            def __getitem__(self, key: Any) -> Any:
                value = super().__getitem__(key)
                if key not in (_WORKER_VARIABLE, _WORKER_BYTES):
                    return value
                if key == _WORKER_BYTES:
                    watch.note_reader()
                    return value
                if sys._getframe(1).f_code in _GO_THROUGH_ALL:
                    return watch.show_name(value)
                watch.note_reader()
                return value

            def __contains__(self, key: object) -> bool:
                # It is there in every worker.
                return key == _WORKER_VARIABLE or super().__contains__(key)

        os.environ.__class__ = os.environb.__class__ = WatchedEnviron
        self._start_on_own()
        atexit.register = self._watched_register  # type: ignore[assignment]
        random.seed = self._watched_seed
        random.setstate = self._watched_setstate
        self._start_on_generators()

    def _start_on_own(self) -> None:
        """Notes what would be the same in all workers if they were forked, and is to differ."""
        self._patch(tempfile, "mktemp", _place_beyond_pytest, "takes a name for temporary files")
        self._patch(tempfile, "mkdtemp", _place_beyond_pytest, made=lambda path: path)
        self._patch(tempfile, "_mkstemp_inner", _place_beyond_pytest, made=lambda result: result[1])
        self._patch(socket.socket, "bind", _place_beyond_pytest, "takes an address of the network")
        self._patch(os, "getpid", _place_of_user, "asks for the number of the process")
        for module, name in ((os, "urandom"), (random, "_urandom")):
            self._patch(module, name, _place_of_user_of_randomness, "asks for randomness (uuid, secrets, os.urandom)")

    def _patch(
        self,
        owner: Any,
        name: str,
        place_of: Callable[[], Optional[str]],
        deed: str = "",
        made: Optional[Callable[[Any], Any]] = None,
    ) -> None:
        """Notes who calls a function, beside the deed or with the path that is `made` of the result."""
        original = getattr(owner, name, None)
        if original is None:
            return

        @functools.wraps(original)
        def noting(*args: Any, **options: Any) -> Any:
            # Somebody may have imported this function by name, and call it in a test.
            is_over = not self._patches
            place = None if is_over or self.lasting else place_of()
            result = original(*args, **options)
            if place is not None and made is not None:
                self._temporary.append((made(result), place))
            elif place is not None:
                self.lasting = f"{place} {deed}"
            return result

        self._patches.append((owner, name, owner.__dict__.get(name)))
        setattr(owner, name, noting)

    def _start_on_generators(self) -> None:
        unseeded = self.unseeded
        plain_seed, plain_setstate = self._methods

        def seed(self: random.Random, a: Any = None, *args: Any, **options: Any) -> None:
            (unseeded.add if a is None else unseeded.discard)(self)
            plain_seed(self, a, *args, **options)

        def setstate(self: random.Random, state: Any) -> None:
            unseeded.discard(self)
            plain_setstate(self, state)

        random.Random.seed = seed  # type: ignore[method-assign]
        random.Random.setstate = setstate  # type: ignore[method-assign]

    def start_on(self, config: pytest.Config) -> None:
        """Begins to watch the session's configuration too."""
        add_cleanup = config.add_cleanup

        def watched_add_cleanup(func: Callable[[], None]) -> None:
            caller = sys._getframe(1)
            module = str(caller.f_globals.get("__name__"))
            self.cleanups.append((module, f"{caller.f_code.co_filename}:{caller.f_lineno}"))
            add_cleanup(func)

        config.add_cleanup = watched_add_cleanup  # type: ignore[method-assign]
        self._config = config

    def stop(self) -> None:
        """Leaves everything as it was found. To be called once."""
        if self._config is not None:
            del self._config.add_cleanup  # type: ignore[method-assign]
            self._config = None
        os.environ.__class__ = os.environb.__class__ = type(os.environ).__mro__[1]
        for owner, name, own in self._patches:
            if own is None:
                # It was the base class's.
                delattr(owner, name)
            else:
                setattr(owner, name, own)
        self._patches.clear()
        atexit.register = self._register
        random.seed = self._seed
        random.setstate = self._setstate
        random.Random.seed, random.Random.setstate = self._methods  # type: ignore[method-assign]

    @contextlib.contextmanager
    def looking_away(self) -> Iterator[None]:
        """Does not count functions that are registered with `atexit` meanwhile."""
        count = len(self.at_exit)
        yield
        del self.at_exit[count:]

    def note_reader(self) -> None:
        """Notes that the caller's caller reads the worker's identity."""
        if self.lasting is None:
            self.lasting = f"{_caller()} {_ASKS_WHO}"

    def show_name(self, name: str) -> str:
        """The worker's name for somebody who goes through all of the environment, and may have no use for it."""
        shown = ShownName(name)
        shown.watch = self
        self._shown.append((weakref.ref(shown), _caller()))
        return shown

    def _watched_register(self, function: Callable[..., Any], *args: Any, **options: Any) -> Callable[..., Any]:
        module = str(getattr(function, "__module__", None))
        if module not in _HARMLESS_AT_EXIT:
            self.at_exit.append(f"{module}.{getattr(function, '__qualname__', type(function).__name__)}")
        self._register(function, *args, **options)
        return function

    def _watched_seed(self, a: Any = None, *args: Any, **options: Any) -> None:
        # Without a value the system's randomness is the seed, and no two workers have the same.
        self.seeded = a is not None
        self._seed(a, *args, **options)

    def _watched_setstate(self, state: Any) -> None:
        self.seeded = True
        self._setstate(state)


class ShownName(str):
    """The worker's name, which notes whoever does anything with it."""

    watch: Optional[Watch] = None

    def __new__(cls, name: str) -> ShownName:
        """Takes the text."""
        return super().__new__(cls, name)


def _noting(name: str) -> Callable[..., Any]:
    method = getattr(str, name)

    def noted(self: ShownName, *args: Any, **options: Any) -> Any:
        if self.watch is not None:
            self.watch.note_reader()
        return method(self, *args, **options)

    return noted


for _name in dir(str):
    # What every object has for itself, Python uses behind the scenes.
    if _name not in dir(object) or _name in ("__eq__", "__format__", "__hash__", "__ne__", "__repr__", "__str__"):
        setattr(ShownName, _name, _noting(_name))


def _radd(self: ShownName, other: str) -> str:
    if self.watch is not None:
        self.watch.note_reader()
    return other + str.__str__(self)


ShownName.__radd__ = _radd  # type: ignore[attr-defined]


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

    def __repr__(self) -> str:
        """As of any dictionary."""
        self._note()
        return super().__repr__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copies are plain dictionaries, and can be sent to other processes."""
        self._note()
        return dict, (super().copy(),)

    def _note(self, name: str = _WORKER_ENTRY) -> None:
        # What a plugin put in on the coordinator's side may differ from worker to worker too.
        if name not in _COMMON_ENTRIES and self.watch is not None:
            self.watch.note_reader()


#: The modules that the system's randomness is asked for through.
_RANDOMNESS = tuple(f"{os.sep}{name}.py" for name in ("random", "secrets", "uuid"))
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep
#: The directories of installed packages have one of these names.
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
#: The directories of pytest and of this package, wherever they are.
_OURS = (f"{os.sep}_pytest{os.sep}", f"{os.sep}xdist_pytest{os.sep}")


def _is_of_library(file: str) -> bool:
    return file.startswith(("<frozen ", _STANDARD_LIBRARY)) and not _is_installed(file)


def _is_installed(file: str) -> bool:
    return any(each in file for each in _INSTALLED)


def _is_ours(file: str) -> bool:
    return any(each in file for each in _OURS)


def _first_place(skipped: Callable[[str], bool]) -> tuple[str, str]:
    """The file of the first frame, beyond those of `skipped` files, that led to a watched call; and its place."""
    frame: Any = sys._getframe(3)
    while frame.f_back is not None and skipped(frame.f_code.co_filename):
        frame = frame.f_back
    return frame.f_code.co_filename, f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _place_beyond_pytest() -> Optional[str]:
    file, place = _first_place(_is_of_library)
    return None if _is_ours(file) else place


def _place_of_user() -> Optional[str]:
    return _unless_of_package(*_first_place(lambda _: False))


def _place_of_user_of_randomness() -> Optional[str]:
    return _unless_of_package(*_first_place(lambda file: file.endswith(_RANDOMNESS)))


def _unless_of_package(file: str, place: str) -> Optional[str]:
    # The standard library asks for its own purposes too, and so do packages, in which it makes no difference.
    return None if _is_ours(file) or _is_installed(file) or _is_of_library(file) else place


def _caller() -> str:
    """The place outside this module and the modules of mappings that is being run."""
    skipped = (__file__, os.__file__, "<frozen os>", "<frozen _collections_abc>")
    frame = sys._getframe(2)
    while frame.f_back is not None and (
        frame.f_code.co_filename in skipped or frame.f_code.co_filename.endswith("_collections_abc.py")
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
