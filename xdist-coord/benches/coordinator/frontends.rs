//! The whole `xdist run` with the server's fake hosts: what its frontends cost per test.

use crate::fake::{self, Manner, Suite};
use crate::{grouped, median};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const WORKERS: usize = 64;

/// How often each case is measured.
const ROUNDS: usize = 3;

/// What the kernel counts processor time in; every Linux shows 1/100 s to programs.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) fn bench(program: &Path, quick: bool) {
    let suite = Suite::new(if quick { 100_000 } else { 500_000 });
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let (cache, junit, log) = (
        format!("cache={}", at("cache")),
        format!("junit={}", at("junit.xml")),
        format!("--report-log={}", at("log")),
    );
    println!(
        "\nThe whole of xdist run: {WORKERS} workers on as many links, {} tests, median of {ROUNDS}\n",
        grouped(suite.items.into())
    );
    println!("| frontends | us of processor per test, start and end included |");
    println!("| --- | --- |");
    for (name, display, arguments) in [
        ("none", "silent", vec![]),
        ("dots", "", vec![]),
        ("-v", "verbose", vec![]),
        ("dots, last-failed cache", cache.as_str(), vec![]),
        ("dots, JUnit XML", junit.as_str(), vec![]),
        ("dots, report log", "", vec![log.as_str()]),
    ] {
        let manner = Manner { together: false, display: display.to_owned() };
        let hosts = shlex::try_join(fake::host_command(&suite, &manner).iter().map(String::as_str)).unwrap();
        let seconds = || {
            let mut command = Command::new(program);
            command.args(["run", "--tx", &format!("{WORKERS}*exec={hosts}"), "--dist", "worksteal"]);
            command.args(&arguments).stdin(Stdio::null()).stdout(Stdio::null());
            processor_seconds(command.spawn().unwrap())
        };
        let seconds = median((0..ROUNDS).map(|_| seconds()).collect());
        println!("| {name} | {:.2} |", seconds * 1e6 / f64::from(suite.items));
    }
}

/// What a process took by itself until its end, without its children.
fn processor_seconds(mut child: Child) -> f64 {
    let pid = rustix::process::Pid::from_child(&child);
    // It stays a zombie until it is waited for, and can be looked at.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    assert!(child.wait().unwrap().success());
    // Behind the name, which may have blanks in it: user and system time are the 12th and the 13th.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 1..].split_whitespace().collect();
    let ticks: f64 = [11, 12].map(|field: usize| fields[field].parse::<f64>().unwrap()).iter().sum();
    ticks / TICKS_PER_SECOND
}
