//! `docs/protocol.md` says what the code does: every name, limit, code and byte.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod support;

use rmpv::Value;
use std::collections::{BTreeMap, BTreeSet};
use support::vectors::{self, Any, Family};
use support::{files, in_crate};
use xdist_proto::codec::{CoordinatorOpening, Message, PeerOpening};
use xdist_proto::frame::{HANDSHAKE_FRAME_BYTES, MAX_FRAME_BYTES, encode_frame};
use xdist_proto::frontend::{FrontendCommand, FrontendMessage};
use xdist_proto::handshake::{Welcome, preamble};
use xdist_proto::message::*;
use xdist_proto::report::{FailureText, ItemReport, OutcomeClass, Phase, PhaseReport};
use xdist_proto::structure::{MAX_DEPTH, MAX_VALUES};
use xdist_proto::value::extension;
use xdist_proto::version::ProtocolVersion;
use xdist_proto::{Collection, CoordinatorMessage, Item, ItemIndex, LeaseId, RunId, WorkerId, WorkerMessage};

#[test]
fn every_kind_has_a_section_with_its_fields() {
    for (name, message) in vectors::v1_0() {
        let payload = message.payload();
        let Value::Map(entries) = rmpv::decode::read_value(&mut payload.as_slice()).unwrap() else {
            panic!("{name}")
        };
        let (kind, fields) = (&entries[0].0, &entries[0].1);
        let section = section(&heading(message.family(), kind.as_str().unwrap()));
        for (field, _) in fields.as_map().unwrap() {
            let row = format!("\n| `{}` | ", field.as_str().unwrap());
            assert!(section.contains(&row), "{name} has no row {row:?}");
        }
    }
    let kinds = [
        (Family::PeerOpening, PeerOpening::KINDS),
        (Family::CoordinatorOpening, CoordinatorOpening::KINDS),
        (Family::Coordinator, CoordinatorMessage::KINDS),
        (Family::Worker, WorkerMessage::KINDS),
        (Family::Frontend, FrontendMessage::KINDS),
        (Family::FrontendCommand, FrontendCommand::KINDS),
    ];
    for (family, kinds) in kinds {
        for kind in kinds {
            assert!(document().contains(&format!("\n{}", heading(family, kind))), "{kind}");
        }
    }
    let passed_on = section("#### `worker_ready`\n");
    assert!(passed_on.contains("has the fields of [`ready`](#ready)"));
}

/// Under which the kind's fields are listed. A frontend's messages stand together, one level down, as some of them are
/// called as a worker's are.
fn heading(family: Family, kind: &str) -> String {
    match (family, kind) {
        (Family::Frontend, "worker_ready") => "### `ready`\n".to_owned(),
        (Family::Frontend | Family::FrontendCommand, kind) => format!("#### `{kind}`\n"),
        (_, kind) => format!("### `{kind}`\n"),
    }
}

#[test]
fn every_name_on_the_wire_is_named() {
    for name in wire_names() {
        assert!(document().contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn every_name_on_the_wire_is_in_a_vector() {
    let mut names = wire_names();
    for (_, message) in vectors::v1_0() {
        let payload = message.payload();
        let mut rest = payload.as_slice();
        forget_texts(&rmpv::decode::read_value(&mut rest).unwrap(), &mut names);
    }
    // Choices that no vector makes; they are of the same kind as those that one does.
    let choices = ["authentication", "unacceptable", "not_needed", "infra"];
    let more_choices = ["should_fail", "should_stop", "interrupt"];
    for choice in choices.into_iter().chain(more_choices) {
        names.remove(choice);
    }
    assert_eq!(names, BTreeSet::new());
}

#[test]
fn the_limits_are_those_of_the_code() {
    let spaced = |number: u32| {
        let digits = number.to_string();
        let groups: Vec<_> =
            digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
        groups.join(" ")
    };
    let limits = section("## 4. Limits\n");
    for limit in [HANDSHAKE_FRAME_BYTES, MAX_FRAME_BYTES, u32::try_from(MAX_VALUES).unwrap()] {
        assert!(limits.contains(&spaced(limit)), "{}", spaced(limit));
    }
    assert!(limits.contains(&format!("| levels of nesting | {MAX_DEPTH};")));
}

#[test]
fn the_codes_of_extensions_are_those_of_the_code() {
    let rows = [
        (extension::BIG_INTEGER, "an integer beyond 64 bits"),
        (extension::TUPLE, "tuple"),
        (extension::SET, "set"),
        (extension::FROZEN_SET, "frozen set"),
        (extension::COMPLEX, "complex number"),
        (extension::SURROGATE_TEXT, "text with lone surrogates"),
        (extension::UNSENDABLE, "what could not be sent"),
    ];
    let values = section("## 12. Values\n");
    for (code, meaning) in rows {
        assert!(values.contains(&format!("\n| {code} | {meaning} |")), "{code} {meaning}");
    }
}

#[test]
fn the_digests_are_those_of_the_code() {
    let digest = |ids: &[&str]| Collection { items: ids.iter().copied().map(Item::new).collect() }.digest();
    for ids in [&["a", "b"][..], &[]] {
        assert!(document().contains(&format!("`{}`", digest(ids))), "{}", digest(ids));
    }
}

#[test]
fn every_version_is_in_the_table() {
    let versions = section("## 5. Versions and evolution\n");
    assert!(versions.contains(&format!("\n| {} | ", ProtocolVersion::CURRENT)));
    assert!(document().contains(&format!("This is version **{}**.", ProtocolVersion::CURRENT)));
}

#[test]
fn the_example_has_the_right_bytes() {
    let expected = example();
    let document = document();
    let (_, rest) = document.split_once("protocol_doc.rs -->\n```text\n").unwrap();
    let (actual, _) = rest.split_once("```\n").unwrap();
    assert!(actual == expected, "the example should be:\n{expected}");
}

/// A host with one worker runs two items; the second fails.
fn example() -> String {
    let worker = WorkerId(0);
    let items = vec![Item::new("a"), Item::new("b")];
    let digest = Collection { items: items.clone() }.digest();
    let finished = |item, report| {
        WorkerMessage::ItemFinished(ItemFinished { worker, lease: LeaseId(1), item: ItemIndex(item), report })
    };
    let start_us = 1_767_225_600_000_000;
    let passed = ItemReport { start_us, durations_us: [0, 1200, 0], ..ItemReport::default() };
    let failed = ItemReport {
        class: OutcomeClass::Fail,
        start_us: start_us + 1300,
        durations_us: [0, 900, 0],
        phases: vec![PhaseReport {
            phase: Phase::Call,
            class: OutcomeClass::Fail,
            detail: None,
            duration_us: 900,
            location: None,
            failure: Some(FailureText { text: "exit 1".into(), ansi: None, crash: None }),
            skip: None,
            xfail: None,
            sections: Vec::new(),
            properties: Vec::new(),
            status: None,
        }],
        full: Vec::new(),
    };
    // What may be left out is left out, as the least of hosts would do.
    let versions = [("min", version(1, 0)), ("max", version(1, 0))];
    let hello = least(
        "hello",
        &[
            ("implementation", map(&[("name", "tiny".into()), ("version", "1".into())])),
            ("versions", map(&versions)),
            ("role", "worker".into()),
            ("slots", 1.into()),
        ],
    );
    let ready = least("ready", &[("worker", 0.into())]);
    let welcome = Welcome {
        version: ProtocolVersion::V1_0,
        features: BTreeMap::new(),
        run: RunId("r1".into()),
        workers: vec![worker],
        heartbeat_ms: 5000,
        max_frame_bytes: MAX_FRAME_BYTES,
    };
    let configure =
        Configure { worker, name: "gw0".into(), worker_count: 1, run: "r1".into(), ..Configure::default() };
    let down = Down {
        worker,
        cause: EndCause::Exited(1),
        out_of_memory: false,
        item: None,
        report: None,
        stderr_tail: String::new(),
        stack: None,
        peak_rss_kib: 0,
        finished: 2,
    };
    let host = |message| line('>', &Any::Worker(message).frame());
    let coordinator = |message| line('<', &Any::Coordinator(message).frame());
    [
        line('>', &preamble()),
        line('>', &hello),
        line('<', &preamble()),
        line('<', &Any::CoordinatorOpening(CoordinatorOpening::Welcome(welcome)).frame()),
        coordinator(CoordinatorMessage::Configure(configure)),
        coordinator(CoordinatorMessage::Collect(Collect { worker })),
        line('>', &ready),
        host(WorkerMessage::Collecting(Collecting { worker })),
        host(WorkerMessage::Collected(Collected {
            worker,
            digest,
            count: 2,
            deselected: 0,
            unforkable: None,
            files: BTreeMap::new(),
        })),
        coordinator(CoordinatorMessage::SendCollection(SendCollection { worker })),
        host(WorkerMessage::Collection(CollectionChunk { worker, offset: 0, total: 2, items })),
        coordinator(CoordinatorMessage::Run(Run {
            worker,
            lease: LeaseId(1),
            items: vec![ItemIndex(0), ItemIndex(1)],
        })),
        host(finished(0, passed)),
        coordinator(CoordinatorMessage::Steal(Steal { worker, request: 1, items: vec![ItemIndex(1)] })),
        host(WorkerMessage::Unscheduled(Unscheduled { worker, request: 1, items: Vec::new() })),
        host(finished(1, failed)),
        coordinator(CoordinatorMessage::Drain(Drain { worker })),
        host(WorkerMessage::WorkerOutput(WorkerOutput { worker, exit_status: 1, values: BTreeMap::new() })),
        host(WorkerMessage::Down(down)),
    ]
    .concat()
}

/// The frame of a message with these fields only, which must be enough.
fn least(kind: &str, fields: &[(&str, Value)]) -> Vec<u8> {
    let mut payload = Vec::new();
    rmpv::encode::write_value(&mut payload, &map(&[(kind, map(fields))])).unwrap();
    let family = if kind == "hello" { Family::PeerOpening } else { Family::Worker };
    assert!(matches!(family.decode(&payload), Ok(Some(_))), "{kind}");
    let mut frame = Vec::new();
    encode_frame(&payload, HANDSHAKE_FRAME_BYTES, &mut frame).unwrap();
    frame
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(key, value)| (Value::from(*key), value.clone())).collect())
}

fn version(major: u16, minor: u16) -> Value {
    Value::Array(vec![major.into(), minor.into()])
}

/// One preamble or frame: hex, then for frames what the payload means.
fn line(direction: char, bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut margin = direction;
    for part in bytes.chunks(32) {
        let hex = part.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        out.push_str(&format!("{margin} {hex}\n"));
        margin = ' ';
    }
    let mut payload = &bytes[4..];
    if bytes != preamble() {
        let meaning = rmpv::decode::read_value(&mut payload).unwrap().to_string();
        out.push_str(&format!("    {meaning}\n"));
    } else {
        out.push_str("    the preamble\n");
    }
    out
}

/// Every name that the types pin with `rename`, as the sources have it.
fn wire_names() -> BTreeSet<String> {
    files("src", "rs")
        .into_iter()
        .flat_map(|(_, source)| {
            let source = String::from_utf8(source).unwrap();
            let names = source.split("rename = \"").skip(1);
            names.map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
        })
        .collect()
}

fn forget_texts(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            names.remove(text.as_str().unwrap_or_default());
        }
        Value::Array(values) => values.iter().for_each(|value| forget_texts(value, names)),
        Value::Map(entries) => entries.iter().for_each(|(key, value)| {
            forget_texts(key, names);
            forget_texts(value, names);
        }),
        _ => {}
    }
}

/// From a heading to the next one of the same or a higher level.
fn section(heading: &str) -> String {
    let document = document();
    let (_, rest) =
        document.split_once(&format!("\n{heading}")).unwrap_or_else(|| panic!("no section {heading}"));
    let level = heading.chars().take_while(|char| *char == '#').count();
    let ends = (2..=level).filter_map(|level| rest.find(&format!("\n{} ", "#".repeat(level))));
    rest[..ends.min().unwrap_or(rest.len())].to_owned()
}

fn document() -> String {
    std::fs::read_to_string(in_crate("../docs/protocol.md")).unwrap()
}
