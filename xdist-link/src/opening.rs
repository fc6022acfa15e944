//! What is said first on a connection, inside TLS: who dials, whether that is welcome, and where a stream goes on.
//!
//! Normative in `docs/protocol.md`, "Joining from elsewhere".

use serde::{Deserialize, Serialize};
use std::fmt;
use xdist_proto::codec::{self, Decoded, Message};
use xdist_proto::frame::FrameDecoder;

/// The longest message of the opening.
pub const MAX_OPENING_BYTES: u32 = 4 << 10;

/// The longest name of a peer that is passed on.
pub const MAX_NAME_CHARS: usize = 100;

/// Which stream: a number that cannot be guessed, given by the gate.
pub type SessionId = [u8; 16];

/// What a dialer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DialerOpening {
    /// Asks for a stream.
    #[serde(rename = "open")]
    Open(Open),
}

impl Message for DialerOpening {
    const KINDS: &'static [&'static str] = &["open"];
}

/// What the gate answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GateOpening {
    /// From now on there are records.
    #[serde(rename = "accepted")]
    Accepted(Accepted),
    /// Nothing follows.
    #[serde(rename = "refused")]
    Refused(Refused),
}

impl Message for GateOpening {
    const KINDS: &'static [&'static str] = &["accepted", "refused"];
}

/// Asks for a stream, a new one or one that has lost its connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// That the dialer knows the secret, for this TLS session.
    #[serde(rename = "proof", with = "serde_bytes")]
    pub proof: [u8; 32],
    /// The stream that is to go on; absent for a new one.
    #[serde(rename = "session", with = "serde_bytes", default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// How much of it has come.
    #[serde(rename = "received", default)]
    pub received: u64,
    /// How many bytes may be on their way to the dialer.
    #[serde(rename = "window")]
    pub window: u32,
    /// By whom it was started: 0, or the number that a launcher passed on.
    #[serde(rename = "launch", default)]
    pub launch: u32,
    /// What the dialer's machine calls itself.
    #[serde(rename = "name", default)]
    pub name: String,
}

/// The stream begins or goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// That the gate knows the secret, for this TLS session.
    #[serde(rename = "proof", with = "serde_bytes")]
    pub proof: [u8; 32],
    /// Which stream.
    #[serde(rename = "session", with = "serde_bytes")]
    pub session: SessionId,
    /// How much of it has come.
    #[serde(rename = "received", default)]
    pub received: u64,
    /// How many bytes may be on their way to the gate.
    #[serde(rename = "window")]
    pub window: u32,
    /// How long a stream without a connection is kept, in milliseconds.
    #[serde(rename = "hold_ms")]
    pub hold_ms: u64,
    /// How often each side gives a sign of life, in milliseconds.
    #[serde(rename = "beat_ms")]
    pub beat_ms: u64,
}

/// There is nothing here for this dialer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The kind of reason.
    #[serde(rename = "reason")]
    pub reason: Reason,
    /// In words.
    #[serde(rename = "text")]
    pub text: String,
}

/// Why a dialer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// It does not know the secret.
    #[serde(rename = "secret")]
    Secret,
    /// The stream is not there any more. Asking for a new one makes sense.
    #[serde(rename = "session")]
    Session,
    /// There are too many already.
    #[serde(rename = "full")]
    Full,
    /// It does not speak as it should.
    #[serde(rename = "garbled")]
    Garbled,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "its secret is not this run's",
            Self::Session => "its stream is not there any more",
            Self::Full => "there are too many hosts",
            Self::Garbled => "it does not speak as it should",
        })
    }
}

/// What came is no opening.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no opening: {0}")]
pub struct OpeningError(String);

/// A message as it travels: its length, and the message.
///
/// # Errors
/// When it is too long, which only a text can cause.
pub fn encode(message: &impl Message) -> Result<Vec<u8>, OpeningError> {
    let mut frame = Vec::new();
    codec::encode_into(message, MAX_OPENING_BYTES, &mut frame)
        .map_err(|error| OpeningError(error.to_string()))?;
    Ok(frame)
}

/// Puts together what has come of an opening.
#[derive(Debug)]
pub struct OpeningDecoder(FrameDecoder);

impl Default for OpeningDecoder {
    fn default() -> Self {
        Self(FrameDecoder::new(MAX_OPENING_BYTES))
    }
}

impl OpeningDecoder {
    /// Adds bytes. Answers the message when it is complete.
    ///
    /// # Errors
    /// When that is no opening, or something follows it that could not be known to be wanted yet.
    pub fn push<M: Message>(&mut self, bytes: &[u8]) -> Result<Option<M>, OpeningError> {
        self.0.push(bytes);
        let frame = self.0.next_frame().map_err(|error| OpeningError(error.to_string()))?;
        let Some(payload) = frame else { return Ok(None) };
        let message = match codec::decode(payload) {
            Ok(Decoded::Message(message)) => message,
            Ok(Decoded::Skipped) => return Err(OpeningError("it may not be skipped".to_owned())),
            Err(error) => return Err(OpeningError(error.to_string())),
        };
        match self.0.pending_bytes() {
            0 => Ok(Some(message)),
            count => Err(OpeningError(format!("{count} bytes too many"))),
        }
    }
}

/// Text that a peer chose, shortened and without what would confuse a terminal.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    text.chars().take(limit).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> DialerOpening {
        DialerOpening::Open(Open {
            proof: [1; 32],
            session: Some([2; 16]),
            received: 3,
            window: 4,
            launch: 5,
            name: "six".to_owned(),
        })
    }

    /// Pins the bytes: somebody else's dialer relies on them.
    #[test]
    fn an_opening_has_these_bytes() {
        let mut expected = b"\0\0\0\x6c\x81\xa4open\x86\xa5proof\xc4\x20".to_vec();
        expected.extend([1; 32]);
        expected.extend(b"\xa7session\xc4\x10");
        expected.extend([2; 16]);
        expected.extend(b"\xa8received\x03\xa6window\x04\xa6launch\x05\xa4name\xa3six");
        let bytes = encode(&open()).unwrap();
        assert_eq!(bytes[4..], expected[4..]);
        assert_eq!(usize::try_from(u32::from_be_bytes(*bytes.first_chunk().unwrap())), Ok(bytes.len() - 4));
    }

    #[test]
    fn answers_have_these_kinds() {
        let refused = GateOpening::Refused(Refused { reason: Reason::Session, text: "gone".to_owned() });
        let bytes = encode(&refused).unwrap();
        assert_eq!(bytes[4..], *b"\x81\xa7refused\x82\xa6reason\xa7session\xa4text\xa4gone");
    }

    #[test]
    fn an_opening_may_come_byte_by_byte() {
        let bytes = encode(&open()).unwrap();
        let mut decoder = OpeningDecoder::default();
        let (last, first) = bytes.split_last().unwrap();
        for byte in first {
            assert_eq!(decoder.push::<DialerOpening>(&[*byte]), Ok(None));
        }
        assert_eq!(decoder.push(&[*last]), Ok(Some(open())));
    }

    #[test]
    fn what_is_no_opening_is_refused() {
        let longer = [encode(&open()).unwrap(), vec![0]].concat();
        for bytes in [&b"\0\0\x10\x01"[..], b"\0\0\0\0", b"\0\0\0\x01\xc0", b"GET / HTTP/1.1\r\n", &longer] {
            assert!(OpeningDecoder::default().push::<DialerOpening>(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_name_does_not_confuse_a_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n", 10), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(printable("abcdef", 3), "abc");
    }
}
