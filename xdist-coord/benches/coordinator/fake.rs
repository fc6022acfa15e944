//! Workers that do nothing but answer, at once: every test passes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use xdist_coord::launch::LINK_FD;
use xdist_proto::codec::{self, CoordinatorOpening, Decoded, PeerOpening};
use xdist_proto::frame::{FrameDecoder, HANDSHAKE_FRAME_BYTES, MAX_FRAME_BYTES};
use xdist_proto::handshake::{self, Hello, HostFacts, Implementation, PREAMBLE_BYTES, Role};
use xdist_proto::message::{
    Collected, CollectionChunk, CoordinatorMessage, DisplayOptions, Down, EndCause, ItemFinished,
    JunitOptions, Pong, Ready, Unscheduled, WorkerMessage, WorkerOutput,
};
use xdist_proto::report::ItemReport;
use xdist_proto::version::VersionRange;
use xdist_proto::{Collection, CollectionDigest, Item, ItemIndex, LeaseId, WorkerId};

/// The argument that makes this program a host.
pub(crate) const HOST: &str = "host";

/// Items in one part of the list.
const ITEMS_PER_CHUNK: u32 = 1000;

/// When the first test began, in microseconds since the epoch: as long a number as real ones are.
const START_US: u64 = 1_800_000_000_000_000;

/// A suite of tests that there is nothing to know of but their names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suite {
    pub(crate) items: u32,
    /// How many tests are in one file.
    pub(crate) per_file: u32,
    /// Whether the tests of a file are an `xdist_group`.
    pub(crate) grouped: bool,
}

impl Suite {
    /// As many tests in files of a hundred.
    pub(crate) const fn new(items: u32) -> Self {
        Self { items, per_file: 100, grouped: false }
    }

    fn item(&self, item: u32) -> Item {
        let (file, test) = (item / self.per_file, item % self.per_file);
        let node_id = format!("tests/package/test_module_{file:05}.py::TestClass::test_method_{test:06}");
        let groups = if self.grouped { vec![format!("group{file}")] } else { Vec::new() };
        Item { line: Some(10 * test), groups: groups.into(), ..Item::new(node_id) }
    }

    pub(crate) fn digest(&self) -> CollectionDigest {
        Collection { items: (0..self.items).map(|item| self.item(item)).collect() }.digest()
    }

    /// How many bytes the node ids have.
    pub(crate) fn node_id_bytes(&self) -> usize {
        self.item(0).node_id.len() * self.items as usize
    }

    /// The part of the list that begins here.
    pub(crate) fn chunk(&self, worker: WorkerId, offset: u32) -> CollectionChunk {
        let end = self.items.min(offset + ITEMS_PER_CHUNK);
        CollectionChunk {
            worker,
            offset,
            total: self.items,
            items: (offset..end).map(|item| self.item(item)).collect(),
        }
    }

    /// Where the parts of the list begin.
    pub(crate) fn offsets(self) -> impl Iterator<Item = u32> {
        (0..self.items).step_by(ITEMS_PER_CHUNK as usize)
    }
}

/// The result of a test that passed.
pub(crate) fn finished(worker: WorkerId, lease: LeaseId, item: ItemIndex) -> WorkerMessage {
    let report = ItemReport {
        start_us: START_US + u64::from(item.0) * 200,
        durations_us: [20, 80, 15],
        ..ItemReport::default()
    };
    WorkerMessage::ItemFinished(ItemFinished { worker, lease, item, report })
}

/// The answer to a command that has nothing to do with items.
pub(crate) fn answer(
    suite: &Suite,
    digest: CollectionDigest,
    command: &CoordinatorMessage,
) -> Vec<WorkerMessage> {
    match command {
        CoordinatorMessage::Configure(configure) => {
            let ready = Ready { worker: configure.worker, ..Ready::default() };
            vec![WorkerMessage::Ready(Box::new(ready))]
        }
        CoordinatorMessage::Collect(collect) => vec![WorkerMessage::Collected(Collected {
            worker: collect.worker,
            digest,
            count: suite.items,
            deselected: 0,
            unforkable: None,
            files: BTreeMap::new(),
        })],
        CoordinatorMessage::Drain(drain) => {
            let output = WorkerOutput { worker: drain.worker, ..WorkerOutput::default() };
            vec![WorkerMessage::WorkerOutput(output), down(drain.worker)]
        }
        CoordinatorMessage::Cancel(cancel) => vec![unscheduled(cancel.worker, cancel.request, Vec::new())],
        CoordinatorMessage::Interrupt(interrupt) => vec![down(interrupt.worker)],
        CoordinatorMessage::Shutdown(shutdown) => vec![down(shutdown.worker)],
        CoordinatorMessage::SyncBegin(_) | CoordinatorMessage::SyncData(_) => Vec::new(),
        CoordinatorMessage::Ping(ping) => vec![WorkerMessage::Pong(Pong { nonce: ping.nonce })],
        CoordinatorMessage::Proceed(_)
        | CoordinatorMessage::Answer(_)
        | CoordinatorMessage::Suspend(_)
        | CoordinatorMessage::Resume(_)
        | CoordinatorMessage::Dismissed(_)
        | CoordinatorMessage::SendCollection(_)
        | CoordinatorMessage::Run(_)
        | CoordinatorMessage::Steal(_)
        | CoordinatorMessage::Park(_)
        | CoordinatorMessage::Fetch(_) => Vec::new(),
    }
}

/// The answer to a steal.
pub(crate) fn unscheduled(worker: WorkerId, request: u32, items: Vec<ItemIndex>) -> WorkerMessage {
    WorkerMessage::Unscheduled(Unscheduled { worker, request, items })
}

fn down(worker: WorkerId) -> WorkerMessage {
    WorkerMessage::Down(Down {
        worker,
        cause: EndCause::Exited(0),
        out_of_memory: false,
        item: None,
        stderr_tail: String::new(),
        stack: None,
        peak_rss_kib: 0,
        finished: 0,
        report: None,
    })
}

/// Opens a link.
pub(crate) fn hello() -> Hello {
    Hello {
        implementation: Implementation { name: "fake".to_owned(), version: "0".to_owned() },
        versions: VersionRange::SUPPORTED,
        role: Role::Worker,
        host: HostFacts::default(),
        slots: 1,
        features: BTreeMap::new(),
        generation: 0,
        proof: Vec::new(),
    }
}

/// How a host process behaves.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// Whether the results of one assignment are written at once; otherwise each is written by itself, as those of real
    /// tests are.
    pub(crate) together: bool,
    /// What the tests' options ask of the frontends, as [`display`] reads it.
    pub(crate) display: String,
}

/// The command of a host process. The shell puts the link where it can be reached without unsafe code.
pub(crate) fn host_command(suite: &Suite, manner: &Manner) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let redirected = format!(r#"exec "$@" <&{LINK_FD} >&{LINK_FD}"#);
    let words = ["sh", "-c", &redirected, "sh", program.to_str().unwrap(), HOST];
    let arguments = [
        suite.items.to_string(),
        suite.per_file.to_string(),
        suite.digest().to_string(),
        manner.together.to_string(),
        manner.display.clone(),
    ];
    words.map(str::to_owned).into_iter().chain(arguments).collect()
}

/// The options that words like `verbose cache=DIRECTORY junit=FILE` stand for.
fn display(words: &str) -> DisplayOptions {
    let mut options = DisplayOptions::default();
    for word in words.split_whitespace() {
        match word.split_once('=') {
            Some(("cache", directory)) => options.cache_dir = Some(directory.to_owned()),
            Some(("junit", file)) => {
                let (path, family) = (file.to_owned(), "xunit2".to_owned());
                options.junit = Some(JunitOptions { path, family, ..JunitOptions::default() });
            }
            _ if word == "verbose" => options.verbosity = 1,
            _ if word == "silent" => options.no_terminal = true,
            _ => panic!("{word} is no option"),
        }
    }
    options
}

/// Is a host, for any number of workers, until the coordinator closes the link.
pub(crate) fn serve(arguments: &[String]) {
    let [items, per_file, digest, together, options] = arguments else {
        panic!("host ITEMS PER_FILE DIGEST TOGETHER DISPLAY");
    };
    let digest = u128::from_str_radix(digest, 16).unwrap().to_be_bytes();
    let link = rustix::stdio::stdin().try_clone_to_owned().unwrap();
    Host {
        suite: Suite { items: items.parse().unwrap(), per_file: per_file.parse().unwrap(), grouped: false },
        digest: CollectionDigest(digest),
        together: together.parse().unwrap(),
        display: display(options),
        link: UnixStream::from(link),
        out: Vec::new(),
    }
    .serve();
}

struct Host {
    suite: Suite,
    digest: CollectionDigest,
    together: bool,
    display: DisplayOptions,
    link: UnixStream,
    /// What is to be written.
    out: Vec<u8>,
}

impl Host {
    fn serve(mut self) {
        self.greet();
        let mut preamble = [0; PREAMBLE_BYTES];
        self.link.read_exact(&mut preamble).unwrap();
        let mut frames = FrameDecoder::new(HANDSHAKE_FRAME_BYTES);
        let mut open = false;
        let mut scratch = vec![0; 64 << 10];
        while let Ok(count @ 1..) = self.link.read(&mut scratch) {
            frames.push(&scratch[..count]);
            while let Some(payload) = frames.next_frame().unwrap() {
                if !open {
                    let Decoded::Message(CoordinatorOpening::Welcome(_)) = codec::decode(payload).unwrap()
                    else {
                        return;
                    };
                    open = true;
                    frames.set_limit(MAX_FRAME_BYTES);
                } else if let Decoded::Message(command) = codec::decode(payload).unwrap()
                    && self.obey(&command).is_err()
                {
                    return;
                }
            }
        }
    }

    fn greet(&mut self) {
        self.out.extend_from_slice(&handshake::preamble());
        codec::encode_into(&PeerOpening::Hello(Box::new(hello())), HANDSHAKE_FRAME_BYTES, &mut self.out)
            .unwrap();
        self.write().unwrap();
    }

    fn obey(&mut self, command: &CoordinatorMessage) -> io::Result<()> {
        match command {
            CoordinatorMessage::SendCollection(command) => {
                for offset in self.suite.offsets() {
                    self.queue(&WorkerMessage::Collection(self.suite.chunk(command.worker, offset)));
                }
            }
            CoordinatorMessage::Run(run) => {
                for &item in &run.items {
                    self.queue(&finished(run.worker, run.lease, item));
                    if !self.together {
                        self.write()?;
                    }
                }
            }
            // What it was given is finished already.
            CoordinatorMessage::Steal(steal) => {
                self.queue(&unscheduled(steal.worker, steal.request, Vec::new()));
            }
            command => {
                for mut message in answer(&self.suite, self.digest, command) {
                    if let WorkerMessage::Ready(ready) = &mut message {
                        ready.display = self.display.clone();
                    }
                    self.queue(&message);
                }
            }
        }
        self.write()
    }

    fn queue(&mut self, message: &WorkerMessage) {
        codec::encode_into(message, MAX_FRAME_BYTES, &mut self.out).unwrap();
    }

    fn write(&mut self) -> io::Result<()> {
        let result = self.link.write_all(&self.out);
        self.out.clear();
        result
    }
}
