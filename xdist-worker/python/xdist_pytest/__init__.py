"""The Python half of xdist: runs one worker's pytest session for the host, which is written in Rust.

It needs nothing but the standard library and the user's pytest (7.0 or newer) on Python 3.9 or newer. The contract with
the host is in `xdist-worker/src/runner.rs`; the messages are those of `xdist-proto`.

PYTEST_DONT_REWRITE: where `xdist run` starts pytest, this is there before pytest is, which would warn of that.
"""

import sys

# The host starts us with `python -c`, so the current directory is on the path, and a test suite's `queue.py` would be
# taken for the standard library's by the modules here. The command `pytest` does not have it there either.
if sys.argv[:1] == ["-c"] and "" in sys.path[:2]:
    sys.path.remove("")
