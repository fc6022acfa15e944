"""docs/examples/worker.py: a worker that was written from docs/protocol.md, in plain Python and without pytest."""

import sys
from pathlib import Path

WORKER = Path(__file__).resolve().parents[2] / "docs" / "examples" / "worker.py"


def test_it_runs_a_suite_of_shell_scripts(xdist):
    for name, text in {"a": "exit 0", "b": "echo as told; exit 1", "c": "exit 77", "d": "exit 0"}.items():
        (xdist.directory / f"{name}.sh").write_text(f"{text}\n")
    result = xdist.run("--tx", f"2*exec={sys.executable} {WORKER}", "--dist", "load", ".")
    assert result.code == 1, result.text
    assert result.totals == {"failed": 1, "passed": 2, "skipped": 1}
    assert result.outcome_of == {"a.sh": "passed", "b.sh": "failed", "c.sh": "skipped", "d.sh": "passed"}
    assert "as told" in result.out


def test_it_is_short_and_needs_nothing():
    text = WORKER.read_text()
    assert len(text.splitlines()) <= 300
    assert "import pytest" not in text
