"""Shows that a run on machines that come and go gives the same outcomes as plain pytest.

    python tools/compare_network.py networkx [--subset] [--delay 20] [--loss 1] [--away 20] [--xdist target/release/xdist]

The coordinator and three hosts are in network namespaces of their own, between which every packet takes `--delay`
milliseconds and `--loss` percent of them are lost. In mid-run one host is cut off for `--away` seconds, and another is
killed. Needs root. Exit code 1 if an outcome differs.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import network
import outcomes
import suites
from compare import Runs

SHOWN = 20
HOSTS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=sorted(suites.SUITES))
    parser.add_argument("--subset", action="store_true", help="a part of the suite, where it is a large one")
    parser.add_argument("--delay", type=float, default=20, help="milliseconds that a packet takes")
    parser.add_argument("--loss", type=float, default=1, help="percent of packets that are lost")
    parser.add_argument("--away", type=float, default=20, help="seconds that a host is cut off")
    parser.add_argument("--xdist", type=Path, default=suites.ROOT / "target" / "release" / "xdist")
    options = parser.parse_args()
    if network.missing():
        print(f"not run: no {' and no '.join(network.missing())} on this machine")
        return 0

    suite = suites.prepare(options.suite, subset=options.subset)
    with tempfile.TemporaryDirectory(prefix="xdist-network-") as scratch:
        return compare(suite, Path(scratch), options)


def compare(suite: suites.Prepared, scratch: Path, options: argparse.Namespace) -> int:
    print(f"{suite.name} {suites.SUITES[suite.name].version}: pytest {' '.join(suite.args)}")
    runs = Runs(suite, options.xdist.resolve(), scratch)
    first, second = runs.plain(), runs.plain()
    ignored = outcomes.unsettled(first.outcomes, second.outcomes)
    print(f"plain pytest     {second.seconds:7.1f} s  {outcomes.summary(second.outcomes)}", flush=True)
    log = scratch / "report.jsonl"
    with network.Network(HOSTS + 1, delay=options.delay / 1000, loss=options.loss / 100) as net:
        code, seconds, said = distributed(suite, scratch, log, net, options)
    lines = outcomes.differences(second.outcomes, outcomes.read(log), ignored)
    if code != second.code and not ignored:
        lines.append(f"exit code {code} instead of {second.code}")
    verdict = f"{len(lines)} DIFFERENCES" if lines else "same"
    print(f"{HOSTS} hosts          {seconds:7.1f} s  {verdict}")
    for line in lines[:SHOWN]:
        print(f"    {line}")
    print("    " + "\n    ".join(line for line in said.splitlines() if "host lost" in line or line.startswith("=")))
    return 1 if lines else 0


def distributed(
    suite: suites.Prepared, scratch: Path, log: Path, net: network.Network, options: argparse.Namespace
) -> tuple[int, float, str]:
    """Runs the suite, and gives exit code, seconds, and what was said."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VIRTUAL_ENV"))}
    env["PYTHONPATH"] = str(Path(__file__).parent)
    xdist, token, said = options.xdist.resolve(), scratch / "join", scratch / "said"
    started = time.monotonic()
    with open(said, "w") as output:
        run = subprocess.Popen(
            net.on(0, [
                xdist, "run", "--listen", f"{net.address(0)}:0", "--join-file", token, "--min-workers", HOSTS,
                "--report-log", log, "-q", "-p", "no:cacheprovider", *suite.args,
            ]),
            cwd=suite.source, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    wait_until(token.exists, run)
    join = [xdist, "worker", "--join", token, "--slots", "1", "--python", suite.python]
    hosts = [
        subprocess.Popen(net.on(at, join), cwd=suite.source, env=env, start_new_session=True)
        for at in range(1, HOSTS + 1)
    ]
    wait_until(lambda: finished(log) >= 100, run)
    print(f"    {time.monotonic() - started:.1f} s: one host is cut off, another is killed", flush=True)
    net.cut(1)
    os.killpg(hosts[1].pid, signal.SIGKILL)
    away_until = time.monotonic() + options.away
    wait_until(lambda: run.poll() is not None or time.monotonic() >= away_until, run)
    net.heal(1)
    print(f"    {time.monotonic() - started:.1f} s: the network is whole again", flush=True)
    code = run.wait()
    seconds = time.monotonic() - started
    for host in hosts:
        host.wait()
    return code, seconds, said.read_text(errors="replace")


def finished(log: Path) -> int:
    """How many tests have a result in the report log."""
    return log.read_bytes().count(b'"when":"teardown"') if log.exists() else 0


def wait_until(is_so, run: subprocess.Popen) -> None:
    while not is_so() and run.poll() is None:
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
