"""Where pytest-xdist does something else on purpose: what docs/guide/coming-from-pytest-xdist.md says, on both sides."""

import pytest
from doors import REFERENCE

CRASH = """
    import os

    def test_a():
        pass

    def test_crashes():
        os._exit(1)

    def test_b():
        pass
"""
OWN_WARNING = """
    import warnings

    class OfTheSuite(UserWarning):
        pass

    def test_warns():
        warnings.warn(OfTheSuite("one of our own"))
"""
EXIT = """
    import pytest

    def test_exits():
        pytest.exit("enough", returncode=7)
"""
PASSES = """
    def test_passes():
        pass
"""
ORDER = """
    import os

    import pytest

    names = ["a", "b", "c"]
    if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
        names.reverse()

    @pytest.mark.parametrize("name", names)
    def test_name(name):
        pass
"""
PROPERTY = """
    def test_property(record_property):
        record_property("key", object)

    def test_other():
        pass
"""
ODD_ATTRIBUTE = """
    import pytest

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(item, call):
        report = (yield).get_result()
        report.found = object()
"""
DIES_EARLY = """
    import os

    def pytest_collection(session):
        if hasattr(session.config, "workerinput"):
            os._exit(1)
"""
GROUP = """
    import pathlib
    import time

    import pytest

    # It takes a moment, so that no worker is done before the other has begun.
    @pytest.mark.xdist_group("one")
    @pytest.mark.parametrize("number", range(8))
    def test_number(number, worker_id):
        pathlib.Path(__file__).with_name(f"{worker_id}-{number}").touch()
        time.sleep(0.05)
"""

# What it is, files, arguments; what may come of it under pytest-xdist, as exit code and counts, and what does here. Where
# that hangs on who is first, there are no counts, or several possibilities.
CASES = {
    "crash in loadfile": (
        {"test_it.py": CRASH}, ["--dist=loadfile"],
        [(1, {"failed": 9, "passed": 1})], (1, {"failed": 1, "passed": 2}),
    ),
    "warning of a class of the suite": (
        {"test_it.py": OWN_WARNING}, [],
        [(3, None)], (0, {"passed": 1, "warning": 1}),
    ),
    "pytest.exit": (
        {"test_it.py": EXIT}, [],
        [(3, None)], (7, None),
    ),
    "missing file": (
        {"test_it.py": PASSES}, ["nowhere.py"],
        [(5, {})], (4, {}),
    ),
    "missing test": (
        {"test_it.py": PASSES}, ["test_it.py::test_nowhere"],
        [(5, {})], (4, {}),
    ),
    "other order": (
        {"test_it.py": ORDER}, [],
        [(1, {"error": 1})], (0, {"passed": 3}),
    ),
    "property that cannot be sent": (
        {"test_it.py": PROPERTY}, [],
        [(0, {"passed": 1}), (3, {"passed": 1}), (0, {}), (3, {})], (0, {"passed": 2}),
    ),
    "attribute that cannot be sent": (
        {"test_it.py": PASSES, "conftest.py": ODD_ATTRIBUTE}, [],
        [(0, {}), (3, {})], (0, {"passed": 1}),
    ),
    "all workers die": (
        {"test_it.py": PASSES, "conftest.py": DIES_EARLY}, [],
        [(5, {})], (3, {}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_difference(make_suite, case):
    files, args, theirs, ours = CASES[case]
    suite = make_suite(plugin="mock")
    for name, text in files.items():
        suite.file(name, text)
    for door in (REFERENCE, *suite.doors):
        run = suite.run(door, *args)
        possible = theirs if door == REFERENCE else [ours]
        assert any(run.code == code and counts in (None, run.counts) for code, counts in possible), run


def test_groups(make_suite):
    """pytest-xdist writes groups into node ids, which pytest 9.2 does not let it."""
    suite = make_suite(plugin="mock")
    suite.file("test_it.py", GROUP)
    for door in (REFERENCE, *suite.doors):
        run = suite.run(door, "--dist=loadgroup")
        workers = {name.partition("-")[0] for name in run.files("gw*")}
        assert run.counts == {"passed": 8} and len(workers) == (2 if door == REFERENCE else 1), run


def test_both_are_installed(make_suite):
    """In an environment with both, neither is chosen behind the user's back."""
    suite = make_suite(plugin="mock")
    suite.file("test_it.py", PASSES)
    run = suite.run("pytest", "-p", "xdist_pytest.entry", PYTHONPATH=suite.python_half)
    assert run.code == 0, run
    run = suite.run(REFERENCE, "-p", "xdist_pytest.entry", PYTHONPATH=suite.python_half)
    assert run.code == 4 and "Choose with -p no:xdist_rs" in run.err, run
