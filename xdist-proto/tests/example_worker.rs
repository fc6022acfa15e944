//! `docs/examples/worker.py` against a scripted coordinator: what the document says is enough to write a worker.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use support::in_crate;
use xdist_proto::codec::{self, CoordinatorOpening, Decoded, PeerOpening};
use xdist_proto::frame::{FrameDecoder, HANDSHAKE_FRAME_BYTES, MAX_FRAME_BYTES};
use xdist_proto::handshake::{
    Hello, PREAMBLE_BYTES, RefusalReason, Refused, Role, Welcome, check_preamble, preamble,
};
use xdist_proto::message::*;
use xdist_proto::report::{ItemReport, OutcomeClass, Phase};
use xdist_proto::version::{ProtocolVersion, VersionRange};
use xdist_proto::{Collection, CoordinatorMessage, Item, ItemIndex, LeaseId, RunId, WorkerId, WorkerMessage};

const WORKER: WorkerId = WorkerId(5);
const LEASE: LeaseId = LeaseId(70);
/// A worker that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Scripts by name. `wait.sh` opens one named pipe when it begins, and reads another to know when to end.
const SUITE: &[(&str, &str)] = &[
    ("a_pass.sh", "echo fine"),
    ("b_fail.sh", "echo broken; exit 3"),
    ("c_skip.sh", "echo no network; exit 77"),
    ("d/e_pass.sh", "test -n \"$COLOR\""),
    ("wait.sh", "exec 3>begun; read word <gate; echo \"$word\""),
];

const PASS: ItemIndex = ItemIndex(0);
const FAIL: ItemIndex = ItemIndex(1);
const SKIP: ItemIndex = ItemIndex(2);
const DEEP: ItemIndex = ItemIndex(3);
const WAIT: ItemIndex = ItemIndex(4);

#[test]
fn a_session_from_hello_to_down() {
    let mut peer = Peer::start();
    let hello = peer.hello();
    assert_eq!((hello.role, hello.slots), (Role::Worker, 1));
    peer.welcome();
    peer.configure_and_collect();

    peer.send(CoordinatorMessage::SendCollection(SendCollection { worker: WORKER }));
    let WorkerMessage::Collection(chunk) = peer.receive() else { panic!("no list") };
    assert_eq!((chunk.offset, chunk.total), (0, 5));
    assert_eq!(Collection { items: chunk.items }.items, suite().items);

    peer.run(&[PASS, FAIL, SKIP, DEEP]);
    let passed = peer.finished(PASS);
    assert!(passed.class.is_pass() && passed.phases.is_empty() && passed.start_us > 0, "{passed:?}");
    let failed = peer.finished(FAIL);
    assert_eq!(failed.class, OutcomeClass::Fail);
    assert_eq!(failed.phases[0].failure.as_ref().unwrap().text, "exit status 3");
    assert_eq!(failed.phases[0].sections[0].text, "broken\n");
    let skipped = peer.finished(SKIP);
    assert_eq!(skipped.class, OutcomeClass::Skip);
    assert_eq!(skipped.phases[0].skip.as_ref().unwrap().reason, "no network");
    assert!(peer.finished(DEEP).class.is_pass(), "the environment of `configure` is set");

    peer.send(CoordinatorMessage::Park(Park { worker: WORKER }));
    peer.run(&[PASS]);
    peer.send(CoordinatorMessage::Drain(Drain { worker: WORKER }));
    peer.finished(PASS);
    assert_eq!(peer.output(), 1);
    let down = peer.down();
    assert_eq!((down.cause, down.finished, down.item), (EndCause::Exited(1), 5, None));
    assert!(peer.ends().success());
}

#[test]
fn the_queue_is_stolen_all_or_none() {
    let mut peer = Peer::running_wait_and(&[PASS, FAIL, SKIP]);
    assert_eq!(peer.steal(1, &[SKIP, FAIL]), [FAIL, SKIP], "in queue order");
    assert_eq!(peer.steal(2, &[PASS, FAIL]), [], "one of them is gone");
    assert_eq!(peer.steal(3, &[WAIT]), [], "it runs");
    assert_eq!(peer.steal(4, &[]), []);
    peer.open_gate();
    assert_eq!(peer.finished(WAIT).class, OutcomeClass::Pass);
    assert_eq!(peer.finished(PASS).class, OutcomeClass::Pass);
    assert_eq!(peer.steal(5, &[PASS]), [], "it is finished");
}

#[test]
fn the_queue_is_cancelled_while_a_script_runs() {
    let mut peer = Peer::running_wait_and(&[PASS, FAIL]);
    peer.send(CoordinatorMessage::Cancel(Cancel { worker: WORKER, request: 8 }));
    assert_eq!(peer.unscheduled(8), [PASS, FAIL]);
    peer.open_gate();
    peer.finished(WAIT);
    peer.run(&[PASS]);
    peer.finished(PASS);
}

#[test]
fn an_interrupt_ends_the_script_and_the_session() {
    let mut peer = Peer::running_wait_and(&[PASS]);
    peer.send(CoordinatorMessage::Interrupt(Interrupt { worker: WORKER }));
    assert_eq!(peer.output(), 2);
    let down = peer.down();
    assert_eq!((down.cause, down.finished), (EndCause::Exited(2), 0));
    // It has crossed the `down`.
    peer.run(&[PASS]);
    assert!(peer.ends().success());
}

#[test]
fn a_shutdown_blames_the_script_that_ran() {
    let mut peer = Peer::running_wait_and(&[PASS]);
    peer.send(CoordinatorMessage::Shutdown(Shutdown { worker: WORKER, grace_ms: 0 }));
    let down = peer.down();
    assert!(matches!(down.cause, EndCause::Killed(_)), "{:?}", down.cause);
    let item = down.item.unwrap();
    assert_eq!((item.item, item.lease, item.phase), (WAIT, LEASE, Phase::Call));
    assert!(peer.ends().success());
}

#[test]
fn a_ping_is_answered_while_a_script_runs() {
    let mut peer = Peer::running_wait_and(&[]);
    peer.send(CoordinatorMessage::Ping(Ping { nonce: u64::MAX }));
    assert_eq!(peer.receive(), WorkerMessage::Pong(Pong { nonce: u64::MAX }));
}

#[test]
fn what_later_versions_add_is_skipped() {
    let mut peer = Peer::start();
    peer.hello();
    peer.welcome();
    peer.raw(b"\x81\xa6~later\x93\x01\xc7\x02\x05ab\xcb\x3f\xf0\0\0\0\0\0\0");
    peer.configure_and_collect();
    peer.raw(b"\x81\xa4ping\x82\xa5nonce\x07\xa5later\x81\xa3own\xc0");
    assert_eq!(peer.receive(), WorkerMessage::Pong(Pong { nonce: 7 }));
}

#[test]
fn every_byte_may_come_alone() {
    let mut peer = Peer::start();
    peer.hello();
    peer.welcome();
    let mut frame = Vec::new();
    let ping = CoordinatorMessage::Ping(Ping { nonce: 300 });
    codec::encode_into(&ping, MAX_FRAME_BYTES, &mut frame).unwrap();
    for byte in frame {
        peer.socket.write_all(&[byte]).unwrap();
    }
    assert_eq!(peer.receive(), WorkerMessage::Pong(Pong { nonce: 300 }));
}

#[test]
fn a_path_that_is_not_there_is_a_usage_error() {
    let mut peer = Peer::start();
    peer.hello();
    peer.welcome();
    let configure = Configure { args: vec!["-q".into(), "nowhere".into()], ..peer.configuration() };
    peer.send(CoordinatorMessage::Configure(configure));
    let WorkerMessage::UsageError(error) = peer.receive() else { panic!("no usage error") };
    assert_eq!((error.text.as_str(), error.exit_code), ("ERROR: file or directory not found: nowhere", 4));
    assert_eq!(peer.down().cause, EndCause::Exited(4));
}

#[test]
fn garbage_ends_the_worker() {
    for garbage in [
        &b"\0\0\0\0"[..],
        b"\xff\xff\xff\xff",
        b"\0\0\0\x01\xc1",
        b"\0\0\0\x02\xc0\xc0",
        b"\0\0\0\x05\xdd\xff\xff\xff\xff",
        b"\0\0\0\x09\x81\xa7explode",
        b"\0\0\0\x0a\x81\xa7explode\x80",
        b"\0\0\0\x07\x81\xa4ping\x80",
        b"\0\0\0\x07\x81\xa4ping\xc0",
    ] {
        let mut peer = Peer::start();
        peer.hello();
        peer.welcome();
        peer.socket.write_all(garbage).unwrap();
        assert!(!peer.ended_by_itself().success(), "{garbage:x?}");
    }
}

#[test]
fn another_protocol_and_a_refusal_end_the_worker() {
    let mut peer = Peer::start();
    peer.socket.write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
    assert!(!peer.ended_by_itself().success());

    let mut peer = Peer::start();
    peer.hello();
    let refused = Refused {
        reason: RefusalReason::NotNeeded,
        text: "the run is over".into(),
        versions: VersionRange::SUPPORTED,
    };
    peer.open(&CoordinatorOpening::Refused(refused));
    assert!(!peer.ended_by_itself().success());
}

#[test]
fn the_end_of_the_link_ends_the_script() {
    let mut peer = Peer::running_wait_and(&[]);
    assert!(peer.ends().success());
    let mut begun = peer.begun.take().unwrap();
    // The script holds the other end for as long as it lives.
    assert_eq!(patiently(move || begun.read_to_end(&mut Vec::new()).unwrap()), 0);
}

#[test]
fn the_example_stays_small() {
    let source = std::fs::read_to_string(in_crate("../docs/examples/worker.py")).unwrap();
    assert!(source.lines().count() <= 300, "{} lines", source.lines().count());
}

/// The coordinator's end of a link to the example.
struct Peer {
    child: Child,
    socket: UnixStream,
    frames: FrameDecoder,
    directory: PathBuf,
    _directory: tempfile::TempDir,
    /// The pipe that `wait.sh` holds open.
    begun: Option<File>,
}

impl Peer {
    /// Starts the worker, in a directory of its own that holds the suite. Its link is its standard input, since that needs
    /// nothing but the standard library here.
    fn start() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().canonicalize().unwrap();
        write_suite(&directory);
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = Command::new("python3")
            .arg(in_crate("../docs/examples/worker.py").canonicalize().unwrap())
            .current_dir(&directory)
            .env("XDIST_LINK_FD", "0")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is on the path");
        let frames = FrameDecoder::new(HANDSHAKE_FRAME_BYTES);
        Self { child, socket, frames, directory, _directory: temporary, begun: None }
    }

    /// A worker that runs `wait.sh` and has these items in its queue.
    fn running_wait_and(queue: &[ItemIndex]) -> Self {
        let mut peer = Self::start();
        peer.hello();
        peer.welcome();
        peer.configure_and_collect();
        peer.run(&[&[WAIT], queue].concat());
        let begun = peer.directory.join("begun");
        peer.begun = Some(patiently(|| File::open(begun).unwrap()));
        peer
    }

    fn hello(&mut self) -> Box<Hello> {
        let mut opening = [0; PREAMBLE_BYTES];
        self.socket.read_exact(&mut opening).unwrap();
        assert!(matches!(check_preamble(&opening), Ok(Some(_))), "{opening:x?}");
        let payload = self.payload();
        let Ok(Decoded::Message(PeerOpening::Hello(hello))) = codec::decode(&payload) else {
            panic!("{payload:x?}")
        };
        hello
    }

    fn welcome(&mut self) {
        let welcome = Welcome {
            version: ProtocolVersion::V1_0,
            features: BTreeMap::new(),
            run: RunId("r".into()),
            workers: vec![WORKER],
            heartbeat_ms: 0,
            max_frame_bytes: MAX_FRAME_BYTES,
        };
        self.open(&CoordinatorOpening::Welcome(welcome));
        self.frames.set_limit(MAX_FRAME_BYTES);
    }

    fn open(&mut self, answer: &CoordinatorOpening) {
        let mut bytes = preamble().to_vec();
        codec::encode_into(answer, HANDSHAKE_FRAME_BYTES, &mut bytes).unwrap();
        self.socket.write_all(&bytes).unwrap();
    }

    fn configuration(&self) -> Configure {
        Configure {
            worker: WORKER,
            name: "gw5".into(),
            run: "r".into(),
            args: vec!["-v".into(), ".".into()],
            chdir: Some(self.directory.to_str().unwrap().to_owned()),
            env: BTreeMap::from([("COLOR".into(), "blue".into())]),
            ..Configure::default()
        }
    }

    fn configure_and_collect(&mut self) {
        self.send(CoordinatorMessage::Configure(self.configuration()));
        self.send(CoordinatorMessage::Collect(Collect { worker: WORKER }));
        let WorkerMessage::Ready(ready) = self.receive() else { panic!("not ready") };
        assert_eq!(ready.rootdir, self.directory.to_str().unwrap());
        assert_eq!(self.receive(), WorkerMessage::Collecting(Collecting { worker: WORKER }));
        let collected = Collected {
            worker: WORKER,
            digest: suite().digest(),
            count: 5,
            deselected: 0,
            unforkable: None,
            files: BTreeMap::new(),
        };
        assert_eq!(self.receive(), WorkerMessage::Collected(collected));
    }

    fn run(&mut self, items: &[ItemIndex]) {
        self.send(CoordinatorMessage::Run(Run { worker: WORKER, lease: LEASE, items: items.to_vec() }));
    }

    fn steal(&mut self, request: u32, items: &[ItemIndex]) -> Vec<ItemIndex> {
        self.send(CoordinatorMessage::Steal(Steal { worker: WORKER, request, items: items.to_vec() }));
        self.unscheduled(request)
    }

    /// Lets `wait.sh` go on. Blocks until it waits.
    fn open_gate(&self) {
        let gate = self.directory.join("gate");
        patiently(|| std::fs::write(gate, "go on\n").unwrap());
    }

    fn send(&mut self, message: CoordinatorMessage) {
        let mut bytes = Vec::new();
        codec::encode_into(&message, MAX_FRAME_BYTES, &mut bytes).unwrap();
        self.socket.write_all(&bytes).unwrap();
    }

    fn raw(&mut self, payload: &[u8]) {
        let mut bytes = Vec::new();
        xdist_proto::frame::encode_frame(payload, MAX_FRAME_BYTES, &mut bytes).unwrap();
        self.socket.write_all(&bytes).unwrap();
    }

    fn receive(&mut self) -> WorkerMessage {
        let payload = self.payload();
        match codec::decode(&payload) {
            Ok(Decoded::Message(message)) => message,
            other => panic!("{payload:x?}: {other:?}"),
        }
    }

    fn payload(&mut self) -> Vec<u8> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(payload) = self.frames.next_frame().unwrap() {
                return payload.to_vec();
            }
            let count = self.socket.read(&mut bytes).expect("the worker says something in time");
            assert!(count > 0, "the worker closed the link");
            self.frames.push(&bytes[..count]);
        }
    }

    fn finished(&mut self, item: ItemIndex) -> ItemReport {
        match self.receive() {
            WorkerMessage::ItemFinished(ItemFinished {
                worker: WORKER,
                lease: LEASE,
                item: found,
                report,
            }) if found == item => report,
            other => panic!("{item:?} is not finished: {other:?}"),
        }
    }

    fn unscheduled(&mut self, request: u32) -> Vec<ItemIndex> {
        match self.receive() {
            WorkerMessage::Unscheduled(answer) if answer.request == request => answer.items,
            other => panic!("request {request} is not answered: {other:?}"),
        }
    }

    /// The exit status of the session.
    fn output(&mut self) -> i32 {
        let WorkerMessage::WorkerOutput(output) = self.receive() else { panic!("no worker_output") };
        output.exit_status
    }

    fn down(&mut self) -> Down {
        let WorkerMessage::Down(down) = self.receive() else { panic!("not down") };
        down
    }

    /// Closes the link and waits for the worker's process.
    fn ends(&mut self) -> ExitStatus {
        self.socket.shutdown(std::net::Shutdown::Write).unwrap();
        self.ended_by_itself()
    }

    /// Waits until the worker closes the link, and for its process.
    fn ended_by_itself(&mut self) -> ExitStatus {
        let mut rest = Vec::new();
        // What the worker had not read is lost when it closes its end, which the system reports as a reset.
        if let Err(error) = self.socket.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the worker ends in time");
        }
        self.child.wait().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A worker that has ended is no error here.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// Does what may block for ever if the worker is broken.
fn patiently<T: Send + 'static>(action: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    // If nobody waits any more, the test has failed already.
    thread::Builder::new().spawn(move || sender.send(action()).is_ok()).unwrap();
    receiver.recv_timeout(PATIENCE).expect("the worker does its part in time")
}

fn write_suite(directory: &Path) {
    for (name, text) in SUITE {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let pipes = [directory.join("begun"), directory.join("gate")];
    assert!(Command::new("mkfifo").args(pipes).status().unwrap().success());
}

fn suite() -> Collection {
    Collection { items: SUITE.iter().map(|(name, _)| Item::new(*name)).collect() }
}
