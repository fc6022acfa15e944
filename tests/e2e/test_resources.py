"""`xdist_exclusive` and `xdist_resource`: tests that run alone, or never beside others that use the same thing.

Every test of these suites takes locks of the operating system for what its marks say, and fails at once if it cannot have
them. The locks of a process that dies are gone with it.
"""

import pytest

DOORS = ("xdist run", "pytest -n")

GUARD = """
    import fcntl, os, time
    from contextlib import ExitStack, contextmanager
    import pytest

    DIRECTORY = os.environ["GUARD"]

    @contextmanager
    def lock(names, kind):
        with ExitStack() as stack:
            for name in names:
                file = stack.enter_context(open(os.path.join(DIRECTORY, name), "w"))
                try:
                    fcntl.flock(file, kind | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield
                return
        open(os.path.join(DIRECTORY, "refused"), "w").close()
        raise AssertionError(f"another test has {names}")

    @pytest.fixture(autouse=True)
    def guard(request):
        alone = request.node.get_closest_marker("xdist_exclusive") is not None
        with ExitStack() as stack:
            stack.enter_context(lock(["everything"], fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
            for mark in request.node.iter_markers("xdist_resource"):
                for name in mark.args:
                    slots = [f"{name}-{slot}" for slot in range(mark.kwargs.get("limit", 1))]
                    stack.enter_context(lock(slots, fcntl.LOCK_EX))
            yield

    @pytest.fixture
    def meet(request):
        def meet(own, other):
            open(os.path.join(DIRECTORY, own), "w").close()
            end = time.monotonic() + 60
            while not os.path.exists(os.path.join(DIRECTORY, other)):
                assert time.monotonic() < end, f"{other} does not come"
                os.sched_yield()
        return meet
"""

SUITE = """
    import os, pytest

    def work():
        # Long enough for others to come in between, if they could.
        sum(range(100_000))

    @pytest.mark.parametrize("n", range(12))
    def test_free(n):
        work()

    @pytest.mark.parametrize("n", range(8))
    @pytest.mark.xdist_resource("db")
    def test_db(n):
        work()

    @pytest.mark.parametrize("n", range(8))
    @pytest.mark.xdist_resource("pool", limit=2)
    def test_pool(n):
        work()

    @pytest.mark.xdist_resource("db")
    class TestBoth:
        @pytest.mark.parametrize("n", range(4))
        @pytest.mark.xdist_resource("pool", limit=2)
        @pytest.mark.xdist_group("both")
        def test_both(self, n):
            work()

    @pytest.mark.parametrize("n", range(4))
    @pytest.mark.xdist_exclusive
    def test_alone(n):
        work()
"""

CRASHES = """
    import os, signal, pytest

    @pytest.mark.xdist_resource("db")
    def test_db_and_crash():
        os.kill(os.getpid(), signal.SIGKILL)

    @pytest.mark.xdist_exclusive
    def test_alone_and_crash():
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=DOORS)
def run(request, xdist):
    """Runs the suite through one of the doors."""
    directory = xdist.scratch / "guard"
    directory.mkdir()

    def through_the_door(*args):
        start = xdist.start if request.param == "xdist run" else xdist.start_pytest
        return start(*args, GUARD=str(directory)).wait()

    return through_the_door


@pytest.mark.parametrize("mode", ["load", "worksteal", "loadscope", "loadfile", "loadgroup"])
def test_what_cannot_run_beside_each_other_does_not(xdist, run, mode):
    xdist.files(conftest=GUARD, test_a=SUITE, test_b=SUITE)
    for _ in range(2):
        # The second time, it is known what tests take.
        result = run("-n4", f"--dist={mode}", "--strict-markers")
        assert (result.code, result.totals) == (0, {"passed": 72}), result.text
        assert "warning" not in result.text, result.text


@pytest.mark.parametrize("mode", ["load", "worksteal", "loadscope", "loadgroup"])
@pytest.mark.parametrize("restarts", [["--max-worker-restart=0"], []], ids=["none", "some"])
def test_a_crash_gives_back_what_its_test_had(xdist, run, mode, restarts):
    xdist.files(conftest=GUARD, test_a=CRASHES + SUITE)
    result = run("-n4", f"--dist={mode}", *restarts)
    assert (result.code, result.totals) == (1, {"passed": 36, "failed": 2}), result.text
    crashed = {name for name, outcome in result.outcome_of.items() if outcome != "passed"}
    assert crashed == {"test_db_and_crash", "test_alone_and_crash"}


def test_workers_that_have_done_their_share_keep_to_it_too(xdist, run):
    xdist.files(conftest=GUARD, test_a=SUITE)
    result = run("-n4", "--max-tests-per-worker=3")
    assert (result.code, result.totals) == (0, {"passed": 36}), result.text


def test_only_what_cannot_run_beside_each_other_waits(xdist, run):
    # Two may use the pool at a time, a third one something else, and a fourth one nothing; each waits for the next.
    xdist.files(
        conftest=GUARD,
        test_a="""
        import pytest

        @pytest.mark.xdist_resource("pool", limit=2)
        @pytest.mark.parametrize("n", range(3))
        def test_pool(n, meet):
            if n < 2:
                meet(f"pool{n}", f"pool{1 - n}")
                meet(f"pool{n}", "db")

        @pytest.mark.xdist_resource("db")
        @pytest.mark.parametrize("n", range(2))
        def test_db(n, meet):
            meet("db", "free")

        def test_free(meet):
            meet("free", "pool0")
        """,
    )
    result = run("-n4")
    assert (result.code, result.totals) == (0, {"passed": 6}), result.text


def test_a_chain_keeps_what_its_worker_has_set_up(xdist, run):
    xdist.files(
        test_a="""
        import pytest

        @pytest.fixture(scope="session")
        def database():
            signal("set up")

        @pytest.mark.xdist_resource("db")
        @pytest.mark.parametrize("n", range(10))
        def test_db(n, database, worker_id):
            signal(worker_id)

        @pytest.mark.parametrize("n", range(10))
        def test_free(n):
            pass
        """,
    )
    assert run("-n2").totals == {"passed": 20}
    assert [xdist.signals.next() for _ in range(11)] == ["set up", *["gw0"] * 10]


def test_the_report_log_has_what_tests_ask_for(xdist):
    xdist.files(
        test_a="""
        import pytest

        @pytest.mark.xdist_resource("db", limit=2)
        def test_db(): pass

        @pytest.mark.xdist_exclusive
        def test_alone(): pass

        def test_free(): pass
        """,
    )
    events = {event["$report_type"]: event for event in xdist.run("-n2").events}
    asked = [{key: item.get(key) for key in ("resources", "exclusive")} for item in events["Collected"]["items"]]
    assert asked == [
        {"resources": {"db": 2}, "exclusive": None},
        {"resources": None, "exclusive": True},
        {"resources": None, "exclusive": None},
    ]
    assert "warning" not in events["Scheduling"]


def test_mode_each_says_that_it_cannot_keep_them_apart(xdist, run):
    # Also shows that these locks find out: whoever has them waits until the other has tried.
    xdist.files(
        conftest=GUARD,
        test_a="""
        import pytest

        @pytest.mark.xdist_resource("db")
        def test_db(meet):
            meet("there", "refused")
        """,
    )
    result = run("-n2", "--dist=each")
    assert (result.code, result.totals) == (1, {"passed": 1, "error": 1}), result.text
    warning = (
        "warning: xdist_exclusive and xdist_resource have no effect in mode each, where every worker runs every test"
    )
    assert result.out.count(warning) == 1, result.text


def test_a_scheduler_of_ones_own_says_so_too(xdist, run):
    xdist.files(
        conftest="""
        def pytest_xdist_make_scheduler(config, log):
            from xdist.scheduler import LoadScheduling
            return LoadScheduling(config, log)
        """,
        test_a="""
        import pytest

        @pytest.mark.xdist_exclusive
        def test_alone():
            pass
        """,
    )
    result = run("-n2")
    assert (result.code, result.totals) == (0, {"passed": 1}), result.text
    assert result.out.count("have no effect beside a scheduler of your own (pytest_xdist_make_scheduler)") == 1
    assert run("-n2", "-q").out.count("have no effect") == 1, "it may change outcomes"


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ("xdist_exclusive(3)", "xdist mark xdist_exclusive(3) has arguments, and takes none"),
        ("xdist_resource", 'xdist mark xdist_resource() names no resource: @pytest.mark.xdist_resource("database")'),
        ("xdist_resource('db', count=2)", "has an argument count: it takes names, and limit="),
        ("xdist_resource('db', limit=0)", "has a limit of 0, which is a whole number from 1 on"),
        ("xdist_resource('db', limit=True)", "has a limit of True, which is a whole number from 1 on"),
        ("xdist_resource('')", "has '' for a name, which is a text that is not empty"),
        ("xdist_resource(7)", "has 7 for a name, which is a text that is not empty"),
    ],
)
def test_a_mark_with_wrong_arguments_is_an_error_of_its_test(xdist, run, mark, complaint):
    xdist.files(test_a=f"import pytest\n\n@pytest.mark.{mark}\ndef test_wrong(): pass\n\ndef test_right(): pass\n")
    result = run("-n2")
    assert (result.code, result.totals) == (1, {"passed": 1, "error": 1}), result.text
    assert "ERROR test_a.py::test_wrong - test_a.py:4: test_wrong: xdist mark" in result.out
    assert complaint in result.out
    assert "Traceback" not in result.text
    plain = run("-n0")
    assert (plain.code, plain.totals) == (2, {"error": 1}), plain.text
    assert complaint in plain.text
