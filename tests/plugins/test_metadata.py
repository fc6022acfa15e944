"""pytest-metadata: the same metadata on both sides, and what workers add comes back."""

import re

import pytest

HOOKS = """
    import json
    import pathlib

    import pytest
    from pytest_metadata.plugin import metadata_key

    def pytest_metadata(metadata):
        metadata["from"] = "a hook"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(session):
        name = getattr(session.config, "workerinput", {}).get("workerid", "controller")
        path = pathlib.Path(__file__).with_name(f"{name}.json")
        found = session.config.stash[metadata_key]
        wanted = {key: found.get(key) for key in ("from", "key", "Platform", "Python", "added")}
        path.write_text(json.dumps(wanted))
"""
TESTS = """
    import pytest
    from pytest_metadata.plugin import metadata_key

    @pytest.fixture(scope="session", autouse=True)
    def added(request):
        request.config.stash[metadata_key]["added"] = "in a worker"

    @pytest.mark.parametrize("number", range(8))
    def test_sees(metadata, number):
        assert metadata["key"] == "value" and metadata["from"] == "a hook"
"""


@pytest.fixture
def described(suite):
    suite.file("conftest.py", HOOKS)
    suite.file("test_metadata.py", TESTS)
    return suite


def test_metadata(described):
    described.compare(
        "--metadata", "key", "value", what=lambda run: {name: run.read(name) for name in run.files("*.json")}
    )


def header(run):
    """The line in the header, without the plugins: pytest-xdist is none of them where it is not used."""
    return [re.sub(r"'Plugins': \{[^}]*\}", "", line) for line in run.lines("^metadata:.*'key': 'value'")]


def test_header(described):
    described.compare("-v", "--metadata", "key", "value", what=header)
