//! Bodies of the fuzz targets of `fuzz/`: here, so that they compile on stable and `cargo test` replays the corpora.
//!
//! Each takes any bytes and panics when something does not hold that always should.

use crate::codec::{self, CoordinatorOpening, Decoded, Message, PeerOpening};
use crate::frame::{FrameDecoder, FrameError, MAX_FRAME_BYTES};
use crate::frontend::{FrontendCommand, FrontendMessage};
use crate::handshake::{PREAMBLE_BYTES, check_preamble};
use crate::message::{CoordinatorMessage, WorkerMessage};
use crate::tree;
use arbitrary::{Arbitrary, Unstructured};
use std::fmt::Debug;

/// Takes `data` for what arrives on a link: the frames are the same however it is cut, and any payload is a message that
/// survives being sent on, or an error.
///
/// # Panics
/// When that does not hold.
pub fn frames(data: &[u8]) {
    let opening = check_preamble(data);
    for length in 0..data.len().min(PREAMBLE_BYTES) {
        let earlier = check_preamble(&data[..length]);
        assert!(!matches!(earlier, Ok(Some(_))), "complete after {length} bytes");
        assert!(earlier.is_ok() || opening.is_err(), "refused and then accepted");
    }
    let data = if let Ok(Some(_)) = opening { &data[PREAMBLE_BYTES..] } else { data };
    // A small limit now and then, so that it is met.
    let limit = match data.first() {
        Some(byte) if byte % 4 == 3 => u32::from(*byte),
        _ => MAX_FRAME_BYTES,
    };
    let whole = cut(data, data.len().max(1), limit);
    let piece =
        1 + data.iter().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte))) % 7;
    assert_eq!(whole, cut(data, piece, limit), "cut into pieces of {piece} bytes");
    for payload in whole.payloads.iter().map(Vec::as_slice).chain([data]) {
        any_payload(payload);
        any_listing(payload);
    }
}

/// Whatever is taken for the listing of a directory is one, byte for byte, and leads nowhere else.
fn any_listing(bytes: &[u8]) {
    if let Ok(entries) = tree::decode_listing(bytes) {
        assert_eq!(tree::encode_listing(&entries), bytes);
        assert!(entries.iter().all(|entry| tree::is_name(&entry.name)));
    }
}

/// Makes messages out of `data`: each one can be sent, and is received as it was.
///
/// # Panics
/// When that does not hold.
pub fn messages(data: &[u8]) {
    let mut source = Unstructured::new(data);
    while !source.is_empty() {
        let made = match source.int_in_range(0..=13) {
            Ok(0) => round_trip::<PeerOpening>(&mut source),
            Ok(1) => round_trip::<CoordinatorOpening>(&mut source),
            Ok(2..=4) => round_trip::<CoordinatorMessage>(&mut source),
            Ok(5..=7) => round_trip::<FrontendMessage>(&mut source),
            Ok(8) => round_trip::<FrontendCommand>(&mut source),
            Ok(_) => round_trip::<WorkerMessage>(&mut source),
            Err(_) => None,
        };
        if made.is_none() {
            break;
        }
    }
}

/// What a stream is cut into.
#[derive(Debug, PartialEq)]
struct Cut {
    payloads: Vec<Vec<u8>>,
    error: Option<FrameError>,
    pending: Option<usize>,
}

fn cut(stream: &[u8], piece: usize, limit: u32) -> Cut {
    let mut decoder = FrameDecoder::new(limit);
    let mut cut = Cut { payloads: Vec::new(), error: None, pending: None };
    for bytes in stream.chunks(piece) {
        decoder.push(bytes);
        loop {
            match decoder.next_frame() {
                Ok(Some(payload)) => cut.payloads.push(payload.to_vec()),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next_frame(), Err(error.clone()), "an error that passes");
                    // What is pending then depends on how much had arrived.
                    cut.error = Some(error);
                    return cut;
                }
            }
        }
    }
    cut.pending = Some(decoder.pending_bytes());
    cut
}

/// Reads a payload as a message of each family.
fn any_payload(payload: &[u8]) {
    survives::<PeerOpening>(payload);
    survives::<CoordinatorOpening>(payload);
    survives::<CoordinatorMessage>(payload);
    survives::<WorkerMessage>(payload);
    survives::<FrontendMessage>(payload);
    survives::<FrontendCommand>(payload);
}

fn survives<M: Message + Debug>(payload: &[u8]) {
    match codec::decode::<M>(payload) {
        Ok(Decoded::Message(message)) => assert_travels(&message),
        Ok(Decoded::Skipped) => {}
        Err(error) => assert!(error.to_string().len() < 1000, "an error too long to print"),
    }
}

fn round_trip<M: Message + Debug + for<'a> Arbitrary<'a>>(source: &mut Unstructured<'_>) -> Option<()> {
    let message = M::arbitrary(source).ok()?;
    assert_travels(&message);
    Some(())
}

/// Compares the debug texts, since a value may hold a NaN, which is not equal to itself.
fn assert_travels<M: Message + Debug>(message: &M) {
    let mut stream = Vec::new();
    codec::encode_into(message, MAX_FRAME_BYTES, &mut stream).expect("small messages are within the limits");
    let mut decoder = FrameDecoder::new(MAX_FRAME_BYTES);
    decoder.push(&stream);
    let payload = decoder.next_frame().expect("a frame within the limit").expect("a whole frame");
    assert_eq!(payload, codec::encode(message), "both encoders agree");
    match codec::decode::<M>(payload) {
        Ok(Decoded::Message(received)) => assert_eq!(format!("{received:?}"), format!("{message:?}")),
        other => panic!("{message:?} was received as {other:?}"),
    }
}
