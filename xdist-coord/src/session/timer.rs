//! Deadlines by name.

use crate::workers::HostId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use xdist_proto::WorkerId;

/// Something that becomes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A host has not said `hello`.
    Connect(HostId),
    /// A host is to be asked for a sign of life.
    Ping(HostId),
    /// A host has not given one.
    Silence(HostId),
    /// Hosts that dial in were waited for.
    Muster,
    /// A worker held back by the ramp may begin.
    Ramp(WorkerId),
    /// A worker that was asked to end has not.
    Finish(WorkerId),
    /// A worker that was to be killed is not reported down.
    Shutdown(WorkerId),
    /// A host that was asked for files has sent nothing of them.
    Fetch(HostId),
}

/// At most one deadline for each [`Timer`]. Kept in order, since there may be thousands of workers.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<Timer, Instant>,
    queue: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Sets a deadline, in place of an earlier one of that name.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.cancel(timer);
        self.due.insert(timer, at);
        self.queue.insert((at, timer));
    }

    /// Sets a deadline unless one of that name is set.
    pub(super) fn set_if_unset(&mut self, timer: Timer, at: Instant) {
        if !self.due.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.due.contains_key(&timer)
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.due.remove(&timer) {
            self.queue.remove(&(at, timer));
        }
    }

    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.queue.clear();
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|&(at, _)| at)
    }

    /// Takes out the earliest deadline if it is not after `now`, with the time it was set for.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        let &(at, timer) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some((timer, at))
    }
}
