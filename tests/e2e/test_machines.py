"""What is told of machines: where tests ran, and in what machines differ. They are this one, behind an ssh server."""

import xml.etree.ElementTree as ElementTree

import pytest
from conftest import PYTHON
from sshd import box  # noqa: F401  (a fixture)
from test_fetch import elsewhere, run
from test_ssh import RECORDER, script, told

TWO = """
    import os

    def test_a():
        pass

    def test_b():
        assert 0
"""


@pytest.fixture
def up(box):  # noqa: F811
    box.start()
    return box


# --- where a test ran


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_junit_says_where_a_test_ran(xdist, up, door):
    xdist.files(test_a=TWO)
    tx = ["--tx", f"popen//{RECORDER}", "--tx", up.tx(RECORDER, python=PYTHON)]
    result = run(xdist, door, *tx, "--dist", "each", "--junitxml", "junit.xml")
    assert result.code == 1, result.text
    cases = ElementTree.parse(xdist.directory / "junit.xml").getroot().iter("testcase")
    ran_on = [
        [found.get("value") for found in case.iter("property") if found.get("name") == "ran_on"] for case in cases
    ]
    lines = [
        line
        for line in result.out.splitlines()
        if line.endswith("(on box)") and line.startswith("[gw1] linux -- Python")
    ]
    assert sorted(ran_on) == [[], [], lines[:1], lines[:1]]


def test_reports_in_the_log_name_the_machine(xdist, up):
    xdist.files(test_a=TWO)
    result = xdist.run("--tx", "popen", "--tx", up.tx(python=PYTHON), "--dist", "each")
    hosts = {event["worker_id"]: event.get("host") for event in result.events if event["$report_type"] == "TestReport"}
    assert hosts == {"gw0": None, "gw1": "box"}
    ready = {event["worker_id"]: event for event in result.events if event["$report_type"] == "WorkerReady"}
    assert ready["gw1"]["host"] == "box" and ready["gw1"]["platform"] == "linux" and len(ready["gw1"]["python"]) == 3


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_crashes_name_the_machine(xdist, up, door):
    xdist.files(test_a="import os\n\ndef test_a():\n    os._exit(3)\n")
    result = run(xdist, door, "--tx", up.tx(RECORDER, python=PYTHON), "--dist", "load")
    assert result.code == 1, result.text
    (line,) = [line for line in result.out.splitlines() if line.startswith("[gw0] node down: exit code 3")]
    assert line.endswith(" on box)")


# --- in what machines differ


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_files_that_differ_are_told_of_before_the_tests(xdist, up, door):
    xdist.files(test_a=TWO, test_b="def test_c(): pass\n", conftest="", sub__helper="")
    (there,) = elsewhere(xdist, "there")
    tx = [
        "--tx",
        f"popen//{RECORDER}",
        "--tx",
        up.tx(f"chdir={there}", RECORDER, count=2, python=PYTHON),
        "--dist",
        "load",
    ]
    assert "not the same" not in run(xdist, door, *tx).text
    # No item is from it.
    (there / "sub" / "helper.py").write_text("changed = True\n")
    assert "not the same" not in run(xdist, door, *tx).text
    (there / "test_b.py").write_text("def test_c():\n    assert True\n")
    text = run(xdist, door, *tx).text
    warning = (
        "warning: test_b.py is not the same on box as here: check out the same revision, or have it copied (--sync)"
    )
    assert warning in text.splitlines()
    assert text.index(warning) < text.index("FAILURES")
    with open(there / "conftest.py", "a") as conftest:
        conftest.write("# changed\n")
    assert "warning: conftest.py and another file are not the same on box as here: " in run(xdist, door, *tx).text


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_one_machine_is_compared_with_the_files_here_where_no_worker_is_here(xdist, up, door):
    xdist.files(test_a=TWO, test_b="def test_c(): pass\n", conftest="")
    (there,) = elsewhere(xdist, "there")
    tx = ["--tx", up.tx(f"chdir={there}", RECORDER, python=PYTHON), "--dist", "load"]
    assert "not the same" not in run(xdist, door, *tx).text
    with open(there / "test_b.py", "a") as test:
        test.write("# changed\n")
    result = run(xdist, door, *tx)
    assert "warning: test_b.py is not the same on box as here: check out the same revision" in result.text
    # Who has no tests here has nothing to compare.
    for path in ["test_a.py", "test_b.py", "conftest.py"]:
        (xdist.directory / path).unlink()
    result = run(xdist, door, *tx)
    assert result.totals == {"failed": 1, "passed": 2}
    assert "not the same" not in result.text


def test_two_machines_are_compared_where_no_tests_are_here(xdist, up):
    xdist.files(test_a=TWO)
    first, second = elsewhere(xdist, "first", "second")
    (xdist.directory / "test_a.py").unlink()
    with open(second / "test_a.py", "a") as test:
        test.write("# changed\n")
    tx = [up.tx(f"chdir={first}", python=PYTHON), up.tx(f"chdir={second}", machine="bystander", python=PYTHON)]
    result = xdist.run("--tx", tx[0], "--tx", tx[1])
    assert "test_a.py is not the same on bystander as on box: " in told(result)


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_a_test_file_that_is_missing_on_a_machine_ends_the_run_and_is_named(xdist, up, door):
    xdist.files(test_a=TWO, test_b="def test_c(): pass\n")
    (there,) = elsewhere(xdist, "there")
    (there / "test_b.py").unlink()
    tx = ["--tx", f"popen//{RECORDER}", "--tx", up.tx(f"chdir={there}", RECORDER, python=PYTHON)]
    result = run(xdist, door, *tx, "--dist", "load")
    assert result.code == 1, result.text
    lines = result.out.splitlines()
    assert "Different tests were collected between gw0 and gw1 (on box). The difference is:" in lines
    assert "-test_b.py::test_c" in lines
    assert "check out the same revision on each, or have them copied (--sync)" in told(result)
    assert "passed" not in result.totals


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_another_version_on_a_machine_is_told_of_before_the_tests(xdist, up, tmp_path, door):
    xdist.files(test_a=TWO)
    # The same interpreter, which says that its pytest is another.
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("import _pytest._version\n\n_pytest._version.version = '7.9.9'\n")
    path = f"env:PYTHONPATH={other}:{RECORDER.partition('=')[2]}"
    tx = ["--tx", f"popen//{RECORDER}", "--tx", up.tx(path, python=PYTHON), "--dist", "load"]
    result = run(xdist, door, *tx)
    assert "the workers differ: gw0 has Python 3." in told(result)
    assert "gw1 (on box) has Python 3." in told(result) and "pytest-7.9.9" in told(result)


def test_a_machine_collects_once_and_one_list_is_sent(xdist, up, tmp_path):
    xdist.files(
        test_a="import pytest\n\n@pytest.mark.parametrize('n', range(20))\ndef test_n(n):\n    pass\n\nsignal('collected')\n",
    )
    tx = ["--tx", up.tx(count=2, python=PYTHON), "--tx", up.tx(machine="bystander", count=2, python=PYTHON)]
    # The first time, the program is sent, and the words below are in it.
    assert xdist.run(*tx).code == 0
    tapped = tmp_path / "tapped"
    tapped.mkdir()
    ssh = script(tmp_path / "tap", f'tee {tapped}/to.$$ | ssh "$@" | tee {tapped}/from.$$\n')
    result = xdist.run(*tx, XDIST_SSH=str(ssh))
    assert result.totals == {"passed": 20}, result.text
    sent = b"".join(path.read_bytes() for path in tapped.glob("to.*"))
    received = b"".join(path.read_bytes() for path in tapped.glob("from.*"))
    assert len(list(tapped.iterdir())) == 4
    assert sent.count(b"\xafsend_collection") == 1 and received.count(b"\xaacollection\x84") == 1
    assert received.count(b"\xa9collected") == 4
    xdist.signals.path.open("w").write("end\n")
    assert [xdist.signals.next() for _ in range(5)] == ["collected"] * 4 + ["end"], "each machine collects once a run"


# --- coverage


@pytest.mark.parametrize("door", ["run", "pytest"])
def test_coverage_of_another_machine_comes_back_by_itself(xdist, up, plugins, door):
    xdist.files(
        lib="def here():\n    return 1\n\n\ndef there():\n    return 2\n",
        test_a="""
        import os, lib

        def test_a():
            lib.there() if "SSH_CONNECTION" in os.environ else lib.here()
        """,
    )
    # Without it, files elsewhere are other files.
    (xdist.directory / ".coveragerc").write_text("[run]\nrelative_files = true\n")
    (there,) = elsewhere(xdist, "there")
    path = f"{RECORDER}:{plugins}"
    tx = ["--tx", f"popen//{path}", "--tx", up.tx(f"chdir={there}", path, python=PYTHON), "--dist", "each"]
    args = [*tx, "-p", "pytest_cov", "--cov=lib", "--cov-report=term-missing"]
    if door == "run":
        result = xdist.run(*args, PYTHONPATH=plugins)
    else:
        result = xdist.start_pytest(*args, PYTHONPATH=f"{xdist._pytest_env()['PYTHONPATH']}:{plugins}").wait()
    assert result.code == 0, result.text
    (line,) = [line for line in result.out.splitlines() if "lib.py" in line]
    # Each machine ran one of the functions.
    assert line.split() == ["lib.py", "5", "0", "100%"], result.out
