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

/// What this crate opens a link with: the oldest major version it speaks, and no flags.
#[must_use]
pub const fn preamble() -> [u8; PREAMBLE_BYTES] {
    let [m0, m1, m2, m3, m4, m5] = MAGIC;
    [m0, m1, m2, m3, m4, m5, wire_major(VersionRange::SUPPORTED.min), 0]
}

/// What the other side opened a link with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The oldest major version that the peer speaks.
    pub major: u8,
    /// Reserved: sent as 0, ignored on receipt.
    pub flags: u8,
}

/// A link that does not open as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreambleError {
    /// It begins with something else than [`MAGIC`].
    #[error("the peer does not speak this protocol: it began with {begin:?}")]
    NotThisProtocol {
        /// The first bytes, made printable.
        begin: String,
    },
    /// The peer speaks nothing as old as what we speak, so its `hello` need not be waited for.
    #[error(
        "the peer speaks protocol version {theirs} or newer, and this side at most {ours}: upgrade this side"
    )]
    TooNew {
        /// The oldest major version that the peer speaks.
        theirs: u8,
        /// The newest major version spoken here.
        ours: u8,
    },
}

/// Reads a preamble from the first bytes of a link, of which as many may have arrived as like; those behind the preamble
/// are not looked at. `None` means that what has arrived is right so far.
///
/// ```
/// use xdist_proto::handshake::{check_preamble, preamble};
///
/// assert!(check_preamble(&preamble()[..3])?.is_none());
/// assert!(check_preamble(&preamble())?.is_some());
/// let error = check_preamble(b"GET / HTTP/1.1").unwrap_err();
/// assert!(error.to_string().ends_with(r#"it began with "GET / HTTP/1.1""#));
/// # Ok::<(), xdist_proto::handshake::PreambleError>(())
/// ```
///
/// # Errors
/// [`PreambleError`] as soon as a byte is wrong. Another major version that is too old is no error here: the peer's
/// `hello` can be read, and answered with a refusal that says more ([`negotiate`]).
pub fn check_preamble(bytes: &[u8]) -> Result<Option<Preamble>, PreambleError> {
    if bytes.iter().zip(MAGIC).any(|(actual, expected)| *actual != expected) {
        return Err(PreambleError::NotThisProtocol { begin: printable(bytes) });
    }
    let Some(&major) = bytes.get(MAGIC.len()) else { return Ok(None) };
    let newest = wire_major(VersionRange::SUPPORTED.max);
    if major > newest {
        return Err(PreambleError::TooNew { theirs: major, ours: newest });
    }
    Ok(bytes.get(MAGIC.len() + 1).map(|&flags| Preamble { major, flags }))
}

/// The first line of what may be text in some other protocol, or an error message from a shell.
fn printable(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 60;
    let line =
        bytes.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty()).unwrap_or_default();
    String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES)]).into_owned()
}

/// The byte that stands for a major version. One over 255 would need a new magic; there will not be one.
const fn wire_major(version: ProtocolVersion) -> u8 {
    version.major.to_be_bytes()[1]
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
    /// A role of a later version; to be refused.
    #[serde(other, rename = "other")]
    Other,
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

/// Chooses the version for a link whose peer opened with `hello`: the highest that both sides speak.
///
/// # Errors
/// The [`Refused`] to answer with, whose text names both sides' versions and what to upgrade.
pub fn negotiate(
    ours: &Implementation,
    versions: VersionRange,
    hello: &Hello,
) -> Result<ProtocolVersion, Box<Refused>> {
    let theirs = hello.versions;
    let peer = &hello.implementation;
    let refused = |reason, text| Err(Box::new(Refused { reason, text, versions }));
    if theirs.min > theirs.max {
        let text = format!("{peer} offers protocol versions {theirs}, the newest of them before the oldest");
        return refused(RefusalReason::Unacceptable, text);
    }
    let Some(version) = versions.highest_common(theirs) else {
        let older = if theirs.max < versions.min { peer } else { ours };
        let text = format!(
            "{peer} speaks protocol version {theirs}, and this side, {ours}, speaks {versions}: upgrade {}",
            older.name
        );
        return refused(RefusalReason::Version, text);
    };
    Ok(version)
}

impl std::fmt::Display for Implementation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: u16, minor: u16) -> ProtocolVersion {
        ProtocolVersion { major, minor }
    }

    fn range(min: (u16, u16), max: (u16, u16)) -> VersionRange {
        VersionRange { min: min.into(), max: max.into() }
    }

    fn negotiate_with(ours: VersionRange, theirs: VersionRange) -> Result<ProtocolVersion, Box<Refused>> {
        let xdist = Implementation { name: "xdist".into(), version: "1.4.2".into() };
        let acme = Implementation { name: "acme".into(), version: "7".into() };
        let hello = Hello {
            implementation: acme,
            versions: theirs,
            role: Role::Worker,
            host: HostFacts::default(),
            slots: 1,
            features: BTreeMap::new(),
            generation: 0,
            proof: Vec::new(),
        };
        negotiate(&xdist, ours, &hello)
    }

    #[test]
    fn the_highest_common_version_is_chosen() {
        let ours = range((1, 0), (2, 3));
        assert_eq!(negotiate_with(ours, range((1, 0), (1, 0))), Ok(version(1, 0)));
        assert_eq!(negotiate_with(ours, range((1, 2), (3, 0))), Ok(version(2, 3)));
        assert_eq!(negotiate_with(ours, range((2, 1), (2, 2))), Ok(version(2, 2)));
    }

    #[test]
    fn a_refusal_names_both_versions_and_what_to_upgrade() {
        let refused = negotiate_with(range((1, 0), (1, 2)), range((2, 0), (2, 1))).unwrap_err();
        assert_eq!(refused.reason, RefusalReason::Version);
        assert_eq!(
            refused.text,
            "acme 7 speaks protocol version 2.0 to 2.1, and this side, xdist 1.4.2, speaks 1.0 to 1.2: upgrade xdist"
        );
        let refused = negotiate_with(range((2, 0), (2, 0)), range((1, 0), (1, 0))).unwrap_err();
        assert_eq!(
            refused.text,
            "acme 7 speaks protocol version 1.0, and this side, xdist 1.4.2, speaks 2.0: upgrade acme"
        );
        assert_eq!(refused.versions, range((2, 0), (2, 0)));
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused() {
        let refused = negotiate_with(range((1, 0), (2, 0)), range((2, 0), (1, 0))).unwrap_err();
        assert_eq!(refused.reason, RefusalReason::Unacceptable);
    }

    #[test]
    fn a_preamble_may_arrive_in_pieces() {
        let mut bytes = preamble().to_vec();
        for length in 0..PREAMBLE_BYTES {
            assert_eq!(check_preamble(&bytes[..length]), Ok(None), "{length} bytes");
        }
        bytes.extend_from_slice(b"what follows");
        assert_eq!(check_preamble(&bytes), Ok(Some(Preamble { major: 1, flags: 0 })));
    }

    #[test]
    fn a_wrong_byte_is_refused_at_once() {
        for position in 0..MAGIC.len() {
            let mut bytes = preamble();
            bytes[position] ^= 1;
            let error = check_preamble(&bytes[..=position]).unwrap_err();
            assert!(matches!(error, PreambleError::NotThisProtocol { .. }), "{error}");
        }
    }

    #[test]
    fn what_another_protocol_says_is_quoted() {
        let error = check_preamble(b"\r\nbash: xdist: command not found\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the peer does not speak this protocol: it began with \"bash: xdist: command not found\""
        );
        let error = check_preamble(&[0xff; 500]).unwrap_err();
        assert!(error.to_string().len() < 400, "{error}");
    }

    #[test]
    fn a_newer_major_version_is_refused_before_the_flags_arrive() {
        let mut bytes = preamble();
        bytes[MAGIC.len()] = 2;
        assert_eq!(check_preamble(&bytes[..=MAGIC.len()]), Err(PreambleError::TooNew { theirs: 2, ours: 1 }));
    }

    #[test]
    fn flags_of_later_versions_and_older_majors_are_let_through() {
        let mut bytes = preamble();
        bytes[MAGIC.len()] = 0;
        bytes[MAGIC.len() + 1] = 0xff;
        assert_eq!(check_preamble(&bytes), Ok(Some(Preamble { major: 0, flags: 0xff })));
    }
}
