//! The fuzz target's body over its seeds and over every input that once broke it.

use std::path::Path;

#[test]
fn sessions_hold_over_seeds_and_crashers() {
    for directory in ["corpus", "crashers"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(directory).join("session");
        for entry in std::fs::read_dir(&directory).expect("the fuzzer's inputs are in the repository") {
            let path = entry.expect("a directory that can be read").path();
            let data = std::fs::read(&path).expect("a file that can be read");
            let held = std::panic::catch_unwind(|| xdist_coord::fuzz::run(&data));
            assert!(held.is_ok(), "broken by {}", path.display());
        }
    }
}
