//! What tests took, kept between runs in pytest's cache directory, for the scheduler of the next run.

mod store;

use super::Frontend;
use super::roster::Roster;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use store::{Keep, Row, Rows, StoreError};
use xdist_coord::scheduler::{self, Took};
use xdist_coord::session::event::{RunEvent, RunSummary};
use xdist_proto::report::{ItemReport, WarningRecord};
use xdist_proto::{ItemIndex, WorkerId};

/// Where the file is: `d` is where pytest has plugins put what is theirs, and what `--cache-clear` clears.
const FILE: &str = "d/xdist/durations.sqlite3";

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// After so many days without a run, a test is taken to be gone.
const DAYS_KEPT: u32 = 90;

/// That a test has run is noted once in so many days, lest every row be written every day.
const DAYS_UNNOTED: u32 = 7;

/// There may be so many tests besides twice those of this run. Where node ids change with every run, the file would grow
/// for as long as tests are kept, and take longer to read each time.
const OTHERS_KEPT: u32 = 50_000;

/// A duration that is this close to the one that is kept is not worth writing, in microseconds and as a fraction.
const CLOSE_US: u64 = 1000;
const CLOSE_FRACTION: u64 = 8;

/// Keeps durations. Without a cache directory it keeps none, but may still have a file to read.
#[derive(Debug)]
pub(crate) struct History {
    today: u32,
    /// pytest's cache directory.
    cache: Option<PathBuf>,
    /// `--durations-from`.
    given: Option<PathBuf>,
    state: State,
    known: Rows,
    roster: Roster,
    measured: Vec<(WorkerId, ItemIndex, Took)>,
    warnings: Vec<WarningRecord>,
}

/// What can be done with the file in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is not there, or can be used.
    Sound,
    /// It must be replaced.
    Broken,
    /// It cannot be used, which has been said.
    Unusable,
}

impl History {
    pub(crate) fn new(now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            today: u32::try_from(seconds / SECONDS_PER_DAY).unwrap_or(u32::MAX),
            cache: None,
            given: None,
            state: State::Sound,
            known: Rows::new(),
            roster: Roster::default(),
            measured: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// What could not be read or written, as warnings; at most one for each file.
    pub(crate) fn take_warnings(&mut self) -> Vec<WarningRecord> {
        std::mem::take(&mut self.warnings)
    }

    /// Reads what is known of earlier runs, once it is known where that is.
    pub(crate) fn read(&mut self) -> Option<scheduler::History> {
        if let Some(path) = self.file() {
            match store::read(&path) {
                Ok(rows) => self.known = rows,
                Err(StoreError::Missing) => {}
                Err(error @ StoreError::Broken(_)) => {
                    self.state = State::Broken;
                    self.warn("cannot read", &path, &error, "starting anew");
                }
                Err(error @ (StoreError::Locked | StoreError::Refused(_))) => {
                    self.state = State::Unusable;
                    self.warn("cannot read", &path, &error, "going without");
                }
            }
        }
        let given = self.given.clone().and_then(|path| match store::read(&path) {
            Ok(rows) => Some(rows),
            Err(error) => {
                self.warn("cannot read", &path, &error, "going by the cache instead, if it has any");
                None
            }
        });
        let rows = given.as_ref().unwrap_or(&self.known);
        if rows.is_empty() {
            return None;
        }
        Some(scheduler::History::new(rows.iter().map(|(&key, row)| (key, row.took)).collect()))
    }

    /// The file in the cache.
    fn file(&self) -> Option<PathBuf> {
        self.cache.as_ref().map(|cache| cache.join(FILE))
    }

    fn write(&mut self) {
        // A cache directory that could not be made has been warned of.
        let Some(path) = self.file().filter(|_| self.cache.as_ref().is_some_and(|cache| cache.is_dir()))
        else {
            return;
        };
        let rows = self.news();
        if rows.is_empty() || self.state == State::Unusable {
            return;
        }
        let keep = Keep {
            since_day: self.today.saturating_sub(DAYS_KEPT),
            rows: u32::try_from(2 * self.measured.len()).unwrap_or(u32::MAX).saturating_add(OTHERS_KEPT),
        };
        let write_anew =
            || store::remove(&path).map_err(Into::into).and_then(|()| store::write(&path, &rows, keep));
        let written = match self.state {
            State::Broken => write_anew(),
            State::Sound | State::Unusable => match store::write(&path, &rows, keep) {
                Err(StoreError::Broken(_)) => write_anew(),
                written => written,
            },
        };
        if let Err(error) = written {
            self.warn("cannot write", &path, &error, "the next run goes without");
        }
    }

    /// The rows that are worth writing.
    fn news(&self) -> Vec<(String, Row)> {
        let mut rows = Vec::new();
        for &(worker, item, took) in &self.measured {
            let Some(item) = self.roster.item(worker, item) else { continue };
            let known = self.known.get(&scheduler::History::key(&item.node_id));
            let took = known.map_or(took, |known| average(known.took, took));
            let is_noted = |known: &Row| self.today.saturating_sub(known.seen_day) < DAYS_UNNOTED;
            if known.is_none_or(|known| !is_noted(known) || !is_close(known.took, took)) {
                rows.push((item.node_id.clone(), Row { took, seen_day: self.today }));
            }
        }
        rows
    }

    fn warn(&mut self, what: &str, path: &Path, error: &StoreError, consequence: &str) {
        let message = format!("{what} durations of tests in {}: {error}; {consequence}", path.display());
        self.warnings.push(WarningRecord {
            when: "config".to_owned(),
            node_id: String::new(),
            category: "XdistWarning".to_owned(),
            text: format!("XdistWarning: {message}"),
            message,
            path: String::new(),
            line: 0,
            location: None,
            full: Vec::new(),
        });
    }
}

impl Frontend for History {
    fn event(&mut self, event: &RunEvent, _now: Instant) {
        self.roster.observe(event);
        match event {
            RunEvent::Configured(configured) => {
                self.cache = configured.display.cache_dir.as_ref().map(PathBuf::from);
                self.given = configured.options.durations_from.as_ref().map(PathBuf::from);
            }
            RunEvent::ItemFinished { worker, item, report, .. } if self.cache.is_some() => {
                self.measured.push((*worker, *item, took(report)));
            }
            _ => {}
        }
    }

    fn finish(&mut self, _summary: &RunSummary, _now: Instant) {
        self.write();
    }
}

fn took(report: &ItemReport) -> Took {
    let [setup, call, teardown] = report.durations_us;
    let narrow = |us: u64| u32::try_from(us).unwrap_or(u32::MAX);
    Took { call_us: narrow(call), fixtures_us: narrow(setup.saturating_add(teardown)) }
}

/// Halfway between what was known and what is new: one slow run counts half and is soon forgotten, and so is a fixture
/// that was set up in this test and will be in another one next time; yet a test that has changed is known after two or
/// three runs.
const fn average(known: Took, new: Took) -> Took {
    Took {
        call_us: known.call_us.midpoint(new.call_us),
        fixtures_us: known.fixtures_us.midpoint(new.fixtures_us),
    }
}

fn is_close(known: Took, new: Took) -> bool {
    let close = |one: u32, other: u32| {
        u64::from(one.abs_diff(other)) <= CLOSE_US.max(u64::from(one) / CLOSE_FRACTION)
    };
    close(known.call_us, new.call_us) && close(known.fixtures_us, new.fixtures_us)
}

#[cfg(test)]
mod tests;
