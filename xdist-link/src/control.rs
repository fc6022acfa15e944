//! What the gate tells the coordinator: datagrams over a socket pair, some of which carry a descriptor.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, recv, sendmsg, sockopt,
};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use xdist_proto::codec::{self, Message};

/// The longest datagram.
pub const MAX_DATAGRAM_BYTES: usize = 16 << 10;

/// The longest text in one.
const MAX_TEXT_CHARS: usize = 2000;

/// What happens at the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// It is open. The first datagram, or `failed` is.
    #[serde(rename = "listening")]
    Listening(Listening),
    /// It cannot be opened.
    #[serde(rename = "failed")]
    Failed(Failed),
    /// A host has joined. With it comes the descriptor of its link.
    #[serde(rename = "joined")]
    Joined(Joined),
    /// Somebody was refused.
    #[serde(rename = "refused")]
    Refused(Refused),
}

impl Message for Report {
    const KINDS: &'static [&'static str] = &["listening", "failed", "joined", "refused"];
}

/// The gate is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// The addresses that it listens at, as `HOST:PORT`.
    #[serde(rename = "addresses")]
    pub addresses: Vec<String>,
    /// The join token.
    #[serde(rename = "token")]
    pub token: String,
}

/// The gate cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Why, and what to do.
    #[serde(rename = "text")]
    pub text: String,
}

/// A host has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Its name and address.
    #[serde(rename = "peer")]
    pub peer: String,
    /// 0, or the number its launcher gave it.
    #[serde(rename = "launch")]
    pub launch: u32,
}

/// Somebody was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its address; empty where the text is about many.
    #[serde(rename = "peer")]
    pub peer: String,
    /// Why.
    #[serde(rename = "text")]
    pub text: String,
}

/// The gate's end of the socket pair.
#[derive(Debug)]
pub(crate) struct Control {
    socket: OwnedFd,
    waiting: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    tells_its_end: bool,
}

/// Whether the coordinator is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coordinator {
    There,
    Gone,
}

impl Control {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        let tells_its_end = sockopt::socket_type(&socket)? != SocketType::DGRAM;
        Ok(Self { socket, waiting: VecDeque::new(), tells_its_end })
    }

    /// Whether the end of the other side is noticed here. That of a datagram socket is not, on Linux.
    pub(crate) const fn tells_its_end(&self) -> bool {
        self.tells_its_end
    }

    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let descriptor = self.socket.as_raw_fd();
        registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Queues a report and sends what can be sent.
    pub(crate) fn report(&mut self, report: &Report, descriptor: Option<OwnedFd>) -> Coordinator {
        self.waiting.push_back((codec::encode(report), descriptor));
        self.flush()
    }

    /// Sends what the coordinator takes.
    pub(crate) fn flush(&mut self) -> Coordinator {
        while let Some((datagram, descriptor)) = self.waiting.front() {
            match send(&self.socket, datagram, descriptor.as_ref()) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => break,
                Err(error) => {
                    tracing::debug!(%error, "the coordinator takes no more reports");
                    return Coordinator::Gone;
                }
            }
        }
        Coordinator::There
    }

    /// Waits until everything was sent or the coordinator is gone.
    pub(crate) fn flush_and_wait(&mut self) {
        let _ = rustix::io::ioctl_fionbio(&self.socket, false);
        self.flush();
    }

    /// Looks whether the coordinator has closed its end. It has nothing to say.
    pub(crate) fn look(&self) -> Coordinator {
        let mut buffer = [0; 16];
        loop {
            match recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((0, _)) if self.tells_its_end => return Coordinator::Gone,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Coordinator::There,
                Err(_) => return Coordinator::Gone,
            }
        }
    }
}

fn send(socket: &OwnedFd, datagram: &[u8], descriptor: Option<&OwnedFd>) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptor.map(AsFd::as_fd).into_iter().collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    sendmsg(socket, &[IoSlice::new(datagram)], &mut ancillary, SendFlags::empty()).map(drop)
}

impl Failed {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: crate::opening::printable(text, MAX_TEXT_CHARS) }
    }
}
