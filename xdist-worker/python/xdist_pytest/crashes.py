"""What pytest's reports say of crashed test processes, and of workers that collected other tests."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Optional

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

_FRAME = "  File "
_MACHINERY = ("/_pytest/", "/pluggy/", "/xdist_pytest/", 'File "<string>"')

#: pytest-xdist's words, and what its documentation says there.
ADVICE = (
    "To see why this happens see 'Known limitations' in documentation for pytest-xdist",
    "Names and order of tests must not depend on chance, time, or the order of a set.",
)

#: The same where there are several machines, which mostly differ for another reason.
ADVICE_ELSEWHERE = (
    "The machines must have the same files: check out the same revision on each, or have them copied (--sync).",
    "Names and order of tests must not depend on chance, time, or the order of a set, nor on the machine.",
)

#: What is told of a process that ended by itself before it told anything.
_EARLY_END = ", before pytest was up: is its interpreter Python 3.9 or newer? (--python, and python= of --tx)"


class Text:
    """A text in the place of pytest's representation of an exception."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def report(worker: str, node_id: str, crash: dict[str, Any]) -> Any:
    """The report of an item that was running when its test process ended."""
    path = node_id.split("::")[0]
    text = "\n".join([*_circumstances(worker, node_id, crash), *_details(crash)])
    made: Any = pytest.TestReport(node_id, (path, None, path), {}, "failed", text, "???")  # type: ignore[arg-type]
    return made


def passed_before(crash: dict[str, Any]) -> dict[str, Any]:
    """The reports of the phases that an item had behind it when its test process ended, in the form of the wire."""
    phases = ("setup", "call", "teardown")
    passed = phases[: phases.index(crash["phase"])] if crash.get("phase") in phases else ()
    return {"phases": [{"phase": phase, "class": "pass"} for phase in passed], "us": []}


def end(crash: dict[str, Any], node_id: Optional[str]) -> str:
    """What is told of a worker's end when it happens, in one line."""
    phase, running = crash.get("phase"), crash.get("running_ms")
    text = _cause(crash)
    if node_id is not None:
        text += f", {_where(phase)} of {node_id}"
        if running is not None and not crash.get("limit_ms"):
            text += f", after {_time(running)}"
    elif not crash.get("pid") and str(crash["cause"]).startswith(("exit code", "signal")):
        text += _EARLY_END
    return text + in_parentheses(place(crash.get("pid"), crash.get("host", "")))


def place(pid: Optional[int], host: str = "") -> str:
    """Where a process is, as far as that is known."""
    known = [f"pid {pid}"] if pid else []
    return " ".join([*known, f"on {host}"] if host else known)


def in_parentheses(text: str) -> str:
    """The text with what belongs around it, or nothing for nothing."""
    return f" ({text})" if text else ""


def _time(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    if milliseconds < 100:
        return f"{milliseconds}ms"
    if seconds < 600:
        return f"{milliseconds / 1000:.1f}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    return f"{seconds // 3600}h{seconds // 60 % 60:02}m"


def _cause(crash: dict[str, Any]) -> str:
    return str(crash["cause"]) + (", out of memory" if crash.get("out_of_memory") else "")


def _where(phase: Optional[str]) -> str:
    return f"in {phase}" if phase else "in an unknown phase"


def _circumstances(worker: str, node_id: str, crash: dict[str, Any]) -> list[str]:
    running = crash.get("running_ms")
    after = f", after {_time(running)}" if running is not None else ""
    where, cause = _where(crash.get("phase")), _cause(crash)
    facts = [place(crash.get("pid"), crash.get("host", ""))]
    if crash.get("peak_rss_kib"):
        facts.append(f"peak memory {crash['peak_rss_kib'] / 1024:.1f} MiB")
    known = in_parentheses(", ".join(filter(None, facts)))
    if crash.get("limit_ms"):
        return [f"{cause} ({where})", f"worker {worker!r} was killed while running {node_id!r}{known}"]
    return [f"worker {worker!r} crashed while running {node_id!r}", f"{where}{after}: {cause}{known}"]


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


def mismatch(first: str, second: str, difference: dict[str, Any], advice: Iterable[str] = ADVICE) -> str:
    """That two workers collected different tests."""
    missing, extra = sorted(difference.get("missing", [])), sorted(difference.get("extra", []))
    if missing or extra:
        lines = [f"--- {first}", f"+++ {second}", *(f"-{name}" for name in missing), *(f"+{name}" for name in extra)]
    else:
        lines = [f"{second} has the same tests as {first}, in another order."]
    return "\n".join(
        [f"Different tests were collected between {first} and {second}. The difference is:", *lines, *advice]
    )
