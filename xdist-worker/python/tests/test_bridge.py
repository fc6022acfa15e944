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


def test_the_last_worker_is_not_ended_before_it_is_said_that_tests_are_left() -> None:
    """Otherwise the coordinator has ended the run meanwhile, as one that nobody is left for."""
    bridge, link, nodes = begun(Idle, tests=1)
    assert all(node.shutting_down for node in nodes) and link.sent == []
    with pytest.raises(pytest.UsageError, match="Idle gives nothing to any worker, and 1 tests are left"):
        bridge.settle(False, nodes)


def test_workers_end_when_the_run_stops_with_tests_left() -> None:
    bridge, link, nodes = begun(Idle, tests=1)
    bridge.settle(True, nodes)
    bridge.settle(True, nodes)
    assert link.sent == [("retire", 0), ("retire", 1)]


def test_workers_end_at_once_when_others_have_something_to_do() -> None:
    bridge, link, nodes = begun(LoadScheduling, tests=2)
    assert link.sent == [("assign", 0), ("assign", 1), ("retire", 0), ("retire", 1)]
    bridge.settle(False, nodes)


def test_a_worker_ends_after_a_crash_took_the_last_test() -> None:
    """The worker is gone before it is known what has become of its test, which counts as left until then."""

    class Patient(LoadScheduling):
        """Ends workers that there is nothing for, and takes no run for finished."""

        tests_finished = False

        def _begin(self) -> None:
            self._send_tests(self.nodes[0], 1)

    bridge, link, nodes = begun(Patient, tests=1)
    link.sent.clear()
    nodes[0].is_down = nodes[0].shutting_down = True
    bridge.gone(nodes[0])
    bridge.crashed(again=False)
    bridge.settle(False, nodes)
    assert link.sent == [("retire", 1)]
