//! Protocol versions and what each one added.

use serde::{Deserialize, Serialize};

/// A protocol version, as `[major, minor]` on the wire (`docs/protocol.md`, "Versions").
///
/// A minor version only adds optional fields and kinds; a new major version may change anything but the opening
/// exchange, which is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(u16, u16)", into = "(u16, u16)")]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ProtocolVersion {
    /// Raised when an older peer could misunderstand.
    pub major: u16,
    /// Raised when something optional was added.
    pub minor: u16,
}

impl ProtocolVersion {
    /// The first version.
    pub const V1_0: Self = Self { major: 1, minor: 0 };
    /// The newest version this crate speaks.
    pub const CURRENT: Self = Self::V1_0;
}

impl From<(u16, u16)> for ProtocolVersion {
    fn from((major, minor): (u16, u16)) -> Self {
        Self { major, minor }
    }
}

impl From<ProtocolVersion> for (u16, u16) {
    fn from(version: ProtocolVersion) -> Self {
        (version.major, version.minor)
    }
}

impl std::fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The versions a peer speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct VersionRange {
    /// The oldest version spoken.
    #[serde(rename = "min")]
    pub min: ProtocolVersion,
    /// The newest version spoken.
    #[serde(rename = "max")]
    pub max: ProtocolVersion,
}

impl VersionRange {
    /// Everything this crate speaks.
    pub const SUPPORTED: Self = Self { min: ProtocolVersion::V1_0, max: ProtocolVersion::CURRENT };

    /// Whether the range holds `version`.
    #[must_use]
    pub fn contains(self, version: ProtocolVersion) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// The highest version that both ranges hold, or `None` when they do not meet.
    #[must_use]
    pub fn highest_common(self, other: Self) -> Option<ProtocolVersion> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

impl std::fmt::Display for VersionRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.max)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}
