//! Schedulers: which worker gets which items. They see the collection and what is pending, and answer with
//! assignments; they never see links, bytes or time. They may be told what items took in earlier runs.
//!
//! A [`Scheduler`] is one mode's rule for handing out pending units. [`Distribution`] is what the session talks to: it
//! keeps the queues, applies the rule, and moves work that has not begun from long queues to workers that run out.

mod distribution;

mod foreign;

mod queues;

mod resources;

mod units;

mod history;

mod layout;

mod each;

mod load;

mod scope;

mod worksteal;

pub use distribution::{Action, Distribution};
pub use history::{History, Took};
pub use queues::Queues;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use xdist_proto::WorkerId;

/// A rule for handing out pending units.
pub trait Scheduler: fmt::Debug {
    /// Hands out the first units, when all workers that the run begins with are there.
    fn begin(&self, queues: &mut Queues);

    /// Tops up the queue of a worker that has just finished an item, which took `last`, or that has run low while units
    /// are pending. A worker with an empty queue must be given something if anything is pending.
    fn refill(&self, queues: &mut Queues, worker: WorkerId, last: Duration);
}

/// Options that refine a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `--maxschedchunk`: in mode `load`, at most so many items at a time.
    pub max_chunk: Option<u32>,
    /// `--loadscope-reorder`: in the scope modes, the biggest units first; the longest, where durations are known.
    pub reorder_scopes: bool,
    /// How many workers there are at a time at most, if that is known: what so many may use at a time restricts nobody.
    pub workers: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_chunk: None, reorder_scopes: true, workers: None }
    }
}

/// How items are handed out: `--dist`, as in pytest-xdist 3.8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Every item on every worker.
    Each,
    /// Items in batches to whoever has few left.
    Load,
    /// All items of a class or module to one worker.
    LoadScope,
    /// All items of a file to one worker.
    LoadFile,
    /// All items of an `xdist_group` to one worker.
    LoadGroup,
    /// Items split at the start, then stolen by whoever runs out. Groups stay together.
    #[default]
    WorkSteal,
}

/// A name that is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown distribution mode {name:?}: choose from each, load, loadscope, loadfile, loadgroup, worksteal, no"
)]
pub struct UnknownMode {
    /// The name.
    pub name: String,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 6] =
        [Self::Each, Self::Load, Self::LoadScope, Self::LoadFile, Self::LoadGroup, Self::WorkSteal];

    /// The name that `--dist` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Load => "load",
            Self::LoadScope => "loadscope",
            Self::LoadFile => "loadfile",
            Self::LoadGroup => "loadgroup",
            Self::WorkSteal => "worksteal",
        }
    }

    /// The mode's rule.
    fn scheduler(self, options: Options) -> Box<dyn Scheduler> {
        match self {
            Self::Each => Box::new(each::Each),
            Self::Load => Box::new(load::Load { max_chunk: options.max_chunk }),
            Self::LoadScope | Self::LoadFile | Self::LoadGroup => Box::new(scope::Scope),
            Self::WorkSteal => Box::new(worksteal::WorkSteal),
        }
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    /// Reads a mode's name. `no` is not one of them: such a run is plain pytest's.
    fn from_str(name: &str) -> Result<Self, UnknownMode> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == name)
            .ok_or_else(|| UnknownMode { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests;
