//! How a host and the Python process of a slot (the runner) talk. Private to one build: the Python half is embedded in
//! this binary, so both ends always agree.
//!
//! The runner is started as `PYTHON -c BOOT COMMANDS EVENTS STATUS CONFIGURATION`, where the last four arguments are
//! descriptor numbers that it inherits:
//!
//! | descriptor | what | why |
//! | --- | --- | --- |
//! | commands | one end of a `SOCK_SEQPACKET` socket pair; the host keeps a copy of *this* end too | The queue in front of the runner. A datagram is taken whole by whoever reads first, so the host can take back what the runner has not begun ("claw back"), however busy the interpreter is, and the runner still never waits for its next item. |
//! | events | the write end of a pipe | Frames as on a link ([`xdist_proto::frame`]), each a [`xdist_proto::WorkerMessage`] in its wire form. The host looks at it and passes it on. |
//! | status | a memory file of [`STATUS_BYTES`] | What is running now, written without a system call, readable after any death. |
//! | configuration | a memory file | The wire form of the `configure` command, of any length. |
//!
//! Standard input is the null device, standard output and error are pipes of their own.
//!
//! Commands are datagrams: [`Command`]. The runner reads one when it needs one and not before:
//!
//! 1. After `configure` (read from its memory file, unasked) it answers `ready`, or `usage_error` or `internal_error` and
//!    exits.
//! 2. It reads commands until `Collect`, collects, and answers `collecting`, `collect_report`s and `collected`.
//! 3. `SendCollection` is answered with `collection` chunks, between two items at any time.
//! 4. `Item` runs an item. Its successor is the next datagram, read when pytest first looks at `nextitem` (during
//!    teardown, mostly): an `Item`, or `Park` or `Drain`, both of which mean that there is none. So the runner holds at
//!    most one item besides the running one, and only from the end of a test to the beginning of the next.
//! 5. `Park` outside an item is skipped. `Drain`, or the end of the stream, ends the session: `worker_output`, exit.
//! 6. An item that runs is in the status page before its setup begins, and is out of it before `item_finished` is written.
//!    A runner that wants to stop (`shouldstop`, `shouldfail`, `pytest.exit`, `KeyboardInterrupt`) writes
//!    `stop_requested`, ends its session (`worker_output`) and exits without reading further items.
//! 7. SIGINT raises `KeyboardInterrupt` during setup and call; during teardown it is held back until the teardown is over.
//!    The first one after a `Drain` that the host sent because of an `interrupt` is not reported as `stop_requested`.

use xdist_proto::{ItemIndex, LeaseId};

/// Length of the status page.
pub const STATUS_BYTES: usize = 32;

/// A datagram from the host to the runner: one byte for the kind, then its fields, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `C`: collect.
    Collect,
    /// `S`: send the list of items.
    SendCollection,
    /// `I`, item `u32`, lease `u32`: run this item.
    Item(ItemIndex, LeaseId),
    /// `P`: the previous item has no successor.
    Park,
    /// `D`: the previous item has no successor, and the session is to end.
    Drain,
    /// `X`: as `Drain`; an interrupt follows or has come.
    Interrupt,
}

/// What the runner is doing, from its status page: item `u32` ([`u32::MAX`] for none), lease `u32`, activity `u8`, seven
/// bytes of padding, start of the item on the monotonic clock in nanoseconds `u64`; all little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The item that is running and its lease.
    pub item: Option<(ItemIndex, LeaseId)>,
    /// What part of its life the runner is in.
    pub activity: Activity,
    /// When the item began, on the monotonic clock.
    pub started_ns: u64,
}

/// A part of a runner's life: a byte in the status page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// Starting and reading its configuration.
    Starting = 0,
    /// Setting an item up.
    Setup = 1,
    /// Running an item's test function.
    Call = 2,
    /// Tearing an item down.
    Teardown = 3,
    /// Collecting.
    Collecting = 4,
    /// Between two items.
    Idle = 5,
    /// Ending the session.
    Finishing = 6,
}
