//! What holds for every message and every stream of bytes.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod support;

use proptest::prelude::*;
use support::vectors;
use xdist_proto::codec::{self, Decoded};
use xdist_proto::frame::{FrameDecoder, MAX_FRAME_BYTES, encode_frame};
use xdist_proto::report::{ItemReport, OutcomeClass};
use xdist_proto::{CoordinatorMessage, ItemIndex, LeaseId, WorkerId, WorkerMessage, fuzz, message};

proptest! {
    /// The messages are made from the bytes, as the fuzz target does.
    #[test]
    fn every_message_arrives_as_it_was_sent(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
        fuzz::messages(&data);
    }

    #[test]
    fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz::frames(&data);
        let mut framed = Vec::new();
        if encode_frame(&data, MAX_FRAME_BYTES, &mut framed).is_ok() {
            fuzz::frames(&framed);
        }
    }

    #[test]
    fn frames_are_the_same_however_the_stream_is_cut(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..400), 0..20),
        cuts in proptest::collection::vec(1_usize..500, 1..40),
    ) {
        let mut stream = Vec::new();
        for payload in &payloads {
            encode_frame(payload, 400, &mut stream).unwrap();
        }
        let mut decoder = FrameDecoder::new(400);
        let mut received = Vec::new();
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            let (piece, later) = rest.split_at((*cut).min(rest.len()));
            decoder.push(piece);
            while let Some(payload) = decoder.next_frame().unwrap() {
                received.push(payload.to_vec());
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(received, payloads);
        prop_assert_eq!(decoder.pending_bytes(), 0);
    }

    #[test]
    fn a_passed_test_is_one_frame_under_100_bytes(
        worker in any::<u32>(),
        lease in any::<u32>(),
        item in any::<u32>(),
        start_us in any::<u64>(),
        // Over an hour in one phase, but not in all three.
        call_us in any::<u64>(),
        setup_us in any::<u32>(),
        teardown_us in any::<u32>(),
    ) {
        let durations_us = [setup_us.into(), call_us, teardown_us.into()];
        let frame = passed(worker, lease, item, start_us, durations_us);
        prop_assert!(frame.len() < 100, "{} bytes", frame.len());
    }
}

#[test]
fn a_passed_test_is_small_at_its_largest() {
    let hour_us = 3_600_000_000;
    let frame = passed(u32::MAX, u32::MAX, u32::MAX, u64::MAX, [hour_us; 3]);
    assert_eq!(frame.len(), 95);
    let frame = passed(7, 300, 40_000, 1_700_000_000_000_000, [25, 800, 15]);
    assert_eq!(frame.len(), 77);
}

fn passed(worker: u32, lease: u32, item: u32, start_us: u64, durations_us: [u64; 3]) -> Vec<u8> {
    let report = ItemReport {
        class: OutcomeClass::Pass,
        start_us,
        durations_us,
        phases: Vec::new(),
        full: Vec::new(),
    };
    let finished = message::ItemFinished {
        worker: WorkerId(worker),
        lease: LeaseId(lease),
        item: ItemIndex(item),
        report,
    };
    let mut frame = Vec::new();
    codec::encode_into(&WorkerMessage::ItemFinished(finished), MAX_FRAME_BYTES, &mut frame).unwrap();
    frame
}

#[test]
fn messages_follow_each_other_in_one_buffer() {
    let mut stream = Vec::new();
    for (_, message) in vectors::v1_0() {
        stream.extend(message.frame());
    }
    let mut decoder = FrameDecoder::new(MAX_FRAME_BYTES);
    decoder.push(&stream);
    for (name, message) in vectors::v1_0() {
        let payload = decoder.next_frame().unwrap().unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(message.family().decode(payload), Ok(Some(message)), "{name}");
    }
    assert_eq!(decoder.next_frame(), Ok(None));
}

#[test]
fn a_message_over_the_limit_leaves_the_buffer_as_it_was() {
    let ping = CoordinatorMessage::Ping(message::Ping { nonce: 1 });
    let mut out = vec![1, 2, 3];
    let error = codec::encode_into(&ping, 10, &mut out).unwrap_err();
    assert_eq!(error.to_string(), "a frame of 14 bytes exceeds the limit of 10 bytes");
    assert_eq!(out, [1, 2, 3]);
    assert_eq!(codec::decode(&codec::encode(&ping)), Ok(Decoded::Message(ping)));
}

#[test]
fn a_value_nested_too_deeply_is_not_sent() {
    for levels in [100, 5000] {
        let mut value = xdist_proto::Value::Nil;
        for _ in 0..levels {
            value = xdist_proto::Value::Array(vec![value]);
        }
        let mut output = message::WorkerOutput::default();
        output.values.insert("deep".into(), value);
        let message = WorkerMessage::WorkerOutput(output);
        let mut out = Vec::new();
        let error = codec::encode_into(&message, MAX_FRAME_BYTES, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "nested deeper than 64 levels");
        assert_eq!(out, []);
    }
}
