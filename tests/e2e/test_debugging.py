"""Debuggers in workers, with a person at a terminal."""

import signal

import processes
import pytest
from conftest import DEADLINE

PROMPT = "(Pdb) "
BREAK = """
    def test_break():
        x = 41
        breakpoint()
        assert x == 42
"""
OTHERS = "import pytest\n@pytest.mark.parametrize('n', range(8))\ndef test_other(n): pass\n"


@pytest.fixture(params=["run", "pytest", "run with a pytest host"])
def at_terminal(request, xdist):
    """Starts a run at a terminal, through one of the two doors, or with pytest's own terminal in the first."""
    started = []

    def start(*args):
        door, _, hosted = request.param.partition(" ")
        if hosted:
            xdist.files(conftest="def pytest_testnodedown(): pass\n")
        terminal = xdist.at_terminal(door, *args)
        started.append(terminal)
        return terminal

    yield start
    for terminal in started:
        terminal.close()


def test_a_breakpoint_talks_to_the_person_at_the_terminal(xdist, at_terminal):
    xdist.files(test_a=BREAK, test_b=OTHERS)
    terminal = at_terminal("-n", "2")
    terminal.expect("is at a debugger; other workers begin nothing until it goes on")
    terminal.expect(PROMPT)
    terminal.type("p x\n")
    terminal.expect("41\n" + PROMPT)
    terminal.type("x = 42\n")
    terminal.expect(PROMPT)
    terminal.type("c\n")
    terminal.expect("PDB continue")
    terminal.expect("9 passed")
    assert terminal.ends() == 0


def test_pdb_shows_each_failure_at_its_place(xdist, at_terminal):
    xdist.files(test_a="def test_a():\n    here = 'in a'\n    assert not here\n", test_b=OTHERS)
    terminal = at_terminal("-n", "2", "--pdb")
    terminal.expect("entering PDB")
    terminal.expect(PROMPT)
    terminal.type("p here\n")
    terminal.expect("'in a'\n" + PROMPT)
    terminal.type("c\n")
    terminal.expect("1 failed, 8 passed")
    assert terminal.ends() == 1


def test_trace_stops_at_the_first_line_of_each_test(xdist, at_terminal):
    xdist.files(test_a="def test_a():\n    first = 1\n    assert first\n")
    terminal = at_terminal("-n", "2", "--trace")
    terminal.expect("-> first = 1\n" + PROMPT)
    terminal.type("n\n")
    terminal.expect("-> assert first\n" + PROMPT)
    terminal.type("c\n")
    terminal.expect("1 passed")
    assert terminal.ends() == 0


def test_two_workers_take_turns(xdist, at_terminal):
    # Each of the two waits until the other one has begun too, so both come to a breakpoint at the same time.
    text = """
        import os, pathlib, time
        here = pathlib.Path(__file__).parent
        def meet(me, other):
            (here / me).touch()
            while not (here / other).exists():
                time.sleep(0.001)
        def test_{me}():
            meet("{me}.begun", "{other}.begun")
            name = "{me}"
            breakpoint()
            (here / "{me}.done").touch()
    """
    xdist.files(test_a=text.format(me="a", other="b"), test_b=text.format(me="b", other="a"))
    terminal = at_terminal("-n", "2", "--dist", "loadfile")
    names = set()
    for _ in range(2):
        terminal.expect(PROMPT)
        terminal.type("p name\n")
        names.add(terminal.expect("\n" + PROMPT).splitlines()[-1])
        terminal.type("c\n")
    terminal.expect("2 passed")
    assert terminal.ends() == 0
    assert names == {"'a'", "'b'"}


def test_a_continued_test_can_come_to_another_breakpoint(xdist, at_terminal):
    xdist.files(test_a="def test_a():\n    breakpoint()\n    x = 1\n    y = 2\n    assert x\n")
    terminal = at_terminal("-n", "2")
    terminal.expect(PROMPT)
    terminal.type("b 5\n")
    terminal.expect(PROMPT)
    terminal.type("c\n")
    terminal.expect("-> y = 2\n" + PROMPT)
    terminal.type("c\n")
    terminal.expect("1 passed")
    assert terminal.ends() == 0


def test_quit_ends_the_run(xdist, at_terminal):
    xdist.files(test_a=BREAK)
    terminal = at_terminal("-n", "2")
    terminal.expect(PROMPT)
    terminal.type("q\n")
    terminal.expect("Quitting debugger")
    assert terminal.ends() == 2


def test_quit_after_a_failure_does_not_undo_it(xdist, at_terminal):
    xdist.files(test_a="def test_a():\n    assert 0\n")
    terminal = at_terminal("-n", "2", "--pdb")
    terminal.expect("entering PDB")
    terminal.expect(PROMPT)
    terminal.type("q\n")
    terminal.expect("FAILED test_a.py::test_a")
    terminal.expect("Quitting debugger")
    terminal.expect("1 failed in")
    assert terminal.ends() == 2


def test_ctrl_c_is_for_the_debugger(xdist, at_terminal):
    xdist.files(test_a=BREAK, test_b=OTHERS)
    terminal = at_terminal("-n", "2")
    terminal.expect(PROMPT)
    # Not at the prompt: Python may miss it at the moment when it begins to wait for a line.
    terminal.type("print('round and' + ' round'); [0 for _ in iter(int, 1)]\n")
    terminal.expect("round and round\n")
    terminal.type("\x03")
    terminal.expect("*** KeyboardInterrupt")
    terminal.expect(PROMPT)
    terminal.type("x = 42\n")
    terminal.expect(PROMPT)
    terminal.type("c\n")
    terminal.expect("9 passed")
    assert terminal.ends() == 0


def test_the_terminal_is_back_when_the_worker_dies_at_the_debugger(xdist, at_terminal):
    xdist.files(test_a=BREAK, test_b=OTHERS)
    terminal = at_terminal("-n", "2")
    terminal.expect(PROMPT)
    terminal.type("import os; os._exit(3)\n")
    terminal.expect("node down: exit code 3")
    terminal.expect("1 failed, 8 passed")
    assert terminal.ends() == 1


def test_sigterm_ends_a_run_that_is_at_a_debugger(xdist):
    xdist.files(test_a=BREAK, test_b=OTHERS)
    terminal = xdist.at_terminal("run", "-n", "2")
    terminal.expect(PROMPT)
    terminal.signal(signal.SIGTERM)
    assert terminal.ends() == 2


def test_nothing_outlives_a_pytest_that_is_killed_while_a_worker_is_at_a_debugger(xdist):
    xdist.files(test_a=BREAK, test_b=BREAK)
    terminal = xdist.at_terminal("pytest", "-n", "2")
    terminal.expect(PROMPT)
    watched = [processes.Watched(pid) for pid in processes.descendants(terminal.pid)]
    terminal.signal(signal.SIGKILL)
    assert terminal.ends() == -signal.SIGKILL
    for process in watched:
        assert process.gone_within(DEADLINE)
        process.close()


def test_time_at_the_debugger_counts_for_no_limit(xdist, at_terminal):
    xdist.files(test_a=BREAK)
    terminal = at_terminal("-n", "2", "--timeout", "2")
    terminal.expect(PROMPT)
    # Longer than the limit.
    terminal.type("import time; time.sleep(2.5)\n")
    terminal.expect(PROMPT)
    terminal.type("x = 42\n")
    terminal.expect(PROMPT)
    terminal.type("c\n")
    terminal.expect("1 passed")
    assert terminal.ends() == 0


@pytest.mark.parametrize("options", [["-s"], ["--isolate"], ["--start=spawn"], ["--capture=sys"]], ids=" ".join)
def test_with_other_options(xdist, at_terminal, options):
    xdist.files(test_a=BREAK, test_b=OTHERS)
    terminal = at_terminal("-n", "2", *options)
    terminal.expect(PROMPT)
    terminal.type("x = 42\n")
    terminal.expect(PROMPT)
    terminal.type("c\n")
    terminal.expect("9 passed")
    assert terminal.ends() == 0


def test_without_a_terminal_a_breakpoint_fails_its_test(xdist):
    xdist.files(test_a=BREAK, test_b=OTHERS)
    result = xdist.run("-n", "2")
    assert result.code == 1
    assert result.totals == {"failed": 1, "passed": 8}
    assert (
        "a debugger needs a terminal: standard input of the run is no terminal; run it in one, or the test with -n 0"
        in result.out
    )


@pytest.mark.parametrize("option", ["--pdb", "--trace"])
def test_without_a_terminal_options_for_debuggers_are_refused(xdist, option):
    xdist.files(test_b=OTHERS)
    result = xdist.run("-n", "2", option)
    assert result.code == 4
    assert f"{option} is incompatible with distributing tests; try using -n0 or -nauto." in result.err
