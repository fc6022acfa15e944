//! The host: starts the threads, owns all state, receives every event, and joins the threads again.
//!
//! The owner blocks nowhere but in its `select!`, apart from starting a process. Everything comes in over bounded
//! channels, so a reader that is too fast waits, its pipe fills, and the process at the other end waits too. What goes out
//! never makes the owner wait ([`crate::outbox`]); while too much is queued it stops listening to runners, and then to the
//! coordinator, but never to the third channel, over which threads report their own ends.
#![expect(
    clippy::disallowed_methods,
    reason = "the shell of the host: it reads the clock for the pure parts"
)]

use crate::child::{self, Child, ChildPipes, SpawnError, Surroundings, Unborn};
use crate::event::{Event, LinkEnd, Pipe, RunnerEvent, Source};
use crate::fetch;
use crate::image::{Image, ImageOffer, adopt_orphans};
use crate::images::{Images, Waiting, Way};
use crate::link::{self, HandshakeError, OpenLink};
use crate::memory::OutOfMemoryWatch;
use crate::outbox::Outbox;
use crate::pipes::{self, PipeReader};
use crate::python_half::{self, PythonHalf};
use crate::supervisor::{Life, Supervisor, never_needed, not_started, unfit};
use crate::sync::{self, SyncCommand};
use crate::threads::{Threads, panic_text};
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use rustix::process::Pid;
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use xdist_proto::fetch::{Fetch, FetchDone};
use xdist_proto::message::{Configure, Pong, Stream};
use xdist_proto::{CoordinatorMessage, WorkerId, WorkerMessage};

/// How many events of one kind may wait for the owner.
const QUEUED_EVENTS: usize = 256;

/// How long threads may take to end after everything that they could wait for was closed or killed.
const JOIN_PATIENCE: Duration = Duration::from_millis(500);

/// How long to wait when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// What a host offers.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// How many workers it says it can drive at once; at least 1. The coordinator decides how many it really does.
    pub slots: u32,
    /// Where the Python half is kept between runs; absent for the user's cache directory ([`python_half`]).
    ///
    /// [`python_half`]: crate::python_half
    pub cache: Option<PathBuf>,
    /// Whether runners only start in directories that are there. A directory that is made is of use where files are
    /// shared with the coordinator; on another machine an empty one is no tree of tests.
    pub existing_directories: bool,
    /// The command that starts Python where the coordinator names none; empty for `python3`.
    pub python: Vec<String>,
    /// The directory to start in where the coordinator names none; absent for this process's own.
    pub directory: Option<PathBuf>,
}

impl Default for HostOptions {
    /// One slot per processor.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            slots: u32::try_from(processors).unwrap_or(u32::MAX),
            cache: None,
            existing_directories: false,
            python: Vec::new(),
            directory: None,
        }
    }
}

impl HostOptions {
    /// Adds what the coordinator leaves to the host.
    fn complete(&self, mut configure: Configure) -> Configure {
        if configure.python.is_empty() {
            configure.python.clone_from(&self.python);
        }
        if let (None, Some(directory)) = (&configure.chdir, &self.directory) {
            configure.chdir = Some(directory.to_string_lossy().into_owned());
        }
        configure
    }
}

/// A host that could not do its work. Reads after "cannot ".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The link could not be opened.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The system has no more threads, descriptors or space to give.
    #[error("prepare the worker host")]
    Resources(#[source] io::Error),
    /// The coordinator has no use for this host, for this reason.
    #[error("take part in the run: {0}")]
    Dismissed(String),
    /// The coordinator has closed the link, or vanished, while it had use for workers here.
    #[error("go on: the run broke off while it had workers here; see there what became of it")]
    Abandoned,
    /// The link broke.
    #[error("talk to the coordinator")]
    Link(#[source] io::Error),
    /// The coordinator broke the protocol.
    #[error("understand the coordinator: {0}")]
    Garbled(String),
    /// A bug of ours.
    #[error("go on: internal error in the thread \"{thread}\": {text}")]
    Panicked {
        /// Which thread.
        thread: String,
        /// What it said.
        text: String,
    },
}

/// Drives workers for the coordinator at the other end of the link, until the link ends or somebody wants this process to
/// end (SIGTERM). SIGINT, SIGQUIT and SIGHUP are ignored: a terminal sends them to the whole group, and what they mean is for
/// the coordinator to decide.
///
/// No runner outlives this call, whatever state it is in. Blocks; to be called once in a process, from a thread that
/// lives as long as the process (on Linux, runners die with the thread that started them).
///
/// # Errors
/// When the link cannot be opened, breaks, or carries nonsense, when the coordinator has no use for this host, and when it
/// closes the link or vanishes before it has told all workers to end.
pub fn run_host(link: impl Into<OwnedFd>, options: HostOptions) -> Result<(), HostError> {
    let link: OwnedFd = link.into();
    // An inherited descriptor would be inherited by the runners too, and keep the link open.
    rustix::io::fcntl_setfd(&link, rustix::io::FdFlags::CLOEXEC)
        .map_err(|error| HandshakeError::Link(error.into()))?;
    let mut link = UnixStream::from(link);
    let open = link::open(&mut link, options.slots)?;
    tracing::info!(run = %open.welcome.run, version = %open.welcome.version, "the link is open");
    let cache = options.cache.clone().or_else(python_half::cache_directory);
    let ground = Ground::prepare(options.cache.clone());
    let mut host = Host::start(link, open, ground, options)?;
    host.cache = cache;
    // Whatever happens, the runners are ended first.
    let result = catch_unwind(AssertUnwindSafe(|| host.serve()));
    host.end();
    result.unwrap_or_else(|panic| {
        Err(HostError::Panicked { thread: "owner".to_owned(), text: panic_text(&*panic) })
    })
}

/// The state of a host.
#[derive(Debug)]
struct Host {
    supervisors: BTreeMap<WorkerId, Supervisor>,
    outbox: Outbox,
    memory: OutOfMemoryWatch,
    /// Without it no runner can be started, for this reason.
    ground: Result<Ground, String>,
    options: HostOptions,
    images: Images<ImageOffer, Image, Unborn>,
    link: UnixStream,
    signals: Handle,
    channels: Channels,
    threads: Threads,
    /// To the thread that copies directories here, once there is one.
    sync: Option<Sender<SyncCommand>>,
    /// Where copies go that go nowhere in particular.
    cache: Option<PathBuf>,
    /// Why the run has no use for this host.
    dismissed: Option<String>,
}

/// What all runners need.
#[derive(Debug)]
struct Ground {
    half: PythonHalf,
    run_directory: TempDir,
}

impl Ground {
    /// Puts it where it can be put. The error says why it cannot, and what to do; the coordinator tells that.
    fn prepare(cache: Option<PathBuf>) -> Result<Self, String> {
        let half = PythonHalf::unpack(cache).map_err(|error| {
            let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            format!("cannot {error}{why}")
        })?;
        let run_directory = tempfile::Builder::new().prefix("xdist-run-").tempdir();
        let run_directory =
            run_directory.map_err(|error| format!("cannot make a temporary directory (TMPDIR): {error}"))?;
        Ok(Self { half, run_directory })
    }
}

/// What a first runner says about an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Image,
    NoImage,
}

impl Answer {
    fn in_event(event: &RunnerEvent) -> Option<Self> {
        let message = match event {
            RunnerEvent::Message(message, _) => message,
            RunnerEvent::LeavesNoImage => return Some(Self::NoImage),
            _ => return None,
        };
        match &**message {
            WorkerMessage::Ready(ready) => ready.unforkable.is_some().then_some(Self::NoImage),
            WorkerMessage::Collected(collected) if collected.unforkable.is_some() => Some(Self::NoImage),
            WorkerMessage::Collected(_) => Some(Self::Image),
            _ => None,
        }
    }
}

/// The ways in, all of the same kind of event. They differ in when they are listened to.
#[derive(Debug)]
struct Channels {
    /// What threads report about themselves: always listened to.
    lifecycle: (Sender<Event>, Receiver<Event>),
    /// From the coordinator.
    commands: Receiver<Event>,
    /// From the runners' pipes.
    runners: (Sender<Event>, Receiver<Event>),
    /// Files that are fetched. Holds little, since what it holds is large.
    files: (Sender<WorkerMessage>, Receiver<WorkerMessage>),
}

impl Host {
    fn start(
        link: UnixStream,
        open: OpenLink,
        ground: Result<Ground, String>,
        options: HostOptions,
    ) -> Result<Self, HostError> {
        let lifecycle = bounded(QUEUED_EVENTS);
        let (command_sender, commands) = bounded(QUEUED_EVENTS);
        let (batch_sender, batches) = bounded(1);
        let mut threads = Threads::new(lifecycle.0.clone());

        let reader = link.try_clone().map_err(HostError::Resources)?;
        let writer = link.try_clone().map_err(HostError::Resources)?;
        let lifecycle_sender = lifecycle.0.clone();
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP]).map_err(HostError::Resources)?;
        let signals_handle = signals.handle();
        let terminated = lifecycle.0.clone();
        let started = threads
            .start(Source::LinkReader, move || link::read_commands(reader, open.decoder, &command_sender))
            .and_then(|()| {
                threads.start(Source::LinkWriter, move || {
                    link::write_batches(writer, &batches, &lifecycle_sender);
                })
            })
            .and_then(|()| {
                threads.start(Source::Signals, move || wait_for_signals(&mut signals, &terminated))
            });
        started.map_err(HostError::Resources)?;
        Ok(Self {
            supervisors: BTreeMap::new(),
            outbox: Outbox::new(batch_sender, open.max_frame_bytes),
            memory: OutOfMemoryWatch::new(),
            ground,
            options,
            images: Images::new(),
            link,
            signals: signals_handle,
            channels: Channels { lifecycle, commands, runners: bounded(QUEUED_EVENTS), files: bounded(1) },
            threads,
            sync: None,
            cache: None,
            dismissed: None,
        })
    }

    /// Until the link ends.
    fn serve(&mut self) -> Result<(), HostError> {
        loop {
            self.outbox.flush();
            let event = self.next_event();
            let now = Instant::now();
            if let Some(event) = event
                && let Some(result) = self.handle(event, now)
            {
                return result;
            }
            for supervisor in self.supervisors.values_mut() {
                if supervisor.deadline().is_some_and(|due| due <= now) {
                    supervisor.time_passed(now, &mut self.outbox);
                }
            }
        }
    }

    /// Waits for an event or the next deadline. Channels that are not listened to now are replaced by one that is silent.
    fn next_event(&self) -> Option<Event> {
        let silent = never();
        let commands = if self.outbox.accepts_commands() { &self.channels.commands } else { &silent };
        let runners = if self.outbox.accepts_events() { &self.channels.runners.1 } else { &silent };
        let no_files = never();
        let files = if self.outbox.accepts_events() { &self.channels.files.1 } else { &no_files };
        let deadline = self.supervisors.values().filter_map(Supervisor::deadline).min();
        let patience = deadline.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
        select! {
            recv(self.channels.lifecycle.1) -> event => event.ok(),
            recv(commands) -> event => Some(event.unwrap_or(Event::LinkEnded(LinkEnd::Closed))),
            recv(runners) -> event => event.ok(),
            recv(files) -> part => part.ok().map(|part| Event::File(Box::new(part))),
            default(patience) => None,
        }
    }

    /// Answers the host's own end when it has come.
    fn handle(&mut self, event: Event, now: Instant) -> Option<Result<(), HostError>> {
        match event {
            Event::Command(command) => match *command {
                CoordinatorMessage::SyncBegin(begin) => return self.sync(SyncCommand::Begin(begin)),
                CoordinatorMessage::SyncData(data) => return self.sync(SyncCommand::Data(data)),
                command => self.command(command, now),
            },
            Event::Sync(message) => self.outbox.send(&message),
            Event::Written => self.outbox.written(),
            Event::Runner(worker, event) => self.runner_event(worker, event, now),
            Event::Forked(worker, forked) => self.forked(worker, forked, now),
            Event::File(part) => self.outbox.send(&part),
            Event::LinkEnded(end) => return Some(self.link_ended(end)),
            Event::Terminated => {
                tracing::info!("asked to end");
                return Some(Ok(()));
            }
            Event::Panicked(source, text) => return self.panicked(source, text, now),
        }
        None
    }

    fn command(&mut self, command: CoordinatorMessage, now: Instant) {
        let worker = match &command {
            CoordinatorMessage::Configure(configure) => {
                let configure = self.options.complete(configure.clone());
                return self.configure(&configure, now);
            }
            CoordinatorMessage::Ping(ping) => {
                return self.outbox.send(&WorkerMessage::Pong(Pong { nonce: ping.nonce }));
            }
            CoordinatorMessage::Fetch(request) => return self.fetch(request.clone()),
            CoordinatorMessage::Dismissed(dismissed) => {
                self.dismissed.get_or_insert_with(|| dismissed.text.clone());
                return;
            }
            // They are about no worker, and were dealt with before.
            CoordinatorMessage::SyncBegin(_) | CoordinatorMessage::SyncData(_) => return,
            CoordinatorMessage::Proceed(command) => command.worker,
            CoordinatorMessage::Answer(command) => command.worker,
            CoordinatorMessage::Suspend(command) => command.worker,
            CoordinatorMessage::Resume(command) => command.worker,
            CoordinatorMessage::Collect(command) => command.worker,
            CoordinatorMessage::SendCollection(command) => command.worker,
            CoordinatorMessage::Run(command) => command.worker,
            CoordinatorMessage::Steal(command) => command.worker,
            CoordinatorMessage::Cancel(command) => command.worker,
            CoordinatorMessage::Park(command) => command.worker,
            CoordinatorMessage::Drain(command) => command.worker,
            CoordinatorMessage::Interrupt(command) => command.worker,
            CoordinatorMessage::Shutdown(command) => command.worker,
        };
        if self.images.is_waiting(worker) {
            if self.images.command(worker, command) {
                self.outbox.send(&never_needed(worker));
            }
            return;
        }
        match self.supervisors.get_mut(&worker) {
            Some(supervisor) => supervisor.command(command, now, &mut self.outbox),
            // It may have crossed the worker's `down`, which answers it.
            None => tracing::debug!(%worker, ?command, "a command for a worker that is not here"),
        }
    }

    /// Has files sent, by a thread that waits while the link is busy.
    fn fetch(&mut self, request: Fetch) {
        let parts = self.channels.files.0.clone();
        let (id, send) = (request.request, move |part| parts.send(part).is_ok());
        if let Err(error) = self.threads.start(Source::Fetch, move || fetch::fetch(&request, send)) {
            let problems = vec![format!("nothing: {error}")];
            self.outbox.send(&WorkerMessage::FetchDone(FetchDone {
                request: id,
                problems,
                ..FetchDone::default()
            }));
        }
    }

    /// Passes something on to the thread that copies directories, which is started by the first of it.
    fn sync(&mut self, command: SyncCommand) -> Option<Result<(), HostError>> {
        if self.sync.is_none() {
            let (sender, commands) = bounded(sync::QUEUED_COMMANDS);
            let (events, cache) = (self.channels.lifecycle.0.clone(), self.cache.clone());
            let started =
                self.threads.start(Source::Sync, move || sync::copy_trees(&commands, &events, cache));
            if let Err(error) = started {
                return Some(Err(HostError::Resources(error)));
            }
            self.sync = Some(sender);
        }
        let taken = self.sync.as_ref().is_some_and(|sender| sender.try_send(command).is_ok());
        let error = || HostError::Garbled("it sends more than it was asked for".to_owned());
        (!taken).then(|| Err(error()))
    }

    fn configure(&mut self, configure: &Configure, now: Instant) {
        let worker = configure.worker;
        if self.supervisors.contains_key(&worker) || self.images.is_waiting(worker) {
            tracing::warn!(%worker, "the coordinator configured a worker twice; the second time is ignored");
            return;
        }
        match self.images.way(configure) {
            Way::Wait => self.images.wait(configure.clone()),
            Way::Fork(image) => {
                adopt_orphans(true);
                match Unborn::ask_for(configure, image) {
                    Ok(unborn) => self.images.asked(configure.clone(), unborn),
                    Err(error) => self.start_without_image(configure, &error, now),
                }
            }
            Way::Spawn | Way::SpawnFirst => {
                let started = self.spawn(configure);
                self.started(configure, started, now);
            }
        }
    }

    /// An image has done what it was asked for, or has not.
    fn forked(&mut self, worker: WorkerId, forked: io::Result<Pid>, now: Instant) {
        let Some((unborn, waiting)) = self.images.answered(worker) else { return };
        let Some(Waiting { configure, commands }) = waiting else {
            // Dropping it ends it.
            drop(forked.map(|pid| unborn.born(pid)));
            return self.adopt_if_expected();
        };
        match forked {
            Ok(pid) => {
                self.started(&configure, Ok(unborn.born(pid)), now);
                self.adopt_if_expected();
            }
            Err(error) => self.start_without_image(&configure, &error, now),
        }
        for command in commands {
            self.command(command, now);
        }
    }

    fn start_without_image(&mut self, configure: &Configure, error: &io::Error, now: Instant) {
        tracing::warn!(%error, "an image does not fork; runners are started as programs from now on");
        self.images.give_up(configure);
        self.adopt_if_expected();
        let started = self.spawn(configure);
        self.started(configure, started, now);
    }

    fn adopt_if_expected(&self) {
        adopt_orphans(self.images.is_any_awaited());
    }

    /// A runner's process was started, or could not be.
    fn started(
        &mut self,
        configure: &Configure,
        started: Result<(Child, ChildPipes), SpawnError>,
        now: Instant,
    ) {
        let worker = configure.worker;
        match started.and_then(|(child, pipes)| self.serve_runner(configure, child, pipes, now)) {
            Ok(supervisor) => {
                tracing::info!(%worker, name = configure.name, "a runner was started");
                self.supervisors.insert(worker, supervisor);
            }
            Err(error) => {
                tracing::warn!(%worker, %error, "a runner could not be started");
                if matches!(error, SpawnError::Interpreter { .. }) {
                    self.outbox.send(&unfit(worker, &error.to_string()));
                }
                self.outbox.send(&not_started(worker, error.to_string()));
            }
        }
    }

    /// Starts the threads that serve a runner. If one of them cannot be started, the runner is killed, and with it
    /// end the threads that were; what they report then is about nobody. They are joined in the end, since one of them may
    /// wait for the owner to take its report.
    fn serve_runner(
        &mut self,
        configure: &Configure,
        child: Child,
        pipes: ChildPipes,
        now: Instant,
    ) -> Result<Supervisor, SpawnError> {
        let worker = configure.worker;
        let (stop, stopper) = io::pipe().map_err(SpawnError::Resources)?;
        let stop: Arc<OwnedFd> = Arc::new(stop.into());
        let pid = child.pid();
        let supervisor = Supervisor::new(configure, child, stopper.into(), now);
        let backlog = supervisor.backlog();

        let events = PipeReader::new(pipes.events, Arc::clone(&stop));
        let stdout = PipeReader::new(pipes.stdout, Arc::clone(&stop));
        let stderr = PipeReader::new(pipes.stderr, stop);
        let sender = || self.channels.runners.0.clone();
        let (to_events, to_stdout, to_stderr) = (sender(), sender(), sender());
        let exited = self.channels.lifecycle.0.clone();
        let reader = |pipe| Source::Reader(worker, pipe);
        let threads = &mut self.threads;
        threads
            .start(reader(Pipe::Events), move || pipes::read_messages(events, worker, &to_events, &backlog))
            .and_then(|()| {
                threads.start(reader(Pipe::Stdout), move || {
                    pipes::read_output(stdout, worker, Stream::Stdout, &to_stdout);
                })
            })
            .and_then(|()| {
                threads.start(reader(Pipe::Stderr), move || {
                    pipes::read_output(stderr, worker, Stream::Stderr, &to_stderr);
                })
            })
            .and_then(|()| {
                threads.start(Source::Waiter(worker), move || {
                    child::wait_for_exit(pid);
                    // When nobody listens the host is ending.
                    let _ = exited.send(Event::Runner(worker, RunnerEvent::Exited));
                })
            })
            .map_err(SpawnError::Resources)?;
        Ok(supervisor)
    }

    /// Starts the program of a runner, which may leave an image behind if it is the first of its kind.
    fn spawn(&mut self, configure: &Configure) -> Result<(Child, ChildPipes), SpawnError> {
        let ground = self.ground.as_ref().map_err(|why| SpawnError::Ground(why.clone()))?;
        let surroundings = Surroundings {
            half: &ground.half,
            run_directory: ground.run_directory.path(),
            existing_directories: self.options.existing_directories,
        };
        if !matches!(self.images.way(configure), Way::SpawnFirst) {
            return child::spawn(configure, &surroundings, None);
        }
        let (offer, runners_end) = ImageOffer::new().map_err(SpawnError::Resources)?;
        adopt_orphans(true);
        let spawned = child::spawn(configure, &surroundings, Some(runners_end))?;
        self.images.offered(configure, offer);
        Ok(spawned)
    }

    /// Takes what has become of an offer, and listens to the image from now on.
    fn accept(&mut self, first: WorkerId) -> Vec<Waiting> {
        let threads = &mut self.threads;
        let events = self.channels.lifecycle.0.clone();
        self.images.accept(first, |offer| {
            let (image, answers) = offer.accept()?;
            let listen = move || {
                answers.tell(|worker, forked| {
                    // When nobody listens the host is ending.
                    let _ = events.send(Event::Forked(worker, forked));
                });
            };
            threads.start(Source::Image, listen).ok()?;
            Some(image)
        })
    }

    fn runner_event(&mut self, worker: WorkerId, event: RunnerEvent, now: Instant) {
        let Some(supervisor) = self.supervisors.get_mut(&worker) else { return };
        let answer = if self.images.is_awaited_from(worker) { Answer::in_event(&event) } else { None };
        let mut settled = Vec::new();
        if supervisor.happened(event, now, &mut self.outbox, &mut self.memory) == Life::Over {
            self.supervisors.remove(&worker);
            self.threads.join_worker(worker);
            settled = self.images.refuse(worker);
        }
        match answer {
            Some(Answer::Image) => settled = self.accept(worker),
            Some(Answer::NoImage) => settled = self.images.refuse(worker),
            None => {}
        }
        if answer.is_some() {
            self.adopt_if_expected();
        }
        for Waiting { configure, commands } in settled {
            self.configure(&configure, now);
            for command in commands {
                self.command(command, now);
            }
        }
    }

    fn link_ended(&self, end: LinkEnd) -> Result<(), HostError> {
        match end {
            LinkEnd::Closed => {
                tracing::info!(runners = self.supervisors.len(), "the coordinator closed the link");
                match &self.dismissed {
                    Some(text) => Err(HostError::Dismissed(text.clone())),
                    None if self.supervisors.values().any(Supervisor::is_wanted) => Err(HostError::Abandoned),
                    None => Ok(()),
                }
            }
            LinkEnd::Broken(error) => Err(HostError::Link(error)),
            LinkEnd::Garbled(text) => Err(HostError::Garbled(text)),
        }
    }

    fn panicked(&mut self, source: Source, text: String, now: Instant) -> Option<Result<(), HostError>> {
        tracing::error!(%source, text, "a thread panicked");
        let (worker, event) = match source {
            Source::Reader(worker, pipe) => (worker, RunnerEvent::Closed(pipe)),
            Source::Waiter(worker) => (worker, RunnerEvent::Exited),
            Source::LinkReader
            | Source::LinkWriter
            | Source::Signals
            | Source::Fetch
            | Source::Sync
            | Source::Image => {
                return Some(Err(HostError::Panicked { thread: source.to_string(), text }));
            }
        };
        if let Some(supervisor) = self.supervisors.get_mut(&worker) {
            supervisor.thread_panicked(&text);
        }
        self.runner_event(worker, event, now);
        None
    }

    /// Kills what still runs, and ends every thread: first everything that one could wait for is closed or killed, then
    /// they are joined.
    fn end(mut self) {
        for supervisor in self.supervisors.values_mut() {
            supervisor.abandon();
        }
        // The other end may be gone already, and then there is nothing to shut down.
        let _ = self.link.shutdown(Shutdown::Both);
        self.signals.close();
        drop((self.outbox, self.channels, self.sync, self.images));
        self.threads.join_all(JOIN_PATIENCE);
        // Now that nobody waits for them any more, dropping the supervisors collects the runners.
        drop(self.supervisors);
    }
}

fn wait_for_signals(signals: &mut Signals, events: &Sender<Event>) {
    for signal in signals.forever() {
        // Handling the others without doing anything ignores them here, but not in the runners, which would inherit it if
        // they were ignored in the usual way.
        if signal == SIGTERM && events.send(Event::Terminated).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_coordinator_leaves_open_the_host_decides() {
        let options = HostOptions {
            python: vec!["python3.11".to_owned()],
            directory: Some("/srv/t".into()),
            ..HostOptions::default()
        };
        let completed = options.complete(Configure::default());
        assert_eq!((completed.python, completed.chdir), (options.python.clone(), Some("/srv/t".to_owned())));
        let python = vec!["pypy3".to_owned()];
        let said = Configure { python, chdir: Some("/there".to_owned()), ..Configure::default() };
        assert_eq!(options.complete(said.clone()), said);
    }
}
