//! The `xdist` program.
#![allow(dead_code, unused, reason = "being assembled")]

mod args;

mod invocation;

mod python;

fn main() {}
