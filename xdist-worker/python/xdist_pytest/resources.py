"""The marks of tests that cannot run beside just any other: `xdist_exclusive` and `xdist_resource`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: How the marks are described to pytest.
MARKERS = (
    "xdist_exclusive: run this test while no other runs, on any worker. Provided by xdist.",
    "xdist_resource(name, ..., limit=1): run tests that use a resource of the same name on so many workers at a time at "
    "most. Provided by xdist.",
)

#: Their names.
MARK_NAMES = frozenset({"xdist_exclusive", "xdist_resource"})

_MAX_LIMIT = (1 << 32) - 1


class MarkError(Exception):
    """A mark has wrong arguments."""


class Needs(NamedTuple):
    """What the marks of a node and of those above it say."""

    #: Whether nothing may run beside it.
    exclusive: bool
    #: The limits by name.
    resources: Mapping[str, int]


NO_NEEDS = Needs(False, {})


class NeedsOfNodes:
    """Reads marks, each node's once."""

    def __init__(self) -> None:
        self._known: dict[Any, Needs] = {}

    def of(self, item: Any) -> Needs:
        """What an item needs. Raises `MarkError`."""
        return _with_marks(self._inherited(item.parent), item.own_markers)

    def _inherited(self, node: Any) -> Needs:
        if node is None:
            return NO_NEEDS
        needs = self._known.get(node)
        if needs is None:
            needs = self._known[node] = _with_marks(self._inherited(node.parent), node.own_markers)
        return needs


def take_out_faulty(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Takes items whose marks have wrong arguments out, and reports an error in the collection of each."""
    needs = NeedsOfNodes()
    faulty: list[pytest.Item] = []
    for item in items:
        try:
            needs.of(item)
        except MarkError as error:
            faulty.append(item)
            text = f"{_place(item)}: {error}"
            report: Any = pytest.CollectReport(item.nodeid, "failed", text, [])
            config.hook.pytest_collectreport(report=report)
    if faulty:
        out = set(faulty)
        items[:] = [item for item in items if item not in out]


def _with_marks(inherited: Needs, marks: Iterable[pytest.Mark]) -> Needs:
    needs = inherited
    for mark in marks:
        if mark.name == "xdist_exclusive":
            if mark.args or mark.kwargs:
                raise MarkError(f"{_shown(mark)} has arguments, and takes none")
            needs = needs._replace(exclusive=True)
        elif mark.name == "xdist_resource":
            names, limit = _resource_arguments(mark)
            resources = dict(needs.resources)
            for name in names:
                resources[name] = min(limit, resources.get(name, limit))
            needs = needs._replace(resources=resources)
    return needs


def _resource_arguments(mark: pytest.Mark) -> tuple[tuple[str, ...], int]:
    others = [name for name in mark.kwargs if name != "limit"]
    if others:
        raise MarkError(f"{_shown(mark)} has an argument {others[0]}: it takes names, and limit=")
    if not mark.args:
        raise MarkError(f'{_shown(mark)} names no resource: @pytest.mark.xdist_resource("database")')
    for name in mark.args:
        if not isinstance(name, str) or not name:
            raise MarkError(f"{_shown(mark)} has {name!r} for a name, which is a text that is not empty")
    limit = mark.kwargs.get("limit", 1)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise MarkError(f"{_shown(mark)} has a limit of {limit!r}, which is a whole number from 1 on")
    return mark.args, min(limit, _MAX_LIMIT)


def _shown(mark: pytest.Mark) -> str:
    keywords = [f"{name}={value!r}" for name, value in mark.kwargs.items()]
    return f"xdist mark {mark.name}({', '.join([*map(repr, mark.args), *keywords])})"


def _place(item: pytest.Item) -> str:
    try:
        file, line, name = item.location
    except Exception:
        # A plugin's item that cannot tell where it is defined.
        return item.nodeid
    return f"{file}:{line + 1}: {name}" if isinstance(line, int) else f"{file}: {name}"
