"""Answers that pytest looks for in every test, kept while they cannot have changed.

What a trivial test costs is pytest's own work around it. A part of that goes into four questions: which conftests a
test's hooks come from, where its source file is, what its keywords are, and what was written to an empty file.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Callable, Optional

from _pytest._code.code import Code
from _pytest.mark.structures import NodeKeywords

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

# Tests replace and remove functions of modules.
_fstat, _lseek = os.fstat, os.lseek


@contextlib.contextmanager
def taken(session: pytest.Session) -> Iterator[OwnFile]:
    """Takes the shortcuts as long as tests are run."""
    own_file = OwnFile()
    with own_file.known(), hooks_known(session), _keywords_gathered(), _emptiness_seen(session.config):
        yield own_file


class OwnFile:
    """Where the source file of the running test is.

    pytest asks the file system for each test, since the source of some code has no file. The module that the test was
    collected from has one.
    """

    def __init__(self) -> None:
        self._wanted = ""
        self._found: Optional[Path] = None

    def begin(self, item: pytest.Item) -> None:
        """This item runs now."""
        wanted = str(item.path)
        if wanted != self._wanted:
            self._wanted, self._found = wanted, None

    @contextlib.contextmanager
    def known(self) -> Iterator[None]:
        """Has pytest ask here."""
        original: Any = Code.__dict__.get("path")
        if not isinstance(original, property) or original.fget is None:
            yield
            return
        find = original.fget

        def path(code: Code) -> Any:
            if code.raw.co_filename != self._wanted:
                return find(code)
            if self._found is None:
                found = find(code)
                if isinstance(found, str):
                    # There is no such file.
                    return found
                self._found = found
            return self._found

        Code.path = property(path)  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            Code.path = original  # type: ignore[method-assign]


@contextlib.contextmanager
def hooks_known(session: pytest.Session) -> Iterator[None]:
    """Keeps the hooks of each path, which are those of all plugins but conftests of other directories."""
    manager: Any = session.config.pluginmanager
    # All that they depend on, and that only grows.
    depend_on = [getattr(manager, name, None) for name in ("_conftest_plugins", "_dirpath2confmods", "_name2plugin")]
    if None in depend_on:
        yield
        return
    conftests, directories, plugins = depend_on
    find = session.gethookproxy
    known: dict[Any, Any] = {}
    sizes = (0, 0, 0)
    last = hooks = None

    def gethookproxy(fspath: Any) -> Any:
        nonlocal sizes, last, hooks
        if sizes != (len(conftests), len(directories), len(plugins)):
            known.clear()
            last = None
            sizes = len(conftests), len(directories), len(plugins)
        if fspath is last:
            # All items of a module have the same path, whose hash takes longer than the rest of this.
            return hooks
        hooks = known.get(fspath)
        if hooks is None:
            hooks = known[fspath] = find(fspath)
        last = fspath
        return hooks

    session.gethookproxy = gethookproxy  # type: ignore[method-assign]
    try:
        yield
    finally:
        del session.gethookproxy  # type: ignore[method-assign]


@contextlib.contextmanager
def _keywords_gathered() -> Iterator[None]:
    """Has the names of all keywords of an item, which each of its reports has, gathered at once.

    pytest has a generator for each of its parents, each of which goes through all names of those above.
    """
    one_by_one = NodeKeywords.__iter__

    def gathered(keywords: Any) -> Iterator[str]:
        try:
            names = dict(keywords._markers)
            parent = keywords.parent
            while parent is not None:
                above = parent.keywords
                if type(above) is not NodeKeywords:
                    return one_by_one(keywords)
                names.update(above._markers)
                parent = above.parent
        except AttributeError:
            # Not as we know them.
            return one_by_one(keywords)
        return iter(names)

    NodeKeywords.__iter__ = gathered  # type: ignore[method-assign]
    try:
        yield
    finally:
        NodeKeywords.__iter__ = one_by_one  # type: ignore[method-assign]


@contextlib.contextmanager
def _emptiness_seen(config: pytest.Config) -> Iterator[None]:
    """Has captured output read only if there is any: after each phase of a test, from two files."""
    manager: Any = config.pluginmanager.getplugin("capturemanager")
    capturing = getattr(manager, "_global_capturing", None)
    captures = [each for each in (getattr(capturing, "out", None), getattr(capturing, "err", None)) if _is_file(each)]
    for capture in captures:
        capture.snap = _snap_if_any(capture.snap, capture.tmpfile.fileno())
    try:
        yield
    finally:
        for capture in captures:
            del capture.snap


def _is_file(capture: Any) -> bool:
    return type(capture).__name__ == "FDCapture" and "snap" not in vars(capture)


def _snap_if_any(snap: Callable[[], str], descriptor: int) -> Callable[[], str]:
    def snap_if_any() -> str:
        try:
            if _fstat(descriptor).st_size == 0:
                # Somebody else may have emptied it, and then it is not written from its beginning.
                _lseek(descriptor, 0, os.SEEK_SET)
                return ""
        except OSError:
            # pytest knows what to say.
            pass
        return snap()

    return snap_if_any
