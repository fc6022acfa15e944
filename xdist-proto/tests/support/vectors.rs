//! One message of every kind with every field, and a few with as little as possible.

use super::frontends;
use std::collections::BTreeMap;
use std::fmt::Debug;
use xdist_proto::codec::{self, CoordinatorOpening, Decoded, PeerOpening};
use xdist_proto::fetch::{Fetch, FetchDone, Fetched, FileEnd};
use xdist_proto::frame::{MAX_FRAME_BYTES, PREFIX_BYTES};
use xdist_proto::frontend::{FEATURE_CONFIGURE_NODE, FEATURE_CRASHES, FrontendCommand, FrontendMessage};
use xdist_proto::handshake::{Hello, HostFacts, Implementation, RefusalReason, Refused, Role, Welcome};
use xdist_proto::message::*;
use xdist_proto::report::{
    CollectReport, CrashLine, FailureText, ItemReport, Location, OutcomeClass, Phase, PhaseReport, Section,
    SkipReason, Status, WarningRecord,
};
use xdist_proto::sync::{
    Changed, Files, Piece, PieceEnd, SyncBegin, SyncData, SyncEnd, SyncFailed, SyncTaken, SyncWant,
};
use xdist_proto::tree::BlobHash;
use xdist_proto::value::{Value, extension};
use xdist_proto::version::{ProtocolVersion, VersionRange};
use xdist_proto::{Collection, DecodeError, FetchId, Item, ItemIndex, LeaseId, Resource, RunId, WorkerId};

/// A message of any of the families.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Any {
    PeerOpening(PeerOpening),
    CoordinatorOpening(CoordinatorOpening),
    Coordinator(CoordinatorMessage),
    Worker(WorkerMessage),
    Frontend(FrontendMessage),
    FrontendCommand(FrontendCommand),
}

/// Which family a vector belongs to, and so who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    PeerOpening,
    CoordinatorOpening,
    Coordinator,
    Worker,
    Frontend,
    FrontendCommand,
}

impl Any {
    /// The message as a frame with its prefix.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let result = match self {
            Self::PeerOpening(message) => codec::encode_into(message, MAX_FRAME_BYTES, &mut out),
            Self::CoordinatorOpening(message) => codec::encode_into(message, MAX_FRAME_BYTES, &mut out),
            Self::Coordinator(message) => codec::encode_into(message, MAX_FRAME_BYTES, &mut out),
            Self::Worker(message) => codec::encode_into(message, MAX_FRAME_BYTES, &mut out),
            Self::Frontend(message) => codec::encode_into(message, MAX_FRAME_BYTES, &mut out),
            Self::FrontendCommand(message) => codec::encode_into(message, MAX_FRAME_BYTES, &mut out),
        };
        result.unwrap();
        out
    }

    /// The message as the payload of a frame.
    pub(crate) fn payload(&self) -> Vec<u8> {
        self.frame().split_off(PREFIX_BYTES)
    }

    pub(crate) fn family(&self) -> Family {
        match self {
            Self::PeerOpening(_) => Family::PeerOpening,
            Self::CoordinatorOpening(_) => Family::CoordinatorOpening,
            Self::Coordinator(_) => Family::Coordinator,
            Self::Worker(_) => Family::Worker,
            Self::Frontend(_) => Family::Frontend,
            Self::FrontendCommand(_) => Family::FrontendCommand,
        }
    }
}

impl Family {
    pub(crate) const ALL: [Self; 6] = [
        Self::PeerOpening,
        Self::CoordinatorOpening,
        Self::Coordinator,
        Self::Worker,
        Self::Frontend,
        Self::FrontendCommand,
    ];

    /// Decodes a payload as a message of this family; `None` is a message that was skipped.
    pub(crate) fn decode(self, payload: &[u8]) -> Result<Option<Any>, DecodeError> {
        fn message<M>(decoded: Decoded<M>, wrap: fn(M) -> Any) -> Option<Any> {
            match decoded {
                Decoded::Message(message) => Some(wrap(message)),
                Decoded::Skipped => None,
            }
        }
        match self {
            Self::PeerOpening => codec::decode(payload).map(|decoded| message(decoded, Any::PeerOpening)),
            Self::CoordinatorOpening => {
                codec::decode(payload).map(|decoded| message(decoded, Any::CoordinatorOpening))
            }
            Self::Coordinator => codec::decode(payload).map(|decoded| message(decoded, Any::Coordinator)),
            Self::Worker => codec::decode(payload).map(|decoded| message(decoded, Any::Worker)),
            Self::Frontend => codec::decode(payload).map(|decoded| message(decoded, Any::Frontend)),
            Self::FrontendCommand => {
                codec::decode(payload).map(|decoded| message(decoded, Any::FrontendCommand))
            }
        }
    }
}

/// The vectors of version 1.0, by name. A name is the kind, and what is special about it.
pub(crate) fn v1_0() -> Vec<(&'static str, Any)> {
    let mut vectors = openings();
    vectors.extend(commands().into_iter().map(|(name, message)| (name, Any::Coordinator(message))));
    vectors.extend(events().into_iter().map(|(name, message)| (name, Any::Worker(message))));
    vectors.extend(frontends::told().into_iter().map(|(name, message)| (name, Any::Frontend(message))));
    vectors.extend(
        frontends::answers().into_iter().map(|(name, message)| (name, Any::FrontendCommand(message))),
    );
    vectors
}

pub(super) const WORKER: WorkerId = WorkerId(3);
const LEASE: LeaseId = LeaseId(41);

/// What only the sender's implementation understands.
const FULL: &[u8] = b"\x81\xa8longrepr\xc0";

fn openings() -> Vec<(&'static str, Any)> {
    let hello = Hello {
        implementation: Implementation { name: "acme".into(), version: "2.1".into() },
        versions: VersionRange::SUPPORTED,
        role: Role::Worker,
        host: HostFacts { hostname: "box".into(), pid: 4711, os: "linux".into(), arch: "x86_64".into() },
        slots: 2,
        features: features(),
        generation: 1,
        proof: b"secret".to_vec(),
    };
    let hello_minimal = Hello {
        host: HostFacts::default(),
        slots: 1,
        features: BTreeMap::new(),
        generation: 0,
        proof: Vec::new(),
        ..hello.clone()
    };
    let hello_frontend = Hello {
        role: Role::Frontend,
        slots: 0,
        features: [FEATURE_CONFIGURE_NODE, FEATURE_CRASHES].map(|name| (name.into(), 1)).into(),
        ..hello_minimal.clone()
    };
    let welcome = Welcome {
        version: ProtocolVersion::V1_0,
        features: features(),
        run: RunId("0123456789abcdef0123456789abcdef".into()),
        workers: vec![WorkerId(0), WORKER],
        heartbeat_ms: 5000,
        max_frame_bytes: MAX_FRAME_BYTES,
    };
    let refused = Refused {
        reason: RefusalReason::Version,
        text: "acme 2.1 speaks protocol version 2.0, and this side, xdist 1.0.0, speaks 1.0: upgrade xdist"
            .into(),
        versions: VersionRange::SUPPORTED,
    };
    vec![
        ("hello", Any::PeerOpening(PeerOpening::Hello(Box::new(hello)))),
        ("hello-minimal", Any::PeerOpening(PeerOpening::Hello(Box::new(hello_minimal)))),
        ("hello-frontend", Any::PeerOpening(PeerOpening::Hello(Box::new(hello_frontend)))),
        ("welcome", Any::CoordinatorOpening(CoordinatorOpening::Welcome(welcome))),
        ("refused", Any::CoordinatorOpening(CoordinatorOpening::Refused(refused))),
    ]
}

fn features() -> BTreeMap<String, u64> {
    BTreeMap::from([("example".into(), 65536)])
}

/// One value of every type.
pub(super) fn values() -> BTreeMap<String, Value> {
    let ext = |code, text: &[u8]| Value::Ext(code, text.to_vec());
    BTreeMap::from([
        ("array".into(), Value::Array(vec![Value::from(1), Value::from("x")])),
        ("big_integer".into(), ext(extension::BIG_INTEGER, b"-340282366920938463463374607431768211456")),
        ("bytes".into(), Value::Binary(vec![0, 255])),
        ("complex".into(), ext(extension::COMPLEX, b"\x92\xcb\x3f\xf8\0\0\0\0\0\0\xcb\0\0\0\0\0\0\0\0")),
        ("false".into(), Value::from(false)),
        ("float".into(), Value::from(1.5)),
        ("frozen_set".into(), ext(extension::FROZEN_SET, b"\x91\x01")),
        ("map".into(), Value::Map(vec![(Value::from(1), Value::from("one"))])),
        ("negative".into(), Value::from(-1)),
        ("nil".into(), Value::Nil),
        ("set".into(), ext(extension::SET, b"\x90")),
        ("surrogate_text".into(), ext(extension::SURROGATE_TEXT, b"\xed\xb3\xbf")),
        ("text".into(), Value::from("gr\u{fc}n")),
        ("tuple".into(), ext(extension::TUPLE, b"\x92\x01\xa1x")),
        ("unsendable".into(), ext(extension::UNSENDABLE, b"\x92\xa7Decimal\xacDecimal('1')")),
        ("unsigned".into(), Value::from(u64::MAX)),
    ])
}

fn commands() -> Vec<(&'static str, CoordinatorMessage)> {
    let configure = Configure {
        worker: WORKER,
        name: "gw3".into(),
        worker_count: 4,
        run: "0123456789abcdef0123456789abcdef".into(),
        args: vec!["-q".into(), "tests".into()],
        python: vec!["/usr/bin/python3".into(), "-B".into()],
        chdir: Some("/work".into()),
        env: BTreeMap::from([("COLOR".into(), "blue".into())]),
        nice: -5,
        input: values(),
        wants: Wants {
            started_after_ms: 2000,
            passed_output: true,
            locations: true,
            hooks: true,
            full: true,
            width: 80,
            debugger: true,
            terminal: true,
            files: true,
        },
        ramp_delay_ms: 250,
        start: Start::Spawn,
    };
    vec![
        ("configure", CoordinatorMessage::Configure(configure)),
        (
            "configure-minimal",
            CoordinatorMessage::Configure(Configure {
                name: "gw0".into(),
                run: "r".into(),
                ..Configure::default()
            }),
        ),
        (
            "configure-fork",
            CoordinatorMessage::Configure(Configure {
                name: "gw1".into(),
                run: "r".into(),
                start: Start::Fork,
                ..Configure::default()
            }),
        ),
        (
            "proceed",
            CoordinatorMessage::Proceed(Proceed {
                worker: WORKER,
                input: BTreeMap::from([("cov_source".into(), Value::from("src"))]),
                full: true,
            }),
        ),
        ("proceed-minimal", CoordinatorMessage::Proceed(Proceed { worker: WORKER, ..Proceed::default() })),
        ("collect", CoordinatorMessage::Collect(Collect { worker: WORKER })),
        ("send_collection", CoordinatorMessage::SendCollection(SendCollection { worker: WORKER })),
        (
            "run",
            CoordinatorMessage::Run(Run { worker: WORKER, lease: LEASE, items: indexes(&[0, 200, 70_000]) }),
        ),
        (
            "answer",
            CoordinatorMessage::Answer(Answer {
                worker: WORKER,
                reply: Reply::Terminal("/dev/pts/3".into()),
            }),
        ),
        (
            "answer-refused",
            CoordinatorMessage::Answer(Answer {
                worker: WORKER,
                reply: Reply::Refused("no terminal".into()),
            }),
        ),
        ("answer-value", answer(Reply::Value(Value::Array(vec!["postgres://".into(), 5432.into()])))),
        ("answer-make", answer(Reply::Make)),
        ("answer-locked", answer(Reply::Locked)),
        ("answer-last", answer(Reply::Last(vec!["database".into()]))),
        ("suspend", CoordinatorMessage::Suspend(Suspend { worker: WORKER })),
        ("resume", CoordinatorMessage::Resume(Resume { worker: WORKER })),
        (
            "steal",
            CoordinatorMessage::Steal(Steal { worker: WORKER, request: 9, items: indexes(&[200, 70_000]) }),
        ),
        ("cancel", CoordinatorMessage::Cancel(Cancel { worker: WORKER, request: 10 })),
        ("park", CoordinatorMessage::Park(Park { worker: WORKER })),
        ("drain", CoordinatorMessage::Drain(Drain { worker: WORKER })),
        ("interrupt", CoordinatorMessage::Interrupt(Interrupt { worker: WORKER })),
        ("shutdown", CoordinatorMessage::Shutdown(Shutdown { worker: WORKER, grace_ms: 500 })),
        (
            "sync_begin",
            CoordinatorMessage::SyncBegin(SyncBegin {
                tree: 3,
                base: Some("/srv".into()),
                project: "project-0123456789abcdef".into(),
                name: "project".into(),
                root: BlobHash::of(b"a listing"),
            }),
        ),
        (
            "sync_begin-minimal",
            CoordinatorMessage::SyncBegin(SyncBegin {
                tree: 0,
                base: None,
                project: String::new(),
                name: "project".into(),
                root: BlobHash::of(b""),
            }),
        ),
        (
            "sync_data",
            sync_data(vec![
                Piece { length: 2, end: PieceEnd::Whole },
                Piece {
                    length: 1,
                    end: PieceEnd::Changed(Changed { content: BlobHash::of(b"c"), mtime_ns: -1 }),
                },
                Piece { length: 0, end: PieceEnd::Gone },
                Piece { length: 3, end: PieceEnd::More },
            ]),
        ),
        (
            "sync_data-packed",
            CoordinatorMessage::SyncData(SyncData {
                tree: 3,
                pieces: vec![Piece { length: 300, end: PieceEnd::Whole }],
                packed: true,
                data: packed_letters(),
            }),
        ),
        (
            "dismissed",
            CoordinatorMessage::Dismissed(Dismissed { text: "it collected other tests than the run".into() }),
        ),
        ("ping", CoordinatorMessage::Ping(Ping { nonce: 1 << 40 })),
        (
            "fetch",
            CoordinatorMessage::Fetch(Fetch {
                request: FetchId(2),
                directory: "/srv/t".into(),
                patterns: vec!["shots/**/*.png".into()],
                except: vec!["xdist-fetched".into()],
                max_files: 10_000,
                max_bytes: 4 << 30,
            }),
        ),
    ]
}

fn sync_data(pieces: Vec<Piece>) -> CoordinatorMessage {
    CoordinatorMessage::SyncData(SyncData { tree: 3, pieces, packed: false, data: b"abcdef".to_vec() })
}

/// 300 times the letter x, as one frame of Zstandard: a block that repeats one byte (RFC 8878, 3.1.1).
fn packed_letters() -> Vec<u8> {
    vec![0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x2c, 0x00, 0x63, 0x09, 0x00, b'x']
}

fn answer(reply: Reply) -> CoordinatorMessage {
    CoordinatorMessage::Answer(Answer { worker: WORKER, reply })
}

fn events() -> Vec<(&'static str, WorkerMessage)> {
    let mut events = session_events();
    events.extend(item_events());
    events.extend(end_events());
    events
}

fn ask(question: Question) -> WorkerMessage {
    WorkerMessage::Ask(Ask { worker: WORKER, question })
}

fn session_events() -> Vec<(&'static str, WorkerMessage)> {
    let items = items();
    let digest = Collection { items: items.clone() }.digest();
    vec![
        (
            "host_wanted",
            WorkerMessage::HostWanted(HostWanted {
                worker: WORKER,
                hooks: vec!["pytest_testnodedown (conftest.py)".into()],
            }),
        ),
        ("ask", WorkerMessage::Ask(Ask { worker: WORKER, question: Question::Terminal })),
        ("ask-value", ask(Question::Shared(Shared::Value("database".into())))),
        ("ask-lock", ask(Question::Shared(Shared::Lock("port".into())))),
        ("ask-leaving", ask(Question::Leaving)),
        ("ask_withdrawn", WorkerMessage::AskWithdrawn(AskWithdrawn { worker: WORKER })),
        (
            "made",
            WorkerMessage::Made(Made { worker: WORKER, key: "database".into(), value: Value::from("x") }),
        ),
        (
            "released",
            WorkerMessage::Released(Released { worker: WORKER, shared: Shared::Lock("port".into()) }),
        ),
        ("terminal_returned", WorkerMessage::TerminalReturned(TerminalReturned { worker: WORKER })),
        ("ready", WorkerMessage::Ready(Box::new(ready()))),
        ("ready-minimal", WorkerMessage::Ready(Box::new(Ready { worker: WORKER, ..Ready::default() }))),
        ("collecting", WorkerMessage::Collecting(Collecting { worker: WORKER })),
        (
            "collect_report",
            WorkerMessage::CollectReport(CollectReportEvent { worker: WORKER, report: collect_report() }),
        ),
        (
            "collected",
            WorkerMessage::Collected(Collected {
                worker: WORKER,
                digest,
                count: 2,
                deselected: 5,
                unforkable: Some("a socket is open".into()),
                files: [("tests/test_a.py".into(), 1 << 63)].into(),
            }),
        ),
        (
            "collection",
            WorkerMessage::Collection(CollectionChunk { worker: WORKER, offset: 0, total: 2, items }),
        ),
        ("warning", WorkerMessage::Warning(WarningEvent { worker: WORKER, warning: warning() })),
        (
            "output",
            WorkerMessage::Output(OutputEvent {
                worker: WORKER,
                stream: Stream::Stderr,
                data: b"oops \xff\n".to_vec(),
            }),
        ),
        (
            "sync_want",
            WorkerMessage::SyncWant(SyncWant {
                tree: 3,
                blobs: vec![BlobHash::of(b""), BlobHash::of(b"a listing")],
            }),
        ),
        ("sync_taken", WorkerMessage::SyncTaken(SyncTaken { tree: 3, chunks: 17 })),
        (
            "sync_end",
            WorkerMessage::SyncEnd(SyncEnd {
                tree: 3,
                path: "/srv/project".into(),
                files: 20_000,
                written: 3,
                removed: 1,
                received: 70_000,
            }),
        ),
        (
            "sync_failed",
            WorkerMessage::SyncFailed(SyncFailed {
                tree: 3,
                text: "cannot write \"/srv/project\": No space left on device".into(),
            }),
        ),
        ("pong", WorkerMessage::Pong(Pong { nonce: 1 << 40 })),
    ]
    .into_iter()
    .chain(files())
    .collect()
}

/// Files that are fetched.
fn files() -> Vec<(&'static str, WorkerMessage)> {
    let part = Fetched {
        request: FetchId(2),
        path: "shots/login.png".into(),
        mode: 0o644,
        offset: 262_144,
        data: b"\x89PNG".to_vec(),
        unpacked: None,
        end: Some(FileEnd::Complete([7; 32])),
    };
    let packed = Fetched { offset: 0, unpacked: Some(262_144), end: None, ..part.clone() };
    let broken =
        Fetched { data: Vec::new(), end: Some(FileEnd::Broken("it changed".into())), ..part.clone() };
    let done = FetchDone {
        request: FetchId(2),
        files: 1,
        bytes: 262_148,
        problems: vec!["shots/a.png: permission denied".into()],
    };
    vec![
        ("fetched", WorkerMessage::Fetched(part)),
        ("fetched-packed", WorkerMessage::Fetched(packed)),
        ("fetched-broken", WorkerMessage::Fetched(broken)),
        ("fetch_done", WorkerMessage::FetchDone(done)),
        ("fetch_done-minimal", WorkerMessage::FetchDone(FetchDone::default())),
    ]
}

pub(super) fn ready() -> Ready {
    Ready {
        worker: WORKER,
        pid: 4712,
        executable: "/usr/bin/python3".into(),
        python: vec![3, 13, 0],
        python_text: "3.13.0 (main) [GCC 14]".into(),
        platform: "linux".into(),
        cwd: "/work".into(),
        rootdir: "/work".into(),
        header: vec!["platform linux -- Python 3.13.0".into(), "rootdir: /work".into()],
        options: RunOptions {
            plain: Some("--collect-only".into()),
            workers: Some(4),
            auto_workers: 8,
            max_workers: Some(16),
            dist: Some("loadscope".into()),
            tx: vec!["2*popen".into()],
            px: vec!["ssh=gate//id=g".into()],
            max_chunk: Some(3),
            reorder_scopes: Some(false),
            max_restarts: Some(0),
            run: Some("mine".into()),
            ramp_ms: 1000,
            max_fail: Some(1),
            durations_from: Some("/work/durations.sqlite3".into()),
            timeout_ms: 2500,
            slow_after_ms: 60_000,
            max_tests: Some(100),
            memory_limit_kib: Some(2 << 20),
            retries: 2,
            flaky_fails: true,
            fetch: vec![".coverage*".into(), "shots/**/*.png".into()],
            fetch_to: Some("far".into()),
            files: Files {
                sync: vec!["/work/project".into()],
                rsync: vec!["/work/lib".into()],
                ignore: vec!["*.log".into()],
            },
        },
        display: display(),
        machine: Some("build1".into()),
        unforkable: Some("coverage is being measured".into()),
    }
}

fn display() -> DisplayOptions {
    DisplayOptions {
        verbosity: -1,
        color: true,
        report_chars: "fE".into(),
        traceback_style: "short".into(),
        durations: Some(10),
        durations_min_ms: 5,
        show_capture: "all".into(),
        capture: "fd".into(),
        no_header: true,
        no_summary: true,
        no_warnings: true,
        no_terminal: true,
        flags: vec!["xfail-tb".into()],
        progress_style: "progress".into(),
        cache_dir: Some("/work/.pytest_cache".into()),
        junit: Some(JunitOptions {
            path: "/work/junit.xml".into(),
            prefix: "p".into(),
            suite_name: "pytest".into(),
            family: "xunit2".into(),
            logging: "no".into(),
            log_passing: true,
            duration_report: "total".into(),
        }),
    }
}

fn item_events() -> Vec<(&'static str, WorkerMessage)> {
    let finished = |report| {
        WorkerMessage::ItemFinished(ItemFinished {
            worker: WORKER,
            lease: LEASE,
            item: ItemIndex(200),
            report,
        })
    };
    let phase = PhaseReport {
        phase: Phase::Call,
        class: OutcomeClass::Skip,
        detail: Some("xfailed".into()),
        duration_us: 1500,
        location: Some(location()),
        failure: Some(failure()),
        skip: Some(skip()),
        xfail: Some("bug 12".into()),
        sections: vec![Section { title: "Captured stdout call".into(), text: "hi\n".into() }],
        properties: vec![("key".into(), Value::from(7))],
        status: Some(Status { category: "xfailed".into(), letter: "x".into(), word: "XFAIL".into() }),
    };
    let passed = PhaseReport {
        class: OutcomeClass::Pass,
        detail: None,
        location: None,
        failure: None,
        skip: None,
        xfail: None,
        properties: Vec::new(),
        status: None,
        ..phase.clone()
    };
    vec![
        (
            "item_started",
            WorkerMessage::ItemStarted(ItemStarted {
                worker: WORKER,
                lease: LEASE,
                item: ItemIndex(200),
                phase: Phase::Setup,
                running_ms: 2000,
            }),
        ),
        (
            "item_finished",
            finished(ItemReport {
                class: OutcomeClass::Skip,
                start_us: 1_700_000_000_000_000,
                durations_us: [20, 1500, 7],
                phases: vec![phase],
                full: FULL.to_vec(),
            }),
        ),
        (
            "item_finished-passed",
            finished(ItemReport {
                class: OutcomeClass::Pass,
                start_us: 1_700_000_000_000_000,
                durations_us: [20, 1500, 7],
                phases: Vec::new(),
                full: Vec::new(),
            }),
        ),
        (
            "item_finished-passed-with-output",
            finished(ItemReport {
                class: OutcomeClass::Pass,
                start_us: 1_700_000_000_000_000,
                durations_us: [20, 1500, 7],
                phases: vec![passed],
                full: Vec::new(),
            }),
        ),
        (
            "unscheduled",
            WorkerMessage::Unscheduled(Unscheduled {
                worker: WORKER,
                request: 9,
                items: indexes(&[200, 70_000]),
            }),
        ),
        (
            "unscheduled-none",
            WorkerMessage::Unscheduled(Unscheduled { worker: WORKER, request: 9, items: Vec::new() }),
        ),
        (
            "stop_requested",
            WorkerMessage::StopRequested(StopRequested {
                worker: WORKER,
                kind: StopKind::Exit,
                reason: "enough".into(),
                exit_code: Some(9),
                items: Vec::new(),
            }),
        ),
        (
            "stop_requested-recycle",
            WorkerMessage::StopRequested(StopRequested {
                worker: WORKER,
                kind: StopKind::Recycle,
                reason: "--max-tests-per-worker=100".into(),
                exit_code: None,
                items: vec![ItemIndex(200), ItemIndex(201)],
            }),
        ),
    ]
}

fn end_events() -> Vec<(&'static str, WorkerMessage)> {
    let down = |cause| Down {
        worker: WORKER,
        cause,
        out_of_memory: false,
        item: None,
        report: None,
        stderr_tail: String::new(),
        stack: None,
        peak_rss_kib: 0,
        finished: 12,
    };
    let crashed = Down {
        out_of_memory: true,
        item: Some(CrashItem { lease: LEASE, item: ItemIndex(200), phase: Phase::Teardown, running_ms: 150 }),
        stderr_tail: "Fatal Python error\n".into(),
        stack: Some("Current thread".into()),
        peak_rss_kib: 65536,
        ..down(EndCause::Signaled(11))
    };
    vec![
        (
            "internal_error",
            WorkerMessage::InternalError(InternalError { worker: WORKER, text: "Traceback".into() }),
        ),
        (
            "usage_error",
            WorkerMessage::UsageError(UsageError {
                worker: WORKER,
                text: "ERROR: no".into(),
                exit_code: 4,
                unfit: false,
            }),
        ),
        (
            "worker_output",
            WorkerMessage::WorkerOutput(WorkerOutput { worker: WORKER, exit_status: 1, values: values() }),
        ),
        ("down", WorkerMessage::Down(crashed.clone())),
        ("down-report", WorkerMessage::Down(Down { report: Some(Box::new(failed())), ..crashed })),
        ("down-exited", WorkerMessage::Down(down(EndCause::Exited(0)))),
        ("down-not-started", WorkerMessage::Down(down(EndCause::NotStarted("no such file".into())))),
        ("down-timed-out", WorkerMessage::Down(down(EndCause::TimedOut(2500)))),
        ("down-killed", WorkerMessage::Down(down(EndCause::Killed("shutdown".into())))),
    ]
}

/// The result of an item that failed in its call.
pub(super) fn failed() -> ItemReport {
    let call = PhaseReport {
        phase: Phase::Call,
        class: OutcomeClass::Fail,
        detail: None,
        duration_us: 20,
        location: Some(location()),
        failure: Some(failure()),
        skip: None,
        xfail: None,
        sections: Vec::new(),
        properties: Vec::new(),
        status: None,
    };
    ItemReport {
        class: OutcomeClass::Fail,
        start_us: 1_700_000_000_000_000,
        durations_us: [10, 20, 0],
        phases: vec![call],
        full: Vec::new(),
    }
}

pub(super) fn items() -> Vec<Item> {
    let all_fields = Item {
        node_id: "tests/a.py::test[x]".into(),
        file: Some("tests/a.py".into()),
        line: Some(11),
        groups: ["db".into(), "net".into()].into(),
        exclusive: true,
        resources: [Resource { name: "db".into(), limit: 2 }].into(),
        keywords: ["slow".into(), "test[x]".into()].into(),
    };
    vec![all_fields, Item::new("tests/a.py::gr\u{fc}n")]
}

pub(super) fn collect_report() -> CollectReport {
    CollectReport {
        node_id: "tests/b.py".into(),
        class: OutcomeClass::Fail,
        failure: Some(failure()),
        skip: Some(skip()),
        sections: vec![Section { title: "Captured stdout".into(), text: "hi\n".into() }],
        full: FULL.to_vec(),
    }
}

pub(super) fn warning() -> WarningRecord {
    WarningRecord {
        when: "runtest".into(),
        node_id: "tests/a.py::test[x]".into(),
        category: "DeprecationWarning".into(),
        text: "tests/a.py:12: DeprecationWarning: old".into(),
        message: "old".into(),
        path: "/work/tests/a.py".into(),
        line: 12,
        location: Some(location()),
        full: FULL.to_vec(),
    }
}

pub(super) fn indexes(numbers: &[u32]) -> Vec<ItemIndex> {
    numbers.iter().copied().map(ItemIndex).collect()
}

fn location() -> Location {
    Location { path: "tests/a.py".into(), line: Some(11), domain: "test[x]".into() }
}

fn failure() -> FailureText {
    FailureText {
        text: "assert 1 == 2".into(),
        ansi: Some("\u{1b}[1massert\u{1b}[0m 1 == 2".into()),
        crash: Some(CrashLine { path: "/work/tests/a.py".into(), line: 13, message: "assert 1 == 2".into() }),
    }
}

fn skip() -> SkipReason {
    SkipReason { path: "tests/a.py".into(), line: 12, reason: "Skipped: no network".into(), fold: true }
}
