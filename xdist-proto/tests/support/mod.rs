//! What the tests of the wire share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod annotate;
mod frontends;
pub(crate) mod reject;
pub(crate) mod vectors;

use std::path::PathBuf;

/// A path below this crate's directory.
pub(crate) fn in_crate(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files with one extension in a directory, by name.
pub(crate) fn files(directory: &str, extension: &str) -> Vec<(String, Vec<u8>)> {
    let directory = in_crate(directory);
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
    {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|found| found == extension) {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            files.push((name, std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}
