"""Measures `xdist run --sync` beside rsync and pytest-xdist's rsync, all over ssh to this machine.

    python tools/bench_sync.py [--rounds 5] [--files 20000] [--large-mib 1024] [--reference PYTHON]

Every contender has a directory copied and then one empty test run in the copy, so that all end with the same: rsync copies with
`rsync -az --delete`, and `xdist run` then finds the tree there. Cases: nothing there yet, nothing changed, one file changed. Rounds are
interleaved; the table has medians of wall time, with the lowest and highest in brackets, and the bytes that went through ssh, counted in
a run of its own. Needs sshd, ssh and rsync; a Python with pytest and pytest-xdist for the reference. Takes up to five times the
size of the large file in the temporary directory, and cleans up.
"""

import argparse
import json
import os
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import suites

sys.path.insert(0, str(suites.ROOT / "tests" / "e2e"))

from sshd import MISSING, Server  # noqa: E402  (from tests/e2e)
from test_sync import COUNT  # noqa: E402

CONTENDERS = ("rsync", "xdist", "pytest-xdist")
CASES = ("nothing there", "nothing changed", "one file changed")


class Bench:
    """A server, a project, and the ways to have it copied there."""

    def __init__(self, directory: Path, options: argparse.Namespace):
        self._options = options
        self._directory = directory
        (directory / "ssh").mkdir()
        self.server = Server(directory / "ssh")
        self.server.start()
        self._count = directory / "count.py"
        self._count.write_text(COUNT)
        self._ssh = directory / "ssh-with-config"
        self.project = directory / "project"

    def command(self, contender: str) -> list[list[str]]:
        """What copies the project and runs its test."""
        there = self._directory / contender
        python = self._options.reference
        config = self.server.config
        xdist = [str(self._options.xdist), "run", "--python", python, "-q", "-p", "no:cacheprovider"]
        where = f"ssh=box//ssh_config={config}//python={python}//chdir={there}"
        if contender == "rsync":
            copy = ["rsync", "-az", "--delete", "-e", str(self._ssh), f"{self.project}", f"box:{there}/"]
            return [copy, [*xdist, "--tx", f"{where}/project", "test_empty.py"]]
        if contender == "xdist":
            return [[*xdist, "--sync", ".", "--tx", where, "test_empty.py"]]
        where = f"ssh=-F {config} box//python={python}//chdir={there}"
        options = ["-q", "-p", "no:cacheprovider", "-d", "--rsyncdir", str(self.project), "--tx", where]
        return [[python, "-m", "pytest", *options, str(self.project / "test_empty.py")]]

    def run(self, contender: str) -> float:
        """The wall time that it takes."""
        self._through("exec ssh")
        begun = time.monotonic()
        self._carry_out(contender)
        return time.monotonic() - begun

    def bytes_of(self, contender: str) -> int:
        """The bytes that go either way through ssh."""
        counts = self._directory / "counts"
        counts.mkdir()
        self._through(f"exec {shlex.quote(sys.executable)} {self._count} {counts}/$$")
        self._carry_out(contender)
        total = sum(sum(json.loads(path.read_text())) for path in counts.iterdir())
        shutil.rmtree(counts)
        return total

    def _through(self, program: str) -> None:
        """Makes everybody start ssh in this way."""
        self._ssh.write_text(
            f'#!/bin/sh\nPATH={shlex.quote(os.environ["PATH"])}\n{program} -F {self.server.config} "$@"\n'
        )
        self._ssh.chmod(0o755)
        path = self._directory / "bin"
        path.mkdir(exist_ok=True)
        # execnet has no option for the program.
        (path / "ssh").write_text(f'#!/bin/sh\nPATH={shlex.quote(os.environ["PATH"])}\n{program} "$@"\n')
        (path / "ssh").chmod(0o755)

    def _carry_out(self, contender: str) -> None:
        for command in self.command(contender):
            env = {**os.environ, "PATH": f"{self._directory / 'bin'}:{os.environ['PATH']}"}
            env["XDIST_CACHE_DIR"] = str(self._directory / "cache")
            done = subprocess.run(command, cwd=self.project, env=env, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{shlex.join(command)} failed:\n{done.stdout}{done.stderr}")

    def forget(self, contender: str) -> None:
        """Removes the copy."""
        shutil.rmtree(self._directory / contender, ignore_errors=True)
        (self._directory / contender).mkdir()


def small_files(project: Path, count: int) -> Path:
    """Files as source trees have them; one of them is the answer."""
    rng = random.Random(1)
    words = [bytes(rng.choices(range(97, 123), k=rng.randint(1, 10))) for _ in range(5000)]
    for number in range(count):
        path = project / f"package{number // 2000}" / f"part{number // 100 % 20}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b" ".join(rng.choices(words, k=rng.randint(10, 900))))
    return path


def large_file(project: Path, mib: int) -> Path:
    """One file that cannot be packed."""
    path = project / "large"
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(random.randbytes(1 << 20))
    return path


def change(path: Path) -> None:
    """Changes a little in the middle of the file."""
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(random.randbytes(16))


def measure(bench: Bench, changing: Path, rounds: int) -> dict[tuple[str, str], tuple[list[float], int]]:
    times: dict[tuple[str, str], list[float]] = {}
    sizes: dict[tuple[str, str], int] = {}
    # Sends the program.
    bench.forget("xdist")
    bench.run("xdist")
    for round_number in range(rounds + 1):
        # The first round counts bytes; with it everything is in the system's caches too.
        for contender in CONTENDERS:
            bench.forget(contender)
        for case in CASES:
            if case == CASES[2]:
                change(changing)
            for contender in CONTENDERS:
                key = (contender, case)
                if round_number == 0:
                    sizes[key] = bench.bytes_of(contender)
                else:
                    times.setdefault(key, []).append(bench.run(contender))
    return {key: (times[key], sizes[key]) for key in times}


def table(title: str, measured: dict[tuple[str, str], tuple[list[float], int]]) -> None:
    print(f"\n| {title} | {' | '.join(CASES)} |\n| --- |{' --- |' * len(CASES)}")
    for contender in CONTENDERS:
        cells = []
        for case in CASES:
            times, size = measured[contender, case]
            cells.append(f"{statistics.median(times):.2f} s ({min(times):.2f}–{max(times):.2f}), {amount(size)}")
        print(f"| {contender} | {' | '.join(cells)} |", flush=True)


def amount(size: int) -> str:
    return f"{size / 1e3:.0f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--reference", default=sys.executable, help="a Python with pytest and pytest-xdist")
    parser.add_argument("--xdist", type=Path, default=suites.ROOT / "target" / "release" / "xdist")
    options = parser.parse_args()
    missing = [*MISSING, *([] if shutil.which("rsync") else ["rsync"])]
    if missing:
        sys.exit(f"not measured: no {' and no '.join(missing)} on this machine")
    for title, make, size in (
        (f"{options.files} small files", small_files, options.files),
        (f"one file of {options.large_mib} MiB", large_file, options.large_mib),
    ):
        with tempfile.TemporaryDirectory(prefix="xdist-bench-sync-") as name:
            directory = Path(name)
            (directory / "project").mkdir()
            (directory / "project" / "pytest.ini").write_text("[pytest]\n")
            (directory / "project" / "test_empty.py").write_text("def test_empty():\n    pass\n")
            bench = Bench(directory, options)
            try:
                changing = make(bench.project, size)
                table(title, measure(bench, changing, options.rounds))
            finally:
                bench.server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
