"""Runs an invocation that is not to be distributed, as the command `pytest` does."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from .process import become_pytest
from .runner import USAGE_ERROR, pytest_problem


def main(args: list[str]) -> NoReturn:
    """Runs pytest with these arguments, and with our options understood, and exits with its code."""
    become_pytest(args)
    problem = pytest_problem()
    if problem is not None:
        sys.stderr.write(problem + "\n")
        sys.exit(USAGE_ERROR)
    sys.exit(_run(args))


def _run(args: list[str]) -> int:
    from .plugin import PlainPlugin, XdistPlugin

    return run_pytest(args, [XdistPlugin(), PlainPlugin()])


def run_pytest(args: list[str], plugins: list[object]) -> int:
    """Runs pytest as the command does, and answers its exit code."""
    import pytest

    try:
        code = pytest.main(args, plugins=plugins)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader is gone; Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return int(code)
