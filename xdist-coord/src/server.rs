//! The shell around a [`Session`]: owns the poll, the clock, the signals, the links and the hosts' processes.
//!
//! It decides nothing. Every turn it waits, hands what happened to the session, and does what the session wants.
#![expect(clippy::disallowed_methods, reason = "a shell module: this is where the clock is read")]

mod connection;

mod fetch;

mod gate;

mod keyboard;

pub mod terminal;

mod outbox;

mod pytest_host;

mod signals;

mod sync;

mod token;

use crate::launch::{HostProcess, Invitation, Launcher, Wanted};
use crate::scheduler::History;
use crate::session::Session;
use crate::session::config::{Config, PytestHost};
use crate::session::event::{RunEvent, RunSummary};
use crate::session::input::{CloseCause, Input};
use crate::session::output::{CloseReason, Output};
use crate::workers::spec::HostSpec;
use crate::workers::{HostId, LinkId};
use connection::{Arrived, Connection, ReadEnd};
use fetch::Stores;
use gate::Gate;
pub use gate::GateError;
use keyboard::Keyboard;
use mio::{Events, Poll};
use outbox::Overflow;
use pytest_host::PytestHostLink;
use signals::Signals;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{fmt, io};
use sync::{Copying, Step};
use terminal::Lent;
use token::Source;
use xdist_proto::message::WorkerMessage;

/// How long a host whose link ended is waited for, to learn how it ended.
const HOST_STATUS_GRACE: Duration = Duration::from_millis(200);

/// How many readiness events are taken at once.
const EVENTS_PER_TURN: usize = 256;

/// Bytes read at once.
const SCRATCH_BYTES: usize = 64 << 10;

/// How much may wait to be sent to a host. One that lets more pile up does not read, and is given up.
const MAX_QUEUED_BYTES: usize = 256 << 20;

/// Watches a run. Whoever only wants to see what happens has no use for the rest.
pub trait Observer {
    /// Something happened in the run.
    fn event(&mut self, event: &RunEvent, now: Instant);
    /// What tests took in earlier runs, if that is known. Asked once, soon after [`RunEvent::Configured`], while the
    /// workers collect.
    fn history(&mut self) -> Option<History> {
        None
    }
    /// When [`tick`](Self::tick) is to be called next, if at all.
    fn next_tick(&self) -> Option<Instant> {
        None
    }
    /// The time that [`next_tick`](Self::next_tick) gave has come.
    fn tick(&mut self, _now: Instant) {}
    /// Whether single keys are wanted, where there is a terminal to read them from.
    fn wants_keys(&self) -> bool {
        false
    }
    /// A key was pressed.
    fn key(&mut self, _key: u8, _now: Instant) {}
    /// The terminal's size may have changed, or the program was continued after a stop.
    fn terminal_changed(&mut self, _now: Instant) {}
    /// Hosts can dial in.
    fn listening(&mut self, _invitation: &Invitation) {}
    /// From now on the pytest host tells people what happens.
    fn handed_over(&mut self) {}
}

/// Where the pytest host comes from. Which of these it is has to fit [`Config::pytest_host`].
pub enum PytestHostSource<'a> {
    /// There is none.
    None,
    /// A command that is started when it is wanted.
    Command(&'a dyn Fn() -> Result<Command, String>),
    /// It is at the other end of this link already.
    Link(UnixStream),
}

impl fmt::Debug for PytestHostSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Command(_) => "Command",
            Self::Link(_) => "Link",
        })
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The session's own account. It ends with an interrupt if the user did not want to wait for the pytest host.
    pub summary: RunSummary,
    /// How the pytest host ended, if we started one, and that tells more than the summary: it saw the run to its end, or
    /// it failed.
    pub pytest_host: Option<ExitStatus>,
}

/// The shell could not do its part. No worker process is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The operating system refused something that every run needs.
    #[error("cannot wait for workers: {0}")]
    Poll(#[from] io::Error),
    /// Hosts cannot dial in, which the user has asked for.
    #[error(transparent)]
    Gate(#[from] GateError),
}

/// Runs to the end, and answers how it ended. Blocks; SIGINT, SIGTERM and SIGHUP interrupt the run meanwhile.
///
/// # Errors
/// [`ServerError`] when the operating system refuses to let us wait for the workers.
pub fn run(
    config: Config,
    seed: u64,
    launcher: &Launcher,
    pytest_host: PytestHostSource<'_>,
    observer: &mut dyn Observer,
) -> Result<Outcome, ServerError> {
    let poll = Poll::new()?;
    let signals = Signals::new(poll.registry(), Source::Signals.into())?;
    let keyboard = match observer.wants_keys() {
        true => Keyboard::take(poll.registry(), Source::Keyboard.into()),
        false => None,
    };
    let listens = config.joining.open;
    let at_once = config.pytest_host == PytestHost::Present;
    let mut server = Server {
        poll,
        signals,
        keyboard,
        session: Session::new(config, seed, Instant::now()),
        launcher,
        observer,
        gate: None,
        gate_readable: false,
        links: BTreeMap::new(),
        readable: BTreeSet::new(),
        unsent: BTreeSet::new(),
        departing: Vec::new(),
        stores: Stores::default(),
        next_link: 0,
        inputs: Vec::new(),
        scratch: vec![0; SCRATCH_BYTES],
        awaits_history: false,
        pytest_host: None,
        pytest_host_source: pytest_host,
        pytest_host_readable: false,
        lost_pytest_host: None,
        lent_terminal: None,
        copying: Copying::default(),
        told_so_far: Vec::new(),
        summary: None,
    };
    if listens {
        server.open_gate(Wanted::Here)?;
    }
    if at_once {
        server.start_pytest_host();
    }
    server.run()
}

/// A link and the process at its other end.
#[derive(Debug)]
struct Link {
    connection: Connection<WorkerMessage>,
    /// None of ours for a host that has dialled in.
    process: Option<HostProcess>,
}

struct Server<'a> {
    poll: Poll,
    signals: Signals,
    keyboard: Option<Keyboard>,
    session: Session,
    launcher: &'a Launcher,
    observer: &'a mut dyn Observer,
    gate: Option<Gate>,
    /// Whether the gate may have more to say.
    gate_readable: bool,
    links: BTreeMap<LinkId, Link>,
    /// Links that may have more to read: edge-triggered readiness is not announced again.
    readable: BTreeSet<LinkId>,
    /// Links that were given something to send since the last flush.
    unsent: BTreeSet<LinkId>,
    /// Processes whose link is closed, until they have ended.
    departing: Vec<HostProcess>,
    /// Files that are being fetched.
    stores: Stores,
    next_link: u32,
    /// Kept for its memory.
    inputs: Vec<Input>,
    /// Kept for its memory.
    scratch: Vec<u8>,
    /// Whether the observer is to be asked for the history.
    awaits_history: bool,
    pytest_host: Option<PytestHostLink>,
    pytest_host_source: PytestHostSource<'a>,
    /// Whether the pytest host's link may have more to read.
    pytest_host_readable: bool,
    /// How the pytest host failed, if it did so before its time.
    lost_pytest_host: Option<ExitStatus>,
    /// The terminal while a worker has it.
    lent_terminal: Option<Lent>,
    copying: Copying,
    /// What a pytest host would have to be told when it is started.
    told_so_far: Vec<RunEvent>,
    /// Set once the run is over.
    summary: Option<RunSummary>,
}

impl Server<'_> {
    fn run(mut self) -> Result<Outcome, ServerError> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        self.carry_out();
        loop {
            self.flush();
            self.copy_files();
            // Reading it takes a moment, so what makes the workers start and collect is sent first. No list of items can
            // be here yet: it is asked for after this.
            if std::mem::take(&mut self.awaits_history)
                && let Some(history) = self.observer.history()
            {
                self.handle(Input::History(history));
            }
            if let Some(mut summary) = self.summary.take() {
                let pytest_host = self.end_pytest_host(&mut summary)?;
                self.end_hosts();
                return Ok(Outcome { summary, pytest_host });
            }
            match self.poll.poll(&mut events, self.time_to_wait()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
            for event in &events {
                match Source::from(event.token()) {
                    Source::Signals => self.signals_arrived(),
                    Source::Keyboard => self.keys_pressed(),
                    Source::PytestHost => self.pytest_host_readable = true,
                    Source::Gate => self.gate_readable = true,
                    // What it has is asked for in every turn.
                    Source::Sync => {}
                    // Which kind of readiness it is does not matter: reading and flushing tell the truth.
                    Source::Link(link) => {
                        self.readable.insert(link);
                        self.unsent.insert(link);
                    }
                }
            }
            for link in std::mem::take(&mut self.readable) {
                self.read_link(link);
            }
            self.let_in();
            self.read_pytest_host();
            self.check_pytest_host();
            self.deadlines();
        }
    }

    /// Hands something in, and does what the session then wants.
    fn handle(&mut self, input: Input) {
        self.session.handle(input, Instant::now());
        self.carry_out();
    }

    /// Rounded up, so that a deadline less than a millisecond away does not make the poll spin.
    fn time_to_wait(&self) -> Option<Duration> {
        // What was queued since the last flush goes out first.
        let is_busy = !self.readable.is_empty() || !self.unsent.is_empty();
        if is_busy || self.pytest_host_readable || self.gate_readable {
            return Some(Duration::ZERO);
        }
        let deadlines = [self.session.next_deadline(), self.observer.next_tick()];
        let now = Instant::now();
        let left = deadlines.into_iter().flatten().min().map(|at| at.saturating_duration_since(now));
        let check = self.pytest_host.as_ref().and_then(PytestHostLink::check_interval);
        let left = left.into_iter().chain(check).min()?;
        Some(Duration::from_millis(u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)))
    }

    fn signals_arrived(&mut self) {
        for _ in 0..self.signals.ending() {
            self.handle(Input::InterruptRequested);
        }
        if self.signals.terminal_changed() {
            if let Some(keyboard) = &self.keyboard {
                keyboard.set_up();
            }
            self.observer.terminal_changed(Instant::now());
        }
    }

    fn keys_pressed(&mut self) {
        let keys = self.keyboard.as_ref().map(Keyboard::keys).unwrap_or_default();
        for key in keys {
            self.observer.key(key, Instant::now());
        }
    }

    /// Deadlines come after reading: what is waiting to be read may be just what the deadline is about.
    fn deadlines(&mut self) {
        let now = Instant::now();
        if self.readable.is_empty() && self.session.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.handle(Input::DeadlineReached);
        }
        if self.observer.next_tick().is_some_and(|tick| tick <= now) {
            self.observer.tick(now);
        }
    }

    /// Reads from a link for one turn.
    fn read_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let mut inputs = std::mem::take(&mut self.inputs);
        let end = link.connection.read(&mut self.scratch, |arrived| {
            inputs.push(match arrived {
                Arrived::Hello(hello) => Input::Opened { link: id, hello },
                Arrived::Message(message) => Input::Received { link: id, message },
                Arrived::Garbled(error) => Input::Garbled { link: id, error },
            });
        });
        for input in inputs.drain(..) {
            self.handle(input);
        }
        self.inputs = inputs;
        match end {
            ReadEnd::Blocked => {}
            ReadEnd::More => {
                self.readable.insert(id);
            }
            ReadEnd::Closed(cause) => self.closed(id, cause),
        }
    }

    /// The link is at its end: tells the session, with how the process ended if it has.
    fn closed(&mut self, id: LinkId, cause: CloseCause) {
        let Some(mut link) = self.take_link(id) else { return };
        let process = link.process.as_mut();
        let said = process.and_then(|process| {
            let status = process.wait_until(Instant::now() + HOST_STATUS_GRACE);
            status.filter(|status| !status.success()).map(|status| process.last_words().ok_or(status))
        });
        let cause = match said {
            Some(Ok(said)) => CloseCause::Explained(said),
            Some(Err(status)) => CloseCause::Failed(format!("its process ended with {status}")),
            None => cause,
        };
        self.departing.extend(link.process);
        self.handle(Input::Closed { link: id, cause });
    }

    fn take_link(&mut self, id: LinkId) -> Option<Link> {
        let mut link = self.links.remove(&id)?;
        link.connection.deregister(self.poll.registry());
        Some(link)
    }

    /// Does what the session wants until it wants nothing more.
    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Launch { host, spec } => self.launch(host, &spec),
                Output::Answer { link, message } => {
                    self.with_link(link, |connection| connection.answer(&message))
                }
                Output::Send { link, message } => {
                    self.with_link(link, |connection| connection.send(&message))
                }
                Output::Sync { tree, order } => {
                    let step = self.copying.order(self.poll.registry(), tree, order);
                    step.into_iter().for_each(|step| self.copying_step(step));
                }
                Output::ReadFiles { directory, paths } => {
                    let step = self.copying.read(self.poll.registry(), directory, paths);
                    step.into_iter().for_each(|step| self.copying_step(step));
                }
                Output::Close { link, reason } => self.close(link, &reason),
                Output::Report(event) => {
                    self.awaits_history |= matches!(event, RunEvent::Configured(_));
                    if matches!(event, RunEvent::TerminalBack { .. }) {
                        self.take_terminal_back();
                    }
                    self.observer.event(&event, Instant::now());
                    self.tell_pytest_host(event);
                }
                Output::StartPytestHost { hooks } => {
                    tracing::info!(?hooks, "starting the pytest host");
                    self.start_pytest_host();
                }
                Output::FreeTerminal { .. } => self.free_terminal(),
                Output::AskConfiguration { worker } => self.ask_configuration(worker),
                Output::Fetch { fetch, step } => {
                    if let Some(stored) = self.stores.step(fetch, step) {
                        // Not through `handle`: the session's further outputs are being carried out already.
                        self.session.handle(Input::Stored { fetch, stored }, Instant::now());
                    }
                }
                Output::Finished(summary) => self.summary = Some(summary),
            }
        }
    }

    /// Leaves the terminal alone. Those who watch have been told already; the pytest host says when it does so too.
    fn free_terminal(&mut self) {
        if let Some(keyboard) = &self.keyboard {
            keyboard.put_back();
        }
        self.lent_terminal.get_or_insert_with(Lent::lend);
        if !self.pytest_host.as_ref().is_some_and(PytestHostLink::has_terminal) {
            // Not through `handle`: the session's further outputs are being carried out already.
            self.session.handle(Input::TerminalFree, Instant::now());
        }
    }

    fn take_terminal_back(&mut self) {
        if let Some(lent) = self.lent_terminal.take() {
            lent.take_back();
        }
        if let Some(keyboard) = &self.keyboard {
            keyboard.set_up();
        }
    }

    fn close(&mut self, id: LinkId, reason: &CloseReason) {
        tracing::debug!(link = id.0, ?reason, "closing a link");
        if let Some(link) = self.links.get_mut(&id) {
            // What was queued should still arrive; a peer that does not take it now does not get it.
            let _ = link.connection.flush(self.poll.registry(), Source::Link(id).into());
        }
        let link = self.take_link(id);
        self.departing.extend(link.and_then(|link| link.process));
    }

    fn with_link(&mut self, id: LinkId, act: impl FnOnce(&mut Connection<WorkerMessage>)) {
        // A link that is gone has been reported to the session, whose answer is on the way.
        if let Some(link) = self.links.get_mut(&id) {
            act(&mut link.connection);
            self.unsent.insert(id);
        }
    }

    /// Sends what can be sent.
    fn flush(&mut self) {
        if let Some(pytest_host) = &mut self.pytest_host
            && let Err(error) = pytest_host.flush(self.poll.registry())
        {
            self.lose_pytest_host_after_reading(&error.to_string());
        }
        while let Some(id) = self.unsent.pop_first() {
            let Some(link) = self.links.get_mut(&id) else { continue };
            if let Err(error) = link.connection.flush(self.poll.registry(), Source::Link(id).into()) {
                self.write_failed(id, &error);
            }
        }
    }

    /// Sends of directories that are copied what may be sent now.
    fn copy_files(&mut self) {
        let links = &self.links;
        let has_room =
            |id| links.get(&id).is_some_and(|link: &Link| link.connection.queued_bytes() < sync::ROOM_BYTES);
        for step in self.copying.steps(has_room) {
            self.copying_step(step);
        }
        self.carry_out();
        self.flush();
    }

    fn copying_step(&mut self, step: Step) {
        match step {
            Step::Send(link, message) => self.with_link(link, |connection| connection.send(&message)),
            // Neither through `handle`: the session's further outputs may be being carried out already.
            Step::Fail(tree, error) => {
                self.session.handle(Input::SyncFailed { tree, error }, Instant::now());
            }
            Step::Hashed(files) => self.session.handle(Input::FilesRead { files }, Instant::now()),
        }
    }

    /// A link that cannot be written to may still hold what the peer said last, so that is read first.
    fn write_failed(&mut self, id: LinkId, error: &io::Error) {
        loop {
            self.readable.remove(&id);
            self.read_link(id);
            if !self.readable.contains(&id) {
                break;
            }
        }
        if self.links.contains_key(&id) {
            self.closed(id, CloseCause::Failed(error.to_string()));
        }
    }

    fn launch(&mut self, host: HostId, spec: &HostSpec) {
        // Not through `handle`: the session's further outputs are being carried out already.
        let input = match self.try_launch(host, spec) {
            Ok(link) => Input::Launched { host, link },
            Err(error) => Input::LaunchFailed { host, error },
        };
        self.session.handle(input, Instant::now());
    }

    fn try_launch(&mut self, host: HostId, spec: &HostSpec) -> Result<LinkId, String> {
        if matches!(spec, HostSpec::Launcher(_)) && self.gate.is_none() {
            let wanted = if spec.wants_others_in() { Wanted::Elsewhere } else { Wanted::Here };
            self.open_gate(wanted).map_err(|error| error.to_string())?;
        }
        let invitation = match spec {
            HostSpec::Launcher(_) => self.gate.as_ref().map(|gate| (&gate.invitation, launch_number(host))),
            _ => None,
        };
        let (socket, process) = self.launcher.launch(spec, invitation).map_err(|error| error.to_string())?;
        let name = process.name().to_owned();
        self.add_link(socket, Some(process))
            .map_err(|error| format!("cannot watch the link to {name}: {error}"))
    }

    fn add_link(&mut self, socket: UnixStream, process: Option<HostProcess>) -> io::Result<LinkId> {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let mut connection = Connection::new(socket, Overflow::Refuse(MAX_QUEUED_BYTES))?;
        connection.register(self.poll.registry(), Source::Link(id).into())?;
        self.links.insert(id, Link { connection, process });
        self.unsent.insert(id);
        Ok(id)
    }

    /// Lets hosts dial in from now on.
    fn open_gate(&mut self, wanted: Wanted) -> Result<(), GateError> {
        let gate = Gate::open(self.launcher, wanted, self.poll.registry())?;
        self.observer.listening(&gate.invitation);
        self.gate = Some(gate);
        // What has arrived meanwhile is not announced again.
        self.gate_readable = true;
        Ok(())
    }

    /// Lets those in who have dialled in.
    fn let_in(&mut self) {
        if !std::mem::take(&mut self.gate_readable) {
            return;
        }
        while let Some(gate) = &mut self.gate {
            match gate.next_arrival() {
                Ok(Some(arrival)) => {
                    let launcher = arrival.launch.checked_sub(1).map(HostId);
                    match self.add_link(arrival.socket, None) {
                        Ok(link) => self.handle(Input::Joined { link, peer: arrival.peer, launcher }),
                        // It sees its link close, and may try again.
                        Err(error) => tracing::error!(peer = arrival.peer, %error, "cannot watch a link"),
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    // The hosts that were here are gone with it, and their links say so.
                    self.close_gate();
                    self.handle(Input::GateLost { error: error.to_string() });
                }
            }
        }
    }

    fn close_gate(&mut self) {
        let gate = self.gate.take().map(|gate| gate.close(self.poll.registry()));
        self.departing.extend(gate);
    }

    /// Closes every link, which ends the hosts, and waits for them together. Whoever does not end is killed on drop.
    fn end_hosts(&mut self) {
        let ids: Vec<_> = self.links.keys().copied().collect();
        for id in ids {
            let link = self.take_link(id);
            self.departing.extend(link.and_then(|link| link.process));
        }
        self.close_gate();
        let now = Instant::now();
        for process in &mut self.departing {
            let deadline = now + process.exit_grace();
            process.wait_until(deadline);
        }
    }
}

/// The number that a launcher passes on to whom it starts; 0 would be none.
const fn launch_number(host: HostId) -> u32 {
    host.0.saturating_add(1)
}
