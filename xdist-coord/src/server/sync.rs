//! Passes directories on from the thread that reads them to the hosts that lack them.
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
}

impl Copying {
    /// Does as the session says. What could not be begun is the answer.
    pub(super) fn order(&mut self, registry: &Registry, tree: u32, order: SyncOrder) -> Option<Step> {
        match order {
            SyncOrder::Begin { link, job } => match self.packer(registry) {
                Ok(packer) => {
                    packer.begin(tree, job.root.clone(), job.ignore.clone());
                    let stream =
                        Stream { link, job, sent: 0, taken: 0, is_packing: false, ready: None };
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
                        let name = stream.job.root.name.clone();
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
