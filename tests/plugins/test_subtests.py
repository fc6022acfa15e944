"""pytest-subtests, and pytest's own subtests, which have the same fixture."""

import pytest
from doors import REFERENCE

TESTS = """
    import unittest

    def test_two_of_three(subtests):
        for number in range(3):
            with subtests.test("a message", number=number):
                assert number != 1

    def test_all(subtests):
        for number in range(3):
            with subtests.test(number=number):
                print("output of", number)

    def test_and_fails_itself(subtests):
        with subtests.test("inside"):
            pass
        assert False

    class TestCase(unittest.TestCase):
        def test_unittest(self):
            for number in range(4):
                with self.subTest(number=number):
                    self.assertNotEqual(number, 2)
"""


def shown(run):
    """The lines of subtests as far as they are not cut off; only pytest-xdist puts numbers between quotation marks."""
    return [
        line.replace("'", "").partition(" - ")[0]
        for line in run.lines(r"^(SUBFAIL|FAILED|PASSED)|^_+ test_.*_+$|^_+ TestCase.*_+$|SUBPASS")
    ]


@pytest.mark.parametrize("plugin", ["subtests", "mock"], ids=["pytest-subtests", "pytest 9"])
@pytest.mark.parametrize("args", [(), ("-v",)], ids=" ".join)
def test_subtests(make_suite, plugin, args):
    suite = make_suite(plugin=plugin)
    suite.file("test_parts.py", TESTS)
    runs = suite.compare(*args, what=shown)
    assert runs[REFERENCE].code == 1
