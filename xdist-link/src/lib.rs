//! The way into a run from other machines.

pub mod token;

pub mod carrier;

pub mod opening;

pub mod tls;

pub mod control;

mod channel;

mod session;

pub mod gate;

pub mod dial;
