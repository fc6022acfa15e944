//! WorkerManager: each worker's life from specification to down, its leases, and restarts. Pure.

pub mod spec;

/// A worker host that this run started or was joined by; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

/// One connection; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);
