//! How a host and the Python process of a slot (the runner) talk. Private to one build: the Python half is embedded in
//! this binary, so both ends always agree.
//!
//! The runner is started as `PYTHON -c BOOT HALF COMMANDS EVENTS STATUS CONFIGURATION`, where `HALF` is the directory of
//! the Python half, and the last four arguments are descriptor numbers that it inherits:
//!
//! | descriptor | what | why |
//! | --- | --- | --- |
//! | commands | one end of a `SOCK_SEQPACKET` socket pair; the host keeps a copy of *this* end too | The queue in front of the runner. A datagram is taken whole by whoever reads first, so the host can take back what the runner has not begun ("claw back"), however busy the interpreter is, and the runner still never waits for its next item. |
//! | events | the write end of a pipe | Frames as on a link ([`xdist_proto::frame`]), each a [`xdist_proto::WorkerMessage`] in its wire form. The host looks at it and passes it on. |
//! | status | a memory file of [`STATUS_BYTES`] | What is running now, written without a system call, readable after any death. |
//! | configuration | a memory file | The wire form of the `configure` command, of any length; after `Proceed`, that of the `proceed` command. |
//!
//! Standard input is the null device, standard output and error are pipes of their own.
//!
//! Commands are datagrams: a number, `u32` little-endian, counting from 0, and a [`Command`]. The runner takes only the
//! number that follows the last one it took, and drops every other datagram: it then read between two reads of a host that
//! is taking commands back. The host, which got a lower number, knows that all from there on did not count, and begins
//! anew with that number. So taking back is all or nothing from some command on, without a lock that a stopped or busy
//! interpreter could hold.
//!
//! The runner reads a command when it needs one and not before:
//!
//! 1. After `configure` (read from its memory file, unasked) it answers `ready`, or `usage_error` or `internal_error` and
//!    exits.
//!    Before that it may write `host_wanted`; it then reads commands until `Proceed`, and its memory file once more.
//! 2. It reads commands until `Collect`, collects, and answers `collecting`, `collect_report`s and `collected`. A frame of
//!    [`PRIVATE`] alone, before `collected`, says that there will be no image; `collected` says why.
//! 3. `SendCollection` is answered with `collection` chunks, between two items at any time.
//! 4. `Item` runs an item. Its successor is the next datagram, read when pytest first looks at `nextitem` (during
//!    teardown, mostly): an `Item`, or `Park` or `Drain`, both of which mean that there is none. So the runner holds at
//!    most one item besides the running one, and only from the end of a test to the beginning of the next.
//! 5. `Park` outside an item is skipped. `Drain`, or the end of the stream, ends the session: `worker_output`, exit.
//! 6. An item that runs is in the status page from before its setup begins until after `item_finished` is written, so that
//!    an item whose result did not arrive is blamed. The host ignores the page for items whose results it has.
//!    A runner that wants to stop (`shouldstop`, `shouldfail`, `pytest.exit`, `KeyboardInterrupt`) writes
//!    `stop_requested`, ends its session (`worker_output`) and exits without reading further items.
//! 7. Where not every phase passed, a frame of [`PRIVATE`] and an `item_finished` with the phases so far is written before
//!    the teardown, and before a plugin runs the item again. Nobody sees it, unless the runner dies before the item is
//!    finished.
//! 8. The signal `dump_signal` of `sys.rs` has it write the stacks of all its threads to its standard error, and end. It does
//!    so without the interpreter's help, whatever that is doing. With `--isolate` the process of the test does so.
//! 9. SIGINT raises `KeyboardInterrupt` during setup and call; during teardown it is held back until the teardown is over.
//!    The first one after a `Drain` that the host sent because of an `interrupt` is not reported as `stop_requested`.
//!    SIGURG follows, which does nothing but end a wait that SIGINT came too early for.

use xdist_proto::report::Phase;
use xdist_proto::{ItemIndex, LeaseId};

/// The first byte of an event that is for the host alone. No message begins with it. What follows is one of
///
/// - the `item_finished` of what the running item has reported so far;
/// - nothing: there will be no image;
/// - the version of an interpreter that is too old, as text.
pub const PRIVATE: u8 = 0xc1;

/// Length of the status page.
pub const STATUS_BYTES: usize = 32;

/// A datagram from the host to the runner: one byte for the kind, then its fields, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `G`: go on; the `proceed` command is in the memory file.
    Proceed,
    /// `C`: collect.
    Collect,
    /// `S`: send the list of items.
    SendCollection,
    /// `A`: the `answer` command that the runner waits for is in the memory file.
    Answer,
    /// `I`, item `u32`, lease `u32`: run this item.
    Item(ItemIndex, LeaseId),
    /// `P`: the previous item has no successor.
    Park,
    /// `D`: the previous item has no successor, and the session is to end.
    Drain,
    /// `X`: as `Drain`; an interrupt follows or has come.
    Interrupt,
}

/// What the runner is doing, from its status page: item `u32` ([`u32::MAX`] for none), lease `u32`, activity `u8`, whether
/// it waits `u8`, six bytes of padding, start of the item on the monotonic clock in nanoseconds `u64`; all little-endian. Then four bytes that are
/// the runner's own, and whether the Python half has begun `u8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The item that is running and its lease.
    pub item: Option<(ItemIndex, LeaseId)>,
    /// What part of its life the runner is in.
    pub activity: Activity,
    /// Whether it waits for the host: to be told whether the item has a successor, for an answer, or for a person at a
    /// debugger. The start of the item then moves along by the time that this takes.
    pub is_waiting: bool,
    /// When the item began, on the monotonic clock.
    pub started_ns: u64,
    /// Whether the Python half has begun.
    pub is_up: bool,
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

/// The number in place of an item that means that none is running.
const NO_ITEM: u32 = u32::MAX;

impl Command {
    /// The longest datagram.
    pub const MAX_BYTES: usize = 13;

    /// The datagram for this command.
    #[must_use]
    pub fn encode(self, number: u32) -> Vec<u8> {
        let kind = match self {
            Self::Proceed => b'G',
            Self::Collect => b'C',
            Self::SendCollection => b'S',
            Self::Answer => b'A',
            Self::Item(..) => b'I',
            Self::Park => b'P',
            Self::Drain => b'D',
            Self::Interrupt => b'X',
        };
        let mut datagram = Vec::with_capacity(Self::MAX_BYTES);
        datagram.extend_from_slice(&number.to_le_bytes());
        datagram.push(kind);
        if let Self::Item(item, lease) = self {
            datagram.extend_from_slice(&item.0.to_le_bytes());
            datagram.extend_from_slice(&lease.0.to_le_bytes());
        }
        datagram
    }

    /// The number of a datagram, or `None` if it is none of ours.
    #[must_use]
    pub fn number(datagram: &[u8]) -> Option<u32> {
        datagram.first_chunk::<4>().map(|number| u32::from_le_bytes(*number))
    }
}

impl Status {
    /// The page of a runner that has not written to it yet.
    pub const INITIAL: [u8; STATUS_BYTES] = {
        let mut page = [0; STATUS_BYTES];
        let none = NO_ITEM.to_le_bytes();
        let mut at = 0;
        while at < none.len() {
            page[at] = none[at];
            at += 1;
        }
        page
    };

    /// What a page says, or `None` if it makes no sense.
    #[must_use]
    pub fn decode(page: &[u8; STATUS_BYTES]) -> Option<Self> {
        let (item, rest) = page.split_first_chunk::<4>()?;
        let (lease, rest) = rest.split_first_chunk::<4>()?;
        let (activity, rest) = rest.split_first()?;
        let (waits, rest) = rest.split_first()?;
        let (started, rest) = rest.get(6..)?.split_first_chunk::<8>()?;
        let is_up = *rest.get(4)? != 0;
        let item = u32::from_le_bytes(*item);
        let lease = LeaseId(u32::from_le_bytes(*lease));
        Some(Self {
            item: (item != NO_ITEM).then_some((ItemIndex(item), lease)),
            activity: Activity::from_byte(*activity)?,
            is_waiting: *waits != 0,
            started_ns: u64::from_le_bytes(*started),
            is_up,
        })
    }

    /// The item that has begun and is not finished, with its lease and phase.
    #[must_use]
    pub fn running(&self) -> Option<(ItemIndex, LeaseId, Phase)> {
        let (item, lease) = self.item?;
        Some((item, lease, self.activity.phase()?))
    }
}

impl Activity {
    /// The phase of an item that this is, if it is one.
    #[must_use]
    pub const fn phase(self) -> Option<Phase> {
        match self {
            Self::Setup => Some(Phase::Setup),
            Self::Call => Some(Phase::Call),
            Self::Teardown => Some(Phase::Teardown),
            Self::Starting | Self::Collecting | Self::Idle | Self::Finishing => None,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Starting,
            1 => Self::Setup,
            2 => Self::Call,
            3 => Self::Teardown,
            4 => Self::Collecting,
            5 => Self::Idle,
            6 => Self::Finishing,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_bytes_that_the_python_half_reads() {
        let item = Command::Item(ItemIndex(0x0102), LeaseId(7));
        assert_eq!(item.encode(0x0203), [3, 2, 0, 0, b'I', 2, 1, 0, 0, 7, 0, 0, 0]);
        assert_eq!(item.encode(0).len(), Command::MAX_BYTES);
        for (command, bytes) in [
            (Command::Proceed, b"\0\0\0\0G"),
            (Command::Collect, b"\0\0\0\0C"),
            (Command::SendCollection, b"\0\0\0\0S"),
            (Command::Answer, b"\0\0\0\0A"),
            (Command::Park, b"\0\0\0\0P"),
            (Command::Drain, b"\0\0\0\0D"),
            (Command::Interrupt, b"\0\0\0\0X"),
        ] {
            assert_eq!(command.encode(0), bytes);
        }
    }

    #[test]
    fn datagrams_are_numbered() {
        assert_eq!(Command::number(&Command::Park.encode(u32::MAX)), Some(u32::MAX));
        assert_eq!(Command::number(b""), None);
    }

    #[test]
    fn a_status_page_tells_the_item_and_the_phase() {
        let mut page = Status::INITIAL;
        assert_eq!(
            Status::decode(&page),
            Some(Status {
                item: None,
                activity: Activity::Starting,
                is_waiting: false,
                started_ns: 0,
                is_up: false
            })
        );
        page[..4].copy_from_slice(&5_u32.to_le_bytes());
        page[4..8].copy_from_slice(&6_u32.to_le_bytes());
        page[8] = Activity::Teardown as u8;
        page[16..24].copy_from_slice(&7_u64.to_le_bytes());
        let status = Status::decode(&page).unwrap();
        assert_eq!(status.running(), Some((ItemIndex(5), LeaseId(6), Phase::Teardown)));
        assert_eq!((status.started_ns, status.is_waiting), (7, false));
        page[9] = 1;
        assert!(Status::decode(&page).unwrap().is_waiting);
        page[28] = 1;
        assert!(Status::decode(&page).unwrap().is_up);
        page[8] = Activity::Idle as u8;
        assert_eq!(Status::decode(&page).unwrap().running(), None);
        page[8] = 99;
        assert_eq!(Status::decode(&page), None);
    }
}
