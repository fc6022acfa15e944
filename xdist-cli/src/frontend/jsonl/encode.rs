//! Events as JSON objects. Bytes and odd values degrade to text; what is absent is left out.

use crate::frontend::crash;
use crate::frontend::roster::Roster;
use crate::frontend::value;
use serde_json::{Map, Value, json};
use xdist_coord::session::event::{
    Configured, Crash, CrashCause, Mismatch, RunEnd, RunEvent, RunSummary, StopReason,
};
use xdist_proto::item::Collection;
use xdist_proto::message::{EndCause, Ready, Stream};
use xdist_proto::report::{
    CollectReport, FailureText, ItemReport, Location, OutcomeClass, PhaseReport, Section, SkipReason,
    WarningRecord,
};
use xdist_proto::{ItemIndex, WorkerId};

/// The event's name and fields.
pub(super) fn event(event: &RunEvent, roster: &Roster) -> (&'static str, Value) {
    let name = |worker: &WorkerId| roster.name(*worker);
    match event {
        RunEvent::Configured(configured) => ("configured", self::configured(configured)),
        RunEvent::WorkerStarting { worker, replaces, .. } => {
            let replaces = replaces.as_ref().map(name);
            ("worker_starting", present([("worker", name(worker).into()), ("replaces", replaces.into())]))
        }
        RunEvent::WorkerReady { worker, ready } => ("worker_ready", worker_ready(&name(worker), ready)),
        RunEvent::WorkerCollecting { worker } => ("worker_collecting", json!({ "worker": name(worker) })),
        RunEvent::WorkerCollected { worker, items, deselected } => {
            let fields = json!({ "worker": name(worker), "items": items, "deselected": deselected });
            ("worker_collected", fields)
        }
        RunEvent::CollectReport { worker, report } => {
            ("collect_report", collect_report(name(worker), report))
        }
        RunEvent::Collected { worker, collection } => {
            ("collected", collected(worker.as_ref().map(name), collection))
        }
        RunEvent::CollectionMismatch(mismatch) => ("collection_mismatch", self::mismatch(mismatch, roster)),
        RunEvent::Scheduling { mode } => ("scheduling", json!({ "mode": mode.name() })),
        RunEvent::ItemStarted { worker, item, phase, running } => {
            let fields = json!({ "phase": phase.name(), "running": running.as_secs_f64() });
            ("item_started", with_item(*worker, *item, roster, fields))
        }
        RunEvent::ItemFinished { worker, item, report } => {
            ("item_finished", with_item(*worker, *item, roster, item_report(report)))
        }
        RunEvent::Crashed(crash) => ("crashed", crashed(crash, roster)),
        RunEvent::WorkerDown { worker, error } => {
            ("worker_down", present([("worker", name(worker).into()), ("error", error.clone().into())]))
        }
        RunEvent::RestartsExhausted { worker, limit } => {
            ("restarts_exhausted", json!({ "worker": name(worker), "limit": limit }))
        }
        RunEvent::Warning { worker, warning } => ("warning", self::warning(&name(worker), warning)),
        RunEvent::Output { worker, stream, data } => ("output", output(&name(worker), *stream, data)),
        RunEvent::InternalError { worker, text } => {
            ("internal_error", json!({ "worker": name(worker), "text": text }))
        }
        RunEvent::UsageError { worker, text } => {
            ("usage_error", json!({ "worker": name(worker), "text": text }))
        }
        RunEvent::HostLost { host, error } => ("host_lost", json!({ "host": host, "error": error })),
        RunEvent::Stopping(reason) => ("stopping", stop_reason(reason, roster)),
        RunEvent::NotRun { worker, items, reason } => {
            let ids: Vec<String> = items.iter().map(|item| roster.any_node_id(*worker, *item)).collect();
            let items: Vec<u32> = items.iter().map(|item| item.0).collect();
            let worker = worker.as_ref().map(name);
            let head = present([("worker", worker.into())]);
            ("not_run", joined(head, json!({ "items": items, "ids": ids, "reason": reason })))
        }
        RunEvent::WorkerOutput { worker, exit_status, values } => {
            let values = values.iter().map(|(key, value)| (key.clone(), value::json(value)));
            let values: Map<_, _> = values.collect();
            let fields = json!({ "worker": name(worker), "exit_status": exit_status, "values": values });
            ("worker_output", fields)
        }
    }
}

/// How the run ended.
pub(super) fn summary(summary: &RunSummary, roster: &Roster) -> Value {
    let (end, detail) = match &summary.end {
        RunEnd::Completed => ("completed", Value::Null),
        RunEnd::Plain(reason) => ("plain", json!({ "reason": reason })),
        RunEnd::Stopped(reason) => ("stopped", stop_reason(reason, roster)),
        RunEnd::UsageError(code) => ("usage_error", json!({ "code": code })),
        RunEnd::Mismatch => ("mismatch", Value::Null),
    };
    present([
        ("end", end.into()),
        ("detail", detail),
        ("collected", summary.collected.into()),
        ("finished", summary.finished.into()),
        ("crashed", summary.crashed.into()),
        ("not_run", summary.not_run.into()),
        ("failed", summary.failed.into()),
        ("collect_errors", summary.collect_errors.into()),
    ])
}

/// An object of the fields that are not null.
fn present<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The fields of both objects.
fn joined(mut first: Value, second: Value) -> Value {
    if let (Some(first), Value::Object(second)) = (first.as_object_mut(), second) {
        first.extend(second);
    }
    first
}

fn with_item(worker: WorkerId, item: ItemIndex, roster: &Roster, fields: Value) -> Value {
    let head = json!({ "worker": roster.name(worker), "item": item.0, "id": roster.node_id(worker, item) });
    joined(head, fields)
}

/// A list, or null if it is empty.
fn list<T: Into<Value>>(values: Vec<T>) -> Value {
    if values.is_empty() { Value::Null } else { values.into_iter().map(Into::into).collect() }
}

fn optional<T>(value: Option<&T>, encode: fn(&T) -> Value) -> Value {
    value.map_or(Value::Null, encode)
}

fn configured(configured: &Configured) -> Value {
    json!({
        "run": configured.run.0,
        "workers": configured.workers,
        "mode": configured.mode.name(),
        "rootdir": configured.rootdir,
        "header": configured.header,
    })
}

fn worker_ready(worker: &str, ready: &Ready) -> Value {
    json!({
        "worker": worker,
        "pid": ready.pid,
        "executable": ready.executable,
        "python": ready.python,
        "platform": ready.platform,
        "cwd": ready.cwd,
    })
}

fn collect_report(worker: String, report: &CollectReport) -> Value {
    present([
        ("worker", worker.into()),
        ("id", report.node_id.clone().into()),
        ("outcome", outcome(report.class).into()),
        ("failure", optional(report.failure.as_ref(), failure)),
        ("skip", optional(report.skip.as_ref(), skip)),
        ("sections", sections(&report.sections)),
    ])
}

fn collected(worker: Option<String>, collection: &Collection) -> Value {
    let items = collection.items.iter().map(|item| {
        present([
            ("id", item.node_id.clone().into()),
            ("file", item.file.clone().into()),
            ("line", item.line.into()),
            ("groups", list(item.groups.clone())),
        ])
    });
    present([("worker", worker.into()), ("items", items.collect())])
}

fn mismatch(mismatch: &Mismatch, roster: &Roster) -> Value {
    let differing = mismatch.differing.iter().map(|difference| {
        let worker = roster.name(difference.worker);
        json!({ "worker": worker, "missing": difference.missing, "extra": difference.extra })
    });
    json!({ "reference": roster.name(mismatch.reference), "differing": differing.collect::<Value>() })
}

const fn outcome(class: OutcomeClass) -> &'static str {
    match class {
        OutcomeClass::Pass => "pass",
        OutcomeClass::Fail => "fail",
        OutcomeClass::Skip => "skip",
        OutcomeClass::Infrastructure => "infra",
    }
}

fn item_report(report: &ItemReport) -> Value {
    let [setup, call, teardown] = report.durations_us.map(|us| us as f64 / 1e6);
    present([
        ("outcome", outcome(report.class).into()),
        ("start", (report.start_us as f64 / 1e6).into()),
        ("durations", json!({ "setup": setup, "call": call, "teardown": teardown })),
        ("phases", list(report.phases.iter().map(phase).collect())),
    ])
}

fn phase(report: &PhaseReport) -> Value {
    let properties = report.properties.iter().map(|(name, value)| json!([name, value::json(value)]));
    let status = report
        .status
        .as_ref()
        .map(|status| json!({ "category": status.category, "letter": status.letter, "word": status.word }));
    present([
        ("phase", report.phase.name().into()),
        ("outcome", outcome(report.class).into()),
        ("detail", report.detail.clone().into()),
        ("duration", (report.duration_us as f64 / 1e6).into()),
        ("location", optional(report.location.as_ref(), location)),
        ("failure", optional(report.failure.as_ref(), failure)),
        ("skip", optional(report.skip.as_ref(), skip)),
        ("xfail", report.xfail.clone().into()),
        ("sections", sections(&report.sections)),
        ("properties", list(properties.collect())),
        ("status", status.into()),
    ])
}

fn location(location: &Location) -> Value {
    json!({ "path": location.path, "line": location.line, "domain": location.domain })
}

fn failure(failure: &FailureText) -> Value {
    let crash = failure
        .crash
        .as_ref()
        .map(|crash| json!({ "path": crash.path, "line": crash.line, "message": crash.message }));
    present([("text", failure.text.clone().into()), ("crash", crash.into())])
}

fn skip(skip: &SkipReason) -> Value {
    json!({ "path": skip.path, "line": skip.line, "reason": skip.reason })
}

fn sections(sections: &[Section]) -> Value {
    let section = |section: &Section| json!({ "title": section.title, "text": section.text });
    list(sections.iter().map(section).collect())
}

fn output(worker: &str, stream: Stream, data: &[u8]) -> Value {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    json!({ "worker": worker, "stream": stream, "text": String::from_utf8_lossy(data) })
}

fn warning(worker: &str, warning: &WarningRecord) -> Value {
    json!({
        "worker": worker,
        "when": warning.when,
        "id": warning.node_id,
        "category": warning.category,
        "text": warning.text,
        "message": warning.message,
        "path": warning.path,
        "line": warning.line,
    })
}

fn crashed(crash: &Crash, roster: &Roster) -> Value {
    let (exit_code, signal) = match &crash.cause {
        CrashCause::Process(EndCause::Exited(code)) => (Some(*code), None),
        CrashCause::Process(EndCause::Signaled(signal)) => (None, Some(*signal)),
        CrashCause::Process(EndCause::NotStarted(_) | EndCause::Killed(_)) | CrashCause::HostLost(_) => {
            (None, None)
        }
    };
    let item = crash.item.as_ref();
    let fields = present([
        ("phase", item.and_then(|item| item.phase).map(|phase| phase.name()).into()),
        ("running", item.and_then(|item| item.running).map(|time| time.as_secs_f64()).into()),
        ("cause", crash::cause(crash).into()),
        ("exit_code", exit_code.into()),
        ("signal", signal.into()),
        ("out_of_memory", crash.out_of_memory.into()),
        ("pid", crash.pid.into()),
        ("peak_rss_kib", crash.peak_rss_kib.into()),
        ("stack", crash.stack.clone().into()),
        ("stderr_tail", crash.stderr_tail.clone().into()),
    ]);
    match item {
        Some(item) => with_item(crash.worker, item.item, roster, fields),
        None => joined(json!({ "worker": roster.name(crash.worker) }), fields),
    }
}

fn stop_reason(reason: &StopReason, roster: &Roster) -> Value {
    match reason {
        StopReason::Failures(count) => json!({ "why": "failures", "count": count }),
        StopReason::Session(text) => json!({ "why": "session", "reason": text }),
        StopReason::Exit { reason, code } => {
            present([("why", "exit".into()), ("reason", reason.clone().into()), ("code", (*code).into())])
        }
        StopReason::Interrupted => json!({ "why": "interrupted" }),
        StopReason::KeyboardInterrupt(worker) => {
            json!({ "why": "keyboard_interrupt", "worker": roster.name(*worker) })
        }
        StopReason::InternalError => json!({ "why": "internal_error" }),
        StopReason::RestartsExhausted(limit) => json!({ "why": "restarts_exhausted", "limit": limit }),
        StopReason::NoWorkers(text) => json!({ "why": "no_workers", "reason": text }),
    }
}
