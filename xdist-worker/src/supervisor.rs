//! One worker of this host: carries out what its slot decides, passes its runner's messages on, and tells how it ended.

use crate::child::{self, Child, OTHER_PYTHON};
use crate::ending::{Ending, Step};
use crate::event::{Pipe, RunnerEvent};
use crate::memory::{self, MemoryLimit, OutOfMemoryWatch};
use crate::outbox::{Outbox, TooLong};
use crate::runner::Status;
use crate::slot::{self, Action, Slot};
use crate::stderr_tail::StderrTail;
use crate::stopwatch::{Stopwatch, Verdict};
use crate::sys::{self, Reaped};
use crate::threads::Backlog;
use rustix::process::Signal;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use xdist_proto::WorkerId;
use xdist_proto::message::{
    Configure, CoordinatorMessage, CrashItem, Down, EndCause, ItemFinished, ItemStarted, OutputEvent,
    RunOptions, StopKind, StopRequested, Stream, Unscheduled, UsageError, WorkerMessage,
};

/// What pytest exits with for wrong arguments.
const USAGE_ERROR: i32 = 4;

/// How long a runner may take to dump its stacks. It does so without the interpreter's help, so one that takes longer
/// will not do it at all: the signal is blocked or handled by the test.
const DUMP_GRACE: Duration = Duration::from_secs(2);

/// When a runner is nudged after an interrupt, counted from the time before. Python looks for signals before it waits in the
/// system, and one that comes in between interrupts nothing: `time.sleep(600)` would go on to its end.
const NUDGES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];

/// Whether a worker is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is.
    Goes,
    /// Its end was reported; nothing may follow.
    Over,
}

/// A worker and its runner.
#[derive(Debug)]
pub(crate) struct Supervisor {
    worker: WorkerId,
    /// The interpreter, as it was given.
    python: String,
    /// The interpreter's version, if that is too old.
    too_old: Option<String>,
    slot: Slot,
    backlog: Backlog,
    child: Child,
    ending: Ending,
    /// Dropped to let the readers end although their pipes are open.
    stopper: Option<OwnedFd>,
    /// When the runner is to be nudged, and how often it was.
    nudge: Option<(Instant, usize)>,
    /// When the process group is to be killed, and why.
    kill_at: Option<(Instant, &'static str)>,
    /// Why the runner was asked to end, or was killed.
    ended_for: Option<&'static str>,
    /// What the runner, or we, did wrong; it was killed for that.
    fault: Option<String>,
    /// What the running item has reported so far, where that is more than that its phases passed.
    so_far: Option<Box<ItemFinished>>,
    stderr: StderrTail,
    finished: u32,
    stopwatch: Stopwatch,
    look_at: Option<Instant>,
    /// How many items may begin; 0 for any number.
    max_tests: u32,
    memory_limit: Option<MemoryLimit>,
    /// The item that took too long, for which the runner is ended.
    timed_out: Option<TimedOut>,
    exited_at_ns: u64,
}

/// An item that took too long.
#[derive(Clone, Copy, Debug)]
struct TimedOut {
    item: CrashItem,
    limit: Duration,
}

impl Supervisor {
    /// `stopper` hangs up the readers' `stop` when it is dropped.
    pub(crate) fn new(configure: &Configure, child: Child, stopper: OwnedFd, now: Instant) -> Self {
        let stopwatch = Stopwatch::new(Duration::from_millis(configure.wants.started_after_ms));
        Self {
            worker: configure.worker,
            python: child::shown_interpreter(&configure.python),
            too_old: None,
            slot: Slot::new(slot::WINDOW),
            backlog: Backlog::default(),
            child,
            ending: Ending::new(),
            stopper: Some(stopper),
            nudge: None,
            kill_at: None,
            ended_for: None,
            fault: None,
            so_far: None,
            stderr: StderrTail::default(),
            finished: 0,
            look_at: stopwatch.first_look().map(|wait| now + wait),
            stopwatch,
            max_tests: 0,
            memory_limit: None,
            timed_out: None,
            exited_at_ns: 0,
        }
    }

    /// What the reader of the runner's messages is to know.
    pub(crate) fn backlog(&self) -> Backlog {
        self.backlog.clone()
    }

    /// Takes a command for this worker.
    pub(crate) fn command(&mut self, command: CoordinatorMessage, now: Instant, outbox: &mut Outbox) {
        let event = match command {
            CoordinatorMessage::Proceed(_) => {
                if let Err(error) = self.child.reconfigure(&command) {
                    return self.fail(format!("what it waits for cannot be told: {error}"));
                }
                slot::Event::Proceed
            }
            CoordinatorMessage::Answer(_) => {
                if let Err(error) = self.child.reconfigure(&command) {
                    return self.fail(format!("what it asked for cannot be told: {error}"));
                }
                slot::Event::Answer
            }
            CoordinatorMessage::Suspend(_) => slot::Event::Suspend,
            CoordinatorMessage::Resume(_) => slot::Event::Resume,
            CoordinatorMessage::Collect(_) => slot::Event::Collect,
            CoordinatorMessage::SendCollection(_) => slot::Event::SendCollection,
            CoordinatorMessage::Run(run) => slot::Event::Run { lease: run.lease, items: run.items },
            CoordinatorMessage::Steal(steal) => {
                slot::Event::Steal { request: steal.request, items: steal.items }
            }
            CoordinatorMessage::Cancel(cancel) => slot::Event::Cancel { request: cancel.request },
            CoordinatorMessage::Park(_) => slot::Event::Park,
            CoordinatorMessage::Drain(_) => slot::Event::Drain,
            CoordinatorMessage::Interrupt(_) => slot::Event::Interrupt,
            CoordinatorMessage::Shutdown(shutdown) => {
                slot::Event::Shutdown { grace: Duration::from_millis(shutdown.grace_ms) }
            }
            // They are about the host.
            CoordinatorMessage::Configure(_)
            | CoordinatorMessage::SyncBegin(_)
            | CoordinatorMessage::SyncData(_)
            | CoordinatorMessage::Fetch(_)
            | CoordinatorMessage::Dismissed(_)
            | CoordinatorMessage::Ping(_) => return,
        };
        self.decide(event, now, outbox);
    }

    /// Takes what happened to the runner.
    pub(crate) fn happened(
        &mut self,
        event: RunnerEvent,
        now: Instant,
        outbox: &mut Outbox,
        memory: &mut OutOfMemoryWatch,
    ) -> Life {
        let step = match event {
            RunnerEvent::Message(message, payload) => {
                self.message(&message, &payload, now, outbox);
                Step::Wait
            }
            RunnerEvent::TooOld(version) => {
                self.too_old = Some(version);
                Step::Wait
            }
            RunnerEvent::LeavesNoImage => Step::Wait,
            RunnerEvent::SoFar(report) => {
                self.so_far = Some(report);
                Step::Wait
            }
            RunnerEvent::Garbled(text) => {
                self.fail(format!("it broke the runner's protocol: {text}"));
                Step::Wait
            }
            RunnerEvent::Output(stream, data) => {
                let data = if stream == Stream::Stderr { self.stderr.take_in(data) } else { data };
                self.show(stream, data, outbox);
                Step::Wait
            }
            RunnerEvent::Closed(pipe) => {
                if pipe == Pipe::Events && self.ending.is_running() {
                    self.decide(slot::Event::SessionEnded, now, outbox);
                }
                self.ending.closed(pipe)
            }
            RunnerEvent::Exited => {
                self.exited_at_ns = monotonic_ns();
                self.kill_at = None;
                if self.timed_out.is_some() {
                    // What the item has started holds pipes, and would be waited for.
                    self.child.kill_group();
                }
                self.ending.exited(now)
            }
        };
        self.follow(step, outbox, memory)
    }

    /// A thread that serves this worker panicked.
    pub(crate) fn thread_panicked(&mut self, text: &str) {
        self.fail(format!("an internal error of xdist: {text}"));
    }

    /// Does what is due.
    pub(crate) fn time_passed(&mut self, now: Instant, outbox: &mut Outbox) {
        if let Some((due, reason)) = self.kill_at
            && due <= now
        {
            self.kill_at = None;
            self.ended_for = Some(reason);
            self.child.kill_group();
        }
        if let Some((due, count)) = self.nudge
            && due <= now
        {
            self.nudge = NUDGES.get(count + 1).map(|&wait| (now + wait, count + 1));
            if self.ending.is_running() {
                self.child.nudge();
            }
        }
        if self.look_at.is_some_and(|due| due <= now) {
            self.look(now, outbox);
        }
        if self.ending.time_passed(now) == Step::CutOff {
            tracing::debug!(worker = %self.worker, "a runner is gone and somebody holds its pipes");
            self.child.kill_group();
            self.stopper = None;
        }
    }

    /// When [`Supervisor::time_passed`] is to be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let kill_at = self.kill_at.map(|(due, _)| due);
        let nudge = self.nudge.map(|(due, _)| due);
        [nudge, kill_at, self.look_at, self.ending.deadline()].into_iter().flatten().min()
    }

    /// Whether it was not told to end.
    pub(crate) fn is_wanted(&self) -> bool {
        self.slot.is_open()
    }

    /// Kills the runner and its whole group; nobody is left to be told.
    pub(crate) fn abandon(&mut self) {
        self.child.kill_group();
        self.stopper = None;
    }

    fn message(&mut self, message: &WorkerMessage, payload: &[u8], now: Instant, outbox: &mut Outbox) {
        // Nothing that comes after a fault can be trusted. What took too long has failed, even if it ends after all.
        if self.fault.is_some() || self.timed_out.is_some() {
            return;
        }
        let Some(event) = self.judge(message) else { return };
        if let WorkerMessage::Ready(ready) = message {
            self.heed(&ready.options, now, outbox);
        }
        if let Some(event) = event {
            self.decide(event, now, outbox);
        }
        if self.fault.is_some() {
            return;
        }
        match outbox.forward(message, payload) {
            Ok(()) if matches!(message, WorkerMessage::ItemFinished(_)) => {
                self.finished += 1;
                self.so_far = None;
                if !self.slot.has_backlog() {
                    outbox.hurry();
                }
                self.look_at_memory(now, outbox);
            }
            Ok(()) => {}
            Err(TooLong) => {
                self.fail(format!("its message of {} bytes is too long for the link", payload.len()));
            }
        }
    }

    /// What a message means for the slot, if anything; `None` if a runner may not send it.
    fn judge(&mut self, message: &WorkerMessage) -> Option<Option<slot::Event>> {
        let (worker, event) = match message {
            WorkerMessage::HostWanted(wanted) => (wanted.worker, None),
            WorkerMessage::Ask(ask) => (ask.worker, Some(slot::Event::Asks)),
            WorkerMessage::AskWithdrawn(withdrawn) => (withdrawn.worker, None),
            WorkerMessage::TerminalReturned(returned) => (returned.worker, None),
            WorkerMessage::Made(made) => (made.worker, None),
            WorkerMessage::Released(released) => (released.worker, None),
            WorkerMessage::Ready(ready) => (ready.worker, None),
            WorkerMessage::Collecting(collecting) => (collecting.worker, None),
            WorkerMessage::CollectReport(report) => (report.worker, None),
            WorkerMessage::Collected(collected) => (collected.worker, None),
            WorkerMessage::Collection(chunk) => (chunk.worker, None),
            WorkerMessage::Warning(warning) => (warning.worker, None),
            WorkerMessage::InternalError(error) => (error.worker, None),
            WorkerMessage::ItemFinished(finished) => {
                let event = slot::Event::Finished { item: finished.item, lease: finished.lease };
                (finished.worker, Some(event))
            }
            WorkerMessage::StopRequested(stop) => (stop.worker, Some(slot::Event::StopRequested)),
            WorkerMessage::UsageError(error) => (error.worker, Some(slot::Event::SessionEnded)),
            WorkerMessage::WorkerOutput(output) => (output.worker, Some(slot::Event::SessionEnded)),
            WorkerMessage::ItemStarted(_)
            | WorkerMessage::Unscheduled(_)
            | WorkerMessage::Output(_)
            | WorkerMessage::Down(_)
            | WorkerMessage::SyncWant(_)
            | WorkerMessage::SyncTaken(_)
            | WorkerMessage::SyncEnd(_)
            | WorkerMessage::SyncFailed(_)
            | WorkerMessage::Fetched(_)
            | WorkerMessage::FetchDone(_)
            | WorkerMessage::Pong(_) => {
                self.fail("it sent a message that only the host sends".to_owned());
                return None;
            }
        };
        if worker != self.worker {
            self.fail(format!("it spoke for worker {worker}"));
            return None;
        }
        Some(event)
    }

    /// Takes the limits that the worker's own options set.
    fn heed(&mut self, options: &RunOptions, now: Instant, outbox: &mut Outbox) {
        self.stopwatch.set_timeout(Duration::from_millis(options.timeout_ms));
        self.stopwatch.set_slow_after(Duration::from_millis(options.slow_after_ms));
        self.memory_limit = options.memory_limit_kib.map(|limit_kib| MemoryLimit::new(limit_kib, now));
        if let Some(items) = options.max_tests.filter(|&items| items > 0) {
            self.max_tests = items;
            self.decide(slot::Event::Limit { items }, now, outbox);
        }
        self.look_at = self.stopwatch.first_look().map(|wait| now + wait);
    }

    /// Lets the slot decide, and does what it decides.
    fn decide(&mut self, event: slot::Event, now: Instant, outbox: &mut Outbox) {
        self.slot.handle(event);
        while let Some(action) = self.slot.poll_action() {
            self.perform(action, now, outbox);
        }
        self.backlog.set(self.slot.has_backlog());
    }

    fn perform(&mut self, action: Action, now: Instant, outbox: &mut Outbox) {
        match action {
            Action::Send(command) => {
                if let Err(error) = self.child.commands().send(command) {
                    self.fail(format!("its commands cannot be queued: {error}"));
                }
            }
            Action::ClawBack => {
                let untaken = self.child.commands().claw_back();
                self.slot.handle(slot::Event::ClawedBack { untaken });
            }
            Action::GiveUp { items } => {
                let excess = self.memory_limit.as_ref().and_then(MemoryLimit::excess);
                let reason = excess.unwrap_or_else(|| format!("--max-tests-per-worker={}", self.max_tests));
                let kind = StopKind::Recycle;
                let stop = StopRequested { worker: self.worker, kind, reason, exit_code: None, items };
                outbox.send(&WorkerMessage::StopRequested(stop));
            }
            Action::Unscheduled { request, items } => {
                let answer = Unscheduled { worker: self.worker, request, items };
                outbox.send(&WorkerMessage::Unscheduled(answer));
            }
            Action::Interrupt => {
                self.child.signal(Signal::INT);
                self.nudge = Some((now + NUDGES[0], 0));
            }
            Action::Terminate { reason } => {
                self.ended_for = Some(reason);
                self.child.signal(Signal::TERM);
            }
            Action::KillAfter { delay, reason } => {
                let due = now + delay;
                if self.kill_at.is_none_or(|(earlier, _)| due < earlier) {
                    self.kill_at = Some((due, reason));
                }
                if delay.is_zero() {
                    self.time_passed(now, outbox);
                }
            }
            Action::Fault(text) => self.fail(text),
        }
    }

    fn fail(&mut self, text: String) {
        tracing::warn!(worker = %self.worker, text, "a runner is killed");
        self.fault.get_or_insert(text);
        self.child.kill_group();
    }

    /// Looks at the runner's memory after an item, in case it has too much.
    fn look_at_memory(&mut self, now: Instant, outbox: &mut Outbox) {
        if let Some(limit) = &mut self.memory_limit
            && limit.is_due(now)
            && let Some(used_kib) = memory::resident_kib(self.child.pid())
            && limit.is_exceeded_by(used_kib)
        {
            self.decide(slot::Event::Recycle, now, outbox);
        }
    }

    /// Looks at the running item, in case it takes long.
    fn look(&mut self, now: Instant, outbox: &mut Outbox) {
        self.look_at = None;
        if !self.ending.is_running() || self.timed_out.is_some() {
            return;
        }
        // A runner may wait, and its results too: for the host to say what follows, or for the coordinator to read.
        let status = self.child.status().filter(|status| !status.is_waiting);
        let status = status.filter(|_| outbox.accepts_events());
        let running = status.and_then(|status| self.running_item(status, monotonic_ns()));
        let time = running.map(|item| ((item.item, item.lease), Duration::from_millis(item.running_ms)));
        let (verdict, wait) = self.stopwatch.look(time);
        self.look_at = wait.map(|wait| now + wait);
        match (verdict, running) {
            (Verdict::Tell, Some(CrashItem { lease, item, phase, running_ms })) => {
                let started = ItemStarted { worker: self.worker, lease, item, phase, running_ms };
                outbox.send(&WorkerMessage::ItemStarted(started));
            }
            (Verdict::Expired(limit), Some(item)) => self.expire(TimedOut { item, limit }, now, outbox),
            (Verdict::Wait, _) | (_, None) => {}
        }
    }

    /// Ends the runner because of an item that takes too long, with a stack dump if there is one to be had.
    fn expire(&mut self, timed_out: TimedOut, now: Instant, outbox: &mut Outbox) {
        tracing::info!(worker = %self.worker, item = timed_out.item.item.0, "an item takes too long");
        // First of all nothing more is begun, should it come to its end just now.
        self.decide(slot::Event::Expired, now, outbox);
        self.timed_out = Some(timed_out);
        self.stderr.expect_dump();
        self.child.signal(sys::dump_signal());
        self.kill_at = Some((now + DUMP_GRACE, "it did not end when an item took too long"));
    }

    /// The item that has begun and was not reported.
    fn running_item(&self, status: Status, now_ns: u64) -> Option<CrashItem> {
        let (item, lease, phase) = status.running()?;
        // The page may be read in the middle of a change, or belong to an item whose report is already here.
        if !self.slot.is_unfinished(item, lease) {
            return None;
        }
        let running = Duration::from_nanos(now_ns.saturating_sub(status.started_ns));
        Some(CrashItem { lease, item, phase, running_ms: whole_ms(running) })
    }

    fn show(&self, stream: Stream, data: Vec<u8>, outbox: &mut Outbox) {
        if !data.is_empty() {
            outbox.send(&WorkerMessage::Output(OutputEvent { worker: self.worker, stream, data }));
        }
    }

    fn follow(&mut self, step: Step, outbox: &mut Outbox, memory: &mut OutOfMemoryWatch) -> Life {
        match step {
            Step::Wait | Step::CutOff => Life::Goes,
            Step::Finish => {
                // Whoever is left in the group holds no pipe of ours and is of no more use.
                self.child.kill_group();
                let down = self.down(memory);
                if matches!(down.cause, EndCause::Exited(_)) {
                    let dump_of_another = self.stderr.take_withheld();
                    self.show(Stream::Stderr, dump_of_another, outbox);
                }
                if let Some(text) = self.unfitness(&down) {
                    outbox.send(&unfit(self.worker, &text));
                }
                outbox.send(&WorkerMessage::Down(down));
                Life::Over
            }
        }
    }

    /// Why this interpreter can run nothing, if it ended by itself before the Python half began.
    fn unfitness(&self, down: &Down) -> Option<String> {
        let EndCause::Exited(code) = down.cause else { return None };
        let python = &self.python;
        if let Some(version) = &self.too_old {
            return Some(format!(
                "{python} is Python {version}, and xdist needs 3.9 or newer; {OTHER_PYTHON}"
            ));
        }
        let is_up = self.child.status().is_some_and(|status| status.is_up);
        let said = down.stderr_tail.lines().last().map(|line| format!(" and said {line:?}"));
        (!is_up).then(|| {
            format!(
                "{python} is no Python that xdist can use: it ended with exit code {code}{}; {OTHER_PYTHON}",
                said.unwrap_or_default()
            )
        })
    }

    fn down(&mut self, memory: &mut OutOfMemoryWatch) -> Down {
        let timed_out = self.timed_out.map(|timed_out| timed_out.item);
        let running = || self.running_item(self.child.status()?, self.exited_at_ns);
        let item = timed_out.or_else(running);
        let so_far = self
            .so_far
            .take()
            .filter(|so_far| item.is_some_and(|item| (item.item, item.lease) == (so_far.item, so_far.lease)));
        let reaped = self.child.reap().unwrap_or_else(|error| {
            tracing::error!(worker = %self.worker, %error, "cannot collect a runner that has exited");
            None
        });
        let cause = self.cause(reaped);
        let out_of_memory = cause == EndCause::Signaled(Signal::KILL.as_raw()) && memory.claim();
        let words = self.stderr.last_words();
        Down {
            worker: self.worker,
            cause,
            out_of_memory,
            item,
            report: so_far.map(|so_far| Box::new(so_far.report)),
            stderr_tail: words.tail,
            stack: words.stack,
            peak_rss_kib: reaped.map_or(0, |reaped| reaped.peak_rss_kib),
            finished: self.finished,
        }
    }

    fn cause(&self, reaped: Option<Reaped>) -> EndCause {
        if let Some(fault) = &self.fault {
            return EndCause::Killed(fault.clone());
        }
        if let Some(timed_out) = self.timed_out {
            return EndCause::TimedOut(whole_ms(timed_out.limit));
        }
        let Some(Reaped { status, .. }) = reaped else {
            return EndCause::Killed("its end was not seen by xdist".to_owned());
        };
        match (status.signal(), self.ended_for) {
            (Some(signal), Some(reason))
                if [Signal::KILL, Signal::TERM].map(Signal::as_raw).contains(&signal) =>
            {
                EndCause::Killed(reason.to_owned())
            }
            (Some(signal), _) => EndCause::Signaled(signal),
            (None, _) => EndCause::Exited(exit_code(status)),
        }
    }
}

/// What is told of an interpreter that can run nothing.
pub(crate) fn unfit(worker: WorkerId, text: &str) -> WorkerMessage {
    let text = format!("ERROR: {text}");
    WorkerMessage::UsageError(UsageError { worker, text, exit_code: USAGE_ERROR, unfit: true })
}

/// The report of a worker whose runner could not be started.
pub(crate) fn not_started(worker: WorkerId, text: String) -> WorkerMessage {
    never_there(worker, EndCause::NotStarted(text))
}

/// The report of a worker that was to end before its runner was started.
pub(crate) fn never_needed(worker: WorkerId) -> WorkerMessage {
    never_there(worker, EndCause::Exited(0))
}

fn never_there(worker: WorkerId, cause: EndCause) -> WorkerMessage {
    WorkerMessage::Down(Down {
        worker,
        cause,
        out_of_memory: false,
        item: None,
        report: None,
        stderr_tail: String::new(),
        stack: None,
        peak_rss_kib: 0,
        finished: 0,
    })
}

/// A process that has ended without a signal has a code.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The clock that runners write into their status pages.
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}
