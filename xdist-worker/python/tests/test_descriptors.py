"""Which descriptors stand in the way of a fork, and how a forked process gets its own. In processes of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from harness import HALF, PYTHON

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="for Linux only")


def python(code: str, directory: Path) -> str:
    """What the code prints."""
    prelude = (
        f"import fcntl, mmap, os, socket, sys, tempfile\nsys.path.insert(0, {HALF!r})\n"
        "from xdist_pytest import descriptors\nknown = descriptors.inventory()\n"
    )
    done = subprocess.run(
        [PYTHON, "-c", prelude + textwrap.dedent(code)], cwd=directory, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("opening", "problem"),
    [
        ("None", "None"),
        ("open('new', 'w')", "None"),
        ("open('new', 'a+')", "None"),
        ("open(sys.executable, 'rb')", "None"),
        ("open('/dev/null', 'r+')", "None"),
        ("open('/dev/urandom', 'rb')", "None"),
        ("os.open('.', os.O_RDONLY)", "None"),
        ("tempfile.TemporaryFile()", "None"),
        ("open('new', 'w+')", "a file is open for reading and writing"),
        ("tempfile.NamedTemporaryFile()", "a file is open for reading and writing"),
        ("os.memfd_create('mine')", "a file is open for reading and writing: /memfd:mine"),
        ("open('new', 'w'); fcntl.flock(opened, fcntl.LOCK_EX)", "a file is locked"),
        ("open('new', 'w'); fcntl.lockf(opened, fcntl.LOCK_EX)", "a file is locked"),
        ("socket.socketpair()", "a socket is open"),
        ("os.pipe()", "a pipe is open"),
        ("os.open('/dev/ptmx', os.O_RDWR)", "a device is open: /dev/ptmx"),
        ("__import__('select').epoll()", "this is open: anon_inode:"),
    ],
)
def test_what_two_processes_cannot_share(tmp_path: Path, opening: str, problem: str) -> None:
    assert python(f"opened = {opening}\nprint(descriptors.problem(known))", tmp_path).startswith(problem)


def test_what_was_known_before_does_not_count(tmp_path: Path) -> None:
    assert python("opened = os.pipe()\nprint(descriptors.problem(descriptors.inventory()))", tmp_path) == "None"


@pytest.mark.parametrize(
    ("mapping", "shared"),
    [
        ("None", 0),
        ("mmap.mmap(-1, 4096)", 1),
        ("mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)", 0),
        ("mmap.mmap(os.open(sys.executable, os.O_RDONLY), 4096, access=mmap.ACCESS_READ)", 0),
        ("__import__('multiprocessing').Lock()", 1),
        ("__import__('multiprocessing').RawValue('i')", 1),
    ],
)
def test_memory_that_two_processes_would_share(tmp_path: Path, mapping: str, shared: int) -> None:
    code = f"before = descriptors.shared_memory()\nmapped = {mapping}\nprint(len(descriptors.shared_memory() - before))"
    assert python(code, tmp_path) == str(shared)


def test_positions_in_files_become_private(tmp_path: Path) -> None:
    code = """
    with open("lines", "w") as lines:
        lines.write("one two three")
    lines = os.open("lines", os.O_RDONLY)
    os.read(lines, 4)
    done, tell = os.pipe()
    if os.fork() == 0:
        descriptors.make_files_private()
        os.read(lines, 4)
        os.write(tell, os.read(lines, 5))
        os._exit(0)
    os.wait()
    print(os.read(done, 10), os.read(lines, 3))
    """
    assert python(code, tmp_path) == "b'three' b'two'"


def test_files_without_a_name_are_copied_with_their_position(tmp_path: Path) -> None:
    code = """
    unnamed = tempfile.TemporaryFile()
    file = unnamed.fileno()
    os.write(file, b"common")
    if os.fork() == 0:
        descriptors.make_files_private()
        os.write(file, b" child")
        print(os.pread(file, 100, 0), flush=True)
        os._exit(0)
    os.wait()
    print(os.pread(file, 100, 0))
    """
    assert python(code, tmp_path) == "b'common child'\nb'common'"


def test_duplicates_stay_duplicates(tmp_path: Path) -> None:
    code = """
    unnamed = tempfile.TemporaryFile()
    file = unnamed.fileno()
    duplicate = os.dup(file)
    os.set_inheritable(duplicate, True)
    name = f"/proc/self/fd/{file}"
    other = os.open(name, os.O_RDWR)
    descriptors.make_files_private()
    os.write(file, b"a")
    os.write(duplicate, b"b")
    print(os.pread(file, 100, 0), os.lseek(other, 0, os.SEEK_CUR))
    print(os.get_inheritable(file), os.get_inheritable(duplicate))
    """
    assert python(code, tmp_path) == "b'ab' 0\nFalse True"


def test_a_file_that_cannot_be_opened_again_is_left_alone(tmp_path: Path) -> None:
    code = """
    file = os.open("gone", os.O_CREAT | os.O_WRONLY)
    descriptors._open_again = lambda descriptor: os.open("/nowhere/at/all", os.O_RDONLY)
    descriptors.make_files_private()
    print(os.write(file, b"still open"))
    """
    assert python(code, tmp_path) == "10"


def test_flags_are_kept(tmp_path: Path) -> None:
    code = """
    file = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    before = fcntl.fcntl(file, fcntl.F_GETFL)
    descriptors.make_files_private()
    print(fcntl.fcntl(file, fcntl.F_GETFL) == before)
    """
    assert python(code, tmp_path) == "True"


def test_every_descriptor_of_a_pipe_is_found(tmp_path: Path) -> None:
    code = """
    copy = os.dup(1)
    reader, writer = os.pipe()
    print(descriptors.all_of(descriptors.identity(1)) == [1, copy], descriptors.all_of(None))
    """
    assert python(code, tmp_path) == "True []"
