//! The messages of a frontend's link: the run's events, the few questions that wait for an answer, and the answers.
//!
//! A frontend consumes the events of one run; the one that has a use for the answers is the pytest host, which runs what
//! plugins and conftests have to do on the coordinator's side. Items count in the collection of the run, but in mode
//! `each` in that of the worker named.

use crate::ids::{ItemIndex, RunId, WorkerId};
use crate::item::Item;
use crate::message::{Ready, Stream};
use crate::report::{CollectReport, ItemReport, Phase, WarningRecord};
use crate::value::{self, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The feature of a frontend that answers [`FrontendMessage::ConfigureNode`].
pub const FEATURE_CONFIGURE_NODE: &str = "configure_node";

/// The feature of a frontend that answers [`FrontendMessage::CrashQuestion`].
pub const FEATURE_CRASHES: &str = "crashes";

/// The feature of a frontend that decides which worker gets which items, in every mode but `each`.
pub const FEATURE_SCHEDULER: &str = "scheduler";

/// The feature of a frontend that writes to the terminal, and answers [`FrontendMessage::TerminalLent`].
pub const FEATURE_TERMINAL: &str = "terminal";

/// The feature of a frontend that answers [`FrontendMessage::Finished`].
pub const FEATURE_FAREWELL: &str = "farewell";

/// Coordinator to frontend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum FrontendMessage {
    /// The options are known.
    #[serde(rename = "run_configured")]
    RunConfigured(RunConfigured),
    /// A worker is about to start.
    #[serde(rename = "worker_starting")]
    WorkerStarting(WorkerStarting),
    /// What is the worker to be configured with?
    #[serde(rename = "configure_node")]
    ConfigureNode(ConfigureNode),
    /// A worker is up and configured.
    #[serde(rename = "worker_ready")]
    WorkerReady(Box<Ready>),
    /// A worker has collected.
    #[serde(rename = "worker_collected")]
    WorkerCollected(WorkerCollected),
    /// Every worker collects by itself.
    #[serde(rename = "unforkable")]
    Unforkable(Unforkable),
    /// A directory was copied.
    #[serde(rename = "files_copied")]
    FilesCopied(FilesCopied),
    /// A collector failed or was skipped.
    #[serde(rename = "collect_report")]
    CollectReport(RunCollectReport),
    /// A part of the items of the run.
    #[serde(rename = "items")]
    Items(Items),
    /// Workers collected different items.
    #[serde(rename = "collection_mismatch")]
    CollectionMismatch(CollectionMismatch),
    /// Items are about to be handed out.
    #[serde(rename = "scheduling")]
    Scheduling(Scheduling),
    /// An item has been running for some time.
    #[serde(rename = "item_running")]
    ItemRunning(ItemRunning),
    /// An item has its result.
    #[serde(rename = "item_result")]
    ItemResult(ItemResult),
    /// An item failed, and is to run again.
    #[serde(rename = "item_retried")]
    ItemRetried(Box<ItemRetried>),
    /// Is the item that crashed to run again?
    #[serde(rename = "crash_question")]
    CrashQuestion(CrashQuestion),
    /// A test process ended that should not have.
    #[serde(rename = "crashed")]
    Crashed(Box<Crashed>),
    /// A worker is to have the terminal for itself.
    #[serde(rename = "terminal_lent")]
    TerminalLent(TerminalLent),
    /// The terminal is back.
    #[serde(rename = "terminal_back")]
    TerminalBack(TerminalBack),
    /// A worker has answered `take_back`.
    #[serde(rename = "taken_back")]
    TakenBack(TakenBack),
    /// A worker has done its share and ends; another one takes its place.
    #[serde(rename = "worker_recycled")]
    WorkerRecycled(WorkerRecycled),
    /// A worker is gone.
    #[serde(rename = "worker_down")]
    WorkerDown(WorkerDown),
    /// No replacement is started for a crashed worker.
    #[serde(rename = "restarts_exhausted")]
    RestartsExhausted(RestartsExhausted),
    /// A Python warning.
    #[serde(rename = "warning")]
    Warning(RunWarning),
    /// Raw output that pytest did not capture.
    #[serde(rename = "output")]
    Output(RunOutput),
    /// An error outside any test, of a worker, a host, or in the arguments.
    #[serde(rename = "error")]
    Error(RunError),
    /// Files of another machine have been fetched.
    #[serde(rename = "files_fetched")]
    FilesFetched(FilesFetched),
    /// Nothing more is started.
    #[serde(rename = "stopping")]
    Stopping(Stopping),
    /// Items that will never run.
    #[serde(rename = "not_run")]
    NotRun(NotRun),
    /// A worker's session ended in good order.
    #[serde(rename = "node_output")]
    NodeOutput(NodeOutput),
    /// The run is over; the last message.
    #[serde(rename = "finished")]
    Finished(Finished),
}

/// Frontend to coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum FrontendCommand {
    /// The answer to `configure_node`.
    #[serde(rename = "node_configured")]
    NodeConfigured(NodeConfigured),
    /// The answer to `crash_question`.
    #[serde(rename = "crash_handled")]
    CrashHandled(CrashHandled),
    /// The answer to `terminal_lent`.
    #[serde(rename = "terminal_free")]
    TerminalFree(TerminalFree),
    /// Give a worker items.
    #[serde(rename = "assign")]
    Assign(Assign),
    /// Ask a worker for items back.
    #[serde(rename = "take_back")]
    TakeBack(TakeBack),
    /// A worker's last item has no successor for now.
    #[serde(rename = "park_worker")]
    ParkWorker(ParkWorker),
    /// A worker gets nothing more.
    #[serde(rename = "retire")]
    Retire(Retire),
    /// The user wants the run to end, as with Ctrl-C. The second time, at once.
    #[serde(rename = "interrupt_run")]
    InterruptRun(InterruptRun),
    /// The answer to `finished`.
    #[serde(rename = "farewell")]
    Farewell(Farewell),
}

/// The first worker has read its options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct RunConfigured {
    /// The run, by its final name.
    #[serde(rename = "run")]
    pub run: RunId,
    /// How many workers the run begins with.
    #[serde(rename = "workers")]
    pub workers: u32,
    /// How items are handed out, by the name that `--dist` has for it.
    #[serde(rename = "mode")]
    pub mode: String,
}

/// A worker is about to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct WorkerStarting {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// What it is called.
    #[serde(rename = "name")]
    pub name: String,
    /// Its specification as text, for example `popen`.
    #[serde(rename = "spec", default)]
    pub spec: String,
    /// The worker that it replaces: one that crashed or was recycled.
    #[serde(rename = "replaces", default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<WorkerId>,
}

/// Asks what to add to `config.workerinput` of a worker that waits for the answer. Sent only to a frontend with the
/// feature [`FEATURE_CONFIGURE_NODE`], after `worker_starting`. Answered by one `node_configured`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ConfigureNode {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// The answer to `configure_node`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct NodeConfigured {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Entries of `config.workerinput`.
    #[serde(
        rename = "input",
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        serialize_with = "value::map"
    )]
    #[cfg_attr(feature = "arbitrary", arbitrary(with = value::any::map))]
    pub input: BTreeMap<String, Value>,
}

/// A worker has collected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct WorkerCollected {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// How many items it found.
    #[serde(rename = "items")]
    pub items: u32,
    /// How many items it deselected.
    #[serde(rename = "deselected", default)]
    pub deselected: u32,
}

/// Workers cannot be forked from one that has collected, so each collects by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Unforkable {
    /// The worker that they were to be forked from.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Why not.
    #[serde(rename = "reason")]
    pub reason: String,
}

/// A host has a copy of a directory that is the same as the coordinator's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct FilesCopied {
    /// The machine, as people know it.
    #[serde(rename = "host")]
    pub host: String,
    /// The name of the directory.
    #[serde(rename = "name")]
    pub name: String,
    /// Where the copy is.
    #[serde(rename = "path")]
    pub path: String,
    /// How many files and symbolic links it has.
    #[serde(rename = "files", default)]
    pub files: u64,
    /// How many of them were written.
    #[serde(rename = "written", default)]
    pub written: u64,
    /// How many names were removed.
    #[serde(rename = "removed", default)]
    pub removed: u64,
    /// How many bytes travelled for that.
    #[serde(rename = "bytes", default)]
    pub bytes: u64,
    /// How long it took, in milliseconds.
    #[serde(rename = "took_ms", default)]
    pub took_ms: u64,
}

/// A collector failed or was skipped; told once, however many workers report it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct RunCollectReport {
    /// The first worker that reported it.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The report.
    #[serde(rename = "report")]
    pub report: CollectReport,
}

/// A part of the items. Parts come in order and without gaps. In mode `each` they come for every worker, otherwise once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Items {
    /// The worker whose items these are; absent when all agreed.
    #[serde(rename = "worker", default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// How many items come before this part.
    #[serde(rename = "offset")]
    pub offset: u32,
    /// How many items there are in all.
    #[serde(rename = "total")]
    pub total: u32,
    /// The items of this part.
    #[serde(rename = "items")]
    pub items: Vec<Item>,
}

/// Workers collected different items, so nothing runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CollectionMismatch {
    /// The worker that the others are compared with.
    #[serde(rename = "reference")]
    pub reference: WorkerId,
    /// Each worker that differs.
    #[serde(rename = "differing")]
    pub differing: Vec<CollectionDifference>,
}

/// How one worker's items differ from the reference's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CollectionDifference {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Node ids that only the reference has; the first thousand.
    #[serde(rename = "missing", default)]
    pub missing: Vec<String>,
    /// Node ids that only this worker has; the first thousand.
    #[serde(rename = "extra", default)]
    pub extra: Vec<String>,
}

/// Items are about to be handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Scheduling {
    /// How, by the name that `--dist` has for it.
    #[serde(rename = "mode")]
    pub mode: String,
    /// What items ask for and will not have, as a sentence.
    #[serde(rename = "warning", default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// An item has been running for some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ItemRunning {
    /// Where.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Which.
    #[serde(rename = "item")]
    pub item: ItemIndex,
    /// In which phase it is.
    #[serde(rename = "phase")]
    pub phase: Phase,
    /// For how long it has been running, in milliseconds.
    #[serde(rename = "running_ms", default)]
    pub running_ms: u64,
    /// What it exceeds by that, if anything: the time that `--slow-after` gives, or that time doubled however often, in
    /// milliseconds.
    #[serde(rename = "slow_ms", default, skip_serializing_if = "Option::is_none")]
    pub slow_ms: Option<u64>,
}

/// An item has its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ItemResult {
    /// Where.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Which.
    #[serde(rename = "item")]
    pub item: ItemIndex,
    /// The result.
    #[serde(rename = "report")]
    pub report: ItemReport,
    /// How often it had failed before, each of which was told by an `item_retried`.
    #[serde(rename = "retries", default)]
    pub retries: u32,
}

/// An item failed, and is to run again: it has no result yet. Of `report` and `crash` there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ItemRetried {
    /// Where it failed.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Which.
    #[serde(rename = "item")]
    pub item: ItemIndex,
    /// The how-manieth retry follows, from 1.
    #[serde(rename = "retry")]
    pub retry: u32,
    /// How many retries there are at most.
    #[serde(rename = "limit")]
    pub limit: u32,
    /// How it failed, unless its test process ended.
    #[serde(rename = "report", default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ItemReport>,
    /// How its test process ended; it has this `item`.
    #[serde(rename = "crash", default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<Box<Crashed>>,
}

/// A test process ended that should not have. If an item was running, this is that item's result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Crashed {
    /// Where.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// How the process ended, in one line, for example `signal 11 (SIGSEGV)`.
    #[serde(rename = "cause")]
    pub cause: String,
    /// Process id of the test process, if it came that far.
    #[serde(rename = "pid", default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The limit in milliseconds, if the process was ended because the item took longer than that.
    #[serde(rename = "limit_ms", default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
    /// The name of the machine that it was on; empty if it is not known.
    #[serde(rename = "host", default)]
    pub host: String,
    /// Whether the machine ran out of memory at that time, as far as the host can tell.
    #[serde(rename = "out_of_memory", default)]
    pub out_of_memory: bool,
    /// The last lines it wrote to standard error.
    #[serde(rename = "stderr_tail", default)]
    pub stderr_tail: String,
    /// faulthandler's stack dump.
    #[serde(rename = "stack", default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// Peak resident memory, in KiB; 0 if unknown.
    #[serde(rename = "peak_rss_kib", default)]
    pub peak_rss_kib: u64,
    /// The item that was running.
    #[serde(rename = "item", default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemIndex>,
    /// The phase that it was in; absent where nobody can say.
    #[serde(rename = "phase", default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// For how long it had been running, in milliseconds, where known.
    #[serde(rename = "running_ms", default, skip_serializing_if = "Option::is_none")]
    pub running_ms: Option<u64>,
    /// What that item had reported of earlier phases; without it, they passed.
    #[serde(rename = "report", default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<ItemReport>>,
    /// Whether a `crash_question` came before it.
    #[serde(rename = "asked", default)]
    pub asked: bool,
    /// How often the item had failed before, each of which was told by an `item_retried`.
    #[serde(rename = "retries", default)]
    pub retries: u32,
}

/// Asks whether an item that was running when its test process ended is to run again. Sent only to a frontend with the
/// feature [`FEATURE_CRASHES`]. Answered by one `crash_handled`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CrashQuestion {
    /// Comes back in the answer.
    #[serde(rename = "request")]
    pub request: u32,
    /// What happened; it has an `item`.
    #[serde(rename = "crash")]
    pub crash: Box<Crashed>,
}

/// The answer to `crash_question`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CrashHandled {
    /// Of the question answered.
    #[serde(rename = "request")]
    pub request: u32,
    /// Whether the item is to run once more; it then has no result yet.
    #[serde(rename = "again", default)]
    pub again: bool,
    /// Whether the crash is not to count as a failure.
    #[serde(rename = "excused", default)]
    pub excused: bool,
}

/// Appends items to a worker's queue, in order; those of a worker that has not collected yet wait for it. Only from a
/// frontend with the feature [`FEATURE_SCHEDULER`], as are the three that follow. Items that somebody has, or that are
/// finished, break the protocol; a worker that is gone does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Assign {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The items.
    #[serde(rename = "items")]
    pub items: Vec<ItemIndex>,
}

/// Asks for items back. All are given back, or none. Answered by one `taken_back`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct TakeBack {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The items.
    #[serde(rename = "items")]
    pub items: Vec<ItemIndex>,
}

/// The answer to `take_back`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct TakenBack {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// What it gave back; empty if it came too late.
    #[serde(rename = "items")]
    pub items: Vec<ItemIndex>,
}

/// The worker's last item has no successor for now: everything is torn down after it. A later `assign` starts afresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ParkWorker {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// The worker gets nothing more, and ends after what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Retire {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// A worker has done its share (`--max-tests-per-worker`, `--worker-memory-limit`): it ends in good order after what it
/// still has, and another one takes its place if there is anything left to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct WorkerRecycled {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Why, in one line.
    #[serde(rename = "reason", default)]
    pub reason: String,
}

/// A worker is gone: after its clean end (no `error`), or after `crashed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct WorkerDown {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// What went wrong, in one line.
    #[serde(rename = "error", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// No replacement is started for a crashed worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct RestartsExhausted {
    /// The crashed worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// How many are replaced at most.
    #[serde(rename = "limit")]
    pub limit: u32,
}

/// A Python warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct RunWarning {
    /// Where.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// The warning.
    #[serde(rename = "warning")]
    pub warning: WarningRecord,
}

/// Raw output that pytest did not capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct RunOutput {
    /// Where.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// Which stream.
    #[serde(rename = "stream")]
    pub stream: Stream,
    /// Whole lines where possible.
    #[serde(rename = "data", with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum ErrorKind {
    /// A worker could not go on because of an error outside any test.
    #[serde(rename = "internal")]
    Internal,
    /// The arguments or the configuration are wrong.
    #[serde(rename = "usage")]
    Usage,
    /// A host was lost, never came up, or broke the protocol.
    #[serde(rename = "host")]
    Host,
}

/// An error outside any test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct RunError {
    /// Where, if a worker is to blame.
    #[serde(rename = "worker", default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// The kind of error.
    #[serde(rename = "kind")]
    pub kind: ErrorKind,
    /// What happened.
    #[serde(rename = "text")]
    pub text: String,
}

/// Files of another machine have been fetched (`--fetch`), or could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct FilesFetched {
    /// What the user calls the machine.
    #[serde(rename = "machine")]
    pub machine: String,
    /// The directory that they are in now.
    #[serde(rename = "directory")]
    pub directory: String,
    /// How many there are.
    #[serde(rename = "files", default)]
    pub files: u32,
    /// How many bytes they have together.
    #[serde(rename = "bytes", default)]
    pub bytes: u64,
    /// What to tell people, line by line: what was fetched, and what could not be.
    #[serde(rename = "lines", default)]
    pub lines: Vec<String>,
}

/// Nothing more is started, for this reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Stopping {
    /// In one line, for example `stopping after 1 failures`.
    #[serde(rename = "reason")]
    pub reason: String,
}

/// Items that will never run. Comes before `finished`, in several messages if there are many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct NotRun {
    /// The worker whose items these are, in mode `each`.
    #[serde(rename = "worker", default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Which.
    #[serde(rename = "items")]
    pub items: Vec<ItemIndex>,
    /// Why.
    #[serde(rename = "reason")]
    pub reason: String,
}

/// A worker's session ended in good order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct NodeOutput {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
    /// pytest's exit status there.
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

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum EndKind {
    /// Everything that was collected is accounted for.
    #[serde(rename = "completed")]
    Completed,
    /// As many failures as the user will have, or a session that wants to run no more.
    #[serde(rename = "stopped")]
    Stopped,
    /// Too many workers crashed.
    #[serde(rename = "restarts_exhausted")]
    RestartsExhausted,
    /// The user interrupted it, or a test raised `KeyboardInterrupt`.
    #[serde(rename = "interrupted")]
    Interrupted,
    /// `pytest.exit` was called.
    #[serde(rename = "exit")]
    Exit,
    /// An error outside any test, or no worker is left.
    #[serde(rename = "internal_error")]
    InternalError,
    /// The arguments or the configuration are wrong.
    #[serde(rename = "usage_error")]
    UsageError,
    /// Workers collected different items.
    #[serde(rename = "mismatch")]
    Mismatch,
    /// This invocation is for plain pytest.
    #[serde(rename = "plain")]
    Plain,
    /// A kind of a later version.
    #[serde(other, rename = "other")]
    Other,
}

/// The run is over. Nothing follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Finished {
    /// Why it ended.
    #[serde(rename = "end")]
    pub end: EndKind,
    /// The reason in one line, where there is more to say than the kind.
    #[serde(rename = "reason", default)]
    pub reason: String,
    /// The worker whose test raised `KeyboardInterrupt`.
    #[serde(rename = "worker", default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// The exit code that `pytest.exit` asked for, or that pytest gives for wrong arguments.
    #[serde(rename = "exit_code", default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How many items were to be run.
    #[serde(rename = "collected", default)]
    pub collected: u64,
    /// How many never ran.
    #[serde(rename = "not_run", default)]
    pub not_run: u64,
    /// How many failed first, and did not in the end.
    #[serde(rename = "flaky", default)]
    pub flaky: u64,
    /// Whether the run has failed because of those.
    #[serde(rename = "flaky_fails", default)]
    pub flaky_fails: bool,
}

/// A worker is to have the terminal for itself: the frontend writes nothing to it and reads nothing from it until
/// `terminal_back`. Answered by one `terminal_free`; sent only to a frontend with the feature [`FEATURE_TERMINAL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct TerminalLent {
    /// The worker.
    #[serde(rename = "worker")]
    pub worker: WorkerId,
}

/// The terminal is the frontend's again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct TerminalBack {}

/// The frontend leaves the terminal alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct TerminalFree {}

/// Asks for the end of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct InterruptRun {}

/// The frontend has dealt with everything that it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Farewell {}
