//! Running items again that failed (`--retries`).
//!
//! An item that is to run again has no result yet. Until it has one its last failure is kept, which is its result if the
//! run ends before.

use super::event::{Crash, FailedAttempt, Failure};
use super::{Course, RunEvent, Session};
use std::collections::BTreeSet;
use xdist_proto::{ItemIndex, WorkerId};

/// What an item has behind it that failed and is to run again.
#[derive(Debug)]
pub(super) struct Tries {
    /// How often it has failed.
    count: u32,
    /// Where.
    workers: BTreeSet<WorkerId>,
    /// How it failed last, and where.
    last: (WorkerId, Failure),
}

impl Session {
    /// Whether an item that has just failed is to run again. Where somebody else decides what runs where, nothing does.
    pub(super) fn may_retry(&self, book: usize, item: ItemIndex) -> bool {
        let limit = self.plan.as_ref().map_or(0, |plan| plan.retries);
        self.course == Course::Running
            && !self.is_scheduled_elsewhere()
            && self.books[book].retries(item) < limit
    }

    /// Tells that an item failed that is to run again; answers the workers that had it. The caller sees to it that the item
    /// is handed out.
    pub(super) fn retry(
        &mut self,
        book: usize,
        item: ItemIndex,
        worker: WorkerId,
        failure: Failure,
    ) -> BTreeSet<WorkerId> {
        let tries = &mut self.books[book].tries;
        let (count, mut workers) =
            tries.remove(&item).map_or((0, BTreeSet::new()), |tries| (tries.count, tries.workers));
        let retry = count + 1;
        workers.insert(worker);
        let last = (worker, failure.clone());
        tries.insert(item, Tries { count: retry, workers: workers.clone(), last });
        self.books[book].give_back(item);
        let limit = self.plan.as_ref().map_or(retry, |plan| plan.retries);
        self.report(RunEvent::ItemRetried(Box::new(FailedAttempt { worker, item, retry, limit, failure })));
        workers
    }

    /// The same of an item whose worker crashed, which is handed out to others.
    pub(super) fn retry_crashed(&mut self, book: usize, item: ItemIndex, crash: Box<Crash>) {
        let tried = self.retry(book, item, crash.worker, Failure::Crash(crash));
        self.books[book].distribution.put_aside(item, tried);
    }

    /// Items that wait to run again, or were cut off when they did, end with their last failure.
    pub(super) fn settle_retries(&mut self, book: usize) {
        for (item, tries) in std::mem::take(&mut self.books[book].tries) {
            let (worker, failure) = tries.last;
            // The last one is the result itself.
            let retries = tries.count - 1;
            self.books[book].done(item);
            self.counts.failed += 1;
            let result = match failure {
                Failure::Report(report) => {
                    self.counts.finished += 1;
                    RunEvent::ItemFinished { worker, item, report, retries }
                }
                Failure::Crash(mut crash) => {
                    self.counts.crashed += 1;
                    crash.retries = retries;
                    RunEvent::Crashed(crash)
                }
            };
            self.report(result);
        }
    }
}

impl Tries {
    pub(super) const fn count(&self) -> u32 {
        self.count
    }
}
