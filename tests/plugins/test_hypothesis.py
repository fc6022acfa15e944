"""hypothesis: statistics, failing examples, profiles and seeds."""

import re

import pytest
from doors import REFERENCE

TESTS = """
    from hypothesis import example, given, note, settings, strategies as st

    @given(st.integers())
    def test_holds(number):
        assert number + 0 == number

    @settings(max_examples=17)
    @given(st.text())
    def test_with_settings(text):
        assert isinstance(text, str)

    @given(st.integers())
    def test_fails(number):
        note(f"a note of {number}")
        assert number < 1000

    @example(5)
    @given(st.integers())
    def test_explicit(number):
        assert number != 5

    def test_without():
        pass
"""
PROFILE = """
    from hypothesis import settings

    settings.register_profile("few", max_examples=3)
"""


@pytest.fixture
def given(suite):
    suite.file("test_given.py", TESTS)
    return suite


def statistics(run):
    """What is said of each test, without durations."""
    lines = run.out.splitlines()
    start = next((at for at, line in enumerate(lines) if "Hypothesis Statistics" in line), len(lines))
    end = next((at for at, line in enumerate(lines[start + 1 :], start + 1) if line.startswith("====")), len(lines))
    text = "\n".join(line for line in lines[start + 1 : end] if "untime" not in line and "data generation" not in line)
    text = re.sub(r"\d+\.\d+ seconds", "TIME", text)
    return sorted(re.split(r"\n(?=test_)", text))


def examples(run):
    """The examples that are shown."""
    return run.lines(r"Falsifying|Failing test|^E +(number|text)=|a note of|^E +assert")


def test_failing_examples(given):
    runs = given.compare("--hypothesis-seed=1", what=examples)
    assert any("a note of 1000" in line for line in examples(runs[REFERENCE])), runs[REFERENCE]


def test_statistics(given):
    runs = given.compare("--hypothesis-seed=1", "--hypothesis-show-statistics", what=statistics)
    assert sum(text.startswith("test_given.py::") for text in statistics(runs[REFERENCE])) == 3, runs[REFERENCE]


def test_profile(given):
    given.file("conftest.py", PROFILE)
    given.compare("--hypothesis-profile=few", "--hypothesis-seed=1", "--hypothesis-show-statistics", what=statistics)


def test_header(given):
    given.compare("-v", "--hypothesis-seed=1", what=lambda run: run.lines("^hypothesis profile"))
