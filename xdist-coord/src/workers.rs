//! WorkerManager: each worker's life from specification to down, its host, and restarts. Pure.

pub mod spec;

mod restart;

pub(crate) use restart::{Restart, Restarts};

use crate::session::collection::Mapping;
use spec::{HostSpec, WorkerSpec};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;
use xdist_proto::{CollectionDigest, ItemIndex, WorkerId};

/// A worker host that this run started or was joined by; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

/// One connection; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// All workers and hosts that the run has had.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// By id.
    workers: Vec<Worker>,
    /// By id.
    hosts: Vec<Host>,
    links: BTreeMap<LinkId, HostId>,
    /// Names in use, and those that specifications claim.
    names: BTreeSet<String>,
    /// How many workers are not down.
    living: usize,
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) spec: WorkerSpec,
    pub(crate) host: HostId,
    pub(crate) life: Life,
    /// How it was told to end.
    pub(crate) ending: Option<Ending>,
    /// What it has said about its own end.
    pub(crate) farewell: Farewell,
    /// Whether it has done its share, and is to be replaced.
    pub(crate) recycled: bool,
    pub(crate) pid: Option<u32>,
    /// Its Python and pytest, once they are known: `Python 3.11.2, pytest-9.0.1`.
    pub(crate) versions: Option<String>,
    /// In mode `each`, the book that it takes over from the worker that it replaces.
    pub(crate) inherits: Option<usize>,
    /// How many workers before it, each the replacement of the other, died without having done anything.
    pub(crate) fruitless: u32,
}

/// Where a worker is in its life.
#[derive(Debug)]
pub(crate) enum Life {
    /// Its host has not come up.
    Waiting,
    /// Its test process starts.
    Configuring,
    /// Its test process is up.
    Ready,
    /// It collects.
    Collecting,
    /// It has collected; it waits for the others, for its list to be looked at, or for its turn.
    Collected { digest: CollectionDigest, count: u32 },
    /// It can be given items.
    Active(Active),
    /// It is gone.
    Down,
}

/// What a worker that can be given items has.
#[derive(Debug)]
pub(crate) struct Active {
    /// The book that its items are in.
    pub(crate) book: usize,
    pub(crate) mapping: Rc<Mapping>,
    /// How many items it has.
    pub(crate) leased: usize,
    /// How many items it has finished.
    pub(crate) finished: u32,
    pub(crate) steal: Option<Steal>,
    /// The number of an unanswered cancel.
    pub(crate) cancel: Option<u32>,
}

/// An unanswered steal.
#[derive(Debug)]
pub(crate) struct Steal {
    pub(crate) request: u32,
    /// The items, by agreed index.
    pub(crate) items: Vec<ItemIndex>,
}

/// What a worker has said about its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Nothing.
    None,
    /// Why it cannot go on: a usage error or an internal error.
    Error,
    /// Its session has ended in good order.
    Output,
}

/// How a worker was told to end; later ones are stronger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// After what it has in hand.
    Drain,
    /// After an interrupt of what it is doing.
    Interrupt,
    /// At once, for this reason if there is something wrong with it.
    Shutdown(Option<String>),
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) spec: HostSpec,
    /// The machine's name; empty if it is not known.
    pub(crate) name: String,
    pub(crate) life: HostLife,
    pub(crate) workers: Vec<WorkerId>,
    /// Whether it ever came up.
    pub(crate) came_up: bool,
    /// What it can do that not every host can.
    pub(crate) features: BTreeMap<String, u64>,
}

/// Where a host is in its life.
#[derive(Debug)]
pub(crate) enum HostLife {
    /// It is being started.
    Launching,
    /// It is there and has not said `hello`.
    Launched { link: LinkId },
    /// It is in use.
    Open { link: LinkId, pulse: Pulse },
    /// Its link is closed, or is never to be opened.
    Closed,
}

/// Signs of life of a host.
#[derive(Debug)]
pub(crate) struct Pulse {
    pub(crate) last_heard: Instant,
    /// The nonces of unanswered pings, oldest first.
    pub(crate) unanswered: VecDeque<u64>,
}

impl Life {
    /// In one word, for messages.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting for its host",
            Self::Configuring => "starting",
            Self::Ready => "ready",
            Self::Collecting => "collecting",
            Self::Collected { .. } => "waiting for items",
            Self::Active(_) => "running items",
            Self::Down => "down",
        }
    }
}

impl Worker {
    pub(crate) const fn is_down(&self) -> bool {
        matches!(self.life, Life::Down)
    }

    /// Whether the run counts on it.
    pub(crate) const fn is_in_use(&self) -> bool {
        !self.is_down() && self.ending.is_none() && !self.recycled
    }

    /// Whether its place is taken, by itself or soon by its replacement.
    pub(crate) const fn holds_its_place(&self) -> bool {
        !self.is_down() && (self.recycled || self.ending.is_none())
    }

    pub(crate) const fn active(&self) -> Option<&Active> {
        match &self.life {
            Life::Active(active) => Some(active),
            Life::Waiting
            | Life::Configuring
            | Life::Ready
            | Life::Collecting
            | Life::Collected { .. }
            | Life::Down => None,
        }
    }

    pub(crate) const fn active_mut(&mut self) -> Option<&mut Active> {
        match &mut self.life {
            Life::Active(active) => Some(active),
            Life::Waiting
            | Life::Configuring
            | Life::Ready
            | Life::Collecting
            | Life::Collected { .. }
            | Life::Down => None,
        }
    }

    /// How many items it has.
    pub(crate) const fn leased(&self) -> usize {
        match self.active() {
            Some(active) => active.leased,
            None => 0,
        }
    }
}

impl Ending {
    /// Whether it demands more than `other`.
    pub(crate) const fn is_stronger_than(&self, other: &Self) -> bool {
        self.strength() > other.strength()
    }

    const fn strength(&self) -> u8 {
        match self {
            Self::Drain => 0,
            Self::Interrupt => 1,
            Self::Shutdown(_) => 2,
        }
    }
}

impl Host {
    /// Whether it is no host, but a command that has others dial in.
    pub(crate) const fn is_launcher(&self) -> bool {
        matches!(self.spec, HostSpec::Launcher(_))
    }

    /// What people know the machine by.
    pub(crate) fn machine(&self) -> String {
        match (self.spec.other_machine(), &self.spec) {
            (Some(machine), _) => machine.to_owned(),
            (None, HostSpec::Local) => "this machine".to_owned(),
            (None, _) => self.spec.describe(),
        }
    }
}

impl HostLife {
    pub(crate) const fn link(&self) -> Option<LinkId> {
        match self {
            Self::Launched { link } | Self::Open { link, .. } => Some(*link),
            Self::Launching | Self::Closed => None,
        }
    }
}

impl Workers {
    /// Keeps a name from being given to a worker that has none of its own.
    pub(crate) fn claim_name(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    /// A new worker on this host.
    pub(crate) fn add(&mut self, spec: WorkerSpec, host: HostId, name: Option<String>) -> WorkerId {
        let id = WorkerId(to_u32(self.workers.len()));
        let name = name.unwrap_or_else(|| self.free_name(id));
        self.names.insert(name.clone());
        self.hosts[host.0 as usize].workers.push(id);
        self.workers.push(Worker {
            name,
            spec,
            host,
            life: Life::Waiting,
            ending: None,
            farewell: Farewell::None,
            recycled: false,
            pid: None,
            versions: None,
            inherits: None,
            fruitless: 0,
        });
        self.living += 1;
        id
    }

    /// `gw` and the worker's number, or the next number if a specification has claimed that name.
    fn free_name(&self, id: WorkerId) -> String {
        let mut name = id.to_string();
        for number in id.0.. {
            name = WorkerId(number).to_string();
            if !self.names.contains(&name) {
                break;
            }
        }
        name
    }

    pub(crate) fn get(&self, id: WorkerId) -> &Worker {
        &self.workers[id.0 as usize]
    }

    pub(crate) fn knows(&self, id: WorkerId) -> bool {
        (id.0 as usize) < self.workers.len()
    }

    pub(crate) fn get_mut(&mut self, id: WorkerId) -> &mut Worker {
        &mut self.workers[id.0 as usize]
    }

    /// The worker, if it is one of this host and not down.
    pub(crate) fn is_living_on(&self, host: HostId, id: WorkerId) -> bool {
        self.workers.get(id.0 as usize).is_some_and(|worker| worker.host == host && !worker.is_down())
    }

    /// All workers that there ever were.
    pub(crate) fn all(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        (0..).map(WorkerId).zip(&self.workers)
    }

    /// Those that are not down.
    pub(crate) fn living(&self) -> Vec<WorkerId> {
        self.all().filter(|(_, worker)| !worker.is_down()).map(|(id, _)| id).collect()
    }

    /// How many workers are not down.
    pub(crate) const fn living_count(&self) -> usize {
        self.living
    }

    /// The worker is gone.
    pub(crate) fn set_down(&mut self, id: WorkerId) {
        let worker = self.get_mut(id);
        debug_assert!(!worker.is_down(), "{id} is down twice");
        worker.life = Life::Down;
        self.living -= 1;
    }

    /// A host for a worker with this specification, and whether it is new.
    pub(crate) fn host_for(&mut self, spec: &HostSpec) -> (HostId, bool) {
        let fits = |host: &Host| host.spec == *spec && !matches!(host.life, HostLife::Closed);
        let shared = self.hosts.iter().rposition(fits).filter(|_| spec.is_shared());
        match shared {
            Some(at) => (HostId(to_u32(at)), false),
            None => (self.add_host(spec.clone()), true),
        }
    }

    /// A new host, which is yet to come up.
    pub(crate) fn add_host(&mut self, spec: HostSpec) -> HostId {
        let (name, life, workers) = (String::new(), HostLife::Launching, Vec::new());
        self.hosts.push(Host { spec, name, life, workers, came_up: false, features: BTreeMap::new() });
        HostId(to_u32(self.hosts.len() - 1))
    }

    pub(crate) fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.0 as usize]
    }

    /// The name of the machine that the worker is on; empty if it is not known.
    pub(crate) fn machine_of(&self, worker: WorkerId) -> String {
        self.host(self.get(worker).host).name.clone()
    }

    /// What the user calls the machine that the worker is on, if that is another one than this.
    pub(crate) fn other_machine_of(&self, worker: WorkerId) -> Option<&str> {
        self.other_machine(self.get(worker).host)
    }

    /// What the user calls the machine of the host, if that is another one than this.
    pub(crate) fn other_machine(&self, host: HostId) -> Option<&str> {
        self.host(host).spec.other_machine()
    }

    pub(crate) fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[id.0 as usize]
    }

    pub(crate) fn knows_host(&self, id: HostId) -> bool {
        (id.0 as usize) < self.hosts.len()
    }

    pub(crate) fn hosts(&self) -> Vec<HostId> {
        (0..to_u32(self.hosts.len())).map(HostId).collect()
    }

    /// The workers of the host that are not down.
    pub(crate) fn living_on(&self, host: HostId) -> Vec<WorkerId> {
        self.host(host).workers.iter().copied().filter(|&id| !self.get(id).is_down()).collect()
    }

    pub(crate) fn set_link(&mut self, host: HostId, link: LinkId) {
        self.links.insert(link, host);
        self.host_mut(host).life = HostLife::Launched { link };
    }

    /// The host at the other end, whether or not its link is still open.
    pub(crate) fn host_of_link(&self, link: LinkId) -> Option<HostId> {
        self.links.get(&link).copied()
    }

    /// The link to the worker's host, if messages can be sent.
    pub(crate) fn link_of(&self, worker: WorkerId) -> Option<LinkId> {
        match &self.host(self.get(worker).host).life {
            HostLife::Open { link, .. } => Some(*link),
            HostLife::Launching | HostLife::Launched { .. } | HostLife::Closed => None,
        }
    }
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).expect("a run has fewer than 2^32 workers")
}
