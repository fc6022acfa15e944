//! Files that come back from another machine when a run is over: what is asked for, the files in parts, and the end.
//!
//! Only for hosts with the feature [`FEATURE_FETCH`]. Paths are relative to the directory that the request names.

use crate::ids::FetchId;
use serde::{Deserialize, Serialize};

/// The feature of a host that answers [`Fetch`].
pub const FEATURE_FETCH: &str = "fetch";

/// The most bytes of a file in one [`Fetched`].
pub const MAX_PART_BYTES: usize = 256 << 10;

/// Asks the host for the files in a directory that fit one of the patterns. Answered by [`Fetched`] parts and one
/// [`FetchDone`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Fetch {
    /// Comes back in the answers.
    #[serde(rename = "request")]
    pub request: FetchId,
    /// The directory, absolute.
    #[serde(rename = "directory")]
    pub directory: String,
    /// The patterns, relative to the directory.
    #[serde(rename = "patterns")]
    pub patterns: Vec<String>,
    /// What below the directory is left out, with all that is in it.
    #[serde(rename = "except", default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// The most files that are sent.
    #[serde(rename = "max_files")]
    pub max_files: u32,
    /// The most bytes that they have together.
    #[serde(rename = "max_bytes")]
    pub max_bytes: u64,
}

/// A part of a file. Those of one file come in order, without gaps, and nothing of another file between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Fetched {
    /// Of the request.
    #[serde(rename = "request")]
    pub request: FetchId,
    /// The file.
    #[serde(rename = "path")]
    pub path: String,
    /// Its permissions, as in `chmod`.
    #[serde(rename = "mode", default)]
    pub mode: u32,
    /// How many bytes of the file come before this part.
    #[serde(rename = "offset")]
    pub offset: u64,
    /// The bytes, at most [`MAX_PART_BYTES`].
    #[serde(rename = "data", with = "serde_bytes")]
    pub data: Vec<u8>,
    /// If `data` is a zstd frame: how many bytes it stands for, also at most [`MAX_PART_BYTES`].
    #[serde(rename = "unpacked", default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<u32>,
    /// In the last part of a file: how it ends.
    #[serde(rename = "end", default, skip_serializing_if = "Option::is_none")]
    pub end: Option<FileEnd>,
}

/// How a file ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum FileEnd {
    /// It is complete; this is the BLAKE3 hash of all its bytes.
    #[serde(rename = "complete")]
    Complete(#[serde(with = "serde_bytes")] [u8; 32]),
    /// What was sent of it is of no use, for this reason.
    #[serde(rename = "broken")]
    Broken(String),
}

/// Everything that was asked for is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct FetchDone {
    /// Of the request.
    #[serde(rename = "request")]
    pub request: FetchId,
    /// How many files are complete.
    #[serde(rename = "files", default)]
    pub files: u32,
    /// How many bytes they have together.
    #[serde(rename = "bytes", default)]
    pub bytes: u64,
    /// What could not be sent and why, each in one line. Of files that broke off that was told before.
    #[serde(rename = "problems", default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}
