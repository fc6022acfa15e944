//! The real server: real processes and sockets, and an observer that counts.

use crate::fake::{self, Manner, Suite};
use crate::{grouped, median, thread_time};
use std::time::{Duration, Instant};
use xdist_coord::launch::Launcher;
use xdist_coord::scheduler::Mode;
use xdist_coord::server::{self, Observer, PytestHostSource};
use xdist_coord::session::event::{RunEnd, RunEvent};
use xdist_coord::session::{Config, Place, PytestHost, Timeouts};
use xdist_coord::workers::spec::{HostSpec, WorkerSpec};
use xdist_proto::RunId;
use xdist_proto::message::{Start, Wants};

const WORKERS: usize = 64;

/// How often each case is measured.
const ROUNDS: usize = 3;

/// How many workers there are, whether they share one link, and whether their results are written together.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) workers: usize,
    pub(crate) mode: Mode,
    pub(crate) one_link: bool,
    pub(crate) together: bool,
}

/// From the first assignment to the last result.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Cost {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

impl Cost {
    /// How many results there are in a second of `time`.
    pub(crate) fn per_second(suite: Suite, time: Duration) -> String {
        grouped((f64::from(suite.items) / time.as_secs_f64()) as u64)
    }
}

pub(crate) fn bench(quick: bool) {
    let suite = Suite::new(if quick { 100_000 } else { 1_000_000 });
    let tests = grouped(suite.items.into());
    println!("\nServer: {WORKERS} workers, {tests} tests, median of {ROUNDS}\n");
    println!("| links | results written | mode | results/s of one core | us/result | results/s, wall |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let case = |mode, one_link, together| Case { workers: WORKERS, mode, one_link, together };
    for case in [
        case(Mode::WorkSteal, false, false),
        case(Mode::Load, false, false),
        case(Mode::LoadFile, false, false),
        case(Mode::WorkSteal, false, true),
        case(Mode::WorkSteal, true, false),
        case(Mode::WorkSteal, true, true),
    ] {
        let cost = median((0..ROUNDS).map(|_| run(suite, case)).collect());
        println!(
            "| {} | {} | {} | {} | {:.2} | {} |",
            if case.one_link { 1 } else { WORKERS },
            if case.together { "together" } else { "one by one" },
            case.mode.name(),
            Cost::per_second(suite, cost.cpu),
            cost.cpu.as_secs_f64() * 1e6 / f64::from(suite.items),
            Cost::per_second(suite, cost.wall),
        );
    }
}

pub(crate) fn run(suite: Suite, case: Case) -> Cost {
    let manner = Manner { together: case.together, display: "silent".to_owned() };
    let command = fake::host_command(&suite, &manner);
    let launcher = Launcher {
        host_program: command[0].clone().into(),
        host_args: command[1..].iter().map(Into::into).collect(),
        ssh_args: Vec::new(),
        launch_args: Vec::new(),
        slurm_args: Vec::new(),
        gate_args: Vec::new(),
        gate_here: Vec::new(),
        gate_elsewhere: Vec::new(),
    };
    let host = if case.one_link { HostSpec::Local } else { HostSpec::Exec(command) };
    let config = config(vec![WorkerSpec { host, ..WorkerSpec::default() }; case.workers], case.mode);
    let mut counter = Counter::new(suite.items);
    let outcome = server::run(config, 0, &launcher, PytestHostSource::None, &mut counter).unwrap();
    assert_eq!(outcome.summary.end, RunEnd::Completed);
    counter.cost.unwrap()
}

pub(crate) fn config(workers: Vec<WorkerSpec>, mode: Mode) -> Config {
    Config {
        run: RunId("bench".to_owned()),
        workers: Some(workers),
        mode: Some(mode),
        args: Vec::new(),
        python: Vec::new(),
        start: Start::Spawn,
        place: Place::default(),
        wants: Wants::default(),
        joining: xdist_coord::session::Joining::default(),
        pytest_host: PytestHost::Never,
        terminal: None,
        timeouts: Timeouts::default(),
    }
}

/// Counts results, and does nothing else with them.
pub(crate) struct Counter {
    left: u32,
    begun: Option<(Duration, Instant)>,
    pub(crate) cost: Option<Cost>,
}

impl Counter {
    pub(crate) const fn new(items: u32) -> Self {
        Self { left: items, begun: None, cost: None }
    }
}

impl Observer for Counter {
    fn event(&mut self, event: &RunEvent, _now: Instant) {
        match event {
            RunEvent::Scheduling { .. } => self.begun = Some((thread_time(), Instant::now())),
            RunEvent::ItemFinished { .. } => {
                self.left -= 1;
                if let (0, Some((cpu, wall))) = (self.left, self.begun) {
                    self.cost = Some(Cost { cpu: thread_time() - cpu, wall: wall.elapsed() });
                }
            }
            _ => {}
        }
    }
}
