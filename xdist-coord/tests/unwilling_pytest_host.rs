//! Users who do not want to wait for the pytest host. By itself, as signals are the whole process's.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use signal_hook::consts::SIGINT;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;
use std::time::Instant;
use xdist_coord::launch::{LINK_FD, Launcher};
use xdist_coord::server::{self, Observer, PytestHostSource};
use xdist_coord::session::event::{RunEnd, RunEvent, StopReason};
use xdist_coord::session::{Config, Place, PytestHost, Timeouts};
use xdist_coord::workers::spec::{HostSpec, WorkerSpec};
use xdist_proto::RunId;
use xdist_proto::codec::{self, PeerOpening};
use xdist_proto::frame::HANDSHAKE_FRAME_BYTES;
use xdist_proto::handshake::{Hello, HostFacts, Implementation, Role, preamble};
use xdist_proto::message::{Start, Wants};
use xdist_proto::version::VersionRange;

/// A user who interrupts the run.
#[derive(Clone, Copy)]
enum User {
    /// As soon as there is something to interrupt.
    Once,
    /// And again while the run comes to its end.
    Twice,
}

impl Observer for User {
    fn event(&mut self, event: &RunEvent, _now: Instant) {
        match (event, self) {
            (RunEvent::WorkerStarting { .. }, _) | (RunEvent::Stopping(_), Self::Twice) => {
                signal_hook::low_level::raise(SIGINT).unwrap();
            }
            _ => {}
        }
    }
}

/// What a frontend says first.
fn opening() -> Vec<u8> {
    let mut bytes = preamble().to_vec();
    let hello = PeerOpening::Hello(Box::new(Hello {
        implementation: Implementation { name: "a test".to_owned(), version: "1".to_owned() },
        versions: VersionRange::SUPPORTED,
        role: Role::Frontend,
        host: HostFacts::default(),
        slots: 0,
        features: BTreeMap::new(),
        generation: 0,
        proof: Vec::new(),
    }));
    codec::encode_into(&hello, HANDSHAKE_FRAME_BYTES, &mut bytes).unwrap();
    bytes
}

fn run_with_script(script: &str, mut user: User) -> server::Outcome {
    let silent = ["sh", "-c", &format!("exec cat <&{LINK_FD} >/dev/null")].map(str::to_owned);
    let spec = WorkerSpec { host: HostSpec::Exec(silent.into()), ..WorkerSpec::default() };
    let config = Config {
        run: RunId("r".to_owned()),
        workers: Some(vec![spec]),
        mode: None,
        args: Vec::new(),
        python: Vec::new(),
        start: Start::Spawn,
        place: Place::default(),
        wants: Wants::default(),
        joining: xdist_coord::session::Joining::default(),
        pytest_host: PytestHost::Present,
        terminal: None,
        timeouts: Timeouts::default(),
    };
    let command = || {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Ok(command)
    };
    let launcher = Launcher {
        host_program: "unused".into(),
        host_args: Vec::new(),
        ssh_args: Vec::new(),
        launch_args: Vec::new(),
        slurm_args: Vec::new(),
        gate_args: Vec::new(),
        gate_here: Vec::new(),
        gate_elsewhere: Vec::new(),
    };
    server::run(config, 1, &launcher, PytestHostSource::Command(&command), &mut user).unwrap()
}

#[test]
fn an_interrupt_ends_a_pytest_host_that_does_not_end() {
    let mut said = tempfile::NamedTempFile::new().unwrap();
    said.write_all(&opening()).unwrap();
    // Takes part until the coordinator has told it everything and hangs up.
    let takes_part = format!("cat {} >&{LINK_FD}; cat <&{LINK_FD} >/dev/null", said.path().display());
    let interrupted = RunEnd::Stopped(StopReason::Interrupted);
    let check = |script: &str, user, code| {
        let outcome = run_with_script(script, user);
        assert_eq!(outcome.summary.end, interrupted, "{script}");
        assert_eq!(outcome.pytest_host.and_then(|status| status.code()), code, "{script}");
    };
    check("exec sleep 1000", User::Twice, None);
    // Here it is the pytest host itself that has the second interrupt sent, and then does not end.
    check(&format!("{takes_part}; kill -INT $PPID; exec sleep 1000"), User::Once, None);
    // One that ends by itself has the last word.
    check(&format!("{takes_part}; exit 7"), User::Once, Some(7));
}
