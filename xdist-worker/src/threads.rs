//! Starts and joins the host's threads. Each does one blocking thing and reports it as [`Event`]s.

use crate::event::{Event, Source};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};
use xdist_proto::WorkerId;

/// How long a thread pauses between two reads or writes of results. A window of the shortest tests has to last longer
/// (`slot.rs`).
const PAUSE: Duration = Duration::from_millis(2);

/// To be called after reading or writing results, so that those of very short tests go together: each by itself would
/// cost as much as such a test. What comes later than that after the one before is not delayed. After other messages
/// somebody waits for what comes next.
#[expect(clippy::disallowed_methods, reason = "it does not wait for anything")]
pub(crate) fn pause() {
    thread::sleep(PAUSE);
}

/// Whether a runner has more to do than its socket holds. If so, nobody waits for its results; otherwise the coordinator may
/// have to hear of them before it sends more. Shared by the owner and the runner's reader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog(Arc<AtomicBool>);

impl Backlog {
    pub(crate) fn set(&self, exists: bool) {
        self.0.store(exists, Ordering::Relaxed);
    }

    pub(crate) fn exists(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The threads that were started and not joined.
#[derive(Debug)]
pub(crate) struct Threads {
    /// Nothing is ever sent: every thread holds a clone, so the channel is disconnected once all have ended. It is the
    /// one way to wait for threads with a deadline.
    alive: Sender<Infallible>,
    ended: Receiver<Infallible>,
    panics: Sender<Event>,
    handles: Vec<(Source, JoinHandle<()>)>,
}

impl Threads {
    /// Panics of threads are reported to `panics`.
    pub(crate) fn new(panics: Sender<Event>) -> Self {
        let (alive, ended) = crossbeam_channel::bounded(0);
        Self { alive, ended, panics, handles: Vec::new() }
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// When the system has no more threads to give.
    pub(crate) fn start(&mut self, source: Source, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let alive = self.alive.clone();
        let panics = self.panics.clone();
        let whole = move || {
            let _alive = alive;
            if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                // Nobody listens any more when the host is ending, and then nobody needs to know.
                let _ = panics.send(Event::Panicked(source, panic_text(&*panic)));
            }
        };
        let handle = thread::Builder::new().name(source.to_string()).spawn(whole)?;
        self.handles.push((source, handle));
        Ok(())
    }

    /// Joins the threads of a worker, each of which has sent the last event that it will ever send.
    pub(crate) fn join_worker(&mut self, worker: WorkerId) {
        for (_, handle) in self.handles.extract_if(.., |(source, _)| source.worker() == Some(worker)) {
            // A panic inside was reported as an event.
            let _ = handle.join();
        }
    }

    /// Joins all threads that end within this time; the process exits with the others.
    pub(crate) fn join_all(self, patience: Duration) {
        drop(self.alive);
        drop(self.panics);
        if self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            let late: Vec<_> = self.handles.iter().filter(|(_, handle)| !handle.is_finished()).collect();
            tracing::warn!(?late, "threads that did not end in time are left behind");
            return;
        }
        for (_, handle) in self.handles {
            let _ = handle.join();
        }
    }
}

/// The text that a panic was raised with.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_event() {
        let (sender, events) = crossbeam_channel::bounded(1);
        let mut threads = Threads::new(sender);
        threads.start(Source::LinkReader, || panic!("on purpose")).unwrap();
        match events.recv().unwrap() {
            Event::Panicked(Source::LinkReader, text) => assert_eq!(text, "on purpose"),
            other => panic!("unexpected {other:?}"),
        }
        threads.join_all(Duration::from_secs(60));
    }

    #[test]
    fn a_thread_that_does_not_end_is_left_behind() {
        let (sender, _events) = crossbeam_channel::bounded(1);
        let mut threads = Threads::new(sender);
        let (release, wait) = crossbeam_channel::bounded::<()>(0);
        threads
            .start(Source::Signals, move || {
                let _ = wait.recv();
            })
            .unwrap();
        threads.join_all(Duration::from_millis(1));
        drop(release);
    }
}
