"""One parent directory for the temporary directories of all workers of a run on this machine."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Optional

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


def _numbered_directory(config: pytest.Config) -> Path:
    """As pytest makes it for itself. It removes old ones when this process ends."""
    from _pytest.tmpdir import TempPathFactory

    return Path(TempPathFactory.from_config(config, _ispytest=True).getbasetemp())
