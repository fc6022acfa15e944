//! The body of the fuzz target `session`: here, so that it compiles on stable and `cargo test` replays the corpus.
//!
//! Bytes become a sequence of inputs. Most of them answer what the session sent as a host would, so that runs get
//! somewhere; the rest is false, garbled or out of place.

use crate::scheduler::{History, Mode, Took};
use crate::session::input::{CloseCause, GarbledError, Stored};
use crate::session::output::FetchStep;
use crate::session::{
    Config, Input, Joining, Output, Place, PytestHost, RunEvent, RunSummary, Session, Timeouts,
};
use crate::workers::spec::{HostSpec, SshSpec, WorkerSpec};
use crate::workers::{HostId, LinkId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;
use xdist_proto::codec::{self, DecodeError, Decoded};
use xdist_proto::fetch::{FEATURE_FETCH, FetchDone, Fetched, FileEnd};
use xdist_proto::frontend::CrashHandled;
use xdist_proto::handshake::{Hello, HostFacts, Implementation, Role};
use xdist_proto::message::{
    self, Answer, Ask, AskWithdrawn, Collected, Collecting, CollectionChunk, CoordinatorMessage, CrashItem,
    Down, EndCause, HostWanted, ItemFinished, Made, Pong, Ready, Released, Reply, RunOptions, Shared, Start,
    StopKind, StopRequested, TerminalReturned, Unscheduled, Wants, WorkerMessage, WorkerOutput,
};
use xdist_proto::report::{ItemReport, OutcomeClass, Phase};
use xdist_proto::version::VersionRange;
use xdist_proto::{Collection, Item, ItemIndex, LeaseId, RunId, Value, WorkerId};

/// Drives one session by `data`, and then interrupts it until it is over.
///
/// # Panics
/// When an invariant of a run does not hold.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data.iter());
    let Some(mut driver) = Driver::new(&mut bytes) else { return };
    while driver.summary.is_none() && driver.act(&mut bytes).is_some() {}
    for _ in 0..2 {
        if driver.summary.is_none() {
            driver.input(Input::InterruptRequested);
        }
    }
    driver.check_summary();
}

/// What is left of the data.
struct Bytes<'a>(std::slice::Iter<'a, u8>);

impl Bytes<'_> {
    fn below(&mut self, limit: u32) -> Option<u32> {
        self.0.next().map(|&byte| u32::from(byte) % limit)
    }
}

struct Driver {
    session: Session,
    now: Instant,
    options: RunOptions,
    collection: Collection,
    each: bool,
    launches: VecDeque<HostId>,
    next_link: u32,
    /// Links that neither side has closed, and what was sent on them and is not answered.
    links: BTreeMap<LinkId, VecDeque<CoordinatorMessage>>,
    /// Every link that there ever was.
    all_links: Vec<LinkId>,
    /// What each worker has been given, as it would know it.
    queues: BTreeMap<WorkerId, VecDeque<(ItemIndex, LeaseId)>>,
    /// Where each worker was configured.
    homes: BTreeMap<WorkerId, LinkId>,
    /// What the pytest host is asked and has not answered, if there may be one.
    pytest_host: Option<VecDeque<Question>>,
    /// Whether a worker waits until the terminal is free.
    lends: bool,
    /// Items with an end; in mode `each`, by worker.
    ended: BTreeSet<(Option<WorkerId>, ItemIndex)>,
    tally: Tally,
    summary: Option<RunSummary>,
}

/// What the pytest host is asked.
enum Question {
    Configuration(WorkerId),
    Crash(u32),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    finished: u64,
    crashed: u64,
    not_run: u64,
}

impl Driver {
    fn new(bytes: &mut Bytes<'_>) -> Option<Self> {
        let first = bytes.below(256)?;
        let mode = Mode::ALL[first as usize % 6];
        let pytest_host = match first / 6 % 4 {
            2 => PytestHost::OnDemand,
            3 => PytestHost::Present,
            _ => PytestHost::Never,
        };
        let workers = bytes.below(5)?;
        let items = bytes.below(12)?;
        let shape = bytes.below(8)?;
        let options = RunOptions {
            auto_workers: workers,
            dist: Some(mode.name().to_owned()),
            max_fail: (shape & 1 != 0).then_some(2),
            max_restarts: (shape & 2 != 0).then_some(1),
            ramp_ms: if shape & 4 != 0 { 1000 } else { 0 },
            fetch: vec!["*".to_owned()],
            ..RunOptions::default()
        };
        let own = WorkerSpec { host: HostSpec::Exec(vec!["x".to_owned()]), ..WorkerSpec::default() };
        let other = HostSpec::Ssh(SshSpec { words: vec!["y".to_owned()], ..SshSpec::default() });
        let other =
            WorkerSpec { host: if workers > 3 { other } else { HostSpec::Local }, ..WorkerSpec::default() };
        let config = Config {
            run: RunId("r".to_owned()),
            workers: (workers > 2).then(|| vec![WorkerSpec::default(), own, other]),
            mode: None,
            args: Vec::new(),
            python: Vec::new(),
            start: Start::Auto,
            place: Place::default(),
            wants: Wants::default(),
            joining: Joining { open: workers == 4, min_workers: 1 + workers % 3, ..Joining::default() },
            pytest_host,
            terminal: (shape & 3 == 3).then(|| "/dev/tty".to_owned()),
            timeouts: Timeouts::default(),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "there is no other way to make an Instant; only differences count"
        )]
        let now = Instant::now();
        let items = (0..items).map(|number| Item::new(format!("f{}.py::t{}", number / 3, number % 5)));
        let mut driver = Self {
            session: Session::new(config, 1, now),
            now,
            options,
            collection: Collection { items: items.collect() },
            each: mode == Mode::Each,
            launches: VecDeque::new(),
            next_link: 0,
            links: BTreeMap::new(),
            all_links: Vec::new(),
            queues: BTreeMap::new(),
            homes: BTreeMap::new(),
            pytest_host: (pytest_host != PytestHost::Never).then(VecDeque::new),
            lends: false,
            ended: BTreeSet::new(),
            tally: Tally::default(),
            summary: None,
        };
        if shape == 7 {
            let took = |at: u32| {
                let key = History::key(&format!("f{}.py::t{}", at / 3, at % 5));
                (key, Took { call_us: at * at, fixtures_us: 5 - at })
            };
            driver.input(Input::History(History::new((0..5).map(took).collect())));
        }
        driver.drain();
        Some(driver)
    }

    /// One input, or none if the data is used up.
    fn act(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        // Where there may be a pytest host, some of what happens is its doing.
        let action = if self.pytest_host.is_some() { bytes.below(20)? } else { bytes.below(16)? };
        match action {
            0..=5 => self.answer(bytes)?,
            6 | 7 => self.finish_item(bytes)?,
            8 if std::mem::take(&mut self.lends) => self.input(Input::TerminalFree),
            8 => self.launch(bytes)?,
            9 => self.wait(),
            10 => self.die(bytes)?,
            11 => {
                let link = self.any_link(bytes)?;
                self.links.remove(&link);
                self.input(Input::Closed { link, cause: CloseCause::EndOfStream });
            }
            12 => {
                let link = self.any_link(bytes)?;
                let message = invented(bytes)?;
                self.input(Input::Received { link, message });
            }
            13 => self.raw(bytes)?,
            14 => self.launch(bytes)?,
            16..=18 => self.answer_as_pytest_host(bytes)?,
            19 => self.babble_as_pytest_host(bytes)?,
            _ => match bytes.below(6)? {
                0 => self.input(Input::InterruptRequested),
                1 => {
                    let link = self.any_link(bytes)?;
                    self.input(Input::Garbled {
                        link,
                        error: GarbledError::Decode(DecodeError::NotAMessage),
                    });
                }
                2 | 3 => self.join(bytes)?,
                _ => self.hello(bytes)?,
            },
        }
        Some(())
    }

    fn any_link(&self, bytes: &mut Bytes<'_>) -> Option<LinkId> {
        let at = bytes.below(u32::try_from(self.all_links.len()).ok()?.max(1))?;
        Some(self.all_links.get(at as usize).copied().unwrap_or(LinkId(99)))
    }

    /// A host comes up, and mostly says hello at once; or it does not.
    fn launch(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let well = bytes.below(8)?;
        let Some(host) = self.launches.pop_front() else { return Some(()) };
        if well == 0 {
            self.input(Input::LaunchFailed { host, error: "no".to_owned() });
            return Some(());
        }
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(link, VecDeque::new());
        self.all_links.push(link);
        self.input(Input::Launched { host, link });
        if well > 1 {
            self.say_hello(link, 4, Role::Worker);
        }
        Some(())
    }

    /// A host dials in, and mostly says hello at once; its launcher may be anything.
    fn join(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let kind = bytes.below(8)?;
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(link, VecDeque::new());
        self.all_links.push(link);
        let launcher = (kind < 2).then_some(HostId(kind));
        self.input(Input::Joined { link, peer: "peer".to_owned(), launcher });
        match kind {
            7 => self.input(Input::GateLost { error: "no".to_owned() }),
            1..7 => self.say_hello(link, kind, Role::Worker),
            _ => {}
        }
        Some(())
    }

    fn hello(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let link = self.any_link(bytes)?;
        let role = if bytes.below(4)? == 0 { Role::Frontend } else { Role::Worker };
        let slots = bytes.below(3)?;
        self.say_hello(link, slots, role);
        Some(())
    }

    fn say_hello(&mut self, link: LinkId, slots: u32, role: Role) {
        if !self.all_links.contains(&link) {
            // A stranger.
            self.links.insert(link, VecDeque::new());
            self.all_links.push(link);
        }
        let hello = Hello {
            implementation: Implementation { name: "fuzz".to_owned(), version: "1".to_owned() },
            versions: VersionRange::SUPPORTED,
            role,
            host: HostFacts::default(),
            slots,
            features: [(FEATURE_FETCH.to_owned(), 1)].into(),
            generation: 0,
            proof: Vec::new(),
        };
        self.input(Input::Opened { link, hello: Box::new(hello) });
    }

    fn wait(&mut self) {
        if let Some(deadline) = self.session.next_deadline() {
            self.now = self.now.max(deadline);
            self.input(Input::DeadlineReached);
            let next = self.session.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "a due deadline is not consumed");
        }
    }

    /// Does what the session last asked for on some link.
    fn answer(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let link = self.any_link(bytes)?;
        let Some(command) = self.links.get_mut(&link).and_then(VecDeque::pop_front) else { return Some(()) };
        let mut send = |message| self.input(Input::Received { link, message });
        match command {
            CoordinatorMessage::Configure(configure) => {
                let worker = configure.worker;
                self.homes.insert(worker, link);
                self.queues.insert(worker, VecDeque::new());
                if configure.wants.hooks && worker.0 % 3 != 2 {
                    let message = WorkerMessage::HostWanted(HostWanted { worker, hooks: Vec::new() });
                    self.input(Input::Received { link, message });
                } else {
                    self.ready(link, worker);
                }
            }
            CoordinatorMessage::Proceed(proceed) => self.ready(link, proceed.worker),
            CoordinatorMessage::Collect(collect) => {
                let worker = collect.worker;
                send(WorkerMessage::Collecting(Collecting { worker }));
                let digest = self.collection.digest();
                let count = u32::try_from(self.collection.items.len()).ok()?;
                let collected = Collected {
                    worker,
                    digest,
                    count,
                    deselected: 0,
                    unforkable: None,
                    files: BTreeMap::new(),
                };
                self.input(Input::Received { link, message: WorkerMessage::Collected(collected) });
            }
            CoordinatorMessage::SendCollection(wanted) => {
                let items = self.collection.items.clone();
                let total = u32::try_from(items.len()).ok()?;
                let chunk = CollectionChunk { worker: wanted.worker, offset: 0, total, items };
                self.input(Input::Received { link, message: WorkerMessage::Collection(chunk) });
            }
            CoordinatorMessage::Run(run) => {
                let queue = self.queues.entry(run.worker).or_default();
                queue.extend(run.items.iter().map(|&item| (item, run.lease)));
            }
            CoordinatorMessage::Steal(steal) => {
                let queue = self.queues.entry(steal.worker).or_default();
                let queued = queue.iter().skip(1).filter(|(item, _)| steal.items.contains(item)).count();
                let items = if queued == steal.items.len() { steal.items } else { Vec::new() };
                queue.retain(|(item, _)| !items.contains(item));
                let answer = Unscheduled { worker: steal.worker, request: steal.request, items };
                self.input(Input::Received { link, message: WorkerMessage::Unscheduled(answer) });
            }
            CoordinatorMessage::Cancel(cancel) => {
                let queue = self.queues.entry(cancel.worker).or_default();
                let items = queue.drain(queue.len().min(1)..).map(|(item, _)| item).collect();
                let answer = Unscheduled { worker: cancel.worker, request: cancel.request, items };
                self.input(Input::Received { link, message: WorkerMessage::Unscheduled(answer) });
            }
            CoordinatorMessage::Park(_)
            | CoordinatorMessage::Suspend(_)
            | CoordinatorMessage::Resume(_)
            | CoordinatorMessage::Dismissed(_)
            | CoordinatorMessage::Answer(Answer {
                reply: Reply::Refused(_) | Reply::Value(_) | Reply::Last(_),
                ..
            }) => {}
            CoordinatorMessage::Answer(Answer { worker, reply: Reply::Terminal(_) }) => {
                send(WorkerMessage::TerminalReturned(TerminalReturned { worker }));
            }
            CoordinatorMessage::Answer(Answer { worker, reply: Reply::Make }) => {
                let (key, value) = ("v".to_owned(), Value::Nil);
                send(WorkerMessage::Made(Made { worker, key, value }));
            }
            CoordinatorMessage::Answer(Answer { worker, reply: Reply::Locked }) => {
                let shared = Shared::Lock("l".to_owned());
                send(WorkerMessage::Released(Released { worker, shared }));
            }
            CoordinatorMessage::Drain(drain) => self.end(link, drain.worker),
            CoordinatorMessage::Interrupt(interrupt) => self.end(link, interrupt.worker),
            CoordinatorMessage::Shutdown(shutdown) => {
                let cause = EndCause::Killed("told to".to_owned());
                self.input(Input::Received { link, message: down(shutdown.worker, cause, None) });
            }
            // The shell sends them; the session only says what is to be copied.
            CoordinatorMessage::SyncBegin(_) | CoordinatorMessage::SyncData(_) => {}
            CoordinatorMessage::Ping(ping) => send(WorkerMessage::Pong(Pong { nonce: ping.nonce })),
            CoordinatorMessage::Fetch(fetch) => {
                let end = Some(FileEnd::Complete([0; 32]));
                let (request, path, data) = (fetch.request, "f".to_owned(), vec![1]);
                let part = Fetched { request, path, mode: 0, offset: 0, data, unpacked: None, end };
                send(WorkerMessage::Fetched(part));
                send(WorkerMessage::FetchDone(FetchDone { request, ..FetchDone::default() }));
            }
        }
        Some(())
    }

    fn ready(&mut self, link: LinkId, worker: WorkerId) {
        let (options, cwd) = (self.options.clone(), "/d".to_owned());
        let ready = Ready { worker, options, rootdir: cwd.clone(), cwd, ..Ready::default() };
        self.input(Input::Received { link, message: WorkerMessage::Ready(Box::new(ready)) });
    }

    /// Answers what the pytest host was asked first.
    fn answer_as_pytest_host(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let verdict = bytes.below(4)?;
        match self.pytest_host.as_mut().and_then(VecDeque::pop_front) {
            Some(Question::Configuration(worker)) => {
                self.input(Input::NodeConfigured { worker, input: BTreeMap::new() });
            }
            Some(Question::Crash(request)) => self.judge(request, verdict),
            None => self.input(Input::PytestHostJoined { judges_crashes: verdict != 0, schedules: false }),
        }
        Some(())
    }

    /// The pytest host says what it was not asked, or is lost.
    fn babble_as_pytest_host(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        match bytes.below(8)? {
            0 => self.input(Input::PytestHostLost { error: "it died".to_owned() }),
            1..4 => {
                let worker = WorkerId(bytes.below(8)?);
                self.input(Input::NodeConfigured { worker, input: BTreeMap::new() });
            }
            _ => {
                let request = bytes.below(10)?;
                self.judge(request, bytes.below(4)?);
            }
        }
        Some(())
    }

    fn judge(&mut self, request: u32, verdict: u32) {
        let (again, excused) = (verdict & 1 != 0, verdict & 2 != 0);
        self.input(Input::CrashHandled(CrashHandled { request, again, excused }));
    }

    fn end(&mut self, link: LinkId, worker: WorkerId) {
        let output = WorkerOutput { worker, ..WorkerOutput::default() };
        self.input(Input::Received { link, message: WorkerMessage::WorkerOutput(output) });
        self.input(Input::Received { link, message: down(worker, EndCause::Exited(0), None) });
    }

    fn finish_item(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let worker = WorkerId(bytes.below(8)?);
        let class = if bytes.below(4)? == 0 { OutcomeClass::Fail } else { OutcomeClass::Pass };
        let Some((item, lease)) = self.queues.get_mut(&worker).and_then(VecDeque::pop_front) else {
            return Some(());
        };
        let report =
            ItemReport { class, start_us: 0, durations_us: [1, 2, 3], phases: Vec::new(), full: Vec::new() };
        let link = *self.homes.get(&worker)?;
        let message = WorkerMessage::ItemFinished(ItemFinished { worker, lease, item, report });
        self.input(Input::Received { link, message });
        Some(())
    }

    fn die(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let worker = WorkerId(bytes.below(8)?);
        let Some(&link) = self.homes.get(&worker) else { return Some(()) };
        let running = self.queues.get_mut(&worker).and_then(VecDeque::pop_front);
        let item = running.map(|(item, lease)| CrashItem { lease, item, phase: Phase::Call, running_ms: 1 });
        self.input(Input::Received { link, message: down(worker, EndCause::Signaled(11), item) });
        Some(())
    }

    /// Takes some of the data itself for a message.
    fn raw(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let link = self.any_link(bytes)?;
        let length = bytes.below(200)? as usize;
        let payload: Vec<u8> = bytes.0.by_ref().take(length).copied().collect();
        match codec::decode::<WorkerMessage>(&payload) {
            Ok(Decoded::Message(message)) => self.input(Input::Received { link, message }),
            Ok(Decoded::Skipped) => {}
            Err(error) => self.input(Input::Garbled { link, error: GarbledError::Decode(error) }),
        }
        Some(())
    }

    fn input(&mut self, input: Input) {
        self.session.handle(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            assert!(self.summary.is_none(), "something comes after Finished: {output:?}");
            match output {
                Output::Launch { host, .. } => self.launches.push_back(host),
                Output::Answer { link, .. } => {
                    assert!(self.links.contains_key(&link), "an answer on a closed link")
                }
                Output::Close { link, .. } => {
                    assert!(self.links.remove(&link).is_some(), "a closed link is closed");
                }
                Output::Send { link, message } => {
                    let sent = self.links.get_mut(&link);
                    sent.unwrap_or_else(|| panic!("{message:?} on a closed link")).push_back(message);
                }
                Output::StartPytestHost { .. } => {
                    assert!(self.pytest_host.is_some(), "there is no pytest host in this run");
                }
                Output::Sync { .. } => panic!("nothing is to be copied in this run"),
                Output::ReadFiles { .. } => {
                    self.session.handle(Input::FilesRead { files: BTreeMap::new() }, self.now);
                }
                Output::FreeTerminal { .. } => self.lends = true,
                Output::AskConfiguration { worker } => self.asked(Question::Configuration(worker)),
                Output::Report(event) => self.event(&event),
                Output::Fetch { step: FetchStep::Begin { .. } | FetchStep::Part(_), .. } => {}
                Output::Fetch { fetch, step: FetchStep::End } => {
                    self.session.handle(Input::Stored { fetch, stored: Stored::default() }, self.now);
                }
                Output::Finished(summary) => self.summary = Some(summary),
            }
        }
    }

    fn asked(&mut self, question: Question) {
        self.pytest_host.as_mut().expect("there may be a pytest host in this run").push_back(question);
    }

    fn event(&mut self, event: &RunEvent) {
        match event {
            RunEvent::CrashQuestion { request, .. } => self.asked(Question::Crash(*request)),
            RunEvent::ItemFinished { worker, item, .. } => {
                self.tally.finished += 1;
                self.ended_once(Some(*worker), *item);
            }
            RunEvent::Crashed(crash) => {
                if let Some(item) = crash.item {
                    self.tally.crashed += 1;
                    self.ended_once(Some(crash.worker), item.item);
                }
            }
            RunEvent::NotRun { worker, items, .. } => {
                for &item in items {
                    self.tally.not_run += 1;
                    self.ended_once(*worker, item);
                }
            }
            _ => {}
        }
    }

    fn ended_once(&mut self, worker: Option<WorkerId>, item: ItemIndex) {
        let new = self.ended.insert((worker.filter(|_| self.each), item));
        assert!(new, "item {} has two ends", item.0);
    }

    fn check_summary(&self) {
        let Some(summary) = &self.summary else { panic!("two interrupts did not end the run") };
        let told = Tally { finished: summary.finished, crashed: summary.crashed, not_run: summary.not_run };
        assert_eq!(told, self.tally, "the summary is what was told");
        let all = summary.finished + summary.crashed + summary.not_run;
        assert_eq!(all, summary.collected, "everything is accounted for");
        assert_eq!(self.session.next_deadline(), None, "a run that is over has no deadline");
        assert!(self.links.is_empty(), "links are open at the end: {:?}", self.links);
    }
}

fn down(worker: WorkerId, cause: EndCause, item: Option<CrashItem>) -> WorkerMessage {
    WorkerMessage::Down(Down {
        worker,
        cause,
        out_of_memory: false,
        item,
        report: None,
        stderr_tail: String::new(),
        stack: None,
        peak_rss_kib: 0,
        finished: 0,
    })
}

/// A message whose numbers are likely to hit something, true or not.
fn invented(bytes: &mut Bytes<'_>) -> Option<WorkerMessage> {
    let kind = bytes.below(14)?;
    let worker = WorkerId(bytes.below(6)?);
    let (item, number) = (ItemIndex(bytes.below(14)?), bytes.below(10)?);
    let report = ItemReport {
        class: OutcomeClass::Pass,
        start_us: 0,
        durations_us: [0; 3],
        phases: Vec::new(),
        full: Vec::new(),
    };
    Some(match kind {
        0 => WorkerMessage::Ready(Box::new(Ready { worker, ..Ready::default() })),
        1 => WorkerMessage::Collecting(Collecting { worker }),
        2 => WorkerMessage::ItemFinished(ItemFinished { worker, lease: LeaseId(number), item, report }),
        3 => WorkerMessage::Unscheduled(Unscheduled { worker, request: number, items: vec![item] }),
        4 => WorkerMessage::StopRequested(StopRequested {
            worker,
            kind: if number > 3 { StopKind::Recycle } else { StopKind::ShouldStop },
            reason: "r".to_owned(),
            exit_code: None,
            items: if number > 6 { vec![item] } else { Vec::new() },
        }),
        5 => WorkerMessage::WorkerOutput(WorkerOutput { worker, ..WorkerOutput::default() }),
        6 => WorkerMessage::Collection(CollectionChunk {
            worker,
            offset: number,
            total: item.0,
            items: vec![Item::new("f.py::t")],
        }),
        9 => WorkerMessage::Ask(Ask {
            worker,
            question: match number % 4 {
                0 => message::Question::Terminal,
                1 => message::Question::Leaving,
                2 => message::Question::Shared(Shared::Lock("l".to_owned())),
                _ => message::Question::Shared(Shared::Value("v".to_owned())),
            },
        }),
        11 => WorkerMessage::AskWithdrawn(AskWithdrawn { worker }),
        12 => WorkerMessage::Made(Made { worker, key: "v".to_owned(), value: Value::Nil }),
        13 => WorkerMessage::Released(Released { worker, shared: Shared::Lock("l".to_owned()) }),
        10 => WorkerMessage::TerminalReturned(TerminalReturned { worker }),
        8 => WorkerMessage::HostWanted(HostWanted { worker, hooks: Vec::new() }),
        _ => {
            let item = Some(CrashItem { lease: LeaseId(number), item, phase: Phase::Setup, running_ms: 0 });
            down(worker, EndCause::Exited(1), item.filter(|_| number > 5))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_sequences_hold() {
        for seed in 0..4000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let length = rng.usize(0..600);
            let data: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
            let held = std::panic::catch_unwind(|| run(&data));
            assert!(held.is_ok(), "broken by the bytes of seed {seed}: {data:?}");
        }
    }
}
