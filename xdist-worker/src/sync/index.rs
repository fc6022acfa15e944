//! What is known of the files of a copy, so that those that nobody has touched are not hashed again.
//!
//! The index is a help, not a truth: one that is lost or damaged costs the time to hash everything.

use super::place::Place;
use rustix::fs::{self, Mode, OFlags, Stat};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use xdist_proto::tree::BlobHash;

const NAME: &str = "index";

const NEW_NAME: &str = "index.new";

/// Changes with the form of what follows.
const MAGIC: &[u8; 8] = b"xdindex1";

/// How long before the index a file has to have been changed to be sure that it was not changed once more in the same tick
/// of the file system's clock, which is 10 ms at worst.
const TICK_NS: i64 = 50_000_000;

/// By the path below the root.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: BTreeMap<Vec<u8>, Known>,
    /// When it was written, by the file system's clock.
    written_ns: i64,
}

/// What is known of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) signature: Signature,
    /// When the coordinator's file was changed. The file system may have kept less of it.
    pub(super) mtime_ns: i64,
    pub(super) content: BlobHash,
}

/// What changes with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    inode: u64,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
}

impl Signature {
    #[expect(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "the types differ between systems")]
    pub(super) const fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            mtime_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    pub(super) const fn mtime_ns(&self) -> i64 {
        self.mtime_ns
    }
}

const fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

impl Index {
    /// The index of a copy; empty where there is none that can be used.
    pub(super) fn read(place: &Place) -> Self {
        let read = || -> Option<Self> {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = fs::openat(&place.own, NAME, flags, Mode::empty()).ok()?;
            let written_ns = Signature::of(&fs::fstat(&file).ok()?).mtime_ns;
            let mut bytes = Vec::new();
            File::from(file).read_to_end(&mut bytes).ok()?;
            Some(Self { files: decode(&bytes)?, written_ns })
        };
        read().unwrap_or_default()
    }

    /// Keeps it for the next time, if that can be.
    pub(super) fn write(&self, place: &Place) {
        let write = || -> std::io::Result<()> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = fs::openat(&place.own, NEW_NAME, flags, Mode::from_raw_mode(0o600))?;
            File::from(file).write_all(&encode(&self.files))?;
            Ok(fs::renameat(&place.own, NEW_NAME, &place.own, NAME)?)
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "the index of a copy cannot be written; the next copying hashes every file");
        }
    }

    /// What is known of a file that looks like this now.
    pub(super) fn known(&self, path: &[u8], signature: Signature) -> Option<Known> {
        let known = self.files.get(path).copied()?;
        let settled = signature.ctime_ns < self.written_ns - TICK_NS;
        (known.signature == signature && settled).then_some(known)
    }

    pub(super) fn set(&mut self, path: &[u8], known: Known) {
        self.files.insert(path.to_vec(), known);
    }

    pub(super) fn forget(&mut self, path: &[u8]) {
        self.files.remove(path);
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&Vec<u8>, &Known)> {
        self.files.iter()
    }
}

impl Clone for Index {
    fn clone(&self) -> Self {
        Self { files: self.files.clone(), written_ns: self.written_ns }
    }
}

fn encode(files: &BTreeMap<Vec<u8>, Known>) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for (path, known) in files {
        let Ok(length) = u16::try_from(path.len()) else { continue };
        out.extend(length.to_be_bytes());
        out.extend(path);
        let signature = known.signature;
        out.extend(signature.inode.to_be_bytes());
        out.extend(signature.size.to_be_bytes());
        out.extend(signature.mtime_ns.to_be_bytes());
        out.extend(signature.ctime_ns.to_be_bytes());
        out.extend(known.mtime_ns.to_be_bytes());
        out.extend(known.content.0);
    }
    let sum = BlobHash::of(&out);
    out.extend(sum.0);
    out
}

fn decode(bytes: &[u8]) -> Option<BTreeMap<Vec<u8>, Known>> {
    let (body, sum) = bytes.split_last_chunk()?;
    let mut rest = body.strip_prefix(MAGIC).filter(|_| BlobHash::of(body).0 == *sum)?;
    let mut files = BTreeMap::new();
    while !rest.is_empty() {
        let length = u16::from_be_bytes(take(&mut rest)?);
        let (path, after) = rest.split_at_checked(length.into())?;
        rest = after;
        let signature = Signature {
            inode: u64::from_be_bytes(take(&mut rest)?),
            size: u64::from_be_bytes(take(&mut rest)?),
            mtime_ns: i64::from_be_bytes(take(&mut rest)?),
            ctime_ns: i64::from_be_bytes(take(&mut rest)?),
        };
        let mtime_ns = i64::from_be_bytes(take(&mut rest)?);
        let content = BlobHash(take(&mut rest)?);
        files.insert(path.to_vec(), Known { signature, mtime_ns, content });
    }
    Some(files)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> BTreeMap<Vec<u8>, Known> {
        let signature = Signature { inode: 7, size: 3, mtime_ns: -5, ctime_ns: 1 << 60 };
        let known = Known { signature, mtime_ns: 9, content: BlobHash::of(b"abc") };
        BTreeMap::from([(b"a/b".to_vec(), known), (vec![0xff], known)])
    }

    #[test]
    fn it_comes_back_as_it_was_written() {
        assert_eq!(decode(&encode(&files())), Some(files()));
    }

    #[test]
    fn what_is_damaged_or_cut_off_is_not_used() {
        let whole = encode(&files());
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), None);
        }
        let mut damaged = whole.clone();
        damaged[20] ^= 1;
        assert_eq!(decode(&damaged), None);
    }

    #[test]
    fn a_file_that_was_changed_just_before_is_not_trusted() {
        let (path, known) = files().pop_first().unwrap();
        let ctime_ns = known.signature.ctime_ns;
        let at = |written_ns| Index { files: files(), written_ns }.known(&path, known.signature).is_some();
        assert!(!at(ctime_ns));
        assert!(!at(ctime_ns + TICK_NS));
        assert!(at(ctime_ns + TICK_NS + 1));
        let other = Signature { inode: 8, ..known.signature };
        assert_eq!(Index { files: files(), written_ns: i64::MAX }.known(&path, other), None);
    }
}
