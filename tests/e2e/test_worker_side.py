"""What tests and plugins see inside a worker."""

import json

import pytest


def test_identity(xdist):
    xdist.files(
        test_a="""
        import os

        def test_identity(worker_id, testrun_uid, pytestconfig):
            assert os.environ["PYTEST_XDIST_WORKER"] == worker_id == pytestconfig.workerinput["workerid"]
            assert os.environ["PYTEST_XDIST_TESTRUNUID"] == testrun_uid == pytestconfig.workerinput["testrunuid"]
            assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "2"
            assert pytestconfig.workerinput["workercount"] == 2
            assert pytestconfig.workeroutput is not None
        """
    )
    result = xdist.run("-n2")
    assert result.code == 0, result.text


def test_options_are_neutralised(xdist):
    xdist.ini("addopts = -n 2 --dist=load\n")
    xdist.files(
        test_a="""
        def test_options(pytestconfig):
            assert pytestconfig.option.dist == "no"
            assert pytestconfig.option.numprocesses is None
        """
    )
    assert xdist.run().code == 0


def test_basetemp_is_the_workers_own_under_a_shared_parent(xdist):
    xdist.files(
        test_a="""
        import pytest

        @pytest.mark.parametrize("n", range(4))
        def test_where(tmp_path_factory, worker_id, n):
            base = tmp_path_factory.getbasetemp()
            signal(f"{base.parent} {base.name} {worker_id}")
        """
    )
    assert xdist.run("-n2", "--dist=load").code == 0
    seen = {tuple(xdist.signals.next().split()) for _ in range(4)}
    assert len({parent for parent, _, _ in seen}) == 1
    assert all(name == f"popen-{worker}" for _, name, worker in seen)


def test_main_thread_and_sys_path(xdist):
    xdist.files(
        test_a="""
        import json, sys, threading

        def test_where():
            assert threading.current_thread() is threading.main_thread()
            # The outer test needs its recorder on the path of plain pytest.
            signal(json.dumps([path for path in sys.path if not path.endswith("tools")]))
        """
    )
    assert xdist.pytest().code == 0
    expected = json.loads(xdist.signals.next())
    assert xdist.run("-n1").code == 0
    assert json.loads(xdist.signals.next()) == expected


def test_groups_stay_together(xdist):
    xdist.files(
        test_a="""
        import pytest

        @pytest.mark.parametrize("n", range(10))
        @pytest.mark.parametrize("group", [pytest.param(g, marks=pytest.mark.xdist_group(g)) for g in "abc"])
        def test_grouped(group, n, worker_id):
            signal(f"{group} {worker_id}")
        """
    )
    for mode in ("loadgroup", "worksteal"):
        result = xdist.run("-n3", f"--dist={mode}")
        assert (result.code, result.totals) == (0, {"passed": 30})
        places = {tuple(xdist.signals.next().split()) for _ in range(30)}
        assert len(places) == 3, f"{mode}: {sorted(places)}"
    assert any(node_id == "test_a.py::test_grouped[a-0]" for node_id, _ in result.outcomes), "node ids stay as they are"


@pytest.mark.parametrize(("mode", "unit"), [("loadscope", "class"), ("loadfile", "file")])
def test_units_stay_together(xdist, mode, unit):
    text = """
        import pytest

        class TestOne:
            @pytest.mark.parametrize("n", range(5))
            def test_it(self, n, worker_id):
                signal(f"{__name__} {type(self).__name__} {worker_id}")

        class TestTwo(TestOne):
            pass
        """
    xdist.files(test_a=text, test_b=text, test_c=text)
    assert xdist.run("-n2", f"--dist={mode}").code == 0
    places: dict = {}
    for _ in range(30):
        file, name, worker = xdist.signals.next().split()
        places.setdefault((file, name) if unit == "class" else file, set()).add(worker)
    assert all(len(workers) == 1 for workers in places.values()), places


def test_a_short_test_does_not_wait_behind_a_slow_one(xdist):
    """The slow test ends only when every other test has run, wherever these were queued."""
    xdist.files(
        test_a="""
        import os, pathlib, time
        import pytest

        HERE = pathlib.Path(__file__).parent

        def test_slow():
            end = time.monotonic() + 50
            while len(list(HERE.glob("done-*"))) < 9:
                assert time.monotonic() < end, "somebody waits behind me"
                time.sleep(0.01)

        @pytest.mark.parametrize("n", range(9))
        def test_short(n):
            (HERE / f"done-{n}").touch()
        """
    )
    for mode in ("worksteal", "load"):
        result = xdist.run("-n2", f"--dist={mode}")
        assert result.code == 0, result.text
        for path in xdist.directory.glob("done-*"):
            path.unlink()


def test_odd_values_never_end_a_run(xdist):
    xdist.files(
        test_a="""
        import decimal, os, sys, warnings
        import pytest

        @pytest.mark.parametrize("value", [
            decimal.Decimal("1.5"), "lone \\ud800 surrogate", b"\\xff\\x00", 10 ** 400, object(), {1: {2, 3}}, float("nan"), None,
        ], ids=range(8))
        def test_property(record_property, value):
            record_property("value", value)
            record_property(value, "name")

        def test_output():
            print("lone \\udcff surrogate")
            os.write(1, b"\\xff\\xfe not UTF-8\\n")
            os.write(2, b"\\xff\\xfe not UTF-8\\n")

        def test_failure():
            print("lone \\udcff surrogate", "\\x00\\x1b[31m")
            assert "\\ud800" == b"\\xff"

        def test_warning():
            class Odd(UserWarning):
                pass
            warnings.warn(Odd(object(), "\\ud800"))

        @pytest.mark.parametrize("text", ["\\ud800", "\\x00", "é" * 5000])
        def test_parameter(text):
            pass
        """
    )
    result = xdist.run("-n2", "-s")
    assert result.code == 1, result.text
    assert result.totals == {"passed": 13, "failed": 1, "warning": 1}, result.text


def test_workeroutput_and_hooks(xdist):
    xdist.files(
        conftest="""
        import pytest
        from signals_of_suite import signal

        @pytest.hookimpl(trylast=True)
        def pytest_sessionfinish(session):
            # It is called in the pytest host too.
            if hasattr(session.config, "workerinput"):
                signal(f"finish {session.config.workerinput['workerid']} {session.testscollected}")
        """,
        test_a="def test_a():\n    pass\n\ndef test_b():\n    pass\n",
    )
    assert xdist.run("-n2").code == 0
    assert {xdist.signals.next() for _ in range(2)} == {"finish gw0 2", "finish gw1 2"}


def test_an_item_of_which_a_plugin_runs_nothing_has_not_passed(xdist):
    xdist.files(
        conftest="""
        import pytest
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item):
            return True if item.name == "test_b" else None
        """,
        test_a="def test_a(): pass\ndef test_b(): pass",
    )
    result = xdist.run("-n", "2", "-rs")
    assert result.totals == {"passed": 1, "skipped": 1}, result.text
    assert "a plugin ran nothing of it" in result.out


@pytest.mark.parametrize("args", [["-n2"], ["-n2", "--retries=1"], ["-n0", "--retries=1"]], ids=" ".join)
def test_what_was_said_of_an_item_when_it_was_collected_stays_in_its_report(xdist, args):
    xdist.files(
        conftest="""
        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_report_section("call", "origin", "told at collection")
        """,
        test_a="def test_a(): assert 0",
    )
    result = xdist.run(*args)
    assert "told at collection" in result.out, result.text
