//! The terminal, which one worker at a time can have for itself: a person talks to a debugger there.
//!
//! Whoever writes to the terminal otherwise has to leave it alone first, so a worker that asks waits for that. The others
//! begin nothing meanwhile: their results could not be shown, and a person may want to change what they would run.

use super::event::StopReason;
use super::violation::Violation;
use super::{Course, Output, RunEnd, RunEvent, Session};
use crate::workers::{Ending, Life};
use std::collections::VecDeque;
use xdist_proto::WorkerId;
use xdist_proto::message::{CoordinatorMessage, Reply, Resume, Suspend, TerminalReturned};

/// What a worker is told that asks where there is nothing to lend.
const NO_TERMINAL: &str = "standard input of the run is no terminal; run it in one";
/// A terminal of the same name on its own machine may be somebody else's.
const FAR_TERMINAL: &str = "the terminal of the run is on another machine; run this test on a worker there";

/// Who has the terminal.
#[derive(Debug, Default)]
pub(super) struct State {
    borrower: Option<Borrower>,
    /// Who asked after that, in the order of asking.
    waiting: VecDeque<WorkerId>,
}

#[derive(Debug)]
struct Borrower {
    worker: WorkerId,
    /// Whether it knows that it may.
    has_it: bool,
}

impl State {
    /// Whether the worker waits for its turn, or for others to leave the terminal alone.
    pub(super) fn is_waiting(&self, id: WorkerId) -> bool {
        self.waiting.contains(&id)
            || self.borrower.as_ref().is_some_and(|borrower| borrower.worker == id && !borrower.has_it)
    }

    /// Takes the worker out of the queue; answers whether it was in it.
    pub(super) fn wait_no_more(&mut self, id: WorkerId) -> bool {
        let waited = self.waiting.contains(&id);
        self.waiting.retain(|&waiting| waiting != id);
        waited
    }
}

impl Session {
    /// A worker wants the terminal for a debugger.
    pub(super) fn terminal_asked(&mut self, id: WorkerId) -> Result<(), Violation> {
        if self.terminal.borrower.as_ref().is_some_and(|borrower| borrower.worker == id) {
            return Err(self.unexpected(id, "ask"));
        }
        if self.config.terminal.is_none() {
            self.reply(id, Reply::Refused(NO_TERMINAL.to_owned()));
        } else if self.workers.other_machine_of(id).is_some() {
            self.reply(id, Reply::Refused(FAR_TERMINAL.to_owned()));
        } else {
            self.terminal.waiting.push_back(id);
            if self.is_nobody_there() {
                self.end_debuggers();
            } else {
                self.lend_terminal();
            }
        }
        Ok(())
    }

    /// Lends the terminal to the next one that waits for it, if it is here.
    fn lend_terminal(&mut self) {
        if self.terminal.borrower.is_some() {
            return;
        }
        let Some(worker) = self.terminal.waiting.pop_front() else { return };
        self.terminal.borrower = Some(Borrower { worker, has_it: false });
        for other in self.others_up(worker) {
            self.send(other, CoordinatorMessage::Suspend(Suspend { worker: other }));
        }
        self.report(RunEvent::TerminalLent { worker });
        self.outputs.push_back(Output::FreeTerminal { worker });
    }

    /// Nobody else writes to the terminal any more.
    pub(super) fn terminal_free(&mut self) {
        let Some(borrower) = self.terminal.borrower.as_mut().filter(|borrower| !borrower.has_it) else {
            return;
        };
        borrower.has_it = true;
        let (worker, path) = (borrower.worker, self.config.terminal.clone().unwrap_or_default());
        self.reply(worker, Reply::Terminal(path));
    }

    pub(super) fn terminal_returned(&mut self, returned: &TerminalReturned) -> Result<(), Violation> {
        let id = returned.worker;
        if !self.terminal.borrower.as_ref().is_some_and(|borrower| borrower.worker == id && borrower.has_it) {
            return Err(self.unexpected(id, "terminal_returned"));
        }
        self.take_terminal_back(id);
        Ok(())
    }

    /// The worker is gone, or wants the terminal no more.
    pub(super) fn take_terminal_back(&mut self, id: WorkerId) {
        self.terminal.wait_no_more(id);
        if self.terminal.borrower.as_ref().is_none_or(|borrower| borrower.worker != id) {
            return;
        }
        self.terminal.borrower = None;
        self.report(RunEvent::TerminalBack { worker: id });
        if self.terminal.waiting.is_empty() {
            for other in self.others_up(id) {
                self.send(other, CoordinatorMessage::Resume(Resume { worker: other }));
            }
        } else if !self.is_nobody_there() {
            // Which lets that one go on, and tells all others once more to begin nothing.
            let next = self.terminal.waiting[0];
            self.send(next, CoordinatorMessage::Resume(Resume { worker: next }));
            self.lend_terminal();
        }
    }

    /// Whether the person has left, or wants the run to end.
    const fn is_nobody_there(&self) -> bool {
        let reason = match &self.course {
            Course::Ending(RunEnd::Stopped(reason)) => reason,
            Course::Gathering | Course::Running | Course::Ending(_) | Course::Over => return false,
        };
        matches!(reason, StopReason::Interrupted | StopReason::PytestHostLost)
    }

    /// Ends the workers that are at a debugger or wait for their turn: nobody is there any more to tell a debugger to go on,
    /// and one that is interrupted asks what to do next.
    pub(super) fn end_debuggers(&mut self) {
        let borrower = self.terminal.borrower.iter().map(|borrower| borrower.worker);
        let ids: Vec<WorkerId> = borrower.chain(self.terminal.waiting.iter().copied()).collect();
        for id in ids {
            let ending = Ending::Shutdown(Some("the run ended while it was at a debugger".to_owned()));
            self.end_worker(id, ending, self.config.timeouts.grace());
        }
    }

    /// A worker that has just come up begins nothing either while another one has the terminal.
    pub(super) fn suspend_if_terminal_is_lent(&mut self, id: WorkerId) {
        if self.terminal.borrower.is_some() {
            self.send(id, CoordinatorMessage::Suspend(Suspend { worker: id }));
        }
    }

    fn others_up(&self, worker: WorkerId) -> Vec<WorkerId> {
        let is_up = |&id: &WorkerId| id != worker && !matches!(self.workers.get(id).life, Life::Waiting);
        self.workers.living().into_iter().filter(is_up).collect()
    }
}
