"""Writes synthetic pytest suites, each of which stresses one thing.

    python tools/gen_suites.py DIRECTORY [NAME ...]

The same arguments write the same bytes. Names, and what each asks of a runner:

    trivial     10 000 tests in 100 files that do nothing: the cost per test
    sleepers    2 000 tests of uneven length, 5 ms in the mean: balance
    imports     500 tests behind a conftest that takes a second of CPU to import: start-up
    libraries   the same behind one that imports numpy, pandas and sympy, which every tenth test uses
    tail        200 tests of 20 ms of sleep, the last one 3 s: the end of a run
    tail-cpu    the same with the time spent computing
    fixtures    2 000 tests with fixtures of every scope, parameters and captured output
    failures    1 000 tests of which every tenth fails with a deep traceback and much output: the size of reports
"""

import argparse
import random
import shutil
from pathlib import Path

SEED = 20_260_101


def trivial() -> dict[str, str]:
    return {
        f"test_{file:03}.py": "\n\n".join(f"def test_{n:03}():\n    assert {n} < {n + 1}\n" for n in range(100))
        for file in range(100)
    }


def sleepers() -> dict[str, str]:
    lengths = random.Random(SEED)
    return {
        f"test_{file:02}.py": "from time import sleep\n\n"
        + "\n\n".join(f"def test_{n:03}():\n    sleep({lengths.expovariate(200):.6f})\n" for n in range(100))
        for file in range(20)
    }


def imports() -> dict[str, str]:
    files = {
        "conftest.py": (
            "# A stand-in for libraries that are slow to import, so that nothing needs to be installed.\n"
            "import time\n\nend = time.process_time() + 1.0\nwhile time.process_time() < end:\n    pass\n"
        )
    }
    for file in range(5):
        files[f"test_{file}.py"] = "\n\n".join(f"def test_{n:03}():\n    assert True\n" for n in range(100))
    return files


def libraries() -> dict[str, str]:
    names = ("numpy", "pandas", "sympy")
    files = {
        "conftest.py": "".join(f"import {name}\n" for name in names)
        + "\nimport pytest\n\n\n@pytest.fixture(scope='session')\ndef libraries():\n"
        + f"    return {', '.join(names)}\n"
    }
    for file in range(5):
        files[f"test_{file}.py"] = "\n\n".join(
            f"def test_{n:03}({'libraries' if n % 10 == 0 else ''}):\n    assert True\n" for n in range(100)
        )
    return files


def _tail(head: str, short: str, long: str) -> dict[str, str]:
    lines = [head]
    for group in range(4):
        lines.append(f"\n\nclass Test{group}:\n")
        for n in range(50):
            lines.append(f"    def test_{n:02}(self):\n        {long if (group, n) == (3, 49) else short}\n\n")
    return {"test_tail.py": "".join(lines)}


def tail() -> dict[str, str]:
    return _tail("from time import sleep\n", "sleep(0.02)", "sleep(3)")


def tail_cpu() -> dict[str, str]:
    head = (
        "from time import process_time\n\n\n"
        "def compute(seconds):\n    end = process_time() + seconds\n    while process_time() < end:\n        pass\n"
    )
    return _tail(head, "compute(0.02)", "compute(3)")


def fixtures() -> dict[str, str]:
    files = {
        "conftest.py": (
            "import pytest\n\n\n@pytest.fixture(scope='session')\ndef database():\n    return {}\n\n\n"
            "@pytest.fixture(autouse=True)\ndef around():\n    yield\n"
        )
    }
    body = (
        "import pytest\n\n\n"
        "@pytest.fixture(scope='module')\ndef table(database):\n    yield database\n\n\n"
        "@pytest.fixture\ndef row(table, tmp_path):\n    yield table, tmp_path\n\n\n"
        "@pytest.mark.parametrize('a', range(5))\n@pytest.mark.parametrize('b', range(10))\n"
        "def test_product(a, b, table):\n    print('factors', a, b)\n    assert a * b == b * a\n\n\n"
        "class TestRows:\n"
    )
    for n in range(50):
        name = "row" if n % 5 == 0 else "table"
        body += f"    def test_{n:02}(self, {name}):\n        assert {name} is not None\n\n"
    for file in range(20):
        files[f"test_{file:02}.py"] = body
    return files


def failures() -> dict[str, str]:
    files = {}
    for file in range(10):
        body = (
            "import sys\n\n\ndef descend(depth):\n    if depth:\n        return descend(depth - 1)\n"
            "    left, right = list(range(50)), [*range(49), 0]\n    assert left == right\n"
        )
        for n in range(100):
            if n % 10:
                body += f"\n\ndef test_{n:02}():\n    print('line', {n})\n    assert {n}\n"
            else:
                body += (
                    f"\n\ndef test_{n:02}():\n    print('o' * 2000)\n    print('e' * 2000, file=sys.stderr)\n"
                    "    descend(12)\n"
                )
        files[f"test_{file}.py"] = body
    return files


def crash() -> dict[str, str]:
    return _among_short_ones(
        "import os\nimport signal\n\n\ndef test_crash():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )


def failure() -> dict[str, str]:
    return _among_short_ones("def test_failure():\n    assert False\n")


def _among_short_ones(test: str) -> dict[str, str]:
    """A test in the middle of 600 of 10 ms, behind the slow import of `imports`."""
    short = "from time import sleep\n\n\n" + "\n\n".join(f"def test_{n:03}():\n    sleep(0.01)\n" for n in range(300))
    return {"conftest.py": imports()["conftest.py"], "test_0.py": short, "test_1.py": test, "test_2.py": short}


SUITES = {
    "trivial": trivial,
    "sleepers": sleepers,
    "imports": imports,
    "libraries": libraries,
    "tail": tail,
    "tail-cpu": tail_cpu,
    "fixtures": fixtures,
    "failures": failures,
}


# What a suite needs beside pytest.
REQUIREMENTS = {"libraries": ("numpy==2.3.5", "pandas==2.3.3", "sympy==1.14.0")}


# What edges.py needs beside those: suites of which not every runner gives the same outcomes.
EDGES = {"crash": crash, "failure": failure}


def write(directory: Path, name: str) -> Path:
    """Writes one suite to `directory/name`, in place of what is there, and gives that path."""
    home = directory / name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / "pytest.ini").write_text("[pytest]\n")
    for path, text in {**SUITES, **EDGES}[name]().items():
        (home / path).write_text(text)
    return home


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", help="default: all")
    options = parser.parse_args()
    for name in options.names or SUITES:
        print(write(options.directory, name))


if __name__ == "__main__":
    main()
