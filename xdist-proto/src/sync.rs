//! The messages with which a directory is copied to a host, before its workers are brought up. They name the copy, no
//! worker; `docs/protocol.md`, "Copying files".

use crate::tree::BlobHash;
use serde::{Deserialize, Serialize};

/// The feature of a host that takes copies, in `hello`.
pub const FEATURE: &str = "sync";

/// How many bytes the pieces of one `sync_data` hold at most, before they are packed.
pub const MAX_CHUNK_BYTES: usize = 256 << 10;

/// How many `sync_data` may be on their way to a host that has not said `sync_taken` of them.
pub const WINDOW_CHUNKS: u32 = 16;

/// How many blobs one `sync_want` names at most.
pub const MAX_WANTED: usize = 4096;

/// Wants a directory made the same as the coordinator's. Answered by `sync_end` or `sync_failed`, with `sync_want` and
/// `sync_taken` before it if there is anything to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SyncBegin {
    /// The number of this copying, new to the host.
    #[serde(rename = "tree")]
    pub tree: u32,
    /// The directory that the copy goes into, made if it is not there; absent for one of the host's own choice.
    #[serde(rename = "base", default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What the copies of one project have in common, and no others: names the place where there is no `base`.
    #[serde(rename = "project", default)]
    pub project: String,
    /// The name of the copy in that directory.
    #[serde(rename = "name")]
    pub name: String,
    /// The listing of the directory.
    #[serde(rename = "root")]
    pub root: BlobHash,
}

/// Blobs that the host does not have, in the order in which they are to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SyncWant {
    /// Of `sync_begin`.
    #[serde(rename = "tree")]
    pub tree: u32,
    /// Each at most once in a copying as a content, and once as a listing.
    #[serde(rename = "blobs")]
    pub blobs: Vec<BlobHash>,
}

/// Bytes of the blobs that were wanted: all pieces of all `sync_data`, put together, are the wanted blobs in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SyncData {
    /// Of `sync_begin`.
    #[serde(rename = "tree")]
    pub tree: u32,
    /// What the bytes are, in order.
    #[serde(rename = "pieces")]
    pub pieces: Vec<Piece>,
    /// Whether the bytes are packed, as one frame of Zstandard.
    #[serde(rename = "packed", default, skip_serializing_if = "std::ops::Not::not")]
    pub packed: bool,
    /// The bytes of all pieces.
    #[serde(rename = "data", with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// A part of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Piece {
    /// How many bytes it has.
    #[serde(rename = "length")]
    pub length: u32,
    /// What comes after it.
    #[serde(rename = "end")]
    pub end: PieceEnd,
}

/// What comes after a part of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum PieceEnd {
    /// More of it.
    #[serde(rename = "more")]
    More,
    /// The next blob: this one is whole.
    #[serde(rename = "whole")]
    Whole,
    /// The next blob: this one is whole, but the file was changed meanwhile, and is now something else than what was wanted.
    #[serde(rename = "changed")]
    Changed(Changed),
    /// The next blob: there is no such file any more.
    #[serde(rename = "gone")]
    Gone,
}

/// What a file is that was changed while it was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Changed {
    /// The hash of what was sent.
    #[serde(rename = "content")]
    pub content: BlobHash,
    /// When it was changed, in nanoseconds since 1970.
    #[serde(rename = "mtime_ns", default)]
    pub mtime_ns: i64,
}

/// The host has taken so many `sync_data`, so that more may follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SyncTaken {
    /// Of `sync_begin`.
    #[serde(rename = "tree")]
    pub tree: u32,
    /// How many in all.
    #[serde(rename = "chunks")]
    pub chunks: u32,
}

/// The copy is what the directory was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SyncEnd {
    /// Of `sync_begin`.
    #[serde(rename = "tree")]
    pub tree: u32,
    /// Where the copy is, absolute.
    #[serde(rename = "path")]
    pub path: String,
    /// How many files and symbolic links it has.
    #[serde(rename = "files", default)]
    pub files: u64,
    /// How many of them were written.
    #[serde(rename = "written", default)]
    pub written: u64,
    /// How many names were removed.
    #[serde(rename = "removed", default)]
    pub removed: u64,
    /// How many bytes were taken for that.
    #[serde(rename = "received", default)]
    pub received: u64,
}

/// There is no copy, or none that is up to date. Files that are there are whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SyncFailed {
    /// Of `sync_begin`.
    #[serde(rename = "tree")]
    pub tree: u32,
    /// What happened, to which path, and what to do about it.
    #[serde(rename = "text")]
    pub text: String,
}

/// What to copy to hosts, as parsed by the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Files {
    /// `--sync`: absolute paths of directories that are copied without what their ignore files name.
    #[serde(rename = "sync")]
    pub sync: Vec<String>,
    /// `--rsyncdir` and `rsyncdirs`: absolute paths of directories that are copied as pytest-xdist does.
    #[serde(rename = "rsync")]
    pub rsync: Vec<String>,
    /// `--rsyncignore` and `rsyncignore`: patterns of names or paths that are left out.
    #[serde(rename = "ignore")]
    pub ignore: Vec<String>,
}

impl Files {
    /// Whether nothing at all is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is nothing to copy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sync.is_empty() && self.rsync.is_empty()
    }
}
