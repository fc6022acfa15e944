//! The worker host: drives one pytest process per slot, and answers the coordinator for all of them.

pub mod runner;
