"""What the terminal shows of the workers' lives beside pytest's own output: pytest-xdist's lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from .nodes import Node, Spec

#: In the order in which a worker goes through them.
_STATES = ("created", "initialized", "ready", "collecting")


class Unreported:
    """Stands in pytest's statistics for an item of which there is no report."""


class DistTerminal:
    """Writes through pytest's terminal reporter, if there is one."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reporter: Any = None
        self._states: dict[str, str] = {}
        self._expected = 0
        self._items = 0
        self._done = False
        self._told_unforkable = False
        #: Reasons, and what was not run for each.
        self._not_run: list[tuple[str, list[str]]] = []

    @property
    def verbosity(self) -> int:
        """How much is shown: `-v` and `-q`, which are not there with `-p no:terminal`."""
        return int(self._config.getoption("verbose", 0))

    def begin(self, specs: list[Spec]) -> None:
        """The workers are about to be started."""
        self._reporter = self._config.pluginmanager.getplugin("terminalreporter")
        self._expected = len(specs)
        for spec in specs:
            self._states[str(spec.id)] = "created"

    def created(self) -> None:
        """All have been made, unless they come by themselves."""
        if self._expected:
            self._show(always=True)

    def expect(self, workers: int) -> None:
        """There will be so many."""
        self._expected = workers

    def initialized(self, node: Node) -> None:
        """A worker's interpreter starts."""
        self._set(node, "initialized")

    def ready(self, node: Node) -> None:
        """A worker is ready."""
        if self.verbosity > 0:
            info = node.gateway._rinfo()
            if info.executable != sys.executable:
                version = ".".join(map(str, info.version_info[:3]))
                self.line(f"[{node.gateway.id}] {info.platform} Python {version} cwd: {info.cwd}")
                self.line(f"[{node.gateway.id}] Python {node.workerinfo['version']}")
        self._set(node, "ready")

    def count(self, category: str, number: int) -> None:
        """Has the last line tell of items of which there are no reports."""
        if self._reporter is not None and number:
            self._reporter._add_stats(category, [Unreported() for _ in range(number)])

    def collected(self, node: Node, items: int) -> None:
        """A worker has collected."""
        self._items = items
        self._set(node, "collected")
        if not self._done and list(self._states.values()).count("collected") >= self._expected:
            self._done = True
            self._show(always=True)

    def unforkable(self, reason: str) -> None:
        """Every worker collects by itself; told once."""
        if self.verbosity > 0 and not self._told_unforkable:
            self._told_unforkable = True
            self.line(f"every worker collects by itself: {reason}")

    def files_copied(self, host: str, name: str, path: str, files: int = 0, written: int = 0, removed: int = 0, bytes: int = 0, took_ms: int = 0) -> None:  # fmt: skip
        """A directory was copied to another machine."""
        if self.verbosity > 0:
            gone = f", {removed} removed" if removed else ""
            size = (
                f"{bytes} bytes"
                if bytes < 1000
                else f"{bytes / 1e3:.0f} kB"
                if bytes < 1e6
                else f"{bytes / 1e6:.1f} MB"
            )
            self.line(
                f"synced {name} to {path} on {host}: {written} of {files} files{gone}, {size}, {took_ms / 1000:.1f} s"
            )

    def scheduling(self, name: str) -> None:
        """Tests are about to be handed out."""
        if not self._done:
            self._done = True
            self._show(always=True)
        if self._reporter is not None:
            # Where it is a terminal, this ends the line that was written over and over.
            self._reporter.write_line("")
        if self.verbosity > 0:
            self.line(f"scheduling tests via {name}")

    def show_groups(self, items: list[dict[str, Any]]) -> None:
        """Shows the group of every test that has one behind its node id, as pytest-xdist does."""
        groups = {item["id"]: "_".join(item["groups"]) for item in items if item.get("groups")}
        reporter = self._reporter
        if reporter is None or not groups or not hasattr(reporter, "_locationline"):
            return
        usual = reporter._locationline

        def with_group(nodeid: object, *args: Any) -> str:
            line = usual(nodeid, *args).rstrip()
            # pytest 9.2 has a class of its own for node ids.
            group = groups.get(str(nodeid))
            return f"{line} " if group is None else f"{line}@{group} "

        reporter._locationline = with_group

    def _set(self, node: Node, state: str) -> None:
        self._states[node.gateway.id] = state
        if not self._done:
            self._show(always=False)

    def _show(self, always: bool) -> None:
        reporter = self._reporter
        if reporter is None:
            return
        if reporter.isatty:
            reporter.rewrite(self._status(), bold=True, erase=True)
        elif always:
            reporter.write_line(self._status())

    def _status(self) -> str:
        if self.verbosity < 0:
            return "bringing up nodes..."
        states = list(self._states.values())
        if self._done or (states and all(state == "collected" for state in states)):
            count, items = max(len(states), self._expected), self._items
            return f"{count} worker{'s' if count != 1 else ''} [{items} item{'s' if items != 1 else ''}]"
        latest = max((_STATES.index(state) if state in _STATES else 3) for state in states) if states else 0
        name = _STATES[latest]
        count = sum(1 for state in states if (_STATES.index(state) if state in _STATES else 3) >= latest)
        total = max(len(states), self._expected)
        return f"{name}: {count}/{total} worker{'s' if total != 1 else ''}"

    def down(self, node: Node, error: str) -> None:
        """A worker has died."""
        # Why it is lost was just said of the host.
        text = "host lost" if str(error).startswith("host lost: ") else error
        self.line(f"[{node.gateway.id}] node down: {text}")

    def recycled(self, node: Node, reason: str) -> None:
        """A worker has done its share."""
        if self.verbosity > 0:
            self.line(f"[{node.gateway.id}] recycled: {reason}")

    def replaced(self, node: Node, name: str, crashed: bool) -> None:
        """A worker is started in the place of another."""
        if crashed:
            self.note(f"replacing crashed worker {node.gateway.id}")
        elif self.verbosity > 0:
            self.line(f"[{name}] takes the place of {node.gateway.id}")

    def lent(self, node: Node) -> None:
        """A worker gets the terminal for a debugger."""
        self.line(f"[{node.gateway.id}] is at a debugger; other workers begin nothing until it goes on")
        sys.stdout.flush()

    def slow(self, node: Node, test: str, seconds: float) -> None:
        """A test has been running for so long, or a little longer."""
        self.line(f"SLOW [{node.gateway.id}] > {seconds:g}s {test}")

    def output(self, node: Node, stream: str, data: bytes) -> None:
        """A worker has written what pytest did not capture. What hooks print there is printed here already."""
        if stream == "stdout" and not self._shows_output():
            return
        for text in data.decode("utf-8", "replace").splitlines():
            if stream == "stderr":
                print(f"[{node.gateway.id}] {text}", file=sys.stderr)
            else:
                self.line(f"[{node.gateway.id}] {text}")

    def _shows_output(self) -> bool:
        """Whether `-s` or live logs are wanted."""
        option = self._config.getoption
        live_logs = option("log_cli_level", None) is not None or bool(self._config.getini("log_cli"))
        return option("capture", "fd") == "no" or live_logs

    def note(self, text: str) -> None:
        """Writes a line that stands out, unless `-q` is given."""
        if self.verbosity >= 0:
            self.line(f"\n{text}")

    def not_run(self, reason: str, node_ids: list[str]) -> None:
        """Tests were not run."""
        self._not_run.append((reason, node_ids))
        self.count("not run", len(node_ids))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Generator[None, None, None]:
        """Tells below everything else how many tests were not run, and with `-v` which."""
        yield
        if not self._config.getoption("no_summary", False):
            for reason, node_ids in self._not_run:
                tests = f"{len(node_ids)} test{'s' if len(node_ids) != 1 else ''}"
                terminalreporter.write_sep("=", f"{tests} not run: {reason}", yellow=True)
                for node_id in node_ids if self.verbosity > 0 else ():
                    terminalreporter.write_line(f"NOT RUN {node_id}")
        # pytest 9.2 (`terminal.py`) puts words that it does not know last; failures are looked for before the time.
        known = getattr(terminalreporter, "_known_types", None)
        if known and "not run" in known:
            known.remove("not run")
            known.insert(0, "not run")

    def line(self, text: str) -> None:
        """Writes a line of its own."""
        reporter = self._reporter
        if reporter is None:
            return
        reporter.ensure_newline()
        # There may be dots for tests that have passed.
        if getattr(reporter._tw, "width_of_current_line", 0):
            reporter.write_line("")
        reporter.write_line(text)
