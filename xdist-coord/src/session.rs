//! DSession: one run, as a state machine without any input or output of its own.
//!
//! Told from start to end: `hosts` brings worker hosts up and watches over their links, `joining` lets those in that dial in;
//! `pytest_host` asks plugins on this side what workers are to know; `gathering` turns the first
//! worker's options into a plan, starts the rest, and waits until the workers agree on what there is to run; `running`
//! carries out what the scheduler decides and takes in results; `ends` is about every kind of end, of a worker and of
//! the run; `trees` compares the tests' files on several machines, and `fetch` gets files of other machines in the end.

pub mod config;

pub mod input;

pub mod output;

pub mod event;

mod plan;

mod hosts;

mod joining;
mod sync;

mod pytest_host;

mod gathering;

mod running;

mod questions;

mod terminal;

mod shared;

mod foreign;

mod ends;

mod fetch;

mod trees;

pub(crate) mod collection;

mod results;

mod retries;

mod timer;

mod violation;

pub use config::{Config, Copied, Joining, Place, PytestHost, Timeouts};
pub use event::{RunEnd, RunEvent, RunSummary};
pub use input::Input;
pub use output::Output;

use crate::scheduler::History;
use crate::workers::{LinkId, Restarts, Workers};
use collection::{Lists, Mapping};
use ends::Shown;
use plan::Plan;
use results::{Book, Counts, Leases};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;
use timer::Timers;
use xdist_proto::message::CoordinatorMessage;
use xdist_proto::{CollectionDigest, WorkerId};

/// One run, from the first host's launch to the summary.
///
/// The driver's contract: one [`handle`](Self::handle), then [`poll_output`](Self::poll_output) until `None`, then wait
/// until something arrives or [`next_deadline`](Self::next_deadline) has come. After [`new`](Self::new) the outputs are
/// drained first. [`Output::Finished`] comes exactly once and last; afterwards inputs change nothing.
///
/// ```
/// # #![allow(clippy::disallowed_methods)]
/// use std::time::Instant;
/// use xdist_coord::session::{Config, Joining, Output, Place, PytestHost, RunEvent, Session, Timeouts};
/// # use xdist_proto::{RunId, message::{Start, Wants}};
/// let config = Config {
///     run: RunId("example".to_owned()),
///     workers: None,
///     mode: None,
///     args: vec!["tests".to_owned()],
///     python: vec!["python3".to_owned()],
///     start: Start::Auto,
///     place: Place::default(),
///     wants: Wants::default(),
///     joining: Joining::default(),
///     pytest_host: PytestHost::Never,
///     terminal: None,
///     timeouts: Timeouts::default(),
/// };
/// let mut session = Session::new(config, 7, Instant::now());
/// // One worker comes first; its options say how many more.
/// assert!(matches!(session.poll_output(), Some(Output::Report(RunEvent::WorkerStarting { .. }))));
/// assert!(matches!(session.poll_output(), Some(Output::Launch { .. })));
/// assert!(session.poll_output().is_none());
/// assert!(session.next_deadline().is_some(), "the host is not waited for indefinitely");
/// ```
///
/// The same configuration, seed and inputs give the same outputs. Time only moves forward: an older `now` than the
/// latest one seen is taken for the latest.
#[derive(Debug)]
pub struct Session {
    config: Config,
    now: Instant,
    random: fastrand::Rng,
    timers: Timers,
    outputs: VecDeque<Output>,
    course: Course,
    /// From the first `ready` on.
    plan: Option<Plan>,
    /// What is told only after [`RunEvent::Configured`]: most of it.
    withheld: Vec<RunEvent>,
    workers: Workers,
    /// Links that belong to no host of the run, and were closed.
    turned_away: BTreeSet<LinkId>,
    /// The workers that the run begins with, by position.
    initial: Vec<WorkerId>,
    restarts: Restarts,
    /// Whether any worker has come as far as having collected.
    ever_collected: bool,
    /// Those that died before that, and were not replaced.
    hopeless: Vec<WorkerId>,
    /// What tests took in earlier runs, until it has been used.
    history: History,
    lists: Lists,
    /// How the lists that differ from the agreed one correspond to it.
    mappings: BTreeMap<CollectionDigest, Rc<Mapping>>,
    /// Collect reports that were told, by node id and text.
    collect_reports: BTreeSet<(String, String)>,
    books: Vec<Book>,
    /// How many books are not closed.
    open_books: usize,
    leases: Leases,
    /// The number of the next steal or cancel.
    next_request: u32,
    counts: Counts,
    shown: Shown,
    pytest_host: pytest_host::State,
    terminal: terminal::State,
    shared: shared::State,
    joining: joining::State,
    fetches: fetch::State,
    trees: trees::State,
    sync: sync::State,
    interrupts: u32,
}

/// How far the run is.
#[derive(Clone, Debug, PartialEq)]
enum Course {
    /// Workers start and collect.
    Gathering,
    /// Items are handed out.
    Running,
    /// Nothing more is handed out; workers come to their ends.
    Ending(RunEnd),
    /// `Finished` is out.
    Over,
}

impl Session {
    /// A run that is about to start; its first outputs are waiting. The seed is for what must not be guessed.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let pytest_host = config.pytest_host;
        let mut session = Self {
            config,
            now,
            random: fastrand::Rng::with_seed(seed),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            course: Course::Gathering,
            plan: None,
            withheld: Vec::new(),
            workers: Workers::default(),
            turned_away: BTreeSet::new(),
            initial: Vec::new(),
            restarts: Restarts::default(),
            ever_collected: false,
            hopeless: Vec::new(),
            history: History::default(),
            lists: Lists::default(),
            mappings: BTreeMap::new(),
            collect_reports: BTreeSet::new(),
            books: Vec::new(),
            open_books: 0,
            leases: Leases::default(),
            next_request: 0,
            counts: Counts::default(),
            shown: Shown::default(),
            pytest_host: pytest_host::State::new(pytest_host),
            terminal: terminal::State::default(),
            shared: shared::State::default(),
            joining: joining::State::default(),
            fetches: fetch::State::default(),
            trees: trees::State::default(),
            sync: sync::State::default(),
            interrupts: 0,
        };
        session.start_first_workers();
        session
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.now = self.now.max(now);
        if self.course == Course::Over {
            return;
        }
        match input {
            Input::Launched { host, link } => self.launched(host, link),
            Input::LaunchFailed { host, error } => self.launch_failed(host, error),
            Input::Joined { link, peer, launcher } => self.joined(link, &peer, launcher),
            Input::GateLost { error } => self.gate_lost(&error),
            Input::Opened { link, hello } => self.opened(link, &hello),
            Input::Received { link, message } => self.received(link, message),
            Input::Garbled { link, error } => self.garbled(link, &error),
            Input::Closed { link, cause } => self.closed(link, &cause),
            Input::PytestHostJoined { judges_crashes, schedules } => {
                self.pytest_host.joined(judges_crashes, schedules);
            }
            Input::Assigned { worker, items } => self.assigned(worker, items),
            Input::TakeBack { worker, items } => self.take_back(worker, items),
            Input::Parked { worker } => self.parked(worker),
            Input::Retired { worker } => self.retired(worker),
            Input::NodeConfigured { worker, input } => self.node_configured(worker, input),
            Input::TerminalFree => self.terminal_free(),
            Input::CrashHandled(answer) => self.crash_handled(answer),
            Input::PytestHostLost { error } => self.pytest_host_lost(error),
            Input::Stored { fetch, stored } => self.stored(fetch, stored),
            Input::History(history) => self.history = history,
            Input::SyncFailed { tree, error } => self.sync_failed(tree, error),
            Input::FilesRead { files } => self.files_read(files),
            Input::DeadlineReached => self.expire(),
            Input::InterruptRequested => self.interrupted(),
        }
        self.check_over();
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to hand in [`Input::DeadlineReached`]; `None` when only other inputs matter. After that input and a full
    /// drain it is later than its time.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn report(&mut self, event: RunEvent) {
        let first = match &event {
            RunEvent::WorkerStarting { .. } | RunEvent::Configured(_) => true,
            // Whoever waits for others to join is to see what became of those who did.
            RunEvent::HostLost { .. } | RunEvent::WorkersAwaited { .. } => self.others_may_join(),
            _ => false,
        };
        if self.plan.is_none() && self.course == Course::Gathering && !first {
            self.withheld.push(event);
        } else {
            self.outputs.push_back(Output::Report(event));
        }
    }

    fn release_withheld(&mut self) {
        self.outputs.extend(self.withheld.drain(..).map(Output::Report));
    }

    /// Sends to the worker's host, if it can be reached.
    fn send(&mut self, worker: WorkerId, message: CoordinatorMessage) {
        if let Some(link) = self.workers.link_of(worker) {
            self.outputs.push_back(Output::Send { link, message });
        }
    }

    fn request(&mut self) -> u32 {
        let request = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        request
    }
}

#[cfg(test)]
mod tests;
