"""What can be said on the command line, in configuration and in the environment."""

import sys

import pytest

WHO = """
import pytest

@pytest.mark.parametrize("n", range(8))
def test_who(n, worker_id):
    signal(worker_id)
"""


def workers(xdist, count=8):
    return {xdist.signals.next() for _ in range(count)}


@pytest.mark.parametrize(
    "args", [["-n2"], ["-n", "2"], ["--numprocesses=2"], ["--tx", "2*popen"], ["--tx=popen", "--tx=popen"]]
)
def test_number_of_workers(xdist, args):
    xdist.files(test_a=WHO)
    result = xdist.run(*args)
    assert (result.code, result.totals) == (0, {"passed": 8})
    assert workers(xdist) <= {"gw0", "gw1"}
    assert "2 workers [8 items]" in result.out


def test_without_n_it_means_auto(xdist):
    xdist.files(test_a=WHO)
    result = xdist.run(PYTEST_XDIST_AUTO_NUM_WORKERS="3")
    assert "3 workers [8 items]" in result.out


def test_auto_and_logical_and_maxprocesses(xdist):
    xdist.files(test_a=WHO)
    assert "3 workers" in xdist.run("-n", "auto", PYTEST_XDIST_AUTO_NUM_WORKERS="3").out
    assert "3 workers" in xdist.run("-n", "logical", PYTEST_XDIST_AUTO_NUM_WORKERS="3").out
    assert "2 workers" in xdist.run("-n", "auto", "--maxprocesses=2", PYTEST_XDIST_AUTO_NUM_WORKERS="3").out
    assert "2 workers" in xdist.run("-n", "5", "--maxprocesses=2").out


@pytest.mark.parametrize("args", [["-n0"], ["-n", "0"], ["--dist", "no"], ["-n2", "--collect-only"]])
def test_plain_pytest(xdist, args):
    xdist.files(test_a="def test_a(worker_id):\n    assert worker_id == 'master'\n")
    result = xdist.run(*args)
    assert result.code == 0
    assert "worker" not in result.out
    assert "1 test collected" in result.out if "--collect-only" in args else result.totals == {"passed": 1}


@pytest.mark.parametrize("mode", ["load", "loadscope", "loadfile", "loadgroup", "worksteal"])
def test_every_mode_runs_every_test_once(xdist, mode):
    xdist.files(test_a=WHO, test_b=WHO)
    result = xdist.run("-n2", "--dist", mode)
    assert (result.code, result.totals) == (0, {"passed": 16})


def test_each_runs_every_test_on_every_worker(xdist):
    xdist.files(test_a="def test_a(worker_id):\n    signal(worker_id)\n")
    result = xdist.run("-n2", "--dist=each")
    assert (result.code, result.totals) == (0, {"passed": 2})
    assert workers(xdist, 2) == {"gw0", "gw1"}


def test_options_from_addopts_and_the_environment(xdist):
    xdist.files(test_a=WHO)
    xdist.ini("addopts = -n 2 --dist=loadfile\n")
    assert "2 workers [8 items]" in xdist.run().out
    xdist.ini("addopts = -k 'not 7'\n")
    assert xdist.run(PYTEST_ADDOPTS="-n 1 -k 3").totals == {"passed": 1, "deselected": 7}
    xdist.ini("addopts = -n 2\n")
    assert "3 workers" in xdist.run("-n3").out, "the command line wins"


@pytest.mark.parametrize(
    ("args", "passed"),
    [
        (["-k", "3 or 4"], 2),
        (["test_a.py::test_who[5]"], 1),
        (["-m", "not slow"], 8),
        (["test_a.py", "-p", "no:randomly"], 8),
    ],
)
def test_pytest_arguments(xdist, args, passed):
    xdist.files(test_a=WHO)
    result = xdist.run("-n2", *args)
    assert result.code == 0
    assert result.totals["passed"] == passed


def test_a_plugins_own_option(xdist):
    xdist.files(
        conftest="def pytest_addoption(parser):\n    parser.addoption('--color-of', default='red')\n",
        test_a="def test_a(pytestconfig):\n    assert pytestconfig.getoption('--color-of') == 'blue'\n",
    )
    assert xdist.run("-n2", "--color-of", "blue").code == 0
    assert xdist.run("-n2").code == 1


def test_tx_specification(xdist):
    (xdist.directory / "sub").mkdir()
    xdist.files(
        test_a="""
        import os, sys

        def test_a(worker_id):
            signal(f"{worker_id} {os.environ['COLOR']} {os.path.basename(os.getcwd())}")
        """
    )
    spec = f"popen//python={sys.executable}//chdir=sub//env:COLOR=blue//id=painter"
    result = xdist.run("--tx", spec, "--dist=load", f"{xdist.directory}/test_a.py")
    assert result.code == 0, result.text
    assert xdist.signals.next() == "painter blue sub"


def test_testrunuid(xdist):
    xdist.files(
        test_a="def test_a(testrun_uid):\n    signal(testrun_uid)\n\ndef test_b(testrun_uid):\n    signal(testrun_uid)\n"
    )
    assert xdist.run("-n2", "--testrunuid=today").code == 0
    assert workers(xdist, 2) == {"today"}
    assert xdist.run("-n2").code == 0
    (uid,) = workers(xdist, 2)
    assert uid not in ("", "today")


@pytest.mark.parametrize(
    "args",
    [["--maxschedchunk=1", "--dist=load"], ["--ramp=0.01s"], ["-d"], ["--no-loadscope-reorder", "--dist=loadfile"]],
)
def test_other_options_are_taken(xdist, args):
    xdist.files(test_a=WHO)
    result = xdist.run("-n2", *args)
    assert (result.code, result.totals) == (0, {"passed": 8})
