"""pytest's reports, warnings and items in the form of the wire (`xdist-proto/src/report.rs` and `item.rs`)."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Optional

from . import whole
from .msgpack import Packed, Texts, pack, property_value
from .resources import MARK_NAMES, NeedsOfNodes

if TYPE_CHECKING:
    import warnings
    from collections.abc import Sequence

    import pytest

    from .channel import Item

PHASES = ("setup", "call", "teardown")
_CLASSES = {"passed": "pass", "failed": "fail", "skipped": "skip"}
_MAX_U32 = 0xFFFF_FFFF
_NO_GROUPS: frozenset[str] = frozenset()
#: Marks that an item's fields tell of.
_TELLING_MARKS = MARK_NAMES | {"xdist_group"}
#: What the wire form of an item with nothing but a node id begins with.
_ONLY_ID = pack({"id": ""})[:-1]

#: Texts longer than this lose their middle, in characters.
MAX_TEXT = 2 << 20
#: Tries at making the report of an item shorter: the longest text, and the number of reports.
_SHORTER = ((64 << 10, 1000), (4 << 10, 500), (256, 100))


class Rendering:
    """How failures are rendered, and what is worth sending: decided once per session."""

    def __init__(self, config: pytest.Config, width: int, color: bool, passed_output: bool, full: bool = False) -> None:
        self.config = config
        #: Whether plugins on the coordinator's side get to see reports.
        self.full = full
        self.width = width or 80
        self.color = color
        self.passed_output = passed_output
        self.xfail_text = bool(config.getoption("xfail_tb", False))
        self.highlight = config.getoption("code_highlight", "yes") == "yes"
        self._asks_status = False

    def ask_for_status(self) -> None:
        """Looks for plugins with their own names for outcomes. To be called after collection, when all are loaded."""
        own = ("_pytest.runner", "_pytest.skipping", "_pytest.terminal", "_pytest.subtests")
        implementations = self.config.hook.pytest_report_teststatus.get_hookimpls()
        self._asks_status = any(_module_of(each.plugin) not in own for each in implementations)

    def status(self, report: pytest.TestReport, ask: bool) -> Optional[tuple[str, str, str]]:
        """Category, letter and word of a report, if they are not what pytest gives every report of its outcome.

        With `ask` the hook is called in any case. It may change the report: pytest's subtests plugin does.
        """
        if not (ask or self._asks_status):
            return None
        answer = self.config.hook.pytest_report_teststatus(report=report, config=self.config)
        category, letter, word = answer
        if not isinstance(word, str):
            # The word, and how to print it.
            word = word[0]
        status = (str(category), str(letter), str(word))
        return None if status == usual_status(report) else status

    def failure(self, report: Any) -> Optional[dict[str, Any]]:
        """The `FailureText` of a report, rendered by pytest in the style of `--tb`."""
        if report.longrepr is None:
            return None
        text = self._render(report, markup=False)
        fields: dict[str, Any] = {"text": text}
        if self.color:
            ansi = self._render(report, markup=True)
            if ansi != text:
                fields["ansi"] = ansi
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is not None:
            fields["crash"] = {
                "path": str(crash.path),
                "line": _line_number(crash.lineno),
                "message": shorten(str(crash.message)),
            }
        return fields

    def _render(self, report: Any, markup: bool) -> str:
        from _pytest._io import TerminalWriter

        file = io.StringIO()
        writer = TerminalWriter(file)
        writer.hasmarkup = markup
        writer.code_highlight = self.highlight
        writer.fullwidth = self.width
        report.toterminal(writer)
        text = file.getvalue()
        return shorten(text[:-1] if text.endswith("\n") else text)


def _module_of(plugin: object) -> str:
    return str(getattr(plugin, "__name__", "") or type(plugin).__module__)


def _is_special(report: Any) -> bool:
    """Whether it is of a plugin's own class, or has a plugin's own outcome."""
    return type(report).__name__ != "TestReport" or report.outcome not in _CLASSES


def usual_status(report: Any) -> tuple[str, str, str]:
    """Category, letter and word that pytest itself gives a report."""
    outcome = report.outcome
    if hasattr(report, "wasxfail") and outcome in ("skipped", "passed"):
        return ("xfailed", "x", "XFAIL") if outcome == "skipped" else ("xpassed", "X", "XPASS")
    if outcome == "failed":
        return ("failed", "F", "FAILED") if report.when == "call" else ("error", "E", "ERROR")
    if outcome == "skipped":
        return ("skipped", "s", "SKIPPED")
    if report.when in ("setup", "teardown"):
        return ("", "", "")
    return ("passed", ".", "PASSED")


class ItemReports:
    """The reports of the item that is running."""

    def __init__(self, start: float, rendering: Rendering) -> None:
        #: When it began, in seconds since the epoch.
        self.start = start
        self.reports: list[pytest.TestReport] = []
        self._rendering = rendering
        self._statuses: list[Optional[tuple[str, str, str]]] = []
        # pytest goes on to extend the lists in a report, and repeats earlier sections in later reports.
        self._counts: list[tuple[int, int]] = []
        self._special = False

    def add(self, report: pytest.TestReport) -> None:
        """Takes a report as it is made."""
        self._special = self._special or _is_special(report)
        try:
            status = self._rendering.status(report, ask=self._special)
        except Exception:
            # A plugin's hook with an answer of another form.
            status = None
        self.reports.append(report)
        self._statuses.append(status)
        self._counts.append((len(report.sections), len(report.user_properties)))

    def passed_so_far(self) -> bool:
        """Whether there is nothing to tell but that phases passed."""
        return all(report.outcome == "passed" and not hasattr(report, "wasxfail") for report in self.reports)

    def durations_us(self) -> list[int]:
        """How long setup, call and teardown took; the last time if there were several."""
        durations = [0, 0, 0]
        for report in self.reports:
            if report.when in PHASES:
                durations[PHASES.index(report.when)] = min(_microseconds(report), _MAX_U32)
        return durations

    def is_compact(self) -> bool:
        """Whether every phase passed and there is nothing else to tell."""
        if len(self.reports) != 3 or self._statuses != [None, None, None]:
            return False
        passed_output = self._rendering.passed_output
        for report, when in zip(self.reports, PHASES):
            if report.outcome != "passed" or report.when != when or hasattr(report, "wasxfail"):
                return False
            if report.user_properties or (passed_output and report.sections):
                return False
            if self._rendering.full and not whole.is_plain(report):
                return False
        return True

    def fields(self) -> dict[str, Any]:
        """The `ItemReport`. Never raises: a report that cannot be converted is sent in part."""
        rendering = self._rendering
        with_output = rendering.passed_output or not self.passed_so_far()
        phases = []
        sections: list[Any] = []
        properties: list[Any] = []
        for report, status, (section_count, property_count) in zip(self.reports, self._statuses, self._counts):
            new_sections = _new_entries(sections, report.sections[:section_count])
            new_properties = _new_entries(properties, report.user_properties[:property_count])
            sections, properties = report.sections[:section_count], report.user_properties[:property_count]
            try:
                fields = _phase_report(report, rendering)
            except Exception as error:
                fields = _degraded_report(report, error)
            if status is not None:
                fields["status"] = dict(zip(("category", "letter", "word"), status))
            if with_output:
                fields.update(_sections(new_sections))
            if new_properties:
                fields["properties"] = [_property(each) for each in new_properties]
            phases.append(fields)
        fields: dict[str, Any] = {"start": _start_us(self.start), "us": self.durations_us(), "phases": phases}
        if rendering.full:
            fields["full"] = whole.pack_reports(rendering.config, self.reports)
        if not phases:
            # Whatever else it is, it has not passed.
            reason = {"path": "", "reason": "Skipped: a plugin ran nothing of it"}
            phases.append({"phase": "setup", "class": "skip", "us": 0, "skip": reason})
        item_class = _worst(phases)
        if item_class != "pass":
            fields["class"] = item_class
        return fields


def _new_entries(before: Sequence[Any], now: Sequence[Any]) -> Sequence[Any]:
    """What `now` has behind `before`; all of it if it does not begin with that."""
    count = len(before)
    try:
        return now[count:] if now[:count] == before else now
    except Exception:
        # Values of properties that cannot be compared.
        return now[count:]


def _worst(phases: list[dict[str, Any]]) -> str:
    classes = {phase["class"] for phase in phases}
    return next((each for each in ("fail", "skip") if each in classes), "pass")


def _phase_report(report: Any, rendering: Rendering) -> dict[str, Any]:
    outcome = str(report.outcome)
    xfail = getattr(report, "wasxfail", None)
    fields: dict[str, Any] = {
        "phase": report.when if report.when in PHASES else "call",
        "class": _CLASSES.get(outcome, "pass"),
        "us": _microseconds(report),
    }
    detail = _detail(report, outcome, xfail)
    if detail is not None:
        fields["detail"] = detail
    if xfail is not None:
        fields["xfail"] = str(xfail)
    if isinstance(report.longrepr, tuple) and outcome == "skipped":
        fields["skip"] = _skip_reason(report.longrepr)
        if _is_folded(report):
            fields["skip"]["fold"] = True
    elif outcome == "failed" or outcome not in _CLASSES or (xfail is not None and rendering.xfail_text):
        failure = rendering.failure(report)
        if failure is not None:
            fields["failure"] = failure
    elif outcome == "skipped" and xfail is None:
        fields["skip"] = _skip_reason(("", 0, str(report.longrepr)))
    if outcome != "passed" or xfail is not None or _is_special(report):
        location = _location(report)
        if location is not None:
            fields["location"] = location
    return fields


def _detail(report: Any, outcome: str, xfail: object) -> Optional[str]:
    if outcome not in _CLASSES:
        return outcome
    if xfail is not None and outcome != "failed":
        return "xfailed" if outcome == "skipped" else "xpassed"
    if outcome == "failed" and isinstance(report.longrepr, str) and report.longrepr.startswith("[XPASS(strict)]"):
        return "xpassed"
    return None


def _degraded_report(report: Any, error: Exception) -> dict[str, Any]:
    """As much of a report as can be told when converting it failed. It must not get lost."""
    outcome = str(getattr(report, "outcome", "failed"))
    when = getattr(report, "when", "call")
    text = f"This report could not be rendered: {_text_of(error)}\n{_text_of(report)}"
    return {
        "phase": when if when in PHASES else "call",
        "class": _CLASSES.get(outcome, "fail"),
        "failure": {"text": shorten(text)},
    }


def _text_of(data: object) -> str:
    try:
        return str.__str__(repr(data))
    except Exception:
        return f"<{type(data).__name__}>"


def _skip_reason(longrepr: tuple[Any, ...]) -> dict[str, Any]:
    path, line, reason = longrepr
    return {"path": str(path), "line": _line_number(line), "reason": shorten(str(reason))}


def _is_folded(report: Any) -> bool:
    """Whether pytest's summary leaves the line out: the mark stands on the module or class, not on the function."""
    keywords = getattr(report, "keywords", {})
    return report.when == "setup" and "skip" in keywords and "pytestmark" not in keywords


def _location(report: Any) -> Optional[dict[str, Any]]:
    if getattr(report, "location", None) is None:
        return None
    path, line, domain = report.location
    # Subtests say more about themselves in the line above their failure.
    title = getattr(report, "head_line", None)
    fields = {"path": str(path), "domain": str(title or domain)}
    if line is not None:
        fields["line"] = _line_number(line)
    return fields


def _sections(sections: Sequence[tuple[str, str]]) -> dict[str, Any]:
    if not sections:
        return {}
    return {"sections": [{"title": str(title), "text": shorten(str(text))} for title, text in sections]}


def _property(pair: Any) -> list[Any]:
    try:
        name, value = pair
    except (TypeError, ValueError):
        name, value = "property", pair
    return [str(name), property_value(value)]


def _microseconds(report: Any) -> int:
    try:
        return max(0, round(report.duration * 1e6))
    except (AttributeError, TypeError, ValueError, OverflowError):
        return 0


def _start_us(start: float) -> int:
    return max(0, round(start * 1e6))


def _line_number(line: Any) -> int:
    return line if isinstance(line, int) and 0 <= line <= _MAX_U32 else 0


def shorten(text: str, limit: int = MAX_TEXT) -> str:
    """The text, without its middle if it is too long for a message."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def shorter_versions(fields: dict[str, Any]) -> Any:
    """Ever shorter versions of an `ItemReport` that is too long for a frame."""
    fields = {name: value for name, value in fields.items() if name != "full"}
    for text_limit, count in _SHORTER:
        # The last reports: a failure of the whole item comes after those of its parts.
        phases = [_shortened(phase, text_limit) for phase in fields["phases"][-count:]]
        yield {**fields, "phases": phases}
    yield {**fields, "phases": [{"phase": "call", "class": fields.get("class", "pass")}]}


def _shortened(data: Any, limit: int) -> Any:
    if isinstance(data, str):
        return shorten(data, limit)
    if isinstance(data, list):
        return [_shortened(each, limit) for each in data[:limit]]
    if isinstance(data, dict):
        return {name: _shortened(value, limit) for name, value in data.items() if name != "properties"}
    return data


class CompactFrame:
    """Encodes the frame of an item that passed and has nothing else to tell, which is what most items do."""

    def __init__(self, worker: int) -> None:
        head = b"\x81\xaditem_finished\x84\xa6worker\xce" + struct.pack(">I", worker) + b"\xa5lease\xce"
        parts = (head, b"\xa4item\xce", b"\xa6report\x82\xa5start\xcf", b"\xa2us\x93\xce", b"\xce", b"\xce")
        lengths = [len(part) for part in parts]
        self._struct = struct.Struct(">I{}sI{}sI{}sQ{}sI{}sI{}sI".format(*lengths))
        self._parts = parts
        self._length = self._struct.size - 4

    def encode(self, item: Item, start: float, durations_us: list[int]) -> bytes:
        """The whole frame, its length in front."""
        head, item_key, start_key, first, second, third = self._parts
        setup, call, teardown = durations_us
        return self._struct.pack(
            self._length,
            head,
            item.lease,
            item_key,
            item.index,
            start_key,
            _start_us(start),
            first,
            setup,
            second,
            call,
            third,
            teardown,
        )


def collect_report(report: Any, rendering: Rendering) -> dict[str, Any]:
    """The `CollectReport` of a collector that failed or was skipped. Never raises."""
    fields: dict[str, Any] = {
        "node": str(report.nodeid),
        "class": "fail" if report.outcome == "failed" else "skip",
    }
    try:
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            fields["skip"] = _skip_reason(report.longrepr)
        else:
            failure = rendering.failure(report)
            if failure is not None:
                fields["failure"] = failure
        fields.update(_sections(report.sections))
    except Exception as error:
        fields["failure"] = {"text": f"This report could not be rendered: {_text_of(error)}"}
    return fields


class ItemFields:
    """Makes the `Item`s of the wire."""

    def __init__(self, with_locations: bool, with_keywords: bool = False) -> None:
        self._with_locations = with_locations
        self._keywords = Texts() if with_keywords else None
        self._groups_of_nodes: dict[Any, frozenset[str]] = {}
        self._needs_of_nodes = NeedsOfNodes()
        #: The last item's parent, and whether nothing is to be told of it and of those above it.
        self._parent: Any = None
        self._parent_is_plain = False

    def encoded(self, item: pytest.Item) -> Packed:
        """The `Item` in its wire form."""
        if self._with_locations or self._keywords is not None or not self._is_plain(item):
            return Packed(pack(self.of(item)))
        return Packed(_ONLY_ID + pack(str(item.nodeid)))

    def _is_plain(self, item: pytest.Item) -> bool:
        """Whether no mark of the item is to be told, which is so for most."""
        if item.parent is not self._parent:
            self._parent = item.parent
            self._parent_is_plain = all(not _has_telling_marks(node) for node in item.listchain()[:-1])
        return self._parent_is_plain and not (item.own_markers and _has_telling_marks(item))

    def of(self, item: pytest.Item) -> dict[str, Any]:
        """The `Item`."""
        node_id = str(item.nodeid)
        fields: dict[str, Any] = {"id": node_id}
        if self._with_locations:
            fields.update(_item_location(item, node_id))
        groups = self._groups(item.parent) | _own_groups(item)
        if groups:
            fields["groups"] = sorted(groups)
        exclusive, resources = self._needs_of_nodes.of(item)
        if exclusive:
            fields["exclusive"] = True
        if resources:
            fields["resources"] = [{"name": name, "limit": limit} for name, limit in sorted(resources.items())]
        if self._keywords is not None:
            # Those of the nodes above are the same for many items.
            fields["keywords"] = self._keywords.pack([str(keyword) for keyword in item.keywords])
        return fields

    def _groups(self, node: Any) -> frozenset[str]:
        """The groups that a node has by itself or inherits."""
        if node is None:
            return frozenset()
        groups = self._groups_of_nodes.get(node)
        if groups is None:
            groups = self._groups_of_nodes[node] = self._groups(node.parent) | _own_groups(node)
        return groups


def _has_telling_marks(node: Any) -> bool:
    return any(mark.name in _TELLING_MARKS for mark in node.own_markers)


def _own_groups(node: Any) -> frozenset[str]:
    marks = node.own_markers
    return frozenset([_group_name(mark) for mark in marks if mark.name == "xdist_group"]) if marks else _NO_GROUPS


def _item_location(item: pytest.Item, node_id: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    try:
        file, line, _ = item.location
    except Exception:
        # A plugin's item that cannot tell where it is defined.
        return fields
    if file is not None and str(file) != node_id.split("::", 1)[0]:
        fields["file"] = str(file)
    if isinstance(line, int) and 0 <= line <= _MAX_U32:
        fields["line"] = line
    return fields


def _group_name(mark: pytest.Mark) -> str:
    return str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))


def warning_fields(
    warning: warnings.WarningMessage, when: str, node_id: str, location: Optional[tuple[str, int, str]]
) -> dict[str, Any]:
    """The `WarningRecord` of the wire. Never raises, whatever class the warning is of."""
    category = warning.category if warning.category is not None else type(warning.message)
    message = _text_or(lambda: str(warning.message), "<a warning without a text>")
    fields: dict[str, Any] = {
        "when": str(when),
        "node": str(node_id or ""),
        "category": str(getattr(category, "__name__", "Warning")),
        "text": shorten(_text_or(lambda: _warning_text(warning), message)),
        "message": shorten(message),
        "path": str(warning.filename),
        "line": _line_number(warning.lineno),
    }
    if location is not None:
        path, line, domain = location
        fields["location"] = {"path": str(path), "line": _line_number(line), "domain": str(domain)}
    return fields


def _warning_text(warning: warnings.WarningMessage) -> str:
    from _pytest.warnings import warning_record_to_str

    return str(warning_record_to_str(warning)).rstrip("\n")


def _text_or(make: Any, fallback: str) -> str:
    try:
        return str.__str__(make())
    except Exception:
        return fallback
