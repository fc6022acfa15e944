//! What all workers of a run share: values that one of them makes, and locks that one of them has at a time.
//!
//! Somebody has it (who makes a value has that), and the others wait in the order of asking. A wait that could not end is
//! refused before it begins, so nobody ever waits in a circle.

use super::violation::Violation;
use super::{Course, Session};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use xdist_proto::message::{Made, Released, Reply, Shared};
use xdist_proto::{Value, WorkerId};

/// Everything that is shared, by name.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What has been made.
    values: BTreeMap<String, Kept>,
    /// What somebody has or makes now.
    held: BTreeMap<Shared, Held>,
}

#[derive(Debug)]
struct Kept {
    value: Value,
    users: BTreeSet<WorkerId>,
}

#[derive(Debug)]
struct Held {
    holder: WorkerId,
    /// In the order of asking.
    waiting: VecDeque<WorkerId>,
}

impl State {
    pub(super) fn is_waiting(&self, id: WorkerId) -> bool {
        self.awaited_by(id).is_some()
    }

    fn awaited_by(&self, id: WorkerId) -> Option<&Shared> {
        self.held.iter().find(|(_, held)| held.waiting.contains(&id)).map(|(shared, _)| shared)
    }

    fn holder_of(&self, shared: &Shared) -> Option<WorkerId> {
        self.held.get(shared).map(|held| held.holder)
    }

    /// Takes the worker out of the queue that it waits in; answers whether it was in one.
    pub(super) fn wait_no_more(&mut self, id: WorkerId) -> bool {
        let waited = self.is_waiting(id);
        self.held.values_mut().for_each(|held| held.waiting.retain(|&waiting| waiting != id));
        waited
    }

    /// Why a wait would never end, if it would not.
    fn circle(&self, asker: WorkerId, shared: &Shared) -> Option<String> {
        let mut wanted = shared;
        let mut text = format!("{asker} asks for {}", name(wanted));
        loop {
            let holder = self.holder_of(wanted)?;
            if holder == asker {
                let advice = "take them in the same order everywhere";
                return Some(if wanted == shared {
                    format!("{text}, which it has already")
                } else {
                    format!("{text}, which {asker} has: nobody could go on; {advice}")
                });
            }
            wanted = self.awaited_by(holder)?;
            text.push_str(&format!(", which {holder} has, which waits for {}", name(wanted)));
        }
    }
}

fn name(shared: &Shared) -> String {
    match shared {
        Shared::Value(key) => format!("the value {key:?}"),
        Shared::Lock(name) => format!("the lock {name:?}"),
    }
}

impl Session {
    pub(super) fn shared_asked(&mut self, id: WorkerId, shared: &Shared) {
        if let Shared::Value(key) = shared
            && let Some(kept) = self.shared.values.get_mut(key)
        {
            kept.users.insert(id);
            let value = kept.value.clone();
            return self.reply(id, Reply::Value(value));
        }
        if let Some(text) = self.shared.circle(id, shared) {
            return self.reply(id, Reply::Refused(text));
        }
        if let Some(held) = self.shared.held.get_mut(shared) {
            held.waiting.push_back(id);
        } else {
            self.hand_over(shared.clone(), Held { holder: id, waiting: VecDeque::new() });
        }
    }

    fn hand_over(&mut self, shared: Shared, held: Held) {
        let reply = match &shared {
            Shared::Value(_) => Reply::Make,
            Shared::Lock(_) => Reply::Locked,
        };
        let holder = held.holder;
        self.shared.held.insert(shared, held);
        self.reply(holder, reply);
    }

    /// The worker has made a value.
    pub(super) fn made(&mut self, made: Made) -> Result<(), Violation> {
        let Made { worker: id, key, value } = made;
        let held = self.take_from(id, &Shared::Value(key.clone()), "made")?;
        let users = held.waiting.iter().copied().chain([id]).collect();
        for waiting in held.waiting {
            self.reply(waiting, Reply::Value(value.clone()));
        }
        self.shared.values.insert(key, Kept { value, users });
        Ok(())
    }

    /// The worker has no use for a lock any more, or could not make a value.
    pub(super) fn shared_released(&mut self, released: Released) -> Result<(), Violation> {
        let held = self.take_from(released.worker, &released.shared, "released")?;
        self.pass_on(released.shared, held);
        Ok(())
    }

    fn take_from(&mut self, id: WorkerId, shared: &Shared, kind: &'static str) -> Result<Held, Violation> {
        let held = (self.shared.holder_of(shared) == Some(id)).then(|| self.shared.held.remove(shared));
        held.flatten().ok_or_else(|| self.unexpected(id, kind))
    }

    /// Whoever waits first has it now.
    fn pass_on(&mut self, shared: Shared, mut held: Held) {
        if let Some(holder) = held.waiting.pop_front() {
            self.hand_over(shared, Held { holder, ..held });
        }
    }

    /// The worker's session ends in good order, and with it its use of values. While there may be more to run, nobody is the
    /// last one: others may still ask.
    pub(super) fn leaves_values(&mut self, id: WorkerId) {
        let is_ending = matches!(self.course, Course::Ending(_));
        let mut last = Vec::new();
        self.shared.values.retain(|key, kept| {
            let is_last = kept.users.remove(&id) && kept.users.is_empty() && is_ending;
            if is_last {
                last.push(key.clone());
            }
            !is_last
        });
        self.reply(id, Reply::Last(last));
    }

    /// The worker is gone.
    pub(super) fn leaves_shared(&mut self, id: WorkerId) {
        self.shared.wait_no_more(id);
        self.shared.values.values_mut().for_each(|kept| {
            kept.users.remove(&id);
        });
        let (left, held) =
            std::mem::take(&mut self.shared.held).into_iter().partition(|(_, held)| held.holder == id);
        self.shared.held = held;
        let left: BTreeMap<Shared, Held> = left;
        for (shared, held) in left {
            self.pass_on(shared, held);
        }
    }
}
