//! From the header to the first test: which workers are up, and how far each is.

use super::view::View;
use super::{Stage, Target, Terminal};
use crate::frontend::roster::python_version;
use crate::frontend::screen::Drawing;
use crate::frontend::style::Markup;
use crate::frontend::words::{self, counted};
use std::collections::BTreeMap;
use std::time::Instant;
use xdist_coord::scheduler::Mode;
use xdist_coord::session::event::Configured;
use xdist_proto::WorkerId;
use xdist_proto::frontend::FilesCopied;
use xdist_proto::message::Ready;

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// It is to be started.
    Created,
    /// Its process is up and configured.
    Initialized,
    /// It collects.
    Ready,
    /// It has collected this many items.
    Collected(u32),
}

/// The workers before the first test.
#[derive(Debug, Default)]
pub(super) struct Startup {
    /// How many workers the run begins with.
    expected: usize,
    steps: BTreeMap<WorkerId, Step>,
}

impl Startup {
    pub(super) fn expect(&mut self, workers: u32) {
        self.expected = workers as usize;
    }

    pub(super) fn set(&mut self, worker: WorkerId, step: Step) {
        self.steps.insert(worker, step);
    }

    /// Forgets a worker that is gone.
    pub(super) fn remove(&mut self, worker: WorkerId) {
        self.steps.remove(&worker);
    }

    /// Whether every worker has collected.
    pub(super) fn complete(&self) -> bool {
        let collected = self.steps.values().filter(|step| matches!(step, Step::Collected(_))).count();
        collected > 0 && collected == self.total()
    }

    /// How many workers there are to be. Some may have been started before that was known, and are ended again.
    fn total(&self) -> usize {
        if self.expected > 0 { self.expected } else { self.steps.len() }
    }

    /// The status line, in the forms of pytest-xdist 3.8. The furthest step that a worker has reached is shown.
    pub(super) fn line(&self) -> String {
        let total = self.total();
        let workers = if total == 1 { "worker" } else { "workers" };
        let at =
            |wanted: fn(&Step) -> bool| self.steps.values().filter(|step| wanted(step)).count().min(total);
        let (word, count) = match self.steps.values().max() {
            Some(Step::Collected(_)) if self.complete() => return self.final_line(None),
            Some(Step::Collected(_)) => ("collecting", at(|step| matches!(step, Step::Collected(_)))),
            Some(Step::Ready) => ("ready", at(|step| *step == Step::Ready)),
            Some(Step::Initialized) => ("initialized", at(|step| *step == Step::Initialized)),
            Some(Step::Created) | None => ("created", total),
        };
        format!("{word}: {count}/{total} {workers}")
    }

    /// `2 workers [12 items]`; the number of items is the first worker's where it is not given.
    pub(super) fn final_line(&self, items: Option<u64>) -> String {
        let first = self.steps.values().find_map(|step| match step {
            Step::Collected(items) => Some(u64::from(*items)),
            Step::Created | Step::Initialized | Step::Ready => None,
        });
        let workers = self.total() as u64;
        let items = items.or(first).unwrap_or(0);
        format!("{} [{}]", counted(workers, "worker"), counted(items, "item"))
    }
}

impl Terminal {
    pub(super) fn configured(&mut self, configured: &Configured) {
        if configured.display.no_terminal || configured.options.plain.is_some() {
            self.stage = Stage::Silent;
            return;
        }
        self.stage = Stage::Starting;
        self.mode = configured.mode;
        if configured.options.flaky_fails {
            self.stats.take_flaky_for_failed();
        }
        let surroundings = self.view.surroundings.clone();
        self.view = View::new(configured.display.clone(), surroundings, configured.rootdir.clone().into());
        self.screen.end_line();
        if self.view.verbosity() >= 0 {
            let mut page = self.page();
            page.rule('=', "test session starts", Markup::BOLD);
            if !self.view.options.no_header {
                configured.header.iter().for_each(|line| page.line(line));
            }
            self.screen.write(&page.into_text());
        }
        if self.target == Target::Terminal && self.view.verbosity() > -2 {
            self.screen.set_drawing(Drawing::Redraw);
        }
        self.startup.expect(configured.workers);
        match self.screen.drawing() {
            Drawing::Append => self.screen.line(&self.status_line()),
            Drawing::Redraw => self.show_status(),
        }
    }

    fn status_line(&self) -> String {
        match self.view.verbosity() {
            0.. => self.startup.line(),
            _ => "bringing up nodes...".to_owned(),
        }
    }

    /// Draws the status line anew, where that is possible.
    fn show_status(&mut self) {
        if self.stage == Stage::Starting && self.screen.drawing() == Drawing::Redraw {
            let line = self.view.palette.paint(&self.status_line(), Markup::BOLD).into_owned();
            self.screen.replace_line(line);
        }
    }

    pub(super) fn step(&mut self, worker: WorkerId, step: Step) {
        if self.stage <= Stage::Starting {
            self.startup.set(worker, step);
            self.show_status();
        }
    }

    /// Shows the final status line, once.
    pub(super) fn end_startup(&mut self) {
        if self.stage != Stage::Starting {
            return;
        }
        let items = match self.mode {
            Mode::Each => None,
            _ => Some(self.roster.total()).filter(|total| *total > 0),
        };
        let line = match self.view.verbosity() {
            0.. => self.startup.final_line(items),
            _ => self.status_line(),
        };
        if self.screen.drawing() == Drawing::Redraw {
            self.screen.replace_line(self.view.palette.paint(&line, Markup::BOLD).into_owned());
        } else {
            self.screen.write(&line);
        }
        self.screen.write("\n\n");
        self.stage = Stage::Running;
    }

    /// Tells which interpreter a worker has, where it is not the first one's.
    pub(super) fn worker_ready(&mut self, worker: WorkerId, ready: &Ready) {
        let first = self.roster.first_ready().map(|first| first.executable.clone());
        if self.stage == Stage::Starting
            && self.view.verbosity() > 0
            && first.is_some_and(|first| first != ready.executable)
        {
            let (name, version) = (self.roster.name(worker), python_version(&ready.python));
            self.line_above(&format!("[{name}] {} Python {version} cwd: {}", ready.platform, ready.cwd));
            self.line_above(&format!("[{name}] Python {}", ready.python_text));
        }
        self.step(worker, Step::Initialized);
    }

    /// Tells with `-v` why every worker collects by itself, once.
    pub(super) fn unforkable(&mut self, reason: &str) {
        // The one that says so may be slower than others, which run tests already.
        let is_shown = matches!(self.stage, Stage::Starting | Stage::Running);
        if is_shown && self.view.verbosity() > 0 && !self.told_unforkable {
            self.told_unforkable = true;
            self.line_above(&format!("every worker collects by itself: {reason}"));
        }
    }

    /// Tells with `-v` what was copied to another machine.
    pub(super) fn files_copied(&mut self, copied: &FilesCopied) {
        if self.view.verbosity() > 0 {
            self.line_above(&words::files_copied(copied));
        }
    }

    pub(super) fn worker_starting(&mut self, worker: WorkerId, replaces: Option<WorkerId>) {
        if let Some(replaced) = replaces {
            self.startup.remove(replaced);
            let name = self.roster.name(replaced);
            if !self.recycled.contains(&replaced) || self.crashed.contains(&replaced) {
                self.note(&format!("replacing crashed worker {name}"));
            } else if self.view.verbosity() > 0 {
                let new = self.roster.name(worker);
                self.line_above(&format!("[{new}] takes the place of {name}"));
            }
        }
        self.step(worker, Step::Created);
    }

    pub(super) fn scheduling(&mut self, mode: Mode, warning: Option<&str>, now: Instant) {
        self.end_startup();
        self.running_since = Some(now);
        if self.stage == Stage::Running && self.view.verbosity() > 0 {
            self.screen.line(&format!("scheduling tests via {}\n", scheduling_name(mode)));
        }
        // Also where little is said: outcomes may mean something else than they seem to.
        if let Some(warning) = warning {
            self.screen.line(&format!("warning: {warning}\n"));
        }
    }
}

/// The name of pytest-xdist's class for the mode, which people know from `-v`.
pub(super) const fn scheduling_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Each => "EachScheduling",
        Mode::Load => "LoadScheduling",
        Mode::LoadScope => "LoadScopeScheduling",
        Mode::LoadFile => "LoadFileScheduling",
        Mode::LoadGroup => "LoadGroupScheduling",
        Mode::WorkSteal => "WorkStealingScheduling",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of pytest-xdist's own tests (`testing/test_dsession.py`, version 3.8).
    #[test]
    fn the_status_line_shows_the_furthest_step() {
        use Step::{Collected, Created, Initialized, Ready};
        let table: [(&[Step], &str); 11] = [
            (&[Created], "created: 1/1 worker"),
            (&[Created, Created], "created: 2/2 workers"),
            (&[Initialized, Created], "initialized: 1/2 workers"),
            (&[Initialized, Initialized], "initialized: 2/2 workers"),
            (&[Ready, Created], "ready: 1/2 workers"),
            (&[Ready, Ready], "ready: 2/2 workers"),
            (&[Collected(12), Created], "collecting: 1/2 workers"),
            (&[Collected(12), Collected(12)], "2 workers [12 items]"),
            (&[Collected(1), Collected(1)], "2 workers [1 item]"),
            (&[Collected(1)], "1 worker [1 item]"),
            (&[Collected(1), Collected(12)], "2 workers [1 item]"),
        ];
        for (steps, line) in table {
            let mut startup = Startup::default();
            let workers = (0..).map(WorkerId);
            workers.zip(steps).for_each(|(worker, step)| startup.set(worker, *step));
            assert_eq!(startup.line(), line);
        }
    }

    #[test]
    fn workers_that_are_still_to_be_started_count() {
        let mut startup = Startup::default();
        startup.expect(3);
        startup.set(WorkerId(0), Step::Initialized);
        assert_eq!(startup.line(), "initialized: 1/3 workers");
    }

    #[test]
    fn workers_that_are_one_too_many_do_not_count() {
        let mut startup = Startup::default();
        (0..3).for_each(|worker| startup.set(WorkerId(worker), Step::Initialized));
        startup.expect(2);
        assert_eq!(startup.line(), "initialized: 2/2 workers");
        (0..2).for_each(|worker| startup.set(WorkerId(worker), Step::Collected(12)));
        assert_eq!(startup.line(), "2 workers [12 items]");
    }
}
