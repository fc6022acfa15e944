//! From the header to the first test: which workers are up, and how far each is.

use std::collections::BTreeMap;
use xdist_coord::scheduler::Mode;
use xdist_proto::WorkerId;

use crate::frontend::words::counted;

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
        collected > 0 && collected == self.expected.max(self.steps.len())
    }

    /// The status line, in the forms of pytest-xdist 3.8. The furthest step that a worker has reached is shown.
    pub(super) fn line(&self) -> String {
        let total = self.expected.max(self.steps.len());
        let workers = if total == 1 { "worker" } else { "workers" };
        let at = |wanted: fn(&Step) -> bool| self.steps.values().filter(|step| wanted(step)).count();
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
        let workers = self.expected.max(self.steps.len()) as u64;
        let items = items.or(first).unwrap_or(0);
        format!("{} [{}]", counted(workers, "worker"), counted(items, "item"))
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
}
