//! A host in a process of its own, and what signals do to it. The process is this test program once more, told by its
//! environment to be a host on its standard input. Needs `python3`.
#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]
#![expect(clippy::disallowed_methods, reason = "the environment says which of the two processes this is")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use support::{Coordinator, assert_ends, watch};
use xdist_proto::WorkerId;
use xdist_proto::message::{CoordinatorMessage, Ping, Stream, WorkerMessage};
use xdist_worker::{HostError, HostOptions, run_host};

const WORKER: WorkerId = WorkerId(0);

/// Set in the process that is to be the host, to the directory for its cache.
const HOST: &str = "XDIST_TEST_HOST";

/// Not a test by itself: what the host's process runs.
#[test]
fn host_process() {
    let Some(cache) = std::env::var_os(HOST) else { return };
    let link = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let end = run_host(link, HostOptions { slots: 1, cache: Some(cache.into()), ..HostOptions::default() });
    // The coordinators of these tests just vanish.
    assert!(matches!(end, Ok(()) | Err(HostError::Abandoned)), "{end:?}");
}

/// A host whose worker is in the middle of a test that holds the interpreter, and that worker's process.
fn busy_host(cache: &std::path::Path) -> (Child, Coordinator, OwnedFd) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_process"])
        .env(HOST, cache)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut coordinator = Coordinator::open(ours, 1 << 20);
    coordinator.start_fake(WORKER, r#"{"at": {"0:call": "hold"}}"#);
    let runner = watch(coordinator.wait_for_ready().pid);
    coordinator.run(WORKER, 1, 0..1);
    coordinator.wait_for_output(WORKER, Stream::Stdout, "holding");
    (host, coordinator, runner)
}

#[test]
fn a_host_that_is_asked_to_end_ends_its_runners() {
    let cache = tempfile::tempdir().unwrap();
    let (mut host, _coordinator, runner) = busy_host(cache.path());
    kill_process(Pid::from_child(&host), Signal::TERM).unwrap();
    assert!(host.wait().unwrap().success());
    assert_ends(&runner);
}

#[test]
fn what_a_terminal_sends_to_the_whole_group_does_not_end_a_host() {
    let cache = tempfile::tempdir().unwrap();
    let (mut host, mut coordinator, runner) = busy_host(cache.path());
    for signal in [Signal::INT, Signal::QUIT, Signal::HUP] {
        kill_process(Pid::from_child(&host), signal).unwrap();
    }
    coordinator.send(CoordinatorMessage::Ping(Ping { nonce: 3 }));
    coordinator.wait_for(|message| matches!(message, WorkerMessage::Pong(_)).then_some(()));
    coordinator.vanish().unwrap();
    assert!(host.wait().unwrap().success());
    assert_ends(&runner);
}

#[test]
#[cfg(target_os = "linux")]
fn runners_do_not_outlive_a_host_that_is_killed() {
    let cache = tempfile::tempdir().unwrap();
    let (mut host, _coordinator, runner) = busy_host(cache.path());
    host.kill().unwrap();
    host.wait().unwrap();
    assert_ends(&runner);
}
