//! Frontends: what draws from the run's event stream. They decide nothing about the run.
//!
//! [`Frontends`] holds those of one run and passes everything on in the order that they need each other.

mod attempts;

mod cache;

mod crash;

mod file;

mod history;

mod jsonl;

mod junit;

mod live;

mod mismatch;

mod report;

mod roster;

mod screen;

mod style;

mod terminal;

#[cfg(test)]
mod testing;

mod value;

mod words;

use cache::Cache;
use history::History;
use jsonl::JsonLines;
use junit::Junit;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use terminal::Terminal;
use xdist_coord::scheduler;
use xdist_coord::session::event::{RunEnd, RunEvent, RunSummary, StopReason};

/// Consumes the run's events.
pub(crate) trait Frontend {
    /// Something happened. Time only moves forward.
    fn event(&mut self, event: &RunEvent, now: Instant);

    /// The run is over. Comes once, last.
    fn finish(&mut self, summary: &RunSummary, now: Instant);

    /// The time that [`Frontend::next_tick`] gave has come, or has not; calling it too often does no harm.
    fn tick(&mut self, _now: Instant) {}

    /// When [`Frontend::tick`] is due.
    fn next_tick(&self) -> Option<Instant> {
        None
    }

    /// A key was pressed.
    fn key(&mut self, _key: u8, _now: Instant) {}
}

/// A file or stream that could not be written.
#[derive(Debug)]
pub(crate) struct Unwritten {
    /// The file's path, or the stream's name.
    pub(crate) target: String,
    /// What went wrong.
    pub(crate) error: io::Error,
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not write {}: {}", self.target, self.error)
    }
}

/// What the frontends of a run need to know of the world around them.
pub(crate) struct Setup {
    /// Standard output.
    pub(crate) stdout: Box<dyn Write>,
    /// Standard error.
    pub(crate) stderr: Box<dyn Write>,
    /// Whether standard output and standard error end up in the same place.
    pub(crate) shared_streams: bool,
    /// Whether standard output is a terminal that understands escape sequences (not `TERM=dumb`).
    pub(crate) interactive: bool,
    /// How many columns the terminal has at the moment ([`columns`]).
    pub(crate) width: Box<dyn Fn() -> usize>,
    /// The current directory, absolute.
    pub(crate) cwd: PathBuf,
    /// Whether this is a continuous integration service (`CI` or `BUILD_NUMBER` is set and not empty).
    pub(crate) on_ci: bool,
    /// The name of this machine.
    pub(crate) hostname: String,
    /// Where to write the report log (`--report-log`).
    pub(crate) report_log: Option<PathBuf>,
    /// When the run began.
    pub(crate) started: Instant,
    /// The same on the wall clock.
    pub(crate) started_at: SystemTime,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("cwd", &self.cwd).finish_non_exhaustive()
    }
}

/// The width of the output as pytest finds it: `COLUMNS` if that is a number, else the terminal's own, else 80; and 80
/// where that is less than 40.
pub(crate) fn columns(variable: Option<&str>, terminal: Option<u16>) -> usize {
    let given = variable.and_then(|text| text.parse().ok()).filter(|columns| *columns > 0);
    let columns = given.or(terminal.map(usize::from)).unwrap_or(80);
    if columns < 40 { 80 } else { columns }
}

/// All frontends of a run.
#[derive(Debug)]
pub(crate) struct Frontends {
    terminal: Terminal,
    junit: Junit,
    cache: Cache,
    history: History,
    report_log: Option<JsonLines>,
    unwritten: Vec<Unwritten>,
    /// Whether the pytest host tells people what happens, and writes what pytest writes.
    handed_over: bool,
    /// The host that was lost last, and how.
    lost_host: String,
    /// That of the pytest host.
    loss: String,
    /// Whether the pytest host has said itself why it ended.
    loss_is_explained: bool,
}

impl Frontends {
    /// The frontends of a run. The report log is opened here; that it cannot be is told at the end, like every other
    /// file that cannot be written.
    pub(crate) fn new(setup: Setup) -> Self {
        let Setup { stdout, stderr, shared_streams, interactive, width, cwd, on_ci, .. } = setup;
        let streams = screen::Streams { stdout, stderr, shared: shared_streams };
        let target = if interactive { terminal::Target::Terminal } else { terminal::Target::Plain };
        let surroundings = terminal::Surroundings { cwd, on_ci };
        let terminal = Terminal::new(streams, target, width, surroundings, setup.started);
        let report_log =
            setup.report_log.map(|path| JsonLines::create(&path, setup.started, setup.started_at));
        Self {
            terminal,
            junit: Junit::new(setup.hostname, setup.started, setup.started_at),
            cache: Cache::default(),
            history: History::new(setup.started_at),
            report_log,
            unwritten: Vec::new(),
            handed_over: false,
            lost_host: String::new(),
            loss: String::new(),
            loss_is_explained: false,
        }
    }

    /// From now on the pytest host tells people what happens, and writes the files that pytest writes.
    pub(crate) fn hand_over(&mut self) {
        self.terminal.give_up();
        self.handed_over = true;
    }

    /// What tests took in earlier runs, as far as that is kept. Reads it now.
    pub(crate) fn history(&mut self) -> Option<scheduler::History> {
        self.history.read()
    }

    /// The pytest host has said itself why it ended before the run was over.
    pub(crate) const fn loss_is_explained(&mut self) {
        self.loss_is_explained = true;
    }

    /// Tells what the pytest host, which is there to tell people, cannot: that it is gone.
    fn tell_of_loss(&mut self, summary: &RunSummary) {
        if summary.end != RunEnd::Stopped(StopReason::PytestHostLost) {
            return;
        }
        if !self.loss_is_explained {
            self.terminal.complain(&format!("xdist: lost {}", self.loss));
        }
        if summary.collected > 0 {
            self.terminal.complain(&format!(
                "xdist: of {} tests {} have a result, {} crashed and {} were not run",
                summary.collected, summary.finished, summary.crashed, summary.not_run
            ));
        }
    }

    fn report_problems(&mut self) {
        for unwritten in &self.unwritten {
            self.terminal.complain(&format!("xdist: {unwritten}"));
        }
    }

    /// What was asked for and could not be written; known after [`Frontend::finish`], which has told it too.
    pub(crate) fn unwritten(&self) -> &[Unwritten] {
        &self.unwritten
    }
}

impl Frontend for Frontends {
    fn event(&mut self, event: &RunEvent, now: Instant) {
        if let Some(report_log) = &mut self.report_log {
            report_log.event(event, now);
        }
        self.history.event(event, now);
        if self.handed_over {
            match event {
                RunEvent::HostLost { host, error } => self.lost_host = format!("{host}: {error}"),
                RunEvent::Stopping(StopReason::PytestHostLost) => self.loss = self.lost_host.clone(),
                _ => {}
            }
        } else {
            self.junit.event(event, now);
            self.cache.event(event, now);
            self.terminal.event(event, now);
        }
    }

    fn finish(&mut self, summary: &RunSummary, now: Instant) {
        if let Some(report_log) = &mut self.report_log {
            report_log.finish(summary, now);
            self.unwritten.extend(report_log.take_error());
        }
        if self.handed_over {
            self.history.finish(summary, now);
            self.tell_of_loss(summary);
            self.report_problems();
            return;
        }
        self.junit.finish(summary, now);
        match self.junit.take_outcome() {
            Some(Ok(path)) => self.terminal.junit_written(Path::new(&path)),
            Some(Err(unwritten)) => self.unwritten.push(unwritten),
            None => {}
        }
        self.cache.finish(summary, now);
        // Into the directory that the cache may just have made.
        self.history.finish(summary, now);
        for warning in self.cache.take_warnings().into_iter().chain(self.history.take_warnings()) {
            self.terminal.warn(&warning);
        }
        self.terminal.finish(summary, now);
        if let Some(error) = self.terminal.take_error() {
            self.unwritten.push(Unwritten { target: "standard output".to_owned(), error });
        }
        self.report_problems();
    }

    fn tick(&mut self, now: Instant) {
        if !self.handed_over {
            self.terminal.tick(now);
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        if self.handed_over { None } else { self.terminal.next_tick() }
    }

    fn key(&mut self, key: u8, now: Instant) {
        self.terminal.key(key, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use screen::testing::tapes;
    use std::time::UNIX_EPOCH;

    #[test]
    fn that_the_pytest_host_is_lost_is_told_although_it_has_the_terminal() {
        #[expect(clippy::disallowed_methods, reason = "any time will do")]
        let now = Instant::now();
        let (streams, stdout, stderr) = tapes();
        let mut frontends = Frontends::new(Setup {
            stdout: streams.stdout,
            stderr: streams.stderr,
            shared_streams: false,
            interactive: false,
            width: Box::new(|| 80),
            cwd: "/suite".into(),
            on_ci: false,
            hostname: "here".to_owned(),
            report_log: None,
            started: now,
            started_at: UNIX_EPOCH,
        });
        frontends.hand_over();
        let lost = |host: &str| RunEvent::HostLost { host: host.to_owned(), error: "it died".to_owned() };
        frontends.event(&lost("a worker host"), now);
        frontends.event(&lost("the pytest host"), now);
        frontends.event(&RunEvent::Stopping(StopReason::PytestHostLost), now);
        frontends.event(&lost("another worker host"), now);
        let end = RunEnd::Stopped(StopReason::PytestHostLost);
        frontends.finish(&RunSummary { end, ..testing::empty_summary() }, now);
        assert_eq!(
            (stdout.take(), stderr.take().as_str()),
            (String::new(), "xdist: lost the pytest host: it died\n")
        );
    }

    #[test]
    fn columns_are_found_as_pytest_finds_them() {
        assert_eq!(columns(Some("100"), Some(50)), 100);
        assert_eq!(columns(Some("wide"), Some(50)), 50);
        assert_eq!(columns(None, None), 80);
        assert_eq!(columns(None, Some(20)), 80);
    }
}
