"""The item after the running one, asked for only when somebody wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    import pytest


class NextItem:
    """Stands for the successor of an item, or for `None`.

    pytest needs it during teardown only. Until then the worker may still be given another one, so that no test has to
    wait behind a slow one for nothing. `nextitem is None` cannot be answered truthfully; pytest does not ask it.
    """

    __slots__ = ("_find", "_found", "_item")

    def __init__(self, find: Callable[[], Optional[pytest.Item]]) -> None:
        self._find = find
        self._found = False
        self._item: Optional[pytest.Item] = None

    def _resolve(self) -> Optional[pytest.Item]:
        if not self._found:
            self._item = self._find()
            self._found = True
        return self._item

    def __bool__(self) -> bool:
        return bool(self._resolve())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resolve(), name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, NextItem):
            other = other._resolve()
        return self._resolve() == other

    def __hash__(self) -> int:
        return hash(self._resolve())

    def __repr__(self) -> str:
        # Tracebacks show it, and that is no reason to wait for anything.
        return repr(self._item) if self._found else "<the next item, not yet known>"

    @property
    def __class__(self) -> Any:
        return type(self._resolve())
