//! What happens in one simulated run, all of it chosen by the seed.

use std::time::Duration;
use xdist_coord::scheduler::{History, Mode, Took};
use xdist_coord::session::{Config, Joining, Place, PytestHost, Timeouts};
use xdist_coord::sync::Root;
use xdist_coord::workers::spec::{HostSpec, SshSpec, WorkerSpec};
use xdist_proto::message::{RunOptions, Start, Wants};
use xdist_proto::{Item, Resource, RunId, WorkerId};

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Faults {
    /// Nothing; tests may fail.
    None,
    /// Workers and hosts crash, vanish, stall, stop and disagree, but what they say is true.
    Crashes,
    /// Hosts also say what is not true.
    Lies,
}

/// What a simulated run is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) faults: Faults,
    /// Whether there may be a pytest host.
    pub(crate) hosted: bool,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self { faults: Faults::None, hosted: false },
        Self { faults: Faults::Crashes, hosted: false },
        Self { faults: Faults::Lies, hosted: false },
        Self { faults: Faults::None, hosted: true },
        Self { faults: Faults::Crashes, hosted: true },
        Self { faults: Faults::Lies, hosted: true },
    ];

    pub(crate) fn test_name(self) -> &'static str {
        match (self.faults, self.hosted) {
            (Faults::None, false) => "honest_workers",
            (Faults::Crashes, false) => "crashing_workers",
            (Faults::Lies, false) => "lying_hosts",
            (Faults::None, true) => "honest_workers_and_a_pytest_host",
            (Faults::Crashes, true) => "crashing_workers_and_a_pytest_host",
            (Faults::Lies, true) => "lying_hosts_and_a_pytest_host",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.test_name() == name).expect("a test of this name")
    }
}

/// What plugins have to do on the coordinator's side, and how the pytest host goes about it.
#[derive(Clone, Debug)]
pub(crate) struct Plugins {
    /// Which workers ask for the pytest host.
    pub(crate) wanted: Wanted,
    /// Whether it says what becomes of crashed items.
    pub(crate) judges: bool,
    /// It cannot be started.
    pub(crate) fails: bool,
    /// How long it takes to come up.
    pub(crate) startup: Duration,
    /// How long an answer takes at most, in milliseconds.
    pub(crate) slowness_ms: u64,
    /// When it vanishes, counted from when it was started.
    pub(crate) vanishes: Option<Duration>,
    /// It also answers what it was not asked.
    pub(crate) babbles: bool,
    /// How long worker hosts take to come up at most, in milliseconds; some then do so after the pytest host.
    pub(crate) launch_ms: u64,
}

/// Which workers ask for the pytest host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Everyone,
    Nobody,
    EverySecond,
}

impl Wanted {
    pub(crate) fn by(self, worker: WorkerId) -> bool {
        match self {
            Self::Everyone => true,
            Self::Nobody => false,
            Self::EverySecond => worker.0 % 2 == 1,
        }
    }
}

/// One test of the simulated suite.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) item: Item,
    pub(crate) duration: Duration,
    pub(crate) fails: bool,
    /// If it fails, it does so only on every second worker. Of no meaning without retries.
    pub(crate) fickle: bool,
    /// It takes its worker down.
    pub(crate) deadly: bool,
}

/// What will go wrong with one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    None,
    /// It cannot be started.
    NotStarted,
    /// It dies before it is ready.
    DiesStarting,
    DiesCollecting,
    UsageError,
    /// It dies after so long, whatever it is doing.
    DiesAfter(Duration),
    /// Its session ends by itself after so many tests.
    EndsAfter(u32),
    /// It asks for the run to stop after so many tests.
    StopsAfter(u32),
    InternalErrorAfter(u32),
    /// It does not end when told to.
    DoesNotEnd,
    /// It collects other tests.
    CollectsOther,
}

/// What will go wrong with one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostFate {
    None,
    LaunchFails,
    NeverConnects,
    /// It offers nothing that can be used.
    Unacceptable,
    VanishesAfter(Duration),
    /// It says nothing more.
    StallsAfter(Duration),
    /// It sends what is no message.
    GarblesAfter(Duration),
    /// From then on one message in so many is false.
    LiesAfter(Duration),
}

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) faults: Faults,
    pub(crate) tests: Vec<Test>,
    pub(crate) options: RunOptions,
    pub(crate) config: Config,
    /// When hosts dial in by themselves.
    pub(crate) joiners: Vec<Duration>,
    /// When the user interrupts.
    pub(crate) interrupts: Vec<Duration>,
    /// One worker in so many collects in another order.
    pub(crate) reorders: Option<u32>,
    pub(crate) collect_errors: bool,
    /// What is known of earlier runs: of some tests, not always rightly.
    pub(crate) history: History,
    pub(crate) plugins: Plugins,
    pub(crate) rng: fastrand::Rng,
}

impl Scenario {
    pub(crate) fn new(seed: u64, kind: Kind) -> Self {
        let faults = kind.faults;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mode = rng.choice(Mode::ALL).unwrap();
        let mut tests = tests(&mut rng, faults);
        mark(seed, &mut tests);
        let workers = rng.u32(1..=8);
        let mut options = RunOptions {
            auto_workers: workers,
            dist: Some(mode.name().to_owned()),
            max_chunk: one_in(&mut rng, 5).then_some(1),
            reorder_scopes: one_in(&mut rng, 3).then(|| rng.bool()),
            ramp_ms: if one_in(&mut rng, 6) { 20_000 } else { 0 },
            max_fail: one_in(&mut rng, 4).then(|| rng.u32(1..4)),
            max_restarts: (faults != Faults::None && one_in(&mut rng, 3)).then(|| rng.u32(0..5)),
            plain: one_in(&mut rng, 60).then(|| "--collect-only".to_owned()),
            ..shares_and_retries(seed)
        };
        let mut specs = None;
        match rng.u32(0..5) {
            0 => options.workers = Some(workers),
            1 => options.tx = vec![format!("{workers}*popen"), "popen//id=gw1".to_owned()],
            2 => specs = Some(specs_of(&mut rng, workers, true)),
            3 => specs = Some(specs_of(&mut rng, workers, false)),
            _ => {}
        }
        if one_in(&mut rng, 6) {
            options.max_workers = Some(rng.u32(1..4));
        }
        let interrupts = match rng.u32(0..12) {
            0 => vec![millis(&mut rng, 60_000)],
            1 => vec![millis(&mut rng, 60_000), millis(&mut rng, 90_000)],
            _ => Vec::new(),
        };
        let (pytest_host, plugins) = plugins(seed, kind);
        let (joining, joiners) = joining(seed);
        if joining.open && specs.is_none() && seed.is_multiple_of(2) {
            // Those who dial in are all there are.
            specs = Some(Vec::new());
        }
        let config = Config {
            run: RunId("run".to_owned()),
            workers: specs,
            joining,
            mode: one_in(&mut rng, 2).then_some(mode),
            args: Vec::new(),
            python: vec!["python".to_owned()],
            start: Start::Auto,
            place: place(seed),
            wants: Wants::default(),
            pytest_host,
            terminal: seed.is_multiple_of(4).then(|| "/dev/tty".to_owned()),
            timeouts: Timeouts::default(),
        };
        let reorders = one_in(&mut rng, 4).then(|| rng.u32(1..4));
        let collect_errors = one_in(&mut rng, 8);
        let history = history(seed, &tests);
        Self {
            seed,
            faults,
            tests,
            options,
            config,
            joiners,
            interrupts,
            reorders,
            collect_errors,
            history,
            plugins,
            rng,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        let from_options = self.options.dist.as_ref().map(|name| name.parse().unwrap());
        self.config.mode.or(from_options).unwrap_or_default()
    }

    /// What will become of the next worker.
    pub(crate) fn fate(&mut self) -> Fate {
        if self.faults == Faults::None || !one_in(&mut self.rng, 3) {
            return Fate::None;
        }
        let rng = &mut self.rng;
        match rng.u32(0..40) {
            0 => Fate::NotStarted,
            1 | 2 => Fate::DiesStarting,
            3 | 4 => Fate::DiesCollecting,
            5 => Fate::UsageError,
            6 | 7 => Fate::EndsAfter(rng.u32(0..5)),
            8 => Fate::StopsAfter(rng.u32(0..9)),
            9 => Fate::InternalErrorAfter(rng.u32(0..9)),
            10 | 11 => Fate::DoesNotEnd,
            12 | 13 => Fate::CollectsOther,
            _ => Fate::DiesAfter(millis(rng, 60_000)),
        }
    }

    /// What will become of the next host.
    pub(crate) fn host_fate(&mut self) -> HostFate {
        let rng = &mut self.rng;
        match (self.faults, rng.u32(0..12)) {
            (Faults::None, _) => HostFate::None,
            (_, 0) => *rng
                .choice(&[HostFate::LaunchFails, HostFate::NeverConnects, HostFate::Unacceptable])
                .unwrap(),
            (_, 1) => HostFate::VanishesAfter(millis(rng, 60_000)),
            (_, 2) => HostFate::StallsAfter(millis(rng, 60_000)),
            (Faults::Lies, 3) => HostFate::GarblesAfter(millis(rng, 60_000)),
            (Faults::Lies, 4..9) => HostFate::LiesAfter(millis(rng, 20_000)),
            _ => HostFate::None,
        }
    }
}

/// A suite of some files with classes, parameters, groups and now and then a doubled node id.
fn tests(rng: &mut fastrand::Rng, faults: Faults) -> Vec<Test> {
    let count = match rng.u32(0..10) {
        0 => rng.usize(0..3),
        1 => rng.usize(100..300),
        _ => rng.usize(1..60),
    };
    let files = rng.usize(1..8);
    let grouped = one_in(rng, 2);
    let slow = one_in(rng, 2);
    let mut tests: Vec<Test> = (0..count)
        .map(|number| {
            let file = if one_in(rng, 2) { 0 } else { rng.usize(0..files) };
            let class = if one_in(rng, 3) { "::TestA" } else { "" };
            let number = if one_in(rng, 30) { 0 } else { number };
            let mut item = Item::new(format!("f{file}.py{class}::t[{number}::x]"));
            if grouped && one_in(rng, 3) {
                item.groups = [format!("g{}", rng.u32(0..4))].into();
            }
            let longest = if slow && one_in(rng, 10) { 20_000 } else { 300 };
            Test {
                item,
                duration: millis(rng, longest),
                fails: one_in(rng, 12),
                fickle: number % 2 == 0,
                deadly: faults != Faults::None && one_in(rng, 40),
            }
        })
        .collect();
    tests.sort_by(|a, b| a.item.node_id.split("::").next().cmp(&b.item.node_id.split("::").next()));
    tests
}

/// Marks some tests as such that cannot run beside just any other. Has a generator of its own, so that what a seed
/// stands for otherwise does not depend on it.
fn mark(seed: u64, tests: &mut [Test]) {
    let mut rng = fastrand::Rng::with_seed(seed.rotate_left(16));
    if one_in(&mut rng, 2) {
        return;
    }
    let (names, every, alone) = (rng.u32(1..6), rng.u32(1..6), rng.u32(2..60));
    for test in tests {
        test.item.exclusive = one_in(&mut rng, alone);
        let mut resources: Vec<Resource> = Vec::new();
        while one_in(&mut rng, every + 1) {
            let number = rng.u32(0..names);
            // Mostly the same limit, of which the smallest holds.
            let limit = if one_in(&mut rng, 50) { 1 } else { number % 4 + 1 };
            let name = format!("r{number}");
            if resources.iter().all(|resource| resource.name != name) {
                resources.push(Resource { name, limit });
            }
        }
        test.item.resources = resources.into();
    }
}

/// When workers have done their share, and how often tests that failed run again. Has a generator of its own too.
fn shares_and_retries(seed: u64) -> RunOptions {
    let mut rng = fastrand::Rng::with_seed(seed.rotate_left(32));
    RunOptions {
        max_tests: one_in(&mut rng, 4).then(|| rng.u32(1..6)),
        memory_limit_kib: one_in(&mut rng, 6).then_some(1),
        retries: if one_in(&mut rng, 3) { rng.u32(1..4) } else { 0 },
        fetch: if one_in(&mut rng, 2) { vec!["*".to_owned()] } else { Vec::new() },
        ..RunOptions::default()
    }
}

/// Has a generator of its own, so that what a seed stands for otherwise does not depend on it.
fn history(seed: u64, tests: &[Test]) -> History {
    let mut rng = fastrand::Rng::with_seed(!seed);
    if one_in(&mut rng, 2) {
        return History::default();
    }
    let entry = |test: &Test| {
        let known = !one_in(&mut rng, 10);
        let call_us = if one_in(&mut rng, 10) { rng.u32(..) } else { test.duration.subsec_micros() };
        let took = Took { call_us, fixtures_us: rng.u32(0..100_000) };
        known.then(|| (History::key(&test.item.node_id), took))
    };
    History::new(tests.iter().filter_map(entry).collect())
}

/// Whether hosts may dial in, and when some do. Has a generator of its own too.
fn joining(seed: u64) -> (Joining, Vec<Duration>) {
    let mut rng = fastrand::Rng::with_seed(seed.rotate_left(48));
    if !one_in(&mut rng, 4) {
        return (Joining::default(), Vec::new());
    }
    let count = rng.u32(0..6);
    let patience = Duration::from_secs(rng.u64(1..60));
    let joining = Joining { open: true, min_workers: rng.u32(1..5), patience };
    (joining, (0..count).map(|_| millis(&mut rng, 60_000)).collect())
}

/// Has a generator of its own too.
fn plugins(seed: u64, kind: Kind) -> (PytestHost, Plugins) {
    let mut rng = fastrand::Rng::with_seed(seed.rotate_left(32));
    let presence = match rng.u32(0..8) {
        _ if !kind.hosted => PytestHost::Never,
        0 => PytestHost::Never,
        1..4 => PytestHost::Present,
        _ => PytestHost::OnDemand,
    };
    let wanted = match rng.u32(0..8) {
        0 => Wanted::Nobody,
        1 => Wanted::EverySecond,
        _ => Wanted::Everyone,
    };
    let faulty = kind.faults != Faults::None;
    let plugins = Plugins {
        wanted,
        judges: one_in(&mut rng, 2),
        fails: faulty && one_in(&mut rng, 25),
        startup: millis(&mut rng, 4000),
        slowness_ms: if one_in(&mut rng, 3) { 60_000 } else { 300 },
        vanishes: (faulty && one_in(&mut rng, 5)).then(|| millis(&mut rng, 60_000)),
        babbles: kind.faults == Faults::Lies && one_in(&mut rng, 2),
        launch_ms: if kind.hosted && one_in(&mut rng, 3) { 5000 } else { 50 },
    };
    (presence, plugins)
}

/// In some runs there is something to be copied to workers elsewhere.
fn place(seed: u64) -> Place {
    let root =
        |name: &str| Root { path: format!("/{name}"), name: name.to_owned(), heeds_ignore_files: true };
    let roots = match seed % 7 {
        0 => vec![root("a")],
        1 => vec![root("a"), root("b")],
        _ => Vec::new(),
    };
    Place { directory: "/a/b".to_owned(), roots, ..Place::default() }
}

fn specs_of(rng: &mut fastrand::Rng, workers: u32, own_hosts: bool) -> Vec<WorkerSpec> {
    let mut spec = || WorkerSpec {
        host: match own_hosts.then(|| rng.u32(0..5)) {
            Some(0 | 1) => HostSpec::Exec(vec!["x".to_owned()]),
            Some(2) => HostSpec::Ssh(SshSpec { words: vec!["y".to_owned()], ..SshSpec::default() }),
            Some(_) | None => HostSpec::Local,
        },
        chdir: (own_hosts && rng.bool()).then(|| "/there".to_owned()),
        ..WorkerSpec::default()
    };
    (0..workers).map(|_| spec()).collect()
}

pub(crate) fn one_in(rng: &mut fastrand::Rng, times: u32) -> bool {
    rng.u32(0..times) == 0
}

pub(crate) fn millis(rng: &mut fastrand::Rng, most: u64) -> Duration {
    Duration::from_millis(rng.u64(1..=most))
}
