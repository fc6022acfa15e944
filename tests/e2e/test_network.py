"""Workers that join over a network that delays, loses and stops packets."""

import os
import signal

import network
import pytest
from joining import Run, join  # noqa: F401  (a fixture)
from processes import Watched

TESTS = """
    import pathlib, os, pytest, time

    @pytest.mark.parametrize("n", range(30))
    def test_n(n, worker_id):
        signal(f"{worker_id} {os.getpid()} {n}")
        if n >= 20:
            print("x" * 200_000)
            assert n != 20
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
"""


@pytest.fixture
def machines():
    """Makes a network: `machines(3, delay=0.02)`; the coordinator is on machine 0."""
    if network.missing():
        pytest.skip(f"not run: no {' and no '.join(network.missing())} on this machine")
    made = []

    def make(count, **options):
        made.append(network.Network(count, **options).__enter__())
        return made[-1]

    yield make
    for each in made:
        each.__exit__()


@pytest.fixture
def run(xdist, machines, join):  # noqa: F811
    """Starts a run with so many hosts of one worker each, which all have begun a test; answers what each is at."""

    def start(net, hosts, *args):
        xdist.files(test_a=TESTS)
        run = Run(xdist, *args, listen=f"{net.address(0)}:0", on=lambda command: net.on(0, command))
        joiners = [join(run.file, "--slots", "1", on=lambda command, at=at: net.on(at, command)) for at in range(1, hosts + 1)]  # fmt: skip
        begun = [xdist.signals.next().split() for _ in range(hosts)]
        return run, joiners, begun

    return start


def go(xdist):
    (xdist.directory / "go").touch()


def check(result):
    assert result.code == 1, result.text
    assert result.totals == {"failed": 1, "passed": 29}, result.text


def test_delay_and_loss_cost_nothing_but_time(xdist, machines, run):
    net = machines(3, delay=0.02, loss=0.02)
    started, joiners, _ = run(net, 2)
    go(xdist)
    check(started.wait())
    assert [joiner.wait() for joiner in joiners] == [(0, "")] * 2


def test_an_interruption_within_the_time_costs_no_test(xdist, machines, run):
    net = machines(3, delay=0.005)
    started, _, begun = run(net, 2, "--host-timeout", "60s")
    net.cut(1)
    go(xdist)
    # The other one can do all but what those have who are cut off.
    while len(begun) < 30 - 1:
        begun.append(xdist.signals.next().split())
    net.heal(1)
    result = started.wait()
    check(result)
    assert "host lost" not in result.text
    begun += [xdist.signals.next().split() for _ in range(30 - len(begun))]
    assert sorted(int(number) for _, _, number in begun) == list(range(30)), "every test ran once"


def test_a_machine_that_is_cut_off_is_given_up_and_may_come_back(xdist, machines, run):
    net = machines(3, delay=0.005)
    started, _, begun = run(net, 2, "--host-timeout", "2s")
    known = {worker for worker, _, _ in begun}
    tests = [Watched(int(pid)) for _, pid, _ in begun]
    net.cut(1)
    while not any(test.gone_within(0.1) for test in tests):
        pass
    net.heal(1)
    assert xdist.signals.next().split()[0] not in known, "it has joined anew"
    go(xdist)
    result = started.wait()
    check(result)
    assert "host lost" in result.text


def test_the_end_of_the_coordinators_machine_ends_the_tests(xdist, machines, run):
    net = machines(2)
    started, (joiner,), begun = run(net, 1, "--host-timeout", "2s")
    test = Watched(int(begun[0][1]))
    net.cut(0)
    os.kill(started.process.popen.pid, signal.SIGKILL)
    assert test.gone_within(60)
