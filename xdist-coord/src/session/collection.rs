//! What workers collected: lists by digest, and how one list's items correspond to another's.

use super::violation::Violation;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;
use xdist_proto::message::CollectionChunk;
use xdist_proto::{Collection, CollectionDigest, Item, ItemIndex, WorkerId};

/// The lists behind the digests that workers named. Each is asked for once.
#[derive(Debug, Default)]
pub(super) struct Lists {
    lists: BTreeMap<CollectionDigest, List>,
}

#[derive(Debug)]
enum List {
    /// A worker was asked; this much of the list has come.
    Arriving {
        from: WorkerId,
        items: Vec<Item>,
    },
    Known(Rc<Collection>),
}

impl Lists {
    pub(super) fn get(&self, digest: CollectionDigest) -> Option<&Rc<Collection>> {
        match self.lists.get(&digest) {
            Some(List::Known(collection)) => Some(collection),
            Some(List::Arriving { .. }) | None => None,
        }
    }

    /// Whether the worker is to be asked for its list, which is then taken to be on its way. An empty list is known
    /// without asking.
    pub(super) fn want(
        &mut self,
        worker: WorkerId,
        digest: CollectionDigest,
        count: u32,
    ) -> Result<bool, Violation> {
        match self.lists.get(&digest) {
            Some(List::Known(collection)) if collection.items.len() == count as usize => Ok(false),
            Some(List::Known(_)) => Err(Violation::Digest { worker }),
            Some(List::Arriving { .. }) => Ok(false),
            None if count == 0 => {
                let collection = Rc::new(Collection::default());
                if collection.digest() != digest {
                    return Err(Violation::Digest { worker });
                }
                self.lists.insert(digest, List::Known(collection));
                Ok(false)
            }
            None => {
                self.lists.insert(digest, List::Arriving { from: worker, items: Vec::new() });
                Ok(true)
            }
        }
    }

    /// Takes in a part of the list that the worker announced with this digest and count; `true` when it is complete.
    pub(super) fn add(
        &mut self,
        digest: CollectionDigest,
        count: u32,
        chunk: CollectionChunk,
    ) -> Result<bool, Violation> {
        let worker = chunk.worker;
        let Some(List::Arriving { from, items }) = self.lists.get_mut(&digest) else {
            return Err(Violation::UnaskedList { worker });
        };
        if *from != worker {
            return Err(Violation::UnaskedList { worker });
        }
        let expected = items.len();
        let total = expected + chunk.items.len();
        let in_order = chunk.offset as usize == expected && chunk.total == count && !chunk.items.is_empty();
        if !in_order || total > count as usize {
            return Err(Violation::ListOrder { worker });
        }
        items.extend(chunk.items);
        if total < count as usize {
            return Ok(false);
        }
        let collection = Collection { items: std::mem::take(items) };
        if collection.digest() != digest {
            return Err(Violation::Digest { worker });
        }
        self.lists.insert(digest, List::Known(Rc::new(collection)));
        Ok(true)
    }

    /// The list is not needed any more.
    pub(super) fn release(&mut self, digest: CollectionDigest) {
        self.lists.remove(&digest);
    }

    /// The worker is gone; returns the digest of the list that it owed, which then nobody was asked for.
    pub(super) fn forget_worker(&mut self, worker: WorkerId) -> Option<CollectionDigest> {
        let owed = self.lists.iter().find_map(|(&digest, list)| match list {
            List::Arriving { from, .. } if *from == worker => Some(digest),
            List::Arriving { .. } | List::Known(_) => None,
        })?;
        self.lists.remove(&owed);
        Some(owed)
    }
}

/// How a worker's own indices correspond to the agreed ones.
#[derive(Debug)]
pub(crate) enum Mapping {
    /// They are the same.
    Same {
        /// How many items there are.
        count: u32,
    },
    /// The order differs.
    Reordered {
        /// The worker's own index of each agreed one.
        own: Vec<ItemIndex>,
        /// The agreed index of each of the worker's own.
        agreed: Vec<ItemIndex>,
    },
}

/// Node ids that only one of two collections has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SetDifference {
    pub(super) missing: Vec<String>,
    pub(super) extra: Vec<String>,
}

impl Mapping {
    pub(super) fn same(collection: &Collection) -> Self {
        Self::Same { count: u32::try_from(collection.items.len()).unwrap_or(u32::MAX) }
    }

    /// Matches items by node id; the k-th of several with one node id is matched with the k-th.
    pub(super) fn new(agreed: &Collection, own: &Collection) -> Result<Self, SetDifference> {
        let (agreed_order, own_order) = (by_node_id(agreed), by_node_id(own));
        let mut missing = Vec::new();
        let mut extra = Vec::new();
        let mut to_own = vec![ItemIndex(0); agreed.items.len()];
        let mut to_agreed = vec![ItemIndex(0); own.items.len()];
        let (mut left, mut right) = (agreed_order.iter().peekable(), own_order.iter().peekable());
        loop {
            let side = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(&&a), Some(&&b)) => {
                    agreed.items[a.as_usize()].node_id.cmp(&own.items[b.as_usize()].node_id)
                }
            };
            let a = if side.is_le() { left.next() } else { None };
            let b = if side.is_ge() { right.next() } else { None };
            match (a, b) {
                (Some(&a), Some(&b)) => {
                    to_own[a.as_usize()] = b;
                    to_agreed[b.as_usize()] = a;
                }
                (Some(a), None) => missing.push(agreed.items[a.as_usize()].node_id.clone()),
                (None, Some(b)) => extra.push(own.items[b.as_usize()].node_id.clone()),
                (None, None) => {}
            }
        }
        if missing.is_empty() && extra.is_empty() {
            Ok(Self::Reordered { own: to_own, agreed: to_agreed })
        } else {
            Err(SetDifference { missing, extra })
        }
    }

    /// The worker's own index of an agreed one.
    pub(crate) fn own(&self, agreed: ItemIndex) -> ItemIndex {
        match self {
            Self::Same { .. } => agreed,
            Self::Reordered { own, .. } => own[agreed.as_usize()],
        }
    }

    /// The agreed index of the worker's own, if it has such an item.
    pub(crate) fn agreed(&self, own: ItemIndex) -> Option<ItemIndex> {
        match self {
            Self::Same { count } => (own.0 < *count).then_some(own),
            Self::Reordered { agreed, .. } => agreed.get(own.as_usize()).copied(),
        }
    }
}

impl SetDifference {
    /// In one line, for people.
    pub(super) fn describe(&self) -> String {
        let side = |ids: &[String], what: &str| {
            ids.first().map(|first| format!("{} {what}, such as {first}", ids.len()))
        };
        let parts = [side(&self.missing, "missing"), side(&self.extra, "more")];
        format!(
            "it collected other tests than the run: {}",
            parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
        )
    }
}

/// The indices, sorted by node id, and in order among equal ones.
fn by_node_id(collection: &Collection) -> Vec<ItemIndex> {
    let mut order: Vec<ItemIndex> = (0..).map(ItemIndex).take(collection.items.len()).collect();
    order.sort_by(|a, b| collection.items[a.as_usize()].node_id.cmp(&collection.items[b.as_usize()].node_id));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(ids: &str) -> Collection {
        Collection { items: ids.split_whitespace().map(Item::new).collect() }
    }

    fn chunk(ids: &str, offset: u32, total: u32) -> CollectionChunk {
        CollectionChunk { worker: WorkerId(0), offset, total, items: collection(ids).items }
    }

    #[test]
    fn the_kth_duplicate_is_matched_with_the_kth() {
        let mapping = Mapping::new(&collection("a b a c"), &collection("c a b a")).unwrap();
        let own: Vec<u32> = (0..4).map(|agreed| mapping.own(ItemIndex(agreed)).0).collect();
        assert_eq!(own, [1, 2, 3, 0]);
        let agreed: Vec<u32> =
            (0..4).filter_map(|own| mapping.agreed(ItemIndex(own))).map(|index| index.0).collect();
        assert_eq!(agreed, [3, 0, 1, 2]);
        assert_eq!(mapping.agreed(ItemIndex(4)), None);
    }

    #[test]
    fn differing_sets_are_told_with_multiplicity() {
        let difference = Mapping::new(&collection("a b b c"), &collection("b c d")).unwrap_err();
        assert_eq!(difference.missing, ["a", "b"]);
        assert_eq!(difference.extra, ["d"]);
        assert_eq!(
            difference.describe(),
            "it collected other tests than the run: 2 missing, such as a; 1 more, such as d"
        );
    }

    #[test]
    fn a_list_is_asked_for_once_and_checked() {
        let digest = collection("a b c").digest();
        let mut lists = Lists::default();
        assert_eq!(lists.want(WorkerId(0), digest, 3), Ok(true));
        assert_eq!(lists.want(WorkerId(1), digest, 3), Ok(false));
        assert_eq!(lists.add(digest, 3, chunk("a b", 0, 3)), Ok(false));
        assert_eq!(lists.add(digest, 3, chunk("c", 2, 3)), Ok(true));
        assert_eq!(lists.get(digest).map(|list| list.items.len()), Some(3));
        assert_eq!(lists.want(WorkerId(2), digest, 4), Err(Violation::Digest { worker: WorkerId(2) }));
    }

    #[test]
    fn parts_out_of_order_or_false_are_refused() {
        let digest = collection("a b c").digest();
        let refused = |parts: &[CollectionChunk]| {
            let mut lists = Lists::default();
            lists.want(WorkerId(0), digest, 3).unwrap();
            parts.iter().find_map(|part| lists.add(digest, 3, part.clone()).err())
        };
        let order = Some(Violation::ListOrder { worker: WorkerId(0) });
        assert_eq!(refused(&[chunk("b", 1, 3)]), order);
        assert_eq!(refused(&[chunk("a b", 0, 4)]), order);
        assert_eq!(refused(&[chunk("", 0, 3)]), order);
        assert_eq!(refused(&[chunk("a b c d", 0, 3)]), order);
        assert_eq!(refused(&[chunk("a b x", 0, 3)]), Some(Violation::Digest { worker: WorkerId(0) }));
        assert_eq!(refused(&[chunk("a b c", 0, 3)]), None);
    }
}
