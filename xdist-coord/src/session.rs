//! DSession: one run, as a state machine without any input or output of its own.

pub mod config;

pub mod input;

pub mod output;

pub mod event;
