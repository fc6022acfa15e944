//! The virtual clock, the links with their delays, and the loop that drives one session as the server does.

use crate::audit::{Audit, Identity, identities};
use crate::host::{Deed, FakeHost, Step, Suite};
use crate::pytest_host::{FakePytestHost, Saying};
use crate::scenario::{Fate, Faults, HostFate, Scenario, Test, millis, one_in};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use xdist_coord::scheduler::Mode;
use xdist_coord::session::event::StopReason;
use xdist_coord::session::input::{CloseCause, GarbledError, Stored};
use xdist_coord::session::output::{FetchStep, SyncOrder};
use xdist_coord::session::{Input, Output, PytestHost, RunEnd, RunEvent, Session};
use xdist_coord::workers::{HostId, LinkId};
use xdist_proto::codec::{CoordinatorOpening, DecodeError};
use xdist_proto::handshake::{Hello, HostFacts, Implementation, Role};
use xdist_proto::message::{Configure, CoordinatorMessage, Pong, StopKind, WorkerMessage};
use xdist_proto::sync::{Piece, PieceEnd, SyncBegin, SyncData};
use xdist_proto::tree::BlobHash;
use xdist_proto::version::VersionRange;
use xdist_proto::{CollectionDigest, Item, ItemIndex, LeaseId, WorkerId};

/// No run takes longer, whatever goes wrong.
const LONGEST_RUN: Duration = Duration::from_secs(4 * 3600);

/// After this time users interrupt again.
const PATIENCE: Duration = Duration::from_secs(600);

/// The numbers of hosts that dial in begin here.
const FIRST_JOINER: u32 = 1_000_000;

/// No run takes more steps.
const MOST_STEPS: usize = 200_000;

/// What to do with the record of inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    None,
    Keep,
    Print,
}

#[derive(Debug)]
enum Event {
    Launched(HostId),
    LaunchFailed(HostId),
    /// A host dials in.
    Joins,
    ToSession(LinkId, Box<Input>),
    ToHost(HostId, Box<CoordinatorMessage>),
    Worker(HostId, WorkerId, Step),
    HostFault(HostId),
    FromPytestHost(Box<Input>),
    TerminalFree,
    /// A directory that is to be copied.
    Unreadable(u32),
    /// What is in files here.
    FilesRead(BTreeMap<String, u64>),
    Interrupt,
}

#[derive(Debug)]
struct Peer {
    host: FakeHost,
    link: LinkId,
    fate: HostFate,
    /// The last arrivals in either direction; nothing overtakes.
    last_in: Duration,
    last_out: Duration,
    /// It sends nothing more.
    silent: bool,
    lies: bool,
}

pub(crate) struct World {
    scenario: Scenario,
    suite: Suite,
    session: Session,
    epoch: Instant,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
    /// Messages on their way, either way.
    in_flight: usize,
    peers: BTreeMap<HostId, Peer>,
    links: BTreeMap<LinkId, HostId>,
    /// What is being copied over which link.
    trees: BTreeMap<u32, LinkId>,
    pytest_host: FakePytestHost,
    audit: Audit,
    trace: Trace,
    record: Vec<String>,
}

impl World {
    pub(crate) fn new(mut scenario: Scenario, trace: Trace) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "there is no other way to make an Instant; only differences count"
        )]
        let epoch = Instant::now();
        let mut tests = scenario.tests.clone();
        // One more, for those who collect something else.
        let other = Test {
            item: Item::new("other.py::t"),
            duration: Duration::ZERO,
            fails: false,
            fickle: false,
            deadly: false,
        };
        tests.push(other);
        let suite = Suite {
            tests,
            options: scenario.options.clone(),
            collect_errors: scenario.collect_errors,
            debugs: scenario.seed % 4 < 2,
            shares: scenario.seed % 3 < 2,
        };
        let mut session = Session::new(scenario.config.clone(), scenario.seed, epoch);
        session.handle(Input::History(std::mem::take(&mut scenario.history)), epoch);
        let audit = Audit::new(scenario.mode(), scenario.config.pytest_host, &scenario.tests);
        let pytest_host = FakePytestHost::new(scenario.plugins.clone(), scenario.seed);
        let interrupts = std::mem::take(&mut scenario.interrupts);
        let mut world = Self {
            scenario,
            suite,
            session,
            epoch,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            next_event: 0,
            in_flight: 0,
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            trees: BTreeMap::new(),
            pytest_host,
            audit,
            trace,
            record: Vec::new(),
        };
        for at in std::mem::take(&mut world.scenario.joiners) {
            world.at(at, Event::Joins);
        }
        for at in interrupts {
            world.at(at, Event::Interrupt);
        }
        world
    }

    pub(crate) fn into_trace(self) -> Vec<String> {
        self.record
    }

    /// Until the run is over.
    pub(crate) fn run(&mut self) {
        if self.trace == Trace::Print {
            println!("{:#?}", self.scenario);
        }
        if self.scenario.config.pytest_host == PytestHost::Present {
            self.start_pytest_host();
        }
        self.drain();
        let mut steps = 0;
        while self.audit.summary.is_none() {
            steps += 1;
            assert!(steps < MOST_STEPS, "the run does not end: too many steps");
            assert!(self.now < LONGEST_RUN, "the run does not end: it takes too long");
            self.step();
        }
        self.check_end();
    }

    fn step(&mut self) {
        let event = self.events.first_key_value().map(|(&(at, _), _)| at);
        let deadline = self.session.next_deadline().map(|at| at.saturating_duration_since(self.epoch));
        match (event, deadline) {
            (None, None) => panic!("the run hangs: nothing will ever happen"),
            (event, Some(deadline)) if event.is_none_or(|event| deadline <= event) => {
                self.now = self.now.max(deadline);
                self.input(Input::DeadlineReached);
                let next = self.session.next_deadline();
                assert!(
                    next.is_none_or(|next| next > self.epoch + self.now),
                    "a due deadline is not consumed"
                );
            }
            (_, _) => {
                let ((at, _), event) = self.events.pop_first().expect("there is an event");
                self.now = self.now.max(at);
                self.event(event);
            }
        }
        self.check_nobody_waits();
    }

    fn at(&mut self, at: Duration, event: Event) {
        if matches!(event, Event::ToSession(..) | Event::ToHost(..)) {
            self.in_flight += 1;
        }
        self.events.insert((at, self.next_event), event);
        self.next_event += 1;
    }

    fn after(&mut self, most_ms: u64) -> Duration {
        self.now + millis(&mut self.scenario.rng, most_ms)
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Launched(host) => {
                self.comes_up(host, u32::from, |link| Input::Launched { host, link });
            }
            Event::Joins => {
                // The session has a number of its own for it, of which nobody hears.
                let host = HostId(FIRST_JOINER + u32::try_from(self.links.len()).unwrap());
                let slots = 1 + host.0 % 3;
                let peer = "somewhere".to_owned();
                self.comes_up(
                    host,
                    |usable| slots * u32::from(usable),
                    |link| Input::Joined { link, peer, launcher: None },
                );
            }
            Event::LaunchFailed(host) => {
                self.input(Input::LaunchFailed { host, error: "no such command".to_owned() })
            }
            Event::Interrupt => {
                self.input(Input::InterruptRequested);
                // A test that heeds no interrupt is waited for until the user loses patience.
                self.at(self.now + PATIENCE, Event::Interrupt);
            }
            Event::ToSession(link, input) => {
                self.in_flight -= 1;
                // What was under way when the link was closed is lost, except that a session must bear it.
                if self.audit.is_open(link) || one_in(&mut self.scenario.rng, 4) {
                    self.before_input(link, &input);
                    self.input(*input);
                }
            }
            Event::ToHost(host, message) => {
                self.in_flight -= 1;
                self.deliver(host, &message);
            }
            Event::Worker(host, worker, step) => {
                let Some(peer) = self.peers.get_mut(&host) else { return };
                let deeds = peer.host.step(&self.suite, worker, step);
                self.perform(host, deeds);
            }
            Event::HostFault(host) => self.host_fault(host),
            Event::TerminalFree => self.input(Input::TerminalFree),
            Event::Unreadable(tree) => {
                self.input(Input::SyncFailed { tree, error: "cannot read /a".to_owned() });
            }
            Event::FilesRead(files) => self.input(Input::FilesRead { files }),
            Event::FromPytestHost(input) => {
                if self.pytest_host.is_heard(&input) {
                    self.input(*input);
                }
            }
        }
    }

    /// As the server does, not through `input`: outputs may be being carried out already.
    fn start_pytest_host(&mut self) {
        match self.pytest_host.start(self.now) {
            Ok(sayings) => self.hear(sayings),
            Err(error) => {
                let input = Input::PytestHostLost { error };
                self.note(|| format!("< {input:?}"));
                self.audit.input(&input);
                self.session.handle(input, self.epoch + self.now);
            }
        }
    }

    fn hear(&mut self, sayings: Vec<Saying>) {
        for (at, input) in sayings {
            self.at(at, Event::FromPytestHost(Box::new(input)));
        }
    }

    /// A host is there, and says hello.
    fn comes_up(
        &mut self,
        host: HostId,
        slots: impl FnOnce(bool) -> u32,
        announce: impl FnOnce(LinkId) -> Input,
    ) {
        let link = LinkId(u32::try_from(self.links.len()).unwrap());
        let fate = self.scenario.host_fate();
        self.links.insert(link, host);
        let peer = Peer {
            host: FakeHost::default(),
            link,
            fate,
            last_in: self.now,
            last_out: self.now,
            silent: fate == HostFate::NeverConnects,
            lies: false,
        };
        self.peers.insert(host, peer);
        self.audit.link_opened(link);
        self.input(announce(link));
        if !self.audit.is_open(link) {
            return;
        }
        let hello = Hello {
            implementation: Implementation { name: "fake".to_owned(), version: "1".to_owned() },
            versions: VersionRange::SUPPORTED,
            role: Role::Worker,
            host: HostFacts::default(),
            slots: slots(fate != HostFate::Unacceptable),
            features: self.features(host),
            generation: 0,
            proof: Vec::new(),
        };
        self.send_to_session(host, Input::Opened { link, hello: Box::new(hello) });
        match fate {
            HostFate::VanishesAfter(after)
            | HostFate::StallsAfter(after)
            | HostFate::GarblesAfter(after)
            | HostFate::LiesAfter(after) => self.at(self.now + after, Event::HostFault(host)),
            HostFate::None | HostFate::LaunchFails | HostFate::NeverConnects | HostFate::Unacceptable => {}
        }
    }

    /// What a host can do that not all can.
    fn features(&mut self, host: HostId) -> BTreeMap<String, u64> {
        let fetch = (!one_in(&mut self.scenario.rng, 9)).then_some("fetch");
        let sync = (host.0 % 5 < 4).then_some("sync");
        fetch.into_iter().chain(sync).map(|name| (name.to_owned(), 1)).collect()
    }

    fn host_fault(&mut self, host: HostId) {
        let Some(peer) = self.peers.get_mut(&host) else { return };
        let link = peer.link;
        match peer.fate {
            HostFate::VanishesAfter(_) => {
                let cause = if one_in(&mut self.scenario.rng, 2) {
                    CloseCause::Truncated
                } else {
                    CloseCause::EndOfStream
                };
                self.send_to_session(host, Input::Closed { link, cause });
                self.silence(host);
            }
            HostFate::StallsAfter(_) => self.silence(host),
            HostFate::GarblesAfter(_) => {
                let error = GarbledError::Decode(DecodeError::NotAMessage);
                self.send_to_session(host, Input::Garbled { link, error });
            }
            HostFate::LiesAfter(_) => peer.lies = true,
            HostFate::None | HostFate::LaunchFails | HostFate::NeverConnects | HostFate::Unacceptable => {}
        }
    }

    fn silence(&mut self, host: HostId) {
        if let Some(peer) = self.peers.get_mut(&host) {
            peer.silent = true;
        }
    }

    /// Puts something on the way from a host.
    fn send_to_session(&mut self, host: HostId, input: Input) {
        let arrival = self.after(20);
        let Some(peer) = self.peers.get_mut(&host) else { return };
        if peer.silent {
            return;
        }
        peer.last_in = peer.last_in.max(arrival);
        let (at, link) = (peer.last_in, peer.link);
        self.at(at, Event::ToSession(link, Box::new(input)));
    }

    fn deliver(&mut self, host: HostId, message: &CoordinatorMessage) {
        let deeds = if let CoordinatorMessage::Configure(configure) = message {
            self.configure(host, configure)
        } else {
            let Some(peer) = self.peers.get_mut(&host) else { return };
            peer.host.command(&self.suite, message)
        };
        self.perform(host, deeds);
    }

    fn configure(&mut self, host: HostId, configure: &Configure) -> Vec<Deed> {
        let fate = self.scenario.fate();
        let mut tests: Vec<usize> = (0..self.scenario.tests.len()).collect();
        if self.scenario.reorders.is_some_and(|times| one_in(&mut self.scenario.rng, times)) {
            // Few different orders, so that some workers have the same.
            let order = self.scenario.rng.u64(0..2);
            fastrand::Rng::with_seed(order).shuffle(&mut tests);
            self.keep_order_among_equals(&mut tests);
        }
        if fate == Fate::CollectsOther {
            tests.pop();
            tests.push(self.scenario.tests.len());
        }
        let seed = self.scenario.rng.u64(..);
        let Some(peer) = self.peers.get_mut(&host) else { return Vec::new() };
        peer.host.configure(configure, self.scenario.plugins.wanted, tests, fate, seed)
    }

    /// Tests with one node id cannot be told apart but by their order, so that stays.
    fn keep_order_among_equals(&self, tests: &mut [usize]) {
        let mut equal: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (position, &test) in tests.iter().enumerate() {
            equal.entry(&self.suite.tests[test].item.node_id).or_default().push(position);
        }
        for positions in equal.into_values() {
            let mut sorted: Vec<usize> = positions.iter().map(|&position| tests[position]).collect();
            sorted.sort_unstable();
            for (position, test) in positions.into_iter().zip(sorted) {
                tests[position] = test;
            }
        }
    }

    fn perform(&mut self, host: HostId, deeds: Vec<Deed>) {
        let Some(link) = self.peers.get(&host).map(|peer| peer.link) else { return };
        for deed in deeds {
            match deed {
                Deed::Send(message) => {
                    let message = self.perhaps_falsify(host, *message);
                    self.send_to_session(host, Input::Received { link, message });
                }
                Deed::Later { worker, step, after } => {
                    self.at(self.now + after, Event::Worker(host, worker, step))
                }
            }
        }
    }

    /// What a lying host says in place of the truth.
    fn perhaps_falsify(&mut self, host: HostId, message: WorkerMessage) -> WorkerMessage {
        let lies = self.peers.get(&host).is_some_and(|peer| peer.lies);
        let rng = &mut self.scenario.rng;
        if !lies || !one_in(rng, 6) {
            return message;
        }
        let mut message = message;
        match &mut message {
            WorkerMessage::Ready(ready) => ready.worker = WorkerId(rng.u32(0..12)),
            WorkerMessage::Collected(collected) => match rng.u32(0..3) {
                0 => collected.digest = CollectionDigest([7; 16]),
                1 => collected.count = rng.u32(0..100),
                _ => collected.worker = WorkerId(rng.u32(0..12)),
            },
            WorkerMessage::Collection(chunk) => match rng.u32(0..3) {
                0 => chunk.offset = rng.u32(0..9),
                1 => chunk.total = rng.u32(0..9),
                _ => {
                    chunk.items.pop();
                }
            },
            WorkerMessage::ItemFinished(finished) => match rng.u32(0..3) {
                0 => finished.item = ItemIndex(rng.u32(0..80)),
                1 => finished.lease = LeaseId(rng.u32(0..40)),
                _ => finished.worker = WorkerId(rng.u32(0..12)),
            },
            WorkerMessage::Unscheduled(unscheduled) => match rng.u32(0..4) {
                0 => unscheduled.request = rng.u32(0..40),
                1 => unscheduled.items.push(ItemIndex(rng.u32(0..80))),
                2 => unscheduled.items.clear(),
                _ => {
                    unscheduled.items.pop();
                }
            },
            // What it keeps back is like a test that never ends.
            WorkerMessage::StopRequested(stop) if stop.kind == StopKind::Recycle => {
                stop.items.push(ItemIndex(rng.u32(0..80)));
            }
            WorkerMessage::Down(down) => match &mut down.item {
                Some(crash) => crash.item = ItemIndex(rng.u32(0..80)),
                None => down.worker = WorkerId(rng.u32(0..12)),
            },
            WorkerMessage::Fetched(part) => match rng.u32(0..4) {
                0 => part.path = "../x".to_owned(),
                1 => part.offset += 1,
                2 => part.request.0 += 1,
                _ => part.data.clear(),
            },
            WorkerMessage::FetchDone(done) => done.request.0 += 1,
            WorkerMessage::Pong(pong) => pong.nonce = rng.u64(0..5),
            WorkerMessage::SyncWant(want) => want.tree = rng.u32(0..5),
            WorkerMessage::SyncTaken(taken) => taken.tree = rng.u32(0..5),
            WorkerMessage::SyncEnd(end) => end.tree = rng.u32(0..5),
            WorkerMessage::SyncFailed(failed) => failed.tree = rng.u32(0..5),
            WorkerMessage::HostWanted(_)
            | WorkerMessage::Ask(_)
            | WorkerMessage::AskWithdrawn(_)
            | WorkerMessage::TerminalReturned(_)
            | WorkerMessage::Made(_)
            | WorkerMessage::Released(_)
            | WorkerMessage::Collecting(_)
            | WorkerMessage::CollectReport(_)
            | WorkerMessage::ItemStarted(_)
            | WorkerMessage::StopRequested(_)
            | WorkerMessage::Warning(_)
            | WorkerMessage::Output(_)
            | WorkerMessage::InternalError(_)
            | WorkerMessage::UsageError(_)
            | WorkerMessage::WorkerOutput(_) => message = WorkerMessage::Pong(Pong { nonce: rng.u64(..) }),
        }
        message
    }

    /// Looks at an input before the session does.
    fn before_input(&mut self, link: LinkId, input: &Input) {
        match input {
            Input::Closed { .. } => self.audit.link_closed(link),
            // A false answer may give back what was not asked for; that ends the worker, and counts as given back.
            Input::Received { message: WorkerMessage::Unscheduled(unscheduled), .. } => {
                self.given_back(unscheduled.worker, &unscheduled.items);
            }
            Input::Received { message: WorkerMessage::StopRequested(stop), .. } => {
                self.given_back(stop.worker, &stop.items);
            }
            _ => {}
        }
    }

    fn given_back(&mut self, worker: WorkerId, items: &[ItemIndex]) {
        let identities = self.identities(worker);
        for item in items {
            if let Some(identity) = identities.get(item.as_usize()) {
                self.audit.given_back(worker, identity);
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.note(|| format!("< {input:?}"));
        self.audit.input(&input);
        self.session.handle(input, self.epoch + self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            self.note(|| format!("  > {output:?}"));
            let peers = &self.peers;
            let audit = std::mem::take(&mut self.audit);
            let of_worker = |worker| tests_of(peers, &self.suite, audit.lineage(worker), worker);
            let cache: BTreeMap<WorkerId, Vec<Identity>> = match &output {
                Output::Send { message: CoordinatorMessage::Run(run), .. } => {
                    [(run.worker, of_worker(run.worker))].into()
                }
                _ => BTreeMap::new(),
            };
            self.audit = audit;
            self.audit.output(&output, |worker| cache[&worker].clone());
            self.act(output);
        }
    }

    fn identities(&self, worker: WorkerId) -> Vec<Identity> {
        tests_of(&self.peers, &self.suite, self.audit.lineage(worker), worker)
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Launch { host, .. } => {
                let fails = self.scenario.faults != Faults::None && one_in(&mut self.scenario.rng, 30);
                let at = self.after(self.scenario.plugins.launch_ms);
                self.at(at, if fails { Event::LaunchFailed(host) } else { Event::Launched(host) });
            }
            Output::Send { link, message } => {
                let host = self.links[&link];
                let arrival = self.after(20);
                let Some(peer) = self.peers.get_mut(&host) else { return };
                peer.last_out = peer.last_out.max(arrival);
                let at = peer.last_out;
                self.at(at, Event::ToHost(host, Box::new(message)));
            }
            Output::Sync { tree, order } => self.copy(tree, order),
            Output::Answer { message, .. } => {
                if let CoordinatorOpening::Welcome(welcome) = message {
                    assert!(VersionRange::SUPPORTED.contains(welcome.version));
                }
            }
            Output::Close { link, .. } => {
                let host = self.links[&link];
                self.silence(host);
            }
            Output::StartPytestHost { .. } => self.start_pytest_host(),
            Output::ReadFiles { paths, .. } => {
                let rng = &mut self.scenario.rng;
                let known = |path| one_in(rng, 2).then(|| (path, rng.u64(..3)));
                let files = paths.into_iter().filter_map(known).collect();
                let at = self.after(300);
                self.at(at, Event::FilesRead(files));
            }
            Output::FreeTerminal { .. } => {
                let at = self.after(300);
                self.at(at, Event::TerminalFree);
            }
            Output::AskConfiguration { worker } => {
                let answer = self.pytest_host.ask(worker, self.now);
                self.hear(answer);
            }
            Output::Report(RunEvent::CrashQuestion { request, .. }) => {
                let answer = self.pytest_host.judge(request, self.now);
                self.hear(answer);
            }
            Output::Fetch { step: FetchStep::Begin { .. } | FetchStep::Part(_), .. } => {}
            Output::Fetch { fetch, step: FetchStep::End } => {
                // As the server does, not through `input`: outputs are being carried out already.
                let input = Input::Stored { fetch, stored: Stored::default() };
                self.note(|| format!("< {input:?}"));
                self.session.handle(input, self.epoch + self.now);
            }
            Output::Report(_) | Output::Finished(_) => {}
        }
    }

    /// As the shell does: reads, and sends what the host is to be sent.
    fn copy(&mut self, tree: u32, order: SyncOrder) {
        match order {
            SyncOrder::Begin { link, .. } => {
                self.trees.insert(tree, link);
                if self.scenario.faults != Faults::None && one_in(&mut self.scenario.rng, 20) {
                    let at = self.after(300);
                    self.at(at, Event::Unreadable(tree));
                    return;
                }
                let (name, root) = ("a".to_owned(), BlobHash([0; 32]));
                let begin = SyncBegin { tree, base: None, project: String::new(), name, root };
                self.act(Output::Send { link, message: CoordinatorMessage::SyncBegin(begin) });
            }
            SyncOrder::Want(_) => {
                let pieces = vec![Piece { length: 0, end: PieceEnd::Gone }];
                let data = SyncData { tree, pieces, packed: false, data: Vec::new() };
                let link = self.trees[&tree];
                self.act(Output::Send { link, message: CoordinatorMessage::SyncData(data) });
            }
            SyncOrder::Taken(_) => assert!(self.trees.contains_key(&tree), "it is over"),
            SyncOrder::Forget => {
                self.trees.remove(&tree).expect("it was begun, and ends once");
            }
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        match self.trace {
            Trace::None => {}
            Trace::Keep => self.record.push(format!("{:?} {}", self.now, line())),
            Trace::Print => println!("{:>12?} {}", self.now, line()),
        }
    }

    /// When nothing is under way, no worker is idle while there is a test that it could begin: that nobody has, or that
    /// another has queued and not begun. (Units of several tests may have to wait, and so may workers under the ramp.)
    fn check_nobody_waits(&self) {
        let grouped = self.suite.tests.iter().any(|test| !test.item.groups.is_empty());
        let single = match self.scenario.mode() {
            Mode::Load => true,
            Mode::WorkSteal => !grouped,
            Mode::Each | Mode::LoadScope | Mode::LoadFile | Mode::LoadGroup => false,
        };
        let running = self.audit.is_running();
        if !single || !running || self.in_flight > 0 || self.suite.options.ramp_ms > 0 {
            return;
        }
        let stalled = |peer: &Peer| peer.silent && self.audit.is_open(peer.link);
        if self.audit.awaits_retries() {
            // They wait for a certain worker.
            return;
        }
        if self.scenario.faults == Faults::Lies || self.peers.values().any(stalled) {
            // An answer that does not come is waited for until the host is given up.
            return;
        }
        let present = |peer: &&Peer| !peer.silent;
        let workers = || self.peers.values().filter(present).flat_map(|peer| peer.host.workers.values());
        let Some(idle) = workers().find(|worker| worker.is_idle()) else { return };
        if let Some(test) = self.audit.beginnable() {
            panic!("{} is idle while nobody has {test:?}", idle.id);
        }
        for busy in workers() {
            let identities = self.identities(busy.id);
            let mut unbegun = busy.unbegun().map(|item| &identities[item.as_usize()]);
            if let Some(test) = unbegun.find(|test| self.audit.could_begin(test)) {
                panic!("{} is idle while {} has {test:?}, which has not begun", idle.id, busy.id);
            }
        }
    }

    fn check_end(&self) {
        let Some(summary) = &self.audit.summary else { return };
        assert_eq!(self.session.next_deadline(), None, "a run that is over has no deadline");
        let interrupted = summary.end == RunEnd::Stopped(StopReason::Interrupted);
        let too_few = matches!(&summary.end, RunEnd::Stopped(StopReason::NoWorkers(why)) if why.contains("--wait-for-workers"));
        assert!(!too_few || self.scenario.config.joining.open, "nobody was to join");
        let calm = self.scenario.faults == Faults::None
            && self.suite.options.max_fail.is_none()
            && self.suite.options.plain.is_none()
            && !interrupted
            && !too_few;
        if calm {
            assert_eq!(summary.end, RunEnd::Completed);
            assert_eq!(summary.finished, summary.collected);
            let failing = self.scenario.tests.iter().filter(|test| test.fails).count() as u64;
            let copies = if self.scenario.tests.is_empty() {
                0
            } else {
                summary.collected / self.scenario.tests.len() as u64
            };
            if self.suite.options.retries == 0 {
                assert_eq!((summary.failed, summary.flaky), (failing * copies, 0));
            } else {
                let tests = self.scenario.tests.iter();
                let always = tests.filter(|test| test.fails && !test.fickle).count() as u64;
                assert!(summary.failed >= always * copies);
                assert!(summary.failed + summary.flaky <= failing * copies);
            }
        }
    }
}

fn tests_of(
    peers: &BTreeMap<HostId, Peer>,
    suite: &Suite,
    lineage: Option<WorkerId>,
    worker: WorkerId,
) -> Vec<Identity> {
    let worker = peers.values().find_map(|peer| peer.host.workers.get(&worker));
    let tests = worker.map(|worker| worker.tests.as_slice()).unwrap_or_default();
    identities(lineage, tests.iter().map(|&test| suite.tests[test].item.node_id.clone()))
}
