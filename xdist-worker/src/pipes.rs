//! What the threads do that read a runner's pipes, and the one that waits for its exit.

use crate::event::{Event, Pipe, RunnerEvent};
use crate::runner::PRIVATE;
use crate::threads::{Backlog, pause};
use crossbeam_channel::Sender;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use xdist_proto::codec::{self, Decoded};
use xdist_proto::message::Stream;
use xdist_proto::{FrameDecoder, WorkerId, WorkerMessage};

/// Longest message accepted from a runner. It is far beyond what a link takes, since long texts are cut here and not
/// there.
const RUNNER_FRAME_BYTES: u32 = 256 << 20;

/// Longest piece of output in one message (`docs/protocol.md`, `output`).
pub(crate) const OUTPUT_BYTES: usize = 64 << 10;

/// How long a line without an end is waited for before it is passed on as it is: a prompt, a progress bar.
const PARTIAL_LINE_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// How much is read after the readers were told to end: as much as the largest pipe can hold, so that a process that
/// escaped its group and writes without end cannot keep a reader.
const LAST_BYTES: usize = 1 << 20;

/// A pipe from a runner, and the way to stop reading it while somebody else holds it open.
#[derive(Debug)]
pub(crate) struct PipeReader {
    pub(crate) descriptor: OwnedFd,
    /// Hangs up when reading is to end.
    pub(crate) stop: Arc<OwnedFd>,
    /// What may still be read after `stop`.
    remaining: usize,
}

/// What a read brought.
enum Chunk {
    Bytes(usize),
    /// Nothing, for as long as one was willing to wait.
    Quiet,
    End,
}

impl PipeReader {
    pub(crate) const fn new(descriptor: OwnedFd, stop: Arc<OwnedFd>) -> Self {
        Self { descriptor, stop, remaining: LAST_BYTES }
    }

    fn read(&mut self, buffer: &mut [u8], patience: Option<&Timespec>) -> Chunk {
        loop {
            let mut both =
                [PollFd::new(&self.descriptor, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            match poll(&mut both, patience) {
                Ok(0) => return Chunk::Quiet,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return Chunk::End,
            }
            let [readable, stopped] = both.map(|descriptor| !descriptor.revents().is_empty());
            if !readable || stopped && self.remaining == 0 {
                return Chunk::End;
            }
            match rustix::io::read(&self.descriptor, &mut *buffer) {
                Ok(0) => return Chunk::End,
                Ok(count) => {
                    if stopped {
                        self.remaining = self.remaining.saturating_sub(count);
                    }
                    return Chunk::Bytes(count);
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::debug!(error = %io::Error::from(error), "cannot read from a runner");
                    return Chunk::End;
                }
            }
        }
    }
}

/// Reads messages until the pipe ends. A full channel makes it wait, and with it the runner.
pub(crate) fn read_messages(
    mut pipe: PipeReader,
    worker: WorkerId,
    events: &Sender<Event>,
    backlog: &Backlog,
) {
    let send = |event| events.send(Event::Runner(worker, event)).is_ok();
    let mut decoder = FrameDecoder::new(RUNNER_FRAME_BYTES);
    let mut buffer = vec![0; OUTPUT_BYTES];
    let mut garbled = false;
    let mut may_pause = false;
    while let Chunk::Bytes(count) = pipe.read(&mut buffer, None) {
        // After an error the rest is read too, and dropped: the runner must not hang on a full pipe while it is killed.
        if garbled {
            continue;
        }
        decoder.push(&buffer[..count]);
        loop {
            let event = match next_message(&mut decoder) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(text) => {
                    garbled = true;
                    RunnerEvent::Garbled(text)
                }
            };
            may_pause = is_result(&event);
            if !send(event) {
                return;
            }
            if garbled {
                break;
            }
        }
        if may_pause && backlog.exists() {
            pause();
        }
    }
    send(RunnerEvent::Closed(Pipe::Events));
}

fn is_result(event: &RunnerEvent) -> bool {
    matches!(event, RunnerEvent::Message(message, _) if matches!(**message, WorkerMessage::ItemFinished(_)))
}

fn next_message(decoder: &mut FrameDecoder) -> Result<Option<RunnerEvent>, String> {
    while let Some(payload) = decoder.next_frame().map_err(|error| error.to_string())? {
        if let Some((&PRIVATE, rest)) = payload.split_first() {
            return private(rest).map(Some);
        }
        match codec::decode::<WorkerMessage>(payload) {
            Ok(Decoded::Message(message)) => {
                return Ok(Some(RunnerEvent::Message(Box::new(message), payload.to_vec())));
            }
            Ok(Decoded::Skipped) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(None)
}

/// What follows [`PRIVATE`].
fn private(rest: &[u8]) -> Result<RunnerEvent, String> {
    match rest.first() {
        None => return Ok(RunnerEvent::LeavesNoImage),
        Some(byte) if byte.is_ascii_digit() => {
            return Ok(RunnerEvent::TooOld(String::from_utf8_lossy(rest).into_owned()));
        }
        Some(_) => {}
    }
    match codec::decode::<WorkerMessage>(rest) {
        Ok(Decoded::Message(WorkerMessage::ItemFinished(report))) => Ok(RunnerEvent::SoFar(Box::new(report))),
        Ok(_) => Err("it reported something else than an item ahead of time".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a standard stream until the pipe ends, and passes it on in whole lines where possible.
pub(crate) fn read_output(mut pipe: PipeReader, worker: WorkerId, stream: Stream, events: &Sender<Event>) {
    let send = |event| events.send(Event::Runner(worker, event)).is_ok();
    let mut buffer = vec![0; OUTPUT_BYTES];
    let mut held: Vec<u8> = Vec::new();
    loop {
        let patience = (!held.is_empty()).then_some(&PARTIAL_LINE_PATIENCE);
        let chunk = pipe.read(&mut buffer, patience);
        let ended = matches!(chunk, Chunk::End);
        if let Chunk::Bytes(count) = chunk {
            held.extend_from_slice(&buffer[..count]);
        }
        let ready = match chunk {
            Chunk::Bytes(_) => whole_lines(&held),
            Chunk::Quiet | Chunk::End => held.len(),
        };
        let rest = held.split_off(ready);
        for piece in pieces(&std::mem::replace(&mut held, rest)) {
            if !send(RunnerEvent::Output(stream, piece.to_vec())) {
                return;
            }
        }
        if ended {
            break;
        }
    }
    let pipe = match stream {
        Stream::Stdout => Pipe::Stdout,
        Stream::Stderr => Pipe::Stderr,
    };
    send(RunnerEvent::Closed(pipe));
}

/// The length of the whole lines at the beginning, or everything once the last line is too long to wait for its end.
fn whole_lines(held: &[u8]) -> usize {
    let lines = held.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if held.len() - lines >= OUTPUT_BYTES { held.len() } else { lines }
}

/// Pieces for one message each, of whole lines where lines are short enough.
fn pieces(mut output: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while !output.is_empty() {
        let most = &output[..output.len().min(OUTPUT_BYTES)];
        let is_last = most.len() == output.len();
        let end = most.iter().rposition(|byte| *byte == b'\n').map_or(most.len(), |end| end + 1);
        let (piece, rest) = output.split_at(if is_last { most.len() } else { end });
        pieces.push(piece);
        output = rest;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use xdist_proto::frame;
    use xdist_proto::message::Collecting;

    /// Runs a reader over a pipe that holds these bytes and is still open, and answers what it reported.
    fn reported(bytes: &[u8], read: impl FnOnce(PipeReader, &Sender<Event>)) -> Vec<RunnerEvent> {
        let (reader, mut writer) = io::pipe().unwrap();
        let (stop, stopper) = io::pipe().unwrap();
        writer.write_all(bytes).unwrap();
        drop(stopper);
        let (sender, events) = crossbeam_channel::unbounded();
        read(PipeReader::new(reader.into(), Arc::new(stop.into())), &sender);
        drop((sender, writer));
        events
            .iter()
            .map(|event| match event {
                Event::Runner(WorkerId(1), event) => event,
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    }

    fn output(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut events =
            reported(bytes, |pipe, sender| read_output(pipe, WorkerId(1), Stream::Stdout, sender));
        assert!(matches!(events.pop(), Some(RunnerEvent::Closed(Pipe::Stdout))));
        let pieces = events.into_iter().map(|event| match event {
            RunnerEvent::Output(Stream::Stdout, data) => data,
            other => panic!("unexpected {other:?}"),
        });
        pieces.collect()
    }

    #[test]
    fn what_is_in_a_pipe_is_read_although_somebody_holds_it_open() {
        assert_eq!(output(b"one\ntwo\nthr"), [b"one\ntwo\n".to_vec(), b"thr".to_vec()]);
        assert!(output(b"").is_empty());
    }

    #[test]
    fn lines_are_kept_whole_unless_they_are_too_long() {
        assert_eq!(whole_lines(b"ab\ncd"), 3);
        assert_eq!(whole_lines(b"ab"), 0);
        assert_eq!(whole_lines(&vec![b'x'; OUTPUT_BYTES]), OUTPUT_BYTES);
    }

    #[test]
    fn much_output_is_divided_between_lines() {
        let lines = b"0123456789\n".repeat(OUTPUT_BYTES / 4);
        let divided = pieces(&lines);
        assert!(divided.iter().all(|piece| piece.len() <= OUTPUT_BYTES && piece.ends_with(b"\n")));
        assert_eq!(divided.concat(), lines);
        let long = vec![b'x'; OUTPUT_BYTES + 1];
        assert_eq!(pieces(&long).iter().map(|piece| piece.len()).collect::<Vec<_>>(), [OUTPUT_BYTES, 1]);
    }

    #[test]
    fn messages_are_decoded_until_the_first_that_is_none() {
        let message = WorkerMessage::Collecting(Collecting { worker: WorkerId(1) });
        let mut bytes = Vec::new();
        for payload in [codec::encode(&message), b"junk".to_vec(), codec::encode(&message)] {
            frame::encode_frame(&payload, RUNNER_FRAME_BYTES, &mut bytes).unwrap();
        }
        let events =
            reported(&bytes, |pipe, sender| read_messages(pipe, WorkerId(1), sender, &Backlog::default()));
        match &events[..] {
            [
                RunnerEvent::Message(first, payload),
                RunnerEvent::Garbled(_),
                RunnerEvent::Closed(Pipe::Events),
            ] => {
                assert_eq!(**first, message);
                assert_eq!(*payload, codec::encode(&message));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}
