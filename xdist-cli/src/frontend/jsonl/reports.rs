//! pytest's reports as JSON objects, with the names that pytest-reportlog gives their fields.

use super::encode::{joined, present};
use crate::frontend::report::{Outcome, Report, When};
use crate::frontend::value;
use serde_json::{Value, json};
use xdist_proto::report::Phase;

/// The type and the fields of a report. `start` is when it began, in seconds since the epoch, where that is known.
pub(super) fn report(report: &Report, start: Option<f64>) -> (&'static str, Value) {
    let (kind, when) = match report.when {
        When::Collect => ("CollectReport", "collect"),
        When::Phase(Phase::Call) if report.subtest => ("SubtestReport", "call"),
        When::Phase(phase) => ("TestReport", phase.name()),
        When::Crash => ("TestReport", "???"),
    };
    let duration = report.duration_us as f64 / 1e6;
    let crash = report.failure.as_ref().and_then(|failure| failure.crash.as_ref());
    let head = json!({ "nodeid": report.node_id, "when": when, "outcome": outcome(report) });
    let rest = present([
        ("location", location(report)),
        ("longrepr", longrepr(report)),
        ("reprcrash", crash.map(|crash| json!([crash.path, crash.line, crash.message])).into()),
        ("wasxfail", report.xfail.clone().into()),
        ("sections", report.sections.iter().map(|section| json!([section.title, section.text])).collect()),
        ("user_properties", properties(report)),
        ("duration", duration.into()),
        ("start", start.into()),
        ("stop", start.map(|start| start + duration).into()),
    ]);
    (kind, joined(head, rest))
}

fn outcome(report: &Report) -> &str {
    match report.outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
        Outcome::Other => report.detail.as_deref().unwrap_or("other"),
    }
}

fn location(report: &Report) -> Value {
    report.location.as_ref().map(|place| json!([place.path, place.line, place.domain])).into()
}

/// The failure's text, or place and reason of a skip.
fn longrepr(report: &Report) -> Value {
    match (&report.failure, &report.skip) {
        (Some(failure), _) => failure.text.clone().into(),
        (None, Some(skip)) => json!([skip.path, skip.line, skip.reason]),
        (None, None) => Value::Null,
    }
}

fn properties(report: &Report) -> Value {
    report.properties.iter().map(|(name, value)| json!([name, value::json(value)])).collect()
}
