//! A link on one side, a connection that comes and goes on the other: what gate and dialer have in common.
//!
//! Whoever owns a session calls [`Session::turn`] after anything has happened to one of its sockets, and [`Session::beat`]
//! when it is time; both wait for nothing.

use crate::carrier::{Carrier, WINDOW_BYTES};
use crate::channel::{Channel, ChannelError, Readiness};
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// How many beats may be missing before a connection counts as dead.
const MISSING_BEATS: u32 = 3;

/// How much is read from either side before somebody else has a turn.
const READ_AT_ONCE: usize = 256 << 10;

const PIECE_BYTES: usize = 64 << 10;

/// How often there are signs of life, where a stream without a connection is kept for so long.
#[must_use]
pub(crate) fn beat_interval(hold: Duration) -> Duration {
    (hold / 4).clamp(Duration::from_millis(50), Duration::from_secs(2))
}

/// What the process behind the link still takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    /// Everything.
    Open,
    /// Nothing: it knows that there is no more.
    Told,
    /// Nothing: it is not there.
    Gone,
}

/// One host's stream.
#[derive(Debug)]
pub(crate) struct Session {
    carrier: Carrier,
    link: UnixStream,
    /// Nothing is read from or written to the link until it is announced as ready again.
    is_link_readable: bool,
    is_link_writable: bool,
    sink: Sink,
    channel: Option<Channel>,
    beat: Duration,
    last_heard: Instant,
    next_beat: Instant,
    /// Since when there is no connection.
    away_since: Instant,
}

impl Session {
    pub(crate) fn new(link: UnixStream, beat: Duration, now: Instant) -> Self {
        Self {
            carrier: Carrier::new(WINDOW_BYTES),
            link,
            is_link_readable: true,
            is_link_writable: true,
            sink: Sink::Open,
            channel: None,
            beat,
            last_heard: now,
            next_beat: now,
            away_since: now,
        }
    }

    pub(crate) const fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    pub(crate) const fn carrier_mut(&mut self) -> &mut Carrier {
        &mut self.carrier
    }

    pub(crate) fn register_link(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.link, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Goes on over this connection, on which the opening is done.
    pub(crate) fn attach(&mut self, channel: Channel, beat: Duration, now: Instant) {
        self.channel = Some(channel);
        self.beat = beat;
        self.last_heard = now;
        self.next_beat = now + beat;
    }

    pub(crate) const fn is_attached(&self) -> bool {
        self.channel.is_some()
    }

    /// Takes the connection away. What was on its way is sent again over the next one.
    pub(crate) fn detach(&mut self, now: Instant) -> Option<Channel> {
        self.away_since = now;
        self.channel.take()
    }

    /// Since when there is no connection; `None` while there is one.
    pub(crate) fn away_since(&self) -> Option<Instant> {
        self.channel.is_none().then_some(self.away_since)
    }

    pub(crate) const fn link_is_ready(&mut self) {
        self.is_link_readable = true;
        self.is_link_writable = true;
    }

    /// Nothing more will come from the link, and nothing need be passed on to it.
    pub(crate) fn abandon_link(&mut self) {
        self.carrier.finish();
        self.sink = Sink::Gone;
    }

    /// Passes on whatever can be passed on. An error is the connection's, which is to be taken away then.
    pub(crate) fn turn(&mut self, now: Instant) -> Result<Readiness, ChannelError> {
        let mut readiness = Readiness::Drained;
        if let Some(channel) = &mut self.channel {
            let (carrier, before) = (&mut self.carrier, channel.heard_bytes());
            let read = channel.read(READ_AT_ONCE, |bytes| Ok(carrier.decode(bytes)?));
            if channel.heard_bytes() > before {
                self.last_heard = now;
            }
            // What came before an error counts.
            self.serve_link(&mut readiness);
            if read? == Readiness::Ready {
                readiness = Readiness::Ready;
            }
        } else {
            self.serve_link(&mut readiness);
        }
        self.send()?;
        Ok(readiness)
    }

    fn serve_link(&mut self, readiness: &mut Readiness) {
        self.write_link();
        if self.read_link() == Readiness::Ready {
            *readiness = Readiness::Ready;
        }
    }

    fn read_link(&mut self) -> Readiness {
        let mut piece = [0; PIECE_BYTES];
        let mut budget = READ_AT_ONCE;
        while self.is_link_readable && !self.carrier.is_finished() {
            let room = self.carrier.room().min(piece.len());
            if room == 0 {
                break;
            }
            if budget == 0 {
                return Readiness::Ready;
            }
            match self.link.read(&mut piece[..room]) {
                Ok(0) => self.carrier.finish(),
                Ok(count) => {
                    self.carrier.accept(&piece[..count]);
                    budget = budget.saturating_sub(count);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.is_link_readable = false,
                    io::ErrorKind::Interrupted => {}
                    // Whoever it was has gone without reading all that was there.
                    _ => self.abandon_link(),
                },
            }
        }
        Readiness::Drained
    }

    fn write_link(&mut self) {
        while self.is_link_writable && self.sink != Sink::Gone && !self.carrier.deliverable().is_empty() {
            match self.link.write(self.carrier.deliverable()) {
                Ok(count) => self.carrier.delivered(count),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.is_link_writable = false,
                    io::ErrorKind::Interrupted => {}
                    _ => self.sink = Sink::Gone,
                },
            }
        }
        if self.sink == Sink::Gone {
            self.carrier.discard();
        }
        if self.carrier.is_peer_finished() && self.sink == Sink::Open {
            self.sink = Sink::Told;
            // It may be gone already.
            let _ = self.link.shutdown(Shutdown::Write);
        }
    }

    fn send(&mut self) -> Result<(), ChannelError> {
        let Some(channel) = &mut self.channel else { return Ok(()) };
        let mut records = Vec::new();
        loop {
            while channel.has_room() && self.carrier.has_output() {
                records.clear();
                self.carrier.encode(&mut records);
                channel.write(&records);
            }
            channel.flush()?;
            if !(channel.has_room() && self.carrier.has_output()) {
                return Ok(());
            }
        }
    }

    /// Gives a sign of life if it is time for one, and looks for the peer's.
    pub(crate) fn beat(&mut self, now: Instant) -> Result<(), ChannelError> {
        let Some(channel) = &mut self.channel else { return Ok(()) };
        if now.duration_since(self.last_heard) >= self.beat * MISSING_BEATS {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no sign of life").into());
        }
        if now >= self.next_beat {
            self.next_beat = now + self.beat;
            // What waits to be sent is one.
            if channel.has_room() {
                let mut record = Vec::new();
                self.carrier.encode_ack(&mut record);
                channel.write(&record);
                channel.flush()?;
            }
        }
        Ok(())
    }

    /// When [`Self::beat`] is to be called.
    pub(crate) fn next_beat(&self) -> Option<Instant> {
        let silent_at = self.last_heard + self.beat * MISSING_BEATS;
        self.channel.is_some().then(|| self.next_beat.min(silent_at))
    }
}
