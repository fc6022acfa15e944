//! A coordinator for tests: the other end of a real host's link.
#![allow(dead_code, reason = "every test file uses another part of it")]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;
use xdist_proto::codec::{self, CoordinatorOpening, Decoded, PeerOpening};
use xdist_proto::frame::{self, FrameDecoder, PREFIX_BYTES};
use xdist_proto::handshake::{Hello, PREAMBLE_BYTES, Welcome, preamble};
use xdist_proto::message::{
    Cancel, Collect, Configure, CoordinatorMessage, Down, Drain, ItemFinished, Ready, Run, Start, Steal,
    Stream, Unscheduled, Wants, WorkerMessage,
};
use xdist_proto::version::ProtocolVersion;
use xdist_proto::{ItemIndex, LeaseId, RunId, WorkerId};
use xdist_worker::{HostError, HostOptions, run_host};

/// Nothing here takes this long; whoever waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name of the variable that holds a fake runner's plan.
const PLAN: &str = "FAKE_PLAN";

pub(crate) struct Coordinator {
    pub(crate) hello: Hello,
    link: UnixStream,
    decoder: FrameDecoder,
    /// Absent for a host in another process.
    host: Option<JoinHandle<Result<(), HostError>>>,
    /// What each worker wrote to its standard streams.
    pub(crate) output: BTreeMap<(WorkerId, Stream), Vec<u8>>,
}

impl Coordinator {
    /// Starts a host in a thread of its own, and opens its link.
    pub(crate) fn start(max_frame_bytes: u32) -> Self {
        let (link, theirs) = UnixStream::pair().unwrap();
        let host = std::thread::Builder::new()
            .name("host".to_owned())
            .spawn(move || {
                let cache = tempfile::tempdir().unwrap();
                let cache = Some(cache.path().to_owned());
                run_host(theirs, HostOptions { slots: 2, cache, ..HostOptions::default() })
            })
            .unwrap();
        Self { host: Some(host), ..Self::open(link, max_frame_bytes) }
    }

    /// Opens the link of a host that somebody else started.
    pub(crate) fn open(mut link: UnixStream, max_frame_bytes: u32) -> Self {
        link.set_read_timeout(Some(PATIENCE)).unwrap();
        link.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut opening = [0; PREAMBLE_BYTES];
        link.read_exact(&mut opening).unwrap();
        assert_eq!(opening, preamble());
        let mut decoder = FrameDecoder::new(frame::MAX_FRAME_BYTES);
        let payload = next_payload(&mut link, &mut decoder).expect("a hello");
        let Decoded::Message(PeerOpening::Hello(hello)) = codec::decode(&payload).unwrap() else {
            panic!("no hello")
        };
        let mut coordinator = Self { hello: *hello, link, decoder, host: None, output: BTreeMap::new() };
        coordinator.write(&preamble());
        coordinator.write_message(&CoordinatorOpening::Welcome(Welcome {
            version: ProtocolVersion::CURRENT,
            features: BTreeMap::new(),
            run: RunId("the-run".to_owned()),
            workers: Vec::new(),
            heartbeat_ms: 0,
            max_frame_bytes,
        }));
        coordinator
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.link.write_all(bytes).unwrap();
    }

    fn write_message<M: codec::Message>(&mut self, message: &M) {
        let mut bytes = Vec::new();
        frame::encode_frame(&codec::encode(message), frame::MAX_FRAME_BYTES, &mut bytes).unwrap();
        self.write(&bytes);
    }

    pub(crate) fn send(&mut self, message: CoordinatorMessage) {
        self.write_message(&message);
    }

    /// The next message but output, which is collected.
    pub(crate) fn receive(&mut self) -> WorkerMessage {
        loop {
            let payload = next_payload(&mut self.link, &mut self.decoder).expect("the host is there");
            match codec::decode(&payload).unwrap() {
                Decoded::Message(WorkerMessage::Output(output)) => {
                    self.output.entry((output.worker, output.stream)).or_default().extend(output.data);
                }
                Decoded::Message(message) => return message,
                Decoded::Skipped => {}
            }
        }
    }

    /// Waits until a worker has written this to a stream.
    pub(crate) fn wait_for_output(&mut self, worker: WorkerId, stream: Stream, text: &str) {
        while !self.output_text(worker, stream).contains(text) {
            let payload = next_payload(&mut self.link, &mut self.decoder).expect("the host is there");
            match codec::decode(&payload).unwrap() {
                Decoded::Message(WorkerMessage::Output(output)) => {
                    self.output.entry((output.worker, output.stream)).or_default().extend(output.data);
                }
                Decoded::Message(WorkerMessage::Down(down)) => panic!("{down:?}"),
                Decoded::Message(_) | Decoded::Skipped => {}
            }
        }
    }

    pub(crate) fn output_text(&self, worker: WorkerId, stream: Stream) -> String {
        String::from_utf8_lossy(self.output.get(&(worker, stream)).map_or(&[], Vec::as_slice)).into_owned()
    }

    /// Waits for the first message that fits. A worker that ends meanwhile fails the test.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, mut fits: impl FnMut(WorkerMessage) -> Option<T>) -> T {
        loop {
            let message = self.receive();
            let down = matches!(message, WorkerMessage::Down(_)).then(|| format!("{message:?}"));
            if let Some(found) = fits(message) {
                return found;
            }
            assert_eq!(down, None, "the worker ended");
        }
    }

    pub(crate) fn wait_for_ready(&mut self) -> Ready {
        self.wait_for(|message| match message {
            WorkerMessage::Ready(ready) => Some(*ready),
            _ => None,
        })
    }

    pub(crate) fn wait_for_unscheduled(&mut self, finished: &mut Vec<ItemFinished>) -> Unscheduled {
        self.wait_for(|message| match message {
            WorkerMessage::Unscheduled(unscheduled) => Some(unscheduled),
            WorkerMessage::ItemFinished(item) => {
                finished.push(item);
                None
            }
            _ => None,
        })
    }

    /// Everything until the end of a worker, and the end.
    pub(crate) fn wait_for_down(&mut self) -> (Vec<WorkerMessage>, Down) {
        let mut messages = Vec::new();
        let down = self.wait_for(|message| match message {
            WorkerMessage::Down(down) => Some(down),
            message => {
                messages.push(message);
                None
            }
        });
        (messages, down)
    }

    /// Configures a worker with the fake runner, and lets it collect.
    pub(crate) fn start_fake(&mut self, worker: WorkerId, plan: &str) {
        self.send(CoordinatorMessage::Configure(fake(worker, plan)));
        self.send(CoordinatorMessage::Collect(Collect { worker }));
    }

    pub(crate) fn run(&mut self, worker: WorkerId, lease: u32, items: impl IntoIterator<Item = u32>) {
        let items = items.into_iter().map(ItemIndex).collect();
        self.send(CoordinatorMessage::Run(Run { worker, lease: LeaseId(lease), items }));
    }

    pub(crate) fn steal(&mut self, worker: WorkerId, request: u32, items: impl IntoIterator<Item = u32>) {
        let items = items.into_iter().map(ItemIndex).collect();
        self.send(CoordinatorMessage::Steal(Steal { worker, request, items }));
    }

    pub(crate) fn cancel(&mut self, worker: WorkerId, request: u32) {
        self.send(CoordinatorMessage::Cancel(Cancel { worker, request }));
    }

    pub(crate) fn drain(&mut self, worker: WorkerId) {
        self.send(CoordinatorMessage::Drain(Drain { worker }));
    }

    /// Vanishes, and answers how the host ended.
    pub(crate) fn vanish(self) -> Result<(), HostError> {
        drop(self.link);
        self.host.map_or(Ok(()), |host| host.join().unwrap())
    }
}

/// Something that tells when a process has ended.
pub(crate) fn watch(pid: u32) -> OwnedFd {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    pidfd_open(pid, PidfdFlags::empty()).expect("the process is there")
}

#[track_caller]
pub(crate) fn assert_ends(process: &OwnedFd) {
    let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience)), Ok(1), "the process lives");
}

/// The configuration of a worker with the fake runner.
pub(crate) fn fake(worker: WorkerId, plan: &str) -> Configure {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_runner.py");
    Configure {
        worker,
        name: worker.to_string(),
        worker_count: 2,
        run: "the-run".to_owned(),
        python: vec!["python3".to_owned(), script.to_str().unwrap().to_owned()],
        env: BTreeMap::from([(PLAN.to_owned(), plan.to_owned())]),
        wants: Wants::default(),
        start: Start::Spawn,
        ..Configure::default()
    }
}

fn next_payload(link: &mut UnixStream, decoder: &mut FrameDecoder) -> Option<Vec<u8>> {
    let mut buffer = [0; 1 << 16];
    loop {
        if let Some(payload) = decoder.next_frame().unwrap() {
            assert!(payload.len() + PREFIX_BYTES < 1 << 24);
            return Some(payload.to_vec());
        }
        match link.read(&mut buffer).expect("an answer in time") {
            0 => return None,
            count => decoder.push(&buffer[..count]),
        }
    }
}
