"""Durations that are kept between runs, and the order that follows from them."""

import contextlib
import sqlite3

# Eight tests in one file; the sixth takes long. Short as it is, it is a hundred times as long as the others.
UNEVEN = """
    import time

    import pytest

    @pytest.mark.parametrize("number", range(8))
    def test_it(number):
        time.sleep(0.2 if number == 5 else 0.002)
    """


def store(xdist):
    return xdist.directory / ".pytest_cache" / "d" / "xdist" / "durations.sqlite3"


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {node_id: call_us for node_id, call_us in connection.execute("SELECT node_id, call_us FROM durations")}


def the_others_took_no_time(path):
    """Any of the short ones may have had to wait for a processor."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE durations SET call_us = 2000 WHERE node_id NOT LIKE '%[5]'")


def test_what_tests_took_is_in_the_cache_and_the_longest_begins_first_next_time(xdist):
    xdist.files(test_a=UNEVEN)
    first = xdist.run("-n2")
    assert first.totals == {"passed": 8}
    taken = rows(store(xdist))
    assert len(taken) == 8
    assert taken["test_a.py::test_it[5]"] >= 200_000 and min(taken.values()) >= 2_000
    the_others_took_no_time(store(xdist))
    second = xdist.run("-n2")
    assert second.totals == {"passed": 8}
    calls = [event for event in second.events if event.get("when") == "call"]
    long = next(event for event in calls if event["nodeid"].endswith("[5]"))
    of_same_worker = [event for event in calls if event["worker_id"] == long["worker_id"]]
    assert min(of_same_worker, key=lambda event: event["start"]) is long


def test_without_the_cache_plugin_nothing_is_kept(xdist):
    xdist.files(test_a=UNEVEN)
    assert xdist.run("-n2", "-p", "no:cacheprovider").totals == {"passed": 8}
    assert not (xdist.directory / ".pytest_cache").exists()


def test_a_broken_store_costs_one_warning_and_is_replaced(xdist):
    xdist.files(test_a="def test_1(): pass")
    store(xdist).parent.mkdir(parents=True)
    store(xdist).write_text("no database " * 1000)
    broken = xdist.run("-n2")
    assert (broken.code, broken.totals) == (0, {"passed": 1, "warning": 1})
    assert "durations.sqlite3: file is not a database; starting anew" in broken.out
    assert list(rows(store(xdist))) == ["test_a.py::test_1"]
    assert xdist.run("-n2").totals == {"passed": 1}


def test_a_store_that_somebody_holds_is_gone_without(xdist):
    xdist.files(test_a="def test_1(): pass")
    xdist.run("-n2")
    with contextlib.closing(sqlite3.connect(store(xdist), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        held = xdist.run("-n2")
    assert (held.code, held.totals) == (0, {"passed": 1, "warning": 1})
    assert "it is in use; going without" in held.out


def test_a_store_that_cannot_be_written_is_gone_without(xdist):
    xdist.files(test_a="def test_1(): pass")
    in_the_way = xdist.directory / ".pytest_cache" / "d"
    in_the_way.parent.mkdir()
    in_the_way.write_text("no directory")
    result = xdist.run("-n2")
    assert (result.code, result.totals) == (0, {"passed": 1, "warning": 1})
    assert "cannot write durations of tests in" in result.out


def test_clearing_the_cache_clears_the_durations(xdist):
    xdist.files(test_a="def test_1(): pass\n", test_b="def test_2(): pass\n")
    xdist.run("-n2")
    assert len(rows(store(xdist))) == 2
    xdist.run("-n2", "--cache-clear", "test_a.py")
    assert list(rows(store(xdist))) == ["test_a.py::test_1"]


def test_durations_from_another_file_decide_the_order_and_the_file_is_not_written(xdist):
    xdist.files(test_a=UNEVEN)
    xdist.run("-n2")
    the_others_took_no_time(store(xdist))
    shared = xdist.scratch / "shared.sqlite3"
    store(xdist).rename(shared)
    before = shared.read_bytes()
    # In addopts as well as on the command line, and relative to the current directory.
    xdist.ini("addopts = --durations-from=../shared.sqlite3 -pno:cacheprovider\n")
    result = xdist.run("-n2")
    assert result.totals == {"passed": 8}
    calls = [event for event in result.events if event.get("when") == "call"]
    long = next(event for event in calls if event["nodeid"].endswith("[5]"))
    assert all(event["start"] >= long["start"] for event in calls if event["worker_id"] == long["worker_id"])
    assert shared.read_bytes() == before


def test_a_file_of_durations_that_is_not_there_is_told_of(xdist):
    xdist.files(test_a="def test_1(): pass")
    result = xdist.run("-n2", "--durations-from=nowhere.sqlite3")
    assert (result.code, result.totals) == (0, {"passed": 1, "warning": 1})
    assert "there is no such file; going by the cache instead" in result.out
