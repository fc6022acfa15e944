//! The other end of a link, as a blocking socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use xdist_proto::codec::{self, CoordinatorOpening, Decoded, Message, PeerOpening};
use xdist_proto::frame::{FrameDecoder, MAX_FRAME_BYTES};
use xdist_proto::handshake::{
    Hello, HostFacts, Implementation, PREAMBLE_BYTES, Role, Welcome, check_preamble, preamble,
};
use xdist_proto::version::VersionRange;

pub(crate) struct Peer {
    link: UnixStream,
    decoder: FrameDecoder,
}

impl Peer {
    /// One that has said nothing.
    pub(crate) fn raw(link: UnixStream) -> Self {
        Self { link, decoder: FrameDecoder::new(MAX_FRAME_BYTES) }
    }

    /// One that has said hello.
    pub(crate) fn greet(link: UnixStream, role: Role, features: &[&str]) -> Self {
        let mut peer = Self::raw(link);
        peer.write(&preamble());
        peer.send(&PeerOpening::Hello(Box::new(Hello {
            implementation: Implementation { name: "a test".to_owned(), version: "1".to_owned() },
            versions: VersionRange::SUPPORTED,
            role,
            host: HostFacts::default(),
            slots: 1,
            features: features.iter().map(|&feature| (feature.to_owned(), 1)).collect(),
            generation: 0,
            proof: Vec::new(),
        })));
        peer
    }

    /// One that is welcome.
    pub(crate) fn open(link: UnixStream, role: Role, features: &[&str]) -> Self {
        let mut peer = Self::greet(link, role, features);
        let mut bytes = [0; PREAMBLE_BYTES];
        peer.link.read_exact(&mut bytes).unwrap();
        assert!(matches!(check_preamble(&bytes), Ok(Some(_))));
        match peer.receive() {
            Some(CoordinatorOpening::Welcome(Welcome { .. })) => peer,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.link.write_all(bytes).unwrap();
    }

    pub(crate) fn send(&mut self, message: &impl Message) {
        let mut bytes = Vec::new();
        codec::encode_into(message, MAX_FRAME_BYTES, &mut bytes).unwrap();
        self.write(&bytes);
    }

    /// The next message; `None` at the end.
    pub(crate) fn receive<M: Message>(&mut self) -> Option<M> {
        let mut scratch = [0; 64 << 10];
        loop {
            if let Some(payload) = self.decoder.next_frame().unwrap() {
                match codec::decode(payload).unwrap() {
                    Decoded::Message(message) => return Some(message),
                    Decoded::Skipped => continue,
                }
            }
            let count = self.link.read(&mut scratch).unwrap();
            if count == 0 {
                assert_eq!(self.decoder.pending_bytes(), 0, "the stream is cut off");
                return None;
            }
            self.decoder.push(&scratch[..count]);
        }
    }

    /// Whatever else comes until the end.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.link.read_to_end(&mut bytes).unwrap();
        bytes
    }
}
