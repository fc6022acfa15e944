//! Tests that failed and run again, and those that did not fail in the end: flaky ones.

use super::Terminal;
use super::sections::Material;
use super::stats::{Filed, Stats};
use super::view::{Page, View};
use crate::frontend::report::{Outcome, Report};
use crate::frontend::style::{Color, Markup};
use crate::frontend::words::counted;
use crate::frontend::{attempts, crash};
use xdist_coord::session::event::{Crash, FailedAttempt, Failure, RunSummary};
use xdist_proto::{ItemIndex, WorkerId};

/// A test that failed first, and did not in the end.
#[derive(Debug)]
pub(super) struct Flaky {
    /// The first failure.
    pub(super) first: Filed,
    /// How that came about: `passed after 1 retry (gw0: AssertionError: assert 0)`.
    pub(super) story: String,
}

impl Terminal {
    pub(super) fn item_retried(&mut self, attempt: &FailedAttempt) {
        self.announced.remove(&(attempt.worker, attempt.item));
        if let Failure::Crash(crash) = &attempt.failure {
            self.crash_line(crash);
        }
        if let Some(report) = attempts::failed_report(attempt, &self.roster) {
            let word = format!("RETRY {}/{}", attempt.retry, attempt.limit).into();
            let shown = Report { word, ..report.of_attempt() };
            self.show_result(attempt.worker, attempt.item, &shown);
        }
        self.attempts.keep(attempt, &self.roster);
    }

    /// Tells how a worker ended, once.
    pub(super) fn crash_line(&mut self, crash: &Crash) {
        if !self.crashed.insert(crash.worker) {
            return;
        }
        let name = self.roster.name(crash.worker);
        let item = crash.item.as_ref().map(|crashed| self.roster.node_id(crash.worker, crashed.item));
        let item = item.map(|node_id| self.view.node_id(&node_id));
        self.screen.line(&format!("[{name}] node down: {}", crash::line(item.as_deref(), crash)));
    }

    /// Files a test that failed so often before this result as flaky, unless this is a failure too.
    pub(super) fn file_flaky(&mut self, worker: WorkerId, item: ItemIndex, retries: u32, reports: &[Report]) {
        let failed = self.attempts.take(worker, item, retries, &self.roster);
        if reports.iter().any(|report| report.outcome == Outcome::Failed) {
            return;
        }
        let Some(first) = failed.first() else { return };
        let Some(report) = attempts::failed_report(first, &self.roster) else { return };
        let skipped = reports.iter().any(|report| report.outcome == Outcome::Skipped);
        let outcome = if skipped { "skipped" } else { "passed" };
        let times = if retries == 1 { "1 retry".to_owned() } else { format!("{retries} retries") };
        let (name, why) = (self.roster.name(first.worker), attempts::reason(first, &report));
        let story = format!("{outcome} after {times} ({name}: {why})");
        self.stats.file_flaky(Flaky { first: Filed { report, worker: Some(first.worker) }, story });
    }
}

/// The first failures of flaky tests.
pub(super) fn section(material: Material<'_>, page: &mut Page) {
    if material.stats.flaky().is_empty() || !material.view.tracebacks() {
        return;
    }
    page.rule('=', "FLAKY", Markup::PLAIN);
    for flaky in material.stats.flaky() {
        page.rule('_', &flaky.first.report.title(), Markup::from(Color::Yellow).bold());
        material.report(&flaky.first, page);
    }
}

/// Says that the run has failed because of flaky tests, if it has.
pub(super) fn banner(page: &mut Page, stats: &Stats, summary: &RunSummary, view: &View) {
    if summary.flaky_fails && summary.flaky > 0 && view.verbosity() >= -1 {
        let ids: Vec<String> =
            stats.flaky().iter().map(|flaky| view.node_id(&flaky.first.report.node_id)).collect();
        let title = format!("{} (--flaky=fail)", counted(summary.flaky, "flaky test"));
        page.rule('!', &title, Color::Red);
        if !view.reports('f') {
            ids.iter().for_each(|id| page.line(id));
        }
    }
}
