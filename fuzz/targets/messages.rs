//! Messages made from bytes, sent and received.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xdist_proto::fuzz::messages(data));
