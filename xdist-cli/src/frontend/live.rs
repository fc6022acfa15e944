//! The rows below the output on a terminal: how far the run is, and which tests take long.

use super::roster::Roster;
use super::style::{cut, visible_width};
use super::words;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use xdist_coord::session::event::RunEvent;
use xdist_proto::report::Phase;
use xdist_proto::{ItemIndex, WorkerId};

/// How often the rows are drawn anew.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// A test gets a row of its own after this time.
const LONG: Duration = Duration::from_secs(1);

/// Most rows for long tests; the others are counted.
const MOST_ROWS: usize = 8;

/// Which tests are running, as far as they have been running for some time.
#[derive(Debug, Default)]
pub(crate) struct Running {
    tests: BTreeMap<WorkerId, Test>,
}

/// A running test.
#[derive(Clone, Copy, Debug)]
struct Test {
    item: ItemIndex,
    phase: Phase,
    since: Instant,
}

/// How far the run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// How many items have a result.
    pub(crate) done: u64,
    /// How many items there are.
    pub(crate) total: u64,
    /// How many failed.
    pub(crate) failed: u64,
    /// The time since the first item was handed out.
    pub(crate) elapsed: Duration,
}

impl Running {
    /// Takes in an event.
    pub(crate) fn observe(&mut self, event: &RunEvent, now: Instant) {
        match event {
            RunEvent::ItemStarted { worker, item, phase, running, .. } => {
                let since = now.checked_sub(*running).unwrap_or(now);
                self.tests.insert(*worker, Test { item: *item, phase: *phase, since });
            }
            RunEvent::ItemFinished { worker, .. } | RunEvent::WorkerDown { worker, .. } => {
                self.tests.remove(worker);
            }
            RunEvent::Crashed(crash) => {
                self.tests.remove(&crash.worker);
            }
            RunEvent::ItemRetried(attempt) => {
                self.tests.remove(&attempt.worker);
            }
            _ => {}
        }
    }

    /// The rows, the bar first.
    pub(crate) fn rows(
        &self,
        progress: Progress,
        roster: &Roster,
        width: usize,
        now: Instant,
    ) -> Vec<String> {
        let mut rows = vec![bar(progress, width)];
        let tests = self.longest_first(now);
        let long: Vec<_> = tests.iter().filter(|(_, _, time)| *time >= LONG).collect();
        let shown = if long.len() > MOST_ROWS { MOST_ROWS - 1 } else { long.len() };
        let names = long[..shown].iter().map(|(worker, ..)| roster.name(*worker)).collect::<Vec<_>>();
        let name_width = names.iter().map(|name| visible_width(name)).max().unwrap_or(0);
        for ((worker, test, time), name) in long[..shown].iter().zip(names) {
            let phase = test.phase.name();
            let time = words::running_time(*time);
            let node_id = roster.node_id(*worker, test.item);
            let row = format!("{name:name_width$}  {time:>7}  {phase:<8}  {node_id}");
            rows.push(cut(&row, width.saturating_sub(1)).to_owned());
        }
        if shown < long.len() {
            rows.push(format!("and {} more that take long", long.len() - shown));
        }
        rows
    }

    /// Every test that has been running for some time, as lines for people.
    pub(crate) fn lines(&self, roster: &Roster, now: Instant) -> Vec<String> {
        let tests = self.longest_first(now);
        if tests.is_empty() {
            return vec!["no test has been running for long".to_owned()];
        }
        let line = |(worker, test, time): (WorkerId, Test, Duration)| {
            let place = words::in_parentheses(&roster.place(worker));
            let (name, node_id) = (roster.name(worker), roster.node_id(worker, test.item));
            format!("[{name}]{place} {} for {}: {node_id}", test.phase.name(), words::running_time(time))
        };
        tests.into_iter().map(line).collect()
    }

    fn longest_first(&self, now: Instant) -> Vec<(WorkerId, Test, Duration)> {
        let times = self
            .tests
            .iter()
            .map(|(worker, test)| (*worker, *test, now.saturating_duration_since(test.since)));
        let mut tests: Vec<_> = times.collect();
        tests.sort_by_key(|(_, _, time)| std::cmp::Reverse(*time));
        tests
    }
}

/// `[=====>      ]  45/120  2 failed  12.3/s  3.7s`, as much of it as fits.
fn bar(progress: Progress, width: usize) -> String {
    let seconds = progress.elapsed.as_secs_f64();
    let mut facts = vec![format!("{}/{}", progress.done, progress.total)];
    if progress.failed > 0 {
        facts.push(format!("{} failed", progress.failed));
    }
    if progress.done > 0 && seconds > 0.0 {
        facts.push(format!("{:.1}/s", progress.done as f64 / seconds));
    }
    facts.push(words::running_time(progress.elapsed));
    let facts = facts.join("  ");
    // Two brackets, two blanks, and the last column stays free.
    let room = width.saturating_sub(visible_width(&facts) + 5).min(40);
    if room < 8 {
        return facts;
    }
    let filled =
        (room as u64 * progress.done.min(progress.total)).checked_div(progress.total).unwrap_or(0) as usize;
    let head = if filled > 0 && filled < room { ">" } else { "" };
    let body = "=".repeat(filled - head.len());
    format!("[{body}{head}{}]  {facts}", " ".repeat(room - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_keeps_its_length() {
        let progress = |done| Progress { done, total: 4, failed: 0, elapsed: Duration::from_secs(2) };
        assert_eq!(bar(progress(0), 30), "[                ]  0/4  2.0s");
        assert_eq!(bar(progress(1), 40), "[===>               ]  1/4  0.5/s  2.0s");
        assert_eq!(bar(progress(4), 40), "[===================]  4/4  2.0/s  2.0s");
        assert_eq!(bar(Progress { failed: 2, ..progress(4) }, 20), "4/4  2 failed  2.0/s  2.0s");
    }
}
