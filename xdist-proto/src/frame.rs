//! Frames: a `u32` big-endian length, then that many bytes of payload.

/// Longest payload before the handshake is done.
pub const HANDSHAKE_FRAME_BYTES: u32 = 1 << 20;

/// Longest payload that can be negotiated.
pub const MAX_FRAME_BYTES: u32 = 16 << 20;

/// Capacity that a decoder keeps when it has nothing buffered, so that one giant frame does not cost memory for ever.
const IDLE_CAPACITY: usize = 256 << 10;

/// Length of the prefix.
pub const PREFIX_BYTES: usize = 4;

/// A stream that is not one of frames within the limit. The link cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The prefix announces more than the limit.
    #[error("a frame of {length} bytes exceeds the limit of {limit} bytes")]
    TooLong {
        /// What the prefix says.
        length: u32,
        /// What is allowed.
        limit: u32,
    },
    /// The prefix announces nothing; no message is empty.
    #[error("an empty frame")]
    Empty,
}

/// Appends a frame with this payload to `out`.
///
/// # Errors
/// [`FrameError`] when the payload is empty or longer than `limit`; `out` is then unchanged.
pub fn encode_frame(payload: &[u8], limit: u32, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let length = check_length(u32::try_from(payload.len()).unwrap_or(u32::MAX), limit)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// Cuts a byte stream into payloads, however the bytes arrive.
///
/// After each [`push`](Self::push), call [`next_frame`](Self::next_frame) until it answers `None`. Then less than one
/// frame stays buffered, and what is allocated follows what arrived, not what a prefix announces.
///
/// ```
/// use xdist_proto::frame::{FrameDecoder, encode_frame};
///
/// let mut stream = Vec::new();
/// encode_frame(b"one", 16, &mut stream)?;
/// encode_frame(b"two", 16, &mut stream)?;
///
/// let mut decoder = FrameDecoder::new(16);
/// decoder.push(&stream[..10]);
/// assert_eq!(decoder.next_frame()?, Some(&b"one"[..]));
/// assert_eq!(decoder.next_frame()?, None);
/// decoder.push(&stream[10..]);
/// assert_eq!(decoder.next_frame()?, Some(&b"two"[..]));
/// # Ok::<(), xdist_proto::FrameError>(())
/// ```
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// Start of the bytes not yet handed out.
    start: usize,
    limit: u32,
}

impl FrameDecoder {
    /// A decoder that refuses payloads longer than `limit` bytes.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self { buffer: Vec::new(), start: 0, limit }
    }

    /// Changes the limit for prefixes not yet read.
    pub const fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        // At most as much is moved as was handed out since the last time, so the cost stays linear.
        if self.start >= self.buffer.len() - self.start {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete payload, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`FrameError`] as soon as a prefix is out of bounds; every later call answers the same, as the
    /// stream cannot be read on.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        if self.pending_bytes() == 0 {
            self.buffer.clear();
            self.buffer.shrink_to(IDLE_CAPACITY);
            self.start = 0;
        }
        let pending = &self.buffer[self.start..];
        let Some((prefix, rest)) = pending.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let length = check_length(u32::from_be_bytes(*prefix), self.limit)? as usize;
        if rest.len() < length {
            return Ok(None);
        }
        let payload = self.start + PREFIX_BYTES;
        self.start = payload + length;
        Ok(Some(&self.buffer[payload..self.start]))
    }

    /// How many bytes wait for the rest of their frame: not 0 at the end of a stream means it was cut off.
    #[must_use]
    pub const fn pending_bytes(&self) -> usize {
        self.buffer.len() - self.start
    }
}

/// Passes a payload's length through if it is within bounds.
pub(crate) const fn check_length(length: u32, limit: u32) -> Result<u32, FrameError> {
    match length {
        0 => Err(FrameError::Empty),
        length if length > limit => Err(FrameError::TooLong { length, limit }),
        length => Ok(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame_of(length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        encode_frame(&vec![7; length], u32::MAX, &mut out).unwrap();
        out
    }

    #[test]
    fn a_payload_of_the_limit_passes_and_one_more_byte_does_not() {
        let mut decoder = FrameDecoder::new(10);
        decoder.push(&frame_of(10));
        assert_eq!(decoder.next_frame(), Ok(Some(&[7; 10][..])));
        decoder.push(&frame_of(11)[..PREFIX_BYTES]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong { length: 11, limit: 10 }));
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong { length: 11, limit: 10 }));
    }

    #[test]
    fn an_empty_frame_is_an_error_on_both_sides() {
        let mut decoder = FrameDecoder::new(10);
        decoder.push(&[0; PREFIX_BYTES]);
        assert_eq!(decoder.next_frame(), Err(FrameError::Empty));
        let mut out = vec![1];
        assert_eq!(encode_frame(&[], 10, &mut out), Err(FrameError::Empty));
        assert_eq!(encode_frame(&[0; 11], 10, &mut out), Err(FrameError::TooLong { length: 11, limit: 10 }));
        assert_eq!(out, [1]);
    }

    #[test]
    fn a_new_limit_holds_for_frames_that_already_arrived() {
        let mut decoder = FrameDecoder::new(10);
        decoder.push(&[frame_of(10), frame_of(20)].concat());
        assert!(decoder.next_frame().unwrap().is_some());
        decoder.set_limit(20);
        assert_eq!(decoder.next_frame(), Ok(Some(&[7; 20][..])));
    }

    #[test]
    fn a_stream_that_is_cut_off_leaves_bytes_pending() {
        let mut decoder = FrameDecoder::new(10);
        decoder.push(&frame_of(10)[..9]);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert_eq!(decoder.pending_bytes(), 9);
    }

    #[test]
    fn an_announced_length_allocates_nothing() {
        let mut decoder = FrameDecoder::new(u32::MAX);
        decoder.push(&u32::MAX.to_be_bytes());
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.buffer.capacity() < 100);
    }

    #[test]
    fn memory_is_given_back_after_a_giant_frame() {
        let mut decoder = FrameDecoder::new(MAX_FRAME_BYTES);
        decoder.push(&frame_of(MAX_FRAME_BYTES as usize));
        assert!(decoder.next_frame().unwrap().is_some());
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.buffer.capacity() <= IDLE_CAPACITY);
    }

    #[test]
    fn what_was_handed_out_does_not_pile_up() {
        let mut decoder = FrameDecoder::new(100);
        // Each piece ends in the middle of a frame, so the buffer is never empty.
        let stream = frame_of(100).repeat(1000);
        let mut frames = 0;
        for piece in stream.chunks(150) {
            decoder.push(piece);
            while decoder.next_frame().unwrap().is_some() {
                frames += 1;
            }
            assert!(decoder.buffer.len() < 600, "{} bytes", decoder.buffer.len());
        }
        assert_eq!(frames, 1000);
    }
}
