"""pytest-mock: patches are undone, and its comparisons are explained."""

import pytest

TESTS = """
    import os

    import pytest

    @pytest.mark.parametrize("number", range(6))
    def test_patch(mocker, number):
        mocker.patch("os.getcwd", return_value=f"/{number}")
        assert os.getcwd() == f"/{number}"

    def test_undone():
        assert os.path.isdir(os.getcwd())

    def test_spy(mocker):
        spy = mocker.spy(os.path, "join")
        assert os.path.join("a", "b") == "a/b"
        spy.assert_called_once_with("a", "b")

    def test_fails(mocker):
        stub = mocker.stub()
        stub("one", key=1)
        stub.assert_called_once_with("two", key=2)
"""


@pytest.fixture
def mocked(suite):
    suite.file("test_mocked.py", TESTS)
    return suite


def test_mock(mocked):
    mocked.compare(what=lambda run: run.lines("^(FAILED|E )"))
