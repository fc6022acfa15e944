//! Where the coordinator keeps what it knows of the files that it has hashed: one file for each directory, in the user's
//! cache directory.

use super::walk::mtime_ns;
use std::fs::{self, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use xdist_proto::index::{FileIndex, Signature};
use xdist_proto::tree::BlobHash;

/// The directory in the cache directory.
const SOURCES: &str = "sources";

/// How much of a hash tells directories apart, in hexadecimal digits.
const DIGITS: usize = 32;

/// The file for this directory.
pub(super) fn path(cache: &str, root: &str) -> PathBuf {
    let name = BlobHash::of(root.as_bytes()).to_string();
    Path::new(cache).join(SOURCES).join(&name[..DIGITS])
}

/// What is known; nothing where there is no file that can be used.
pub(super) fn read(path: &Path) -> FileIndex {
    let read = || FileIndex::decode(&fs::read(path).ok()?, mtime_ns(&fs::metadata(path).ok()?));
    read().unwrap_or_default()
}

/// Keeps it for the next run, if that can be.
pub(super) fn write(index: &FileIndex, path: &Path) {
    let write = || -> std::io::Result<()> {
        let directory = path.parent().unwrap_or(path);
        fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&index.encode())?;
        file.persist(path)?;
        Ok(())
    };
    if let Err(error) = write() {
        tracing::warn!(%error, "what is known of files cannot be kept; the next run hashes every file");
    }
}

/// By what a file is known again.
pub(super) fn signature(metadata: &Metadata) -> Signature {
    Signature {
        inode: metadata.ino(),
        size: metadata.len(),
        mtime_ns: mtime_ns(metadata),
        ctime_ns: metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec()),
    }
}
