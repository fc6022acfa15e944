"""pytest-html: one report of all workers' tests."""

import html
import json
import re

import pytest
from suites_for_plugins import BROKEN, CRASH, OUTCOMES

HOOKS = """
    import pytest
    import pytest_html

    def pytest_html_report_title(report):
        report.title = "A title of our own"

    def pytest_html_results_summary(prefix, summary, postfix):
        prefix.extend(["<p>a summary of our own</p>"])

    def pytest_html_results_table_header(cells):
        cells.insert(2, "<th>Marks</th>")

    def pytest_html_results_table_row(report, cells):
        cells.insert(2, f"<td>{getattr(report, 'marks', '')}</td>")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(item, call):
        report = (yield).get_result()
        report.marks = ",".join(sorted(mark.name for mark in item.iter_markers()))
        if report.when == "call":
            report.extras = [pytest_html.extras.url("https://example.org/"), pytest_html.extras.json({"name": item.name})]
"""


@pytest.fixture
def reported(make_suite):
    suite = make_suite(installed=True)
    suite.file("test_outcomes.py", OUTCOMES)
    return suite


def report(run):
    """What the report shows of each test, and its summary, without durations and workers."""
    text = run.read("report.html")
    data = json.loads(html.unescape(re.search(r'data-jsonblob="([^"]*)"', text)[1]))
    rows = sorted(tidy(row) for rows in data["tests"].values() for row in rows)
    data["environment"].pop("Plugins")
    shown = re.findall(r'<span class="(?:passed|failed|error|skipped|xfailed|xpassed|rerun)">[^<]*', text)
    head = re.findall(r"<title[^>]*>[^<]*|<th[^>]*>[^<]*|<p>a summary[^<]*", text)
    return rows, data["environment"], shown, head


def tidy(row):
    text = json.dumps(row, sort_keys=True)
    text = re.sub(r"\d+ ms|\d\d:\d\d:\d\d", "TIME", text)
    return re.sub(r"\bgw\d+\b", "gwN", text)


def test_report(reported):
    runs = reported.compare("--html=report.html", "--self-contained-html", what=report)
    assert all("Generated html report" in run.out for run in runs.values())


@pytest.mark.thorough
def test_assets(reported):
    reported.compare("--html=report.html", what=lambda run: (report(run), run.files("assets/*")))


def test_hooks_and_extras(reported):
    reported.file("conftest.py", HOOKS)
    runs = reported.compare("--html=report.html", "--self-contained-html", what=report)
    rows, _, _, head = report(runs["xdist run"])
    assert any("example.org" in row for row in rows) and "<p>a summary of our own" in head


def test_broken_module(reported):
    reported.file("test_broken.py", BROKEN)
    reported.compare("--html=report.html", what=report)


def test_crash(make_suite):
    suite = make_suite()
    suite.file("test_crash.py", CRASH)
    # Of a crashed test there is no row in the report, in either: pytest-html waits for its teardown.
    suite.compare("--html=report.html", what=report)
