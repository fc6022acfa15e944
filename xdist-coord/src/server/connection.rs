//! One link: its socket, its buffers, and how far its opening has come.

use super::outbox::{Outbox, Overflow};
use crate::session::input::{CloseCause, GarbledError};
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use std::io::{self, Read};
use std::marker::PhantomData;
use xdist_proto::codec::{self, CoordinatorOpening, Decoded, Message, PeerOpening};
use xdist_proto::frame::{FrameDecoder, HANDSHAKE_FRAME_BYTES};
use xdist_proto::handshake::{self, Hello, PREAMBLE_BYTES};

/// How much is read from one link before others get their turn.
const READ_BYTES_PER_TURN: usize = 256 << 10;

/// What one read gave.
#[derive(Debug)]
pub(super) enum Arrived<M> {
    /// The peer opens the exchange.
    Hello(Box<Hello>),
    /// A message.
    Message(M),
    /// Bytes that make no sense; nothing follows.
    Garbled(GarbledError),
}

/// How a turn of reading ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadEnd {
    /// There is nothing more for now.
    Blocked,
    /// There may be more: readiness will not be announced again.
    More,
    /// Nothing will come any more.
    Closed(CloseCause),
}

#[derive(Debug)]
enum Stage {
    Preamble(Vec<u8>),
    Hello,
    Open,
}

/// One link, whose peer sends messages of type `M`.
#[derive(Debug)]
pub(super) struct Connection<M> {
    socket: UnixStream,
    stage: Stage,
    decoder: FrameDecoder,
    outbox: Outbox,
    max_frame_bytes: u32,
    /// Why a message could not be queued.
    unsendable: Option<String>,
    wants_writable: bool,
    messages: PhantomData<M>,
}

impl<M: Message> Connection<M> {
    pub(super) fn new(socket: std::os::unix::net::UnixStream, overflow: Overflow) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: UnixStream::from_std(socket),
            stage: Stage::Preamble(Vec::with_capacity(PREAMBLE_BYTES)),
            decoder: FrameDecoder::new(HANDSHAKE_FRAME_BYTES),
            outbox: Outbox::new(handshake::preamble().to_vec(), overflow),
            max_frame_bytes: HANDSHAKE_FRAME_BYTES,
            unsendable: None,
            wants_writable: false,
            messages: PhantomData,
        })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        // A socket that cannot be deregistered is closed right after, which has the same effect.
        let _ = registry.deregister(&mut self.socket);
    }

    /// Reads for one turn, and hands what arrived to `take` until that says to stop.
    pub(super) fn read(&mut self, scratch: &mut [u8], mut take: impl FnMut(Arrived<M>)) -> ReadEnd {
        let mut budget = READ_BYTES_PER_TURN;
        while budget > 0 {
            match self.socket.read(scratch) {
                Ok(0) => return ReadEnd::Closed(self.end_of_stream()),
                Ok(count) => {
                    budget = budget.saturating_sub(count);
                    if let Err(error) = self.arrived(&scratch[..count], &mut take) {
                        take(Arrived::Garbled(error));
                        return ReadEnd::Blocked;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return ReadEnd::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A peer that is gone with unread bytes of ours on the way: to us it is the end of the stream.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return ReadEnd::Closed(self.end_of_stream());
                }
                Err(error) => return ReadEnd::Closed(CloseCause::Failed(error.to_string())),
            }
        }
        ReadEnd::More
    }

    fn end_of_stream(&self) -> CloseCause {
        let within_preamble = matches!(&self.stage, Stage::Preamble(begun) if !begun.is_empty());
        if within_preamble || self.decoder.pending_bytes() > 0 {
            CloseCause::Truncated
        } else {
            CloseCause::EndOfStream
        }
    }

    fn arrived(&mut self, mut bytes: &[u8], take: &mut impl FnMut(Arrived<M>)) -> Result<(), GarbledError> {
        if let Stage::Preamble(begun) = &mut self.stage {
            let (head, rest) = bytes.split_at(bytes.len().min(PREAMBLE_BYTES - begun.len()));
            begun.extend_from_slice(head);
            bytes = rest;
            if handshake::check_preamble(begun)?.is_some() {
                self.stage = Stage::Hello;
            }
        }
        self.decoder.push(bytes);
        while let Some(payload) = self.decoder.next_frame()? {
            match self.stage {
                Stage::Preamble(_) => {}
                Stage::Hello => {
                    if let Decoded::Message(PeerOpening::Hello(hello)) = codec::decode(payload)? {
                        self.stage = Stage::Open;
                        take(Arrived::Hello(hello));
                    }
                }
                Stage::Open => {
                    if let Decoded::Message(message) = codec::decode(payload)? {
                        take(Arrived::Message(message));
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, message: &CoordinatorOpening) {
        self.queue(message);
        if let CoordinatorOpening::Welcome(welcome) = message {
            self.max_frame_bytes = welcome.max_frame_bytes;
            self.decoder.set_limit(welcome.max_frame_bytes);
        }
    }

    pub(super) fn send(&mut self, message: &impl Message) {
        self.queue(message);
    }

    fn queue(&mut self, message: &impl Message) {
        let limit = self.max_frame_bytes;
        let queued = self.outbox.append(|out| codec::encode_into(message, limit, out));
        // The peer waits for this message, so the link cannot go on without it. Only absurdly long arguments come here.
        self.unsendable = match queued {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
    }

    /// Sends what can be sent. The error ends the link.
    pub(super) fn flush(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if let Some(error) = &self.unsendable {
            return Err(io::Error::other(format!("a message to the peer cannot be sent: {error}")));
        }
        self.outbox.write_to(&mut self.socket)?;
        self.watch_writable(registry, token)
    }

    /// How many bytes wait to be sent.
    pub(super) fn queued_bytes(&self) -> usize {
        self.outbox.waiting_bytes()
    }

    pub(super) fn has_queued(&self) -> bool {
        !self.outbox.is_empty()
    }

    fn watch_writable(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if self.has_queued() == self.wants_writable {
            return Ok(());
        }
        self.wants_writable = self.has_queued();
        let interest = match self.wants_writable {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        registry.reregister(&mut self.socket, token, interest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream as StdUnixStream;
    use xdist_proto::frame::{self, FrameError};
    use xdist_proto::handshake::PreambleError;
    use xdist_proto::message::{Pong, WorkerMessage};

    type Arrived = super::Arrived<WorkerMessage>;

    /// What a connection makes of these bytes followed by the end of the stream.
    fn read_all(pieces: &[&[u8]]) -> (Vec<Arrived>, ReadEnd) {
        let (ours, mut theirs) = StdUnixStream::pair().unwrap();
        let mut connection = Connection::new(ours, Overflow::Refuse(1000)).unwrap();
        let mut arrived = Vec::new();
        let mut scratch = [0; 1024];
        for piece in pieces {
            theirs.write_all(piece).unwrap();
            assert_ne!(connection.read(&mut scratch, |item| arrived.push(item)), ReadEnd::More);
        }
        drop(theirs);
        let end = connection.read(&mut scratch, |item| arrived.push(item));
        (arrived, end)
    }

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::encode_frame(payload, HANDSHAKE_FRAME_BYTES, &mut bytes).unwrap();
        bytes
    }

    fn garbled(arrived: &[Arrived]) -> &GarbledError {
        match arrived {
            [Arrived::Garbled(error)] => error,
            other => panic!("expected one error, got {other:?}"),
        }
    }

    #[test]
    fn a_peer_that_speaks_another_protocol_is_known_by_its_first_byte() {
        let (arrived, _) = read_all(&[b"HTTP/1.1 200 OK\r\n"]);
        let begin = "HTTP/1.1".to_owned();
        assert_eq!(garbled(&arrived), &GarbledError::Preamble(PreambleError::NotThisProtocol { begin }));
    }

    #[test]
    fn another_major_version_is_named() {
        let mut preamble = handshake::preamble();
        preamble[6] = 9;
        let (arrived, _) = read_all(&[&preamble]);
        let expected = PreambleError::TooNew { theirs: 9, ours: 1 };
        assert_eq!(garbled(&arrived), &GarbledError::Preamble(expected));
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_by_its_length() {
        let (arrived, _) = read_all(&[&handshake::preamble(), &u32::MAX.to_be_bytes()]);
        let expected = FrameError::TooLong { length: u32::MAX, limit: HANDSHAKE_FRAME_BYTES };
        assert_eq!(garbled(&arrived), &GarbledError::Frame(expected));
    }

    #[test]
    fn a_frame_that_is_no_message_is_garbled() {
        let (arrived, _) = read_all(&[&handshake::preamble(), &framed(&[0xc1])]);
        assert!(matches!(garbled(&arrived), GarbledError::Decode(_)));
    }

    #[test]
    fn only_hello_opens_a_link() {
        let pong = codec::encode(&WorkerMessage::Pong(Pong { nonce: 1 }));
        let (arrived, _) = read_all(&[&handshake::preamble(), &framed(&pong)]);
        assert!(matches!(garbled(&arrived), GarbledError::Decode(_)));
    }

    #[test]
    fn a_stream_cut_off_within_preamble_or_frame_is_truncated() {
        assert_eq!(read_all(&[]).1, ReadEnd::Closed(CloseCause::EndOfStream));
        assert_eq!(read_all(&[&handshake::preamble()]).1, ReadEnd::Closed(CloseCause::EndOfStream));
        assert_eq!(read_all(&[&handshake::preamble()[..5]]).1, ReadEnd::Closed(CloseCause::Truncated));
        let cut = [&handshake::preamble()[..], &[0, 0, 0, 9, 1, 2]].concat();
        assert_eq!(read_all(&[&cut]).1, ReadEnd::Closed(CloseCause::Truncated));
    }
}
