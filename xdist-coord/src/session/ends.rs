//! Every kind of end: of a worker, and of the run.

use super::event::{Crash, CrashCause, CrashedItem, RunEnd, StopReason};
use super::timer::Timer;
use super::violation::Violation;
use super::{Course, Output, RunEvent, RunSummary, Session};
use crate::scheduler::Mode;
use crate::workers::spec::HostSpec;
use crate::workers::{Active, Ending, Farewell, HostId, HostLife, Life, Restart, Worker};
use std::collections::BTreeMap;
use std::time::Duration;
use xdist_proto::message::{Cancel, CoordinatorMessage, Down, Drain, EndCause, Interrupt, Shutdown};
use xdist_proto::report::OutcomeClass;
use xdist_proto::{ItemIndex, WorkerId};

/// How often an item may be running on a machine that is lost, and still run again. Then it is likely to be why.
const MOST_CUTS: u32 = 2;

/// With this signal machines end what runs on them when they are wanted back. POSIX fixes its number.
const SIGTERM: i32 = 15;

/// Why an item that was cut off did not run.
const INTERRUPTED: &str = "interrupted";

/// What was told about workers' ends, so that the same is not told again and again.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Deaths before anything was collected: they are mostly all the same.
    early_deaths: Vec<(CrashCause, String)>,
    /// What was lost first, and how: of those who were at work, if any was.
    first_loss: Option<String>,
    is_loss_at_work: bool,
}

/// The end of a worker.
#[derive(Debug)]
pub(super) struct Departure {
    worker: WorkerId,
    /// The item that it was in the middle of.
    item: Option<ItemIndex>,
    manner: Manner,
}

#[derive(Debug)]
enum Manner {
    /// As it was told to or as it announced; the text says what was wrong nevertheless.
    Ended(Option<String>),
    Crashed(Box<Crash>),
    /// Its machine is gone, or is about to be, for this reason; it was at this item, which may run elsewhere.
    Cut(String, Option<ItemIndex>),
}

/// Whether it counts that a worker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Its process died: there are only so many replacements.
    Crash,
    /// It has done something first, and was ended on purpose: for an item that took too long, or since it has done its
    /// share. So there are no more of these than items.
    OnPurpose,
}

/// What a worker leaves behind.
#[derive(Debug)]
struct Legacy {
    book: Option<usize>,
    /// Whether it finished or lost an item.
    fruitful: bool,
    /// What becomes of the item that it was in the middle of when it crashed.
    fate: Fate,
}

/// What becomes of an item that was running when its worker crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The crash is its result, after so many failures before.
    Crashed(u32),
    /// It runs again.
    Retried,
    /// The pytest host is asked.
    Questioned,
}

impl Session {
    /// Takes in the report of a worker's end.
    pub(super) fn down(&mut self, down: Down) -> Result<(), Violation> {
        let id = down.worker;
        if let EndCause::NotStarted(text) = &down.cause
            && self.turned_away_unstarted(id, text)
        {
            return Ok(());
        }
        let worker = self.workers.get(id);
        let item = match (down.item, worker.active()) {
            (None, _) => None,
            (Some(crash), Some(active)) => {
                let item = active.mapping.agreed(crash.item);
                let held = item.filter(|&item| self.books[active.book].is_leased_to(item, id));
                Some(held.ok_or(Violation::CrashItem { worker: id, item: crash.item })?)
            }
            (Some(crash), None) => return Err(Violation::CrashItem { worker: id, item: crash.item }),
        };
        if let Some(active) = worker.active()
            && down.finished != active.finished
        {
            tracing::warn!(worker = %id, told = down.finished, received = active.finished, "results differ in number");
        }
        if down.cause == EndCause::Signaled(SIGTERM)
            && self.workers.other_machine_of(id).is_some()
            && self.may_go_on_elsewhere(worker, item)
        {
            // A job that is cancelled ends its processes in any order, and the host may be next.
            let error = CrashCause::Process(down.cause).to_string();
            self.depart(vec![Departure { worker: id, item: None, manner: Manner::Cut(error, item) }]);
            return Ok(());
        }
        let cause = CrashCause::Process(down.cause);
        let in_order = worker.farewell != Farewell::None && item.is_none();
        let manner = match &worker.ending {
            Some(Ending::Shutdown(reason)) => Manner::Ended(reason.clone()),
            _ if in_order => Manner::Ended(None),
            Some(Ending::Interrupt) => Manner::Ended(Some(cause.to_string())),
            Some(Ending::Drain) | None => Manner::Crashed(Box::new(Crash {
                worker: id,
                item: item.map(|item| CrashedItem {
                    item,
                    phase: down.item.map(|crash| crash.phase),
                    running: down.item.map(|crash| Duration::from_millis(crash.running_ms)),
                }),
                report: item.and(down.report),
                cause,
                out_of_memory: down.out_of_memory,
                pid: worker.pid,
                host: self.workers.machine_of(id),
                stderr_tail: down.stderr_tail,
                stack: down.stack,
                peak_rss_kib: down.peak_rss_kib,
                asked: false,
                retries: 0,
            })),
        };
        self.depart(vec![Departure { worker: id, item, manner }]);
        Ok(())
    }

    /// The end of a worker whose host is gone. Nobody can say whether it was in the middle of an item; if it had any, it
    /// was at the first.
    pub(super) fn departure_with_host(&self, id: WorkerId, error: &str) -> Departure {
        let worker = self.workers.get(id);
        let first = worker.active().and_then(|active| self.books[active.book].leased_to(id).next());
        let item = first.filter(|_| worker.farewell == Farewell::None);
        if self.may_go_on_elsewhere(worker, item) {
            let error = format!("host lost: {error}");
            return Departure { worker: id, item: None, manner: Manner::Cut(error, item) };
        }
        let manner = match (&worker.ending, worker.farewell) {
            (Some(Ending::Shutdown(Some(reason))), _) => Manner::Ended(Some(reason.clone())),
            (Some(Ending::Shutdown(None) | Ending::Interrupt), _)
            | (_, Farewell::Output | Farewell::Error) => Manner::Ended(Some(error.to_owned())),
            (Some(Ending::Drain) | None, Farewell::None) => Manner::Crashed(Box::new(Crash {
                worker: id,
                item: item.map(|item| CrashedItem { item, phase: None, running: None }),
                report: None,
                cause: CrashCause::HostLost(error.to_owned()),
                out_of_memory: false,
                pid: worker.pid,
                host: self.workers.machine_of(id),
                stderr_tail: String::new(),
                stack: None,
                peak_rss_kib: 0,
                asked: false,
                retries: 0,
            })),
        };
        Departure { worker: id, item, manner }
    }

    /// Whether what a worker had is simply run by others, now that its machine is gone: that is rarely a test's doing.
    fn may_go_on_elsewhere(&self, worker: &Worker, item: Option<ItemIndex>) -> bool {
        let is_needed =
            matches!(worker.ending, None | Some(Ending::Drain)) && worker.farewell == Farewell::None;
        // Schedulers of users know crashes only.
        if !is_needed || self.is_scheduled_elsewhere() {
            return false;
        }
        match (&worker.spec.host, worker.active()) {
            (HostSpec::Joined(_), None) => true,
            (HostSpec::Joined(_) | HostSpec::Ssh(_), Some(active)) => {
                item.is_none_or(|item| self.books[active.book].cuts(item) < MOST_CUTS)
            }
            (HostSpec::Local | HostSpec::Exec(_) | HostSpec::Launcher(_) | HostSpec::Ssh(_), _) => false,
        }
    }

    /// Workers have come to their ends, all at once: first all are taken out, so that none of them is given anything
    /// more, then each is told of and perhaps replaced, and then the others go on.
    pub(super) fn depart(&mut self, departures: Vec<Departure>) {
        let mut gone: BTreeMap<usize, Vec<(WorkerId, Option<ItemIndex>)>> = BTreeMap::new();
        let mut legacies = Vec::with_capacity(departures.len());
        for departure in &departures {
            let legacy = self.take_out(departure);
            if let Some(book) = legacy.book {
                gone.entry(book).or_default().push((departure.worker, departure.item));
            }
            legacies.push(legacy);
        }
        let books: Vec<usize> = gone.keys().copied().collect();
        for (book, workers) in gone {
            self.books[book].distribution.remove_workers(workers);
        }
        for (departure, legacy) in departures.into_iter().zip(legacies) {
            self.tell_and_replace(departure, &legacy);
        }
        for book in books {
            self.carry_out(book);
            self.close_book_if_done(book);
        }
        self.check_left();
    }

    /// The worker is down and has nothing any more.
    fn take_out(&mut self, departure: &Departure) -> Legacy {
        let id = departure.worker;
        let worker = self.workers.get(id);
        let host = worker.host;
        let (book, finished) = worker.active().map(|active| (active.book, active.finished)).unzip();
        let mut fate = Fate::Crashed(0);
        if let Some(book) = book {
            let leased: Vec<ItemIndex> = self.books[book].leased_to(id).collect();
            for item in leased {
                match &departure.manner {
                    Manner::Cut(_, Some(cut)) if *cut == item => self.books[book].cut(item),
                    _ if departure.item != Some(item) => self.books[book].give_back(item),
                    Manner::Crashed(_) => fate = self.decide_fate(book, item),
                    Manner::Ended(_) | Manner::Cut(..) => self.books[book].interrupt(item),
                }
            }
        }
        self.workers.set_down(id);
        self.take_terminal_back(id);
        self.leaves_shared(id);
        for timer in [Timer::Ramp(id), Timer::Finish(id), Timer::Shutdown(id)] {
            self.timers.cancel(timer);
        }
        self.release_host_if_unused(host);
        let fruitful = departure.item.is_some() || finished.is_some_and(|finished| finished > 0);
        Legacy { book, fruitful, fate }
    }

    /// Decides what becomes of an item that was running when its worker crashed, and enters it.
    fn decide_fate(&mut self, book: usize, item: ItemIndex) -> Fate {
        if self.pytest_host.judges_crashes() {
            self.books[book].question(item);
            Fate::Questioned
        } else if self.may_retry(book, item) {
            self.books[book].give_back(item);
            Fate::Retried
        } else {
            self.counts.crashed += 1;
            self.counts.failed += 1;
            Fate::Crashed(self.books[book].done(item))
        }
    }

    /// A host of one worker is of no use without it.
    fn release_host_if_unused(&mut self, host: HostId) {
        if !self.workers.host(host).spec.is_shared() && self.workers.living_on(host).is_empty() {
            self.release_host(host);
        }
    }

    fn tell_and_replace(&mut self, departure: Departure, legacy: &Legacy) {
        let id = departure.worker;
        match departure.manner {
            Manner::Ended(error) => {
                if let Some(error) = &error {
                    self.worker_lost_first(id, error, legacy);
                }
                self.report(RunEvent::WorkerDown { worker: id, error });
                if self.workers.get(id).recycled && self.has_unbegun(legacy) {
                    let loss = if legacy.fruitful { Loss::OnPurpose } else { Loss::Crash };
                    self.replace(id, legacy, loss);
                }
            }
            Manner::Cut(error, _) => {
                self.worker_lost_first(id, &error, legacy);
                self.report(RunEvent::WorkerDown { worker: id, error: Some(error) });
                self.replace(id, legacy, Loss::Crash);
            }
            Manner::Crashed(mut crash) => {
                let error = crash.cause.to_string();
                tracing::warn!(worker = %id, error, "worker crashed");
                self.worker_lost_first(id, &error, legacy);
                let failed_before =
                    crash.report.as_ref().is_some_and(|report| report.class == OutcomeClass::Fail);
                let timed_out = crash.time_limit().is_some();
                match (departure.item.zip(legacy.book), legacy.fate) {
                    (Some((item, book)), Fate::Questioned) => self.question_crash(book, item, crash),
                    (Some((item, book)), Fate::Retried) => self.retry_crashed(book, item, crash),
                    (_, Fate::Crashed(retries)) => {
                        crash.retries = retries;
                        self.tell_crash(crash);
                    }
                    (None, Fate::Questioned | Fate::Retried) => {
                        debug_assert!(false, "only an item has a fate");
                    }
                }
                self.report(RunEvent::WorkerDown { worker: id, error: Some(error) });
                if self.ever_collected && matches!(legacy.fate, Fate::Crashed(_)) {
                    self.counts.failures += 1 + u32::from(failed_before);
                    self.check_failures();
                }
                let loss = if timed_out { Loss::OnPurpose } else { Loss::Crash };
                self.replace(id, legacy, loss);
            }
        }
        if let Some(digest) = self.lists.forget_worker(id) {
            self.ask_again(digest);
        }
    }

    /// Whether there are items that nobody runs yet, where a worker was at work.
    fn has_unbegun(&self, legacy: &Legacy) -> bool {
        let Some(book) = legacy.book else { return false };
        let runs = |active: &Active| active.book == book && active.leased > 0;
        let running = self.workers.all().filter(|(_, worker)| worker.active().is_some_and(runs)).count();
        self.books[book].left() > running
    }

    /// Whether there is no way to this machine any more: whoever has dialled in has to do so again, and where a login fails
    /// it does so a moment later too.
    fn is_unreachable(&self, host: HostId) -> bool {
        let host = self.workers.host(host);
        let closed = matches!(host.life, HostLife::Closed);
        match host.spec {
            HostSpec::Joined(_) => closed,
            HostSpec::Ssh(_) => closed && !host.came_up,
            HostSpec::Local | HostSpec::Exec(_) | HostSpec::Launcher(_) => false,
        }
    }

    /// The same of a worker. One that was never at work does not explain why nobody is left where others were.
    fn worker_lost_first(&mut self, id: WorkerId, error: &str, legacy: &Legacy) {
        if legacy.book.is_some() && !self.shown.is_loss_at_work {
            self.shown.first_loss = None;
            self.shown.is_loss_at_work = true;
        }
        let name = self.workers.get(id).name.clone();
        self.lost_first(&name, error);
    }

    /// Remembers what was lost first, which is likely why nobody is left.
    pub(super) fn lost_first(&mut self, who: &str, error: &str) {
        self.shown.first_loss.get_or_insert_with(|| format!("{who}: {error}"));
    }

    fn tell_crash(&mut self, crash: Box<Crash>) {
        if !self.ever_collected {
            let death = (crash.cause.clone(), crash.stderr_tail.clone());
            if self.shown.early_deaths.contains(&death) {
                return;
            }
            self.shown.early_deaths.push(death);
        }
        self.report(RunEvent::Crashed(crash));
    }

    /// Starts another worker in the place of one that is gone, if there is use for it and the limit allows it.
    fn replace(&mut self, id: WorkerId, legacy: &Legacy, loss: Loss) {
        self.replace_with(id, legacy.book, legacy.fruitful, loss);
    }

    /// Somebody has collected for the first time, so that others can: those who died before that are replaced after all.
    pub(super) fn replace_hopeless(&mut self) {
        for id in std::mem::take(&mut self.hopeless) {
            // There are no more workers than the plan has, which some may have died before.
            if self.initial.contains(&id) {
                self.replace_with(id, None, false, Loss::Crash);
            }
        }
    }

    fn replace_with(&mut self, id: WorkerId, book: Option<usize>, fruitful: bool, loss: Loss) {
        let worker = self.workers.get(id);
        let book = book.or(worker.inherits);
        let useful = match (&self.course, book) {
            (Course::Gathering, _) => true,
            (Course::Running, Some(book)) => !self.books[book].is_closed(),
            (Course::Running, None) => self.is_each() || self.open_books > 0,
            (Course::Ending(_) | Course::Over, _) => false,
        };
        if !useful {
            return;
        }
        if self.is_unreachable(worker.host) {
            return;
        }
        let fruitless = if fruitful { 0 } else { worker.fruitless + 1 };
        let spec = worker.spec.clone();
        let limit = self.plan.as_ref().and_then(|plan| plan.max_restarts);
        let restart = match loss {
            Loss::Crash => self.restarts.crashed(limit, self.ever_collected, fruitless),
            Loss::OnPurpose => Restart::Replace,
        };
        match restart {
            Restart::Replace => {
                let inherits = book.filter(|_| self.is_each());
                let replacement = self.start_worker(spec, Some(id));
                let worker = self.workers.get_mut(replacement);
                worker.inherits = inherits;
                worker.fruitless = fruitless;
            }
            Restart::Exhausted(limit) => {
                self.report(RunEvent::RestartsExhausted { worker: id, limit });
                // As in pytest-xdist's `dsession.py`, too many crashes end the run; but who wants no replacements at all
                // wants the others to go on.
                if limit > 0 {
                    self.begin_ending(RunEnd::Stopped(StopReason::RestartsExhausted(limit)), &Ending::Drain);
                }
            }
            Restart::Fruitless(limit) => self.report(RunEvent::RestartsExhausted { worker: id, limit }),
            Restart::Hopeless => self.hopeless.push(id),
        }
    }

    pub(super) fn is_each(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.mode == Mode::Each)
    }

    /// Looks whether anybody is left to go on with.
    pub(super) fn check_left(&mut self) {
        match self.course {
            Course::Gathering => {
                if self.workers.all().any(|(_, worker)| worker.is_in_use()) {
                    self.advance_gathering();
                } else if self.hopes_for_joiners() {
                    self.await_others();
                } else {
                    self.begin_ending(RunEnd::Stopped(self.nobody_left()), &Ending::Drain);
                }
            }
            Course::Running => {
                self.abandon_books();
                self.check_books();
            }
            Course::Ending(_) | Course::Over => {}
        }
    }

    /// Closes the books that nobody can go on with, and of which nothing more will be heard either.
    fn abandon_books(&mut self) {
        let mut served = vec![false; self.books.len()];
        let each = self.is_each();
        // A worker that was told to end while the run goes on still finishes what it has.
        let serves = |(_, worker): &(WorkerId, &Worker)| worker.holds_its_place() || worker.leased() > 0;
        for (_, worker) in self.workers.all().filter(serves) {
            let shared = (!each).then_some(0);
            if let Some(book) = worker.active().map(|active| active.book).or(worker.inherits).or(shared) {
                served[book] = true;
            }
        }
        if !each && !served[0] && self.open_books > 0 && self.hopes_for_joiners() {
            return self.await_others();
        }
        for (book, served) in served.into_iter().enumerate() {
            if !served && !self.pytest_host.has_question_about(book) {
                self.settle_retries(book);
                self.close_book(book);
            }
        }
    }

    pub(super) fn close_book_if_done(&mut self, book: usize) {
        if self.books[book].left() == 0 {
            self.close_book(book);
            self.check_books();
        }
    }

    fn close_book(&mut self, book: usize) {
        if !self.books[book].is_closed() {
            self.books[book].close();
            self.open_books -= 1;
        }
    }

    /// Ends the run when everything is accounted for, as far as it can be.
    pub(super) fn check_books(&mut self) {
        let newcomer = |(_, worker): (WorkerId, &Worker)| {
            worker.is_in_use() && worker.active().is_none() && worker.inherits.is_none()
        };
        if self.course != Course::Running
            || self.open_books > 0
            || (self.is_each() && self.workers.all().any(newcomer))
        {
            return;
        }
        let end = match self.books.iter().any(|book| book.left() > 0) {
            true => RunEnd::Stopped(self.nobody_left()),
            false => RunEnd::Completed,
        };
        self.begin_ending(end, &Ending::Drain);
    }

    fn nobody_left(&self) -> StopReason {
        if let Some(limit) = self.restarts.exhausted() {
            return StopReason::RestartsExhausted(limit);
        }
        StopReason::NoWorkers(match (self.nobody_joined(), &self.shown.first_loss) {
            (_, Some(loss)) if self.is_each() => {
                format!("{loss}; in mode each, nobody else runs what a worker was to run")
            }
            (_, Some(loss)) => format!("no worker is left ({loss}){}", self.no_other_joined()),
            (Some(text), None) => text,
            (None, None) => "no worker is left".to_owned(),
        })
    }

    /// Hands out nothing more and tells all workers to end. The first reason counts.
    pub(super) fn begin_ending(&mut self, end: RunEnd, ending: &Ending) {
        if matches!(self.course, Course::Ending(_) | Course::Over) {
            return;
        }
        tracing::info!(?end, "ending");
        self.course = Course::Ending(end.clone());
        self.release_withheld();
        if let RunEnd::Stopped(reason) = end {
            self.report(RunEvent::Stopping(reason));
        }
        for book in &mut self.books {
            book.distribution.stop();
        }
        self.end_all(ending, self.config.timeouts.grace());
    }

    fn end_all(&mut self, ending: &Ending, grace: Duration) {
        for worker in self.workers.living() {
            self.end_worker(worker, ending.clone(), grace);
        }
    }

    /// Tells a worker to end, unless it was told as strongly before. `grace` is for its process to end by itself.
    pub(super) fn end_worker(&mut self, id: WorkerId, ending: Ending, grace: Duration) {
        let worker = self.workers.get(id);
        let told = worker.ending.as_ref().is_some_and(|told| !ending.is_stronger_than(told));
        if told || worker.is_down() {
            return;
        }
        let ending = match worker.life {
            Life::Waiting => {
                // Nobody has heard of it yet.
                let departure = Departure { worker: id, item: None, manner: Manner::Ended(None) };
                self.take_out(&departure);
                self.report(RunEvent::WorkerDown { worker: id, error: None });
                return;
            }
            // There is no session yet that could end in good order.
            Life::Configuring => Ending::Shutdown(None),
            Life::Ready | Life::Collecting | Life::Collected { .. } | Life::Active(_) | Life::Down => ending,
        };
        match &ending {
            Ending::Drain => {
                if worker.leased() > 0 {
                    self.cancel(id);
                }
                self.send(id, CoordinatorMessage::Drain(Drain { worker: id }));
            }
            Ending::Interrupt => self.send(id, CoordinatorMessage::Interrupt(Interrupt { worker: id })),
            Ending::Shutdown(_) => {
                let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                self.send(id, CoordinatorMessage::Shutdown(Shutdown { worker: id, grace_ms }));
                self.timers.cancel(Timer::Finish(id));
                self.timers.set(Timer::Shutdown(id), self.now + self.config.timeouts.shutdown);
            }
        }
        self.timers.cancel(Timer::Ramp(id));
        self.workers.get_mut(id).ending = Some(ending);
        self.arm_finish(id);
    }

    /// Takes the worker's queue back.
    fn cancel(&mut self, id: WorkerId) {
        let request = self.request();
        if let Some(active) = self.workers.get_mut(id).active_mut() {
            active.cancel = Some(request);
        }
        self.send(id, CoordinatorMessage::Cancel(Cancel { worker: id, request }));
    }

    /// Sets a bound to the end of a worker that was told to end and has no item any more.
    pub(super) fn arm_finish(&mut self, id: WorkerId) {
        let worker = self.workers.get(id);
        let ends = worker.recycled || matches!(worker.ending, Some(Ending::Drain | Ending::Interrupt));
        if ends && worker.leased() == 0 {
            self.timers.set_if_unset(Timer::Finish(id), self.now + self.config.timeouts.finish);
        }
    }

    /// The user wants the run to end; the second time, at once.
    pub(super) fn interrupted(&mut self) {
        self.interrupts += 1;
        self.abandon_fetches();
        if self.interrupts > 1 {
            self.kill_all();
            return;
        }
        let stopped = RunEnd::Stopped(StopReason::Interrupted);
        if self.course == Course::Ending(RunEnd::Completed) {
            // Something was still to be done, and the user did not want to wait for it.
            self.course = Course::Ending(stopped);
            self.report(RunEvent::Stopping(StopReason::Interrupted));
        } else {
            self.begin_ending(stopped, &Ending::Interrupt);
        }
        self.end_all(&Ending::Interrupt, self.config.timeouts.grace());
        self.end_debuggers();
    }

    fn kill_all(&mut self) {
        self.forgo_fetches();
        for id in self.workers.living() {
            let first = self.workers.get(id).active().and_then(|active| {
                self.books[active.book].leased_to(id).next().map(|item| (active.book, item))
            });
            if let Some((book, item)) = first {
                self.books[book].interrupt(item);
            }
            self.send(id, CoordinatorMessage::Shutdown(Shutdown { worker: id, grace_ms: 0 }));
            self.workers.set_down(id);
        }
        self.begin_ending(RunEnd::Stopped(StopReason::Interrupted), &Ending::Shutdown(None));
    }

    /// Finishes when the run is ending and all workers have.
    pub(super) fn check_over(&mut self) {
        if let Course::Ending(end) = &self.course
            && self.workers.living_count() == 0
        {
            let end = end.clone();
            if self.has_fetched() {
                self.finish(end);
            }
        }
    }

    fn finish(&mut self, end: RunEnd) {
        self.settle_questions();
        self.course = Course::Over;
        self.timers.clear();
        for book in 0..self.books.len() {
            self.settle_retries(book);
        }
        let mut collected = 0;
        let mut not_run = 0;
        for book in std::mem::take(&mut self.books) {
            let (rest, interrupted) = book.not_run();
            collected += book.collection.items.len() as u64;
            not_run += (rest.len() + interrupted.len()) as u64;
            for (items, reason) in [(rest, self.reason_not_run(&end)), (interrupted, INTERRUPTED.to_owned())]
            {
                if !items.is_empty() {
                    self.report(RunEvent::NotRun { worker: book.owner, items, reason });
                }
            }
        }
        for host in self.workers.hosts() {
            if !matches!(self.workers.host(host).life, HostLife::Closed) {
                self.release_host(host);
            }
        }
        let counts = self.counts;
        debug_assert_eq!(
            counts.finished + counts.crashed + not_run,
            collected,
            "the summary does not add up"
        );
        self.outputs.push_back(Output::Finished(RunSummary {
            end,
            collected,
            finished: counts.finished,
            crashed: counts.crashed,
            not_run,
            failed: counts.failed,
            flaky: counts.flaky,
            flaky_fails: self.plan.as_ref().is_some_and(|plan| plan.flaky_fails),
            collect_errors: counts.collect_errors,
        }));
    }

    fn reason_not_run(&self, end: &RunEnd) -> String {
        match end {
            RunEnd::Stopped(StopReason::KeyboardInterrupt(worker)) => {
                format!("KeyboardInterrupt on {}", self.workers.get(*worker).name)
            }
            RunEnd::Stopped(reason) => reason.to_string(),
            RunEnd::UsageError(_) => "usage error".to_owned(),
            RunEnd::Completed | RunEnd::Plain(_) | RunEnd::Mismatch => String::new(),
        }
    }
}
