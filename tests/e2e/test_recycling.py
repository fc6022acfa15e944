"""`--max-tests-per-worker` and `--worker-memory-limit`: workers that end in good order and are replaced."""

from collections import Counter

import pytest

TESTS = """
    import os, pytest
    from signals_of_suite import signal

    @pytest.fixture(scope="session", autouse=True)
    def session_thing():
        signal(f"up {os.getpid()}")
        yield
        signal(f"down {os.getpid()}")

    @pytest.mark.parametrize("n", range(12))
    def test_a(n):
        signal(f"test {os.getpid()}")
"""


def told(xdist, sessions):
    """How many tests each process ran, and which processes set up and tore down what is a session's."""
    lines = [xdist.signals.next().split() for _ in range(12 + 2 * sessions)]
    of_kind = {kind: [pid for told, pid in lines if told == kind] for kind in ("test", "up", "down")}
    assert sorted(of_kind["up"]) == sorted(of_kind["down"]) == sorted(set(of_kind["up"]))
    return Counter(of_kind["test"])


def recycled(result):
    return [event["worker_id"] for event in result.events if event["$report_type"] == "WorkerRecycled"]


@pytest.mark.parametrize(
    "args", [["-n1"], ["-n1", "--start=spawn"], ["-n1", "--dist=load"], ["-n1", "--dist=each"]], ids=" ".join
)
def test_no_process_runs_more_tests_than_it_may(xdist, args):
    xdist.files(test_a=TESTS)
    result = xdist.run(*args, "--max-tests-per-worker=5", "--max-worker-restart=0", "-v")
    assert (result.code, result.totals) == (0, {"passed": 12}), result.text
    assert recycled(result) == ["gw0", "gw1"]
    assert "[gw0] recycled: --max-tests-per-worker=5\n" in result.out
    assert "[gw2] takes the place of gw1\n" in result.out
    assert "crash" not in result.text
    assert sorted(told(xdist, 3).values()) == [2, 5, 5]


@pytest.mark.parametrize("mode", ["load", "loadscope", "loadfile", "loadgroup", "worksteal"])
def test_with_several_workers_every_test_is_run_once(xdist, mode):
    xdist.files(test_a=TESTS)
    result = xdist.run("-n3", f"--dist={mode}", "--max-tests-per-worker=2")
    assert (result.code, result.totals) == (0, {"passed": 12}), result.text
    assert len(result.outcomes) == 12
    # A process that runs nothing sets nothing up.
    lines = [xdist.signals.next().split() for _ in range(12 + 2 * 6)]
    assert max(Counter(pid for kind, pid in lines if kind == "test").values()) <= 2
    assert "recycled" not in result.out, "that is for -v"


def test_without_more_to_do_nobody_is_replaced(xdist):
    xdist.files(test_a=TESTS)
    result = xdist.run("-n1", "--max-tests-per-worker=12")
    assert (result.code, recycled(result)) == (0, []), result.text
    assert told(xdist, 1).total() == 12


def test_a_process_that_has_too_much_memory_is_replaced(xdist):
    xdist.files(
        test_a="""
        import os, time, pytest
        from signals_of_suite import signal

        kept = []

        def is_noticed():
            with open(os.environ["LOG"]) as log:
                return '"WorkerRecycled"' in log.read()

        @pytest.mark.parametrize("n", range(12))
        def test_a(n):
            kept.append(b"x" * (40 << 20))
            # All twelve wait in the pipe, and need not wait for whoever looks.
            while len(kept) > 6 and "LOG" in os.environ and not is_noticed():
                time.sleep(0.01)
            # Memory is not looked at all the time.
            end = time.monotonic() + 0.03
            while time.monotonic() < end:
                pass
            signal(os.getpid())
        """
    )
    log = xdist.scratch / "log.jsonl"
    result = xdist.run("-n1", "--worker-memory-limit=200M", "-v", "--report-log", log, LOG=str(log))
    assert (result.code, result.totals) == (0, {"passed": 12}), result.text
    processes = Counter(xdist.signals.next() for _ in range(12))
    assert len(processes) > 1 and max(processes.values()) < 10, processes
    assert "is above the limit of 200.0 MiB" in result.out
    assert xdist.run("-n1", "--worker-memory-limit=1000G").code == 0


@pytest.mark.parametrize("mode", ["loadfile", "loadscope", "loadgroup", "worksteal"])
def test_parts_of_what_stays_together_run_one_after_the_other(xdist, mode):
    xdist.files(
        test_a="""
        import pytest, time

        @pytest.mark.xdist_group("one")
        @pytest.mark.parametrize("n", range(12))
        def test_a(n, worker_id):
            signal(f"begin {n} {worker_id}")
            time.sleep(0.01)
            signal(f"end {n} {worker_id}")
        """
    )
    result = xdist.run("-n2", f"--dist={mode}", "--max-tests-per-worker=5", "-v")
    assert (result.code, result.totals) == (0, {"passed": 12}), result.text
    lines = [xdist.signals.next().split() for _ in range(24)]
    assert [(word, int(n)) for word, n, _ in lines] == [(word, n) for n in range(12) for word in ("begin", "end")]
    assert max(Counter(worker for _, _, worker in lines).values()) <= 2 * 5


def test_a_worker_that_crashes_at_its_limit_is_replaced_as_a_crashed_one(xdist):
    xdist.files(
        test_a="""
        import os, pytest

        @pytest.mark.parametrize("n", range(4))
        def test_a(n):
            if n == 1:
                os._exit(3)
        """
    )
    result = xdist.run("-n1", "--max-tests-per-worker=2", "-v")
    assert (result.code, result.totals) == (1, {"failed": 1, "passed": 3}), result.text
    assert "replacing crashed worker gw0" in result.out
    assert "takes the place of gw0" not in result.out


def test_it_goes_together_with_a_time_limit_and_x(xdist):
    xdist.files(
        test_a="""
        import pytest

        @pytest.mark.parametrize("n", range(6))
        def test_a(n):
            while n == 3:
                pass
        """
    )
    result = xdist.run("-n1", "-x", "--max-tests-per-worker=2", "--timeout=1")
    assert result.code == 2
    assert result.totals == {"failed": 1, "passed": 3, "not run": 2}, result.text


def test_where_plugins_have_the_terminal_it_is_said_too(xdist):
    xdist.files(test_a=TESTS)
    result = xdist.run("-n1", "--max-tests-per-worker=6", "--pytest-host=always", "-v")
    assert (result.code, result.totals) == (0, {"passed": 12}), result.text
    assert "[gw0] recycled: --max-tests-per-worker=6" in result.out
    assert "[gw1] takes the place of gw0" in result.out and "replacing crashed" not in result.out
