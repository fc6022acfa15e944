"""The options that concern output (`DisplayOptions` and `JunitOptions` of the wire)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    import pytest


def display_options(config: pytest.Config, terminal: bool) -> dict[str, Any]:
    """The `DisplayOptions`. `terminal` says whether output goes to a terminal."""
    option = config.getoption
    fields = {
        "verbosity": int(option("verbose", 0)),
        "color": use_color(config, terminal),
        "report_chars": _report_chars(config),
        "traceback_style": str(option("tbstyle", "auto")),
        "durations": _durations(config),
        "durations_min_ms": _durations_min_ms(config),
        "show_capture": str(option("showcapture", "all")),
        "capture": str(option("capture", "fd")),
        "no_header": bool(option("no_header", False)),
        "no_summary": bool(option("no_summary", False)),
        "no_warnings": bool(option("disable_warnings", False)),
        "no_terminal": not config.pluginmanager.hasplugin("terminal"),
        "flags": _flags(config),
        "progress_style": _progress_style(config),
        "cache_dir": _cache_directory(config),
        "junit": _junit_options(config),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _progress_style(config: pytest.Config) -> str:
    # As pytest 9.2 decides it (`terminal.py`).
    return (
        "classic" if config.getoption("setupshow", False) else str(_setting(config, "console_output_style", "progress"))
    )


def wants_passed_output(config: pytest.Config, asked: bool) -> bool:
    """Whether what passed tests wrote is to be sent: if the coordinator asked for it, or an option shows it."""
    if asked or "P" in _report_chars(config):
        return True
    junit = _junit_options(config)
    return junit is not None and junit["logging"] != "no" and bool(junit["log_passing"])


def wants_locations(config: pytest.Config, asked: bool) -> bool:
    """Whether to tell where items are defined: to find it out for all takes a tenth of the time of collection."""
    return asked or config.getoption("verbose", 0) > 0 or _junit_options(config) is not None


def use_color(config: pytest.Config, terminal: bool) -> bool:
    """Whether to use colours, decided as pytest does."""
    color = config.getoption("color", "auto")
    if color in ("yes", "no"):
        return bool(color == "yes")
    from _pytest._io.terminalwriter import should_do_markup

    return bool(should_do_markup(_Terminal(terminal)))  # type: ignore[arg-type]


class _Terminal:
    """As much of a file as tells whether it is a terminal."""

    def __init__(self, terminal: bool) -> None:
        self.isatty = lambda: terminal


def _report_chars(config: pytest.Config) -> str:
    if config.getoption("reportchars", None) is None:
        return ""
    from _pytest.terminal import getreportopt

    return str(getreportopt(config))


def _durations(config: pytest.Config) -> Optional[int]:
    durations = config.getoption("durations", None)
    return None if durations is None else max(0, int(durations))


def _durations_min_ms(config: pytest.Config) -> int:
    least = config.getoption("durations_min", None)
    if least is None:
        # pytest's own default where the option has none.
        least = 0.005 if config.getoption("verbose", 0) < 2 else 0.0
    return max(0, round(float(least) * 1000))


def _flags(config: pytest.Config) -> list[str]:
    flags = {"--xfail-tb": "xfail_tb", "--force-short-summary": "force_short_summary"}
    given = [flag for flag, name in flags.items() if config.getoption(name, False)]
    return given if config.getoption("fold_skipped", True) else [*given, "--no-fold-skipped"]


def _setting(config: pytest.Config, name: str, default: Any) -> Any:
    """An ini option, or the default if the plugin that defines it is off."""
    try:
        return config.getini(name)
    except (KeyError, ValueError):
        return default


def _cache_directory(config: pytest.Config) -> Optional[str]:
    if not config.pluginmanager.hasplugin("cacheprovider"):
        return None
    text = os.path.expandvars(os.path.expanduser(str(_setting(config, "cache_dir", ".pytest_cache"))))
    return os.path.normpath(os.path.join(str(config.rootpath), text))


def _junit_options(config: pytest.Config) -> Optional[dict[str, Any]]:
    path = config.getoption("xmlpath", None)
    if not path:
        return None
    family = str(_setting(config, "junit_family", "xunit2"))
    return {
        "path": os.path.normpath(os.path.abspath(os.path.expanduser(os.path.expandvars(path)))),
        "prefix": str(config.getoption("junitprefix", None) or ""),
        "suite_name": str(_setting(config, "junit_suite_name", "pytest")),
        "family": "xunit1" if family == "legacy" else family,
        "logging": str(_setting(config, "junit_logging", "no")),
        "log_passing": bool(_setting(config, "junit_log_passing_tests", True)),
        "duration_report": str(_setting(config, "junit_duration_report", "total")),
    }
