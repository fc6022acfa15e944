//! What workers were given by a scheduler outside the coordinator, whose decisions are carried out as they come.

use super::distribution::Action;
use std::collections::{BTreeMap, VecDeque};
use xdist_proto::{ItemIndex, WorkerId};

/// The queues of the workers, as far as has been told.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    queued: BTreeMap<WorkerId, VecDeque<ItemIndex>>,
    /// What a worker is asked to give back.
    asked: BTreeMap<WorkerId, Vec<ItemIndex>>,
    actions: VecDeque<Action>,
}

impl Foreign {
    pub(super) fn add_worker(&mut self, worker: WorkerId) {
        self.queued.insert(worker, VecDeque::new());
    }

    pub(super) fn remove_worker(&mut self, worker: WorkerId) {
        self.queued.remove(&worker);
        self.asked.remove(&worker);
    }

    pub(super) fn give_up(&mut self, worker: WorkerId, items: &[ItemIndex]) {
        if let Some(queue) = self.queued.get_mut(&worker) {
            queue.retain(|item| !items.contains(item));
        }
    }

    pub(super) fn assign(&mut self, worker: WorkerId, items: &[ItemIndex]) {
        let Some(queue) = self.queued.get_mut(&worker) else { return };
        queue.extend(items);
        self.actions.push_back(Action::Run { worker, items: items.to_vec() });
    }

    /// Asks for items back; `false` if a question to that worker is still open, or it does not have them all.
    pub(super) fn ask(&mut self, worker: WorkerId, items: &[ItemIndex]) -> bool {
        let has_all =
            self.queued.get(&worker).is_some_and(|queue| items.iter().all(|item| queue.contains(item)));
        let may_ask = has_all && !items.is_empty() && !self.asked.contains_key(&worker);
        if may_ask {
            self.asked.insert(worker, items.to_vec());
            self.actions.push_back(Action::Steal { worker, items: items.to_vec() });
        }
        may_ask
    }

    pub(super) fn park(&mut self, worker: WorkerId) {
        self.actions.push_back(Action::Park { worker });
    }

    pub(super) fn finish(&mut self, worker: WorkerId, item: ItemIndex) -> bool {
        let Some(queue) = self.queued.get_mut(&worker) else { return false };
        let at = queue.iter().position(|&other| other == item);
        at.is_some_and(|at| queue.remove(at).is_some())
    }

    pub(super) fn answered(&mut self, worker: WorkerId, given: bool) {
        let asked = self.asked.remove(&worker).unwrap_or_default();
        if let Some(queue) = self.queued.get_mut(&worker).filter(|_| given) {
            queue.retain(|item| !asked.contains(item));
        }
    }

    pub(super) fn queued(&self, worker: WorkerId) -> impl Iterator<Item = ItemIndex> {
        self.queued.get(&worker).into_iter().flatten().copied()
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn forget_actions(&mut self) {
        self.actions.clear();
    }
}
