//! Modes `loadscope`, `loadfile` and `loadgroup`: whole units, one at a time.
//!
//! As pytest-xdist 3.8, `scheduler/loadscope.py`; the modes differ in what a unit is.

use super::{Queues, Scheduler};
use std::time::Duration;
use xdist_proto::WorkerId;

/// A worker with no more items than this gets its next unit.
const FEW: usize = 2;

#[derive(Debug)]
pub(super) struct Scope;

impl Scheduler for Scope {
    fn begin(&self, queues: &mut Queues) {
        let mut workers = queues.workers();
        for &worker in &workers {
            queues.assign_units(worker, 1);
        }
        if queues.are_timed() {
            // Whoever has the shortest unit is the first to get another one.
            workers.sort_by_key(|&worker| queues.queued_cost(worker));
        }
        for worker in workers {
            self.refill(queues, worker, Duration::ZERO);
        }
    }

    fn refill(&self, queues: &mut Queues, worker: WorkerId, _last: Duration) {
        if queues.queued_items(worker) <= FEW {
            queues.assign_units(worker, 1);
        }
    }
}
