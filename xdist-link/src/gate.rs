//! The gate: where hosts from elsewhere come in.
//!
//! A process with one thread, between the network and the coordinator. It listens, has whoever comes prove that it knows
//! the run's secret, and hands the coordinator one end of a socket pair for each host that does. From then on it passes
//! bytes on, and keeps a host's stream while its connection is gone. It knows nothing of what the bytes mean.
#![expect(clippy::disallowed_methods, reason = "a shell module: it reads the clock")]

mod addresses;

mod admission;

mod newcomer;

pub use addresses::ListenError;
pub use admission::Limits;

use crate::carrier::WINDOW_BYTES;
use crate::channel::{Channel, ChannelError, Readiness};
use crate::control::{Control, Coordinator, Failed, Joined, Listening, Refused, Report};
use crate::opening::{
    self, Accepted, GateOpening, MAX_NAME_CHARS, Open, Reason, Refused as Refusal, SessionId, printable,
};
use crate::session::{Session, beat_interval};
use crate::tls::{self, Identity, Side, TlsError};
use crate::token::{Secret, Token as JoinToken};
use admission::{Refusals, Waiting};
use mio::net::{TcpListener, TcpStream, UnixStream};
use mio::{Events, Interest, Poll, Token};
use newcomer::{Newcomer, Step};
use rustix::rand::{GetRandomFlags, getrandom};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const CONTROL: Token = Token(0);
const SIGNALS: Token = Token(1);
const FIRST_LISTENER: usize = 2;

/// How many connections are accepted before those that are there have a turn.
const ACCEPTED_AT_ONCE: usize = 32;

/// How long nobody is accepted after the system had no descriptor for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How often the gate looks whether its parent is there, where nothing tells it.
const PARENT_INTERVAL: Duration = Duration::from_secs(1);

/// What the gate is to do.
#[derive(Clone, Debug)]
pub struct GateOptions {
    /// Where to listen: `HOST:PORT`, or a port alone.
    pub listen: Vec<String>,
    /// What the token says instead, where the gate is reached another way: `HOST` or `HOST:PORT`.
    pub advertise: Vec<String>,
    /// The run's name, for people.
    pub run: String,
    /// How long a host may be away.
    pub hold: Duration,
    /// What strangers may take.
    pub limits: Limits,
}

/// The gate could not do its work. Reads after "cannot ".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// It cannot listen. The coordinator was told.
    #[error("open the gate: {0}")]
    Listen(#[from] ListenError),
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system has no descriptors or no randomness.
    #[error("run the gate")]
    Resources(#[from] io::Error),
}

/// Listens until the coordinator at the other end of `control` is gone, or SIGTERM comes. Blocks.
///
/// # Errors
/// [`GateError`], before anybody has joined.
pub fn run(control: OwnedFd, options: GateOptions) -> Result<(), GateError> {
    let control = Control::new(control)?;
    Gate::open(control, options)?.serve()?;
    Ok(())
}

#[derive(Debug)]
struct Gate {
    poll: Poll,
    control: Control,
    options: GateOptions,
    identity: Identity,
    secret: Secret,
    beat: Duration,
    listeners: Vec<Listener>,
    /// Until then nobody is accepted.
    accept_paused_until: Option<Instant>,
    newcomers: BTreeMap<Token, Newcomer>,
    waiting: Waiting,
    hosts: BTreeMap<SessionId, Host>,
    /// Whose socket that is.
    roles: BTreeMap<Token, SessionId>,
    /// When to look after whom.
    timers: BTreeSet<(Instant, SessionId)>,
    /// Who is to have a turn.
    ready: BTreeSet<SessionId>,
    refusals: Refusals,
    next_token: usize,
    /// When nothing is waited for any more.
    ending: Option<Instant>,
    /// Becomes readable with SIGTERM, as long as it is here.
    _terminated: UnixStream,
    parent: Option<rustix::process::Pid>,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    is_ready: bool,
}

/// Somebody who has proved to belong here.
#[derive(Debug)]
struct Host {
    session: Session,
    peer: String,
    link: Token,
    channel: Option<Token>,
    timer: Instant,
    /// Since when the coordinator does not want it any more.
    unwanted_since: Option<Instant>,
}

impl Gate {
    fn open(mut control: Control, options: GateOptions) -> Result<Self, GateError> {
        let (poll, now) = (Poll::new()?, Instant::now());
        let identity = Identity::new()?;
        let secret = Secret::new(random()?);
        let listeners = addresses::listen(&options.listen).inspect_err(|error| {
            control.report(&Report::Failed(Failed::new(&error.to_string())), None);
            control.flush_and_wait();
        })?;
        control.register(poll.registry(), CONTROL)?;
        let mut terminated = signals()?;
        poll.registry().register(&mut terminated, SIGNALS, Interest::READABLE)?;
        let mut gate = Self {
            poll,
            parent: (!control.tells_its_end()).then(end_with_parent).flatten(),
            control,
            identity,
            secret,
            beat: beat_interval(options.hold),
            listeners: Vec::new(),
            accept_paused_until: None,
            newcomers: BTreeMap::new(),
            waiting: Waiting::default(),
            hosts: BTreeMap::new(),
            roles: BTreeMap::new(),
            timers: BTreeSet::new(),
            ready: BTreeSet::new(),
            refusals: Refusals::new(options.limits.refusals_per_second, now),
            next_token: FIRST_LISTENER,
            ending: None,
            _terminated: terminated,
            options,
        };
        raise_descriptor_limit();
        gate.listen(listeners)?;
        Ok(gate)
    }

    fn listen(&mut self, listeners: Vec<TcpListener>) -> io::Result<()> {
        let mut bound = Vec::new();
        for mut socket in listeners {
            bound.push(socket.local_addr()?);
            let token = self.new_token();
            self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
            self.listeners.push(Listener { socket, is_ready: false });
        }
        let token = JoinToken {
            addresses: addresses::advertise(&self.options.advertise, &bound),
            fingerprint: self.identity.fingerprint(),
            secret: self.secret.clone(),
            run: self.options.run.clone(),
        };
        let addresses = bound.iter().map(ToString::to_string).collect();
        self.report(&Report::Listening(Listening { addresses, token: token.to_string() }), None);
        Ok(())
    }

    const fn new_token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        token
    }

    fn report(&mut self, report: &Report, descriptor: Option<OwnedFd>) {
        if self.control.report(report, descriptor) == Coordinator::Gone {
            self.begin_to_end(Instant::now());
        }
    }

    /// Until the coordinator is gone.
    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, self.patience(Instant::now())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let now = Instant::now();
            for event in &events {
                self.happened(event.token(), now);
            }
            self.accept_all(now);
            for id in std::mem::take(&mut self.ready) {
                self.turn(id, now);
            }
            self.time_passed(now);
            if self.ending.is_some_and(|end| end <= now || self.is_everybody_told()) {
                return Ok(());
            }
        }
    }

    /// How long there is nothing to do; rounded up, so that what is due then is due.
    fn patience(&self, now: Instant) -> Option<Duration> {
        let is_accepting =
            self.accept_paused_until.is_none() && self.listeners.iter().any(|one| one.is_ready);
        if !self.ready.is_empty() || is_accepting {
            return Some(Duration::ZERO);
        }
        let oldest = self.newcomers.values().next();
        let deadlines = [
            oldest.map(|newcomer| newcomer.since() + self.options.limits.opening_time),
            self.timers.first().map(|(due, _)| *due),
            self.accept_paused_until,
            self.refusals.deadline(),
            self.ending,
            self.parent.map(|_| now + PARENT_INTERVAL),
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now) + Duration::from_millis(1))
    }

    fn happened(&mut self, token: Token, now: Instant) {
        match token {
            CONTROL => {
                if self.control.look() == Coordinator::Gone || self.control.flush() == Coordinator::Gone {
                    self.begin_to_end(now);
                }
            }
            SIGNALS => self.begin_to_end(now),
            _ => {
                if let Some(listener) = self.listeners.get_mut(token.0 - FIRST_LISTENER) {
                    listener.is_ready = true;
                } else if self.newcomers.contains_key(&token) {
                    self.hear(token, now);
                } else if let Some(&id) = self.roles.get(&token) {
                    self.ready.insert(id);
                    if let Some(host) = self.hosts.get_mut(&id)
                        && host.link == token
                    {
                        host.session.link_is_ready();
                    }
                }
            }
        }
    }

    fn time_passed(&mut self, now: Instant) {
        while let Some((&token, newcomer)) = self.newcomers.first_key_value()
            && newcomer.since() + self.options.limits.opening_time <= now
        {
            let limit = self.options.limits.opening_time.as_secs_f64();
            self.drop_newcomer(token, &format!("it did not prove anything within {limit} s"), now);
        }
        while let Some(&(due, id)) = self.timers.first()
            && due <= now
        {
            self.look_after(id, now);
        }
        if self.accept_paused_until.is_some_and(|end| end <= now) {
            self.accept_paused_until = None;
        }
        if let Some(count) = self.refusals.untold(now) {
            let text = format!("{count} more connections were refused");
            self.report(&Report::Refused(Refused { peer: String::new(), text }), None);
        }
        if self.parent.is_some() && rustix::process::getppid() != self.parent {
            self.begin_to_end(now);
        }
    }
}

/// Strangers.
impl Gate {
    fn accept_all(&mut self, now: Instant) {
        if self.accept_paused_until.is_some() {
            return;
        }
        for _ in 0..ACCEPTED_AT_ONCE {
            let Some(listener) = self.listeners.iter_mut().find(|one| one.is_ready) else { return };
            match listener.socket.accept() {
                Ok((socket, address)) => self.welcome(socket, address, now),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => listener.is_ready = false,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    // There are no descriptors left, and there may be some later.
                    _ => {
                        tracing::warn!(%error, "cannot accept a connection");
                        self.accept_paused_until = Some(now + ACCEPT_PAUSE);
                        return;
                    }
                },
            }
        }
    }

    fn welcome(&mut self, socket: TcpStream, address: SocketAddr, now: Instant) {
        let token = self.new_token();
        let channel = socket.set_nodelay(true).map_err(ChannelError::from).and_then(|()| {
            let tls = self.identity.accept().map_err(io::Error::other)?;
            let mut channel = Channel::new(socket, tls);
            channel.register(self.poll.registry(), token)?;
            Ok(channel)
        });
        let channel = match channel {
            Ok(channel) => channel,
            Err(error) => return tracing::debug!(%address, %error, "a connection could not be used"),
        };
        let crowded_out = self.waiting.add(token, address.ip(), &self.options.limits);
        self.newcomers.insert(token, Newcomer::new(channel, address, now));
        if let Some(oldest) = crowded_out {
            self.drop_newcomer(oldest, "there were too many others that had not proved anything either", now);
        }
    }

    /// Takes somebody from among those that have proved nothing.
    fn take_newcomer(&mut self, token: Token) -> Option<Newcomer> {
        let newcomer = self.newcomers.remove(&token)?;
        self.waiting.remove(token, newcomer.address().ip());
        Some(newcomer)
    }

    fn drop_newcomer(&mut self, token: Token, text: &str, now: Instant) {
        let Some(mut newcomer) = self.take_newcomer(token) else { return };
        newcomer.channel().deregister(self.poll.registry());
        self.tell_refused(newcomer.address(), text, now);
    }

    fn tell_refused(&mut self, address: SocketAddr, text: &str, now: Instant) {
        tracing::debug!(%address, text, "refused");
        if self.refusals.is_told(now) {
            let text = printable(text, 300);
            self.report(&Report::Refused(Refused { peer: address.to_string(), text }), None);
        }
    }

    fn hear(&mut self, token: Token, now: Instant) {
        let Some(newcomer) = self.newcomers.get_mut(&token) else { return };
        match newcomer.turn(self.options.limits.opening_bytes) {
            Step::Waits => {}
            Step::Fails(text) => self.drop_newcomer(token, &text, now),
            Step::Asks(open) => {
                let Some(newcomer) = self.take_newcomer(token) else { return };
                let address = newcomer.address();
                let mut channel = newcomer.into_channel();
                match self.judge(&open, &channel, address, now) {
                    Ok(id) => self.let_in(id, channel, token, now),
                    Err((reason, text)) => {
                        self.tell_refused(address, &text, now);
                        refuse(&mut channel, reason, text);
                        channel.deregister(self.poll.registry());
                    }
                }
            }
        }
    }
}

/// Hosts.
impl Gate {
    /// Whether somebody may have what it asks for, and which stream that is.
    fn judge(
        &mut self,
        open: &Open,
        channel: &Channel,
        address: SocketAddr,
        now: Instant,
    ) -> Result<SessionId, (Reason, String)> {
        let refusal = |reason: Reason| (reason, reason.to_string());
        if !tls::is_proof(channel.tls(), &self.secret, Side::Dialer, open.proof) {
            return Err(refusal(Reason::Secret));
        }
        let id = match open.session {
            Some(id) if self.hosts.contains_key(&id) => id,
            Some(_) => return Err(refusal(Reason::Session)),
            None if open.received > 0 => return Err(refusal(Reason::Garbled)),
            None if self.hosts.len() >= self.options.limits.hosts => return Err(refusal(Reason::Full)),
            None => self
                .new_host(open, address, now)
                .map_err(|error| (Reason::Full, format!("no room for another host: {error}")))?,
        };
        let Some(host) = self.hosts.get_mut(&id) else { return Err(refusal(Reason::Session)) };
        let resumed = host.session.carrier_mut().resume(open.received, open.window);
        resumed.map(|()| id).map_err(|violation| (Reason::Garbled, violation.to_string()))
    }

    fn new_host(&mut self, open: &Open, address: SocketAddr, now: Instant) -> io::Result<SessionId> {
        let id: SessionId = random()?;
        let (ours, theirs) = UnixStream::pair()?;
        let link = self.new_token();
        let mut session = Session::new(ours, self.beat, now);
        session.register_link(self.poll.registry(), link)?;
        let name = printable(&open.name, MAX_NAME_CHARS);
        let peer = if name.is_empty() { address.to_string() } else { format!("{name} ({address})") };
        let timer = now + self.options.hold;
        self.timers.insert((timer, id));
        self.roles.insert(link, id);
        let host = Host { session, peer: peer.clone(), link, channel: None, timer, unwanted_since: None };
        self.hosts.insert(id, host);
        // The other side may have its link block or not; that is not ours to decide.
        let theirs = OwnedFd::from(theirs);
        let _ = rustix::io::ioctl_fionbio(&theirs, false);
        self.report(&Report::Joined(Joined { peer, launch: open.launch }), Some(theirs));
        Ok(id)
    }

    /// Goes on with a stream over a new connection, which takes the place of an older one.
    fn let_in(&mut self, id: SessionId, mut channel: Channel, token: Token, now: Instant) {
        self.lose_channel(id, now);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let Ok(proof) = tls::proof(channel.tls(), &self.secret, Side::Gate) else { return };
        let accepted = Accepted {
            proof,
            session: id,
            received: host.session.carrier().received(),
            window: WINDOW_BYTES,
            hold_ms: milliseconds(self.options.hold),
            beat_ms: milliseconds(self.beat),
        };
        if let Ok(frame) = opening::encode(&GateOpening::Accepted(accepted)) {
            channel.write(&frame);
        }
        host.session.attach(channel, self.beat, now);
        host.channel = Some(token);
        self.roles.insert(token, id);
        self.ready.insert(id);
        tracing::debug!(peer = host.peer, "connected");
        self.set_timer(id, now);
    }

    fn turn(&mut self, id: SessionId, now: Instant) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        match host.session.turn(now) {
            Ok(readiness) => {
                if readiness == Readiness::Ready {
                    self.ready.insert(id);
                }
                // Who is given up while it is away is not waited for, and may join again as somebody new.
                let is_unwanted = host.session.carrier().is_finished();
                if host.session.carrier().is_settled() || (is_unwanted && !host.session.is_attached()) {
                    return self.part(id, now);
                }
                if is_unwanted && host.unwanted_since.is_none() {
                    host.unwanted_since = Some(now);
                    self.set_timer(id, now);
                }
            }
            Err(error) => self.channel_failed(id, &error, now),
        }
    }

    fn channel_failed(&mut self, id: SessionId, error: &ChannelError, now: Instant) {
        let Some(host) = self.hosts.get(&id) else { return };
        tracing::debug!(peer = host.peer, %error, "a connection is lost");
        let carrier = host.session.carrier();
        let is_violated = matches!(error, ChannelError::Violation(_));
        let is_over = is_violated || carrier.is_peer_finished() || carrier.is_finished();
        self.lose_channel(id, now);
        match is_over {
            true => self.part(id, now),
            false => self.set_timer(id, now),
        }
    }

    fn lose_channel(&mut self, id: SessionId, now: Instant) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if let Some(token) = host.channel.take() {
            self.roles.remove(&token);
        }
        if let Some(mut channel) = host.session.detach(now) {
            channel.deregister(self.poll.registry());
        }
    }

    /// Sees a host off: its link and its connection are closed.
    fn part(&mut self, id: SessionId, now: Instant) {
        let Some(mut host) = self.hosts.remove(&id) else { return };
        tracing::debug!(peer = host.peer, "parted");
        self.timers.remove(&(host.timer, id));
        self.roles.remove(&host.link);
        if let Some(token) = host.channel {
            self.roles.remove(&token);
        }
        if let Some(mut channel) = host.session.detach(now) {
            channel.close();
            let _ = channel.flush();
            channel.deregister(self.poll.registry());
        }
    }

    /// A host's deadline has come, or would have if nothing had happened since.
    fn look_after(&mut self, id: SessionId, now: Instant) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let hold = self.options.hold;
        let is_given_up = host.session.away_since().is_some_and(|since| since + hold <= now)
            || host.unwanted_since.is_some_and(|since| since + hold <= now);
        if is_given_up {
            tracing::debug!(peer = host.peer, "away for too long");
            return self.part(id, now);
        }
        match host.session.beat(now) {
            Ok(()) => self.set_timer(id, now),
            Err(error) => self.channel_failed(id, &error, now),
        }
    }

    fn set_timer(&mut self, id: SessionId, now: Instant) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        self.timers.remove(&(host.timer, id));
        let hold = self.options.hold;
        let deadlines = [
            host.session.next_beat(),
            host.session.away_since().map(|since| since + hold),
            host.unwanted_since.map(|since| since + hold),
        ];
        host.timer = deadlines.into_iter().flatten().min().unwrap_or(now + hold);
        self.timers.insert((host.timer, id));
    }
}

/// The end.
impl Gate {
    /// Nobody new is let in, and those who are there are told.
    fn begin_to_end(&mut self, now: Instant) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(now + self.options.limits.farewell);
        self.listeners.clear();
        self.newcomers.clear();
        for id in self.hosts.keys().copied().collect::<Vec<_>>() {
            // What the coordinator has said last is passed on first.
            self.turn(id, now);
            if let Some(host) = self.hosts.get_mut(&id) {
                host.session.abandon_link();
            }
            self.turn(id, now);
        }
    }

    fn is_everybody_told(&self) -> bool {
        !self.hosts.values().any(|host| host.session.is_attached())
    }
}

fn refuse(channel: &mut Channel, reason: Reason, text: String) {
    if let Ok(frame) = opening::encode(&GateOpening::Refused(Refusal { reason, text })) {
        channel.write(&frame);
    }
    channel.close();
    // If it cannot be sent at once it is not sent.
    let _ = channel.flush();
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // Up to 256 bytes come at once or not at all.
    getrandom(&mut bytes[..], GetRandomFlags::empty())?;
    Ok(bytes)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Every host takes two descriptors, and what is allowed at first is often a thousand.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // If it cannot be raised, fewer hosts can join.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// What becomes readable when this process is asked to end. The terminal's Ctrl-C is for the coordinator.
fn signals() -> io::Result<UnixStream> {
    use signal_hook::consts::signal::{SIGINT, SIGTERM};
    let (reader, writer) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, OwnedFd::from(writer))?;
    signal_hook::flag::register(SIGINT, std::sync::Arc::default())?;
    Ok(reader)
}

/// Has the system end this process with its parent, and answers who that is.
fn end_with_parent() -> Option<rustix::process::Pid> {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    rustix::process::getppid()
}
