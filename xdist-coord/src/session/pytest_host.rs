//! What the session asks the pytest host, and what it does with the answers.
//!
//! The pytest host is a frontend that runs what plugins have to do on this side. It is asked about every worker before
//! that one is configured, and perhaps about items that crashed; a worker that waits for an answer does nothing else.

use super::event::{Crash, PYTEST_HOST, RunEnd, StopReason};
use super::violation::Violation;
use super::{Course, Output, RunEvent, Session};
use crate::session::config::PytestHost;
use crate::workers::{Ending, HostLife, Life};
use std::collections::{BTreeMap, BTreeSet};
use xdist_proto::frontend::CrashHandled;
use xdist_proto::message::{CoordinatorMessage, HostWanted, Proceed};
use xdist_proto::report::OutcomeClass;
use xdist_proto::{ItemIndex, Value, WorkerId};

/// What is known of the pytest host.
#[derive(Debug)]
pub(super) struct State {
    presence: PytestHost,
    judges_crashes: bool,
    schedules: bool,
    /// Items for workers that cannot take any yet.
    early: BTreeMap<WorkerId, Vec<ItemIndex>>,
    /// Workers that have said that they wait for `proceed`.
    waiting: BTreeSet<WorkerId>,
    /// Workers about which it has been asked and has not answered.
    asked: BTreeSet<WorkerId>,
    /// What each worker is configured with, once that is known.
    inputs: BTreeMap<WorkerId, BTreeMap<String, Value>>,
    /// Crashed items that have run again because a plugin wanted it.
    rerun: BTreeSet<(usize, ItemIndex)>,
    /// Crashed items whose fate is undecided, by the number of the question.
    questions: BTreeMap<u32, Question>,
}

/// An item that may run again.
#[derive(Debug)]
struct Question {
    book: usize,
    item: ItemIndex,
    crash: Box<Crash>,
}

impl State {
    pub(super) const fn new(presence: PytestHost) -> Self {
        Self {
            presence,
            judges_crashes: false,
            schedules: false,
            early: BTreeMap::new(),
            waiting: BTreeSet::new(),
            asked: BTreeSet::new(),
            inputs: BTreeMap::new(),
            rerun: BTreeSet::new(),
            questions: BTreeMap::new(),
        }
    }

    pub(super) const fn joined(&mut self, judges_crashes: bool, schedules: bool) {
        self.judges_crashes = judges_crashes && self.is_present();
        self.schedules = schedules && self.is_present();
    }

    /// Whether it decides which worker gets which items.
    pub(super) const fn schedules(&self) -> bool {
        self.schedules
    }

    /// Keeps items for a worker that cannot take any yet.
    pub(super) fn keep_for(&mut self, worker: WorkerId, items: Vec<ItemIndex>) {
        self.early.entry(worker).or_default().extend(items);
    }

    /// What was kept for a worker.
    pub(super) fn kept_for(&mut self, worker: WorkerId) -> Vec<ItemIndex> {
        self.early.remove(&worker).unwrap_or_default()
    }

    /// A worker is ready that has not asked for one, so the run goes on without. Who would ask later is another kind of
    /// worker, and a host started for it would have missed a part of the run.
    pub(super) const fn decide(&mut self) {
        if self.is_on_demand() {
            self.presence = PytestHost::Never;
        }
    }

    pub(super) const fn is_present(&self) -> bool {
        matches!(self.presence, PytestHost::Present)
    }

    /// Whether one would be started if a worker wanted it.
    pub(super) const fn is_on_demand(&self) -> bool {
        matches!(self.presence, PytestHost::OnDemand)
    }

    pub(super) const fn judges_crashes(&self) -> bool {
        self.judges_crashes
    }

    /// Whether it is still to be heard what is to become of an item of this book.
    pub(super) fn has_question_about(&self, book: usize) -> bool {
        self.questions.values().any(|question| question.book == book)
    }

    /// What the worker is configured with; `None` as long as nobody knows.
    pub(super) fn input_of(&self, worker: WorkerId) -> Option<BTreeMap<String, Value>> {
        self.inputs.get(&worker).cloned()
    }
}

impl Session {
    /// A worker has plugins that want the pytest host, and waits.
    pub(super) fn host_wanted(&mut self, wanted: HostWanted) -> Result<(), Violation> {
        let id = wanted.worker;
        if !matches!(self.workers.get(id).life, Life::Configuring) {
            return Err(self.unexpected(id, "host_wanted"));
        }
        if !self.pytest_host.waiting.insert(id) {
            return Err(Violation::SecondHostWanted { worker: id });
        }
        if self.is_discarded(id) {
            return Ok(());
        }
        match self.pytest_host.presence {
            PytestHost::Never => self.proceed(id, BTreeMap::new()),
            PytestHost::OnDemand => self.start_pytest_host(wanted),
            // It was configured with the answer.
            PytestHost::Present if self.pytest_host.inputs.contains_key(&id) => {
                self.proceed(id, BTreeMap::new());
            }
            PytestHost::Present => self.ask_configuration(id),
        }
        Ok(())
    }

    /// Starts the pytest host, and asks it about all who wait: the worker that wants it, and those whose hosts are not
    /// up yet, which are configured with the answer.
    fn start_pytest_host(&mut self, wanted: HostWanted) {
        self.pytest_host.presence = PytestHost::Present;
        self.outputs.push_back(Output::StartPytestHost { hooks: wanted.hooks });
        for id in self.workers.living() {
            if id == wanted.worker || matches!(self.workers.get(id).life, Life::Waiting) {
                self.ask_configuration(id);
            }
        }
    }

    pub(super) fn ask_configuration(&mut self, worker: WorkerId) {
        self.pytest_host.asked.insert(worker);
        self.outputs.push_back(Output::AskConfiguration { worker });
    }

    pub(super) fn node_configured(&mut self, id: WorkerId, input: BTreeMap<String, Value>) {
        if !self.pytest_host.asked.remove(&id) {
            return;
        }
        let worker = self.workers.get(id);
        match worker.life {
            Life::Waiting => {
                let host = worker.host;
                self.pytest_host.inputs.insert(id, input);
                if matches!(self.workers.host(host).life, HostLife::Open { .. }) {
                    self.configure_worker(id);
                }
            }
            // It was told to end meanwhile.
            _ if self.is_discarded(id) => {}
            // It has said that it waits, whatever it has said since.
            Life::Configuring | Life::Ready | Life::Collecting | Life::Collected { .. } | Life::Active(_) => {
                self.proceed(id, input)
            }
            Life::Down => {}
        }
    }

    fn proceed(&mut self, worker: WorkerId, input: BTreeMap<String, Value>) {
        let full = self.pytest_host.is_present();
        self.send(worker, CoordinatorMessage::Proceed(Proceed { worker, input, full }));
    }

    /// Asks what is to become of an item that crashed.
    pub(super) fn question_crash(&mut self, book: usize, item: ItemIndex, crash: Box<Crash>) {
        let request = self.request();
        self.report(RunEvent::CrashQuestion { request, crash: crash.clone() });
        self.pytest_host.questions.insert(request, Question { book, item, crash });
    }

    pub(super) fn crash_handled(&mut self, answer: CrashHandled) {
        let CrashHandled { request, again, excused } = answer;
        let Some(question) = self.pytest_host.questions.remove(&request) else { return };
        if again && self.course == Course::Running {
            let Question { book, item, .. } = question;
            self.pytest_host.rerun.insert((book, item));
            self.books[book].give_back(item);
            self.books[book].distribution.put_back(item);
            self.carry_out(book);
        } else if !excused && self.may_retry_crashed(question.book, question.item) {
            let Question { book, item, mut crash } = question;
            crash.asked = true;
            self.retry_crashed(book, item, crash);
            self.carry_out(book);
        } else {
            self.settle_crash(question, excused);
        }
        self.check_left();
    }

    /// Whether `--retries` is for a crashed item that no plugin has run again. A plugin that has done so before knows how
    /// often it wants that, and pytest-rerunfailures then runs nothing of the item any more.
    fn may_retry_crashed(&self, book: usize, item: ItemIndex) -> bool {
        self.may_retry(book, item) && !self.pytest_host.rerun.contains(&(book, item))
    }

    fn settle_crash(&mut self, question: Question, excused: bool) {
        let Question { book, item, mut crash } = question;
        let failed_before = crash.report.as_ref().is_some_and(|report| report.class == OutcomeClass::Fail);
        crash.asked = true;
        crash.retries = self.books[book].done(item);
        self.counts.crashed += 1;
        self.report(RunEvent::Crashed(crash));
        if !excused {
            self.counts.failed += 1;
            self.counts.failures += 1 + u32::from(failed_before);
            self.check_failures();
        }
        self.close_book_if_done(book);
    }

    /// What nobody will answer any more counts as crashed.
    pub(super) fn settle_questions(&mut self) {
        for question in std::mem::take(&mut self.pytest_host.questions).into_values() {
            self.settle_crash(question, false);
        }
    }

    pub(super) fn pytest_host_lost(&mut self, error: String) {
        self.pytest_host.presence = PytestHost::Never;
        self.pytest_host.judges_crashes = false;
        self.report(RunEvent::HostLost { host: PYTEST_HOST.to_owned(), error });
        // It writes nothing any more.
        self.terminal_free();
        let stopped = RunEnd::Stopped(StopReason::PytestHostLost);
        if self.course == Course::Ending(RunEnd::Completed) {
            // The workers' last words, which plugins wanted to hear, are still to come.
            self.course = Course::Ending(stopped);
            self.report(RunEvent::Stopping(StopReason::PytestHostLost));
        } else {
            self.begin_ending(stopped, &Ending::Drain);
        }
        self.end_debuggers();
        self.settle_questions();
    }
}
