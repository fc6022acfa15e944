//! What the coordinator costs per test: the server with real sockets, the session alone, the whole `xdist run`, and
//! hosts that dial in.
//!
//! ```sh
//! cargo bench --bench coordinator -- [server] [session] [scale] [frontends=PATH/OF/xdist] [join=PATH/OF/xdist] [quick]
//! ```
//!
//! Without a part's name, `server` and `session` are run. `quick` takes fewer tests. The tables are Markdown.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and its own arguments")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![allow(clippy::unwrap_used, reason = "what a benchmark cannot go on without ends it")]

mod alone;

mod fake;

mod frontends;

mod join;

mod scale;

mod wire;

use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some(fake::HOST) => return fake::serve(&arguments[1..]),
        Some(join::DIALER) => return join::dial(&arguments[1..]),
        Some(_) | None => {}
    }
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let quick = has("quick");
    let program = |part| arguments.iter().find_map(|argument| argument.strip_prefix(part));
    let (frontends, join) = (program("frontends="), program("join="));
    let all = frontends.is_none() && join.is_none() && !has("server") && !has("session") && !has("scale");
    if all || has("server") {
        wire::bench(quick);
    }
    if all || has("session") {
        alone::bench(quick);
    }
    if has("scale") {
        scale::bench(quick);
    }
    if let Some(program) = frontends {
        frontends::bench(Path::new(program), quick);
    }
    if let Some(program) = join {
        join::bench(Path::new(program), quick);
    }
}

/// The time that this thread has spent on a processor.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

/// The middle one of several measurements.
fn median<T: Copy + PartialOrd>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

/// `1234567` as `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
    groups.join(" ")
}
