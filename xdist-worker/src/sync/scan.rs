//! What is there already.

use super::enter::{Entered, Purpose};
use super::error::SyncError;
use super::index;
use super::place::{self, Place};
use rustix::fd::OwnedFd;
use rustix::fs::{self, Dir, FileType, Mode, OFlags, Stat};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use xdist_proto::index::{FileIndex, Known};
use xdist_proto::tree::{
    BlobHash, Entry, EntryKind, Hasher, MAX_DEPTH, MODE_BITS, encode_listing, stays_where_it_is,
};

const READ_BYTES: usize = 256 << 10;

/// What is in a directory, by name.
pub(super) type Nodes = BTreeMap<Vec<u8>, Node>;

/// Something in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File {
        mode: u16,
        mtime_ns: i64,
        size: u64,
        content: BlobHash,
    },
    /// In a target, what is in it may be left out where its listing is the one that was found.
    Directory {
        mode: u16,
        listing: BlobHash,
        nodes: Nodes,
    },
    Link {
        target: Vec<u8>,
    },
    /// A socket, a device: nothing that a copy has.
    Other,
}

/// A tree as it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) nodes: Nodes,
    pub(super) listing: BlobHash,
    /// Of every file.
    pub(super) index: FileIndex,
    /// How many files had to be hashed.
    pub(super) hashed: u64,
}

/// Looks at everything below the root.
pub(super) fn scan(place: &Place, index: &FileIndex) -> Result<Found, SyncError> {
    let mut scanner =
        Scanner { place, index, new: FileIndex::default(), hashed: 0, buffer: vec![0; READ_BYTES] };
    let nodes = scanner.directory(&place.root, &mut Vec::new(), 0)?;
    Ok(Found { listing: listing_of(&nodes), nodes, index: scanner.new, hashed: scanner.hashed })
}

struct Scanner<'a> {
    place: &'a Place,
    index: &'a FileIndex,
    new: FileIndex,
    hashed: u64,
    buffer: Vec<u8>,
}

impl Scanner<'_> {
    fn directory(
        &mut self,
        directory: &OwnedFd,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<Nodes, SyncError> {
        if depth > MAX_DEPTH {
            let path = String::from_utf8_lossy(&self.place.shown(path)).into_owned();
            return Err(SyncError::TooDeep { path, limit: MAX_DEPTH });
        }
        let mut nodes = Nodes::new();
        let names = names(directory).map_err(SyncError::io("read", &self.place.shown(path)))?;
        for name in names {
            let length = push(path, &name);
            if let Some(node) = self.node(directory, &name, path, depth)? {
                nodes.insert(name, node);
            }
            path.truncate(length);
        }
        Ok(nodes)
    }

    /// What this name stands for, unless it is gone meanwhile.
    fn node(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<Option<Node>, SyncError> {
        let shown = self.place.shown(path);
        let Some(stat) = place::stat(parent, name).map_err(SyncError::io("look at", &shown))? else {
            return Ok(None);
        };
        let mode = mode_of(&stat);
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.file(parent, name, path, &stat),
            FileType::Directory => {
                let entered =
                    Entered::open(parent, name, Purpose::Look).map_err(SyncError::io("open", &shown))?;
                let nodes = self.directory(&entered.directory, path, depth + 1);
                entered.leave();
                let nodes = nodes?;
                Node::Directory { mode, listing: listing_of(&nodes), nodes }
            }
            FileType::Symlink => {
                let target =
                    fs::readlinkat(parent, name, Vec::new()).map_err(SyncError::io("read", &shown))?;
                Node::Link { target: target.into_bytes() }
            }
            _ => Node::Other,
        }))
    }

    fn file(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
    ) -> Result<Option<Node>, SyncError> {
        let signature = index::signature(stat);
        let known = match self.index.known(path, signature) {
            Some(known) => known,
            None => {
                self.hashed += 1;
                match self.hash(parent, name) {
                    Ok(content) => Known { signature, mtime_ns: signature.mtime_ns, content },
                    // It cannot be the same as one that the coordinator could read.
                    Err(_) => return Ok(Some(Node::Other)),
                }
            }
        };
        self.new.set(path, known);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let (mode, mtime_ns, content) = (mode_of(stat), known.mtime_ns, known.content);
        Ok(Some(Node::File { mode, mtime_ns, size, content }))
    }

    fn hash(&mut self, parent: &OwnedFd, name: &[u8]) -> std::io::Result<BlobHash> {
        let mut file = open_file(parent, name)?;
        let mut hasher = Hasher::default();
        loop {
            match file.read(&mut self.buffer)? {
                0 => return Ok(hasher.finish()),
                count => hasher.update(&self.buffer[..count]),
            }
        }
    }
}

/// Opens a file for reading, if it is one.
pub(super) fn open_file(parent: &OwnedFd, name: &[u8]) -> std::io::Result<File> {
    // Should it have become a pipe meanwhile, nobody waits for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(fs::openat(parent, name, flags, Mode::empty())?))
}

/// The names in a directory that are part of the copy.
fn names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, rustix::io::Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") && !stays_where_it_is(name) {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

fn mode_of(stat: &Stat) -> u16 {
    u16::try_from(stat.st_mode & u32::from(MODE_BITS)).unwrap_or(0)
}

/// Appends a name to a path; gives the length to cut it back to.
pub(super) fn push(path: &mut Vec<u8>, name: &[u8]) -> usize {
    let length = path.len();
    if length > 0 {
        path.push(b'/');
    }
    path.extend(name);
    length
}

/// The hash of what the listing of a directory would be. With something in it that no listing has, it is nobody's.
pub(super) fn listing_of(nodes: &Nodes) -> BlobHash {
    let entries: Vec<Entry> = nodes
        .iter()
        .filter_map(|(name, node)| Some(Entry { name: name.clone(), kind: entry_kind(node)? }))
        .collect();
    let mut listing = encode_listing(&entries);
    if entries.len() < nodes.len() {
        listing.push(0);
    }
    BlobHash::of(&listing)
}

fn entry_kind(node: &Node) -> Option<EntryKind> {
    Some(match node {
        Node::File { mode, mtime_ns, size, content } => {
            EntryKind::File { mode: *mode, mtime_ns: *mtime_ns, size: *size, content: *content }
        }
        Node::Directory { mode, listing, .. } => EntryKind::Directory { mode: *mode, listing: *listing },
        Node::Link { target } => EntryKind::Link { target: target.clone() },
        Node::Other => return None,
    })
}
