"""Reports, collect reports and warnings in full, from the worker's pytest to the one on the coordinator's side.

The wire's own form of them (`reports.py`) has what people get to see. Plugins on the coordinator's side may look at
anything, so they get all that pytest can send, opaque to everyone in between: the `full` of the wire.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any, Optional

import pytest

from . import msgpack

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The head of an array in MessagePack.
_ARRAY = struct.Struct(">BI")
#: What is longer travels compressed, and so begins with a byte that no array begins with.
_LONG = 64 << 10
_COMPRESSED = b"\x78"
_PHASES = ("setup", "call", "teardown")
_OUTCOMES = {"pass": "passed", "fail": "failed", "skip": "skipped", "infra": "failed"}


def pack_reports(config: pytest.Config, reports: Sequence[Any]) -> bytes:
    """The `full` of an item's reports. A report that cannot be packed is left out, and then so are all."""
    try:
        serialize = config.hook.pytest_report_to_serializable
        # Each by itself, since one value has its limit, and an item may have thousands of subtests.
        packed = b"".join(msgpack.pack_value(serialize(config=config, report=report)) for report in reports)
    except Exception:
        return b""
    listed = _ARRAY.pack(0xDD, len(reports)) + packed
    return zlib.compress(listed, 1) if len(listed) > _LONG else listed


def pack_collect_report(config: pytest.Config, report: Any) -> bytes:
    """The `full` of a collect report."""
    try:
        data = config.hook.pytest_report_to_serializable(config=config, report=report)
        # Its items are of no use elsewhere.
        data["result"] = None
        return msgpack.pack_value(data)
    except Exception:
        return b""


def pack_warning(warning: warnings.WarningMessage) -> bytes:
    """The `full` of a warning."""
    message = warning.message
    category = warning.category or type(message)
    args = list(message.args) if isinstance(message, Warning) else None
    return msgpack.pack_value(
        {
            "module": category.__module__,
            "class": category.__name__,
            "text": str(message),
            "args": args,
            "filename": warning.filename,
            "lineno": warning.lineno,
            "line": warning.line,
        }
    )


@functools.lru_cache(maxsize=None)
def _usual_attributes() -> frozenset[str]:
    """What every report has in this version of pytest; with anything beyond that, a plugin has something to tell."""
    usual = pytest.TestReport("", ("", 0, ""), {}, "passed", None, "call")
    return frozenset({*vars(usual), "start", "stop"})


def is_plain(report: Any) -> bool:
    """Whether a report of a passed phase has nothing that its duration and the item do not tell."""
    return not report.sections and not report.user_properties and _usual_attributes().issuperset(report.__dict__)


class Reviver:
    """Makes pytest's objects again."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def reports(self, item: dict[str, Any], report: dict[str, Any]) -> list[Any]:
        """The reports of an item, in order."""
        full = report.get("full")
        if full:
            try:
                unpacked = msgpack.unpack(zlib.decompress(full) if full[:1] == _COMPRESSED else full)
                if not all(isinstance(data, dict) for data in unpacked):
                    raise ValueError(f"it is longer than {msgpack.MAX_VALUE_BYTES >> 20} MiB, and was shortened")
                return [self._report(data) for data in unpacked]
            except Exception as error:
                self._config.issue_config_time_warning(
                    pytest.PytestWarning(f"xdist: a report of {item['id']} could not be restored: {error!r}"), 2
                )
        phases = report.get("phases")
        return _passed(item, report) if phases is None else [_phase(item, report, phase) for phase in phases]

    def _report(self, data: dict[str, Any]) -> Any:
        return self._config.hook.pytest_report_from_serializable(config=self._config, data=_tidy(data))

    def collect_report(self, report: dict[str, Any]) -> Any:
        """A collect report."""
        full = report.get("full")
        if full:
            return self._report(msgpack.unpack(full))
        longrepr: Any = (report.get("failure") or {}).get("text", "")
        skip = report.get("skip")
        if skip is not None:
            longrepr = (skip["path"], skip.get("line", 0), skip["reason"])
        outcome = _OUTCOMES[report["class"]]
        return pytest.CollectReport(report["node"], outcome, longrepr, [], _sections(report))  # type: ignore[arg-type]


def _tidy(data: Any) -> Any:
    """Values that could not be sent become their text."""
    if isinstance(data, msgpack.Unsendable):
        return data.text
    if type(data) is dict:
        return {key: _tidy(value) for key, value in data.items()}
    if type(data) is list:
        return [_tidy(value) for value in data]
    if type(data) is tuple:
        return tuple(_tidy(value) for value in data)
    return data


def location_of(item: dict[str, Any]) -> tuple[str, Optional[int], str]:
    """pytest's `location` of an item."""
    path, _, domain = item["id"].partition("::")
    return item.get("file") or path, item.get("line"), domain.replace("::", ".") or path


def _passed(item: dict[str, Any], report: dict[str, Any]) -> list[Any]:
    reports = []
    start = report.get("start", 0) / 1e6
    location = location_of(item)
    keywords = dict.fromkeys(item.get("keywords", ()), 1)
    first = pytest.TestReport(item["id"], location, keywords, "passed", None, "setup")
    for when, microseconds in zip(_PHASES, report["us"]):
        # pytest takes the node id apart for each that it makes itself.
        made = pytest.TestReport.__new__(pytest.TestReport)
        made.__dict__.update(first.__dict__)
        made.when, made.duration = when, microseconds / 1e6
        made.start, made.stop = start, start + made.duration
        made.sections, made.user_properties = [], []
        start = made.stop
        reports.append(made)
    return reports


def _phase(item: dict[str, Any], report: dict[str, Any], phase: dict[str, Any]) -> Any:
    """A report of a worker that is not ours, which sends no `full`."""
    outcome: Any = _OUTCOMES[phase["class"]]
    longrepr: Any = (phase.get("failure") or {}).get("text")
    skip = phase.get("skip")
    if skip is not None:
        longrepr = (skip["path"], skip.get("line", 0), skip["reason"])
    made = pytest.TestReport(
        item["id"], location_of(item), dict.fromkeys(item.get("keywords", ()), 1), outcome, longrepr, phase["phase"],
        _sections(phase), phase.get("us", 0) / 1e6, user_properties=[tuple(pair) for pair in phase.get("properties", ())],
    )  # fmt: skip
    made.start = made.stop = report.get("start", 0) / 1e6
    if "xfail" in phase:
        made.wasxfail = phase["xfail"]
    return made


def _sections(fields: dict[str, Any]) -> list[tuple[str, str]]:
    return [(section["title"], section["text"]) for section in fields.get("sections", ())]


def revive_warning(warning: dict[str, Any]) -> warnings.WarningMessage:
    """A recorded warning. If its class is not to be had here, one of that name takes its place."""
    full = msgpack.unpack(warning["full"]) if warning.get("full") else None
    if full is None:
        category = _category("builtins", warning["category"])
        message: Any = category(warning.get("message", ""))
        return warnings.WarningMessage(message, category, warning.get("path", ""), warning.get("line", 0))
    category = _category(full["module"], full["class"])
    message = full["text"]
    if full["args"] is not None:
        try:
            message = category(*_tidy(full["args"]))
        except Exception:
            message = Warning(full["text"])
    return warnings.WarningMessage(message, category, full["filename"], full["lineno"], line=full["line"])


def _category(module: str, name: str) -> Any:
    try:
        found = getattr(builtins if module == "builtins" else importlib.import_module(module), name)
        if isinstance(found, type) and issubclass(found, Warning):
            return found
    except Exception:
        pass
    return type(name, (Warning,), {"__module__": module})
