//! The invariants, checked on everything that goes in and comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use xdist_coord::session::{Output, RunEnd, RunEvent, RunSummary};
use xdist_coord::workers::LinkId;
use xdist_proto::message::CoordinatorMessage;
use xdist_proto::{Collection, ItemIndex, WorkerId};

/// A test, whatever its index: its node id, and the how-manieth of that node id it is. In mode `each`, also the first of
/// the workers that run it one in the place of the other.
pub(crate) type Identity = (Option<WorkerId>, String, usize);

/// How many steals there may be for each result and each worker.
const MOST_STEALS: usize = 3;

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the run so far")]
#[derive(Debug, Default)]
pub(crate) struct Audit {
    each: bool,
    open_links: BTreeSet<LinkId>,
    configured: bool,
    /// Who has each test now.
    holders: BTreeMap<Identity, WorkerId>,
    /// Tests whose holders have given them back.
    given_back: BTreeSet<Identity>,
    /// What has become of each test.
    ends: BTreeMap<Identity, End>,
    /// The agreed collection, or those of the workers in mode `each`.
    collections: BTreeMap<Option<WorkerId>, Vec<Identity>>,
    /// Whom each worker replaces.
    predecessors: BTreeMap<WorkerId, WorkerId>,
    pub(crate) scheduling: bool,
    pub(crate) stopping: bool,
    pub(crate) summary: Option<RunSummary>,
    usage_errors: u32,
    mismatches: u32,
    steals: usize,
    started: BTreeSet<WorkerId>,
    down: BTreeSet<WorkerId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finished,
    Crashed,
    NotRun,
}

/// The tests of a collection by index.
pub(crate) fn identities(lineage: Option<WorkerId>, node_ids: impl Iterator<Item = String>) -> Vec<Identity> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let identity = |id: String| {
        let number = seen.entry(id.clone()).or_default();
        *number += 1;
        (lineage, id, *number)
    };
    node_ids.map(identity).collect()
}

impl Audit {
    pub(crate) fn new(each: bool) -> Self {
        Self { each, ..Self::default() }
    }

    pub(crate) fn link_opened(&mut self, link: LinkId) {
        self.open_links.insert(link);
    }

    pub(crate) fn link_closed(&mut self, link: LinkId) {
        self.open_links.remove(&link);
    }

    pub(crate) fn is_open(&self, link: LinkId) -> bool {
        self.open_links.contains(&link)
    }

    /// The first of the workers that this one replaces, in mode `each`.
    pub(crate) fn lineage(&self, worker: WorkerId) -> Option<WorkerId> {
        let mut first = worker;
        while let Some(&predecessor) = self.predecessors.get(&first) {
            first = predecessor;
        }
        self.each.then_some(first)
    }

    /// The worker gave a test back. If that was false, the session need not believe it.
    pub(crate) fn given_back(&mut self, worker: WorkerId, identity: &Identity) {
        if self.holders.get(identity) == Some(&worker) {
            self.given_back.insert(identity.clone());
        }
    }

    pub(crate) fn output(&mut self, output: &Output, identities: impl Fn(WorkerId) -> Vec<Identity>) {
        assert!(self.summary.is_none(), "nothing comes after Finished: {output:?}");
        match output {
            Output::Launch { .. } => {}
            Output::Answer { link, .. } => assert!(self.is_open(*link), "an answer on a closed link"),
            Output::Close { link, .. } => assert!(self.open_links.remove(link), "a closed link is closed"),
            Output::Send { link, message } => {
                assert!(self.is_open(*link), "{message:?} on a closed link");
                if matches!(message, CoordinatorMessage::Steal(_)) {
                    self.steals += 1;
                    let most = MOST_STEALS * (self.ends.len() + self.started.len() + 1);
                    assert!(self.steals <= most, "items are taken to and fro: {} steals", self.steals);
                }
                if let CoordinatorMessage::Run(run) = message {
                    let identities = identities(run.worker);
                    for item in &run.items {
                        self.handed_out(run.worker, &identities[item.as_usize()]);
                    }
                }
            }
            Output::Report(event) => self.event(event),
            Output::StartPytestHost { .. } | Output::AskConfiguration { .. } => {
                panic!("there is no pytest host in this run: {output:?}")
            }
            Output::Finished(summary) => self.finished(summary),
        }
    }

    fn handed_out(&mut self, worker: WorkerId, identity: &Identity) {
        assert!(!self.down.contains(&worker), "{worker} is down and is given {identity:?}");
        assert_eq!(self.ends.get(identity), None, "{identity:?} is handed out after its end");
        let given_back = self.given_back.remove(identity);
        let holder = self.holders.insert(identity.clone(), worker).filter(|_| !given_back);
        assert_eq!(holder, None, "{identity:?} is handed out to {worker} too");
    }

    fn event(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Configured(_) => {
                assert!(!self.configured, "configured comes once");
                self.configured = true;
            }
            RunEvent::WorkerStarting { worker, replaces, .. } => {
                assert!(self.started.insert(*worker), "{worker} starts twice");
                if let Some(replaced) = replaces {
                    assert!(self.down.contains(replaced), "{replaced} is replaced while it is there");
                    self.predecessors.insert(*worker, *replaced);
                }
            }
            RunEvent::WorkerReady { .. } => {
                assert!(self.configured, "the first thing told is the configuration")
            }
            RunEvent::WorkerCollecting { .. }
            | RunEvent::WorkerCollected { .. }
            | RunEvent::Unforkable { .. }
            | RunEvent::CollectReport { .. } => {}
            RunEvent::Collected { worker, collection } => self.collected(*worker, collection),
            RunEvent::CollectionMismatch(_) => self.mismatches += 1,
            RunEvent::Scheduling { .. } => self.scheduling = true,
            RunEvent::ItemStarted { .. } => {}
            RunEvent::ItemFinished { worker, item, .. } => {
                self.item_ended(Some(*worker), *item, End::Finished)
            }
            RunEvent::CrashQuestion { .. } | RunEvent::TakenBack { .. } => {
                panic!("there is no pytest host to ask: {event:?}")
            }
            RunEvent::Crashed(crash) => {
                assert!(!self.down.contains(&crash.worker), "{} crashes after its end", crash.worker);
                if let Some(item) = crash.item {
                    self.item_ended(Some(crash.worker), item.item, End::Crashed);
                }
            }
            RunEvent::WorkerDown { worker, .. } => {
                assert!(self.started.contains(worker), "{worker} ends before it starts");
                assert!(self.down.insert(*worker), "{worker} is down twice");
                self.holders.retain(|_, holder| holder != worker);
            }
            RunEvent::UsageError { .. } => self.usage_errors += 1,
            RunEvent::Stopping(_) => {
                assert!(!self.stopping, "the run is stopped twice");
                self.stopping = true;
            }
            RunEvent::NotRun { worker, items, reason } => {
                assert!(!items.is_empty() && !reason.is_empty());
                for item in items {
                    self.item_ended(*worker, *item, End::NotRun);
                }
            }
            RunEvent::RestartsExhausted { .. }
            | RunEvent::Warning { .. }
            | RunEvent::Output { .. }
            | RunEvent::InternalError { .. }
            | RunEvent::HostLost { .. }
            | RunEvent::WorkerOutput { .. } => {}
        }
    }

    fn collected(&mut self, worker: Option<WorkerId>, collection: &Rc<Collection>) {
        assert_eq!(worker.is_some(), self.each, "collections are of workers in mode each only");
        let lineage = worker.and_then(|worker| self.lineage(worker));
        let ids = collection.items.iter().map(|item| item.node_id.clone());
        let previous = self.collections.insert(worker, identities(lineage, ids));
        assert_eq!(previous, None, "collected comes once");
    }

    fn item_ended(&mut self, worker: Option<WorkerId>, item: ItemIndex, end: End) {
        let collection = &self.collections[&worker.filter(|_| self.each)];
        let identity = collection[item.as_usize()].clone();
        if let Some(worker) = worker.filter(|_| end != End::NotRun) {
            assert_eq!(
                self.holders.get(&identity),
                Some(&worker),
                "{worker} had {identity:?} when it ended: {end:?}"
            );
        }
        self.holders.remove(&identity);
        let previous = self.ends.insert(identity.clone(), end);
        assert_eq!(previous, None, "{identity:?} has a second end: {end:?}");
    }

    fn finished(&mut self, summary: &RunSummary) {
        let count = |end| self.ends.values().filter(|&&other| other == end).count() as u64;
        assert_eq!(summary.finished, count(End::Finished), "finished");
        assert_eq!(summary.crashed, count(End::Crashed), "crashed");
        assert_eq!(summary.not_run, count(End::NotRun), "not run");
        let all: BTreeSet<&Identity> = self.collections.values().flatten().collect();
        assert_eq!(summary.collected, all.len() as u64, "collected");
        assert_eq!(summary.collected, self.ends.len() as u64, "every item has exactly one end");
        assert!(self.usage_errors <= 1 && self.mismatches <= 1, "told once");
        match &summary.end {
            RunEnd::Completed => assert!(summary.not_run == 0 && !self.stopping),
            RunEnd::Stopped(_) => assert!(self.stopping, "a stop is told of"),
            RunEnd::Mismatch => assert_eq!((self.mismatches, summary.collected), (1, 0)),
            RunEnd::UsageError(_) => assert_eq!(self.usage_errors, 1),
            RunEnd::Plain(_) => assert_eq!(summary.collected, 0),
        }
        self.summary = Some(summary.clone());
    }
}
