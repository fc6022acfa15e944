//! What a session wants done.

use super::event::{RunEvent, RunSummary};
use crate::sync::Source;
use crate::workers::spec::HostSpec;
use crate::workers::{HostId, LinkId};
use xdist_proto::codec::CoordinatorOpening;
use xdist_proto::fetch::Fetched;
use xdist_proto::message::CoordinatorMessage;
use xdist_proto::tree::BlobHash;
use xdist_proto::{FetchId, WorkerId};

/// Something to do, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Start a host. Answered by `Launched` or `LaunchFailed`.
    Launch {
        /// The host.
        host: HostId,
        /// How.
        spec: HostSpec,
    },
    /// Answer the peer's `hello`.
    Answer {
        /// The link.
        link: LinkId,
        /// The answer.
        message: CoordinatorOpening,
    },
    /// Send a message.
    Send {
        /// The link.
        link: LinkId,
        /// The message.
        message: CoordinatorMessage,
    },
    /// Send what is queued, then close the link and end the host's process if we started it.
    Close {
        /// The link.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// Copy a directory to a host.
    Sync {
        /// The number of the copying.
        tree: u32,
        /// What is to be done about it.
        order: SyncOrder,
    },
    /// Find out what is in files here. Answered by `FilesRead`.
    ReadFiles {
        /// The directory that they are in.
        directory: String,
        /// Their paths below it.
        paths: Vec<String>,
    },
    /// Tell the frontends.
    Report(RunEvent),
    /// Start the pytest host. It is told everything from the beginning of the run.
    StartPytestHost {
        /// The hooks that it is for, for people.
        hooks: Vec<String>,
    },
    /// Ask the pytest host what to add to a worker's `config.workerinput`. Answered by `NodeConfigured`.
    AskConfiguration {
        /// The worker, which waits.
        worker: WorkerId,
    },
    /// A worker is to have the terminal for itself: leave it alone until `RunEvent::TerminalBack`. Answered by `TerminalFree`.
    FreeTerminal {
        /// The worker, which waits.
        worker: WorkerId,
    },
    /// Files of another machine are fetched.
    Fetch {
        /// Which of them.
        fetch: FetchId,
        /// What to do about it.
        step: FetchStep,
    },
    /// The run is over; nothing follows.
    Finished(RunSummary),
}

/// What to do about files that are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchStep {
    /// They are about to come, and belong into this directory.
    Begin {
        /// The directory, relative to the current one if it is not absolute.
        directory: String,
    },
    /// A part of a file has come. Its path is one below the directory; nothing else was looked at.
    Part(Box<Fetched>),
    /// Nothing more comes; a file that is not complete is of no use. Answered by [`Input::Stored`](super::Input::Stored).
    End,
}

/// What is to be done about a copying.
#[derive(Clone, Debug)]
pub enum SyncOrder {
    /// Read the directory, and send `sync_begin` with what was found. If it cannot be read, `SyncFailed` is the answer.
    Begin {
        /// To which host.
        link: LinkId,
        /// What and where.
        job: Box<SyncJob>,
    },
    /// Send these blobs.
    Want(Vec<BlobHash>),
    /// The host has taken so many chunks.
    Taken(u32),
    /// It is done, or nobody is there for it any more.
    Forget,
}

/// What is copied where.
#[derive(Clone, Debug)]
pub struct SyncJob {
    /// The directory that the copy goes into; `None` for one of the host's choice.
    pub base: Option<String>,
    /// What the copies of one project have in common.
    pub project: String,
    /// The directory here.
    pub source: Source,
}

/// Why the session closes a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// It is not needed any more.
    Done,
    /// Its `hello` was refused.
    Refused,
    /// It broke the protocol.
    Protocol(String),
    /// It was silent for too long.
    Silent,
}
