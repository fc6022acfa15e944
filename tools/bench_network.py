"""Measures what the way to the workers costs: the same suite at several round-trip times.

    python tools/bench_network.py [--rounds 3] [--tests 500] [--test-ms 20] [--round-trips 0,50,200] [--xdist target/release/xdist]

Two hosts of one worker each join a run; all three are in network namespaces of their own. The rate is that of results, from
the first to the last. Rounds are interleaved; needs root.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import network
import suites

HOSTS = 2

SUITE = """
import time, pytest

@pytest.mark.parametrize("n", range({tests}))
def test_n(n):
    time.sleep({seconds})
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tests", type=int, default=500, help="how many tests")
    parser.add_argument("--test-ms", type=float, default=20, help="how many milliseconds a test sleeps")
    parser.add_argument("--round-trips", default="0,50,200", help="in milliseconds, separated by commas")
    parser.add_argument("--python", type=Path, default=suites.ROOT / ".venv" / "bin" / "python")
    parser.add_argument("--xdist", type=Path, default=suites.ROOT / "target" / "release" / "xdist")
    options = parser.parse_args()
    if network.missing():
        print(f"not run: no {' and no '.join(network.missing())} on this machine")
        return 0

    round_trips = [float(text) for text in options.round_trips.split(",")]
    rates: dict[float, list[float]] = {each: [] for each in round_trips}
    with network.Network(HOSTS + 1) as net, tempfile.TemporaryDirectory(prefix="xdist-network-") as scratch:
        suite = Path(scratch, "suite")
        suite.mkdir()
        (suite / "pytest.ini").write_text("[pytest]\n")
        (suite / "test_it.py").write_text(SUITE.format(tests=options.tests, seconds=options.test_ms / 1000))
        for _ in range(options.rounds):
            for each in round_trips:
                net.delay = each / 2000
                rates[each].append(rate(net, suite, Path(scratch), options))
    first = statistics.median(rates[round_trips[0]])
    print(f"{options.tests} tests of {options.test_ms:g} ms, {HOSTS} hosts of one worker; medians of {options.rounds}")
    print("| round trip | tests per second | of the first | spread |\n| --- | --- | --- | --- |")
    for each, measured in rates.items():
        median = statistics.median(measured)
        spread = f"{min(measured):.1f} to {max(measured):.1f}"
        print(f"| {each:g} ms | {median:.1f} | {median / first:.2f} | {spread} |")
    return 0


def rate(net: network.Network, suite: Path, scratch: Path, options: argparse.Namespace) -> float:
    """Results per second in one run."""
    log, token = scratch / "report.jsonl", scratch / "join"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VIRTUAL_ENV"))}
    xdist = options.xdist.resolve()
    run = subprocess.Popen(
        net.on(0, [
            xdist, "run", "--listen", f"{net.address(0)}:0", "--join-file", token, "--min-workers", HOSTS,
            "--report-log", log, "-q", "-p", "no:cacheprovider",
        ]),
        cwd=suite, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    while not token.exists() and run.poll() is None:
        time.sleep(0.01)
    join = [xdist, "worker", "--join", token, "--slots", "1", "--python", options.python]
    hosts = [subprocess.Popen(net.on(at, join), cwd=suite, env=env) for at in range(1, HOSTS + 1)]
    said, _ = run.communicate()
    assert run.returncode == 0, said
    for host in hosts:
        host.wait()
    events = [json.loads(line) for line in log.read_text().splitlines()]
    times = [event["time"] for event in events if event.get("when") == "teardown"]
    assert len(times) == options.tests, said
    return (len(times) - 1) / (times[-1] - times[0])


if __name__ == "__main__":
    sys.exit(main())
