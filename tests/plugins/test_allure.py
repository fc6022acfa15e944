"""allure-pytest: every worker writes result files of its own tests."""

import json
import re

import pytest
from doors import REFERENCE
from suites_for_plugins import CRASH, OUTCOMES

STEPS = """
    import allure
    import pytest

    @allure.feature("feature")
    @allure.story("story")
    @allure.title("a title")
    @pytest.mark.parametrize("number", range(3))
    def test_steps(number):
        with allure.step(f"step {number}"):
            allure.attach("text", name="attached", attachment_type=allure.attachment_type.TEXT)
        allure.dynamic.label("layer", "unit")
"""


@pytest.fixture
def results(suite):
    suite.file("test_outcomes.py", OUTCOMES)
    suite.file("test_steps.py", STEPS)
    return suite


def found(run):
    """Every result without times, unique names and workers."""
    texts = [run.read(name) for name in run.files("results/*-result.json")]
    return sorted(tidy(json.loads(text)) for text in texts), len(run.files("results/*-attachment*"))


def tidy(result):
    for name in ("uuid", "start", "stop", "attachments"):
        result.pop(name, None)
    labels = result["labels"]
    result["labels"] = sorted(
        (label for label in labels if label["name"] not in ("thread", "host")), key=lambda label: sorted(label.items())
    )
    text = json.dumps(result, sort_keys=True)
    text = re.sub(r'"(start|stop)": \d+', "TIME", text)
    text = re.sub(r"[0-9a-f-]{36}", "UUID", text)
    return re.sub(r"0x[0-9a-f]+", "ADDRESS", text)


def test_results(results):
    runs = results.compare("--alluredir=results", what=found)
    assert len(found(runs[REFERENCE])[0]) == 20


def test_clean(results):
    for door in (REFERENCE, *results.doors):
        first = results.run(door, "--alluredir=results")
        again = results.run(door, "--alluredir=results", "--clean-alluredir", keep=first.directory)
        assert len(found(again)[0]) == 20, again


def test_crash(results):
    results.file("test_crash.py", CRASH)
    # Of a crashed test there is no result, in either.
    results.compare("--alluredir=results", what=found)


def test_selection(results):
    results.compare("--alluredir=results", "--allure-features=feature", what=found)
