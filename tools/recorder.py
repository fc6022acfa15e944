"""A pytest plugin that writes every report as a line of JSON: ``-p recorder --record FILE``.

The lines have the shape of `xdist run --report-log`, so that one reader (outcomes.py) takes both. Works on pytest's
own process and on the controller of pytest-xdist; does nothing in the workers of either.
"""

import json


def pytest_addoption(parser):
    parser.addoption("--record", metavar="FILE", help="write every report to FILE, one JSON object a line")


def pytest_configure(config):
    path = config.getoption("--record")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(path), "recorder-file")


class Recorder:
    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8", errors="backslashreplace")

    def _write(self, report_type, report):
        line = {
            "$report_type": report_type,
            "nodeid": report.nodeid,
            "when": getattr(report, "when", "collect"),
            "outcome": report.outcome,
        }
        if hasattr(report, "wasxfail"):
            line["wasxfail"] = str(report.wasxfail)
        self.file.write(json.dumps(line) + "\n")

    def pytest_runtest_logreport(self, report):
        self._write(type(report).__name__, report)

    def pytest_collectreport(self, report):
        if report.outcome != "passed":
            self._write("CollectReport", report)

    def pytest_unconfigure(self):
        self.file.close()
