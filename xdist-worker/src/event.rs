//! Everything that the owner of the host's state can be told, by whichever thread.

use rustix::process::Pid;
use std::io;
use xdist_proto::message::{ItemFinished, Stream};
use xdist_proto::{CoordinatorMessage, WorkerId, WorkerMessage};

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The coordinator sent a command.
    Command(Box<CoordinatorMessage>),
    /// The link is of no more use.
    LinkEnded(LinkEnd),
    /// What was handed to the link's writer is written.
    Written,
    /// A part of a file that is fetched, or the end of it all.
    File(Box<WorkerMessage>),
    /// Somebody wants this process to end.
    Terminated,
    /// Something to tell the coordinator about a directory that is copied here.
    Sync(Box<WorkerMessage>),
    /// Something about a worker's runner.
    Runner(WorkerId, RunnerEvent),
    /// An image was asked for a worker's runner, and has forked it, or not.
    Forked(WorkerId, io::Result<Pid>),
    /// A thread of ours panicked: our bug.
    Panicked(Source, String),
}

/// Why a link is of no more use.
#[derive(Debug)]
pub(crate) enum LinkEnd {
    /// The coordinator closed it, or is gone.
    Closed,
    /// Reading or writing failed.
    Broken(io::Error),
    /// What arrived is not our protocol.
    Garbled(String),
}

/// Something about a runner.
#[derive(Debug)]
pub(crate) enum RunnerEvent {
    /// It sent a message; the payload is what it was read from.
    Message(Box<WorkerMessage>, Vec<u8>),
    /// It is an interpreter of this version, which is too old.
    TooOld(String),
    /// It leaves no image behind, which it says before it has collected.
    LeavesNoImage,
    /// It told what its running item has reported so far.
    SoFar(Box<ItemFinished>),
    /// What it sent is not our protocol.
    Garbled(String),
    /// It wrote to a standard stream.
    Output(Stream, Vec<u8>),
    /// A pipe from it has ended, or is no longer read.
    Closed(Pipe),
    /// It has exited, and waits to be reaped.
    Exited,
}

/// A pipe from a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pipe {
    /// Messages.
    Events,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Pipe {
    pub(crate) const ALL: [Self; 3] = [Self::Events, Self::Stdout, Self::Stderr];
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Reads the link.
    LinkReader,
    /// Writes the link.
    LinkWriter,
    /// Waits for signals.
    Signals,
    /// Reads files that are fetched.
    Fetch,
    /// Copies directories here.
    Sync,
    /// Waits for what an image answers.
    Image,
    /// Reads a pipe from a runner.
    Reader(WorkerId, Pipe),
    /// Waits for a runner to exit.
    Waiter(WorkerId),
}

impl Source {
    pub(crate) const fn worker(self) -> Option<WorkerId> {
        match self {
            Self::LinkReader | Self::LinkWriter | Self::Signals | Self::Fetch | Self::Sync | Self::Image => {
                None
            }
            Self::Reader(worker, _) | Self::Waiter(worker) => Some(worker),
        }
    }
}

impl std::fmt::Display for Source {
    /// Short, since Linux cuts the names of threads after 15 bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LinkReader => f.write_str("link reader"),
            Self::LinkWriter => f.write_str("link writer"),
            Self::Signals => f.write_str("signals"),
            Self::Fetch => f.write_str("fetch"),
            Self::Sync => f.write_str("sync"),
            Self::Image => f.write_str("image"),
            Self::Reader(worker, Pipe::Events) => write!(f, "{worker} events"),
            Self::Reader(worker, Pipe::Stdout) => write!(f, "{worker} stdout"),
            Self::Reader(worker, Pipe::Stderr) => write!(f, "{worker} stderr"),
            Self::Waiter(worker) => write!(f, "{worker} waiter"),
        }
    }
}
