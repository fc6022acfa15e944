//! Events as JSON objects. Bytes and odd values degrade to text; what is absent is left out.

use crate::frontend::crash;
use crate::frontend::roster::Roster;
use crate::frontend::value;
use serde_json::{Map, Value, json};
use std::time::Duration;
use xdist_coord::session::event::{
    Configured, Crash, CrashCause, FailedAttempt, Failure, FilesFetched, Mismatch, RunEnd, RunEvent,
    RunSummary, StopReason,
};
use xdist_proto::item::Collection;
use xdist_proto::message::{EndCause, Ready, Stream};
use xdist_proto::report::WarningRecord;
use xdist_proto::{Item, ItemIndex, WorkerId};

/// The type and the fields of the line of an event that is not a report of pytest's.
pub(super) fn event(event: &RunEvent, roster: &Roster) -> Option<(&'static str, Value)> {
    let name = |worker: &WorkerId| roster.name(*worker);
    Some(match event {
        // Written as pytest's reports.
        RunEvent::ItemFinished { .. } | RunEvent::CollectReport { .. } => return None,
        // What is decided follows.
        RunEvent::CrashQuestion { .. } | RunEvent::TakenBack { .. } => return None,
        RunEvent::Configured(configured) => ("Configured", self::configured(configured)),
        RunEvent::WorkerStarting { worker, replaces, .. } => {
            let replaces = replaces.as_ref().map(name);
            ("WorkerStarting", present([("worker_id", name(worker).into()), ("replaces", replaces.into())]))
        }
        RunEvent::WorkerReady { worker, host, ready, .. } => {
            ("WorkerReady", worker_ready(&name(worker), host, ready))
        }
        RunEvent::WorkerCollecting { worker } => ("WorkerCollecting", json!({ "worker_id": name(worker) })),
        RunEvent::WorkerCollected { worker, items, deselected } => {
            let fields = json!({ "worker_id": name(worker), "items": items, "deselected": deselected });
            ("WorkerCollected", fields)
        }
        RunEvent::Unforkable { worker, reason } => {
            ("Unforkable", json!({ "worker_id": name(worker), "reason": reason }))
        }
        RunEvent::FilesCopied(copied) => (
            "FilesCopied",
            json!({
                "host": copied.host,
                "name": copied.name,
                "path": copied.path,
                "files": copied.files,
                "written": copied.written,
                "removed": copied.removed,
                "bytes": copied.bytes,
                "duration": Duration::from_millis(copied.took_ms).as_secs_f64(),
            }),
        ),
        RunEvent::Collected { worker, collection } => {
            ("Collected", collected(worker.as_ref().map(name), collection))
        }
        RunEvent::CollectionMismatch(mismatch) => ("CollectionMismatch", self::mismatch(mismatch, roster)),
        RunEvent::Scheduling { mode, warning } => {
            ("Scheduling", present([("mode", mode.name().into()), ("warning", warning.clone().into())]))
        }
        RunEvent::ItemStarted { worker, item, phase, running, slow } => {
            let slow = slow.map(|time| time.as_secs_f64());
            let fields = present([
                ("when", phase.name().into()),
                ("running", running.as_secs_f64().into()),
                ("slow", slow.into()),
            ]);
            ("ItemStarted", joined(self::item(*worker, *item, roster), fields))
        }
        RunEvent::ItemRetried(attempt) => ("ItemRetried", retried(attempt, roster)),
        RunEvent::Crashed(crash) => ("Crashed", crashed(crash, roster)),
        RunEvent::TerminalLent { worker } => ("DebuggerEntered", json!({ "worker_id": name(worker) })),
        RunEvent::TerminalBack { worker } => ("DebuggerLeft", json!({ "worker_id": name(worker) })),
        RunEvent::WorkerRecycled { worker, reason } => {
            ("WorkerRecycled", json!({ "worker_id": name(worker), "reason": reason }))
        }
        RunEvent::WorkerDown { worker, error } => {
            ("WorkerDown", present([("worker_id", name(worker).into()), ("error", error.clone().into())]))
        }
        RunEvent::RestartsExhausted { worker, limit } => {
            ("RestartsExhausted", json!({ "worker_id": name(worker), "limit": limit }))
        }
        RunEvent::Warning { worker, warning } => ("WarningMessage", self::warning(&name(worker), warning)),
        RunEvent::Output { worker, stream, data } => ("Output", output(&name(worker), *stream, data)),
        RunEvent::InternalError { worker, text } => {
            ("InternalError", json!({ "worker_id": name(worker), "text": text }))
        }
        RunEvent::UsageError { worker, text } => {
            ("UsageError", json!({ "worker_id": name(worker), "text": text }))
        }
        RunEvent::HostLost { host, error } => ("HostLost", json!({ "host": host, "error": error })),
        RunEvent::WorkerUnlike { worker, text } => {
            ("WorkerUnlike", json!({ "worker_id": name(worker), "text": text }))
        }
        RunEvent::WorkersAwaited { patience } => {
            ("WorkersAwaited", json!({ "patience": patience.as_secs_f64() }))
        }
        RunEvent::FilesFetched(fetched) => ("FilesFetched", files_fetched(fetched)),
        RunEvent::Stopping(reason) => ("Stopping", stop_reason(reason, roster)),
        RunEvent::NotRun { worker, items, reason } => {
            let ids: Vec<String> = items.iter().map(|item| roster.any_node_id(*worker, *item)).collect();
            let items: Vec<u32> = items.iter().map(|item| item.0).collect();
            let worker = present([("worker_id", worker.as_ref().map(name).into())]);
            ("NotRun", joined(worker, json!({ "items": items, "nodeids": ids, "reason": reason })))
        }
        RunEvent::WorkerOutput { worker, exit_status, values } => {
            let values = values.iter().map(|(key, value)| (key.clone(), value::json(value)));
            let values: Map<_, _> = values.collect();
            let fields = json!({ "worker_id": name(worker), "exitstatus": exit_status, "values": values });
            ("WorkerOutput", fields)
        }
    })
}

/// How the run ended.
pub(super) fn summary(summary: &RunSummary, exit_code: u8, roster: &Roster) -> Value {
    let (end, detail) = match &summary.end {
        RunEnd::Completed => ("completed", Value::Null),
        RunEnd::Plain(reason) => ("plain", json!({ "reason": reason })),
        RunEnd::Stopped(reason) => ("stopped", stop_reason(reason, roster)),
        RunEnd::UsageError(_) => ("usage_error", Value::Null),
        RunEnd::Mismatch => ("mismatch", Value::Null),
    };
    present([
        ("exitstatus", exit_code.into()),
        ("end", end.into()),
        ("detail", detail),
        ("collected", summary.collected.into()),
        ("finished", summary.finished.into()),
        ("crashed", summary.crashed.into()),
        ("not_run", summary.not_run.into()),
        ("failed", summary.failed.into()),
        ("flaky", summary.flaky.into()),
        ("collect_errors", summary.collect_errors.into()),
    ])
}

/// With all that is known of the crash, if that is how it failed.
fn retried(attempt: &FailedAttempt, roster: &Roster) -> Value {
    let FailedAttempt { worker, item, retry, limit, failure } = attempt;
    let crash = match failure {
        Failure::Report(_) => Value::Null,
        Failure::Crash(crash) => crashed(crash, roster),
    };
    let fields = present([("retry", (*retry).into()), ("retries", (*limit).into()), ("crash", crash)]);
    joined(self::item(*worker, *item, roster), fields)
}

/// An object of the fields that are not null.
pub(super) fn present<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The fields of both objects.
pub(super) fn joined(mut first: Value, second: Value) -> Value {
    if let (Some(first), Value::Object(second)) = (first.as_object_mut(), second) {
        first.extend(second);
    }
    first
}

/// A list, or null if it is empty.
fn list<T: Into<Value>>(values: Vec<T>) -> Value {
    if values.is_empty() { Value::Null } else { values.into_iter().map(Into::into).collect() }
}

/// The fields that say which item is meant.
pub(super) fn item(worker: WorkerId, item: ItemIndex, roster: &Roster) -> Value {
    json!({
        "nodeid": roster.node_id(worker, item),
        "worker_id": roster.name(worker),
        "item_index": item.0,
    })
}

fn files_fetched(fetched: &FilesFetched) -> Value {
    present([
        ("host", fetched.machine.clone().into()),
        ("from", fetched.from.clone().into()),
        ("into", fetched.into.clone().into()),
        ("files", fetched.files.into()),
        ("bytes", fetched.bytes.into()),
        ("problems", list(fetched.problems.clone())),
    ])
}

fn configured(configured: &Configured) -> Value {
    json!({
        "testrun_uid": configured.run.0,
        "workers": configured.workers,
        "mode": configured.mode.name(),
        "rootdir": configured.rootdir,
        "header": configured.header,
    })
}

fn worker_ready(worker: &str, host: &str, ready: &Ready) -> Value {
    present([
        ("worker_id", worker.into()),
        ("pid", ready.pid.into()),
        ("host", known(host)),
        ("executable", ready.executable.clone().into()),
        ("python", ready.python.clone().into()),
        ("platform", ready.platform.clone().into()),
        ("cwd", ready.cwd.clone().into()),
    ])
}

/// A text, or null if it is empty.
fn known(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

fn collected(worker: Option<String>, collection: &Collection) -> Value {
    let items = collection.items.iter().map(|item| {
        present([
            ("nodeid", item.node_id.clone().into()),
            ("file", item.file.as_deref().into()),
            ("line", item.line.into()),
            ("groups", list(item.groups.to_vec())),
            ("exclusive", item.exclusive.then_some(true).into()),
            ("resources", resources(item)),
        ])
    });
    present([("worker_id", worker.into()), ("items", items.collect())])
}

/// The resources' limits by name, or null if there are none.
fn resources(item: &Item) -> Value {
    let limits = item.resources.iter().map(|resource| (resource.name.clone(), resource.limit.into()));
    if item.resources.is_empty() { Value::Null } else { Value::Object(limits.collect()) }
}

fn mismatch(mismatch: &Mismatch, roster: &Roster) -> Value {
    let differing = mismatch.differing.iter().map(|difference| {
        let worker = roster.name(difference.worker);
        json!({ "worker_id": worker, "missing": difference.missing, "extra": difference.extra })
    });
    json!({ "reference": roster.name(mismatch.reference), "differing": differing.collect::<Value>() })
}

fn output(worker: &str, stream: Stream, data: &[u8]) -> Value {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    json!({ "worker_id": worker, "stream": stream, "text": String::from_utf8_lossy(data) })
}

/// A warning, with the names that pytest-reportlog gives its fields.
fn warning(worker: &str, warning: &WarningRecord) -> Value {
    json!({
        "worker_id": worker,
        "when": warning.when,
        "nodeid": warning.node_id,
        "category": warning.category,
        "message": warning.message,
        "filename": warning.path,
        "lineno": warning.line,
        "text": warning.text,
    })
}

fn crashed(crash: &Crash, roster: &Roster) -> Value {
    let (exit_code, signal) = match &crash.cause {
        CrashCause::Process(EndCause::Exited(code)) => (Some(*code), None),
        CrashCause::Process(EndCause::Signaled(signal)) => (None, Some(*signal)),
        CrashCause::Process(EndCause::NotStarted(_) | EndCause::Killed(_) | EndCause::TimedOut(_))
        | CrashCause::HostLost(_) => (None, None),
    };
    let head = match &crash.item {
        Some(item) => self::item(crash.worker, item.item, roster),
        None => json!({ "worker_id": roster.name(crash.worker) }),
    };
    let item = crash.item.as_ref();
    let fields = present([
        ("when", item.and_then(|item| item.phase).map(|phase| phase.name()).into()),
        ("running", item.and_then(|item| item.running).map(|time| time.as_secs_f64()).into()),
        ("cause", crash::cause(crash).into()),
        ("exit_code", exit_code.into()),
        ("signal", signal.into()),
        ("out_of_memory", crash.out_of_memory.into()),
        ("timeout", crash.time_limit().map(|limit| limit.as_secs_f64()).into()),
        ("pid", crash.pid.into()),
        ("host", known(&crash.host)),
        ("peak_rss_kib", crash.peak_rss_kib.into()),
        ("stack", crash.stack.clone().into()),
        ("stderr_tail", crash.stderr_tail.clone().into()),
    ]);
    joined(head, fields)
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
            json!({ "why": "keyboard_interrupt", "worker_id": roster.name(*worker) })
        }
        StopReason::InternalError => json!({ "why": "internal_error" }),
        StopReason::RestartsExhausted(limit) => json!({ "why": "restarts_exhausted", "limit": limit }),
        StopReason::PytestHostLost => json!({ "why": "pytest_host_lost" }),
        StopReason::NoWorkers(text) => json!({ "why": "no_workers", "reason": text }),
    }
}
