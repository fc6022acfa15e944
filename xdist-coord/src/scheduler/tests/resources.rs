//! Scenarios with items that cannot run beside just any other.

use super::{Scenario, ids};
use crate::scheduler::*;
use xdist_proto::{Collection, Item, ItemIndex, Resource};

/// Items that are named by what they use, several joined by `+`, with limits behind a colon; `!` must run alone, `-` uses
/// nothing.
fn using(resources: &str) -> Vec<Item> {
    let count = resources.split_whitespace().count();
    marked((0..count).map(|number| Item::new(format!("a.py::t{number}"))).collect(), resources)
}

fn marked(mut items: Vec<Item>, resources: &str) -> Vec<Item> {
    for (item, marks) in items.iter_mut().zip(resources.split_whitespace()) {
        item.exclusive = marks == "!";
        let uses = marks.split('+').filter(|name| !matches!(*name, "!" | "-"));
        item.resources = uses
            .map(|name| match name.split_once(':') {
                Some((name, limit)) => Resource { name: name.to_owned(), limit: limit.parse().unwrap() },
                None => Resource { name: name.to_owned(), limit: 1 },
            })
            .collect();
    }
    items
}

fn scenario(mode: Mode, resources: &str, workers: u32) -> Scenario {
    let options = Options { workers: Some(workers), ..Options::default() };
    Scenario::new(mode, options, using(resources), workers)
}

fn worksteal(resources: &str, workers: u32) -> Scenario {
    scenario(Mode::WorkSteal, resources, workers)
}

#[test]
fn what_only_one_may_use_runs_on_one_worker_from_the_start() {
    worksteal("- db - db - db -", 2).steps("done 0 1\ndone 0 3\ndone 0 5\ngave 1").check(
        "begin: gw0 runs 1, gw0 runs 3, gw1 runs 0 2 4 6
         done 0 1: gw0 runs 5
         done 0 3: gw0 parks
         done 0 5: gw1 is asked for 4 6
         gave 1: gw0 runs 4 6",
    );
    scenario(Mode::Load, "- db - db - - -", 2).steps("done 1 0\ndone 0 1\ndone 0 3").check(
        "begin: gw0 runs 1, gw0 runs 3, gw1 runs 0 2
         done 1 0: gw1 runs 4
         done 0 1: gw0 parks
         done 0 3: gw0 runs 5 6",
    );
}

#[test]
fn as_many_workers_as_may_use_it_do() {
    worksteal("db:2 db:2 db:2 db:2 db:2 db:2", 3).steps("done 0 0\ndone 1 1").check(
        "begin: gw0 runs 0, gw1 runs 1, gw0 runs 2, gw1 runs 3
         done 0 0: gw0 runs 4
         done 1 1: gw1 runs 5",
    );
    // The smallest limit holds.
    worksteal("db:2 db db:2", 2).check("begin: gw0 runs 0, gw0 runs 1");
}

#[test]
fn a_test_that_waits_behind_a_slow_one_is_taken_by_an_idle_worker_when_it_could_begin_there() {
    worksteal("db:2 db:2 db:2 db:2", 3).steps("done 1 1\ndone 1 3\ngave 0").check(
        "begin: gw0 runs 0, gw1 runs 1, gw0 runs 2, gw1 runs 3
         done 1 1: gw1 parks
         done 1 3: gw0 is asked for 2
         gave 0: gw1 runs 2, gw0 parks, gw1 parks",
    );
    // Only one may use this, so that would be of no use.
    worksteal("db db", 2).check("begin: gw0 runs 0, gw0 runs 1");
}

#[test]
fn what_restricts_nobody_is_ignored() {
    let plain = "begin: gw0 runs 0, gw1 runs 1 2, gw0 parks";
    // As many as there are workers; as many as there are tests; a single one.
    worksteal("db:2 db:2 db:2", 2).check(plain);
    worksteal("db:2 - db:2", 2).check(plain);
    worksteal("db - cache", 2).check(plain);
    scenario(Mode::Each, "db db !", 1).check("begin: gw0 runs 0 1 2");
}

#[test]
fn all_that_a_test_uses_is_taken_at_once() {
    // The chain that has most left goes first. What needs both waits for both.
    worksteal("a b a+b a a b a", 3)
        .steps("done 1 1\ndone 1 5\ndone 0 0\ndone 0 3\ndone 0 4\ndone 0 6")
        .check(
            "begin: gw0 runs 0, gw1 runs 1, gw0 runs 3, gw1 runs 5
         done 1 1: gw1 parks
         done 1 5:
         done 0 0: gw0 runs 4
         done 0 3: gw0 runs 6
         done 0 4: gw0 parks
         done 0 6: gw0 runs 2, gw0 parks",
        );
}

#[test]
fn what_must_run_alone_comes_last_on_one_worker() {
    worksteal("! - - ! - -", 2)
        .steps("done 0 1\ndone 1 4\ndone 1 5\ndone 0 2\ndone 0 0\nadd 2\ndone 0 3")
        .check(
            "begin: gw0 runs 1 2, gw1 runs 4 5
         done 0 1: gw0 parks
         done 1 4: gw1 parks
         done 1 5:
         done 0 2: gw0 runs 0, gw0 runs 3
         done 0 0: gw0 parks
         add 2:
         done 0 3:",
        );
}

#[test]
fn what_waits_for_others_waits_for_retired_workers_too() {
    worksteal("! - - -", 2).steps("retire 0\ndone 1 2\ndone 1 3\ndone 0 1").check(
        "begin: gw0 runs 1, gw1 runs 2 3, gw0 parks
         retire 0:
         done 1 2: gw1 parks
         done 1 3:
         done 0 1: gw1 runs 0, gw1 parks",
    );
}

#[test]
fn nothing_is_handed_out_beside_what_runs_alone() {
    // The fate of 1 is decided late.
    worksteal("! - ! -", 2).steps("gone 0 1\ndone 1 3\nadd 2\nback 1\ndone 1 0\ndone 1 2").check(
        "begin: gw0 runs 1, gw1 runs 3, gw0 parks, gw1 parks
         gone 0 1:
         done 1 3: gw1 runs 0, gw1 runs 2
         add 2:
         back 1:
         done 1 0: gw1 parks
         done 1 2: gw2 runs 1, gw2 parks",
    );
}

#[test]
fn what_a_crashed_worker_held_is_free() {
    worksteal("db db db - -", 2).steps("gone 0 0\nadd 2\ngone 2 1\nback 1\nadd 3").check(
        "begin: gw0 runs 0, gw0 runs 1, gw1 runs 3 4
         gone 0 0: gw1 is asked for 4
         add 2: gw2 runs 1, gw2 runs 2
         gone 2 1:
         back 1:
         add 3: gw3 runs 1, gw3 runs 2",
    );
}

#[test]
fn a_busy_worker_goes_over_to_what_could_begin_if_no_other_comes() {
    worksteal("db db db - - - - - -", 3).steps("gone 0 0\ndone 2 7\ngave 1\ndone 1 3\ndone 1 1").check(
        "begin: gw0 runs 0, gw0 runs 1, gw1 runs 3 4 5, gw2 runs 7 8 6
         gone 0 0: gw1 is asked for 4 5
         done 2 7:
         gave 1: gw1 parks
         done 1 3: gw1 runs 1, gw1 runs 2
         done 1 1: gw1 parks",
    );
    scenario(Mode::Load, "db db db - - - - - - -", 3).steps("gone 0 0\ngave 1\ndone 2 5\ndone 1 3").check(
        "begin: gw0 runs 0, gw0 runs 1, gw1 runs 3 4, gw2 runs 5 6
             gone 0 0: gw1 is asked for 4
             gave 1: gw1 parks
             done 2 5: gw2 runs 7
             done 1 3: gw1 runs 1, gw1 runs 2",
    );
}

#[test]
fn what_a_retired_worker_gives_up_waits_until_it_has_nothing_left() {
    worksteal("db db db -", 2).steps("retire 0 1\ndone 1 3\ndone 0 0").check(
        "begin: gw0 runs 0, gw0 runs 1, gw1 runs 3, gw1 parks
         retire 0 1:
         done 1 3:
         done 0 0: gw1 runs 1, gw1 runs 2",
    );
}

#[test]
fn a_unit_uses_what_any_of_its_tests_does() {
    let items = marked(ids("a.py::t1 a.py::t2 b.py::t1 b.py::t2 c.py::t1"), "db:1 - - db -");
    Scenario::new(Mode::LoadFile, Options::default(), items, 3).steps("done 0 0\ndone 0 1\ndone 1 4").check(
        "begin: gw0 runs 0 1, gw1 runs 4, gw1 parks
             done 0 0: gw0 runs 2 3
             done 0 1:
             done 1 4:",
    );
    let items = marked(ids("a.py::t1 a.py::t2 b.py::t1"), "- ! -");
    Scenario::new(Mode::LoadFile, Options::default(), items, 2).steps("done 0 2\ndone 0 0").check(
        "begin: gw0 runs 2, gw0 parks
         done 0 2: gw0 runs 0 1
         done 0 0: gw0 parks",
    );
}

#[test]
fn with_history_long_ones_go_first_where_several_may_use_it() {
    // Each takes as many seconds as its number plus one.
    Scenario::timed(Mode::WorkSteal, using("db:2 db:2 db:2 db:2"), 3)
        .check("begin: gw0 runs 3, gw1 runs 2, gw0 runs 1, gw1 runs 0");
    // A chain takes as long in any order; that of collection is best for fixtures.
    Scenario::timed(Mode::WorkSteal, using("a a b b"), 3)
        .check("begin: gw0 runs 2, gw1 runs 0, gw0 runs 3, gw1 runs 1");
}

#[test]
fn nothing_passes_the_gate_after_the_stop() {
    let mut scenario = worksteal("db db ! -", 2);
    scenario.distribution.stop();
    scenario.steps("done 0 0\ndone 1 3\ndone 0 1").check(
        "begin: gw0 runs 0, gw0 runs 1, gw1 runs 3, gw1 parks
         done 0 0:
         done 1 3:
         done 0 1:",
    );
}

/// The time that a result costs must not depend on how many there are, whatever they use.
#[test]
fn large_collections_of_marked_tests_are_borne_with() {
    for (names, limit) in [(1, 1), (3, 100), (15_000, 1)] {
        let item = |number: u32| Item {
            resources: [Resource { name: format!("r{}", number % names), limit }].into(),
            ..Item::new(format!("f{}.py::t{number}", number / 20_000))
        };
        let collection = Collection { items: (0..30_000).map(item).collect() };
        let mut distribution = Distribution::new(Mode::WorkSteal, &collection, Options::default());
        let workers = 300;
        (0..workers).for_each(|worker| distribution.add_worker(WorkerId(worker)));
        distribution.begin();
        let mut queues = vec![std::collections::VecDeque::<ItemIndex>::new(); workers as usize];
        let mut done = 0;
        while done < 30_000 {
            while let Some(action) = distribution.poll_action() {
                match action {
                    Action::Run { worker, items } => queues[worker.0 as usize].extend(items),
                    Action::Steal { worker, items } => {
                        queues[worker.0 as usize].retain(|item| !items.contains(item));
                        distribution.answered(worker, true);
                    }
                    Action::Park { .. } => {}
                }
            }
            let (worker, queue) = queues.iter_mut().enumerate().find(|(_, queue)| !queue.is_empty()).unwrap();
            let item = queue.pop_front().unwrap();
            distribution.item_finished(WorkerId(u32::try_from(worker).unwrap()), item, Duration::ZERO);
            done += 1;
        }
    }
}
