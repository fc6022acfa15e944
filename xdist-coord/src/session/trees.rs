//! Whether the tests are the same on all machines: what is in their files, as the first worker of each host finds it.

use crate::workers::{HostId, Workers};
use std::collections::{BTreeMap, BTreeSet};

/// The most files of a host that are compared.
const MOST_FILES: usize = 100_000;

/// What is known of each host's files.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether the workers of a host are to tell of their files.
    asked: BTreeMap<HostId, bool>,
    /// A hash of each file's content, by its path.
    files: BTreeMap<HostId, BTreeMap<String, u64>>,
}

impl State {
    /// Whether a worker of this host is to tell of its files. All are told the same, since only those can be forked from
    /// one another; those that are tell nothing.
    pub(super) fn asks(&mut self, host: HostId, is_anybody_elsewhere: bool) -> bool {
        *self.asked.entry(host).or_insert(is_anybody_elsewhere)
    }

    /// Takes in what the first worker of the host has found.
    pub(super) fn found(&mut self, host: HostId, files: BTreeMap<String, u64>) {
        if self.asked.get(&host) == Some(&true) && (1..=MOST_FILES).contains(&files.len()) {
            self.files.entry(host).or_insert(files);
        }
    }

    /// What differs from this machine, or from the first one if no worker is here; forgets what was found.
    pub(super) fn differences(&mut self, workers: &Workers) -> Vec<String> {
        let mut files = std::mem::take(&mut self.files);
        let here = files.keys().find(|host| workers.other_machine(**host).is_none());
        let Some(reference) = here.or(files.keys().next()).copied() else { return Vec::new() };
        let Some(agreed) = files.remove(&reference) else { return Vec::new() };
        let there = workers.other_machine(reference).map(|machine| format!("on {machine}"));
        let there = there.unwrap_or_else(|| "here".to_owned());
        let described = files.iter().filter_map(|(host, own)| {
            let machine = workers.other_machine(*host)?;
            let files = differing(&agreed, own)?;
            Some(format!(
                "{files} not the same on {machine} as {there}: check out the same revision, or have it copied (--sync)"
            ))
        });
        described.collect()
    }
}

/// The files that are in both and are not the same, or in one only, with a verb.
fn differing(one: &BTreeMap<String, u64>, other: &BTreeMap<String, u64>) -> Option<String> {
    let unlike = one.iter().filter(|(path, hash)| other.get(*path) != Some(hash)).map(|(path, _)| path);
    let more = other.keys().filter(|path| !one.contains_key(*path));
    let paths: BTreeSet<&String> = unlike.chain(more).collect();
    let first = paths.first()?;
    Some(match paths.len() {
        1 => format!("{first} is"),
        2 => format!("{first} and another file are"),
        count => format!("{first} and {} other files are", count - 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_differ_are_named_and_counted() {
        let files = |text: &str| -> BTreeMap<String, u64> {
            text.split_whitespace().map(|word| (word[..1].to_owned(), word[1..].parse().unwrap())).collect()
        };
        let described = |one, other| differing(&files(one), &files(other));
        assert_eq!(described("a1 b2", "a1 b2"), None);
        assert_eq!(described("a1 b2", "a1 b3").as_deref(), Some("b is"));
        assert_eq!(described("a1 b2 c3", "a1 c4").as_deref(), Some("b and another file are"));
        assert_eq!(described("b2 c3", "a1 c4").as_deref(), Some("a and 2 other files are"));
    }
}
