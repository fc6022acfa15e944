//! Mode `worksteal`: everything is split evenly at the start; afterwards whoever runs out takes from the longest queue,
//! which is the same for every mode and therefore not here.
//!
//! As pytest-xdist 3.8, `scheduler/worksteal.py`, but a group is one unit, and where durations are known it is they that
//! are split evenly.

use super::{Queues, Scheduler};
use std::time::Duration;
use xdist_proto::WorkerId;

/// A worker with fewer items than this runs out.
const FEW: usize = 2;

/// Where no durations are known, so many of the last units are among the first to run. Otherwise they would be among the
/// last, and a single long one would make the run that much longer.
const TAIL: usize = 2;

#[derive(Debug)]
pub(super) struct WorkSteal;

impl Scheduler for WorkSteal {
    fn begin(&self, queues: &mut Queues) {
        if queues.are_timed() {
            queues.lay_out();
        } else {
            queues.split(TAIL);
        }
    }

    fn refill(&self, queues: &mut Queues, worker: WorkerId, _last: Duration) {
        if queues.queued_items(worker) < FEW {
            queues.deal();
        }
    }
}
