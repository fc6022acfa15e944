//! What is pending and what each worker has queued, in whole units, and who can take from whom.
//!
//! Everything a result touches costs the logarithm of the number of workers at most, whatever the number of items.

use super::distribution::Action;
use super::layout;
use super::resources::{Gate, LineId};
use super::units::{UnitId, Units};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use xdist_proto::{ItemIndex, WorkerId};

/// The units of one collection: pending, or queued at a worker.
#[derive(Debug)]
pub struct Queues {
    units: Units,
    /// Units that are not pending although nobody has them: they wait for more than a worker.
    gate: Gate,
    pending: VecDeque<UnitId>,
    pending_items: usize,
    pending_cost: u64,
    /// Units that wait for a worker which has not had them, beside what is pending: by the workers that have.
    aside: BTreeMap<BTreeSet<WorkerId>, VecDeque<UnitId>>,
    /// Units that are to run where they did not run before, with the workers that had them: those that are put aside, and
    /// those that a worker was given for that reason.
    tried: BTreeMap<UnitId, BTreeSet<WorkerId>>,
    /// What was given up of a unit whose other part some worker still has, by that part. It comes after that, as two parts
    /// of a unit do not run at the same time.
    torn: BTreeMap<UnitId, UnitId>,
    workers: BTreeMap<WorkerId, Queue>,
    /// Workers with an empty queue.
    idle: BTreeSet<WorkerId>,
    /// Workers with one item, which they may be running, and that can be given what is pending.
    low: BTreeSet<WorkerId>,
    /// Workers with one item that wait to hear whether it has a successor.
    unparked: BTreeSet<WorkerId>,
    /// Workers that something can be taken from, by how much that is; the lowest id last among equals.
    victims: BTreeSet<(u64, Reverse<WorkerId>)>,
    /// Workers that have units of their line which have not begun.
    ahead: BTreeSet<WorkerId>,
    /// The worker that is given nothing more for now, since something at the gate waits for a worker.
    vacating: Option<WorkerId>,
    /// How many workers take nothing more.
    retired: usize,
    /// How many steals are unanswered.
    steals: usize,
    actions: VecDeque<Action>,
}

/// What one worker has been given and has not finished.
#[derive(Debug, Default)]
struct Queue {
    units: VecDeque<UnitId>,
    /// How many items that are.
    items: usize,
    /// What they cost.
    cost: u64,
    /// The units of the unanswered steal; they stand together in `units`.
    asked: Vec<UnitId>,
    /// The line of the gate that the worker holds the claim of; then all of its units are of that one, otherwise of none.
    line: Option<LineId>,
    reach: Reach,
    /// How many of the units were put aside for this worker.
    apart: usize,
    /// Whether the worker knows that its last item has no successor.
    parked: bool,
    /// Whether it takes nothing more.
    retired: bool,
    /// The entry in `victims`.
    victim_of: Option<u64>,
}

impl Queue {
    /// Whether it can be given what is pending.
    const fn is_open(&self) -> bool {
        !self.retired && self.line.is_none()
    }
}

/// How far a worker is taken to have got in its queue. A refused steal shows that it is further than thought; a finished
/// item, that it is where its results say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reach {
    /// It runs the first item.
    #[default]
    Running,
    /// It has also asked for the second, as pytest does to tear down the first.
    Successor,
    /// Nobody knows: nothing is asked of it before it has finished something.
    Unknown,
}

/// Who a steal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thief {
    /// A worker with nothing to do: takes whatever there is.
    Idle,
    /// A worker on its last item: takes only what leaves both with two items, or they would take it from each other for
    /// ever.
    Low,
}

impl Queues {
    pub(super) fn new(units: Units, order: Vec<UnitId>, gate: Gate) -> Self {
        let pending_items = order.iter().map(|&unit| units.len(unit)).sum();
        let pending_cost = order.iter().map(|&unit| units.cost(unit)).sum();
        Self {
            units,
            gate,
            pending: order.into(),
            pending_items,
            pending_cost,
            aside: BTreeMap::new(),
            tried: BTreeMap::new(),
            torn: BTreeMap::new(),
            workers: BTreeMap::new(),
            idle: BTreeSet::new(),
            low: BTreeSet::new(),
            unparked: BTreeSet::new(),
            victims: BTreeSet::new(),
            ahead: BTreeSet::new(),
            vacating: None,
            retired: 0,
            steals: 0,
            actions: VecDeque::new(),
        }
    }

    /// All workers that can be given what is pending, by id.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerId> {
        let open = self.workers.iter().filter(|(_, queue)| queue.line.is_none());
        open.map(|(&worker, _)| worker).collect()
    }

    /// Whether the worker can be given what is pending.
    pub(super) fn can_refill(&self, worker: WorkerId) -> bool {
        !self.gate.is_closed()
            && self.vacating != Some(worker)
            && self.workers.get(&worker).is_some_and(Queue::is_open)
    }

    /// Whether items run now beside which nothing may run.
    pub(super) const fn are_closed(&self) -> bool {
        self.gate.is_closed()
    }

    /// How many workers there are that take items.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        self.workers.len() - self.retired
    }

    /// How many items are pending.
    #[must_use]
    pub const fn pending_items(&self) -> usize {
        self.pending_items
    }

    /// Whether it is known what items took in earlier runs. If so, costs are microseconds; otherwise every item costs 1.
    #[must_use]
    pub const fn are_timed(&self) -> bool {
        self.units.are_timed()
    }

    /// What the pending items cost.
    #[must_use]
    pub const fn pending_cost(&self) -> u64 {
        self.pending_cost
    }

    /// What the items that the worker has queued cost, the running one included.
    #[must_use]
    pub fn queued_cost(&self, worker: WorkerId) -> u64 {
        self.workers.get(&worker).map_or(0, |queue| queue.cost)
    }

    /// How many items the worker has queued, the running one included.
    #[must_use]
    pub fn queued_items(&self, worker: WorkerId) -> usize {
        self.workers.get(&worker).map_or(0, |queue| queue.items)
    }

    /// Workers that run out: those that have no item, then those on their last one. In this order, lest what was taken
    /// from a busy worker for an idle one goes straight back.
    #[must_use]
    pub fn hungry(&self) -> Vec<WorkerId> {
        self.idle.iter().chain(&self.low).copied().collect()
    }

    /// Makes an item that nobody has any more the first of what is pending.
    pub(super) fn put_back(&mut self, item: ItemIndex) {
        let unit = self.units.add_single(item);
        self.return_units([unit]);
    }

    /// Makes units that nobody has any more the first of what is pending, or of what waits at the gate.
    fn return_units(&mut self, units: impl IntoIterator<Item = UnitId, IntoIter: DoubleEndedIterator>) {
        for unit in units.into_iter().rev() {
            if !self.gate.take_back(unit, &self.units) {
                self.pending.push_front(unit);
                self.pending_items += self.units.len(unit);
                self.pending_cost += self.units.cost(unit);
            }
        }
    }

    /// Puts an item that nobody has any more aside, for a worker that is none of these. What waits at the gate is for
    /// whoever can hold what it takes.
    pub(super) fn put_aside(&mut self, item: ItemIndex, tried: BTreeSet<WorkerId>) {
        let unit = self.units.add_single(item);
        if self.gate.take_back(unit, &self.units) {
            return;
        }
        self.tried.insert(unit, tried.clone());
        self.aside.entry(tried).or_default().push_back(unit);
    }

    /// Gives what was put aside to the workers that it has waited for.
    pub(super) fn hand_out_aside(&mut self) {
        if self.gate.is_closed() || (self.idle.is_empty() && self.low.is_empty()) {
            return;
        }
        let mut aside = std::mem::take(&mut self.aside);
        for (tried, units) in &mut aside {
            while let Some(worker) = self.taker(tried)
                && let Some(unit) = units.pop_front()
            {
                if let Some(queue) = self.workers.get_mut(&worker) {
                    queue.apart += 1;
                }
                self.pending_items += 1;
                self.pending_cost += self.units.cost(unit);
                self.assign(worker, vec![unit]);
            }
        }
        aside.retain(|_, units| !units.is_empty());
        self.aside = aside;
    }

    /// The worker that runs a unit which was put aside: an idle one of those that have not had it, or of all if all have
    /// had it. If there is only one to wait for, it need not have finished its last item.
    fn taker(&self, tried: &BTreeSet<WorkerId>) -> Option<WorkerId> {
        let is_new = |worker: &WorkerId| !tried.contains(worker);
        let active = || self.workers.iter().filter(|(_, queue)| !queue.retired).map(|(&worker, _)| worker);
        let new: Vec<WorkerId> = active().filter(is_new).collect();
        let takers = if new.is_empty() { active().collect() } else { new };
        let idle = takers.iter().find(|worker| self.idle.contains(worker));
        let only = takers.first().filter(|worker| takers.len() == 1 && self.low.contains(worker));
        idle.or(only).copied()
    }

    /// Takes back a unit that a worker had, as the first of those to be handed out.
    fn take_over(&mut self, unit: UnitId) {
        if let Some(tried) = self.tried.get(&unit) {
            self.aside.entry(tried.clone()).or_default().push_front(unit);
        } else {
            self.return_units([unit]);
        }
    }

    /// Gives the worker the next pending units, `count` at most.
    pub fn assign_units(&mut self, worker: WorkerId, count: usize) {
        let units: Vec<UnitId> = self.pending.drain(..count.min(self.pending.len())).collect();
        self.assign(worker, units);
    }

    /// Gives the worker pending units until what it has queued costs as much as this, and is two items: `count` units at
    /// most.
    pub fn assign_up_to(&mut self, worker: WorkerId, cost: u64, count: usize) {
        let (mut items, mut queued) = (self.queued_items(worker), self.queued_cost(worker));
        let mut units = 0;
        for &unit in self.pending.iter().take(count) {
            if queued >= cost && items >= 2 {
                break;
            }
            items += self.units.len(unit);
            queued += self.units.cost(unit);
            units += 1;
        }
        self.assign_units(worker, units);
    }

    /// Gives the worker pending units until it has so many items, the running one included.
    pub fn assign_items_up_to(&mut self, worker: WorkerId, count: usize) {
        let mut items = self.queued_items(worker);
        let is_wanted = |&&unit: &&UnitId| {
            let wanted = items < count;
            items += self.units.len(unit);
            wanted
        };
        let units = self.pending.iter().take_while(is_wanted).count();
        self.assign_units(worker, units);
    }

    /// Puts the pending units that cost at least so much first, the most expensive one before all others; answers how many
    /// there are.
    pub fn put_expensive_first(&mut self, cost: u64) -> usize {
        let pending = std::mem::take(&mut self.pending);
        let (mut long, short): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|&unit| self.units.cost_apart(unit) >= cost);
        long.sort_by_key(|&unit| Reverse(self.units.cost(unit)));
        let count = long.len();
        self.pending = long.into_iter().chain(short).collect();
        count
    }

    /// Splits the pending units evenly by cost, in order, but for the last ones, `tail` at most: several workers being
    /// there, the last one begins with them.
    pub fn split(&mut self, tail: usize) {
        let workers = self.workers();
        for (at, &worker) in workers.iter().enumerate() {
            let mut part = self.take_share(workers.len() - at);
            if at > 0 && at + 1 == workers.len() {
                let tail = tail.min(part.len());
                part.rotate_right(tail);
            }
            self.assign(worker, part);
        }
    }

    /// Gives every worker a part of the pending units, so that all parts cost about the same.
    pub fn lay_out(&mut self) {
        let workers = self.workers();
        let parts = layout::lay_out(&self.units, self.pending.make_contiguous(), workers.len());
        if !parts.is_empty() {
            self.pending.clear();
        }
        for (worker, part) in workers.into_iter().zip(parts) {
            self.assign(worker, part);
        }
    }

    /// Deals the pending units out to the hungry workers, evenly by cost. Those with something in hand get none while
    /// there are not enough for those that have nothing.
    pub fn deal(&mut self) {
        let scarce = self.pending.len() <= self.idle.len();
        let low = self.low.iter().filter(|_| !scarce);
        // What is left over by the division goes to those that have nothing, so they come last.
        let hungry: Vec<WorkerId> = low.chain(&self.idle).copied().collect();
        for (served, &worker) in hungry.iter().enumerate() {
            let units = self.take_share(hungry.len() - served);
            self.assign(worker, units);
        }
    }

    /// One of as many equal shares of the pending units: units that cost that much together, or one that costs more.
    fn take_share(&mut self, shares: usize) -> Vec<UnitId> {
        let share = self.pending_cost / shares as u64;
        let mut taken = Vec::new();
        let mut cost = 0;
        while cost < share
            && let Some(&unit) = self.pending.front()
            && (taken.is_empty() || cost + self.units.cost(unit) <= share)
        {
            cost += self.units.cost(unit);
            taken.push(unit);
            self.pending.pop_front();
        }
        taken
    }

    /// Gives the worker these units, which are pending no more.
    fn assign(&mut self, worker: WorkerId, units: Vec<UnitId>) {
        self.pending_items -= units.iter().map(|&unit| self.units.len(unit)).sum::<usize>();
        self.pending_cost -= units.iter().map(|&unit| self.units.cost(unit)).sum::<u64>();
        self.append(worker, units);
    }

    fn append(&mut self, worker: WorkerId, units: Vec<UnitId>) {
        let Some(queue) = self.workers.get_mut(&worker) else {
            debug_assert!(false, "{worker} is not known to the scheduler");
            return;
        };
        if units.is_empty() {
            return;
        }
        let items: Vec<ItemIndex> = units.iter().flat_map(|&unit| self.units.items(unit)).copied().collect();
        let cost: u64 = units.iter().map(|&unit| self.units.cost(unit)).sum();
        queue.items += items.len();
        queue.cost += cost;
        queue.parked = false;
        queue.units.extend(units);
        self.actions.push_back(Action::Run { worker, items });
        self.index(worker);
    }

    pub(super) fn add_worker(&mut self, worker: WorkerId) {
        let previous = self.workers.insert(worker, Queue::default());
        debug_assert!(previous.is_none(), "{worker} is added twice");
        self.index(worker);
    }

    /// Takes the worker out. What it had is next to be handed out, units as they were, without `lost`.
    pub(super) fn remove_worker(&mut self, worker: WorkerId, lost: Option<ItemIndex>) {
        if let Some(lost) = lost {
            self.finish(worker, lost);
        }
        let Some(queue) = self.workers.remove(&worker) else { return };
        self.retired -= usize::from(queue.retired);
        self.idle.remove(&worker);
        self.low.remove(&worker);
        self.unparked.remove(&worker);
        self.ahead.remove(&worker);
        if let Some(free) = queue.victim_of {
            self.victims.remove(&(free, Reverse(worker)));
        }
        if !queue.asked.is_empty() {
            self.steals -= 1;
        }
        if let Some(line) = queue.line {
            self.gate.release(line);
        }
        for unit in queue.units.into_iter().rev() {
            let unit = self.mend(unit);
            self.take_over(unit);
        }
    }

    /// A unit that nobody has any more, with what was given up of it before.
    fn mend(&mut self, unit: UnitId) -> UnitId {
        self.torn.remove(&unit).map_or(unit, |rest| self.units.join(unit, rest))
    }

    /// The worker takes nothing more. What it has given up is next to be handed out; it still has the rest, and finishes
    /// that. If it has a part of a unit, the other part waits for that.
    pub(super) fn retire_worker(&mut self, worker: WorkerId, given_up: &[ItemIndex]) {
        let Some(queue) = self.workers.get_mut(&worker) else { return };
        let given_up: BTreeSet<ItemIndex> = given_up.iter().copied().collect();
        let (mut returned, mut torn) = (Vec::new(), Vec::new());
        for unit in std::mem::take(&mut queue.units) {
            let gone = self.units.items(unit).iter().copied().filter(|item| given_up.contains(item));
            let gone: Vec<ItemIndex> = gone.collect();
            match gone.len() {
                0 => queue.units.push_back(unit),
                all if all == self.units.len(unit) => returned.push(unit),
                _ => {
                    torn.push((unit, self.units.split_off(unit, &gone)));
                    queue.units.push_back(unit);
                }
            }
        }
        let given_up = || returned.iter().chain(torn.iter().map(|(_, rest)| rest));
        let items: usize = given_up().map(|&unit| self.units.len(unit)).sum();
        let cost: u64 = given_up().map(|&unit| self.units.cost(unit)).sum();
        queue.items -= items;
        queue.cost -= cost;
        queue.apart -= returned.iter().filter(|unit| self.tried.contains_key(unit)).count();
        self.retired += usize::from(!queue.retired);
        queue.retired = true;
        for (unit, given_up) in torn {
            let rest = match self.torn.remove(&unit) {
                Some(earlier) => self.units.join(given_up, earlier),
                None => given_up,
            };
            self.torn.insert(unit, rest);
        }
        self.release_if_done(worker);
        for unit in returned.into_iter().rev() {
            let unit = self.mend(unit);
            self.take_over(unit);
        }
        self.index(worker);
    }

    /// Takes a finished item out of the worker's queue; `false` when it is not there.
    pub(super) fn finish(&mut self, worker: WorkerId, item: ItemIndex) -> bool {
        let Some(queue) = self.workers.get_mut(&worker) else { return false };
        // The first unit has it, unless the worker does not keep to the order it was given.
        let Some(at) = queue.units.iter().position(|&unit| self.units.take(unit, item)) else { return false };
        let mut rest = None;
        if self.units.len(queue.units[at]) == 0
            && let Some(unit) = queue.units.remove(at)
        {
            queue.apart -= usize::from(self.tried.remove(&unit).is_some());
            rest = self.torn.remove(&unit);
        }
        queue.items -= 1;
        queue.cost -= self.units.item_cost(item);
        queue.reach = Reach::Running;
        self.release_if_done(worker);
        self.return_units(rest);
        self.index(worker);
        true
    }

    /// Lets others have what the worker holds, if it has nothing any more that it needs it for.
    fn release_if_done(&mut self, worker: WorkerId) {
        if let Some(queue) = self.workers.get_mut(&worker)
            && queue.items == 0
            && let Some(line) = queue.line.take()
        {
            self.gate.release(line);
        }
    }

    /// Lets units through the gate: as many as can begin on idle workers, and then a next one for those that hold what it
    /// takes anyway.
    pub(super) fn pass_gate(&mut self) {
        if !self.gate.is_waiting() {
            return;
        }
        while let Some(&worker) = self.idle.first()
            && let Some(line) = self.gate.next_line(self.is_nobody_busy())
        {
            self.gate.hold(line);
            if let Some(queue) = self.workers.get_mut(&worker) {
                queue.line = Some(line);
            }
            self.pass(worker, line);
        }
        let line_of = |worker: &WorkerId| Some((*worker, self.workers.get(worker)?.line?));
        let low: Vec<(WorkerId, LineId)> = self.unparked.iter().filter_map(line_of).collect();
        for (worker, line) in low {
            self.pass(worker, line);
        }
    }

    /// Where something could pass the gate and nobody is idle, as after the crash of a worker that is not replaced: has the
    /// worker with least to do come to the end of it, which is asked for what it has not begun.
    pub(super) fn vacate(&mut self) {
        let wanted = self.idle.is_empty() && self.gate.next_line(false).is_some();
        let previous = self.vacating.take();
        let kept = previous.filter(|worker| self.workers.get(worker).is_some_and(Queue::is_open));
        self.vacating = if wanted { kept.or_else(|| self.least_busy()) } else { None };
        for worker in previous.into_iter().chain(self.vacating) {
            self.index(worker);
        }
        if let Some(worker) = self.vacating
            && let Some(queue) = self.workers.get(&worker)
            && queue.asked.is_empty()
        {
            let asked: Vec<UnitId> = queue.units.range(self.fixed_units(queue)..).copied().collect();
            if !asked.is_empty() {
                self.ask(worker, asked);
            }
        }
    }

    fn least_busy(&self) -> Option<WorkerId> {
        let open = self.workers.iter().filter(|(_, queue)| queue.is_open());
        open.min_by_key(|(_, queue)| queue.cost).map(|(&worker, _)| worker)
    }

    /// Whether nothing runs, and nothing that is pending could.
    fn is_nobody_busy(&self) -> bool {
        let is_busy = |queue: &Queue| queue.items > 0;
        self.pending_items == 0
            && self.idle.len() == self.worker_count()
            && (self.retired == 0 || !self.workers.values().any(is_busy))
    }

    /// Gives the worker the next unit of the line that it holds.
    fn pass(&mut self, worker: WorkerId, line: LineId) {
        if let Some(unit) = self.gate.next_unit(line, &self.units) {
            self.append(worker, vec![unit]);
        }
    }

    /// Takes in the answer to the worker's steal: whether it gave the units back.
    pub(super) fn answered(&mut self, worker: WorkerId, given: bool) {
        let Some(queue) = self.workers.get_mut(&worker) else { return };
        let asked = std::mem::take(&mut queue.asked);
        if asked.is_empty() {
            return;
        }
        self.steals -= 1;
        if given {
            let first = queue.units.iter().rposition(|unit| *unit == asked[0]);
            debug_assert!(first.is_some(), "units that were given back had been queued");
            let first = first.unwrap_or(queue.units.len());
            let returned: Vec<UnitId> =
                queue.units.drain(first..(first + asked.len()).min(queue.units.len())).collect();
            let items: usize = returned.iter().map(|&unit| self.units.len(unit)).sum();
            let cost: u64 = returned.iter().map(|&unit| self.units.cost(unit)).sum();
            queue.items -= items;
            queue.cost -= cost;
            let is_gated = queue.line.is_some();
            let returned: Vec<UnitId> = returned.into_iter().map(|unit| self.mend(unit)).collect();
            if is_gated {
                self.return_units(returned);
            } else {
                self.pending_items += returned.iter().map(|&unit| self.units.len(unit)).sum::<usize>();
                self.pending_cost += returned.iter().map(|&unit| self.units.cost(unit)).sum::<u64>();
                self.pending.extend(returned);
            }
        } else if self.workers.get(&worker).is_some_and(|queue| !self.explains(queue, asked[0])) {
            self.lengthen_reach(worker);
        }
        self.index(worker);
    }

    /// Whether what has been heard from a worker since it was asked for a unit explains that it refused: the unit is done,
    /// or is among those that are taken to have begun.
    fn explains(&self, queue: &Queue, asked: UnitId) -> bool {
        let begun = self.begun_units(queue);
        queue.units.iter().position(|&unit| unit == asked).is_none_or(|at| at < begun)
    }

    fn lengthen_reach(&mut self, worker: WorkerId) {
        if let Some(queue) = self.workers.get_mut(&worker) {
            queue.reach = match queue.reach {
                Reach::Running => Reach::Successor,
                Reach::Successor | Reach::Unknown => Reach::Unknown,
            };
        }
    }

    /// Asks workers for what they cannot begin yet, and an idle one could, since what it takes is free again.
    pub(super) fn steal_for_gate(&mut self) {
        if self.steals >= self.idle.len() {
            return;
        }
        for victim in self.ahead.clone() {
            if self.steals < self.idle.len()
                && let Some(queue) = self.workers.get(&victim)
                && let (Some(line), Some(&last)) = (queue.line, queue.units.back())
                && self.gate.can_hold(line, false)
            {
                self.ask(victim, vec![last]);
            }
        }
    }

    fn ask(&mut self, victim: WorkerId, asked: Vec<UnitId>) {
        let items = asked.iter().flat_map(|&unit| self.units.items(unit)).copied().collect();
        self.actions.push_back(Action::Steal { worker: victim, items });
        self.steals += 1;
        if let Some(queue) = self.workers.get_mut(&victim) {
            queue.asked = asked;
        }
        self.index(victim);
    }

    /// Asks the longest queues for work, one steal for every worker that runs out.
    pub(super) fn steal(&mut self) {
        while self.steals < self.idle.len() + self.low.len()
            && let Some(&(_, Reverse(victim))) = self.victims.last()
        {
            let thief = if self.steals < self.idle.len() { Thief::Idle } else { Thief::Low };
            let queue = &self.workers[&victim];
            let asked = queue.units.range(queue.units.len() - self.loot(queue, thief)..).copied();
            let asked: Vec<UnitId> = asked.collect();
            if asked.is_empty() {
                break;
            }
            self.ask(victim, asked);
        }
    }

    /// How many units at the end of a queue a thief asks for: half of the queue by cost, as pytest-xdist's
    /// `scheduler/worksteal.py` takes half of the items, but all save the running item can go.
    fn loot(&self, queue: &Queue, thief: Thief) -> usize {
        let spared = match thief {
            Thief::Idle => 1,
            Thief::Low => 2,
        };
        let most_items = queue.items.saturating_sub(spared);
        let most_cost = queue.cost / 2;
        let free = queue.units.len() - self.fixed_units(queue);
        let (mut items, mut cost, mut count) = (0, 0, 0);
        for &unit in queue.units.iter().rev().take(free) {
            items += self.units.len(unit);
            cost += self.units.cost(unit);
            if items > most_items || cost > most_cost {
                break;
            }
            count += 1;
        }
        if count == 0 && thief == Thief::Idle { free.min(1) } else { count }
    }

    /// How many units at the front of a queue cannot be taken: those that may have begun, and all as far as one that was put
    /// aside for this worker, or workers that had it would take it back.
    fn fixed_units(&self, queue: &Queue) -> usize {
        let begun = self.begun_units(queue);
        if queue.apart == 0 {
            return begun;
        }
        let last = queue.units.iter().rposition(|unit| self.tried.contains_key(unit));
        last.map_or(begun, |last| begun.max(last + 1))
    }

    /// How many units at the front of a queue may have begun.
    fn begun_units(&self, queue: &Queue) -> usize {
        let begun = match (queue.reach, queue.units.front()) {
            (Reach::Running, _) => 1,
            (Reach::Successor, Some(&first)) if self.units.len(first) >= 2 => 1,
            (Reach::Successor, _) => 2,
            (Reach::Unknown, _) => queue.units.len(),
        };
        begun.min(queue.units.len())
    }

    /// Tells every worker on its last item that there is no successor, once no steal can bring one.
    pub(super) fn park(&mut self) {
        let may_steal = self.steals > 0;
        if may_steal && !self.gate.is_held() {
            return;
        }
        for worker in std::mem::take(&mut self.unparked) {
            if let Some(queue) = self.workers.get_mut(&worker) {
                if may_steal && queue.line.is_none() {
                    self.unparked.insert(worker);
                } else {
                    queue.parked = true;
                    self.actions.push_back(Action::Park { worker });
                }
            }
        }
    }

    /// What a queue promises to a thief: what has not begun, as nobody can say how much is left of what has. Where
    /// nothing is known of items but their number, that of all will do.
    fn takeable(&self, queue: &Queue) -> u64 {
        if !self.units.are_timed() {
            return queue.cost;
        }
        let fixed = queue.units.iter().take(self.fixed_units(queue));
        queue.cost - fixed.map(|&unit| self.units.cost(unit)).sum::<u64>()
    }

    /// Files the worker under what its queue now makes it.
    fn index(&mut self, worker: WorkerId) {
        let Some(queue) = self.workers.get(&worker) else { return };
        let takes = !queue.retired;
        let gated = queue.line.is_some();
        let can_give = queue.asked.is_empty() && self.fixed_units(queue) < queue.units.len();
        let victim_of = (can_give && !gated).then(|| self.takeable(queue));
        let (items, parked, previous) = (queue.items, queue.parked, queue.victim_of);
        set_membership(&mut self.idle, worker, takes && items == 0);
        set_membership(&mut self.low, worker, takes && items == 1 && !gated && self.vacating != Some(worker));
        set_membership(&mut self.ahead, worker, can_give && gated);
        set_membership(&mut self.unparked, worker, takes && items == 1 && !parked);
        if previous != victim_of {
            if let Some(cost) = previous {
                self.victims.remove(&(cost, Reverse(worker)));
            }
            if let Some(cost) = victim_of {
                self.victims.insert((cost, Reverse(worker)));
            }
        }
        if let Some(queue) = self.workers.get_mut(&worker) {
            queue.victim_of = victim_of;
        }
    }

    /// What the worker has queued, in order.
    pub(super) fn queued(&self, worker: WorkerId) -> impl Iterator<Item = ItemIndex> {
        let units = self.workers.get(&worker).into_iter().flat_map(|queue| &queue.units);
        units.flat_map(|&unit| self.units.items(unit)).copied()
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn forget_actions(&mut self) {
        self.actions.clear();
    }
}

fn set_membership(set: &mut BTreeSet<WorkerId>, worker: WorkerId, member: bool) {
    if member {
        set.insert(worker);
    } else {
        set.remove(&worker);
    }
}
