"""What all workers of a run share: values that are made once, and locks. The coordinator keeps them and decides who waits."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
import threading
import traceback
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Callable, Optional

import pytest

from . import msgpack

Make = Callable[[], Any]
Cleanup = Optional[Callable[[Any], object]]

_NOTHING = object()


class Alone:
    """The same for a session that is not distributed: it is the first to ask for anything, and the last."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._cleanups: dict[str, Callable[[Any], object]] = {}
        self._making: set[str] = set()
        self._locked: set[str] = set()

    def once_per_run(self, key: str, make: Make, cleanup: Cleanup = None) -> Any:
        """The value of this name. `make` makes it, in one worker of the whole run; the others wait and get an equal one.

        `cleanup` is called with it at the end, in one of the workers that have it.
        """
        _check_name("once_per_run", key)
        if key in self._making:
            raise RuntimeError(f"once_per_run({key!r}) is called by what makes this value")
        value = self._values.get(key, _NOTHING)
        if value is _NOTHING:
            value = self._get(key, make, cleanup)
        self._keep(key, value, cleanup)
        return value

    @contextlib.contextmanager
    def run_lock(self, name: str) -> Iterator[None]:
        """Keeps other workers of the run out of blocks with a lock of the same name."""
        _check_name("run_lock", name)
        self._lock(name)
        try:
            yield
        finally:
            self._unlock(name)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, Any, None]:
        """Cleans up behind all other plugins, which may still use the values."""
        yield
        values, self._values = self._values, {}
        for key in self._last(values):
            if key in self._cleanups:
                self._clean_up(key, values[key])

    def _keep(self, key: str, value: Any, cleanup: Cleanup) -> None:
        self._values[key] = value
        if cleanup is not None:
            self._cleanups[key] = cleanup

    def _made(self, key: str, make: Make) -> Any:
        """What `make` makes, as other workers would get it."""
        self._making.add(key)
        try:
            return _as_sent(key, make())
        finally:
            self._making.discard(key)

    def _get(self, key: str, make: Make, cleanup: Cleanup) -> Any:
        return self._made(key, make)

    def _lock(self, name: str) -> None:
        if name in self._locked:
            raise RuntimeError(f"run_lock({name!r}): this session has it already")
        self._locked.add(name)

    def _unlock(self, name: str) -> None:
        self._locked.discard(name)

    def _last(self, values: dict[str, Any]) -> Iterable[str]:
        return reversed(list(values))

    def _clean_up(self, key: str, value: Any) -> None:
        self._cleanups[key](value)


class Shared(Alone):
    """The plugin in a worker, which asks the coordinator."""

    def __init__(self, ask: Callable[[object], Any], tell: Callable[..., None]) -> None:
        """`ask` gets the reply to a question, and `tell` sends a message."""
        super().__init__()
        self._ask_coordinator = ask
        self._tell = tell
        self._ledger: Any = None
        self._read = 0
        #: Whether this process runs one test, in the place of the worker.
        self._is_isolated = False

    def forget(self) -> None:
        """Begins anew, in a process that was forked to be another worker."""
        self._values.clear()
        self._cleanups.clear()

    def open_ledger(self) -> None:
        """Lets the worker learn what its tests get, each in a process of its own."""
        self._ledger = tempfile.TemporaryFile(prefix="xdist-shared-")

    def be_isolated(self) -> None:
        """From here on this is the process of one test."""
        self._is_isolated = True

    def read_ledger(self) -> None:
        """Takes over what the last test's process has got."""
        descriptor = self._ledger.fileno()
        length = os.fstat(descriptor).st_size - self._read
        if length > 0:
            entries = os.pread(descriptor, length, self._read)
            self._read += length
            while entries:
                size = int.from_bytes(entries[:8], "little")
                self._keep(*pickle.loads(entries[8 : 8 + size]))
                entries = entries[8 + size :]

    def _keep(self, key: str, value: Any, cleanup: Cleanup) -> None:
        is_new = key not in self._values or (cleanup is not None and key not in self._cleanups)
        super()._keep(key, value, cleanup)
        if self._is_isolated and is_new:
            entry = pickle.dumps((key, value, cleanup))
            descriptor = self._ledger.fileno()
            os.pwrite(descriptor, len(entry).to_bytes(8, "little") + entry, os.fstat(descriptor).st_size)

    def _get(self, key: str, make: Make, cleanup: Cleanup) -> Any:
        if self._is_isolated:
            _check_cleanup(key, cleanup)
        shared = {"value": key}
        reply = self._ask("once_per_run", key, {"shared": shared})
        if reply != "make":
            return reply["value"]
        try:
            value = self._made(key, make)
        except BaseException:
            self._tell("released", shared=shared)
            raise
        self._tell("made", key=key, value=msgpack.Value(value))
        return value

    def _lock(self, name: str) -> None:
        self._ask("run_lock", name, {"shared": {"lock": name}})

    def _unlock(self, name: str) -> None:
        self._tell("released", shared={"lock": name})

    def _last(self, values: dict[str, Any]) -> Iterable[str]:
        if not values:
            return ()
        try:
            reply = self._ask_coordinator("leaving")
        except KeyboardInterrupt:
            # The run is over, and nobody says who is the last.
            return ()
        last = reply.get("last", ()) if isinstance(reply, dict) else ()
        return [key for key in reversed(list(values)) if key in last]

    def _clean_up(self, key: str, value: Any) -> None:
        try:
            self._cleanups[key](value)
        except Exception as error:
            # Without this frame.
            frames = None if error.__traceback__ is None else error.__traceback__.tb_next
            text = "".join(traceback.format_exception(type(error), error, frames)).rstrip("\n")
            self._tell("internal_error", text=f"the cleanup of once_per_run({key!r}) failed:\n{text}")

    def _ask(self, function: str, name: str, question: object) -> Any:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"{function}({name!r}) is called in a thread; call it where the test itself runs")
        reply = self._ask_coordinator(question)
        if isinstance(reply, dict) and "refused" in reply:
            raise RuntimeError(f"{function}({name!r}): {reply['refused']}")
        return reply


def _check_name(function: str, name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{function} takes a name first, and not {name!r}")


def _check_cleanup(key: str, cleanup: Cleanup) -> None:
    try:
        pickle.dumps(cleanup)
    except Exception as error:
        raise TypeError(
            f"once_per_run({key!r}): with --isolate, cleanup has to be a function of a module ({error})"
        ) from None


def _as_sent(key: str, value: Any) -> Any:
    """The value as other workers get it.

    Raises `TypeError` if it cannot be sent.
    """
    copy = msgpack.unpack(msgpack.pack_value(value))
    lost = _find_lost(copy)
    if lost is not None:
        raise TypeError(
            f"once_per_run({key!r}) cannot pass on a value of type {lost.type_name} to other workers: {lost.text[:200]}; "
            "return text, numbers, bytes, or lists, tuples, dictionaries and sets of them, and build the rest from that"
        )
    return copy


def _find_lost(value: Any) -> Optional[msgpack.Unsendable]:
    if isinstance(value, msgpack.Unsendable):
        return value
    parts: Iterable[Any] = ()
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = value
    found = (_find_lost(part) for part in parts)
    return next((lost for lost in found if lost is not None), None)


def of(config: pytest.Config) -> Alone:
    """What the session shares."""
    plugin = config.pluginmanager.getplugin("xdist-shared")
    if plugin is None:
        plugin = Alone()
        config.pluginmanager.register(plugin, "xdist-shared")
    return plugin  # type: ignore[no-any-return]
