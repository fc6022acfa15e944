//! Seeded simulations of whole runs: a virtual clock, and hosts and workers that are slow, crash, stall, lie and vanish.
//!
//! Each seed is one run. After every step the invariants of `audit` are checked. A failing seed prints itself; replay it
//! with `XDIST_SIM_SEED=<seed> cargo test -p xdist-coord --test simulation -- --nocapture`, which also prints every input
//! and output. `XDIST_SIM_SEEDS=<count>` changes how many seeds are tried. Seeds that once failed stay in
//! `regressions.txt`.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]
#![allow(clippy::print_stdout, reason = "a failing test says how to replay it")]

mod audit;
mod host;
mod pytest_host;
mod scenario;
mod world;

use scenario::{Faults, Kind, Scenario};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use world::{Trace, World};

/// How many seeds each test tries unless the environment says otherwise.
const SEEDS: u64 = 1000;

fn number_from_environment(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test may be told what to try")]
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {value:?}")))
}

/// Runs one seed, and says which it was if it fails.
fn simulate(seed: u64, kind: Kind, trace: Trace) -> World {
    let run = || {
        let mut world = World::new(Scenario::new(seed, kind), trace);
        world.run();
        world
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        println!(
            "seed {seed} with {kind:?} failed; to replay:\n  \
             XDIST_SIM_SEED={seed} cargo test -p xdist-coord --test simulation {} -- --nocapture",
            kind.test_name()
        );
        resume_unwind(panic)
    })
}

fn simulate_all(faults: Faults, hosted: bool) {
    let kind = Kind { faults, hosted };
    if let Some(seed) = number_from_environment("XDIST_SIM_SEED") {
        simulate(seed, kind, Trace::Print);
        return;
    }
    for seed in 0..number_from_environment("XDIST_SIM_SEEDS").unwrap_or(SEEDS) {
        simulate(seed, kind, Trace::None);
    }
}

#[test]
fn honest_workers() {
    simulate_all(Faults::None, false);
}

#[test]
fn crashing_workers() {
    simulate_all(Faults::Crashes, false);
}

#[test]
fn lying_hosts() {
    simulate_all(Faults::Lies, false);
}

#[test]
fn honest_workers_and_a_pytest_host() {
    simulate_all(Faults::None, true);
}

#[test]
fn crashing_workers_and_a_pytest_host() {
    simulate_all(Faults::Crashes, true);
}

#[test]
fn lying_hosts_and_a_pytest_host() {
    simulate_all(Faults::Lies, true);
}

#[test]
fn seeds_that_once_failed() {
    for line in include_str!("regressions.txt").lines().filter(|line| !line.starts_with('#')) {
        let (kind, seed) = line.split_once(' ').expect("a line is `kind seed`");
        simulate(seed.parse().expect("a seed is a number"), Kind::named(kind), Trace::None);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..60 {
        for kind in Kind::ALL {
            let first = simulate(seed, kind, Trace::Keep).into_trace();
            let second = simulate(seed, kind, Trace::Keep).into_trace();
            assert_eq!(first, second, "seed {seed} with {kind:?}");
        }
    }
}
