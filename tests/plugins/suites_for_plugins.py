"""Test modules that several plugins are tried with."""

# Every outcome, with output; nothing in it depends on what runs beside it.
OUTCOMES = """
    import logging
    import sys

    import pytest

    @pytest.mark.parametrize("number", range(6))
    def test_passes(number):
        assert number >= 0

    @pytest.mark.parametrize("text", ["plain", "ümläut", "a/b", "<tag>"])
    def test_of_texts(text, record_property):
        record_property("text", text)

    def test_fails():
        print("printed by the test")
        print("to standard error", file=sys.stderr)
        logging.getLogger("suite").warning("logged by the test")
        assert {"one": 1} == {"one": 2}

    @pytest.fixture
    def broken():
        raise RuntimeError("the fixture is broken")

    def test_error_in_setup(broken):
        pass

    @pytest.fixture
    def bad_end():
        yield
        raise RuntimeError("the end is bad")

    def test_error_in_teardown(bad_end):
        print("the call was fine")

    @pytest.mark.skip(reason="not today")
    def test_skipped():
        pass

    @pytest.mark.xfail(reason="known")
    def test_expected_failure():
        assert 0

    @pytest.mark.xfail(reason="mended")
    def test_unexpected_pass():
        pass

    def test_with_output():
        print("captured and passed")
"""

# A test process that dies.
CRASH = """
    import os

    def test_before_the_crash():
        pass

    def test_crashes():
        os._exit(3)

    def test_after_the_crash():
        pass
"""

# A module that cannot be collected.
BROKEN = """
    import a_module_that_is_not_there
"""
