//! Passes directories on from the thread that reads them to the hosts that lack them, and to the session what is in files.
//!
//! A chunk is put onto a link only when nearly nothing else waits there, and only so many as the host has taken. So what
//! must be quick never waits behind more than one chunk here, and nothing piles up anywhere.

use super::token::Source;
use crate::session::output::{SyncJob, SyncOrder};
use crate::sync::{Packed, Packer};
use crate::workers::LinkId;
use mio::{Registry, Waker};
use std::collections::BTreeMap;
use std::io;
use xdist_proto::CoordinatorMessage;
use xdist_proto::sync::{SyncBegin, SyncData, WINDOW_CHUNKS};

/// What may wait on a link before a chunk is put behind it, in bytes.
pub(super) const ROOM_BYTES: usize = 64 << 10;

/// Every copying that is under way.
#[derive(Debug, Default)]
pub(super) struct Copying {
    /// From the first one on.
    packer: Option<Packer>,
    streams: BTreeMap<u32, Stream>,
}

#[derive(Debug)]
struct Stream {
    link: LinkId,
    job: Box<SyncJob>,
    /// How many chunks were sent, and how many of them the host has taken.
    sent: u32,
    taken: u32,
    /// Whether a chunk is being packed.
    is_packing: bool,
    /// A chunk that waits for its turn.
    ready: Option<SyncData>,
}

/// Something to do.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this.
    Send(LinkId, CoordinatorMessage),
    /// Tell the session that a directory cannot be read.
    Fail(u32, String),
    /// Tell the session what is in the files that it asked about.
    Hashed(BTreeMap<String, u64>),
}

impl Copying {
    /// Does as the session says. What could not be begun is the answer.
    pub(super) fn order(&mut self, registry: &Registry, tree: u32, order: SyncOrder) -> Option<Step> {
        match order {
            SyncOrder::Begin { link, job } => match self.packer(registry) {
                Ok(packer) => {
                    packer.begin(tree, job.source.clone());
                    let stream = Stream { link, job, sent: 0, taken: 0, is_packing: false, ready: None };
                    self.streams.insert(tree, stream);
                }
                Err(error) => return Some(Step::Fail(tree, format!("files cannot be read: {error}"))),
            },
            SyncOrder::Want(blobs) => {
                if let Some(packer) = &self.packer {
                    packer.want(tree, blobs);
                }
            }
            SyncOrder::Taken(chunks) => {
                if let Some(stream) = self.streams.get_mut(&tree) {
                    stream.taken = chunks.min(stream.sent).max(stream.taken);
                }
            }
            SyncOrder::Forget => {
                self.streams.remove(&tree);
                if let Some(packer) = &self.packer {
                    packer.forget(tree);
                }
            }
        }
        None
    }

    /// Has files read. If that cannot be, the answer is there at once.
    pub(super) fn read(
        &mut self,
        registry: &Registry,
        directory: String,
        paths: Vec<String>,
    ) -> Option<Step> {
        match self.packer(registry) {
            Ok(packer) => {
                packer.hash(directory, paths);
                None
            }
            Err(error) => {
                tracing::warn!(%error, "files here cannot be compared with those elsewhere");
                Some(Step::Hashed(BTreeMap::new()))
            }
        }
    }

    fn packer(&mut self, registry: &Registry) -> io::Result<&Packer> {
        let packer = match self.packer.take() {
            Some(packer) => packer,
            None => {
                let waker = Waker::new(registry, Source::Sync.into())?;
                Packer::start(move || {
                    if let Err(error) = waker.wake() {
                        tracing::error!(%error, "the coordinator cannot be woken");
                    }
                })?
            }
        };
        Ok(self.packer.insert(packer))
    }

    /// What is to be done now; `has_room` says of a link whether nearly nothing waits on it.
    pub(super) fn steps(&mut self, has_room: impl Fn(LinkId) -> bool) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some(packer) = &self.packer else { return steps };
        for packed in packer.packed() {
            match packed {
                Packed::Begun { tree, root } => {
                    if let Some(stream) = self.streams.get_mut(&tree) {
                        let (base, project) = (stream.job.base.clone(), stream.job.project.clone());
                        let name = stream.job.source.root.name.clone();
                        let begin = SyncBegin { tree, base, project, name, root };
                        steps.push(Step::Send(stream.link, CoordinatorMessage::SyncBegin(begin)));
                    }
                }
                Packed::Chunk(data) => {
                    if let Some(stream) = self.streams.get_mut(&data.tree) {
                        stream.is_packing = false;
                        stream.ready = Some(data);
                    }
                }
                Packed::Failed { tree, text } => steps.push(Step::Fail(tree, text)),
                Packed::Hashed(files) => steps.push(Step::Hashed(files)),
            }
        }
        for (&tree, stream) in &mut self.streams {
            if has_room(stream.link)
                && stream.sent - stream.taken < WINDOW_CHUNKS
                && let Some(data) = stream.ready.take()
            {
                stream.sent = stream.sent.wrapping_add(1);
                steps.push(Step::Send(stream.link, CoordinatorMessage::SyncData(data)));
            }
            // The next one is packed while this one travels.
            if stream.ready.is_none() && !stream.is_packing {
                stream.is_packing = true;
                packer.next(tree);
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Root, Source as Directory};
    use mio::{Events, Poll};
    use xdist_proto::tree::BlobHash;

    const LINK: LinkId = LinkId(4);

    /// Runs the steps until there is one, or none is under way.
    fn next_steps(copying: &mut Copying, poll: &mut Poll, has_room: bool) -> Vec<Step> {
        let mut events = Events::with_capacity(8);
        loop {
            let steps = copying.steps(|_| has_room);
            if !steps.is_empty() {
                return steps;
            }
            poll.poll(&mut events, None).unwrap();
        }
    }

    fn job(directory: &tempfile::TempDir) -> Box<SyncJob> {
        let path = directory.path().to_str().unwrap().to_owned();
        let root = Root { path, name: "d".to_owned(), heeds_ignore_files: true };
        let source = Directory { root, ignore: Vec::new(), cache: None };
        Box::new(SyncJob { base: None, project: "p".to_owned(), source })
    }

    #[test]
    fn a_chunk_waits_for_room_and_for_what_the_host_has_taken() {
        let chunks = WINDOW_CHUNKS as usize + 4;
        let directory = tempfile::tempdir().unwrap();
        let content: Vec<u8> =
            (0..chunks * xdist_proto::sync::MAX_CHUNK_BYTES).map(|_| fastrand::u8(..)).collect();
        std::fs::write(directory.path().join("large"), &content).unwrap();
        let mut poll = Poll::new().unwrap();
        let mut copying = Copying::default();
        let begin = SyncOrder::Begin { link: LINK, job: job(&directory) };
        assert!(copying.order(poll.registry(), 1, begin).is_none());
        let steps = next_steps(&mut copying, &mut poll, true);
        assert!(
            matches!(&steps[..], [Step::Send(LINK, CoordinatorMessage::SyncBegin(_))]),
            "{} steps",
            steps.len()
        );
        copying.order(poll.registry(), 1, SyncOrder::Want(vec![BlobHash::of(&content)]));
        // The thread has packed one, which waits for room.
        let mut events = Events::with_capacity(8);
        while copying.streams[&1].ready.is_none() {
            poll.poll(&mut events, None).unwrap();
            assert!(copying.steps(|_| false).is_empty());
        }
        let mut sent = 0;
        while sent < WINDOW_CHUNKS {
            let steps = next_steps(&mut copying, &mut poll, true);
            assert!(steps.len() == 1 && matches!(&steps[0], Step::Send(_, CoordinatorMessage::SyncData(_))));
            sent += 1;
        }
        while copying.streams[&1].ready.is_none() {
            poll.poll(&mut events, None).unwrap();
            assert!(copying.steps(|_| true).is_empty(), "the window is full");
        }
        // Nobody can have taken more than was sent.
        copying.order(poll.registry(), 1, SyncOrder::Taken(u32::MAX));
        assert_eq!(copying.streams[&1].taken, WINDOW_CHUNKS);
        assert_eq!(copying.steps(|_| true).len(), 1);
        copying.order(poll.registry(), 1, SyncOrder::Forget);
        assert!(copying.streams.is_empty());
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let job = job(&directory);
        drop(directory);
        let mut poll = Poll::new().unwrap();
        let mut copying = Copying::default();
        copying.order(poll.registry(), 1, SyncOrder::Begin { link: LINK, job });
        let steps = next_steps(&mut copying, &mut poll, true);
        assert!(matches!(&steps[..], [Step::Fail(1, text)] if text.contains("cannot read")));
    }
}
