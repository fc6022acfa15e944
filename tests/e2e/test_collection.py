"""What workers collect, and what happens when they do not agree."""

import pytest


def test_different_tests(xdist):
    xdist.files(
        test_a="""
        import os
        import pytest

        @pytest.mark.parametrize("name", ["same", "only_" + os.environ["PYTEST_XDIST_WORKER"]])
        def test_a(name):
            signal("ran")
        """
    )
    result = xdist.run("-n3")
    assert result.code == 1, result.text
    assert "Different tests were collected between gw0 and gw1" in result.text
    assert "test_a[only_gw1]" in result.text
    assert "test_a[same]" not in result.text, "only the tests that differ"


@pytest.mark.parametrize("mode", ["load", "worksteal", "loadscope"])
def test_different_order_is_matched_by_id(xdist, mode):
    xdist.files(
        conftest="""
        import os

        def pytest_collection_modifyitems(items):
            if os.environ["PYTEST_XDIST_WORKER"] == "gw1":
                items.reverse()
        """,
        test_a="import pytest\n\n@pytest.mark.parametrize('n', range(20))\ndef test_a(n):\n    signal(n)\n",
    )
    result = xdist.run("-n2", f"--dist={mode}")
    assert (result.code, result.totals) == (0, {"passed": 20}), result.text
    assert sorted(int(xdist.signals.next()) for _ in range(20)) == list(range(20))


def test_the_same_node_id_twice(xdist):
    xdist.files(
        conftest="def pytest_collection_modifyitems(items):\n    items.extend(list(items))\n",
        test_a="def test_a():\n    signal('a')\n\ndef test_b():\n    signal('b')\n",
    )
    result = xdist.run("-n2")
    assert (result.code, result.totals) == (0, {"passed": 4}), result.text


def test_more_workers_than_tests(xdist):
    xdist.files(test_a="def test_a():\n    pass\n\ndef test_b():\n    pass\n")
    for mode in ("load", "worksteal", "loadscope", "loadfile", "loadgroup"):
        result = xdist.run("-n4", f"--dist={mode}")
        assert (result.code, result.totals) == (0, {"passed": 2}), f"{mode}\n{result.text}"
