//! Whether the tests are the same on all machines: what is in their files, as the first worker of each host finds it. Where
//! no worker is on this machine, its files are read here.

use super::fetch::is_fit;
use super::{Output, Session};
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
    /// Where the root directory is on this machine, if it is here.
    root: String,
    here: Here,
}

/// What is known of the files of this machine, where no worker tells of them.
#[derive(Debug, Default)]
enum Here {
    #[default]
    Unread,
    BeingRead,
    /// A hash of each, by its path.
    Read(BTreeMap<String, u64>),
}

impl State {
    /// Whether a worker of this host is to tell of its files. All are told the same, since only those can be forked from
    /// one another; those that are tell nothing.
    pub(super) fn asks(&mut self, host: HostId, is_anybody_elsewhere: bool) -> bool {
        *self.asked.entry(host).or_insert(is_anybody_elsewhere)
    }

    /// Takes in what the first worker of the host has found.
    pub(super) fn found(&mut self, host: HostId, mut files: BTreeMap<String, u64>) {
        files.retain(|path, _| is_fit(path));
        // Those that come later are not compared: others were read here.
        let is_early = matches!(self.here, Here::Unread);
        if is_early && self.asked.get(&host) == Some(&true) && (1..=MOST_FILES).contains(&files.len()) {
            self.files.entry(host).or_insert(files);
        }
    }

    /// The root directory of the run is this one, seen from this machine.
    pub(super) fn root_is(&mut self, root: String) {
        self.root = root;
    }

    /// The files to read here, if that is needed.
    fn unread(&self, workers: &Workers) -> Option<Vec<String>> {
        let is_needed = matches!(self.here, Here::Unread)
            && !self.root.is_empty()
            && self.files.keys().all(|host| workers.other_machine(*host).is_some());
        let paths: BTreeSet<&String> = self.files.values().flat_map(BTreeMap::keys).collect();
        let paths = paths.into_iter().take(MOST_FILES).cloned().collect();
        Some(paths).filter(|paths: &Vec<String>| is_needed && !paths.is_empty())
    }

    /// What differs from this machine, or from the first one if the tests are not here; forgets what was found.
    pub(super) fn differences(&mut self, workers: &Workers) -> Vec<String> {
        let mut files = std::mem::take(&mut self.files);
        let (there, agreed) = match std::mem::take(&mut self.here) {
            Here::Read(here) if !here.is_empty() => ("here".to_owned(), here),
            Here::Read(_) | Here::Unread | Here::BeingRead => {
                let here = files.keys().find(|host| workers.other_machine(**host).is_none());
                let Some(reference) = here.or(files.keys().next()).copied() else { return Vec::new() };
                let there = workers.other_machine(reference).map(|machine| format!("on {machine}"));
                (there.unwrap_or_else(|| "here".to_owned()), files.remove(&reference).unwrap_or_default())
            }
        };
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

impl Session {
    /// Whether what is in files here is still being found out, which begins with the first call. It is needed where workers
    /// tell what is in theirs, and none of them is here.
    pub(super) fn reads_files_here(&mut self) -> bool {
        if let Some(paths) = self.trees.unread(&self.workers) {
            self.trees.here = Here::BeingRead;
            let directory = self.trees.root.clone();
            self.outputs.push_back(Output::ReadFiles { directory, paths });
        }
        matches!(self.trees.here, Here::BeingRead)
    }

    /// Files here were read.
    pub(super) fn files_read(&mut self, files: BTreeMap<String, u64>) {
        self.trees.here = Here::Read(files);
        self.advance_gathering();
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
