"""When `xdist run` starts the pytest host: for plugins that have something to do there, and only then."""

import pytest
from doors import RUN

# Whether a plugin wants the host when it is merely installed, and with which options it does.
WANTED = [
    ("allure", (), False),
    ("allure", ("--alluredir=results",), False),
    ("asyncio", (), False),
    ("benchmark", (), False),
    ("cov", (), False),
    ("cov", ("--cov=.",), True),
    ("flaky", (), True),
    ("html", (), False),
    ("html", ("--html=report.html",), True),
    ("hypothesis", (), False),
    ("hypothesis", ("--hypothesis-show-statistics",), True),
    ("instafail", (), False),
    ("instafail", ("--instafail",), True),
    ("json_report", (), False),
    ("json_report", ("--json-report",), True),
    ("metadata", (), False),
    ("mock", (), False),
    ("random_order", (), True),
    ("randomly", (), True),
    ("rerunfailures", (), True),
    ("split", (), False),
    ("split", ("--store-durations",), True),
    ("subtests", (), False),
    ("sugar", (), False),
    ("sugar", ("--force-sugar",), True),
    ("syrupy", (), True),
    ("timeout", ("--timeout=10",), False),
]


@pytest.mark.parametrize("plugin, args, wanted", WANTED)
def test_host(make_suite, plugin, args, wanted):
    suite = make_suite(plugin=plugin)
    suite.file("test_nothing.py", "def test_nothing():\n    pass\n")
    run = suite.run(RUN, *args)
    assert (run.code, run.had_host) == (0, wanted), run


@pytest.mark.parametrize("choice", ["never", "auto", "always"])
def test_choice(make_suite, choice):
    suite = make_suite(plugin="json_report")
    suite.file("test_nothing.py", "def test_nothing():\n    pass\n")
    run = suite.run(RUN, f"--pytest-host={choice}", "--json-report", "--json-report-file=report.json")
    assert run.counts == {"passed": 1}, run
    # With `always` it is there before anything wants it, and with `never` nobody writes the report.
    assert run.had_host == (choice == "auto"), run
    assert run.files("report.json") == ([] if choice == "never" else ["report.json"]), run
