//! A connection that has not proved anything yet.

use crate::channel::{Channel, ChannelError, Readiness};
use crate::opening::{DialerOpening, Open, OpeningDecoder, printable};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

/// What TLS begins with: a record of the handshake.
const TLS_HANDSHAKE: u8 = 22;

/// How much of what is no TLS is looked at.
const LOOKED_AT_BYTES: usize = 16;

/// What a browser or a health check of HTTP is told.
const HTTP_ANSWER: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";

/// What anybody is told who does not speak TLS.
const ANSWER: &str =
    "This is the gate of a test run of xdist, which speaks TLS 1.3: join with `xdist worker --join`.\n";

/// A stranger.
#[derive(Debug)]
pub(super) struct Newcomer {
    channel: Channel,
    address: SocketAddr,
    since: Instant,
    decoder: OpeningDecoder,
    /// Whether it has begun to speak TLS.
    speaks_tls: bool,
}

/// How far a newcomer has come.
#[derive(Debug)]
pub(super) enum Step {
    /// It has more to say.
    Waits,
    /// It asks for a stream. Its proof was not looked at.
    Asks(Open),
    /// It will never be a host.
    Fails(String),
}

impl Newcomer {
    pub(super) fn new(channel: Channel, address: SocketAddr, now: Instant) -> Self {
        Self { channel, address, since: now, decoder: OpeningDecoder::default(), speaks_tls: false }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    pub(super) const fn channel(&mut self) -> &mut Channel {
        &mut self.channel
    }

    pub(super) fn into_channel(self) -> Channel {
        self.channel
    }

    /// Hears what it has to say, up to so many bytes altogether.
    pub(super) fn turn(&mut self, opening_bytes: usize) -> Step {
        if !self.speaks_tls {
            match self.look() {
                Ok(true) => self.speaks_tls = true,
                Ok(false) => return Step::Waits,
                Err(text) => return Step::Fails(text),
            }
        }
        let heard = usize::try_from(self.channel.heard_bytes()).unwrap_or(usize::MAX);
        let mut asks = None;
        let decoder = &mut self.decoder;
        let read = self.channel.read(opening_bytes.saturating_sub(heard), |bytes| {
            if asks.is_some() {
                return Err(io::Error::other("it goes on before it was answered").into());
            }
            asks = decoder.push(bytes)?;
            Ok(())
        });
        let read = self.channel.flush().and(read);
        match (read, asks) {
            (Ok(_), Some(DialerOpening::Open(open))) => Step::Asks(open),
            (Ok(Readiness::Drained), None) => Step::Waits,
            (Ok(Readiness::Ready), None) => {
                Step::Fails(format!("it sent more than {opening_bytes} bytes without asking for anything"))
            }
            (Err(ChannelError::Closed), _) => Step::Fails("it went away before it had asked".to_owned()),
            (Err(error), _) => Step::Fails(error.to_string()),
        }
    }

    /// Whether it speaks TLS; `false` as long as it says nothing.
    fn look(&mut self) -> Result<bool, String> {
        let mut first = [0; LOOKED_AT_BYTES];
        match self.channel.socket().peek(&mut first) {
            Ok(0) => Err("it went away without a word".to_owned()),
            Ok(_) if first[0] == TLS_HANDSHAKE => Ok(true),
            Ok(count) => {
                self.answer_plainly(&first[..count]);
                let said = printable(&String::from_utf8_lossy(&first[..count]), LOOKED_AT_BYTES);
                Err(format!("it does not speak TLS, but began with {said:?}"))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Tells what this is, if that can be done without waiting.
    fn answer_plainly(&self, first: &[u8]) {
        let mut socket = self.channel.socket();
        let is_http = [&b"GET "[..], b"HEAD ", b"POST ", b"PUT ", b"OPTIONS "]
            .iter()
            .any(|method| first.starts_with(method));
        let head = if is_http { HTTP_ANSWER } else { "" };
        // What was not read would make the system cut the connection before the answer has come.
        let _ = socket.read(&mut [0; 4096]);
        let _ = socket.write(format!("{head}{ANSWER}").as_bytes());
        let _ = socket.shutdown(Shutdown::Write);
    }
}
