"""What the coordinator is told for a scheduler of the user's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Callable

import pytest
from xdist_pytest.bridge import Bridge
from xdist_pytest.nodes import Gateway, Node, NodeManager, Spec
from xdist_pytest.scheduling import LoadScheduling

CONFIG: Any = SimpleNamespace(
    option=SimpleNamespace(tx=["2*popen"], numprocesses=2, maxschedchunk=None),
    getoption=lambda name, default=None: default,
    getvalue=lambda name: ["2*popen"],
)


class Link:
    """Remembers what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []

    def send(self, kind: str, worker: int, **_: object) -> None:
        self.sent.append((kind, worker))


class Idle(LoadScheduling):
    """Gives nobody anything, and lets all go."""

    def schedule(self) -> None:
        self.collection = next(iter(self.node2collection.values()))


def begun(scheduler: Callable[..., Any], tests: int) -> tuple[Bridge, Link, list[Node]]:
    """Two workers that have collected."""
    link: Any = Link()
    bridge = Bridge(scheduler(CONFIG), link)
    manager = NodeManager(CONFIG, "cafe")
    nodes = [Node(n, Gateway(f"gw{n}", Spec("popen", f"gw{n}")), CONFIG, manager, {}) for n in (0, 1)]
    bridge.items_known([{"id": f"test_a.py::test_{n}"} for n in range(tests)])
    for node in nodes:
        bridge.collected(node)
    return bridge, link, nodes


def end(bridge: Bridge, node: Node, lost: bool = False) -> None:
    """A worker ends, as the controller tells of it."""
    node.is_down = node.shutting_down = True
    bridge.gone(node, lost)


def test_who_keeps_workers_and_gives_them_nothing_is_named() -> None:
    class Keeper(LoadScheduling):
        tests_finished = False

        def schedule(self) -> None:
            pass

    bridge, _, nodes = begun(Keeper, tests=1)
    with pytest.raises(pytest.UsageError, match="Keeper gives nothing to any worker, and 1 tests are left"):
        bridge.settle(False, nodes)
    # The run is over anyway.
    bridge.settle(True, nodes)


def test_who_lets_all_workers_go_with_tests_left_is_named_when_they_have_ended() -> None:
    """Not before: the coordinator may be faster, and then it would be chance what the run ends with."""
    bridge, link, nodes = begun(Idle, tests=1)
    assert link.sent == [("retire", 0), ("retire", 1)]
    bridge.settle(False, nodes)
    for node in nodes:
        end(bridge, node)
        bridge.settle(False, nodes)
    with pytest.raises(pytest.UsageError, match="Idle gives nothing to any worker, and 1 tests are left"):
        bridge.nobody_is_left()


def test_a_scheduler_is_not_blamed_for_the_loss_of_the_last_worker() -> None:
    bridge, _, nodes = begun(Idle, tests=1)
    end(bridge, nodes[0])
    end(bridge, nodes[1], lost=True)
    bridge.nobody_is_left()


def test_a_scheduler_is_not_blamed_for_what_a_crash_leaves_to_workers_that_have_ended() -> None:
    bridge, link, nodes = begun(LoadScheduling, tests=4)
    assert [kind for kind, _ in link.sent] == ["assign", "assign", "retire", "retire"]
    end(bridge, nodes[0], lost=True)
    bridge.crashed(again=False)
    bridge.settle(False, nodes)
    for item in bridge._queued[nodes[1]][:]:
        bridge.finished(nodes[1], item, 0.0)
        bridge.settle(False, nodes)


def test_a_scheduler_is_not_blamed_when_nothing_is_left() -> None:
    bridge, _, nodes = begun(LoadScheduling, tests=2)
    for node in nodes:
        for item in bridge._queued[node][:]:
            bridge.finished(node, item, 0.0)
        end(bridge, node)
    bridge.nobody_is_left()
