"""What is collected with shortcuts is what pytest collects without them, down to the attributes of every item."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from harness import PYTHON, Runner

Suite = Callable[..., Path]
Start = Callable[..., Runner]

# Describes every item as far as two processes can agree on it.
CONFTEST = """
    import enum, json, os, re, types
    import pytest

    @pytest.fixture(params=["x", "y"])
    def either(request):
        return request.param

    @pytest.fixture
    def one():
        return 1

    @pytest.fixture(autouse=True)
    def always():
        pass

    def plain(value):
        if isinstance(value, pytest.Mark):
            return ["mark", value.name, repr(value.args), repr(value.kwargs)]
        return re.sub("0x[0-9a-f]+", "0x", repr(value))

    def describe(item):
        keywords = {str(key): plain(item.keywords[key]) for key in item.keywords}
        info = getattr(item, "_fixtureinfo", None)
        return {
            "nodeid": item.nodeid,
            "type": repr(type(item)),
            "attributes": sorted(vars(item)),
            "names": [item.name, getattr(item, "originalname", None)],
            "markers": [plain(each) for each in item.own_markers],
            "all markers": [plain(each) for each in item.iter_markers()],
            "keywords": dict(sorted(keywords.items())),
            "fixtures": getattr(item, "fixturenames", None),
            "arguments": info and [list(info.argnames), list(info.initialnames), sorted(info.name2fixturedefs)],
            "request": plain(item._request) if info else None,
            "objects": [plain(getattr(item, name, None)) for name in ("obj", "_obj", "function", "instance", "cls", "module")],
            "own instance": getattr(item, "instance", None) is getattr(item.obj, "__self__", None),
            "parameters": plain(getattr(getattr(item, "callspec", None), "params", None)),
            "location": plain(item.location),
            "parent": plain(item.parent),
            "stash": len(item.stash._storage),
            "extra": sorted(item.extra_keyword_matches),
        }

    def pytest_collection_modifyitems(items):
        with open(os.environ["DESCRIPTION"], "w") as file:
            json.dump([describe(item) for item in items], file)
"""

FUNCTIONS = """
    import functools
    import unittest
    from unittest import mock

    import pytest

    pytestmark = [pytest.mark.filterwarnings("default")]

    def test_bare():
        pass

    test_alias = test_bare
    test_lambda = lambda: None

    def test_fixtures(one, tmp_path, *, request):
        assert one == 1

    def test_defaults(one, two=2, *, three=3):
        assert (one, two, three) == (1, 2, 3)

    def test_variadic(one, *args, **kwargs):
        assert not args and not kwargs

    def test_positional_only(one=1, /):
        pass

    @pytest.mark.usefixtures("one")
    @pytest.mark.skipif(False, reason="never")
    def test_marked():
        pass

    def test_attribute():
        pass
    test_attribute.attribute = ["a"]

    @mock.patch("os.getcwd")
    def test_patched(getcwd, one):
        assert one == 1

    def wrapped(function):
        @functools.wraps(function)
        def wrapper(one=None):
            return function(one)
        return wrapper

    @wrapped
    def test_wrapped(one):
        assert one == 1

    @pytest.mark.parametrize("number", [1, 2])
    def test_parametrized(number, one):
        pass

    def test_of_fixture_with_parameters(either):
        pass

    class Callable:
        def __call__(self):
            pass

    test_callable = Callable()

    class Base:
        def test_inherited(self, one):
            assert one == 1

    @pytest.mark.filterwarnings("ignore")
    class TestClass(Base):
        made = 0

        def __new__(cls):
            cls.made += 1
            return super().__new__(cls)

        def test_method(self, one):
            self.kept = one

        def test_own_instance(self):
            assert not hasattr(self, "kept")

        test_alias = test_own_instance

        @staticmethod
        def test_static(one):
            assert one == 1

        @classmethod
        def test_class(cls, one):
            assert one == 1

        @pytest.mark.parametrize("number", [1, 2])
        def test_parametrized(self, number):
            pass

        class TestNested:
            def test_nested(self, one):
                pass

        def test_instances(self):
            assert type(self).made == len(
                ["inherited", "method", "own_instance", "alias", "class", "parametrized 1", "parametrized 2", "instances"]
            )

    class TestShadows(Base):
        def test_inherited(self):
            pass

    class TestUnittest(unittest.TestCase):
        def test_case(self):
            pass
"""

# Each has a say in the parametrization of what is below it.
GENERATORS = {
    "of_module/test_module.py": """
        def pytest_generate_tests(metafunc):
            metafunc.definition.add_marker("slow")
            if "number" in metafunc.fixturenames:
                metafunc.parametrize("number", [1, 2])

        def test_without(): pass
        def test_with(number): pass
    """,
    "of_class/test_class.py": """
        class TestOne:
            def pytest_generate_tests(self, metafunc):
                metafunc.definition.keywords["slow"] = True
            def test_without(self): pass

        class TestOther:
            def test_without(self): pass
    """,
    "of_conftest/conftest.py": """
        def pytest_generate_tests(metafunc):
            metafunc.definition.extra_keyword_matches.add("slow")
            metafunc.definition.kept = metafunc
    """,
    "of_conftest/test_conftest.py": "def test_without(): pass",
    "of_nobody/conftest.py": "",
    "of_nobody/test_nobody.py": "def test_without(): pass",
}


@pytest.mark.parametrize("files", [{"test_a": FUNCTIONS}, GENERATORS], ids=["functions", "generators"])
def test_items_are_those_of_pytest(suite: Suite, start: Start, tmp_path: Path, files: dict[str, str]) -> None:
    directory = suite(conftest=CONFTEST, **files)
    plain, short = tmp_path / "plain", tmp_path / "short"
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "DESCRIPTION": str(plain)}
    for name in [name for name in environment if name.startswith("PYTEST_") and not name.endswith("AUTOLOAD")]:
        del environment[name]
    command = [PYTHON, "-m", "pytest", "-q", "--collect-only"]
    subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True)
    runner = start(environment={"DESCRIPTION": str(short)})
    reports = runner.run_all()
    assert {report.get("class", "pass") for report in reports} == {"pass"}, reports
    expected, found = (_described(path) for path in (plain, short))
    assert len(found) == len(reports)
    for nodeid, description in expected.items():
        assert found.pop(nodeid) == description
    assert not found


def _described(path: Path) -> dict[str, Any]:
    return {each["nodeid"]: each for each in json.loads(path.read_text())}


def test_nothing_is_left_of_the_shortcuts_when_tests_run(suite: Suite, start: Start) -> None:
    suite(
        test_a="""
        import _pytest.compat, inspect
        from _pytest.python import Function

        def test_signatures():
            assert _pytest.compat.signature.__module__ in ("inspect", "_pytest.compat")

        def test_functions():
            assert inspect.getmodule(Function.from_parent).__name__ == "_pytest.python"
        """
    )
    assert [report.get("class", "pass") for report in start().run_all()] == ["pass", "pass"]


def test_a_function_that_is_initialized_otherwise_is_made_as_pytest_does(suite: Suite, start: Start) -> None:
    suite(
        conftest="""
        import pytest
        initialize = pytest.Function.__init__

        def __init__(self, *args, **fields):
            initialize(self, *args, **fields)
            self.initialized_as = type(self)

        pytest.Function.__init__ = __init__
        """,
        test_a="""
        import pytest
        def test(request):
            assert request.node.initialized_as is pytest.Function
        """,
    )
    assert [report.get("class", "pass") for report in start().run_all()] == ["pass"]


def test_a_conftest_that_is_found_on_the_way_counts(suite: Suite, start: Start) -> None:
    suite(
        **{
            "test_a.py": "def test(): pass",
            "deeper/conftest.py": """
                def pytest_itemcollected(item):
                    item.add_marker("found")
            """,
            "deeper/test_b.py": """
                def test(request):
                    assert request.node.get_closest_marker("found")
            """,
            "test_c.py": """
                def test(request):
                    assert not request.node.get_closest_marker("found")
            """,
        }
    )
    reports = start().run_all()
    assert [report.get("class", "pass") for report in reports] == ["pass"] * 3
