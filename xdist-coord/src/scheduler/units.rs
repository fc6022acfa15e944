//! Units: items that stay together on one worker.

use super::history::{self, Took};
use super::{Mode, Options};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use xdist_proto::{Collection, Item, ItemIndex};

/// A unit of a [`Units`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UnitId(u32);

/// All units of a run, each with those of its items that are not finished, in order.
#[derive(Debug)]
pub(super) struct Units {
    /// The items of every unit, one unit after the other.
    items: Vec<ItemIndex>,
    /// What is left of each unit, as a part of `items`; it only shrinks, mostly from the front.
    left: Vec<Range<u32>>,
    /// What they are expected to take, if anything is known of that.
    expected: Option<Expected>,
}

#[derive(Debug)]
struct Expected {
    /// By item.
    items: Vec<Took>,
    /// What is left of each unit, in microseconds.
    left_us: Vec<u64>,
    /// By item: the longest time that fixtures of any item of the same file took.
    fixtures_us: Vec<u32>,
}

impl Units {
    /// The units of a mode, and the order in which to hand them out. `took` is what each item took before, or empty.
    pub(super) fn new(
        mode: Mode,
        collection: &Collection,
        options: Options,
        took: &[Option<Took>],
    ) -> (Self, Vec<UnitId>) {
        let items = &collection.items;
        let mut units = match mode {
            Mode::Each | Mode::Load => Self::singles(items.len()),
            Mode::LoadScope => Self::keyed(items.iter().map(|item| Some(scope(item).into()))),
            Mode::LoadFile => Self::keyed(items.iter().map(|item| Some(file(item).into()))),
            Mode::LoadGroup | Mode::WorkSteal => Self::keyed(items.iter().map(group)),
        };
        if took.len() == items.len() && !took.is_empty() && mode != Mode::Each {
            units.expect(history::expected(took), items);
        }
        let mut order: Vec<UnitId> = (0..to_u32(units.left.len())).map(UnitId).collect();
        if matches!(mode, Mode::LoadScope | Mode::LoadFile | Mode::LoadGroup) && options.reorder_scopes {
            order.sort_by_key(|&unit| Reverse(units.cost(unit)));
        }
        (units, order)
    }

    fn singles(count: usize) -> Self {
        let count = to_u32(count);
        Self {
            items: (0..count).map(ItemIndex).collect(),
            left: (0..count).map(|at| at..at + 1).collect(),
            expected: None,
        }
    }

    fn expect(&mut self, took: Vec<Took>, items: &[Item]) {
        let sum = |range: &Range<u32>| {
            let unit = &self.items[range.start as usize..range.end as usize];
            unit.iter().map(|item| took[item.as_usize()].total_us()).sum()
        };
        let left_us = self.left.iter().map(sum).collect();
        let mut fixtures_us = Vec::with_capacity(items.len());
        for neighbors in items.chunk_by(|one, other| file(one) == file(other)) {
            let begin = fixtures_us.len();
            let end = begin + neighbors.len();
            let longest = took[begin..end].iter().map(|took| took.fixtures_us).max().unwrap_or_default();
            fixtures_us.resize(end, longest);
        }
        self.expected = Some(Expected { items: took, left_us, fixtures_us });
    }

    /// Items with the same key are one unit, placed where its first item is; an item without a key is its own.
    fn keyed<'a>(keys: impl Iterator<Item = Option<Cow<'a, str>>>) -> Self {
        // Only asked, never iterated, so its order reaches nothing.
        let mut known: HashMap<Cow<'a, str>, u32> = HashMap::new();
        let mut sizes: Vec<u32> = Vec::new();
        let unit_of: Vec<u32> = keys
            .map(|key| {
                let next = to_u32(sizes.len());
                let unit = key.map_or(next, |key| *known.entry(key).or_insert(next));
                if unit == next {
                    sizes.push(0);
                }
                sizes[unit as usize] += 1;
                unit
            })
            .collect();
        let mut left: Vec<Range<u32>> = Vec::with_capacity(sizes.len());
        let mut start = 0;
        for size in sizes {
            left.push(start..start);
            start += size;
        }
        let mut items = vec![ItemIndex(0); unit_of.len()];
        for (item, &unit) in unit_of.iter().enumerate() {
            let span = &mut left[unit as usize];
            items[span.end as usize] = ItemIndex(to_u32(item));
            span.end += 1;
        }
        Self { items, left, expected: None }
    }

    /// A new unit of one item, which is in no other.
    pub(super) fn add_single(&mut self, item: ItemIndex) -> UnitId {
        let (at, unit) = (to_u32(self.items.len()), UnitId(to_u32(self.left.len())));
        self.items.push(item);
        self.left.push(at..at + 1);
        let cost = self.item_cost(item);
        if let Some(expected) = &mut self.expected {
            expected.left_us.push(cost);
        }
        unit
    }

    /// A new unit of some items of another, which are in that one no more.
    pub(super) fn split_off(&mut self, unit: UnitId, items: &[ItemIndex]) -> UnitId {
        let new = UnitId(to_u32(self.left.len()));
        if self.items(unit).ends_with(items) {
            let left = &mut self.left[unit.0 as usize];
            let end = left.end;
            left.end -= to_u32(items.len());
            let part = left.end..end;
            self.left.push(part);
        } else {
            let at = to_u32(self.items.len());
            let (all, left) = (&mut self.items, &mut self.left[unit.0 as usize]);
            let (start, end) = (left.start as usize, left.end as usize);
            all[start..end].sort_by_key(|item| !items.contains(item));
            left.start += to_u32(items.len());
            all.extend_from_slice(items);
            self.left.push(at..at + to_u32(items.len()));
        }
        let cost: u64 = items.iter().map(|&item| self.item_cost(item)).sum();
        if let Some(expected) = &mut self.expected {
            expected.left_us[unit.0 as usize] -= cost;
            expected.left_us.push(cost);
        }
        new
    }

    /// A new unit of the items of two others, which have none any more.
    pub(super) fn join(&mut self, first: UnitId, second: UnitId) -> UnitId {
        let new = UnitId(to_u32(self.left.len()));
        let start = to_u32(self.items.len());
        let mut cost = 0;
        for unit in [first, second] {
            cost += self.cost(unit);
            let span = self.left[unit.0 as usize].clone();
            self.items.extend_from_within(span.start as usize..span.end as usize);
            self.left[unit.0 as usize].end = span.start;
            if let Some(expected) = &mut self.expected {
                expected.left_us[unit.0 as usize] = 0;
            }
        }
        self.left.push(start..to_u32(self.items.len()));
        if let Some(expected) = &mut self.expected {
            expected.left_us.push(cost);
        }
        new
    }

    /// How many items of the unit are left.
    pub(super) fn len(&self, unit: UnitId) -> usize {
        self.left[unit.0 as usize].len()
    }

    /// Whether it is known what items took in earlier runs.
    pub(super) const fn are_timed(&self) -> bool {
        self.expected.is_some()
    }

    /// What an item costs: the microseconds that it is expected to take, or one where nothing is known of any item.
    pub(super) fn item_cost(&self, item: ItemIndex) -> u64 {
        self.expected.as_ref().map_or(1, |expected| expected.items[item.as_usize()].total_us())
    }

    /// What the items that are left of the unit cost.
    pub(super) fn cost(&self, unit: UnitId) -> u64 {
        let timed = self.expected.as_ref().map(|expected| expected.left_us[unit.0 as usize]);
        timed.unwrap_or(self.len(unit) as u64)
    }

    /// What the unit costs wherever it runs. Of a single item that is its call: what its fixtures took may have been on
    /// behalf of its neighbors, so taking it away from them would not take that away.
    pub(super) fn cost_apart(&self, unit: UnitId) -> u64 {
        match (self.items(unit), &self.expected) {
            (&[item], Some(expected)) => expected.items[item.as_usize()].call_us.into(),
            _ => self.cost(unit),
        }
    }

    /// What moving the unit away from its neighbors may cost besides: the fixtures that they share are set up once more.
    pub(super) fn cost_of_moving(&self, unit: UnitId) -> u64 {
        match (self.items(unit).first(), &self.expected) {
            (Some(item), Some(expected)) => expected.fixtures_us[item.as_usize()].into(),
            _ => 0,
        }
    }

    /// The items of the unit that are left.
    pub(super) fn items(&self, unit: UnitId) -> &[ItemIndex] {
        let left = &self.left[unit.0 as usize];
        &self.items[left.start as usize..left.end as usize]
    }

    /// Takes an item out of its unit; `false` when the unit does not have it. Items are mostly taken in order, which
    /// costs nothing.
    pub(super) fn take(&mut self, unit: UnitId, item: ItemIndex) -> bool {
        let Some(at) = self.items(unit).iter().position(|&other| other == item) else { return false };
        let left = &mut self.left[unit.0 as usize];
        let start = left.start as usize;
        left.start += 1;
        self.items[start..=start + at].rotate_right(1);
        let cost = self.item_cost(item);
        if let Some(expected) = &mut self.expected {
            expected.left_us[unit.0 as usize] -= cost;
        }
        true
    }
}

/// The class or module: the node id up to its last `::`. A parameter may hold `::` too, so what begins with `[` is left
/// out where that leaves something to split.
fn scope(item: &Item) -> &str {
    let id = &item.node_id;
    let stem = id.find('[').map_or(id.as_str(), |bracket| &id[..bracket]);
    stem.rfind("::").or_else(|| id.rfind("::")).map_or(id.as_str(), |end| &id[..end])
}

/// The file: the node id up to its first `::`.
fn file(item: &Item) -> &str {
    item.node_id.split("::").next().unwrap_or_default()
}

/// The group. An item with several groups is in the one that their sorted names make together (pytest-xdist 3.7, #1200).
fn group(item: &Item) -> Option<Cow<'_, str>> {
    match &*item.groups {
        [] => None,
        [only] => Some(only.into()),
        several => {
            let mut names = several.to_vec();
            names.sort_unstable();
            Some(names.join("_").into())
        }
    }
}

/// Positions in a collection fit in 32 bits: that is how they travel.
fn to_u32(number: usize) -> u32 {
    u32::try_from(number).expect("a collection has fewer than 2^32 items")
}
