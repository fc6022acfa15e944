"""The pytest plugin that takes pytest-xdist's place: options, hooks, fixtures and the marker, by the same names."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Optional

import pytest

from . import compat, fixtures, hookspecs, options, resources

if TYPE_CHECKING:
    from collections.abc import Generator


class XdistPlugin:
    """Registered before any installed plugin is loaded, under the name that pytest-xdist's entry point has.

    pytest skips an entry point whose name is taken, so an installed pytest-xdist is never loaded, and the options in
    everyone's `addopts` are understood whether it is installed or not.
    """

    # pytest registers a plugin object under its `__name__`.
    __name__ = "xdist"

    def __init__(self, default_workers: Optional[str] = None) -> None:
        """`default_workers` is what no `-n` means."""
        self._default_workers = default_workers
        self._has_options = False
        # A part of pytest-xdist that `-p no:xdist` leaves there.
        self._has_looponfail = False

    @pytest.hookimpl
    def pytest_addhooks(self, pluginmanager: pytest.PytestPluginManager) -> None:
        """Defines hooks and fixtures, and takes the names of pytest-xdist's modules, for `-p xdist.plugin`."""
        compat.install()
        _served.add(pluginmanager)
        self._has_looponfail = pluginmanager.has_plugin("xdist.looponfail")
        pluginmanager.add_hookspecs(hookspecs)
        pluginmanager.register(fixtures, "xdist.fixtures")
        for name in ("xdist.plugin", "xdist.looponfail"):
            if not pluginmanager.has_plugin(name):
                pluginmanager.register(Placeholder(), name)

    @pytest.hookimpl
    def pytest_addoption(self, parser: pytest.Parser) -> None:
        """Defines the options."""
        if not self._has_options:
            self._has_options = True
            add_options(parser, self._default_workers, has_looponfail=self._has_looponfail)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(
        self, early_config: pytest.Config, parser: pytest.Parser, args: list[str]
    ) -> Generator[None, None, None]:
        """Defines the options of `_YIELDING` as far as no plugin and no conftest has any of these names."""
        for name, (_, pattern) in _YIELDING.items():
            if not options.is_defined(parser, name):
                options.forget_value(early_config.known_args_namespace.file_or_dir, args, name, pattern)
        yield
        for name, (add, _) in _YIELDING.items():
            if not options.is_defined(parser, name):
                add(parser, name)

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Describes the markers, and sees to tests that run again where nothing is distributed."""
        compat.configs.append(config)
        config.addinivalue_line(
            "markers",
            "xdist_group(name): run all tests of the same group on one worker. Provided by xdist.",
        )
        for line in resources.MARKERS:
            config.addinivalue_line("markers", line)
        if config.option.testretries:
            # Most sessions need none of it.
            from . import plainretries

            plainretries.install(config)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Ends what `pytest_configure` began."""
        if config in compat.configs:
            compat.configs.remove(config)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Reports marks with wrong arguments, which plugins may have set too."""
        resources.take_out_faulty(config, items)

    @pytest.hookimpl(trylast=True)
    def pytest_xdist_auto_num_workers(self, config: pytest.Config) -> int:
        """The answer where no conftest or plugin has one."""
        return options.count_processors(logical=config.option.numprocesses == "logical")


def is_served(pluginmanager: pytest.PytestPluginManager) -> bool:
    """Whether a plugin of ours has been registered there, even if `-p no:xdist` took it out again."""
    return pluginmanager in _served


def register_anew(pluginmanager: pytest.PytestPluginManager, plugin: XdistPlugin) -> None:
    """Registers our plugin although `-p no:xdist` says not to: it is meant to keep pytest-xdist away."""
    if not pluginmanager.has_plugin("xdist"):
        # pluggy has a method for it only since 1.4.
        pluginmanager._name2plugin.pop("xdist", None)
        pluginmanager.register(plugin, "xdist")


_served: weakref.WeakSet[pytest.PytestPluginManager] = weakref.WeakSet()


class Placeholder:
    """A plugin that does nothing but hold a name."""


class PlainPlugin:
    """For a session that is not distributed: makes that plain to other plugins."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Optional[int]:
        """As pytest-xdist with `-n 0`."""
        if hasattr(config.option, "numprocesses"):
            config.option.numprocesses = 0
            config.option.dist = "no"
            config.option.distload = False
            config.option.tx = []
        return None

    @pytest.hookimpl
    def pytest_report_header(self, config: pytest.Config) -> Optional[str]:
        """Says what has no effect."""
        return options.unheeded(config)


def auto_workers(config: pytest.Config) -> int:
    """What `-n auto` stands for, or `-n logical` if that is the option given."""
    given = config.option.numprocesses
    if not isinstance(given, str):
        config.option.numprocesses = "auto"
    try:
        count: Any = config.hook.pytest_xdist_auto_num_workers(config=config)
    finally:
        config.option.numprocesses = given
    return max(0, int(count or 0))


def add_options(parser: pytest.Parser, default_workers: Optional[str] = None, has_looponfail: bool = False) -> None:
    """Defines pytest-xdist's command line options and settings."""
    group = parser.getgroup("xdist", "distributed testing")
    # Small letters are for pytest itself, hence the private method for two of them.
    group._addoption(
        "-n",
        "--numprocesses",
        dest="numprocesses",
        metavar="N",
        type=options.worker_count,
        default=None if default_workers is None else options.DefaultText(default_workers),
        help="Number of workers. 'auto' is one per physical processor, 'logical' one per logical processor, 0 does "
        "not distribute.",
    )
    group.addoption(
        "--maxprocesses",
        dest="maxprocesses",
        metavar="N",
        type=options.natural,
        help="Largest number of workers, whatever -n says.",
    )
    group.addoption(
        "--max-worker-restart",
        dest="maxworkerrestart",
        metavar="N",
        type=options.natural,
        help="Number of crashed workers that are replaced; 0 replaces none.",
    )
    group.addoption(
        "--dist",
        dest="dist",
        metavar="MODE",
        choices=list(options.DIST_MODES),
        default=options.DefaultText("no"),
        help="How tests are handed out: each test to every worker (each), in portions (load), by class or module "
        "(loadscope), by file (loadfile), by xdist_group mark (loadgroup), in equal shares that idle workers take "
        "from (worksteal), not at all (no).",
    )
    group.addoption(
        "--loadscope-reorder",
        dest="loadscopereorder",
        action="store_const",
        const=True,
        default=None,
        help="With loadscope, loadfile and loadgroup, hand out the largest groups first (default).",
    )
    group.addoption(
        "--no-loadscope-reorder",
        dest="loadscopereorder",
        action="store_const",
        const=False,
        help="With loadscope, loadfile and loadgroup, keep the order of collection.",
    )
    _add_environment_options(group)
    _add_joining_options(group)
    group.addoption(
        "--testrunuid",
        dest="testrunuid",
        metavar="ID",
        help="Name of the run, the value of the fixture testrun_uid (default: a new one for every run).",
    )
    group.addoption(
        "--maxschedchunk",
        dest="maxschedchunk",
        metavar="N",
        type=options.positive,
        help="Largest number of tests that --dist=load hands out at once.",
    )
    group.addoption(
        "--durations-from",
        dest="durationsfrom",
        metavar="FILE",
        help="Take what tests took in earlier runs from this file, which is not written, instead of the cache.",
    )
    group.addoption(
        "--ramp",
        dest="ramp",
        metavar="DURATION",
        type=options.duration_ms,
        default=0,
        help="Spread the first tests of the workers over this time, for example 10, 10s, 5m or 1h.",
    )
    for name, (add, _) in _YIELDING.items():
        add(parser, name.replace("--", "--test-"))
    group.addoption(
        "--slow-after",
        dest="slowafter",
        metavar="SECONDS",
        type=options.duration_ms,
        default=60_000,
        help="Say so of a test that takes longer than this, and again each time that the time has doubled (default: 60; 0: "
        "never).",
    )
    group.addoption(
        "--max-tests-per-worker",
        dest="maxtestsperworker",
        metavar="N",
        type=options.positive,
        default=None,
        help="Replace every worker by a new one after so many tests.",
    )
    group.addoption(
        "--worker-memory-limit",
        dest="workermemorylimit",
        metavar="SIZE",
        type=options.memory_kib,
        default=None,
        help="Replace a worker by a new one when it has more memory than this after a test: bytes, a number with K, M or G, or "
        "a percentage of the memory that there is (Linux).",
    )
    group.addoption(
        "--start",
        dest="start",
        metavar="HOW",
        choices=["auto", "fork", "spawn"],
        default="auto",
        help="How workers come up: by forks from one that has collected (fork), each by itself (spawn), by forks where "
        "nobody can tell the difference (auto, the default).",
    )
    group.addoption(
        "--no-freeze",
        dest="freeze",
        action="store_false",
        default=True,
        help="Let Python's garbage collector go through all that was imported and collected during the tests too.",
    )
    group.addoption(
        "--isolate",
        dest="isolate",
        action="store_true",
        default=False,
        help="Run every test in a process of its own, forked from a worker that has collected.",
    )
    if not has_looponfail:
        group._addoption(
            "-f",
            "--looponfail",
            dest="looponfail",
            action="store_true",
            default=False,
            help="Not supported.",
        )
        parser.addini("looponfailroots", "Not supported.", type="paths")
    parser.addini("rsyncdirs", "Directories to copy to other machines.", type="paths")
    parser.addini("rsyncignore", "Patterns of files that are not copied to other machines.", type="paths")


def add_timeout(parser: pytest.Parser, name: str) -> None:
    """Defines the time limit of tests under this name, of which it has two where both are free."""
    parser.getgroup("xdist").addoption(
        name,
        dest="testtimeout",
        metavar="SECONDS",
        type=options.seconds,
        default=None,
        help="Fail every test that takes longer than this, setup and teardown included, whatever it is doing, and go on "
        "in another process (0: no limit, the default).",
    )


def add_retries(parser: pytest.Parser, name: str) -> None:
    """Defines under this name how often tests run again, of which it has two where both are free."""
    parser.getgroup("xdist").addoption(
        name,
        dest="testretries",
        metavar="N",
        type=options.natural,
        default=0,
        help="Run every test that fails, crashes or takes too long again, up to N times, on another worker if there is one "
        "(default: 0).",
    )


def add_flaky(parser: pytest.Parser, name: str) -> None:
    """Defines under this name what flaky tests mean, of which it has two where both are free."""
    parser.getgroup("xdist").addoption(
        name,
        dest="flakyresult",
        metavar="RESULT",
        choices=["pass", "fail"],
        default="pass",
        help="What becomes of a run with tests that did not fail only when --retries ran them again: pass (the default) or fail, "
        "with exit code 1.",
    )


#: Options that others have too: they yield to them, and are always there with `test-` before the name. With each, what
#: defines it, and what its values look like.
_YIELDING = {
    "--timeout": (add_timeout, r"[0-9.]+[smh]?"),
    "--retries": (add_retries, r"[0-9]+"),
    "--flaky": (add_flaky, r"pass|fail"),
}


def _add_joining_options(group: Any) -> None:
    """Options that the coordinator alone looks at, on its command line."""
    group.addoption(
        "--listen",
        dest="listen",
        action="append",
        default=[],
        metavar="[HOST:]PORT",
        help="Let workers join this run, with xdist worker --join FILE. A port alone is for this machine only.",
    )
    group.addoption(
        "--advertise",
        dest="advertise",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="Where others reach this machine, if that is not where it listens.",
    )
    group.addoption("--join-file", dest="joinfile", metavar="FILE", help="Where to write what lets workers join.")
    group.addoption(
        "--min-workers",
        dest="minworkers",
        type=options.positive,
        metavar="N",
        help="Begin with the tests when there are so many workers, where others may join (default: 1).",
    )
    group.addoption(
        "--wait-for-workers",
        dest="waitforworkers",
        type=options.duration_ms,
        metavar="DURATION",
        help="How long to wait for workers that may join (default: 5m).",
    )
    group.addoption(
        "--host-timeout",
        dest="hosttimeout",
        type=options.duration_ms,
        metavar="DURATION",
        help="Give up a machine that is silent for so long, and run its tests elsewhere (default: 15s).",
    )


def _add_environment_options(group: Any) -> None:
    group.addoption(
        "--tx",
        dest="tx",
        action="append",
        default=[],
        metavar="SPEC",
        help="Where to run a worker, for example popen//python=python3.12 or ssh=user@host//chdir=work; 3*SPEC is "
        "three of them. slurm=2//cpus=4 has Slurm start workers on 2 nodes.",
    )
    group.addoption(
        "--px",
        dest="px",
        action="append",
        default=[],
        metavar="SPEC",
        help="A host that others are reached through (via=).",
    )
    group.addoption(
        "--fetch",
        dest="fetch",
        action="append",
        type=options.fetched,
        default=[],
        metavar="GLOB",
        help="When the run is over, get the files back that fit this from other machines (ssh=): relative to the "
        "directory of the tests there, for example 'shots/**/*.png' or '.coverage*'. May be repeated.",
    )
    group.addoption(
        "--fetch-to",
        dest="fetchto",
        metavar="DIR",
        default=None,
        help="Where --fetch puts them, each machine's into a directory of its own (default: xdist-fetched).",
    )
    group._addoption("-d", dest="distload", action="store_true", default=False, help="The same as --dist=load.")
    group.addoption(
        "--sync",
        dest="syncdir",
        action="append",
        default=[],
        metavar="DIR",
        help="A directory to copy to workers elsewhere, without what its ignore files name; . for this one.",
    )
    group.addoption(
        "--rsyncdir",
        dest="rsyncdir",
        action="append",
        default=[],
        metavar="DIR",
        help="A directory to copy to other machines.",
    )
    group.addoption(
        "--rsyncignore",
        dest="rsyncignore",
        action="append",
        default=[],
        metavar="GLOB",
        help="A pattern of files that are not copied to other machines.",
    )
