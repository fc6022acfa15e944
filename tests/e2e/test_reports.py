"""The terminal, JUnit XML, the report log, and the last-failed cache."""

import xml.etree.ElementTree as ElementTree

import pytest

VARIED = """
import warnings
import pytest

def test_pass(record_property):
    record_property("answer", 42)
    print("not shown")

def test_fail():
    print("shown")
    assert 1 == 2

@pytest.mark.skip(reason="not today")
def test_skip():
    pass

@pytest.mark.xfail(reason="known")
def test_xfail():
    assert 0

@pytest.mark.xfail(reason="thought so")
def test_xpass():
    pass

@pytest.mark.xfail(strict=True, reason="strictly")
def test_strict():
    pass

@pytest.fixture
def broken():
    raise ValueError("no fixture")

def test_error(broken):
    pass

@pytest.fixture
def leaves():
    yield
    raise ValueError("no end")

class TestClass:
    @pytest.mark.parametrize("text", ["a b", "<&>"])
    def test_teardown_error(self, leaves, text):
        pass

def test_warning():
    warnings.warn("mind the gap")
"""


def test_totals_are_plain_pytests(xdist):
    xdist.files(test_a=VARIED)
    result, plain = xdist.run("-n2"), xdist.pytest()
    assert result.code == plain.code == 1
    assert result.totals == plain.totals
    assert result.outcomes == plain.outcomes


def test_terminal_reads_as_pytests(xdist):
    xdist.files(test_a=VARIED)
    out = xdist.run("-n2", "-ra", "--durations=2").out
    wanted = [
        "test session starts", "platform ", "rootdir: ", "2 workers [10 items]", "= ERRORS =", "ERROR at setup of test_error",
        "= FAILURES =", "_ test_fail _", "-- Python ", "Captured stdout call", "= warnings summary =", "mind the gap",
        "= slowest 2 durations =", "= short test summary info =", "FAILED test_a.py::test_fail - assert 1 == 2",
        "2 failed, ",
    ]  # fmt: skip
    position = -1
    for text in wanted:
        found = out.find(text, position + 1)
        assert found > position, f"{text!r} is missing, or out of order:\n{out}"
        position = found
    assert "not shown" not in out


def test_verbose_lines(xdist):
    xdist.files(test_a="def test_a():\n    pass\n\ndef test_b():\n    assert 0\n")
    out = xdist.run("-n1", "-v").out
    assert "[gw0] [ 50%] PASSED test_a.py::test_a" in out
    assert "[gw0] [100%] FAILED test_a.py::test_b" in out


def test_quiet(xdist):
    xdist.files(test_a="def test_a():\n    pass\n")
    out = xdist.run("-n1", "-q").out
    assert "test session starts" not in out
    assert out.splitlines()[-1].startswith("1 passed in ")


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native", "no"])
def test_traceback_styles(xdist, style):
    xdist.files(test_a="def test_a():\n    x = 1\n    assert x == 2\n")
    args = [f"--tb={style}", "-q"]
    ours = failure_lines(xdist.run("-n1", *args).out)
    assert [line for line in ours if not line.startswith("[gw0] ")] == failure_lines(xdist.pytest(*args).out)


def failure_lines(out):
    lines = out.splitlines()
    begin = next((n for n, line in enumerate(lines) if "FAILURES" in line), len(lines))
    return [line for line in lines[begin:] if " in " not in line]


def test_color(xdist):
    xdist.files(test_a="def test_a():\n    assert 0\n")
    assert "\x1b[" in xdist.run("-n1", "--color=yes").out
    assert "\x1b[" not in xdist.run("-n1").out


def test_junit_xml_says_what_pytests_says(xdist):
    xdist.files(test_a=VARIED)
    xdist.run("-n2", "--junitxml=ours.xml")
    xdist.pytest("--junitxml=theirs.xml")
    ours, theirs = (cases(xdist.directory / f"{name}.xml") for name in ("ours", "theirs"))
    assert ours == theirs


def cases(path):
    root = ElementTree.parse(path).getroot()
    suite = root.find("testsuite")
    counts = {name: suite.get(name) for name in ("name", "errors", "failures", "skipped", "tests")}
    found = []
    for case in suite.iter("testcase"):
        children = sorted((child.tag, child.get("type"), child.get("message")) for child in case)
        properties = sorted((p.get("name"), p.get("value")) for p in case.iter("property"))
        found.append((case.get("classname"), case.get("name"), children, properties))
    return root.tag, counts, sorted(found, key=repr)


def test_last_failed(xdist):
    xdist.files(
        test_a="def test_a():\n    pass\n\ndef test_b():\n    assert 0\n", test_b="def test_c():\n    assert 0\n"
    )
    assert xdist.run("-n2").totals == {"passed": 1, "failed": 2}
    assert set(xdist.run("-n2", "--lf").outcome_of) == {"test_b", "test_c"}
    xdist.files(test_a="def test_a():\n    pass\n\ndef test_b():\n    pass\n")
    xdist.run("-n2", "--lf")
    assert set(xdist.run("-n2", "--lf").outcome_of) == {"test_c"}
    assert xdist.run("-n2", "--ff").totals == {"passed": 2, "failed": 1}


def test_the_cache_is_pytests_own(xdist):
    xdist.files(test_a="def test_a():\n    pass\n\ndef test_b():\n    assert 0\n")
    xdist.run("-n2")
    recorder = xdist.pytest("-p", "cacheprovider", "--lf")
    assert set(recorder.outcome_of) == {"test_b"}


def test_report_log_accounts_for_every_test(xdist):
    xdist.files(test_a=VARIED)
    result = xdist.run("-n2")
    assert len({node_id for node_id, _ in result.outcomes}) == 10
