"""Real test suites from PyPI: fetched at a pinned version, each with an environment of its own that can run it."""

import subprocess
import sys
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
PYTEST = "pytest==9.2.0"
PYTEST_XDIST = "pytest-xdist==3.8.0"


@dataclass(frozen=True)
class Suite:
    """How to get a suite and what to run in it."""

    version: str
    # What pytest is given, relative to the unpacked source.
    args: tuple[str, ...] = ("tests",)
    # What --subset gives it instead: a minute's worth on two cores for all modes together.
    subset: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    # Why tests of this suite may differ between two runs, for whoever reads a long list of them.
    note: str = ""


SUITES = {
    "attrs": Suite("26.1.0", requirements=("hypothesis==6.170.15", "cloudpickle==3.1.2")),
    "click": Suite("8.5.1"),
    "jinja2": Suite("3.1.6", requirements=("trio==0.35.0",)),
    "more-itertools": Suite("11.2.1", subset=("tests/test_recipes.py",)),
    "networkx": Suite("3.6.1", args=("networkx",), subset=("networkx/algorithms/centrality", "networkx/classes")),
    "packaging": Suite(
        "26.3",
        requirements=("hypothesis==6.170.15", "pretend==1.0.9", "tomli-w==1.2.0"),
        subset=("tests/test_markers.py", "tests/test_tags.py", "tests/test_metadata.py"),
    ),
}


@dataclass
class Prepared:
    """A suite that is ready to run."""

    name: str
    source: Path
    python: Path
    args: tuple[str, ...]


def environment(path: Path, requirements: tuple[str, ...]) -> Path:
    """A virtual environment at `path` with the requirements in it; gives its interpreter. Made once."""
    python = path / "bin" / "python"
    wanted = "\n".join((f"python {sys.version_info.major}.{sys.version_info.minor}", *requirements))
    done = path / "requirements.txt"
    if not (done.exists() and done.read_text() == wanted):
        venv.create(path, clear=True, with_pip=True, symlinks=True)
        _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
        done.write_text(wanted)
    return python


def prepare(name: str, *, subset: bool = False, with_pytest_xdist: bool = False) -> Prepared:
    """Fetches, unpacks and installs a suite under `.cache/`, as far as that has not been done."""
    suite = SUITES[name]
    source = _source(name, suite.version)
    tail = "-xdist" if with_pytest_xdist else ""
    extra = (PYTEST_XDIST,) if with_pytest_xdist else ()
    python = environment(
        CACHE / "venvs" / f"{name}-{suite.version}{tail}", (PYTEST, *extra, *suite.requirements, str(source))
    )
    return Prepared(name, source, python, suite.subset if subset and suite.subset else suite.args)


def _source(name: str, version: str) -> Path:
    """The unpacked source distribution."""
    home = CACHE / "sources" / f"{name}-{version}"
    ready = home / ".unpacked"
    if not ready.exists():
        home.mkdir(parents=True, exist_ok=True)
        _run([
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--no-binary", ":all:", "--dest", home, f"{name}=={version}",
        ])  # fmt: skip
        archive = next(home.glob("*.tar.gz"))
        with tarfile.open(archive) as tar:
            # Python 3.11.2, which Debian 12 has, knows no filters.
            tar.extractall(home, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        ready.touch()
    return next(path for path in home.iterdir() if path.is_dir())


def _run(command: list) -> None:
    subprocess.run([str(part) for part in command], check=True, stdin=subprocess.DEVNULL)
