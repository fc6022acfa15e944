"""The Python half of xdist: runs one worker's pytest session for the host, which is written in Rust.

It needs nothing but the standard library and the user's pytest (7.0 or newer) on Python 3.9 or newer. The contract with
the host is in `xdist-worker/src/runner.rs`; the messages are those of `xdist-proto`.
"""
