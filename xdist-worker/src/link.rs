//! The link to the coordinator: its opening, and what the threads do that read and write it.

use crate::event::{Event, LinkEnd};
use crate::outbox::Batch;
use crate::threads::pause;
use crossbeam_channel::{Receiver, Sender};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use xdist_proto::codec::{self, CoordinatorOpening, Decoded, Message, PeerOpening};
use xdist_proto::fetch::FEATURE_FETCH;
use xdist_proto::frame::{self, FrameDecoder};
use xdist_proto::handshake::{
    Hello, HostFacts, Implementation, PREAMBLE_BYTES, PreambleError, Role, Welcome, check_preamble, preamble,
};
use xdist_proto::version::VersionRange;

/// How long the coordinator may be silent before it has answered. It answers at once; whoever does not is something else.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// A shorter limit could not even hold the report of an end.
const LEAST_FRAME_BYTES: u32 = 4 << 10;

const READ_BYTES: usize = 64 << 10;

/// The link could not be opened. A retry makes no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Reading or writing failed, or the coordinator said nothing for a minute.
    #[error("talk to the coordinator")]
    Link(#[from] io::Error),
    /// The other end closed the link without an answer.
    #[error("open the link: the other end closed it")]
    Closed,
    /// What came does not begin as our protocol does.
    #[error("open the link: {0}")]
    Preamble(#[from] PreambleError),
    /// The coordinator refused; the text is its own.
    #[error("open the link: refused: {0}")]
    Refused(String),
    /// What came is not an answer to `hello`.
    #[error("open the link: {0}")]
    Garbled(String),
    /// The coordinator accepted on terms that cannot be kept.
    #[error("open the link: frames of at most {limit} bytes are too short")]
    FrameLimit {
        /// What the coordinator allows.
        limit: u32,
    },
}

/// A link after its opening.
#[derive(Debug)]
pub(crate) struct OpenLink {
    pub(crate) welcome: Welcome,
    /// Longest payload in either direction.
    pub(crate) max_frame_bytes: u32,
    /// Holds what came after the answer.
    pub(crate) decoder: FrameDecoder,
}

/// Opens the link. Blocks until the coordinator has answered.
pub(crate) fn open(link: &mut UnixStream, slots: u32) -> Result<OpenLink, HandshakeError> {
    link.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
    let mut opening = preamble().to_vec();
    let hello = PeerOpening::Hello(Box::new(hello(slots)));
    codec::encode_into(&hello, frame::HANDSHAKE_FRAME_BYTES, &mut opening)
        .map_err(|error| HandshakeError::Garbled(error.to_string()))?;
    link.write_all(&opening)?;

    let mut theirs = [0; PREAMBLE_BYTES];
    link.read_exact(&mut theirs).map_err(closed_or_broken)?;
    check_preamble(&theirs)?;
    let mut decoder = FrameDecoder::new(frame::HANDSHAKE_FRAME_BYTES);
    let welcome = match read_message(link, &mut decoder)? {
        CoordinatorOpening::Welcome(welcome) => welcome,
        CoordinatorOpening::Refused(refused) => return Err(HandshakeError::Refused(refused.text)),
    };
    let limit = welcome.max_frame_bytes.min(frame::MAX_FRAME_BYTES);
    if limit < LEAST_FRAME_BYTES {
        return Err(HandshakeError::FrameLimit { limit });
    }
    decoder.set_limit(limit);
    link.set_read_timeout(None)?;
    Ok(OpenLink { welcome, max_frame_bytes: limit, decoder })
}

fn hello(slots: u32) -> Hello {
    let host = HostFacts {
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
    };
    Hello {
        implementation: Implementation {
            name: "xdist".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        versions: VersionRange::SUPPORTED,
        role: Role::Worker,
        host,
        slots,
        features: [FEATURE_FETCH, xdist_proto::sync::FEATURE].map(|name| (name.to_owned(), 1)).into(),
        generation: 0,
        proof: Vec::new(),
    }
}

fn closed_or_broken(error: io::Error) -> HandshakeError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => HandshakeError::Closed,
        _ => HandshakeError::Link(error),
    }
}

fn read_message<M: Message>(link: &mut UnixStream, decoder: &mut FrameDecoder) -> Result<M, HandshakeError> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let frame = decoder.next_frame().map_err(|error| HandshakeError::Garbled(error.to_string()))?;
        if let Some(payload) = frame {
            match codec::decode(payload) {
                Ok(Decoded::Message(message)) => return Ok(message),
                Ok(Decoded::Skipped) => continue,
                Err(error) => return Err(HandshakeError::Garbled(error.to_string())),
            }
        }
        match link.read(&mut buffer) {
            Ok(0) => return Err(HandshakeError::Closed),
            Ok(count) => decoder.push(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(HandshakeError::Link(error)),
        }
    }
}

/// Reads commands until the link ends. A full channel makes it wait, and with it the coordinator.
pub(crate) fn read_commands(mut link: UnixStream, mut decoder: FrameDecoder, events: &Sender<Event>) {
    let end = loop {
        match decode_commands(&mut decoder, events) {
            Ok(()) => {}
            Err(Some(end)) => break end,
            // The host is ending.
            Err(None) => return,
        }
        let mut buffer = [0; READ_BYTES];
        match link.read(&mut buffer) {
            Ok(0) => break LinkEnd::Closed,
            Ok(count) => decoder.push(&buffer[..count]),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::ConnectionReset => break LinkEnd::Closed,
                _ => break LinkEnd::Broken(error),
            },
        }
    };
    let _ = events.send(Event::LinkEnded(end));
}

/// Sends all commands that are complete.
fn decode_commands(decoder: &mut FrameDecoder, events: &Sender<Event>) -> Result<(), Option<LinkEnd>> {
    let garbled = |error: &dyn std::fmt::Display| Some(LinkEnd::Garbled(error.to_string()));
    while let Some(payload) = decoder.next_frame().map_err(|error| garbled(&error))? {
        match codec::decode(payload).map_err(|error| garbled(&error))? {
            Decoded::Message(command) => {
                events.send(Event::Command(Box::new(command))).map_err(|_| None)?;
            }
            Decoded::Skipped => {}
        }
    }
    Ok(())
}

/// Writes batches until the link or the channel ends.
pub(crate) fn write_batches(mut link: UnixStream, batches: &Receiver<Batch>, events: &Sender<Event>) {
    for batch in batches {
        let event = match link.write_all(&batch.bytes) {
            Ok(()) => {
                if batch.has_time {
                    pause();
                }
                Event::Written
            }
            Err(error) => match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                    Event::LinkEnded(LinkEnd::Closed)
                }
                _ => Event::LinkEnded(LinkEnd::Broken(error)),
            },
        };
        let is_end = !matches!(event, Event::Written);
        if events.send(event).is_err() || is_end {
            return;
        }
    }
}
