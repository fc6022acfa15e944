//! DSession: one run, as a state machine without any input or output of its own.

pub mod config;

pub mod input;

pub mod output;

pub mod event;

pub use config::{Config, Timeouts};
pub use event::{RunEnd, RunEvent, RunSummary};
pub use input::Input;
pub use output::Output;

use std::collections::VecDeque;
use std::time::Instant;

/// One run, from the first host's launch to the summary.
///
/// The driver's contract: one [`handle`](Self::handle), then [`poll_output`](Self::poll_output) until `None`, then wait
/// until something arrives or [`next_deadline`](Self::next_deadline) has come. After [`new`](Self::new) the outputs are
/// drained first. [`Output::Finished`] comes exactly once and last.
#[derive(Debug)]
pub struct Session {
    outputs: VecDeque<Output>,
}

impl Session {
    /// A run that is about to start; its first outputs are waiting.
    #[must_use]
    pub fn new(_config: Config, _seed: u64, _now: Instant) -> Self {
        Self { outputs: VecDeque::new() }
    }

    /// Takes in one thing that happened. An older `now` than the latest one seen is taken for the latest.
    pub fn handle(&mut self, _input: Input, _now: Instant) {}

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to hand in [`Input::DeadlineReached`]; `None` when only other inputs matter.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Instant> {
        None
    }
}
