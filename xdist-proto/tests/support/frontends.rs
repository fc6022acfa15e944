//! The messages of a frontend's link, as in `vectors`.

use super::vectors::{WORKER, collect_report, failed, indexes, items, ready, values, warning};
use xdist_proto::frontend::{
    Assign, CollectionDifference, CollectionMismatch, ConfigureNode, CrashHandled, CrashQuestion, Crashed,
    EndKind, ErrorKind, Farewell, FilesCopied, FilesFetched, Finished, FrontendCommand, FrontendMessage,
    InterruptRun, ItemResult, ItemRetried, ItemRunning, Items, NodeConfigured, NodeOutput, NotRun,
    ParkWorker, RestartsExhausted, Retire, RunCollectReport, RunConfigured, RunError, RunOutput, RunWarning,
    Scheduling, Stopping, TakeBack, TakenBack, TerminalBack, TerminalFree, TerminalLent, Unforkable,
    WorkerCollected, WorkerDown, WorkerRecycled, WorkerStarting,
};
use xdist_proto::message::{Ready, Stream};
use xdist_proto::report::Phase;
use xdist_proto::{ItemIndex, RunId, WorkerId};

const ITEM: ItemIndex = ItemIndex(200);

/// What a frontend is told. Kinds that a worker's messages have too carry `frontend` in their names.
pub(super) fn told() -> Vec<(&'static str, FrontendMessage)> {
    let mut messages = of_workers();
    messages.extend(of_collection());
    messages.extend(of_items());
    messages.extend(of_ends());
    messages
}

fn of_workers() -> Vec<(&'static str, FrontendMessage)> {
    let starting = |replaces| WorkerStarting {
        worker: WORKER,
        name: "gw3".into(),
        spec: "popen//python=python3.13".into(),
        replaces,
    };
    let down = |error| FrontendMessage::WorkerDown(WorkerDown { worker: WORKER, error });
    vec![
        (
            "run_configured",
            FrontendMessage::RunConfigured(RunConfigured {
                run: RunId("0123456789abcdef0123456789abcdef".into()),
                workers: 4,
                mode: "worksteal".into(),
            }),
        ),
        ("worker_starting", FrontendMessage::WorkerStarting(starting(Some(WorkerId(1))))),
        ("worker_starting-first", FrontendMessage::WorkerStarting(starting(None))),
        ("configure_node", FrontendMessage::ConfigureNode(ConfigureNode { worker: WORKER })),
        ("worker_ready", FrontendMessage::WorkerReady(Box::new(ready()))),
        (
            "worker_ready-minimal",
            FrontendMessage::WorkerReady(Box::new(Ready { worker: WORKER, ..Ready::default() })),
        ),
        (
            "node_output",
            FrontendMessage::NodeOutput(NodeOutput { worker: WORKER, exit_status: 1, values: values() }),
        ),
        (
            "worker_recycled",
            FrontendMessage::WorkerRecycled(WorkerRecycled {
                worker: WORKER,
                reason: "--max-tests-per-worker=100".into(),
            }),
        ),
        ("worker_down", down(Some("signal 11 (SIGSEGV)".into()))),
        ("worker_down-clean", down(None)),
        (
            "unforkable",
            FrontendMessage::Unforkable(Unforkable { worker: WORKER, reason: "a thread is running".into() }),
        ),
        (
            "files_copied",
            FrontendMessage::FilesCopied(FilesCopied {
                host: "build1".into(),
                name: "project".into(),
                path: "/srv/project".into(),
                files: 20_000,
                written: 3,
                removed: 1,
                bytes: 70_000,
                took_ms: 400,
            }),
        ),
        ("terminal_lent", FrontendMessage::TerminalLent(TerminalLent { worker: WORKER })),
        ("terminal_back", FrontendMessage::TerminalBack(TerminalBack {})),
        ("taken_back", FrontendMessage::TakenBack(TakenBack { worker: WORKER, items: indexes(&[300]) })),
        (
            "restarts_exhausted",
            FrontendMessage::RestartsExhausted(RestartsExhausted { worker: WORKER, limit: 16 }),
        ),
    ]
}

fn of_collection() -> Vec<(&'static str, FrontendMessage)> {
    let part = |worker| FrontendMessage::Items(Items { worker, offset: 300, total: 302, items: items() });
    let difference = CollectionDifference {
        worker: WORKER,
        missing: vec!["tests/a.py::one".into()],
        extra: vec!["tests/a.py::other".into()],
    };
    vec![
        (
            "worker_collected",
            FrontendMessage::WorkerCollected(WorkerCollected { worker: WORKER, items: 302, deselected: 5 }),
        ),
        (
            "collect_report-frontend",
            FrontendMessage::CollectReport(RunCollectReport { worker: WORKER, report: collect_report() }),
        ),
        ("items", part(None)),
        ("items-each", part(Some(WORKER))),
        (
            "collection_mismatch",
            FrontendMessage::CollectionMismatch(CollectionMismatch {
                reference: WorkerId(0),
                differing: vec![difference],
            }),
        ),
        (
            "scheduling",
            FrontendMessage::Scheduling(Scheduling {
                mode: "each".into(),
                warning: Some("no effect".into()),
            }),
        ),
    ]
}

fn of_items() -> Vec<(&'static str, FrontendMessage)> {
    let crashed = Crashed {
        worker: WORKER,
        cause: "signal 11 (SIGSEGV)".into(),
        limit_ms: None,
        pid: Some(4711),
        host: "buildhost".into(),
        out_of_memory: true,
        stderr_tail: "Fatal Python error\n".into(),
        stack: Some("Current thread".into()),
        peak_rss_kib: 65536,
        item: Some(ITEM),
        phase: Some(Phase::Teardown),
        running_ms: Some(150),
        report: Some(Box::new(failed())),
        asked: true,
        retries: 1,
    };
    let question = Box::new(Crashed { asked: false, retries: 0, ..crashed.clone() });
    let retried = |report, crash| {
        FrontendMessage::ItemRetried(Box::new(ItemRetried {
            worker: WORKER,
            item: ITEM,
            retry: 1,
            limit: 2,
            report,
            crash,
        }))
    };
    let cause = "timeout: ran for more than 2.5 s".into();
    let timed_out = Crashed { worker: WORKER, cause, limit_ms: Some(2500), ..Crashed::default() };
    let least = Crashed { worker: WORKER, cause: "exit code 1".into(), ..Crashed::default() };
    vec![
        (
            "item_running",
            FrontendMessage::ItemRunning(ItemRunning {
                worker: WORKER,
                item: ITEM,
                phase: Phase::Setup,
                running_ms: 2000,
                slow_ms: None,
            }),
        ),
        (
            "item_running-slow",
            FrontendMessage::ItemRunning(ItemRunning {
                worker: WORKER,
                item: ITEM,
                phase: Phase::Call,
                running_ms: 120_015,
                slow_ms: Some(120_000),
            }),
        ),
        (
            "item_result",
            FrontendMessage::ItemResult(ItemResult {
                worker: WORKER,
                item: ITEM,
                report: failed(),
                retries: 1,
            }),
        ),
        ("item_retried", retried(Some(failed()), None)),
        ("item_retried-crash", retried(None, Some(question.clone()))),
        ("crash_question", FrontendMessage::CrashQuestion(CrashQuestion { request: 9, crash: question })),
        ("crashed", FrontendMessage::Crashed(Box::new(crashed))),
        ("crashed-timed-out", FrontendMessage::Crashed(Box::new(timed_out))),
        ("crashed-minimal", FrontendMessage::Crashed(Box::new(least))),
        ("warning-frontend", FrontendMessage::Warning(RunWarning { worker: WORKER, warning: warning() })),
        (
            "output-frontend",
            FrontendMessage::Output(RunOutput {
                worker: WORKER,
                stream: Stream::Stdout,
                data: b"oops \xff\n".to_vec(),
            }),
        ),
    ]
}

fn of_ends() -> Vec<(&'static str, FrontendMessage)> {
    let error = |worker, kind| FrontendMessage::Error(RunError { worker, kind, text: "it broke".into() });
    let mut messages = vec![
        ("error-internal", error(Some(WORKER), ErrorKind::Internal)),
        ("error-usage", error(Some(WORKER), ErrorKind::Usage)),
        ("error-host", error(None, ErrorKind::Host)),
        (
            "files_fetched",
            FrontendMessage::FilesFetched(FilesFetched {
                machine: "build1".into(),
                directory: "xdist-fetched/build1".into(),
                files: 2,
                bytes: 70_000,
                lines: vec!["fetched 2 files (70.0 kB) from build1 into xdist-fetched/build1".into()],
            }),
        ),
        ("stopping", FrontendMessage::Stopping(Stopping { reason: "stopping after 1 failure".into() })),
        ("not_run", not_run(None)),
        ("not_run-each", not_run(Some(WORKER))),
    ];
    let ends = [
        ("finished-completed", EndKind::Completed),
        ("finished-stopped", EndKind::Stopped),
        ("finished-restarts_exhausted", EndKind::RestartsExhausted),
        ("finished-interrupted", EndKind::Interrupted),
        ("finished-exit", EndKind::Exit),
        ("finished-internal_error", EndKind::InternalError),
        ("finished-usage_error", EndKind::UsageError),
        ("finished-mismatch", EndKind::Mismatch),
        ("finished-plain", EndKind::Plain),
        ("finished-other", EndKind::Other),
    ];
    messages.extend(ends.map(|(name, end)| (name, finished(end))));
    messages
}

fn not_run(worker: Option<WorkerId>) -> FrontendMessage {
    FrontendMessage::NotRun(NotRun { worker, items: indexes(&[200, 201]), reason: "interrupted".into() })
}

fn finished(end: EndKind) -> FrontendMessage {
    let is_exit = end == EndKind::Exit;
    FrontendMessage::Finished(Finished {
        end,
        reason: if is_exit { "enough".into() } else { String::new() },
        worker: (end == EndKind::Interrupted).then_some(WORKER),
        exit_code: is_exit.then_some(9),
        collected: 302,
        not_run: 2,
        flaky: 1,
        flaky_fails: true,
    })
}

/// What a frontend says.
pub(super) fn answers() -> Vec<(&'static str, FrontendCommand)> {
    vec![
        (
            "node_configured",
            FrontendCommand::NodeConfigured(NodeConfigured { worker: WORKER, input: values() }),
        ),
        (
            "node_configured-minimal",
            FrontendCommand::NodeConfigured(NodeConfigured { worker: WORKER, input: [].into() }),
        ),
        (
            "crash_handled",
            FrontendCommand::CrashHandled(CrashHandled { request: 9, again: true, excused: true }),
        ),
        ("assign", FrontendCommand::Assign(Assign { worker: WORKER, items: indexes(&[0, 300]) })),
        ("take_back", FrontendCommand::TakeBack(TakeBack { worker: WORKER, items: indexes(&[300]) })),
        ("park_worker", FrontendCommand::ParkWorker(ParkWorker { worker: WORKER })),
        ("retire", FrontendCommand::Retire(Retire { worker: WORKER })),
        ("terminal_free", FrontendCommand::TerminalFree(TerminalFree {})),
        ("interrupt_run", FrontendCommand::InterruptRun(InterruptRun {})),
        ("farewell", FrontendCommand::Farewell(Farewell {})),
    ]
}
