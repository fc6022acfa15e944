//! The run's events in the form that a frontend at the other end of a link is told them.

use crate::session::event::{
    self, Crash, FailedAttempt, Failure, Mismatch, RunEnd, RunEvent, RunSummary, StopReason,
};
use std::time::Duration;
use xdist_proto::frontend::{
    CollectionDifference, CollectionMismatch, CrashQuestion, Crashed, EndKind, ErrorKind, FilesFetched,
    Finished, FrontendMessage, ItemResult, ItemRetried, ItemRunning, Items, NodeOutput, NotRun,
    RestartsExhausted, RunCollectReport, RunConfigured, RunError, RunOutput, RunWarning, Scheduling,
    Stopping, TakenBack, TerminalBack, TerminalLent, Unforkable, WorkerCollected, WorkerDown, WorkerRecycled,
    WorkerStarting,
};
use xdist_proto::{Item, WorkerId};

/// A message has items of so many bytes at most, so that it fits a frame.
const ITEM_BYTES_PER_MESSAGE: usize = 256 << 10;

/// What a text costs beyond its own bytes, at most.
const TEXT_BYTES: usize = 5;

/// What an item costs beyond its texts, about.
const ITEM_BYTES: usize = 32;

/// The most indices in one message.
const INDICES_PER_MESSAGE: usize = 50_000;

/// The most node ids of one kind that a difference names.
const DIFFERING_IDS: usize = 1000;

/// The most bytes of node ids that all differences name together, so that they fit a frame.
const DIFFERING_BYTES: usize = 4 << 20;

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
        RunEvent::Scheduling { mode, warning } => {
            FrontendMessage::Scheduling(Scheduling { mode: mode.name().to_owned(), warning })
        }
        RunEvent::ItemStarted { worker, item, phase, running, slow } => {
            let (running_ms, slow_ms) = (millis(running), slow.map(millis));
            FrontendMessage::ItemRunning(ItemRunning { worker, item, phase, running_ms, slow_ms })
        }
        RunEvent::ItemFinished { worker, item, report, retries } => {
            FrontendMessage::ItemResult(ItemResult { worker, item, report: *report, retries })
        }
        RunEvent::ItemRetried(attempt) => FrontendMessage::ItemRetried(Box::new(retried(*attempt))),
        RunEvent::CrashQuestion { request, crash } => {
            FrontendMessage::CrashQuestion(CrashQuestion { request, crash: Box::new(crashed(*crash)) })
        }
        RunEvent::Crashed(crash) => FrontendMessage::Crashed(Box::new(crashed(*crash))),
        RunEvent::TerminalLent { worker } => FrontendMessage::TerminalLent(TerminalLent { worker }),
        RunEvent::TerminalBack { .. } => FrontendMessage::TerminalBack(TerminalBack {}),
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
        RunEvent::WorkerUnlike { worker, text } => {
            error(Some(worker), ErrorKind::Host, format!("a worker differs: {text}"))
        }
        RunEvent::WorkersAwaited { patience } => error(None, ErrorKind::Host, event::awaited(patience)),
        RunEvent::FilesFetched(fetched) => {
            let lines = fetched.lines();
            let event::FilesFetched { machine, into: directory, files, bytes, .. } = *fetched;
            FrontendMessage::FilesFetched(FilesFetched { machine, directory, files, bytes, lines })
        }
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
        RunEvent::FilesCopied(copied) => FrontendMessage::FilesCopied(*copied),
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
        flaky: summary.flaky,
        flaky_fails: summary.flaky_fails,
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
            bytes += size(item);
            bytes <= ITEM_BYTES_PER_MESSAGE
        });
        // An item that is longer than that has a message of its own.
        let count = fits.count().max(1).min(rest.len());
        let part = &rest[..count];
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
    let names = item.resources.iter().map(|resource| &resource.name);
    let texts = item.groups.iter().chain(&item.keywords).chain(names).map(String::len);
    let lengths = texts.chain(item.file.as_ref().map(|file| file.len()));
    item.node_id.len() + lengths.map(|length| length + TEXT_BYTES).sum::<usize>() + ITEM_BYTES
}

fn difference(mismatch: Mismatch) -> CollectionMismatch {
    // Each list has its share, so that none goes without because of others.
    let share = DIFFERING_BYTES / (2 * mismatch.differing.len()).max(1);
    let differing = mismatch.differing.into_iter().map(|difference| CollectionDifference {
        worker: difference.worker,
        missing: first_ids(difference.missing, share),
        extra: first_ids(difference.extra, share),
    });
    CollectionMismatch { reference: mismatch.reference, differing: differing.collect() }
}

fn first_ids(mut ids: Vec<String>, most_bytes: usize) -> Vec<String> {
    let mut bytes = 0;
    let fits = ids.iter().take(DIFFERING_IDS).take_while(|id| {
        bytes += id.len() + TEXT_BYTES;
        bytes <= most_bytes
    });
    let count = fits.count();
    ids.truncate(count);
    ids
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
        retries: crash.retries,
    }
}

fn retried(attempt: FailedAttempt) -> ItemRetried {
    let FailedAttempt { worker, item, retry, limit, failure } = attempt;
    let (report, crash) = match failure {
        Failure::Report(report) => (Some(*report), None),
        Failure::Crash(crash) => (None, Some(Box::new(crashed(*crash)))),
    };
    ItemRetried { worker, item, retry, limit, report, crash }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::event::{CrashCause, CrashedItem, Difference};
    use std::rc::Rc;
    use xdist_proto::codec;
    use xdist_proto::frame::MAX_FRAME_BYTES;
    use xdist_proto::message::EndCause;
    use xdist_proto::report::Phase;
    use xdist_proto::{Collection, ItemIndex};

    const WORKER: WorkerId = WorkerId(3);

    fn parts(items: Vec<Item>) -> Vec<Items> {
        let event = RunEvent::Collected { worker: None, collection: Rc::new(Collection { items }) };
        let part = |message| match message {
            FrontendMessage::Items(items) => items,
            other => panic!("{other:?}"),
        };
        messages(event).into_iter().map(part).collect()
    }

    /// The parts hold these items, in order and without gaps.
    fn check_parts(parts: &[Items], expected: &[Item]) {
        let mut offset = 0;
        for part in parts {
            assert_eq!((part.offset as usize, part.total as usize), (offset, expected.len()));
            offset += part.items.len();
        }
        let items: Vec<&Item> = parts.iter().flat_map(|part| &part.items).collect();
        assert_eq!(items, expected.iter().collect::<Vec<_>>());
    }

    fn frame_bytes(message: &FrontendMessage) -> usize {
        let mut out = Vec::new();
        codec::encode_into(message, MAX_FRAME_BYTES, &mut out).unwrap();
        out.len()
    }

    #[test]
    fn many_items_are_several_messages_of_a_moderate_size() {
        let item = |number| Item {
            file: Some("elsewhere.py".into()),
            line: Some(number),
            groups: ["group".to_owned()].into(),
            keywords: vec!["k".repeat(20); 10].into(),
            ..Item::new(format!("tests/test_{number}.py::test"))
        };
        let items: Vec<Item> = (0..10_000).map(item).collect();
        let parts = parts(items.clone());
        check_parts(&parts, &items);
        assert!(parts.len() > 5, "{}", parts.len());
        for part in parts {
            let bytes = frame_bytes(&FrontendMessage::Items(part));
            assert!(bytes < ITEM_BYTES_PER_MESSAGE + 100, "{bytes}");
        }
    }

    #[test]
    fn an_item_that_is_longer_than_a_message_should_be_has_one_of_its_own() {
        let long = || Item::new("x".repeat(2 * ITEM_BYTES_PER_MESSAGE));
        let items = vec![Item::new("a"), long(), long(), Item::new("b")];
        let parts = parts(items.clone());
        check_parts(&parts, &items);
        let lengths: Vec<usize> = parts.iter().map(|part| part.items.len()).collect();
        assert_eq!(lengths, [1, 1, 1, 1]);
    }

    #[test]
    fn an_empty_collection_is_told_too() {
        let parts = parts(Vec::new());
        assert_eq!(parts, [Items { worker: None, offset: 0, total: 0, items: Vec::new() }]);
    }

    #[test]
    fn many_items_that_did_not_run_are_several_messages() {
        let all: Vec<ItemIndex> = (0..120_000).map(ItemIndex).collect();
        let reason = "interrupted".to_owned();
        let event = RunEvent::NotRun { worker: Some(WORKER), items: all.clone(), reason: reason.clone() };
        let mut told = Vec::new();
        for message in messages(event) {
            let FrontendMessage::NotRun(part) = message else { panic!("{message:?}") };
            assert_eq!((part.worker, &part.reason), (Some(WORKER), &reason));
            assert!(part.items.len() <= INDICES_PER_MESSAGE);
            told.extend(part.items);
        }
        assert_eq!(told, all);
    }

    fn difference_of(workers: usize, missing: &[String], extra: &[String]) -> FrontendMessage {
        let difference = Difference { worker: WORKER, missing: missing.to_vec(), extra: extra.to_vec() };
        let mismatch = Mismatch { reference: WorkerId(0), differing: vec![difference; workers] };
        let mut messages = messages(RunEvent::CollectionMismatch(mismatch));
        assert_eq!(messages.len(), 1);
        messages.remove(0)
    }

    #[test]
    fn a_difference_names_the_first_items_and_fits_a_frame() {
        let ids = |count, length| vec!["x".repeat(length); count];
        let counts = |message: &FrontendMessage| {
            let FrontendMessage::CollectionMismatch(told) = message else { panic!("{message:?}") };
            let count =
                |difference: &CollectionDifference| (difference.missing.len(), difference.extra.len());
            told.differing.iter().map(count).collect::<Vec<_>>()
        };
        let all = ids(3, 5);
        let FrontendMessage::CollectionMismatch(told) = difference_of(1, &all, &[]) else { panic!() };
        assert_eq!((told.reference, told.differing[0].worker), (WorkerId(0), WORKER));
        assert_eq!((&told.differing[0].missing, &told.differing[0].extra), (&all, &Vec::new()));
        let many = difference_of(2, &ids(5000, 40), &ids(1000, 40));
        assert_eq!(counts(&many), [(1000, 1000); 2]);
        let long = difference_of(100, &ids(1000, 300), &ids(10, 300));
        assert!(counts(&long).iter().all(|&(missing, extra)| missing > 10 && missing < 1000 && extra == 10));
        assert!(frame_bytes(&long) < MAX_FRAME_BYTES as usize);
        // Not even one fits.
        assert_eq!(counts(&difference_of(1, &ids(2, 5 << 20), &[])), [(0, 0)]);
    }

    #[test]
    fn a_crash_is_told_with_all_that_is_known_of_it() {
        let crash = |item| Crash {
            worker: WORKER,
            item,
            report: None,
            cause: CrashCause::Process(EndCause::Signaled(11)),
            out_of_memory: true,
            pid: Some(7),
            host: "buildhost".to_owned(),
            stderr_tail: "last words".to_owned(),
            stack: None,
            peak_rss_kib: 9,
            asked: true,
            retries: 2,
        };
        let item = CrashedItem {
            item: ItemIndex(4),
            phase: Some(Phase::Call),
            running: Some(Duration::from_millis(1500)),
        };
        let expected = Crashed {
            worker: WORKER,
            cause: "signal 11 (SIGSEGV)".to_owned(),
            pid: Some(7),
            host: "buildhost".to_owned(),
            out_of_memory: true,
            stderr_tail: "last words".to_owned(),
            peak_rss_kib: 9,
            asked: true,
            retries: 2,
            ..Crashed::default()
        };
        let told = messages(RunEvent::Crashed(Box::new(crash(None))));
        assert_eq!(told, [FrontendMessage::Crashed(Box::new(expected.clone()))]);
        let expected = Crashed {
            item: Some(ItemIndex(4)),
            phase: Some(Phase::Call),
            running_ms: Some(1500),
            ..expected
        };
        let told = messages(RunEvent::CrashQuestion { request: 2, crash: Box::new(crash(Some(item))) });
        let question = CrashQuestion { request: 2, crash: Box::new(expected) };
        assert_eq!(told, [FrontendMessage::CrashQuestion(question)]);
    }

    #[test]
    fn errors_say_whose_they_are() {
        let told = |event| match messages(event).remove(0) {
            FrontendMessage::Error(RunError { worker, kind, text }) => (worker, kind, text),
            other => panic!("{other:?}"),
        };
        let text = || "no".to_owned();
        assert_eq!(
            told(RunEvent::InternalError { worker: WORKER, text: text() }),
            (Some(WORKER), ErrorKind::Internal, text())
        );
        assert_eq!(
            told(RunEvent::UsageError { worker: WORKER, text: text() }),
            (Some(WORKER), ErrorKind::Usage, text())
        );
        assert_eq!(
            told(RunEvent::HostLost { host: "a host".to_owned(), error: text() }),
            (None, ErrorKind::Host, "a host: no".to_owned())
        );
    }

    #[test]
    fn every_end_has_its_kind() {
        let told = |end| {
            let summary = RunSummary {
                end,
                collected: 9,
                finished: 5,
                crashed: 1,
                not_run: 3,
                failed: 0,
                flaky: 1,
                flaky_fails: true,
                collect_errors: 0,
            };
            match finished(&summary) {
                FrontendMessage::Finished(told) => {
                    assert_eq!((told.collected, told.not_run), (9, 3));
                    assert_eq!((told.flaky, told.flaky_fails), (1, true));
                    (told.end, told.exit_code, told.reason)
                }
                other => panic!("{other:?}"),
            }
        };
        let check = |end, kind, code, reason: &str| assert_eq!(told(end), (kind, code, reason.to_owned()));
        let stopped = RunEnd::Stopped;
        let why = || "why".to_owned();
        check(RunEnd::Completed, EndKind::Completed, None, "");
        check(RunEnd::Plain(why()), EndKind::Plain, None, "why");
        check(RunEnd::UsageError(4), EndKind::UsageError, Some(4), "");
        check(RunEnd::Mismatch, EndKind::Mismatch, None, "");
        check(stopped(StopReason::Failures(2)), EndKind::Stopped, None, "stopping after 2 failures");
        check(stopped(StopReason::Session(why())), EndKind::Stopped, None, "why");
        let exit = |code| StopReason::Exit { reason: why(), code };
        check(stopped(exit(Some(7))), EndKind::Exit, Some(7), "why");
        check(stopped(exit(None)), EndKind::Exit, None, "why");
        check(stopped(StopReason::Interrupted), EndKind::Interrupted, None, "interrupted");
        let by_test = StopReason::KeyboardInterrupt(WORKER);
        check(stopped(by_test), EndKind::Interrupted, None, "KeyboardInterrupt on gw3");
        check(stopped(StopReason::InternalError), EndKind::InternalError, None, "internal error");
        check(stopped(StopReason::NoWorkers(why())), EndKind::InternalError, None, "why");
        let lost = stopped(StopReason::PytestHostLost);
        check(lost, EndKind::InternalError, None, "the pytest host is gone");
        let exhausted = stopped(StopReason::RestartsExhausted(8));
        check(exhausted, EndKind::RestartsExhausted, None, "more than 8 workers crashed");
    }
}
