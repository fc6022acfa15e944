"""From arguments to a configured session: parsing, identity, and how errors on the way are told."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, NoReturn, Optional

import _pytest.config
import pytest

from . import basetemp, options, quiet
from .plugin import XdistPlugin, auto_workers, register_anew
from .watch import Watch, WatchedInput


def parse(args: list[str]) -> pytest.Config:
    """Parses arguments, configuration files and environment as pytest does, and loads plugins and first conftests.

    Raises what pytest raises.
    """
    os.environ["PYTEST_VERSION"] = pytest.__version__
    # Set by `distributor.py`.
    has_controller = os.environ.pop("XDIST_CONTROLLER", None) is not None
    plugin = XdistPlugin("auto")
    config = _pytest.config._prepareconfig(args, [plugin])
    if has_controller:
        register_anew(config.pluginmanager, plugin)
    return config


def printed_error(error: BaseException) -> tuple[str, int]:
    """What pytest prints for an error in its arguments or configuration, without colours, and its exit code.

    Its form differs between versions of pytest, so pytest itself is made to print it. Raises the error again if pytest
    prints nothing for it.
    """

    def fail(*_args: object, **_options: object) -> NoReturn:
        raise error

    printed = io.StringIO()
    parse_again = _pytest.config._prepareconfig
    colors = os.environ.get("PY_COLORS")
    _pytest.config._prepareconfig = fail
    os.environ["PY_COLORS"] = "0"
    try:
        with contextlib.redirect_stderr(printed):
            code = int(pytest.main([]))
    finally:
        _pytest.config._prepareconfig = parse_again
        del os.environ["PY_COLORS"]
        if colors is not None:
            os.environ["PY_COLORS"] = colors
    return printed.getvalue().rstrip("\n"), code


def read_options(config: pytest.Config, configure: dict[str, Any]) -> dict[str, Any]:
    """The `RunOptions` of the wire, from the options as they were given.

    Raises `pytest.UsageError` if they exclude each other, or name directories to copy that are not there.
    """
    plain = options.plain_reason(config, _has_terminal(configure))
    if not config.pluginmanager.hasplugin("xdist"):
        return {"plain": plain}
    if plain is None:
        options.check_scheduler(config)
    # Counting processors may be slow, and only the first worker's answer counts.
    first = not configure.get("worker_count")
    # So does what it finds here: where its options name workers, it is in the directory that the run was started in.
    if first and plain is None and options.starts_elsewhere(config):
        options.check_directories(config)
    fields = options.run_options(config, auto_workers(config) if first and plain is None else None)
    if plain is not None:
        fields["plain"] = plain
    return fields


def become_worker(
    config: pytest.Config, configure: dict[str, Any], run: dict[str, Any], run_directory: Optional[str], watch: Watch
) -> None:
    """Makes the session known as a worker's, to plugins and tests; to be called before pytest configures itself."""
    name = str(configure["name"])
    run_id = str(run.get("run") or configure["run"])
    count = configure.get("worker_count") or options.run_worker_count(run) or 1
    # The coordinator does not know of a limit before the first worker has told it.
    count = min(count, run.get("max_workers") or count)
    os.environ["PYTEST_XDIST_WORKER"] = name
    os.environ["PYTEST_XDIST_WORKER_COUNT"] = str(count)
    os.environ["PYTEST_XDIST_TESTRUNUID"] = run_id
    entries = {
        "mainargv": list(sys.argv),
        **configure.get("input", {}),
        "workerid": name,
        "workercount": count,
        "testrunuid": run_id,
    }
    config.workerinput = WatchedInput(entries, watch)  # type: ignore[attr-defined]
    config.workeroutput = {}  # type: ignore[attr-defined]
    options.neutralise(config, _has_terminal(configure))
    with watch.looking_away():
        basetemp.set_basetemp(config, name, run_directory)
    quiet.install()


def _has_terminal(configure: dict[str, Any]) -> bool:
    """Whether debuggers can borrow one."""
    return bool(configure.get("wants", {}).get("debugger"))


def become_other_worker(config: pytest.Config, configure: dict[str, Any], run_directory: Optional[str]) -> None:
    """Gives a session that was forked after collection the identity of another worker of the same run."""
    name = str(configure["name"])
    os.environ["PYTEST_XDIST_WORKER"] = name
    # Plugins may hold the dictionary itself.
    config.workerinput.update(configure.get("input", {}), workerid=name)  # type: ignore[attr-defined]
    basetemp.move_basetemp(config, name, run_directory)
