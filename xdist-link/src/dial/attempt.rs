//! One attempt to get in: every address in turn, each until the gate has answered. Blocks, so a thread does it.

use super::trouble::{Trouble, Troubles};
use crate::carrier::WINDOW_BYTES;
use crate::opening::{
    self, Accepted, DialerOpening, GateOpening, MAX_OPENING_BYTES, Open, OpeningDecoder, SessionId, printable,
};
use crate::tls::{self, Side};
use crate::token::Token;
use rustls::{AlertDescription, Connection, Error as TlsError};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// How long one address may take to answer at all.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take from there to the gate's answer.
const OPENING_PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) token: Token,
    pub(super) session: Option<SessionId>,
    pub(super) received: u64,
    pub(super) launch: u32,
    pub(super) name: String,
}

/// A connection on which the opening is done.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) socket: TcpStream,
    pub(super) tls: Connection,
    pub(super) accepted: Accepted,
}

/// Tries all addresses of the token.
pub(super) fn attempt(ask: &Ask) -> Result<Opened, Troubles> {
    let mut troubles = Vec::new();
    for address in &ask.token.addresses {
        match resolve(address) {
            Err(trouble) => troubles.push((address.clone(), trouble)),
            Ok(resolved) => {
                for one in resolved {
                    match open(one, ask) {
                        Ok(opened) => return Ok(opened),
                        Err(trouble) => troubles.push((address.clone(), trouble)),
                    }
                }
            }
        }
    }
    Err(Troubles(troubles))
}

fn resolve(address: &str) -> Result<Vec<SocketAddr>, Trouble> {
    match address.to_socket_addrs() {
        Ok(resolved) => Ok(resolved.collect()),
        // It was not even looked up.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(Trouble::Malformed),
        Err(error) => Err(Trouble::Unreachable(error)),
    }
}

fn open(address: SocketAddr, ask: &Ask) -> Result<Opened, Trouble> {
    let socket = TcpStream::connect_timeout(&address, CONNECT_PATIENCE).map_err(Trouble::Unreachable)?;
    socket.set_nodelay(true).map_err(Trouble::Unreachable)?;
    let tls = tls::dial(ask.token.fingerprint).map_err(|error| Trouble::Broken(error.to_string()))?;
    let mut talk = Talk { socket, tls, deadline: Instant::now() + OPENING_PATIENCE };
    talk.shake_hands()?;
    let accepted = talk.ask(ask)?;
    let Talk { socket, tls, .. } = talk;
    socket.set_nonblocking(true).map_err(Trouble::Unreachable)?;
    Ok(Opened { socket, tls, accepted })
}

/// A connection on which one waits for every answer.
struct Talk {
    socket: TcpStream,
    tls: Connection,
    deadline: Instant,
}

impl Talk {
    fn shake_hands(&mut self) -> Result<(), Trouble> {
        while self.tls.is_handshaking() {
            self.send()?;
            if self.tls.is_handshaking() {
                self.receive()?;
            }
        }
        self.send()
    }

    /// Asks for a stream and hears the answer.
    fn ask(&mut self, ask: &Ask) -> Result<Accepted, Trouble> {
        let proof = tls::proof(&self.tls, &ask.token.secret, Side::Dialer).map_err(broken)?;
        let open = DialerOpening::Open(Open {
            proof,
            session: ask.session,
            received: ask.received,
            window: WINDOW_BYTES,
            launch: ask.launch,
            name: ask.name.clone(),
        });
        let frame = opening::encode(&open).map_err(broken)?;
        self.tls.writer().write_all(&frame).map_err(broken)?;
        self.send()?;
        let answer = self.answer()?;
        match answer {
            GateOpening::Accepted(accepted) => {
                match tls::is_proof(&self.tls, &ask.token.secret, Side::Gate, accepted.proof) {
                    true => Ok(accepted),
                    false => Err(Trouble::Impostor),
                }
            }
            GateOpening::Refused(refused) => {
                Err(Trouble::Refused { reason: refused.reason, text: printable(&refused.text, 300) })
            }
        }
    }

    /// The gate's answer, and nothing of what follows it.
    fn answer(&mut self) -> Result<GateOpening, Trouble> {
        let mut prefix = [0; 4];
        self.read_exact(&mut prefix)?;
        let length = u32::from_be_bytes(prefix);
        let mut decoder = OpeningDecoder::default();
        decoder.push::<GateOpening>(&prefix).map_err(broken)?;
        let mut payload = vec![0; usize::try_from(length.min(MAX_OPENING_BYTES)).unwrap_or_default()];
        self.read_exact(&mut payload)?;
        decoder.push(&payload).map_err(broken)?.ok_or_else(|| broken("no answer"))
    }

    fn read_exact(&mut self, mut wanted: &mut [u8]) -> Result<(), Trouble> {
        while !wanted.is_empty() {
            match self.tls.reader().read(wanted) {
                Ok(0) => return Err(broken("it was closed")),
                Ok(count) => wanted = &mut wanted[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.receive()?,
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Trouble> {
        self.limit()?;
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket).map_err(broken)?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Trouble> {
        self.limit()?;
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) => return Err(broken("it was closed")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(broken("no answer")),
            Err(error) => return Err(broken(error)),
        }
        self.tls.process_new_packets().map(drop).map_err(|error| {
            // The alert that says why.
            let _ = self.tls.write_tls(&mut self.socket);
            told_by_tls(&error)
        })
    }

    /// Has the next operation wait no longer than is left.
    fn limit(&self) -> Result<(), Trouble> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(broken("no answer"));
        }
        self.socket.set_read_timeout(Some(left)).map_err(broken)?;
        self.socket.set_write_timeout(Some(left)).map_err(broken)
    }
}

fn broken(error: impl ToString) -> Trouble {
    Trouble::Broken(error.to_string())
}

fn told_by_tls(error: &TlsError) -> Trouble {
    match error {
        error if tls::is_other_certificate(error) => Trouble::OtherRun,
        TlsError::InvalidMessage(_) => Trouble::NotTls,
        TlsError::NoApplicationProtocol
        | TlsError::PeerIncompatible(_)
        | TlsError::AlertReceived(
            AlertDescription::NoApplicationProtocol
            | AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure,
        ) => Trouble::OtherProtocol,
        error => broken(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_told_from_one_that_nobody_knows() {
        for address in ["no.such.hst.inv", "", "host:", "host:http", "host:99999", "127.0.0.1"] {
            assert!(matches!(resolve(address), Err(Trouble::Malformed)), "{address:?}");
        }
        assert_eq!(resolve("[::1]:7").unwrap(), ["[::1]:7".parse().unwrap()]);
    }
}
