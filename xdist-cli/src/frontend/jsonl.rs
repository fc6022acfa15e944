//! The report log: the run as JSON lines. `docs/guide/report-log.md` describes it.

mod encode;

mod reports;

#[cfg(test)]
mod tests;

use super::report::{self, Report, When};
use super::roster::Roster;
use super::{Frontend, Unwritten, attempts, file};
use crate::exit_code::ExitCode;
use encode::joined;
use reports::{Line, Origin};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use xdist_coord::session::event::{Crash, CrashedItem, FailedAttempt, Failure, RunEvent, RunSummary};
use xdist_proto::report::ItemReport;
use xdist_proto::{ItemIndex, WorkerId};

/// The version of the format. Raised when a reader of the version before could misunderstand; new fields and new types
/// of lines do not count.
const VERSION: u32 = 1;

/// Writes the report log. The lines of an event are written at once, so that whatever ends this process leaves valid
/// lines.
#[derive(Debug)]
pub(crate) struct JsonLines {
    path: String,
    started: Instant,
    /// The file, or why it is written to no more.
    file: Result<File, Option<io::Error>>,
    /// The lines of the event at hand.
    lines: String,
    roster: Roster,
}

impl JsonLines {
    /// Creates the file and writes the first line.
    pub(crate) fn create(path: &Path, started: Instant, started_at: SystemTime) -> Self {
        let file = file::create(path).map_err(Some);
        let (path, lines) = (path.display().to_string(), String::new());
        let mut log = Self { path, started, file, lines, roster: Roster::default() };
        let since_epoch = started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let fields = json!({
            "report_log": VERSION,
            "xdist_version": env!("CARGO_PKG_VERSION"),
            "start": since_epoch.as_secs_f64(),
        });
        log.line("SessionStart", fields, started);
        log.write();
        log
    }

    /// Why not everything was written, once.
    pub(crate) fn take_error(&mut self) -> Option<Unwritten> {
        let error = self.file.as_mut().err()?.take()?;
        Some(Unwritten { target: self.path.clone(), error })
    }

    fn line(&mut self, kind: &str, fields: Value, now: Instant) {
        let line = joined(json!({ "$report_type": kind, "time": self.time(now) }), fields);
        let _ = writeln!(self.lines, "{line}");
    }

    fn report(&mut self, report: &Report, origin: Origin<'_>, now: Instant) {
        // Nothing in a line can fail to be written: keys are text, and a number that is none is null.
        let line = serde_json::to_string(&Line::new(report, origin, self.time(now))).unwrap_or_default();
        self.lines.push_str(&line);
        self.lines.push('\n');
    }

    /// Seconds since the run began. Microseconds are as exact as anything here is.
    fn time(&self, now: Instant) -> f64 {
        (now.saturating_duration_since(self.started).as_secs_f64() * 1e6).round() / 1e6
    }

    fn write(&mut self) {
        if let Ok(file) = &mut self.file
            && let Err(error) = file.write_all(self.lines.as_bytes())
        {
            self.file = Err(Some(error));
        }
        self.lines.clear();
    }

    /// The reports of an item, of which the first began at this time, if that is known. A crash has no beginning.
    fn item_reports(&mut self, reports: &[Report], begun_us: Option<u64>, origin: Origin<'_>, now: Instant) {
        let mut start_us = begun_us.unwrap_or_default();
        for report in reports {
            let known = begun_us.is_some() && report.when != When::Crash;
            let start = known.then_some(start_us as f64 / 1e6);
            self.report(report, Origin { start, ..origin }, now);
            // A subtest runs within the call.
            start_us += if report.subtest { 0 } else { report.duration_us };
        }
    }

    fn item_finished(
        &mut self,
        worker: WorkerId,
        item: ItemIndex,
        report: &ItemReport,
        retries: u32,
        now: Instant,
    ) {
        let node_id = self.roster.node_id(worker, item);
        let reports = report::item_reports(self.roster.item(worker, item), &node_id, report);
        let host = self.roster.other_machine(worker).map(str::to_owned);
        let (worker, attempt) = (self.roster.name(worker), (retries > 0).then_some(retries + 1));
        let host = host.as_deref();
        let origin = Origin { worker: &worker, host, item: Some(item), attempt, start: None };
        self.item_reports(&reports, Some(report.start_us), origin, now);
    }

    fn item_retried(&mut self, attempt: &FailedAttempt, now: Instant) {
        let reports = attempts::reports(attempt, &self.roster);
        let reports: Vec<Report> = reports.into_iter().map(Report::of_attempt).collect();
        let begun_us = match &attempt.failure {
            Failure::Report(report) => Some(report.start_us),
            Failure::Crash(crash) => crash.report.as_ref().map(|report| report.start_us),
        };
        let host = self.roster.other_machine(attempt.worker).map(str::to_owned);
        let (worker, host) = (self.roster.name(attempt.worker), host.as_deref());
        let (item, number) = (Some(attempt.item), Some(attempt.retry));
        self.item_reports(
            &reports,
            begun_us,
            Origin { worker: &worker, host, item, attempt: number, start: None },
            now,
        );
    }

    fn crashed(&mut self, crash: &Crash, crashed: &CrashedItem, now: Instant) {
        let reports = attempts::crash_reports(crash, &self.roster);
        let begun_us = crash.report.as_ref().map(|report| report.start_us);
        let host = self.roster.other_machine(crash.worker).map(str::to_owned);
        let (worker, host) = (self.roster.name(crash.worker), host.as_deref());
        let attempt = (crash.retries > 0).then_some(crash.retries + 1);
        let origin = Origin { worker: &worker, host, item: Some(crashed.item), attempt, start: None };
        self.item_reports(&reports, begun_us, origin, now);
    }
}

impl Frontend for JsonLines {
    fn event(&mut self, event: &RunEvent, now: Instant) {
        self.roster.observe(event);
        if let Some((kind, fields)) = encode::event(event, &self.roster) {
            self.line(kind, fields, now);
        }
        match event {
            RunEvent::ItemFinished { worker, item, report, retries } => {
                self.item_finished(*worker, *item, report, *retries, now);
            }
            RunEvent::ItemRetried(attempt) => self.item_retried(attempt, now),
            RunEvent::Crashed(crash) => {
                if let Some(crashed) = &crash.item {
                    self.crashed(crash, crashed, now);
                }
            }
            RunEvent::CollectReport { worker, report } => {
                let host = self.roster.other_machine(*worker).map(str::to_owned);
                let (worker, host) = (self.roster.name(*worker), host.as_deref());
                let origin = Origin { worker: &worker, host, item: None, attempt: None, start: None };
                self.report(&report::collect_report(report), origin, now);
            }
            _ => {}
        }
        self.write();
    }

    fn finish(&mut self, summary: &RunSummary, now: Instant) {
        let exit_code = ExitCode::of(summary).code();
        let fields = encode::summary(summary, exit_code, &self.roster);
        self.line("SessionFinish", fields, now);
        self.write();
    }
}
