//! The messages after the handshake. Each names its worker; `docs/protocol.md` gives their order.
//!
//! On the wire a message is a map with one entry, `{kind: {field: value}}` ([`crate::codec`]). Unknown fields are
//! skipped. An unknown kind is skipped if its name begins with `~`, and otherwise ends the link.

use crate::fetch::{Fetch, FetchDone, Fetched};
use crate::ids::{CollectionDigest, ItemIndex, LeaseId, WorkerId};
use crate::item::Item;
use crate::report::{CollectReport, ItemReport, Phase, WarningRecord};
use crate::sync::{Files, SyncBegin, SyncData, SyncEnd, SyncFailed, SyncTaken, SyncWant};
use crate::value::{self, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A command: coordinator to host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum CoordinatorMessage {
    /// Start the worker's test process.
    #[serde(rename = "configure")]
    Configure(Configure),
    /// Go on after `host_wanted`.
    #[serde(rename = "proceed")]
    Proceed(Proceed),
    /// Collect.
    #[serde(rename = "collect")]
    Collect(Collect),
    /// Send the list of items.
    #[serde(rename = "send_collection")]
    SendCollection(SendCollection),
    /// The answer to `ask`.
    #[serde(rename = "answer")]
    Answer(Answer),
    /// Begin no further item until `~resume`.
    #[serde(rename = "~suspend")]
    Suspend(Suspend),
    /// Go on after `~suspend`.
    #[serde(rename = "~resume")]
    Resume(Resume),
    /// Append items to the queue.
    #[serde(rename = "run")]
    Run(Run),
    /// Give items back, all or none.
    #[serde(rename = "steal")]
    Steal(Steal),
    /// Give the whole queue back now.
    #[serde(rename = "cancel")]
    Cancel(Cancel),
    /// No successor is known for the last queued item.
    #[serde(rename = "park")]
    Park(Park),
    /// Finish the queue, then end the session.
    #[serde(rename = "drain")]
    Drain(Drain),
    /// Interrupt the running test as Ctrl-C does, then end the session.
    #[serde(rename = "interrupt")]
    Interrupt(Interrupt),
    /// End the worker's process now.
    #[serde(rename = "shutdown")]
    Shutdown(Shutdown),
    /// Make a directory the same as one here.
    #[serde(rename = "sync_begin")]
    SyncBegin(SyncBegin),
    /// Contents for that.
    #[serde(rename = "sync_data")]
    SyncData(SyncData),
    /// Say that you are alive.
    #[serde(rename = "ping")]
    Ping(Ping),
    /// Send files.
    #[serde(rename = "fetch")]
    Fetch(Fetch),
    /// Tell whoever looks at this host that it is of no use.
    #[serde(rename = "~dismissed")]
    Dismissed(Dismissed),
}

/// An event: host to coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum WorkerMessage {
    /// Plugins have something to do on the coordinator's side.
    #[serde(rename = "host_wanted")]
    HostWanted(HostWanted),
    /// The test process is configured.
    #[serde(rename = "ready")]
    Ready(Box<Ready>),
    /// Collection begins.
    #[serde(rename = "collecting")]
    Collecting(Collecting),
    /// A collector failed or was skipped.
    #[serde(rename = "collect_report")]
    CollectReport(CollectReportEvent),
    /// Collection is over.
    #[serde(rename = "collected")]
    Collected(Collected),
    /// A part of the list of items.
    #[serde(rename = "collection")]
    Collection(CollectionChunk),
    /// The test process waits for an answer.
    #[serde(rename = "ask")]
    Ask(Ask),
    /// The test process waits no more, and wants an answer now.
    #[serde(rename = "ask_withdrawn")]
    AskWithdrawn(AskWithdrawn),
    /// The test process gives the terminal back.
    #[serde(rename = "terminal_returned")]
    TerminalReturned(TerminalReturned),
    /// The test process has made a value for all workers.
    #[serde(rename = "made")]
    Made(Made),
    /// The test process gives back what is shared with other workers.
    #[serde(rename = "released")]
    Released(Released),
    /// An item has been running for a while.
    #[serde(rename = "item_started")]
    ItemStarted(ItemStarted),
    /// An item is finished.
    #[serde(rename = "item_finished")]
    ItemFinished(ItemFinished),
    /// The answer to `steal` and `cancel`.
    #[serde(rename = "unscheduled")]
    Unscheduled(Unscheduled),
    /// The session wants to run nothing more (`-x` within the worker, `pytest.exit`, an interrupt in a test).
    #[serde(rename = "stop_requested")]
    StopRequested(StopRequested),
    /// A Python warning.
    #[serde(rename = "warning")]
    Warning(WarningEvent),
    /// Raw output of the test process.
    #[serde(rename = "output")]
    Output(OutputEvent),
    /// The test process could not go on because of an error outside any test.
    #[serde(rename = "internal_error")]
    InternalError(InternalError),
    /// The arguments or the configuration are wrong.
    #[serde(rename = "usage_error")]
    UsageError(UsageError),
    /// The session has ended in good order.
    #[serde(rename = "worker_output")]
    WorkerOutput(WorkerOutput),
    /// The test process is gone. Nothing follows for this worker.
    #[serde(rename = "down")]
    Down(Down),
    /// Contents are missing.
    #[serde(rename = "sync_want")]
    SyncWant(SyncWant),
    /// Contents were taken.
    #[serde(rename = "sync_taken")]
    SyncTaken(SyncTaken),
    /// A directory is the same as the coordinator's.
    #[serde(rename = "sync_end")]
    SyncEnd(SyncEnd),
    /// A directory cannot be made so.
    #[serde(rename = "sync_failed")]
    SyncFailed(SyncFailed),
    /// The answer to `ping`.
    #[serde(rename = "pong")]
    Pong(Pong),
    /// A part of a file.
    #[serde(rename = "fetched")]
    Fetched(Fetched),
    /// No more files follow.
    #[serde(rename = "fetch_done")]
    FetchDone(FetchDone),
}

/// Starts the worker's test process. Answered by `ready`, `usage_error`, `internal_error` or `down`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Configure {
    /// The worker, new to the host.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// What people and plugins call it (`PYTEST_XDIST_WORKER`): `gw0`, or the `id=` of its specification.
    #[serde(rename = "name")]
    pub name: String,
    /// How many workers the run began with; 0 when the first worker's options decide.
    #[serde(rename = "worker_count", default)]
    pub worker_count: u32,
    /// The run, unless the worker's own options name it otherwise.
    #[serde(rename = "run")]
    pub run: String,
    /// The arguments as the user gave them, without the command's own name.
    #[serde(rename = "args", default)]
    pub args: Vec<String>,
    /// The command that starts the interpreter; empty for the host's own default.
    #[serde(rename = "python", default, skip_serializing_if = "Vec::is_empty")]
    pub python: Vec<String>,
    /// The directory to start in; absent for the host's own.
    #[serde(rename = "chdir", default, skip_serializing_if = "Option::is_none")]
    pub chdir: Option<String>,
    /// Environment variables to add.
    #[serde(rename = "env", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What to add to the test process's niceness; negative for a higher priority.
    #[serde(rename = "nice", default, skip_serializing_if = "is_zero")]
    pub nice: i32,
    /// Further entries of `config.workerinput`.
    #[serde(
        rename = "input",
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        serialize_with = "value::map"
    )]
    #[cfg_attr(feature = "arbitrary", arbitrary(with = value::any::map))]
    pub input: BTreeMap<String, Value>,
    /// What the coordinator wants to be told.
    #[serde(rename = "wants", default)]
    pub wants: Wants,
    /// How long to wait before the first test (`--ramp`), in milliseconds.
    #[serde(rename = "ramp_delay_ms", default)]
    pub ramp_delay_ms: u64,
    /// How the host may start the test process.
    #[serde(rename = "start", default)]
    pub start: Start,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(number: &i32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(wish: &bool) -> bool {
    !*wish
}

/// How test processes come up (`--start`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Start {
    /// By a fork of one that has collected where that makes no difference, otherwise each by itself.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// By a fork wherever the system has one.
    #[serde(rename = "fork")]
    Fork,
    /// Each by itself.
    #[serde(rename = "spawn")]
    Spawn,
}

/// What the coordinator wants to be told beyond the results; everything optional costs time.
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own, with a name on the wire")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Wants {
    /// Send `item_started` for an item that has run for this long, in milliseconds.
    #[serde(rename = "started_after_ms", default)]
    pub started_after_ms: u64,
    /// Send captured output of passed tests too.
    #[serde(rename = "passed_output", default)]
    pub passed_output: bool,
    /// Tell where each item is defined (`file` and `line` of [`Item`]).
    #[serde(rename = "locations", default)]
    pub locations: bool,
    /// Send `host_wanted`, and wait for `proceed`, if plugins have something to do on the coordinator's side.
    #[serde(rename = "hooks", default)]
    pub hooks: bool,
    /// Send everything in full that plugins on the coordinator's side may look at: `full` of reports and warnings,
    /// `keywords` of items, what passed tests wrote.
    #[serde(rename = "full", default)]
    pub full: bool,
    /// The width of the terminal in columns, for rules and wrapped text; 0 if unknown.
    #[serde(rename = "width", default)]
    pub width: u16,
    /// Whether a debugger can be lent a terminal, on request (`ask`).
    #[serde(rename = "debugger", default)]
    pub debugger: bool,
    /// Tell what is in the files that were collected (`files` of [`Collected`]), for a comparison with other machines.
    #[serde(rename = "files", default, skip_serializing_if = "is_false")]
    pub files: bool,
    /// Whether output goes to a terminal, which decides `--color=auto`.
    #[serde(rename = "terminal", default)]
    pub terminal: bool,
}

/// Lets the worker that sent `host_wanted` go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Proceed {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Further entries of `config.workerinput`.
    #[serde(
        rename = "input",
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        serialize_with = "value::map"
    )]
    #[cfg_attr(feature = "arbitrary", arbitrary(with = value::any::map))]
    pub input: BTreeMap<String, Value>,
    /// As in [`Wants`]; from here on.
    #[serde(rename = "full", default)]
    pub full: bool,
}

/// What a test process waits to hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Question {
    /// That it has the terminal for itself: a debugger is about to talk to a person.
    #[serde(rename = "terminal")]
    Terminal,
    /// That it has what is shared by all workers of the run.
    #[serde(rename = "shared")]
    Shared(Shared),
    /// Which values nobody else has: its session ends.
    #[serde(rename = "leaving")]
    Leaving,
}

/// What all workers of a run share. Names are the tests' own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Shared {
    /// A value that one worker makes and all others get.
    #[serde(rename = "value")]
    Value(String),
    /// A lock that one worker has at a time.
    #[serde(rename = "lock")]
    Lock(String),
}

/// The test process waits for an `answer`; the host does not count the time as the running item's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Ask {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// What it waits to hear.
    #[serde(rename = "question")]
    pub question: Question,
}

/// What a test process waited to hear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Reply {
    /// The terminal is its own until `terminal_returned`; this is its path.
    #[serde(rename = "terminal")]
    Terminal(String),
    /// The value that it asked for.
    #[serde(rename = "value")]
    Value(
        #[serde(serialize_with = "value::one")]
        #[cfg_attr(feature = "arbitrary", arbitrary(with = value::any::one))]
        Value,
    ),
    /// Nobody has made the value that it asked for: it is to do so, and to send `made` or `released`.
    #[serde(rename = "make")]
    Make,
    /// The lock is its own until `released`.
    #[serde(rename = "locked")]
    Locked,
    /// The names of the values that nobody else has, and nobody will get any more.
    #[serde(rename = "last")]
    Last(Vec<String>),
    /// It cannot have what it asked for; the text says why, and what to do.
    #[serde(rename = "refused")]
    Refused(String),
}

/// The answer to `ask`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Answer {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The answer.
    #[serde(rename = "reply")]
    pub reply: Reply,
}

/// Holds the worker back from beginning further items, since another one has the terminal. Its queue can be changed
/// meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Suspend {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// Ends what `~suspend` began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Resume {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// The test process waits no more: something has interrupted it. The `answer` comes at once then, with what it asked for
/// if that was on its way, and otherwise with a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct AskWithdrawn {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// The test process has made the value that it was told to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Made {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The value's name.
    #[serde(rename = "key")]
    pub key: String,
    /// The value.
    #[serde(rename = "value", serialize_with = "value::one")]
    #[cfg_attr(feature = "arbitrary", arbitrary(with = value::any::one))]
    pub value: Value,
}

/// The test process has a lock no more, or could not make a value that it was told to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Released {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// What somebody else may have or make now.
    #[serde(rename = "shared")]
    pub shared: Shared,
}

/// The test process has given the terminal back that it had asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct TerminalReturned {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// Begins collection. May be sent together with `configure`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Collect {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// Asks for the list behind a digest. Answered by `collection` chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SendCollection {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// Appends items to the worker's queue, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Run {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The assignment; later messages about these items name it.
    #[serde(rename = "lease")]
    pub lease: LeaseId,
    /// The items, in the worker's own collection.
    #[serde(rename = "items")]
    pub items: Vec<ItemIndex>,
}

/// Asks for items back. All are returned, or none if one of them has begun. Answered by one `unscheduled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Steal {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Comes back in the answer.
    #[serde(rename = "request")]
    pub request: u32,
    /// The items wanted.
    #[serde(rename = "items")]
    pub items: Vec<ItemIndex>,
}

/// Takes the whole queue back; the running item goes on. Answered by one `unscheduled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Cancel {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Comes back in the answer.
    #[serde(rename = "request")]
    pub request: u32,
}

/// The last item of the queue has no successor for now: tear everything down after it, and wait. A later `run` starts
/// afresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Park {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// Finishes the queue and ends the session. Answered by `worker_output` and `down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Drain {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// Drops the queue, interrupts the running test (its teardown runs), and ends the session. Answered by
/// `worker_output` and `down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Interrupt {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// Ends the worker's process whatever it is doing. Answered by `down`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Shutdown {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// How long the process may take to end by itself before it is killed, in milliseconds; 0 kills at once.
    #[serde(rename = "grace_ms", default)]
    pub grace_ms: u64,
}

/// Asks the host for a sign of life. Answered by `pong`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Ping {
    /// Comes back in the answer.
    #[serde(rename = "nonce")]
    pub nonce: u64,
}

/// The run has no use for the host. Those who look at it see nothing of what the run tells people, so it tells them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Dismissed {
    /// Why, for people.
    #[serde(rename = "text")]
    pub text: String,
}

/// Plugins or conftests of the worker implement hooks that are called on the coordinator's side. Sent before `ready` if
/// `wants.hooks` says so; the worker waits for `proceed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct HostWanted {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The hooks, each with the plugin that implements it, for people: `pytest_testnodedown (conftest.py)`.
    #[serde(rename = "hooks", default)]
    pub hooks: Vec<String>,
}

/// The test process is configured and has read its options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Ready {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Process id of the test process.
    #[serde(rename = "pid", default)]
    pub pid: u32,
    /// The interpreter's path, or what stands for it.
    #[serde(rename = "executable", default)]
    pub executable: String,
    /// The interpreter's version, `[3, 13, 0]`; empty if there is none.
    #[serde(rename = "python", default)]
    pub python: Vec<u32>,
    /// `sys.version` in one line, as `-v` shows it.
    #[serde(rename = "python_text", default)]
    pub python_text: String,
    /// `sys.platform`, for example `linux`.
    #[serde(rename = "platform", default)]
    pub platform: String,
    /// The current directory.
    #[serde(rename = "cwd", default)]
    pub cwd: String,
    /// pytest's root directory.
    #[serde(rename = "rootdir", default)]
    pub rootdir: String,
    /// The lines of pytest's header, the first one (`platform …`) included.
    #[serde(rename = "header", default)]
    pub header: Vec<String>,
    /// The options in force that concern the run.
    #[serde(rename = "options", default)]
    pub options: RunOptions,
    /// The options in force that concern output.
    #[serde(rename = "display", default)]
    pub display: DisplayOptions,
    /// What the user calls the machine, if it is another one than the coordinator's. Not for workers to say: the
    /// coordinator adds it for frontends.
    #[serde(rename = "machine", default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Why further workers cannot be forked from this one, if that is known before collection.
    #[serde(rename = "unforkable", default, skip_serializing_if = "Option::is_none")]
    pub unforkable: Option<String>,
}

/// Options that concern the run, as parsed by the worker from arguments, configuration files and environment. Absent
/// means not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct RunOptions {
    /// Why this invocation is not to be distributed (`--collect-only`, `-n 0`, …): it is then run by plain pytest.
    #[serde(rename = "plain", default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<String>,
    /// `-n`, with `auto` and `logical` resolved.
    #[serde(rename = "workers", default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// What `auto` means on this machine.
    #[serde(rename = "auto_workers", default)]
    pub auto_workers: u32,
    /// `--maxprocesses`.
    #[serde(rename = "max_workers", default, skip_serializing_if = "Option::is_none")]
    pub max_workers: Option<u32>,
    /// `--dist`, with `-d` resolved.
    #[serde(rename = "dist", default, skip_serializing_if = "Option::is_none")]
    pub dist: Option<String>,
    /// `--tx`, in order.
    #[serde(rename = "tx", default)]
    pub tx: Vec<String>,
    /// `--px`, in order.
    #[serde(rename = "px", default, skip_serializing_if = "Vec::is_empty")]
    pub px: Vec<String>,
    /// `--maxschedchunk`.
    #[serde(rename = "max_chunk", default, skip_serializing_if = "Option::is_none")]
    pub max_chunk: Option<u32>,
    /// `--loadscope-reorder` (true) or `--no-loadscope-reorder` (false).
    #[serde(rename = "reorder_scopes", default, skip_serializing_if = "Option::is_none")]
    pub reorder_scopes: Option<bool>,
    /// `--max-worker-restart`.
    #[serde(rename = "max_restarts", default, skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<u32>,
    /// `--testrunuid`.
    #[serde(rename = "run", default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// `--ramp`, in milliseconds.
    #[serde(rename = "ramp_ms", default)]
    pub ramp_ms: u64,
    /// `--maxfail`; `-x` is 1.
    #[serde(rename = "max_fail", default, skip_serializing_if = "Option::is_none")]
    pub max_fail: Option<u32>,
    /// `--durations-from`: an absolute path where the worker runs.
    #[serde(rename = "durations_from", default, skip_serializing_if = "Option::is_none")]
    pub durations_from: Option<String>,
    /// `--timeout`, in milliseconds; 0 for none. The worker's own host sees to it.
    #[serde(rename = "timeout_ms", default)]
    pub timeout_ms: u64,
    /// `--slow-after`, in milliseconds; 0 for never. The worker's own host tells of such items.
    #[serde(rename = "slow_after_ms", default)]
    pub slow_after_ms: u64,
    /// `--max-tests-per-worker`. The worker's own host sees to it.
    #[serde(rename = "max_tests", default, skip_serializing_if = "Option::is_none")]
    pub max_tests: Option<u32>,
    /// `--worker-memory-limit`, in KiB. The worker's own host sees to it.
    #[serde(rename = "memory_limit_kib", default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_kib: Option<u64>,
    /// `--retries`: how often an item that failed is run again, at most.
    #[serde(rename = "retries", default)]
    pub retries: u32,
    /// `--flaky=fail`: whether a run has failed of which an item passed only after a retry.
    #[serde(rename = "flaky_fails", default)]
    pub flaky_fails: bool,
    /// `--fetch`: which files of other machines are fetched when the run is over, relative to a worker's directory.
    #[serde(rename = "fetch", default, skip_serializing_if = "Vec::is_empty")]
    pub fetch: Vec<String>,
    /// `--fetch-to`: the directory, on the coordinator's side, that they come to.
    #[serde(rename = "fetch_to", default, skip_serializing_if = "Option::is_none")]
    pub fetch_to: Option<String>,
    /// `--sync` and pytest-xdist's options for that, where the worker runs.
    #[serde(rename = "files", default, skip_serializing_if = "Files::is_default")]
    pub files: Files,
}

/// Options that concern output, as parsed by the worker. Absent means pytest's default.
#[expect(clippy::struct_excessive_bools, reason = "they mirror pytest's independent flags one to one")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct DisplayOptions {
    /// `-v` minus `-q`.
    #[serde(rename = "verbosity")]
    pub verbosity: i32,
    /// Whether to use colours, with `auto` resolved.
    #[serde(rename = "color")]
    pub color: bool,
    /// `-r`, with aliases resolved, for example `fE`.
    #[serde(rename = "report_chars")]
    pub report_chars: String,
    /// `--tb`.
    #[serde(rename = "traceback_style")]
    pub traceback_style: String,
    /// `--durations`; 0 shows all.
    #[serde(rename = "durations", skip_serializing_if = "Option::is_none")]
    pub durations: Option<u32>,
    /// `--durations-min`, in milliseconds.
    #[serde(rename = "durations_min_ms")]
    pub durations_min_ms: u64,
    /// `--show-capture`: `no`, `stdout`, `stderr`, `log` or `all`.
    #[serde(rename = "show_capture")]
    pub show_capture: String,
    /// `--capture`: `no` for `-s`.
    #[serde(rename = "capture")]
    pub capture: String,
    /// `--no-header`.
    #[serde(rename = "no_header")]
    pub no_header: bool,
    /// `--no-summary`.
    #[serde(rename = "no_summary")]
    pub no_summary: bool,
    /// `--disable-warnings`.
    #[serde(rename = "no_warnings")]
    pub no_warnings: bool,
    /// Whether the terminal plugin was switched off (`-p no:terminal`): then nothing is printed.
    #[serde(rename = "no_terminal")]
    pub no_terminal: bool,
    /// `--xfail-tb`, `--force-short-summary` and `--no-fold-skipped`, each by name if given.
    #[serde(rename = "flags")]
    pub flags: Vec<String>,
    /// The `console_output_style` setting.
    #[serde(rename = "progress_style")]
    pub progress_style: String,
    /// The root directory of the cache, absolute; absent when the cache plugin is off.
    #[serde(rename = "cache_dir", skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<String>,
    /// `--junitxml` and its settings.
    #[serde(rename = "junit", skip_serializing_if = "Option::is_none")]
    pub junit: Option<JunitOptions>,
}

/// What pytest does when nothing is given.
impl Default for DisplayOptions {
    fn default() -> Self {
        Self {
            verbosity: 0,
            color: false,
            report_chars: "fE".to_owned(),
            traceback_style: "auto".to_owned(),
            durations: None,
            durations_min_ms: 5,
            show_capture: "all".to_owned(),
            capture: "fd".to_owned(),
            no_header: false,
            no_summary: false,
            no_warnings: false,
            no_terminal: false,
            flags: Vec::new(),
            progress_style: "progress".to_owned(),
            cache_dir: None,
            junit: None,
        }
    }
}

/// `--junitxml` and its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct JunitOptions {
    /// The file, absolute.
    #[serde(rename = "path")]
    pub path: String,
    /// `--junitprefix`.
    #[serde(rename = "prefix")]
    pub prefix: String,
    /// `junit_suite_name`.
    #[serde(rename = "suite_name")]
    pub suite_name: String,
    /// `junit_family`: `xunit1` or `xunit2`.
    #[serde(rename = "family")]
    pub family: String,
    /// `junit_logging`: `no`, `log`, `system-out`, `system-err`, `out-err` or `all`.
    #[serde(rename = "logging")]
    pub logging: String,
    /// `junit_log_passing_tests`.
    #[serde(rename = "log_passing")]
    pub log_passing: bool,
    /// `junit_duration_report`: `total` or `call`.
    #[serde(rename = "duration_report")]
    pub duration_report: String,
}

/// Collection begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Collecting {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// A collector failed or was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CollectReportEvent {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The report.
    #[serde(rename = "report")]
    pub report: CollectReport,
}

/// Collection is over; the list itself is sent on request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Collected {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Of the list.
    #[serde(rename = "digest")]
    pub digest: CollectionDigest,
    /// How many items the list has.
    #[serde(rename = "count")]
    pub count: u32,
    /// How many items `-k`, `-m` and their kin took out.
    #[serde(rename = "deselected", default)]
    pub deselected: u32,
    /// Why further workers cannot be forked from this one.
    #[serde(rename = "unforkable", default, skip_serializing_if = "Option::is_none")]
    pub unforkable: Option<String>,
    /// If that was wanted: the files that the items are from, and conftests, each with a hash of what is in it (BLAKE2b
    /// with an output of 8 bytes, as a big-endian number). Paths are relative to the root directory.
    #[serde(rename = "files", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, u64>,
}

/// A part of the list of items. Parts come in order and without gaps; the list is complete when `total` items are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CollectionChunk {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// How many items come before this part.
    #[serde(rename = "offset")]
    pub offset: u32,
    /// How many items the whole list has.
    #[serde(rename = "total")]
    pub total: u32,
    /// The items of this part.
    #[serde(rename = "items")]
    pub items: Vec<Item>,
}

/// An item has been running for as long as `wants.started_after_ms` says; sent again when it has been running for as long
/// as `slow_after_ms` of the worker's [`RunOptions`] says, and each time that this time has doubled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ItemStarted {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The item's assignment.
    #[serde(rename = "lease")]
    pub lease: LeaseId,
    /// The item.
    #[serde(rename = "item")]
    pub item: ItemIndex,
    /// The phase it is in.
    #[serde(rename = "phase")]
    pub phase: Phase,
    /// For how long it has been running, in milliseconds.
    #[serde(rename = "running_ms", default)]
    pub running_ms: u64,
}

/// An item is finished. Sent once per item and lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ItemFinished {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The item's assignment.
    #[serde(rename = "lease")]
    pub lease: LeaseId,
    /// The item.
    #[serde(rename = "item")]
    pub item: ItemIndex,
    /// The result.
    #[serde(rename = "report")]
    pub report: ItemReport,
}

/// The answer to `steal` and `cancel`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Unscheduled {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Of the command answered.
    #[serde(rename = "request")]
    pub request: u32,
    /// The items that are no longer queued here, in queue order; empty if a `steal` came too late.
    #[serde(rename = "items")]
    pub items: Vec<ItemIndex>,
}

/// Why a worker's session wants to run nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum StopKind {
    /// pytest's `session.shouldfail`.
    #[serde(rename = "should_fail")]
    ShouldFail,
    /// pytest's `session.shouldstop`.
    #[serde(rename = "should_stop")]
    ShouldStop,
    /// `pytest.exit` was called.
    #[serde(rename = "exit")]
    Exit,
    /// `KeyboardInterrupt` was raised, and not by an `interrupt` command.
    #[serde(rename = "interrupt")]
    Interrupt,
    /// The worker has done its share: another one is to go on in its place (`max_tests` and `memory_limit_kib` of
    /// [`RunOptions`]).
    #[serde(rename = "recycle")]
    Recycle,
}

/// The session wants to run nothing more, and gives up what it still has in the queue: the rest of it will not run
/// here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct StopRequested {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The kind of reason.
    #[serde(rename = "kind")]
    pub kind: StopKind,
    /// The reason as pytest gives it.
    #[serde(rename = "reason", default)]
    pub reason: String,
    /// The exit code that `pytest.exit` asked for.
    #[serde(rename = "exit_code", default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Of [`StopKind::Recycle`]: the items that leave the queue with that, in queue order. What else is there is still
    /// run.
    #[serde(rename = "items", default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemIndex>,
}

/// A Python warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct WarningEvent {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The warning.
    #[serde(rename = "warning")]
    pub warning: WarningRecord,
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Stream {
    /// Standard output.
    #[serde(rename = "stdout")]
    Stdout,
    /// Standard error.
    #[serde(rename = "stderr")]
    Stderr,
}

/// Raw output of the test process that pytest did not capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct OutputEvent {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Which stream.
    #[serde(rename = "stream")]
    pub stream: Stream,
    /// Whole lines where possible; at most 64 KiB.
    #[serde(rename = "data", with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// The test process could not go on because of an error outside any test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct InternalError {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// What happened, a traceback mostly.
    #[serde(rename = "text")]
    pub text: String,
}

/// The arguments or the configuration are wrong: pytest's `UsageError`, a conftest that cannot be imported, no pytest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct UsageError {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// What pytest prints for it, `ERROR: ` included where pytest prints that.
    #[serde(rename = "text")]
    pub text: String,
    /// The exit code that pytest gives for it.
    #[serde(rename = "exit_code")]
    pub exit_code: i32,
    /// Whether it is the interpreter that is wrong, whatever the arguments are.
    #[serde(rename = "unfit", default)]
    pub unfit: bool,
}

/// The session has ended in good order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct WorkerOutput {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// pytest's exit status for this worker's part.
    #[serde(rename = "exit_status", default)]
    pub exit_status: i32,
    /// `config.workeroutput`.
    #[serde(
        rename = "values",
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        serialize_with = "value::map"
    )]
    #[cfg_attr(feature = "arbitrary", arbitrary(with = value::any::map))]
    pub values: BTreeMap<String, Value>,
}

/// How a test process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum EndCause {
    /// It exited with this code.
    #[serde(rename = "exited")]
    Exited(i32),
    /// This signal ended it.
    #[serde(rename = "signaled")]
    Signaled(i32),
    /// It could not be started; the text says why and what to do.
    #[serde(rename = "not_started")]
    NotStarted(String),
    /// The host ended it, for the reason in the text.
    #[serde(rename = "killed")]
    Killed(String),
    /// The host ended it, since the item that was running took longer than this many milliseconds (`timeout_ms` of
    /// [`RunOptions`]).
    #[serde(rename = "timed_out")]
    TimedOut(u64),
}

/// What was running when a test process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CrashItem {
    /// The item's assignment.
    #[serde(rename = "lease")]
    pub lease: LeaseId,
    /// The item.
    #[serde(rename = "item")]
    pub item: ItemIndex,
    /// The phase it was in.
    #[serde(rename = "phase")]
    pub phase: Phase,
    /// For how long it had been running, in milliseconds.
    #[serde(rename = "running_ms", default)]
    pub running_ms: u64,
}

/// The test process is gone. Nothing follows for this worker. Items in its queue other than `item` have not begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Down {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// How it ended.
    #[serde(rename = "cause")]
    pub cause: EndCause,
    /// Whether the machine ran out of memory at that time, as far as the host can tell.
    #[serde(rename = "out_of_memory", default)]
    pub out_of_memory: bool,
    /// The item it was in the middle of.
    #[serde(rename = "item", default, skip_serializing_if = "Option::is_none")]
    pub item: Option<CrashItem>,
    /// What that item had reported of earlier phases, if it was more than that they passed.
    #[serde(rename = "report", default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<ItemReport>>,
    /// The last lines it wrote to standard error, stack dumps left out; at most 16 KiB.
    #[serde(rename = "stderr_tail", default)]
    pub stderr_tail: String,
    /// The stack dump of Python's faulthandler.
    #[serde(rename = "stack", default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// Peak resident memory, in KiB; 0 if unknown.
    #[serde(rename = "peak_rss_kib", default)]
    pub peak_rss_kib: u64,
    /// How many `item_finished` were sent for this worker.
    #[serde(rename = "finished", default)]
    pub finished: u32,
}

/// The answer to `ping`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Pong {
    /// Of the `ping` answered.
    #[serde(rename = "nonce")]
    pub nonce: u64,
}
