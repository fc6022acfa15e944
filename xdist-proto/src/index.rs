//! What either side of a copying remembers of its files, so that those that nobody has touched are not hashed again. It
//! does not travel; it is here because both sides keep it in the same way.
//!
//! An index is a help, not a truth: one that is lost or damaged costs the time to hash everything.

use crate::tree::BlobHash;
use std::collections::BTreeMap;

/// Changes with the form of what follows.
const MAGIC: &[u8; 8] = b"xdindex1";

/// How long before the index a file has to have been changed to be sure that it was not changed once more in the same tick
/// of the file system's clock, which is 10 ms at worst.
const TICK_NS: i64 = 50_000_000;

/// What is known of files, by their paths below a root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileIndex {
    files: BTreeMap<Vec<u8>, Known>,
    /// When it was written, by the file system's clock.
    written_ns: i64,
}

/// What is known of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Of the file, when it was hashed.
    pub signature: Signature,
    /// When the coordinator's file was changed, in nanoseconds since 1970. A copy's file system may have kept less of it.
    pub mtime_ns: i64,
    /// The content.
    pub content: BlobHash,
}

/// What changes with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The number of the file.
    pub inode: u64,
    /// Its length.
    pub size: u64,
    /// When its content was changed, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When anything about it was changed, which nobody can set.
    pub ctime_ns: i64,
}

impl FileIndex {
    /// Reads an index that was written at this time, by the clock of the files' own file system; `None` for one that cannot be
    /// used.
    #[must_use]
    pub fn decode(bytes: &[u8], written_ns: i64) -> Option<Self> {
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
        Some(Self { files, written_ns })
    }

    /// The bytes to be read by [`decode`](Self::decode).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (path, known) in &self.files {
            let Ok(length) = u16::try_from(path.len()) else { continue };
            out.extend(length.to_be_bytes());
            out.extend(path);
            let Signature { inode, size, mtime_ns, ctime_ns } = known.signature;
            out.extend(inode.to_be_bytes());
            out.extend(size.to_be_bytes());
            out.extend(mtime_ns.to_be_bytes());
            out.extend(ctime_ns.to_be_bytes());
            out.extend(known.mtime_ns.to_be_bytes());
            out.extend(known.content.0);
        }
        let sum = BlobHash::of(&out);
        out.extend(sum.0);
        out
    }

    /// What is known of a file that looks like this now.
    #[must_use]
    pub fn known(&self, path: &[u8], signature: Signature) -> Option<Known> {
        let known = self.files.get(path).copied()?;
        let settled = signature.ctime_ns < self.written_ns - TICK_NS;
        (known.signature == signature && settled).then_some(known)
    }

    /// Remembers a file.
    pub fn set(&mut self, path: &[u8], known: Known) {
        self.files.insert(path.to_vec(), known);
    }

    /// Forgets a file.
    pub fn forget(&mut self, path: &[u8]) {
        self.files.remove(path);
    }

    /// All files, in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&Vec<u8>, &Known)> {
        self.files.iter()
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(written_ns: i64) -> FileIndex {
        let signature = Signature { inode: 7, size: 3, mtime_ns: -5, ctime_ns: 1 << 60 };
        let known = Known { signature, mtime_ns: 9, content: BlobHash::of(b"abc") };
        FileIndex { files: BTreeMap::from([(b"a/b".to_vec(), known), (vec![0xff], known)]), written_ns }
    }

    #[test]
    fn it_comes_back_as_it_was_written() {
        assert_eq!(FileIndex::decode(&index(4).encode(), 4), Some(index(4)));
    }

    #[test]
    fn what_is_damaged_or_cut_off_is_not_used() {
        let whole = index(0).encode();
        for length in 0..whole.len() {
            assert_eq!(FileIndex::decode(&whole[..length], 0), None);
        }
        let mut damaged = whole.clone();
        damaged[20] ^= 1;
        assert_eq!(FileIndex::decode(&damaged, 0), None);
    }

    #[test]
    fn a_file_that_was_changed_just_before_is_not_trusted() {
        let (path, known) = index(0).files.pop_first().unwrap();
        let ctime_ns = known.signature.ctime_ns;
        let at = |written_ns| index(written_ns).known(&path, known.signature).is_some();
        assert!(!at(ctime_ns));
        assert!(!at(ctime_ns + TICK_NS));
        assert!(at(ctime_ns + TICK_NS + 1));
        let other = Signature { inode: 8, ..known.signature };
        assert_eq!(index(i64::MAX).known(&path, other), None);
    }
}
