//! The gate: the process at which hosts dial in. It lets in whoever can prove to be invited, and hands their links over.
#![expect(clippy::disallowed_methods, reason = "a shell module: it bounds its wait by the clock")]

use super::token::Source;
use crate::launch::{HostProcess, Invitation, LaunchError, Launcher, Wanted};
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde::Deserialize;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::{Duration, Instant};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the gate may take to say why it ended.
const END_GRACE: Duration = Duration::from_secs(2);

/// The longest datagram.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// There is no gate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// It could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It cannot listen, in its own words.
    #[error("{0}")]
    Failed(String),
    /// It broke off, or is not heard.
    #[error("the process that hosts dial in at {0}; try again, with XDIST_LOG=debug to see what it does")]
    Lost(String),
}

/// What the gate says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// It listens.
    Listening { addresses: Vec<String>, token: String },
    /// It cannot.
    Failed { text: String },
    /// A host has dialled in; its link comes with this.
    Joined { peer: String, launch: u32 },
    /// Somebody was turned away.
    Refused { peer: String, text: String },
}

/// A host that has dialled in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: StdUnixStream,
    pub(super) peer: String,
    /// The number that its launcher was given; 0 for none.
    pub(super) launch: u32,
}

/// The running gate.
#[derive(Debug)]
pub(super) struct Gate {
    socket: OwnedFd,
    process: HostProcess,
    /// For one datagram, and the descriptor that came with the last.
    buffer: Vec<u8>,
    descriptor: Option<OwnedFd>,
    pub(super) invitation: Invitation,
}

impl Gate {
    /// Starts the gate, and waits until it listens.
    pub(super) fn open(launcher: &Launcher, wanted: Wanted, registry: &Registry) -> Result<Self, GateError> {
        let (socket, process) = launcher.launch_gate(wanted)?;
        let lost = |error: io::Error| GateError::Lost(format!("cannot be heard ({error})"));
        rustix::io::ioctl_fionbio(&socket, true).map_err(|error| lost(error.into()))?;
        let mut gate = Self {
            socket,
            process,
            buffer: vec![0; MAX_MESSAGE_BYTES],
            descriptor: None,
            invitation: Invitation::default(),
        };
        gate.wait_until_it_listens()?;
        let descriptor = gate.socket.as_raw_fd();
        registry
            .register(&mut SourceFd(&descriptor), Source::Gate.into(), Interest::READABLE)
            .map_err(lost)?;
        Ok(gate)
    }

    fn wait_until_it_listens(&mut self) -> Result<(), GateError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next_message()? {
                Some(Message::Listening { addresses, token }) => {
                    self.invitation = Invitation { addresses, token };
                    return Ok(());
                }
                Some(Message::Failed { text }) => return Err(GateError::Failed(text)),
                Some(Message::Joined { .. } | Message::Refused { .. }) => {}
                None => self.wait_for_more(deadline)?,
            }
        }
    }

    fn wait_for_more(&self, deadline: Instant) -> Result<(), GateError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(GateError::Lost(format!("does not listen after {} s", PATIENCE.as_secs())));
        }
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(GateError::Lost(format!("cannot be waited for ({error})"))),
        }
    }

    /// The next host that has dialled in, if there is one now.
    pub(super) fn next_arrival(&mut self) -> Result<Option<Arrival>, GateError> {
        while let Some(message) = self.next_message()? {
            match message {
                Message::Joined { peer, launch } => {
                    let socket = self.descriptor.take().ok_or_else(nonsense)?;
                    return Ok(Some(Arrival { socket: StdUnixStream::from(socket), peer, launch }));
                }
                Message::Refused { peer, text } => tracing::warn!(peer, text, "somebody was turned away"),
                Message::Failed { text } => return Err(GateError::Failed(text)),
                Message::Listening { .. } => {}
            }
        }
        Ok(None)
    }

    fn next_message(&mut self) -> Result<Option<Message>, GateError> {
        loop {
            match self.receive() {
                Ok(0) => return Err(GateError::Lost(self.how_it_ended())),
                Ok(length) => return self.understand(length).map(Some),
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(GateError::Lost(format!("cannot be heard ({error})"))),
            }
        }
    }

    /// Receives one datagram into the buffer, and the descriptor that comes with it.
    fn receive(&mut self) -> rustix::io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let buffers = &mut [IoSliceMut::new(&mut self.buffer)];
        let received = recvmsg(&self.socket, buffers, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        self.descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        Ok(received.bytes)
    }

    fn understand(&self, length: usize) -> Result<Message, GateError> {
        rmp_serde::from_slice(&self.buffer[..length]).map_err(|error| {
            tracing::warn!(%error, "what the gate says is not understood");
            nonsense()
        })
    }

    fn how_it_ended(&mut self) -> String {
        match self.process.wait_until(Instant::now() + END_GRACE) {
            Some(status) => format!("ended ({status})"),
            None => "has closed its link".to_owned(),
        }
    }

    /// Ends it, and with it the links of all hosts.
    pub(super) fn close(self, registry: &Registry) -> HostProcess {
        // A socket that cannot be deregistered is closed right after, which has the same effect.
        let _ = registry.deregister(&mut SourceFd(&self.socket.as_raw_fd()));
        self.process
    }
}

fn nonsense() -> GateError {
    GateError::Lost("says what makes no sense".to_owned())
}
