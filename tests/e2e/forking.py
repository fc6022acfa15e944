"""A suite that counts how many processes have imported it, and what each worker of a run says."""

import pytest

# Leaves a line in a file whenever it is imported.
COUNTING = """
import os

with open(os.path.join(os.path.dirname(__file__), "imports"), "a") as imports:
    imports.write("once\\n")
"""

# Some of everything.
OUTCOMES = """
import pytest

@pytest.mark.parametrize("n", range(6))
def test_passes(n, tmp_path):
    (tmp_path / "file").touch()

def test_fails():
    assert 1 == 2

def test_skips():
    pytest.skip("why not")

@pytest.fixture
def broken():
    raise ValueError("broken")

def test_errs(broken):
    pass
"""


@pytest.fixture
def suite(xdist):
    """`xdist`, with a conftest that counts its imports before anything else."""
    xdist.files(conftest=COUNTING)
    write = xdist.files

    def files(conftest="", **texts):
        write(conftest=COUNTING, **texts)
        if conftest:
            path = xdist.directory / "conftest.py"
            write(addition=conftest)
            path.write_text(path.read_text() + (xdist.directory / "addition.py").read_text())
            (xdist.directory / "addition.py").unlink()

    xdist.files = files
    return xdist


def imports(suite) -> int:
    """How many processes have imported the conftest since it was last asked."""
    path = suite.directory / "imports"
    lines = path.read_text().splitlines()
    path.unlink()
    return len(lines)


def in_each(suite, *args, workers=3, **env) -> dict[str, str]:
    """What each worker of a run signals: `gw0 the text`. All are forked from one collection, and run every test."""
    result = suite.run(f"-n{workers}", "--dist=each", *args, **env)
    assert result.code == 0, result.text
    assert imports(suite) == 1, suite.run("-n2", "-v").out
    told = dict(suite.signals.next().split(" ", 1) for _ in range(workers))
    assert set(told) == {f"gw{n}" for n in range(workers)}
    return told
