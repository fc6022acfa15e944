//! The join token: all that somebody needs to join a run, in one word that survives being pasted.
//!
//! `xdist-join-1-`, then, in base64 for URLs without padding, a MessagePack map and a checksum over it, by which a token that
//! was cut off is known as such.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What every token begins with, whatever its version.
const MARK: &str = "xdist-join-";

/// The version of the token's content.
const VERSION: &str = "1";

/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 4;

/// The longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What whoever joins has to know. It dies with the run.
///
/// Displayed, it is the token's text; so it is displayed where the token is handed out, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Where the gate can be reached, as `HOST:PORT`, the best first.
    #[serde(rename = "addresses")]
    pub addresses: Vec<String>,
    /// The SHA-256 of the gate's certificate.
    #[serde(rename = "fingerprint", with = "serde_bytes")]
    pub fingerprint: [u8; 32],
    /// What both sides prove to know.
    #[serde(rename = "secret")]
    pub secret: Secret,
    /// The run, for people.
    #[serde(rename = "run")]
    pub run: String,
}

/// A secret that is not printed by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(#[serde(with = "serde_bytes")] [u8; 32]);

impl Secret {
    /// A secret of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, as a key.
    #[must_use]
    pub const fn key(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A text that is no token. Reads after "cannot join: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It does not look like a token at all.
    #[error(
        "this is no join token: one begins with {MARK}{VERSION}-, and is printed by `xdist run --listen ADDRESS`"
    )]
    NotAToken,
    /// There is nothing.
    #[error("the join token is empty: it is printed by `xdist run --listen ADDRESS`")]
    Empty,
    /// Part of it is missing or was changed.
    #[error("the join token is incomplete or was changed on its way: copy all of it, from {MARK} to its end")]
    Damaged,
    /// It is one of another version of xdist.
    #[error(
        "the join token has version {version}, and this is xdist {}, which knows version {VERSION}: use the same \
         xdist on both sides",
        env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// What it says.
        version: String,
    },
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut content = rmp_serde::to_vec_named(self).map_err(|_| fmt::Error)?;
        let checksum = checksum(&content);
        content.extend(checksum);
        write!(f, "{MARK}{VERSION}-{}", encode(&content))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Whitespace is left out wherever it stands: a terminal may have broken the line.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text: String =
            text.chars().take(MAX_TOKEN_BYTES).filter(|letter| !letter.is_whitespace()).collect();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        let Some(rest) = text.strip_prefix(MARK) else {
            return Err(if MARK.starts_with(&text) { TokenError::Damaged } else { TokenError::NotAToken });
        };
        let (version, content) = rest.split_once('-').ok_or(TokenError::Damaged)?;
        if version != VERSION {
            return Err(match version.parse::<u32>() {
                Ok(_) => TokenError::Version { version: version.to_owned() },
                Err(_) => TokenError::Damaged,
            });
        }
        let content = decode(content).ok_or(TokenError::Damaged)?;
        let (content, found) = content.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TokenError::Damaged)?;
        if checksum(content) != *found {
            return Err(TokenError::Damaged);
        }
        // Somebody has made a checksum over nonsense.
        rmp_serde::from_slice(content).map_err(|_| TokenError::NotAToken)
    }
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = blake3::hash(content);
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&hash.as_bytes()[..CHECKSUM_BYTES]);
    checksum
}

/// Base64 for URLs, without padding.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0_usize, |group, at| group << 8 | usize::from(*chunk.get(at).unwrap_or(&0)));
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[group >> (18 - 6 * at) & 63]));
        }
    }
    text
}

/// `None` for what [`encode`] would not have written.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in text.as_bytes().chunks(4) {
        let mut group = 0_u32;
        for letter in chunk {
            let value = ALPHABET.iter().position(|known| known == letter)?;
            group = group << 6 | u32::try_from(value).ok()?;
        }
        // What a last, shorter group has in front is as many bits as it lacks at the end.
        let group = group << (6 * (4 - chunk.len()));
        let [_, decoded @ ..] = group.to_be_bytes();
        bytes.extend_from_slice(decoded.get(..chunk.len().checked_sub(1).filter(|&count| count > 0)?)?);
    }
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> Token {
        Token {
            addresses: vec!["127.0.0.1:4711".to_owned(), "[::1]:4711".to_owned()],
            fingerprint: [7; 32],
            secret: Secret::new([9; 32]),
            run: "r1".to_owned(),
        }
    }

    #[test]
    fn a_token_is_one_word_and_comes_back() {
        let text = token().to_string();
        assert!(text.starts_with("xdist-join-1-"), "{text}");
        assert!(text.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"-_".contains(&letter)));
        assert_eq!(text.parse(), Ok(token()));
    }

    #[test]
    fn a_terminal_may_break_it() {
        let text = token().to_string();
        let (one, other) = text.split_at(80);
        assert_eq!(format!("  {one}\r\n  {other}\n").parse(), Ok(token()));
    }

    #[test]
    fn every_cut_off_token_is_told_as_such() {
        let text = token().to_string();
        for end in 1..text.len() {
            assert_eq!(text[..end].parse::<Token>(), Err(TokenError::Damaged), "{end}");
        }
        assert_eq!("".parse::<Token>(), Err(TokenError::Empty));
    }

    #[test]
    fn every_changed_letter_is_noticed() {
        let text = token().to_string();
        for at in "xdist-join-1-".len()..text.len() {
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(changed.parse::<Token>(), Err(TokenError::Damaged), "{at}");
        }
    }

    #[test]
    fn other_versions_and_other_texts_have_errors_of_their_own() {
        let later = token().to_string().replacen("-1-", "-2-", 1);
        assert_eq!(later.parse::<Token>(), Err(TokenError::Version { version: "2".to_owned() }));
        for text in ["hello", "ssh-rsa AAAA", "xdist-run", "127.0.0.1:4711"] {
            assert_eq!(text.parse::<Token>(), Err(TokenError::NotAToken), "{text}");
        }
    }

    #[test]
    fn a_checksum_alone_makes_no_token() {
        let mut content = b"\x93\x01\x02\x03".to_vec();
        let checksum = checksum(&content);
        content.extend(checksum);
        let text = format!("{MARK}{VERSION}-{}", encode(&content));
        assert_eq!(text.parse::<Token>(), Err(TokenError::NotAToken));
    }

    #[test]
    fn the_secret_is_not_printed_by_accident() {
        let shown = format!("{:?} {:#?}", token(), token());
        assert!(shown.contains("Secret(…)"));
        assert!(!shown.contains("9, 9"), "{shown}");
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("\x3f\x7e\x3f", "P34_"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        // Not what an encoder writes: a single letter, bits after the end, foreign letters.
        for text in ["Z", "Zh", "Zm9+", "Zg=="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_judged_without_panic(text in "(xdist-join-[0-9]?-?)?\\PC{0,80}") {
            let _ = text.parse::<Token>();
        }
    }
}
