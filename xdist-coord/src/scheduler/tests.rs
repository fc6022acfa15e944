//! Scenarios: what happens to a distribution, and what it answers.
//!
//! The vectors come from pytest-xdist 3.8, `testing/test_dsession.py`; where the answers differ, a comment says why.

mod resources;

use super::*;
use std::fmt::Write;
use xdist_proto::{Collection, Item, ItemIndex};

/// A distribution under test.
struct Scenario {
    distribution: Distribution,
    trace: String,
}

impl Scenario {
    fn new(mode: Mode, options: Options, items: Vec<Item>, workers: u32) -> Self {
        let distribution = Distribution::new(mode, &Collection { items }, options);
        Self::of(distribution, workers)
    }

    /// Where it is known that each item took as many seconds as its number plus one.
    fn timed(mode: Mode, items: Vec<Item>, workers: u32) -> Self {
        let took = |number: usize| {
            let call_us = u32::try_from(number + 1).unwrap() * 1_000_000;
            Some(Took { call_us, fixtures_us: 0 })
        };
        let took: Vec<_> = (0..items.len()).map(took).collect();
        Self::of(Distribution::expecting(mode, &Collection { items }, Options::default(), &took), workers)
    }

    fn of(mut distribution: Distribution, workers: u32) -> Self {
        for worker in 0..workers {
            distribution.add_worker(WorkerId(worker));
        }
        let mut scenario = Self { distribution, trace: String::new() };
        scenario.distribution.begin();
        scenario.note("begin");
        scenario
    }

    /// Takes steps, one a line: `done W I`, `slow W I` (done after 100 ms), `quick W I` (after 10 ms), `gave W`, `kept W`, `add W`, `gone W [I]`,
    /// `back I` (to run once more), `fail W I [W…]` (done, to run once more where it was not tried, which was on the others
    /// too), `aside I W…` (to run once more where it was not tried), `retire W [I…]` (takes nothing more, and has given these up).
    fn steps(mut self, steps: &str) -> Self {
        for step in steps.lines().map(str::trim).filter(|step| !step.is_empty()) {
            let (verb, numbers) = step.split_once(' ').unwrap();
            let numbers: Vec<u32> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
            let worker = WorkerId(numbers[0]);
            let item = numbers.get(1).copied().map(ItemIndex);
            match verb {
                "done" => self.distribution.item_finished(worker, item.unwrap(), Duration::ZERO),
                "quick" => self.distribution.item_finished(worker, item.unwrap(), Duration::from_millis(10)),
                "slow" => self.distribution.item_finished(worker, item.unwrap(), Duration::from_millis(100)),
                "gave" => self.distribution.answered(worker, true),
                "kept" => self.distribution.answered(worker, false),
                "add" => self.distribution.add_worker(worker),
                "retire" => {
                    let given_up: Vec<_> = numbers[1..].iter().copied().map(ItemIndex).collect();
                    self.distribution.retire_worker(worker, &given_up);
                }
                "fail" => {
                    let tried = [&numbers[..1], &numbers[2..]].concat().into_iter().map(WorkerId).collect();
                    self.distribution.item_failed(worker, item.unwrap(), Duration::ZERO, tried);
                }
                "aside" => {
                    let tried = numbers[1..].iter().copied().map(WorkerId).collect();
                    self.distribution.put_aside(ItemIndex(numbers[0]), tried);
                }
                "back" => self.distribution.put_back(ItemIndex(numbers[0])),
                "gone" => self.distribution.remove_workers([(worker, item)]),
                other => panic!("no such step: {other}"),
            }
            self.note(step);
        }
        self
    }

    fn note(&mut self, step: &str) {
        let list =
            |items: &[ItemIndex]| items.iter().map(|item| item.0.to_string()).collect::<Vec<_>>().join(" ");
        let mut answers = Vec::new();
        while let Some(action) = self.distribution.poll_action() {
            answers.push(match action {
                Action::Run { worker, items } => format!("{worker} runs {}", list(&items)),
                Action::Steal { worker, items } => format!("{worker} is asked for {}", list(&items)),
                Action::Park { worker } => format!("{worker} parks"),
            });
        }
        writeln!(self.trace, "{step}: {}", answers.join(", ")).unwrap();
    }

    fn check(self, expected: &str) {
        let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
        assert_eq!(lines(self.trace.trim()), lines(expected.trim()));
    }
}

fn plain(count: usize) -> Vec<Item> {
    (0..count).map(|number| Item::new(format!("a.py::t{number}"))).collect()
}

fn ids(ids: &str) -> Vec<Item> {
    ids.split_whitespace().map(Item::new).collect()
}

/// Items that are named by their groups, several joined by `+`; `-` has none.
fn grouped(groups: &str) -> Vec<Item> {
    let item = |(number, groups): (usize, &str)| Item {
        groups: if groups == "-" { Box::default() } else { groups.split('+').map(str::to_owned).collect() },
        ..Item::new(format!("a.py::t{number}"))
    };
    groups.split_whitespace().enumerate().map(item).collect()
}

fn load(count: usize, workers: u32) -> Scenario {
    Scenario::new(Mode::Load, Options::default(), plain(count), workers)
}

fn worksteal(count: usize, workers: u32) -> Scenario {
    Scenario::new(Mode::WorkSteal, Options::default(), plain(count), workers)
}

#[test]
fn modes_are_known_by_their_names() {
    for mode in Mode::ALL {
        assert_eq!(mode.name().parse(), Ok(mode));
    }
    assert_eq!("no".parse::<Mode>(), Err(UnknownMode { name: "no".to_owned() }));
}

#[test]
fn each_worker_runs_everything_and_a_replacement_the_rest() {
    Scenario::new(Mode::Each, Options::default(), plain(3), 1)
        .steps("done 0 0\ngone 0 1\nadd 1\ndone 1 2")
        .check(
            "begin: gw0 runs 0 1 2
         done 0 0:
         gone 0 1:
         add 1: gw1 runs 2, gw1 parks
         done 1 2:",
        );
}

#[test]
fn load_deals_one_by_one_when_there_are_few() {
    load(2, 2).check("begin: gw0 runs 0, gw1 runs 1, gw0 parks, gw1 parks");
    load(2, 3).check("begin: gw0 runs 0, gw1 runs 1, gw0 parks, gw1 parks");
    load(5, 3).check("begin: gw0 runs 0, gw1 runs 1, gw2 runs 2, gw0 runs 3, gw1 runs 4, gw2 parks");
}

#[test]
fn load_sends_batches_and_then_singles() {
    load(6, 2).steps("done 0 0\ndone 0 1").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3
         done 0 0: gw0 runs 4
         done 0 1: gw0 runs 5",
    );
    load(16, 2).steps("done 0 0\ndone 0 1\ndone 0 4\ndone 0 5").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3
         done 0 0: gw0 runs 4 5
         done 0 1:
         done 0 4: gw0 runs 6
         done 0 5: gw0 runs 7",
    );
    load(80, 2).check("begin: gw0 runs 0 1 2 3 4 5 6 7 8 9, gw1 runs 10 11 12 13 14 15 16 17 18 19");
}

#[test]
fn load_honors_the_largest_chunk() {
    let options = Options { max_chunk: Some(1), ..Options::default() };
    Scenario::new(Mode::Load, options, plain(80), 2).steps("done 0 0\ndone 0 1").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3
         done 0 0: gw0 runs 4
         done 0 1: gw0 runs 5",
    );
}

#[test]
fn load_waits_with_more_for_a_worker_with_slow_items() {
    load(40, 2).steps("slow 0 0\nslow 0 1\nslow 0 2\nslow 0 3").check(
        "begin: gw0 runs 0 1 2 3 4, gw1 runs 5 6 7 8 9
         slow 0 0:
         slow 0 1:
         slow 0 2:
         slow 0 3: gw0 runs 10 11 12 13 14 15",
    );
}

#[test]
fn a_short_item_does_not_wait_behind_a_slow_one() {
    // pytest-xdist would leave item 1 with the first worker (#339, #453).
    load(3, 2).steps("done 1 1\ngave 0").check(
        "begin: gw0 runs 0, gw1 runs 1, gw0 runs 2, gw1 parks
         done 1 1: gw0 is asked for 2
         gave 0: gw1 runs 2, gw0 parks, gw1 parks",
    );
}

#[test]
fn what_a_crashed_worker_had_goes_to_the_others_but_for_the_item_that_crashed() {
    load(8, 2).steps("gone 0 0\ndone 1 2\ndone 1 3").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3
         gone 0 0:
         done 1 2: gw1 runs 1
         done 1 3: gw1 runs 4",
    );
    worksteal(4, 2).steps("gone 0 0\ndone 1 2").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3
         gone 0 0:
         done 1 2: gw1 runs 1",
    );
}

#[test]
fn worksteal_splits_evenly() {
    // In pytest-xdist the last two would be the last: one of them may be long.
    worksteal(16, 2).check("begin: gw0 runs 0 1 2 3 4 5 6 7, gw1 runs 14 15 8 9 10 11 12 13");
    worksteal(3, 1).check("begin: gw0 runs 0 1 2");
    worksteal(5, 3).check("begin: gw0 runs 0, gw1 runs 1 2, gw2 runs 3 4, gw0 parks");
    worksteal(2, 3).check("begin: gw1 runs 0, gw2 runs 1, gw1 parks, gw2 parks");
}

#[test]
fn worksteal_takes_half_of_the_longest_queue() {
    worksteal(16, 2)
        .steps("done 0 0\ndone 0 1\ndone 0 2\ndone 0 3\ndone 0 4\ndone 0 5\ndone 0 6\ngave 1")
        .steps("done 1 14\ndone 1 15\ndone 1 8\ngave 0")
        .check(
            "begin: gw0 runs 0 1 2 3 4 5 6 7, gw1 runs 14 15 8 9 10 11 12 13
             done 0 0:
             done 0 1:
             done 0 2:
             done 0 3:
             done 0 4:
             done 0 5:
             done 0 6: gw1 is asked for 10 11 12 13
             gave 1: gw0 runs 10 11 12 13
             done 1 14:
             done 1 15:
             done 1 8: gw0 is asked for 12 13
             gave 0: gw1 runs 12 13",
        );
}

#[test]
fn a_newcomer_steals() {
    worksteal(5, 1).steps("done 0 0\nadd 1\ngave 0").check(
        "begin: gw0 runs 0 1 2 3 4
         done 0 0:
         add 1: gw0 is asked for 3 4
         gave 0: gw1 runs 3 4",
    );
}

#[test]
fn two_workers_do_not_take_the_same_item_from_each_other() {
    // The first is on a slow item: the other, on its last one, leaves it its only other item until it is idle.
    worksteal(4, 2).steps("done 1 2\ndone 1 3\ngave 0\ndone 1 1").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3
         done 1 2: gw1 parks
         done 1 3: gw0 is asked for 1
         gave 0: gw1 runs 1, gw0 parks, gw1 parks
         done 1 1:",
    );
}

#[test]
fn after_a_refused_steal_nothing_is_asked_for_until_there_is_news() {
    // The victim is tearing down 0 and has taken 1 as its successor.
    worksteal(4, 2).steps("done 1 2\ndone 1 3\nkept 0\ndone 0 0\ndone 0 1").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3
         done 1 2: gw1 parks
         done 1 3: gw0 is asked for 1
         kept 0:
         done 0 0: gw0 parks
         done 0 1:",
    );
}

#[test]
fn a_refusal_that_later_results_explain_means_nothing() {
    // 1 had begun when it was asked for, but then 0 was done, so it is known to run, and what comes after it can go.
    load(6, 3).steps("done 1 2\ndone 1 3\ndone 0 0\nkept 0").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3, gw2 runs 4 5
         done 1 2: gw1 parks
         done 1 3: gw0 is asked for 1
         done 0 0:
         kept 0: gw2 is asked for 5",
    );
}

#[test]
fn a_dying_victim_answers_nothing_and_others_are_asked() {
    worksteal(9, 3).steps("done 0 0\ndone 0 1\ngone 1 3\ngone 2").check(
        "begin: gw0 runs 0 1 2, gw1 runs 3 4 5, gw2 runs 7 8 6
         done 0 0:
         done 0 1: gw1 is asked for 5
         gone 1 3: gw0 runs 4 5
         gone 2:",
    );
}

#[test]
fn worksteal_keeps_groups_together() {
    let items = grouped("- a - b a b - a");
    Scenario::new(Mode::WorkSteal, Options::default(), items, 2).steps("done 1 6\ngone 0 0\n").check(
        "begin: gw0 runs 0 1 4 7, gw1 runs 3 5 6 2
             done 1 6:
             gone 0 0:",
    );
}

#[test]
fn a_group_is_stolen_whole_or_not_at_all() {
    // The group of three is more than half, but the other worker would be idle.
    Scenario::new(Mode::WorkSteal, Options::default(), grouped("- a a a"), 1).steps("add 1\ngave 0").check(
        "begin: gw0 runs 0 1 2 3
         add 1: gw0 is asked for 1 2 3
         gave 0: gw1 runs 1 2 3, gw0 parks",
    );
    // Its first item has begun, so it stays.
    Scenario::new(Mode::WorkSteal, Options::default(), grouped("a a a"), 1).steps("add 1\ndone 0 0").check(
        "begin: gw0 runs 0 1 2
         add 1:
         done 0 0:",
    );
}

#[test]
fn scopes_are_class_module_file_or_group() {
    let items = || ids("a.py::t1 a.py::C::t1 a.py::C::t2[x::y] a.py::t2[x::y] b.py::t1 d[1]/c.py::t1");
    let no_reorder = Options { reorder_scopes: false, ..Options::default() };
    Scenario::new(Mode::LoadScope, no_reorder, items(), 5)
        .check("begin: gw0 runs 0 3, gw1 runs 1 2, gw2 runs 4, gw3 runs 5, gw2 parks, gw3 parks");
    Scenario::new(Mode::LoadFile, no_reorder, items(), 4)
        .check("begin: gw0 runs 0 1 2 3, gw1 runs 4, gw2 runs 5, gw1 parks, gw2 parks");
    Scenario::new(Mode::LoadGroup, no_reorder, grouped("a - b+a a b a+b"), 4)
        .check("begin: gw0 runs 0 3, gw1 runs 1, gw2 runs 2 5, gw3 runs 4, gw1 parks, gw3 parks");
}

#[test]
fn scopes_go_biggest_first_unless_told_otherwise() {
    let items = || ids("a.py::t b.py::t1 b.py::t2 c.py::t1 c.py::t2 c.py::t3 d.py::t");
    Scenario::new(Mode::LoadFile, Options::default(), items(), 1).steps("done 0 3\ndone 0 4").check(
        "begin: gw0 runs 3 4 5
         done 0 3: gw0 runs 1 2
         done 0 4:",
    );
    let no_reorder = Options { reorder_scopes: false, ..Options::default() };
    Scenario::new(Mode::LoadFile, no_reorder, items(), 1).check("begin: gw0 runs 0, gw0 runs 1 2");
}

#[test]
fn several_scopes_wait_for_a_worker_whose_items_are_short() {
    // Sixteen groups of one and one of three.
    let groups: Vec<_> = (0..16).map(|group| group.to_string()).collect();
    let items = grouped(&format!("x x x {}", groups.join(" ")));
    Scenario::new(Mode::LoadGroup, Options::default(), items, 2)
        .steps("quick 1 3\nslow 0 0\nquick 0 1\nquick 0 2")
        .check(
            "begin: gw0 runs 0 1 2, gw1 runs 3, gw1 runs 4
         quick 1 3: gw1 runs 5 6 7 8 9 10 11 12 13
         slow 0 0: gw0 runs 14
         quick 0 1: gw0 runs 15 16 17 18
         quick 0 2:",
        );
}

#[test]
fn after_a_crash_only_what_has_not_begun_runs_again_and_stays_together() {
    // pytest-xdist runs the finished items and the crashing one again (#784), and with one worker hangs (#1313).
    Scenario::new(Mode::LoadFile, Options::default(), ids("a.py::t1 a.py::t2 a.py::t3 a.py::t4"), 1)
        .steps("done 0 0\ngone 0 1\nadd 1\ndone 1 2\ndone 1 3")
        .check(
            "begin: gw0 runs 0 1 2 3
             done 0 0:
             gone 0 1:
             add 1: gw1 runs 2 3
             done 1 2: gw1 parks
             done 1 3:",
        );
}

#[test]
fn a_unit_that_waits_behind_another_is_stolen_whole() {
    Scenario::new(Mode::LoadFile, Options::default(), ids("a.py::t1 a.py::t2 b.py::t1 b.py::t2"), 1)
        .steps("add 1\ngave 0")
        .check(
            "begin: gw0 runs 0 1, gw0 runs 2 3
             add 1: gw0 is asked for 2 3
             gave 0: gw1 runs 2 3",
        );
}

#[test]
fn what_is_put_back_goes_next_and_alone_to_whoever_runs_out() {
    load(8, 2).steps("gone 0 0\nback 0\ndone 1 2").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3
         gone 0 0:
         back 0:
         done 1 2: gw1 runs 0 1",
    );
    worksteal(6, 2).steps("gone 0 0\ndone 1 4\nback 0\ndone 1 5").check(
        "begin: gw0 runs 0 1 2, gw1 runs 4 5 3
         gone 0 0:
         done 1 4:
         back 0:
         done 1 5: gw1 runs 0 1 2",
    );
    // What was left of its unit stays together, and comes after it.
    let scopes = || ids("a.py::t1 a.py::t2 a.py::t3 b.py::t1 b.py::t2 b.py::t3");
    let groups = || grouped("a a a b b b");
    for (mode, items) in
        [(Mode::LoadScope, scopes()), (Mode::LoadFile, scopes()), (Mode::LoadGroup, groups())]
    {
        Scenario::new(mode, Options::default(), items, 2)
            .steps("gone 0 0\nback 0\ndone 1 3\ndone 1 4\ndone 1 5")
            .check(
                "begin: gw0 runs 0 1 2, gw1 runs 3 4 5
                 gone 0 0:
                 back 0:
                 done 1 3: gw1 runs 0
                 done 1 4: gw1 runs 1 2
                 done 1 5:",
            );
    }
    Scenario::new(Mode::WorkSteal, Options::default(), groups(), 2)
        .steps("gone 0 0\nback 0\ndone 1 3\ndone 1 4")
        .check(
            "begin: gw0 runs 0 1 2, gw1 runs 3 4 5
             gone 0 0:
             back 0:
             done 1 3:
             done 1 4: gw1 runs 0 1 2",
        );
}

#[test]
fn what_is_put_back_goes_at_once_to_whoever_has_nothing() {
    for mode in Mode::ALL {
        // The only worker is gone, and another one comes.
        Scenario::new(mode, Options::default(), plain(1), 1)
            .steps("gone 0 0\nback 0\nadd 1\ndone 1 0")
            .check(
                "begin: gw0 runs 0, gw0 parks
                 gone 0 0:
                 back 0:
                 add 1: gw1 runs 0, gw1 parks
                 done 1 0:",
            );
    }
    for mode in Mode::ALL.into_iter().filter(|&mode| mode != Mode::Each) {
        // The other one has run out. An item that is finished can run once more too.
        Scenario::new(mode, Options::default(), ids("a.py::t b.py::t"), 2)
            .steps("done 1 1\ngone 0 0\nback 0\ndone 1 0\nback 0")
            .check(
                "begin: gw0 runs 0, gw1 runs 1, gw0 parks, gw1 parks
                 done 1 1:
                 gone 0 0:
                 back 0: gw1 runs 0, gw1 parks
                 done 1 0:
                 back 0: gw1 runs 0, gw1 parks",
            );
    }
}

#[test]
fn what_is_put_back_can_crash_again_and_be_stolen() {
    worksteal(3, 1).steps("gone 0 0\nback 0\nadd 1\ngone 1 0\nback 0\nadd 2\ndone 2 0\nadd 3\ngave 2").check(
        "begin: gw0 runs 0 1 2
             gone 0 0:
             back 0:
             add 1: gw1 runs 0 1 2
             gone 1 0:
             back 0:
             add 2: gw2 runs 0 1 2
             done 2 0:
             add 3: gw2 is asked for 2
             gave 2: gw3 runs 2, gw2 parks, gw3 parks",
    );
}

#[test]
fn what_is_put_back_costs_what_it_did() {
    Scenario::timed(Mode::WorkSteal, plain(6), 2)
        .steps("gone 0 5\nback 5\ndone 1 4\ndone 1 3\ndone 1 0\ndone 1 5\nadd 2\ngave 1\ndone 2 1\ndone 1 2")
        .check(
            "begin: gw0 runs 5 2 1, gw1 runs 4 3 0
             gone 0 5:
             back 5:
             done 1 4:
             done 1 3: gw1 runs 5 2 1
             done 1 0:
             done 1 5:
             add 2: gw1 is asked for 1
             gave 1: gw2 runs 1, gw1 parks, gw2 parks
             done 2 1:
             done 1 2:",
        );
    Scenario::timed(Mode::Load, plain(6), 2).steps("gone 0 5\nback 5\ndone 1 4\ndone 1 3").check(
        "begin: gw0 runs 5, gw1 runs 4, gw1 runs 3, gw0 runs 2
         gone 0 5:
         back 5:
         done 1 4: gw1 runs 5
         done 1 3: gw1 runs 2",
    );
    Scenario::timed(Mode::LoadFile, ids("a.py::t1 a.py::t2 b.py::t1 c.py::t1"), 2)
        .steps("gave 1\ngone 0 3\nback 3\ndone 1 0\ndone 1 1\ndone 1 3\ndone 1 2")
        .check(
            "begin: gw0 runs 3, gw1 runs 0 1, gw1 runs 2, gw1 is asked for 2
             gave 1: gw0 runs 2
             gone 0 3:
             back 3:
             done 1 0: gw1 runs 3
             done 1 1: gw1 runs 2
             done 1 3: gw1 parks
             done 1 2:",
        );
}

#[test]
fn nothing_that_is_put_back_after_the_stop_is_handed_out() {
    let mut scenario = worksteal(2, 2);
    scenario.distribution.stop();
    scenario.steps("gone 0 0\nback 0\ndone 1 1").check(
        "begin: gw0 runs 0, gw1 runs 1, gw0 parks, gw1 parks
         gone 0 0:
         back 0:
         done 1 1:",
    );
}

#[test]
fn what_failed_goes_to_another_worker_that_has_nothing_left() {
    worksteal(4, 2).steps("fail 0 0\ndone 0 1\ngave 1\ndone 1 2\ndone 1 0\ndone 0 3").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3
         fail 0 0: gw0 parks
         done 0 1: gw1 is asked for 3
         gave 1: gw1 runs 0, gw0 runs 3, gw0 parks
         done 1 2: gw1 parks
         done 1 0:
         done 0 3:",
    );
    // Of several others, the first that has nothing left.
    worksteal(3, 3).steps("fail 0 0\ndone 2 2\ndone 2 0\ndone 1 1").check(
        "begin: gw0 runs 0, gw1 runs 1, gw2 runs 2, gw0 parks, gw1 parks, gw2 parks
         fail 0 0:
         done 2 2: gw2 runs 0, gw2 parks
         done 2 0:
         done 1 1:",
    );
}

#[test]
fn what_failed_on_all_workers_goes_to_any() {
    worksteal(2, 2).steps("done 1 1\nfail 0 0\nfail 1 0 0\nfail 0 0 1").check(
        "begin: gw0 runs 0, gw1 runs 1, gw0 parks, gw1 parks
         done 1 1:
         fail 0 0: gw1 runs 0, gw1 parks
         fail 1 0 0: gw0 runs 0, gw0 parks
         fail 0 0 1: gw0 runs 0, gw0 parks",
    );
    // One worker: when it has done the rest but for one.
    for mode in [Mode::Each, Mode::WorkSteal] {
        Scenario::new(mode, Options::default(), plain(3), 1)
            .steps("fail 0 0\ndone 0 1\ndone 0 2\nfail 0 0\ndone 0 0")
            .check(
                "begin: gw0 runs 0 1 2
                 fail 0 0:
                 done 0 1: gw0 runs 0
                 done 0 2: gw0 parks
                 fail 0 0: gw0 runs 0, gw0 parks
                 done 0 0:",
            );
    }
}

#[test]
fn what_failed_moves_without_its_unit() {
    let scopes = || ids("a.py::t1 a.py::t2 a.py::t3 b.py::t1 b.py::t2 b.py::t3");
    let groups = || grouped("a a a b b b");
    for (mode, items) in
        [(Mode::LoadScope, scopes()), (Mode::LoadFile, scopes()), (Mode::LoadGroup, groups())]
    {
        Scenario::new(mode, Options::default(), items, 2)
            .steps("fail 0 0\ndone 0 1\ndone 0 2\ndone 1 3\ndone 1 4\ndone 1 5\ndone 1 0")
            .check(
                "begin: gw0 runs 0 1 2, gw1 runs 3 4 5
                 fail 0 0:
                 done 0 1: gw0 parks
                 done 0 2:
                 done 1 3:
                 done 1 4: gw1 runs 0
                 done 1 5: gw1 parks
                 done 1 0:",
            );
    }
}

#[test]
fn what_was_given_to_another_worker_is_not_taken_back_from_it() {
    worksteal(2, 2).steps("fail 0 0\ndone 1 1\ndone 1 0").check(
        "begin: gw0 runs 0, gw1 runs 1, gw0 parks, gw1 parks
         fail 0 0: gw1 runs 0
         done 1 1: gw1 parks
         done 1 0:",
    );
}

#[test]
fn what_waits_for_a_worker_that_goes_waits_for_the_next() {
    // It was queued there.
    worksteal(2, 2).steps("fail 0 0\ngone 1 1\nadd 2").check(
        "begin: gw0 runs 0, gw1 runs 1, gw0 parks, gw1 parks
         fail 0 0: gw1 runs 0
         gone 1 1: gw0 runs 0, gw0 parks
         add 2:",
    );
    worksteal(2, 2).steps("fail 0 0\nretire 1 0\nadd 2").check(
        "begin: gw0 runs 0, gw1 runs 1, gw0 parks, gw1 parks
         fail 0 0: gw1 runs 0
         retire 1 0: gw0 runs 0, gw0 parks
         add 2:",
    );
    // Nobody is left, until somebody comes.
    worksteal(1, 1).steps("gone 0 0\naside 0 0\nadd 1").check(
        "begin: gw0 runs 0, gw0 parks
         gone 0 0:
         aside 0 0:
         add 1: gw1 runs 0, gw1 parks",
    );
}

#[test]
fn nothing_that_failed_is_handed_out_after_the_stop() {
    let mut scenario = worksteal(2, 2);
    scenario.distribution.stop();
    scenario.steps("fail 0 0\ndone 1 1\nadd 2").check(
        "begin: gw0 runs 0, gw1 runs 1, gw0 parks, gw1 parks
         fail 0 0:
         done 1 1:
         add 2:",
    );
}

#[test]
fn a_worker_that_does_not_keep_to_the_order_is_borne_with() {
    worksteal(4, 1).steps("done 0 2\ndone 0 0\ngone 0 3\nadd 1").check(
        "begin: gw0 runs 0 1 2 3
         done 0 2:
         done 0 0:
         gone 0 3:
         add 1: gw1 runs 1, gw1 parks",
    );
}

#[test]
fn nothing_is_handed_out_after_the_stop() {
    let mut scenario = worksteal(4, 2);
    scenario.distribution.stop();
    scenario.steps("done 0 0\ndone 0 1\ngone 1 2").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3
         done 0 0:
         done 0 1:
         gone 1 2:",
    );
}

/// The time that a result costs must not depend on how many there are: this would take minutes if it were quadratic
/// anywhere, and takes a moment as it is.
#[test]
fn large_collections_and_many_workers_are_borne_with() {
    for mode in Mode::ALL {
        let items = (0..30_000).map(|number| Item::new(format!("f{}.py::t{number}", number / 20_000)));
        let mut distribution =
            Distribution::new(mode, &Collection { items: items.collect() }, Options::default());
        let workers = if mode == Mode::Each { 1 } else { 500 };
        (0..workers).for_each(|worker| distribution.add_worker(WorkerId(worker)));
        distribution.begin();
        let mut queues = vec![std::collections::VecDeque::new(); workers as usize];
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
            let busy = queues.iter_mut().enumerate().filter(|(_, queue)| !queue.is_empty());
            for (worker, queue) in busy {
                let Some(item) = queue.pop_front() else { continue };
                distribution.item_finished(WorkerId(u32::try_from(worker).unwrap()), item, Duration::ZERO);
                done += 1;
                break;
            }
        }
    }
}

#[test]
fn what_a_retired_worker_gives_up_goes_to_others_and_it_gets_nothing_more() {
    worksteal(8, 2)
        .steps("done 0 0\nretire 0 2 3\ndone 1 6\ndone 1 7\ndone 1 4\ndone 1 5\ndone 0 1\ngone 0\nadd 2")
        .check(
            "begin: gw0 runs 0 1 2 3, gw1 runs 6 7 4 5
         done 0 0:
         retire 0 2 3:
         done 1 6:
         done 1 7:
         done 1 4: gw1 runs 2 3
         done 1 5:
         done 0 1:
         gone 0:
         add 2: gw1 is asked for 3",
        );
    load(9, 2).steps("retire 0 1\ndone 0 0\ngone 0\nadd 2").check(
        "begin: gw0 runs 0 1, gw1 runs 2 3
         retire 0 1:
         done 0 0:
         gone 0:
         add 2: gw2 runs 1 4",
    );
}

#[test]
fn what_a_retired_worker_keeps_can_be_taken_from_it() {
    worksteal(6, 2).steps("slow 1 4\nretire 0\nslow 1 5\nslow 1 3\ngave 0").check(
        "begin: gw0 runs 0 1 2, gw1 runs 4 5 3
         slow 1 4:
         retire 0:
         slow 1 5: gw0 is asked for 2
         slow 1 3:
         gave 0: gw1 runs 2, gw1 parks",
    );
}

#[test]
fn what_is_given_up_of_a_unit_stays_together_and_waits_for_the_other_part() {
    let items = grouped("a a a a b b");
    Scenario::new(Mode::LoadGroup, Options::default(), items, 2)
        .steps("done 0 0\nretire 0 2 3\ndone 1 4\ndone 1 5\ndone 0 1\ngone 0")
        .check(
            "begin: gw0 runs 0 1 2 3, gw1 runs 4 5
         done 0 0:
         retire 0 2 3:
         done 1 4: gw1 parks
         done 1 5:
         done 0 1: gw1 runs 2 3
         gone 0:",
        );
    let items = grouped("a a a a");
    Scenario::new(Mode::LoadGroup, Options::default(), items, 1)
        .steps("retire 0 1 2\ndone 0 0\ndone 0 3\ngone 0\nadd 1\ndone 1 1")
        .check(
            "begin: gw0 runs 0 1 2 3
         retire 0 1 2:
         done 0 0:
         done 0 3:
         gone 0:
         add 1: gw1 runs 1 2
         done 1 1: gw1 parks",
        );
}

#[test]
fn both_parts_of_a_unit_are_one_again_when_the_worker_of_the_first_crashes() {
    let items = grouped("a a a a b b");
    Scenario::new(Mode::LoadGroup, Options::default(), items, 2)
        .steps("retire 0 3\ndone 1 4\ngone 0 0\ndone 1 5")
        .check(
            "begin: gw0 runs 0 1 2 3, gw1 runs 4 5
         retire 0 3:
         done 1 4: gw1 parks
         gone 0 0: gw1 runs 1 2 3
         done 1 5:",
        );
}

#[test]
fn both_parts_of_a_unit_are_one_again_when_the_first_is_taken_before_it_has_begun() {
    let items = grouped("a a c b b b b");
    let options = Options { reorder_scopes: false, ..Options::default() };
    Scenario::new(Mode::LoadGroup, options, items, 2)
        .steps("retire 0 4 5 6\ndone 1 2\ngave 0\nretire 1 5 6\nadd 2\ndone 1 3\ndone 1 4")
        .check(
            "begin: gw0 runs 0 1, gw1 runs 2, gw0 runs 3 4 5 6, gw1 parks
         retire 0 4 5 6: gw0 is asked for 3
         done 1 2:
         gave 0: gw1 runs 3 4 5 6
         retire 1 5 6:
         add 2:
         done 1 3:
         done 1 4: gw2 runs 5 6",
        );
}
