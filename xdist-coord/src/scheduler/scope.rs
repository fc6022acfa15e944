//! Modes `loadscope`, `loadfile` and `loadgroup`: whole units, one at a time, or several while their items are short.
//!
//! As pytest-xdist 3.8, `scheduler/loadscope.py`, but for the short ones; the modes differ in what a unit is.

use super::{Queues, Scheduler};
use std::time::Duration;
use xdist_proto::WorkerId;

/// A worker with no more items than this gets its next unit.
const FEW: usize = 2;

/// How much time the units of a worker are to last if its items go on as the last one, and how many items they have at most.
/// With less, workers wait between the shortest items until the coordinator has heard of one and sent another. Should
/// the next ones be long, whoever runs out takes them.
const AHEAD: Duration = Duration::from_millis(100);
const MOST_AHEAD: usize = 500;

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

    fn refill(&self, queues: &mut Queues, worker: WorkerId, last: Duration) {
        let (queued, ahead) = (queues.queued_items(worker), items_ahead(last));
        if ahead > FEW && queued <= ahead / 2 {
            queues.assign_items_up_to(worker, ahead);
        } else if queued <= FEW {
            queues.assign_units(worker, 1);
        }
    }
}

/// How many items that take as long as the last one a worker is to have; none if that is not known.
fn items_ahead(last: Duration) -> usize {
    let items = AHEAD.as_micros().checked_div(last.as_micros()).unwrap_or(0);
    usize::try_from(items).map_or(MOST_AHEAD, |items| items.min(MOST_AHEAD))
}
