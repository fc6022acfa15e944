//! Scripted runs for the tests of frontends.

use super::Frontend;
use std::rc::Rc;
use std::time::{Duration, Instant};
use xdist_coord::scheduler::Mode;
use xdist_coord::session::event::{
    Configured, Crash, CrashCause, CrashedItem, FailedAttempt, Failure, RunEnd, RunEvent, RunSummary,
};
use xdist_proto::item::{Collection, Item};
use xdist_proto::message::{DisplayOptions, EndCause, Ready, RunOptions};
use xdist_proto::report::{
    CollectReport, CrashLine, FailureText, ItemReport, OutcomeClass, Phase, PhaseReport, Section, SkipReason,
};
use xdist_proto::{ItemIndex, RunId, WorkerId};

/// Milliseconds between two events.
const STEP: Duration = Duration::from_millis(10);

/// Plays events to a frontend, each a moment after the other.
#[derive(Debug)]
pub(crate) struct Player<F> {
    pub(crate) frontend: F,
    pub(crate) now: Instant,
    collected: u64,
    flaky: u64,
    flaky_fails: bool,
}

impl<F: Frontend> Player<F> {
    pub(crate) fn new(frontend: F, started: Instant) -> Self {
        Self { frontend, now: started, collected: 0, flaky: 0, flaky_fails: false }
    }

    pub(crate) fn play(&mut self, event: RunEvent) {
        self.now += STEP;
        match &event {
            RunEvent::Configured(configured) => self.flaky_fails = configured.options.flaky_fails,
            RunEvent::ItemFinished { retries: 1.., report, .. } => {
                self.flaky += u64::from(report.class != OutcomeClass::Fail);
            }
            _ => {}
        }
        self.frontend.event(&event, self.now);
    }

    /// What the server does when it has handed over all that had arrived.
    pub(crate) fn end_turn(&mut self) {
        self.frontend.tick(self.now);
    }

    /// Two workers that are configured like this, and have collected these items.
    pub(crate) fn start(&mut self, display: DisplayOptions, node_ids: &[&str]) {
        self.configure(display);
        self.collect(node_ids);
    }

    pub(crate) fn configure(&mut self, display: DisplayOptions) {
        self.play(starting(0, None));
        self.play(RunEvent::Configured(Box::new(configured(display))));
        self.play(starting(1, None));
        (0..2).for_each(|worker| self.play(ready(worker)));
    }

    pub(crate) fn collect(&mut self, node_ids: &[&str]) {
        self.collected = node_ids.len() as u64;
        let items = node_ids.len() as u32;
        for worker in [WorkerId(0), WorkerId(1)] {
            self.play(RunEvent::WorkerCollecting { worker });
            self.play(RunEvent::WorkerCollected { worker, items, deselected: 0 });
        }
        self.play(RunEvent::Collected { worker: None, collection: collection(node_ids) });
        self.play(RunEvent::Scheduling { mode: Mode::WorkSteal, warning: None });
    }

    pub(crate) fn item(&mut self, worker: u32, item: u32, phases: Vec<PhaseReport>) {
        self.play(finished(worker, item, phases));
    }

    /// Ends the run; the summary counts what the script says was not run, and everything else as finished.
    pub(crate) fn finish(&mut self, end: RunEnd, not_run: u64) {
        self.now += STEP;
        let summary = RunSummary {
            end,
            collected: self.collected,
            finished: self.collected - not_run,
            crashed: 0,
            not_run,
            flaky: self.flaky,
            flaky_fails: self.flaky_fails,
            ..empty_summary()
        };
        self.frontend.finish(&summary, self.now);
    }
}

/// What is told of a run of nothing.
pub(crate) fn empty_summary() -> RunSummary {
    RunSummary {
        end: RunEnd::Completed,
        collected: 0,
        finished: 0,
        crashed: 0,
        not_run: 0,
        failed: 0,
        flaky: 0,
        flaky_fails: false,
        collect_errors: 0,
    }
}

pub(crate) fn starting(worker: u32, replaces: Option<u32>) -> RunEvent {
    let replaces = replaces.map(WorkerId);
    let (name, spec) = (format!("gw{worker}"), "popen".to_owned());
    RunEvent::WorkerStarting { worker: WorkerId(worker), name, spec, replaces }
}

pub(crate) fn ready(worker: u32) -> RunEvent {
    let ready = Ready {
        worker: WorkerId(worker),
        pid: 100 + worker,
        executable: "/usr/bin/python3".to_owned(),
        python: vec![3, 11, 7],
        platform: "linux".to_owned(),
        cwd: "/suite".to_owned(),
        ..Ready::default()
    };
    let (worker, host) = (WorkerId(worker), "buildhost".to_owned());
    RunEvent::WorkerReady { worker, host, elsewhere: false, ready: Box::new(ready) }
}

/// What pytest reports where no option is given.
/// The same for one on another machine.
pub(crate) fn ready_elsewhere(worker: u32) -> RunEvent {
    let mut event = ready(worker);
    let RunEvent::WorkerReady { elsewhere, .. } = &mut event else { unreachable!("it was just made") };
    *elsewhere = true;
    event
}

pub(crate) fn display() -> DisplayOptions {
    DisplayOptions {
        report_chars: "wfE".to_owned(),
        traceback_style: "auto".to_owned(),
        show_capture: "all".to_owned(),
        capture: "fd".to_owned(),
        durations_min_ms: 5,
        progress_style: "progress".to_owned(),
        ..DisplayOptions::default()
    }
}

pub(crate) fn configured(display: DisplayOptions) -> Configured {
    Configured {
        run: RunId("run".to_owned()),
        workers: 2,
        mode: Mode::WorkSteal,
        options: RunOptions::default(),
        display,
        header: vec!["platform linux -- Python 3.11.7".to_owned(), "rootdir: /suite".to_owned()],
        rootdir: "/suite".to_owned(),
    }
}

pub(crate) fn collection(node_ids: &[&str]) -> Rc<Collection> {
    Rc::new(Collection { items: node_ids.iter().map(|node_id| Item::new(*node_id)).collect() })
}

pub(crate) fn finished(worker: u32, item: u32, phases: Vec<PhaseReport>) -> RunEvent {
    let classes = [OutcomeClass::Fail, OutcomeClass::Skip];
    let class = classes.into_iter().find(|class| phases.iter().any(|phase| phase.class == *class));
    let report = ItemReport {
        class: class.unwrap_or_default(),
        start_us: 1_000_000,
        durations_us: [1000, 20_000, 3000],
        phases,
        full: Vec::new(),
    };
    RunEvent::ItemFinished {
        worker: WorkerId(worker),
        item: ItemIndex(item),
        report: Box::new(report),
        retries: 0,
    }
}

/// The result of an item that failed so often before.
pub(crate) fn finished_after(retries: u32, result: RunEvent) -> RunEvent {
    match result {
        RunEvent::ItemFinished { worker, item, report, .. } => {
            RunEvent::ItemFinished { worker, item, report, retries }
        }
        RunEvent::Crashed(crash) => RunEvent::Crashed(Box::new(Crash { retries, ..*crash })),
        other => panic!("no result: {other:?}"),
    }
}

/// What would be the result of an item, were it not for a retry, of two at most.
pub(crate) fn retried(retry: u32, result: RunEvent) -> RunEvent {
    let (worker, item, failure) = match result {
        RunEvent::ItemFinished { worker, item, report, .. } => (worker, item, Failure::Report(report)),
        RunEvent::Crashed(crash) => {
            let item = crash.item.expect("an item that crashed").item;
            (crash.worker, item, Failure::Crash(crash))
        }
        other => panic!("no result: {other:?}"),
    };
    RunEvent::ItemRetried(Box::new(FailedAttempt { worker, item, retry, limit: 2, failure }))
}

/// A passed phase.
pub(crate) fn passed(phase: Phase) -> PhaseReport {
    PhaseReport {
        phase,
        class: OutcomeClass::Pass,
        detail: None,
        duration_us: 2000,
        location: None,
        failure: None,
        skip: None,
        xfail: None,
        sections: Vec::new(),
        properties: Vec::new(),
        status: None,
    }
}

/// A failed phase.
pub(crate) fn failed(phase: Phase, message: &str) -> PhaseReport {
    let text =
        format!("\n    def test():\n>       assert x\nE       {message}\n\ntest_a.py:3: AssertionError");
    let crash = CrashLine { path: "/suite/test_a.py".to_owned(), line: 3, message: message.to_owned() };
    let failure = FailureText { text, ansi: None, crash: Some(crash) };
    PhaseReport { class: OutcomeClass::Fail, failure: Some(failure), ..passed(phase) }
}

/// A skipped phase.
pub(crate) fn skipped(phase: Phase, line: u32, reason: &str) -> PhaseReport {
    let reason = format!("Skipped: {reason}");
    let skip = SkipReason { path: "/suite/test_a.py".to_owned(), line, reason, fold: line == 0 };
    PhaseReport { class: OutcomeClass::Skip, skip: Some(skip), ..passed(phase) }
}

/// A test that was expected to fail, and did.
pub(crate) fn xfailed(reason: &str) -> Vec<PhaseReport> {
    let call = PhaseReport {
        class: OutcomeClass::Skip,
        detail: Some("xfailed".to_owned()),
        xfail: Some(reason.to_owned()),
        ..passed(Phase::Call)
    };
    vec![passed(Phase::Setup), call, passed(Phase::Teardown)]
}

/// A test that was expected to fail, and did not.
pub(crate) fn xpassed(reason: &str) -> Vec<PhaseReport> {
    let call = PhaseReport {
        detail: Some("xpassed".to_owned()),
        xfail: Some(reason.to_owned()),
        ..passed(Phase::Call)
    };
    vec![passed(Phase::Setup), call, passed(Phase::Teardown)]
}

/// The phase with something captured.
pub(crate) fn printing(report: PhaseReport, title: &str, text: &str) -> PhaseReport {
    let section = Section { title: title.to_owned(), text: text.to_owned() };
    PhaseReport { sections: [report.sections.clone(), vec![section]].concat(), ..report }
}

/// A failed call between a setup and a teardown.
pub(crate) fn failed_call(message: &str) -> Vec<PhaseReport> {
    vec![passed(Phase::Setup), failed(Phase::Call, message), passed(Phase::Teardown)]
}

/// A file that could not be imported.
pub(crate) fn collect_error(node_id: &str) -> RunEvent {
    let text =
        format!("ImportError while importing test module '/suite/{node_id}'.\nE   No module named 'x'");
    let report = CollectReport {
        node_id: node_id.to_owned(),
        class: OutcomeClass::Fail,
        failure: Some(FailureText { text, ansi: None, crash: None }),
        skip: None,
        sections: Vec::new(),
        full: Vec::new(),
    };
    RunEvent::CollectReport { worker: WorkerId(0), report }
}

/// The end of a worker in the middle of an item.
pub(crate) fn crash(worker: u32, item: Option<u32>, phase: Phase) -> RunEvent {
    let item = item.map(|item| CrashedItem {
        item: ItemIndex(item),
        phase: Some(phase),
        running: Some(Duration::from_millis(520)),
    });
    RunEvent::Crashed(Box::new(Crash {
        worker: WorkerId(worker),
        item,
        report: None,
        cause: CrashCause::Process(EndCause::Signaled(11)),
        out_of_memory: false,
        pid: Some(100 + worker),
        host: "buildhost".to_owned(),
        stderr_tail: "the last words\n".to_owned(),
        stack: Some("Fatal Python error: Segmentation fault\n".to_owned()),
        peak_rss_kib: 35_328,
        asked: false,
        retries: 0,
    }))
}
