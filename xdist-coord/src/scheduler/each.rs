//! Mode `each`: every worker runs everything. Each worker has a [`super::Distribution`] of its own, which a replacement
//! takes over.

use super::{Queues, Scheduler};
use std::time::Duration;
use xdist_proto::WorkerId;

#[derive(Debug)]
pub(super) struct Each;

impl Scheduler for Each {
    fn begin(&self, queues: &mut Queues) {
        for worker in queues.workers() {
            queues.assign_units(worker, usize::MAX);
        }
    }

    fn refill(&self, queues: &mut Queues, worker: WorkerId, _last: Duration) {
        queues.assign_units(worker, usize::MAX);
    }
}
