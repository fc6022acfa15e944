//! What waits to be sent on a link: in memory, and beyond a limit refused, or spilled to a file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// How much of a spilled file is read back at once, at most.
const READ_BACK_BYTES: usize = 1 << 20;

/// What happens to more than a limit of bytes that the peer has not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    /// The link fails beyond so many bytes: a peer that lets more pile up does not read.
    Refuse(usize),
    /// What is beyond so many bytes waits in a file without a name, so that memory stays bounded.
    Spill(usize),
}

/// Bytes in the order in which they are to be sent.
#[derive(Debug)]
pub(super) struct Outbox {
    queued: Vec<u8>,
    /// Start of what is still to be sent.
    sent: usize,
    overflow: Overflow,
    spilled: Option<Spilled>,
}

/// What comes after the bytes in memory.
#[derive(Debug)]
struct Spilled {
    file: File,
    written: u64,
    read: u64,
}

impl Outbox {
    pub(super) fn new(first: Vec<u8>, overflow: Overflow) -> Self {
        Self { queued: first, sent: 0, overflow, spilled: None }
    }

    /// Lets `append` add to the end, as a whole.
    ///
    /// # Errors
    /// When there is no room for what is to be spilled.
    pub(super) fn append<T>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        let start = self.queued.len();
        let result = append(&mut self.queued);
        if let Overflow::Spill(limit) = self.overflow
            && (self.spilled.is_some() || self.queued.len() - self.sent > limit)
        {
            self.spill(start)?;
        }
        Ok(result)
    }

    fn spill(&mut self, start: usize) -> io::Result<()> {
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(Spilled { file: tempfile::tempfile()?, written: 0, read: 0 }),
        };
        spilled.file.seek(SeekFrom::Start(spilled.written))?;
        spilled.file.write_all(&self.queued[start..])?;
        spilled.written += (self.queued.len() - start) as u64;
        self.queued.truncate(start);
        Ok(())
    }

    /// Writes what can be written without waiting.
    ///
    /// # Errors
    /// When the link is broken, or the peer has not taken more than it may leave.
    pub(super) fn write_to(&mut self, socket: &mut impl Write) -> io::Result<()> {
        loop {
            while self.sent < self.queued.len() {
                match socket.write(&self.queued[self.sent..]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => self.sent += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.forget_sent();
                        return self.check();
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.queued.clear();
            self.sent = 0;
            if !self.read_back()? {
                return Ok(());
            }
        }
    }

    /// Frees what has been sent once that is most of what is in memory: a peer that is always a little behind would
    /// otherwise never let go of any.
    fn forget_sent(&mut self) {
        if self.sent > self.queued.len() / 2 {
            self.queued.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.overflow {
            Overflow::Refuse(limit) if self.queued.len() - self.sent > limit => {
                Err(io::Error::other("the peer does not read what it is sent"))
            }
            Overflow::Refuse(_) | Overflow::Spill(_) => Ok(()),
        }
    }

    /// Takes the next of what was spilled into memory, which is empty; answers whether there was any.
    fn read_back(&mut self) -> io::Result<bool> {
        let (Some(spilled), Overflow::Spill(limit)) = (&mut self.spilled, self.overflow) else {
            return Ok(false);
        };
        spilled.file.seek(SeekFrom::Start(spilled.read))?;
        let most = READ_BACK_BYTES.min(limit) as u64;
        let count = (&mut spilled.file).take(most).read_to_end(&mut self.queued)?;
        spilled.read += count as u64;
        if spilled.read == spilled.written {
            self.spilled = None;
        }
        Ok(true)
    }

    /// How much waits in memory.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.queued.len() - self.sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.queued.len() && self.spilled.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then blocks.
    struct Slow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn put(outbox: &mut Outbox, bytes: &[u8]) {
        outbox.append(|queued| queued.extend_from_slice(bytes)).unwrap();
    }

    #[test]
    fn what_is_spilled_comes_out_in_order_while_more_is_added() {
        let mut outbox = Outbox::new(b"begin".to_vec(), Overflow::Spill(100));
        let mut slow = Slow { taken: Vec::new(), room: 0 };
        let mut expected = b"begin".to_vec();
        for round in 0..500_u32 {
            let bytes = round.to_string().into_bytes();
            put(&mut outbox, &bytes);
            expected.extend_from_slice(&bytes);
            slow.room += (round % 3) as usize;
            outbox.write_to(&mut slow).unwrap();
            assert!(outbox.queued.len() <= 2 * 100 + 3, "memory stays bounded");
        }
        slow.room = usize::MAX;
        outbox.write_to(&mut slow).unwrap();
        assert_eq!(slow.taken, expected);
        assert!(outbox.is_empty());
        assert!(outbox.spilled.is_none(), "the file is given up once all of it is sent");
    }

    #[test]
    fn a_peer_that_is_always_a_little_behind_costs_no_more_than_that() {
        let mut outbox = Outbox::new(vec![0; 10], Overflow::Refuse(20));
        let mut slow = Slow { taken: Vec::new(), room: 0 };
        for _ in 0..1000 {
            put(&mut outbox, b"bytes");
            slow.room = 5;
            outbox.write_to(&mut slow).unwrap();
            assert!(outbox.queued.len() <= 30);
        }
        assert!(!outbox.is_empty());
    }

    #[test]
    fn a_peer_that_does_not_read_is_given_up() {
        let mut outbox = Outbox::new(Vec::new(), Overflow::Refuse(10));
        let mut slow = Slow { taken: Vec::new(), room: 2 };
        put(&mut outbox, &[1; 12]);
        assert!(outbox.write_to(&mut slow).is_ok());
        put(&mut outbox, &[1; 1]);
        assert!(outbox.write_to(&mut slow).is_err());
    }
}
