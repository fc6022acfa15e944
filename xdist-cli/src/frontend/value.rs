//! Python values as text and as JSON. Nothing fails: what has no equal degrades to text.

use serde_json::{Map, Number};
use std::fmt::Write;
use xdist_proto::Value;
use xdist_proto::value::extension;

/// What Python's `str` answers for the value.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        Value::Ext(extension::SURROGATE_TEXT, bytes) => surrogates_shown(bytes),
        _ => repr(value),
    }
}

/// What Python's `repr` answers for the value.
pub(crate) fn repr(value: &Value) -> String {
    match value {
        Value::Nil => "None".to_owned(),
        Value::Boolean(true) => "True".to_owned(),
        Value::Boolean(false) => "False".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::F32(number) => float(f64::from(*number)),
        Value::F64(number) => float(*number),
        Value::String(text) => repr_text(&String::from_utf8_lossy(text.as_bytes())),
        Value::Binary(bytes) => repr_bytes(bytes),
        Value::Array(values) => format!("[{}]", repr_all(values)),
        Value::Map(entries) => {
            let entry = |(key, value): &(Value, Value)| format!("{}: {}", repr(key), repr(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Ext(code, bytes) => repr_extension(*code, bytes),
    }
}

fn repr_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut shown = format!("b{quote}");
    for byte in bytes {
        match byte {
            // `escape_ascii` escapes either quote; Python only the one around the text.
            b'\'' | b'"' if quote != char::from(*byte) => shown.push(char::from(*byte)),
            byte => shown.extend(byte.escape_ascii().map(char::from)),
        }
    }
    shown.push(quote);
    shown
}

fn repr_all(values: &[Value]) -> String {
    values.iter().map(repr).collect::<Vec<_>>().join(", ")
}

fn repr_extension(code: i8, bytes: &[u8]) -> String {
    let values = members(bytes);
    match (code, values.as_slice()) {
        (extension::BIG_INTEGER, _) => String::from_utf8_lossy(bytes).into_owned(),
        (extension::TUPLE, [only]) => format!("({},)", repr(only)),
        (extension::TUPLE, values) => format!("({})", repr_all(values)),
        (extension::SET, []) => "set()".to_owned(),
        (extension::SET, values) => format!("{{{}}}", repr_all(values)),
        (extension::FROZEN_SET, []) => "frozenset()".to_owned(),
        (extension::FROZEN_SET, values) => format!("frozenset({{{}}})", repr_all(values)),
        (extension::COMPLEX, [real, imaginary]) => repr_complex(real, imaginary),
        // The surrogates' own backslashes are not to be doubled.
        (extension::SURROGATE_TEXT, _) => repr_text(&surrogates_shown(bytes)).replace("\\\\ud", "\\ud"),
        (extension::UNSENDABLE, [_, shown]) => text(shown),
        (code, _) => format!("<extension {code}: {} bytes>", bytes.len()),
    }
}

fn repr_complex(real: &Value, imaginary: &Value) -> String {
    let part = |value: &Value| {
        let text = repr(value);
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    };
    let (real, imaginary) = (part(real), part(imaginary));
    let sign = if imaginary.starts_with('-') { "" } else { "+" };
    if real == "0" { format!("{imaginary}j") } else { format!("({real}{sign}{imaginary}j)") }
}

/// Text whose lone surrogates are encoded as if they were characters, with those written as `\udc80`.
fn surrogates_shown(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let valid = match std::str::from_utf8(rest) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(),
        };
        shown.push_str(valid);
        rest = &rest[valid.len()..];
        if let [0xed, middle @ 0xa0..=0xbf, last @ 0x80..=0xbf, after @ ..] = rest {
            let code = 0xd000 | u32::from(*middle & 0x3f) << 6 | u32::from(*last & 0x3f);
            let _ = write!(shown, "\\u{code:04x}");
            rest = after;
        } else if let [_, after @ ..] = rest {
            shown.push(char::REPLACEMENT_CHARACTER);
            rest = after;
        }
    }
    shown
}

/// The members of an extension whose payload is an array; empty if it is none.
fn members(bytes: &[u8]) -> Vec<Value> {
    let mut rest = bytes;
    match rmpv::decode::read_value(&mut rest) {
        Ok(Value::Array(values)) => values,
        Ok(_) | Err(_) => Vec::new(),
    }
}

fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    // Python and Rust both print the shortest text that reads back; Python writes `inf`, `1.0` and `1e+16`.
    let exponent = number.abs().log10();
    if number != 0.0 && number.is_finite() && !(-4.0..16.0).contains(&exponent) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, power) = exponent.strip_prefix('-').map_or(('+', exponent), |power| ('-', power));
        return format!("{digits}e{sign}{power:0>2}");
    }
    format!("{number:?}")
}

/// What Python's `repr` answers for a text.
pub(crate) fn repr_text(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push(quote);
    for letter in text.chars() {
        match letter {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            letter if letter == quote => {
                shown.push('\\');
                shown.push(letter);
            }
            letter if letter.is_control() => {
                let _ = write!(shown, "\\x{:02x}", u32::from(letter));
            }
            letter => shown.push(letter),
        }
    }
    shown.push(quote);
    shown
}

/// The value as JSON: tuples and sets as arrays, bytes and what could not be sent as text.
pub(crate) fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Boolean(answer) => (*answer).into(),
        Value::Integer(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.to_string().into(),
        },
        Value::F32(number) => json_float(f64::from(*number)),
        Value::F64(number) => json_float(*number),
        Value::String(_) => text(value).into(),
        Value::Binary(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::Array(values) => values.iter().map(json).collect(),
        Value::Map(entries) => {
            let entry = |(key, value): &(Value, Value)| (text(key), json(value));
            serde_json::Value::Object(entries.iter().map(entry).collect::<Map<_, _>>())
        }
        Value::Ext(extension::TUPLE | extension::SET | extension::FROZEN_SET, bytes) => {
            members(bytes).iter().map(json).collect()
        }
        Value::Ext(..) => text(value).into(),
    }
}

/// JSON has neither infinities nor NaN.
fn json_float(number: f64) -> serde_json::Value {
    Number::from_f64(number).map_or_else(|| float(number).into(), serde_json::Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extension(code: i8, values: Vec<Value>) -> Value {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &Value::Array(values)).unwrap();
        Value::Ext(code, bytes)
    }

    #[test]
    fn values_read_as_python_prints_them() {
        let list = Value::Array(vec!["it's".into(), Value::Nil, true.into(), 1.5.into()]);
        assert_eq!(repr(&list), r#"["it's", None, True, 1.5]"#);
        assert_eq!(text(&"plain".into()), "plain");
        assert_eq!(repr(&extension(extension::TUPLE, vec![1.into()])), "(1,)");
        assert_eq!(repr(&extension(extension::SET, vec![])), "set()");
        assert_eq!(
            repr(&extension(extension::UNSENDABLE, vec!["Thing".into(), "<Thing>".into()])),
            "<Thing>"
        );
        assert_eq!(repr(&Value::Ext(extension::BIG_INTEGER, b"123456789012345678901".to_vec())).len(), 21);
        assert_eq!(repr(&Value::Binary(b"a\n\xff'".to_vec())), r#"b"a\n\xff'""#);
        assert_eq!(repr(&Value::Map(vec![("k".into(), 1.into())])), "{'k': 1}");
        assert_eq!(repr(&extension(extension::COMPLEX, vec![1.0.into(), (-2.5).into()])), "(1-2.5j)");
        assert_eq!(repr(&extension(extension::COMPLEX, vec![0.0.into(), 2.0.into()])), "2j");
        let surrogates = Value::Ext(extension::SURROGATE_TEXT, b"a\\\xed\xa0\x80b\xff".to_vec());
        assert_eq!(text(&surrogates), "a\\\\ud800b\u{fffd}");
        let floats = [(1e16, "1e+16"), (1e-7, "1e-07"), (1.0, "1.0"), (f64::INFINITY, "inf"), (0.1, "0.1")];
        floats.into_iter().for_each(|(number, shown)| assert_eq!(float(number), shown));
    }

    #[test]
    fn every_value_has_some_json() {
        let odd = Value::Array(vec![
            f64::NAN.into(),
            Value::Binary(b"a\xff".to_vec()),
            extension(extension::TUPLE, vec![1.into()]),
            Value::Map(vec![(1.into(), Value::Nil)]),
            Value::Ext(99, vec![1, 2]),
        ]);
        assert_eq!(json(&odd).to_string(), r#"["nan","a�",[1],{"1":null},"<extension 99: 2 bytes>"]"#);
    }
}
