//! Every pair of supported versions understands each other, and a later minor version is understood too.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod support;

use rmpv::Value;
use std::collections::BTreeMap;
use support::vectors::{self, Any, Family};
use xdist_proto::DecodeError;
use xdist_proto::codec::{self, CoordinatorOpening, Decoded, PeerOpening};
use xdist_proto::frontend::{EndKind, FrontendMessage};
use xdist_proto::handshake::{Hello, HostFacts, Implementation, RefusalReason, Role, negotiate};
use xdist_proto::version::{ProtocolVersion, VersionRange};

/// Every version there ever was, oldest first.
const RELEASED: &[ProtocolVersion] = &[ProtocolVersion::V1_0];

/// Fields that are dictionaries, whose keys are not field names.
const DICTIONARIES: &[&str] = &["features", "env", "input", "values"];

#[test]
fn every_pair_of_released_versions_meets_at_the_older_one() {
    for ours in RELEASED {
        for theirs in RELEASED {
            let range = |newest| VersionRange { min: ProtocolVersion::V1_0, max: newest };
            let chosen = negotiate(&implementation(), range(*ours), &hello(range(*theirs)));
            assert_eq!(chosen, Ok(*ours.min(theirs)), "{ours} with {theirs}");
        }
    }
    assert_eq!(RELEASED.last(), Some(&VersionRange::SUPPORTED.max));
    assert_eq!(RELEASED.first(), Some(&VersionRange::SUPPORTED.min));
}

#[test]
fn a_later_minor_version_is_spoken_as_ours() {
    let theirs = VersionRange { min: ProtocolVersion::V1_0, max: ProtocolVersion { major: 1, minor: 9 } };
    assert_eq!(
        negotiate(&implementation(), VersionRange::SUPPORTED, &hello(theirs)),
        Ok(ProtocolVersion::CURRENT)
    );
}

#[test]
fn a_later_major_version_is_refused_in_words_it_can_read() {
    let version = ProtocolVersion { major: 2, minor: 0 };
    let refused = negotiate(
        &implementation(),
        VersionRange::SUPPORTED,
        &hello(VersionRange { min: version, max: version }),
    )
    .unwrap_err();
    assert_eq!(refused.reason, RefusalReason::Version);
    let payload = codec::encode(&CoordinatorOpening::Refused(*refused.clone()));
    assert_eq!(codec::decode(&payload), Ok(Decoded::Message(CoordinatorOpening::Refused(*refused))));
}

#[test]
fn fields_of_a_later_version_are_skipped() {
    // One of each kind of value, the last of them with keys that are no names.
    let additions = [
        Value::Nil,
        Value::from(-1),
        Value::F64(0.5),
        Value::from("text"),
        Value::Binary(vec![0xff]),
        Value::Ext(99, vec![1, 2, 3]),
        Value::Array(vec![Value::from(1), Value::Map(vec![(Value::Nil, Value::Array(Vec::new()))])]),
    ];
    for (name, message) in vectors::v1_0() {
        for addition in &additions {
            let later = with_field_everywhere(&parsed(&message.payload()), addition);
            assert_eq!(
                message.family().decode(&written(&later)),
                Ok(Some(message.clone())),
                "{name} with {addition}"
            );
        }
    }
}

#[test]
fn the_order_of_fields_does_not_matter() {
    for (name, message) in vectors::v1_0() {
        let turned = reversed(&parsed(&message.payload()));
        assert_eq!(message.family().decode(&written(&turned)), Ok(Some(message.clone())), "{name}");
    }
}

#[test]
fn the_width_of_numbers_and_lengths_does_not_matter() {
    // `collecting` of worker 3, with the number 64 bits wide and every length 32 bits wide.
    let wide =
        b"\xdf\0\0\0\x01\xdb\0\0\0\x0acollecting\xdf\0\0\0\x01\xdb\0\0\0\x06worker\xd3\0\0\0\0\0\0\0\x03";
    let narrow = vectors::v1_0().into_iter().find(|(name, _)| *name == "collecting").unwrap().1;
    assert_eq!(Family::Worker.decode(wide), Ok(Some(narrow)));
}

#[test]
fn nil_stands_for_an_optional_field_that_is_absent() {
    let payload = b"\x81\xaestop_requested\x83\xa6worker\x00\xa4kind\xa4exit\xa9exit_code\xc0";
    let Ok(Some(Any::Worker(xdist_proto::WorkerMessage::StopRequested(stop)))) =
        Family::Worker.decode(payload)
    else {
        panic!("refused");
    };
    assert_eq!((stop.exit_code, stop.reason.as_str()), (None, ""));
}

#[test]
fn kinds_that_may_be_skipped_are_skipped() {
    for family in Family::ALL {
        for body in
            [Value::Nil, Value::from(1), Value::Array(vec![Value::Ext(5, vec![1])]), Value::Map(Vec::new())]
        {
            let message = Value::Map(vec![(Value::from("~later"), body)]);
            assert_eq!(family.decode(&written(&message)), Ok(None), "{family:?}");
        }
    }
}

#[test]
fn other_unknown_kinds_are_named() {
    let message = Value::Map(vec![(Value::from("later"), Value::Map(Vec::new()))]);
    for family in Family::ALL {
        assert_eq!(family.decode(&written(&message)), Err(DecodeError::UnknownKind { kind: "later".into() }));
    }
}

#[test]
fn roles_and_reasons_of_a_later_version_can_be_read() {
    let payload = b"\x81\xa5hello\x83\xaeimplementation\x82\xa4name\xa1x\xa7version\xa19\
        \xa8versions\x82\xa3min\x92\x01\x00\xa3max\x92\x01\x07\xa4role\xa8observer";
    let Ok(Decoded::Message(PeerOpening::Hello(hello))) = codec::decode(payload) else { panic!("refused") };
    assert_eq!(hello.role, Role::Other);
    let payload =
        b"\x81\xa7refused\x82\xa6reason\xa8too_late\xa8versions\x82\xa3min\x92\x01\x00\xa3max\x92\x01\x00";
    let Ok(Decoded::Message(CoordinatorOpening::Refused(refused))) = codec::decode(payload) else {
        panic!("refused");
    };
    assert_eq!((refused.reason, refused.text.as_str()), (RefusalReason::Other, ""));
}

#[test]
fn ends_of_a_later_version_can_be_read() {
    let payload = b"\x81\xa8finished\x81\xa3end\xa5later";
    let Ok(Decoded::Message(FrontendMessage::Finished(finished))) = codec::decode(payload) else {
        panic!("refused");
    };
    assert_eq!(finished.end, EndKind::Other);
}

/// The message with a field more in every map of fields.
fn with_field_everywhere(message: &Value, addition: &Value) -> Value {
    fn add(value: &Value, addition: &Value, is_dictionary: bool) -> Value {
        match value {
            Value::Map(entries) if !is_dictionary => {
                let mut entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| {
                        let is_dictionary = key.as_str().is_some_and(|key| DICTIONARIES.contains(&key));
                        (key.clone(), add(value, addition, is_dictionary || is_variant(key)))
                    })
                    .collect();
                entries.insert(entries.len() / 2, (Value::from("from_a_later_version"), addition.clone()));
                Value::Map(entries)
            }
            Value::Array(values) => {
                Value::Array(values.iter().map(|value| add(value, addition, false)).collect())
            }
            other => other.clone(),
        }
    }
    let Value::Map(entries) = message else { panic!("not a map: {message}") };
    let (kind, fields) = &entries[0];
    Value::Map(vec![(kind.clone(), add(fields, addition, false))])
}

/// Whether the field is a choice, whose map has one entry.
fn is_variant(key: &Value) -> bool {
    matches!(key.as_str(), Some("cause" | "reply" | "question" | "shared" | "end"))
}

/// The message with the entries of every map in reverse.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Map(entries) => Value::Map(
            entries.iter().rev().map(|(key, value)| (key.clone(), reversed_below(key, value))).collect(),
        ),
        Value::Array(values) => Value::Array(values.iter().map(reversed).collect()),
        other => other.clone(),
    }
}

/// A plugin's values keep their order.
fn reversed_below(key: &Value, value: &Value) -> Value {
    if key.as_str().is_some_and(|key| DICTIONARIES.contains(&key)) { value.clone() } else { reversed(value) }
}

fn parsed(mut payload: &[u8]) -> Value {
    rmpv::decode::read_value(&mut payload).unwrap()
}

fn written(value: &Value) -> Vec<u8> {
    let mut payload = Vec::new();
    rmpv::encode::write_value(&mut payload, value).unwrap();
    payload
}

fn implementation() -> Implementation {
    Implementation { name: "xdist".into(), version: "1".into() }
}

fn hello(versions: VersionRange) -> Hello {
    Hello {
        implementation: Implementation { name: "acme".into(), version: "2".into() },
        versions,
        role: Role::Worker,
        host: HostFacts::default(),
        slots: 1,
        features: BTreeMap::new(),
        generation: 0,
        proof: Vec::new(),
    }
}
