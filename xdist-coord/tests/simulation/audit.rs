//! The invariants, checked on everything that goes in and comes out.

use crate::scenario::Test;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use xdist_coord::scheduler::Mode;
use xdist_coord::session::event::{Crash, FailedAttempt, Failure};
use xdist_coord::session::output::FetchStep;
use xdist_coord::session::{Input, Output, PytestHost, RunEnd, RunEvent, RunSummary};
use xdist_coord::workers::LinkId;
use xdist_proto::frontend::CrashHandled;
use xdist_proto::message::{
    Answer, Ask, Configure, CoordinatorMessage, Made, Proceed, Question, Released, Reply, Shared,
    WorkerMessage,
};
use xdist_proto::report::OutcomeClass;
use xdist_proto::{Collection, FetchId, Item, ItemIndex, Value, WorkerId};

/// A test, whatever its index: its node id, and the how-manieth of that node id it is. In mode `each`, also the first of
/// the workers that run it one in the place of the other.
pub(crate) type Identity = (Option<WorkerId>, String, usize);

/// How many steals there may be for each result and each worker.
const MOST_STEALS: usize = 3;

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the run so far")]
#[derive(Debug, Default)]
pub(crate) struct Audit {
    each: bool,
    open_links: BTreeSet<LinkId>,
    configured: bool,
    /// Who has each test now.
    holders: BTreeMap<Identity, WorkerId>,
    /// What tests may not run beside; empty where that is not heeded.
    claims: BTreeMap<Identity, Claims>,
    /// What each test stays together with; not those that ran before, which move alone.
    units: BTreeMap<Identity, String>,
    /// By resource, how many workers may use it at a time.
    limits: BTreeMap<String, u32>,
    /// Tests whose holders have given them back.
    given_back: BTreeSet<Identity>,
    /// What has become of each test.
    ends: BTreeMap<Identity, End>,
    /// The agreed collection, or those of the workers in mode `each`.
    collections: BTreeMap<Option<WorkerId>, Vec<Identity>>,
    /// Whom each worker replaces.
    predecessors: BTreeMap<WorkerId, WorkerId>,
    scheduling: bool,
    stopping: bool,
    pub(crate) summary: Option<RunSummary>,
    lost_pytest_host: bool,
    usage_errors: u32,
    mismatches: u32,
    steals: usize,
    started: BTreeSet<WorkerId>,
    down: BTreeSet<WorkerId>,
    /// Directories whose files are arriving, and all that were told of.
    fetches: BTreeMap<FetchId, String>,
    fetched: BTreeSet<String>,
    failed: u64,
    presence: PytestHost,
    judges: bool,
    /// Workers that were told to come up, and those that wait to be let go on.
    told_to_start: BTreeSet<WorkerId>,
    waiting: BTreeSet<WorkerId>,
    /// Who has the terminal, and whether it knows.
    borrower: Option<(WorkerId, bool)>,
    /// What each worker has asked for last, who has what, and who must be gone since somebody else got it.
    wanted: BTreeMap<WorkerId, Shared>,
    sharers: BTreeMap<Shared, WorkerId>,
    passed_over: BTreeSet<WorkerId>,
    /// Whether the value is made, and who has it.
    has_value: bool,
    users: BTreeSet<WorkerId>,
    /// Workers that the pytest host was asked about, with its answer.
    asked: BTreeMap<WorkerId, Option<BTreeMap<String, Value>>>,
    /// Crashed tests whose fate is open, by the number of the question.
    questions: BTreeMap<u32, Identity>,
    /// Tests that failed and are to run again: how often they did, and on which worker the last time.
    retried: BTreeMap<Identity, (u32, WorkerId)>,
    flaky: u64,
    /// The answer that is being dealt with.
    verdict: Option<(Identity, CrashHandled)>,
}

/// What a test may not run beside.
#[derive(Debug)]
struct Claims {
    exclusive: bool,
    resources: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finished,
    Crashed,
    NotRun,
}

/// The tests of a collection by index.
pub(crate) fn identities(lineage: Option<WorkerId>, node_ids: impl Iterator<Item = String>) -> Vec<Identity> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let identity = |id: String| {
        let number = seen.entry(id.clone()).or_default();
        *number += 1;
        (lineage, id, *number)
    };
    node_ids.map(identity).collect()
}

/// The name of what a test stays together with, if that may be more than itself.
fn unit_of(mode: Mode, item: &Item) -> Option<String> {
    let id = &item.node_id;
    match mode {
        Mode::Each | Mode::Load => None,
        Mode::LoadScope => Some(id.rsplit_once("::").map_or(id.as_str(), |(scope, _)| scope).to_owned()),
        Mode::LoadFile => Some(id.split_once("::").map_or(id.as_str(), |(file, _)| file).to_owned()),
        Mode::LoadGroup | Mode::WorkSteal => (!item.groups.is_empty()).then(|| item.groups.join("+")),
    }
}

impl Audit {
    pub(crate) fn new(mode: Mode, presence: PytestHost, tests: &[Test]) -> Self {
        let each = mode == Mode::Each;
        let mut audit = Self { each, presence, ..Self::default() };
        if !each {
            let identities = identities(None, tests.iter().map(|test| test.item.node_id.clone()));
            for (identity, test) in identities.into_iter().zip(tests) {
                if let Some(unit) = unit_of(mode, &test.item) {
                    audit.units.insert(identity.clone(), unit);
                }
                audit.note_claims(identity, &test.item);
            }
        }
        audit
    }

    fn note_claims(&mut self, identity: Identity, item: &Item) {
        for resource in &item.resources {
            let least = self.limits.entry(resource.name.clone()).or_insert(resource.limit);
            *least = resource.limit.min(*least);
        }
        let claims = Claims {
            exclusive: item.exclusive,
            resources: item.resources.iter().map(|resource| resource.name.clone()).collect(),
        };
        if claims.exclusive || !claims.resources.is_empty() {
            self.claims.insert(identity, claims);
        }
    }

    /// Whether items are handed out.
    pub(crate) fn is_running(&self) -> bool {
        self.scheduling && !self.stopping && self.usage_errors == 0 && self.summary.is_none()
    }

    /// Whether another worker could begin this test now.
    pub(crate) fn could_begin(&self, identity: &Identity) -> bool {
        let held = || self.holders.iter().filter(|(identity, _)| !self.given_back.contains(*identity));
        let is_exclusive = |identity| self.claims.get(identity).is_some_and(|claims| claims.exclusive);
        let users = |name: &String| {
            let uses =
                |identity| self.claims.get(identity).is_some_and(|claims| claims.resources.contains(name));
            held()
                .filter(|(identity, _)| uses(identity))
                .map(|(_, holder)| holder)
                .collect::<BTreeSet<_>>()
                .len()
        };
        let mut resources = self.claims.get(identity).into_iter().flat_map(|claims| &claims.resources);
        let must_wait = |other| is_exclusive(identity) || is_exclusive(other);
        !held().any(|(other, _)| must_wait(other))
            && resources.all(|name| users(name) < self.limits[name] as usize)
    }

    /// A test that a worker could begin now, and that nobody has.
    pub(crate) fn beginnable(&self) -> Option<&Identity> {
        let is_free = |identity: &&Identity| {
            !self.ends.contains_key(*identity)
                && !self.is_undecided(identity)
                && (!self.holders.contains_key(*identity) || self.given_back.contains(*identity))
        };
        self.collections.values().flatten().filter(is_free).find(|identity| self.could_begin(identity))
    }

    pub(crate) fn input(&mut self, input: &Input) {
        self.verdict = None;
        match input {
            Input::PytestHostJoined { judges_crashes, .. } => self.judges = *judges_crashes,
            Input::PytestHostLost { .. } => {
                self.presence = PytestHost::Never;
                self.judges = false;
                self.lost_pytest_host = true;
            }
            Input::NodeConfigured { worker, input } => {
                if let Some(answer) = self.asked.get_mut(worker) {
                    answer.get_or_insert_with(|| input.clone());
                }
            }
            Input::CrashHandled(answer) => {
                let question = self.questions.remove(&answer.request);
                self.verdict = question.map(|identity| (identity, answer.clone()));
            }
            Input::Received { message: WorkerMessage::HostWanted(wanted), .. } => {
                self.waiting.insert(wanted.worker);
            }
            Input::Received { link, message } if self.is_open(*link) => self.shared_input(message),
            _ => {}
        }
    }

    pub(crate) fn link_opened(&mut self, link: LinkId) {
        self.open_links.insert(link);
    }

    pub(crate) fn link_closed(&mut self, link: LinkId) {
        self.open_links.remove(&link);
    }

    pub(crate) fn is_open(&self, link: LinkId) -> bool {
        self.open_links.contains(&link)
    }

    /// The first of the workers that this one replaces, in mode `each`.
    pub(crate) fn lineage(&self, worker: WorkerId) -> Option<WorkerId> {
        let mut first = worker;
        while let Some(&predecessor) = self.predecessors.get(&first) {
            first = predecessor;
        }
        self.each.then_some(first)
    }

    /// The worker gave a test back. If that was false, the session need not believe it.
    pub(crate) fn given_back(&mut self, worker: WorkerId, identity: &Identity) {
        if self.holders.get(identity) == Some(&worker) {
            self.given_back.insert(identity.clone());
        }
    }

    pub(crate) fn output(&mut self, output: &Output, identities: impl Fn(WorkerId) -> Vec<Identity>) {
        assert!(self.summary.is_none(), "nothing comes after Finished: {output:?}");
        match output {
            Output::Launch { .. } | Output::Sync { .. } | Output::ReadFiles { .. } => {}
            Output::Answer { link, .. } => assert!(self.is_open(*link), "an answer on a closed link"),
            Output::Close { link, .. } => assert!(self.open_links.remove(link), "a closed link is closed"),
            Output::Send { link, message } => {
                assert!(self.is_open(*link), "{message:?} on a closed link");
                if matches!(message, CoordinatorMessage::Steal(_)) {
                    self.steals += 1;
                    let most = MOST_STEALS * (self.ends.len() + self.started.len() + 1);
                    assert!(self.steals <= most, "items are taken to and fro: {} steals", self.steals);
                }
                match message {
                    CoordinatorMessage::Run(run) => {
                        let identities = identities(run.worker);
                        for item in &run.items {
                            self.handed_out(run.worker, &identities[item.as_usize()]);
                        }
                    }
                    CoordinatorMessage::Configure(configure) => self.told_to_start(configure),
                    CoordinatorMessage::Answer(answer) if matches!(answer.reply, Reply::Terminal(_)) => {
                        let borrower = self.borrower.replace((answer.worker, true));
                        assert_eq!(
                            borrower,
                            Some((answer.worker, false)),
                            "it is not the turn of {}",
                            answer.worker
                        );
                    }
                    CoordinatorMessage::Answer(answer) => self.answered(answer),
                    CoordinatorMessage::Proceed(proceed) => self.let_go_on(proceed),
                    _ => {}
                }
            }
            Output::Report(event) => self.event(event),
            Output::FreeTerminal { worker } => assert_eq!(self.borrower, Some((*worker, false))),
            Output::StartPytestHost { .. } => {
                assert_eq!(self.presence, PytestHost::OnDemand, "the pytest host is started");
                assert!(!self.configured, "the pytest host has missed a part of the run");
                self.presence = PytestHost::Present;
            }
            Output::AskConfiguration { worker } => {
                // It may have been lost by an input that came between this and what led to it.
                assert!(self.presence == PytestHost::Present || self.lost_pytest_host);
                assert!(
                    self.started.contains(worker) && !self.down.contains(worker),
                    "{worker} is not there"
                );
                assert_eq!(self.asked.insert(*worker, None), None, "{worker} is asked about twice");
            }
            Output::Fetch { fetch, step } => self.fetch(*fetch, step),
            Output::Finished(summary) => {
                assert!(self.fetches.is_empty(), "files are still arriving");
                self.finished(summary);
            }
        }
    }

    fn fetch(&mut self, fetch: FetchId, step: &FetchStep) {
        match step {
            FetchStep::Begin { directory } => {
                assert_eq!(self.started, self.down, "files are fetched while workers are there");
                assert_eq!(self.fetches.insert(fetch, directory.clone()), None, "{fetch:?} begins twice");
            }
            FetchStep::Part(part) => {
                assert!(self.fetches.contains_key(&fetch), "{fetch:?} is not open");
                assert!(!part.path.starts_with('/') && !part.path.contains(".."), "{}", part.path);
            }
            FetchStep::End => assert!(self.fetches.remove(&fetch).is_some(), "{fetch:?} is not open"),
        }
    }

    fn shared_input(&mut self, message: &WorkerMessage) {
        let (worker, shared) = match message {
            WorkerMessage::Ask(Ask { worker, question: Question::Shared(shared) }) => {
                self.wanted.insert(*worker, shared.clone());
                return;
            }
            WorkerMessage::Made(Made { worker, key, .. }) => (worker, Shared::Value(key.clone())),
            WorkerMessage::Released(Released { worker, shared }) => (worker, shared.clone()),
            _ => return,
        };
        if self.sharers.get(&shared) == Some(worker) {
            self.sharers.remove(&shared);
            if matches!(message, WorkerMessage::Made(_)) {
                self.has_value = true;
                self.users.insert(*worker);
            }
        }
    }

    fn answered(&mut self, answer: &Answer) {
        match &answer.reply {
            Reply::Make | Reply::Locked => {
                let shared = self.wanted[&answer.worker].clone();
                let is_value = matches!(shared, Shared::Value(_));
                assert_eq!(answer.reply == Reply::Make, is_value, "{answer:?} to {shared:?}");
                assert!(!(is_value && self.has_value), "the value is made twice");
                // Whoever had it until now goes down with the same input, which is told later.
                self.passed_over.extend(self.sharers.insert(shared, answer.worker));
            }
            Reply::Value(_) => {
                assert!(self.has_value, "nobody has made the value");
                self.users.insert(answer.worker);
            }
            Reply::Last(last) => {
                self.users.remove(&answer.worker);
                let others: Vec<_> = self.users.difference(&self.down).collect();
                assert!(
                    last.is_empty() || self.has_value && others.is_empty(),
                    "{others:?} have the value too"
                );
                self.has_value &= last.is_empty();
            }
            Reply::Terminal(_) | Reply::Refused(_) => {}
        }
    }

    fn told_to_start(&mut self, configure: &Configure) {
        let worker = configure.worker;
        assert!(self.told_to_start.insert(worker), "{worker} is configured twice");
        let (hooks, full) = (configure.wants.hooks, configure.wants.full);
        if self.presence == PytestHost::Present {
            assert!(full && !hooks);
            assert_eq!(self.asked.get(&worker), Some(&Some(configure.input.clone())), "{worker}");
        } else {
            assert!(!full && configure.input.is_empty());
            assert_eq!(hooks, self.presence == PytestHost::OnDemand && !self.configured);
        }
    }

    fn let_go_on(&mut self, proceed: &Proceed) {
        let worker = proceed.worker;
        assert!(self.waiting.remove(&worker), "{worker} does not wait");
        assert_eq!(proceed.full, self.presence == PytestHost::Present);
        let answer = self.asked.get(&worker).cloned().unwrap_or_else(|| Some(BTreeMap::new()));
        assert_eq!(answer.as_ref(), Some(&proceed.input), "{worker}");
    }

    fn is_undecided(&self, identity: &Identity) -> bool {
        self.questions.values().any(|open| open == identity)
    }

    fn questioned(&mut self, request: u32, crash: &Crash) {
        assert!(self.judges && !crash.asked, "a question that nobody answers");
        let item = crash.item.expect("a question is about an item");
        let identity = self.identity(Some(crash.worker), item.item);
        let holder = self.holders.remove(&identity);
        assert_eq!(holder, Some(crash.worker), "{} had {identity:?} when it crashed", crash.worker);
        self.units.remove(&identity);
        assert_eq!(self.questions.insert(request, identity), None, "question {request} is asked twice");
    }

    pub(crate) fn awaits_retries(&self) -> bool {
        !self.retried.is_empty()
    }

    fn failed_and_runs_again(&mut self, attempt: &FailedAttempt) {
        let FailedAttempt { worker, item, retry, limit, failure } = attempt;
        let identity = self.identity(Some(*worker), *item);
        assert_eq!(self.ends.get(&identity), None, "{identity:?} is to run after its end");
        self.units.remove(&identity);
        match failure {
            Failure::Crash(crash) if crash.asked => {
                let verdict = self.verdict.take();
                let (judged, verdict) = verdict.expect("somebody was asked");
                assert!(judged == identity && !verdict.excused);
            }
            Failure::Crash(_) | Failure::Report(_) => {
                let holder = self.holders.remove(&identity);
                assert_eq!(holder, Some(*worker), "{worker} had {identity:?} when it failed");
            }
        }
        let before = self.retried.get(&identity).map_or(0, |(count, _)| *count);
        assert!(*retry == before + 1 && retry <= limit, "{identity:?}: retry {retry} of {limit}");
        self.retried.insert(identity, (*retry, *worker));
    }

    /// A test has its result; answers whether that is its last failure, since it could not run again.
    fn settled(&mut self, worker: WorkerId, item: ItemIndex, retries: u32, failed: bool) -> bool {
        let identity = self.identity(Some(worker), item);
        let (count, last) = self.retried.remove(&identity).unwrap_or((0, worker));
        let could_not = retries + 1 == count;
        assert!(retries == count || could_not, "{identity:?} failed {count} times, and not {retries}");
        self.flaky += u64::from(retries > 0 && !failed);
        if could_not {
            assert!(failed && last == worker);
            self.holders.remove(&identity);
        }
        could_not
    }

    fn crashed(&mut self, crash: &Crash) {
        let Some(item) = crash.item else {
            assert!(!crash.asked && !self.down.contains(&crash.worker));
            return;
        };
        if self.settled(crash.worker, item.item, crash.retries, true) {
            self.failed += 1;
            let identity = self.identity(Some(crash.worker), item.item);
            return self.ended(identity, End::Crashed);
        }
        if !crash.asked {
            assert!(!self.judges, "nobody was asked about {}", crash.worker);
            assert!(!self.down.contains(&crash.worker), "{} crashes after its end", crash.worker);
            self.failed += 1;
            return self.item_ended(Some(crash.worker), item.item, End::Crashed);
        }
        let identity = self.identity(Some(crash.worker), item.item);
        let excused = match self.verdict.take_if(|(judged, _)| *judged == identity) {
            Some((_, verdict)) => verdict.excused,
            None => {
                assert!(self.is_undecided(&identity), "nobody was asked about {identity:?}");
                self.questions.retain(|_, open| *open != identity);
                false
            }
        };
        self.failed += u64::from(!excused);
        self.ended(identity, End::Crashed);
    }

    fn handed_out(&mut self, worker: WorkerId, identity: &Identity) {
        assert!(!self.is_undecided(identity), "{identity:?} is handed out before its fate is known");
        assert!(!self.down.contains(&worker), "{worker} is down and is given {identity:?}");
        assert_eq!(self.ends.get(identity), None, "{identity:?} is handed out after its end");
        let given_back = self.given_back.remove(identity);
        let holder = self.holders.insert(identity.clone(), worker).filter(|_| !given_back);
        assert_eq!(holder, None, "{identity:?} is handed out to {worker} too");
        self.check_claims(worker, identity);
        self.check_unit(worker, identity);
    }

    /// Nobody else has what the test stays together with.
    fn check_unit(&self, worker: WorkerId, identity: &Identity) {
        let Some(unit) = self.units.get(identity) else { return };
        let held = self.holders.iter().filter(|(identity, _)| !self.given_back.contains(identity));
        for (other, &holder) in held {
            let is_apart = holder == worker || self.units.get(other) != Some(unit);
            assert!(is_apart, "{worker} gets {identity:?}, and {holder} has {other:?} of the same unit");
        }
    }

    /// Looks at what the tests claim that others have while this one is handed out. Those of one worker never run beside
    /// each other, so they claim what they claim once.
    fn check_claims(&self, worker: WorkerId, identity: &Identity) {
        if self.claims.is_empty() {
            return;
        }
        let held = self.holders.iter().filter(|(identity, _)| !self.given_back.contains(identity));
        let mut users: BTreeMap<&str, BTreeSet<WorkerId>> = BTreeMap::new();
        for (other, &holder) in held {
            let alone = [identity, other]
                .iter()
                .any(|one| self.claims.get(*one).is_some_and(|claims| claims.exclusive));
            assert!(holder == worker || !alone, "{worker} has {identity:?} and {holder} has {other:?}");
            for name in self.claims.get(other).iter().flat_map(|claims| &claims.resources) {
                users.entry(name).or_default().insert(holder);
            }
        }
        for (name, users) in users {
            assert!(users.len() <= self.limits[name] as usize, "{name} is used by {users:?}");
        }
    }

    fn event(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Configured(_) => {
                assert!(!self.configured, "configured comes once");
                self.configured = true;
            }
            RunEvent::WorkerStarting { worker, replaces, .. } => {
                assert!(self.started.insert(*worker), "{worker} starts twice");
                if let Some(replaced) = replaces {
                    assert!(self.down.contains(replaced), "{replaced} is replaced while it is there");
                    self.predecessors.insert(*worker, *replaced);
                }
            }
            RunEvent::WorkerReady { .. } => {
                assert!(self.configured, "the first thing told is the configuration")
            }
            RunEvent::WorkerCollecting { .. }
            | RunEvent::WorkerCollected { .. }
            | RunEvent::Unforkable { .. }
            | RunEvent::FilesCopied(_)
            | RunEvent::TakenBack { .. }
            | RunEvent::WorkerRecycled { .. }
            | RunEvent::CollectReport { .. } => {}
            RunEvent::Collected { worker, collection } => self.collected(*worker, collection),
            RunEvent::CollectionMismatch(_) => self.mismatches += 1,
            RunEvent::Scheduling { .. } => self.scheduling = true,
            RunEvent::ItemStarted { .. } => {}
            RunEvent::ItemRetried(attempt) => self.failed_and_runs_again(attempt),
            RunEvent::ItemFinished { worker, item, report, retries } => {
                let failed = report.class == OutcomeClass::Fail;
                self.failed += u64::from(failed);
                if self.settled(*worker, *item, *retries, failed) {
                    let identity = self.identity(Some(*worker), *item);
                    self.ended(identity, End::Finished);
                } else {
                    self.item_ended(Some(*worker), *item, End::Finished);
                }
            }
            RunEvent::CrashQuestion { request, crash } => self.questioned(*request, crash),
            RunEvent::Crashed(crash) => self.crashed(crash),
            RunEvent::WorkerDown { worker, .. } => {
                assert!(self.started.contains(worker), "{worker} ends before it starts");
                assert!(self.down.insert(*worker), "{worker} is down twice");
                self.holders.retain(|_, holder| holder != worker);
            }
            RunEvent::FilesFetched(fetched) => {
                assert_eq!(self.started, self.down, "files are fetched while workers are there");
                assert!(self.fetched.insert(fetched.into.clone()), "{} is told of twice", fetched.into);
            }
            RunEvent::UsageError { .. } => self.usage_errors += 1,
            RunEvent::Stopping(_) => {
                assert!(!self.stopping, "the run is stopped twice");
                self.stopping = true;
            }
            RunEvent::NotRun { worker, items, reason } => {
                assert!(!items.is_empty() && !reason.is_empty());
                for item in items {
                    self.item_ended(*worker, *item, End::NotRun);
                }
            }
            RunEvent::TerminalLent { worker } => {
                let borrower = self.borrower.replace((*worker, false));
                assert_eq!(borrower, None, "the terminal is lent twice");
            }
            RunEvent::TerminalBack { worker } => {
                let borrower = self.borrower.take();
                assert_eq!(borrower.map(|(borrower, _)| borrower), Some(*worker));
            }
            RunEvent::RestartsExhausted { .. }
            | RunEvent::Warning { .. }
            | RunEvent::Output { .. }
            | RunEvent::InternalError { .. }
            | RunEvent::HostLost { .. }
            | RunEvent::WorkersAwaited { .. }
            | RunEvent::WorkerUnlike { .. }
            | RunEvent::WorkerOutput { .. } => {}
        }
    }

    fn collected(&mut self, worker: Option<WorkerId>, collection: &Rc<Collection>) {
        assert_eq!(worker.is_some(), self.each, "collections are of workers in mode each only");
        let lineage = worker.and_then(|worker| self.lineage(worker));
        let ids = collection.items.iter().map(|item| item.node_id.clone());
        let previous = self.collections.insert(worker, identities(lineage, ids));
        assert_eq!(previous, None, "collected comes once");
    }

    fn identity(&self, worker: Option<WorkerId>, item: ItemIndex) -> Identity {
        let collection = &self.collections[&worker.filter(|_| self.each)];
        collection[item.as_usize()].clone()
    }

    fn item_ended(&mut self, worker: Option<WorkerId>, item: ItemIndex, end: End) {
        let identity = self.identity(worker, item);
        if let Some(worker) = worker.filter(|_| end != End::NotRun) {
            assert_eq!(
                self.holders.get(&identity),
                Some(&worker),
                "{worker} had {identity:?} when it ended: {end:?}"
            );
        }
        self.holders.remove(&identity);
        self.ended(identity, end);
    }

    fn ended(&mut self, identity: Identity, end: End) {
        assert!(!self.is_undecided(&identity), "{identity:?} ends before its fate is known: {end:?}");
        let previous = self.ends.insert(identity.clone(), end);
        assert_eq!(previous, None, "{identity:?} has a second end: {end:?}");
    }

    fn finished(&mut self, summary: &RunSummary) {
        let count = |end| self.ends.values().filter(|&&other| other == end).count() as u64;
        assert_eq!(summary.finished, count(End::Finished), "finished");
        assert_eq!(summary.crashed, count(End::Crashed), "crashed");
        assert_eq!(summary.not_run, count(End::NotRun), "not run");
        assert_eq!(summary.failed, self.failed, "failed");
        assert_eq!(summary.flaky, self.flaky, "flaky");
        assert!(!self.awaits_retries(), "no result: {:?}", self.retried);
        assert!(self.passed_over.is_subset(&self.down), "taken from {:?}", self.passed_over);
        let all: BTreeSet<&Identity> = self.collections.values().flatten().collect();
        assert_eq!(summary.collected, all.len() as u64, "collected");
        assert_eq!(summary.collected, self.ends.len() as u64, "every item has exactly one end");
        assert!(self.usage_errors <= 1 && self.mismatches <= 1, "told once");
        match &summary.end {
            RunEnd::Completed => {
                assert!(summary.not_run == 0 && !self.stopping);
                assert!(!self.lost_pytest_host, "plugins have missed a part of the run");
            }
            RunEnd::Stopped(_) => assert!(self.stopping, "a stop is told of"),
            RunEnd::Mismatch => assert_eq!((self.mismatches, summary.collected), (1, 0)),
            RunEnd::UsageError(_) => assert_eq!(self.usage_errors, 1),
            RunEnd::Plain(_) => assert_eq!(summary.collected, 0),
        }
        self.summary = Some(summary.clone());
    }
}
