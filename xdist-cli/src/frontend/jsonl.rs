//! The report log: the run as JSON lines, one for each event. `docs/guide/report-log.md` describes it.

mod encode;

#[cfg(test)]
mod tests;

use super::roster::Roster;
use super::{Frontend, Unwritten, file};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use xdist_coord::session::event::{RunEvent, RunSummary};

/// The version of the format. Raised when a reader of the version before could misunderstand; new fields and new events
/// do not count.
const VERSION: u32 = 1;

/// Writes the report log. Each line is written whole and at once, so that whatever ends this process leaves valid
/// lines.
#[derive(Debug)]
pub(crate) struct JsonLines {
    path: String,
    started: Instant,
    /// The file, or why it is written to no more.
    file: Result<File, Option<std::io::Error>>,
    roster: Roster,
}

impl JsonLines {
    /// Creates the file and writes the first line.
    pub(crate) fn create(path: &Path, started: Instant, started_at: SystemTime) -> Self {
        let file = file::create(path).map_err(Some);
        let mut log = Self { path: path.display().to_string(), started, file, roster: Roster::default() };
        let since_epoch = started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        log.write(&json!({
            "report_log": VERSION,
            "implementation": "xdist",
            "version": env!("CARGO_PKG_VERSION"),
            "started_at": since_epoch.as_secs_f64(),
        }));
        log
    }

    /// Why not everything was written, once.
    pub(crate) fn take_error(&mut self) -> Option<Unwritten> {
        let error = self.file.as_mut().err()?.take()?;
        Some(Unwritten { target: self.path.clone(), error })
    }

    fn write(&mut self, line: &Value) {
        let Ok(file) = &mut self.file else { return };
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            self.file = Err(Some(error));
        }
    }

    fn write_event(&mut self, name: &str, fields: Value, now: Instant) {
        let time = now.saturating_duration_since(self.started).as_secs_f64();
        // Microseconds are as exact as anything here is.
        let mut line = json!({ "event": name, "time": (time * 1e6).round() / 1e6 });
        if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
            line.extend(fields);
        }
        self.write(&line);
    }
}

impl Frontend for JsonLines {
    fn event(&mut self, event: &RunEvent, now: Instant) {
        self.roster.observe(event);
        let (name, fields) = encode::event(event, &self.roster);
        self.write_event(name, fields, now);
    }

    fn finish(&mut self, summary: &RunSummary, now: Instant) {
        self.write_event("finished", encode::summary(summary, &self.roster), now);
    }
}
