//! One TLS connection over a socket that does not block.

use crate::carrier::Violation;
use crate::opening::OpeningError;
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::Connection;
use std::io::{self, Read, Write};

/// How much may wait to be sent before nothing is added.
const BACKLOG_BYTES: usize = 64 << 10;

const PIECE_BYTES: usize = 16 << 10;

/// A connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The peer has closed it.
    #[error("it was closed")]
    Closed,
    /// The system says so.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// What comes is no TLS, or not ours.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// What comes first is no opening.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// The peer has broken the carrier's rules.
    #[error("it does not speak as it should: {0}")]
    Violation(#[from] Violation),
}

/// Whether there may be more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It was left, for others to have a turn.
    Ready,
    /// Everything was read.
    Drained,
}

/// A connection and its TLS.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: TcpStream,
    tls: Connection,
    /// What is left of a piece of plaintext that TLS had no room for.
    backlog: Vec<u8>,
    /// All that has come, as it came.
    heard_bytes: u64,
}

impl Channel {
    /// A connection whose socket does not block.
    pub(crate) const fn new(socket: TcpStream, tls: Connection) -> Self {
        Self { socket, tls, backlog: Vec::new(), heard_bytes: 0 }
    }

    pub(crate) const fn tls(&self) -> &Connection {
        &self.tls
    }

    pub(crate) const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// How many bytes have come, encrypted ones and those of the handshake.
    pub(crate) const fn heard_bytes(&self) -> u64 {
        self.heard_bytes
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) {
        // It goes with the descriptor anyway.
        let _ = self.socket.deregister(registry);
    }

    /// Reads what has come, about as much as `budget` at most, and gives it away in pieces.
    pub(crate) fn read(
        &mut self,
        mut budget: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), ChannelError>,
    ) -> Result<Readiness, ChannelError> {
        loop {
            let is_closed = self.take_plaintext(&mut take)?;
            if is_closed {
                return Err(ChannelError::Closed);
            }
            if budget == 0 {
                return Ok(Readiness::Ready);
            }
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(ChannelError::Closed),
                Ok(count) => {
                    self.heard_bytes += count as u64;
                    budget = budget.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Readiness::Drained),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            if let Err(error) = self.tls.process_new_packets() {
                // The alert that says why.
                let _ = self.tls.write_tls(&mut self.socket);
                return Err(error.into());
            }
        }
    }

    /// Gives away what was decrypted. Answers whether the peer has said that it closes.
    fn take_plaintext(
        &mut self,
        take: &mut impl FnMut(&[u8]) -> Result<(), ChannelError>,
    ) -> Result<bool, ChannelError> {
        let mut piece = [0; PIECE_BYTES];
        loop {
            match self.tls.reader().read(&mut piece) {
                Ok(0) => return Ok(true),
                Ok(count) => take(&piece[..count])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether more may be written now.
    pub(crate) const fn has_room(&self) -> bool {
        self.backlog.len() < BACKLOG_BYTES
    }

    /// Queues plaintext, to be sent by [`Self::flush`].
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.backlog.extend_from_slice(bytes);
    }

    /// Queues the end of the connection.
    pub(crate) fn close(&mut self) {
        let _ = self.flush();
        self.tls.send_close_notify();
    }

    /// Sends as much of what is queued as the socket takes.
    pub(crate) fn flush(&mut self) -> Result<(), ChannelError> {
        loop {
            // TLS takes what its buffers have room for.
            if !self.backlog.is_empty() && !self.tls.is_handshaking() {
                let taken = self.tls.writer().write(&self.backlog)?;
                self.backlog.drain(..taken);
            }
            if !self.tls.wants_write() {
                return Ok(());
            }
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
