//! The frozen opening exchange: every version of the protocol can read every other version's.
//!
//! Both peers send the [`PREAMBLE_BYTES`] of [`preamble`] first. Then the host or frontend sends [`Hello`], and the
//! coordinator answers [`Welcome`] or [`Refused`].

use crate::ids::{RunId, WorkerId};
use crate::version::{ProtocolVersion, VersionRange};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Length of the preamble.
pub const PREAMBLE_BYTES: usize = 8;

/// First bytes of a link. The first is not ASCII, so that no text protocol opens with it.
pub const MAGIC: [u8; 6] = [0x89, b'X', b'D', b'I', b'S', b'T'];

/// The preamble of the current major version, without flags.
#[must_use]
pub fn preamble() -> [u8; PREAMBLE_BYTES] {
    let mut bytes = [0; PREAMBLE_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
    // A major version over 255 would need a new magic; there will not be one.
    bytes[MAGIC.len()] = ProtocolVersion::CURRENT.major.to_be_bytes()[1];
    bytes
}

/// What a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Role {
    /// Runs tests.
    #[serde(rename = "worker")]
    Worker,
    /// Consumes the run's events.
    #[serde(rename = "frontend")]
    Frontend,
}

/// A program and its version, for messages to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Implementation {
    /// For example `xdist`.
    #[serde(rename = "name")]
    pub name: String,
    /// The program's own version, not the protocol's.
    #[serde(rename = "version")]
    pub version: String,
}

/// Facts about the machine a host runs on. All but the name may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct HostFacts {
    /// The host's own name.
    #[serde(rename = "hostname", default)]
    pub hostname: String,
    /// Process id of the peer.
    #[serde(rename = "pid", default)]
    pub pid: u32,
    /// For example `linux`.
    #[serde(rename = "os", default)]
    pub os: String,
    /// For example `x86_64`.
    #[serde(rename = "arch", default)]
    pub arch: String,
}

/// Opens a link: host or frontend to coordinator, once, first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Hello {
    /// Who speaks.
    #[serde(rename = "implementation")]
    pub implementation: Implementation,
    /// The protocol versions spoken.
    #[serde(rename = "versions")]
    pub versions: VersionRange,
    /// What the peer is.
    #[serde(rename = "role")]
    pub role: Role,
    /// The machine.
    #[serde(rename = "host", default)]
    pub host: HostFacts,
    /// How many workers the host can drive at once; at least 1 for a host, 0 for a frontend.
    #[serde(rename = "slots", default)]
    pub slots: u32,
    /// Optional abilities and their limits; what is absent is not supported.
    #[serde(rename = "features", default)]
    pub features: BTreeMap<String, u64>,
    /// How often this peer has come back on a new link; 0 at first.
    #[serde(rename = "generation", default)]
    pub generation: u64,
    /// Proof of being allowed to join; empty on inherited links.
    #[serde(rename = "proof", default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub proof: Vec<u8>,
}

/// Accepts a link: coordinator to peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Welcome {
    /// The version in force from here on.
    #[serde(rename = "version")]
    pub version: ProtocolVersion,
    /// The features in force, with their limits.
    #[serde(rename = "features", default)]
    pub features: BTreeMap<String, u64>,
    /// The run.
    #[serde(rename = "run")]
    pub run: RunId,
    /// The workers this host will drive; each is brought up by a `configure`. More may follow.
    #[serde(rename = "workers", default)]
    pub workers: Vec<WorkerId>,
    /// A peer that hears nothing for three times this long may take the link for dead, in milliseconds.
    #[serde(rename = "heartbeat_ms", default)]
    pub heartbeat_ms: u64,
    /// Longest frame payload either side may send from here on, in bytes.
    #[serde(rename = "max_frame_bytes")]
    pub max_frame_bytes: u32,
}

/// Why a link is refused. The wire text is stable; unknown reasons read as [`RefusalReason::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum RefusalReason {
    /// No protocol version in common.
    #[serde(rename = "version")]
    Version,
    /// The proof does not fit.
    #[serde(rename = "authentication")]
    Authentication,
    /// The role, the slots or another field makes no sense here.
    #[serde(rename = "unacceptable")]
    Unacceptable,
    /// The run is over or has no use for another peer.
    #[serde(rename = "not_needed")]
    NotNeeded,
    /// A reason of a later version.
    #[serde(other, rename = "other")]
    Other,
}

/// Refuses a link: coordinator to peer; the link is closed after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Refused {
    /// The kind of reason.
    #[serde(rename = "reason")]
    pub reason: RefusalReason,
    /// One sentence for the person at the other end: what is wrong and what to do, naming both versions.
    #[serde(rename = "text", default)]
    pub text: String,
    /// What the coordinator speaks.
    #[serde(rename = "versions")]
    pub versions: VersionRange,
}
