//! Who is who: the workers' names, what they are, and the items they speak of.

use super::words;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use xdist_coord::session::event::RunEvent;
use xdist_proto::item::{Collection, Item};
use xdist_proto::message::Ready;
use xdist_proto::{ItemIndex, WorkerId};

/// What the events so far said about workers and items. Every frontend keeps one of its own.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    names: BTreeMap<WorkerId, String>,
    ready: BTreeMap<WorkerId, Ready>,
    /// The machines that workers are on.
    hosts: BTreeMap<WorkerId, String>,
    /// Those on other machines than ours.
    elsewhere: BTreeSet<WorkerId>,
    agreed: Option<Rc<Collection>>,
    own: BTreeMap<WorkerId, Rc<Collection>>,
    /// Which crashed worker a worker replaces.
    replaced: BTreeMap<WorkerId, WorkerId>,
}

impl Roster {
    /// Takes in an event; call it before anything asks about that event.
    pub(crate) fn observe(&mut self, event: &RunEvent) {
        match event {
            RunEvent::WorkerStarting { worker, name, replaces, .. } => {
                self.names.insert(*worker, name.clone());
                self.replaced.extend(replaces.map(|replaced| (*worker, replaced)));
            }
            RunEvent::WorkerReady { worker, host, elsewhere, ready } => {
                self.hosts.insert(*worker, host.clone());
                self.elsewhere.extend(elsewhere.then_some(*worker));
                self.ready.insert(*worker, Ready::clone(ready));
            }
            RunEvent::Collected { worker: Some(worker), collection } => {
                self.own.insert(*worker, Rc::clone(collection));
            }
            RunEvent::Collected { worker: None, collection } => self.agreed = Some(Rc::clone(collection)),
            _ => {}
        }
    }

    /// The worker that was started first.
    pub(crate) fn first(&self) -> Option<WorkerId> {
        self.names.keys().next().copied()
    }

    /// What the worker is called.
    pub(crate) fn name(&self, worker: WorkerId) -> String {
        self.names.get(&worker).cloned().unwrap_or_else(|| worker.to_string())
    }

    /// What the worker is called, with the machine, `gw4 (on buildhost)`, where it is another one.
    pub(crate) fn name_and_machine(&self, worker: WorkerId) -> String {
        self.name(worker) + &self.machine(worker)
    }

    /// Whether workers are on other machines.
    pub(crate) fn is_anybody_elsewhere(&self) -> bool {
        !self.elsewhere.is_empty()
    }

    /// What the worker's machine is called, if it is another one.
    pub(crate) fn other_machine(&self, worker: WorkerId) -> Option<&str> {
        self.hosts.get(&worker).filter(|_| self.elsewhere.contains(&worker)).map(String::as_str)
    }

    /// ` (on buildhost)`, where it is another one.
    fn machine(&self, worker: WorkerId) -> String {
        let machine = self.other_machine(worker);
        machine.map(|host| words::in_parentheses(&words::place(None, host))).unwrap_or_default()
    }

    /// Where the worker is: `pid 123 on buildhost`; empty before it told.
    pub(crate) fn place(&self, worker: WorkerId) -> String {
        let pid = self.ready.get(&worker).map(|ready| ready.pid).filter(|pid| *pid != 0);
        words::place(pid, self.hosts.get(&worker).map_or("", String::as_str))
    }

    /// The first worker that told of itself.
    pub(crate) fn first_ready(&self) -> Option<&Ready> {
        self.ready.values().next()
    }

    /// The line that heads a failure: `[gw0] linux -- Python 3.11.7 /usr/bin/python`; without Python for a worker that
    /// has none, and with the machine, `(on buildhost)`, where it is another one.
    pub(crate) fn platform_line(&self, worker: WorkerId) -> Option<String> {
        let ready = self.ready.get(&worker)?;
        let program = match ready.python.as_slice() {
            [] => ready.executable.clone(),
            version => format!("Python {} {}", python_version(version), ready.executable),
        };
        let facts = [ready.platform.as_str(), program.trim()];
        let known: Vec<&str> = facts.into_iter().filter(|fact| !fact.is_empty()).collect();
        Some(format!("[{}] {}{}", self.name(worker), known.join(" -- "), self.machine(worker)))
    }

    /// The item that the worker means.
    pub(crate) fn item(&self, worker: WorkerId, item: ItemIndex) -> Option<&Item> {
        let collection = self.own.get(&worker).or(self.agreed.as_ref())?;
        collection.items.get(item.as_usize())
    }

    /// The node id of the item that the worker means; a placeholder for one that nobody announced.
    pub(crate) fn node_id(&self, worker: WorkerId, item: ItemIndex) -> String {
        self.item(worker, item).map_or_else(|| format!("<item {}>", item.0), |item| item.node_id.clone())
    }

    /// The node id of an item of the agreed collection, or of this worker's in mode `each`.
    pub(crate) fn any_node_id(&self, worker: Option<WorkerId>, item: ItemIndex) -> String {
        self.node_id(worker.unwrap_or_default(), item)
    }

    /// In mode `each`, whose items the worker's are: its own, or those of the first of the workers that it goes on for.
    pub(crate) fn owner(&self, worker: WorkerId) -> Option<WorkerId> {
        let mut owner = self.own.contains_key(&worker).then_some(worker)?;
        while let Some(replaced) =
            self.replaced.get(&owner).filter(|replaced| self.own.contains_key(replaced))
        {
            owner = *replaced;
        }
        Some(owner)
    }

    /// How many items are to be run in all.
    pub(crate) fn total(&self) -> u64 {
        // A replacement goes on with what the crashed worker collected.
        let counted = |worker: &WorkerId| {
            self.replaced.get(worker).is_none_or(|replaced| !self.own.contains_key(replaced))
        };
        let own = self.own.iter().filter(|(worker, _)| counted(worker)).map(|(_, own)| own.items.len());
        (own.sum::<usize>() + self.agreed.as_ref().map_or(0, |collection| collection.items.len())) as u64
    }
}

/// `3.11.7`, of as many parts as are known.
pub(crate) fn python_version(parts: &[u32]) -> String {
    parts.iter().take(3).map(u32::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::testing;

    #[test]
    fn the_machine_is_named_where_it_is_another_one() {
        let mut roster = Roster::default();
        roster.observe(&testing::ready(0));
        assert_eq!(
            roster.platform_line(WorkerId(0)).unwrap(),
            "[gw0] linux -- Python 3.11.7 /usr/bin/python3"
        );
        roster.observe(&testing::ready_elsewhere(0));
        assert_eq!(
            roster.platform_line(WorkerId(0)).unwrap(),
            "[gw0] linux -- Python 3.11.7 /usr/bin/python3 (on buildhost)"
        );
    }
}
