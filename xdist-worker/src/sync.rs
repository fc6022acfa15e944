//! Makes directories on this machine the same as the coordinator's, with as little as possible being sent.
//!
//! A copying goes in steps: what is here is hashed (`scan`, with `index` for what is known already); listings of directories
//! that differ are fetched, from the root down; contents that are nowhere here are fetched and checked (`fetch`, `staging`);
//! then, with everything at hand, the tree is changed, each file by a rename (`apply`). So whatever happens, a file is the
//! old one or the new one, and a copying that was cut off is gone on with: files that have come whole do not come again.
//!
//! Nothing here follows a symbolic link below the root: every step is taken from the descriptor of a directory, by one
//! name at a time (`enter`).

mod apply;

mod enter;

mod error;

mod fetch;

mod index;

mod place;

mod scan;

mod staging;

#[cfg(test)]
mod tests;

use apply::Applied;
use crossbeam_channel::{Receiver, Sender};
use error::SyncError;
use fetch::Fetcher;
use place::Place;
use scan::{Found, Nodes};
use staging::Staging;
use std::path::PathBuf;
use xdist_proto::WorkerMessage;
use xdist_proto::sync::{SyncBegin, SyncData, SyncEnd, SyncFailed};

use crate::event::Event;

/// How many commands may wait for the thread: more than a coordinator sends that waits for `sync_taken`.
pub(crate) const QUEUED_COMMANDS: usize = 256;

/// What the thread is told.
#[derive(Debug)]
pub(crate) enum SyncCommand {
    Begin(SyncBegin),
    Data(SyncData),
}

/// What the thread does: one copying after the other, until nobody sends commands any more. `cache` is the directory for copies
/// that go nowhere in particular.
pub(crate) fn copy_trees(commands: &Receiver<SyncCommand>, events: &Sender<Event>, cache: Option<PathBuf>) {
    for command in commands {
        let begin = match command {
            SyncCommand::Begin(begin) => begin,
            // Of a copying that has failed.
            SyncCommand::Data(_) => continue,
        };
        let fetcher = Fetcher::new(begin.tree, commands, events);
        let answer = match copy(&begin, cache.clone(), fetcher) {
            Ok(end) => WorkerMessage::SyncEnd(end),
            Err(SyncError::Ended) => return,
            Err(error) => {
                tracing::warn!(tree = begin.tree, %error, "a directory was not copied");
                WorkerMessage::SyncFailed(SyncFailed { tree: begin.tree, text: error.to_string() })
            }
        };
        if events.send(Event::Sync(Box::new(answer))).is_err() {
            return;
        }
    }
}

/// Copies one directory.
fn copy(begin: &SyncBegin, cache: Option<PathBuf>, fetcher: Fetcher<'_>) -> Result<SyncEnd, SyncError> {
    let place = Place::open(begin, cache)?;
    copy_to(&place, begin, fetcher).map_err(|error| error.in_copy(place.path()))
}

fn copy_to(place: &Place, begin: &SyncBegin, mut fetcher: Fetcher<'_>) -> Result<SyncEnd, SyncError> {
    let index = index::read(place);
    let found = scan::scan(place, &index)?;
    let applied = match found.listing == begin.root {
        true => Applied::nothing(&found),
        false => change(begin, place, &found, &mut fetcher)?,
    };
    if applied.changes() > 0 || found.hashed > 0 {
        index::write(&applied.index, place);
    }
    Ok(SyncEnd {
        tree: begin.tree,
        path: place.text()?,
        files: applied.files,
        written: applied.written,
        removed: applied.removed,
        received: fetcher.received(),
    })
}

fn change(
    begin: &SyncBegin,
    place: &Place,
    found: &Found,
    fetcher: &mut Fetcher<'_>,
) -> Result<Applied, SyncError> {
    let target: Nodes = fetcher.listings(begin.root, found)?;
    let mut staging = Staging::new(place, &found.nodes, &target)?;
    staging.reuse(place, found)?;
    fetcher.contents(&mut staging)?;
    apply::apply(place, found, &target, staging)
}
