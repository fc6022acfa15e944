//! What the run is to be, from the configuration and the first worker's options.

use super::config::Config;
use crate::scheduler::{Mode, Options, UnknownMode};
use crate::workers::spec::{HostSpec, SpecError, WorkerSpec};
use std::time::Duration;
use xdist_proto::RunId;
use xdist_proto::message::RunOptions;

/// How many replacements there are for each worker of `-n` unless `--max-worker-restart` says otherwise (pytest-xdist
/// 3.8, `plugin.py`).
const RESTARTS_PER_WORKER: u32 = 4;

/// What the run is to be.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) run: RunId,
    /// The workers that the run begins with, by position; at least one.
    pub(super) workers: Vec<WorkerSpec>,
    pub(super) mode: Mode,
    pub(super) scheduling: Options,
    /// How many crashes are made up for; `None` for all.
    pub(super) max_restarts: Option<u32>,
    /// The number of failures that ends the run.
    pub(super) max_fail: Option<u32>,
    /// Over what time the workers' first items are spread.
    pub(super) ramp: Duration,
    /// From when on an item is slow; zero for never.
    pub(super) slow_after: Duration,
    /// How often an item that failed runs again, at most.
    pub(super) retries: u32,
    /// Whether a run has failed of which an item did not fail only after a retry.
    pub(super) flaky_fails: bool,
    /// Which files of other machines are fetched in the end.
    pub(super) fetch: Vec<String>,
    /// Where they come to.
    pub(super) fetch_to: Option<String>,
}

/// Options that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlanError {
    #[error(transparent)]
    Mode(#[from] UnknownMode),
    #[error("--tx {0}")]
    Spec(#[from] SpecError),
}

impl Plan {
    /// The plan that the options make, and whether workers may come that are not in it.
    pub(super) fn new(
        config: &Config,
        options: &RunOptions,
        others_may_come: bool,
    ) -> Result<Self, PlanError> {
        let mode = match (config.mode, &options.dist) {
            (Some(mode), _) => mode,
            (None, Some(name)) => name.parse()?,
            (None, None) => Mode::default(),
        };
        let (tx, px) = (options.tx.iter(), options.px.iter());
        let tx = WorkerSpec::parse_all(tx.map(String::as_str), px.map(String::as_str))?;
        // As in pytest-xdist, `-n` discards `--tx`, and only `-n` bounds the restarts by itself, before any cap.
        let counted =
            options.workers.or((config.workers.is_none() && tx.is_empty()).then_some(options.auto_workers));
        let mut workers = match (&config.workers, counted) {
            (Some(workers), _) => workers.clone(),
            (None, Some(count)) => vec![WorkerSpec::default(); count as usize],
            (None, None) => tx,
        };
        workers.truncate(options.max_workers.unwrap_or(u32::MAX) as usize);
        let is_launcher = |spec: &WorkerSpec| matches!(spec.host, HostSpec::Launcher(_));
        let others_may_come = others_may_come || workers.iter().any(is_launcher);
        if workers.is_empty() && config.workers.is_none() {
            workers.push(WorkerSpec::default());
        }
        Ok(Self {
            run: options.run.clone().map_or_else(|| config.run.clone(), RunId),
            mode,
            scheduling: Options {
                max_chunk: options.max_chunk,
                reorder_scopes: options.reorder_scopes.unwrap_or(true),
                workers: u32::try_from(workers.len()).ok().filter(|_| !others_may_come),
            },
            workers,
            max_restarts: options
                .max_restarts
                .or(counted.map(|count| count.max(1).saturating_mul(RESTARTS_PER_WORKER))),
            max_fail: options.max_fail.filter(|&limit| limit > 0),
            ramp: Duration::from_millis(options.ramp_ms),
            slow_after: Duration::from_millis(options.slow_after_ms),
            retries: options.retries,
            flaky_fails: options.flaky_fails,
            fetch: options.fetch.clone(),
            fetch_to: options.fetch_to.clone().filter(|directory| !directory.is_empty()),
        })
    }

    /// What an item exceeds that has been running for so long: the time from which on it is slow, doubled as often as it
    /// can be.
    pub(super) fn exceeded(&self, running: Duration) -> Option<Duration> {
        if self.slow_after.is_zero() || running < self.slow_after {
            return None;
        }
        let mut exceeded = self.slow_after;
        while exceeded <= running / 2 {
            exceeded *= 2;
        }
        Some(exceeded)
    }

    /// How long the first item of the worker at this position is held back.
    pub(super) fn ramp_delay(&self, position: usize) -> Duration {
        let share = position as f64 / self.workers.len().max(1) as f64;
        self.ramp.mul_f64(share.min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::config::{Place, Timeouts};
    use xdist_proto::message::{Start, Wants};

    fn config(workers: Option<&str>) -> Config {
        Config {
            run: RunId("r".to_owned()),
            workers: workers.map(|text| WorkerSpec::parse_tx(text).unwrap()),
            mode: None,
            args: Vec::new(),
            python: Vec::new(),
            start: Start::Auto,
            place: Place::default(),
            wants: Wants::default(),
            joining: crate::session::Joining::default(),
            pytest_host: crate::session::PytestHost::Never,
            terminal: None,
            timeouts: Timeouts::default(),
        }
    }

    fn check(workers: Option<&str>, options: &RunOptions, expected: &str) {
        let found = match Plan::new(&config(workers), options, false) {
            Ok(plan) => {
                let names =
                    plan.workers.iter().map(|spec| spec.id.as_deref().unwrap_or("-")).collect::<String>();
                format!("{names} {} restarts {:?}", plan.mode.name(), plan.max_restarts)
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn workers_come_from_the_command_line_then_the_number_then_tx_then_auto() {
        let tx = vec!["popen//id=a".to_owned(), "popen//id=b".to_owned()];
        let auto = RunOptions { auto_workers: 3, ..RunOptions::default() };
        check(None, &auto, "--- worksteal restarts Some(12)");
        check(None, &RunOptions { tx: tx.clone(), ..auto.clone() }, "ab worksteal restarts None");
        let number = RunOptions { tx, workers: Some(2), ..auto };
        check(None, &number, "-- worksteal restarts Some(8)");
        check(Some("popen//id=c"), &number, "c worksteal restarts Some(8)");
        check(Some("popen//id=c"), &RunOptions::default(), "c worksteal restarts None");
        check(None, &RunOptions::default(), "- worksteal restarts Some(4)");
    }

    #[test]
    fn the_cap_holds_for_all_and_leaves_the_restarts_alone() {
        let capped = RunOptions { workers: Some(9), max_workers: Some(2), ..RunOptions::default() };
        check(None, &capped, "-- worksteal restarts Some(36)");
        check(
            Some("4*popen"),
            &RunOptions { max_workers: Some(3), ..RunOptions::default() },
            "--- worksteal restarts None",
        );
        check(None, &RunOptions { max_restarts: Some(0), ..capped }, "-- worksteal restarts Some(0)");
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        let dist = RunOptions { dist: Some("lod".to_owned()), ..RunOptions::default() };
        check(
            None,
            &dist,
            r#"unknown distribution mode "lod": choose from each, load, loadscope, loadfile, loadgroup, worksteal, no"#,
        );
        let tx = RunOptions { tx: vec!["via=x".to_owned()], ..RunOptions::default() };
        check(
            None,
            &tx,
            r#"--tx "via=x": exactly one of popen, ssh=[USER@]HOST, exec=COMMAND and slurm=N is needed"#,
        );
    }

    #[test]
    fn what_is_slow_exceeds_a_time_that_doubles() {
        let options = RunOptions { slow_after_ms: 60_000, ..RunOptions::default() };
        let plan = Plan::new(&config(None), &options, false).unwrap();
        let exceeded = |seconds| plan.exceeded(Duration::from_secs(seconds)).map(|time| time.as_secs());
        let times = [0, 59, 60, 119, 120, 239, 240, 3600];
        let expected = [None, None, Some(60), Some(60), Some(120), Some(120), Some(240), Some(1920)];
        assert_eq!(times.map(exceeded), expected);
        let never = Plan::new(&config(None), &RunOptions::default(), false).unwrap();
        assert_eq!(never.exceeded(Duration::MAX), None);
    }

    #[test]
    fn the_ramp_spreads_the_first_items_over_its_time() {
        let options = RunOptions { workers: Some(4), ramp_ms: 1000, ..RunOptions::default() };
        let plan = Plan::new(&config(None), &options, false).unwrap();
        let delays: Vec<u128> = (0..4).map(|position| plan.ramp_delay(position).as_millis()).collect();
        assert_eq!(delays, [0, 250, 500, 750]);
    }
}
