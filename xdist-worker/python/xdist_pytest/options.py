"""What the parsed options mean: for the run, for output, and for this worker."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any, Optional, Union

from . import memory

if TYPE_CHECKING:
    import pytest

DIST_MODES = ("each", "load", "loadscope", "loadfile", "loadgroup", "worksteal", "no")

#: What only the coordinator looks at, before any configuration file is read.
_COMMAND_LINE_ONLY = {
    "listen": "--listen",
    "advertise": "--advertise",
    "joinfile": "--join-file",
    "minworkers": "--min-workers",
    "waitforworkers": "--wait-for-workers",
    "hosttimeout": "--host-timeout",
}

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
#: What `-n auto` sets aside for a worker: a suite of some size that imports a few large libraries.
_WORKER_KIB = 256 << 10
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


class DefaultText(str):
    """A default value that can be told from the same text given by the user."""

    __slots__ = ()


def worker_count(text: str) -> Union[int, str]:
    """`-n`: a number of workers, `auto` or `logical`."""
    if isinstance(text, DefaultText):
        # argparse converts defaults too.
        return text
    if text in ("auto", "logical"):
        return text
    return _number(text, "a number of workers, 'auto' or 'logical'")


def natural(text: str) -> int:
    """A number that is not negative."""
    return _number(text, "a number that is not negative")


def positive(text: str) -> int:
    """A number greater than 0."""
    number = _number(text, "a number greater than 0")
    if number == 0:
        raise argparse.ArgumentTypeError("expected a number greater than 0, not '0'")
    return number


def duration_ms(text: str) -> int:
    """Seconds, or a number with the unit `s`, `m` or `h`; in milliseconds."""
    match = re.fullmatch(r"\s*([0-9.eE+-]+?)\s*([smh]?)\s*", text)
    try:
        seconds = float(match[1]) * _UNITS[match[2]] if match else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"expected a duration such as 10, 10s, 5m or 1h, not {text!r}")
    return round(seconds * 1000)


def seconds(text: str) -> float:
    """`--timeout`: as `duration_ms`, but in seconds, which is what others who have such an option mean by it."""
    return duration_ms(text) / 1000


def fetched(text: str) -> str:
    """`--fetch`: a pattern for paths below a directory."""
    if not text.strip("/") or text.startswith(("/", "~")) or ".." in text.split("/"):
        raise argparse.ArgumentTypeError(
            f"expected a pattern for files below the directory of the tests, such as 'out/**/*.png', not {text!r}"
        )
    return text


def memory_kib(text: str) -> int:
    """`--worker-memory-limit`: bytes, a number with the unit K, M or G, or a percentage of what there is; in KiB."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*(%|(?:([kmg])i?)?b?)\s*", text, re.IGNORECASE)
    if match is None or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"expected a size such as 500M, 2G or 25%, not {text!r}")
    number = float(match[1])
    if match[2] != "%":
        return max(1, round(number * _SIZES[(match[3] or "").lower()] / 1024))
    total = memory.total_kib()
    if total is None:
        raise argparse.ArgumentTypeError(f"cannot find out how much memory there is, of which to take {text!r}")
    return max(1, round(total * number / 100))


def is_defined(parser: pytest.Parser, name: str) -> bool:
    """Whether there is an option of this name."""
    groups = {id(group): group for group in (*parser._groups, parser._anonymous)}
    return any(name in option.names() for group in groups.values() for option in group.options)


def forget_value(positional: list[str], args: list[str], name: str, pattern: str) -> None:
    """Takes the value of an option out of what was taken for files, since it was not known that this is an option."""
    for flag, value in zip(args, args[1:]):
        if flag == name and value in positional and re.fullmatch(pattern, value):
            positional.remove(value)


def _number(text: str, expected: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 32:
        raise argparse.ArgumentTypeError(f"expected {expected}, not {text!r}")
    return number


def plain_reason(config: pytest.Config, has_terminal: bool = False) -> Optional[str]:
    """Why plain pytest is to run this invocation, if it is not to be distributed.

    Debuggers need a terminal that workers can borrow.

    Raises `pytest.UsageError` for options that exclude each other.
    """
    for name, flag in (
        ("help", "--help"),
        ("version", "--version"),
        ("collectonly", "--collect-only"),
        ("showfixtures", "--fixtures"),
        ("show_fixtures_per_test", "--fixtures-per-test"),
        ("markers", "--markers"),
        ("setupplan", "--setup-plan"),
        ("setuponly", "--setup-only"),
    ):
        if config.getoption(name, None):
            return flag
    # Its value is a list of patterns, which may be empty.
    if config.getoption("cacheshow", None) is not None:
        return "--cache-show"
    if not config.pluginmanager.hasplugin("xdist"):
        return "-p no:xdist"
    _check_command_line_only(config)
    return _plain_reason_of_workers(config, has_terminal)


def _check_command_line_only(config: pytest.Config) -> None:
    """Raises `pytest.UsageError` for options that stand where nobody looks who could heed them."""
    flags = {argument.split("=", 1)[0] for argument in config.invocation_params.args}
    for name, flag in _COMMAND_LINE_ONLY.items():
        if config.getoption(name, None) and flag not in flags:
            from pytest import UsageError

            raise UsageError(f"{flag} has no effect in addopts; give it on the command line")


def _plain_reason_of_workers(config: pytest.Config, has_terminal: bool) -> Optional[str]:
    workers = given_workers(config)
    if workers == 0:
        return "-n 0"
    explicit = isinstance(workers, int) or bool(config.option.tx or config.option.listen)
    if config.option.looponfail:
        from pytest import UsageError

        raise UsageError("--looponfail is not supported; run the tests again by hand, for example with --lf.")
    for name, flag in (("usepdb", "--pdb"), ("trace", "--trace")):
        if config.getoption(name, False):
            if explicit:
                if has_terminal:
                    continue
                from pytest import UsageError

                raise UsageError(f"{flag} is incompatible with distributing tests; try using -n0 or -nauto.")
            return flag
    dist = config.option.dist
    if dist == "no" and not isinstance(dist, DefaultText) and not config.option.distload:
        return "--dist no"
    for spec in config.option.px:
        if not any(part.startswith("id=") for part in spec.split("//")):
            from pytest import UsageError

            raise UsageError(f"Proxy gateway {spec} must include an id")
    return None


def check_scheduler(config: pytest.Config) -> None:
    """Raises `pytest.UsageError` for what a scheduler of the user's own does not know of.

    That is workers that are recycled, which it knows by name, and tests that run again, which it takes for finished.
    """
    option = config.option
    given = {
        "--max-tests-per-worker": option.maxtestsperworker,
        "--worker-memory-limit": option.workermemorylimit,
        "--retries": option.testretries,
    }
    names = [name for name, value in given.items() if value]
    if names and hasattr(config.hook, "pytest_xdist_make_scheduler"):
        if config.hook.pytest_xdist_make_scheduler.get_hookimpls():
            from pytest import UsageError

            raise UsageError(
                f"{' and '.join(names)} {'does' if len(names) == 1 else 'do'} not go together with a scheduler of your "
                "own (pytest_xdist_make_scheduler)"
            )


def distributes(config: pytest.Config) -> bool:
    """Whether the session is the controller of a run on workers, some of which may come only later."""
    option = config.option
    return option.dist != "no" and bool(option.tx or option.listen) and not hasattr(config, "workerinput")


def given_workers(config: pytest.Config) -> Union[int, str, None]:
    """`-n`, if it was given."""
    count: Union[int, str, None] = config.option.numprocesses
    return None if isinstance(count, DefaultText) else count


def run_options(config: pytest.Config, auto_workers: Optional[int]) -> dict[str, Any]:
    """The `RunOptions` of the wire. `auto_workers` is `None` where nobody asks for it."""
    option = config.option
    workers = given_workers(config)
    if isinstance(workers, str):
        workers = auto_workers
    dist = "load" if option.distload else option.dist
    fields = {
        "workers": workers,
        "auto_workers": auto_workers,
        # pytest-xdist takes 0 for no limit.
        "max_workers": option.maxprocesses or None,
        "dist": None if isinstance(dist, DefaultText) else dist,
        "tx": list(option.tx),
        "px": option.px or None,
        "max_chunk": option.maxschedchunk,
        "reorder_scopes": option.loadscopereorder,
        "max_restarts": option.maxworkerrestart,
        "run": option.testrunuid,
        "ramp_ms": option.ramp,
        "max_fail": config.getoption("maxfail", 0) or None,
        "timeout_ms": round(option.testtimeout * 1000) if option.testtimeout else None,
        "slow_after_ms": option.slowafter,
        "max_tests": option.maxtestsperworker,
        "memory_limit_kib": option.workermemorylimit,
        "retries": option.testretries or None,
        "flaky_fails": option.flakyresult == "fail" or None,
        "fetch": list(option.fetch) or None,
        "fetch_to": option.fetchto,
        "files": files(config) or None,
        "durations_from": option.durationsfrom and os.path.abspath(os.path.expanduser(option.durationsfrom)),
    }
    return {name: value for name, value in fields.items() if value is not None}


def files(config: pytest.Config) -> dict[str, list[str]]:
    """What is to be copied to workers elsewhere: the `Files` of the wire; empty for nothing."""
    option = config.option
    found = {
        "sync": [_absolute(config, path) for path in option.syncdir],
        "rsync": [_absolute(config, path) for path in (*option.rsyncdir, *config.getini("rsyncdirs"))],
        "ignore": [*option.rsyncignore, *map(str, config.getini("rsyncignore"))],
    }
    return found if found["sync"] or found["rsync"] else {}


def _absolute(config: pytest.Config, path: Any) -> str:
    return os.path.realpath(os.path.join(str(config.invocation_params.dir), os.path.expanduser(str(path))))


def files_as_lines(config: pytest.Config) -> list[str]:
    """The same as `xdist run` takes it (`--found-files`).

    Raises `pytest.UsageError` for a directory that is not there.
    """
    check_directories(config)
    return [f"{kind}={value}" for kind, values in files(config).items() for value in values]


def starts_elsewhere(config: pytest.Config) -> bool:
    """Whether there are workers that do not start where the run was started."""
    specs = [re.sub(r"^\d+\*", "", spec) for spec in config.option.tx]
    return any(spec.split("//")[0] != "popen" or "//chdir=" in spec for spec in specs)


def check_directories(config: pytest.Config) -> None:
    """Raises `pytest.UsageError` if something that is to be copied is no directory here."""
    option = config.option
    sources = {
        "--sync": option.syncdir,
        "--rsyncdir": option.rsyncdir,
        "the setting rsyncdirs,": config.getini("rsyncdirs"),
    }
    for source, paths in sources.items():
        for path in paths:
            problem = _no_directory(_absolute(config, path))
            if problem is not None:
                from pytest import UsageError

                raise UsageError(f"{source} {path}: {problem}")


def _no_directory(path: str) -> Optional[str]:
    """Why a path cannot be that of a directory to copy, if so; `xdist run` says the same where it looks by itself."""
    if os.path.isdir(path):
        return None
    if os.path.exists(path):
        return "this is no directory, and only directories are copied; name the directory that it is in"
    return "there is no such directory here; name one that is, or leave this out"


def run_worker_count(options: dict[str, Any]) -> int:
    """How many workers a run with these `RunOptions` begins with; 0 if that is not known."""
    workers: Optional[int] = options.get("workers")
    if workers is None:
        if options.get("tx"):
            return sum(_multiplier(spec) for spec in options["tx"])
        workers = options.get("auto_workers", 0)
    limit: int = options.get("max_workers") or workers
    return min(workers, limit)


def _multiplier(spec: str) -> int:
    match = re.match(r"(\d+)\*", spec)
    return int(match[1]) if match else 1


def expanded_specs(specs: list[str]) -> list[str]:
    """Specifications without multipliers: `2*popen` is two of `popen`, and `2*popen//id=x` is `popen//id=x0` and
    `popen//id=x1`."""
    expanded = []
    for spec in specs:
        match = re.match(r"(\d+)\*", spec)
        count, one = (int(match[1]), spec[match.end() :]) if match else (1, spec)
        expanded += [one] if count == 1 else [_numbered(one, number) for number in range(count)]
    return expanded


def _numbered(spec: str, number: int) -> str:
    parts = spec.split("//")
    return "//".join(f"{part}{number}" if part.startswith("id=") and part != "id=" else part for part in parts)


def unheeded(config: pytest.Config) -> Optional[str]:
    """What to say of options that have no effect without workers, if one of them is given that matters."""
    if getattr(config.option, "testtimeout", None):
        return "xdist: the time limit of tests is not enforced without workers"
    return None


def neutralise(config: pytest.Config, has_terminal: bool) -> None:
    """Gives the options of distribution the values that they have in a session that is not itself distributed.

    Debuggers need a terminal that workers can borrow.
    """
    option = config.option
    option.dist = "no"
    option.distload = False
    option.numprocesses = None
    option.maxprocesses = None
    option.tx = []
    option.looponfail = False
    option.usepdb = has_terminal and option.usepdb
    option.trace = has_terminal and option.trace
    if option.loadscopereorder is None:
        option.loadscopereorder = True


def count_processors(logical: bool) -> int:
    """What `-n auto` (or `-n logical`) means on this machine, unless a hook says otherwise."""
    forced = _forced_processors()
    if forced is not None:
        return forced
    limits = [_machine_processors(logical), cgroup_processors(), _workers_that_fit()]
    return max(1, min(limit for limit in limits if limit is not None))


def _workers_that_fit() -> Optional[int]:
    """How many workers there is memory for; `None` if that is not known."""
    available = memory.available_kib()
    return None if available is None else available // _WORKER_KIB


def _forced_processors() -> Optional[int]:
    text = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS")
    if text:
        try:
            return max(0, int(text))
        except ValueError:
            warnings.warn(f"PYTEST_XDIST_AUTO_NUM_WORKERS is not a number: {text!r}. Ignoring it.", stacklevel=2)
    for text in (sys._xoptions.get("cpu_count"), os.environ.get("PYTHON_CPU_COUNT")):
        if text == "default":
            # `-X cpu_count=default` switches the environment variable off.
            return None
        try:
            if isinstance(text, str) and int(text) > 0:
                return int(text)
        except ValueError:
            continue
    return None


def _machine_processors(logical: bool) -> int:
    if logical and hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    try:
        import psutil

        count = psutil.cpu_count(logical=logical) or psutil.cpu_count()
    except Exception:
        count = None
    if count:
        return count if affinity is None else min(count, affinity)
    if affinity is None and os.environ.get("TRAVIS") == "true":
        return 2
    return affinity or os.cpu_count() or 1


def cgroup_processors(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> Optional[int]:
    """The CPU quota of this process's control groups in whole processors, rounded up; `None` if there is none."""
    limits = []
    for line in memory.read(membership).splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        _, controllers, path = parts
        if not controllers:
            limits += [_quota_v2(directory) for directory in memory.ancestors(root, path)]
        elif "cpu" in controllers.split(","):
            for mount in (controllers, "cpu"):
                limits += [_quota_v1(directory) for directory in memory.ancestors(os.path.join(root, mount), path)]
    known = [limit for limit in limits if limit is not None]
    return max(1, math.ceil(min(known))) if known else None


def _quota_v2(directory: str) -> Optional[float]:
    words = memory.read(os.path.join(directory, "cpu.max")).split()
    try:
        return int(words[0]) / int(words[1])
    except (IndexError, ValueError, ZeroDivisionError):
        # The quota may be the word "max".
        return None


def _quota_v1(directory: str) -> Optional[float]:
    try:
        quota = int(memory.read(os.path.join(directory, "cpu.cfs_quota_us")))
        return quota / int(memory.read(os.path.join(directory, "cpu.cfs_period_us"))) if quota > 0 else None
    except (ValueError, ZeroDivisionError):
        return None
