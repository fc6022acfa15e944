//! The pytest host's link: it is told all that happens from the beginning, however far it lags behind, and answers.

use super::PYTEST_HOST_CHECK;
use crate::frontend;
use crate::launch::HostProcess;
use crate::server::connection::{Arrived, Connection, ReadEnd};
use crate::server::outbox::Overflow;
use crate::server::token::Source;
use crate::session::event::{RunEvent, RunSummary};
use crate::session::input::Input;
use mio::Registry;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use xdist_proto::codec::CoordinatorOpening;
use xdist_proto::frame::MAX_FRAME_BYTES;
use xdist_proto::frontend::{
    Assign, ConfigureNode, FEATURE_CONFIGURE_NODE, FEATURE_CRASHES, FEATURE_FAREWELL, FEATURE_SCHEDULER,
    FEATURE_TERMINAL, Farewell, FrontendCommand, FrontendMessage, NodeConfigured, ParkWorker, Retire,
    TakeBack, TerminalFree,
};
use xdist_proto::handshake::{Hello, Implementation, RefusalReason, Refused, Role, Welcome, negotiate};
use xdist_proto::version::VersionRange;
use xdist_proto::{RunId, WorkerId};

/// How much waits in memory for a host that lags behind; the rest waits in a file.
const IN_MEMORY_BYTES: usize = 4 << 20;

/// What is wrong when the link ends as it should, but too early.
const CLOSED: &str = "it closed the link before the run was over";

/// The link to the pytest host.
#[derive(Debug)]
pub(in crate::server) struct PytestHostLink {
    connection: Connection<FrontendCommand>,
    /// `None` where it is the program that started us.
    process: Option<HostProcess>,
    stage: Stage,
    /// Whether it has said that it has dealt with everything.
    said_farewell: bool,
}

#[derive(Debug)]
enum Stage {
    /// It has not said `hello`; this is what it is to be told.
    Opening(Vec<FrontendMessage>),
    /// It takes part.
    Open {
        /// Whether it answers `configure_node`.
        configures_nodes: bool,
        /// Whether it answers `terminal_lent`.
        has_terminal: bool,
        /// Whether it answers `finished`.
        says_farewell: bool,
    },
}

/// What came of reading.
#[derive(Debug)]
pub(in crate::server) struct Turn {
    /// What the session is to be told.
    pub(in crate::server) inputs: Vec<Input>,
    /// Whether there may be more.
    pub(in crate::server) more: bool,
    /// Why the link is at its end, if it is.
    pub(in crate::server) lost: Option<String>,
}

impl PytestHostLink {
    /// A link whose peer is to say `hello`.
    pub(in crate::server) fn new(
        socket: UnixStream,
        process: Option<HostProcess>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let mut connection = Connection::new(socket, Overflow::Spill(IN_MEMORY_BYTES))?;
        connection.register(registry, Source::PytestHost.into())?;
        Ok(Self { connection, process, stage: Stage::Opening(Vec::new()), said_farewell: false })
    }

    /// Tells of an event.
    pub(in crate::server) fn tell(&mut self, event: RunEvent) {
        for message in frontend::messages(event) {
            self.send(message);
        }
    }

    /// Asks what a worker is to be configured with.
    pub(in crate::server) fn ask_configuration(&mut self, worker: WorkerId) {
        self.send(FrontendMessage::ConfigureNode(ConfigureNode { worker }));
    }

    /// Says that the run is over.
    pub(in crate::server) fn finish(&mut self, summary: &RunSummary) {
        self.send(frontend::finished(summary));
    }

    fn send(&mut self, message: FrontendMessage) {
        match &mut self.stage {
            Stage::Opening(waiting) => waiting.push(message),
            Stage::Open { .. } => self.connection.send(&message),
        }
    }

    /// Reads for one turn.
    pub(in crate::server) fn read(&mut self, scratch: &mut [u8]) -> Turn {
        let mut turn = Turn { inputs: Vec::new(), more: false, lost: None };
        let mut arrived = Vec::new();
        let end = self.connection.read(scratch, |item| arrived.push(item));
        for item in arrived {
            match item {
                Arrived::Hello(hello) => self.open(&hello, &mut turn),
                Arrived::Message(command) => turn.inputs.extend(self.input(command)),
                Arrived::Garbled(error) => {
                    turn.lost = Some(format!("it does not keep to the protocol: {error}"))
                }
            }
        }
        match end {
            ReadEnd::Blocked => {}
            ReadEnd::More => turn.more = true,
            ReadEnd::Closed(_) => turn.lost = turn.lost.or_else(|| Some(CLOSED.to_owned())),
        }
        turn
    }

    fn open(&mut self, hello: &Hello, turn: &mut Turn) {
        let ours = Implementation { name: "xdist".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let version = negotiate(&ours, VersionRange::SUPPORTED, hello).and_then(|version| match hello.role {
            Role::Frontend => Ok(version),
            Role::Worker | Role::Other => Err(Box::new(Refused {
                reason: RefusalReason::Unacceptable,
                text: "this link is for a frontend".to_owned(),
                versions: VersionRange::SUPPORTED,
            })),
        });
        let version = match version {
            Ok(version) => version,
            Err(refused) => {
                turn.lost = Some(refused.text.clone());
                return self.connection.answer(&CoordinatorOpening::Refused(*refused));
            }
        };
        let features = features_in_force(hello);
        let configures_nodes = features.contains_key(FEATURE_CONFIGURE_NODE);
        let has_terminal = features.contains_key(FEATURE_TERMINAL);
        let says_farewell = features.contains_key(FEATURE_FAREWELL);
        let judges_crashes = features.contains_key(FEATURE_CRASHES);
        let schedules = features.contains_key(FEATURE_SCHEDULER);
        self.connection.answer(&CoordinatorOpening::Welcome(Welcome {
            version,
            features,
            run: RunId(String::new()),
            workers: Vec::new(),
            heartbeat_ms: 0,
            max_frame_bytes: MAX_FRAME_BYTES,
        }));
        let open = Stage::Open { configures_nodes, has_terminal, says_farewell };
        let stage = std::mem::replace(&mut self.stage, open);
        turn.inputs.push(Input::PytestHostJoined { judges_crashes, schedules });
        let Stage::Opening(waiting) = stage else { return };
        for message in waiting {
            match message {
                FrontendMessage::ConfigureNode(ConfigureNode { worker }) if !configures_nodes => {
                    turn.inputs.push(Input::NodeConfigured { worker, input: BTreeMap::new() });
                }
                message => self.connection.send(&message),
            }
        }
    }

    /// What the session is to be told, if it is for the session.
    fn input(&mut self, command: FrontendCommand) -> Option<Input> {
        Some(match command {
            FrontendCommand::NodeConfigured(NodeConfigured { worker, input }) => {
                Input::NodeConfigured { worker, input }
            }
            FrontendCommand::TerminalFree(TerminalFree {}) => Input::TerminalFree,
            FrontendCommand::CrashHandled(answer) => Input::CrashHandled(answer),
            FrontendCommand::Assign(Assign { worker, items }) => Input::Assigned { worker, items },
            FrontendCommand::TakeBack(TakeBack { worker, items }) => Input::TakeBack { worker, items },
            FrontendCommand::ParkWorker(ParkWorker { worker }) => Input::Parked { worker },
            FrontendCommand::Retire(Retire { worker }) => Input::Retired { worker },
            FrontendCommand::InterruptRun(_) => Input::InterruptRequested,
            FrontendCommand::Farewell(Farewell {}) => {
                self.said_farewell = true;
                return None;
            }
        })
    }

    /// Whether questions about workers are answered here and not by the peer.
    pub(in crate::server) const fn leaves_nodes_alone(&self) -> bool {
        matches!(self.stage, Stage::Open { configures_nodes: false, .. })
    }

    /// Whether it writes to the terminal, and says when it does not.
    pub(in crate::server) const fn has_terminal(&self) -> bool {
        matches!(self.stage, Stage::Open { has_terminal: true, .. })
    }

    /// Sends what can be sent.
    pub(in crate::server) fn flush(&mut self, registry: &Registry) -> io::Result<()> {
        self.connection.flush(registry, Source::PytestHost.into())
    }

    /// Whether it has dealt with everything. Of one that does not say so, and of one that is not waited for: whether it was
    /// sent everything.
    pub(in crate::server) fn has_heard_all(&self) -> bool {
        match self.stage {
            Stage::Opening(_) => false,
            Stage::Open { says_farewell: true, .. } if self.process.is_some() => self.said_farewell,
            Stage::Open { .. } => !self.connection.has_queued(),
        }
    }

    /// Whether its process has ended, if it is ours to know.
    pub(in crate::server) fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(HostProcess::has_ended)
    }

    /// How often to look whether it has ended.
    pub(in crate::server) fn check_interval(&self) -> Option<Duration> {
        self.process.as_ref().map(|_| PYTEST_HOST_CHECK)
    }

    /// Closes the link and gives the process, if it is ours.
    pub(in crate::server) fn hang_up(mut self, registry: &Registry) -> Option<HostProcess> {
        // One that is refused should hear why; one that does not listen need not.
        let _ = self.flush(registry);
        self.connection.deregister(registry);
        self.process
    }
}

/// What both sides can do.
fn features_in_force(hello: &Hello) -> BTreeMap<String, u64> {
    let ours =
        [FEATURE_CONFIGURE_NODE, FEATURE_CRASHES, FEATURE_FAREWELL, FEATURE_SCHEDULER, FEATURE_TERMINAL]
            .into_iter();
    let named = ours.filter(|&feature| hello.features.get(feature).is_some_and(|&value| value > 0));
    named.map(|feature| (feature.to_owned(), 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::io::{Read, Write};
    use xdist_proto::codec::{self, Decoded, Message, PeerOpening};
    use xdist_proto::frame::{FrameDecoder, HANDSHAKE_FRAME_BYTES};
    use xdist_proto::frontend::{CrashHandled, InterruptRun};
    use xdist_proto::handshake::{HostFacts, PREAMBLE_BYTES, preamble};
    use xdist_proto::message::Stream;

    /// A link and the socket at its other end.
    struct Bench {
        link: PytestHostLink,
        poll: Poll,
        peer: Peer,
    }

    /// The other end, which reads when it likes to.
    struct Peer {
        socket: UnixStream,
        decoder: FrameDecoder,
    }

    impl Bench {
        fn new() -> Self {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let poll = Poll::new().unwrap();
            let link = PytestHostLink::new(ours, None, poll.registry()).unwrap();
            let peer = Peer { socket: theirs, decoder: FrameDecoder::new(MAX_FRAME_BYTES) };
            Self { link, poll, peer }
        }

        /// With a peer that has these features, and has read the answer to its `hello`.
        fn open(features: &[&str]) -> Self {
            let mut bench = Self::new();
            bench.peer.hello(Role::Frontend, features);
            assert_eq!(bench.read().lost, None);
            bench.flush();
            bench.peer.skip_preamble();
            assert!(matches!(bench.peer.receive(), CoordinatorOpening::Welcome(_)));
            bench
        }

        fn read(&mut self) -> Turn {
            self.link.read(&mut [0; 4096])
        }

        fn flush(&mut self) {
            self.link.flush(self.poll.registry()).unwrap();
        }
    }

    impl Peer {
        fn write(&mut self, bytes: &[u8]) {
            self.socket.write_all(bytes).unwrap();
        }

        fn send(&mut self, message: &impl Message) {
            let mut bytes = Vec::new();
            codec::encode_into(message, HANDSHAKE_FRAME_BYTES, &mut bytes).unwrap();
            self.write(&bytes);
        }

        fn hello(&mut self, role: Role, features: &[&str]) {
            self.write(&preamble());
            self.send(&PeerOpening::Hello(Box::new(Hello {
                implementation: Implementation { name: "a test".to_owned(), version: "1".to_owned() },
                versions: VersionRange::SUPPORTED,
                role,
                host: HostFacts::default(),
                slots: 0,
                features: features.iter().map(|&feature| (feature.to_owned(), 1)).collect(),
                generation: 0,
                proof: Vec::new(),
            })));
        }

        fn skip_preamble(&mut self) {
            self.socket.read_exact(&mut [0; PREAMBLE_BYTES]).unwrap();
        }

        fn receive<M: Message>(&mut self) -> M {
            let mut scratch = [0; 64 << 10];
            loop {
                if let Some(payload) = self.decoder.next_frame().unwrap() {
                    let Decoded::Message(message) = codec::decode(payload).unwrap() else { continue };
                    return message;
                }
                let count = self.socket.read(&mut scratch).unwrap();
                assert!(count > 0, "the link is at its end");
                self.decoder.push(&scratch[..count]);
            }
        }
    }

    fn output(number: u32, bytes: usize) -> RunEvent {
        let mut data = number.to_be_bytes().to_vec();
        data.resize(bytes, b'.');
        RunEvent::Output { worker: WorkerId(0), stream: Stream::Stdout, data }
    }

    fn starting(worker: u32) -> RunEvent {
        let (name, spec) = (format!("gw{worker}"), "popen".to_owned());
        RunEvent::WorkerStarting { worker: WorkerId(worker), name, spec, replaces: None }
    }

    #[test]
    fn it_may_lag_behind_by_far_more_than_is_kept_in_memory() {
        const EVENTS: u32 = 1000;
        const BYTES: usize = 50 << 10;
        assert!(EVENTS as usize * BYTES > 10 * IN_MEMORY_BYTES);
        let mut bench = Bench::open(&[]);
        for number in 0..EVENTS {
            bench.link.tell(output(number, BYTES));
            bench.flush();
        }
        assert!(!bench.link.has_heard_all());
        let mut peer = bench.peer;
        #[expect(clippy::disallowed_methods, reason = "the peer is another process")]
        let reader = std::thread::spawn(move || {
            for expected in 0..EVENTS {
                let FrontendMessage::Output(output) = peer.receive() else { panic!("something else") };
                assert_eq!(output.data[..4], expected.to_be_bytes());
                assert_eq!(output.data.len(), BYTES);
            }
            peer
        });
        let (mut link, mut poll, mut events) = (bench.link, bench.poll, Events::with_capacity(4));
        while !link.has_heard_all() {
            poll.poll(&mut events, None).unwrap();
            link.flush(poll.registry()).unwrap();
        }
        // What comes after that does not wait for what is no longer there.
        let mut peer = reader.join().unwrap();
        link.tell(output(EVENTS, BYTES));
        link.flush(poll.registry()).unwrap();
        assert!(link.has_heard_all());
        assert!(matches!(peer.receive(), FrontendMessage::Output(_)));
    }

    #[test]
    fn it_is_told_from_the_beginning_however_late_it_comes() {
        let mut bench = Bench::new();
        bench.link.tell(starting(0));
        bench.link.ask_configuration(WorkerId(0));
        bench.link.tell(starting(1));
        bench.flush();
        assert!(!bench.link.has_heard_all());
        bench.peer.hello(Role::Frontend, &[FEATURE_CONFIGURE_NODE]);
        let turn = bench.read();
        assert!(
            matches!(turn.inputs[..], [Input::PytestHostJoined { judges_crashes: false, .. }]),
            "{turn:?}"
        );
        bench.flush();
        assert!(bench.link.has_heard_all());
        bench.peer.skip_preamble();
        let CoordinatorOpening::Welcome(welcome) = bench.peer.receive() else { panic!("refused") };
        assert_eq!(welcome.features, [(FEATURE_CONFIGURE_NODE.to_owned(), 1)].into());
        assert!(
            matches!(bench.peer.receive(), FrontendMessage::WorkerStarting(event) if event.name == "gw0")
        );
        let question = FrontendMessage::ConfigureNode(ConfigureNode { worker: WorkerId(0) });
        assert_eq!(bench.peer.receive::<FrontendMessage>(), question);
        assert!(
            matches!(bench.peer.receive(), FrontendMessage::WorkerStarting(event) if event.name == "gw1")
        );
    }

    #[test]
    fn questions_that_it_does_not_answer_are_answered_for_it() {
        let mut bench = Bench::new();
        bench.link.ask_configuration(WorkerId(3));
        bench.peer.hello(Role::Frontend, &[FEATURE_CRASHES, "of_a_later_version"]);
        let turn = bench.read();
        let [
            Input::PytestHostJoined { judges_crashes: true, .. },
            Input::NodeConfigured { worker: WorkerId(3), input },
        ] = &turn.inputs[..]
        else {
            panic!("{turn:?}");
        };
        assert!(input.is_empty());
        assert!(bench.link.leaves_nodes_alone());
        bench.flush();
        bench.peer.skip_preamble();
        let CoordinatorOpening::Welcome(welcome) = bench.peer.receive() else { panic!("refused") };
        assert_eq!(welcome.features, [(FEATURE_CRASHES.to_owned(), 1)].into());
    }

    #[test]
    fn what_it_says_is_handed_in() {
        let mut bench = Bench::open(&[FEATURE_CONFIGURE_NODE, FEATURE_CRASHES]);
        let handled = CrashHandled { request: 4, again: true, excused: false };
        bench.peer.send(&FrontendCommand::CrashHandled(handled.clone()));
        bench.peer.send(&FrontendCommand::InterruptRun(InterruptRun {}));
        let turn = bench.read();
        assert!(
            matches!(&turn.inputs[..], [Input::CrashHandled(answer), Input::InterruptRequested] if *answer == handled),
            "{turn:?}"
        );
        assert_eq!((turn.more, turn.lost), (false, None));
    }

    #[test]
    fn who_is_no_frontend_is_refused_and_hears_why() {
        for role in [Role::Worker, Role::Other] {
            let mut bench = Bench::new();
            bench.peer.hello(role, &[]);
            let turn = bench.read();
            assert_eq!(turn.lost.as_deref(), Some("this link is for a frontend"));
            assert!(turn.inputs.is_empty());
            assert!(bench.link.hang_up(bench.poll.registry()).is_none());
            bench.peer.skip_preamble();
            let CoordinatorOpening::Refused(refused) = bench.peer.receive() else { panic!("welcome") };
            assert_eq!(refused.reason, RefusalReason::Unacceptable);
            assert_eq!(bench.peer.socket.read(&mut [0]).unwrap(), 0, "the link is at its end");
        }
    }

    #[test]
    fn what_makes_no_sense_ends_the_link() {
        let lost = |begin: fn() -> Bench, breach: fn(&mut Peer)| {
            let mut bench = begin();
            breach(&mut bench.peer);
            bench.read().lost.expect("the link is at its end")
        };
        let opened = || Bench::open(&[]);
        let garbled = "it does not keep to the protocol: ";
        assert!(lost(Bench::new, |peer| peer.write(b"HTTP/1.1 200 OK")).starts_with(garbled));
        assert!(lost(opened, |peer| peer.write(b"\0\0\0\x01\xc1")).starts_with(garbled));
        assert!(lost(opened, |peer| peer.hello(Role::Frontend, &[])).starts_with(garbled));
        let early = lost(Bench::new, |peer| {
            peer.write(&preamble());
            peer.send(&FrontendCommand::InterruptRun(InterruptRun {}));
        });
        assert!(early.starts_with(garbled), "{early}");
        for begin in [Bench::new, opened] {
            let closed = lost(begin, |peer| peer.socket.shutdown(std::net::Shutdown::Both).unwrap());
            assert_eq!(closed, CLOSED);
        }
    }
}
