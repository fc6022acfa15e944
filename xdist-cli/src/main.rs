//! The `xdist` program.
#![allow(dead_code, unused, reason = "being assembled")]

mod args;

mod exit_code;

mod frontend;

mod invocation;

mod python;

fn main() {}
