//! What has become of every item: the ledger behind "everything is accounted for".

use super::retries::Tries;
use crate::scheduler::Distribution;
use std::collections::BTreeMap;
use std::rc::Rc;
use xdist_proto::{Collection, CollectionDigest, ItemIndex, LeaseId, WorkerId};

/// The items of one collection and what has become of them. There is one book for the run, but in mode `each` one for
/// each worker and the replacements that take over from it.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) digest: CollectionDigest,
    pub(super) collection: Rc<Collection>,
    pub(super) distribution: Distribution,
    /// In mode `each`, whose it is.
    pub(super) owner: Option<WorkerId>,
    /// Items that failed, and wait to run again or do.
    pub(super) tries: BTreeMap<ItemIndex, Tries>,
    /// How often items were running on a machine that was lost.
    cuts: BTreeMap<ItemIndex, u32>,
    states: Vec<ItemState>,
    /// How many items have neither a result nor a crash.
    left: usize,
    /// Whether nothing more will come of it.
    closed: bool,
}

/// What has become of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemState {
    /// Nobody has it.
    Waiting,
    /// A worker has it.
    Leased { worker: WorkerId, lease: LeaseId },
    /// It was running when its worker was interrupted.
    Interrupted,
    /// It was running when its worker crashed, and may run again.
    Questioned,
    /// It has a result, or a crash for one.
    Done,
}

impl Book {
    pub(super) fn new(
        digest: CollectionDigest,
        collection: Rc<Collection>,
        distribution: Distribution,
        owner: Option<WorkerId>,
    ) -> Self {
        let left = collection.items.len();
        let states = vec![ItemState::Waiting; left];
        let (tries, cuts) = (BTreeMap::new(), BTreeMap::new());
        Self { digest, collection, distribution, owner, tries, cuts, states, left, closed: left == 0 }
    }

    /// Whether nothing more will come of it: everything is done, or nobody is left to go on with it.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) const fn close(&mut self) {
        self.closed = true;
    }

    /// How many items have neither a result nor a crash.
    pub(super) const fn left(&self) -> usize {
        self.left
    }

    pub(super) fn state(&self, item: ItemIndex) -> ItemState {
        self.states[item.as_usize()]
    }

    pub(super) fn lease(&mut self, item: ItemIndex, worker: WorkerId, lease: LeaseId) {
        debug_assert_eq!(self.state(item), ItemState::Waiting, "item {} is handed out twice", item.0);
        self.states[item.as_usize()] = ItemState::Leased { worker, lease };
    }

    pub(super) fn is_leased_to(&self, item: ItemIndex, worker: WorkerId) -> bool {
        matches!(self.state(item), ItemState::Leased { worker: holder, .. } if holder == worker)
    }

    pub(super) fn give_back(&mut self, item: ItemIndex) {
        self.states[item.as_usize()] = ItemState::Waiting;
    }

    /// The item was running on a machine that is lost, and is nobody's any more.
    pub(super) fn cut(&mut self, item: ItemIndex) {
        *self.cuts.entry(item).or_default() += 1;
        self.give_back(item);
    }

    /// How often it was running on a machine that was lost.
    pub(super) fn cuts(&self, item: ItemIndex) -> u32 {
        self.cuts.get(&item).copied().unwrap_or_default()
    }

    /// How often the item failed and was to run again, as long as it has no result.
    pub(super) fn retries(&self, item: ItemIndex) -> u32 {
        self.tries.get(&item).map_or(0, Tries::count)
    }

    pub(super) fn question(&mut self, item: ItemIndex) {
        self.states[item.as_usize()] = ItemState::Questioned;
    }

    pub(super) fn interrupt(&mut self, item: ItemIndex) {
        self.states[item.as_usize()] = ItemState::Interrupted;
    }

    /// The item has its result; answers how often it had failed before, and was to run again.
    pub(super) fn done(&mut self, item: ItemIndex) -> u32 {
        debug_assert_ne!(self.state(item), ItemState::Done, "item {} is done twice", item.0);
        self.states[item.as_usize()] = ItemState::Done;
        self.left -= 1;
        self.tries.remove(&item).map_or(0, |tries| tries.count())
    }

    /// The items that the worker has, in the order in which it was given them.
    pub(super) fn leased_to(&self, worker: WorkerId) -> impl Iterator<Item = ItemIndex> {
        self.distribution.queued(worker).filter(move |&item| self.is_leased_to(item, worker))
    }

    /// Items that never ran, and items that were interrupted.
    pub(super) fn not_run(&self) -> (Vec<ItemIndex>, Vec<ItemIndex>) {
        let all = (0..).map(ItemIndex).zip(&self.states).filter(|&(_, &state)| state != ItemState::Done);
        let (interrupted, rest): (Vec<_>, Vec<_>) =
            all.partition(|&(_, &state)| state == ItemState::Interrupted);
        let items = |pairs: Vec<(ItemIndex, &ItemState)>| pairs.into_iter().map(|(item, _)| item).collect();
        (items(rest), items(interrupted))
    }
}

/// Whom each lease was given to. Leases are numbered, so that a late report is known from a false one.
#[derive(Debug, Default)]
pub(super) struct Leases {
    holders: Vec<WorkerId>,
}

impl Leases {
    pub(super) fn issue(&mut self, worker: WorkerId) -> LeaseId {
        let lease = LeaseId(u32::try_from(self.holders.len()).expect("fewer than 2^32 leases in one run"));
        self.holders.push(worker);
        lease
    }

    pub(super) fn was_given(&self, lease: LeaseId, worker: WorkerId) -> bool {
        self.holders.get(lease.0 as usize) == Some(&worker)
    }
}

/// Running totals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) finished: u64,
    pub(super) crashed: u64,
    pub(super) failed: u64,
    /// Items that failed first and did not in the end.
    pub(super) flaky: u64,
    pub(super) collect_errors: u64,
    /// What counts for `--maxfail`.
    pub(super) failures: u32,
}
