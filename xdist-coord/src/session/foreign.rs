//! Carrying out what a scheduler of the pytest host decides: users' schedulers are written in Python.
//!
//! It hears of everything a little later than it happens, so what it wants of a worker that is gone is skipped. What no
//! order of events explains is an error of that scheduler, and ends the run: nothing may be run twice, or be lost.

use super::results::ItemState;
use super::{Course, RunEvent, Session};
use crate::workers::{Ending, Life};
use xdist_proto::message::{CoordinatorMessage, Drain};
use xdist_proto::{ItemIndex, WorkerId};

impl Session {
    /// Whether somebody else decides which worker gets which items.
    pub(super) fn is_scheduled_elsewhere(&self) -> bool {
        self.pytest_host.schedules() && !self.is_each()
    }

    pub(super) fn assigned(&mut self, id: WorkerId, items: Vec<ItemIndex>) {
        if !self.takes_decisions(id) {
            return;
        }
        if self.workers.get(id).active().is_none() {
            // It has collected, or will; then it gets them.
            self.pytest_host.keep_for(id, items);
            return;
        }
        if let Some(error) = items.iter().find_map(|&item| self.objection(item)) {
            return self.pytest_host_lost(error);
        }
        self.books[0].distribution.assign(id, &items);
        self.carry_out(0);
    }

    /// Why an item cannot be given out.
    fn objection(&self, item: ItemIndex) -> Option<String> {
        let book = &self.books[0];
        let Some(known) = book.collection.items.get(item.as_usize()) else {
            return Some(format!(
                "its scheduler gives out test number {}, and there are only {}",
                item.0,
                book.collection.items.len()
            ));
        };
        let problem = match book.state(item) {
            ItemState::Waiting => return None,
            ItemState::Leased { worker, .. } => format!("which {} has", self.workers.get(worker).name),
            ItemState::Interrupted | ItemState::Questioned | ItemState::Done => "which was run".to_owned(),
        };
        Some(format!("its scheduler gives out {}, {problem}", known.node_id))
    }

    pub(super) fn take_back(&mut self, id: WorkerId, items: Vec<ItemIndex>) {
        if !self.takes_decisions(id) {
            return;
        }
        if self.workers.get(id).active().is_some() && self.books[0].distribution.ask(id, &items) {
            self.carry_out(0);
        } else {
            self.report(RunEvent::TakenBack { worker: id, items: Vec::new() });
        }
    }

    pub(super) fn parked(&mut self, id: WorkerId) {
        if self.takes_decisions(id) && self.workers.get(id).active().is_some() {
            self.books[0].distribution.park(id);
            self.carry_out(0);
        }
    }

    /// The worker ends after what it has. Unlike at the end of the run, that is not taken from it.
    pub(super) fn retired(&mut self, id: WorkerId) {
        if !self.takes_decisions(id) || !matches!(self.workers.get(id).life, Life::Active(_)) {
            return;
        }
        self.send(id, CoordinatorMessage::Drain(Drain { worker: id }));
        self.workers.get_mut(id).ending = Some(Ending::Drain);
        self.arm_finish(id);
    }

    /// Whether a decision about this worker still matters.
    fn takes_decisions(&self, id: WorkerId) -> bool {
        self.course == Course::Running
            && self.is_scheduled_elsewhere()
            && self.workers.knows(id)
            && self.workers.get(id).is_in_use()
    }
}
