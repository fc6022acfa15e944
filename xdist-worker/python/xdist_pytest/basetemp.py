"""One parent directory for the temporary directories of all workers of a run on this machine."""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    import pytest


def set_basetemp(config: pytest.Config, worker_name: str, run_directory: Optional[str]) -> None:
    """Sets `--basetemp` to this worker's own directory, `<parent>/popen-<worker>`.

    The parent is what the user gave as `--basetemp`, emptied once, or else pytest's next numbered directory. The worker
    that comes first makes it and leaves its name in `run_directory`, which belongs to this run alone.
    """
    if not config.pluginmanager.hasplugin("tmpdir"):
        return
    if run_directory is None:
        parent = _make_parent(config)
    else:
        parent = _agree(config, Path(run_directory))
    config.option.basetemp = str(parent / f"popen-{re.sub(r'[^A-Za-z0-9_.-]', '_', worker_name)}")


def move_basetemp(config: pytest.Config, worker_name: str, run_directory: Optional[str]) -> None:
    """Gives a session that is configured already, but has not used its directory, that of another worker."""
    _leave_clean_up_to_its_maker()
    set_basetemp(config, worker_name, run_directory)
    factory: Any = getattr(config, "_tmp_path_factory", None)
    if factory is not None:
        factory._given_basetemp = Path(config.option.basetemp)
        factory._basetemp = None


def _agree(config: pytest.Config, run_directory: Path) -> Path:
    run_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(run_directory / "basetemp", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        known = os.pread(descriptor, 1 << 16, 0)
        if known:
            return Path(os.fsdecode(known))
        parent = _make_parent(config)
        os.pwrite(descriptor, os.fsencode(parent), 0)
        return parent
    finally:
        os.close(descriptor)


def _make_parent(config: pytest.Config) -> Path:
    given = config.option.basetemp
    if given is None:
        return _numbered_directory(config)
    parent = Path(os.path.abspath(given))
    if parent.exists():
        from _pytest.pathlib import rm_rf

        rm_rf(parent)
        shutil.rmtree(parent, ignore_errors=True)
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return parent.resolve()


#: What has made a numbered directory, and removes old ones when this process ends.
_maker: Any = None


def _numbered_directory(config: pytest.Config) -> Path:
    """As pytest makes it for itself."""
    from _pytest.tmpdir import TempPathFactory

    global _maker
    _maker = TempPathFactory.from_config(config, _ispytest=True)
    return Path(_maker.getbasetemp())


def _leave_clean_up_to_its_maker() -> None:
    """To be called in a process that was forked from the one that has made the directory, or not."""
    from _pytest.pathlib import cleanup_numbered_dir

    atexit.unregister(cleanup_numbered_dir)
    stack = getattr(_maker, "_exit_stack", None)
    if stack is not None:
        atexit.unregister(stack.close)
