//! What is said of directories that are copied from machine to machine: listings, and the hashes that name contents.
//!
//! A file's content and a directory's listing are both *blobs*, named by the BLAKE3 hash of their bytes. A listing holds the
//! hashes of what is in the directory, so its own hash stands for the whole tree below it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest listing of one directory, in bytes: some hundred thousand names.
pub const MAX_LISTING_BYTES: usize = 16 << 20;

/// The longest name of a file, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// The longest target of a symbolic link, in bytes.
pub const MAX_TARGET_BYTES: usize = 4095;

/// How deep a tree may be.
pub const MAX_DEPTH: usize = 128;

/// The permissions that are kept.
pub const MODE_BITS: u16 = 0o777;

/// Where a copy keeps what is known of it. It is no part of the tree, at either side.
pub const OWN_DIRECTORY: &[u8] = b".xdist-sync";

/// Names that are never copied and never removed: caches, which belong to one machine.
const CACHES: [&[u8]; 5] = [b"__pycache__", b".pytest_cache", b".mypy_cache", b".ruff_cache", b".hypothesis"];

/// The name of a blob: the BLAKE3 hash of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct BlobHash(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl BlobHash {
    /// The name of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobHash({self})")
    }
}

/// Takes bytes in, piece by piece, and gives their name in the end.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Box<blake3::Hasher>);

impl Hasher {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The name of all that was taken in.
    #[must_use]
    pub fn finish(&self) -> BlobHash {
        BlobHash(*self.0.finalize().as_bytes())
    }
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, one component of a path.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
}

/// What a name in a directory stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Permissions, within [`MODE_BITS`].
        mode: u16,
        /// When it was last changed, in nanoseconds since 1970.
        mtime_ns: i64,
        /// Its length in bytes.
        size: u64,
        /// Its content.
        content: BlobHash,
    },
    /// A directory.
    Directory {
        /// Permissions, within [`MODE_BITS`].
        mode: u16,
        /// Its listing.
        listing: BlobHash,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        target: Vec<u8>,
    },
}

/// A listing that makes no sense, or would be dangerous to follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListingError {
    /// It ends within an entry.
    #[error("a listing of a directory is cut off")]
    CutOff,
    /// An entry is of a kind that nobody knows.
    #[error("a listing of a directory has an entry of kind {kind}, which is unknown")]
    Kind {
        /// The number that stands for it.
        kind: u8,
    },
    /// A name is no single component of a path.
    #[error("{:?} cannot be the name of a file", String::from_utf8_lossy(.name))]
    Name {
        /// The name.
        name: Vec<u8>,
    },
    /// Names are not in order, or one is there twice.
    #[error("{:?} is out of order in the listing of its directory", String::from_utf8_lossy(.name))]
    Order {
        /// The name.
        name: Vec<u8>,
    },
    /// The target of a symbolic link is empty, too long, or holds a zero byte.
    #[error("the symbolic link {:?} leads nowhere", String::from_utf8_lossy(.name))]
    Target {
        /// The name.
        name: Vec<u8>,
    },
    /// Permissions that are not kept.
    #[error("{:?} has permissions that are not taken over", String::from_utf8_lossy(.name))]
    Mode {
        /// The name.
        name: Vec<u8>,
    },
}

const FILE: u8 = 1;
const DIRECTORY: u8 = 2;
const LINK: u8 = 3;

/// The bytes of a listing (`docs/protocol.md`, "Listings"). Entries have to be in the order of their names.
#[must_use]
pub fn encode_listing<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        encode_entry(entry, &mut out);
    }
    out
}

fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    let length = u8::try_from(entry.name.len()).expect("names were checked");
    match &entry.kind {
        EntryKind::File { mode, mtime_ns, size, content } => {
            out.extend([FILE, length]);
            out.extend(&entry.name);
            out.extend(mode.to_be_bytes());
            out.extend(mtime_ns.to_be_bytes());
            out.extend(size.to_be_bytes());
            out.extend(content.0);
        }
        EntryKind::Directory { mode, listing } => {
            out.extend([DIRECTORY, length]);
            out.extend(&entry.name);
            out.extend(mode.to_be_bytes());
            out.extend(listing.0);
        }
        EntryKind::Link { target } => {
            out.extend([LINK, length]);
            out.extend(&entry.name);
            out.extend(u16::try_from(target.len()).expect("targets were checked").to_be_bytes());
            out.extend(target);
        }
    }
}

/// The entries of a listing.
///
/// # Errors
/// [`ListingError`] when the bytes are no listing, or a name in it could lead anywhere but into the directory.
pub fn decode_listing(mut bytes: &[u8]) -> Result<Vec<Entry>, ListingError> {
    let mut entries: Vec<Entry> = Vec::new();
    while !bytes.is_empty() {
        let entry = decode_entry(&mut bytes)?;
        if entries.last().is_some_and(|last| last.name >= entry.name) {
            return Err(ListingError::Order { name: entry.name });
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn decode_entry(bytes: &mut &[u8]) -> Result<Entry, ListingError> {
    let [kind, length] = take_array(bytes)?;
    let name = take(bytes, length.into())?.to_vec();
    if !is_name(&name) {
        return Err(ListingError::Name { name });
    }
    let kind = match kind {
        FILE => EntryKind::File {
            mode: mode(bytes, &name)?,
            mtime_ns: i64::from_be_bytes(take_array(bytes)?),
            size: u64::from_be_bytes(take_array(bytes)?),
            content: BlobHash(take_array(bytes)?),
        },
        DIRECTORY => {
            EntryKind::Directory { mode: mode(bytes, &name)?, listing: BlobHash(take_array(bytes)?) }
        }
        LINK => {
            let length = u16::from_be_bytes(take_array(bytes)?);
            let target = take(bytes, length.into())?.to_vec();
            if !is_target(&target) {
                return Err(ListingError::Target { name });
            }
            EntryKind::Link { target }
        }
        kind => return Err(ListingError::Kind { kind }),
    };
    Ok(Entry { name, kind })
}

fn mode(bytes: &mut &[u8], name: &[u8]) -> Result<u16, ListingError> {
    let mode = u16::from_be_bytes(take_array(bytes)?);
    if mode & !MODE_BITS == 0 { Ok(mode) } else { Err(ListingError::Mode { name: name.to_vec() }) }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], ListingError> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(ListingError::CutOff)?;
    *bytes = rest;
    Ok(taken)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], ListingError> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(ListingError::CutOff)?;
    *bytes = rest;
    Ok(*taken)
}

/// Whether this is the name of something in a directory, and leads nowhere else.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    let leads_elsewhere =
        matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0));
    !leads_elsewhere && name.len() <= MAX_NAME_BYTES
}

/// Whether a symbolic link may lead there, wherever that is: links are kept, and never followed.
#[must_use]
pub fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.len() <= MAX_TARGET_BYTES && !target.contains(&0)
}

/// Whether a name belongs to one machine: it is neither copied nor removed.
#[must_use]
pub fn stays_where_it_is(name: &[u8]) -> bool {
    let byte_code = name.ends_with(b".pyc") || name.ends_with(b".pyo");
    byte_code || name == OWN_DIRECTORY || CACHES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let content = BlobHash::of(b"content");
        let file = EntryKind::File { mode: 0o755, mtime_ns: -1, size: 7, content };
        let directory = EntryKind::Directory { mode: 0o700, listing: BlobHash::of(b"") };
        let link = EntryKind::Link { target: b"../elsewhere".to_vec() };
        [("a", file), ("b", directory), ("caf\u{e9}", link)]
            .map(|(name, kind)| Entry { name: name.into(), kind })
            .to_vec()
    }

    #[test]
    fn listings_come_back_as_they_were() {
        let bytes = encode_listing(&entries());
        assert_eq!(decode_listing(&bytes), Ok(entries()));
        assert_eq!(decode_listing(b""), Ok(Vec::new()));
    }

    #[test]
    fn the_bytes_of_a_listing_are_those_of_the_document() {
        let kind = EntryKind::File { mode: 0o644, mtime_ns: 1, size: 2, content: BlobHash([7; 32]) };
        let link = Entry { name: b"l".to_vec(), kind: EntryKind::Link { target: b"f".to_vec() } };
        let expected = [
            &[1, 1, b'f', 0x01, 0xa4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2][..],
            &[7; 32],
            &[3, 1, b'l', 0, 1, b'f'],
        ]
        .concat();
        assert_eq!(encode_listing([&Entry { name: b"f".to_vec(), kind }, &link]), expected);
    }

    #[test]
    fn a_listing_that_is_cut_off_anywhere_but_between_entries_is_refused() {
        let all = entries();
        let bytes = encode_listing(&all);
        let whole: Vec<usize> = (0..=all.len()).map(|count| encode_listing(&all[..count]).len()).collect();
        for length in 0..bytes.len() {
            let expected = if whole.contains(&length) { Ok(()) } else { Err(ListingError::CutOff) };
            assert_eq!(decode_listing(&bytes[..length]).map(|_| ()), expected, "{length}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(256);
        for name in ["", ".", "..", "/", "a/b", "../a", "/etc", "a\0", &long] {
            assert!(!is_name(name.as_bytes()), "{name:?}");
        }
        let bytes = [&[LINK, 2][..], b"..", &[0, 1], b"x"].concat();
        assert_eq!(decode_listing(&bytes), Err(ListingError::Name { name: b"..".to_vec() }));
        assert!(is_name("...".as_bytes()) && is_name(b"a b\n") && is_name(&[0xff]));
    }

    #[test]
    fn names_come_once_and_in_order() {
        let mut all = entries();
        all.swap(0, 1);
        let error = ListingError::Order { name: b"a".to_vec() };
        assert_eq!(decode_listing(&encode_listing(&all)), Err(error.clone()));
        all[0] = all[1].clone();
        assert_eq!(decode_listing(&encode_listing(&all)), Err(error));
    }

    #[test]
    fn what_is_not_taken_over_is_refused() {
        let setuid = Entry {
            name: b"a".to_vec(),
            kind: EntryKind::Directory { mode: 0o4755, listing: BlobHash::of(b"") },
        };
        assert_eq!(
            decode_listing(&encode_listing([&setuid])),
            Err(ListingError::Mode { name: b"a".to_vec() })
        );
        let nowhere = Entry { name: b"a".to_vec(), kind: EntryKind::Link { target: Vec::new() } };
        assert_eq!(
            decode_listing(&encode_listing([&nowhere])),
            Err(ListingError::Target { name: b"a".to_vec() })
        );
        assert_eq!(decode_listing(&[9, 1, b'a']), Err(ListingError::Kind { kind: 9 }));
    }

    #[test]
    fn hashing_in_pieces_is_hashing() {
        let mut hasher = Hasher::default();
        hasher.update(b"con");
        hasher.update(b"tent");
        assert_eq!(hasher.finish(), BlobHash::of(b"content"));
        // From the reference implementation: `printf '' | b3sum`.
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(BlobHash::of(b"").to_string(), empty);
    }
}
