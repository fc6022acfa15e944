//! Messages to and from the payload of a frame.

use crate::frame::{self, FrameError, PREFIX_BYTES};
use crate::frontend::{FrontendCommand, FrontendMessage};
use crate::handshake::{Hello, Refused, Welcome};
use crate::message::{CoordinatorMessage, WorkerMessage};
use crate::reader;
use crate::structure::{self, StructureError};
use crate::token::{Token, Tokens};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A payload that is not a message. The link cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is not one well-formed MessagePack value within the limits.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// It is not a map with one entry that has a text for a key.
    #[error("not a message: expected a map with one entry")]
    NotAMessage,
    /// A message of this kind is not known, and may not be skipped.
    #[error("unknown message kind {kind:?}")]
    UnknownKind {
        /// The kind, shortened to a readable length.
        kind: String,
    },
    /// The fields do not fit the kind.
    #[error("malformed {kind:?} message: {detail}")]
    Malformed {
        /// The kind.
        kind: String,
        /// What does not fit, shortened to a readable length.
        detail: String,
    },
}

/// A message that no receiver would take. Only odd [`crate::Value`]s and unbounded lists and texts can cause it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// It is longer than a frame may be.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It is nested too deeply or has too many values.
    #[error(transparent)]
    Structure(#[from] StructureError),
}

/// A payload that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded<M> {
    /// A message.
    Message(M),
    /// A message of an unknown kind that may be skipped (`~` in front).
    Skipped,
}

/// A closed set of messages that travel as `{kind: {field: value}}`.
pub trait Message: Serialize + DeserializeOwned {
    /// The kinds on the wire.
    const KINDS: &'static [&'static str];
}

/// The messages of the opening exchange that a host or frontend sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum PeerOpening {
    /// Opens the link.
    #[serde(rename = "hello")]
    Hello(Box<Hello>),
}

/// The messages of the opening exchange that the coordinator sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum CoordinatorOpening {
    /// Accepts the link.
    #[serde(rename = "welcome")]
    Welcome(Welcome),
    /// Refuses the link.
    #[serde(rename = "refused")]
    Refused(Refused),
}

impl Message for PeerOpening {
    const KINDS: &'static [&'static str] = &["hello"];
}

impl Message for CoordinatorOpening {
    const KINDS: &'static [&'static str] = &["welcome", "refused"];
}

impl Message for CoordinatorMessage {
    const KINDS: &'static [&'static str] = &[
        "configure",
        "proceed",
        "collect",
        "send_collection",
        "answer",
        "~suspend",
        "~resume",
        "run",
        "steal",
        "cancel",
        "park",
        "drain",
        "interrupt",
        "shutdown",
        "sync_begin",
        "sync_data",
        "ping",
        "fetch",
        "~dismissed",
    ];
}

impl Message for WorkerMessage {
    const KINDS: &'static [&'static str] = &[
        "host_wanted",
        "ready",
        "collecting",
        "collect_report",
        "collected",
        "collection",
        "ask",
        "ask_withdrawn",
        "terminal_returned",
        "made",
        "released",
        "item_started",
        "item_finished",
        "unscheduled",
        "stop_requested",
        "warning",
        "output",
        "internal_error",
        "usage_error",
        "worker_output",
        "down",
        "sync_want",
        "sync_taken",
        "sync_end",
        "sync_failed",
        "pong",
        "fetched",
        "fetch_done",
    ];
}

impl Message for FrontendMessage {
    const KINDS: &'static [&'static str] = &[
        "run_configured",
        "worker_starting",
        "configure_node",
        "worker_ready",
        "worker_collected",
        "unforkable",
        "files_copied",
        "collect_report",
        "items",
        "collection_mismatch",
        "scheduling",
        "item_running",
        "item_result",
        "item_retried",
        "crash_question",
        "crashed",
        "terminal_lent",
        "terminal_back",
        "taken_back",
        "worker_recycled",
        "worker_down",
        "restarts_exhausted",
        "warning",
        "output",
        "error",
        "files_fetched",
        "stopping",
        "not_run",
        "node_output",
        "finished",
    ];
}

impl Message for FrontendCommand {
    const KINDS: &'static [&'static str] = &[
        "node_configured",
        "crash_handled",
        "terminal_free",
        "assign",
        "take_back",
        "park_worker",
        "retire",
        "interrupt_run",
        "farewell",
    ];
}

/// Encodes a message as the payload of a frame, within no limits; [`encode_into`] is for what goes on a link.
///
/// # Panics
/// When a [`crate::Value`] in it is nested deeper than [`structure::MAX_DEPTH`]; none that was decoded is.
#[must_use]
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    let mut out = Vec::new();
    serialize(message, &mut out).expect("values are not nested beyond reason");
    out
}

/// Appends a message to `out` as a frame, prefix included. What it writes is within every limit that a receiver checks.
///
/// ```
/// use xdist_proto::codec::{Decoded, decode, encode_into};
/// use xdist_proto::{CoordinatorMessage, FrameDecoder, message::Ping};
///
/// let ping = CoordinatorMessage::Ping(Ping { nonce: 7 });
/// let mut out = Vec::new();
/// encode_into(&ping, 1024, &mut out)?;
///
/// let mut frames = FrameDecoder::new(1024);
/// frames.push(&out);
/// assert_eq!(decode(frames.next_frame()?.unwrap())?, Decoded::Message(ping));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`EncodeError`] when the message exceeds `limit` bytes or the structural limits; `out` is then unchanged.
pub fn encode_into<M: Message>(message: &M, limit: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    let result = encode_payload(message, limit, start + PREFIX_BYTES, out);
    match result {
        Ok(length) => out[start..start + PREFIX_BYTES].copy_from_slice(&length.to_be_bytes()),
        Err(_) => out.truncate(start),
    }
    result.map(|_| ())
}

/// Appends the payload at `start`, the end of `out`, and answers its length.
fn encode_payload<M: Message>(
    message: &M,
    limit: u32,
    start: usize,
    out: &mut Vec<u8>,
) -> Result<u32, EncodeError> {
    serialize(message, out)?;
    let length = frame::check_length(u32::try_from(out.len() - start).unwrap_or(u32::MAX), limit)?;
    structure::check(&out[start..])?;
    Ok(length)
}

fn serialize<M: Message>(message: &M, out: &mut Vec<u8>) -> Result<(), StructureError> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    // Writing to memory cannot fail and all lengths are known beforehand, so only the depth of values is left, which
    // they check themselves: the serializer recurses without bounds.
    message.serialize(&mut serializer).map_err(|_| StructureError::TooDeep)
}

/// Decodes the payload of a frame.
///
/// # Errors
/// [`DecodeError`]; never panics, and never allocates more than a small multiple of the payload's length.
pub fn decode<M: Message>(payload: &[u8]) -> Result<Decoded<M>, DecodeError> {
    structure::check(payload)?;
    let kind = kind_of(payload)?;
    if !M::KINDS.contains(&kind) {
        return match kind.starts_with('~') {
            true => Ok(Decoded::Skipped),
            false => Err(DecodeError::UnknownKind { kind: shortened(kind, 40) }),
        };
    }
    reader::read(payload).map(Decoded::Message).map_err(|error| DecodeError::Malformed {
        kind: kind.to_owned(),
        detail: shortened(&error.to_string(), 200),
    })
}

/// The kind of a payload that [`structure::check`] passed.
fn kind_of(payload: &[u8]) -> Result<&str, DecodeError> {
    let mut tokens = Tokens::new(payload);
    match (tokens.next()?, tokens.next()) {
        (Token::Map(1), Ok(Token::Text(kind))) => str::from_utf8(kind).map_err(|_| DecodeError::NotAMessage),
        _ => Err(DecodeError::NotAMessage),
    }
}

/// The first `count` characters, those that would confuse a terminal replaced: a peer chose the text.
fn shortened(text: &str, count: usize) -> String {
    text.chars().take(count).map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}
