"""One worker's pytest session: does what the host commands, and tells what happens."""

from __future__ import annotations

import hashlib
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Optional

import pytest

from . import controllerhooks, display, msgpack, quiet, reports, shortcuts, startup, whole
from .capturing import LastingCapture
from .channel import (
    CALL,
    COLLECTING,
    FINISHING,
    IDLE,
    MAX_PAYLOAD_BYTES,
    PRIVATE,
    SETUP,
    TEARDOWN,
    Channel,
    Item,
    RunOver,
    read_command,
)
from .collecting import CollectionShortcuts
from .debugging import Debugging
from .isolation import run_isolated
from .itemqueue import ItemQueue
from .nextitem import NextItem
from .shared import Shared

if TYPE_CHECKING:
    import warnings
    from collections.abc import Generator

    from .dumps import Dumps
    from .image import Birth
    from .interrupts import Interrupts
    from .sharing import Sharing

#: A chunk of the collection is sent when it is longer than this.
_CHUNK_BYTES = 256 << 10
#: How often a worker that waits for its first test looks whether it is still to run it, in seconds.
_RAMP_STEP = 0.05
_INTERRUPTED = 2


def run(
    channel: Channel,
    interrupts: Interrupts,
    dumps: Dumps,
    configure: dict[str, Any],
    configuration: int,
    sharing: Sharing,
) -> int:
    """Runs the session from parsing to the end; answers what pytest would exit with."""
    session = WorkerSession(channel, interrupts, dumps, configure, configuration, sharing)
    try:
        return session.run()
    except pytest.exit.Exception as error:
        session.tell_exit(error)
        return _INTERRUPTED if error.returncode is None else error.returncode
    except KeyboardInterrupt:
        session.tell_interrupt()
        return _INTERRUPTED
    except SystemExit as error:
        # A conftest that exits; whatever it had to say, it wrote to standard error.
        code = error.code if isinstance(error.code, int) else 1
        channel.events.send("usage_error", text=f"ERROR: SystemExit: {error}", exit_code=code)
        return code
    except Exception as error:
        try:
            text, code = startup.printed_error(error)
        except Exception:
            channel.events.send("internal_error", text=traceback.format_exc().rstrip("\n"))
            return int(pytest.ExitCode.INTERNAL_ERROR)
        channel.events.send("usage_error", text=text, exit_code=code)
        return code


class WorkerSession:
    """The plugin that takes pytest's main loop over."""

    def __init__(
        self,
        channel: Channel,
        interrupts: Interrupts,
        dumps: Dumps,
        configure: dict[str, Any],
        configuration: int,
        sharing: Sharing,
    ) -> None:
        self._channel = channel
        self._events = channel.events
        self._shared = Shared(self._ask, self._events.send)
        #: Whether nothing that is asked is answered any more.
        self._run_is_over = False
        self._queue = ItemQueue(channel.commands, channel.status, self._tell_collection)
        self._status = channel.status
        self._interrupts = interrupts
        self._dumps = dumps
        self._configure = configure
        # The descriptor of the memory file that the host puts long commands into.
        self._configuration = configuration
        #: Whether the pytest host takes part, which all of this run is for then.
        self._asked_for_host = False
        self._sharing = sharing
        # Our own business, and no test's.
        self._run_directory = os.environ.pop("XDIST_RUN_DIR", None)
        self._wants: dict[str, Any] = configure.get("wants", {})
        self._compact = reports.CompactFrame(channel.events.worker)
        self._ready: dict[str, Any] = {}
        self._header: list[str] = []
        self._is_ready = False
        self._isolate = False
        self._early_warnings: list[dict[str, Any]] = []
        self._items: list[pytest.Item] = []
        self._deselected = 0
        self._current: Optional[reports.ItemReports] = None
        #: The item that `_current` is about.
        self._command = Item(0, 0)
        self._stop_told = False
        #: Whether items may come again.
        self._retries = False
        #: How many properties and sections each item had before it ran, by its index, where it may come again.
        self._ran: dict[int, tuple[int, int]] = {}
        # Kept here since time-travelling test tools replace the functions of modules.
        self._time = time.time
        self._sleep = time.sleep

    def run(self) -> int:
        """Runs the session; answers pytest's exit status. Raises what pytest does for wrong arguments."""
        config = startup.parse(list(self._configure.get("args", [])))
        try:
            return self._run(config)
        finally:
            config._ensure_unconfigure()

    def _run(self, config: pytest.Config) -> int:
        run_options = startup.read_options(config, self._configure)
        terminal = bool(self._wants.get("terminal"))
        shown = display.display_options(config, terminal)
        self._ready = {
            "pid": os.getpid(),
            "executable": sys.executable or "",
            "python": list(sys.version_info[:3]),
            "python_text": sys.version.replace("\n", " -- "),
            "platform": sys.platform,
            "cwd": os.getcwd(),
            "rootdir": str(config.rootpath),
            "options": run_options,
            "display": shown,
        }
        if "plain" in run_options:
            self._tell_ready()
            self._queue.wait_for_end()
            return 0
        if not self._ask_for_host(config):
            return 0
        self._ready["unforkable"] = self._sharing.problem_before_collection(config)
        self._full = bool(self._wants.get("full"))
        passed_output = self._full or display.wants_passed_output(config, bool(self._wants.get("passed_output")))
        self._with_locations = self._full or display.wants_locations(config, bool(self._wants.get("locations")))
        width = int(self._wants.get("width", 0))
        self._rendering = reports.Rendering(config, width, shown["color"], passed_output, self._full)
        startup.become_worker(config, self._configure, run_options, self._run_directory, self._sharing.watch)
        config.pluginmanager.register(self, "xdist-worker")
        self._debugging = Debugging(config, lambda: self._ask("terminal"), self._return_terminal, self._stop_clock)
        config.pluginmanager.register(self._debugging, "xdist-debugging")
        config.pluginmanager.register(self._shared, "xdist-shared")
        config.pluginmanager.register(CollectionShortcuts(), "xdist-collection")
        answer = config.hook.pytest_cmdline_main(config=config)
        exit_status = int(answer or 0)
        if not self._is_ready and not self._stop_told:
            # Some plugin has an action of its own instead of a session.
            self._tell_stop("exit", "a plugin ended the session before it began", exit_status)
        self._tell_output(config, exit_status)
        return exit_status

    def _ask_for_host(self, config: pytest.Config) -> bool:
        """Has the pytest host started if plugins have something to do there; answers whether the session may go on."""
        if not self._wants.get("hooks"):
            return True
        hooks = controllerhooks.controller_hooks(config, bool(self._wants.get("terminal")))
        self._asked_for_host = bool(hooks)
        return not hooks or self._wait_for_host(hooks)

    def _wait_for_host(self, hooks: list[str]) -> bool:
        self._events.send("host_wanted", hooks=hooks)
        if not self._queue.wait_to_proceed():
            return False
        proceed = read_command(self._configuration, "proceed")
        self._configure.setdefault("input", {}).update(proceed.get("input", {}))
        self._wants["full"] = proceed.get("full", False)
        return True

    def _ask(self, question: object) -> Any:
        """Asks the coordinator, and waits for the reply."""
        if self._run_is_over:
            raise KeyboardInterrupt("the run is over")
        self._events.send("ask", question=question)
        try:
            return self._status.wait(self._wait_for_reply)
        except RunOver:
            self._run_is_over = True
            raise KeyboardInterrupt("the run is over") from None
        except BaseException:
            # A test's own signal handler, or Ctrl-C.
            self._withdraw(question)
            raise

    def _wait_for_reply(self) -> Any:
        self._channel.commands.wait_for_answer()
        self._channel.note_taken()
        return read_command(self._configuration, "answer")["reply"]

    def _withdraw(self, question: object) -> None:
        """Takes a question back. The answer comes at once, and what it brings goes back."""
        self._events.send("ask_withdrawn")
        holding = self._interrupts.hold()
        try:
            reply = self._wait_for_reply()
        except RunOver:
            self._run_is_over = True
            return
        finally:
            if holding:
                self._interrupts.release()
        if isinstance(reply, dict) and "terminal" in reply:
            self._return_terminal()
        elif reply in ("make", "locked") and isinstance(question, dict):
            self._events.send("released", shared=question["shared"])

    def _return_terminal(self) -> None:
        self._events.send("terminal_returned")

    def _stop_clock(self, stop: bool) -> None:
        if stop:
            self._status.stop_clock()
        else:
            self._status.start_clock()

    def _tell_ready(self) -> None:
        self._events.send("ready", header=self._header, **self._ready)
        self._is_ready = True
        for warning in self._early_warnings:
            self._events.send("warning", warning=warning)
        self._early_warnings.clear()

    def _tell_stop(self, kind: str, reason: str, exit_code: Optional[int] = None) -> None:
        if not self._stop_told:
            self._stop_told = True
            self._events.send("stop_requested", kind=kind, reason=reason, exit_code=exit_code)

    def tell_exit(self, error: pytest.exit.Exception) -> None:
        """Tells of a call of `pytest.exit`."""
        self._tell_stop("exit", str(error.msg), error.returncode)

    def tell_interrupt(self) -> None:
        """Tells of a `KeyboardInterrupt`, unless the host wanted it."""
        if not self._queue.is_interrupted():
            self._tell_stop("interrupt", "KeyboardInterrupt")

    def _tell_output(self, config: pytest.Config, exit_status: int) -> None:
        output = getattr(config, "workeroutput", None)
        values = dict(output) if isinstance(output, dict) else {}
        encoded = {str(name): msgpack.Value(value) for name, value in values.items()}
        payload = self._events.payload("worker_output", exit_status=exit_status, values=encoded)
        while len(payload) > MAX_PAYLOAD_BYTES:
            longest = max(encoded, key=lambda name: len(msgpack.pack(encoded[name])))
            encoded[longest] = msgpack.Value(msgpack.Unsendable("object", "<too long to be sent>"))
            payload = self._events.payload("worker_output", exit_status=exit_status, values=encoded)
        self._events.send_payload(payload)

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Comes after every other plugin's, since this one is the last that was registered."""
        quiet.take_over(config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Optional[bool]:
        """Waits for the command to collect."""
        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        self._header = getattr(reporter, "header", None) or []
        self._tell_ready()
        if not self._queue.wait_for_collect():
            session.items = []
            return True
        self._status.leave(COLLECTING)
        self._events.send("collecting")
        return None

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tells of collectors that failed or were skipped."""
        if self._sharing.problem_during_collection():
            # The others need not wait for the end of this one's collection.
            self._events.send_payload(PRIVATE)
        if not report.passed:
            fields = reports.collect_report(report, self._rendering)
            if self._full:
                fields["full"] = whole.pack_collect_report(self._rendering.config, report)
            self._events.send("collect_report", report=fields)

    @pytest.hookimpl
    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Counts what `-k` and its kin took out."""
        self._deselected += len(items)

    def _digest(self) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for item in self._items:
            digest.update(msgpack.plain_text(item.nodeid) + b"\0")
        return digest.digest()

    def _tell_collected(self, digest: bytes, unforkable: Optional[str], files: Optional[dict[str, int]]) -> None:
        self._events.send(
            "collected",
            digest=digest,
            count=len(self._items),
            deselected=self._deselected,
            unforkable=unforkable,
            files=files,
        )

    def _files(self) -> Optional[dict[str, int]]:
        """What is in the tests' files, if there are other machines that may have others."""
        if not self._wants.get("files") or not self._items:
            return None
        # Most runs have no use for it.
        from . import trees

        return trees.hashes(self._items[0].config, self._items)

    def _tell_collection(self) -> None:
        total = len(self._items)
        fields = reports.ItemFields(self._with_locations, self._full)
        chunk: list[msgpack.Packed] = []
        size = offset = 0
        for position, item in enumerate(self._items, 1):
            encoded = fields.encoded(item)
            chunk.append(encoded)
            size += len(encoded)
            if size > _CHUNK_BYTES and position < total:
                self._events.send("collection", offset=offset, total=total, items=chunk)
                chunk, size, offset = [], 0, position
        self._events.send("collection", offset=offset, total=total, items=chunk)
        # While the coordinator reads that.
        self._sharing.settle_garbage()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Runs the items that the host names, one by one, until it names no more."""
        if self._queue.ended:
            return True
        self._items = session.items
        self._rendering.ask_for_status()
        # Before others are forked, who need not go through the items then: that would be a copy of their memory each.
        digest = self._digest()
        self._retries = bool(session.config.option.testretries)
        if self._retries:
            # Whether a failure is the last of its test is not known here; the coordinator counts them.
            session.config.option.maxfail = 0
        birth, unforkable = self._sharing.share(session.config)
        if birth is not None and not self._begin_again(session.config, birth):
            return True
        # Whoever is forked has what that one has told of.
        self._tell_collected(digest, unforkable, self._files() if birth is None else None)
        self._status.leave(IDLE)
        if self._wants_stop(session):
            return True
        self._wait_for_ramp()
        item = self._queue.next()
        self._isolate = bool(session.config.getoption("isolate", False))
        if self._isolate:
            self._shared.open_ledger()
        self._sharing.settle_garbage()
        capture = LastingCapture(session.config)
        try:
            with shortcuts.taken(session) as self._own_file:
                while item is not None:
                    self._run_item(session, item)
                    capture.after_item()
                    if self._wants_stop(session):
                        break
                    self._deliver_interrupt()
                    item = self._queue.next()
        finally:
            capture.end()
        return True

    def _begin_again(self, config: pytest.Config, birth: Birth) -> bool:
        """Becomes another worker, in a process forked for it; answers whether its collection is wanted."""
        self._channel.open(birth.commands, birth.events, birth.status)
        os.set_inheritable(birth.configuration, False)
        self._configuration = birth.configuration
        self._configure = read_command(birth.configuration, "configure")
        self._wants = self._configure.get("wants", {})
        self._events.worker = self._configure["worker"]
        self._shared.forget()
        self._compact = reports.CompactFrame(self._events.worker)
        if self._asked_for_host and self._wants.get("hooks") and not self._wait_for_host([]):
            return False
        startup.become_other_worker(config, self._configure, self._run_directory)
        self._ready.update(pid=os.getpid(), unforkable=None)
        self._tell_ready()
        return self._queue.wait_for_collect()

    def _find_successor(self, session: pytest.Session) -> Optional[pytest.Item]:
        if session.shouldfail or session.shouldstop:
            return None
        successor = self._queue.successor()
        # What runs again is set up anew, whatever it shares with others.
        return None if successor is None or successor.index in self._ran else self._items[successor.index]

    def _run_item(self, session: pytest.Session, command: Item) -> None:
        if not self._isolate:
            self._run_item_here(session, command, NextItem(lambda: self._find_successor(session)))
            return
        try:
            goes_on = run_isolated(
                self._channel, self._interrupts, self._dumps, lambda: self._run_item_alone(session, command)
            )
        except KeyboardInterrupt:
            # The test may have asked for something, and an answer to that is on its way.
            self._run_is_over = True
            raise
        self._shared.read_ledger()
        if not goes_on:
            self._stop_told = True

    def _run_item_alone(self, session: pytest.Session, command: Item) -> bool:
        """In a process of the item's own; answers whether the session is to go on."""
        self._shared.be_isolated()
        try:
            self._run_item_here(session, command, None)
        except pytest.exit.Exception as error:
            self.tell_exit(error)
        except KeyboardInterrupt:
            # As at the end of a session.
            session._setupstate.teardown_exact(None)
            raise
        return not self._wants_stop(session)

    def _run_item_here(self, session: pytest.Session, command: Item, successor: Optional[NextItem]) -> None:
        item = self._items[command.index]
        if self._retries:
            self._forget_last_run(item, command.index)
        self._status.begin(command)
        self._own_file.begin(item)
        self._command = command
        current = self._current = reports.ItemReports(self._time(), self._rendering)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=successor)
        except pytest.exit.Exception as error:
            # Before the result, which may be the last one of a run that is complete then.
            self.tell_exit(error)
            self._tell_failure(command, current)
            raise
        except KeyboardInterrupt:
            if not self._isolate:
                # From a process of the test's own the worker tells it.
                self.tell_interrupt()
            self._tell_failure(command, current)
            raise
        finally:
            # A test that was traced to its end has not told the debugger to go on.
            self._debugging.give_back()
        self._interrupts.hold()
        self._current = None
        if current.is_compact():
            self._events.send_frame(self._compact.encode(command, current.start, current.durations_us()))
        else:
            self._events.send_payload(self._short_result(command, current.fields()))
        # Not before the result is told: an item is blamed for it that closed all descriptors, and not begun again.
        self._status.leave()

    def _forget_last_run(self, item: pytest.Item, index: int) -> None:
        """Takes out of an item that runs again what it captured and recorded when it failed."""
        if index not in self._ran:
            self._ran[index] = len(item.user_properties), len(item._report_sections)
        properties, sections = self._ran[index]
        del item.user_properties[properties:]
        del item._report_sections[sections:]

    def _tell_so_far(self) -> None:
        """Tells the host what the item has reported: what follows may end the process."""
        current = self._current
        if current is not None and not current.passed_so_far():
            self._events.send_payload(PRIVATE + self._short_result(self._command, current.fields()))

    def _tell_failure(self, command: Item, current: reports.ItemReports) -> None:
        """Tells the result of an item that does not come to its end if it has failed, as with `quit` in `--pdb`."""
        if not current.passed_so_far():
            self._events.send_payload(self._short_result(command, current.fields()))
            self._status.leave()

    def _short_result(self, command: Item, fields: dict[str, Any]) -> bytes:
        payload = self._result(command, fields)
        if len(payload) > MAX_PAYLOAD_BYTES:
            for shorter in reports.shorter_versions(fields):
                payload = self._result(command, shorter)
                if len(payload) <= MAX_PAYLOAD_BYTES:
                    break
        return payload

    def _result(self, command: Item, fields: dict[str, Any]) -> bytes:
        return self._events.payload("item_finished", lease=command.lease, item=command.index, report=fields)

    def _wants_stop(self, session: pytest.Session) -> bool:
        """Whether the session wants to run no more; tells so."""
        if session.shouldfail:
            self._tell_stop("should_fail", str(session.shouldfail))
        elif session.shouldstop:
            self._tell_stop("should_stop", str(session.shouldstop))
        return self._stop_told

    def _deliver_interrupt(self) -> None:
        """Raises an interrupt that came too late for the finished item, unless the host ends the session anyway."""
        if not (self._interrupts.came and self._queue.is_interrupted()):
            self._interrupts.deliver()

    def _wait_for_ramp(self) -> None:
        """Waits before the first test as `--ramp` says. Until then the host may take it back or end the session."""
        remaining = self._configure.get("ramp_delay_ms", 0) / 1000
        while remaining > 0:
            if not self._queue.has_item_waiting():
                return
            self._sleep(min(remaining, _RAMP_STEP))
            remaining -= _RAMP_STEP

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Notes the phase. It comes after a teardown when an item is run again, which may end the process."""
        self._interrupts.deliver()
        self._tell_so_far()
        self._status.enter(SETUP)
        self._sharing.finalizers.tell()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        """Notes the phase."""
        self._status.enter(CALL)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """Notes the phase, and keeps Ctrl-C from it."""
        self._interrupts.hold()
        self._tell_so_far()
        self._status.enter(TEARDOWN)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps the report until the item is finished; last, so that other plugins have had their hands on it."""
        if self._current is not None:
            self._current.add(report)

    @pytest.hookimpl
    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: Optional[tuple[str, int, str]],
    ) -> None:
        """Tells of a warning."""
        warning = reports.warning_fields(warning_message, when, nodeid, location)
        if self._wants.get("full"):
            warning["full"] = whole.pack_warning(warning_message)
        if self._is_ready:
            self._events.send("warning", warning=warning)
        else:
            self._early_warnings.append(warning)

    @pytest.hookimpl
    def pytest_internalerror(self, excrepr: object) -> bool:
        """Tells of an error that is not a test's, and keeps pytest from printing it."""
        self._stop_told = True
        self._events.send("internal_error", text=reports.shorten(str(excrepr)))
        return True

    @pytest.hookimpl
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tells why the session is over."""
        error = excinfo.value
        if isinstance(error, pytest.exit.Exception):
            self.tell_exit(error)
        elif isinstance(error, pytest.Session.Interrupted):
            self._tell_stop("should_stop", str(error))
        else:
            self.tell_interrupt()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, Any, None]:
        """Lets the session end undisturbed by Ctrl-C."""
        self._interrupts.hold()
        self._status.leave(FINISHING)
        self._wants_stop(session)
        output = session.config.workeroutput  # type: ignore[attr-defined]
        output["exitstatus"] = int(exitstatus)
        output["shouldfail"] = session.shouldfail
        output["shouldstop"] = session.shouldstop
        outcome = yield
        if outcome.excinfo is not None and isinstance(outcome.excinfo[1], pytest.exit.Exception):
            self.tell_exit(outcome.excinfo[1])
