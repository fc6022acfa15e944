//! What goes to the coordinator.
//!
//! One batch at most is with the link's writer; everything else waits here and becomes the next batch. So the owner of
//! the state never waits for the link. When the coordinator does not read, what waits grows to [`HIGH_WATER`]; from there
//! on nothing more is taken from the runners, whose pipes fill until they wait. Above [`HARD_LIMIT`] commands wait too;
//! only what a command can be answered with, and the ends of runners, come on top of that.

use crate::shorten::shorten;
use crossbeam_channel::Sender;
use xdist_proto::codec;
use xdist_proto::frame;
use xdist_proto::message::WorkerMessage;

/// So many bytes may wait before runners are no longer listened to.
const HIGH_WATER: usize = 4 << 20;

/// So many bytes may wait before the coordinator is no longer listened to.
const HARD_LIMIT: usize = 8 << 20;

/// A message that cannot be made to fit the link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Messages that are written together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    /// Whether nobody waits for what is in it: results of items, after which runners have enough to go on with.
    pub(crate) has_time: bool,
}

impl Batch {
    const fn new() -> Self {
        Self { bytes: Vec::new(), has_time: true }
    }
}

/// The messages that are not with the link's writer yet.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Longest payload, in bytes.
    limit: u32,
    waiting: Batch,
    is_writing: bool,
    writer: Sender<Batch>,
}

impl Outbox {
    /// The channel needs room for one batch.
    pub(crate) const fn new(writer: Sender<Batch>, limit: u32) -> Self {
        Self { limit, waiting: Batch::new(), is_writing: false, writer }
    }

    /// Queues a message of our own.
    pub(crate) fn send(&mut self, message: &WorkerMessage) {
        if self.forward(message, &codec::encode(message)) == Err(TooLong) {
            tracing::error!(?message, "a message is too long for the link");
        }
    }

    /// Queues a message as it came, shortened if it must be.
    ///
    /// # Errors
    /// When it cannot be shortened enough; nothing of it is queued then.
    pub(crate) fn forward(&mut self, message: &WorkerMessage, payload: &[u8]) -> Result<(), TooLong> {
        self.waiting.has_time &= matches!(message, WorkerMessage::ItemFinished(_));
        if frame::encode_frame(payload, self.limit, &mut self.waiting.bytes).is_ok() {
            return Ok(());
        }
        let payloads = shorten(message, payload, self.limit as usize).ok_or(TooLong)?;
        tracing::warn!(
            length = payload.len(),
            limit = self.limit,
            "a message was too long and was shortened"
        );
        for payload in payloads {
            let framed = frame::encode_frame(&payload, self.limit, &mut self.waiting.bytes);
            debug_assert!(framed.is_ok(), "shortened to the limit");
        }
        Ok(())
    }

    /// Somebody may have to hear of what waits before a runner is given more.
    pub(crate) const fn hurry(&mut self) {
        self.waiting.has_time = false;
    }

    /// Hands what waits to the writer if it is idle.
    pub(crate) fn flush(&mut self) {
        if !self.is_writing && !self.waiting.bytes.is_empty() {
            let batch = std::mem::replace(&mut self.waiting, Batch::new());
            // Only a writer that has ended refuses, and then the end of the link is on its way.
            self.is_writing = self.writer.try_send(batch).is_ok();
        }
    }

    /// The writer has written its batch.
    pub(crate) const fn written(&mut self) {
        self.is_writing = false;
    }

    /// Whether runners may be listened to.
    pub(crate) const fn accepts_events(&self) -> bool {
        self.waiting.bytes.len() < HIGH_WATER
    }

    /// Whether the coordinator may be listened to.
    pub(crate) const fn accepts_commands(&self) -> bool {
        self.waiting.bytes.len() < HARD_LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xdist_proto::message::{ItemFinished, OutputEvent, Pong, Stream};
    use xdist_proto::report::ItemReport;
    use xdist_proto::{ItemIndex, LeaseId, WorkerId};

    #[test]
    fn one_batch_is_written_at_a_time_and_the_rest_becomes_the_next() {
        let (writer, batches) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(writer, 1000);
        let pong = WorkerMessage::Pong(Pong { nonce: 1 });
        outbox.send(&pong);
        outbox.flush();
        let one = batches.try_recv().unwrap().bytes;
        outbox.send(&pong);
        outbox.send(&pong);
        outbox.flush();
        assert!(batches.try_recv().is_err());
        outbox.written();
        outbox.flush();
        assert_eq!(batches.try_recv().unwrap().bytes, [one.clone(), one].concat());
    }

    #[test]
    fn a_batch_tells_whether_anybody_waits_for_it() {
        let (writer, batches) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(writer, 1000);
        let result = WorkerMessage::ItemFinished(ItemFinished {
            worker: WorkerId(0),
            lease: LeaseId(0),
            item: ItemIndex(0),
            report: ItemReport::default(),
        });
        let pong = WorkerMessage::Pong(Pong { nonce: 1 });
        let mut has_time = |messages: &[&WorkerMessage], hurry: bool| {
            messages.iter().for_each(|message| outbox.send(message));
            if hurry {
                outbox.hurry();
            }
            outbox.flush();
            outbox.written();
            batches.try_recv().unwrap().has_time
        };
        assert!(has_time(&[&result, &result], false));
        assert!(!has_time(&[&pong, &result], false));
        assert!(!has_time(&[&result, &result], true));
        assert!(has_time(&[&result], false));
    }

    #[test]
    fn a_coordinator_that_does_not_read_stops_the_runners_and_then_itself() {
        let (writer, _batches) = crossbeam_channel::bounded(1);
        let mut outbox = Outbox::new(writer, 1 << 20);
        let data = vec![0; 60 << 10];
        let output = WorkerMessage::Output(OutputEvent { worker: WorkerId(0), stream: Stream::Stdout, data });
        let mut count = 0;
        while outbox.accepts_events() {
            outbox.send(&output);
            count += 1;
        }
        assert!(count * (60 << 10) > HIGH_WATER - (64 << 10));
        assert!(outbox.accepts_commands());
        while outbox.accepts_commands() {
            outbox.send(&output);
        }
        outbox.flush();
        assert!(outbox.accepts_events());
    }
}
