//! What is in files here, to be compared with what hosts have found in theirs.

use super::Stop;
use blake2::digest::consts::U8;
use blake2::{Blake2b, Digest};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A hash of each of these files, as `collected` has it (`docs/protocol.md`). Those that are not here, or cannot be read,
/// are left out.
pub(super) fn hashes(directory: &str, paths: Vec<String>, stop: &Stop) -> BTreeMap<String, u64> {
    let directory = Path::new(directory);
    let hashed = |path: String| hash(&directory.join(&path)).map(|hash| (path, hash));
    paths.into_iter().take_while(|_| !stop.is_set()).filter_map(hashed).collect()
}

fn hash(path: &Path) -> Option<u64> {
    // Whatever else has this name may never end.
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let content = is_file.then(|| fs::read(path).ok())??;
    Some(u64::from_be_bytes(Blake2b::<U8>::digest(content).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_workers_tell() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("sub")).unwrap();
        fs::write(directory.path().join("sub/test_a.py"), "def test_a(): pass\n").unwrap();
        let paths = ["sub/test_a.py", "sub", "absent"].map(str::to_owned).to_vec();
        let found = hashes(directory.path().to_str().unwrap(), paths, &Stop::default());
        // As `hashlib.blake2b(content, digest_size=8)` has it.
        assert_eq!(found, [("sub/test_a.py".to_owned(), 0xf1ab_5b11_5278_fda2)].into());
    }
}
