//! A byte stream in both directions that survives its connections: what one side of a link keeps for the other.
//!
//! Pure: bytes in, bytes out, no sockets and no clock. Each side numbers the bytes that it sends, and its end as one byte
//! more. It keeps them until the peer says that it has passed them on, and never has more on the way than the peer's
//! window. After a new connection both say how much they have received, and go on from there. The records, normative in
//! `docs/protocol.md`, "Joining from elsewhere":
//!
//! | record | kind, length | content |
//! | --- | --- | --- |
//! | data | `01`, 1 to [`MAX_DATA_BYTES`] | bytes of the stream |
//! | ack | `02`, 8 | how much was passed on since the beginning; also the sign of life |
//! | end | `03`, 0 | nothing follows, and nobody need come back |

use std::collections::VecDeque;

/// The most bytes in one record of data.
pub const MAX_DATA_BYTES: usize = 32 << 10;

/// How much may be on its way to us: enough for 80 MB/s at 50 ms, and a bound for what a host that nobody reads from costs.
pub const WINDOW_BYTES: u32 = 4 << 20;

/// The narrowest window that makes sense.
pub const LEAST_WINDOW_BYTES: u32 = 1 << 10;

/// How much is passed on before the peer is told, at the latest.
const ACK_EVERY_BYTES: u64 = 64 << 10;

/// Kind and length.
const HEAD_BYTES: usize = 5;

const DATA: u8 = 1;
const ACK: u8 = 2;
const END: u8 = 3;

/// The peer has broken the rules. The connection cannot go on, and neither can the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A record of an unknown kind, or of a length that its kind does not have.
    #[error("a record of kind {kind} and {length} bytes")]
    Record {
        /// Its first byte.
        kind: u8,
        /// Its length.
        length: u32,
    },
    /// More bytes than the window allows.
    #[error("more bytes than the window of {window}")]
    Window {
        /// Our window.
        window: u32,
    },
    /// Something after the end.
    #[error("bytes after the end")]
    AfterEnd,
    /// A number of bytes that were never sent, or were acknowledged before.
    #[error("{position} bytes, of {written} and after {acknowledged}, cannot have come")]
    Position {
        /// What it says has come.
        position: u64,
        /// What it has acknowledged before.
        acknowledged: u64,
        /// All that was written.
        written: u64,
    },
}

/// One side of a stream.
#[derive(Debug)]
pub struct Carrier {
    outgoing: Outgoing,
    incoming: Incoming,
}

#[derive(Debug)]
struct Outgoing {
    /// The bytes that the peer has not acknowledged; the end is not among them.
    kept: VecDeque<u8>,
    /// How many bytes came before those.
    base: u64,
    /// The peer has passed on so much, its end included.
    acknowledged: u64,
    /// So much is on this connection or has arrived.
    sent: u64,
    ended: bool,
    /// The peer's.
    window: u32,
}

#[derive(Debug)]
struct Incoming {
    /// A record that has not come in full.
    partial: Vec<u8>,
    /// Bytes that wait to be passed on.
    waiting: VecDeque<u8>,
    /// As many have come, with the end.
    received: u64,
    /// The peer was told that as many were passed on.
    told: u64,
    ended: bool,
    window: u32,
}

impl Carrier {
    /// A stream of which nothing was sent yet.
    #[must_use]
    pub const fn new(window: u32) -> Self {
        Self {
            outgoing: Outgoing {
                kept: VecDeque::new(),
                base: 0,
                acknowledged: 0,
                sent: 0,
                ended: false,
                window: LEAST_WINDOW_BYTES,
            },
            incoming: Incoming {
                partial: Vec::new(),
                waiting: VecDeque::new(),
                received: 0,
                told: 0,
                ended: false,
                window,
            },
        }
    }

    /// How many bytes it takes now. While there is no room, its source is not to be read.
    #[must_use]
    pub fn room(&self) -> usize {
        let window = widen(self.outgoing.window);
        if self.outgoing.ended { 0 } else { window.saturating_sub(self.outgoing.kept.len()) }
    }

    /// Takes bytes from the source, not more than there is [`Self::room`] for.
    pub fn accept(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.room(), "the source is read too fast");
        self.outgoing.kept.extend(bytes);
    }

    /// The source has ended.
    pub const fn finish(&mut self) {
        self.outgoing.ended = true;
    }

    /// Whether the source has ended.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.outgoing.ended
    }

    /// What is to be passed on next; not everything, where that is more than one piece.
    #[must_use]
    pub fn deliverable(&self) -> &[u8] {
        self.incoming.waiting.as_slices().0
    }

    /// As many of [`Self::deliverable`] were passed on.
    pub fn delivered(&mut self, count: usize) {
        self.incoming.waiting.drain(..count);
        if self.incoming.waiting.is_empty() {
            self.incoming.waiting.shrink_to(MAX_DATA_BYTES);
        }
    }

    /// Drops what waits to be passed on: nobody takes it any more.
    pub fn discard(&mut self) {
        self.incoming.waiting.clear();
    }

    /// Whether the peer's end has come, and all before it was passed on.
    #[must_use]
    pub fn is_peer_finished(&self) -> bool {
        self.incoming.ended && self.incoming.waiting.is_empty()
    }

    /// Whether there is nothing left to do: both have ended and both know.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let told = self.incoming.told == self.incoming.received;
        self.is_peer_finished() && told && self.outgoing.ended && self.is_acknowledged()
    }

    /// Whether the peer has passed on all that we have sent, and our end if that was sent.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.outgoing.acknowledged == self.outgoing.written()
    }

    /// How much has come from the peer, which is what it has to be told on a new connection.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.incoming.received
    }

    /// Goes on over a new connection, on which nothing was sent yet, with a peer that has received so much.
    ///
    /// # Errors
    /// [`Violation::Position`] when that cannot be; nothing is changed then.
    pub fn resume(&mut self, peer_received: u64, peer_window: u32) -> Result<(), Violation> {
        self.outgoing.check(peer_received)?;
        self.outgoing.sent = peer_received;
        self.outgoing.window = peer_window.max(LEAST_WINDOW_BYTES);
        self.incoming.partial.clear();
        // What was told may have been lost with the connection.
        self.incoming.told = 0;
        Ok(())
    }

    /// Whether [`Self::encode`] would write something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.outgoing.has_output() || self.is_ack_due()
    }

    /// Appends what is to be sent next: at most one record of data, after an acknowledgement if one is due.
    pub fn encode(&mut self, out: &mut Vec<u8>) {
        if self.is_ack_due() {
            self.encode_ack(out);
        }
        self.outgoing.encode(out);
    }

    /// Appends an acknowledgement, due or not: the sign of life.
    pub fn encode_ack(&mut self, out: &mut Vec<u8>) {
        let position = self.incoming.passed_on();
        self.incoming.told = position;
        head(ACK, 8, out);
        out.extend(position.to_be_bytes());
    }

    /// Takes bytes that have come over the connection.
    ///
    /// # Errors
    /// [`Violation`], after which the connection is to be closed.
    pub fn decode(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        // Whole records are taken from where they are.
        while !bytes.is_empty() {
            if self.incoming.partial.is_empty()
                && let Some((record, rest)) = split_record(bytes)?
            {
                self.record(record)?;
                bytes = rest;
                continue;
            }
            bytes = self.complete(bytes)?;
        }
        Ok(())
    }

    /// Adds to the record that has begun to come, and answers what is behind it.
    fn complete<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Violation> {
        let mut partial = std::mem::take(&mut self.incoming.partial);
        let wanted = match partial.first_chunk() {
            Some(&head) => HEAD_BYTES + length_of(head)?,
            None => HEAD_BYTES,
        };
        let (now, rest) = bytes.split_at(bytes.len().min(wanted - partial.len()));
        partial.extend_from_slice(now);
        match split_record(&partial)? {
            Some((record, _)) => self.record(record)?,
            None => self.incoming.partial = partial,
        }
        Ok(rest)
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), Violation> {
        match record {
            Record::Data(bytes) => self.incoming.data(bytes),
            Record::Ack(position) => self.outgoing.acknowledge(position),
            Record::End => self.incoming.end(),
        }
    }

    fn is_ack_due(&self) -> bool {
        let untold = self.incoming.passed_on().saturating_sub(self.incoming.told);
        let due = ACK_EVERY_BYTES.min(u64::from(self.incoming.window) / 8);
        // The end is acknowledged at once: somebody waits for that.
        untold >= due || (untold > 0 && self.is_peer_finished())
    }
}

impl Outgoing {
    /// All that the source has given so far, and its end.
    fn written(&self) -> u64 {
        self.base + self.kept.len() as u64 + u64::from(self.ended)
    }

    /// How many bytes may be sent that were not.
    fn unsent(&self) -> usize {
        let sent = usize::try_from(self.sent.saturating_sub(self.base)).unwrap_or(usize::MAX);
        // What was taken under a wider window may be more than the peer of this connection wants.
        self.kept.len().min(widen(self.window)).saturating_sub(sent)
    }

    fn is_end_next(&self) -> bool {
        self.ended && self.sent + 1 == self.written()
    }

    fn has_output(&self) -> bool {
        self.unsent() > 0 || self.is_end_next()
    }

    fn encode(&mut self, out: &mut Vec<u8>) {
        let count = self.unsent().min(MAX_DATA_BYTES);
        if count > 0 {
            head(DATA, count, out);
            let start = usize::try_from(self.sent - self.base).unwrap_or(usize::MAX);
            let (front, back) = self.kept.as_slices();
            let (from, to) = (start.min(front.len()), (start + count).min(front.len()));
            out.extend_from_slice(&front[from..to]);
            out.extend_from_slice(&back[start - from..start + count - to]);
            self.sent += count as u64;
        }
        if self.is_end_next() {
            head(END, 0, out);
            self.sent += 1;
        }
    }

    /// Whether the peer can have received so much.
    fn check(&self, position: u64) -> Result<(), Violation> {
        let written = self.written();
        match (self.acknowledged..=written).contains(&position) {
            true => Ok(()),
            false => Err(Violation::Position { position, acknowledged: self.acknowledged, written }),
        }
    }

    fn acknowledge(&mut self, position: u64) -> Result<(), Violation> {
        self.check(position)?;
        if position > self.sent {
            let (acknowledged, written) = (self.acknowledged, self.sent);
            return Err(Violation::Position { position, acknowledged, written });
        }
        let count = usize::try_from(position - self.base).unwrap_or(usize::MAX).min(self.kept.len());
        self.kept.drain(..count);
        self.base += count as u64;
        self.acknowledged = position;
        if self.kept.is_empty() {
            // Hundreds of hosts that once had much to say need not keep the room for it.
            self.kept.shrink_to(MAX_DATA_BYTES);
        }
        Ok(())
    }
}

impl Incoming {
    fn data(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if self.ended {
            return Err(Violation::AfterEnd);
        }
        if self.waiting.len() + bytes.len() > widen(self.window) {
            return Err(Violation::Window { window: self.window });
        }
        self.waiting.extend(bytes);
        self.received += bytes.len() as u64;
        Ok(())
    }

    const fn end(&mut self) -> Result<(), Violation> {
        if self.ended {
            return Err(Violation::AfterEnd);
        }
        self.ended = true;
        self.received += 1;
        Ok(())
    }

    /// How much of what has come was passed on; the end with the last byte.
    fn passed_on(&self) -> u64 {
        let end = u64::from(self.ended && !self.waiting.is_empty());
        self.received - self.waiting.len() as u64 - end
    }
}

enum Record<'a> {
    Data(&'a [u8]),
    Ack(u64),
    End,
}

/// The first record, if it is there in full, and what is behind it.
fn split_record(bytes: &[u8]) -> Result<Option<(Record<'_>, &[u8])>, Violation> {
    let Some((&head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let Some((content, rest)) = rest.split_at_checked(length_of(head)?) else { return Ok(None) };
    let record = match (head[0], content) {
        (DATA, bytes) => Record::Data(bytes),
        (ACK, &[a, b, c, d, e, f, g, h]) => Record::Ack(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        _ => Record::End,
    };
    Ok(Some((record, rest)))
}

/// The length of a record's content, checked.
fn length_of([kind, a, b, c, d]: [u8; HEAD_BYTES]) -> Result<usize, Violation> {
    let length = u32::from_be_bytes([a, b, c, d]);
    let count = widen(length);
    match (kind, count) {
        (DATA, 1..=MAX_DATA_BYTES) | (ACK, 8) | (END, 0) => Ok(count),
        _ => Err(Violation::Record { kind, length }),
    }
}

fn head(kind: u8, count: usize, out: &mut Vec<u8>) {
    debug_assert!(count <= MAX_DATA_BYTES);
    out.push(kind);
    out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn widen(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
