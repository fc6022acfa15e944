//! The event stream that frontends draw from: one view of the run.

use crate::scheduler::Mode;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use xdist_proto::frontend::FilesCopied;
use xdist_proto::item::Collection;
use xdist_proto::message::{DisplayOptions, EndCause, Ready, RunOptions, Stream};
use xdist_proto::report::{CollectReport, ItemReport, Phase, WarningRecord};
use xdist_proto::{ItemIndex, RunId, WorkerId};

/// What the pytest host is called in [`RunEvent::HostLost`].
pub(super) const PYTEST_HOST: &str = "the pytest host";

/// One thing that happened in the run. Items count in the agreed collection, except in mode `each`, where a worker's
/// items count in its own.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    /// The first worker has read its options; comes once, before anything but `WorkerStarting`.
    Configured(Box<Configured>),
    /// A worker is about to start.
    WorkerStarting {
        /// The worker.
        worker: WorkerId,
        /// What it is called.
        name: String,
        /// Its specification as text, for example `popen`.
        spec: String,
        /// The worker that it replaces: one that crashed or was recycled.
        replaces: Option<WorkerId>,
    },
    /// A worker's test process is up and configured.
    WorkerReady {
        /// The worker.
        worker: WorkerId,
        /// The name of the machine that it is on; empty if it is not known.
        host: String,
        /// Whether that is known to be another machine than the coordinator\'s.
        elsewhere: bool,
        /// What it told of itself.
        ready: Box<Ready>,
    },
    /// A host has a copy of a directory that is the same as here.
    FilesCopied(Box<FilesCopied>),
    /// A worker collects.
    WorkerCollecting {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker has collected.
    WorkerCollected {
        /// The worker.
        worker: WorkerId,
        /// How many items it found.
        items: u32,
        /// How many items it deselected.
        deselected: u32,
    },
    /// Workers cannot be forked from one that has collected, so each collects by itself.
    Unforkable {
        /// The worker that they were to be forked from.
        worker: WorkerId,
        /// Why not.
        reason: String,
    },
    /// A collector failed or was skipped; told once, however many workers report it.
    CollectReport {
        /// The first worker that reported it.
        worker: WorkerId,
        /// The report.
        report: CollectReport,
    },
    /// The items are known. In mode `each` it comes for every worker, otherwise once. A worker that replaces another
    /// (`WorkerStarting`) repeats what that one collected: its items are not counted again.
    Collected {
        /// The worker whose items these are; `None` when all agreed.
        worker: Option<WorkerId>,
        /// The items.
        collection: Rc<Collection>,
    },
    /// Workers collected different sets of items, so nothing runs.
    CollectionMismatch(Mismatch),
    /// Items are about to be handed out.
    Scheduling {
        /// How.
        mode: Mode,
        /// What items ask for and will not have, as a sentence.
        warning: Option<String>,
    },
    /// An item has been running for some time. Comes again, as that time grows.
    ItemStarted {
        /// Where.
        worker: WorkerId,
        /// Which.
        item: ItemIndex,
        /// In which phase it is.
        phase: Phase,
        /// For how long it has been running.
        running: Duration,
        /// What it exceeds by that, if anything: the time that `--slow-after` gives, or that time doubled however often.
        slow: Option<Duration>,
    },
    /// An item has its result.
    ItemFinished {
        /// Where.
        worker: WorkerId,
        /// Which.
        item: ItemIndex,
        /// The result.
        report: Box<ItemReport>,
        /// How often it had failed before, each of which was told (`ItemRetried`). It is flaky if this is no failure too. An
        /// item that was to run again when the run ended has its last failure for a result, which was told then and does
        /// not count here.
        retries: u32,
    },
    /// An item failed, and is to run again (`--retries`): it has no result yet.
    ItemRetried(Box<FailedAttempt>),
    /// A test process ended that should not have. If an item was running, this is that item's result.
    Crashed(Box<Crash>),
    /// The same, before it is known whether the item is to run again. `Crashed` follows if it is not.
    CrashQuestion {
        /// What [`Input::CrashHandled`](super::Input::CrashHandled) is to name.
        request: u32,
        /// The crash, of which an item is known.
        crash: Box<Crash>,
    },
    /// A worker is to have the terminal for itself, for a debugger. Nothing may be written to it until `TerminalBack`.
    TerminalLent {
        /// The worker.
        worker: WorkerId,
    },
    /// The worker has given the terminal back, or is gone.
    TerminalBack {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker was asked for items by the pytest host's scheduler, and gave these back.
    TakenBack {
        /// Where.
        worker: WorkerId,
        /// Which; none if it was asked too late.
        items: Vec<ItemIndex>,
    },
    /// A worker has done its share (`--max-tests-per-worker`, `--worker-memory-limit`) and ends; when it is down, another one
    /// takes its place if there is anything left to do.
    WorkerRecycled {
        /// The worker.
        worker: WorkerId,
        /// Why, in one line.
        reason: String,
    },
    /// A worker is gone: after its clean end (`error` is `None`), or after `Crashed`.
    WorkerDown {
        /// The worker.
        worker: WorkerId,
        /// What went wrong, in one line, for example `exit code 3`.
        error: Option<String>,
    },
    /// No replacement is started for a crashed worker.
    RestartsExhausted {
        /// The crashed worker.
        worker: WorkerId,
        /// The limit.
        limit: u32,
    },
    /// A Python warning.
    Warning {
        /// Where.
        worker: WorkerId,
        /// The warning.
        warning: WarningRecord,
    },
    /// Raw output that pytest did not capture.
    Output {
        /// Where.
        worker: WorkerId,
        /// Which stream.
        stream: Stream,
        /// The bytes, whole lines where possible.
        data: Vec<u8>,
    },
    /// A worker could not go on because of an error outside any test.
    InternalError {
        /// Where.
        worker: WorkerId,
        /// What happened.
        text: String,
    },
    /// The arguments or the configuration are wrong; told once.
    UsageError {
        /// The first worker that said so.
        worker: WorkerId,
        /// What pytest prints for it.
        text: String,
    },
    /// A host was lost or never came up, or a peer broke the protocol. Its workers follow as `Crashed`.
    HostLost {
        /// Which, for people.
        host: String,
        /// What happened and what to do.
        error: String,
    },
    /// A worker that came later takes part, though it has another Python or pytest than others.
    WorkerUnlike {
        /// The worker.
        worker: WorkerId,
        /// How it differs.
        text: String,
    },
    /// Nobody is left to run anything. Others who join within this time go on.
    WorkersAwaited {
        /// How long they are waited for.
        patience: Duration,
    },
    /// Files of another machine were fetched (`--fetch`), or could not be. Comes after every `WorkerDown`.
    FilesFetched(Box<FilesFetched>),
    /// Nothing more is started, for this reason. Queues are emptied.
    Stopping(StopReason),
    /// These items will never run. Comes before `Finished`.
    NotRun {
        /// The worker whose items these are, in mode `each`.
        worker: Option<WorkerId>,
        /// Which.
        items: Vec<ItemIndex>,
        /// Why.
        reason: String,
    },
    /// A worker's session ended in good order.
    WorkerOutput {
        /// Where.
        worker: WorkerId,
        /// pytest's exit status there.
        exit_status: i32,
        /// `config.workeroutput`.
        values: Vec<(String, xdist_proto::Value)>,
    },
}

/// The line for [`RunEvent::WorkersAwaited`].
#[must_use]
pub fn awaited(patience: Duration) -> String {
    format!(
        "no worker is left; others who join within {} s go on (--wait-for-workers)",
        patience.as_secs_f64()
    )
}

/// What the first worker read from arguments, configuration and environment, and what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Configured {
    /// The run, by its final name.
    pub run: RunId,
    /// How many workers the run begins with.
    pub workers: u32,
    /// How items are handed out.
    pub mode: Mode,
    /// The options that concern the run.
    pub options: RunOptions,
    /// The options that concern output.
    pub display: DisplayOptions,
    /// The lines of pytest's header.
    pub header: Vec<String>,
    /// pytest's root directory.
    pub rootdir: String,
}

/// A difference between what two workers collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The worker that the others are compared with.
    pub reference: WorkerId,
    /// Each worker that differs.
    pub differing: Vec<Difference>,
}

/// How one worker's items differ from the reference's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The worker.
    pub worker: WorkerId,
    /// Node ids that only the reference has.
    pub missing: Vec<String>,
    /// Node ids that only this worker has.
    pub extra: Vec<String>,
}

/// The unexpected end of a test process.
#[derive(Clone, Debug, PartialEq)]
pub struct Crash {
    /// The worker.
    pub worker: WorkerId,
    /// The item that was running, if one was. It counts as failed.
    pub item: Option<CrashedItem>,
    /// What that item had reported of earlier phases; without it, they passed.
    pub report: Option<Box<ItemReport>>,
    /// How the process ended.
    pub cause: CrashCause,
    /// Whether the machine ran out of memory at that time, as far as the host can tell.
    pub out_of_memory: bool,
    /// Process id of the test process, if it came that far.
    pub pid: Option<u32>,
    /// The name of the machine that it was on; empty if it is not known.
    pub host: String,
    /// The last lines it wrote to standard error.
    pub stderr_tail: String,
    /// faulthandler's stack dump.
    pub stack: Option<String>,
    /// Peak resident memory, in KiB; 0 if unknown.
    pub peak_rss_kib: u64,
    /// Whether the pytest host was asked about it first ([`RunEvent::CrashQuestion`]).
    pub asked: bool,
    /// How often the item had failed before, as in [`RunEvent::ItemFinished`].
    pub retries: u32,
}

/// A failure of an item that is to run again.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedAttempt {
    /// Where it failed.
    pub worker: WorkerId,
    /// Which.
    pub item: ItemIndex,
    /// The how-manieth retry follows, from 1.
    pub retry: u32,
    /// How many retries there are at most.
    pub limit: u32,
    /// How it failed.
    pub failure: Failure,
}

/// How an item failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// By this report.
    Report(Box<ItemReport>),
    /// The test process ended.
    Crash(Box<Crash>),
}

/// Files of a directory on another machine that were fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesFetched {
    /// What the user calls the machine.
    pub machine: String,
    /// The directory there.
    pub from: String,
    /// The directory here.
    pub into: String,
    /// How many there are.
    pub files: u32,
    /// How many bytes they have together.
    pub bytes: u64,
    /// What was not fetched and why, each in one line.
    pub problems: Vec<String>,
}

/// The most problems of [`FilesFetched::lines`].
const TOLD_PROBLEMS: usize = 10;

impl FilesFetched {
    /// What to tell people, line by line. The texts are from another machine, so nothing in them moves the cursor.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Self { machine, from, into, files, bytes, problems } = self;
        let fetched = match files {
            0 if problems.is_empty() => {
                Some(format!("fetched nothing from {machine}: no file in {from} matches"))
            }
            0 => None,
            1 => Some(format!("fetched 1 file ({}) from {machine} into {into}", size(*bytes))),
            _ => Some(format!("fetched {files} files ({}) from {machine} into {into}", size(*bytes))),
        };
        let told =
            problems.iter().take(TOLD_PROBLEMS).map(|why| format!("not fetched from {machine}: {why}"));
        let more = problems.len().saturating_sub(TOLD_PROBLEMS);
        let more = (more > 0).then(|| format!("not fetched from {machine}: {more} more files"));
        let plain =
            |line: String| line.chars().map(|char| if char.is_control() { '?' } else { char }).collect();
        fetched.into_iter().chain(told).chain(more).map(plain).collect()
    }
}

/// `1.2 MB`.
fn size(bytes: u64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.into_iter().find(|(unit, _)| bytes as f64 >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit),
        None => format!("{bytes} bytes"),
    }
}

/// The item that a crash is blamed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashedItem {
    /// Which.
    pub item: ItemIndex,
    /// The phase it was in; `None` when the host was lost and nobody can say.
    pub phase: Option<Phase>,
    /// For how long it had been running, where known.
    pub running: Option<Duration>,
}

/// How a worker's life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrashCause {
    /// As the host reports it.
    Process(EndCause),
    /// The whole host is lost.
    HostLost(String),
}

/// Why nothing more is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// `-x` or `--maxfail`: this many failures.
    Failures(u32),
    /// A worker's session asked for it (`session.shouldstop`, `shouldfail`), for this reason.
    Session(String),
    /// `pytest.exit` was called.
    Exit {
        /// The reason given.
        reason: String,
        /// The exit code given.
        code: Option<i32>,
    },
    /// The user interrupted the run.
    Interrupted,
    /// A test raised `KeyboardInterrupt`.
    KeyboardInterrupt(WorkerId),
    /// A worker had an error outside any test.
    InternalError,
    /// Too many workers crashed; this is the limit.
    RestartsExhausted(u32),
    /// No worker is left.
    NoWorkers(String),
    /// The pytest host is gone, without which plugins would miss what they are there for.
    PytestHostLost,
}

impl Crash {
    /// The limit, if the item that was running is why the process was ended: it took longer than that.
    #[must_use]
    pub fn time_limit(&self) -> Option<Duration> {
        match (&self.cause, &self.item) {
            (CrashCause::Process(EndCause::TimedOut(limit_ms)), Some(_)) => {
                Some(Duration::from_millis(*limit_ms))
            }
            (CrashCause::Process(_) | CrashCause::HostLost(_), _) => None,
        }
    }
}

impl fmt::Display for CrashCause {
    /// In one line, for example `exit code 3` or `signal 11 (SIGSEGV)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(EndCause::Exited(code)) => write!(f, "exit code {code}"),
            Self::Process(EndCause::Signaled(signal)) => match signal_name(*signal) {
                Some(name) => write!(f, "signal {signal} ({name})"),
                None => write!(f, "signal {signal}"),
            },
            Self::Process(EndCause::NotStarted(why)) => write!(f, "not started: {why}"),
            Self::Process(EndCause::Killed(why)) => write!(f, "killed: {why}"),
            Self::Process(EndCause::TimedOut(limit_ms)) => write!(f, "timeout: {}", over(*limit_ms)),
            Self::HostLost(why) => write!(f, "host lost: {why}"),
        }
    }
}

/// `ran for more than 2.5 s`.
fn over(limit_ms: u64) -> String {
    format!("ran for more than {} s", Duration::from_millis(limit_ms).as_secs_f64())
}

/// The names of the signals that processes die of, where they have the same number everywhere.
const fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        _ => return None,
    })
}

impl fmt::Display for StopReason {
    /// In one line, as the reason why an item was not run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // pytest's words, which do not count.
            Self::Failures(count) => write!(f, "stopping after {count} failures"),
            Self::Session(reason) => f.write_str(reason),
            Self::Exit { reason, .. } => write!(f, "pytest.exit: {reason}"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::KeyboardInterrupt(worker) => write!(f, "KeyboardInterrupt on {worker}"),
            Self::InternalError => f.write_str("internal error"),
            Self::RestartsExhausted(1) => f.write_str("more than 1 worker crashed"),
            Self::RestartsExhausted(limit) => write!(f, "more than {limit} workers crashed"),
            Self::NoWorkers(why) => f.write_str(why),
            Self::PytestHostLost => f.write_str("the pytest host is gone"),
        }
    }
}

/// How the run ended, for the exit code and the last line. Every collected item is counted once (per worker in mode
/// `each`): `finished + crashed + not_run` is `collected`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// Why it ended.
    pub end: RunEnd,
    /// How many items were to be run.
    pub collected: u64,
    /// How many have a result.
    pub finished: u64,
    /// How many ended in a crash.
    pub crashed: u64,
    /// How many never ran, or were cut off by an interrupt.
    pub not_run: u64,
    /// How many items failed (results and crashes).
    pub failed: u64,
    /// How many items failed first, and did not in the end.
    pub flaky: u64,
    /// Whether the user takes those for a failure of the run (`--flaky=fail`).
    pub flaky_fails: bool,
    /// How many collectors failed.
    pub collect_errors: u64,
}

/// Why a run ended. The exit code follows from it (`xdist-cli::exit_code`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Everything that was collected is accounted for.
    Completed,
    /// This invocation is for plain pytest, for this reason; nothing was run.
    Plain(String),
    /// It was stopped before everything was run.
    Stopped(StopReason),
    /// Arguments or configuration are wrong; pytest gives this code.
    UsageError(i32),
    /// Workers collected different items.
    Mismatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_were_fetched_are_told_of_in_lines_that_do_no_harm() {
        let fetched = FilesFetched {
            machine: "b".to_owned(),
            from: "/srv".to_owned(),
            into: "x/b".to_owned(),
            ..FilesFetched::default()
        };
        assert_eq!(fetched.lines(), ["fetched nothing from b: no file in /srv matches"]);
        let problems = (0..12).map(|number| format!("{number}\x1b[2J: no")).collect();
        let fetched = FilesFetched { files: 1, bytes: 1_999, problems, ..fetched };
        let lines = fetched.lines();
        assert_eq!(lines[..2], ["fetched 1 file (2.0 kB) from b into x/b", "not fetched from b: 0?[2J: no"]);
        assert_eq!((lines.len(), lines[11].as_str()), (12, "not fetched from b: 2 more files"));
        let fetched = FilesFetched { files: 0, ..fetched };
        assert_eq!(fetched.lines()[0], "not fetched from b: 0?[2J: no");
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        let sizes = [0, 999, 1000, 1_234_567, 5_000_000_000].map(size);
        assert_eq!(sizes, ["0 bytes", "999 bytes", "1.0 kB", "1.2 MB", "5.0 GB"]);
    }
}
