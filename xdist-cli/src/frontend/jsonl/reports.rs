//! pytest's reports as JSON objects, with the names that pytest-reportlog gives their fields.
//!
//! There are three for every test, so they are written as they are, without a tree of values in between.

use crate::frontend::report::{Outcome, Report, When};
use crate::frontend::value;
use serde::Serialize;
use serde_json::Value;
use xdist_proto::ItemIndex;
use xdist_proto::report::Phase;

/// The line of a report.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    #[serde(rename = "$report_type")]
    kind: &'static str,
    time: f64,
    nodeid: &'a str,
    worker_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    when: &'static str,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<(&'a str, Option<u32>, &'a str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    longrepr: Option<LongRepr<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reprcrash: Option<(&'a str, u32, &'a str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wasxfail: Option<&'a str>,
    sections: Vec<(&'a str, &'a str)>,
    user_properties: Vec<(&'a str, Value)>,
    duration: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<f64>,
}

/// The failure's text, or place and reason of a skip.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum LongRepr<'a> {
    Failure(&'a str),
    Skip(&'a str, u32, &'a str),
}

/// Where a report comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// The worker's name.
    pub(super) worker: &'a str,
    /// The worker's machine, if it is another one.
    pub(super) host: Option<&'a str>,
    /// The item, if it is the report of one.
    pub(super) item: Option<ItemIndex>,
    /// Which attempt at the item it is of, from 1, if there was more than one.
    pub(super) attempt: Option<u32>,
    /// When what it tells of began, in seconds since the epoch, where that is known.
    pub(super) start: Option<f64>,
}

impl<'a> Line<'a> {
    /// The line of a report that was made at this time of the run.
    pub(super) fn new(report: &'a Report, origin: Origin<'a>, time: f64) -> Self {
        let (kind, when) = match report.when {
            When::Collect => ("CollectReport", "collect"),
            When::Phase(Phase::Call) if report.subtest => ("SubtestReport", "call"),
            When::Phase(phase) => ("TestReport", phase.name()),
            When::Crash => ("TestReport", "???"),
        };
        let duration = report.duration_us as f64 / 1e6;
        let crash = report.failure.as_ref().and_then(|failure| failure.crash.as_ref());
        Line {
            kind,
            time,
            nodeid: &report.node_id,
            worker_id: origin.worker,
            host: origin.host,
            item_index: origin.item.map(|item| item.0),
            attempt: origin.attempt,
            when,
            outcome: outcome(report),
            location: report.location.as_ref().map(|place| (&*place.path, place.line, &*place.domain)),
            longrepr: match (&report.failure, &report.skip) {
                (Some(failure), _) => Some(LongRepr::Failure(&failure.text)),
                (None, Some(skip)) => Some(LongRepr::Skip(&skip.path, skip.line, &skip.reason)),
                (None, None) => None,
            },
            reprcrash: crash.map(|crash| (&*crash.path, crash.line, &*crash.message)),
            wasxfail: report.xfail.as_deref(),
            sections: report.sections.iter().map(|section| (&*section.title, &*section.text)).collect(),
            user_properties: report
                .properties
                .iter()
                .map(|(name, value)| (name.as_str(), value::json(value)))
                .collect(),
            duration,
            start: origin.start,
            stop: origin.start.map(|start| start + duration),
        }
    }
}

fn outcome(report: &Report) -> &str {
    match report.outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
        Outcome::Other => report.detail.as_deref().unwrap_or("other"),
    }
}
