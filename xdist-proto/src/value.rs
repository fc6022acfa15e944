//! Values of any built-in Python type, as MessagePack with a few extension types.

use crate::structure::MAX_DEPTH;
use serde::ser::{Error, Serialize, Serializer};
use std::collections::BTreeMap;

/// A value from or for a Python program: what plugins put into `workerinput`, `workeroutput` and reports.
///
/// Types that MessagePack lacks travel as extensions with the codes of [`extension`]; a decoder keeps codes it does not
/// know as they are.
pub type Value = rmpv::Value;

/// Codes of the MessagePack extension types (`docs/protocol.md`, "Values").
pub mod extension {
    /// An integer outside `i64`/`u64`, as decimal ASCII text.
    pub const BIG_INTEGER: i8 = 1;
    /// A tuple: a MessagePack array.
    pub const TUPLE: i8 = 2;
    /// A set: a MessagePack array.
    pub const SET: i8 = 3;
    /// A frozen set: a MessagePack array.
    pub const FROZEN_SET: i8 = 4;
    /// A complex number: a MessagePack array of two floats.
    pub const COMPLEX: i8 = 5;
    /// Text that is not valid Unicode (lone surrogates): UTF-8 with the surrogates encoded as if they were characters.
    pub const SURROGATE_TEXT: i8 = 6;
    /// What could not be sent: a MessagePack array of its type's name and its `repr`.
    pub const UNSENDABLE: i8 = 7;
}

/// Serializes values by name, unless one is nested too deeply.
pub(crate) fn map<S: Serializer>(values: &BTreeMap<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    check_depth(values.values())?;
    values.serialize(serializer)
}

/// Serializes a value, unless it is nested too deeply.
pub(crate) fn one<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    check_depth(std::iter::once(value))?;
    value.serialize(serializer)
}

/// Serializes values in order, unless one is nested too deeply.
pub(crate) fn properties<S: Serializer>(
    values: &[(String, Value)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    check_depth(values.iter().map(|(_, value)| value))?;
    values.serialize(serializer)
}

fn check_depth<'a, E: Error>(mut values: impl Iterator<Item = &'a Value>) -> Result<(), E> {
    if values.all(|value| fits(value, MAX_DEPTH)) { Ok(()) } else { Err(E::custom("nested too deeply")) }
}

/// Whether `value` has at most this many levels.
fn fits(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return false };
    match value {
        Value::Array(values) => values.iter().all(|value| fits(value, below)),
        Value::Map(entries) => entries.iter().all(|(key, value)| fits(key, below) && fits(value, below)),
        _ => true,
    }
}

/// Bounded `Arbitrary` values: `rmpv` has none of its own.
#[cfg(feature = "arbitrary")]
pub(crate) mod any {
    use super::Value;
    use arbitrary::{Arbitrary, Result, Unstructured};
    use std::collections::BTreeMap;

    /// Deep enough to meet every container within every other.
    const LEVELS: u32 = 4;

    /// Entries of a map with text for keys.
    pub(crate) fn map(source: &mut Unstructured<'_>) -> Result<BTreeMap<String, Value>> {
        source
            .arbitrary_iter::<String>()?
            .take(8)
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .map(|name| Ok((name, value(source, LEVELS)?)))
            .collect()
    }

    /// Named values in order, names possibly repeated.
    pub(crate) fn properties(source: &mut Unstructured<'_>) -> Result<Vec<(String, Value)>> {
        (0..source.int_in_range(0..=4)?)
            .map(|_| Ok((String::arbitrary(source)?, value(source, LEVELS)?)))
            .collect()
    }

    /// A value of its own.
    pub(crate) fn one(source: &mut Unstructured<'_>) -> Result<Value> {
        value(source, LEVELS)
    }

    fn value(source: &mut Unstructured<'_>, levels: u32) -> Result<Value> {
        // The last two hold others, so they are left out at the lowest level.
        let choice = source.int_in_range(0..=if levels == 0 { 8 } else { 10 })?;
        Ok(match choice {
            0 => Value::Nil,
            1 => Value::from(bool::arbitrary(source)?),
            2 => Value::from(u64::arbitrary(source)?),
            3 => Value::from(i64::arbitrary(source)?),
            4 => Value::F32(f32::arbitrary(source)?),
            5 => Value::F64(f64::arbitrary(source)?),
            6 => Value::from(String::arbitrary(source)?),
            7 => Value::Binary(Vec::arbitrary(source)?),
            8 => Value::Ext(i8::arbitrary(source)?, Vec::arbitrary(source)?),
            9 => Value::Array(values(source, levels - 1)?),
            _ => {
                Value::Map(values(source, levels - 1)?.into_iter().zip(values(source, levels - 1)?).collect())
            }
        })
    }

    fn values(source: &mut Unstructured<'_>, levels: u32) -> Result<Vec<Value>> {
        (0..source.int_in_range(0..=4)?).map(|_| value(source, levels)).collect()
    }
}
