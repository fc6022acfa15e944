//! The coordinator: gathers collections, schedules, takes in results and the workers' lives, gives one view of the run.
//!
//! [`session`], [`workers`] and [`scheduler`] are pure: no clock, socket, thread, file or environment. [`server`] and
//! [`launch`] are the shell around them.

#![forbid(unsafe_code)]

pub mod frontend;

pub mod session;

pub mod workers;

pub mod scheduler;

pub mod server;

pub mod launch;

pub mod sync;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
