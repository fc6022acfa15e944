//! The JUnit XML report, as pytest 9.2 writes it (`_pytest/junitxml.py`).

mod case;

mod xml;

#[cfg(test)]
mod tests;

use super::attempts::{self, Attempts};
use super::file;
use super::mismatch;
use super::report::{self, Outcome, Report};
use super::roster::Roster;
use super::{Frontend, Unwritten};
use case::{ItemCases, Settings};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use xdist_coord::session::event::{FailedAttempt, RunEvent, RunSummary};
use xdist_proto::WorkerId;
use xdist_proto::report::{CollectReport, FailureText, OutcomeClass};
use xml::Element;

/// How many results of each kind there are; pytest calls them so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failure: u64,
    error: u64,
    skipped: u64,
    /// Errors in a test case that has another result already.
    doubled: u64,
}

/// Collects test cases, and writes the file when the run is over. Does nothing unless `--junitxml` is given.
#[derive(Debug)]
pub(crate) struct Junit {
    hostname: String,
    started: Instant,
    started_at: SystemTime,
    settings: Option<Settings>,
    roster: Roster,
    attempts: Attempts,
    /// The test cases, written.
    cases: String,
    tally: Tally,
    outcome: Option<Result<String, Unwritten>>,
}

impl Junit {
    /// A report of a run on this machine that began at this time.
    pub(crate) fn new(hostname: String, started: Instant, started_at: SystemTime) -> Self {
        Self {
            hostname,
            started,
            started_at,
            settings: None,
            roster: Roster::default(),
            attempts: Attempts::default(),
            cases: String::new(),
            tally: Tally::default(),
            outcome: None,
        }
    }

    /// The file that was written, or why it was not; `None` if none was asked for.
    pub(crate) fn take_outcome(&mut self) -> Option<Result<String, Unwritten>> {
        self.outcome.take()
    }

    fn item(&mut self, worker: WorkerId, reports: &[Report], attempts: &[FailedAttempt]) {
        let Some(settings) = &self.settings else { return };
        let mut cases = ItemCases::new(settings, &mut self.tally);
        reports.iter().for_each(|report| cases.add(report));
        let mut cases = cases.finish();
        if let Some(case) = cases.first_mut() {
            let failed = reports.iter().any(|report| report.outcome == Outcome::Failed);
            let before = attempts.iter().flat_map(|attempt| attempts::reports(attempt, &self.roster));
            before.for_each(|report| case.add_attempt(&report, failed, settings));
            // The suite has the name of this machine.
            let elsewhere = self.roster.other_machine(worker).and(self.roster.platform_line(worker));
            case.properties.extend(elsewhere.map(|line| ("ran_on".to_owned(), line)));
        }
        cases.iter().for_each(|case| case.element().write(&mut self.cases));
    }

    fn collector(&mut self, report: &CollectReport) {
        let Some(settings) = &self.settings else { return };
        let case = case::collector(&report::collect_report(report), settings, &mut self.tally);
        case.element().write(&mut self.cases);
    }

    fn document(&self, now: Instant) -> String {
        let tally = self.tally;
        let tests = tally.passed + tally.failure + tally.skipped + tally.error - tally.doubled;
        let name = self.settings.as_ref().map_or("pytest", |settings| &settings.options.suite_name);
        let time = now.saturating_duration_since(self.started);
        let suite = Element::new("testsuite")
            .with("name", name)
            .with("errors", tally.error.to_string())
            .with("failures", tally.failure.to_string())
            .with("skipped", tally.skipped.to_string())
            .with("tests", tests.to_string())
            .with("time", format!("{:.3}", time.as_secs_f64()))
            .with("timestamp", timestamp(self.started_at))
            .with("hostname", self.hostname.clone());
        let root = Element::new("testsuites").with("name", "pytest tests");
        let mut document = "<?xml version=\"1.0\" encoding=\"utf-8\"?>".to_owned();
        root.write_around(&mut document, |document| {
            suite.write_around(document, |document| document.push_str(&self.cases));
        });
        document
    }
}

impl Frontend for Junit {
    fn event(&mut self, event: &RunEvent, _now: Instant) {
        if let RunEvent::Configured(configured) = event {
            self.settings = configured.display.junit.clone().map(Settings::new);
        }
        self.roster.observe(event);
        if self.settings.is_none() {
            return;
        }
        match event {
            RunEvent::ItemFinished { worker, item, report, retries } => {
                let attempts = self.attempts.take(*worker, *item, *retries, &self.roster);
                let node_id = self.roster.node_id(*worker, *item);
                let item = self.roster.item(*worker, *item);
                self.item(*worker, &report::item_reports(item, &node_id, report), &attempts);
            }
            RunEvent::ItemRetried(attempt) => self.attempts.keep(attempt, &self.roster),
            RunEvent::Crashed(crash) => {
                let Some(item) = &crash.item else { return };
                let attempts = self.attempts.take(crash.worker, item.item, crash.retries, &self.roster);
                self.item(crash.worker, &attempts::crash_reports(crash, &self.roster), &attempts);
            }
            RunEvent::CollectReport { report, .. } => self.collector(report),
            RunEvent::CollectionMismatch(differing) => {
                for (worker, text) in mismatch::errors(differing, &self.roster) {
                    self.collector(&CollectReport {
                        node_id: self.roster.name(worker),
                        class: OutcomeClass::Fail,
                        failure: Some(FailureText { text, ansi: None, crash: None }),
                        skip: None,
                        sections: Vec::new(),
                        full: Vec::new(),
                    });
                }
            }
            RunEvent::InternalError { text, .. } => {
                case::internal_error(text, &mut self.tally).element().write(&mut self.cases);
            }
            _ => {}
        }
    }

    fn finish(&mut self, _summary: &RunSummary, now: Instant) {
        let Some(settings) = &self.settings else { return };
        let path = settings.options.path.clone();
        let written = file::replace(Path::new(&path), self.document(now).as_bytes());
        self.outcome = Some(match written {
            Ok(()) => Ok(path),
            Err(error) => Err(Unwritten { target: path, error }),
        });
    }
}

/// A time as ISO 8601 in UTC, to the microsecond. pytest takes the local zone; the moment is the same.
fn timestamp(time: SystemTime) -> String {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since_epoch.as_secs() / 86_400, since_epoch.as_secs() % 86_400);
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = since_epoch.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
}

/// The Gregorian date of a day, counted from 1970-01-01. Years are taken to begin in March, so that the leap day is
/// the last of its year, and in cycles of 400 years, which are equally long.
const fn civil_date(days_since_epoch: u64) -> (u64, u64, u64) {
    const DAYS_TO_EPOCH: u64 = 719_468;
    const DAYS_PER_CYCLE: u64 = 146_097;
    let days = days_since_epoch + DAYS_TO_EPOCH;
    let (cycle, day) = (days / DAYS_PER_CYCLE, days % DAYS_PER_CYCLE);
    let year = (day - day / 1460 + day / 36_524 - day / (DAYS_PER_CYCLE - 1)) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    // Five months from March on have 153 days.
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next_year, month, day_of_month)
}
