//! Builds messages from MessagePack, strictly: what `docs/protocol.md` does not allow is an error.
//!
//! `rmp-serde` takes a struct for an array, a field or a variant by its number, and bytes for text or a list. A peer that
//! came to rely on it would depend on the order of our fields.

use crate::structure::StructureError;
use crate::token::{Token, Tokens};
use serde::de::value::{BorrowedBytesDeserializer, I8Deserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::fmt;

/// Builds a message from a payload that [`crate::structure::check`] passed, which bounds the recursion.
pub(crate) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Error> {
    T::deserialize(&mut Reader { tokens: Tokens::new(payload) })
}

/// What does not fit, and where: `report.class: unknown variant …`.
#[derive(Debug)]
pub(crate) struct Error {
    path: String,
    text: String,
}

impl Error {
    fn within(mut self, field: &str) -> Self {
        let separator = if self.path.is_empty() { "" } else { "." };
        self.path = format!("{field}{separator}{}", self.path);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.text) } else { write!(f, "{}: {}", self.path, self.text) }
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self { path: String::new(), text: text.to_string() }
    }
}

impl From<StructureError> for Error {
    fn from(error: StructureError) -> Self {
        Self::custom(error)
    }
}

struct Reader<'de> {
    tokens: Tokens<'de>,
}

impl<'de> Reader<'de> {
    fn text(&mut self) -> Result<&'de str, Error> {
        match self.tokens.next()? {
            Token::Text(bytes) => str::from_utf8(bytes).map_err(|_| Error::custom("text that is not UTF-8")),
            token => Err(Error::invalid_type(unexpected(&token), &"text")),
        }
    }

    fn array<V: Visitor<'de>>(&mut self, count: usize, visitor: V) -> Result<V::Value, Error> {
        let mut elements = Elements { reader: self, left: count };
        let value = visitor.visit_seq(&mut elements)?;
        match elements.left {
            0 => Ok(value),
            left => Err(Error::invalid_length(count, &format!("{} elements", count - left).as_str())),
        }
    }

    fn map<V: Visitor<'de>>(&mut self, count: usize, visitor: V) -> Result<V::Value, Error> {
        // Every visitor of maps reads to the end.
        visitor.visit_map(Entries { reader: self, left: count, field: "" })
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.tokens.next()? {
            Token::Nil => visitor.visit_unit(),
            Token::Bool(value) => visitor.visit_bool(value),
            Token::Unsigned(value) => visitor.visit_u64(value),
            Token::Signed(value) => visitor.visit_i64(value),
            Token::Float32(value) => visitor.visit_f32(value),
            Token::Float64(value) => visitor.visit_f64(value),
            // Only values of plugins come here, and they keep what is not Unicode as bytes.
            Token::Text(bytes) => match str::from_utf8(bytes) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => visitor.visit_borrowed_bytes(bytes),
            },
            Token::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Token::Extension(code, bytes) => {
                visitor.visit_newtype_struct(Extension { code: Some(code), bytes })
            }
            Token::Array(count) => self.array(count, visitor),
            Token::Map(count) => self.map(count, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.tokens.peek()? {
            Token::Nil => self.deserialize_any(visitor),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.tokens.next()? {
            Token::Map(count) => self.map(count, visitor),
            token => Err(Error::invalid_type(unexpected(&token), &"a map of fields")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.tokens.peek()? {
            Token::Map(1) => {
                self.tokens.next()?;
                visitor.visit_enum(Variant { reader: self, content: Content::Present })
            }
            Token::Text(_) => visitor.visit_enum(Variant { reader: self, content: Content::Absent }),
            token => Err(Error::invalid_type(unexpected(&token), &"text or a map with one entry")),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.tokens.next()? {
            Token::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            token => Err(Error::invalid_type(unexpected(&token), &"bytes")),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut left = 1;
        while left > 0 {
            left += self.tokens.next()?.children();
            left -= 1;
        }
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char unit unit_struct seq tuple tuple_struct map
    }
}

/// The elements of an array.
struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for &mut Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The entries of a map.
struct Entries<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
    /// The latest key, if it is text.
    field: &'de str,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.field = match self.reader.tokens.peek()? {
            Token::Text(bytes) => str::from_utf8(bytes).unwrap_or_default(),
            _ => "",
        };
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(&mut *self.reader).map_err(|error| error.within(self.field))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// A variant of an enum, by its name.
struct Variant<'a, 'de> {
    reader: &'a mut Reader<'de>,
    content: Content,
}

/// Whether a variant is the key of a map with one entry, or stands alone.
#[derive(PartialEq)]
enum Content {
    Present,
    Absent,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let variant = seed.deserialize(&mut *self.reader)?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            Content::Absent => Ok(()),
            Content::Present => Err(Error::invalid_type(Unexpected::Map, &"text alone")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        match self.content {
            Content::Present => seed.deserialize(self.reader),
            Content::Absent => Err(Error::invalid_type(Unexpected::UnitVariant, &"a map with one entry")),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.reader.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.reader.deserialize_any(visitor)
    }
}

/// An extension, as `rmpv` wants it: a sequence of its code and its bytes.
struct Extension<'de> {
    /// Taken when read.
    code: Option<i8>,
    bytes: &'de [u8],
}

impl<'de> Deserializer<'de> for Extension<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Extension<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        match self.code.take() {
            Some(code) => seed.deserialize(I8Deserializer::new(code)),
            None => seed.deserialize(BorrowedBytesDeserializer::new(self.bytes)),
        }
        .map(Some)
    }
}

fn unexpected<'a>(token: &Token<'a>) -> Unexpected<'a> {
    match token {
        Token::Nil => Unexpected::Other("nil"),
        Token::Bool(value) => Unexpected::Bool(*value),
        Token::Unsigned(value) => Unexpected::Unsigned(*value),
        Token::Signed(value) => Unexpected::Signed(*value),
        Token::Float32(value) => Unexpected::Float((*value).into()),
        Token::Float64(value) => Unexpected::Float(*value),
        Token::Text(bytes) => {
            str::from_utf8(bytes).map_or(Unexpected::Other("text that is not UTF-8"), Unexpected::Str)
        }
        Token::Bytes(bytes) => Unexpected::Bytes(bytes),
        Token::Extension(..) => Unexpected::Other("an extension"),
        Token::Array(_) => Unexpected::Other("an array"),
        Token::Map(_) => Unexpected::Other("a map"),
    }
}
