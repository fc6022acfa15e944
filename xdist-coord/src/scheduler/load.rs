//! Mode `load`: small batches, to whoever has few items left.
//!
//! The sizes are those of pytest-xdist 3.8, `scheduler/load.py`.

use super::{Queues, Scheduler};
use std::time::Duration;
use xdist_proto::WorkerId;

/// A worker whose items take this long does not need many of them in advance.
const SLOW_ITEM: Duration = Duration::from_millis(100);

/// What a worker has at least while anything is pending: one that runs and one to go on with.
const AT_LEAST: usize = 2;

/// An item is long if it is at least one such fraction of a worker's share: what it adds to the run at most, should it
/// be the last to begin, is that fraction.
const LONG: u64 = 20;

#[derive(Debug)]
pub(super) struct Load {
    pub(super) max_chunk: Option<u32>,
}

impl Load {
    fn max_chunk(&self) -> usize {
        self.max_chunk.map_or(usize::MAX, |chunk| chunk as usize)
    }

    /// Long items go first, one to each worker. Whoever has the shortest of them is the first to get more.
    fn begin_timed(&self, queues: &mut Queues, workers: &[WorkerId]) {
        let share = queues.pending_cost() / workers.len() as u64;
        let long = queues.put_expensive_first(share / LONG);
        for &worker in workers.iter().take(long) {
            queues.assign_units(worker, 1);
        }
        for &worker in workers.iter().rev() {
            self.refill(queues, worker, Duration::ZERO);
        }
    }
}

impl Scheduler for Load {
    fn begin(&self, queues: &mut Queues) {
        let workers = queues.workers();
        if workers.is_empty() {
            return;
        }
        if queues.are_timed() {
            return self.begin_timed(queues, &workers);
        }
        let per_worker = queues.pending_items() / workers.len();
        if per_worker < AT_LEAST {
            for &worker in workers.iter().cycle().take(queues.pending_items()) {
                queues.assign_units(worker, 1);
            }
            return;
        }
        let batch = (per_worker / 4).min(self.max_chunk()).max(AT_LEAST);
        for worker in workers {
            queues.assign_units(worker, batch);
        }
    }

    fn refill(&self, queues: &mut Queues, worker: WorkerId, last: Duration) {
        let per_worker = queues.pending_cost() / queues.worker_count().max(1) as u64;
        let (low, high) = (per_worker / 4, per_worker / 2);
        let queued = queues.queued_items(worker);
        if queued >= AT_LEAST && (queues.queued_cost(worker) >= low || last >= SLOW_ITEM) {
            return;
        }
        let floor = AT_LEAST.saturating_sub(queued);
        queues.assign_up_to(worker, high, self.max_chunk().max(floor));
    }
}
