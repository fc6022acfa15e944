//! What a peer can do wrong.

use xdist_proto::{ItemIndex, LeaseId, WorkerId};

/// A breach of the protocol by a host. Its link is closed, and its workers are taken for crashed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a message came before hello")]
    Early,
    #[error("hello came twice")]
    SecondHello,
    #[error("pong {nonce} answers no ping")]
    Pong { nonce: u64 },
    #[error("{worker} is no worker of this host, or it is down")]
    Worker { worker: WorkerId },
    #[error("{worker} sent {kind} while it was {state}")]
    Unexpected { worker: WorkerId, kind: &'static str, state: &'static str },
    #[error("no copying has the number {tree}")]
    Tree { tree: u32 },
    #[error("{worker} sent worker_output twice")]
    SecondOutput { worker: WorkerId },
    #[error("{worker} sent host_wanted twice")]
    SecondHostWanted { worker: WorkerId },
    #[error("the list of {worker} does not have the digest or the length that it announced")]
    Digest { worker: WorkerId },
    #[error("the list of {worker} came out of order")]
    ListOrder { worker: WorkerId },
    #[error("{worker} sent a list that it was not asked for")]
    UnaskedList { worker: WorkerId },
    #[error("{worker} has no item {}", .item.0)]
    Item { worker: WorkerId, item: ItemIndex },
    #[error("lease {} was not given to {worker}", .lease.0)]
    Lease { worker: WorkerId, lease: LeaseId },
    #[error("{worker} gave back item {}, which it did not have or was not asked for", .item.0)]
    GivenBack { worker: WorkerId, item: ItemIndex },
    #[error("{worker} gave back only a part of what it was asked for")]
    PartlyGivenBack { worker: WorkerId },
    #[error("{worker} answered request {request}, which was not made")]
    Request { worker: WorkerId, request: u32 },
    #[error("of the files that it sends, {0}")]
    Fetched(&'static str),
    #[error("{worker} is down in the middle of item {}, which it did not have", .item.0)]
    CrashItem { worker: WorkerId, item: ItemIndex },
}
