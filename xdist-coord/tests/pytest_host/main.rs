//! The real server, with real processes: a pytest host that lags behind, that ends as it should, or that does not.
//!
//! This program is its own worker host: [`worker_host`] is one if it is started as such.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]
#![allow(clippy::disallowed_methods, reason = "the peers of the server are threads and processes")]

mod peer;

use peer::Peer;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use xdist_coord::launch::{LINK_FD, Launcher};
use xdist_coord::scheduler::Mode;
use xdist_coord::server::{self, Observer, Outcome, PytestHostSource};
use xdist_coord::session::event::{RunEnd, RunEvent, StopReason};
use xdist_coord::session::{Config, Place, PytestHost, Timeouts};
use xdist_coord::workers::spec::{HostSpec, WorkerSpec};
use xdist_proto::frontend::{FEATURE_CONFIGURE_NODE, FrontendCommand, FrontendMessage, NodeConfigured};
use xdist_proto::handshake::Role;
use xdist_proto::message::{
    Collected, Collecting, CollectionChunk, CoordinatorMessage, Down, EndCause, ItemFinished, OutputEvent,
    Ready, RunOptions, Start, Stream, Wants, WorkerMessage, WorkerOutput,
};
use xdist_proto::report::ItemReport;
use xdist_proto::{Collection, Item, RunId, WorkerId};

/// Set where this program is started as a worker host.
const WORKER_HOST_VARIABLE: &str = "XDIST_TEST_WORKER_HOST";

const ITEMS: u32 = 300;

/// What every item of the suite writes.
const OUTPUT_BYTES: usize = 60 << 10;

/// Writes down what it sees, and says when the last worker is gone.
#[derive(Default)]
struct Watcher {
    seen: Vec<RunEvent>,
    worker_down: Option<Sender<()>>,
    handed_over: bool,
}

impl Observer for Watcher {
    fn event(&mut self, event: &RunEvent, _now: Instant) {
        self.seen.push(event.clone());
        if matches!(event, RunEvent::WorkerDown { .. })
            && let Some(sender) = &self.worker_down
        {
            sender.send(()).unwrap();
        }
    }

    fn handed_over(&mut self) {
        self.handed_over = true;
    }
}

impl Watcher {
    /// How the pytest host was lost.
    fn loss(&self) -> &str {
        for event in &self.seen {
            if let RunEvent::HostLost { host, error } = event
                && host == "the pytest host"
            {
                return error;
            }
        }
        panic!("the pytest host is not lost");
    }
}

fn run(worker_host: Vec<String>, pytest_host: PytestHostSource<'_>, watcher: &mut Watcher) -> Outcome {
    let spec = WorkerSpec { host: HostSpec::Exec(worker_host), ..WorkerSpec::default() };
    let config = Config {
        run: RunId("r".to_owned()),
        workers: Some(vec![spec]),
        mode: Some(Mode::Load),
        args: Vec::new(),
        python: Vec::new(),
        start: Start::Spawn,
        place: Place::default(),
        wants: Wants::default(),
        joining: xdist_coord::session::Joining::default(),
        pytest_host: PytestHost::Present,
        terminal: None,
        timeouts: Timeouts::default(),
    };
    let launcher = Launcher {
        host_program: "unused".into(),
        host_args: Vec::new(),
        ssh_args: Vec::new(),
        launch_args: Vec::new(),
        slurm_args: Vec::new(),
        gate_args: Vec::new(),
        gate_here: Vec::new(),
        gate_elsewhere: Vec::new(),
    };
    server::run(config, 1, &launcher, pytest_host, watcher).unwrap()
}

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).into()
}

/// A process that has its link and never says a word.
fn silent() -> Vec<String> {
    shell(&format!("exec cat <&{LINK_FD} >/dev/null"))
}

fn this_program_as_worker_host() -> Vec<String> {
    // The shell puts the link where it can be reached without unsafe code.
    let script = format!("{WORKER_HOST_VARIABLE}=1 exec \"$@\" <&{LINK_FD} >/dev/null");
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let mut words = shell(&script);
    words.extend(["sh", &program, "--exact", "worker_host", "--nocapture"].map(str::to_owned));
    words
}

/// Not a test, but what the tests start: a worker host whose items all pass, and write something.
#[test]
fn worker_host() {
    if std::env::var_os(WORKER_HOST_VARIABLE).is_none() {
        return;
    }
    let link = rustix::stdio::stdin().try_clone_to_owned().unwrap();
    let mut peer = Peer::open(UnixStream::from(link), Role::Worker, &[]);
    let collection = Collection { items: (0..ITEMS).map(|at| Item::new(format!("a.py::t{at}"))).collect() };
    while let Some(command) = peer.receive::<CoordinatorMessage>() {
        match command {
            CoordinatorMessage::Configure(configure) => {
                assert_eq!(configure.input.keys().collect::<Vec<_>>(), ["answer"]);
                let options = RunOptions { auto_workers: 1, ..RunOptions::default() };
                let ready = Ready { worker: configure.worker, options, ..Ready::default() };
                peer.send(&WorkerMessage::Ready(Box::new(ready)));
            }
            CoordinatorMessage::Collect(collect) => {
                let (worker, digest) = (collect.worker, collection.digest());
                peer.send(&WorkerMessage::Collecting(Collecting { worker }));
                let collected = Collected {
                    worker,
                    digest,
                    count: ITEMS,
                    deselected: 0,
                    unforkable: None,
                    files: std::collections::BTreeMap::new(),
                };
                peer.send(&WorkerMessage::Collected(collected));
            }
            CoordinatorMessage::SendCollection(command) => {
                let items = collection.items.clone();
                let chunk = CollectionChunk { worker: command.worker, offset: 0, total: ITEMS, items };
                peer.send(&WorkerMessage::Collection(chunk));
            }
            CoordinatorMessage::Run(run) => {
                let worker = run.worker;
                for item in run.items {
                    let mut data = item.0.to_be_bytes().to_vec();
                    data.resize(OUTPUT_BYTES, b'.');
                    peer.send(&WorkerMessage::Output(OutputEvent { worker, stream: Stream::Stdout, data }));
                    let (lease, report) = (run.lease, ItemReport::default());
                    peer.send(&WorkerMessage::ItemFinished(ItemFinished { worker, lease, item, report }));
                }
            }
            CoordinatorMessage::Drain(drain) => {
                let worker = drain.worker;
                peer.send(&WorkerMessage::WorkerOutput(WorkerOutput { worker, ..WorkerOutput::default() }));
                peer.send(&WorkerMessage::Down(down(worker)));
            }
            CoordinatorMessage::Park(_) | CoordinatorMessage::Ping(_) | CoordinatorMessage::Fetch(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn down(worker: WorkerId) -> Down {
    Down {
        worker,
        cause: EndCause::Exited(0),
        out_of_memory: false,
        item: None,
        report: None,
        stderr_tail: String::new(),
        stack: None,
        peak_rss_kib: 0,
        finished: ITEMS,
    }
}

/// Answers what has to be answered, and reads no further before the workers are gone; then hears everything.
fn lagging_pytest_host(link: UnixStream, workers_gone: &Receiver<()>) -> Vec<FrontendMessage> {
    let mut peer = Peer::open(link, Role::Frontend, &[FEATURE_CONFIGURE_NODE]);
    let mut heard = Vec::new();
    while let Some(message) = peer.receive::<FrontendMessage>() {
        if let FrontendMessage::ConfigureNode(question) = &message {
            let input = [("answer".to_owned(), 42.into())].into();
            peer.send(&FrontendCommand::NodeConfigured(NodeConfigured { worker: question.worker, input }));
            workers_gone.recv().unwrap();
        }
        heard.push(message);
    }
    heard
}

#[test]
fn a_pytest_host_that_lags_behind_holds_nobody_up_and_hears_everything_in_order() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (sender, receiver) = channel();
    let host = std::thread::spawn(move || lagging_pytest_host(theirs, &receiver));
    let mut watcher = Watcher { worker_down: Some(sender), ..Watcher::default() };
    let outcome = run(this_program_as_worker_host(), PytestHostSource::Link(ours), &mut watcher);
    assert_eq!(outcome.summary.end, RunEnd::Completed);
    assert_eq!(outcome.summary.finished, u64::from(ITEMS));
    assert!(outcome.pytest_host.is_none(), "it is none of our processes");
    assert!(watcher.handed_over);
    let heard = host.join().unwrap();
    let mut outputs = Vec::new();
    let mut results = Vec::new();
    for message in &heard {
        match message {
            FrontendMessage::Output(output) => {
                outputs.push(u32::from_be_bytes(output.data[..4].try_into().unwrap()));
                assert_eq!(output.data.len(), OUTPUT_BYTES);
            }
            FrontendMessage::ItemResult(result) => results.push(result.item.0),
            _ => {}
        }
    }
    assert_eq!(outputs.len(), ITEMS as usize);
    // An item's output comes before its result.
    assert_eq!(outputs, results);
    let mut kinds: Vec<String> = heard.iter().map(kind).collect();
    kinds.dedup();
    kinds.retain(|kind| !["Output", "ItemResult"].contains(&kind.as_str()));
    let expected = "WorkerStarting ConfigureNode RunConfigured WorkerReady WorkerCollected Items Scheduling \
                    NodeOutput WorkerDown Finished";
    assert_eq!(kinds.join(" "), expected);
}

/// The name of the message's variant.
fn kind(message: &FrontendMessage) -> String {
    let text = format!("{message:?}");
    text.split('(').next().unwrap().to_owned()
}

/// What a peer does with its link.
type Behavior = fn(UnixStream);

#[test]
fn whoever_is_no_pytest_host_ends_the_run_and_it_is_said_why() {
    let closed = "it closed the link before the run was over";
    let cases: [(Behavior, &str); 4] = [
        (|link| drop(Peer::greet(link, Role::Worker, &[]).rest()), "this link is for a frontend"),
        (|link| Peer::raw(link).write(b"HTTP/1.1 200 OK\r\n"), "it does not keep to the protocol: "),
        (drop, closed),
        (|link| drop(Peer::open(link, Role::Frontend, &[])), closed),
    ];
    for (peer, reason) in cases {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = std::thread::spawn(move || peer(theirs));
        let mut watcher = Watcher::default();
        let outcome = run(silent(), PytestHostSource::Link(ours), &mut watcher);
        peer.join().unwrap();
        assert!(watcher.loss().starts_with(reason), "{:?} instead of {reason:?}", watcher.loss());
        assert_eq!(outcome.summary.end, RunEnd::Stopped(StopReason::PytestHostLost));
        assert!(outcome.pytest_host.is_none());
    }
}

/// A run with a pytest host that this script is: how it ended, the exit code of the script, and what was said of it.
fn run_with_script(script: &str) -> (RunEnd, Option<i32>, String) {
    let command = || {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Ok(command)
    };
    let mut watcher = Watcher::default();
    let outcome = run(silent(), PytestHostSource::Command(&command), &mut watcher);
    let code = outcome.pytest_host.and_then(|status| status.code());
    (outcome.summary.end, code, watcher.loss().to_owned())
}

#[test]
fn a_pytest_host_that_dies_before_it_says_hello_ends_the_run() {
    let lost = RunEnd::Stopped(StopReason::PytestHostLost);
    let closed = "it closed the link before the run was over; its process ended with exit status: ";
    // A conftest that fails only there.
    assert_eq!(run_with_script("exit 4"), (lost.clone(), Some(4), format!("{closed}4")));
    // It had nothing to complain of, but it is gone.
    assert_eq!(run_with_script("exit 0"), (lost.clone(), None, format!("{closed}0")));
    // Something that it has started has the link, until that is closed.
    let (end, code, reason) = run_with_script(&format!("cat <&{LINK_FD} >/dev/null & exit 3"));
    assert_eq!((end, code), (lost, Some(3)));
    assert!(
        reason.starts_with("its process is gone, and something that it started holds its link"),
        "{reason}"
    );
}

#[test]
fn a_pytest_host_that_cannot_be_started_ends_the_run() {
    let lost = RunEnd::Stopped(StopReason::PytestHostLost);
    for (command, reason) in [
        (Ok("/no/such/program"), "cannot start /no/such/program: No such file or directory"),
        (Err("there is no room"), "there is no room"),
    ] {
        let command = || command.map(Command::new).map_err(str::to_owned);
        let mut watcher = Watcher::default();
        let outcome = run(silent(), PytestHostSource::Command(&command), &mut watcher);
        assert!(watcher.loss().contains(reason), "{}", watcher.loss());
        assert_eq!(outcome.summary.end, lost);
        assert!(!watcher.handed_over);
    }
}
