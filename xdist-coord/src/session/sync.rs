//! Directories that are copied to a host before its workers there are brought up.
//!
//! A worker on another machine, or in a directory of its own, gets copies of all roots if there are any. They go where the
//! worker is to start (`chdir=`), or into a place of the host's choice; all workers of a host that want them in the same
//! place share them. The worker starts in the copy of the directory that the run was started in, if that was copied.

use super::Session;
use super::config::{Copied, Place};
use super::event::RunEvent;
use super::output::{CloseReason, Output, SyncJob, SyncOrder};
use super::violation::Violation;
use crate::sync::{Root, Source};
use crate::workers::spec::{HostSpec, WorkerSpec};
use crate::workers::{HostId, HostLife, Life};
use std::collections::BTreeMap;
use std::time::Instant;
use xdist_proto::WorkerId;
use xdist_proto::frontend::FilesCopied;
use xdist_proto::message::WorkerMessage;
use xdist_proto::sync::{FEATURE, SyncEnd};

/// A place on a host that copies go to: what `chdir=` says, or the host's own choice.
type Destination = (HostId, Option<String>);

/// What is copied where.
#[derive(Debug, Default)]
pub(super) struct State {
    destinations: BTreeMap<Destination, Progress>,
    /// What is being copied, by number.
    trees: BTreeMap<u32, Tree>,
    next_tree: u32,
}

#[derive(Debug)]
struct Progress {
    copies: Vec<Copied>,
    is_done: bool,
}

#[derive(Debug)]
struct Tree {
    destination: Destination,
    root: Root,
    begun: Instant,
}

impl Session {
    /// Whether the worker's host has what it needs. If not, that is seen to, and the worker is configured later.
    pub(super) fn has_files(&mut self, worker: WorkerId) -> bool {
        if self.config.place.roots.is_empty() || !self.needs_copies(worker) {
            return true;
        }
        let destination = self.destination_of(worker);
        if let Some(progress) = self.sync.destinations.get(&destination) {
            return progress.is_done;
        }
        if !self.takes_files(destination.0) {
            let text =
                "it does not take files, since it is of another version; install this one there, or leave out \
                        --sync and --rsyncdir and see to the files yourself"
                    .to_owned();
            self.lose_host(destination.0, text, CloseReason::Done);
            return false;
        }
        let progress = Progress { copies: Vec::new(), is_done: false };
        self.sync.destinations.insert(destination.clone(), progress);
        self.copy_next(destination);
        false
    }

    fn takes_files(&self, host: HostId) -> bool {
        self.workers.host(host).features.contains_key(FEATURE)
    }

    /// The copies that a worker has.
    pub(super) fn copies_of(&self, worker: WorkerId) -> &[Copied] {
        let progress = self.sync.destinations.get(&self.destination_of(worker));
        progress.filter(|_| self.needs_copies(worker)).map_or(&[], |progress| &progress.copies)
    }

    fn destination_of(&self, worker: WorkerId) -> Destination {
        let worker = self.workers.get(worker);
        (worker.host, worker.spec.chdir.clone())
    }

    /// Whether the worker is elsewhere: a worker that starts here finds everything.
    fn needs_copies(&self, worker: WorkerId) -> bool {
        let worker = self.workers.get(worker);
        let WorkerSpec { host, chdir, .. } = &worker.spec;
        match host {
            HostSpec::Local => chdir.is_some(),
            // A program of somebody else's sees to its files itself.
            HostSpec::Exec(_) => chdir.is_some() && self.takes_files(worker.host),
            HostSpec::Ssh(_) | HostSpec::Joined(_) => true,
            HostSpec::Launcher(_) => false,
        }
    }

    /// Begins to copy the next root, or brings up the workers that have waited for all of them.
    fn copy_next(&mut self, destination: Destination) {
        let (host, base) = destination.clone();
        let HostLife::Open { link, .. } = self.workers.host(host).life else { return };
        let Some(progress) = self.sync.destinations.get_mut(&destination) else { return };
        if let Some(root) = self.config.place.roots.get(progress.copies.len()).cloned() {
            let tree = self.sync.next_tree;
            self.sync.next_tree += 1;
            let Place { project, files, cache, .. } = &self.config.place;
            let source = Source { root: root.clone(), ignore: files.ignore.clone(), cache: cache.clone() };
            let job = SyncJob { base, project: project.clone(), source };
            self.sync.trees.insert(tree, Tree { destination, root, begun: self.now });
            self.order(tree, SyncOrder::Begin { link, job: Box::new(job) });
            return;
        }
        progress.is_done = true;
        for worker in self.workers.living_on(host) {
            let is_waiting = matches!(self.workers.get(worker).life, Life::Waiting);
            if is_waiting && self.destination_of(worker) == destination {
                self.configure_worker(worker);
            }
        }
    }

    fn order(&mut self, tree: u32, order: SyncOrder) {
        self.outputs.push_back(Output::Sync { tree, order });
    }

    /// What a host says of a copy.
    pub(super) fn sync_message(&mut self, host: HostId, message: WorkerMessage) -> Result<(), Violation> {
        match message {
            WorkerMessage::SyncWant(want) => {
                self.check_tree(host, want.tree)?;
                self.order(want.tree, SyncOrder::Want(want.blobs));
            }
            WorkerMessage::SyncTaken(taken) => {
                self.check_tree(host, taken.tree)?;
                self.order(taken.tree, SyncOrder::Taken(taken.chunks));
            }
            WorkerMessage::SyncEnd(end) => {
                self.check_tree(host, end.tree)?;
                self.copied(end);
            }
            WorkerMessage::SyncFailed(failed) => {
                self.check_tree(host, failed.tree)?;
                self.sync_failed(failed.tree, failed.text);
            }
            message => return self.worker_message(host, message),
        }
        Ok(())
    }

    fn check_tree(&self, host: HostId, tree: u32) -> Result<(), Violation> {
        let known = self.sync.trees.get(&tree).is_some_and(|known| known.destination.0 == host);
        if known { Ok(()) } else { Err(Violation::Tree { tree }) }
    }

    fn copied(&mut self, end: SyncEnd) {
        let Some(Tree { destination, root, begun }) = self.sync.trees.remove(&end.tree) else { return };
        self.order(end.tree, SyncOrder::Forget);
        let took = self.now - begun;
        self.report(RunEvent::FilesCopied(Box::new(FilesCopied {
            host: self.workers.host(destination.0).machine(),
            name: root.name.clone(),
            path: end.path.clone(),
            files: end.files,
            written: end.written,
            removed: end.removed,
            bytes: end.received,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })));
        if let Some(progress) = self.sync.destinations.get_mut(&destination) {
            progress.copies.push(Copied { here: root.path, there: end.path });
        }
        self.copy_next(destination);
    }

    /// A directory cannot be copied, so the workers that are to run in it are of no use.
    pub(super) fn sync_failed(&mut self, tree: u32, text: String) {
        let Some(Tree { destination: (host, _), .. }) = self.sync.trees.get(&tree) else { return };
        let host = *host;
        // Trying again would not help.
        self.workers.host_mut(host).came_up = false;
        self.lose_host(host, text, CloseReason::Done);
    }

    /// A host is gone, and what was being copied there with it.
    pub(super) fn forget_copies(&mut self, host: HostId) {
        self.sync.destinations.retain(|destination, _| destination.0 != host);
        let on_host = |tree: &Tree| tree.destination.0 == host;
        let lost: Vec<u32> =
            self.sync.trees.iter().filter(|(_, tree)| on_host(tree)).map(|(number, _)| *number).collect();
        for tree in lost {
            self.sync.trees.remove(&tree);
            self.order(tree, SyncOrder::Forget);
        }
    }
}
