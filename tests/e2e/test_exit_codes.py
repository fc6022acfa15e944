"""Exit codes: pytest's, where docs/guide/exit-codes.md does not say otherwise."""

import pytest

PASS = "def test_a():\n    pass\n"
FAIL = "def test_a():\n    assert 0\n"


@pytest.mark.parametrize(
    ("text", "args", "code"),
    [
        (PASS, [], 0),
        (FAIL, [], 1),
        (FAIL, ["-x"], 2),
        (FAIL, ["--maxfail=1"], 2),
        ("import no_such_module\n", [], 1),
        ("", [], 5),
        (PASS, ["-k", "nothing"], 5),
        (PASS, ["missing.py"], 4),
        (PASS, ["test_a.py::test_missing"], 4),
        (PASS, ["--no-such-option"], 4),
        (PASS, ["--dist=sideways"], 4),
        (PASS, ["-n", "-1"], 4),
        (PASS, ["-n", "many"], 4),
        (PASS, ["--tx", "teleport"], 4),
        (PASS, ["--ramp=never"], 4),
        ("import pytest\ndef test_a():\n    pytest.exit('enough', returncode=7)\n", [], 7),
        ("def test_a():\n    raise KeyboardInterrupt\n", [], 2),
        ("import os\ndef test_a():\n    os._exit(0)\n", [], 1),
    ],
)
def test_exit_code(xdist, text, args, code):
    xdist.files(test_a=text)
    result = xdist.run(*([] if "-n" in args else ["-n2"]), *args)
    assert result.code == code, result.text


def test_internal_error(xdist):
    xdist.files(
        conftest="def pytest_runtest_protocol(item):\n    raise RuntimeError('a hook is broken')\n", test_a=PASS
    )
    result = xdist.run("-n2")
    assert result.code == 3
    assert result.text.count("RuntimeError: a hook is broken") == 1


def test_collection_error_in_one_file_lets_the_others_run(xdist):
    xdist.files(test_a=PASS, test_b="import no_such_module\n")
    result = xdist.run("-n2")
    assert (result.code, result.totals) == (1, {"passed": 1, "error": 1})
    assert result.out.count("No module named 'no_such_module'") <= 2, "once in full, once in the short summary"


def test_every_worker_dead_before_collection(xdist):
    xdist.files(conftest="import os\nos._exit(9)\n", test_a=PASS)
    result = xdist.run("-n2")
    assert result.code == 3
    assert result.text.count("no worker is left (") == 1
    assert result.text.count("node down: exit code 9") == 2, "nobody is replaced who would die the same way"


def test_stopped_at_once(xdist):
    """-x empties all queues: of 400 tests behind the failing one, hardly any are begun."""
    xdist.files(
        test_a="""
        import time
        import pytest

        def test_fails():
            assert 0

        @pytest.mark.parametrize("n", range(2000))
        def test_other(n):
            time.sleep(0.02)
        """
    )
    for mode in ("load", "worksteal", "loadscope"):
        result = xdist.run("-n2", "-x", f"--dist={mode}")
        assert result.code == 2
        assert result.totals["failed"] == 1
        assert result.totals.get("passed", 0) < 1000, f"{mode}: {result.totals}"
        assert "stopping after 1 failures" in result.out


def test_crashes_count_for_maxfail(xdist):
    xdist.files(
        test_a="import os, time, pytest\n\ndef test_dies():\n    os._exit(1)\n\n"
        "@pytest.mark.parametrize('n', range(2000))\ndef test_other(n):\n    time.sleep(0.02)\n"
    )
    result = xdist.run("-n2", "-x")
    assert result.code == 2
    assert result.totals.get("passed", 0) < 1000
