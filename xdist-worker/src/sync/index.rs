//! Where the index of a copy is kept: in the copy's own directory.

use super::place::Place;
use rustix::fs::{self, Mode, OFlags, Stat};
use std::fs::File;
use std::io::{Read, Write};
use xdist_proto::index::{FileIndex, Signature};

const NAME: &str = "index";

const NEW_NAME: &str = "index.new";

/// The index of a copy; empty where there is none that can be used.
pub(super) fn read(place: &Place) -> FileIndex {
    let read = || -> Option<FileIndex> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&place.own, NAME, flags, Mode::empty()).ok()?;
        let written_ns = signature(&fs::fstat(&file).ok()?).mtime_ns;
        let mut bytes = Vec::new();
        File::from(file).read_to_end(&mut bytes).ok()?;
        FileIndex::decode(&bytes, written_ns)
    };
    read().unwrap_or_default()
}

/// Keeps it for the next time, if that can be.
pub(super) fn write(index: &FileIndex, place: &Place) {
    let write = || -> std::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&place.own, NEW_NAME, flags, Mode::from_raw_mode(0o600))?;
        File::from(file).write_all(&index.encode())?;
        Ok(fs::renameat(&place.own, NEW_NAME, &place.own, NAME)?)
    };
    if let Err(error) = write() {
        tracing::warn!(%error, "the index of a copy cannot be written; the next copying hashes every file");
    }
}

/// By what a file is known again.
#[expect(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "the types differ between systems")]
pub(super) const fn signature(stat: &Stat) -> Signature {
    Signature {
        inode: stat.st_ino as u64,
        size: stat.st_size as u64,
        mtime_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        ctime_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
    }
}

const fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
