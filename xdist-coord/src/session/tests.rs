//! Scenarios: what happens to a session, and what it answers. What holds for all runs is in `tests/simulation`.

use super::event::{CrashCause, FailedAttempt, Failure};
use super::input::{CloseCause, GarbledError, Stored};
use super::output::{FetchStep, SyncJob, SyncOrder};
use super::*;
use crate::scheduler::{Mode, Took};
use crate::sync::Source;
use crate::workers::HostId;
use crate::workers::spec::{HostSpec, WorkerSpec};
use std::collections::BTreeMap;
use std::time::Duration;
use xdist_proto::codec::{CoordinatorOpening, DecodeError};
use xdist_proto::fetch::{FEATURE_FETCH, FetchDone, Fetched, FileEnd};
use xdist_proto::handshake::{Hello, HostFacts, Implementation, Role};
use xdist_proto::message::{
    CollectReportEvent, Collected, Collecting, CollectionChunk, Configure, CrashItem, Down, EndCause,
    InternalError, ItemFinished, ItemStarted, Pong, Ready, RunOptions, Start, StopKind, StopRequested,
    Unscheduled, UsageError, Wants, WorkerMessage, WorkerOutput,
};
use xdist_proto::report::{CollectReport, FailureText, ItemReport, OutcomeClass, Phase};
use xdist_proto::version::VersionRange;
use xdist_proto::{Collection, FetchId, Item, ItemIndex, LeaseId, RunId, Value};

mod fetch;

mod joining;

mod pytest_host;

mod retries;

mod shared;

mod ssh;

mod sync;

mod terminal;

/// A session, its clock, and what it has said since that was last looked at.
struct Bench {
    session: Session,
    now: Instant,
    said: Vec<String>,
    /// The nonce of the last ping.
    nonce: u64,
    /// Whose link workers speak on.
    link: LinkId,
    /// Whether its hosts take copies of directories.
    takes_files: bool,
}

const LINK: LinkId = LinkId(0);

fn config(workers: Option<&str>) -> Config {
    Config {
        run: RunId("r".to_owned()),
        workers: workers.map(|text| WorkerSpec::parse_tx(text).unwrap()),
        mode: Some(Mode::Load),
        args: Vec::new(),
        python: Vec::new(),
        start: Start::Auto,
        place: Place::default(),
        wants: Wants::default(),
        joining: Joining::default(),
        pytest_host: PytestHost::Never,
        terminal: None,
        timeouts: Timeouts::default(),
    }
}

fn options() -> RunOptions {
    RunOptions { auto_workers: 1, ..RunOptions::default() }
}

impl Bench {
    fn new(config: Config) -> Self {
        #[expect(clippy::disallowed_methods, reason = "there is no other way to make an Instant")]
        let now = Instant::now();
        let session = Session::new(config, 1, now);
        let mut bench = Self { session, now, said: Vec::new(), nonce: 0, link: LINK, takes_files: false };
        bench.drain();
        bench
    }

    /// A local host that has said hello.
    fn connected(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.launch(0);
        bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
        bench.said.clear();
        bench
    }

    /// The same, with so many workers, which are ready.
    fn ready(workers: u32, options: &RunOptions) -> Self {
        let mut bench = Self::connected(config(Some(&format!("{workers}*popen"))));
        for worker in 0..workers {
            bench.tell_ready(worker, options.clone());
        }
        bench.said.clear();
        bench
    }

    /// The same, when they have agreed on these items.
    fn running(workers: u32, items: &str, options: &RunOptions) -> Self {
        let mut bench = Self::ready(workers, options);
        (0..workers).for_each(|worker| bench.collect(worker, items));
        bench.list(0, items);
        bench
    }

    fn input(&mut self, input: Input) {
        self.session.handle(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            if let Output::Send { message: CoordinatorMessage::Ping(ping), .. } = &output {
                self.nonce = ping.nonce;
            }
            self.said.extend(summarize(output));
        }
    }

    fn launch(&mut self, host: u32) {
        self.input(Input::Launched { host: HostId(host), link: LinkId(host) });
    }

    fn hello(&mut self, link: LinkId, versions: VersionRange, role: Role, slots: u32) {
        let mut features = BTreeMap::from([(FEATURE_FETCH.to_owned(), 7)]);
        features.extend(self.takes_files.then(|| ("sync".to_owned(), 1)));
        let hello = Hello {
            implementation: Implementation { name: "other".to_owned(), version: "9".to_owned() },
            versions,
            role,
            host: HostFacts::default(),
            slots,
            features,
            generation: 0,
            proof: Vec::new(),
        };
        self.input(Input::Opened { link, hello: Box::new(hello) });
    }

    /// What is told next comes over this link.
    fn on(&mut self, link: u32) -> &mut Self {
        self.link = LinkId(link);
        self
    }

    fn tell(&mut self, message: WorkerMessage) {
        self.input(Input::Received { link: self.link, message });
    }

    fn tell_ready(&mut self, worker: u32, options: RunOptions) {
        let ready = Ready { worker: WorkerId(worker), pid: 100 + worker, options, ..Ready::default() };
        self.tell(WorkerMessage::Ready(Box::new(ready)));
    }

    fn collect(&mut self, worker: u32, items: &str) {
        self.collect_from(worker, items, BTreeMap::new());
    }

    /// The same, with what is in the files.
    fn collect_from(&mut self, worker: u32, items: &str, files: BTreeMap<String, u64>) {
        let (worker, collection) = (WorkerId(worker), collection(items));
        self.tell(WorkerMessage::Collecting(Collecting { worker }));
        let count = u32::try_from(collection.items.len()).unwrap();
        self.tell(WorkerMessage::Collected(Collected {
            worker,
            digest: collection.digest(),
            count,
            deselected: 0,
            unforkable: None,
            files,
        }));
    }

    fn list(&mut self, worker: u32, items: &str) {
        let items = collection(items).items;
        let total = u32::try_from(items.len()).unwrap();
        let chunk = CollectionChunk { worker: WorkerId(worker), offset: 0, total, items };
        self.tell(WorkerMessage::Collection(chunk));
    }

    fn finish(&mut self, worker: u32, lease: u32, item: u32, class: OutcomeClass) {
        let report =
            ItemReport { class, start_us: 0, durations_us: [0; 3], phases: Vec::new(), full: Vec::new() };
        let (worker, lease, item) = (WorkerId(worker), LeaseId(lease), ItemIndex(item));
        self.tell(WorkerMessage::ItemFinished(ItemFinished { worker, lease, item, report }));
    }

    fn unscheduled(&mut self, worker: u32, request: u32, items: &[u32]) {
        let items = items.iter().copied().map(ItemIndex).collect();
        self.tell(WorkerMessage::Unscheduled(Unscheduled { worker: WorkerId(worker), request, items }));
    }

    fn down(&mut self, worker: u32, cause: EndCause, item: Option<(u32, u32)>) {
        let item = item.map(|(lease, item)| CrashItem {
            lease: LeaseId(lease),
            item: ItemIndex(item),
            phase: Phase::Call,
            running_ms: 7,
        });
        self.tell(WorkerMessage::Down(Down {
            worker: WorkerId(worker),
            cause,
            out_of_memory: false,
            item,
            report: None,
            stderr_tail: String::new(),
            stack: None,
            peak_rss_kib: 0,
            finished: 0,
        }));
    }

    fn end(&mut self, worker: u32) {
        let output = WorkerOutput { worker: WorkerId(worker), ..WorkerOutput::default() };
        self.tell(WorkerMessage::WorkerOutput(output));
        self.down(worker, EndCause::Exited(0), None);
    }

    fn stop(&mut self, worker: u32, kind: StopKind) {
        let (worker, reason, items) = (WorkerId(worker), "why".to_owned(), Vec::new());
        let stop = StopRequested { worker, kind, reason, exit_code: Some(7), items };
        self.tell(WorkerMessage::StopRequested(stop));
    }

    fn recycle(&mut self, worker: u32, items: &[u32]) {
        let (worker, kind, reason) = (WorkerId(worker), StopKind::Recycle, "why".to_owned());
        let items = items.iter().copied().map(ItemIndex).collect();
        let stop = StopRequested { worker, kind, reason, exit_code: None, items };
        self.tell(WorkerMessage::StopRequested(stop));
    }

    /// Lets this much time go by, and hands in every deadline on the way.
    fn wait(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(deadline) = self.session.next_deadline().filter(|&deadline| deadline <= until) {
            self.now = self.now.max(deadline);
            self.input(Input::DeadlineReached);
            assert!(
                self.session.next_deadline().is_none_or(|next| next > self.now),
                "a due deadline is consumed"
            );
        }
        self.now = until;
    }

    /// What was said since the last time is this.
    fn expect(&mut self, expected: &str) {
        let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(std::mem::take(&mut self.said), expected);
    }

    /// Among what was said since the last time is this.
    fn expect_among(&mut self, expected: &str) {
        let said = std::mem::take(&mut self.said);
        for line in expected.lines().map(str::trim).filter(|line| !line.is_empty()) {
            assert!(said.iter().any(|said| said == line), "{line:?} is not among {said:#?}");
        }
    }
}

fn collection(items: &str) -> Collection {
    Collection { items: items.split_whitespace().map(Item::new).collect() }
}

fn numbers(items: &[ItemIndex]) -> String {
    items.iter().map(|item| item.0.to_string()).collect::<Vec<_>>().join(" ")
}

/// An output in one line; what every run says is left out.
fn summarize(output: Output) -> Option<String> {
    Some(match output {
        Output::Launch { host, spec } => match spec {
            HostSpec::Local => format!("launch {}", host.0),
            HostSpec::Exec(command) => format!("launch {} {}", host.0, command.join(" ")),
            HostSpec::Ssh(ssh) => format!("launch {} ssh {}", host.0, ssh.words.join(" ")),
            HostSpec::Launcher(launcher) => format!("launch {} {launcher}", host.0),
            HostSpec::Joined(joined) => format!("launch {} joined {}", host.0, joined.name),
        },
        Output::Answer { message: CoordinatorOpening::Welcome(welcome), .. } => {
            format!(
                "welcome {}",
                welcome.workers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            )
        }
        Output::Answer { message: CoordinatorOpening::Refused(refused), .. } => {
            format!("refuse: {}", refused.text)
        }
        Output::Send { message, .. } => command(message)?,
        Output::Close { link, reason } => format!("close {} {reason:?}", link.0),
        Output::Report(event) => format!("* {}", told(event)?),
        Output::StartPytestHost { hooks } => format!("start the pytest host for {}", hooks.join(", ")),
        Output::ReadFiles { directory, paths } => format!("read in {directory}: {}", paths.join(" ")),
        Output::Sync { tree, order } => match order {
            SyncOrder::Begin { link, job } => {
                let SyncJob { base, project, source: Source { root, ignore, .. } } = *job;
                let base = base.unwrap_or_else(|| format!("its own for {project}"));
                let without = ignore.join(" ");
                format!("copy {tree} on {}: {} to {base} without {without:?}", link.0, root.path)
            }
            SyncOrder::Want(blobs) => format!("copy {tree}: {} blobs are wanted", blobs.len()),
            SyncOrder::Taken(chunks) => format!("copy {tree}: {chunks} were taken"),
            SyncOrder::Forget => format!("copy {tree} is over"),
        },
        Output::FreeTerminal { worker } => format!("free the terminal for {worker}"),
        Output::AskConfiguration { worker } => format!("ask about {worker}"),
        Output::Fetch { fetch, step } => match step {
            FetchStep::Begin { directory } => format!("fetch {} into {directory}", fetch.0),
            FetchStep::Part(part) => format!("fetch {}: {} from {}", fetch.0, part.path, part.offset),
            FetchStep::End => format!("fetch {} ends", fetch.0),
        },
        Output::Finished(summary) => format!(
            "finished {:?} {} = {} + {} + {}, {} failed{}",
            summary.end,
            summary.collected,
            summary.finished,
            summary.crashed,
            summary.not_run,
            summary.failed,
            if summary.flaky > 0 { format!(", {} flaky", summary.flaky) } else { String::new() }
        ),
    })
}

fn command(message: CoordinatorMessage) -> Option<String> {
    Some(match message {
        CoordinatorMessage::Configure(command) => {
            let hooks = if command.wants.hooks { ", hooks" } else { "" };
            let full = if command.wants.full { ", full" } else { "" };
            let Configure { worker, name, worker_count, input, .. } = command;
            format!("{worker} configure {name} of {worker_count}{}{hooks}{full}", with(&input))
        }
        CoordinatorMessage::Proceed(command) => {
            let full = if command.full { ", full" } else { "" };
            format!("{} proceed{}{full}", command.worker, with(&command.input))
        }
        CoordinatorMessage::Answer(command) => format!("{} answer {:?}", command.worker, command.reply),
        CoordinatorMessage::Suspend(command) => format!("{} suspend", command.worker),
        CoordinatorMessage::Resume(command) => format!("{} resume", command.worker),
        CoordinatorMessage::Dismissed(dismissed) => format!("dismissed: {}", dismissed.text),
        CoordinatorMessage::Collect(_)
        | CoordinatorMessage::Ping(_)
        | CoordinatorMessage::SyncBegin(_)
        | CoordinatorMessage::SyncData(_) => return None,
        CoordinatorMessage::Fetch(request) => {
            format!("fetch {} from {}: {}", request.request.0, request.directory, request.patterns.join(" "))
        }
        CoordinatorMessage::SendCollection(command) => format!("{} send_collection", command.worker),
        CoordinatorMessage::Run(command) => {
            format!("{} run {}: {}", command.worker, command.lease.0, numbers(&command.items))
        }
        CoordinatorMessage::Steal(command) => {
            format!("{} steal {}: {}", command.worker, command.request, numbers(&command.items))
        }
        CoordinatorMessage::Cancel(command) => format!("{} cancel {}", command.worker, command.request),
        CoordinatorMessage::Park(command) => format!("{} park", command.worker),
        CoordinatorMessage::Drain(command) => format!("{} drain", command.worker),
        CoordinatorMessage::Interrupt(command) => format!("{} interrupt", command.worker),
        CoordinatorMessage::Shutdown(command) => {
            format!("{} shutdown {} ms", command.worker, command.grace_ms)
        }
    })
}

/// The names of what a worker is configured with.
fn with(input: &BTreeMap<String, Value>) -> String {
    input.keys().map(|name| format!(" with {name}")).collect()
}

fn after(retries: u32) -> String {
    if retries > 0 { format!(", after {retries} failures") } else { String::new() }
}

fn told(event: RunEvent) -> Option<String> {
    Some(match event {
        RunEvent::WorkerReady { .. } | RunEvent::WorkerCollecting { .. } | RunEvent::WorkerOutput { .. } => {
            return None;
        }
        RunEvent::Configured(configured) => {
            format!("configured {} workers, {}", configured.workers, configured.mode.name())
        }
        RunEvent::WorkerStarting { worker, replaces, .. } => match replaces {
            Some(replaced) => format!("{worker} starts for {replaced}"),
            None => format!("{worker} starts"),
        },
        RunEvent::TerminalLent { worker } => format!("{worker} has the terminal"),
        RunEvent::TerminalBack { worker } => format!("{worker} has given the terminal back"),
        RunEvent::TakenBack { worker, items } => format!("{worker} gave back {}", numbers(&items)),
        RunEvent::WorkerCollected { worker, items, .. } => format!("{worker} collected {items}"),
        RunEvent::FilesCopied(copied) => {
            let xdist_proto::frontend::FilesCopied {
                host, name, path, files, written, removed, bytes, ..
            } = *copied;
            format!("{host} has {name} in {path}: {written} of {files}, -{removed}, {bytes} bytes")
        }
        RunEvent::Unforkable { worker, reason } => format!("{worker} unforkable: {reason}"),
        RunEvent::CollectReport { worker, report } => {
            format!("{worker} could not collect {}", report.node_id)
        }
        RunEvent::Collected { worker, collection } => match worker {
            Some(worker) => format!("{} items of {worker}", collection.items.len()),
            None => format!("{} items", collection.items.len()),
        },
        RunEvent::CollectionMismatch(mismatch) => format!("mismatch {mismatch:?}"),
        RunEvent::Scheduling { mode, warning: None } => format!("scheduling {}", mode.name()),
        RunEvent::Scheduling { mode, warning: Some(warning) } => {
            format!("scheduling {}, but {warning}", mode.name())
        }
        RunEvent::ItemStarted { worker, item, slow, .. } => match slow {
            Some(time) => format!("{worker} is at {} for more than {} s", item.0, time.as_secs()),
            None => format!("{worker} is at {}", item.0),
        },
        RunEvent::ItemFinished { worker, item, report, retries } => {
            format!("{worker} finished {} {:?}{}", item.0, report.class, after(retries))
        }
        RunEvent::ItemRetried(attempt) => {
            let FailedAttempt { worker, item, retry, limit, failure } = *attempt;
            let how = match failure {
                Failure::Report(report) => format!("finished {} {:?}", item.0, report.class),
                Failure::Crash(crash) => {
                    assert_eq!((crash.worker, crash.item.unwrap().item), (worker, item));
                    format!("crashed in {}{}", item.0, if crash.asked { ", as was asked about" } else { "" })
                }
            };
            format!("{worker} {how}, retry {retry} of {limit}")
        }
        RunEvent::CrashQuestion { request, crash } => {
            assert!(!crash.asked, "nobody has been asked before");
            format!("question {request}: {} crashed in {}", crash.worker, crash.item.unwrap().item.0)
        }
        RunEvent::Crashed(crash) => match crash.item {
            Some(item) => {
                let asked = if crash.asked { ", as was asked about" } else { "" };
                let after = after(crash.retries);
                format!(
                    "{} crashed in {} {:?}: {}{asked}{after}",
                    crash.worker, item.item.0, item.phase, crash.cause
                )
            }
            None => format!("{} crashed: {}", crash.worker, crash.cause),
        },
        RunEvent::WorkerRecycled { worker, reason } => format!("{worker} recycled: {reason}"),
        RunEvent::WorkerDown { worker, error } => match error {
            Some(error) => format!("{worker} down: {error}"),
            None => format!("{worker} down"),
        },
        RunEvent::RestartsExhausted { worker, limit } => format!("{worker} not replaced, limit {limit}"),
        RunEvent::Warning { worker, .. } => format!("{worker} warning"),
        RunEvent::Output { worker, .. } => format!("{worker} output"),
        RunEvent::InternalError { worker, text } => format!("{worker} internal error: {text}"),
        RunEvent::UsageError { worker, text } => format!("{worker} usage error: {text}"),
        RunEvent::HostLost { host, error } => format!("lost {host}: {error}"),
        RunEvent::WorkerUnlike { worker, text } => format!("{worker} differs: {text}"),
        RunEvent::WorkersAwaited { patience } => format!("awaits others for {} s", patience.as_secs_f64()),
        RunEvent::FilesFetched(fetched) => fetched.lines().join("; "),
        RunEvent::Stopping(reason) => format!("stopping: {reason}"),
        RunEvent::NotRun { items, reason, .. } => format!("not run {}: {reason}", numbers(&items)),
    })
}

#[test]
fn a_run_from_launch_to_summary() {
    let mut bench = Bench::new(config(None));
    bench.launch(0);
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    bench.expect("* gw0 starts\nlaunch 0\nwelcome gw0\ngw0 configure gw0 of 0");
    bench.tell_ready(0, RunOptions { workers: Some(2), ..options() });
    bench.expect("* configured 2 workers, load\n* gw1 starts\ngw1 configure gw1 of 2");
    bench.tell_ready(1, options());
    bench.collect(1, "a b c");
    bench.expect("* gw1 collected 3\ngw1 send_collection");
    bench.collect(0, "a b c");
    bench.list(1, "a b c");
    bench.expect(
        "* gw0 collected 3
         * 3 items
         * scheduling load
         gw0 run 0: 0
         gw1 run 1: 1
         gw0 run 2: 2
         gw1 park",
    );
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.finish(1, 1, 1, OutcomeClass::Skip);
    bench.finish(0, 2, 2, OutcomeClass::Fail);
    bench.expect(
        "* gw0 finished 0 Pass
         gw0 park
         * gw1 finished 1 Skip
         * gw0 finished 2 Fail
         gw0 drain
         gw1 drain",
    );
    bench.end(0);
    bench.end(1);
    bench.expect("* gw0 down\n* gw1 down\nclose 0 Done\nfinished Completed 3 = 3 + 0 + 0, 1 failed");
    assert_eq!(bench.session.next_deadline(), None);
}

#[test]
fn workers_that_do_not_fit_the_options_are_exchanged() {
    let mut bench = Bench::connected(config(None));
    bench.tell_ready(
        0,
        RunOptions { tx: vec!["popen//chdir=/x".to_owned(), "exec=run it".to_owned()], ..options() },
    );
    bench.expect(
        "* configured 2 workers, load
         gw0 shutdown 2500 ms
         * gw1 starts
         gw1 configure gw1 of 2
         * gw2 starts
         launch 1 run it",
    );
    bench.down(0, EndCause::Killed("told to".to_owned()), None);
    bench.expect("* gw0 down");
}

#[test]
fn an_invocation_for_plain_pytest_ends_at_once() {
    let mut bench = Bench::connected(config(None));
    bench.tell_ready(0, RunOptions { plain: Some("--collect-only".to_owned()), ..options() });
    bench.down(0, EndCause::Killed("told to".to_owned()), None);
    bench.expect(
        "gw0 shutdown 2500 ms
         * gw0 down
         close 0 Done
         finished Plain(\"--collect-only\") 0 = 0 + 0 + 0, 0 failed",
    );
}

#[test]
fn options_that_make_no_sense_are_a_usage_error() {
    let mut bench = Bench::connected(config(None));
    bench.tell_ready(0, RunOptions { tx: vec!["via=x".to_owned()], ..options() });
    bench.end(0);
    bench.expect(
        "* gw0 usage error: ERROR: --tx \"via=x\": exactly one of popen, ssh=[USER@]HOST, exec=COMMAND and slurm=N is needed
         gw0 shutdown 2500 ms
         * gw0 down
         close 0 Done
         finished UsageError(4) 0 = 0 + 0 + 0, 0 failed",
    );
}

#[test]
fn a_usage_error_is_told_once() {
    let mut bench = Bench::connected(config(Some("2*popen")));
    for worker in 0..2 {
        let error =
            UsageError { worker: WorkerId(worker), text: "ERROR: no".to_owned(), exit_code: 4, unfit: false };
        bench.tell(WorkerMessage::UsageError(error));
        bench.down(worker, EndCause::Exited(4), None);
    }
    bench.expect(
        "* gw0 usage error: ERROR: no
         gw0 shutdown 2500 ms
         gw1 shutdown 2500 ms
         * gw0 down
         * gw1 down
         close 0 Done
         finished UsageError(4) 0 = 0 + 0 + 0, 0 failed",
    );
}

#[test]
fn peers_that_cannot_be_used_are_refused_with_a_reason() {
    let newer = VersionRange { min: (7, 0).into(), max: (7, 3).into() };
    for (versions, role, slots, reason) in [
        (newer, Role::Worker, 1, "other 9 speaks protocol version"),
        (VersionRange::SUPPORTED, Role::Frontend, 0, "this link is for a worker host"),
        (VersionRange::SUPPORTED, Role::Worker, 0, "a worker host needs at least one slot"),
        (VersionRange::SUPPORTED, Role::Other, 1, "this coordinator does not know the role"),
    ] {
        let mut bench = Bench::new(config(None));
        bench.launch(0);
        bench.said.clear();
        bench.hello(LINK, versions, role, slots);
        assert!(bench.said[0].starts_with(&format!("refuse: {reason}")), "{:?}", bench.said);
        assert_eq!(bench.said[1], "close 0 Refused");
        assert!(bench.said.last().unwrap().starts_with("finished Stopped(NoWorkers("), "{:?}", bench.said);
    }
}

#[test]
fn a_stranger_is_refused() {
    let mut bench = Bench::new(config(None));
    bench.said.clear();
    bench.hello(LinkId(5), VersionRange::SUPPORTED, Role::Worker, 1);
    bench.expect("refuse: this run takes only workers that it started itself\nclose 5 Refused");
}

#[test]
fn a_host_that_does_not_come_up_is_given_up() {
    let mut bench = Bench::new(config(None));
    bench.said.clear();
    bench.wait(30);
    bench.expect(
        "* lost the local worker host: it did not connect within 30 s
         * gw0 crashed: host lost: it did not connect within 30 s
         * gw0 down: host lost: it did not connect within 30 s
         * stopping: no worker is left (gw0: host lost: it did not connect within 30 s)
         finished Stopped(NoWorkers(\"no worker is left (gw0: host lost: it did not connect within 30 s)\")) 0 = 0 + 0 + 0, 0 failed",
    );
}

#[test]
fn deaths_before_collection_are_told_once_and_not_made_up_for() {
    let mut bench = Bench::ready(3, &options());
    for worker in 0..3 {
        bench.down(worker, EndCause::Exited(1), None);
    }
    bench.expect(
        "* gw0 crashed: exit code 1
         * gw0 down: exit code 1
         * gw1 down: exit code 1
         * gw2 down: exit code 1
         * stopping: no worker is left (gw0: exit code 1)
         close 0 Done
         finished Stopped(NoWorkers(\"no worker is left (gw0: exit code 1)\")) 0 = 0 + 0 + 0, 0 failed",
    );
}

#[test]
fn a_crash_is_blamed_on_the_item_that_ran_and_the_rest_goes_on() {
    let mut bench = Bench::running(1, "a b c", &options());
    bench.said.clear();
    bench.down(0, EndCause::Signaled(11), Some((0, 0)));
    bench.expect(
        "* gw0 crashed in 0 Some(Call): signal 11 (SIGSEGV)
         * gw0 down: signal 11 (SIGSEGV)
         * gw1 starts for gw0
         gw1 configure gw1 of 1",
    );
    bench.tell_ready(1, options());
    bench.collect(1, "a b c");
    bench.expect("* gw1 collected 3\ngw1 run 1: 1 2");
    bench.finish(1, 1, 1, OutcomeClass::Pass);
    bench.finish(1, 1, 2, OutcomeClass::Pass);
    bench.end(1);
    bench.expect_among("finished Completed 3 = 2 + 1 + 0, 1 failed");
}

#[test]
fn a_crash_in_the_last_item_is_told_as_any_other_and_keeps_nobody() {
    let mut bench = Bench::running(1, "a", &options());
    bench.said.clear();
    bench.down(0, EndCause::Signaled(11), Some((0, 0)));
    // pytest-xdist 3.8 starts a replacement here too, and its tests pin the line that says so.
    bench.expect(
        "* gw0 crashed in 0 Some(Call): signal 11 (SIGSEGV)
         * gw0 down: signal 11 (SIGSEGV)
         * gw1 starts for gw0
         gw1 configure gw1 of 1
         gw1 shutdown 2500 ms",
    );
}

#[test]
fn a_worker_that_dies_between_items_blames_none() {
    let mut bench = Bench::running(2, "a b c d", &options());
    bench.said.clear();
    bench.down(0, EndCause::Exited(3), None);
    bench.expect(
        "* gw0 crashed: exit code 3
         * gw0 down: exit code 3
         * gw2 starts for gw0
         gw2 configure gw2 of 2",
    );
    bench.finish(1, 1, 2, OutcomeClass::Pass);
    bench.expect("* gw1 finished 2 Pass\ngw1 run 2: 0");
}

#[test]
fn a_lost_host_takes_its_first_items_with_it() {
    let mut bench = Bench::running(2, "a b c d", &options());
    bench.said.clear();
    bench.input(Input::Closed { link: LINK, cause: CloseCause::EndOfStream });
    bench.expect(
        "* lost the local worker host: it closed the link
         * gw0 crashed in 0 None: host lost: it closed the link
         * gw0 down: host lost: it closed the link
         * gw2 starts for gw0
         launch 1
         * gw1 crashed in 2 None: host lost: it closed the link
         * gw1 down: host lost: it closed the link
         * gw3 starts for gw1",
    );
}

#[test]
fn no_more_is_restarted_than_the_limit_allows() {
    let mut bench = Bench::running(1, "a b", &RunOptions { max_restarts: Some(0), ..options() });
    bench.said.clear();
    bench.down(0, EndCause::Signaled(9), Some((0, 0)));
    bench.expect(
        "* gw0 crashed in 0 Some(Call): signal 9 (SIGKILL)
         * gw0 down: signal 9 (SIGKILL)
         * gw0 not replaced, limit 0
         * stopping: more than 0 workers crashed
         * not run 1: more than 0 workers crashed
         close 0 Done
         finished Stopped(RestartsExhausted(0)) 2 = 0 + 1 + 1, 1 failed",
    );
}

#[test]
fn a_worker_that_was_ended_for_a_test_is_replaced_whatever_the_limit() {
    let mut bench = Bench::running(1, "a b c", &RunOptions { max_restarts: Some(0), ..options() });
    bench.said.clear();
    bench.down(0, EndCause::TimedOut(2500), Some((0, 0)));
    bench.expect(
        "* gw0 crashed in 0 Some(Call): timeout: ran for more than 2.5 s
         * gw0 down: timeout: ran for more than 2.5 s
         * gw1 starts for gw0
         gw1 configure gw1 of 1",
    );
    bench.tell_ready(1, options());
    bench.collect(1, "a b c");
    bench.said.clear();
    // Without a test to blame it is a crash like any other.
    bench.down(1, EndCause::TimedOut(2500), None);
    bench.expect_among("* gw1 not replaced, limit 0");
}

#[test]
fn a_worker_that_has_done_its_share_is_replaced_whatever_the_limit() {
    let options = RunOptions { max_restarts: Some(0), ..options() };
    let mut bench = Bench::running(1, "a b c d e f", &options);
    bench.expect_among("gw0 run 0: 0 1");
    bench.recycle(0, &[1]);
    bench.expect("* gw0 recycled: why\ngw0 drain");
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.expect("* gw0 finished 0 Pass");
    bench.end(0);
    bench.expect("* gw0 down\n* gw1 starts for gw0\ngw1 configure gw1 of 1");
    bench.tell_ready(1, options);
    bench.collect(1, "a b c d e f");
    bench.expect("* gw1 collected 6\ngw1 run 1: 1 2");
}

#[test]
fn what_a_recycled_worker_was_given_meanwhile_it_gives_up_too() {
    let mut bench = Bench::running(1, "a b c d", &options());
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.expect_among("gw0 run 1: 2");
    bench.recycle(0, &[1]);
    bench.recycle(0, &[2]);
    bench.expect("* gw0 recycled: why\ngw0 drain");
    bench.end(0);
    bench.expect_among("* gw1 starts for gw0");
}

#[test]
fn what_a_recycled_worker_gives_up_goes_to_others_at_once() {
    let mut bench = Bench::running(2, "a b c d e f g h", &options());
    bench.said.clear();
    bench.finish(1, 1, 2, OutcomeClass::Pass);
    bench.said.clear();
    bench.recycle(0, &[1]);
    bench.finish(1, 1, 3, OutcomeClass::Pass);
    bench.expect("* gw0 recycled: why\ngw0 drain\n* gw1 finished 3 Pass\ngw1 run 3: 1");
    // What it has begun, it finishes.
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.end(0);
    bench.expect("* gw0 finished 0 Pass\n* gw0 down\n* gw2 starts for gw0\ngw2 configure gw2 of 2");
}

#[test]
fn nobody_takes_the_place_of_a_recycled_worker_if_all_that_is_left_is_running() {
    let mut bench = Bench::running(2, "a b c", &options());
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.said.clear();
    bench.recycle(0, &[]);
    bench.finish(0, 2, 2, OutcomeClass::Pass);
    bench.end(0);
    bench.expect("* gw0 recycled: why\ngw0 drain\n* gw0 finished 2 Pass\n* gw0 down");
    bench.finish(1, 1, 1, OutcomeClass::Pass);
    bench.expect("* gw1 finished 1 Pass\ngw1 drain");
}

#[test]
fn a_worker_that_dies_before_anyone_has_collected_is_replaced_once_somebody_has() {
    let mut bench = Bench::ready(2, &RunOptions { max_restarts: Some(1), ..options() });
    bench.down(0, EndCause::Signaled(9), None);
    bench.expect_among("* gw0 down: signal 9 (SIGKILL)");
    bench.collect(1, "a b");
    bench.expect_among("* gw2 starts for gw0");
    bench.tell_ready(2, options());
    bench.collect(2, "a b");
    bench.list(1, "a b");
    bench.said.clear();
    bench.down(2, EndCause::Signaled(9), None);
    bench.expect_among("* gw2 not replaced, limit 1");
}

#[test]
fn a_worker_that_has_died_before_the_plan_had_no_place_for_it_is_not_replaced() {
    let mut bench = Bench::connected(config(Some("2*popen")));
    bench.down(1, EndCause::Signaled(9), None);
    bench.tell_ready(0, RunOptions { max_workers: Some(1), ..options() });
    bench.collect(0, "a b");
    assert!(!bench.said.iter().any(|said| said.contains("starts for")), "{:#?}", bench.said);
}

#[test]
fn a_recycled_worker_that_crashes_has_crashed() {
    let mut bench = Bench::running(1, "a b c", &RunOptions { max_restarts: Some(1), ..options() });
    bench.recycle(0, &[1]);
    bench.said.clear();
    bench.down(0, EndCause::Signaled(11), Some((0, 0)));
    bench.expect(
        "* gw0 crashed in 0 Some(Call): signal 11 (SIGSEGV)
         * gw0 down: signal 11 (SIGSEGV)
         * gw1 starts for gw0
         gw1 configure gw1 of 1",
    );
    bench.tell_ready(1, options());
    bench.collect(1, "a b c");
    bench.said.clear();
    bench.down(1, EndCause::Signaled(11), Some((1, 1)));
    bench.expect_among("* gw1 not replaced, limit 1");
}

#[test]
fn a_recycled_worker_that_does_not_end_is_killed_and_replaced() {
    let mut bench = Bench::running(1, "a b", &options());
    bench.recycle(0, &[1]);
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.said.clear();
    for _ in 0..12 {
        bench.wait(5);
        bench.tell(WorkerMessage::Pong(Pong { nonce: bench.nonce }));
    }
    bench.expect("gw0 shutdown 0 ms");
    bench.down(0, EndCause::Killed("told to".to_owned()), None);
    bench.expect_among("* gw1 starts for gw0");
}

#[test]
fn a_worker_cannot_give_up_what_it_does_not_have() {
    let mut bench = Bench::running(1, "a b", &options());
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.said.clear();
    bench.recycle(0, &[0]);
    bench.expect_among(
        "* lost the local worker host: it does not keep to the protocol: gw0 gave back item 0, which it did not have or was not asked for",
    );
}

#[test]
fn what_takes_long_is_told_with_what_it_exceeds() {
    let mut bench = Bench::running(1, "a b", &RunOptions { slow_after_ms: 60_000, ..options() });
    bench.said.clear();
    for running_ms in [500, 60_010, 250_000] {
        let (worker, lease, item) = (WorkerId(0), LeaseId(0), ItemIndex(0));
        let started = ItemStarted { worker, lease, item, phase: Phase::Call, running_ms };
        bench.tell(WorkerMessage::ItemStarted(started));
    }
    bench.expect("* gw0 is at 0\n* gw0 is at 0 for more than 60 s\n* gw0 is at 0 for more than 240 s");
}

#[test]
fn a_test_that_took_too_long_is_a_failure() {
    let mut bench = Bench::running(2, "a b c d", &RunOptions { max_fail: Some(1), ..options() });
    bench.said.clear();
    bench.down(0, EndCause::TimedOut(1000), Some((0, 0)));
    bench.expect(
        "* gw0 crashed in 0 Some(Call): timeout: ran for more than 1 s
         * gw0 down: timeout: ran for more than 1 s
         * stopping: stopping after 1 failures
         gw1 cancel 0
         gw1 drain",
    );
}

#[test]
fn enough_failures_empty_all_queues_at_once() {
    let mut bench = Bench::running(2, "a b c d e f", &RunOptions { max_fail: Some(1), ..options() });
    bench.said.clear();
    bench.finish(0, 0, 0, OutcomeClass::Fail);
    bench.expect(
        "* gw0 finished 0 Fail
         * stopping: stopping after 1 failures
         gw0 cancel 0
         gw0 drain
         gw1 cancel 1
         gw1 drain",
    );
    bench.unscheduled(0, 0, &[1]);
    bench.unscheduled(1, 1, &[3]);
    bench.finish(1, 1, 2, OutcomeClass::Pass);
    bench.end(0);
    bench.end(1);
    bench.expect(
        "* gw1 finished 2 Pass
         * gw0 down
         * gw1 down
         * not run 1 3 4 5: stopping after 1 failures
         close 0 Done
         finished Stopped(Failures(1)) 6 = 2 + 0 + 4, 1 failed",
    );
}

#[test]
fn a_crash_counts_as_a_failure() {
    let mut bench = Bench::running(2, "a b c d", &RunOptions { max_fail: Some(1), ..options() });
    bench.said.clear();
    bench.down(0, EndCause::Signaled(6), Some((0, 0)));
    bench.expect(
        "* gw0 crashed in 0 Some(Call): signal 6 (SIGABRT)
         * gw0 down: signal 6 (SIGABRT)
         * stopping: stopping after 1 failures
         gw1 cancel 0
         gw1 drain",
    );
}

#[test]
fn broken_files_count_once_however_many_workers_meet_them() {
    let mut bench = Bench::ready(2, &RunOptions { max_fail: Some(2), ..options() });
    for (worker, node_id) in [(0, "a.py"), (1, "a.py"), (1, "b.py")] {
        let report = CollectReport {
            node_id: node_id.to_owned(),
            class: OutcomeClass::Fail,
            failure: Some(FailureText { text: "SyntaxError".to_owned(), ..FailureText::default() }),
            skip: None,
            sections: Vec::new(),
            full: Vec::new(),
        };
        let worker = WorkerId(worker);
        bench.tell(WorkerMessage::CollectReport(CollectReportEvent { worker, report }));
    }
    bench.expect(
        "* gw0 could not collect a.py
         * gw1 could not collect b.py
         * stopping: stopping after 2 failures
         gw0 drain
         gw1 drain",
    );
}

#[test]
fn sessions_can_ask_to_stop() {
    for (kind, reason) in [
        (StopKind::ShouldStop, "why"),
        (StopKind::ShouldFail, "why"),
        (StopKind::Exit, "pytest.exit: why"),
        (StopKind::Interrupt, "KeyboardInterrupt on gw0"),
    ] {
        let mut bench = Bench::running(1, "a b", &options());
        bench.said.clear();
        bench.stop(0, kind);
        bench.end(0);
        bench.expect_among(&format!("* stopping: {reason}\n* gw0 down\n* not run 0 1: {reason}"));
    }
}

#[test]
fn an_internal_error_stops_the_run_and_is_no_crash() {
    let mut bench = Bench::running(1, "a", &options());
    bench.said.clear();
    let error = InternalError { worker: WorkerId(0), text: "KeyError".to_owned() };
    bench.tell(WorkerMessage::InternalError(error));
    bench.down(0, EndCause::Exited(3), None);
    bench.expect(
        "* gw0 internal error: KeyError
         * stopping: internal error
         gw0 cancel 0
         gw0 drain
         * gw0 down
         * not run 0: internal error
         close 0 Done
         finished Stopped(InternalError) 1 = 0 + 0 + 1, 0 failed",
    );
}

#[test]
fn an_interrupt_lets_tests_tear_down_and_a_second_one_does_not() {
    let mut bench = Bench::running(2, "a b", &options());
    bench.said.clear();
    bench.input(Input::InterruptRequested);
    bench.expect("* stopping: interrupted\ngw0 interrupt\ngw1 interrupt");
    bench.end(0);
    bench.wait(14);
    bench.expect("* gw0 down");
    bench.input(Input::InterruptRequested);
    bench.expect_among("finished Stopped(Interrupted) 2 = 0 + 0 + 2, 0 failed");
}

#[test]
fn items_that_were_cut_off_are_not_run() {
    let mut bench = Bench::running(1, "a b", &options());
    bench.said.clear();
    bench.input(Input::InterruptRequested);
    bench.down(0, EndCause::Signaled(2), Some((0, 0)));
    bench.expect(
        "* stopping: interrupted
         gw0 interrupt
         * gw0 down: signal 2 (SIGINT)
         * not run 1: interrupted
         * not run 0: interrupted
         close 0 Done
         finished Stopped(Interrupted) 2 = 0 + 0 + 2, 0 failed",
    );
}

#[test]
fn a_worker_that_does_not_end_is_killed_and_then_its_host_is_closed() {
    let mut bench = Bench::running(1, "a", &options());
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.said.clear();
    for _ in 0..12 {
        bench.wait(5);
        bench.tell(WorkerMessage::Pong(Pong { nonce: bench.nonce }));
    }
    bench.expect("gw0 shutdown 0 ms");
    bench.wait(5);
    bench.expect_among(
        "close 0 Silent
         * gw0 down: it did not end within 60 s and was killed
         finished Completed 1 = 1 + 0 + 0, 0 failed",
    );
}

#[test]
fn a_silent_host_is_given_up() {
    let mut bench = Bench::running(1, "a", &RunOptions { max_restarts: Some(0), ..options() });
    bench.said.clear();
    bench.wait(14);
    bench.expect("");
    bench.wait(1);
    bench.expect_among("close 0 Silent\n* gw0 crashed in 0 None: host lost: it has not answered for 15 s");
}

#[test]
fn a_host_is_not_blamed_for_the_time_that_the_coordinator_slept() {
    let mut bench = Bench::running(1, "a", &options());
    bench.said.clear();
    bench.wait(5);
    bench.now += Duration::from_secs(3600);
    bench.input(Input::DeadlineReached);
    bench.expect("");
    bench.tell(WorkerMessage::Pong(Pong { nonce: bench.nonce }));
    bench.wait(4);
    bench.expect("");
}

#[test]
fn time_only_moves_forward() {
    let mut bench = Bench::running(1, "a", &options());
    let deadline = bench.session.next_deadline();
    bench.session.handle(Input::DeadlineReached, bench.now - Duration::from_secs(1000));
    assert_eq!(bench.session.next_deadline(), deadline);
}

#[test]
fn a_reordered_collection_is_matched_by_node_id() {
    let mut bench = Bench::ready(2, &options());
    bench.collect(0, "a b c d");
    bench.collect(1, "d c b a");
    bench.list(0, "a b c d");
    bench.said.clear();
    bench.list(1, "d c b a");
    bench.expect("* 4 items\n* scheduling load\ngw0 run 0: 0 1\ngw1 run 1: 1 0");
    bench.finish(1, 1, 1, OutcomeClass::Pass);
    bench.expect_among("* gw1 finished 2 Pass");
}

#[test]
fn different_collections_are_told_once_and_nothing_runs() {
    let mut bench = Bench::ready(2, &options());
    bench.collect(0, "a b");
    bench.collect(1, "a c");
    bench.list(0, "a b");
    bench.said.clear();
    bench.list(1, "a c");
    bench.expect(
        "* mismatch Mismatch { reference: WorkerId(0), differing: [Difference { worker: WorkerId(1), missing: [\"b\"], extra: [\"c\"] }] }
         gw0 drain
         gw1 drain",
    );
    bench.end(0);
    bench.end(1);
    bench.expect_among("finished Mismatch 0 = 0 + 0 + 0, 0 failed");
}

#[test]
fn a_replacement_that_collects_other_tests_is_not_used() {
    let mut bench = Bench::running(1, "a b", &options());
    bench.down(0, EndCause::Exited(1), Some((0, 0)));
    bench.tell_ready(1, options());
    bench.collect(1, "a x");
    bench.said.clear();
    bench.list(1, "a x");
    let why = "it collected other tests than the run: 1 missing, such as b; 1 more, such as x";
    bench.expect_among("gw1 shutdown 2500 ms");
    bench.down(1, EndCause::Killed("told to".to_owned()), None);
    bench.expect_among(&format!("* gw1 down: {why}"));
}

#[test]
fn each_worker_may_collect_what_it_likes() {
    let mut bench = Bench::new(Config { mode: Some(Mode::Each), ..config(Some("2*popen")) });
    bench.launch(0);
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    (0..2).for_each(|worker| bench.tell_ready(worker, options()));
    bench.collect(0, "a b");
    bench.collect(1, "c");
    bench.list(0, "a b");
    bench.said.clear();
    bench.list(1, "c");
    bench.expect(
        "* scheduling each
         * 2 items of gw0
         gw0 run 0: 0 1
         * 1 items of gw1
         gw1 run 1: 0
         gw1 park",
    );
}

#[test]
fn an_empty_collection_is_complete() {
    let mut bench = Bench::ready(1, &options());
    bench.collect(0, "");
    bench.end(0);
    bench.expect_among("* 0 items\ngw0 drain\nfinished Completed 0 = 0 + 0 + 0, 0 failed");
}

#[test]
fn long_tests_are_known_from_earlier_runs_by_name() {
    let history = |long: &str| {
        let took = |id: &str| Took { call_us: if id == long { 9000 } else { 10 }, fixtures_us: 5 };
        History::new(["a", "b", "c", "d", "e"].map(|id| (History::key(id), took(id))).to_vec())
    };
    let mut bench = Bench::ready(2, &options());
    bench.input(Input::History(history("d")));
    let items = "a b c d e f";
    (0..2).for_each(|worker| bench.collect(worker, items));
    bench.list(0, items);
    bench.expect_among("gw0 run 0: 3\ngw1 run 1: 0 1");
    // Too late for this run.
    bench.input(Input::History(history("f")));
    bench.expect("");
}

#[test]
fn the_ramp_holds_later_workers_back() {
    let mut bench = Bench::running(2, "a b c d e f", &RunOptions { ramp_ms: 4000, ..options() });
    bench.expect_among("gw0 run 0: 0 1");
    bench.wait(1);
    bench.expect("");
    bench.wait(1);
    bench.expect("gw1 run 1: 2 3");
}

#[test]
fn late_reports_are_ignored_and_false_ones_end_the_link() {
    let mut bench = Bench::running(1, "a b", &options());
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.said.clear();
    bench.finish(0, 0, 0, OutcomeClass::Fail);
    bench.expect("");
    bench.finish(0, 77, 1, OutcomeClass::Pass);
    bench.expect_among("close 0 Protocol(\"lease 77 was not given to gw0\")");
}

#[test]
fn breaches_of_the_protocol_end_the_link_with_a_reason() {
    let check = |breach: fn(&mut Bench), reason: &str| {
        let mut bench = Bench::running(1, "a b c", &options());
        bench.said.clear();
        breach(&mut bench);
        bench.expect_among(&format!("close 0 Protocol({reason:?})"));
    };
    check(|bench| bench.tell_ready(5, options()), "gw5 is no worker of this host, or it is down");
    check(|bench| bench.tell_ready(0, options()), "gw0 sent ready while it was running items");
    check(|bench| bench.collect(0, "a"), "gw0 sent collecting while it was running items");
    check(|bench| bench.list(0, "a"), "gw0 sent collection while it was running items");
    check(|bench| bench.finish(0, 0, 9, OutcomeClass::Pass), "gw0 has no item 9");
    check(|bench| bench.unscheduled(0, 3, &[]), "gw0 answered request 3, which was not made");
    check(
        |bench| bench.unscheduled(0, 3, &[1, 1]),
        "gw0 gave back item 1, which it did not have or was not asked for",
    );
    check(
        |bench| bench.down(0, EndCause::Exited(1), Some((0, 9))),
        "gw0 is down in the middle of item 9, which it did not have",
    );
    check(|bench| bench.tell(WorkerMessage::Pong(Pong { nonce: 4 })), "pong 4 answers no ping");
    check(|bench| bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1), "hello came twice");
    check(
        |bench| {
            bench.input(Input::Garbled { link: LINK, error: GarbledError::Decode(DecodeError::NotAMessage) })
        },
        "not a message: expected a map with one entry",
    );
}

#[test]
fn a_worker_that_ends_by_itself_leaves_its_items_to_others() {
    let mut bench = Bench::running(2, "a b c d", &options());
    bench.said.clear();
    bench.end(0);
    bench.expect("* gw0 down");
    bench.finish(1, 1, 2, OutcomeClass::Pass);
    bench.expect("* gw1 finished 2 Pass\ngw1 run 2: 0");
}

#[test]
fn causes_read_well() {
    let text = |cause| CrashCause::Process(cause).to_string();
    assert_eq!(text(EndCause::Signaled(64)), "signal 64");
    assert_eq!(text(EndCause::NotStarted("no such file".to_owned())), "not started: no such file");
    assert_eq!(text(EndCause::Killed("it was silent".to_owned())), "killed: it was silent");
}
