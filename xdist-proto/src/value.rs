//! Values of any built-in Python type, as MessagePack with a few extension types.

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
