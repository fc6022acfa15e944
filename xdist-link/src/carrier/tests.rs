use super::*;
use proptest::prelude::*;

/// Two sides and what is between them.
struct Pair {
    sides: [Carrier; 2],
    /// Bytes on their way to the side of that number.
    wires: [Vec<u8>; 2],
    /// What was passed on at the side of that number.
    outcomes: [Vec<u8>; 2],
}

impl Pair {
    fn new(window: u32) -> Self {
        let mut pair = Self {
            sides: [Carrier::new(window), Carrier::new(window)],
            wires: [Vec::new(), Vec::new()],
            outcomes: [Vec::new(), Vec::new()],
        };
        pair.reconnect(window);
        pair
    }

    /// Loses what is on its way.
    fn reconnect(&mut self, window: u32) {
        self.wires = [Vec::new(), Vec::new()];
        let received = [self.sides[0].received(), self.sides[1].received()];
        self.sides[0].resume(received[1], window).unwrap();
        self.sides[1].resume(received[0], window).unwrap();
    }

    fn send(&mut self, side: usize) {
        let (carrier, wire) = (&mut self.sides[side], &mut self.wires[1 - side]);
        carrier.encode(wire);
    }

    /// Lets some bytes arrive.
    fn carry(&mut self, side: usize, count: usize) {
        let count = count.min(self.wires[side].len());
        let bytes: Vec<u8> = self.wires[side].drain(..count).collect();
        self.sides[side].decode(&bytes).unwrap();
    }

    fn pass_on(&mut self, side: usize, count: usize) {
        let carrier = &mut self.sides[side];
        let bytes = carrier.deliverable();
        let bytes = bytes[..count.min(bytes.len())].to_vec();
        carrier.delivered(bytes.len());
        self.outcomes[side].extend(bytes);
    }

    /// Until nothing changes.
    fn settle(&mut self) {
        while self.sides.iter().any(Carrier::has_output)
            || self.wires.iter().any(|wire| !wire.is_empty())
            || self.sides.iter().any(|side| !side.deliverable().is_empty())
        {
            for side in [0, 1] {
                self.send(side);
                self.carry(1 - side, usize::MAX);
                self.pass_on(1 - side, usize::MAX);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Accept(usize, usize),
    Send(usize),
    Beat(usize),
    Carry(usize, usize),
    PassOn(usize, usize),
    Finish(usize),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let side = 0..2_usize;
    prop_oneof![
        6 => (side.clone(), 0..3000_usize).prop_map(|(side, count)| Step::Accept(side, count)),
        6 => side.clone().prop_map(Step::Send),
        1 => side.clone().prop_map(Step::Beat),
        8 => (side.clone(), prop_oneof![0..40_usize, 0..4000_usize])
            .prop_map(|(side, count)| Step::Carry(side, count)),
        6 => (side.clone(), 0..3000_usize).prop_map(|(side, count)| Step::PassOn(side, count)),
        1 => side.prop_map(Step::Finish),
        2 => Just(Step::Reconnect),
    ]
}

const WINDOW: u32 = 4 << 10;

proptest! {
    /// Any cut at any byte, any number of reconnects: both streams arrive once and in order, within the window.
    #[test]
    fn streams_survive_their_connections(steps in prop::collection::vec(step(), 0..200)) {
        let mut pair = Pair::new(WINDOW);
        let mut sources = [Vec::new(), Vec::new()];
        let mut next = 0_u8;
        for step in steps {
            match step {
                Step::Accept(side, count) => {
                    let count = count.min(pair.sides[side].room());
                    let bytes: Vec<u8> = (0..count).map(|_| { next = next.wrapping_add(1); next }).collect();
                    pair.sides[side].accept(&bytes);
                    sources[side].extend(bytes);
                }
                Step::Send(side) => pair.send(side),
                Step::Beat(side) => pair.sides[side].encode_ack(&mut pair.wires[1 - side]),
                Step::Carry(side, count) => pair.carry(side, count),
                Step::PassOn(side, count) => pair.pass_on(side, count),
                Step::Finish(side) => pair.sides[side].finish(),
                Step::Reconnect => pair.reconnect(WINDOW),
            }
            for side in &pair.sides {
                prop_assert!(side.outgoing.kept.len() <= widen(WINDOW));
                prop_assert!(side.incoming.waiting.len() <= widen(WINDOW));
            }
            for side in [0, 1] {
                prop_assert!(sources[1 - side].starts_with(&pair.outcomes[side]));
            }
        }
        pair.sides.iter_mut().for_each(Carrier::finish);
        pair.settle();
        prop_assert_eq!(&pair.outcomes[0], &sources[1]);
        prop_assert_eq!(&pair.outcomes[1], &sources[0]);
        prop_assert!(pair.sides.iter().all(Carrier::is_settled));
    }

    /// Whatever a peer sends, it is refused or taken within limits.
    #[test]
    fn junk_is_bounded(chunks in prop::collection::vec(prop::collection::vec(0..4_u8, 0..60), 0..60)) {
        let mut carrier = Carrier::new(WINDOW);
        carrier.accept(b"hello");
        for chunk in chunks {
            if carrier.decode(&chunk).is_err() {
                break;
            }
            prop_assert!(carrier.incoming.waiting.len() <= widen(WINDOW));
            prop_assert!(carrier.incoming.partial.len() < HEAD_BYTES + MAX_DATA_BYTES);
        }
    }
}

#[test]
fn a_cut_at_every_byte_of_every_record() {
    let mut record = Vec::new();
    let mut probe = Pair::new(WINDOW);
    probe.sides[0].accept(b"some bytes");
    probe.sides[0].finish();
    probe.sides[0].encode(&mut record);
    for cut in 0..=record.len() {
        let mut pair = Pair::new(WINDOW);
        pair.sides[0].accept(b"some bytes");
        pair.sides[0].finish();
        pair.send(0);
        pair.carry(1, cut);
        pair.reconnect(WINDOW);
        pair.sides[1].finish();
        pair.settle();
        assert_eq!(pair.outcomes[1], b"some bytes", "{cut}");
        assert!(pair.sides.iter().all(Carrier::is_settled), "{cut}");
    }
}

#[test]
fn a_source_is_not_read_while_nobody_takes_what_came_before() {
    let mut pair = Pair::new(WINDOW);
    pair.sides[0].accept(&[7; 4096]);
    pair.send(0);
    pair.carry(1, usize::MAX);
    assert_eq!(pair.sides[0].room(), 0);
    pair.pass_on(1, 1000);
    pair.send(1);
    pair.carry(0, usize::MAX);
    assert_eq!(pair.sides[0].room(), 1000);
}

#[test]
fn the_peer_is_told_every_so_often_and_with_every_beat() {
    let mut pair = Pair::new(WINDOW);
    pair.sides[0].accept(&[7; 100]);
    pair.send(0);
    pair.carry(1, usize::MAX);
    pair.pass_on(1, usize::MAX);
    assert!(!pair.sides[1].has_output());
    pair.sides[1].encode_ack(&mut pair.wires[0]);
    assert_eq!(pair.wires[0], [2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 100]);
    pair.carry(0, usize::MAX);
    assert!(pair.sides[0].is_acknowledged());
}

#[test]
fn the_end_is_acknowledged_at_once_but_not_before_the_last_byte_was_passed_on() {
    let mut pair = Pair::new(WINDOW);
    pair.sides[0].accept(b"bye");
    pair.sides[0].finish();
    pair.send(0);
    assert_eq!(pair.wires[1], b"\x01\0\0\0\x03bye\x03\0\0\0\0");
    pair.carry(1, usize::MAX);
    assert!(!pair.sides[1].has_output());
    assert!(!pair.sides[1].is_peer_finished());
    pair.pass_on(1, usize::MAX);
    assert!(pair.sides[1].is_peer_finished());
    pair.send(1);
    pair.carry(0, usize::MAX);
    assert!(pair.sides[0].is_acknowledged());
}

#[test]
fn violations_are_noticed() {
    let table: [(&[u8], Violation); 6] = [
        (b"\x04\0\0\0\0", Violation::Record { kind: 4, length: 0 }),
        (b"\x01\0\0\0\0", Violation::Record { kind: 1, length: 0 }),
        (b"\x01\xff\xff\xff\xff", Violation::Record { kind: 1, length: u32::MAX }),
        (b"\x02\0\0\0\x07", Violation::Record { kind: 2, length: 7 }),
        (b"\x03\0\0\0\0\x03\0\0\0\0", Violation::AfterEnd),
        (
            b"\x02\0\0\0\x08\0\0\0\0\0\0\0\x09",
            Violation::Position { position: 9, acknowledged: 0, written: 5 },
        ),
    ];
    for (bytes, violation) in table {
        let mut carrier = Carrier::new(WINDOW);
        carrier.accept(b"hello");
        carrier.encode(&mut Vec::new());
        assert_eq!(carrier.decode(bytes), Err(violation));
    }
    let mut carrier = Carrier::new(8);
    let window = Violation::Window { window: 8 };
    assert_eq!(carrier.decode(b"\x01\0\0\0\x09123456789"), Err(window));
}

#[test]
fn what_was_acknowledged_cannot_be_asked_for_again() {
    let mut pair = Pair::new(WINDOW);
    pair.sides[0].accept(b"hello");
    pair.send(0);
    pair.carry(1, usize::MAX);
    pair.pass_on(1, usize::MAX);
    pair.sides[1].encode_ack(&mut pair.wires[0]);
    pair.carry(0, usize::MAX);
    let position = |position| Err(Violation::Position { position, acknowledged: 5, written: 5 });
    assert_eq!(pair.sides[0].resume(3, WINDOW), position(3));
    assert_eq!(pair.sides[0].resume(6, WINDOW), position(6));
    assert_eq!(pair.sides[0].resume(5, WINDOW), Ok(()));
}
