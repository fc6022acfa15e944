//! What a run starts from.

use crate::scheduler::Mode;
use crate::workers::spec::WorkerSpec;
use std::time::Duration;
use xdist_proto::RunId;
use xdist_proto::message::{Start, Wants};

/// What is known before the first worker has read its options. Whatever is `None` comes from the options that the first
/// worker reports ([`xdist_proto::message::RunOptions`]); what is given here was given on the command line, which wins.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of the run, unless an option names it otherwise.
    pub run: RunId,
    /// The workers to start with, where the command line says so. Otherwise one worker is started first, and its
    /// options say how many more.
    pub workers: Option<Vec<WorkerSpec>>,
    /// How items are handed out, where the command line says so.
    pub mode: Option<Mode>,
    /// The arguments as the user gave them.
    pub args: Vec<String>,
    /// The command that starts the default interpreter.
    pub python: Vec<String>,
    /// How test processes come up, as far as the command line says.
    pub start: Start,
    /// What frontends want to be told.
    pub wants: Wants,
    /// Whether a frontend answers for plugins on this side.
    pub pytest_host: PytestHost,
    /// The path of the terminal that a person sits at and workers may borrow, if there is one.
    pub terminal: Option<String>,
    /// Times after which something is taken to have failed.
    pub timeouts: Timeouts,
}

/// Whether a frontend takes part that answers for plugins on the coordinator's side: the pytest host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PytestHost {
    /// None does.
    #[default]
    Never,
    /// As soon as a worker has plugins that want one.
    OnDemand,
    /// From the start.
    Present,
}

/// Times after which something is taken to have failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From a host's launch to its `hello`.
    pub connect: Duration,
    /// Between two `ping`s on a link.
    pub heartbeat: Duration,
    /// From the first unanswered `ping` until the host is taken for lost.
    pub host: Duration,
    /// From `drain` or `interrupt` until a worker that is not in the middle of an item is killed.
    pub finish: Duration,
    /// From `shutdown` until the link of a host that has not reported `down` is closed.
    pub shutdown: Duration,
}

impl Timeouts {
    /// How long a process that is shut down may take to end by itself: half of what its host has to report its end.
    pub(super) fn grace(&self) -> Duration {
        self.shutdown / 2
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            heartbeat: Duration::from_secs(5),
            host: Duration::from_secs(15),
            finish: Duration::from_secs(60),
            shutdown: Duration::from_secs(5),
        }
    }
}
