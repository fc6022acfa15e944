//! pytest's cache: what failed and what was there, for `--lf`, `--ff` and `--nf` of the next run.
//!
//! Follows `_pytest/cacheprovider.py` of pytest 9.2. Reading and using it is the workers' part; under pytest-xdist they
//! do not write it, and neither do they here.

use super::Frontend;
use super::file;
use super::report::{self, Outcome, Report, When};
use super::roster::Roster;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;
use xdist_coord::session::event::{RunEvent, RunSummary};
use xdist_proto::report::{CollectReport, ItemReport, OutcomeClass, Phase, WarningRecord};
use xdist_proto::{Collection, ItemIndex, WorkerId};

const LAST_FAILED: &str = "v/cache/lastfailed";

const NODE_IDS: &str = "v/cache/nodeids";

/// What pytest puts into a new cache directory; other tools look for the tag's signature.
const SUPPORTING_FILES: [(&str, &str); 3] = [
    (
        "README.md",
        "# pytest cache directory #\n\nThis directory contains data from the pytest's cache plugin,\nwhich provides the \
         `--lf` and `--ff` options, as well as the `cache` fixture.\n\n**Do not** commit this to version control.\n\nSee \
         [the docs](https://docs.pytest.org/en/stable/how-to/cache.html) for more information.\n",
    ),
    (".gitignore", "# Created by pytest automatically.\n*\n"),
    (
        "CACHEDIR.TAG",
        "Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag created by pytest.\n# For \
         information about cache directory tags, see:\n#\thttps://bford.info/cachedir/spec.html\n",
    ),
];

/// Keeps the cache. Does nothing where the cache plugin is off.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    directory: Option<PathBuf>,
    roster: Roster,
    last_failed: BTreeSet<String>,
    /// What the file said before the run.
    saved: BTreeSet<String>,
    /// What was there at the end of the run before.
    known: BTreeSet<String>,
    collections: Vec<Rc<Collection>>,
    /// Collectors that failed in this run.
    failed_collectors: BTreeSet<String>,
    warnings: Vec<WarningRecord>,
}

impl Cache {
    /// What could not be written, as the warnings that pytest gives for it.
    pub(crate) fn take_warnings(&mut self) -> Vec<WarningRecord> {
        std::mem::take(&mut self.warnings)
    }

    fn open(&mut self, directory: PathBuf) {
        let last_failed: Option<Map<String, Value>> = read(&directory.join(LAST_FAILED));
        self.saved = last_failed.into_iter().flatten().map(|(node_id, _)| node_id).collect();
        self.last_failed = self.saved.clone();
        self.known = read(&directory.join(NODE_IDS)).unwrap_or_default();
        self.directory = Some(directory);
    }

    fn collected(&mut self, collection: &Rc<Collection>) {
        self.collections.push(Rc::clone(collection));
        // A collector that failed last time and has items now hands its failure down to them: only their results can
        // tell whether all is well.
        for item in &collection.items {
            let collectors: Vec<&str> = collectors(&item.node_id).collect();
            let recovered = |collector: &&&str| {
                self.saved.contains(**collector) && !self.failed_collectors.contains(**collector)
            };
            if let Some(collector) = collectors.iter().find(recovered) {
                self.last_failed.remove(*collector);
                self.last_failed.insert(item.node_id.clone());
            }
        }
    }

    fn item_finished(&mut self, worker: WorkerId, item: ItemIndex, report: &ItemReport) {
        let passed = report.phases.is_empty() && report.class.is_pass();
        if passed && self.last_failed.is_empty() {
            return;
        }
        let node_id = self.roster.node_id(worker, item);
        report::item_reports(None, &node_id, report).iter().for_each(|report| self.reported(report));
    }

    fn reported(&mut self, report: &Report) {
        let passed_call = report.outcome == Outcome::Passed && report.when == When::Phase(Phase::Call);
        if passed_call || report.outcome == Outcome::Skipped {
            self.last_failed.remove(&report.node_id);
        } else if report.outcome == Outcome::Failed {
            self.last_failed.insert(report.node_id.clone());
        }
    }

    fn collector(&mut self, report: &CollectReport) {
        if report.class == OutcomeClass::Skip {
            self.last_failed.remove(&report.node_id);
        } else {
            self.failed_collectors.insert(report.node_id.clone());
            self.last_failed.insert(report.node_id.clone());
        }
    }

    fn write(&mut self, directory: &Path) {
        if self.last_failed != self.saved {
            let entries: BTreeMap<_, _> = self.last_failed.iter().map(|node_id| (node_id, true)).collect();
            let text = serde_json::to_vec_pretty(&entries);
            self.write_file(directory, LAST_FAILED, text);
        }
        let collected = self.collections.iter().flat_map(|collection| &collection.items);
        let node_ids: BTreeSet<&String> =
            self.known.iter().chain(collected.map(|item| &item.node_id)).collect();
        let text = serde_json::to_vec_pretty(&node_ids);
        self.write_file(directory, NODE_IDS, text);
    }

    fn write_file(&mut self, directory: &Path, name: &str, text: serde_json::Result<Vec<u8>>) {
        let path = directory.join(name);
        let written = match ensure_directory(directory) {
            Ok(()) => text
                .map_err(io::Error::from)
                .and_then(|text| file::replace(&path, &text))
                .map_err(|error| ("cache could not write path", error)),
            Err(error) => Err(("could not create cache path", error)),
        };
        if let Err((what, error)) = written {
            self.warnings.push(warning(&format!("{what} {}: {error}", path.display())));
        }
    }
}

impl Frontend for Cache {
    fn event(&mut self, event: &RunEvent, _now: Instant) {
        if let RunEvent::Configured(configured) = event
            && let Some(directory) = &configured.display.cache_dir
        {
            self.open(directory.into());
        }
        if self.directory.is_none() {
            return;
        }
        self.roster.observe(event);
        match event {
            RunEvent::Collected { collection, .. } => self.collected(collection),
            RunEvent::CollectReport { report, .. } => self.collector(report),
            RunEvent::ItemFinished { worker, item, report, .. } => {
                self.item_finished(*worker, *item, report);
            }
            RunEvent::Crashed(crash) => {
                if let Some(item) = &crash.item {
                    self.last_failed.insert(self.roster.node_id(crash.worker, item.item));
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, _summary: &RunSummary, _now: Instant) {
        if let Some(directory) = self.directory.take() {
            self.write(&directory);
        }
    }
}

/// The node ids of the collectors above an item: `a.py`, `a.py::TestC` for `a.py::TestC::test[x::y]`.
fn collectors(node_id: &str) -> impl Iterator<Item = &str> {
    let names = &node_id[..node_id.find('[').unwrap_or(node_id.len())];
    names.match_indices("::").map(|(position, _)| &node_id[..position])
}

/// The value in a file of the cache; `None` if it is missing or broken, as pytest has it.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Creates the cache directory with its supporting files, at once: two runs may do so at the same time.
fn ensure_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().unwrap_or(directory);
    fs::create_dir_all(parent)?;
    let made = tempfile::Builder::new()
        .prefix("pytest-cache-files-")
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)?;
    for (name, contents) in SUPPORTING_FILES {
        fs::write(made.path().join(name), contents)?;
    }
    match fs::rename(made.path(), directory) {
        Ok(()) => {
            // It is not where it would be removed from any more.
            let _ = made.keep();
            Ok(())
        }
        // Another run was faster.
        Err(_) if directory.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn warning(message: &str) -> WarningRecord {
    WarningRecord {
        when: "config".to_owned(),
        node_id: String::new(),
        category: "PytestCacheWarning".to_owned(),
        text: format!("PytestCacheWarning: {message}"),
        message: message.to_owned(),
        path: String::new(),
        line: 0,
        location: None,
        full: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
