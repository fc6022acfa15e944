"""Schedulers that users' schedulers subclass: what `xdist.scheduler` offers where pytest-xdist is not installed.

A scheduler decides which worker runs which items; here a worker is a node, because that is what subclasses call it. The
session tells it when nodes come, have collected, finish an item and go; it answers by calling the nodes. Names and
numbers are those of pytest-xdist 3.8, since subclasses rely on them; what happens after a crash is not. The
coordinator's own modes are elsewhere.
"""

from __future__ import annotations

import difflib
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional, Protocol

from .options import run_worker_count

if TYPE_CHECKING:
    import pytest

#: With fewer pending items than this, a node is about to run out.
FEW = 2
#: A node whose last item took this long, in seconds, asks soon enough once it is about to run out.
SLOW = 0.1
#: How much of two collections is compared for the reader; the time that takes grows with the square.
SHOWN_ITEMS = 1000


class Node(Protocol):
    """A worker, as far as schedulers are concerned. It runs what it is sent in the order of sending."""

    #: Has the worker's `id` and `spec`.
    gateway: Any

    @property
    def shutting_down(self) -> bool:
        """Whether it was told to end, or has ended; it is not sent any more then."""

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """Has it run items of its collection."""

    def send_runtest_all(self) -> None:
        """Has it run its whole collection."""

    def send_steal(self, indices: Sequence[int]) -> None:
        """Asks for items back; the answer arrives at `remove_pending_tests_from_node`."""

    def shutdown(self) -> None:
        """Has it end after what it was sent."""


class Scheduling(Protocol):
    """A scheduler, as far as the session is concerned."""

    @property
    def nodes(self) -> list[Node]:
        """Those that were added and not removed, in the order of arrival."""

    @property
    def collection_is_completed(self) -> bool:
        """Whether as many nodes have collected as the run began with, so that `schedule` may be called."""

    @property
    def tests_finished(self) -> bool:
        """Whether nothing is left to hand out, and all nodes may be shut down."""

    @property
    def has_pending(self) -> bool:
        """Whether anything is not finished."""

    def add_node(self, node: Node) -> None:
        """A node is ready to collect."""

    def add_node_collection(self, node: Node, collection: Sequence[str]) -> None:
        """A node has collected."""

    def mark_test_complete(self, node: Node, item_index: int, duration: float = 0) -> None:
        """A node has finished an item, in so many seconds."""

    def mark_test_pending(self, item: str) -> None:
        """An item, named by its node id, is to be run again; called after its node was removed."""

    def remove_pending_tests_from_node(self, node: Node, indices: Sequence[int]) -> None:
        """A node answers a request to give items back: these it will not run."""

    def remove_node(self, node: Node) -> Optional[str]:
        """A node has ended; answers the node id of the item that it was running, if any."""

    def schedule(self) -> None:
        """Hands out work: for the first time, or after a late node has collected."""


class _Silent:
    """Stands for a log, and for everything that a log may have as an attribute."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> _Silent:
        return self


class _Base:
    """What all schedulers have in common: the nodes' collections, and when the run is over."""

    _log_name = ""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        self.config = config
        self.log = _Silent() if log is None else getattr(log, self._log_name, log)
        self.numnodes = max(1, run_worker_count({"tx": list(config.option.tx)}))
        #: What is scheduled, once the nodes agree.
        self.collection: Optional[list[str]] = None
        #: Those of removed nodes stay: they count for `collection_is_completed`.
        self._collections: dict[Node, list[str]] = {}
        self._reported: set[Node] = set()

    @property
    def nodes(self) -> list[Node]:
        raise NotImplementedError

    def _is_queued(self) -> bool:
        """Whether anything waits for a node."""
        raise NotImplementedError

    def _loads(self) -> Iterable[int]:
        """How many items each node has been sent and not finished."""
        raise NotImplementedError

    @property
    def collection_is_completed(self) -> bool:
        return len(self._collections) >= self.numnodes

    @property
    def tests_finished(self) -> bool:
        return self.collection_is_completed and not self._is_queued() and all(load < FEW for load in self._loads())

    @property
    def has_pending(self) -> bool:
        return self._is_queued() or any(self._loads())

    def add_node_collection(self, node: Node, collection: Sequence[str]) -> None:
        """Keeps it. A node that comes late and collected something else is of no use, so it is shut down."""
        assert node in self.nodes
        collection = list(collection)
        known = self.collection or next(iter(self._collections.values()), None)
        if self.collection is not None and collection != known:
            self._report_difference(node, collection, "the others", known)
            node.shutdown()
            return
        # Equal ones are one object, since there may be many long ones.
        self._collections[node] = known if known is not None and known == collection else collection

    def mark_test_pending(self, item: str) -> None:
        raise NotImplementedError

    def remove_pending_tests_from_node(self, node: Node, indices: Sequence[int]) -> None:
        raise NotImplementedError

    def _ready_nodes(self) -> list[Node]:
        return [node for node in self.nodes if self._is_ready(node)]

    def _is_ready(self, node: Node) -> bool:
        """Whether the node can be given items."""
        return node in self._collections and not node.shutting_down

    def _agree(self) -> bool:
        """Fixes the collection, unless the nodes have different ones."""
        nodes = self._ready_nodes()
        if not nodes or not self._check_nodes_have_same_collection():
            self.log("nothing is scheduled: there is no collection to agree on")
            return False
        self.collection = self._collections[nodes[0]]
        return True

    def _check_nodes_have_same_collection(self) -> bool:
        """Whether all nodes collected the same in the same order; reports those that differ from the first."""
        first, *others = [node for node in self.nodes if node in self._collections]
        expected = self._collections[first]
        differing = [node for node in others if self._collections[node] != expected]
        for node in differing:
            self._report_difference(node, self._collections[node], first.gateway.id, expected)
        return not differing

    def _report_difference(self, node: Node, collection: list[str], name: str, expected: list[str]) -> None:
        if node in self._reported:
            return
        self._reported.add(node)
        import pytest

        text = _difference(node.gateway.id, collection, name, expected)
        self.log(text)
        report = pytest.CollectReport(nodeid=node.gateway.id, outcome="failed", longrepr=text, result=[])
        self.config.hook.pytest_collectreport(report=report)


def _difference(name: str, collection: list[str], expected_name: str, expected: list[str]) -> str:
    text = f"Different tests were collected by {name} than by {expected_name}:\n"
    if max(len(collection), len(expected)) > SHOWN_ITEMS:
        pairs = itertools.zip_longest(collection, expected)
        at = next(at for at, (one, other) in enumerate(pairs) if one != other)
        text += f"(items {at} to {at + SHOWN_ITEMS} only)\n"
        collection, expected = collection[at : at + SHOWN_ITEMS], expected[at : at + SHOWN_ITEMS]
    return text + "\n".join(difflib.unified_diff(expected, collection, expected_name, name, lineterm=""))


class _ListScheduling(_Base):
    """Schedulers that keep a list of items for each node."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self.node2collection = self._collections
        #: What each node was sent and has not finished, in the order of sending.
        self.node2pending: dict[Node, list[int]] = {}

    @property
    def nodes(self) -> list[Node]:
        return list(self.node2pending)

    def _loads(self) -> Iterable[int]:
        return map(len, self.node2pending.values())

    def add_node(self, node: Node) -> None:
        assert node not in self.node2pending
        self.node2pending[node] = []

    def mark_test_complete(self, node: Node, item_index: int, duration: float = 0) -> None:
        self.node2pending[node].remove(item_index)


class EachScheduling(_ListScheduling):
    """Every node runs everything that it collected.

    What a lost node has not run waits for one with the same specification and collection.
    """

    _log_name = "eachsched"

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._begun = False
        self._started: set[Node] = set()
        self._left: dict[Node, list[int]] = {}

    def _is_queued(self) -> bool:
        return bool(self._left)

    def add_node_collection(self, node: Node, collection: Sequence[str]) -> None:
        super().add_node_collection(node, collection)
        lost = self._lost_like(node)
        if lost is not None:
            self.node2pending[node] = self._left.pop(lost)
            # It has taken the other's place, so it must not count twice.
            del self._collections[lost]
        elif not self._begun:
            self.node2pending[node] = list(range(len(collection)))

    def _lost_like(self, node: Node) -> Optional[Node]:
        for lost in self._left:
            same_spec = str(lost.gateway.spec) == str(node.gateway.spec)
            if same_spec and self._collections[lost] == self._collections[node]:
                return lost
        return None

    def schedule(self) -> None:
        assert self.collection_is_completed
        self._begun = True
        for node in self._ready_nodes():
            pending = self.node2pending[node]
            if pending and len(pending) == len(self._collections[node]):
                node.send_runtest_all()
            elif pending:
                node.send_runtest_some(list(pending))
            self._started.add(node)
            node.shutdown()

    def remove_node(self, node: Node) -> Optional[str]:
        pending = self.node2pending.pop(node, [])
        crashed = pending.pop(0) if pending and node in self._started else None
        if pending:
            self._left[node] = pending
        return None if crashed is None else self._collections[node][crashed]


class _QueueScheduling(_ListScheduling):
    """Schedulers that hand out items from one queue."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        #: What no node has been sent.
        self.pending: list[int] = []

    def _begin(self) -> None:
        """Hands out work for the first time."""
        raise NotImplementedError

    def _check_all(self) -> None:
        """Hands out more work, or ends nodes for which there is none."""
        raise NotImplementedError

    def _is_queued(self) -> bool:
        return bool(self.pending)

    def schedule(self) -> None:
        assert self.collection_is_completed
        if self.collection is not None:
            self._check_all()
        elif self._agree():
            self.pending[:] = range(len(self.collection or ()))
            self._begin()

    def mark_test_pending(self, item: str) -> None:
        assert self.collection is not None
        self.pending.insert(0, self.collection.index(item))
        self._check_all()

    def remove_node(self, node: Node) -> Optional[str]:
        pending = self.node2pending.pop(node, [])
        if self.collection is None:
            return None
        crashed = self.collection[pending.pop(0)] if pending else None
        self.pending.extend(pending)
        self._check_all()
        return crashed

    def _send_tests(self, node: Node, num: int) -> None:
        """Sends a node so many items from the front of the queue, or what there is."""
        indices = self.pending[: max(0, num)]
        if indices:
            del self.pending[: len(indices)]
            self.node2pending[node].extend(indices)
            node.send_runtest_some(indices)


class LoadScheduling(_QueueScheduling):
    """Nodes are given a few items at a time, fewer towards the end."""

    _log_name = "loadsched"

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        #: The most items to send at once; `None` until it is known how many there are, if there is no limit.
        self.maxschedchunk: Optional[int] = config.getoption("maxschedchunk", None)

    def _begin(self) -> None:
        nodes, count = self._ready_nodes(), len(self.pending)
        if count < FEW * len(nodes):
            for node in itertools.islice(itertools.cycle(nodes), count):
                self._send_tests(node, 1)
        else:
            block = max(FEW, min(count // len(nodes) // 4, self._limit()))
            for node in nodes:
                self._send_tests(node, block)
        if not self.pending:
            for node in nodes:
                node.shutdown()

    def _limit(self) -> int:
        if self.maxschedchunk is None:
            self.maxschedchunk = len(self.collection or ())
        return self.maxschedchunk

    def _check_all(self) -> None:
        for node in self.nodes:
            self.check_schedule(node)

    def mark_test_complete(self, node: Node, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        self.check_schedule(node, duration)

    def check_schedule(self, node: Node, duration: float = 0) -> None:
        """Sends the node more if it has little, or ends it if there is no more; its last item took so many seconds."""
        if not self._is_ready(node):
            return
        if not self.pending:
            node.shutdown()
            return
        own, share = len(self.node2pending[node]), len(self.pending) // len(self._ready_nodes())
        if own >= max(FEW, share // 4) or (own >= FEW and duration >= SLOW):
            return
        self._send_tests(node, min(max(FEW, share // 2) - own, max(FEW - own, self._limit())))


class WorkStealingScheduling(_QueueScheduling):
    """Nodes are given everything at once; who runs out is given half of what the one with most has left."""

    _log_name = "workstealsched"

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        #: The one node that was asked to give items back and has not answered.
        self.steal_requested_from_node: Optional[Node] = None

    def _is_queued(self) -> bool:
        # What is being given back would be lost if all nodes were shut down meanwhile.
        return super()._is_queued() or self.steal_requested_from_node is not None

    def _begin(self) -> None:
        self.check_schedule()

    def _check_all(self) -> None:
        self.check_schedule()

    def mark_test_complete(self, node: Node, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        self.check_schedule()

    def remove_pending_tests_from_node(self, node: Node, indices: Sequence[int]) -> None:
        assert node is self.steal_requested_from_node
        self.steal_requested_from_node = None
        given_back = set(indices)
        self.node2pending[node] = [index for index in self.node2pending[node] if index not in given_back]
        self.pending.extend(indices)
        self.check_schedule()

    def remove_node(self, node: Node) -> Optional[str]:
        if node is self.steal_requested_from_node:
            self.steal_requested_from_node = None
        return super().remove_node(node)

    def check_schedule(self) -> None:
        """Shares out the queue among nodes that are about to run out; steals for the rest, or ends them."""
        idle = self._idle_nodes()
        for at, node in enumerate(idle):
            self._send_tests(node, len(self.pending) // (len(idle) - at))
        idle = self._idle_nodes()
        if not idle or self.steal_requested_from_node is not None:
            return
        victim = max(self._ready_nodes(), key=lambda node: len(self.node2pending[node]))
        pending = self.node2pending[victim]
        amount = min(len(pending) // 2, len(pending) - FEW)
        if amount > 0:
            self.steal_requested_from_node = victim
            victim.send_steal(pending[-amount:])
        else:
            for node in idle:
                node.shutdown()

    def _idle_nodes(self) -> list[Node]:
        return [node for node in self._ready_nodes() if len(self.node2pending[node]) < FEW]


#: Items of a unit by node id, and whether each is finished.
WorkUnit = dict[str, bool]


class LoadScopeScheduling(_Base):
    """Units of items that belong together, in this class those of one scope, run on one node each.

    The state is in `workqueue` and `assigned_work` and nowhere else, since subclasses change both.
    """

    _log_name = "loadscopesched"

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self.registered_collections = self._collections
        #: Units that no node has been sent, by scope.
        self.workqueue: OrderedDict[str, WorkUnit] = OrderedDict()
        #: Units that nodes have been sent, the finished ones too.
        self.assigned_work: OrderedDict[Node, OrderedDict[str, WorkUnit]] = OrderedDict()
        #: Where in a collection, found by its `id`, each node id is; pytest allows the same one twice.
        self._positions: dict[int, dict[str, list[int]]] = {}

    @property
    def nodes(self) -> list[Node]:
        return list(self.assigned_work)

    def _is_queued(self) -> bool:
        return bool(self.workqueue)

    def _loads(self) -> Iterable[int]:
        return map(self._pending_of, self.assigned_work.values())

    def _split_scope(self, nodeid: str) -> str:
        """The scope that an item belongs to: its class, or else its module."""
        return nodeid.rsplit("::", 1)[0]

    def _reorder_scopes(self, units: Mapping[str, WorkUnit]) -> list[str]:
        """The order in which to hand out units: the biggest first, unless that is not wanted."""
        if self.config.option.loadscopereorder is False:
            return list(units)
        return sorted(units, key=lambda scope: len(units[scope]), reverse=True)

    def _pending_of(self, workload: Mapping[str, WorkUnit]) -> int:
        """How many items of these units are not finished."""
        pending = 0
        # Units are run in order, so there is nothing left before a finished one; and there may be very many of them.
        for unit in reversed(workload.values()):
            # Order does not matter within one, and `OrderedDict` takes six times as long.
            unfinished = list(dict.values(unit)).count(False)
            if not unfinished:
                break
            pending += unfinished
        return pending

    def add_node(self, node: Node) -> None:
        assert node not in self.assigned_work
        self.assigned_work[node] = OrderedDict()

    def schedule(self) -> None:
        assert self.collection_is_completed
        if self.collection is None:
            if not self._agree():
                return
            self._fill_workqueue()
        nodes = self._ready_nodes()
        for node in nodes:
            if self.workqueue and not self._pending_of(self.assigned_work[node]):
                self._assign_work_unit(node)
        for node in nodes:
            self._reschedule(node)
        if not self.workqueue:
            for node in self._ready_nodes():
                node.shutdown()

    def _fill_workqueue(self) -> None:
        units: dict[str, WorkUnit] = {}
        for nodeid in self.collection or ():
            units.setdefault(self._split_scope(nodeid), OrderedDict())[nodeid] = False
        for scope in self._reorder_scopes(units):
            self.workqueue[scope] = units[scope]

    def _assign_work_unit(self, node: Node) -> None:
        """Sends a node the first unit of the queue."""
        scope, unit = self.workqueue.popitem(last=False)
        workload = self.assigned_work[node]
        # The node may have had a part of this unit before, which must not become its position among the others.
        workload[scope] = OrderedDict({**workload.pop(scope, {}), **unit})
        self._send(node, [nodeid for nodeid, finished in unit.items() if not finished])

    def _send(self, node: Node, nodeids: list[str]) -> None:
        collection = self.registered_collections[node]
        positions = self._positions.get(id(collection))
        if positions is None:
            positions = self._positions[id(collection)] = {}
            for index, nodeid in enumerate(collection):
                positions.setdefault(nodeid, []).append(index)
        node.send_runtest_some([index for nodeid in nodeids for index in positions[nodeid]])

    def _reschedule(self, node: Node) -> None:
        """Sends a node its next unit if it has little, or ends it if there is no more."""
        if not self._is_ready(node):
            return
        if not self.workqueue:
            node.shutdown()
        elif self._pending_of(self.assigned_work[node]) <= FEW:
            self._assign_work_unit(node)

    def mark_test_complete(self, node: Node, item_index: int, duration: float = 0) -> None:
        nodeid = self.registered_collections[node][item_index]
        workload = self.assigned_work[node]
        unit = workload.get(self._split_scope(nodeid), {})
        if nodeid not in unit:
            # A subclass may hand out units under other names.
            unit = next((unit for unit in workload.values() if nodeid in unit), {})
        unit[nodeid] = True
        self._reschedule(node)

    def mark_test_pending(self, item: str) -> None:
        """Puts the item first, unless a node is about to run the rest of its unit: then it goes there."""
        scope = self._split_scope(item)
        for node in self._ready_nodes():
            # Only behind the newest unit can something be added without a change of order.
            newest, unit = next(reversed(self.assigned_work[node].items()), (None, {}))
            if newest == scope and False in unit.values():
                unit[item] = False
                self._send(node, [item])
                return
        self.workqueue[scope] = OrderedDict({item: False, **self.workqueue.get(scope, {})})
        self.workqueue.move_to_end(scope, last=False)
        self._reschedule_all()

    def remove_node(self, node: Node) -> Optional[str]:
        units = self.assigned_work.pop(node, {})
        left = [(scope, nodeid) for scope, unit in units.items() for nodeid, finished in unit.items() if not finished]
        if not left:
            return None
        (_, crashed), *rest = left
        for scope, nodeid in rest:
            self.workqueue.setdefault(scope, OrderedDict())[nodeid] = False
        self._reschedule_all()
        return crashed

    def _reschedule_all(self) -> None:
        for node in self.nodes:
            self._reschedule(node)


class LoadFileScheduling(LoadScopeScheduling):
    """A unit is a file."""

    _log_name = "loadfilesched"

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::", 1)[0]


class LoadGroupScheduling(LoadScopeScheduling):
    """A unit is what is marked with the same `xdist_group`; every other item is one of its own."""

    _log_name = "loadgroupsched"

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        #: The group of each item that has one, by node id; the session knows it before `schedule`.
        self.groups: Mapping[str, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        group = self.groups.get(nodeid)
        if group is not None:
            return group
        # pytest-xdist appends `@group` to node ids, and so may those who are used to it.
        at = nodeid.rfind("@")
        return nodeid[at + 1 :] if at > nodeid.rfind("]") else nodeid
