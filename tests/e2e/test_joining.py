"""Workers that join a run from elsewhere, over TLS. Elsewhere is this machine."""

import os
import shutil
import signal
import textwrap
from pathlib import Path

import pytest
from conftest import DEADLINE, PYTHON
from joining import Run, join  # noqa: F401  (a fixture)
from processes import Watched, descendants
from relay import Relay

TWENTY = """
    import pytest

    @pytest.mark.parametrize("n", range(20))
    def test_n(n):
        pass
"""

# The first test to run says so, and waits until it is allowed to go on.
WAITING = """
    import os, pathlib, pytest, time

    @pytest.mark.parametrize("n", range(8))
    def test_n(n, worker_id):
        signal(f"{worker_id} {os.getpid()} {n}")
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
"""


COLLECTION_WAITS = """
    import pathlib, time

    signal("collecting")
    while not pathlib.Path("collect").exists():
        time.sleep(0.01)
"""


@pytest.fixture
def relay():
    made = Relay()
    yield made
    made.close()


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_those_who_join_run_the_tests(xdist, join, door):  # noqa: F811
    xdist.files(test_a=TWENTY)
    run = Run(xdist, "--min-workers", "3", door=door)
    joiners = [join(run.file, "--slots", slots) for slots in (1, 2)]
    result = run.wait()
    assert result.code == 0, result.text
    assert result.totals == {"passed": 20}
    assert "3 workers [20 items]" in result.out
    assert [joiner.wait() for joiner in joiners] == [(0, ""), (0, "")]
    assert not run.file.exists(), "what is of no use any more is gone"


def test_they_join_workers_that_are_here(xdist, join):  # noqa: F811
    xdist.files(test_a=WAITING)
    run = Run(xdist, "-n", "1")
    assert xdist.signals.next().startswith("gw0 ")
    join(run.file, "--slots", "1")
    assert xdist.signals.next().startswith("gw1 "), "a late one gets work at once"
    (xdist.directory / "go").touch()
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 8}), result.text


def test_the_outcomes_are_those_of_pytest(xdist, join):  # noqa: F811
    xdist.files(
        test_a="""
        import os, pytest, sys

        def test_passes(): pass
        def test_fails(): print("said"); assert 0
        def test_skips(): pytest.skip("why")
        def test_bytes(): sys.stdout.buffer.write(bytes(range(256))); assert 0
        def test_long(): print("x" * 3_000_000); assert 0
        def test_crashes(): os.abort()
        @pytest.mark.xfail
        def test_x(): assert 0
        @pytest.fixture
        def broken(): raise RuntimeError
        def test_e(broken): pass
        """
    )
    run = Run(xdist)
    join(run.file, "--slots", "2")
    result = run.wait()
    expected = dict(xdist.pytest("--deselect", "test_a.py::test_crashes").outcome_of)
    found = dict(result.outcome_of)
    assert found.pop("test_crashes") == "failed" and found == expected, result.text
    assert "(on " in result.out, "failures name the machine"


def test_a_tree_elsewhere_is_the_one_where_the_worker_was_started(xdist, join, tmp_path):  # noqa: F811
    xdist.files(sub__test_a="def test_a():\n    signal(__file__)\n    assert 0\n")
    (xdist.directory / "conftest.py").write_text("")
    other = tmp_path / "other"
    shutil.copytree(xdist.directory, other)
    for number, cwd in enumerate([{"cwd": other}, {}]):
        run = Run(xdist, "sub")
        joiner = join(run.file, *([] if number == 0 else ["--chdir", other]), **cwd)
        result = run.wait()
        assert result.code == 1, result.text
        assert xdist.signals.next() == str(other / "sub" / "test_a.py")
        assert "sub/test_a.py:4: AssertionError" in result.out
        assert joiner.wait()[0] == 0


def test_a_tree_that_is_not_there_is_an_error(xdist, join, tmp_path):  # noqa: F811
    xdist.files(test_a=TWENTY)
    run = Run(xdist)
    code, said = join(run.file, "--chdir", tmp_path / "absent").wait()
    assert code == 4 and str(tmp_path / "absent") in said, said
    assert run.process.popen.poll() is None, "others may still join"


def test_when_a_host_is_killed_others_run_all_that_it_had(xdist, join):  # noqa: F811
    xdist.files(test_a=WAITING)
    run = Run(xdist, "--host-timeout", "5s")
    first = join(run.file, "--slots", "2")
    begun = [xdist.signals.next().split() for _ in range(2)]
    tests = [Watched(int(pid)) for _, pid, _ in begun]
    os.killpg(first.popen.pid, signal.SIGKILL)
    # Else they could begin those after, which wait in their pipes.
    assert all(test.gone_within(DEADLINE) for test in tests)
    (xdist.directory / "go").touch()
    join(run.file, "--slots", "1")
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 8}), result.text
    assert "host lost" in result.text
    again = {xdist.signals.next().split()[2] for _ in range(8)}
    assert {number for _, _, number in begun} <= again, "they ran once more"


def test_a_host_that_is_told_to_leave_does_so_and_others_go_on(xdist, join):  # noqa: F811
    xdist.files(test_a=WAITING)
    run = Run(xdist, "-n", "1")
    xdist.signals.next()
    joiner = join(run.file, "--slots", "1")
    _, pid, _ = xdist.signals.next().split()
    test = Watched(int(pid))
    joiner.popen.send_signal(signal.SIGTERM)
    assert joiner.wait()[0] == 2
    assert test.gone_within(DEADLINE)
    (xdist.directory / "go").touch()
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 8}), result.text


def test_a_frozen_host_is_given_up_in_time(xdist, join):  # noqa: F811
    xdist.files(test_a=WAITING)
    run = Run(xdist, "-n", "1", "--host-timeout", "5s")
    xdist.signals.next()
    joiner = join(run.file, "--slots", "1")
    xdist.signals.next()
    os.killpg(joiner.popen.pid, signal.SIGSTOP)
    for pid in descendants(joiner.popen.pid):
        os.kill(pid, signal.SIGSTOP)
    (xdist.directory / "go").touch()
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 8}), result.text
    assert "host lost" in result.text


def test_a_connection_that_comes_back_in_time_loses_nothing(xdist, join, relay):  # noqa: F811
    xdist.files(test_a=WAITING)
    run = Run(xdist, "--advertise", f"127.0.0.1:{relay.port}")
    relay.target = run.port
    join(run.file, "--slots", "1")
    begun = [xdist.signals.next().split()[2]]
    relay.cut()
    (xdist.directory / "go").touch()
    relay.heal()
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 8}), result.text
    assert relay.connections >= 2, "it came back over a new connection"
    begun += [xdist.signals.next().split()[2] for _ in range(7)]
    assert len(set(begun)) == 8, "every test ran once"
    assert "host lost" not in result.text


def test_a_host_that_was_away_for_too_long_joins_anew(xdist, join, relay):  # noqa: F811
    xdist.files(test_a=WAITING)
    run = Run(xdist, "-n", "1", "--host-timeout", "5s", "--advertise", f"127.0.0.1:{relay.port}")
    relay.target = run.port
    xdist.signals.next()
    join(run.file, "--slots", "1")
    worker, pid, _ = xdist.signals.next().split()
    test = Watched(int(pid))
    relay.cut()
    assert test.gone_within(DEADLINE), "nobody wants to know any more"
    relay.heal()
    assert xdist.signals.next().split()[0] not in ("gw0", worker)
    (xdist.directory / "go").touch()
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 8}), result.text


def test_nothing_outlives_a_coordinator_that_is_killed(xdist, join):  # noqa: F811
    xdist.files(test_a=WAITING)
    run = Run(xdist)
    joiner = join(run.file, "--slots", "1")
    test = Watched(int(xdist.signals.next().split()[1]))
    below = [Watched(pid) for pid in descendants(run.process.popen.pid)]
    run.process.signal(signal.SIGKILL)
    assert all(process.gone_within(DEADLINE) for process in [test, *below])
    code, said = joiner.wait()
    assert code == 4 and "the run broke off" in said, said


@pytest.mark.parametrize(
    "changed, python, why",
    [
        ({}, "/nowhere/python", 'cannot start the Python interpreter "/nowhere/python"'),
        ({"test_b.py": ""}, PYTHON, "it collected other tests than the run: 1 missing, such as test_b.py::test_b"),
        ({"conftest.py": "import nowhere"}, PYTHON, "ImportError while loading conftest"),
    ],
)
def test_who_is_turned_away_is_told_why_on_both_sides(xdist, join, tmp_path, changed, python, why):  # noqa: F811
    xdist.files(test_a=WAITING, test_b="def test_b(): pass\n")
    other = tmp_path / "other"
    shutil.copytree(xdist.directory, other)
    for name, text in changed.items():
        (other / name).write_text(text)
    run = Run(xdist, "test_a.py", "test_b.py")
    join(run.file, "--slots", "1")
    assert xdist.signals.next().startswith("gw0 ")
    code, said = join(run.file, "--slots", "3", cwd=other, python=python).wait()
    assert code == 4 and f"xdist: error: cannot take part in the run: {why}" in said, said
    (xdist.directory / "go").touch()
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 9}), result.text
    assert result.out.count("host lost: it takes no part, since " + why) == 1, "said once, whatever it has offered"


@pytest.mark.parametrize("others", [["-n", "1"], ["--min-workers", "2"]])
def test_who_is_of_no_use_before_the_tests_begin_does_not_end_the_run(xdist, join, tmp_path, others):  # noqa: F811
    # They do not begin before everybody has heard of the one that is of no use.
    xdist.files(test_a=textwrap.dedent(COLLECTION_WAITS) + textwrap.dedent(WAITING))
    other = tmp_path / "other"
    shutil.copytree(xdist.directory, other)
    (other / "conftest.py").write_text("import nowhere")
    run = Run(xdist, *others)
    joiners = [join(run.file, "--slots", "1") for _ in range(2)]
    assert xdist.signals.next() == "collecting"
    assert join(run.file, "--slots", "2", cwd=other).wait()[0] == 4
    (xdist.directory / "collect").touch()
    (xdist.directory / "go").touch()
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 8}), result.text
    # With `-n 1` they may have come when the run was over.
    assert {joiner.wait()[0] for joiner in joiners} <= {0, 4}


def test_what_is_wrong_with_the_run_ends_it(xdist, join):  # noqa: F811
    xdist.files(test_a=TWENTY)
    run = Run(xdist, "--min-workers", "2", "test_b.py")
    joiners = [join(run.file, "--slots", "1") for _ in range(2)]
    result = run.wait()
    assert result.code == 4, result.text
    assert "file or directory not found: test_b.py" in result.text
    assert [joiner.wait()[0] for joiner in joiners] == [4, 4]


def test_a_machine_without_room_for_files_is_told_of(xdist, join):  # noqa: F811
    xdist.files(test_a=TWENTY)
    run = Run(xdist)
    env = {**xdist.env, "XDIST_CACHE_DIR": "/proc/nowhere", "TMPDIR": "/proc/nowhere"}
    code, said = join(run.file, "--slots", "1", env=env).wait()
    why = "cannot write the Python half of xdist to a temporary directory"
    assert code == 4 and why in said, said
    assert why in run.process.popen.stdout.readline()
    join(run.file, "--slots", "1")
    assert run.wait().totals == {"passed": 20}


def test_a_joiner_that_is_killed_leaves_no_false_words(xdist, join):  # noqa: F811
    xdist.files(test_a=WAITING)
    run = Run(xdist, "-n", "1", "--host-timeout", "5s")
    joiner = join(run.file, "--slots", "1")
    xdist.signals.next(), xdist.signals.next()
    joiner.popen.kill()
    _, said = joiner.wait()
    (xdist.directory / "go").touch()
    assert said == "" and run.wait().totals == {"passed": 8}


def test_when_the_first_to_join_is_of_no_use_it_is_said_at_once_and_others_are_waited_for(xdist, join):  # noqa: F811
    xdist.files(test_a=TWENTY)
    run = Run(xdist)
    assert join(run.file, "--slots", "1", python="/nowhere/python").wait()[0] == 4
    assert "it takes no part" in run.process.popen.stdout.readline()
    join(run.file, "--slots", "1")
    result = run.wait()
    assert (result.code, result.totals) == (0, {"passed": 20}), result.text


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_ctrl_c_ends_those_who_joined(xdist, join, door):  # noqa: F811
    xdist.files(test_a=WAITING)
    run = Run(xdist, door=door)
    joiner = join(run.file, "--slots", "1")
    test = Watched(int(xdist.signals.next().split()[1]))
    run.process.signal(signal.SIGINT)
    assert run.wait().code == 2
    assert test.gone_within(DEADLINE)
    assert joiner.wait()[0] == 0


# --- launchers


def test_a_launcher_has_hosts_join(xdist):
    xdist.files(test_a=TWENTY)
    worker = f"{xdist.binary} worker --join --slots 1 --python {PYTHON}"
    launcher = f"exec=sh -c '{worker} & {worker} & wait'//hosts=2"
    for args in (["--tx", launcher], ["--tx", launcher, "--tx", "popen"], ["--tx", f"2*{launcher}"]):
        result = xdist.run(*args, "--min-workers", "2", "--dist", "load")
        assert (result.code, result.totals) == (0, {"passed": 20}), result.text


def test_a_launcher_among_the_settings_counts_too(xdist):
    xdist.files(test_a=TWENTY)
    xdist.ini(f"addopts = --tx 'exec={xdist.binary} worker --join --slots 2 --python {PYTHON}//hosts=1' --dist load")
    for result in (xdist.run(), xdist.start_pytest().wait()):
        assert (result.code, result.totals) == (0, {"passed": 20}), result.text


def test_a_launcher_that_fails_is_told_of_with_its_words(xdist):
    xdist.files(test_a=TWENTY)
    result = xdist.run("--tx", "exec=sh -c 'echo no such partition >&2; exit 7'//hosts=2")
    assert result.code == 3, result.text
    text = " ".join(result.text.split())
    assert "it ended with exit code 7; it said last: no such partition" in text, text


@pytest.mark.parametrize("wrong", [["--python", "/nowhere"], ["--chdir", "/nowhere"], ["--chdir", "/nowhere; true"]])
def test_when_no_host_of_a_launcher_is_of_use_the_run_ends_at_once(xdist, wrong):
    xdist.files(test_a="def test_a(): pass\n")
    launcher = f"exec=sh -c '{xdist.binary} worker --join --slots 1 {' '.join(wrong)}'//hosts=1"
    # Otherwise it would wait for longer than this test may take.
    result = xdist.run("--tx", launcher, "--wait-for-workers", "1000")
    assert result.code in (3, 4), result.text
    assert "/nowhere" in result.text


def test_hosts_of_a_launcher_do_not_fail(xdist):
    xdist.files(test_a=TWENTY)
    worker = f"{xdist.binary} worker --join --slots 1 --python /nowhere"
    result = xdist.run("--tx", f"exec=sh -c '{worker}; echo $? > code'//hosts=1")
    assert result.code == 3 and (xdist.directory / "code").read_text() == "0\n", result.text


def test_a_launcher_that_is_no_program_is_an_error(xdist):
    xdist.files(test_a=TWENTY)
    result = xdist.run("--tx", "exec=no-such-program//hosts=2")
    assert result.code == 3, result.text
    assert "cannot start no-such-program" in result.text


# --- what is kept secret


def test_the_token_is_on_no_command_line_and_in_no_report(xdist, join):  # noqa: F811
    xdist.files(test_a=WAITING, conftest="import os\n\ndef pytest_configure():\n    assert 'XDIST_JOIN' not in os.environ\n")  # fmt: skip
    launcher = f"exec={xdist.binary} worker --join --slots 1 --python {PYTHON}//hosts=1"
    run = Run(xdist, "--tx", launcher, "--junitxml", "junit.xml", "-v")
    token = run.file.read_text().strip()
    join("-", "--slots", "1", stdin=open(run.file))
    join(token, "--slots", "1")
    # Each is in its first test, and so has the command line that it keeps.
    for _ in range(3):
        xdist.signals.next()
    lines = [_command_line(pid) for pid in os.listdir("/proc") if pid.isdigit()]
    assert any("--join" in line for line in lines)
    secret = token[20:60]
    assert not [line for line in lines if secret in line]
    (xdist.directory / "go").touch()
    result = run.wait()
    assert result.code == 0, result.text
    assert secret not in run.said + result.text + result.log.read_text()
    assert secret not in (xdist.directory / "junit.xml").read_text()


def _command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return ""


# --- bad input


def test_whoever_has_no_token_is_told_what_is_wrong(xdist, join, tmp_path):  # noqa: F811
    (tmp_path / "empty").write_text("")
    (tmp_path / "other").write_text("something else\n")
    for place, words in [
        (tmp_path / "absent", "cannot read"),
        (tmp_path / "empty", "token"),
        (tmp_path / "other", "token"),
        ("xdist-join-1-abc", "token"),
    ]:
        code, said = join(place).wait()
        assert code == 4 and words in said and "Traceback" not in said and "panic" not in said, said
        assert len(said.strip().splitlines()) == 1 or str(place).startswith("xdist-join"), said


def test_the_token_of_a_run_that_is_over_is_told_of(xdist, join):  # noqa: F811
    xdist.files(test_a=TWENTY)
    run = Run(xdist)
    token = run.file.read_text()
    join(run.file)
    assert run.wait().code == 0
    kept = xdist.scratch / "kept"
    kept.write_text(token)
    code, said = join(kept, "--patience", "0.1").wait()
    assert code != 0 and "run" in said, said


def test_a_run_that_nobody_joins_ends(xdist):
    xdist.files(test_a=TWENTY)
    result = Run(xdist, "--wait-for-workers", "1s").wait()
    assert result.code == 3, result.text
    assert "no worker joined within 1 s" in result.text


def test_too_few_workers_are_told_of(xdist, join):  # noqa: F811
    xdist.files(test_a=TWENTY)
    run = Run(xdist, "--min-workers", "3", "--wait-for-workers", "10s")
    join(run.file, "--slots", "1")
    result = run.wait()
    assert result.code == 3, result.text
    assert "1 of 3 workers came" in result.text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--listen", "1.2.3.4:5"], "cannot listen at 1.2.3.4:5"),
        (["--listen", "x.invalid:5"], "--listen x.invalid:5"),
        (["--listen", "here:there"], "--listen"),
        (["--listen", "0", "--min-workers", "0"], "--min-workers takes a whole number greater than 0"),
        (["--listen", "0", "--advertise", "here:99999"], "--advertise takes HOST or HOST:PORT"),
        (["--listen", "0", "--wait-for-workers", "soon"], "--wait-for-workers takes a duration"),
        (["--listen", "0", "--host-timeout", "0"], "--host-timeout takes a duration"),
        (["-n", "2", "--min-workers", "2"], "--min-workers: nobody can join this run; let them with --listen"),
        (["--tx", "popen", "--join-file", "x"], "--join-file: nobody can join this run"),
        (["--listen", "0", "--join-file", ""], '--join-file: "" cannot be written: that is the name of no file'),
        (["--listen", "0", "--join-file", "/nope/x"], '--join-file: "/nope/x" cannot be written: No such file'),
        (["--listen", "0", "--join-file", "/dev/null"], '--join-file: "/dev/null" cannot be written: that is no file'),
        (["--tx", "exec=x//hosts=0"], '"hosts" needs a whole number'),
        (["--tx", "popen//hosts=2"], '"hosts" says how many hosts exec=COMMAND starts'),
    ],
)
def test_bad_options_are_errors(xdist, args, words):
    xdist.files(test_a=TWENTY)
    result = xdist.run(*args)
    assert result.code == 4, result.text
    assert words in " ".join(result.text.split()), result.text


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_an_option_that_has_no_effect_among_the_settings_is_an_error(xdist, door):
    xdist.files(test_a=TWENTY)
    xdist.ini("addopts = --listen 0")
    result = xdist.run("-n2") if door == "run" else xdist.start_pytest("-n2").wait()
    assert result.code == 4, result.text
    assert "--listen has no effect in addopts" in result.text
