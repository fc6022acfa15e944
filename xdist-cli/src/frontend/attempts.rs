//! Failed attempts at items that run again (`--retries`).

use super::crash;
use super::report::{self, Outcome, Report};
use super::roster::Roster;
use std::collections::BTreeMap;
use xdist_coord::session::event::{Crash, FailedAttempt, Failure};
use xdist_proto::{ItemIndex, WorkerId};

/// The failed attempts at items that have no result yet.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// By item, in order. In mode `each` an item is one of the worker's that runs it, or of the first of those that
    /// replace each other.
    failed: BTreeMap<(Option<WorkerId>, ItemIndex), Vec<FailedAttempt>>,
}

impl Attempts {
    /// Keeps one until the item has its result.
    pub(crate) fn keep(&mut self, attempt: &FailedAttempt, roster: &Roster) {
        let item = (roster.owner(attempt.worker), attempt.item);
        self.failed.entry(item).or_default().push(attempt.clone());
    }

    /// Those that came before the result of an item, of which there are so many. One more was told of an item that was to
    /// run again and could not: that one is the result.
    pub(crate) fn take(
        &mut self,
        worker: WorkerId,
        item: ItemIndex,
        retries: u32,
        roster: &Roster,
    ) -> Vec<FailedAttempt> {
        let mut failed = self.failed.remove(&(roster.owner(worker), item)).unwrap_or_default();
        failed.truncate(retries as usize);
        failed
    }
}

/// The reports of a failed attempt.
pub(crate) fn reports(attempt: &FailedAttempt, roster: &Roster) -> Vec<Report> {
    match &attempt.failure {
        Failure::Report(report) => {
            let node_id = roster.node_id(attempt.worker, attempt.item);
            report::item_reports(roster.item(attempt.worker, attempt.item), &node_id, report)
        }
        Failure::Crash(crash) => crash_reports(crash, roster),
    }
}

/// The reports of an item that the test process did not survive.
pub(crate) fn crash_reports(crash: &Crash, roster: &Roster) -> Vec<Report> {
    let Some(crashed) = &crash.item else { return Vec::new() };
    let node_id = roster.node_id(crash.worker, crashed.item);
    let item = roster.item(crash.worker, crashed.item);
    let mut reports = report::reports_before(crash, item, &node_id);
    let text = crash::body(&roster.name(crash.worker), &node_id, crashed, crash);
    reports.push(report::crash_report(&node_id, text));
    reports
}

/// The first report of a failed attempt that failed.
pub(crate) fn failed_report(attempt: &FailedAttempt, roster: &Roster) -> Option<Report> {
    reports(attempt, roster).into_iter().find(|report| report.outcome == Outcome::Failed)
}

/// Why it failed, in one line: `AssertionError: assert 0`, `signal 11 (SIGSEGV)`.
pub(crate) fn reason(attempt: &FailedAttempt, report: &Report) -> String {
    match &attempt.failure {
        Failure::Crash(crash) => crash::cause(crash),
        Failure::Report(_) => {
            report.message().and_then(|message| message.lines().next()).unwrap_or("it failed").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::testing::{collection, failed_call, finished, retried, starting};
    use xdist_coord::session::event::RunEvent;

    fn attempt(worker: u32, retry: u32) -> FailedAttempt {
        match retried(retry, finished(worker, 0, failed_call("no"))) {
            RunEvent::ItemRetried(attempt) => *attempt,
            other => panic!("{other:?}"),
        }
    }

    fn workers(attempts: &[FailedAttempt]) -> Vec<u32> {
        attempts.iter().map(|attempt| attempt.worker.0).collect()
    }

    #[test]
    fn attempts_are_of_an_item_wherever_it_ran_and_the_result_is_none_of_them() {
        let roster = Roster::default();
        let mut attempts = Attempts::default();
        attempts.keep(&attempt(0, 1), &roster);
        attempts.keep(&attempt(1, 2), &roster);
        // The second one is the result.
        assert_eq!(workers(&attempts.take(WorkerId(1), ItemIndex(0), 1, &roster)), [0]);
        assert_eq!(workers(&attempts.take(WorkerId(1), ItemIndex(0), 1, &roster)), [0; 0]);
    }

    #[test]
    fn in_mode_each_they_are_of_the_worker_and_its_replacements() {
        let mut roster = Roster::default();
        for (worker, replaces) in [(0, None), (1, None), (2, Some(1)), (3, Some(2))] {
            roster.observe(&starting(worker, replaces));
            let collection = collection(&["a"]);
            roster.observe(&RunEvent::Collected { worker: Some(WorkerId(worker)), collection });
        }
        let mut attempts = Attempts::default();
        attempts.keep(&attempt(0, 1), &roster);
        attempts.keep(&attempt(1, 1), &roster);
        attempts.keep(&attempt(2, 2), &roster);
        assert_eq!(workers(&attempts.take(WorkerId(3), ItemIndex(0), 2, &roster)), [1, 2]);
        assert_eq!(workers(&attempts.take(WorkerId(0), ItemIndex(0), 1, &roster)), [0]);
    }
}
