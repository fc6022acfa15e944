"""Real test suites from PyPI: fetched at a pinned version, each with an environment of its own that can run it."""

import subprocess
import sys
import tarfile
import venv
import zipfile
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
    # Whether the tests are taken from the wheel, because the source would have to be compiled.
    from_wheel: bool = False
    # Why tests of this suite may differ between two runs, for whoever reads a long list of them.
    note: str = ""


SUITES = {
    "attrs": Suite("26.1.0", requirements=("hypothesis==6.170.15", "cloudpickle==3.1.2")),
    "click": Suite("8.5.1"),
    "jinja2": Suite("3.1.6", requirements=("trio==0.35.0",)),
    "more-itertools": Suite("11.2.1", subset=("tests/test_recipes.py",)),
    "numpy": Suite(
        "2.3.5",
        args=("numpy/ma/tests",),
        requirements=("hypothesis==6.170.15",),
        from_wheel=True,
    ),
    "networkx": Suite("3.6.1", args=("networkx",), subset=("networkx/algorithms/centrality", "networkx/classes")),
    "packaging": Suite(
        "26.3",
        requirements=("hypothesis==6.170.15", "pretend==1.0.9", "tomli-w==1.2.0"),
        subset=("tests/test_markers.py", "tests/test_tags.py", "tests/test_metadata.py"),
    ),
    "sympy": Suite(
        "1.14.0",
        args=("sympy/core/tests",),
        requirements=("hypothesis==6.170.15",),
        # All of sympy/core takes minutes.
        subset=tuple(
            f"sympy/core/tests/test_{name}.py"
            for name in (
                "basic",
                "expand",
                "symbol",
                "numbers",
                "function",
                "power",
                "relational",
                "sympify",
                "subs",
                "containers",
                "eval",
                "exprtools",
                "logic",
                "match",
            )
        ),
    ),
}


@dataclass
class Prepared:
    """A suite that is ready to run."""

    name: str
    source: Path
    python: Path
    args: tuple[str, ...]
    # What its environment has beside the runner: requirements, and the suite's own package.
    requirements: tuple[str, ...] = ()

    def environment(self, tail: str, *runner: str) -> Path:
        """Another environment for this suite, with another runner; gives its interpreter."""
        home = self.python.parent.parent
        return environment(home.with_name(home.name + tail), (*runner, *self.requirements))


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


def prepare(name: str, *, subset: bool = False, extra: tuple[str, ...] = (), tail: str = "") -> Prepared:
    """Fetches, unpacks and installs a suite under `.cache/`, as far as that has not been done.

    `extra` is installed beside pytest, and `tail` then tells the environment from others of that suite.
    """
    suite = SUITES[name]
    source = _wheel(name, suite.version) if suite.from_wheel else _source(name, suite.version)
    requirements = (*suite.requirements, f"{name}=={suite.version}" if suite.from_wheel else str(source))
    python = environment(CACHE / "venvs" / f"{name}-{suite.version}{tail}", (PYTEST, *extra, *requirements))
    return Prepared(name, source, python, suite.subset if subset and suite.subset else suite.args, requirements)


def _wheel(name: str, version: str) -> Path:
    """The unpacked wheel for this interpreter."""
    home = CACHE / "sources" / f"{name}-{version}-{sys.implementation.cache_tag}"
    ready = home / ".unpacked"
    if not ready.exists():
        home.mkdir(parents=True, exist_ok=True)
        _download(name, version, home, "--only-binary")
        with zipfile.ZipFile(next(home.glob("*.whl"))) as archive:
            archive.extractall(home)
        ready.touch()
    return home


def _source(name: str, version: str) -> Path:
    """The unpacked source distribution."""
    home = CACHE / "sources" / f"{name}-{version}"
    ready = home / ".unpacked"
    if not ready.exists():
        home.mkdir(parents=True, exist_ok=True)
        _download(name, version, home, "--no-binary")
        archive = next(home.glob("*.tar.gz"))
        with tarfile.open(archive) as tar:
            # Python 3.11.2, which Debian 12 has, knows no filters.
            tar.extractall(home, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        ready.touch()
    return next(path for path in home.iterdir() if path.is_dir())


def _download(name: str, version: str, home: Path, kind: str) -> None:
    _run([
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        kind, ":all:", "--dest", home, f"{name}=={version}",
    ])  # fmt: skip


def _run(command: list) -> None:
    subprocess.run([str(part) for part in command], check=True, stdin=subprocess.DEVNULL)
