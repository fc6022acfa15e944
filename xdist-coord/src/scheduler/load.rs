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

#[derive(Debug)]
pub(super) struct Load {
    pub(super) max_chunk: Option<u32>,
}

impl Load {
    fn max_chunk(&self) -> usize {
        self.max_chunk.map_or(usize::MAX, |chunk| chunk as usize)
    }
}

impl Scheduler for Load {
    fn begin(&self, queues: &mut Queues) {
        let workers = queues.workers();
        if workers.is_empty() {
            return;
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
        let per_worker = queues.pending_items() / queues.worker_count().max(1);
        let low = (per_worker / 4).max(AT_LEAST);
        let high = (per_worker / 2).max(AT_LEAST);
        let queued = queues.queued_items(worker);
        if queued >= low || (last >= SLOW_ITEM && queued >= AT_LEAST) {
            return;
        }
        let floor = AT_LEAST.saturating_sub(queued);
        queues.assign_units(worker, (high - queued).min(self.max_chunk().max(floor)));
    }
}
