"""pytest-asyncio: coroutines as tests and fixtures, with loops of every scope."""

import pytest

TESTS = """
    import asyncio

    import pytest
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def value():
        await asyncio.sleep(0)
        yield 5
        await asyncio.sleep(0)

    @pytest.mark.asyncio
    @pytest.mark.parametrize("number", range(6))
    async def test_coroutine(value, number):
        await asyncio.sleep(0.001)
        assert value == 5

    @pytest.mark.asyncio
    async def test_fails():
        await asyncio.sleep(0)
        raise RuntimeError("in the loop")

    loop = None

    @pytest.mark.asyncio(loop_scope="module")
    async def test_remembers():
        global loop
        loop = asyncio.get_running_loop()

    @pytest.mark.asyncio(loop_scope="module")
    async def test_same_loop():
        assert loop is None or loop is asyncio.get_running_loop()

    def test_without():
        pass
"""
AUTO = """
    async def test_without_a_mark():
        pass
"""


@pytest.fixture
def coroutines(suite):
    suite.file("test_coroutines.py", TESTS)
    return suite


def test_strict(coroutines):
    coroutines.compare(what=lambda run: run.lines("^asyncio: mode|^FAILED"))


def test_auto(coroutines):
    coroutines.file("test_auto.py", AUTO)
    coroutines.compare("--asyncio-mode=auto", what=lambda run: run.lines("^asyncio: mode|^FAILED"))


def test_debug(coroutines):
    coroutines.compare("--asyncio-debug", what=lambda run: run.lines("^FAILED"))
