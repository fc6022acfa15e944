//! What a readiness event is about.

use crate::workers::LinkId;
use mio::Token;

/// A source of readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A signal arrived.
    Signals,
    /// A key was pressed.
    Keyboard,
    /// The pytest host's link may be read or written.
    PytestHost,
    /// The gate has something to say.
    Gate,
    /// Something of a directory that is copied is ready.
    Sync,
    /// A link may be read or written.
    Link(LinkId),
}

const SIGNALS: Token = Token(0);
const KEYBOARD: Token = Token(1);
const PYTEST_HOST: Token = Token(2);
const GATE: Token = Token(3);
const SYNC: Token = Token(4);
const FIRST_LINK: usize = SYNC.0 + 1;

impl From<Source> for Token {
    fn from(source: Source) -> Self {
        match source {
            Source::Signals => SIGNALS,
            Source::Keyboard => KEYBOARD,
            Source::PytestHost => PYTEST_HOST,
            Source::Gate => GATE,
            Source::Sync => SYNC,
            Source::Link(LinkId(link)) => Self(FIRST_LINK + link as usize),
        }
    }
}

impl From<Token> for Source {
    fn from(token: Token) -> Self {
        match token {
            SIGNALS => Self::Signals,
            KEYBOARD => Self::Keyboard,
            PYTEST_HOST => Self::PytestHost,
            GATE => Self::Gate,
            SYNC => Self::Sync,
            Token(number) => {
                Self::Link(LinkId(u32::try_from(number - FIRST_LINK).expect("tokens are made from a LinkId")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_means_one_source() {
        use Source::{Gate, Keyboard, Link, PytestHost, Signals, Sync};
        for source in [Signals, Keyboard, PytestHost, Gate, Sync, Link(LinkId(0)), Link(LinkId(7))] {
            assert_eq!(Source::from(Token::from(source)), source);
        }
    }
}
