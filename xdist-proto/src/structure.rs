//! Checks that a payload is one MessagePack value, whole and within bounds, before anything is built from it.
//!
//! A declared count or length is compared with the bytes that are really there, so a decoder that trusts it afterwards
//! allocates no more than a small multiple of the payload.

use rmp::Marker;

/// Deepest nesting of arrays, maps and extensions.
pub const MAX_DEPTH: usize = 64;

/// A payload that is not one well-formed MessagePack value within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StructureError {
    /// A value goes on behind the end of the payload.
    #[error("the value is cut off after {length} bytes")]
    Truncated {
        /// The payload's length.
        length: usize,
    },
    /// Bytes follow the value.
    #[error("{count} bytes follow the value")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The one marker that MessagePack does not define.
    #[error("a byte that begins no value at offset {offset}")]
    Reserved {
        /// Where.
        offset: usize,
    },
}

/// Checks that `payload` is exactly one value.
pub(crate) fn check(payload: &[u8]) -> Result<(), StructureError> {
    let mut cursor = Cursor { payload, position: 0 };
    // How many values are still to come at each level of nesting.
    let mut levels = [0_usize; MAX_DEPTH];
    levels[0] = 1;
    let mut depth = 0;
    loop {
        while levels[depth] == 0 {
            if depth == 0 {
                let count = payload.len() - cursor.position;
                return if count == 0 { Ok(()) } else { Err(StructureError::Trailing { count }) };
            }
            depth -= 1;
        }
        levels[depth] -= 1;
        let children = cursor.value()?;
        if children > 0 {
            depth += 1;
            *levels.get_mut(depth).ok_or(StructureError::TooDeep)? = children;
        }
    }
}

struct Cursor<'a> {
    payload: &'a [u8],
    position: usize,
}

impl Cursor<'_> {
    /// Steps over a value's own bytes and answers how many values it holds.
    fn value(&mut self) -> Result<usize, StructureError> {
        let offset = self.position;
        let marker = Marker::from_u8(self.take(1)?[0]);
        let (bytes, children) = match marker {
            Marker::Reserved => return Err(StructureError::Reserved { offset }),
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => (0, 0),
            Marker::U8 | Marker::I8 => (1, 0),
            Marker::U16 | Marker::I16 => (2, 0),
            Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
            Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
            Marker::FixStr(length) => (usize::from(length), 0),
            Marker::Str8 | Marker::Bin8 => (self.number(1)?, 0),
            Marker::Str16 | Marker::Bin16 => (self.number(2)?, 0),
            Marker::Str32 | Marker::Bin32 => (self.number(4)?, 0),
            Marker::FixExt1 => (2, 0),
            Marker::FixExt2 => (3, 0),
            Marker::FixExt4 => (5, 0),
            Marker::FixExt8 => (9, 0),
            Marker::FixExt16 => (17, 0),
            Marker::Ext8 => (self.number(1)? + 1, 0),
            Marker::Ext16 => (self.number(2)? + 1, 0),
            Marker::Ext32 => (self.number(4)? + 1, 0),
            Marker::FixArray(count) => (0, usize::from(count)),
            Marker::Array16 => (0, self.number(2)?),
            Marker::Array32 => (0, self.number(4)?),
            Marker::FixMap(count) => (0, 2 * usize::from(count)),
            Marker::Map16 => (0, 2 * self.number(2)?),
            Marker::Map32 => (0, 2 * self.number(4)?),
        };
        self.take(bytes)?;
        // Every value takes a byte at least.
        if children > self.payload.len() - self.position {
            return Err(self.truncated());
        }
        Ok(children)
    }

    /// A big-endian length of `bytes` bytes, at most 4.
    fn number(&mut self, bytes: usize) -> Result<usize, StructureError> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn take(&mut self, bytes: usize) -> Result<&[u8], StructureError> {
        let end = self.position.checked_add(bytes).filter(|end| *end <= self.payload.len());
        let Some(end) = end else { return Err(self.truncated()) };
        let taken = &self.payload[self.position..end];
        self.position = end;
        Ok(taken)
    }

    const fn truncated(&self) -> StructureError {
        StructureError::Truncated { length: self.payload.len() }
    }
}
