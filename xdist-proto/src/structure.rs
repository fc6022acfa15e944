//! Checks that a payload is one MessagePack value, whole and within bounds, before anything is built from it.
//!
//! A declared count or length is compared with the bytes that are really there, so a decoder that trusts it afterwards
//! allocates for what has arrived, never for what is announced. [`MAX_VALUES`] bounds the rest: one byte of payload can
//! become a value of some fifty bytes in memory.

use crate::token::Tokens;

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
    let mut tokens = Tokens::new(payload);
    // How many values are still to come at each level of nesting.
    let mut levels = [0_usize; MAX_DEPTH];
    levels[0] = 1;
    let mut depth = 0;
    let mut budget = MAX_VALUES;
    loop {
        while levels[depth] == 0 {
            if depth == 0 {
                let count = tokens.rest().len();
                return if count == 0 { Ok(()) } else { Err(StructureError::Trailing { count }) };
            }
            depth -= 1;
        }
        levels[depth] -= 1;
        budget = budget.checked_sub(1).ok_or(StructureError::TooManyValues)?;
        let children = tokens.next()?.children();
        if children > 0 {
            depth += 1;
            *levels.get_mut(depth).ok_or(StructureError::TooDeep)? = children;
        }
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
