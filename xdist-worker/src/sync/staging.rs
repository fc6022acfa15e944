//! Contents that are here and not in their places yet: files in a directory beside them, each under its hash.

use super::enter::{Entered, Purpose};
use super::error::SyncError;
use super::fetch::{Sink, garbled};
use super::place::Place;
use super::scan::{Found, Node, Nodes, open_file};
use rustix::fs::{self, AtFlags, Dir, Mode, OFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use xdist_proto::sync::PieceEnd;
use xdist_proto::tree::{BlobHash, Hasher};

const COPY_BYTES: usize = 256 << 10;

/// What is missing in a tree, and what of it has come.
#[derive(Debug)]
pub(super) struct Staging<'a> {
    place: &'a Place,
    needed: BTreeMap<BlobHash, Needed>,
    /// The hashes in the order of the tree, in which they can be read one after the other at the other side.
    order: Vec<BlobHash>,
    writing: Option<Writing>,
}

#[derive(Debug)]
struct Needed {
    size: u64,
    /// How many files are to have it.
    uses: usize,
    state: Option<Staged>,
}

/// What has become of a content that was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staged {
    /// It is here.
    Whole,
    /// Another one is here in its place, of a file changed at this time.
    Changed { content: BlobHash, mtime_ns: i64 },
    /// There is none any more.
    Gone,
}

#[derive(Debug)]
struct Writing {
    file: File,
    hasher: Hasher,
    length: u64,
}

impl<'a> Staging<'a> {
    /// What it takes to get from one tree to another.
    pub(super) fn new(place: &'a Place, from: &Nodes, to: &Nodes) -> Result<Self, SyncError> {
        let mut staging = Self { place, needed: BTreeMap::new(), order: Vec::new(), writing: None };
        staging.need(Some(from), to)?;
        Ok(staging)
    }

    fn need(&mut self, from: Option<&Nodes>, to: &Nodes) -> Result<(), SyncError> {
        for (name, node) in to {
            match (from.and_then(|from| from.get(name)), node) {
                (Some(Node::File { content: old, .. }), Node::File { content, .. }) if old == content => {}
                (_, Node::File { content, size, .. }) => self.need_content(*content, *size),
                (Some(Node::Directory { listing: old, .. }), Node::Directory { listing, .. })
                    if old == listing => {}
                (from, Node::Directory { nodes, .. }) => {
                    let from = match from {
                        Some(Node::Directory { nodes, .. }) => Some(nodes),
                        _ => None,
                    };
                    self.need(from, nodes)?;
                }
                (_, Node::Link { .. }) => {}
                (_, Node::Other) => return Err(garbled("a listing was made up")),
            }
        }
        Ok(())
    }

    fn need_content(&mut self, content: BlobHash, size: u64) {
        let order = &mut self.order;
        let needed = self.needed.entry(content).or_insert_with(|| {
            order.push(content);
            Needed { size, uses: 0, state: None }
        });
        needed.uses += 1;
    }

    /// Takes what has come in an earlier attempt, and what is elsewhere in the tree.
    pub(super) fn reuse(&mut self, place: &Place, found: &Found) -> Result<(), SyncError> {
        self.sort_out_leftovers().map_err(SyncError::io("clean up", &place.shown(b"")))?;
        for (path, known) in found.index.files() {
            let wanted = self.needed.get(&known.content).is_some_and(|needed| needed.state.is_none());
            // What was changed meanwhile comes from the coordinator.
            if wanted && self.copy_from_tree(path, known.content).is_ok_and(|same| same) {
                self.settle(known.content, Staged::Whole);
            }
        }
        Ok(())
    }

    fn sort_out_leftovers(&mut self) -> io::Result<()> {
        let mut names = BTreeSet::new();
        for entry in Dir::read_from(&self.place.staging)? {
            names.insert(entry?.file_name().to_bytes().to_vec());
        }
        names.retain(|name| !matches!(&name[..], b"." | b".."));
        let wanted: BTreeMap<Vec<u8>, BlobHash> =
            self.needed.keys().map(|content| (content.to_string().into_bytes(), *content)).collect();
        for name in names {
            match wanted.get(&name) {
                Some(&content) if self.is_whole(&name, content)? => self.settle(content, Staged::Whole),
                _ => fs::unlinkat(&self.place.staging, &name[..], AtFlags::empty())?,
            }
        }
        Ok(())
    }

    fn is_whole(&self, name: &[u8], content: BlobHash) -> io::Result<bool> {
        let mut file = open_file(&self.place.staging, name)?;
        Ok(hash_and_copy(&mut file, &mut io::sink())? == content)
    }

    /// Copies a file of the tree, and answers whether it still had this content.
    fn copy_from_tree(&self, path: &[u8], content: BlobHash) -> io::Result<bool> {
        let mut names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        let Some(name) = names.pop() else { return Ok(false) };
        let mut source = self.open_in_tree(&names, name)?;
        let mut copy = self.create(content)?;
        let same = hash_and_copy(&mut source, &mut copy)? == content;
        if !same {
            fs::unlinkat(&self.place.staging, content.to_string(), AtFlags::empty())?;
        }
        Ok(same)
    }

    fn open_in_tree(&self, directories: &[&[u8]], name: &[u8]) -> io::Result<File> {
        let mut way: Vec<Entered> = Vec::new();
        for inner in directories {
            let parent = way.last().map_or(&self.place.root, |outer| &outer.directory);
            way.push(Entered::open(parent, inner, Purpose::Look)?);
        }
        let file = open_file(way.last().map_or(&self.place.root, |outer| &outer.directory), name);
        way.into_iter().for_each(Entered::leave);
        file
    }

    fn create(&self, content: BlobHash) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = content.to_string();
        Ok(File::from(fs::openat(&self.place.staging, name, flags, Mode::from_raw_mode(0o600))?))
    }

    fn settle(&mut self, content: BlobHash, state: Staged) {
        if let Some(needed) = self.needed.get_mut(&content) {
            needed.state = Some(state);
        }
    }

    /// What the coordinator has to send, in the order of the tree.
    pub(super) fn missing(&self) -> Vec<BlobHash> {
        self.order.iter().copied().filter(|content| self.needed[content].state.is_none()).collect()
    }

    /// What there is for a file that is to have this content.
    pub(super) fn state(&self, content: BlobHash) -> Result<Staged, SyncError> {
        let state = self.needed.get(&content).and_then(|needed| needed.state);
        state.ok_or_else(|| garbled("a content is missing"))
    }

    /// The name, in the staging directory, of a file that can be moved into its place.
    pub(super) fn take(&mut self, content: BlobHash) -> io::Result<String> {
        let name = content.to_string();
        let needed = self.needed.get_mut(&content).ok_or(io::ErrorKind::NotFound)?;
        needed.uses = needed.uses.saturating_sub(1);
        if needed.uses == 0 {
            return Ok(name);
        }
        let copy_name = format!("{name}.{}", needed.uses);
        let mut source = open_file(&self.place.staging, name.as_bytes())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = fs::openat(&self.place.staging, &copy_name, flags, Mode::from_raw_mode(0o600))?;
        io::copy(&mut source, &mut File::from(copy))?;
        Ok(copy_name)
    }

    fn write_error<E: Into<io::Error>>(&self) -> impl FnOnce(E) -> SyncError + use<E> {
        SyncError::io("write to", &self.place.shown(xdist_proto::tree::OWN_DIRECTORY))
    }

    /// The file that is being written, which begins with the first bytes.
    fn writing(&mut self, blob: BlobHash) -> Result<&mut Writing, SyncError> {
        if self.writing.is_none() {
            let file = self.create(blob).map_err(self.write_error())?;
            self.writing = Some(Writing { file, hasher: Hasher::default(), length: 0 });
        }
        self.writing.as_mut().ok_or(SyncError::Ended)
    }
}

impl Sink for Staging<'_> {
    fn bytes(&mut self, blob: BlobHash, bytes: &[u8]) -> Result<(), SyncError> {
        let error = self.write_error();
        let writing = self.writing(blob)?;
        writing.length += bytes.len() as u64;
        writing.hasher.update(bytes);
        writing.file.write_all(bytes).map_err(error)
    }

    fn end(&mut self, blob: BlobHash, end: &PieceEnd) -> Result<(), SyncError> {
        let size = self.needed.get(&blob).map(|needed| needed.size);
        self.writing(blob)?;
        let Some(writing) = self.writing.take() else { return Err(SyncError::Ended) };
        let content = writing.hasher.finish();
        let state = match end {
            PieceEnd::Whole if content == blob && Some(writing.length) == size => Staged::Whole,
            PieceEnd::Changed(changed) if content == changed.content => {
                Staged::Changed { content, mtime_ns: changed.mtime_ns }
            }
            PieceEnd::Gone => Staged::Gone,
            PieceEnd::Whole | PieceEnd::Changed(_) | PieceEnd::More => {
                return Err(garbled("a file has another hash"));
            }
        };
        self.settle(blob, state);
        Ok(())
    }
}

/// The hash of what is read, all of which is also written.
fn hash_and_copy(source: &mut impl Read, target: &mut impl Write) -> io::Result<BlobHash> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                target.write_all(&buffer[..count])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
