//! Why there is no way in, in words, and whether it makes sense to try again.

use crate::opening::Reason;
use std::fmt;
use std::io;

/// Why one address is no way in. Reads after the address and a colon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(#[source] io::Error),
    /// Nothing can be called that.
    #[error(
        "that is no address, which is HOST:PORT, so the token is malformed: take the one that the run has printed; \
         --advertise of `xdist run` says which addresses are in it"
    )]
    Malformed,
    /// Whoever answers does not speak TLS.
    #[error("what listens there does not speak TLS, so it is no gate of xdist: is the port right?")]
    NotTls,
    /// Whoever answers speaks something else inside TLS, or no TLS 1.3.
    #[error("what listens there speaks TLS, but not with xdist {}: is the port right, and xdist the same version on both sides?", env!("CARGO_PKG_VERSION"))]
    OtherProtocol,
    /// The certificate is not that of the token.
    #[error("it has another certificate than the token says: the token is of another run, which is over")]
    OtherRun,
    /// The gate does not know the secret.
    #[error("it cannot prove that it knows the token's secret: it is not this run's gate")]
    Impostor,
    /// It was refused.
    #[error("refused: {text}{}", remedy(*reason))]
    Refused {
        /// The kind of reason.
        reason: Reason,
        /// The gate's words.
        text: String,
    },
    /// The connection was lost before the opening was done.
    #[error("the connection was lost before it was accepted: {0}")]
    Broken(String),
}

const fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::Secret => ": use the token that this run has printed",
        Reason::Session | Reason::Full | Reason::Garbled => "",
    }
}

impl Trouble {
    /// Whether it may be gone in a while.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Broken(_) => true,
            Self::Refused { reason, .. } => *reason == Reason::Full,
            Self::Malformed | Self::NotTls | Self::OtherProtocol | Self::OtherRun | Self::Impostor => false,
        }
    }
}

/// Why no address was a way in.
#[derive(Debug)]
pub struct Troubles(pub Vec<(String, Trouble)>);

impl Troubles {
    /// Whether another try makes sense.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let mut troubles = self.0.iter().map(|(_, trouble)| trouble);
        // Whoever has proved nothing may be anybody, but who refuses has shown the certificate.
        !self.was_refused() && troubles.any(Trouble::may_pass)
    }

    fn was_refused(&self) -> bool {
        self.0.iter().any(|(_, trouble)| matches!(trouble, Trouble::Refused { .. }) && !trouble.may_pass())
    }

    /// Whether the stream is not there any more, and a new one may be had.
    #[must_use]
    pub fn is_session_gone(&self) -> bool {
        let gone = |trouble: &Trouble| matches!(trouble, Trouble::Refused { reason: Reason::Session, .. });
        self.0.iter().any(|(_, trouble)| gone(trouble))
    }

    fn is_unreachable(&self) -> bool {
        self.0.iter().all(|(_, trouble)| matches!(trouble, Trouble::Unreachable(_)))
    }
}

impl fmt::Display for Troubles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (address, trouble)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {trouble}")?;
        }
        if self.0.is_empty() {
            f.write_str("the token names no address")?;
        }
        if self.is_unreachable() {
            f.write_str(
                " (is the run over? can this machine reach the address: another network, a firewall, a gate that \
                 listens on loopback only? see --listen and --advertise of `xdist run`)",
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> (String, Trouble) {
        ("a:1".to_owned(), Trouble::Unreachable(io::ErrorKind::ConnectionRefused.into()))
    }

    fn refused(reason: Reason) -> (String, Trouble) {
        ("b:2".to_owned(), Trouble::Refused { reason, text: reason.to_string() })
    }

    #[test]
    fn the_text_names_every_address_and_what_to_do() {
        let text = Troubles(vec![unreachable(), ("c:3".to_owned(), Trouble::NotTls)]).to_string();
        assert_eq!(
            text,
            "a:1: connection refused; c:3: what listens there does not speak TLS, so it is no gate of xdist: \
             is the port right?"
        );
        let text = Troubles(vec![unreachable()]).to_string();
        assert!(text.contains("is the run over?") && text.contains("--advertise"), "{text}");
        let text = Troubles(vec![("a".to_owned(), Trouble::Malformed)]).to_string();
        assert!(text.starts_with("a: that is no address, which is HOST:PORT"), "{text}");
        assert!(text.contains("the token is malformed") && !text.contains("is the run over?"), "{text}");
        let text = Troubles(vec![refused(Reason::Secret)]).to_string();
        assert!(text.contains("use the token that this run has printed"), "{text}");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let other_run = || ("c:3".to_owned(), Trouble::OtherRun);
        assert!(Troubles(vec![unreachable()]).may_pass());
        assert!(Troubles(vec![unreachable(), other_run()]).may_pass());
        assert!(!Troubles(vec![other_run()]).may_pass());
        assert!(!Troubles(vec![("a".to_owned(), Trouble::Malformed)]).may_pass());
        assert!(!Troubles(vec![unreachable(), refused(Reason::Secret)]).may_pass());
        assert!(Troubles(vec![refused(Reason::Full)]).may_pass());
        assert!(Troubles(vec![refused(Reason::Session)]).is_session_gone());
    }
}
