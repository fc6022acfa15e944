//! The terminal: draws the run as pytest under pytest-xdist does.
//!
//! Everything shown follows pytest 9.2 (`_pytest/terminal.py`) and pytest-xdist 3.8 (`dsession.py`). What differs is
//! told at its place: crashes say how and where, what was not run is counted, and a terminal gets a live area.

mod durations;

mod ending;

mod progress;

mod retries;

mod sections;

mod short_summary;

mod startup;

mod stats;

mod view;

mod warnings;

#[cfg(test)]
mod tests;

pub(crate) use view::Surroundings;

use super::Frontend;
use super::attempts::{self, Attempts};
use super::live::{self, Running};
use super::report::{self, Report};
use super::roster::Roster;
use super::screen::{Drawing, Screen, Streams};
use super::style::{Color, Markup};
use super::{crash, mismatch, words};
use durations::Durations;
use ending::NotRun;
use progress::Progress;
use sections::Material;
use startup::{Startup, Step};
use stats::Stats;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use view::{Page, View};
use warnings::Warnings;
use xdist_coord::scheduler::Mode;
use xdist_coord::session::event::{self, Crash, Mismatch, RunEnd, RunEvent, RunSummary, StopReason};
use xdist_proto::message::Stream;
use xdist_proto::report::{ItemReport, Phase, WarningRecord};
use xdist_proto::{ItemIndex, WorkerId};

/// What standard output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A terminal that understands escape sequences.
    Terminal,
    /// A pipe, a file, or a terminal that cannot do anything.
    Plain,
}

/// How far the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// The options are not known; nothing is shown but errors.
    Before,
    /// The workers come up.
    Starting,
    /// Items run.
    Running,
    /// Nothing is shown: the terminal plugin is off, or plain pytest takes over.
    Silent,
}

/// The terminal frontend.
pub(crate) struct Terminal {
    screen: Screen,
    target: Target,
    width: Box<dyn Fn() -> usize>,
    started: Instant,
    stage: Stage,
    view: View,
    mode: Mode,
    roster: Roster,
    startup: Startup,
    progress: Progress,
    stats: Stats,
    attempts: Attempts,
    warnings: Warnings,
    durations: Durations,
    running: Running,
    /// When the first item was handed out.
    running_since: Option<Instant>,
    /// When what was added is to be written, and the live rows are to be drawn again.
    redraw_at: Option<Instant>,
    /// Tests whose bare line was shown.
    announced: BTreeSet<(WorkerId, ItemIndex)>,
    /// Whether it was told why workers are not forked.
    told_unforkable: bool,
    /// Workers whose end was told by their crash.
    crashed: BTreeSet<WorkerId>,
    /// Workers that had done their share.
    recycled: BTreeSet<WorkerId>,
    /// Why hosts were lost where it was said what to do about it.
    advised: Vec<String>,
    /// Workers that wrote to standard error, which was shown.
    spoke: BTreeSet<WorkerId>,
    restarts_exhausted: Option<String>,
    not_run: Vec<NotRun>,
    usage_error: Option<String>,
    junit_file: Option<String>,
    /// What files of other machines were fetched, line by line.
    fetched: Vec<String>,
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("stage", &self.stage)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

impl Terminal {
    /// A terminal frontend that writes to `streams`. `width` answers the columns there are now; `started` is when the
    /// run began.
    pub(crate) fn new(
        streams: Streams,
        target: Target,
        width: Box<dyn Fn() -> usize>,
        surroundings: Surroundings,
        started: Instant,
    ) -> Self {
        Self {
            screen: Screen::new(streams, width()),
            target,
            width,
            started,
            stage: Stage::Before,
            view: View::preliminary(surroundings),
            mode: Mode::default(),
            roster: Roster::default(),
            startup: Startup::default(),
            progress: Progress::default(),
            stats: Stats::default(),
            attempts: Attempts::default(),
            warnings: Warnings::default(),
            durations: Durations::default(),
            running: Running::default(),
            running_since: None,
            redraw_at: None,
            announced: BTreeSet::new(),
            told_unforkable: false,
            crashed: BTreeSet::new(),
            recycled: BTreeSet::new(),
            advised: Vec::new(),
            spoke: BTreeSet::new(),
            restarts_exhausted: None,
            not_run: Vec::new(),
            usage_error: None,
            junit_file: None,
            fetched: Vec::new(),
        }
    }

    /// Leaves the terminal to the pytest host.
    pub(crate) fn give_up(&mut self) {
        self.screen.set_live(Vec::new());
        self.screen.flush();
        self.stage = Stage::Silent;
    }

    /// Names a JUnit file that was written, for the summary.
    pub(crate) fn junit_written(&mut self, path: &Path) {
        self.junit_file = Some(path.display().to_string());
    }

    /// Adds a warning of our own to the summary.
    pub(crate) fn warn(&mut self, record: &WarningRecord) {
        if self.warnings.add(None, record) {
            self.stats.count("warnings", 1);
        }
    }

    /// Writes a line to standard error, whatever is shown otherwise.
    pub(crate) fn complain(&mut self, line: &str) {
        self.screen.error_text(&format!("{line}\n"));
    }

    /// The first error of standard output, once.
    pub(crate) const fn take_error(&mut self) -> Option<io::Error> {
        self.screen.take_error()
    }

    /// Writes a line while an unfinished one may be there, which goes on below where it can be drawn anew.
    fn line_above(&mut self, line: &str) {
        if self.screen.drawing() == Drawing::Redraw {
            self.screen.insert_line(line);
        } else {
            self.screen.line(line);
        }
    }

    /// Announces a test that has been running for some time, where the live area does not.
    fn item_started(&mut self, worker: WorkerId, item: ItemIndex) {
        if self.view.verbosity() > 0 && self.screen.drawing() == Drawing::Append {
            self.announce(worker, item);
        }
    }

    /// Tells of a test that takes long, wherever the output goes.
    fn slow(&mut self, worker: WorkerId, item: ItemIndex, phase: Phase, time: Duration) {
        let name = self.roster.name(worker);
        let node_id = self.view.node_id(&self.roster.node_id(worker, item));
        let place = match self.roster.place(worker) {
            place if place.is_empty() => place,
            place => format!(", {place}"),
        };
        let text = format!("SLOW [{name}] > {}s {node_id} (in {}{place})", time.as_secs_f64(), phase.name());
        self.line_above(&self.view.palette.paint(&text, Color::Yellow.into()));
    }

    fn announce(&mut self, worker: WorkerId, item: ItemIndex) {
        if self.announced.insert((worker, item)) {
            self.screen.line(&progress::announcement(&self.roster.node_id(worker, item), &self.view));
        }
    }

    fn item_finished(&mut self, worker: WorkerId, item: ItemIndex, report: &ItemReport, retries: u32) {
        if self.view.verbosity() > 1 && self.screen.drawing() == Drawing::Append {
            self.announce(worker, item);
        }
        self.announced.remove(&(worker, item));
        let node_id = self.roster.node_id(worker, item);
        let reports = report::item_reports(self.roster.item(worker, item), &node_id, report);
        if retries > 0 {
            self.file_flaky(worker, item, retries, &reports);
        }
        self.show_reports(worker, item, reports);
    }

    fn show_reports(&mut self, worker: WorkerId, item: ItemIndex, reports: Vec<Report>) {
        let mut shown = false;
        for report in reports {
            self.durations.add(&report, &self.view);
            // The counts come first: they decide the colour of the progress.
            self.stats.file(&report, Some(worker), &self.view);
            if !report.letter.is_empty() || !report.word.is_empty() {
                self.progress.reported += u64::from(!shown);
                shown = true;
                self.show_result(worker, item, &report);
            }
        }
    }

    fn show_result(&mut self, worker: WorkerId, item: ItemIndex, report: &Report) {
        if self.view.verbosity() <= 0 {
            self.progress.letter(report, &mut self.screen, &self.view, &self.stats);
            return;
        }
        let group = match self.mode {
            // pytest-xdist shows the groups that decide, behind the name.
            Mode::LoadGroup => self.roster.item(worker, item).map(|item| item.groups.join("_")),
            _ => None,
        };
        let group =
            group.filter(|group| !group.is_empty()).map_or_else(String::new, |group| format!("@{group}"));
        let name = self.roster.name(worker);
        self.progress.verbose_line(&name, report, &mut self.screen, &self.view, &group);
    }

    fn crashed(&mut self, crash: &Crash) {
        self.crash_line(crash);
        let Some(crashed) = &crash.item else {
            self.startup.remove(crash.worker);
            let name = self.roster.name(crash.worker);
            self.last_words(&name, crash);
            return;
        };
        self.attempts.take(crash.worker, crashed.item, 0, &self.roster);
        let reports = attempts::crash_reports(crash, &self.roster);
        if reports.len() == 1 && crashed.phase == Some(Phase::Teardown) {
            // pytest counts a test twice whose teardown fails, so it is here.
            self.stats.count("passed", 1);
        }
        self.show_reports(crash.worker, crashed.item, reports);
    }

    fn recycled(&mut self, worker: WorkerId, reason: &str) {
        self.recycled.insert(worker);
        if self.view.verbosity() > 0 {
            let name = self.roster.name(worker);
            self.line_above(&format!("[{name}] recycled: {reason}"));
        }
    }

    /// What is known of a crash that no test is blamed for. What was shown as it was written is not repeated.
    fn last_words(&mut self, name: &str, crash: &Crash) {
        let shown = self.spoke.contains(&crash.worker);
        let details = crash::details(crash).into_iter();
        for (title, text) in details.filter(|(title, _)| *title == "stack" || !shown) {
            self.screen.line(&format!("[{name}] {title}:"));
            text.lines().for_each(|line| self.screen.line(&format!("[{name}]   {line}")));
        }
    }

    fn restarts_exhausted(&mut self, worker: WorkerId, limit: u32) {
        let text = match limit {
            0 => format!("worker {} crashed and worker restarting disabled", self.roster.name(worker)),
            limit => format!("maximum crashed workers reached: {limit}"),
        };
        if self.restarts_exhausted.as_ref() != Some(&text) {
            self.note(&text);
            self.restarts_exhausted = Some(text);
        }
    }

    /// Writes a line that stands out, unless `-q` is given.
    fn note(&mut self, text: &str) {
        if self.view.verbosity() >= 0 {
            // Dots are followed at once, whole lines by an empty one.
            self.screen.write("\n");
            self.screen.line(text);
        }
    }

    fn mismatch(&mut self, mismatch: &Mismatch) {
        self.end_startup();
        for (worker, text) in mismatch::errors(mismatch, &self.roster) {
            let report = xdist_proto::report::CollectReport {
                node_id: self.roster.name(worker),
                class: xdist_proto::report::OutcomeClass::Fail,
                failure: Some(xdist_proto::report::FailureText { text, ansi: None, crash: None }),
                skip: None,
                sections: Vec::new(),
                full: Vec::new(),
            };
            self.stats.file(&report::collect_report(&report), None, &self.view);
        }
    }

    /// Raw output of a worker, each line with the worker's name. What the first worker writes while it comes up is what
    /// any pytest would write then, and stays as it is.
    fn output(&mut self, worker: WorkerId, stream: Stream, data: &[u8]) {
        let coming_up = matches!(self.stage, Stage::Before | Stage::Starting);
        let raw = self.stage == Stage::Silent || (coming_up && self.roster.first() == Some(worker));
        let name = self.roster.name(worker);
        let text = String::from_utf8_lossy(data);
        let lines = text.split_terminator('\n').map(|line| match raw {
            true => format!("{line}\n"),
            false => format!("[{name}] {line}\n"),
        });
        let lines: String = lines.collect();
        match stream {
            Stream::Stderr => {
                self.spoke.insert(worker);
                self.screen.error_text(&lines);
            }
            Stream::Stdout => lines.lines().for_each(|line| self.line_above(line)),
        }
    }

    fn internal_error(&mut self, text: &str) {
        self.end_status_for_errors();
        let lines = text.trim_end().lines().map(|line| format!("INTERNALERROR> {line}"));
        lines.for_each(|line| match self.stage {
            Stage::Silent => self.screen.error_text(&format!("{line}\n")),
            Stage::Before | Stage::Starting | Stage::Running => self.screen.line(&line),
        });
    }

    /// Keeps the status line as it is, so that errors follow it.
    fn end_status_for_errors(&mut self) {
        if self.stage == Stage::Starting {
            self.screen.end_line();
        }
    }

    fn page(&self) -> Page {
        Page::new(self.view.palette, self.screen.width())
    }

    /// Draws what has been added, and the live area anew where there is one.
    fn redraw(&mut self, now: Instant) {
        self.redraw_at = None;
        if self.screen.drawing() == Drawing::Append {
            return self.screen.flush();
        }
        self.screen.set_width((self.width)());
        if let Some(since) = self.running_since {
            let progress = live::Progress {
                done: self.progress.reported,
                total: self.progress.total,
                failed: self.stats.total("failed") + self.stats.total("error"),
                elapsed: now.saturating_duration_since(since),
            };
            self.screen.set_live(self.running.rows(progress, &self.roster, self.screen.width(), now));
            self.redraw_at = Some(now + live::INTERVAL);
        }
        self.screen.flush();
    }

    fn summaries(&mut self, summary: &RunSummary, now: Instant) -> Page {
        let mut page = self.page();
        let material = Material { stats: &self.stats, roster: &self.roster, view: &self.view };
        let view = &self.view;
        let shown = !view.options.no_summary;
        if shown {
            material.errors(&mut page);
            material.failures(&mut page);
            retries::section(material, &mut page);
            material.expected_failures(&mut page);
            self.warnings.write(&mut page, view);
            material.passes(&mut page);
            material.unexpected_passes(&mut page);
        }
        if let Some(text) = self.restarts_exhausted.as_ref().filter(|_| view.verbosity() >= 0) {
            page.rule('=', &format!("xdist: {text}"), Markup::PLAIN);
        }
        if let Some(path) = self.junit_file.as_ref().filter(|_| view.verbosity() >= 0) {
            page.rule('-', &format!("generated xml file: {path}"), Markup::PLAIN);
        }
        self.fetched.iter().for_each(|line| page.line(line));
        self.durations.write(&mut page, view);
        if shown {
            short_summary::write(&mut page, &self.stats, view);
            ending::not_run(&self.not_run, &mut page, view, &self.roster);
        }
        ending::banners(&summary.end, &mut page, &self.stats, &self.roster, &self.advised);
        retries::banner(&mut page, &self.stats, summary, view);
        let duration = now.saturating_duration_since(self.started);
        ending::last_line(&mut page, &self.stats, summary, duration, view);
        page
    }

    /// Ends what the run left unfinished on the screen.
    fn end_run(&mut self, summary: &RunSummary) {
        self.screen.set_live(Vec::new());
        if self.stage == Stage::Starting && self.startup.complete() {
            self.end_startup();
        }
        // Where the run was stopped, pytest leaves the dots as they are.
        let stopped = match &summary.end {
            RunEnd::Stopped(reason) => !matches!(reason, StopReason::RestartsExhausted(_)),
            RunEnd::Completed | RunEnd::Plain(_) | RunEnd::UsageError(_) | RunEnd::Mismatch => false,
        };
        if !stopped && self.view.verbosity() <= 0 {
            self.progress.end(&mut self.screen, &self.view, &self.stats);
        }
        if self.stage == Stage::Starting || self.view.verbosity() > 0 {
            self.screen.end_line();
        }
        // With -v the line about the scheduling has an empty one below it, which is for the first test.
        let nothing_since = self.running_since.is_some() && self.progress.reported == 0;
        if !(nothing_since && self.view.verbosity() > 0) {
            self.screen.write("\n");
        }
    }

    /// Writes the error with the empty line that pytest writes below those that it makes itself.
    fn print_usage_error(&mut self) {
        if let Some(text) = self.usage_error.take() {
            let end = if text.starts_with("ERROR: ") { "\n\n" } else { "\n" };
            self.screen.error_text(&(text.trim_end().to_owned() + end));
        }
    }
}

impl Frontend for Terminal {
    fn event(&mut self, event: &RunEvent, now: Instant) {
        self.roster.observe(event);
        self.running.observe(event, now);
        if let RunEvent::UsageError { text, .. } = event {
            self.usage_error = Some(text.clone());
        }
        if self.stage == Stage::Silent {
            match event {
                RunEvent::Output { worker, stream, data } => self.output(*worker, *stream, data),
                RunEvent::InternalError { text, .. } => self.internal_error(text),
                _ => {}
            }
            self.screen.flush();
            return;
        }
        self.show(event, now);
        // Many results at once are written once.
        self.redraw_at = self.redraw_at.or(Some(now));
    }

    fn finish(&mut self, summary: &RunSummary, now: Instant) {
        let plain = matches!(summary.end, RunEnd::Plain(_));
        if self.stage > Stage::Before && self.stage != Stage::Silent && !plain {
            self.end_run(summary);
            let text = self.summaries(summary, now).into_text();
            self.screen.write(&text);
        } else if self.stage == Stage::Before && !plain && self.usage_error.is_none() {
            let mut page = self.page();
            ending::banners(&summary.end, &mut page, &self.stats, &self.roster, &self.advised);
            self.screen.end_line();
            let text = page.into_text();
            self.screen.write(&text);
        }
        self.screen.flush();
        self.print_usage_error();
        self.redraw_at = None;
    }

    fn tick(&mut self, now: Instant) {
        if self.redraw_at.is_some_and(|due| due <= now) {
            self.redraw(now);
        }
    }

    fn next_tick(&self) -> Option<Instant> {
        self.redraw_at
    }

    fn key(&mut self, key: u8, now: Instant) {
        if key == b't' && self.stage == Stage::Running {
            for line in self.running.lines(&self.roster, now) {
                self.line_above(&line);
            }
            self.redraw(now);
        }
    }
}

impl Terminal {
    /// A person talks to a debugger in the worker, and to nobody else.
    fn terminal_lent(&mut self, worker: WorkerId) {
        let name = self.roster.name(worker);
        self.screen.line(&format!("[{name}] is at a debugger; other workers begin nothing until it goes on"));
        self.screen.suspend();
    }

    /// Shows an event; one function for each kind that has more to it than a line.
    fn show(&mut self, event: &RunEvent, now: Instant) {
        match event {
            RunEvent::Configured(configured) => self.configured(configured),
            RunEvent::WorkerStarting { worker, replaces, .. } => self.worker_starting(*worker, *replaces),
            RunEvent::WorkerReady { worker, ready, .. } => self.worker_ready(*worker, ready),
            RunEvent::WorkerCollecting { worker } => self.step(*worker, Step::Ready),
            RunEvent::WorkerCollected { worker, items, deselected } => {
                // Every worker deselects the same.
                if self.stats.total("deselected") == 0 {
                    self.stats.count("deselected", u64::from(*deselected));
                }
                self.step(*worker, Step::Collected(*items));
            }
            RunEvent::Unforkable { reason, .. } => self.unforkable(reason),
            RunEvent::FilesCopied(copied) => self.files_copied(copied),
            RunEvent::CollectReport { report, .. } => {
                self.stats.file(&report::collect_report(report), None, &self.view);
            }
            RunEvent::Collected { .. } => self.progress.total = self.roster.total(),
            RunEvent::CollectionMismatch(mismatch) => self.mismatch(mismatch),
            RunEvent::Scheduling { mode, warning } => self.scheduling(*mode, warning.as_deref(), now),
            RunEvent::ItemStarted { worker, item, phase, slow, .. } => match slow {
                None => self.item_started(*worker, *item),
                Some(time) => self.slow(*worker, *item, *phase, *time),
            },
            RunEvent::ItemFinished { worker, item, report, retries } => {
                self.item_finished(*worker, *item, report, *retries);
            }
            RunEvent::ItemRetried(attempt) => self.item_retried(attempt),
            RunEvent::Crashed(crash) => self.crashed(crash),
            RunEvent::WorkerRecycled { worker, reason } => self.recycled(*worker, reason),
            RunEvent::WorkerDown { worker, error } => {
                self.startup.remove(*worker);
                if let Some(error) = error.as_ref().filter(|_| !self.crashed.contains(worker)) {
                    let name = self.roster.name(*worker);
                    let place = words::in_parentheses(&self.roster.place(*worker));
                    // Why was just said of the host.
                    let error = if error.starts_with(crash::HOST_LOST) { crash::HOST_LOST } else { error };
                    self.screen.line(&format!("[{name}] node down: {error}{place}"));
                }
            }
            RunEvent::TerminalLent { worker } => self.terminal_lent(*worker),
            RunEvent::TerminalBack { .. } => self.screen.resume(),
            RunEvent::RestartsExhausted { worker, limit } => self.restarts_exhausted(*worker, *limit),
            RunEvent::Warning { worker, warning } => {
                if self.warnings.add(Some(*worker), warning) {
                    self.stats.count("warnings", 1);
                }
            }
            RunEvent::Output { worker, stream, data } => self.output(*worker, *stream, data),
            RunEvent::InternalError { text, .. } => self.internal_error(text),
            RunEvent::HostLost { host, error } => {
                let text = format!("[{host}] host lost: {error}");
                self.screen.line(&self.view.palette.paint(&text, Color::Red.into()));
                self.advised.extend(error.split_once("; ").map(|(why, _)| why.to_owned()));
            }
            RunEvent::WorkerUnlike { worker, text } => {
                let place = words::in_parentheses(&self.roster.place(*worker));
                let line = format!("[{}] the workers differ: {text}{place}", self.roster.name(*worker));
                self.screen.line(&self.view.palette.paint(&line, Color::Yellow.into()));
            }
            RunEvent::WorkersAwaited { patience } => {
                self.screen.line(&self.view.palette.paint(&event::awaited(*patience), Color::Red.into()));
            }
            RunEvent::FilesFetched(fetched) => self.fetched.extend(fetched.lines()),
            RunEvent::NotRun { worker, items, reason } => {
                self.not_run.push(NotRun { worker: *worker, items: items.clone(), reason: reason.clone() });
            }
            RunEvent::UsageError { .. }
            | RunEvent::CrashQuestion { .. }
            | RunEvent::TakenBack { .. }
            | RunEvent::Stopping(_)
            | RunEvent::WorkerOutput { .. } => {}
        }
    }
}
