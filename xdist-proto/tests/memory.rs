//! What decoding allocates: in proportion to what arrived, never to what it announces.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use allocation_counter::measure;
use xdist_proto::codec;
use xdist_proto::frame::{FrameDecoder, MAX_FRAME_BYTES};
use xdist_proto::structure::MAX_VALUES;
use xdist_proto::{CoordinatorMessage, WorkerMessage};

/// Bytes of memory that one value may cost while a list of them grows, beyond the payload's own length.
const BYTES_PER_VALUE: usize = 160;

#[test]
fn announced_counts_allocate_nothing() {
    let bombs: [&[u8]; 5] = [
        b"\x81\xa3run\x83\xa6worker\x00\xa5lease\x00\xa5items\xdd\xff\xff\xff\xff",
        b"\x81\xa3run\xdf\xff\xff\xff\xff\xa6worker\x00",
        b"\x81\xa9configure\x81\xa4name\xdb\xff\xff\xff\xff",
        b"\x81\xa9configure\x81\xa5input\x81\xa1x\xc9\xff\xff\xff\xff\x01",
        b"\xdf\xff\xff\xff\xff",
    ];
    for bomb in bombs {
        let peak = peak_of(|| assert!(codec::decode::<CoordinatorMessage>(bomb).is_err()));
        assert!(peak < 2000, "{peak} bytes for {bomb:x?}");
    }
}

#[test]
fn a_message_of_the_smallest_values_costs_a_bounded_multiple() {
    // How each begins, an element of its list, and how many values the element is.
    let values = b"\x81\xadworker_output\x82\xa6worker\x00\xa6values\x81\xa1x";
    let items = b"\x81\xaacollection\x84\xa6worker\x00\xa6offset\x00\xa5total\x00\xa5items";
    let header = b"\x81\xa5ready\x82\xa6worker\x00\xa6header";
    let phases = b"\x81\xaditem_finished\x84\xa6worker\x00\xa5lease\x00\xa4item\x00\xa6report\x81\xa6phases";
    let leased = b"\x81\xabunscheduled\x83\xa6worker\x00\xa7request\x00\xa5items";
    let lists: [(&[u8], &[u8], usize); 6] = [
        (values, b"\xc0", 1),
        (values, b"\x80", 1),
        (items, b"\x81\xa2id\xa0", 3),
        (header, b"\xa0", 1),
        (phases, b"\x82\xa5phase\xa4call\xa5class\xa4pass", 5),
        (leased, b"\x00", 1),
    ];
    for (before, element, weight) in lists {
        let payload = [before, b"\xdd\x00\x01\x00\x00", &element.repeat(0x1_0000)].concat();
        let peak = peak_of(|| assert!(codec::decode::<WorkerMessage>(&payload).is_ok()));
        let limit = payload.len() + 0x1_0000 * weight * BYTES_PER_VALUE;
        assert!(peak < limit, "{peak} bytes for a payload of {}", payload.len());
    }
}

#[test]
fn too_many_values_are_refused_before_any_is_built() {
    let mut payload = b"\x81\xadworker_output\x82\xa6worker\x00\xa6values\x81\xa1x\xdd".to_vec();
    payload.extend(u32::try_from(MAX_VALUES).unwrap().to_be_bytes());
    payload.resize(payload.len() + MAX_VALUES, 0xc0);
    let peak = peak_of(|| assert!(codec::decode::<WorkerMessage>(&payload).is_err()));
    assert!(peak < 2000, "{peak} bytes");
}

#[test]
fn what_is_skipped_costs_nothing() {
    let unknown =
        [&b"\x81\xa4ping\x82\xa5nonce\x00\xa5later\xdc\xff\xff"[..], &b"\xa1x".repeat(0xffff)].concat();
    let peak = peak_of(|| assert!(codec::decode::<CoordinatorMessage>(&unknown).is_ok()));
    assert!(peak < 2000, "{peak} bytes");
    let skipped = [&b"\x81\xa6~later\xdc\xff\xff"[..], &b"\xa1x".repeat(0xffff)].concat();
    let peak = peak_of(|| assert!(codec::decode::<CoordinatorMessage>(&skipped).is_ok()));
    assert!(peak < 2000, "{peak} bytes");
}

#[test]
fn a_frame_costs_what_has_arrived_of_it() {
    let peak = peak_of(|| {
        let mut decoder = FrameDecoder::new(MAX_FRAME_BYTES);
        decoder.push(&MAX_FRAME_BYTES.to_be_bytes());
        for _ in 0..100 {
            decoder.push(&[0; 1000]);
            assert_eq!(decoder.next_frame(), Ok(None));
        }
    });
    assert!(peak < 500_000, "{peak} bytes");
}

/// The most memory that was allocated at one time meanwhile.
fn peak_of(action: impl FnOnce()) -> usize {
    usize::try_from(measure(action).bytes_max).unwrap()
}
