//! Hosts that dial in over TLS: the gate and the dialers are real processes, and so is what passes between them.

use crate::fake::{self, Manner, Suite};
use crate::wire::{Counter, config};
use crate::{grouped, median};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use xdist_coord::launch::{Invitation, JOIN_VARIABLE, Launcher};
use xdist_coord::scheduler::{History, Mode};
use xdist_coord::server::{self, Observer, PytestHostSource};
use xdist_coord::session::event::{RunEnd, RunEvent};
use xdist_coord::session::{Config, Joining};
use xdist_link::dial::{self, DialOptions, HostCommand};

/// The argument that makes this program a dialer, with a host of [`fake::HOST`].
pub(crate) const DIALER: &str = "dialer";

const HOSTS: u32 = 200;

const ROUNDS: usize = 3;

pub(crate) fn bench(program: &Path, quick: bool) {
    let suite = Suite::new(if quick { 100_000 } else { 1_000_000 });
    let tests = grouped(suite.items.into());
    println!("\nJoining: {HOSTS} hosts dial in over TLS, {tests} tests, median of {ROUNDS}\n");
    println!("| until all have joined | results/s, wall | coordinator, us/result |");
    println!("| --- | --- | --- |");
    let runs: Vec<Run> = (0..ROUNDS).map(|_| run(suite, program)).collect();
    let middle = |of: fn(&Run) -> Duration| median(runs.iter().map(of).collect());
    let (joining, wall, cpu) = (middle(|run| run.joining), middle(|run| run.wall), middle(|run| run.cpu));
    println!(
        "| {:.1} s | {} | {:.2} |",
        joining.as_secs_f64(),
        grouped((f64::from(suite.items) / wall.as_secs_f64()) as u64),
        cpu.as_secs_f64() * 1e6 / f64::from(suite.items),
    );
}

struct Run {
    /// From the invitation until the tests begin.
    joining: Duration,
    wall: Duration,
    cpu: Duration,
}

fn run(suite: Suite, program: &Path) -> Run {
    let launcher = Launcher {
        host_program: program.to_owned(),
        host_args: Vec::new(),
        ssh_args: Vec::new(),
        launch_args: Vec::new(),
        slurm_args: Vec::new(),
        gate_args: ["gate", "--run=bench", "--hold=15"].map(Into::into).to_vec(),
        gate_here: vec!["--listen=127.0.0.1:0".into()],
        gate_elsewhere: Vec::new(),
    };
    let joining = Joining { open: true, min_workers: HOSTS, patience: Duration::from_secs(120) };
    let config = Config { joining, ..config(Vec::new(), Mode::WorkSteal) };
    let manner = Manner { together: false, display: "silent".to_owned() };
    let host = fake::host_command(&suite, &manner);
    let mut watch = Watch { counter: Counter::new(suite.items), host, dialers: Vec::new(), times: None };
    let outcome = server::run(config, 0, &launcher, PytestHostSource::None, &mut watch).unwrap();
    assert_eq!(outcome.summary.end, RunEnd::Completed);
    for mut dialer in watch.dialers {
        dialer.wait().unwrap();
    }
    let (invited, began) = watch.times.unwrap();
    let cost = watch.counter.cost.unwrap();
    Run { joining: began.unwrap() - invited, wall: cost.wall, cpu: cost.cpu }
}

/// Starts the dialers, and counts.
struct Watch {
    counter: Counter,
    host: Vec<String>,
    dialers: Vec<Child>,
    /// When hosts were invited, and when the tests began.
    times: Option<(Instant, Option<Instant>)>,
}

impl Observer for Watch {
    fn event(&mut self, event: &RunEvent, now: Instant) {
        if let (RunEvent::Scheduling { .. }, Some((_, began))) = (event, &mut self.times) {
            *began = Some(now);
        }
        self.counter.event(event, now);
    }

    fn history(&mut self) -> Option<History> {
        None
    }

    fn listening(&mut self, invitation: &Invitation) {
        self.times = Some((Instant::now(), None));
        let dialer = || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg(DIALER).args(&self.host).env(JOIN_VARIABLE, &invitation.token).stdin(Stdio::null());
            command.spawn().unwrap()
        };
        self.dialers = (0..HOSTS).map(|_| dialer()).collect();
    }
}

/// Is a dialer whose host is started by this command.
pub(crate) fn dial(command: &[String]) {
    let options = DialOptions {
        token: std::env::var(JOIN_VARIABLE).unwrap().parse().unwrap(),
        host: HostCommand {
            program: PathBuf::from(&command[0]),
            args: command[1..].iter().map(Into::into).collect(),
            without: Vec::new(),
        },
        launch: 0,
        patience: Duration::from_secs(60),
    };
    dial::join(options).unwrap();
}
