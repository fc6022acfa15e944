//! Items that cannot run beside just any other: those that must run alone (`xdist_exclusive`), and those that use
//! something that only so many workers may use at a time (`xdist_resource`).
//!
//! Units of such items are kept behind a gate, out of what is pending, so the modes' rules do not know of them. Units with
//! the same claims share a line. What a line claims is taken for a worker all at once, when the worker has nothing else to
//! do, and is held until the worker has nothing of that line any more: one worker's items never run beside each other, so
//! a second one in its queue holds nothing more, and keeps the fixtures of the first.

use super::units::{UnitId, Units};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use xdist_proto::{Collection, Item, ItemIndex};

/// A unit is long if it is at least one such fraction of what each holder of its line has to do.
const LONG: u64 = 20;

/// A line of a [`Gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LineId(usize);

/// What a unit may not run without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// These resources, by position.
    Shares(BTreeSet<usize>),
    /// That nothing else runs anywhere.
    Everything,
}

/// Units with the same claim.
#[derive(Debug)]
struct Line {
    claim: Claim,
    waiting: VecDeque<UnitId>,
    /// What the waiting units cost.
    cost: u64,
}

/// The units that are not handed out like others: which wait, and what workers hold for those that do not.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// By item that has any.
    claims: BTreeMap<ItemIndex, Claim>,
    /// By resource, how many workers may begin to use it.
    free: Vec<u32>,
    lines: Vec<Line>,
    known: BTreeMap<Claim, LineId>,
    line_of: BTreeMap<UnitId, LineId>,
    /// Lines in which units wait: whether their claim is shared, and what waits there.
    waiting: BTreeSet<(bool, u64, Reverse<LineId>)>,
    /// How many workers hold a line's claim.
    holders: usize,
    /// Whether one of them holds everything.
    closed: bool,
}

impl Gate {
    /// The gate for these units, which leave the order of what is pending. A resource that as many workers may use as
    /// there are, or as there are items that use it, keeps nothing from running.
    pub(super) fn new(
        collection: &Collection,
        workers: Option<u32>,
        units: &Units,
        order: &mut Vec<UnitId>,
    ) -> Self {
        let is_marked = |item: &Item| item.exclusive || !item.resources.is_empty();
        if !collection.items.iter().any(is_marked) {
            return Self::default();
        }
        let mut gate = Self::default();
        gate.read_claims(collection, workers);
        order.retain(|&unit| !gate.admit(unit, units));
        gate.put_long_first(units);
        gate
    }

    fn read_claims(&mut self, collection: &Collection, workers: Option<u32>) {
        let mut uses: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for resource in collection.items.iter().flat_map(|item| &item.resources) {
            let (least, users) = uses.entry(&resource.name).or_insert((u32::MAX, 0));
            *least = resource.limit.max(1).min(*least);
            *users += 1;
        }
        uses.retain(|_, &mut (limit, users)| limit < users && workers.is_none_or(|workers| limit < workers));
        self.free = uses.values().map(|&(limit, _)| limit).collect();
        let known: BTreeMap<&str, usize> = uses.into_keys().zip(0..).collect();
        for (index, item) in (0..).map(ItemIndex).zip(&collection.items) {
            let shares = item.resources.iter().filter_map(|resource| known.get(resource.name.as_str()));
            let shares: BTreeSet<usize> = shares.copied().collect();
            if item.exclusive {
                self.claims.insert(index, Claim::Everything);
            } else if !shares.is_empty() {
                self.claims.insert(index, Claim::Shares(shares));
            }
        }
    }

    /// Where it is known what items take, long ones go before the others, so that no holder comes to them last. A line
    /// that only one worker can hold has no such end, and keeps its order.
    fn put_long_first(&mut self, units: &Units) {
        if !units.are_timed() {
            return;
        }
        for line in &mut self.lines {
            let Claim::Shares(shares) = &line.claim else { continue };
            let holders = shares.iter().map(|&share| self.free[share]).min().unwrap_or(1);
            if holders > 1 {
                let least = line.cost / u64::from(holders) / LONG;
                let all = std::mem::take(&mut line.waiting).into_iter();
                let (mut long, short): (Vec<_>, Vec<_>) =
                    all.partition(|&unit| units.cost_apart(unit) >= least);
                long.sort_by_key(|&unit| Reverse(units.cost(unit)));
                line.waiting = long.into_iter().chain(short).collect();
            }
        }
    }

    /// The line of a unit, if it has one.
    pub(super) fn line_of(&self, unit: UnitId) -> Option<LineId> {
        self.line_of.get(&unit).copied()
    }

    /// Lets a new unit wait as the last of its line; `false` if it claims nothing.
    fn admit(&mut self, unit: UnitId, units: &Units) -> bool {
        let Some(line) = self.assign_line(unit, units) else { return false };
        self.change(line, |line| {
            line.waiting.push_back(unit);
            line.cost += units.cost(unit);
        });
        true
    }

    /// Lets a unit wait as the first of its line; `false` if it claims nothing.
    pub(super) fn take_back(&mut self, unit: UnitId, units: &Units) -> bool {
        let Some(line) = self.line_of(unit).or_else(|| self.assign_line(unit, units)) else { return false };
        self.change(line, |line| {
            line.waiting.push_front(unit);
            line.cost += units.cost(unit);
        });
        true
    }

    fn assign_line(&mut self, unit: UnitId, units: &Units) -> Option<LineId> {
        let claim = self.claim_of(units.items(unit))?;
        let line = self.line_with(claim);
        self.line_of.insert(unit, line);
        Some(line)
    }

    /// Changes what waits in a line.
    fn change(&mut self, id: LineId, change: impl FnOnce(&mut Line)) {
        let line = &mut self.lines[id.0];
        let is_shared = matches!(line.claim, Claim::Shares(_));
        self.waiting.remove(&(is_shared, line.cost, Reverse(id)));
        change(line);
        if !line.waiting.is_empty() {
            self.waiting.insert((is_shared, line.cost, Reverse(id)));
        }
    }

    /// What items claim together.
    fn claim_of(&self, items: &[ItemIndex]) -> Option<Claim> {
        if self.claims.is_empty() {
            return None;
        }
        let together = |all: Claim, other: &Claim| match (all, other) {
            (Claim::Shares(mut all), Claim::Shares(other)) => {
                all.extend(other);
                Claim::Shares(all)
            }
            (Claim::Everything, _) | (_, Claim::Everything) => Claim::Everything,
        };
        let mut claims = items.iter().filter_map(|item| self.claims.get(item));
        let first = claims.next()?.clone();
        Some(claims.fold(first, together))
    }

    fn line_with(&mut self, claim: Claim) -> LineId {
        if let Some(&line) = self.known.get(&claim) {
            return line;
        }
        let line = LineId(self.lines.len());
        self.known.insert(claim.clone(), line);
        self.lines.push(Line { claim, waiting: VecDeque::new(), cost: 0 });
        line
    }

    /// Whether any unit waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether any worker holds what a line claims.
    pub(super) const fn is_held(&self) -> bool {
        self.holders > 0
    }

    /// Whether a unit has been let through beside which nothing may run.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The line to begin with on a worker that has nothing to do: of those that can be held, the one that has most left,
    /// which the end of the run may have to wait for. `alone` is whether no other worker has anything, nor could have; what
    /// must run alone comes last.
    pub(super) fn next_line(&self, alone: bool) -> Option<LineId> {
        let mut lines = self.waiting.iter().rev().map(|&(_, _, Reverse(line))| line);
        lines.find(|&line| self.can_hold(line, alone))
    }

    /// Whether one more worker can hold what a line claims.
    pub(super) fn can_hold(&self, line: LineId, alone: bool) -> bool {
        match &self.lines[line.0].claim {
            Claim::Shares(shares) => !self.closed && shares.iter().all(|&share| self.free[share] > 0),
            Claim::Everything => alone && self.holders == 0,
        }
    }

    /// A worker begins to hold what a line claims.
    pub(super) fn hold(&mut self, line: LineId) {
        debug_assert!(self.can_hold(line, true), "a claim is held beyond its limit");
        self.holders += 1;
        match &self.lines[line.0].claim {
            Claim::Shares(shares) => shares.iter().for_each(|&share| self.free[share] -= 1),
            Claim::Everything => self.closed = true,
        }
    }

    /// A worker holds it no more.
    pub(super) fn release(&mut self, line: LineId) {
        self.holders -= 1;
        match &self.lines[line.0].claim {
            Claim::Shares(shares) => shares.iter().for_each(|&share| self.free[share] += 1),
            Claim::Everything => self.closed = false,
        }
    }

    /// Lets the next unit of a line through.
    pub(super) fn next_unit(&mut self, line: LineId, units: &Units) -> Option<UnitId> {
        let &unit = self.lines[line.0].waiting.front()?;
        self.change(line, |line| {
            line.waiting.pop_front();
            line.cost -= units.cost(unit);
        });
        Some(unit)
    }
}
