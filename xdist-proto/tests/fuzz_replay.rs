//! The fuzz targets' bodies over their seeds and over every input that once broke them.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod support;

use support::{files, in_crate};

#[test]
fn frames_hold_over_seeds_and_crashers() {
    replay("frames", xdist_proto::fuzz::frames);
}

#[test]
fn messages_hold_over_seeds_and_crashers() {
    replay("messages", xdist_proto::fuzz::messages);
}

fn replay(target: &str, body: fn(&[u8])) {
    let mut seeds = 0;
    for directory in ["corpus", "crashers"] {
        let directory = in_crate("../fuzz").join(directory).join(target);
        for entry in
            std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        {
            let path = entry.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            let held = std::panic::catch_unwind(|| body(&data));
            assert!(held.is_ok(), "broken by {}", path.display());
            seeds += 1;
        }
    }
    assert!(seeds > 5, "only {seeds} seeds for {target}");
}

#[test]
fn every_vector_is_a_seed() {
    for directory in ["tests/vectors/v1.0", "tests/vectors/reject"] {
        for (name, bytes) in files(directory, "bin") {
            let seed = in_crate("../fuzz/corpus/frames").join(format!("{name}.bin"));
            assert!(
                std::fs::read(&seed).is_ok_and(|seed| seed == bytes),
                "copy {name}.bin to {}",
                seed.display()
            );
        }
    }
}
