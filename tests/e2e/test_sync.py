"""Directories that are copied to workers elsewhere: over ssh, to this machine behind a server of the tests' own, and to
another directory."""

import json
import os
import random
import re
import stat
import subprocess

import pytest
from conftest import PYTHON, ROOT
from sshd import box  # noqa: F401  (a fixture)

# What `start_pytest` gives to pytest has to be there too.
RECORDER = f"env:PYTHONPATH={ROOT / 'tools'}"

PLACE = """
    import os

    def test_place(pytestconfig):
        signal(f"{os.getcwd()} {pytestconfig.rootpath} {pytestconfig.inipath} {__file__}")
"""


@pytest.fixture
def up(box):  # noqa: F811
    box.start()
    return box


def run(xdist, door, *args):
    """Runs through `xdist run` or `pytest` with the plugin."""
    return xdist.run(*args) if door == "run" else xdist.start_pytest(*args).wait()


def told(result):
    """What was said, in one line."""
    return " ".join(result.text.split())


def synced(result):
    """What was said of the copies: how many files were written, of how many, and how many bytes travelled."""
    copies = [line for line in result.events if line["$report_type"] == "FilesCopied"]
    return [(copied["written"], copied["files"], copied["bytes"]) for copied in copies]


def copy_of(up, name="suite"):
    """The copy in the cache directory there."""
    (copy,) = up.cache.glob(f"trees/*/{name}")
    return copy


def names(directory):
    """All paths below a directory that are copied."""
    skipped = (".xdist-sync", "__pycache__", ".pytest_cache")
    paths = (path.relative_to(directory) for path in directory.rglob("*"))
    return sorted(str(path) for path in paths if not any(part in skipped for part in path.parts))


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_a_project_is_copied_and_tested_there(xdist, up, door):
    xdist.files(test_a=PLACE)
    result = run(xdist, door, "-v", "--sync", ".", "--dist=load", "--tx", up.tx(RECORDER, count=2, python=PYTHON))
    assert result.code == 0, result.text
    copy = copy_of(up)
    assert xdist.signals.next() == f"{copy} {copy} {copy / 'pytest.ini'} {copy / 'test_a.py'}"
    assert re.search(rf"synced suite to {copy} on box: 3 of 3 files, \d+ bytes, \d+\.\d s", told(result)), result.text


def test_only_what_has_changed_travels(xdist, up):
    xdist.files(test_a=PLACE)
    os.makedirs(xdist.directory / "data" / "deep")
    for number in range(50):
        (xdist.directory / "data" / "deep" / f"f{number}").write_text(f"{number}\n" * number)
    (xdist.directory / "data" / "gone").write_text("gone")
    arguments = ("--sync", ".", "--tx", up.tx(count=2, python=PYTHON))
    result = xdist.run(*arguments)
    assert result.code == 0, result.text
    copy = copy_of(up)
    assert names(copy) == names(xdist.directory)

    result = xdist.run(*arguments)
    assert synced(result) == [(0, 54, 0)]

    # Something new, something else, something gone, something moved, and something made there.
    (xdist.directory / "data" / "new").write_text("new")
    (xdist.directory / "data" / "deep" / "f7").write_text("else")
    (xdist.directory / "data" / "gone").unlink()
    (xdist.directory / "data" / "deep" / "f49").rename(xdist.directory / "f49")
    (copy / "made there").mkdir()
    (copy / "made there" / "x").write_text("x")
    result = xdist.run(*arguments)
    ((written, files, sent),) = synced(result)
    assert (written, files) == (3, 54) and 0 < sent < 3000
    assert names(copy) == names(xdist.directory)
    assert (copy / "data" / "deep" / "f7").read_text() == "else"
    assert (copy / "f49").read_text() == "49\n" * 49


def test_permissions_times_and_links_are_kept(xdist, up, tmp_path):
    xdist.files(test_a=PLACE)
    inside, outside = xdist.directory / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.write_text("outside")
    program = inside / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o751)
    os.utime(program, ns=(1, 1_234_567_890_123_456_789))
    (inside / "relative").symlink_to("../test_a.py")
    (inside / "absolute").symlink_to(xdist.directory / "test_a.py")
    (inside / "away").symlink_to(outside)
    (inside / "dangling").symlink_to("nowhere")
    (inside / os.fsdecode(b"caf\xe9")).write_text("not Unicode")
    os.mkfifo(inside / "pipe")
    modes = {"narrow": 0o750, "read_only": 0o555}
    for name, mode in modes.items():
        (inside / name).mkdir()
        (inside / name / "file").write_text("before")
        (inside / name).chmod(mode)
    arguments = ("--sync", ".", "--tx", up.tx(python=PYTHON))
    result = xdist.run(*arguments)
    assert result.code == 0, result.text
    copy = copy_of(up) / "inside"
    state = (copy / "program").stat()
    assert (stat.S_IMODE(state.st_mode), state.st_mtime_ns) == (0o751, 1_234_567_890_123_456_789)
    links = {path.name: os.readlink(path) for path in copy.iterdir() if path.is_symlink()}
    assert links == {"relative": "../test_a.py", "absolute": "../test_a.py", "away": str(outside), "dangling": "nowhere"}  # fmt: skip
    assert {name: stat.S_IMODE((copy / name).stat().st_mode) for name in modes} == modes
    assert (copy / os.fsdecode(b"caf\xe9")).read_text() == "not Unicode"
    assert not (copy / "pipe").exists()
    (inside / "read_only" / "file").write_text("after")
    result = xdist.run(*arguments)
    assert [written for written, _, _ in synced(result)] == [1], result.text
    assert (copy / "read_only" / "file").read_text() == "after"
    assert {name: stat.S_IMODE((copy / name).stat().st_mode) for name in modes} == modes


def test_ignore_files_count_for_sync_and_not_for_rsyncdir(xdist, tmp_path):
    xdist.files(test_a=PLACE)
    (xdist.directory / ".gitignore").write_text("*.log\n/build/\n!kept.log\n")
    (xdist.directory / ".ignore").write_text("secret\n!wanted.log\n")
    (xdist.scratch / ".gitignore").write_text("above\n")
    for name in ("a.log", "kept.log", "secret", "data.csv", ".hidden", "a~", "wanted.log", "above", "["):
        (xdist.directory / name).write_text(name)
    for name in ("build", ".git", "env"):
        (xdist.directory / name).mkdir()
        (xdist.directory / name / "pyvenv.cfg").write_text("")
    common = ["pytest.ini", "signals_of_suite.py", "test_a.py", "kept.log", "wanted.log"]
    for option, expected in [
        ("--sync", [".gitignore", ".hidden", ".ignore"]),
        ("--rsyncdir", ["above", "a.log", "build", "build/pyvenv.cfg", "env", "env/pyvenv.cfg", "secret"]),
    ]:
        there = tmp_path / option
        patterns = ("--rsyncignore", "*.csv", "--rsyncignore", "[")
        arguments = (option, ".", *patterns, "--tx", f"popen//chdir={there}", "test_a.py")
        result = xdist.run(*arguments)
        assert result.code == 0, result.text
        assert names(there / "suite") == sorted([*common, *expected])


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_a_run_from_within_the_project_starts_in_the_same_place_there(xdist, up, door):
    xdist.files(test_a=PLACE, sub__test_b=PLACE)
    xdist.ini("pythonpath = .")
    root, xdist.directory = xdist.directory, xdist.directory / "sub"
    result = run(xdist, door, "--sync", "..", "--dist=load", "--tx", up.tx(RECORDER, python=PYTHON), "test_b.py")
    assert result.code == 0, result.text
    copy = copy_of(up)
    assert xdist.signals.next() == f"{copy / 'sub'} {copy} {copy / 'pytest.ini'} {copy / 'sub' / 'test_b.py'}"
    assert names(copy) == names(root)


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_settings_are_relative_to_their_file(xdist, up, tmp_path, door):
    xdist.files(sub__test_b=PLACE.replace("signal(", "print("))
    (xdist.directory / "lib").mkdir()
    for name in ("a.txt", "b.bin"):
        (xdist.directory / "lib" / name).write_text(name)
    xdist.ini("rsyncdirs = lib sub\nrsyncignore = *.bin\n")
    (xdist.directory / "sub" / "signals_of_suite.py").write_text("signal = None\n")
    there = tmp_path / "there"
    xdist.directory = xdist.directory / "sub"
    args = ("--dist=load", "--tx", up.tx(f"chdir={there}", RECORDER, python=PYTHON), xdist.directory / "test_b.py")
    result = run(xdist, door, *args)
    assert result.code == 0, result.text
    assert names(there / "lib") == ["a.txt"]
    assert names(there / "sub") == ["signals_of_suite.py", "test_b.py"]


def test_options_may_stand_in_addopts(xdist, up):
    xdist.files(test_a=PLACE)
    xdist.ini(f"addopts = --sync . --tx {up.tx(python=PYTHON)}")
    result = xdist.run()
    assert result.code == 0, result.text
    assert xdist.signals.next().startswith(str(copy_of(up)))


def test_a_directory_that_no_copying_has_made_is_left_alone(xdist, tmp_path):
    xdist.files(test_a=PLACE)
    theirs = tmp_path / "there" / "suite" / "precious"
    theirs.mkdir(parents=True)
    (theirs / "file").write_text("precious")
    for door in ("run", "pytest"):
        result = run(xdist, door, "--sync", ".", "--dist=load", "--tx", f"popen//chdir={tmp_path / 'there'}")
        assert result.code == 3, result.text
        assert f'"{tmp_path / "there" / "suite"}" is there already, and is no copy that xdist has made' in told(result)
    assert (theirs / "file").read_text() == "precious"
    assert os.listdir(tmp_path / "there" / "suite") == ["precious"]


def test_what_is_in_the_way_is_named(xdist, up, tmp_path):
    xdist.files(test_a=PLACE)
    (tmp_path / "file").write_text("")
    result = xdist.run("--sync", ".", "--tx", up.tx(f"chdir={tmp_path / 'file' / 'dir'}", python=PYTHON))
    assert result.code == 3, result.text
    reason = told(result)
    assert (
        f'[the worker host on box] host lost: cannot make the directory "{tmp_path / "file" / "dir"}": Not a directory'
        in reason
    )
    assert "name another directory with chdir=" in reason


def test_a_full_disk_is_told_and_leaves_the_copy_as_it_was(xdist, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", there], capture_output=True).returncode:
        pytest.skip("not run: no file system can be mounted here")
    try:
        xdist.files(test_a=PLACE)
        arguments = ("--sync", ".", "--tx", f"popen//chdir={there}")
        assert xdist.run(*arguments).code == 0
        before = names(there / "suite")
        (xdist.directory / "large").write_bytes(random.randbytes(2 << 20))
        result = xdist.run(*arguments)
        assert result.code == 3, result.text
        assert "No space left on device" in told(result) and "make room there" in told(result)
        assert names(there / "suite") == before
    finally:
        subprocess.run(["umount", there], check=True)


MISSING = "there is no such directory here; name one that is, or leave this out"
NO_DIRECTORY = "this is no directory, and only directories are copied; name the directory that it is in"


@pytest.mark.parametrize("door", ["run", "pytest"])
@pytest.mark.parametrize(
    "settings, args, reason",
    [
        ("", ["--sync", "missing"], f"--sync missing: {MISSING}"),
        ("", ["--rsyncdir", "test_a.py/x"], f"--rsyncdir test_a.py/x: {MISSING}"),
        ("", ["--sync=test_a.py"], f"--sync test_a.py: {NO_DIRECTORY}"),
        # pytest has to be asked what its settings say, and is not to say it as well.
        ("rsyncignore = *.bin", ["--rsyncdir=test_a.py"], f"--rsyncdir test_a.py: {NO_DIRECTORY}"),
        ("rsyncdirs = . missing", [], f"the setting rsyncdirs, {{}}/missing: {MISSING}"),
        ("rsyncdirs = test_a.py", ["--sync=."], f"the setting rsyncdirs, {{}}/test_a.py: {NO_DIRECTORY}"),
    ],
)
def test_what_cannot_be_copied_is_a_usage_error_of_one_line(xdist, tmp_path, door, settings, args, reason):
    xdist.files(test_a=PLACE)
    xdist.ini(settings)
    result = run(xdist, door, *args, "--dist=load", "--tx", f"popen//chdir={tmp_path / 'there'}")
    assert result.code == 4, result.text
    # pytest has said already where it is.
    errors = [line for line in result.text.splitlines() if line and (door == "run" or "error" in line.lower())]
    prefix = "xdist: error:" if door == "run" else "ERROR:"
    assert errors == [f"{prefix} {reason.format(xdist.directory)}"], result.text


def test_what_cannot_be_copied_is_a_usage_error_where_addopts_name_the_workers(xdist, tmp_path):
    xdist.files(test_a=PLACE)
    for name, reason in [("missing", MISSING), ("test_a.py", NO_DIRECTORY)]:
        xdist.ini(f"addopts = --sync {name} --tx popen//chdir={tmp_path / 'there'}")
        result = xdist.run()
        assert result.code == 4, result.text
        assert told(result).count("--sync") == 1 and f"ERROR: --sync {name}: {reason}" in result.text, result.text


def test_directories_of_one_name_are_a_usage_error(xdist, up):
    xdist.files(test_a=PLACE)
    (xdist.directory / "suite").mkdir()
    result = xdist.run("--sync", ".", "--sync", "suite", "--tx", up.tx(python=PYTHON))
    assert result.code == 4, result.text
    assert "would be copied to the same place" in told(result)


def test_workers_here_need_no_copies(xdist):
    xdist.files(test_a=PLACE)
    result = xdist.run("-n2", "--sync", ".")
    assert result.code == 0, result.text
    assert synced(result) == []
    assert xdist.signals.next().startswith(f"{xdist.directory} ")


def test_a_copying_that_is_cut_off_leaves_whole_files_and_is_gone_on_with(xdist, tmp_path):
    xdist.files(test_a=PLACE)
    large, there = xdist.directory / "large", tmp_path / "there"
    copy = there / "suite"
    old, new = random.randbytes(1000), random.randbytes(64 << 20)
    large.write_bytes(old)
    (xdist.directory / "first").write_text("before")
    arguments = ("--sync", ".", "--tx", f"popen//chdir={there}")
    assert xdist.run(*arguments).code == 0

    large.write_bytes(new)
    (xdist.directory / "first").write_text("after")
    # In the middle, the system kills whoever writes more than that into one file.
    most = 16 << 20
    result = xdist.run(*arguments, on=lambda command: ["prlimit", f"--fsize={most}", "--core=0", *command])
    assert result.code == 3, result.text
    staging = copy / ".xdist-sync" / "new"
    assert max(path.stat().st_size for path in staging.iterdir()) == most
    assert (copy / "large").read_bytes() == old and (copy / "first").read_text() == "before"

    result = xdist.run(*arguments)
    assert result.code == 0, result.text
    assert (copy / "large").read_bytes() == new and (copy / "first").read_text() == "after"
    assert list(staging.iterdir()) == []


def test_a_second_copying_of_many_files_costs_next_to_nothing(xdist, up, tmp_path):
    """Counted where ssh is started: everything that goes either way, with the workers' own messages."""
    xdist.files(test_a="def test_a(): pass")
    for directory in range(20):
        (xdist.directory / f"d{directory}").mkdir()
        for file in range(100):
            (xdist.directory / f"d{directory}" / f"f{file}").write_text(f"{directory} {file}")
    count = tmp_path / "count.py"
    count.write_text(COUNT)
    sizes = []
    for _ in range(2):
        for arguments in (("--sync", "."), ()):
            where = up.tx(python=PYTHON) if arguments else up.tx(f"chdir={copy_of(up)}", python=PYTHON)
            result = xdist.run("--tx", where, *arguments, "test_a.py", XDIST_SSH=f"{PYTHON} {count}")
            assert result.code == 0, result.text
            sizes.append(sum(json.loads(xdist.signals.next())))
    _, _, second, without = sizes
    assert abs(second - without) < 2000, "2000 files, at 1 kB for each 1000"


#: In place of ssh: runs it, and counts the bytes of its standard input and output.
COUNT = """
import json, os, subprocess, sys, threading

ssh = subprocess.Popen(["ssh", *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
counts = [0, 0]

def relay(source, target, which):
    while data := source.read(65536):
        counts[which] += len(data)
        target.write(data)
        target.flush()
    target.close()

def end(): relay(sys.stdin.buffer.raw, ssh.stdin, 0)
threading.Thread(target=end, daemon=True).start()
relay(ssh.stdout, sys.stdout.buffer, 1)
code = ssh.wait()
with open(os.environ["SIGNALS"], "w") as told:
    told.write(json.dumps(counts) + "\\n")
sys.exit(code)
"""
