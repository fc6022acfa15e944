//! The wire between a coordinator and its worker hosts: message types, framing, versions and limits.
//!
//! `docs/protocol.md` is the normative description; this crate is its implementation. It holds no sockets, clocks,
//! threads or policy: bytes go in, messages come out, and the reverse.

#![forbid(unsafe_code)]

pub mod version;

pub mod handshake;

pub mod message;

pub mod fetch;

pub mod frontend;

pub mod sync;

pub mod tree;

pub mod index;

pub mod item;

pub mod report;

pub mod ids;

pub mod value;

pub mod frame;

pub mod codec;

pub mod structure;

mod token;

mod reader;

#[cfg(feature = "fuzzing")]
pub mod fuzz;

pub use codec::{DecodeError, Decoded, EncodeError};
pub use frame::{FrameDecoder, FrameError};
pub use frontend::{FrontendCommand, FrontendMessage};
pub use ids::{CollectionDigest, FetchId, ItemIndex, LeaseId, RunId, WorkerId};
pub use item::{Collection, Item, Resource};
pub use message::{CoordinatorMessage, WorkerMessage};
pub use value::Value;
