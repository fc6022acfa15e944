//! Hex beside its meaning, one line for each MessagePack value.

use rmpv::ValueRef;
use std::fmt::Write;
use xdist_proto::frame::PREFIX_BYTES;

/// Describes a frame with its prefix.
pub(crate) fn frame(bytes: &[u8]) -> String {
    let mut out = String::new();
    let (prefix, mut rest) = bytes.split_at(PREFIX_BYTES);
    line(&mut out, prefix, 0, &format!("{} bytes follow", rest.len()));
    while !rest.is_empty() {
        value(&mut out, &mut rest, 0, "");
    }
    out
}

/// Describes the value that `rest` begins with, and steps over it.
fn value(out: &mut String, rest: &mut &[u8], level: usize, role: &str) {
    let before = *rest;
    let read = rmpv::decode::read_value_ref(rest).expect("vectors are well-formed");
    let whole = &before[..before.len() - rest.len()];
    let indent = level * 2;
    match &read {
        ValueRef::Map(entries) => {
            let mut inside =
                line_of_container(out, whole, indent, &format!("{role}map of {}", entries.len()));
            for _ in entries {
                value(out, &mut inside, level + 1, "key ");
                value(out, &mut inside, level + 2, "");
            }
        }
        ValueRef::Array(values) => {
            let mut inside =
                line_of_container(out, whole, indent, &format!("{role}array of {}", values.len()));
            for _ in values {
                value(out, &mut inside, level + 1, "");
            }
        }
        ValueRef::Binary(bytes) => line(out, whole, indent, &format!("{role}{} bytes", bytes.len())),
        scalar => line(out, whole, indent, &format!("{role}{scalar}")),
    }
}

/// Describes a container's own bytes and answers those of what it holds.
fn line_of_container<'a>(out: &mut String, whole: &'a [u8], indent: usize, meaning: &str) -> &'a [u8] {
    let own = match whole[0] {
        0xdc | 0xde => 3,
        0xdd | 0xdf => 5,
        _ => 1,
    };
    line(out, &whole[..own], indent, meaning);
    &whole[own..]
}

/// One line, or several when there are many bytes.
fn line(out: &mut String, bytes: &[u8], indent: usize, meaning: &str) {
    const WIDTH: usize = 12;
    for (index, part) in bytes.chunks(WIDTH).enumerate() {
        let hex = part.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        let text = if index == 0 { format!("{:indent$}{meaning}", "") } else { String::new() };
        let line = format!("{hex:width$}  {text}", width = WIDTH * 3 - 1);
        writeln!(out, "{}", line.trim_end()).expect("writing to a string");
    }
}
