//! What happens to a session.

use crate::scheduler::History;
use crate::workers::{HostId, LinkId};
use std::collections::BTreeMap;
use xdist_proto::codec::DecodeError;
use xdist_proto::frame::FrameError;
use xdist_proto::frontend::CrashHandled;
use xdist_proto::handshake::{Hello, PreambleError};
use xdist_proto::message::WorkerMessage;
use xdist_proto::{FetchId, ItemIndex, Value, WorkerId};

/// Something that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A host that the session asked for is running and its link is open; its `hello` is still to come.
    Launched {
        /// The host.
        host: HostId,
        /// Its link.
        link: LinkId,
    },
    /// A host that the session asked for could not be started.
    LaunchFailed {
        /// The host.
        host: HostId,
        /// What happened and what to do about it.
        error: String,
    },
    /// A host has dialled in; its `hello` is still to come.
    Joined {
        /// Its link.
        link: LinkId,
        /// Its address, for people.
        peer: String,
        /// The launcher that it says has started it.
        launcher: Option<HostId>,
    },
    /// Nobody can dial in any more.
    GateLost {
        /// Why.
        error: String,
    },
    /// The peer opened the exchange.
    Opened {
        /// The link.
        link: LinkId,
        /// What it said.
        hello: Box<Hello>,
    },
    /// A message arrived.
    Received {
        /// The link.
        link: LinkId,
        /// The message.
        message: WorkerMessage,
    },
    /// Something arrived that is no message.
    Garbled {
        /// The link.
        link: LinkId,
        /// What is wrong with it.
        error: GarbledError,
    },
    /// The link is closed; nothing more arrives on it.
    Closed {
        /// The link.
        link: LinkId,
        /// Why.
        cause: CloseCause,
    },
    /// What tests took in earlier runs. Has an effect before the first list of items arrives; the last one counts.
    History(History),
    /// The pytest host takes part, and wants to be asked about these.
    PytestHostJoined {
        /// Whether it decides if an item that crashed is to run again.
        judges_crashes: bool,
        /// Whether it decides which worker gets which items.
        schedules: bool,
    },
    /// The pytest host's answer to `AskConfiguration`.
    NodeConfigured {
        /// The worker.
        worker: WorkerId,
        /// Entries for its `config.workerinput`.
        input: BTreeMap<String, Value>,
    },
    /// Nobody writes to the terminal or reads from it: the answer to `FreeTerminal`.
    TerminalFree,
    /// The pytest host's answer to a crash with a `request`.
    CrashHandled(CrashHandled),
    /// The pytest host's scheduler gives a worker items.
    Assigned {
        /// The worker.
        worker: WorkerId,
        /// The items, in order.
        items: Vec<ItemIndex>,
    },
    /// The pytest host's scheduler wants items back. Answered by [`RunEvent::TakenBack`](super::RunEvent::TakenBack).
    TakeBack {
        /// The worker.
        worker: WorkerId,
        /// The items.
        items: Vec<ItemIndex>,
    },
    /// The pytest host's scheduler has no successor for a worker's last item for now.
    Parked {
        /// The worker.
        worker: WorkerId,
    },
    /// The pytest host's scheduler has nothing more for a worker.
    Retired {
        /// The worker.
        worker: WorkerId,
    },
    /// The pytest host is gone, or could not be started.
    PytestHostLost {
        /// What happened and what to do.
        error: String,
    },
    /// What has come of a fetch is in order: the answer to [`FetchStep::End`](super::output::FetchStep::End).
    Stored {
        /// Which.
        fetch: FetchId,
        /// What has come of it.
        stored: Stored,
    },
    /// A directory that is being copied cannot be read here.
    SyncFailed {
        /// The number of the copying.
        tree: u32,
        /// What happened and what to do.
        error: String,
    },
    /// What is in files here: the answer to [`ReadFiles`](super::Output::ReadFiles).
    FilesRead {
        /// A hash of each, as in `collected`, by the path that was asked for. Those that are not here are left out.
        files: BTreeMap<String, u64>,
    },
    /// The time that `next_deadline` gave has come.
    DeadlineReached,
    /// The user wants the run to end (Ctrl-C, SIGTERM). The second time, at once.
    InterruptRequested,
}

/// Files of another machine that are on this one now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// How many.
    pub files: u32,
    /// How many bytes they have together.
    pub bytes: u64,
    /// What could not be stored, each with the reason, in one line.
    pub problems: Vec<String>,
}

/// What is wrong with bytes that arrived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GarbledError {
    /// The peer did not open the link as the protocol says.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    /// A frame is out of bounds.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame's payload is no message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Why a link is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The peer closed it between two frames.
    EndOfStream,
    /// The peer closed it within a frame.
    Truncated,
    /// The operating system reported an error.
    Failed(String),
    /// What was at the other end has said itself what was wrong.
    Explained(String),
}
