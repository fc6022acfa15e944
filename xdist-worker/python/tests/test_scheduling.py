"""Schedulers for users' subclasses: what nodes are sent, as a trace of what happens to a run."""

from __future__ import annotations

import random
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any, Optional, Union

import pytest
from xdist_pytest.scheduling import (
    EachScheduling,
    LoadFileScheduling,
    LoadGroupScheduling,
    LoadScheduling,
    LoadScopeScheduling,
    Scheduling,
    WorkStealingScheduling,
)

ALL = [
    EachScheduling,
    LoadScheduling,
    LoadScopeScheduling,
    LoadFileScheduling,
    LoadGroupScheduling,
    WorkStealingScheduling,
]


class FakeNode:
    """A worker with a queue that is run by hand; it records what it is told."""

    def __init__(self, run: Run, name: str, spec: str) -> None:
        self.run = run
        self.gateway = SimpleNamespace(id=name, spec=spec)
        self.collection: list[str] = []
        self.queue: list[int] = []
        self.asked: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        assert not self.shutting_down
        self.run.events.append(f"{self.gateway.id}+{','.join(map(str, indices))}")
        self.queue += indices

    def send_runtest_all(self) -> None:
        assert not self.shutting_down
        self.run.events.append(f"{self.gateway.id}+all")
        self.queue += range(len(self.collection))

    def send_steal(self, indices: list[int]) -> None:
        self.run.events.append(f"{self.gateway.id}?{','.join(map(str, indices))}")
        self.asked = indices

    def shutdown(self) -> None:
        if not self.shutting_down:
            self.run.events.append(f"{self.gateway.id}.")
        self.shutting_down = True


class Run:
    """A scheduler with its nodes. Traces read `gw0+0,1` (sent), `gw0?4,5` (asked to give back) and `gw0.` (shut down)."""

    def __init__(self, kind: Any, specs: int, tests: Union[int, list[str]], begin: bool = True, **options: Any) -> None:
        self.tests = [f"t{number}" for number in range(tests)] if isinstance(tests, int) else tests
        self.events: list[str] = []
        self.reports: list[Any] = []
        option = SimpleNamespace(tx=[f"{specs}*popen"], loadscopereorder=None, maxschedchunk=None)
        vars(option).update(options)
        hook = SimpleNamespace(pytest_collectreport=lambda report: self.reports.append(report))
        config = SimpleNamespace(
            option=option, hook=hook, getoption=lambda name, default: getattr(option, name, default)
        )
        self.sched = kind(config)
        self.nodes: dict[str, FakeNode] = {}
        if begin:
            for number in range(specs):
                self.collect(f"gw{number}")
            self.sched.schedule()

    def trace(self) -> str:
        text = " ".join(self.events)
        self.events.clear()
        return text

    def add(self, name: str, spec: str = "popen") -> FakeNode:
        node = self.nodes[name] = FakeNode(self, name, spec)
        self.sched.add_node(node)
        return node

    def collect(self, name: str, tests: Optional[list[str]] = None, spec: str = "popen") -> FakeNode:
        node = self.nodes.get(name) or self.add(name, spec)
        node.collection = self.tests if tests is None else tests
        self.sched.add_node_collection(node, list(node.collection))
        return node

    def late(self, name: str, tests: Optional[list[str]] = None, spec: str = "popen") -> str:
        """A node comes after all others."""
        self.collect(name, tests, spec)
        self.sched.schedule()
        return self.trace()

    def done(self, name: str, count: int = 1, duration: float = 0) -> str:
        """A node finishes the first items of its queue."""
        for _ in range(count):
            self.sched.mark_test_complete(self.nodes[name], self.nodes[name].queue.pop(0), duration)
        return self.trace()

    def crash(self, name: str) -> tuple[Optional[str], str]:
        """The blamed item, and what the other nodes are sent then."""
        node = self.nodes.pop(name)
        node.shutting_down = True
        return self.sched.remove_node(node), self.trace()

    def give_back(self, name: str, *indices: int) -> str:
        node = self.nodes[name]
        node.queue = [index for index in node.queue if index not in indices]
        self.sched.remove_pending_tests_from_node(node, indices)
        return self.trace()

    def again(self, item: str) -> str:
        self.sched.mark_test_pending(item)
        return self.trace()

    def state(self) -> tuple[bool, bool]:
        return self.sched.has_pending, self.sched.tests_finished


def units(**sizes: int) -> list[str]:
    return [f"{scope}.py::test{number}" for scope, size in sizes.items() for number in range(size)]


@pytest.mark.parametrize("kind", ALL)
def test_all_follow_the_protocol(kind: Any) -> None:
    names = {name for name in vars(Scheduling) if not name.startswith("_")}
    assert len(names) == 11
    assert names <= set(dir(kind))


@pytest.mark.parametrize(
    ("kind", "nodes", "tests", "expected"),
    [
        (EachScheduling, 2, 3, "gw0+all gw0. gw1+all gw1."),
        (EachScheduling, 1, 0, "gw0."),
        (LoadScheduling, 2, 6, "gw0+0,1 gw1+2,3"),
        (LoadScheduling, 2, 16, "gw0+0,1 gw1+2,3"),
        (LoadScheduling, 2, 24, "gw0+0,1,2 gw1+3,4,5"),
        (LoadScheduling, 3, 2, "gw0+0 gw1+1 gw0. gw1. gw2."),
        (LoadScheduling, 3, 5, "gw0+0 gw1+1 gw2+2 gw0+3 gw1+4 gw0. gw1. gw2."),
        (LoadScheduling, 2, 4, "gw0+0,1 gw1+2,3 gw0. gw1."),
        (LoadScheduling, 1, 1, "gw0+0 gw0."),
        (LoadScheduling, 2, 0, "gw0. gw1."),
        (WorkStealingScheduling, 2, 16, "gw0+0,1,2,3,4,5,6,7 gw1+8,9,10,11,12,13,14,15"),
        (WorkStealingScheduling, 3, 5, "gw0+0 gw1+1,2 gw2+3,4 gw0."),
        (WorkStealingScheduling, 3, 2, "gw1+0 gw2+1 gw0. gw1. gw2."),
        (WorkStealingScheduling, 1, 1, "gw0+0 gw0."),
        (WorkStealingScheduling, 2, 0, "gw0. gw1."),
        (LoadScopeScheduling, 2, 0, "gw0. gw1."),
    ],
)
def test_how_a_run_begins(kind: Any, nodes: int, tests: int, expected: str) -> None:
    assert Run(kind, nodes, tests).trace() == expected


def test_load_sends_less_and_less() -> None:
    run = Run(LoadScheduling, 2, 16)
    assert run.trace() == "gw0+0,1 gw1+2,3"
    assert run.done("gw0") == "gw0+4,5"
    assert run.done("gw0") == ""
    assert [run.done("gw0") for _ in range(3)] == ["gw0+6", "gw0+7", "gw0+8"]


def test_load_ends_nodes_when_the_queue_is_empty() -> None:
    run = Run(LoadScheduling, 2, 6)
    run.trace()
    assert [run.done("gw0"), run.done("gw1"), run.done("gw0")] == ["gw0+4", "gw1+5", "gw0."]
    assert run.state() == (True, False)
    assert run.done("gw1") == "gw1."
    assert run.state() == (True, True)
    run.done("gw0")
    run.done("gw1")
    assert run.state() == (False, True)


def test_load_does_not_hurry_after_a_slow_item() -> None:
    def long_run() -> Run:
        run = Run(LoadScheduling, 2, 100)
        assert run.trace() == f"gw0+{','.join(map(str, range(12)))} gw1+{','.join(map(str, range(12, 24)))}"
        run.done("gw0", 3)
        return run

    # 76 items for 2 nodes: no fewer than 9, up to 19.
    assert long_run().done("gw0", duration=0.09) == f"gw0+{','.join(map(str, range(24, 35)))}"
    run = long_run()
    assert run.done("gw0", 7, duration=0.1) == ""
    assert run.done("gw0", duration=0.1) != ""


@pytest.mark.parametrize(
    ("chunk", "first", "then"),
    [(1, "gw0+0,1 gw1+2,3", "gw0+4"), (5, "gw0+0,1,2,3,4 gw1+5,6,7,8,9", "gw0+10,11,12,13,14")],
)
def test_load_may_be_limited(chunk: int, first: str, then: str) -> None:
    run = Run(LoadScheduling, 2, 100, maxschedchunk=chunk)
    assert run.trace() == first
    assert run.done("gw0") == then


def test_the_limit_leaves_nobody_with_one_item() -> None:
    run = Run(LoadScheduling, 2, 100, maxschedchunk=1)
    run.trace()
    assert run.late("gw2") == "gw0+4 gw1+5 gw2+6,7"


def test_worksteal_takes_the_tail_of_the_longest_queue() -> None:
    run = Run(WorkStealingScheduling, 2, 20)
    run.trace()
    assert run.done("gw1", 9) == "gw0?5,6,7,8,9"
    assert run.state() == (True, False)
    assert run.done("gw1") == ""
    assert run.give_back("gw0", 5, 6, 7, 8, 9) == "gw1+5,6,7,8,9"
    assert run.done("gw1", 4) == "gw0?3,4"
    assert run.give_back("gw0", 3, 4) == "gw1+3,4"
    assert run.done("gw1", 2) == "gw0?2"
    assert run.give_back("gw0", 2) == "gw1+2"
    assert run.done("gw1") == "gw1."


def test_worksteal_asks_again_when_nothing_is_given_back() -> None:
    run = Run(WorkStealingScheduling, 2, 16)
    run.trace()
    assert run.done("gw1", 7) == "gw0?4,5,6,7"
    assert run.done("gw0", 5) == ""
    # There are 5, 6 and 7, of which the first is being run.
    assert run.give_back("gw0") == "gw0?7"
    assert run.done("gw0", 2) == ""
    # Both have one left, but the one of gw0 is on its way back.
    assert run.state() == (True, False)
    # One for two nodes: for the second.
    assert run.give_back("gw0", 7) == "gw1+7 gw0."


def test_worksteal_steals_again_when_the_victim_is_lost() -> None:
    run = Run(WorkStealingScheduling, 3, 24)
    run.trace()
    assert run.done("gw2", 7) == "gw0?4,5,6,7"
    assert run.crash("gw0") == ("t0", "gw2+1,2,3,4,5,6,7")
    run.done("gw2", 7)
    assert run.trace() == ""


def test_scopes_are_handed_out_whole_and_the_biggest_first() -> None:
    tests = units(a=1, b=3, c=3, d=4, e=2)
    run = Run(LoadScopeScheduling, 2, tests)
    assert run.trace() == "gw0+7,8,9,10 gw1+1,2,3"
    assert run.done("gw0") == ""
    assert run.done("gw1") == "gw1+4,5,6"
    assert run.done("gw0") == "gw0+11,12"
    assert run.done("gw1", 3) == "gw1+0"
    assert run.done("gw0") == "gw0."
    assert run.done("gw1") == "gw1."
    assert run.state() == (True, False)
    assert run.done("gw0", 2) == ""
    assert run.state() == (True, False)
    assert run.done("gw1") == ""
    assert run.state() == (True, True)


def test_small_scopes_come_in_twos() -> None:
    assert Run(LoadScopeScheduling, 2, units(a=1, b=1, c=1, d=1, e=1)).trace() == "gw0+0 gw1+1 gw0+2 gw1+3"
    assert Run(LoadScopeScheduling, 2, units(a=1, b=1, c=1)).trace() == "gw0+0 gw1+1 gw0+2 gw1. gw0."
    assert Run(LoadScopeScheduling, 3, units(a=4, b=1)).trace() == "gw0+0,1,2,3 gw1+4 gw0. gw1. gw2."
    assert Run(LoadScopeScheduling, 1, units(a=1)).trace() == "gw0+0 gw0."


def test_scopes_may_stay_in_order() -> None:
    tests = units(a=1, b=3, c=4, d=2)
    assert Run(LoadScopeScheduling, 2, tests, loadscopereorder=False).trace() == "gw0+0 gw1+1,2,3 gw0+4,5,6,7"


@pytest.mark.parametrize(
    ("kind", "nodeid", "scope"),
    [
        (LoadScopeScheduling, "a.py::A::test", "a.py::A"),
        (LoadScopeScheduling, "a.py::test", "a.py"),
        (LoadScopeScheduling, "a.rst::a.rst", "a.rst"),
        (LoadFileScheduling, "a.py::A::test", "a.py"),
        (LoadGroupScheduling, "a.py::test", "a.py::test"),
        (LoadGroupScheduling, "a.py::test@one", "one"),
        (LoadGroupScheduling, "a.py::test[x@y]", "a.py::test[x@y]"),
        (LoadGroupScheduling, "a.py::test[x@y]@one", "one"),
    ],
)
def test_what_belongs_together(kind: Any, nodeid: str, scope: str) -> None:
    assert Run(kind, 1, [], begin=False).sched._split_scope(nodeid) == scope


def test_groups_are_given_apart_from_node_ids() -> None:
    run = Run(LoadGroupScheduling, 2, units(a=3, b=3), begin=False)
    run.sched.groups = {"a.py::test2": "both", "b.py::test0": "both"}
    for name in ("gw0", "gw1"):
        run.collect(name)
    run.sched.schedule()
    assert run.trace() == "gw0+2,3 gw1+0 gw0+1 gw1+4"


def test_a_node_id_that_is_there_twice_runs_twice() -> None:
    assert Run(LoadScopeScheduling, 1, ["a.py::t", "a.py::u", "a.py::t"]).trace() == "gw0+0,2,1 gw0."


def test_subclasses_say_what_a_unit_is() -> None:
    class BySuffix(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid[-1]

    run = Run(BySuffix, 2, units(a=2, b=2, c=2))
    assert run.trace() == "gw0+0,2,4 gw1+1,3,5 gw0. gw1."
    assert run.crash("gw0") == ("a.py::test0", "")
    assert run.late("gw2") == "gw2+2,4 gw2."


def test_subclasses_hand_out_units_themselves() -> None:
    class Backwards(LoadScopeScheduling):
        """As in the wild: everything done by hand, and under another name."""

        def _assign_work_unit(self, node: Any) -> None:
            scope, unit = self.workqueue.popitem(last=True)
            self.assigned_work.setdefault(node, default=OrderedDict())[f"{scope}!"] = unit
            collection = self.registered_collections[node]
            node.send_runtest_some([collection.index(nodeid) for nodeid, done in unit.items() if not done])

        def _reschedule(self, node: Any) -> None:
            if node.shutting_down:
                return
            if not self.workqueue:
                node.shutdown()
            elif self._pending_of(self.assigned_work[node]) < 2:
                self._assign_work_unit(node)

    run = Run(Backwards, 2, units(a=2, b=2, c=2))
    assert run.trace() == "gw0+4,5 gw1+2,3"
    assert run.done("gw1") == "gw1+0,1"
    assert run.done("gw0", 2) == "gw0."
    assert run.crash("gw1") == ("b.py::test1", "")
    assert list(run.sched.workqueue.items()) == [("a.py!", {"a.py::test0": False, "a.py::test1": False})]


def test_each_gives_what_is_left_to_a_node_of_the_same_kind() -> None:
    run = Run(EachScheduling, 2, 4, begin=False)
    run.collect("gw0", spec="one")
    run.collect("gw1", ["t0", "other"], spec="two")
    run.sched.schedule()
    assert run.trace() == "gw0+all gw0. gw1+all gw1."
    run.done("gw0")
    assert run.crash("gw0") == ("t1", "")
    assert run.state() == (True, False)
    assert run.late("gw2", spec="two") == "gw2."
    assert run.late("gw3", spec="one") == "gw3+2,3 gw3."
    # The replacement crashes too.
    assert run.crash("gw3") == ("t2", "")
    assert run.late("gw4", spec="one") == "gw4+3 gw4."
    run.done("gw4")
    run.done("gw1", 2)
    assert run.state() == (False, True)


def test_each_replaces_a_node_that_is_lost_before_the_start() -> None:
    run = Run(EachScheduling, 2, 2, begin=False)
    run.collect("gw0")
    assert run.crash("gw0") == (None, "")
    run.collect("gw2")
    assert not run.sched.collection_is_completed
    run.collect("gw1")
    run.sched.schedule()
    assert run.trace() == "gw2+all gw2. gw1+all gw1."


def test_load_after_a_crash() -> None:
    run = Run(LoadScheduling, 2, 24)
    run.trace()
    # 20 items for one node: no fewer than 5, up to 10.
    assert run.crash("gw0") == ("t0", "gw1+6,7,8,9,10,11,12")
    # What the lost node left is at the end, and the crashed item is gone.
    assert run.sched.pending == [*range(13, 24), 1, 2]
    assert run.done("gw1") == ""
    assert run.late("gw2") == "gw2+13,14,15"


@pytest.mark.parametrize("kind", [LoadScheduling, WorkStealingScheduling, LoadScopeScheduling, LoadFileScheduling])
def test_one_node_crashes_and_another_takes_its_place(kind: Any) -> None:
    run = Run(kind, 1, units(a=3))
    run.trace()
    run.done("gw0")
    assert run.crash("gw0")[0] == "a.py::test1"
    assert run.state() == (True, False)
    assert run.late("gw1").startswith("gw1+2")
    assert run.crash("gw1") == ("a.py::test2", "")
    assert run.state() == (False, True)
    assert run.late("gw2") == "gw2."


def test_scope_after_a_crash() -> None:
    run = Run(LoadScopeScheduling, 2, units(a=4, b=4, c=3))
    assert run.trace() == "gw0+0,1,2,3 gw1+4,5,6,7"
    assert run.done("gw0", 2) == "gw0+8,9,10"
    assert run.done("gw0") == "gw0."
    # Three of the first unit are finished. The second goes to whoever has little.
    assert run.crash("gw0") == ("a.py::test3", "")
    assert run.sched.workqueue == {"c.py": dict.fromkeys(units(c=3), False)}
    assert run.done("gw1", 2) == "gw1+8,9,10"


@pytest.mark.parametrize("kind", ALL)
def test_an_idle_node_is_nobodys_fault(kind: Any) -> None:
    run = Run(kind, 2, 8, begin=False)
    run.add("gw0")
    assert run.crash("gw0") == (None, "")
    run.collect("gw1")
    assert run.crash("gw1") == (None, "")
    run.collect("gw2")
    assert run.collect("gw3")
    run.sched.schedule()
    assert run.trace() != ""


@pytest.mark.parametrize("kind", ALL)
def test_a_node_that_has_not_collected_is_left_alone(kind: Any) -> None:
    run = Run(kind, 2, 8)
    run.add("gw2")
    run.crash("gw0")
    run.done("gw1")
    assert not run.nodes["gw2"].queue and not run.nodes["gw2"].shutting_down


def test_load_and_worksteal_run_a_crashed_item_again() -> None:
    run = Run(LoadScheduling, 2, 6)
    run.trace()
    assert run.crash("gw0") == ("t0", "")
    assert run.again("t0") == ""
    assert run.done("gw1") == "gw1+0"
    run = Run(WorkStealingScheduling, 2, 6)
    run.trace()
    run.done("gw1")
    assert run.crash("gw0") == ("t0", "")
    assert run.again("t0") == ""
    assert run.done("gw1") == "gw1+0,1,2"


def test_scope_runs_a_crashed_item_again() -> None:
    run = Run(LoadFileScheduling, 2, units(a=4, b=4))
    assert run.trace() == "gw0+0,1,2,3 gw1+4,5,6,7 gw0. gw1."
    assert run.crash("gw0") == ("a.py::test0", "")
    assert run.again("a.py::test0") == ""
    assert run.late("gw2") == "gw2+0,1,2,3 gw2."


def test_a_crashed_item_goes_where_its_unit_is() -> None:
    run = Run(LoadFileScheduling, 2, units(a=4, b=3, c=4))
    assert run.trace() == "gw0+0,1,2,3 gw1+7,8,9,10"
    assert run.done("gw1", 2) == "gw1+4,5,6"
    assert run.done("gw1", 3) == "gw1."
    run.nodes["gw1"].shutting_down = False
    assert run.crash("gw0") == ("a.py::test0", "gw1+1,2,3")
    assert run.again("a.py::test0") == "gw1+0"
    run.done("gw1", 5)
    assert run.crash("gw1") == ("a.py::test0", "")


def test_a_part_of_a_unit_comes_after_what_was_sent_before() -> None:
    run = Run(LoadFileScheduling, 1, units(a=2, b=3, c=3))
    assert run.trace() == "gw0+2,3,4"
    assert run.done("gw0") == "gw0+5,6,7"
    assert run.done("gw0", 2) == ""
    assert run.again("b.py::test0") == ""
    assert run.done("gw0") == "gw0+2"
    assert run.crash("gw0") == ("c.py::test1", "")


@pytest.mark.parametrize("kind", [EachScheduling, LoadScheduling, LoadScopeScheduling])
def test_only_worksteal_steals(kind: Any) -> None:
    run = Run(kind, 1, 3)
    with pytest.raises(NotImplementedError):
        run.sched.remove_pending_tests_from_node(run.nodes["gw0"], [1])
    if kind is EachScheduling:
        with pytest.raises(NotImplementedError):
            run.sched.mark_test_pending("t0")


@pytest.mark.parametrize("kind", ALL[1:])
def test_different_collections_are_reported_and_nothing_is_run(kind: Any) -> None:
    run = Run(kind, 3, ["t0", "t1"], begin=False)
    run.collect("gw0")
    run.collect("gw1", ["t1", "t0"])
    run.collect("gw2", ["t0", "t2"])
    run.sched.schedule()
    run.sched.schedule()
    assert run.trace() == ""
    assert run.state() == (False, True)
    assert [(report.nodeid, report.outcome) for report in run.reports] == [("gw1", "failed"), ("gw2", "failed")]
    assert run.reports[1].longrepr.splitlines() == [
        "Different tests were collected by gw2 than by gw0:",
        "--- gw0",
        "+++ gw2",
        "@@ -1,2 +1,2 @@",
        " t0",
        "-t1",
        "+t2",
    ]


def test_long_differences_are_cut() -> None:
    run = Run(LoadScheduling, 2, 30_000, begin=False)
    run.collect("gw0")
    run.collect("gw1", [*run.tests[:100], *reversed(run.tests[100:])])
    run.sched.schedule()
    lines = run.reports[0].longrepr.splitlines()
    assert lines[1] == "(items 100 to 1100 only)"
    assert len(lines) < 2100


@pytest.mark.parametrize("kind", ALL[1:])
def test_a_late_node_with_a_different_collection_is_ended(kind: Any) -> None:
    run = Run(kind, 1, 30)
    run.trace()
    assert run.late("gw1", ["t0"]).startswith("gw1.")
    assert [report.nodeid for report in run.reports] == ["gw1"]
    run.crash("gw0")
    assert not run.nodes["gw1"].queue
    assert run.late("gw2").startswith("gw2+")


def test_the_log_is_a_part_of_the_one_given() -> None:
    told: list[str] = []
    log = SimpleNamespace(loadfilesched=lambda *args: told.append(args[0]))
    config = Run(LoadFileScheduling, 1, [], begin=False).sched.config
    LoadFileScheduling(config, log).log("one")
    LoadFileScheduling(config, told.append).log("two")
    LoadFileScheduling(config).log.anything("three", 3)
    assert told == ["one", "two"]


@pytest.mark.parametrize(("tx", "expected"), [(["popen"], 1), (["3*popen//python=x", "ssh=h", "2*popen"], 6), ([], 1)])
def test_as_many_nodes_as_specifications(tx: list[str], expected: int) -> None:
    assert Run(LoadScheduling, 1, [], begin=False, tx=tx).sched.numnodes == expected


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_every_item_is_run_once_and_the_run_ends(kind: Any, seed: int) -> None:
    chance = random.Random(seed)
    count = chance.randint(1, 4)
    tests = units(**{name: chance.choice([1, 1, 2, 5]) for name in "abcdefgh"[: chance.randint(0, 8)]})
    run = Run(kind, count, tests, begin=False)
    finished: list[str] = []
    born = count
    for number in range(count):
        run.add(f"gw{number}")
    for _ in range(2000):
        collecting = [node for node in run.nodes.values() if node not in run.sched._collections]
        busy = [node for node in run.nodes.values() if node.queue]
        stolen_from: Any = getattr(run.sched, "steal_requested_from_node", None)
        ended = [node for node in run.nodes.values() if node.shutting_down and not node.queue]
        if chance.random() < 0.1 and run.nodes and born < 12:
            crashed, _ = run.crash(chance.choice(list(run.nodes)))
            if crashed is not None and kind is not EachScheduling and chance.random() < 0.3:
                run.again(crashed)
            elif crashed is not None:
                finished.append(crashed)
            run.add(f"gw{born}")
            born += 1
        elif ended:
            node = chance.choice(ended)
            assert run.crash(node.gateway.id)[0] is None
            if not run.nodes and run.sched.has_pending:
                run.add(f"gw{born}")
                born += 1
        elif stolen_from is not None and chance.random() < 0.5:
            # As a worker does: all, or nothing if one of them has begun.
            asked = stolen_from.asked
            run.give_back(stolen_from.gateway.id, *(asked if set(asked) <= set(stolen_from.queue[1:]) else ()))
        elif collecting and (not busy or chance.random() < 0.3):
            run.collect(chance.choice(collecting).gateway.id)
            if run.sched.collection_is_completed:
                run.sched.schedule()
        elif busy:
            node = chance.choice(busy)
            finished.append(node.collection[node.queue[0]])
            run.sched.mark_test_complete(node, node.queue.pop(0), chance.choice([0, 1]))
        if run.sched.tests_finished and run.sched.collection_is_completed and not collecting:
            for node in run.nodes.values():
                node.shutdown()
        if not run.nodes:
            break
    assert not run.nodes
    assert not run.sched.has_pending
    assert sorted(finished) == sorted(tests * (count if kind is EachScheduling else 1))
