"""pytest-cov: the workers' data are combined, and every report is made from them."""

import re

import pytest
from doors import PLAIN, REFERENCE, check, normal

LIBRARY = """
    def sign(number):
        if number > 0:
            return "plus"
        if number < 0:
            return "minus"
        return "none"

    def unused():
        return 1

    def only_with_true(flag):
        if flag:
            return 1
        return 2
"""
TESTS = """
    import os
    import signal

    import pytest
    from library import only_with_true, sign

    @pytest.mark.parametrize("number, name", [(number, "plus") for number in range(1, 30)])
    def test_plus(number, name):
        assert sign(number) == name

    def test_minus():
        assert sign(-1) == "minus"

    def test_flag():
        assert only_with_true(True) == 1
"""
PYTHONPATH = "pythonpath = .\n"


@pytest.fixture
def covered(make_suite):
    suite = make_suite(installed=True)
    suite.ini(PYTHONPATH)
    suite.file("library.py", LIBRARY)
    suite.file("test_library.py", TESTS)
    return suite


def table(run):
    """pytest-cov's table in the terminal."""
    return [" ".join(line.split()) for line in run.out.splitlines() if re.search(r"^(Name|TOTAL|\w+\.py) ", line)]


def xml(run):
    """The XML report without time stamps and places."""
    return re.sub(r'timestamp="\d+"|<source>[^<]*</source>', "", run.read("coverage.xml"))


def test_lines(covered):
    runs = covered.compare("--cov=.", "--cov-report=term-missing", what=table)
    plain = covered.run(PLAIN, "--cov=.", "--cov-report=term-missing", n=0)
    check({REFERENCE: plain, **runs}, table, "the table without workers")
    assert "library.py 12 3 75% 7, 10, 15" in table(plain), plain


def test_branches_and_xml(covered):
    args = ("--cov=library", "--cov-branch", "--cov-report=term-missing", "--cov-report=xml")
    runs = covered.compare(*args, what=lambda run: (table(run), xml(run)))
    check({REFERENCE: covered.run(PLAIN, *args, n=0), **runs}, xml, "the XML report without workers")
    assert "7, 10, 15" in table(runs[REFERENCE])[1] and 'branch-rate="0.6667"' in xml(runs[REFERENCE])


@pytest.mark.parametrize("percent, code", [(75, 0), (76, 1)])
def test_fail_under(covered, percent, code):
    runs = covered.compare(
        "--cov=library",
        f"--cov-fail-under={percent}",
        what=lambda run: run.lines("Required test coverage|FAIL Required"),
    )
    assert {run.code for run in runs.values()} == {code}


def test_failures_and_a_crash(covered):
    covered.file(
        "test_worse.py",
        """
        import os
        from library import sign, unused

        def test_fails():
            assert sign(0) == "something"

        def test_crashes():
            unused()
            os._exit(1)

        def test_after_the_crash():
            assert sign(0) == "none"
        """,
    )
    # What the crashed worker had measured is lost, so the table says less than it could, and names the worker.
    runs = covered.compare("--cov=library", what=lambda run: [normal(line) for line in failed_workers(run)])
    assert all(table(run) for run in runs.values())
    assert all(len(failed_workers(run)) == 1 for run in runs.values())


def failed_workers(run):
    """Workers that have not returned what they measured."""
    return [line for line in run.out.splitlines() if re.fullmatch(r"gw\d+", line)]


@pytest.mark.thorough
def test_without_tests(covered):
    covered.compare("--cov=library", "-k", "nothing_at_all", what=table)


@pytest.mark.thorough
def test_contexts(covered):
    covered.compare("--cov=library", "--cov-context=test", "--cov-report=json:cov.json", what=contexts)


def contexts(run):
    """Which tests have run which lines."""
    return re.sub(r'"timestamp": "[^"]*"', "", run.read("cov.json"))


@pytest.mark.thorough
def test_data_of_workers_are_gone(covered):
    covered.compare("--cov=library", what=lambda run: run.files(".coverage*"))


@pytest.mark.thorough
def test_the_option_to_switch_it_off(covered):
    covered.compare("--cov=library", "--no-cov", what=lambda run: (table(run), run.files(".coverage*")))
