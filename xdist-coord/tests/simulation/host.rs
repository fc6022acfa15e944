//! A fake worker host: what an honest one would do, and the ways in which this one does not.
//!
//! It keeps to the timing of the real one: a worker takes its successor when it tears a test down, and waits for one
//! there, so a scheduler that forgets a worker on its last test hangs the simulation.

use crate::scenario::{Fate, Test, Wanted};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use xdist_proto::fetch::{Fetch, FetchDone, Fetched, FileEnd};
use xdist_proto::message::{
    Ask, AskWithdrawn, CollectReportEvent, Collected, Collecting, CollectionChunk, Configure,
    CoordinatorMessage, CrashItem, Down, EndCause, HostWanted, InternalError, ItemFinished, Made, Pong,
    Question, Ready, Released, Reply, RunOptions, Shared, StopKind, StopRequested, TerminalReturned,
    Unscheduled, UsageError, WorkerMessage, WorkerOutput,
};
use xdist_proto::report::{CollectReport, FailureText, ItemReport, OutcomeClass, Phase};
use xdist_proto::sync::{SyncEnd, SyncFailed, SyncTaken, SyncWant};
use xdist_proto::{Collection, ItemIndex, LeaseId, Value, WorkerId};

/// Something that a worker does later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Start,
    Collect,
    /// The test function is over: tear down, and ask for the successor.
    Teardown,
    /// The debugger goes on.
    Continue,
    /// What is shared was used for long enough.
    Used,
    /// It waits for what is shared no more.
    Withdraw,
    /// The test is over.
    Finish,
    /// The session ends.
    End,
    /// The process dies, in the manner of a crash.
    Die,
}

/// What a host wants done.
#[derive(Debug)]
pub(crate) enum Deed {
    Send(Box<WorkerMessage>),
    Later { worker: WorkerId, step: Step, after: Duration },
}

/// What is the same for all hosts of a run.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) tests: Vec<Test>,
    pub(crate) options: RunOptions,
    pub(crate) collect_errors: bool,
    /// Whether some tests have a breakpoint.
    pub(crate) debugs: bool,
    /// Whether some tests use what workers share.
    pub(crate) shares: bool,
}

#[derive(Debug, Default)]
pub(crate) struct FakeHost {
    pub(crate) workers: BTreeMap<WorkerId, FakeWorker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Item(ItemIndex, LeaseId),
    Park,
    Drain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Starting,
    /// It has asked for the pytest host, and waits to be let go on.
    AskingForHost,
    Ready,
    Collecting,
    Idle,
    Call(ItemIndex, LeaseId),
    /// At a breakpoint, with the terminal or waiting for it.
    Debugging(ItemIndex, LeaseId),
    /// Using what is shared, or waiting for it.
    Sharing(ItemIndex, LeaseId),
    /// Tearing down, with nothing known about what comes next.
    Waiting(ItemIndex, LeaseId),
    /// Tearing down, with the next entry taken out of the queue.
    Teardown(ItemIndex, LeaseId, Option<(ItemIndex, LeaseId)>),
    Finishing,
    Down,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the worker so far")]
#[derive(Debug)]
pub(crate) struct FakeWorker {
    pub(crate) id: WorkerId,
    /// For each of its items, which test it is.
    pub(crate) tests: Vec<usize>,
    fate: Fate,
    activity: Activity,
    queue: VecDeque<Entry>,
    finished: u32,
    /// How many items it has taken out of its queue.
    taken: u32,
    /// Whether it has done its share.
    recycled: bool,
    /// Whether somebody else has the terminal.
    suspended: bool,
    /// What is its own of all that is shared.
    held: Vec<Shared>,
    asks: bool,
    has_value: bool,
    collect_wanted: bool,
    wants_host: bool,
    tells_files: bool,
    ending: bool,
    rng: fastrand::Rng,
}

fn shared_value() -> Shared {
    Shared::Value("v".to_owned())
}

fn send(message: WorkerMessage) -> Deed {
    Deed::Send(Box::new(message))
}

/// Some files, of which one breaks off.
fn files(request: &Fetch) -> Vec<Deed> {
    let part = |file: u32, offset, end| {
        let (request, path) = (request.request, format!("d/{file}"));
        send(WorkerMessage::Fetched(Fetched {
            request,
            path,
            mode: 0,
            offset,
            data: vec![1],
            unpacked: None,
            end,
        }))
    };
    let broken = FileEnd::Broken("it changed".to_owned());
    let done = FetchDone { request: request.request, files: 2, bytes: 3, problems: vec!["x: no".to_owned()] };
    vec![
        part(0, 0, None),
        part(0, 1, Some(FileEnd::Complete([0; 32]))),
        part(1, 0, Some(broken)),
        part(2, 0, Some(FileEnd::Complete([0; 32]))),
        send(WorkerMessage::FetchDone(done)),
    ]
}

/// A directory is as it should be.
fn copied(tree: u32) -> Deed {
    send(WorkerMessage::SyncEnd(SyncEnd { tree, path: "/there/a".to_owned(), ..SyncEnd::default() }))
}

impl FakeHost {
    pub(crate) fn configure(
        &mut self,
        configure: &Configure,
        wanted: Wanted,
        tests: Vec<usize>,
        fate: Fate,
        seed: u64,
    ) -> Vec<Deed> {
        let id = configure.worker;
        let mut worker = FakeWorker {
            id,
            tests,
            fate,
            activity: Activity::Starting,
            queue: VecDeque::new(),
            finished: 0,
            taken: 0,
            recycled: false,
            suspended: false,
            held: Vec::new(),
            asks: false,
            has_value: false,
            collect_wanted: false,
            wants_host: configure.wants.hooks && wanted.by(id),
            tells_files: configure.wants.files,
            ending: false,
            rng: fastrand::Rng::with_seed(seed),
        };
        let mut deeds = vec![worker.later(Step::Start, 2000)];
        if let Fate::DiesAfter(after) = fate {
            deeds.push(Deed::Later { worker: id, step: Step::Die, after });
        }
        let previous = self.workers.insert(id, worker);
        assert!(previous.is_none(), "{id} is configured twice");
        deeds
    }

    pub(crate) fn command(&mut self, suite: &Suite, command: &CoordinatorMessage) -> Vec<Deed> {
        let id = match command {
            CoordinatorMessage::Ping(ping) => {
                return vec![send(WorkerMessage::Pong(Pong { nonce: ping.nonce }))];
            }
            CoordinatorMessage::Fetch(request) => return files(request),
            CoordinatorMessage::Dismissed(_) => return Vec::new(),
            CoordinatorMessage::SyncBegin(begin) => {
                let blobs = vec![begin.root];
                return match begin.tree % 8 {
                    // As on a full disk.
                    7 => {
                        let text = "no space".to_owned();
                        vec![send(WorkerMessage::SyncFailed(SyncFailed { tree: begin.tree, text }))]
                    }
                    0..3 => vec![copied(begin.tree)],
                    _ => vec![send(WorkerMessage::SyncWant(SyncWant { tree: begin.tree, blobs }))],
                };
            }
            CoordinatorMessage::SyncData(data) => {
                let taken = WorkerMessage::SyncTaken(SyncTaken { tree: data.tree, chunks: 1 });
                return vec![send(taken), copied(data.tree)];
            }
            CoordinatorMessage::Configure(_) => unreachable!("the world chooses the fate"),
            CoordinatorMessage::Proceed(command) => command.worker,
            CoordinatorMessage::Answer(command) => command.worker,
            CoordinatorMessage::Suspend(command) => command.worker,
            CoordinatorMessage::Resume(command) => command.worker,
            CoordinatorMessage::Collect(command) => command.worker,
            CoordinatorMessage::SendCollection(command) => command.worker,
            CoordinatorMessage::Run(command) => command.worker,
            CoordinatorMessage::Steal(command) => command.worker,
            CoordinatorMessage::Cancel(command) => command.worker,
            CoordinatorMessage::Park(command) => command.worker,
            CoordinatorMessage::Drain(command) => command.worker,
            CoordinatorMessage::Interrupt(command) => command.worker,
            CoordinatorMessage::Shutdown(command) => command.worker,
        };
        let worker =
            self.workers.get_mut(&id).unwrap_or_else(|| panic!("{id} was not configured: {command:?}"));
        if worker.activity == Activity::Down { Vec::new() } else { worker.command(suite, command) }
    }

    pub(crate) fn step(&mut self, suite: &Suite, id: WorkerId, step: Step) -> Vec<Deed> {
        let worker = self.workers.get_mut(&id).expect("steps are of workers that there are");
        if worker.activity == Activity::Down { Vec::new() } else { worker.step(suite, step) }
    }
}

impl FakeWorker {
    /// Whether it has nothing to do and could have.
    pub(crate) fn is_idle(&self) -> bool {
        self.activity == Activity::Idle
            && self.queue.is_empty()
            && !self.ending
            && !self.recycled
            && !self.suspended
    }

    /// The items that it has not begun.
    pub(crate) fn unbegun(&self) -> impl Iterator<Item = ItemIndex> {
        let busy = !self.ending && matches!(self.activity, Activity::Call(..) | Activity::Teardown(..));
        self.queue.iter().filter(move |_| busy).filter_map(|entry| match entry {
            Entry::Item(item, _) => Some(*item),
            Entry::Park | Entry::Drain => None,
        })
    }

    fn later(&mut self, step: Step, most_ms: u64) -> Deed {
        Deed::Later { worker: self.id, step, after: Duration::from_millis(self.rng.u64(1..=most_ms)) }
    }

    fn collection(&self, suite: &Suite) -> Collection {
        Collection { items: self.tests.iter().map(|&test| suite.tests[test].item.clone()).collect() }
    }

    fn command(&mut self, suite: &Suite, command: &CoordinatorMessage) -> Vec<Deed> {
        match command {
            CoordinatorMessage::Ping(_)
            | CoordinatorMessage::SyncBegin(_)
            | CoordinatorMessage::SyncData(_)
            | CoordinatorMessage::Dismissed(_)
            | CoordinatorMessage::Fetch(_)
            | CoordinatorMessage::Configure(_) => Vec::new(),
            CoordinatorMessage::Proceed(_) => {
                if self.activity == Activity::AskingForHost {
                    self.ready(suite)
                } else {
                    Vec::new()
                }
            }
            CoordinatorMessage::Collect(_) => {
                self.collect_wanted = true;
                self.collect()
            }
            CoordinatorMessage::SendCollection(_) => self.send_collection(suite),
            CoordinatorMessage::Answer(answer) => {
                self.asks = false;
                match &answer.reply {
                    Reply::Terminal(_) => vec![self.later(Step::Continue, 5000)],
                    Reply::Last(_) => self.say_goodbye(),
                    Reply::Refused(_) | Reply::Make | Reply::Locked | Reply::Value(_) => {
                        self.share(suite, &answer.reply)
                    }
                }
            }
            CoordinatorMessage::Suspend(_) => {
                self.suspended = true;
                Vec::new()
            }
            CoordinatorMessage::Resume(_) => {
                self.suspended = false;
                self.go_on(suite)
            }
            // It crossed the announcement.
            CoordinatorMessage::Run(run) if self.recycled => vec![self.give_up(run.items.clone())],
            CoordinatorMessage::Park(_) | CoordinatorMessage::Drain(_) if self.recycled => Vec::new(),
            CoordinatorMessage::Run(run) => {
                self.queue.extend(run.items.iter().map(|&item| Entry::Item(item, run.lease)));
                let mut deeds = self.recycle_early(suite);
                deeds.extend(self.go_on(suite));
                deeds
            }
            CoordinatorMessage::Park(_) => {
                self.queue.push_back(Entry::Park);
                self.go_on(suite)
            }
            CoordinatorMessage::Drain(_) => {
                self.queue.push_back(Entry::Drain);
                self.go_on(suite)
            }
            CoordinatorMessage::Steal(steal) => {
                let queued = |item: &ItemIndex| {
                    self.queue.iter().any(|entry| matches!(entry, Entry::Item(i, _) if i == item))
                };
                let given = if steal.items.iter().all(queued) { steal.items.clone() } else { Vec::new() };
                self.queue.retain(|entry| !matches!(entry, Entry::Item(item, _) if given.contains(item)));
                vec![self.unscheduled(steal.request, given)]
            }
            CoordinatorMessage::Cancel(cancel) => {
                let items = self.queue.iter().filter_map(|entry| match entry {
                    Entry::Item(item, _) => Some(*item),
                    Entry::Park | Entry::Drain => None,
                });
                let items = items.collect();
                self.queue.retain(|entry| !matches!(entry, Entry::Item(..)));
                vec![self.unscheduled(cancel.request, items)]
            }
            CoordinatorMessage::Interrupt(_) => {
                self.queue.clear();
                self.end()
            }
            CoordinatorMessage::Shutdown(_) => self.down(EndCause::Killed("told to".to_owned()), None),
        }
    }

    fn unscheduled(&self, request: u32, items: Vec<ItemIndex>) -> Deed {
        send(WorkerMessage::Unscheduled(Unscheduled { worker: self.id, request, items }))
    }

    fn step(&mut self, suite: &Suite, step: Step) -> Vec<Deed> {
        match (step, self.activity) {
            (Step::Die, _) => self.die(),
            (Step::Start, Activity::Starting) => self.start(suite),
            (Step::Collect, Activity::Collecting) => self.collected(suite),
            (Step::Teardown, Activity::Call(item, lease)) if suite.debugs && item.0 % 3 == 1 => {
                self.activity = Activity::Debugging(item, lease);
                vec![send(WorkerMessage::Ask(Ask { worker: self.id, question: Question::Terminal }))]
            }
            (Step::Teardown, Activity::Call(item, lease)) if suite.shares && item.0 % 3 == 2 => {
                self.activity = Activity::Sharing(item, lease);
                let first = if self.id.0.is_multiple_of(2) { "x" } else { "y" };
                self.ask(Shared::Lock(first.to_owned()))
            }
            (Step::Used, Activity::Sharing(..)) if !self.asks => {
                if self.rng.bool() {
                    self.ask(shared_value())
                } else {
                    self.tear_down(suite)
                }
            }
            (Step::Withdraw, Activity::Sharing(..)) => {
                vec![send(WorkerMessage::AskWithdrawn(AskWithdrawn { worker: self.id }))]
            }
            (Step::Teardown, Activity::Call(item, lease)) => {
                self.activity = Activity::Waiting(item, lease);
                self.go_on(suite)
            }
            (Step::Continue, Activity::Debugging(..)) => {
                let returned = TerminalReturned { worker: self.id };
                let mut deeds = vec![send(WorkerMessage::TerminalReturned(returned))];
                deeds.extend(self.tear_down(suite));
                deeds
            }
            (Step::Finish, Activity::Teardown(item, lease, next)) => self.finish(suite, item, lease, next),
            (Step::End, Activity::Finishing) if self.has_value && !self.asks => {
                self.asks = true;
                vec![send(WorkerMessage::Ask(Ask { worker: self.id, question: Question::Leaving }))]
            }
            (Step::End, Activity::Finishing) => self.say_goodbye(),
            // Interrupted meanwhile.
            _ => Vec::new(),
        }
    }

    /// The session has ended in good order.
    fn say_goodbye(&mut self) -> Vec<Deed> {
        let output = WorkerOutput { worker: self.id, ..WorkerOutput::default() };
        let mut deeds = vec![send(WorkerMessage::WorkerOutput(output))];
        deeds.extend(self.down(EndCause::Exited(0), None));
        deeds
    }

    /// Asks for what is shared, and in some cases loses patience.
    fn ask(&mut self, shared: Shared) -> Vec<Deed> {
        self.asks = true;
        let question = Question::Shared(shared);
        let mut deeds = vec![send(WorkerMessage::Ask(Ask { worker: self.id, question }))];
        if self.rng.u32(0..4) == 0 {
            deeds.push(self.later(Step::Withdraw, 5000));
        }
        deeds
    }

    /// Goes on with what it got, or did not get.
    fn share(&mut self, suite: &Suite, reply: &Reply) -> Vec<Deed> {
        if !matches!(self.activity, Activity::Sharing(..)) {
            // Interrupted meanwhile; or it was the terminal that it did not get.
            return self.tear_down(suite);
        }
        match reply {
            Reply::Locked if self.held.is_empty() => {
                let (first, second) = if self.id.0.is_multiple_of(2) { ("x", "y") } else { ("y", "x") };
                self.held.push(Shared::Lock(first.to_owned()));
                if self.rng.bool() {
                    return self.ask(Shared::Lock(second.to_owned()));
                }
                vec![self.later(Step::Used, 3000)]
            }
            Reply::Locked => {
                let second = if self.id.0.is_multiple_of(2) { "y" } else { "x" };
                self.held.push(Shared::Lock(second.to_owned()));
                vec![self.later(Step::Used, 3000)]
            }
            Reply::Make if self.rng.bool() => {
                self.has_value = true;
                let made = Made { worker: self.id, key: "v".to_owned(), value: Value::from(7) };
                let mut deeds = vec![send(WorkerMessage::Made(made))];
                deeds.extend(self.tear_down(suite));
                deeds
            }
            Reply::Make => {
                self.held.push(shared_value());
                self.tear_down(suite)
            }
            Reply::Value(_) => {
                self.has_value = true;
                self.tear_down(suite)
            }
            Reply::Terminal(_) | Reply::Last(_) | Reply::Refused(_) => self.tear_down(suite),
        }
    }

    /// Goes on after a breakpoint, or with what it has of all that is shared given back.
    fn tear_down(&mut self, suite: &Suite) -> Vec<Deed> {
        let (Activity::Debugging(item, lease) | Activity::Sharing(item, lease)) = self.activity else {
            return Vec::new();
        };
        self.activity = Activity::Waiting(item, lease);
        let worker = self.id;
        let give_back = |shared| send(WorkerMessage::Released(Released { worker, shared }));
        let mut deeds: Vec<Deed> = self.held.drain(..).map(give_back).collect();
        deeds.extend(self.go_on(suite));
        deeds
    }

    fn start(&mut self, suite: &Suite) -> Vec<Deed> {
        let id = self.id;
        match self.fate {
            Fate::NotStarted => return self.down(EndCause::NotStarted("no python".to_owned()), None),
            Fate::DiesStarting => return self.down(EndCause::Exited(1), None),
            Fate::UsageError => {
                let text = "ERROR: usage".to_owned();
                let mut deeds = vec![send(WorkerMessage::UsageError(UsageError {
                    worker: id,
                    text,
                    exit_code: 4,
                    unfit: false,
                }))];
                deeds.extend(self.down(EndCause::Exited(4), None));
                return deeds;
            }
            _ => {}
        }
        if self.wants_host {
            self.activity = Activity::AskingForHost;
            let hooks = vec!["pytest_testnodedown (conftest.py)".to_owned()];
            return vec![send(WorkerMessage::HostWanted(HostWanted { worker: id, hooks }))];
        }
        self.ready(suite)
    }

    fn ready(&mut self, suite: &Suite) -> Vec<Deed> {
        self.activity = Activity::Ready;
        let id = self.id;
        let (options, cwd) = (suite.options.clone(), format!("/d{}", id.0 % 2));
        let ready = Ready { worker: id, options, rootdir: cwd.clone(), cwd, ..Ready::default() };
        let mut deeds = vec![send(WorkerMessage::Ready(Box::new(ready)))];
        deeds.extend(self.collect());
        deeds
    }

    fn collect(&mut self) -> Vec<Deed> {
        if self.activity != Activity::Ready || !self.collect_wanted {
            return Vec::new();
        }
        self.activity = Activity::Collecting;
        let collecting = Collecting { worker: self.id };
        vec![send(WorkerMessage::Collecting(collecting)), self.later(Step::Collect, 3000)]
    }

    fn collected(&mut self, suite: &Suite) -> Vec<Deed> {
        if self.fate == Fate::DiesCollecting {
            return self.down(EndCause::Signaled(11), None);
        }
        let mut deeds = Vec::new();
        if suite.collect_errors {
            let report = CollectReport {
                node_id: "broken.py".to_owned(),
                class: OutcomeClass::Fail,
                failure: Some(FailureText { text: "SyntaxError".to_owned(), ..FailureText::default() }),
                skip: None,
                sections: Vec::new(),
                full: Vec::new(),
            };
            deeds.push(send(WorkerMessage::CollectReport(CollectReportEvent { worker: self.id, report })));
        }
        self.activity = Activity::Idle;
        let collection = self.collection(suite);
        deeds.push(send(WorkerMessage::Collected(Collected {
            worker: self.id,
            digest: collection.digest(),
            count: u32::try_from(collection.items.len()).unwrap(),
            deselected: 0,
            unforkable: None,
            files: self.tells_files.then(|| ("a.py".to_owned(), 1)).into_iter().collect(),
        })));
        deeds.extend(self.act_on_fate());
        deeds.extend(self.go_on(suite));
        deeds
    }

    fn send_collection(&mut self, suite: &Suite) -> Vec<Deed> {
        let items = self.collection(suite).items;
        let total = u32::try_from(items.len()).unwrap();
        let mut offset = 0;
        let mut deeds = Vec::new();
        for part in items.chunks(7) {
            let chunk = CollectionChunk { worker: self.id, offset, total, items: part.to_vec() };
            offset += u32::try_from(part.len()).unwrap();
            deeds.push(send(WorkerMessage::Collection(chunk)));
        }
        deeds
    }

    /// How many more items it may take.
    fn left_of_share(&self, suite: &Suite) -> usize {
        suite.options.max_tests.map_or(usize::MAX, |share| share.saturating_sub(self.taken) as usize)
    }

    /// Says that it has done its share as soon as that can be foreseen; some do, as the real one.
    fn recycle_early(&mut self, suite: &Suite) -> Vec<Deed> {
        let left = self.left_of_share(suite);
        let queued = self.queue.iter().filter(|entry| matches!(entry, Entry::Item(..))).count();
        if self.id.0.is_multiple_of(2) && queued > left { self.recycle(left) } else { Vec::new() }
    }

    /// Ends after so many more items, and gives the others up.
    fn recycle(&mut self, keep: usize) -> Vec<Deed> {
        self.recycled = true;
        let mut items: Vec<Entry> =
            self.queue.drain(..).filter(|entry| matches!(entry, Entry::Item(..))).collect();
        let given = items.split_off(keep.min(items.len())).into_iter().filter_map(|entry| match entry {
            Entry::Item(item, _) => Some(item),
            Entry::Park | Entry::Drain => None,
        });
        let deed = self.give_up(given.collect());
        self.queue.extend(items);
        self.queue.push_back(Entry::Drain);
        vec![deed]
    }

    fn give_up(&self, items: Vec<ItemIndex>) -> Deed {
        send(WorkerMessage::StopRequested(StopRequested {
            worker: self.id,
            kind: StopKind::Recycle,
            reason: "its share is done".to_owned(),
            exit_code: None,
            items,
        }))
    }

    /// Takes up the next thing in the queue, if it can.
    fn go_on(&mut self, suite: &Suite) -> Vec<Deed> {
        if self.suspended && matches!(self.queue.front(), Some(Entry::Item(..))) {
            return Vec::new();
        }
        let takes = matches!(self.activity, Activity::Idle | Activity::Waiting(..));
        if takes && matches!(self.queue.front(), Some(Entry::Item(..))) && self.left_of_share(suite) == 0 {
            let mut deeds = self.recycle(0);
            deeds.extend(self.go_on(suite));
            return deeds;
        }
        match self.activity {
            Activity::Idle => match self.queue.pop_front() {
                None => Vec::new(),
                Some(Entry::Park) => self.go_on(suite),
                Some(Entry::Drain) => self.end(),
                Some(Entry::Item(item, lease)) => {
                    self.taken += 1;
                    self.begin(suite, item, lease)
                }
            },
            Activity::Waiting(item, lease) => {
                let next = match self.queue.front() {
                    None => return Vec::new(),
                    // Left where it is, so that it is acted upon after the test.
                    Some(Entry::Drain) => None,
                    Some(Entry::Park) => {
                        self.queue.pop_front();
                        None
                    }
                    Some(&Entry::Item(item, lease)) => {
                        self.queue.pop_front();
                        self.taken += 1;
                        Some((item, lease))
                    }
                };
                self.activity = Activity::Teardown(item, lease, next);
                vec![self.later(Step::Finish, 100)]
            }
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, suite: &Suite, item: ItemIndex, lease: LeaseId) -> Vec<Deed> {
        self.activity = Activity::Call(item, lease);
        let test = &suite.tests[self.tests[item.as_usize()]];
        let step = if test.deadly { Step::Die } else { Step::Teardown };
        vec![Deed::Later { worker: self.id, step, after: test.duration }]
    }

    fn finish(
        &mut self,
        suite: &Suite,
        item: ItemIndex,
        lease: LeaseId,
        next: Option<(ItemIndex, LeaseId)>,
    ) -> Vec<Deed> {
        let test = &suite.tests[self.tests[item.as_usize()]];
        let spared = suite.options.retries > 0 && test.fickle && self.id.0 % 2 == 1;
        let class = if test.fails && !spared { OutcomeClass::Fail } else { OutcomeClass::Pass };
        let us = u64::try_from(test.duration.as_micros()).unwrap();
        let report =
            ItemReport { class, start_us: 0, durations_us: [0, us, 0], phases: Vec::new(), full: Vec::new() };
        self.finished += 1;
        let finished = ItemFinished { worker: self.id, lease, item, report };
        let mut deeds = vec![send(WorkerMessage::ItemFinished(finished))];
        self.activity = Activity::Idle;
        let ended = self.act_on_fate();
        if !ended.is_empty() {
            deeds.extend(ended);
            return deeds;
        }
        let too_large = suite.options.memory_limit_kib.is_some() && self.finished % 3 == 2;
        if too_large && !self.recycled {
            deeds.extend(self.recycle(0));
        }
        match next {
            Some((item, lease)) => deeds.extend(self.begin(suite, item, lease)),
            None => deeds.extend(self.go_on(suite)),
        }
        deeds
    }

    /// What the worker does of its own accord after a number of tests.
    fn act_on_fate(&mut self) -> Vec<Deed> {
        let due = |after| self.finished == after;
        match self.fate {
            Fate::EndsAfter(after) if due(after) => self.end(),
            Fate::StopsAfter(after) if due(after) => {
                let kind =
                    self.rng.choice([StopKind::ShouldFail, StopKind::Exit, StopKind::Interrupt]).unwrap();
                let stop = StopRequested {
                    worker: self.id,
                    kind,
                    reason: "enough".to_owned(),
                    exit_code: None,
                    items: Vec::new(),
                };
                let mut deeds = vec![send(WorkerMessage::StopRequested(stop))];
                deeds.extend(self.end());
                deeds
            }
            Fate::InternalErrorAfter(after) if due(after) => {
                let error = InternalError { worker: self.id, text: "KeyError".to_owned() };
                let mut deeds = vec![send(WorkerMessage::InternalError(error))];
                deeds.extend(self.end());
                deeds
            }
            _ => Vec::new(),
        }
    }

    /// The session is to end.
    fn end(&mut self) -> Vec<Deed> {
        let begun = !matches!(self.activity, Activity::Starting | Activity::AskingForHost | Activity::Ready);
        if self.ending || self.fate == Fate::DoesNotEnd {
            return Vec::new();
        }
        self.ending = true;
        self.activity = Activity::Finishing;
        vec![self.later(Step::End, if begun { 4000 } else { 100 })]
    }

    fn die(&mut self) -> Vec<Deed> {
        let running = match self.activity {
            Activity::Call(item, lease)
            | Activity::Debugging(item, lease)
            | Activity::Sharing(item, lease) => Some((item, lease, Phase::Call)),
            Activity::Waiting(item, lease) | Activity::Teardown(item, lease, _) => {
                Some((item, lease, Phase::Teardown))
            }
            Activity::Starting
            | Activity::AskingForHost
            | Activity::Ready
            | Activity::Collecting
            | Activity::Idle
            | Activity::Finishing
            | Activity::Down => None,
        };
        let item = running.map(|(item, lease, phase)| CrashItem { lease, item, phase, running_ms: 5 });
        // Hosts end some tests for taking too long, which is told likewise.
        let took_too_long = item.is_some_and(|item| item.item.0 % 2 == 0);
        self.down(if took_too_long { EndCause::TimedOut(5) } else { EndCause::Signaled(11) }, item)
    }

    fn down(&mut self, cause: EndCause, item: Option<CrashItem>) -> Vec<Deed> {
        self.activity = Activity::Down;
        vec![send(WorkerMessage::Down(Down {
            worker: self.id,
            cause,
            out_of_memory: false,
            item,
            report: None,
            stderr_tail: String::new(),
            stack: None,
            peak_rss_kib: 0,
            finished: self.finished,
        }))]
    }
}
