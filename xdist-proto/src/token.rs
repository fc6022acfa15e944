//! Cuts MessagePack into its tokens: a scalar, or the beginning of an array or a map.

use crate::structure::StructureError;
use rmp::Marker;

/// One scalar, or the beginning of a container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float32(f32),
    Float64(f64),
    /// Text as it stands there; it may not be UTF-8.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// A type's code and its bytes.
    Extension(i8, &'a [u8]),
    /// This many values follow.
    Array(usize),
    /// This many pairs of values follow.
    Map(usize),
}

impl Token<'_> {
    /// How many values belong to it.
    pub(crate) const fn children(&self) -> usize {
        match self {
            Self::Array(count) => *count,
            Self::Map(count) => count.saturating_mul(2),
            _ => 0,
        }
    }
}

/// Reads tokens one after the other.
#[derive(Debug)]
pub(crate) struct Tokens<'a> {
    payload: &'a [u8],
    position: usize,
}

impl<'a> Tokens<'a> {
    pub(crate) const fn new(payload: &'a [u8]) -> Self {
        Self { payload, position: 0 }
    }

    /// The next token.
    ///
    /// # Errors
    /// [`StructureError`] when it goes on behind the end, or cannot have as many children as it says.
    pub(crate) fn next(&mut self) -> Result<Token<'a>, StructureError> {
        let offset = self.position;
        let [marker] = self.array()?;
        let token = match Marker::from_u8(marker) {
            Marker::Reserved => return Err(StructureError::Reserved { offset }),
            Marker::Null => Token::Nil,
            Marker::True => Token::Bool(true),
            Marker::False => Token::Bool(false),
            Marker::FixPos(value) => Token::Unsigned(value.into()),
            Marker::FixNeg(value) => Token::Signed(value.into()),
            Marker::U8 => Token::Unsigned(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Token::Unsigned(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Token::Unsigned(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Token::Unsigned(u64::from_be_bytes(self.array()?)),
            Marker::I8 => Token::Signed(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Token::Signed(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Token::Signed(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Token::Signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Token::Float32(f32::from_be_bytes(self.array()?)),
            Marker::F64 => Token::Float64(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(length) => Token::Text(self.take(length.into())?),
            Marker::Str8 => Token::Text(self.counted::<1>()?),
            Marker::Str16 => Token::Text(self.counted::<2>()?),
            Marker::Str32 => Token::Text(self.counted::<4>()?),
            Marker::Bin8 => Token::Bytes(self.counted::<1>()?),
            Marker::Bin16 => Token::Bytes(self.counted::<2>()?),
            Marker::Bin32 => Token::Bytes(self.counted::<4>()?),
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.number::<1>().and_then(|length| self.extension(length))?,
            Marker::Ext16 => self.number::<2>().and_then(|length| self.extension(length))?,
            Marker::Ext32 => self.number::<4>().and_then(|length| self.extension(length))?,
            Marker::FixArray(count) => Token::Array(count.into()),
            Marker::Array16 => Token::Array(self.number::<2>()?),
            Marker::Array32 => Token::Array(self.number::<4>()?),
            Marker::FixMap(count) => Token::Map(count.into()),
            Marker::Map16 => Token::Map(self.number::<2>()?),
            Marker::Map32 => Token::Map(self.number::<4>()?),
        };
        // Every value takes a byte at least.
        if token.children() > self.rest().len() { Err(self.truncated()) } else { Ok(token) }
    }

    /// The next token, which is read again later.
    pub(crate) fn peek(&self) -> Result<Token<'a>, StructureError> {
        Self { ..*self }.next()
    }

    /// What is not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.payload[self.position..]
    }

    fn extension(&mut self, length: usize) -> Result<Token<'a>, StructureError> {
        let code = i8::from_be_bytes(self.array()?);
        self.take(length).map(|bytes| Token::Extension(code, bytes))
    }

    /// Bytes behind their own number, which has `N` bytes.
    fn counted<const N: usize>(&mut self) -> Result<&'a [u8], StructureError> {
        let length = self.number::<N>()?;
        self.take(length)
    }

    /// A big-endian number of `N` bytes, at most 4.
    fn number<const N: usize>(&mut self) -> Result<usize, StructureError> {
        Ok(self.array::<N>()?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StructureError> {
        let (array, _) = self.rest().split_first_chunk().ok_or_else(|| self.truncated())?;
        self.position += N;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], StructureError> {
        let taken = self.rest().get(..length).ok_or_else(|| self.truncated())?;
        self.position += length;
        Ok(taken)
    }

    const fn truncated(&self) -> StructureError {
        StructureError::Truncated { length: self.payload.len() }
    }
}
