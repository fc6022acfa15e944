//! Gets what is missing from the coordinator.

use super::SyncCommand;
use super::error::SyncError;
use super::scan::{Found, Node, Nodes};
use super::staging::Staging;
use crate::event::Event;
use crossbeam_channel::{Receiver, Sender};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use xdist_proto::WorkerMessage;
use xdist_proto::sync::{MAX_CHUNK_BYTES, MAX_WANTED, PieceEnd, SyncData, SyncTaken, SyncWant};
use xdist_proto::tree::{
    BlobHash, Entry, EntryKind, MAX_DEPTH, MAX_LISTING_BYTES, decode_listing, stays_where_it_is,
};

/// The most names that a copy may have, so that a peer cannot make this machine run out of memory.
const MAX_ENTRIES: usize = 4 << 20;

/// Wants blobs, and takes them in.
#[derive(Debug)]
pub(super) struct Fetcher<'a> {
    tree: u32,
    commands: &'a Receiver<SyncCommand>,
    events: &'a Sender<Event>,
    /// What is on its way, in order.
    wanted: VecDeque<BlobHash>,
    chunks: u32,
    received: u64,
}

/// Where the bytes of blobs go.
pub(super) trait Sink {
    /// The next bytes of this blob.
    fn bytes(&mut self, blob: BlobHash, bytes: &[u8]) -> Result<(), SyncError>;
    /// The blob has come to this end.
    fn end(&mut self, blob: BlobHash, end: &PieceEnd) -> Result<(), SyncError>;
}

impl<'a> Fetcher<'a> {
    pub(super) const fn new(
        tree: u32,
        commands: &'a Receiver<SyncCommand>,
        events: &'a Sender<Event>,
    ) -> Self {
        Self { tree, commands, events, wanted: VecDeque::new(), chunks: 0, received: 0 }
    }

    /// How many bytes of contents came.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// The tree with this listing. What is below directories that are there already is left out.
    pub(super) fn listings(&mut self, root: BlobHash, found: &Found) -> Result<Nodes, SyncError> {
        let mut here = BTreeSet::from([found.listing]);
        note_listings(&found.nodes, &mut here);
        let mut listings = Listings::default();
        let mut missing = vec![root];
        // Level by level, so that a tree costs as many round trips as it is deep.
        for _ in 0..=MAX_DEPTH {
            if missing.is_empty() {
                return build(root, &listings.whole, found);
            }
            self.fetch(&missing, &mut listings)?;
            let mut next = BTreeSet::new();
            for blob in missing {
                next.extend(subdirectories(&listings.whole[&blob]));
            }
            next.retain(|blob| !here.contains(blob) && !listings.whole.contains_key(blob));
            missing = next.into_iter().collect();
        }
        Err(SyncError::TooDeep { path: "the directory".to_owned(), limit: MAX_DEPTH })
    }

    /// All contents that are missing.
    pub(super) fn contents(&mut self, staging: &mut Staging<'_>) -> Result<(), SyncError> {
        let missing = staging.missing();
        self.fetch(&missing, staging)
    }

    fn fetch(&mut self, blobs: &[BlobHash], sink: &mut dyn Sink) -> Result<(), SyncError> {
        for blobs in blobs.chunks(MAX_WANTED) {
            self.wanted.extend(blobs);
            self.say(WorkerMessage::SyncWant(SyncWant { tree: self.tree, blobs: blobs.to_vec() }))?;
        }
        while !self.wanted.is_empty() {
            let data = self.next_data()?;
            self.take(&data, sink)?;
            self.chunks += 1;
            self.say(WorkerMessage::SyncTaken(SyncTaken { tree: self.tree, chunks: self.chunks }))?;
        }
        Ok(())
    }

    fn say(&self, message: WorkerMessage) -> Result<(), SyncError> {
        self.events.send(Event::Sync(Box::new(message))).map_err(|_| SyncError::Ended)
    }

    fn next_data(&self) -> Result<SyncData, SyncError> {
        loop {
            match self.commands.recv().map_err(|_| SyncError::Ended)? {
                SyncCommand::Data(data) if data.tree == self.tree => return Ok(data),
                // Of a copying that has failed.
                SyncCommand::Data(_) => {}
                SyncCommand::Begin(_) => return Err(garbled("another copying was begun meanwhile")),
            }
        }
    }

    fn take(&mut self, data: &SyncData, sink: &mut dyn Sink) -> Result<(), SyncError> {
        self.received += data.data.len() as u64;
        let unpacked = unpack(data)?;
        let mut rest = unpacked.as_deref().unwrap_or(&data.data);
        for piece in &data.pieces {
            let blob = *self.wanted.front().ok_or_else(|| garbled("more came than was wanted"))?;
            let (bytes, after) = rest
                .split_at_checked(piece.length as usize)
                .ok_or_else(|| garbled("a piece is longer than what came"))?;
            rest = after;
            sink.bytes(blob, bytes)?;
            if piece.end != PieceEnd::More {
                sink.end(blob, &piece.end)?;
                self.wanted.pop_front();
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(garbled("more came than the pieces have")) }
    }
}

/// The bytes, if they are packed.
fn unpack(data: &SyncData) -> Result<Option<Vec<u8>>, SyncError> {
    if !data.packed {
        return Ok(None);
    }
    let unpacked = zstd::bulk::decompress(&data.data, MAX_CHUNK_BYTES);
    unpacked.map(Some).map_err(|error| garbled(&format!("it cannot be unpacked: {error}")))
}

pub(super) fn garbled(what: &str) -> SyncError {
    SyncError::Garbled(what.to_owned())
}

/// Listings as they come in.
#[derive(Debug, Default)]
struct Listings {
    begun: Vec<u8>,
    whole: BTreeMap<BlobHash, Vec<Entry>>,
    entries: usize,
}

impl Sink for Listings {
    fn bytes(&mut self, _: BlobHash, bytes: &[u8]) -> Result<(), SyncError> {
        if self.begun.len() + bytes.len() > MAX_LISTING_BYTES {
            return Err(garbled("a listing is too long"));
        }
        self.begun.extend(bytes);
        Ok(())
    }

    fn end(&mut self, blob: BlobHash, end: &PieceEnd) -> Result<(), SyncError> {
        let bytes = std::mem::take(&mut self.begun);
        if *end != PieceEnd::Whole || BlobHash::of(&bytes) != blob {
            return Err(garbled("a listing has another hash"));
        }
        let entries = decode_listing(&bytes)?;
        self.entries += entries.len();
        if self.entries > MAX_ENTRIES {
            return Err(SyncError::TooMany { limit: MAX_ENTRIES });
        }
        // Whoever names them has made another choice of what a copy is.
        if let Some(entry) = entries.iter().find(|entry| stays_where_it_is(&entry.name)) {
            return Err(garbled(&format!("{:?} is not copied", String::from_utf8_lossy(&entry.name))));
        }
        self.whole.insert(blob, entries);
        Ok(())
    }
}

fn note_listings(nodes: &Nodes, listings: &mut BTreeSet<BlobHash>) {
    for node in nodes.values() {
        if let Node::Directory { listing, nodes, .. } = node {
            listings.insert(*listing);
            note_listings(nodes, listings);
        }
    }
}

fn subdirectories(entries: &[Entry]) -> impl Iterator<Item = BlobHash> {
    entries.iter().filter_map(|entry| match &entry.kind {
        EntryKind::Directory { listing, .. } => Some(*listing),
        EntryKind::File { .. } | EntryKind::Link { .. } => None,
    })
}

/// Puts listings together to a tree, some of which are of directories that are here, in this place or another.
fn build(
    root: BlobHash,
    listings: &BTreeMap<BlobHash, Vec<Entry>>,
    found: &Found,
) -> Result<Nodes, SyncError> {
    let mut here = BTreeMap::new();
    note_nodes(found.listing, &found.nodes, &mut here);
    let mut builder = Builder { listings, here, sizes: BTreeMap::new() };
    // Small listings that name each other many times may stand for a tree without bounds.
    if builder.size(root, 0)? > MAX_ENTRIES {
        return Err(SyncError::TooMany { limit: MAX_ENTRIES });
    }
    Ok(builder.nodes(root))
}

fn note_nodes<'a>(listing: BlobHash, nodes: &'a Nodes, here: &mut BTreeMap<BlobHash, &'a Nodes>) {
    here.insert(listing, nodes);
    for node in nodes.values() {
        if let Node::Directory { listing, nodes, .. } = node {
            note_nodes(*listing, nodes, here);
        }
    }
}

/// How many names there are below a directory.
fn total(nodes: &Nodes) -> usize {
    let below = |node: &Node| match node {
        Node::Directory { nodes, .. } => total(nodes),
        Node::File { .. } | Node::Link { .. } | Node::Other => 0,
    };
    nodes.len() + nodes.values().map(below).sum::<usize>()
}

struct Builder<'a> {
    listings: &'a BTreeMap<BlobHash, Vec<Entry>>,
    here: BTreeMap<BlobHash, &'a Nodes>,
    /// How many names there are below the directories with these listings.
    sizes: BTreeMap<BlobHash, usize>,
}

impl Builder<'_> {
    fn size(&mut self, listing: BlobHash, depth: usize) -> Result<usize, SyncError> {
        if depth > MAX_DEPTH {
            return Err(SyncError::TooDeep { path: "the directory".to_owned(), limit: MAX_DEPTH });
        }
        if let Some(&size) = self.sizes.get(&listing) {
            return Ok(size);
        }
        let size = match self.listings.get(&listing) {
            None => self.here.get(&listing).map_or(0, |nodes| total(nodes)),
            Some(entries) => {
                let mut size = entries.len();
                for inside in subdirectories(entries) {
                    size = size.saturating_add(self.size(inside, depth + 1)?);
                }
                size
            }
        };
        self.sizes.insert(listing, size);
        Ok(size)
    }

    fn nodes(&self, listing: BlobHash) -> Nodes {
        match self.listings.get(&listing) {
            None => self.here.get(&listing).copied().cloned().unwrap_or_default(),
            Some(entries) => {
                entries.iter().map(|entry| (entry.name.clone(), self.node(&entry.kind))).collect()
            }
        }
    }

    fn node(&self, kind: &EntryKind) -> Node {
        match kind {
            EntryKind::File { mode, mtime_ns, size, content } => {
                Node::File { mode: *mode, mtime_ns: *mtime_ns, size: *size, content: *content }
            }
            EntryKind::Directory { mode, listing } => {
                Node::Directory { mode: *mode, listing: *listing, nodes: self.nodes(*listing) }
            }
            EntryKind::Link { target } => Node::Link { target: target.clone() },
        }
    }
}
