//! Reads the directories that are copied to hosts, and packs what hosts lack; reads files that are compared with those of
//! hosts. One thread does all of that, since reading and hashing take their time: each directory is gone through once in a run.

mod contents;

mod fnmatch;

mod known;

mod pack;

mod select;

mod walk;

pub use select::{Root, RootError, roots};

use pack::Stream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::{fmt, io};
use walk::Tree;
use xdist_proto::sync::SyncData;
use xdist_proto::tree::BlobHash;

/// What the thread is to do.
#[derive(Debug)]
enum Order {
    /// Go through a directory, for the copying of this number.
    Begin { tree: u32, source: Source },
    /// Send these blobs.
    Want { tree: u32, blobs: Vec<BlobHash> },
    /// Pack one chunk, as soon as there is anything to send.
    Next { tree: u32 },
    /// Nothing more is needed for it.
    Forget { tree: u32 },
    /// Hash these files.
    Hash { directory: String, paths: Vec<String> },
}

/// A directory to be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The directory.
    pub root: Root,
    /// Patterns of what is left out of it.
    pub ignore: Vec<String>,
    /// The directory for what is of use to later runs, if there is one.
    pub cache: Option<String>,
}

/// What the thread has done.
#[derive(Debug)]
pub(crate) enum Packed {
    /// A directory has this listing.
    Begun { tree: u32, root: BlobHash },
    /// A chunk.
    Chunk(SyncData),
    /// It cannot be read, or what is wanted makes no sense.
    Failed { tree: u32, text: String },
    /// These files have these hashes.
    Hashed(BTreeMap<String, u64>),
}

/// The thread, and the ways to and from it.
pub(crate) struct Packer {
    orders: Option<Sender<Order>>,
    packed: Receiver<Packed>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Packer {
    /// Starts the thread, which calls `wake` whenever it has done something.
    ///
    /// # Errors
    /// When the system has no more threads to give.
    pub(crate) fn start(wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (orders, incoming) = mpsc::channel();
        let (done, packed) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let mut work =
            Work { trees: BTreeMap::new(), streams: BTreeMap::new(), stop: Stop(Arc::clone(&stop)) };
        let body = move || {
            for order in incoming {
                if let Some(packed) = work.carry_out(order) {
                    if done.send(packed).is_err() {
                        return;
                    }
                    wake();
                }
            }
        };
        let thread = thread::Builder::new().name("sync".to_owned()).spawn(body)?;
        Ok(Self { orders: Some(orders), packed, stop, thread: Some(thread) })
    }

    pub(crate) fn begin(&self, tree: u32, source: Source) {
        self.order(Order::Begin { tree, source });
    }

    pub(crate) fn want(&self, tree: u32, blobs: Vec<BlobHash>) {
        self.order(Order::Want { tree, blobs });
    }

    pub(crate) fn next(&self, tree: u32) {
        self.order(Order::Next { tree });
    }

    pub(crate) fn forget(&self, tree: u32) {
        self.order(Order::Forget { tree });
    }

    pub(crate) fn hash(&self, directory: String, paths: Vec<String>) {
        self.order(Order::Hash { directory, paths });
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders
            && orders.send(order).is_err()
        {
            tracing::error!("the thread that reads files has ended");
        }
    }

    /// What has been done since the last time.
    pub(crate) fn packed(&self) -> Vec<Packed> {
        self.packed.try_iter().collect()
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Without anybody to send orders it comes to its end.
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Says when nobody waits any more for what takes long.
#[derive(Clone, Debug, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the thread has.
struct Work {
    /// What every directory was when it was gone through, or why that could not be.
    trees: BTreeMap<Source, Result<Arc<Tree>, String>>,
    streams: BTreeMap<u32, Stream>,
    stop: Stop,
}

impl Work {
    fn carry_out(&mut self, order: Order) -> Option<Packed> {
        match order {
            Order::Begin { tree, source } => Some(self.begin(tree, source)),
            Order::Want { tree, blobs } => {
                let stream = self.streams.get_mut(&tree)?;
                match stream.want(blobs) {
                    Ok(()) if stream.is_awaited() => self.next(tree),
                    Ok(()) => None,
                    Err(text) => Some(Packed::Failed { tree, text }),
                }
            }
            Order::Next { tree } => self.next(tree),
            Order::Forget { tree } => {
                self.streams.remove(&tree);
                None
            }
            Order::Hash { directory, paths } => {
                Some(Packed::Hashed(contents::hashes(&directory, paths, &self.stop)))
            }
        }
    }

    fn begin(&mut self, tree: u32, source: Source) -> Packed {
        let walked = match self.trees.get(&source) {
            Some(walked) => walked.clone(),
            None => {
                let walked = walk::walk(&source, &self.stop).map(Arc::new).map_err(|error| error.to_string());
                self.trees.insert(source, walked.clone());
                walked
            }
        };
        match walked {
            Ok(walked) => {
                let root = walked.root;
                self.streams.insert(tree, Stream::new(tree, walked));
                Packed::Begun { tree, root }
            }
            Err(text) => Packed::Failed { tree, text },
        }
    }

    fn next(&mut self, tree: u32) -> Option<Packed> {
        let stream = self.streams.get_mut(&tree)?;
        match stream.next() {
            Ok(chunk) => chunk.map(Packed::Chunk),
            Err(text) => Some(Packed::Failed { tree, text }),
        }
    }
}

#[cfg(test)]
mod tests;
