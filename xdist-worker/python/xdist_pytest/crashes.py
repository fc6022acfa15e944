"""What pytest's reports say of crashed test processes, and of workers that collected other tests."""

from __future__ import annotations

import difflib
import itertools
from typing import Any

import pytest

_FRAME = "  File "
_MACHINERY = ("/_pytest/", "/pluggy/", "/xdist_pytest/", 'File "<string>"')


class Text:
    """A text in the place of pytest's representation of an exception."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def report(worker: str, node_id: str, crash: dict[str, Any]) -> Any:
    """The report of an item that was running when its test process ended."""
    path = node_id.split("::")[0]
    headline = f"worker {worker!r} crashed while running {node_id!r}"
    text = "\n".join([headline, *_circumstances(crash), *_details(crash)])
    made: Any = pytest.TestReport(node_id, (path, None, path), {}, "failed", text, "???")  # type: ignore[arg-type]
    return made


def passed_before(crash: dict[str, Any]) -> dict[str, Any]:
    """The reports of the phases that an item had behind it when its test process ended, in the form of the wire."""
    phases = ("setup", "call", "teardown")
    passed = phases[: phases.index(crash["phase"])] if crash.get("phase") in phases else ()
    return {"phases": [{"phase": phase, "class": "pass"} for phase in passed], "us": []}


def _circumstances(crash: dict[str, Any]) -> list[str]:
    phase = crash.get("phase")
    running = crash.get("running_ms")
    where = f"in {phase}" if phase else "in an unknown phase"
    after = f", after {_running_time(running)}" if running is not None else ""
    facts = [f"pid {crash['pid']}"] if crash.get("pid") else []
    if crash.get("peak_rss_kib"):
        facts.append(f"peak memory {crash['peak_rss_kib'] / 1024:.1f} MiB")
    memory = ", out of memory" if crash.get("out_of_memory") else ""
    return [f"{where}{after}: {crash['cause']}{memory}" + (f" ({', '.join(facts)})" if facts else "")]


def _running_time(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    if milliseconds < 100:
        return f"{milliseconds}ms"
    if seconds < 600:
        return f"{milliseconds / 1000:.1f}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    return f"{seconds // 3600}h{seconds // 60 % 60:02}m"


def _details(crash: dict[str, Any]) -> list[str]:
    stack = _without_machinery(crash.get("stack") or "")
    last_words = (crash.get("stderr_tail") or "").rstrip().splitlines()
    lines = []
    for title, text in (("stack", stack), ("last lines on standard error", last_words)):
        if text:
            lines += ["", f"{title}:", *text]
    return lines


def _without_machinery(stack: str) -> list[str]:
    """The stack without the outermost frames of each thread that are pytest's and ours: the same for every test."""
    shown: list[str] = []
    for thread in stack.rstrip().split("\n\n"):
        lines = thread.splitlines()
        frames = sum(line.startswith(_FRAME) for line in lines)
        around = len(list(itertools.takewhile(_is_machinery, reversed(lines))))
        if 0 < around < frames:
            lines = [*lines[:-around], f"  ... and {around} frames of pytest around it"]
        shown += ["", *lines]
    return shown[1:] if stack.strip() else []


def _is_machinery(line: str) -> bool:
    return line.startswith(_FRAME) and any(part in line for part in _MACHINERY)


def mismatch(first: str, second: str, difference: dict[str, Any]) -> str:
    """That two workers collected different tests."""
    missing, extra = difference.get("missing", []), difference.get("extra", [])
    lines = difflib.unified_diff(sorted(missing), sorted(extra), first, second, lineterm="")
    return (
        f"Different tests were collected between {first} and {second}. The difference is:\n"
        + "\n".join(lines)
        + "\nTo see why this happens see Known limitations in documentation "
        "for pytest-xdist, or docs/guide/troubleshooting.md of xdist"
    )
