//! The run's events in the form that a frontend at the other end of a link is told them.

use crate::session::event::{Crash, Mismatch, RunEnd, RunEvent, RunSummary, StopReason};
use std::time::Duration;
use xdist_proto::frontend::{
    CollectionDifference, CollectionMismatch, CrashQuestion, Crashed, EndKind, ErrorKind, Finished,
    FrontendMessage, ItemResult, ItemRunning, Items, NodeOutput, NotRun, RestartsExhausted, RunCollectReport,
    RunConfigured, RunError, RunOutput, RunWarning, Scheduling, Stopping, TakenBack, Unforkable,
    WorkerCollected, WorkerDown, WorkerRecycled, WorkerStarting,
};
use xdist_proto::{Item, WorkerId};

/// A message with items is closed when it has this many bytes of them, so that it fits a frame.
const ITEM_BYTES_PER_MESSAGE: usize = 256 << 10;

/// The most indices in one message.
const INDICES_PER_MESSAGE: usize = 50_000;

/// The most node ids of one kind that a difference names.
const DIFFERING_IDS: usize = 1000;

/// The messages that tell of an event, in order. Most events are one; an event that no frontend has a use for is none.
#[must_use]
pub fn messages(event: RunEvent) -> Vec<FrontendMessage> {
    let message = match event {
        RunEvent::Configured(configured) => FrontendMessage::RunConfigured(RunConfigured {
            run: configured.run,
            workers: configured.workers,
            mode: configured.mode.name().to_owned(),
        }),
        RunEvent::WorkerStarting { worker, name, spec, replaces } => {
            FrontendMessage::WorkerStarting(WorkerStarting { worker, name, spec, replaces })
        }
        RunEvent::WorkerReady { ready, .. } => FrontendMessage::WorkerReady(ready),
        RunEvent::WorkerCollected { worker, items, deselected } => {
            FrontendMessage::WorkerCollected(WorkerCollected { worker, items, deselected })
        }
        RunEvent::CollectReport { worker, report } => {
            FrontendMessage::CollectReport(RunCollectReport { worker, report })
        }
        RunEvent::Collected { worker, collection } => return items(worker, &collection.items),
        RunEvent::CollectionMismatch(mismatch) => FrontendMessage::CollectionMismatch(difference(mismatch)),
        RunEvent::Scheduling { mode } => {
            FrontendMessage::Scheduling(Scheduling { mode: mode.name().to_owned() })
        }
        RunEvent::ItemStarted { worker, item, phase, running, slow } => {
            let (running_ms, slow_ms) = (millis(running), slow.map(millis));
            FrontendMessage::ItemRunning(ItemRunning { worker, item, phase, running_ms, slow_ms })
        }
        RunEvent::ItemFinished { worker, item, report } => {
            FrontendMessage::ItemResult(ItemResult { worker, item, report: *report })
        }
        RunEvent::CrashQuestion { request, crash } => {
            FrontendMessage::CrashQuestion(CrashQuestion { request, crash: Box::new(crashed(*crash)) })
        }
        RunEvent::Crashed(crash) => FrontendMessage::Crashed(Box::new(crashed(*crash))),
        RunEvent::TakenBack { worker, items } => FrontendMessage::TakenBack(TakenBack { worker, items }),
        RunEvent::WorkerRecycled { worker, reason } => {
            FrontendMessage::WorkerRecycled(WorkerRecycled { worker, reason })
        }
        RunEvent::WorkerDown { worker, error } => FrontendMessage::WorkerDown(WorkerDown { worker, error }),
        RunEvent::RestartsExhausted { worker, limit } => {
            FrontendMessage::RestartsExhausted(RestartsExhausted { worker, limit })
        }
        RunEvent::Warning { worker, warning } => FrontendMessage::Warning(RunWarning { worker, warning }),
        RunEvent::Output { worker, stream, data } => {
            FrontendMessage::Output(RunOutput { worker, stream, data })
        }
        RunEvent::InternalError { worker, text } => error(Some(worker), ErrorKind::Internal, text),
        RunEvent::UsageError { worker, text } => error(Some(worker), ErrorKind::Usage, text),
        RunEvent::HostLost { host, error: text } => error(None, ErrorKind::Host, format!("{host}: {text}")),
        RunEvent::Stopping(reason) => FrontendMessage::Stopping(Stopping { reason: reason.to_string() }),
        RunEvent::NotRun { worker, items, reason } => {
            let parts = items.chunks(INDICES_PER_MESSAGE);
            let message = |items: &[_]| NotRun { worker, items: items.to_vec(), reason: reason.clone() };
            return parts.map(|items| FrontendMessage::NotRun(message(items))).collect();
        }
        RunEvent::WorkerOutput { worker, exit_status, values } => FrontendMessage::NodeOutput(NodeOutput {
            worker,
            exit_status,
            values: values.into_iter().collect(),
        }),
        RunEvent::Unforkable { worker, reason } => FrontendMessage::Unforkable(Unforkable { worker, reason }),
        RunEvent::WorkerCollecting { .. } => return Vec::new(),
    };
    vec![message]
}

/// The last message.
#[must_use]
pub fn finished(summary: &RunSummary) -> FrontendMessage {
    let (end, exit_code, reason) = match &summary.end {
        RunEnd::Completed => (EndKind::Completed, None, String::new()),
        RunEnd::Plain(reason) => (EndKind::Plain, None, reason.clone()),
        RunEnd::UsageError(code) => (EndKind::UsageError, Some(*code), String::new()),
        RunEnd::Mismatch => (EndKind::Mismatch, None, String::new()),
        RunEnd::Stopped(reason) => stopped(reason),
    };
    FrontendMessage::Finished(Finished {
        end,
        reason,
        worker: match &summary.end {
            RunEnd::Stopped(StopReason::KeyboardInterrupt(worker)) => Some(*worker),
            _ => None,
        },
        exit_code,
        collected: summary.collected,
        not_run: summary.not_run,
    })
}

fn stopped(reason: &StopReason) -> (EndKind, Option<i32>, String) {
    let kind = match reason {
        StopReason::Failures(_) | StopReason::Session(_) => EndKind::Stopped,
        StopReason::Exit { reason, code } => return (EndKind::Exit, *code, reason.clone()),
        StopReason::Interrupted | StopReason::KeyboardInterrupt(_) => EndKind::Interrupted,
        StopReason::InternalError | StopReason::NoWorkers(_) | StopReason::PytestHostLost => {
            EndKind::InternalError
        }
        StopReason::RestartsExhausted(_) => EndKind::RestartsExhausted,
    };
    (kind, None, reason.to_string())
}

fn items(worker: Option<WorkerId>, all: &[Item]) -> Vec<FrontendMessage> {
    let total = to_u32(all.len());
    let mut messages = Vec::new();
    let mut offset = 0;
    loop {
        let mut bytes = 0;
        let rest = &all[offset..];
        let fits = rest.iter().take_while(|item| {
            let before = bytes;
            bytes += size(item);
            before < ITEM_BYTES_PER_MESSAGE
        });
        let part = &rest[..fits.count()];
        messages.push(FrontendMessage::Items(Items {
            worker,
            offset: to_u32(offset),
            total,
            items: part.to_vec(),
        }));
        offset += part.len();
        if offset >= all.len() {
            return messages;
        }
    }
}

fn size(item: &Item) -> usize {
    let texts = item.groups.iter().chain(&item.keywords).chain(&item.file);
    item.node_id.len() + texts.map(|text| text.len() + 5).sum::<usize>() + 32
}

fn difference(mismatch: Mismatch) -> CollectionMismatch {
    let first = |mut ids: Vec<String>| {
        ids.truncate(DIFFERING_IDS);
        ids
    };
    let differing = mismatch.differing.into_iter().map(|difference| CollectionDifference {
        worker: difference.worker,
        missing: first(difference.missing),
        extra: first(difference.extra),
    });
    CollectionMismatch { reference: mismatch.reference, differing: differing.collect() }
}

fn crashed(crash: Crash) -> Crashed {
    Crashed {
        worker: crash.worker,
        cause: crash.cause.to_string(),
        limit_ms: crash.time_limit().map(millis),
        pid: crash.pid,
        host: crash.host,
        out_of_memory: crash.out_of_memory,
        stderr_tail: crash.stderr_tail,
        stack: crash.stack,
        peak_rss_kib: crash.peak_rss_kib,
        item: crash.item.map(|item| item.item),
        phase: crash.item.and_then(|item| item.phase),
        running_ms: crash.item.and_then(|item| item.running).map(millis),
        report: crash.report,
        asked: crash.asked,
    }
}

fn error(worker: Option<WorkerId>, kind: ErrorKind, text: String) -> FrontendMessage {
    FrontendMessage::Error(RunError { worker, kind, text })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).expect("a collection has fewer than 2^32 items")
}
