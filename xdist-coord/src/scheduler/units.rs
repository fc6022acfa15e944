//! Units: items that stay together on one worker.

use super::{Mode, Options};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use xdist_proto::{Collection, Item, ItemIndex};

/// A unit of a [`Units`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitId(u32);

/// All units of a run, each with those of its items that are not finished, in order.
#[derive(Debug)]
pub(super) struct Units {
    /// The items of every unit, one unit after the other.
    items: Vec<ItemIndex>,
    /// What is left of each unit, as a part of `items`; it only shrinks, from the front.
    left: Vec<Range<u32>>,
}

impl Units {
    /// The units of a mode, and the order in which to hand them out.
    pub(super) fn new(mode: Mode, collection: &Collection, options: Options) -> (Self, Vec<UnitId>) {
        let items = &collection.items;
        let units = match mode {
            Mode::Each | Mode::Load => Self::singles(items.len()),
            Mode::LoadScope => Self::keyed(items.iter().map(|item| Some(scope(item).into()))),
            Mode::LoadFile => Self::keyed(items.iter().map(|item| Some(file(item).into()))),
            Mode::LoadGroup | Mode::WorkSteal => Self::keyed(items.iter().map(group)),
        };
        let mut order: Vec<UnitId> = (0..to_u32(units.left.len())).map(UnitId).collect();
        if matches!(mode, Mode::LoadScope | Mode::LoadFile | Mode::LoadGroup) && options.reorder_scopes {
            order.sort_by_key(|&unit| Reverse(units.len(unit)));
        }
        (units, order)
    }

    fn singles(count: usize) -> Self {
        let count = to_u32(count);
        Self { items: (0..count).map(ItemIndex).collect(), left: (0..count).map(|at| at..at + 1).collect() }
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
        Self { items, left }
    }

    /// How many items of the unit are left.
    pub(super) fn len(&self, unit: UnitId) -> usize {
        self.left[unit.0 as usize].len()
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
    match item.groups.as_slice() {
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
