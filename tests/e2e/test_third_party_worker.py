"""docs/examples/worker.py: a worker that was written from docs/protocol.md, in plain Python and without pytest."""

import sys
from pathlib import Path

WORKER = Path(__file__).resolve().parents[2] / "docs" / "examples" / "worker.py"


def test_it_runs_a_suite(xdist):
    xdist.files(test_a="def test_a():\n    pass\n\ndef test_b():\n    assert 0, 'as told'\n\ndef test_c():\n    pass\n")
    result = xdist.run("--tx", f"2*exec={sys.executable} {WORKER}", "--dist=load", "test_a.py")
    assert result.code == 1, result.text
    assert result.totals == {"failed": 1, "passed": 2}
    assert "as told" in result.out


def test_it_is_short_and_needs_nothing():
    text = WORKER.read_text()
    assert len(text.splitlines()) < 300
    assert "import pytest" not in text
