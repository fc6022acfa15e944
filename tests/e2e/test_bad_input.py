"""Bad input is answered once, clearly, and with the right exit code."""

import subprocess
import sys

import pytest

PASS = "def test_a():\n    pass\n"


def test_missing_path(xdist):
    xdist.files(test_a=PASS)
    result = xdist.run("-n2", "missing.py")
    assert result.code == 4
    assert result.text.count("file or directory not found: missing.py") == 1


def test_missing_python(xdist):
    xdist.files(test_a=PASS)
    result = xdist.run("-n2", python="/no/such/python")
    assert result.code == 4, result.text
    assert "/no/such/python" in result.err


def test_python_without_pytest(xdist):
    bare = xdist.scratch / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    xdist.files(test_a=PASS)
    result = xdist.run("-n2", python=f"{bare}/bin/python")
    assert result.code == 4, result.text
    assert f"{bare}/bin/python" in result.text
    assert "-m pip install pytest" in result.text
    assert "Traceback" not in result.text


def test_the_active_virtual_environment_is_used(xdist):
    bare = xdist.scratch / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    xdist.files(test_a=PASS)
    assert f"{bare}/bin/python" in xdist.run(python="", VIRTUAL_ENV=str(bare)).text
    assert xdist.run("-n1", python="", VIRTUAL_ENV=sys.prefix).code == 0


def test_broken_conftest_is_shown_once(xdist):
    xdist.files(conftest="raise RuntimeError('broken for everyone')\n", test_a=PASS)
    result = xdist.run("-n3")
    assert result.code == 4, result.text
    assert result.text.count("RuntimeError: broken for everyone") == 1


def test_conftest_that_breaks_in_some_workers(xdist):
    xdist.files(
        conftest="import os\nif os.environ.get('PYTEST_XDIST_WORKER') == 'gw1':\n    raise RuntimeError('broken for one')\n",
        test_a=PASS,
    )
    result = xdist.run("-n2")
    assert result.code != 0
    assert "RuntimeError: broken for one" in result.text


@pytest.mark.parametrize("option", ["--dist=sideways", "-n=-1", "--maxprocesses=few", "--no-such-option"])
def test_wrong_options_are_named_once(xdist, option):
    xdist.files(test_a=PASS)
    result = xdist.run(option)
    assert result.code == 4
    assert result.text.count("error:") == 1, result.text
    assert "Traceback" not in result.text


def test_unwritable_pytest_cache(xdist):
    """Root may write anywhere, so that a file stands where the directory should be."""
    (xdist.directory / ".pytest_cache").write_text("in the way")
    xdist.files(test_a="def test_a():\n    assert 0\n")
    result = xdist.run("-n2")
    assert (result.code, result.totals["failed"]) == (1, 1), result.text


def test_unwritable_cache_of_our_own(xdist):
    blocked = xdist.scratch / "blocked"
    blocked.write_text("in the way")
    xdist.files(test_a=PASS)
    result = xdist.run("-n2", XDG_CACHE_HOME=str(blocked), HOME=str(blocked))
    assert result.code == 0, result.text


@pytest.mark.parametrize("option", ["--report-log=/dev/full", "--junitxml=/dev/full"])
def test_disk_full(xdist, option):
    xdist.files(test_a=PASS)
    result = xdist.run("-n2", option)
    assert result.code not in (0, 1), result.text
    assert "/dev/full" in result.text
    assert "o space left on device" in result.text
    assert "1 passed" in result.out, "the results are not lost"


PEERS = {
    "garbage": "os.write(fd, b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\ntime.sleep(600)",
    "too-long": "os.write(fd, b'\\x89XDIST\\x01\\x00' + b'\\xff\\xff\\xff\\xff' + bytes(100))\ntime.sleep(600)",
    "nothing": "os.close(fd)",
    "wrong-major": "os.write(fd, b'\\x89XDIST\\x63\\x00')\ntime.sleep(600)",
}


@pytest.mark.parametrize("peer", PEERS)
def test_peers_that_do_not_speak_the_protocol(xdist, peer):
    program = xdist.scratch / "peer.py"
    program.write_text(f"import os, time\nfd = int(os.environ['XDIST_LINK_FD'])\n{PEERS[peer]}\n")
    xdist.files(test_a=PASS)
    result = xdist.run("--tx", f"exec={sys.executable} {program}", "--dist=load")
    assert result.code not in (0, 1, 5), result.text
    assert "panicked" not in result.text
