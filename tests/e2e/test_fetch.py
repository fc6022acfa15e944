"""`--fetch`: files of other machines come back. Those machines are this one, behind an ssh server of the tests' own."""

import os
import shutil
import signal
import stat

import pytest
from conftest import PYTHON
from processes import descendants
from sshd import box  # noqa: F401  (a fixture)
from test_ssh import RECORDER, name_of, told

LEAVES_FILES = """
    import os, pathlib, pytest

    @pytest.mark.parametrize("n", range(8))
    def test_n(n, worker_id):
        there = pathlib.Path("out")
        there.mkdir(exist_ok=True)
        (there / f"{worker_id}-{n}.bin").write_bytes(bytes([n]) * n)
        (there / "notes.txt").write_text("not asked for")
        pathlib.Path(f".left.{worker_id}").write_text(os.getcwd())
"""


@pytest.fixture
def up(box):  # noqa: F811
    box.start()
    return box


def elsewhere(xdist, *names):
    """Copies of the suite, as checkouts on other machines would be."""
    trees = []
    for name in names:
        shutil.copytree(xdist.directory, xdist.scratch / name)
        trees.append(xdist.scratch / name)
    return trees


def files_below(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def run(xdist, door, *args):
    return xdist.run(*args) if door == "run" else xdist.start_pytest(*args).wait()


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_files_come_into_a_directory_for_each_machine(xdist, up, door):
    xdist.files(test_a=LEAVES_FILES)
    first, second = elsewhere(xdist, "first", "second")
    tx = [
        up.tx(f"chdir={first}", RECORDER, count=2, python=PYTHON),
        up.tx(f"chdir={second}", RECORDER, machine="bystander", python=PYTHON),
    ]
    args = ["--tx", tx[0], "--tx", tx[1], "--dist", "each", "--fetch", "out/*.bin", "--fetch", ".left*", "test_a.py"]
    result = run(xdist, door, *args)
    assert result.code == 0, result.text
    fetched = xdist.directory / "xdist-fetched"
    assert sorted(path.name for path in fetched.iterdir()) == ["box", "bystander"]
    there = {
        name: content for name, content in files_below(first).items() if name.endswith(".bin") or name[:6] == ".left."
    }
    assert len(there) == 18 and files_below(fetched / "box") == there
    assert files_below(fetched / "bystander")[".left.gw2"] == str(second).encode()
    # On each worker 0 + 1 + … + 7 bytes, and a path.
    size = sum(map(len, there.values()))
    assert f"fetched 18 files ({size} bytes) from box into xdist-fetched/box" in result.out.splitlines()
    assert "fetched 9 files (" in result.out
    if door == "run":
        (event,) = [
            event for event in result.events if event.get("host") == "box" and event["$report_type"] == "FilesFetched"
        ]
        assert (event["files"], event["bytes"], event["into"]) == (18, size, "xdist-fetched/box")


def test_large_files_and_their_modes_arrive(xdist, up):
    xdist.files(
        test_a="""
        import os, pathlib, random

        def test_a():
            pathlib.Path("noise.dat").write_bytes(random.Random(1).randbytes(3_000_000))
            pathlib.Path("zeros.dat").write_bytes(bytes(5_000_000))
            pathlib.Path("empty.dat").touch()
            os.chmod("noise.dat", 0o750)
        """
    )
    (there,) = elsewhere(xdist, "there")
    result = xdist.run("--tx", up.tx(f"chdir={there}", python=PYTHON), "--fetch", "*.dat", "--fetch-to", "deep/far/")
    assert result.code == 0, result.text
    assert "fetched 3 files (8.0 MB) from box into deep/far/box" in result.out
    fetched = xdist.directory / "deep" / "far" / "box"
    assert files_below(fetched) == {
        name: (there / name).read_bytes() for name in ("noise.dat", "zeros.dat", "empty.dat")
    }
    assert stat.S_IMODE((fetched / "noise.dat").stat().st_mode) == 0o750


def test_the_configuration_file_may_say_what_to_fetch_and_an_earlier_file_is_replaced(xdist, up):
    xdist.files(test_a="import os\n\ndef test_a():\n    open('x.txt', 'a').write('x')\n")
    xdist.ini("addopts = --fetch=*.txt --fetch-to=far")
    (there,) = elsewhere(xdist, "there")
    for expected in ("x", "xx"):
        result = xdist.run("--tx", up.tx(f"chdir={there}", python=PYTHON))
        assert "fetched 1 file (" in result.out, result.text
        assert (xdist.directory / "far" / "box" / "x.txt").read_text() == expected


def test_what_cannot_be_fetched_is_named_and_the_rest_is_fetched(xdist, up):
    xdist.files(
        test_a="""
        import os, pathlib

        def test_a():
            pathlib.Path("a.txt").write_text("a")
            os.symlink("/etc/passwd", "secret.txt")
            os.mkfifo("pipe.txt")
            pathlib.Path("taken.txt").write_text("t")
        """
    )
    (there,) = elsewhere(xdist, "there")
    (xdist.directory / "xdist-fetched" / "box" / "taken.txt").mkdir(parents=True)
    result = xdist.run("--tx", up.tx(f"chdir={there}", python=PYTHON), "--fetch", "*.txt")
    assert result.code == 0, result.text
    lines = result.out.splitlines()
    assert "fetched 1 file (1 bytes) from box into xdist-fetched/box" in lines
    assert "not fetched from box: secret.txt: it leads out of the directory" in lines
    assert any(line.startswith("not fetched from box: taken.txt: cannot be stored: ") for line in lines)
    assert files_below(xdist.directory / "xdist-fetched") == {"box/a.txt": b"a"}


def test_a_place_that_cannot_be_written_to_is_told(xdist, up):
    xdist.files(test_a="def test_a():\n    open('x.txt', 'w').close()\n")
    (there,) = elsewhere(xdist, "there")
    (xdist.directory / "xdist-fetched").write_text("no directory")
    result = xdist.run("--tx", up.tx(f"chdir={there}", python=PYTHON), "--fetch", "*.txt")
    assert result.code == 0, result.text
    assert "not fetched from box: x.txt: cannot be stored in xdist-fetched/box: " in told(result)


def test_nothing_is_fetched_from_this_machine(xdist):
    xdist.files(test_a=LEAVES_FILES)
    result = xdist.run("-n2", "--fetch", "out/*")
    assert result.code == 0, result.text
    assert "into xdist-fetched" not in result.text and not (xdist.directory / "xdist-fetched").exists()


def test_files_come_back_from_a_run_that_was_stopped(xdist, up):
    xdist.files(
        test_a="""
        import pathlib, pytest

        @pytest.mark.parametrize("n", range(50))
        def test_n(n):
            pathlib.Path(f"{n}.shot").touch()
            assert n != 3
        """
    )
    (there,) = elsewhere(xdist, "there")
    result = xdist.run("-x", "--tx", up.tx(f"chdir={there}", python=PYTHON), "--fetch", "*.shot")
    assert result.code == 2, result.text
    assert files_below(xdist.directory / "xdist-fetched" / "box").keys() >= {"0.shot", "3.shot"}


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_files_come_back_from_a_run_that_was_interrupted(xdist, up, door):
    xdist.files(
        test_a="""
        import pathlib, time

        def test_a():
            pathlib.Path("a.shot").touch()
            signal("there")
            time.sleep(600)
        """
    )
    (there,) = elsewhere(xdist, "there")
    args = ["--tx", up.tx(f"chdir={there}", RECORDER, python=PYTHON), "--dist", "load", "--fetch", "*.shot"]
    started = xdist.start(*args) if door == "run" else xdist.start_pytest(*args)
    assert xdist.signals.next() == "there"
    started.signal(signal.SIGINT)
    result = started.wait()
    assert result.code == 2, result.text
    assert "fetched 1 file (0 bytes) from box into xdist-fetched/box" in result.out


def test_a_machine_that_is_lost_has_its_files_missed_and_says_so(xdist, up):
    xdist.files(
        test_a="""
        import os, pathlib, pytest, time

        @pytest.mark.parametrize("n", range(6))
        def test_n(n):
            if "SSH_CONNECTION" in os.environ:
                pathlib.Path("a.shot").touch()
                signal("there")
                time.sleep(600)
        """
    )
    (there,) = elsewhere(xdist, "there")
    tx = up.tx(f"chdir={there}", python=PYTHON)
    run = xdist.start("--tx", "popen", "--tx", tx, "--max-worker-restart", "0", "--fetch", "*.shot")
    assert xdist.signals.next() == "there"
    (ssh,) = [pid for pid in descendants(run.popen.pid) if name_of(pid) == "ssh"]
    os.kill(ssh, signal.SIGKILL)
    result = run.wait()
    assert result.totals == {"passed": 6}, result.text
    assert "not fetched from box: whatever is there: the connection was lost" in result.out.splitlines()


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "a/../b", "~/x", "", "/"])
def test_patterns_that_lead_out_of_the_directory_are_refused(xdist, pattern):
    xdist.files(test_a=LEAVES_FILES)
    result = xdist.run("-n1", f"--fetch={pattern}")
    assert result.code == 4, result.text
    assert "--fetch" in told(result) and "below the directory of the tests" in told(result)
