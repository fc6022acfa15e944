//! Scenarios with items that cannot run beside just any other.

use super::{Scenario, ids};
use crate::scheduler::*;
use xdist_proto::{Collection, Item, ItemIndex};

/// Items that are named by what they use, several joined by `+`, with limits behind a colon; `!` must run alone, `-` uses
/// nothing.
fn using(resources: &str) -> Vec<Item> {
    let mut items: Vec<Item> = (0..).map(|number| Item::new(format!("a.py::t{number}"))).take(
        resources.split_whitespace().count()).collect();
    mark(&mut items, resources);
    items
}

fn mark(items: &mut [Item], resources: &str) {
    for (item, marks) in items.iter_mut().zip(resources.split_whitespace()) {
        item.exclusive = marks == "!";
        let uses = marks.split('+').filter(|name| !matches!(*name, "!" | "-"));
        item.resources = uses
            .map(|name| match name.split_once(':') {
                Some((name, limit)) => (name.to_owned(), limit.parse().unwrap()),
                None => (name.to_owned(), 1),
            })
            .collect();
    }
}

fn scenario(mode: Mode, resources: &str, workers: u32) -> Scenario {
    let options = Options { workers: Some(workers), ..Options::default() };
    Scenario::new(mode, options, using(resources), workers)
}

#[test]
fn what_only_one_may_use_runs_on_one_worker_from_the_start() {
    for mode in [Mode::WorkSteal, Mode::Load] {
        scenario(mode, "- db - db - db -", 2).steps("done 0 1\ndone 0 3").check(
            "begin: gw0 runs 1, gw0 runs 3, gw1 runs 0 2 4 6
             done 0 1: gw0 runs 5
             done 0 3: gw0 parks",
        );
    }
}
