//! The worker host: drives one pytest process per slot, and answers the coordinator for all of them.
//!
//! A host has one link to its coordinator (`link`) and any number of slots. What a slot decides is pure (`slot`); the
//! process that it drives, the runner, is spoken to over descriptors of its own ([`runner`], `child`). One thread owns
//! all state and receives one closed set of events (`run`); every other thread does one blocking thing and reports it.
//!
//! ```no_run
//! use std::os::unix::net::UnixStream;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (to_coordinator, _coordinator) = UnixStream::pair()?;
//! xdist_worker::run_host(to_coordinator, xdist_worker::HostOptions::default())?;
//! # Ok(())
//! # }
//! ```

mod run;

mod stdio;

mod own_hash;

mod sync;

mod supervisor;

mod slot;

mod stopwatch;

mod ending;

pub mod runner;

mod child;

mod image;

mod images;

mod pipes;

mod link;

mod outbox;

mod fetch;

mod shorten;

mod stderr_tail;

mod memory;

mod event;

mod threads;

pub mod python_half;

mod sys;

pub use link::HandshakeError;
pub use own_hash::{own_file, own_hash};
pub use run::{HostError, HostOptions, run_host};
pub use stdio::{relay, run_on_stdio};
pub use sys::inherited_link;
