//! Makes messages fit that are longer than the link allows. A result is never lost: its texts are cut, with a note.

use xdist_proto::codec;
use xdist_proto::message::{CollectionChunk, Down, ItemFinished};
use xdist_proto::report::{FailureText, ItemReport, Phase, PhaseReport};
use xdist_proto::{Value, WorkerMessage};

/// Shorter texts are never cut.
const SHORTEST_CUT: usize = 256;

/// What stands in place of a report that no cut makes short enough.
const NOTE: &str = "the report was too long to be sent, and was dropped by xdist";

/// The payloads that carry a too long message within `limit` bytes each, or `None` if there is no way.
pub(crate) fn shorten(message: &WorkerMessage, payload: &[u8], limit: usize) -> Option<Vec<Vec<u8>>> {
    match message {
        // Node ids must arrive whole.
        WorkerMessage::Collection(chunk) => split(chunk, limit),
        WorkerMessage::ItemFinished(finished) => {
            let readable = (!finished.report.full.is_empty()).then(|| without_full(finished));
            let payload = readable.as_deref().unwrap_or(payload);
            let whole = readable.clone().and_then(|payload| within(payload, limit));
            let short = whole
                .or_else(|| cut(payload, limit))
                .or_else(|| within(codec::encode(&without_report(finished)), limit));
            short.map(|payload| vec![payload])
        }
        WorkerMessage::Down(down) => {
            let bare = || codec::encode(&WorkerMessage::Down(Down { report: None, ..down.clone() }));
            cut(payload, limit).or_else(|| within(bare(), limit)).map(|payload| vec![payload])
        }
        // They are made short.
        WorkerMessage::Fetched(_) | WorkerMessage::FetchDone(_) => None,
        // A name or a value that was cut would be another one.
        WorkerMessage::Ask(_) | WorkerMessage::Made(_) | WorkerMessage::Released(_) => None,
        WorkerMessage::HostWanted(_)
        | WorkerMessage::AskWithdrawn(_)
        | WorkerMessage::TerminalReturned(_)
        | WorkerMessage::Ready(_)
        | WorkerMessage::Collecting(_)
        | WorkerMessage::CollectReport(_)
        | WorkerMessage::Collected(_)
        | WorkerMessage::ItemStarted(_)
        | WorkerMessage::Unscheduled(_)
        | WorkerMessage::StopRequested(_)
        | WorkerMessage::Warning(_)
        | WorkerMessage::Output(_)
        | WorkerMessage::InternalError(_)
        | WorkerMessage::UsageError(_)
        | WorkerMessage::WorkerOutput(_)
        | WorkerMessage::SyncWant(_)
        | WorkerMessage::SyncTaken(_)
        | WorkerMessage::SyncEnd(_)
        | WorkerMessage::SyncFailed(_)
        | WorkerMessage::Pong(_) => cut(payload, limit).map(|payload| vec![payload]),
    }
}

/// What anybody can read. What only our own frontend understands cannot be cut.
fn without_full(finished: &ItemFinished) -> Vec<u8> {
    let report = ItemReport { full: Vec::new(), ..finished.report.clone() };
    codec::encode(&WorkerMessage::ItemFinished(ItemFinished { report, ..finished.clone() }))
}

fn within(payload: Vec<u8>, limit: usize) -> Option<Vec<u8>> {
    (payload.len() <= limit).then_some(payload)
}

/// Halves a chunk until the parts fit.
fn split(chunk: &CollectionChunk, limit: usize) -> Option<Vec<Vec<u8>>> {
    if let Some(payload) = within(codec::encode(&WorkerMessage::Collection(chunk.clone())), limit) {
        return Some(vec![payload]);
    }
    let middle = chunk.items.len() / 2;
    if middle == 0 {
        return None;
    }
    let (first, second) = chunk.items.split_at(middle);
    let part = |offset, items: &[_]| CollectionChunk { offset, items: items.to_vec(), ..chunk.clone() };
    let mut payloads = split(&part(chunk.offset, first), limit)?;
    let second_offset = chunk.offset.checked_add(u32::try_from(middle).ok()?)?;
    payloads.extend(split(&part(second_offset, second), limit)?);
    Some(payloads)
}

/// Cuts the longest texts first, and then shorter and shorter ones.
fn cut(payload: &[u8], limit: usize) -> Option<Vec<u8>> {
    let original = rmpv::decode::read_value(&mut &payload[..]).ok()?;
    let mut longest = limit / 2;
    while longest >= SHORTEST_CUT {
        let mut value = original.clone();
        cut_value(&mut value, longest);
        let mut payload = Vec::new();
        rmpv::encode::write_value(&mut payload, &value).ok()?;
        if let Some(payload) = within(payload, limit) {
            return Some(payload);
        }
        longest /= 2;
    }
    None
}

fn cut_value(value: &mut Value, longest: usize) {
    match value {
        Value::String(text) if text.as_bytes().len() > longest => {
            *value = Value::from(cut_text(&String::from_utf8_lossy(text.as_bytes()), longest));
        }
        Value::Binary(bytes) => bytes.truncate(longest),
        // What is inside has a form of its own, which a cut would spoil.
        Value::Ext(_, bytes) if bytes.len() > longest => {
            *value = Value::from(format!("[{} bytes cut by xdist]", bytes.len()));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| cut_value(value, longest)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| cut_value(value, longest)),
        Value::Nil
        | Value::Boolean(_)
        | Value::Integer(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::String(_)
        | Value::Ext(..) => {}
    }
}

/// The beginning and the end of a text, which say more than the middle, with a note between them.
fn cut_text(text: &str, longest: usize) -> String {
    let note_room = 64;
    let part = longest.saturating_sub(note_room) / 2;
    let (mut head_end, mut tail_start) = (part, text.len() - part);
    while !text.is_char_boundary(head_end) {
        head_end -= 1;
    }
    while !text.is_char_boundary(tail_start) {
        tail_start += 1;
    }
    let (head, tail) = (&text[..head_end], &text[tail_start..]);
    format!("{head}\n[{} bytes cut by xdist]\n{tail}", text.len() - head.len() - tail.len())
}

/// The result without anything that could be long.
fn without_report(finished: &ItemFinished) -> WorkerMessage {
    let report = &finished.report;
    let note = PhaseReport {
        phase: Phase::Call,
        class: report.class,
        detail: None,
        duration_us: report.durations_us[1],
        location: None,
        failure: (!report.class.is_pass())
            .then(|| FailureText { text: NOTE.to_owned(), ..FailureText::default() }),
        skip: None,
        xfail: None,
        sections: Vec::new(),
        properties: Vec::new(),
        status: None,
    };
    WorkerMessage::ItemFinished(ItemFinished {
        worker: finished.worker,
        lease: finished.lease,
        item: finished.item,
        report: ItemReport {
            class: report.class,
            start_us: report.start_us,
            durations_us: report.durations_us,
            phases: vec![note],
            full: Vec::new(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use xdist_proto::codec::Decoded;
    use xdist_proto::message::EndCause;
    use xdist_proto::report::{OutcomeClass, Section};
    use xdist_proto::{Item, ItemIndex, LeaseId, WorkerId};

    const LIMIT: usize = 4096;

    fn finished(phases: Vec<PhaseReport>) -> WorkerMessage {
        WorkerMessage::ItemFinished(ItemFinished {
            worker: WorkerId(1),
            lease: LeaseId(2),
            item: ItemIndex(3),
            report: ItemReport {
                class: OutcomeClass::Fail,
                start_us: 4,
                durations_us: [5, 6, 7],
                phases,
                full: Vec::new(),
            },
        })
    }

    fn phase(text: String, sections: Vec<Section>) -> PhaseReport {
        PhaseReport {
            phase: Phase::Setup,
            class: OutcomeClass::Fail,
            detail: None,
            duration_us: 0,
            location: None,
            failure: Some(FailureText { text, ..FailureText::default() }),
            skip: None,
            xfail: None,
            sections,
            properties: Vec::new(),
            status: None,
        }
    }

    fn shortened(message: &WorkerMessage) -> Vec<WorkerMessage> {
        let payloads = shorten(message, &codec::encode(message), LIMIT).unwrap();
        assert!(payloads.iter().all(|payload| payload.len() <= LIMIT));
        let messages = payloads.iter().map(|payload| match codec::decode(payload).unwrap() {
            Decoded::Message(message) => message,
            Decoded::Skipped => panic!("skipped"),
        });
        messages.collect()
    }

    #[test]
    fn long_texts_are_cut_in_the_middle_and_short_ones_are_kept() {
        let section = Section { title: "Captured stdout call".to_owned(), text: "short".to_owned() };
        let text = format!("begin{}end", "ä".repeat(10_000));
        let messages = shortened(&finished(vec![phase(text, vec![section.clone()])]));
        let [WorkerMessage::ItemFinished(short)] = &messages[..] else { panic!("{messages:?}") };
        let report = &short.report.phases[0];
        assert_eq!(report.sections, [section]);
        let text = &report.failure.as_ref().unwrap().text;
        assert!(text.starts_with("begin") && text.ends_with("end") && text.contains("bytes cut by xdist]"));
    }

    #[test]
    fn a_result_survives_whatever_its_report_is_like() {
        let section = Section { title: "t".to_owned(), text: "x".to_owned() };
        let messages = shortened(&finished(vec![phase(String::new(), vec![section; 10_000])]));
        let [WorkerMessage::ItemFinished(short)] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!(
            (short.item, short.lease, short.report.class),
            (ItemIndex(3), LeaseId(2), OutcomeClass::Fail)
        );
        assert_eq!(short.report.durations_us, [5, 6, 7]);
        assert_eq!(short.report.phases[0].failure.as_ref().unwrap().text, NOTE);
    }

    #[test]
    fn an_end_is_told_whatever_its_item_had_reported() {
        let phases = vec![phase("short".to_owned(), Vec::new()); 1000];
        let report = ItemReport { phases, ..ItemReport::default() };
        let mut down = Down {
            worker: WorkerId(1),
            cause: EndCause::Exited(2),
            out_of_memory: false,
            item: None,
            report: Some(Box::new(report)),
            stderr_tail: String::new(),
            stack: None,
            peak_rss_kib: 0,
            finished: 3,
        };
        let message = WorkerMessage::Down(down.clone());
        let payloads = shorten(&message, &codec::encode(&message), LIMIT).unwrap();
        down.report = None;
        assert_eq!(codec::decode(&payloads[0]), Ok(Decoded::Message(WorkerMessage::Down(down))));
    }

    #[test]
    fn a_collection_is_split_and_never_cut() {
        let items: Vec<_> = (0..1000).map(|n| Item::new(format!("test_file.py::test_{n}"))).collect();
        let chunk = CollectionChunk { worker: WorkerId(1), offset: 10, total: 2000, items: items.clone() };
        let mut all = Vec::new();
        for message in shortened(&WorkerMessage::Collection(chunk)) {
            let WorkerMessage::Collection(part) = message else { panic!("{message:?}") };
            assert_eq!(part.offset as usize, 10 + all.len());
            assert_eq!(part.total, 2000);
            all.extend(part.items);
        }
        assert_eq!(all, items);
        let chunk = CollectionChunk {
            worker: WorkerId(1),
            offset: 0,
            total: 1,
            items: vec![Item::new("x".repeat(2 * LIMIT))],
        };
        let message = WorkerMessage::Collection(chunk);
        assert_eq!(shorten(&message, &codec::encode(&message), LIMIT), None);
    }
}
