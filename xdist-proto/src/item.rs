//! Items and collections: what there is to run.

use crate::ids::CollectionDigest;
use blake2::digest::consts::U16;
use blake2::{Blake2b, Digest};
use serde::{Deserialize, Serialize};

/// One collected test. There may be a million of them, so the fields that few have are small where they are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Item {
    /// pytest's `path::test[param]`. Two items of one collection may have the same.
    #[serde(rename = "id")]
    pub node_id: String,
    /// The file, relative to the root directory, where it is not the node id's part before the first `::`.
    #[serde(rename = "file", default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Box<str>>,
    /// The line of the test's definition, from 0 as in pytest's `location`.
    #[serde(rename = "line", default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Names of the groups whose members must run on one worker (`xdist_group`), sorted.
    #[serde(rename = "groups", default, skip_serializing_if = "<[_]>::is_empty")]
    pub groups: Box<[String]>,
    /// Whether no other item may run meanwhile, on any worker (`xdist_exclusive`).
    #[serde(rename = "exclusive", default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
    /// What the item uses that only so many workers may use at a time (`xdist_resource`), each name once.
    #[serde(rename = "resources", default, skip_serializing_if = "<[_]>::is_empty")]
    pub resources: Box<[Resource]>,
    /// pytest's keywords of the item, if they were asked for (`wants.full`).
    #[serde(rename = "keywords", default, skip_serializing_if = "<[_]>::is_empty")]
    pub keywords: Box<[String]>,
}

impl Item {
    /// An item of which only the node id is known.
    #[must_use]
    pub fn new(node_id: impl Into<String>) -> Self {
        Self { node_id: node_id.into(), ..Self::default() }
    }
}

/// Something that items use, and that only so many workers may use at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Resource {
    /// What all items that use it call it.
    #[serde(rename = "name")]
    pub name: String,
    /// How many workers. At least one; the smallest number that any item has for a name holds for all.
    #[serde(rename = "limit")]
    pub limit: u32,
}

/// The ordered items of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// The items, in the worker's order.
    pub items: Vec<Item>,
}

impl Collection {
    /// BLAKE2b-128 over every node id in order, each followed by a zero byte.
    #[must_use]
    pub fn digest(&self) -> CollectionDigest {
        let mut hasher = Blake2b::<U16>::new();
        for item in &self.items {
            hasher.update(item.node_id.as_bytes());
            hasher.update([0]);
        }
        CollectionDigest(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_takes_little_memory_beside_its_texts() {
        // The coordinator is to need less than 200 bytes for an item beyond its node id, of which this is the most.
        assert!(size_of::<Item>() <= 104, "{}", size_of::<Item>());
    }
}
