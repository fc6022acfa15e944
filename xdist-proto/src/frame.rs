//! Frames: a `u32` big-endian length, then that many bytes of payload.

/// Longest payload before the handshake is done.
pub const HANDSHAKE_FRAME_BYTES: u32 = 1 << 20;

/// Longest payload that can be negotiated.
pub const MAX_FRAME_BYTES: u32 = 16 << 20;

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
        if self.start > 0 && self.start >= self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete payload, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`FrameError`] as soon as a prefix is out of bounds; every later call answers the same.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
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

fn check_length(length: u32, limit: u32) -> Result<u32, FrameError> {
    match length {
        0 => Err(FrameError::Empty),
        length if length > limit => Err(FrameError::TooLong { length, limit }),
        length => Ok(length),
    }
}
