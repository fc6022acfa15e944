//! Checks that a payload is one MessagePack value, whole and within bounds, before anything is built from it.
//!
//! A declared count or length is compared with the bytes that are really there, so a decoder that trusts it afterwards
//! allocates for what has arrived, never for what is announced. [`MAX_VALUES`] bounds the rest: one byte of payload can
//! become a value of some fifty bytes in memory.

use rmp::Marker;

/// Most levels of nesting. The message itself is level 1, what it holds level 2; extensions hold nothing as far as this
/// goes.
pub const MAX_DEPTH: usize = 64;

/// Most values in one message: scalars, texts and containers, keys of maps included.
pub const MAX_VALUES: usize = 4 << 20;

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
    /// More than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values")]
    TooManyValues,
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
    let mut budget = MAX_VALUES;
    loop {
        while levels[depth] == 0 {
            if depth == 0 {
                let count = payload.len() - cursor.position;
                return if count == 0 { Ok(()) } else { Err(StructureError::Trailing { count }) };
            }
            depth -= 1;
        }
        levels[depth] -= 1;
        budget = budget.checked_sub(1).ok_or(StructureError::TooManyValues)?;
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
            // One more for the type's code.
            Marker::Ext8 => (self.number(1)? + 1, 0),
            Marker::Ext16 => (self.number(2)? + 1, 0),
            Marker::Ext32 => (self.number(4)?.saturating_add(1), 0),
            Marker::FixArray(count) => (0, usize::from(count)),
            Marker::Array16 => (0, self.number(2)?),
            Marker::Array32 => (0, self.number(4)?),
            Marker::FixMap(count) => (0, 2 * usize::from(count)),
            Marker::Map16 => (0, 2 * self.number(2)?),
            Marker::Map32 => (0, self.number(4)?.saturating_mul(2)),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> Vec<u8> {
        let mut payload = vec![0x91; levels - 1];
        payload.push(0xc0);
        payload
    }

    #[test]
    fn every_marker_is_stepped_over_exactly() {
        for marker in 0..=u8::MAX {
            // Lengths are zero; the rest is padding of ones, each a value of its own.
            let mut payload = vec![marker, 0, 0, 0, 0];
            payload.resize(60, 1);
            let whole = (1..=payload.len()).find(|length| check(&payload[..*length]).is_ok());
            let expected = match marker {
                0xc1 => None,
                0x80..=0x8f => Some(1 + 2 * usize::from(marker & 0x0f)),
                0x90..=0x9f => Some(1 + usize::from(marker & 0x0f)),
                0xa0..=0xbf => Some(1 + usize::from(marker & 0x1f)),
                0xc4 | 0xd9 | 0xcc | 0xd0 => Some(2),
                0xc5 | 0xda | 0xdc | 0xde | 0xcd | 0xd1 | 0xc7 | 0xd4 => Some(3),
                0xd5 | 0xc8 => Some(4),
                0xc6 | 0xdb | 0xdd | 0xdf | 0xce | 0xd2 | 0xca => Some(5),
                0xd6 | 0xc9 => Some(6),
                0xcb | 0xcf | 0xd3 => Some(9),
                0xd7 => Some(10),
                0xd8 => Some(18),
                _ => Some(1),
            };
            assert_eq!(whole, expected, "marker {marker:#04x}");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        assert_eq!(check(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(check(&nested(MAX_DEPTH + 1)), Err(StructureError::TooDeep));
        assert_eq!(check(&nested(1_000_000)), Err(StructureError::TooDeep));
    }

    #[test]
    fn the_number_of_values_ends_at_the_limit() {
        let count = u32::try_from(MAX_VALUES).unwrap();
        let mut payload = vec![0xdd];
        payload.extend((count - 1).to_be_bytes());
        payload.resize(payload.len() + MAX_VALUES - 1, 0xc0);
        assert_eq!(check(&payload), Ok(()));
        payload[1..5].copy_from_slice(&count.to_be_bytes());
        payload.push(0xc0);
        assert_eq!(check(&payload), Err(StructureError::TooManyValues));
    }

    #[test]
    fn announced_lengths_and_counts_are_not_trusted() {
        // bin, str and ext of 32-bit length, then array and map of 32-bit count.
        for marker in [0xc6, 0xdb, 0xc9, 0xdd, 0xdf] {
            let payload = [marker, 0xff, 0xff, 0xff, 0xff, 0, 0];
            assert_eq!(check(&payload), Err(StructureError::Truncated { length: 7 }), "{marker:#04x}");
        }
    }

    #[test]
    fn bytes_behind_the_value_are_counted() {
        assert_eq!(check(&[1, 2, 3]), Err(StructureError::Trailing { count: 2 }));
    }
}
