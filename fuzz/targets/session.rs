//! Sequences of a session's inputs, with the invariants of a run asserted.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xdist_coord::fuzz::run(data));
