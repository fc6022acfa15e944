//! What one host wants, packed into chunks.

use super::walk::{Blob, Tree, mtime_ns};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use xdist_proto::sync::{Changed, MAX_CHUNK_BYTES, Piece, PieceEnd, SyncData};
use xdist_proto::tree::{BlobHash, Hasher};

/// How hard Zstandard tries: as it does by itself, which is faster than most networks and disks.
const LEVEL: i32 = 3;

/// How many pieces go into one chunk at most, so that many empty files make no long message.
const MAX_PIECES: usize = 4096;

/// Sends blobs in the order in which they are wanted.
#[derive(Debug)]
pub(super) struct Stream {
    number: u32,
    tree: Arc<Tree>,
    wanted: VecDeque<BlobHash>,
    /// How many blobs were wanted so far; each is sent once as a content, and once as a listing.
    asked: usize,
    /// What is being sent.
    current: Option<Current>,
    /// Whether a chunk was asked for when there was nothing to send.
    awaited: bool,
}

#[derive(Debug)]
struct Current {
    blob: BlobHash,
    source: Source,
    hasher: Hasher,
}

#[derive(Debug)]
enum Source {
    Listing(usize),
    File(File),
    Gone,
}

impl Stream {
    pub(super) const fn new(number: u32, tree: Arc<Tree>) -> Self {
        Self { number, tree, wanted: VecDeque::new(), asked: 0, current: None, awaited: false }
    }

    /// Takes in what the host wants.
    ///
    /// # Errors
    /// When that is nothing that the tree has, in words.
    pub(super) fn want(&mut self, blobs: Vec<BlobHash>) -> Result<(), String> {
        if let Some(unknown) = blobs.iter().find(|blob| !self.tree.blobs.contains_key(*blob)) {
            return Err(format!(
                "it does not keep to the protocol: it wants {unknown}, which is in no listing"
            ));
        }
        self.asked += blobs.len();
        // An empty file and the listing of an empty directory, for example, have the same name.
        if self.asked > 2 * self.tree.blobs.len() {
            return Err("it does not keep to the protocol: it wants more than there is".to_owned());
        }
        self.wanted.extend(blobs);
        Ok(())
    }

    pub(super) const fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// The next chunk; without anything to send, it is owed.
    ///
    /// # Errors
    /// When a file cannot be read, in words.
    pub(super) fn next(&mut self) -> Result<Option<SyncData>, String> {
        let mut pieces = Vec::new();
        let mut bytes = Vec::new();
        while bytes.len() < MAX_CHUNK_BYTES && pieces.len() < MAX_PIECES {
            if !self.open_next()? {
                break;
            }
            let Some(current) = &mut self.current else { break };
            let start = bytes.len();
            let end = current.read(&self.tree, &mut bytes)?;
            let length = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
            if end != PieceEnd::More {
                self.current = None;
            }
            pieces.push(Piece { length, end });
        }
        self.awaited = pieces.is_empty();
        if self.awaited {
            return Ok(None);
        }
        let packed = zstd::bulk::compress(&bytes, LEVEL).ok().filter(|packed| packed.len() < bytes.len());
        let (packed, data) = (packed.is_some(), packed.unwrap_or(bytes));
        Ok(Some(SyncData { tree: self.number, pieces, packed, data }))
    }

    /// Opens the next blob unless one is being sent; answers whether there is any.
    fn open_next(&mut self) -> Result<bool, String> {
        if self.current.is_none() {
            let Some(blob) = self.wanted.pop_front() else { return Ok(false) };
            let source = match &self.tree.blobs[&blob] {
                Blob::Listing(_) => Source::Listing(0),
                Blob::File(path) => open(path)?,
            };
            self.current = Some(Current { blob, source, hasher: Hasher::default() });
        }
        Ok(true)
    }
}

fn open(path: &Path) -> Result<Source, String> {
    match File::open(path) {
        Ok(file) => Ok(Source::File(file)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Source::Gone)
        }
        Err(error) => Err(format!("cannot read {path:?} to copy it: {error}")),
    }
}

impl Current {
    /// Appends as much of it as there is room for.
    fn read(&mut self, tree: &Tree, out: &mut Vec<u8>) -> Result<PieceEnd, String> {
        let room = MAX_CHUNK_BYTES - out.len();
        match &mut self.source {
            Source::Gone => Ok(PieceEnd::Gone),
            Source::Listing(sent) => {
                let Blob::Listing(bytes) = &tree.blobs[&self.blob] else { return Ok(PieceEnd::Gone) };
                let count = room.min(bytes.len() - *sent);
                out.extend(&bytes[*sent..*sent + count]);
                *sent += count;
                Ok(if *sent == bytes.len() { PieceEnd::Whole } else { PieceEnd::More })
            }
            Source::File(file) => {
                let start = out.len();
                let read = (&mut *file).take(room as u64).read_to_end(out);
                read.map_err(|error| format!("cannot read a file to copy it: {error}"))?;
                self.hasher.update(&out[start..]);
                if out.len() - start == room {
                    return Ok(PieceEnd::More);
                }
                let content = self.hasher.finish();
                if content == self.blob {
                    return Ok(PieceEnd::Whole);
                }
                let mtime_ns = file.metadata().map_or(0, |metadata| mtime_ns(&metadata));
                Ok(PieceEnd::Changed(Changed { content, mtime_ns }))
            }
        }
    }
}
