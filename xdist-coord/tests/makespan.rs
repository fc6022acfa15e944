//! How long a run takes, on a virtual clock: suites with a few long tests, on workers that do nothing but run them.
//!
//! The bound is what no order can beat: the longest test, or everything shared out evenly.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use xdist_coord::scheduler::{Action, Distribution, Mode, Options, Took};
use xdist_proto::{Collection, Item, ItemIndex, Resource, WorkerId};

/// The modes that split units, which therefore promise something about the time a run takes.
const FREE_MODES: [Mode; 2] = [Mode::WorkSteal, Mode::Load];

/// A suite and what it takes.
#[derive(Clone, Debug)]
struct Suite {
    items: Vec<Item>,
    /// Milliseconds.
    durations: Vec<u64>,
}

/// What a run came to.
#[derive(Debug)]
struct Run {
    /// Milliseconds.
    makespan: u64,
    /// How often any worker went on to another file.
    changes_of_file: usize,
}

/// Items that a worker has: the first one runs.
#[derive(Debug, Default)]
struct Worker {
    queue: VecDeque<ItemIndex>,
    ends_at: Option<u64>,
    file: String,
}

impl Suite {
    /// Tests of these durations, all in one file.
    fn new(durations: Vec<u64>) -> Self {
        Self { items: (0..durations.len()).map(|at| Item::new(format!("a.py::t{at}"))).collect(), durations }
    }

    /// Thirteen short tests, and one long one at this position.
    fn uneven(position: usize) -> Self {
        let mut durations = vec![500; 13];
        durations.insert(position, 5000);
        Self::new(durations)
    }

    fn bound(&self, workers: u32) -> u64 {
        let share = self.durations.iter().sum::<u64>().div_ceil(workers.into());
        share.max(self.durations.iter().copied().max().unwrap())
    }

    /// A history in which everything took as long as it does.
    fn history(&self) -> Vec<Option<Took>> {
        let took = |ms: &u64| Some(Took { call_us: u32::try_from(ms * 1000).unwrap(), fixtures_us: 0 });
        self.durations.iter().map(took).collect()
    }

    /// Runs it. Workers begin what they are given at once, and give back what they have not begun.
    fn run(&self, mode: Mode, workers: u32, history: &[Option<Took>]) -> Run {
        let collection = Collection { items: self.items.clone() };
        let mut distribution = Distribution::expecting(mode, &collection, Options::default(), history);
        let mut fleet: BTreeMap<WorkerId, Worker> = BTreeMap::new();
        for worker in (0..workers).map(WorkerId) {
            distribution.add_worker(worker);
            fleet.insert(worker, Worker::default());
        }
        distribution.begin();
        let mut now = 0;
        let mut changes_of_file = 0;
        let mut done = BTreeSet::new();
        loop {
            self.carry_out(&mut distribution, &mut fleet, now, &mut changes_of_file);
            let next = fleet.iter().filter_map(|(id, worker)| worker.ends_at.map(|at| (at, *id))).min();
            let Some((at, id)) = next else { break };
            now = at;
            let worker = fleet.get_mut(&id).unwrap();
            let item = worker.queue.pop_front().unwrap();
            worker.ends_at = None;
            assert!(done.insert(item), "{item:?} runs twice");
            let took = Duration::from_millis(self.durations[item.as_usize()]);
            distribution.item_finished(id, item, took);
        }
        assert_eq!(done.len(), self.items.len(), "everything runs");
        Run { makespan: now, changes_of_file }
    }

    fn carry_out(
        &self,
        distribution: &mut Distribution,
        fleet: &mut BTreeMap<WorkerId, Worker>,
        now: u64,
        changes_of_file: &mut usize,
    ) {
        while let Some(action) = distribution.poll_action() {
            match action {
                Action::Run { worker, items } => fleet.get_mut(&worker).unwrap().queue.extend(items),
                Action::Steal { worker, items } => {
                    let queue = &mut fleet.get_mut(&worker).unwrap().queue;
                    let begun = queue.front().is_some_and(|first| items.contains(first));
                    if !begun {
                        queue.retain(|item| !items.contains(item));
                    }
                    distribution.answered(worker, !begun);
                }
                Action::Park { .. } => {}
            }
        }
        for worker in fleet.values_mut() {
            if worker.ends_at.is_none()
                && let Some(&first) = worker.queue.front()
            {
                worker.ends_at = Some(now + self.durations[first.as_usize()]);
                let file = self.items[first.as_usize()].node_id.split("::").next().unwrap();
                if worker.file != file {
                    *changes_of_file += 1;
                    file.clone_into(&mut worker.file);
                }
            }
        }
    }
}

/// Asserts that a run takes at most so many percent of the bound.
fn check(suite: &Suite, mode: Mode, workers: u32, history: &[Option<Took>], percent: u64) {
    let run = suite.run(mode, workers, history);
    let bound = suite.bound(workers);
    assert!(
        run.makespan * 100 <= bound * percent,
        "{} on {workers} workers: {} ms, and the bound is {bound} ms: {:?}",
        mode.name(),
        run.makespan,
        suite.durations
    );
}

#[test]
fn with_history_an_uneven_suite_is_close_to_the_bound_wherever_the_long_test_stands() {
    for mode in FREE_MODES {
        for position in 0..14 {
            let suite = Suite::uneven(position);
            check(&suite, mode, 4, &suite.history(), 105);
        }
    }
}

#[test]
fn without_history_a_long_test_begins_early_at_either_end_and_in_the_middle() {
    // In the time that the bar leaves, four workers begin eight tests. No order that knows nothing does better than
    // eight of fourteen positions; these are the ones.
    let early: Vec<usize> = (0..14)
        .filter(|&position| {
            let suite = Suite::uneven(position);
            suite.run(Mode::WorkSteal, 4, &[]).makespan * 100 <= suite.bound(4) * 115
        })
        .collect();
    assert_eq!(early, [0, 1, 3, 4, 6, 7, 12, 13]);
}

#[test]
fn without_history_a_long_test_at_the_end_of_many_begins_early() {
    let mut durations = vec![20; 199];
    durations.push(3000);
    for workers in [2, 4] {
        check(&Suite::new(durations.clone()), Mode::WorkSteal, workers, &[], 102);
    }
}

/// Suites of several files whose durations spread in different ways.
fn various_suites() -> Vec<(Suite, u32)> {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut suites = Vec::new();
    for (files, tests, workers) in [(20, 10, 4), (20, 100, 8), (200, 20, 16), (200, 20, 64)] {
        for shape in 0..4 {
            let mut suite = Suite { items: Vec::new(), durations: Vec::new() };
            for (file, test) in (0..files).flat_map(|file| (0..tests).map(move |test| (file, test))) {
                suite.items.push(Item::new(format!("f{file}.py::t{test}")));
                suite.durations.push(match shape {
                    0 => rng.u64(1..100),
                    1 if rng.u32(0..50) == 0 => rng.u64(1000..5000),
                    2 => 1000 / rng.u64(1..1000),
                    3 if file > files * 3 / 4 => rng.u64(100..1000),
                    _ => rng.u64(1..20),
                });
            }
            suites.push((suite, workers));
        }
    }
    suites
}

#[test]
fn with_history_the_run_is_close_to_the_bound_whatever_the_durations() {
    for (suite, workers) in various_suites() {
        for mode in FREE_MODES {
            check(&suite, mode, workers, &suite.history(), 105);
        }
    }
}

#[test]
fn a_history_that_is_somewhat_wrong_does_little_harm() {
    let mut rng = fastrand::Rng::with_seed(8);
    for (suite, workers) in various_suites() {
        let mut history = suite.history();
        for took in history.iter_mut().flatten() {
            took.call_us = took.call_us / 100 * rng.u32(80..=120);
        }
        for mode in FREE_MODES {
            check(&suite, mode, workers, &history, 115);
        }
    }
}

#[test]
fn with_history_neighbors_still_run_on_one_worker() {
    for (suite, workers) in various_suites() {
        let without = suite.run(Mode::WorkSteal, workers, &[]);
        let with = suite.run(Mode::WorkSteal, workers, &suite.history());
        assert!(
            with.changes_of_file * 2 <= without.changes_of_file * 3,
            "{} changes of file with history, {} without",
            with.changes_of_file,
            without.changes_of_file
        );
    }
}

#[test]
fn files_whose_tests_take_long_together_go_first() {
    // By number of tests, the long file would be the last one.
    let mut suite = Suite { items: Vec::new(), durations: Vec::new() };
    for (file, tests, duration) in [("a", 8, 100), ("b", 8, 100), ("c", 8, 100), ("d", 2, 1200)] {
        for test in 0..tests {
            suite.items.push(Item::new(format!("{file}.py::t{test}")));
            suite.durations.push(duration);
        }
    }
    assert_eq!(suite.run(Mode::LoadFile, 2, &suite.history()).makespan, 2400);
    assert_eq!(suite.run(Mode::LoadFile, 2, &[]).makespan, 3200);
}

#[test]
fn tests_that_share_an_expensive_fixture_are_not_taken_apart() {
    // The first test of each file also took the time of the file's fixture, and each test is long enough to be moved.
    let mut suite = Suite { items: Vec::new(), durations: Vec::new() };
    let mut history = Vec::new();
    for (file, test) in (0..4).flat_map(|file| (0..9 + file).map(move |test| (file, test))) {
        suite.items.push(Item::new(format!("f{file}.py::t{test}")));
        suite.durations.push(500);
        history.push(Some(Took { call_us: 500_000, fixtures_us: if test == 0 { 3_000_000 } else { 0 } }));
    }
    assert!(suite.run(Mode::WorkSteal, 4, &history).changes_of_file <= 8);
}

/// A suite of short tests, some of which use one thing, in a chain that takes as long as a worker's share.
fn with_chain(limit: u32) -> Suite {
    let mut suite = Suite::new((0..400).map(|at| 50 + at % 7).collect());
    for item in suite.items.iter_mut().skip(1).step_by(4) {
        item.resources = [Resource { name: "db".to_owned(), limit }].into();
    }
    suite
}

#[test]
fn a_chain_of_tests_that_use_one_thing_begins_early_and_does_not_lengthen_the_run() {
    for mode in FREE_MODES {
        for limit in [1, 2, 3] {
            let suite = with_chain(limit);
            check(&suite, mode, 4, &suite.history(), 103);
            check(&suite, mode, 4, &[], 103);
        }
    }
}

#[test]
fn chains_that_take_longest_begin_first() {
    // Six chains on four workers: no order beats the sum over four, and the wrong one takes half as long again.
    let mut suite = Suite::new(Vec::new());
    for (chain, tests) in [("a", 10), ("b", 10), ("c", 10), ("d", 10), ("e", 20), ("f", 20)] {
        for test in 0..tests {
            let resources = vec![Resource { name: chain.to_owned(), limit: 1 }];
            suite
                .items
                .push(Item { resources: resources.into(), ..Item::new(format!("{chain}.py::t{test}")) });
            suite.durations.push(100);
        }
    }
    for history in [Vec::new(), suite.history()] {
        check(&suite, Mode::WorkSteal, 4, &history, 100);
    }
}

#[test]
fn exclusive_tests_add_what_they_take_and_no_more() {
    let mut suite = Suite::new(vec![100; 80]);
    for item in &mut suite.items[10..13] {
        item.exclusive = true;
    }
    // 77 tests on four workers are 20 rounds, and then come three.
    for mode in FREE_MODES {
        assert_eq!(suite.run(mode, 4, &suite.history()).makespan, 2300, "{}", mode.name());
    }
}
