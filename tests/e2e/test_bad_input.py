"""Bad input is answered once, clearly, and with the right exit code."""

import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8"])
def test_python_that_is_too_old(xdist, version):
    old = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    if not old:
        pytest.skip(f"not run: there is no Python {version} under ~/.pyenv")
    xdist.files(test_a=PASS)
    for args in [("-n2",), ("--tx", f"2*popen//python={old[0]}")]:
        result = xdist.run(*args, python=str(old[0]) if args == ("-n2",) else "")
        assert result.code == 4, result.text
        line = f"ERROR: {old[0]} is Python {version}, and xdist needs 3.9 or newer; choose another with --python"
        assert result.text.strip().startswith(line) and len(result.text.split("\n")) < 4, result.text


def test_something_else_than_python(xdist):
    xdist.files(test_a=PASS)
    result = xdist.run("-n2", python="/bin/false")
    assert result.code == 4, result.text
    assert "/bin/false is no Python that xdist can use: it ended with exit code 1" in result.text


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
