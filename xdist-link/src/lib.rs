//! The way into a run from other machines.

pub mod token;
