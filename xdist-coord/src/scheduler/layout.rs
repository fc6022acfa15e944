//! Parts of equal expected duration, for a start after which little is left to steal.
//!
//! Neighbors stay together as far as possible, for the fixtures that they share. Only long units are taken from their
//! places, and of those no more than it takes to even the parts out.

use super::units::{UnitId, Units};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is taken from its place, in turn until the parts are even enough: nothing at first, then every unit that is at
/// least one such fraction of a worker's share.
const FRACTIONS: [u64; 6] = [0, 1, 2, 4, 8, 16];

/// Within its part, a unit goes first if it is at least one such fraction of a worker's share: what was expected to fit
/// into the time that is left may take longer.
const FIRST: u64 = 4;

/// Parts are even enough if the longest exceeds what is possible by no more than one such fraction.
const TOLERANCE: u64 = 25;

/// Splits the units into a part for each worker, each in the order in which to run it. `order` is that of collection.
pub(super) fn lay_out(units: &Units, order: &[UnitId], workers: usize) -> Vec<Vec<UnitId>> {
    if workers == 0 {
        return Vec::new();
    }
    let total: u64 = order.iter().map(|&unit| units.cost(unit)).sum();
    let share = total.div_ceil(workers as u64);
    let longest = order.iter().map(|&unit| units.cost(unit)).max().unwrap_or_default();
    let bound = share.max(longest);
    let mut best: Option<Split> = None;
    for fraction in FRACTIONS {
        let split = Split::new(units, order, workers, share.checked_div(fraction));
        let level = split.level;
        if best.as_ref().is_none_or(|best| level < best.level) {
            best = Some(split);
        }
        if level <= bound + bound / TOLERANCE {
            break;
        }
    }
    best.map(|split| split.parts(units, share / FIRST)).unwrap_or_default()
}

/// One way of splitting.
struct Split {
    /// The long units of each worker, the longest first.
    apart: Vec<Vec<UnitId>>,
    /// What those cost, moving them included.
    loads: Vec<u64>,
    /// All others, in order.
    rest: Vec<UnitId>,
    /// What so many of the rest, from the first, cost together.
    sums: Vec<u64>,
    /// What the most expensive part costs.
    level: u64,
}

impl Split {
    /// Gives each unit that costs at least `long` to whoever has least, and splits the rest into neighbors.
    fn new(units: &Units, order: &[UnitId], workers: usize, long: Option<u64>) -> Self {
        let is_long = |unit: &UnitId| long.is_some_and(|long| units.cost_apart(*unit) >= long);
        let (mut longs, rest): (Vec<_>, Vec<_>) = order.iter().copied().partition(is_long);
        longs.sort_by_key(|&unit| Reverse(units.cost(unit)));
        let mut apart = vec![Vec::new(); workers];
        let mut least: BinaryHeap<Reverse<(u64, usize)>> = (0..workers).map(|at| Reverse((0, at))).collect();
        for unit in longs {
            let Some(Reverse((load, at))) = least.pop() else { break };
            apart[at].push(unit);
            least.push(Reverse((load + units.cost(unit) + units.cost_of_moving(unit), at)));
        }
        let mut loads = vec![0; workers];
        for Reverse((load, at)) in least {
            loads[at] = load;
        }
        let mut sums = Vec::with_capacity(rest.len() + 1);
        sums.push(0);
        sums.extend(rest.iter().scan(0, |sum, &unit| {
            *sum += units.cost(unit);
            Some(*sum)
        }));
        let mut split = Self { apart, loads, rest, sums, level: 0 };
        split.level = split.lowest_level();
        split
    }

    /// The lowest level that no part needs to exceed, but for a small part of it.
    fn lowest_level(&self) -> u64 {
        let mut low = self.loads.iter().copied().max().unwrap_or_default();
        let mut high = low + self.sums[self.rest.len()];
        while high - low > high / (4 * TOLERANCE) {
            let middle = low + (high - low) / 2;
            if self.starts_at_latest(middle)[0] == 0 {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        high
    }

    /// How far into the rest, at the earliest, each worker's neighbors must begin if it and those after it are to take
    /// all that follows without exceeding the level. Ends with the length of the rest.
    fn starts_at_latest(&self, level: u64) -> Vec<usize> {
        let mut starts = vec![self.rest.len(); self.loads.len() + 1];
        for (at, load) in self.loads.iter().enumerate().rev() {
            let least = self.sums[starts[at + 1]].saturating_sub(level.saturating_sub(*load));
            starts[at] = self.sums.partition_point(|&sum| sum < least).min(starts[at + 1]);
        }
        starts
    }

    /// The parts: as even as they can be while none exceeds the level, long units first.
    fn parts(self, units: &Units, first: u64) -> Vec<Vec<UnitId>> {
        let starts = self.starts_at_latest(self.level);
        let even = self.even_level();
        let mut parts = self.apart;
        let mut begin = 0;
        let mut wanted = 0;
        for (at, part) in parts.iter_mut().enumerate() {
            let load = self.loads[at];
            wanted += even.saturating_sub(load);
            let most = self.sums[begin] + self.level.saturating_sub(load);
            let last = self.sums.partition_point(|&sum| sum <= most) - 1;
            let end = nearest(&self.sums, wanted).clamp(starts[at + 1].min(last), last).max(begin);
            let (mut long, short): (Vec<_>, Vec<_>) =
                self.rest[begin..end].iter().partition(|&&unit| units.cost_apart(unit) >= first);
            long.sort_by_key(|&unit| Reverse(units.cost(unit)));
            part.extend(long.into_iter().chain(short));
            begin = end;
        }
        debug_assert_eq!(begin, self.rest.len(), "everything is in a part");
        parts
    }

    /// The level that all parts would have if units could be cut, save those whose long units exceed it.
    fn even_level(&self) -> u64 {
        let mut loads = self.loads.clone();
        loads.sort_unstable();
        let mut filled = self.sums[self.rest.len()];
        let mut level = 0;
        for (count, load) in (1..).zip(loads) {
            if count > 1 && level <= load {
                break;
            }
            filled += load;
            level = filled.div_ceil(count);
        }
        level
    }
}

/// The position of the sum that is nearest to the one wanted.
fn nearest(sums: &[u64], wanted: u64) -> usize {
    let after = sums.partition_point(|&sum| sum < wanted);
    match (after.checked_sub(1), sums.get(after)) {
        (Some(before), Some(sum)) if wanted - sums[before] < sum - wanted => before,
        (Some(before), None) => before,
        _ => after,
    }
}
