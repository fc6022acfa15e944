"""Lets a user's scheduler, written in Python for pytest-xdist, decide which worker gets which tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from .scheduling import EachScheduling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .link import Link
    from .nodes import Node


#: What every scheduler of pytest-xdist 3.8 has.
_PROTOCOL = (
    "nodes",
    "collection_is_completed",
    "tests_finished",
    "has_pending",
    "add_node",
    "add_node_collection",
    "mark_test_complete",
    "remove_node",
    "schedule",
)


def make_scheduler(config: pytest.Config) -> Any:
    """The scheduler that a plugin or conftest wants, if one does."""
    if not config.hook.pytest_xdist_make_scheduler.get_hookimpls():
        return None
    scheduler = config.hook.pytest_xdist_make_scheduler(config=config, log=Log())
    if scheduler is not None:
        _check(scheduler, config.option.dist)
    return scheduler


def _check(scheduler: Any, mode: str) -> None:
    """Raises `pytest.UsageError` if a scheduler cannot be used."""
    made = f"pytest_xdist_make_scheduler returned {type(scheduler).__name__}"
    missing = [name for name in _PROTOCOL if not hasattr(scheduler, name)]
    if missing:
        raise pytest.UsageError(f"{made}, which is no scheduler: it has no {', '.join(missing)}")
    if mode == "each" or isinstance(scheduler, EachScheduling):
        raise pytest.UsageError(
            f"{made}, but in mode each no scheduler decides: return None where the mode is each (config.option.dist), "
            "and have every worker run everything with --dist each"
        )


class Log:
    """A producer of messages that nobody reads (pytest-xdist has it write to the terminal with `--debug`)."""

    def __call__(self, *_: object, **__: object) -> None:
        """Forgets the message."""

    def __getattr__(self, name: str) -> Log:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


class Bridge:
    """Tells the scheduler what happens, and the coordinator what the scheduler wants."""

    def __init__(self, scheduler: Any, link: Link) -> None:
        self.scheduler = scheduler
        self._link = link
        self._ids: list[str] = []
        self._groups: dict[str, str] = {}
        #: What each worker has been given and has not finished.
        self._queued: dict[Node, list[int]] = {}
        self._parked: set[Node] = set()
        #: Workers that the scheduler has let go.
        self._let_go: set[Node] = set()
        #: Whether the last one that is gone was let go, and ended in good order.
        self._last_was_let_go = False
        self._left = 0
        self._has_begun = False

    # what nodes are told by the scheduler

    def run(self, node: Node, indices: Iterable[int]) -> None:
        """Gives a worker tests."""
        items = [int(index) for index in indices]
        if items and not node.is_down:
            self._queued[node].extend(items)
            self._parked.discard(node)
            self._link.send("assign", worker=node.number, items=items)

    def run_all(self, node: Node) -> None:
        """Gives a worker all tests."""
        self.run(node, range(len(self._ids)))

    def steal(self, node: Node, indices: Iterable[int]) -> None:
        """Asks a worker for tests."""
        self._link.send("take_back", worker=node.number, items=[int(index) for index in indices])

    def shut_down(self, node: Node) -> None:
        """Has a worker end after what it has."""
        if not node.shutting_down:
            node.shutting_down = True
            self._let_go.add(node)
            self._link.send("retire", worker=node.number)

    # what happens

    def items_known(self, items: list[dict[str, Any]]) -> None:
        """The tests of the run are known."""
        self._ids = [item["id"] for item in items]
        self._left = len(items)
        groups = {item["id"]: "_".join(item["groups"]) for item in items if item.get("groups")}
        if hasattr(self.scheduler, "groups"):
            self.scheduler.groups = groups

    def collected(self, node: Node) -> None:
        """A worker has collected these tests."""
        node.bridge = self
        self._queued[node] = []
        scheduler = self.scheduler
        scheduler.add_node(node)
        scheduler.add_node_collection(node, list(self._ids))
        if scheduler.collection_is_completed:
            scheduler.schedule()
            self._has_begun = True
        self._end_if_finished()

    def finished(self, node: Node, index: int, duration: float) -> None:
        """A worker has finished a test."""
        self._take_out(node, [index])
        self._left -= 1
        if node in self.scheduler.nodes:
            self.scheduler.mark_test_complete(node, index, duration)
        self._end_if_finished()

    def taken_back(self, node: Node, indices: list[int]) -> None:
        """A worker has answered a steal."""
        self._take_out(node, indices)
        if node in self.scheduler.nodes:
            self.scheduler.remove_pending_tests_from_node(node, indices)
        self._end_if_finished()

    def crashed(self, again: bool) -> None:
        """What has become of a test that was running when its worker died."""
        if not again:
            self._left -= 1
        self._end_if_finished()

    def gone(self, node: Node, lost: bool) -> None:
        """A worker is gone, or lost."""
        if lost or node in self._queued:
            self._last_was_let_go = node in self._let_go and not lost
        self._queued.pop(node, None)
        if node in self.scheduler.nodes:
            self.scheduler.remove_node(node)
        self._end_if_finished()

    def _take_out(self, node: Node, indices: list[int]) -> None:
        queued = self._queued.get(node, [])
        for index in indices:
            if index in queued:
                queued.remove(index)

    def _end_if_finished(self) -> None:
        if self._has_begun and self.scheduler.tests_finished:
            for node in list(self.scheduler.nodes):
                self.shut_down(node)

    def settle(self, stopping: bool, nodes: Iterable[Node]) -> None:
        """Sees to it that nobody waits for what will not come. To be called when nothing more is there to be told.

        Workers ask for the test after the last one they have, as pytest-xdist's do. Raises `pytest.UsageError` if the
        scheduler gives nothing to those whom it keeps although there are tests left.
        """
        for node, queued in self._queued.items():
            if len(queued) == 1 and node not in self._parked and not node.shutting_down:
                self._parked.add(node)
                self._link.send("park_worker", worker=node.number)
        is_idle = not any(self._queued.values()) and not all(node.shutting_down for node in self._queued)
        # A worker that still comes up may be the one that the rest is for.
        is_awaited = any(not node.is_down and node not in self._queued for node in nodes)
        if self._has_begun and self._left > 0 and is_idle and not stopping and not is_awaited:
            self._complain()

    def nobody_is_left(self) -> None:
        """The run has ended because there are no more workers.

        Raises `pytest.UsageError` if that is so because the scheduler has let them go although there were tests left.
        """
        if self._left > 0 and self._last_was_let_go:
            self._complain()

    def _complain(self) -> NoReturn:
        name = type(self.scheduler).__name__
        raise pytest.UsageError(f"the scheduler {name} gives nothing to any worker, and {self._left} tests are left")
