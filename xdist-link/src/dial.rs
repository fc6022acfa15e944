//! The dialer: joins a run from elsewhere, with an ordinary host as its child.
//!
//! One thread relays between the host's link and the connection to the gate, and another, for as long as it takes, looks
//! for a way in. While there is none the host goes on with what it has. When there is none for too long, or the gate does
//! not know the stream any more, the run has given the host's work to others: the host is ended, and a new one joins.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell module: it reads the clock, and one thread does one blocking thing"
)]

mod attempt;

mod child;

mod trouble;

pub use child::HostCommand;
pub use trouble::{Trouble, Troubles};

use crate::channel::{Channel, ChannelError, Readiness};
use crate::opening::SessionId;
use crate::session::Session;
use crate::token::Token as JoinToken;
use attempt::{Ask, Opened, attempt};
use child::Host;
use mio::net::{TcpStream, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::signal::{SIGCHLD, SIGINT, SIGTERM};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const WAKER: Token = Token(0);
const SIGNALS: Token = Token(1);
const CHILDREN: Token = Token(2);
const FIRST_OTHER: usize = 3;

/// The first and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long a host may take to end, and the gate to take notice.
const FAREWELL: Duration = Duration::from_secs(5);

/// What to join, and with what.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// Where, and with what right.
    pub token: JoinToken,
    /// What starts a host.
    pub host: HostCommand,
    /// The number that a launcher gave us, or 0.
    pub launch: u32,
    /// How long to look for a way in before it counts as none.
    pub patience: Duration,
}

/// How a visit has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The host has ended, because the run was over or for reasons of its own.
    Host(ExitStatus),
    /// Somebody wanted this process to end.
    Terminated,
}

/// There was nothing to join. Reads after "cannot ".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No address of the token is a way in.
    #[error("join the run {run}: {troubles}")]
    NoWay {
        /// Which run.
        run: String,
        /// Why not.
        troubles: Troubles,
    },
    /// The host does not start.
    #[error("start a worker host")]
    Host(#[source] io::Error),
    /// The system has no descriptors or threads.
    #[error("join the run")]
    Resources(#[from] io::Error),
}

/// Joins, and stays until the run is over or somebody wants this process to end (SIGTERM, SIGINT). Blocks.
///
/// # Errors
/// When there is no way in.
pub fn join(options: DialOptions) -> Result<Departure, DialError> {
    let mut dialer = Dialer::new(options)?;
    loop {
        let Some(opened) = dialer.find_a_way()? else { return Ok(Departure::Terminated) };
        match dialer.visit(opened)? {
            Visit::Over(departure) => return Ok(departure),
            Visit::Lost => tracing::info!("the run goes on without this host; joining with a new one"),
        }
    }
}

/// How one host's visit has ended.
enum Visit {
    Over(Departure),
    /// The run has given it up.
    Lost,
}

struct Dialer {
    options: DialOptions,
    name: String,
    poll: Poll,
    /// Becomes readable with a signal.
    signals: UnixStream,
    children: UnixStream,
    search: Search,
    next_token: usize,
}

/// Looks for a way in.
struct Search {
    waker: Arc<Waker>,
    sender: Sender<Result<Opened, Troubles>>,
    results: Receiver<Result<Opened, Troubles>>,
    is_running: bool,
    /// When the next attempt is due.
    next: Instant,
    pause: Duration,
}

impl Search {
    fn new(waker: Waker, now: Instant) -> Self {
        let (sender, results) = channel();
        Self { waker: Arc::new(waker), sender, results, is_running: false, next: now, pause: PAUSES.0 }
    }

    /// Begins anew. What comes of an earlier attempt is for nobody.
    fn begin(&mut self, now: Instant) {
        (self.sender, self.results) = channel();
        (self.is_running, self.next, self.pause) = (false, now, PAUSES.0);
    }

    /// Starts an attempt if one is due.
    fn go_on(&mut self, now: Instant, ask: impl FnOnce() -> Ask) -> io::Result<()> {
        if self.is_running || now < self.next {
            return Ok(());
        }
        let (ask, waker, sender) = (ask(), Arc::clone(&self.waker), self.sender.clone());
        thread::Builder::new().name("attempt".to_owned()).spawn(move || {
            let _ = sender.send(attempt(&ask));
            let _ = waker.wake();
        })?;
        self.is_running = true;
        Ok(())
    }

    fn result(&mut self, now: Instant) -> Option<Result<Opened, Troubles>> {
        let result = self.results.try_recv().ok()?;
        self.is_running = false;
        self.next = now + spread(self.pause);
        self.pause = (self.pause * 2).min(PAUSES.1);
        Some(result)
    }

    fn deadline(&self) -> Option<Instant> {
        (!self.is_running).then_some(self.next)
    }
}

/// A pause of about that length: hundreds of hosts lose their connections at the same moment, and had better not come
/// back at the same moment.
fn spread(pause: Duration) -> Duration {
    let mut chance = [128];
    // Without randomness they do.
    let _ = rustix::rand::getrandom(&mut chance[..], rustix::rand::GetRandomFlags::empty());
    pause.mul_f64(0.5 + f64::from(chance[0]) / 256.0)
}

/// What has happened while nothing was done.
#[derive(Debug, Default)]
struct Happened {
    link: bool,
    signal: bool,
}

impl Dialer {
    fn new(options: DialOptions) -> io::Result<Self> {
        let poll = Poll::new()?;
        let (mut signals, mut children) = (on_signals(&[SIGTERM, SIGINT])?, on_signals(&[SIGCHLD])?);
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        poll.registry().register(&mut children, CHILDREN, Interest::READABLE)?;
        let search = Search::new(Waker::new(poll.registry(), WAKER)?, Instant::now());
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Self { options, name, poll, signals, children, search, next_token: FIRST_OTHER })
    }

    const fn new_token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        token
    }

    fn ask(&self, session: Option<SessionId>, received: u64) -> Ask {
        let (token, name) = (self.options.token.clone(), self.name.clone());
        Ask { token, session, received, launch: self.options.launch, name }
    }

    fn no_way(&self, troubles: Troubles) -> DialError {
        DialError::NoWay { run: self.options.token.run.clone(), troubles }
    }

    /// Waits until something happens or a deadline has come.
    fn wait(&mut self, deadline: Option<Instant>, link: Option<Token>) -> io::Result<Happened> {
        let mut events = Events::with_capacity(16);
        let now = Instant::now();
        // Rounded up, so that what is due then is due.
        let patience =
            deadline.map(|due| due.saturating_duration_since(now)).map(|left| match left.is_zero() {
                true => left,
                false => left + Duration::from_millis(1),
            });
        match self.poll.poll(&mut events, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut happened = Happened::default();
        for event in &events {
            match event.token() {
                SIGNALS => happened.signal |= drain(&mut self.signals),
                CHILDREN => drop(drain(&mut self.children)),
                token => happened.link |= Some(token) == link,
            }
        }
        Ok(happened)
    }

    /// Looks for a way in for somebody new; `None` if this process is to end.
    fn find_a_way(&mut self) -> Result<Option<Opened>, DialError> {
        let start = Instant::now();
        self.search.begin(start);
        loop {
            let now = Instant::now();
            match self.search.result(now) {
                Some(Ok(opened)) => return Ok(Some(opened)),
                Some(Err(troubles)) => {
                    if !troubles.may_pass() || now >= start + self.options.patience {
                        return Err(self.no_way(troubles));
                    }
                    tracing::debug!(%troubles, "no way in yet");
                }
                None => {}
            }
            let ask = self.ask(None, 0);
            self.search.go_on(now, || ask)?;
            if self.wait(self.search.deadline(), None)?.signal {
                return Ok(None);
            }
        }
    }

    /// Starts a host and relays for it until it or the run has ended, or the run has given it up.
    fn visit(&mut self, opened: Opened) -> Result<Visit, DialError> {
        let now = Instant::now();
        let (host, link) = Host::start(&self.options.host).map_err(DialError::Host)?;
        let beat = Duration::from_millis(opened.accepted.beat_ms);
        let mut stay = Stay {
            host,
            session: Session::new(link, beat, now),
            id: opened.accepted.session,
            hold: Duration::from_millis(opened.accepted.hold_ms),
            link: self.new_token(),
            leaving: None,
            is_terminated: false,
        };
        stay.session.register_link(self.poll.registry(), stay.link)?;
        self.attach(&mut stay, opened, now);
        let result = loop {
            match self.step(&mut stay) {
                Ok(None) => {}
                Ok(Some(end)) => break Ok(end),
                Err(error) => break Err(error),
            }
        };
        let Stay { host, session, is_terminated, .. } = stay;
        // The end of its link ends it.
        drop(session);
        let status = self.see_out(host)?;
        Ok(match result? {
            End::Over if is_terminated => Visit::Over(Departure::Terminated),
            End::Over => Visit::Over(Departure::Host(status)),
            End::Lost => Visit::Lost,
        })
    }

    fn attach(&mut self, stay: &mut Stay, opened: Opened, now: Instant) {
        let Opened { socket, tls, accepted } = opened;
        let token = self.new_token();
        let mut channel = Channel::new(TcpStream::from_std(socket), tls);
        let attached =
            channel.register(self.poll.registry(), token).map_err(ChannelError::from).and_then(|()| {
                stay.session.carrier_mut().resume(accepted.received, accepted.window)?;
                Ok(())
            });
        match attached {
            Ok(()) => stay.session.attach(channel, Duration::from_millis(accepted.beat_ms), now),
            Err(error) => tracing::warn!(%error, "the gate's answer makes no sense"),
        }
    }

    /// Does what can be done, and waits for more. Answers how it ends, if it does.
    fn step(&mut self, stay: &mut Stay) -> Result<Option<End>, DialError> {
        let now = Instant::now();
        if !stay.session.is_attached()
            && let Some(end) = self.look_for_the_way_back(stay, now)?
        {
            return Ok(Some(end));
        }
        let relayed = stay.session.turn(now).and_then(|readiness| stay.session.beat(now).map(|()| readiness));
        let readiness = match relayed {
            Ok(readiness) => readiness,
            Err(error) => {
                tracing::debug!(%error, "the connection is lost");
                self.detach(stay, now);
                // There may be something to do without it.
                Readiness::Ready
            }
        };
        if let Some(end) = stay.end(now) {
            self.say_goodbye(stay, now);
            return Ok(Some(end));
        }
        let deadline = match readiness {
            Readiness::Ready => Some(now),
            Readiness::Drained => stay.deadline(&self.search),
        };
        let happened = self.wait(deadline, Some(stay.link))?;
        if happened.link {
            stay.session.link_is_ready();
        }
        if happened.signal {
            stay.terminate();
        }
        Ok(None)
    }

    fn look_for_the_way_back(&mut self, stay: &mut Stay, now: Instant) -> Result<Option<End>, DialError> {
        match self.search.result(now) {
            Some(Ok(opened)) => {
                self.attach(stay, opened, now);
                return Ok(None);
            }
            Some(Err(troubles)) if troubles.is_session_gone() => {
                return Ok(Some(if stay.session.carrier().is_finished() { End::Over } else { End::Lost }));
            }
            Some(Err(troubles)) if !troubles.may_pass() => return Err(self.no_way(troubles)),
            Some(Err(troubles)) => tracing::debug!(%troubles, "no way back yet"),
            None => {}
        }
        let ask = self.ask(Some(stay.id), stay.session.carrier().received());
        self.search.go_on(now, || ask)?;
        Ok(None)
    }

    fn detach(&mut self, stay: &mut Stay, now: Instant) {
        if let Some(mut channel) = stay.session.detach(now) {
            channel.deregister(self.poll.registry());
            self.search.begin(now);
        }
    }

    fn say_goodbye(&self, stay: &mut Stay, now: Instant) {
        if let Some(mut channel) = stay.session.detach(now) {
            channel.close();
            // If the gate takes it no more, it knows already.
            let _ = channel.flush();
            channel.deregister(self.poll.registry());
        }
    }

    /// Waits for a host to end whose link is closed.
    fn see_out(&mut self, mut host: Host) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + FAREWELL;
        loop {
            if let Some(status) = host.status() {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                host.kill();
            }
            let happened = self.wait(Some(deadline.max(Instant::now() + KILL_PATIENCE)), None)?;
            if happened.signal {
                host.kill();
            }
        }
    }
}

/// How often to look for a host that was killed.
const KILL_PATIENCE: Duration = Duration::from_millis(100);

/// One host's time with the run.
struct Stay {
    host: Host,
    session: Session,
    id: SessionId,
    /// How long it may be away.
    hold: Duration,
    link: Token,
    /// When it is to be gone.
    leaving: Option<Instant>,
    is_terminated: bool,
}

enum End {
    Over,
    Lost,
}

impl Stay {
    /// Whether it is over, and how.
    fn end(&mut self, now: Instant) -> Option<End> {
        let (carrier, away) = (self.session.carrier(), self.session.away_since());
        let is_all_told = carrier.is_finished() && carrier.is_acknowledged();
        if is_all_told || (carrier.is_peer_finished() && away.is_some()) {
            return Some(End::Over);
        }
        if away.is_some_and(|since| since + self.hold <= now) {
            return Some(if carrier.is_finished() { End::Over } else { End::Lost });
        }
        if carrier.is_peer_finished() && self.leaving.is_none() {
            self.leaving = Some(now + FAREWELL);
        }
        let is_leaving = self.is_terminated && away.is_some();
        let is_late = self.leaving.is_some_and(|due| due <= now);
        (is_leaving || is_late).then_some(End::Over)
    }

    fn deadline(&self, search: &Search) -> Option<Instant> {
        let away = self.session.away_since();
        let deadlines = [
            self.session.next_beat(),
            away.map(|since| since + self.hold),
            away.and(search.deadline()),
            self.leaving,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Somebody wants us to end; who says so twice does not want to wait.
    fn terminate(&mut self) {
        match self.is_terminated {
            true => self.host.kill(),
            false => self.host.terminate(),
        }
        self.is_terminated = true;
        self.leaving.get_or_insert(Instant::now() + FAREWELL);
    }
}

/// What becomes readable when one of these signals comes.
fn on_signals(signals: &[i32]) -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    let writer = OwnedFd::from(writer);
    for &signal in signals {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

/// Takes what is there. Answers whether that was anything.
fn drain(signals: &mut UnixStream) -> bool {
    let mut was_any = false;
    while signals.read(&mut [0; 64]).is_ok_and(|count| count > 0) {
        was_any = true;
    }
    was_any
}
