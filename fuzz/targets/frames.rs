//! Bytes as they may arrive on a link.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xdist_proto::fuzz::frames(data));
