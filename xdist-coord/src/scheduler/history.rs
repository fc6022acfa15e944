//! What tests took in earlier runs, and what that makes the tests of this one.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use xdist_proto::Collection;

/// What a test took, in microseconds; more than fits (71 minutes) counts as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// The call, which is the test's own wherever it runs.
    pub call_us: u32,
    /// Setup and teardown: most of it may have been for fixtures that its neighbors use too.
    pub fixtures_us: u32,
}

impl Took {
    /// All phases together; at least one microsecond, so that every test counts for something.
    #[must_use]
    pub fn total_us(self) -> u64 {
        (u64::from(self.call_us) + u64::from(self.fixtures_us)).max(1)
    }
}

/// What tests took in earlier runs, by node id.
///
/// Node ids are kept as hashes: a collision gives one of two tests the other's duration, which costs nothing but a
/// little time, and a million tests fit in 16 MB.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Sorted by key.
    entries: Vec<(u64, Took)>,
}

impl History {
    /// A history of these tests, each by the [`key`](Self::key) of its node id.
    #[must_use]
    pub fn new(mut entries: Vec<(u64, Took)>) -> Self {
        entries.sort_unstable_by_key(|entry| entry.0);
        Self { entries }
    }

    /// What a node id is known by, the same in every run of this program.
    #[must_use]
    pub fn key(node_id: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(node_id.as_bytes());
        hasher.finish()
    }

    /// What each item of a collection took; empty if none is known.
    #[must_use]
    pub fn of(&self, collection: &Collection) -> Vec<Option<Took>> {
        let took = |node_id: &str| {
            let at = self.entries.binary_search_by_key(&Self::key(node_id), |entry| entry.0).ok()?;
            Some(self.entries[at].1)
        };
        let all: Vec<_> = collection.items.iter().map(|item| took(&item.node_id)).collect();
        if all.iter().all(Option::is_none) { Vec::new() } else { all }
    }
}

/// What each item is expected to take: what it took, or the median of the others.
pub(super) fn expected(took: &[Option<Took>]) -> Vec<Took> {
    let mut known: Vec<Took> = took.iter().copied().flatten().collect();
    let middle = known.len() / 2;
    let median = if known.is_empty() {
        Took::default()
    } else {
        *known.select_nth_unstable_by_key(middle, |took| took.total_us()).1
    };
    took.iter().map(|took| took.unwrap_or(median)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use xdist_proto::Item;

    const fn call(call_us: u32) -> Took {
        Took { call_us, fixtures_us: 0 }
    }

    #[test]
    fn tests_are_found_by_node_id() {
        let entries = [("a", 3), ("b", 1), ("c", 2)];
        let history =
            History::new(entries.iter().map(|&(id, took)| (History::key(id), call(took))).collect());
        let collection = |ids: &str| Collection { items: ids.split(' ').map(Item::new).collect() };
        assert_eq!(history.of(&collection("c x a")), [Some(call(2)), None, Some(call(3))]);
        assert_eq!(history.of(&collection("x y")), []);
    }

    #[test]
    fn unknown_tests_count_as_the_median() {
        let took = [None, Some(call(5)), Some(call(100)), Some(call(1)), None];
        let calls: Vec<u32> = expected(&took).iter().map(|took| took.call_us).collect();
        assert_eq!(calls, [5, 5, 100, 1, 5]);
        assert_eq!(expected(&[]), []);
    }
}
