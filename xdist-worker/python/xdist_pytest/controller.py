"""The coordinator's side of a run, as pytest's plugins see it: pytest-xdist's `dsession`.

An ordinary pytest session that collects nothing. It hears from the coordinator what happens in the workers, and calls
the hooks that pytest-xdist calls there, with the same arguments and in the same order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, NoReturn, Optional

import pytest

from . import crashes, retries
from .bridge import Bridge, make_scheduler
from .distterminal import DistTerminal
from .link import LinkError
from .msgpack import Value
from .nodes import Gateway, Node, NodeManager, Spec
from .whole import Reviver, location_of, revive_warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .link import Link

#: The names that pytest-xdist's schedulers have, for those who look for them in the output.
SCHEDULERS = {
    "each": "EachScheduling",
    "load": "LoadScheduling",
    "loadscope": "LoadScopeScheduling",
    "loadfile": "LoadFileScheduling",
    "loadgroup": "LoadGroupScheduling",
    "worksteal": "WorkStealingScheduling",
}

#: How the reason begins if a run has ended for want of workers.
_NOBODY_LEFT = "no worker is left"

#: For how long plugins' own threads may read what a test process said to them before it died, in seconds. It has arrived
#: by then, since that is before the news of its death: pytest-rerunfailures has a thread that reads how often a test may
#: be run.
_READING_TIME = 0.05


class Interrupted(KeyboardInterrupt):
    """The run was stopped; pytest prints the class's name."""

    __module__ = "xdist.dsession"


class Pending:
    """What `pytest_handlecrashitem` gets for a scheduler: it can have the item run again."""

    def __init__(self, config: pytest.Config, scheduler: Any = None) -> None:
        self.config = config
        self.items: list[str] = []
        self._scheduler = scheduler

    def mark_test_pending(self, item: str) -> None:
        """Has an item run again."""
        self.items.append(item)
        if self._scheduler is not None:
            self._scheduler.mark_test_pending(item)


class DistSession:
    """Takes pytest's main loop over."""

    def __init__(
        self, config: pytest.Config, connect: Callable[[DistSession], Link], run_id: str, worker_count: int
    ) -> None:
        self.config = config
        #: Set to false by plugins of old that want to be asked.
        self.shouldstop: Any = False
        self._connect = connect
        self._link: Optional[Link] = None
        self._count = worker_count
        self._manager = NodeManager(config, run_id)
        self._reviver = Reviver(config)
        self._terminal = DistTerminal(config)
        self._nodes: dict[int, Node] = {}
        #: By worker in mode `each`, otherwise for `None`.
        self._items: dict[Optional[int], list[dict[str, Any]]] = {}
        self._started: set[tuple[int, int]] = set()
        self._collected: list[Node] = []
        self._has_collected = False
        self._stopping: Optional[str] = None
        self._usage_error = ""
        self._is_complete = True
        self._exhausted: Optional[str] = None
        self._session: Any = None
        self._exit_status: Optional[int] = None
        self._interrupt: Optional[Callable[[], None]] = None
        self._bridge: Optional[Bridge] = None
        self._has_scheduler = False
        #: Workers that had done their share, and did not crash then.
        self._recycled: set[int] = set()
        self._replaced: dict[int, int] = {}
        self._attempts = retries.Attempts()
        #: Reports of crashes that plugins were asked about, as long as it is not known what comes of them.
        self._judged: dict[tuple[int, int], Any] = {}
        self._flaky_failed = 0
        #: What files of other machines were fetched, line by line.
        self._fetched: list[str] = []

    def interrupt_with(self, interrupt: Callable[[], None]) -> None:
        """Has Ctrl-C do this while the run goes on; it has no effect otherwise."""
        self._interrupt = interrupt

    # pytest's own hooks

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Brings the workers up."""
        self._session = session
        reporter = self.config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            # Tests of many files run at the same time.
            reporter.showfspath = False
            self.config.pluginmanager.register(self._terminal, "terminaldistreporter")
        # Whom launchers start joins later.
        specs = [spec for spec in map(Spec, self.config.option.tx) if not (spec.hosts or spec.slurm)]
        for number, spec in enumerate(specs):
            if spec.id is None:
                spec.id = f"gw{number}"
        self._manager.specs = specs
        self._terminal.begin(specs)
        self.config.hook.pytest_xdist_setupnodes(config=self.config, specs=specs)
        self._terminal.created()
        scheduler = make_scheduler(self.config)
        self._has_scheduler = scheduler is not None
        self._link = self._connect(self)
        if scheduler is not None:
            self._bridge = Bridge(scheduler, self._link)

    def features(self) -> list[str]:
        """The questions of the coordinator that plugins here have answers to."""
        hook = self.config.hook
        asked = {"configure_node": hook.pytest_configure_node, "crashes": hook.pytest_handlecrashitem}
        features = ["terminal", "farewell", *(feature for feature, caller in asked.items() if caller.get_hookimpls())]
        return [*features, "scheduler"] if self._has_scheduler else features

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> bool:
        """There is nothing to collect here."""
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> bool:
        """Passes on what happens until the run is over."""
        link = self._link
        assert link is not None
        handlers = {name[len("_on_") :]: getattr(self, name) for name in dir(self) if name.startswith("_on_")}
        try:
            with self._ctrl_c():
                for kind, fields in link:
                    if kind == "finished":
                        link.send("farewell")
                        return self._finish(fields)
                    if kind == "terminal_lent":
                        self._leave_terminal_to(link, **fields)
                        continue
                    handler = handlers.get(kind)
                    if handler is not None:
                        handler(**fields)
                    if self._bridge is not None and not link.has_more():
                        self._bridge.settle(self._stopping is not None, self._nodes.values())
            raise LinkError("the coordinator ended before the run was over; what it said stands above")
        finally:
            # Whatever happened here, the run is not to go on without.
            link.close()

    def _leave_terminal_to(self, link: Link, worker: int) -> None:
        """Touches the terminal no more until it is back; what happens meanwhile is told then."""
        self._terminal.lent(self._nodes[worker])
        with self._ctrl_c_for(self._nodes[worker].pid):
            link.send("terminal_free")
            link.hold_until("terminal_back")

    @contextlib.contextmanager
    def _ctrl_c_for(self, pid: Optional[int]) -> Iterator[None]:
        """Passes Ctrl-C on to the worker that has the terminal, where it is not the foreground by itself."""
        if self._interrupt is None or pid is None:
            yield
            return
        previous = signal.signal(signal.SIGINT, lambda *_: os.kill(pid, signal.SIGINT))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    @contextlib.contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        """Passes Ctrl-C on, where that is for this process to do."""
        interrupt = self._interrupt
        if interrupt is None:
            yield
            return
        previous = signal.signal(signal.SIGINT, lambda *_: interrupt())
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Sets an exit status that no exception stands for."""
        if self._exit_status is not None:
            session.exitstatus = self._exit_status

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Says what was fetched and what was flaky, and once more why workers were not replaced."""
        for line in self._fetched:
            terminalreporter.write_line(line)
        retries.summary(terminalreporter, self._attempts.flaky)
        if self._flaky_failed:
            retries.blame(terminalreporter, self._flaky_failed)
        if self._exhausted is not None and self._terminal.verbosity >= 0:
            terminalreporter.write_sep("=", f"xdist: {self._exhausted}")

    @pytest.hookimpl
    def pytest_report_teststatus(self, report: Any) -> Optional[tuple[str, str, tuple[str, dict[str, bool]]]]:
        """Shows attempts that others follow, as pytest-rerunfailures does."""
        return retries.status(report)

    # what the coordinator tells

    def _on_run_configured(self, run: str, workers: int, mode: str) -> None:
        self._manager.testrunuid = run
        self._count = workers
        self._terminal.expect(workers)

    def _on_worker_starting(self, worker: int, name: str, spec: str = "popen", replaces: Optional[int] = None) -> None:
        if replaces is not None:
            self._replaced[worker] = replaces
            self._terminal.replaced(self._nodes[replaces], name, crashed=replaces not in self._recycled)
        made = Spec(spec, name)
        gateway = Gateway(name, made)
        workerinput = {
            "workerid": name,
            "workercount": self._count,
            "testrunuid": self._manager.testrunuid,
            "mainargv": list(sys.argv),
        }
        self._nodes[worker] = node = Node(worker, gateway, self.config, self._manager, workerinput)
        self.config.hook.pytest_xdist_newgateway(gateway=gateway)
        self._terminal.initialized(node)

    def _on_configure_node(self, worker: int) -> None:
        node = self._nodes[worker]
        self.config.hook.pytest_configure_node(node=node)
        assert self._link is not None
        self._link.send(
            "node_configured",
            worker=worker,
            input={str(name): Value(value) for name, value in node.workerinput.items()},
        )

    def _on_worker_ready(self, worker: int, **ready: Any) -> None:
        node = self._nodes[worker]
        node.set_ready(ready)
        self.config.hook.pytest_testnodeready(node=node)
        self._terminal.ready(node)

    def _on_worker_collected(self, worker: int, items: int, deselected: int = 0) -> None:
        node = self._nodes[worker]
        if not self._has_collected:
            self._has_collected = True
            self._terminal.count("deselected", deselected)
        self._session.testscollected = items
        self._terminal.collected(node, items)
        self._collected.append(node)
        # Of a worker that joins later, the items are known.
        self._tell_collections()

    def _on_unforkable(self, worker: int, reason: str) -> None:
        self._terminal.unforkable(reason)

    def _on_files_copied(self, **copied: Any) -> None:
        self._terminal.files_copied(**copied)

    def _on_collect_report(self, worker: int, report: dict[str, Any]) -> None:
        # Without a `node`, as in pytest-xdist: the others have found the same.
        self.config.hook.pytest_collectreport(report=self._reviver.collect_report(report))

    def _on_items(self, offset: int, total: int, items: list[dict[str, Any]], worker: Optional[int] = None) -> None:
        known = self._items.setdefault(worker, [])
        if offset == 0:
            known.clear()
        known.extend(items)
        if len(known) == total:
            self._session.testscollected = total
            if self._bridge is not None:
                self._bridge.items_known(known)
            self._tell_collections()

    def _tell_collections(self) -> None:
        waiting = []
        for node in self._collected:
            items = self._items.get(None)
            if items is None:
                items = next(
                    (self._items[at] for at, each in self._nodes.items() if each is node and at in self._items), None
                )
            if items is None:
                waiting.append(node)
                continue
            ids = [item["id"] for item in items]
            self.config.hook.pytest_xdist_node_collection_finished(node=node, ids=ids)
            if self._bridge is not None and not node.is_down:
                self._bridge.collected(node)
        self._collected = waiting

    def _on_collection_mismatch(self, reference: int, differing: list[dict[str, Any]]) -> None:
        first = self._nodes[reference].described
        advice = crashes.ADVICE_ELSEWHERE if any(node.machine for node in self._nodes.values()) else crashes.ADVICE
        for difference in differing:
            node = self._nodes[difference["worker"]]
            report: Any = pytest.CollectReport(
                node.gateway.id, "failed", crashes.mismatch(first, node.described, difference, advice), []
            )
            self.config.hook.pytest_collectreport(report=report)

    def _on_scheduling(self, mode: str, warning: str = "", **_: Any) -> None:
        if mode == "loadgroup":
            self._terminal.show_groups(self._items[None])
        own = self._bridge and type(self._bridge.scheduler).__name__
        self._terminal.scheduling(own or SCHEDULERS.get(mode, mode))
        if warning:
            self._terminal.line(f"warning: {warning}")

    def _item(self, worker: Optional[int], item: int) -> dict[str, Any]:
        items = self._items.get(worker)
        if items is None:
            items = self._items[None]
        return items[item]

    def _start(self, item: dict[str, Any]) -> None:
        self.config.hook.pytest_runtest_logstart(nodeid=item["id"], location=location_of(item))

    def _on_item_running(
        self, worker: int, item: int, phase: str = "", slow_ms: Optional[int] = None, **_: Any
    ) -> None:
        if (worker, item) not in self._started:
            self._started.add((worker, item))
            self._start(self._item(worker, item))
        if slow_ms is not None:
            node, node_id = self._nodes[worker], self._item(worker, item)["id"]
            facts = ", ".join(filter(None, (f"in {phase}", crashes.place(node.pid, node.machine))))
            self._terminal.slow(node, f"{node_id} ({facts})", slow_ms / 1000)

    def _key(self, worker: int, item: int) -> retries.Key:
        """Stands for an item, on whichever worker it runs."""
        if worker not in self._items:
            return None, item
        while self._replaced.get(worker) in self._items:
            worker = self._replaced[worker]
        return worker, item

    def _start_once(self, worker: int, item: int) -> None:
        if (worker, item) in self._started:
            self._started.discard((worker, item))
        else:
            self._start(self._item(worker, item))

    def _on_item_retried(
        self,
        worker: int,
        item: int,
        retry: int,
        limit: int,
        report: Optional[dict[str, Any]] = None,
        crash: Optional[dict[str, Any]] = None,
    ) -> None:
        if report is not None:
            self._start_once(worker, item)
            reports = self._reviver.reports(self._item(worker, item), report)
        else:
            assert crash is not None
            reports = self._reports_of_crash(crash)
        self._attempts.failed(self._key(worker, item), reports, retry, crash and crash["cause"])
        # What passed in an attempt that failed is not to count as a test that passed.
        self._log(worker, item, [each for each in reports if each.when != "call" or each.outcome == retries.RERUN])

    def _on_item_result(self, worker: int, item: int, report: dict[str, Any], retries: int = 0) -> None:
        self._start_once(worker, item)
        self._log_result(worker, item, self._reviver.reports(self._item(worker, item), report), retries)
        if self._bridge is not None:
            self._bridge.finished(self._nodes[worker], item, sum(report.get("us", ())) / 1e6)

    def _on_taken_back(self, worker: int, items: list[int]) -> None:
        if self._bridge is not None:
            self._bridge.taken_back(self._nodes[worker], items)

    def _log_result(self, worker: int, index: int, reports: list[Any], retries: int) -> None:
        self._log(worker, index, reports)
        if self._attempts.finished(self._key(worker, index), reports, retries):
            self._terminal.count("flaky", 1)

    def _log(self, worker: int, index: int, reports: list[Any]) -> None:
        item = self._item(worker, index)
        for position, made in enumerate(reports):
            if position > 0 and made.when == "setup":
                # A plugin has run it once more.
                self._start(item)
            self._mark(made, worker, index)
            self.config.hook.pytest_runtest_logreport(report=made)
        self.config.hook.pytest_runtest_logfinish(nodeid=item["id"], location=location_of(item))

    def _mark(self, report: Any, worker: int, index: int) -> None:
        node = self._nodes[worker]
        report.node = node
        report.worker_id = node.gateway.id
        report.testrun_uid = self._manager.testrunuid
        report.item_index = index
        if node.machine:
            # For JUnit XML, as `xdist run` writes it.
            report.user_properties = [*getattr(report, "user_properties", []), ("ran_on", node.platform_line)]

    def _on_crash_question(self, request: int, crash: dict[str, Any]) -> None:
        if threading.active_count() > 1:
            time.sleep(_READING_TIME)
        pending = Pending(self.config, self._bridge and self._bridge.scheduler)
        report = self._judge_crash(crash, pending)
        if pending.items:
            self._log(crash["worker"], crash["item"], self._reports_of_crash(crash))
        if self._bridge is not None:
            self._bridge.crashed(bool(pending.items))
        assert self._link is not None
        self._link.send("crash_handled", request=request, again=bool(pending.items), excused=report.outcome != "failed")

    def _on_crashed(self, asked: bool = False, retries: int = 0, **crash: Any) -> None:
        worker, index = crash["worker"], crash.get("item")
        if index is None:
            self._tell_down(worker, crash["cause"], crashes.end(crash, None))
        elif self._attempts.is_last_failure(self._key(worker, index), retries):
            # It was told when it happened, before it was known that it is the result.
            self._start(self._item(worker, index))
            self._log_result(worker, index, [self._report_of_crash(crash)], retries)
        elif not asked or (worker, index) in self._judged:
            self._log_result(worker, index, self._reports_of_crash(crash), retries)
            if self._bridge is not None and not asked:
                self._bridge.crashed(False)

    def _reports_of_crash(self, crash: dict[str, Any]) -> list[Any]:
        """The reports of an item that the test process did not survive, after plugins have seen the last of them."""
        worker, index = crash["worker"], crash["item"]
        judged = self._judged.pop((worker, index), None)
        if judged is None:
            judged = self._judge_crash(crash, Pending(self.config, self._bridge and self._bridge.scheduler))
            del self._judged[worker, index]
        before = crash.get("report") or crashes.passed_before(crash)
        return [*self._reviver.reports(self._item(worker, index), before), judged]

    def _report_of_crash(self, crash: dict[str, Any]) -> Any:
        worker, index = crash["worker"], crash["item"]
        report = crashes.report(self._nodes[worker].gateway.id, self._item(worker, index)["id"], crash)
        self._mark(report, worker, index)
        return report

    def _judge_crash(self, crash: dict[str, Any], pending: Pending) -> Any:
        """Tells plugins of a crash in the middle of an item; answers its report, which they may have changed."""
        worker, index = crash["worker"], crash["item"]
        self._recycled.discard(worker)
        node_id = self._item(worker, index)["id"]
        self._tell_down(worker, crash["cause"], crashes.end(crash, node_id))
        self._start_once(worker, index)
        self._judged[worker, index] = report = self._report_of_crash(crash)
        self.config.hook.pytest_handlecrashitem(crashitem=node_id, report=report, sched=pending)
        return report

    def _on_worker_recycled(self, worker: int, reason: str = "") -> None:
        self._recycled.add(worker)
        self._terminal.recycled(self._nodes[worker], reason)

    def _on_worker_down(self, worker: int, error: Optional[str] = None) -> None:
        self._tell_down(worker, error)

    def _tell_down(self, worker: int, error: Optional[str], line: Optional[str] = None) -> None:
        """Tells that a worker is gone, once: of a crash, before the report of the item that it was in.

        `line` is what is shown of it.
        """
        node = self._nodes[worker]
        if node.is_down:
            return
        node.is_down = node.shutting_down = True
        if self._bridge is not None:
            self._bridge.gone(node, error is not None)
        tell = self.config.hook.pytest_testnodedown
        if error is None and not node.is_ready:
            # The run was over before it had come up. Other plugins may have something to put away that they made for
            # it; pytest-cov would only complain that it brings no data.
            manager = self.config.pluginmanager
            tell = manager.subset_hook_caller("pytest_testnodedown", [manager.get_plugin("_cov")])
        tell(node=node, error=error)
        if error is not None:
            self._terminal.down(node, line or error + crashes.in_parentheses(crashes.place(node.pid, node.machine)))

    def _on_node_output(self, worker: int, exit_status: int = 0, values: Optional[dict[str, Any]] = None) -> None:
        self._nodes[worker].set_output(values or {})

    def _on_restarts_exhausted(self, worker: int, limit: int) -> None:
        name = self._nodes[worker].gateway.id
        self._exhausted = f"maximum crashed workers reached: {limit}"
        if limit == 0:
            self._exhausted = f"worker {name} crashed and worker restarting disabled"
        self._terminal.note(self._exhausted)

    def _on_warning(self, worker: int, warning: dict[str, Any]) -> None:
        location = warning.get("location")
        place = None if location is None else (location["path"], location.get("line", 0), location["domain"])
        self.config.hook.pytest_warning_recorded.call_historic(
            kwargs={
                "warning_message": revive_warning(warning),
                "when": warning["when"],
                "nodeid": warning.get("node", ""),
                "location": place,
            }
        )

    def _on_output(self, worker: int, stream: str, data: bytes) -> None:
        self._terminal.output(self._nodes[worker], stream, data)

    def _on_error(self, kind: str, text: str, worker: Optional[int] = None) -> None:
        if kind == "usage":
            self._usage_error = text
        elif kind == "internal":
            self._exit_status = int(pytest.ExitCode.INTERNAL_ERROR)
            self.config.hook.pytest_internalerror(excrepr=crashes.Text(text), excinfo=None)
        else:
            self._terminal.line(f"[xdist] {text}")

    def _on_files_fetched(self, lines: Optional[list[str]] = None, **_: Any) -> None:
        self._fetched += lines or []

    def _on_stopping(self, reason: str) -> None:
        self._stopping = reason

    def _on_not_run(self, items: list[int], reason: str, worker: Optional[int] = None) -> None:
        self._is_complete = False
        self._terminal.not_run(reason, [self._item(worker, item)["id"] for item in items])

    def _finish(self, fields: dict[str, Any]) -> bool:
        end, reason = fields["end"], fields.get("reason", "")
        if end == "stopped":
            raise Interrupted(reason)
        if end == "interrupted":
            if fields.get("worker") is not None:
                raise Interrupted(f"{self._nodes[fields['worker']]!r} received keyboard-interrupt")
            raise KeyboardInterrupt
        if end == "exit":
            pytest.exit(reason, returncode=fields.get("exit_code"))
        if end == "usage_error":
            self._raise_usage_error()
        if end == "internal_error":
            self._exit_status = int(pytest.ExitCode.INTERNAL_ERROR)
            if reason and reason != "internal error":
                if self._bridge is not None and reason.startswith(_NOBODY_LEFT):
                    self._bridge.nobody_is_left()
                self._terminal.line(f"INTERNALERROR> {reason}")
        elif end == "restarts_exhausted":
            # As in pytest-xdist, what came to an end that way has failed.
            self._exit_status = int(pytest.ExitCode.TESTS_FAILED)
        elif not self._is_complete:
            self._exit_status = int(pytest.ExitCode.INTERNAL_ERROR)
        elif fields.get("flaky_fails") and fields.get("flaky"):
            self._flaky_failed = fields["flaky"]
            self._exit_status = int(pytest.ExitCode.TESTS_FAILED)
        return True

    def _raise_usage_error(self) -> NoReturn:
        text = self._usage_error
        raise pytest.UsageError(text[len("ERROR: ") :] if text.startswith("ERROR: ") else text)
