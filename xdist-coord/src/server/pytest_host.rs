//! The pytest host's link: it is told all that happens from the beginning, however far it lags behind, and answers.

use super::connection::{Arrived, Connection, ReadEnd};
use super::outbox::Overflow;
use super::token::Source;
use crate::frontend;
use crate::launch::HostProcess;
use crate::session::event::{RunEvent, RunSummary};
use crate::session::input::Input;
use mio::Registry;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::time::Instant;
use xdist_proto::RunId;
use xdist_proto::WorkerId;
use xdist_proto::codec::CoordinatorOpening;
use xdist_proto::frame::MAX_FRAME_BYTES;
use xdist_proto::frontend::{
    Assign, ConfigureNode, FEATURE_CONFIGURE_NODE, FEATURE_CRASHES, FEATURE_SCHEDULER, FrontendCommand,
    FrontendMessage, NodeConfigured, ParkWorker, Retire, TakeBack,
};
use xdist_proto::handshake::{Hello, Implementation, RefusalReason, Refused, Role, Welcome, negotiate};
use xdist_proto::version::VersionRange;

/// How much waits in memory for a host that lags behind; the rest waits in a file.
const IN_MEMORY_BYTES: usize = 4 << 20;

/// The link to the pytest host.
#[derive(Debug)]
pub(super) struct PytestHostLink {
    connection: Connection<FrontendCommand>,
    /// `None` where it is the program that started us.
    process: Option<HostProcess>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It has not said `hello`; this is what it is to be told.
    Opening(Vec<FrontendMessage>),
    /// It takes part.
    Open {
        /// Whether it answers `configure_node`.
        configures_nodes: bool,
    },
}

/// What came of reading.
#[derive(Debug)]
pub(super) struct Turn {
    /// What the session is to be told.
    pub(super) inputs: Vec<Input>,
    /// Whether there may be more.
    pub(super) more: bool,
    /// Why the link is at its end, if it is.
    pub(super) lost: Option<String>,
}

impl PytestHostLink {
    /// A link whose peer is to say `hello`.
    pub(super) fn new(
        socket: UnixStream,
        process: Option<HostProcess>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let mut connection = Connection::new(socket, Overflow::Spill(IN_MEMORY_BYTES))?;
        connection.register(registry, Source::PytestHost.into())?;
        Ok(Self { connection, process, stage: Stage::Opening(Vec::new()) })
    }

    /// Tells of an event.
    pub(super) fn tell(&mut self, event: RunEvent) {
        for message in frontend::messages(event) {
            self.send(message);
        }
    }

    /// Asks what a worker is to be configured with.
    pub(super) fn ask_configuration(&mut self, worker: WorkerId) {
        self.send(FrontendMessage::ConfigureNode(ConfigureNode { worker }));
    }

    /// Says that the run is over.
    pub(super) fn finish(&mut self, summary: &RunSummary) {
        self.send(frontend::finished(summary));
    }

    fn send(&mut self, message: FrontendMessage) {
        match &mut self.stage {
            Stage::Opening(waiting) => waiting.push(message),
            Stage::Open { .. } => self.connection.send(&message),
        }
    }

    /// Reads for one turn.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> Turn {
        let mut turn = Turn { inputs: Vec::new(), more: false, lost: None };
        let mut arrived = Vec::new();
        let end = self.connection.read(scratch, |item| arrived.push(item));
        for item in arrived {
            match item {
                Arrived::Hello(hello) => self.open(&hello, &mut turn),
                Arrived::Message(command) => turn.inputs.push(input(command)),
                Arrived::Garbled(error) => {
                    turn.lost = Some(format!("it does not keep to the protocol: {error}"))
                }
            }
        }
        match end {
            ReadEnd::Blocked => {}
            ReadEnd::More => turn.more = true,
            ReadEnd::Closed(_) => turn.lost = turn.lost.or_else(|| Some("it closed the link".to_owned())),
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
        self.connection.answer(&CoordinatorOpening::Welcome(Welcome {
            version,
            features: BTreeMap::new(),
            run: RunId(String::new()),
            workers: Vec::new(),
            heartbeat_ms: 0,
            max_frame_bytes: MAX_FRAME_BYTES,
        }));
        let has = |feature| hello.features.get(feature).is_some_and(|&value| value > 0);
        let configures_nodes = has(FEATURE_CONFIGURE_NODE);
        let stage = std::mem::replace(&mut self.stage, Stage::Open { configures_nodes });
        turn.inputs.push(Input::PytestHostJoined {
            judges_crashes: has(FEATURE_CRASHES),
            schedules: has(FEATURE_SCHEDULER),
        });
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

    /// Whether questions about workers are answered here and not by the peer.
    pub(super) const fn leaves_nodes_alone(&self) -> bool {
        matches!(self.stage, Stage::Open { configures_nodes: false })
    }

    /// Sends what can be sent.
    pub(super) fn flush(&mut self, registry: &Registry) -> io::Result<()> {
        self.connection.flush(registry, Source::PytestHost.into())
    }

    /// Whether everything has been sent.
    pub(super) fn has_sent_all(&self) -> bool {
        !self.connection.has_queued() && matches!(self.stage, Stage::Open { .. })
    }

    /// Closes the link and waits for the process, which is ours, to end; it may take as long as it likes until
    /// `deadline`.
    pub(super) fn close(mut self, registry: &Registry, deadline: Option<Instant>) -> Option<ExitStatus> {
        self.connection.deregister(registry);
        drop(self.connection);
        match (&mut self.process, deadline) {
            (None, _) => None,
            (Some(process), Some(deadline)) => process.wait_until(deadline),
            (Some(process), None) => process.wait(),
        }
    }
}

fn input(command: FrontendCommand) -> Input {
    match command {
        FrontendCommand::NodeConfigured(NodeConfigured { worker, input }) => {
            Input::NodeConfigured { worker, input }
        }
        FrontendCommand::CrashHandled(answer) => Input::CrashHandled(answer),
        FrontendCommand::Assign(Assign { worker, items }) => Input::Assigned { worker, items },
        FrontendCommand::TakeBack(TakeBack { worker, items }) => Input::TakeBack { worker, items },
        FrontendCommand::ParkWorker(ParkWorker { worker }) => Input::Parked { worker },
        FrontendCommand::Retire(Retire { worker }) => Input::Retired { worker },
        FrontendCommand::InterruptRun(_) => Input::InterruptRequested,
    }
}
