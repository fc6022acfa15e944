"""What pytest's reports say of crashed test processes, and of workers that collected other tests."""

from __future__ import annotations

import difflib
from typing import Any

import pytest


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


def _circumstances(worker: str, node_id: str, crash: dict[str, Any]) -> list[str]:
    phase = crash.get("phase")
    running = crash.get("running_ms")
    where = f"in {phase}" if phase else "in an unknown phase"
    after = f", after {running / 1000:.1f}s" if running is not None else ""
    cause = crash["cause"] + (", out of memory" if crash.get("out_of_memory") else "")
    facts = [f"pid {crash['pid']}"] if crash.get("pid") else []
    if crash.get("peak_rss_kib"):
        facts.append(f"peak memory {crash['peak_rss_kib'] / 1024:.1f} MiB")
    known = f" ({', '.join(facts)})" if facts else ""
    if crash.get("limit_ms"):
        return [f"{cause} ({where})", f"worker {worker!r} was killed while running {node_id!r}{known}"]
    return [f"worker {worker!r} crashed while running {node_id!r}", f"{where}{after}: {cause}{known}"]


def _details(crash: dict[str, Any]) -> list[str]:
    lines = []
    for title, text in (("stack", crash.get("stack")), ("last lines on standard error", crash.get("stderr_tail"))):
        if text and text.strip():
            lines += ["", f"{title}:", *text.rstrip().splitlines()]
    return lines


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
