"""Finds out what is to be copied to workers elsewhere, for `xdist run`, where configuration files have a say in that."""

from __future__ import annotations

import sys
from typing import NoReturn

import pytest

from . import options
from .plain import run_pytest
from .process import become_pytest
from .runner import USAGE_ERROR, pytest_problem


class Settings:
    """Writes down what the options mean, or why they mean nothing, and lets nothing run."""

    def __init__(self, path: str) -> None:
        self._path = path

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        """Takes the place of pytest's main loop."""
        try:
            lines = options.files_as_lines(config)
        except pytest.UsageError as error:
            # Told by `xdist run`, in its words, and only once.
            lines = [f"refused={error}"]
        with open(self._path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
        return 0


def main(args: list[str]) -> NoReturn:
    """Reads the arguments behind the first one as pytest does, and writes to the file that the first one names."""
    path, *args = args
    become_pytest(args)
    problem = pytest_problem()
    if problem is not None:
        sys.stderr.write(problem + "\n")
        sys.exit(USAGE_ERROR)
    from .plugin import XdistPlugin

    sys.exit(run_pytest(args, [XdistPlugin(), Settings(path)]))
