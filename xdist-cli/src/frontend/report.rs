//! Reports as pytest's hooks would see them: one per phase, with what the wire leaves out filled in again.

use super::words;
use std::borrow::Cow;
use xdist_coord::session::event::Crash;
use xdist_proto::Value;
use xdist_proto::item::Item;
use xdist_proto::report::{
    CollectReport, FailureText, ItemReport, Location, OutcomeClass, Phase, PhaseReport, Section, SkipReason,
    Status,
};

/// What a report is about: pytest's `when`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// A phase of an item.
    Phase(Phase),
    /// A collector.
    Collect,
    /// The end of a test process in the middle of an item; pytest-xdist calls it `???`.
    Crash,
}

/// pytest's `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// `passed`.
    Passed,
    /// `failed`.
    Failed,
    /// `skipped`, expected failures included.
    Skipped,
    /// An outcome that a plugin made up, such as `rerun`.
    Other,
}

/// One report.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The item's or collector's node id.
    pub(crate) node_id: String,
    /// What it is about.
    pub(crate) when: When,
    /// Whether it is of a part of a test, which is counted by itself (pytest's `subtests`).
    pub(crate) subtest: bool,
    /// How it came out.
    pub(crate) outcome: Outcome,
    /// What refines the outcome, or stands for it where it is [`Outcome::Other`].
    pub(crate) detail: Option<String>,
    /// The group it is counted in; empty is not counted.
    pub(crate) category: Cow<'static, str>,
    /// The progress character.
    pub(crate) letter: Cow<'static, str>,
    /// The word of verbose lines.
    pub(crate) word: Cow<'static, str>,
    /// How long it took, in microseconds.
    pub(crate) duration_us: u64,
    /// Where the item is defined.
    pub(crate) location: Option<Location>,
    /// The failure.
    pub(crate) failure: Option<FailureText>,
    /// Why it was skipped.
    pub(crate) skip: Option<SkipReason>,
    /// The reason of the `xfail` mark that applied, which may be empty.
    pub(crate) xfail: Option<String>,
    /// Everything captured for the item so far, earlier phases included.
    pub(crate) sections: Vec<Section>,
    /// Every recorded property of the item so far.
    pub(crate) properties: Vec<(String, Value)>,
}

impl Report {
    /// pytest's title for the report: the item's name within its file.
    pub(crate) fn head_line(&self) -> String {
        let domain = match &self.location {
            Some(location) if !location.domain.is_empty() => location.domain.clone(),
            Some(_) | None => words::domain(&self.node_id),
        };
        if domain.is_empty() { "test session".to_owned() } else { domain }
    }

    /// pytest's title for the report where errors are shown: what failed beside the name, unless that is the test itself.
    pub(crate) fn title(&self) -> String {
        match self.when {
            When::Collect => format!("ERROR collecting {}", self.head_line()),
            When::Phase(Phase::Call) | When::Crash => self.head_line(),
            When::Phase(phase) => format!("ERROR at {} of {}", phase.name(), self.head_line()),
        }
    }

    /// The same as a report of an attempt that another one follows: what failed there is no failure. The outcome is that of
    /// pytest-rerunfailures.
    pub(crate) fn of_attempt(self) -> Self {
        if self.outcome != Outcome::Failed {
            return self;
        }
        let (category, letter, word) = ("rerun".into(), "R".into(), "RERUN".into());
        Self { outcome: Outcome::Other, detail: Some("rerun".to_owned()), category, letter, word, ..self }
    }

    /// The message of one-line summaries, of several lines perhaps.
    pub(crate) fn message(&self) -> Option<&str> {
        let failure = self.failure.as_ref()?;
        Some(failure.crash.as_ref().map_or(&failure.text, |crash| &crash.message).trim_start_matches('\n'))
    }

    /// The reason as the user gave it, of a skip, an expected failure or an unexpected pass; empty if there is none.
    pub(crate) fn raw_reason(&self) -> &str {
        if let Some(reason) = &self.xfail {
            return reason.strip_prefix("reason: ").unwrap_or(reason);
        }
        match self.skip.as_ref().map(|skip| skip.reason.as_str()) {
            None | Some("Skipped") => "",
            Some(reason) => reason.strip_prefix("Skipped: ").unwrap_or(reason),
        }
    }
}

/// The reports of one item in the order they were made.
pub(crate) fn item_reports(item: Option<&Item>, node_id: &str, report: &ItemReport) -> Vec<Report> {
    if report.phases.is_empty() {
        return plain_reports(item, node_id, report);
    }
    let mut sections = Vec::new();
    let mut properties = Vec::new();
    let mut reports = Vec::with_capacity(report.phases.len());
    for phase in &report.phases {
        sections.extend_from_slice(&phase.sections);
        properties.extend_from_slice(&phase.properties);
        let mut made = phase_report(node_id, phase);
        made.sections = sections.clone();
        made.properties = properties.clone();
        made.location = phase.location.clone().or_else(|| location(item));
        reports.push(made);
    }
    reports
}

/// Three passed phases, of which only the durations were sent.
fn plain_reports(item: Option<&Item>, node_id: &str, report: &ItemReport) -> Vec<Report> {
    let phases = [Phase::Setup, Phase::Call, Phase::Teardown];
    let location = location(item);
    let durations = phases.into_iter().zip(report.durations_us);
    durations
        .map(|(phase, us)| {
            let plain = PhaseReport {
                phase,
                class: report.class,
                detail: None,
                duration_us: us,
                location: None,
                failure: None,
                skip: None,
                xfail: None,
                sections: Vec::new(),
                properties: Vec::new(),
                status: None,
            };
            Report { location: location.clone(), ..phase_report(node_id, &plain) }
        })
        .collect()
}

fn location(item: Option<&Item>) -> Option<Location> {
    let item = item?;
    let file = item.file.as_deref().unwrap_or_else(|| words::split_node_id(&item.node_id).0);
    Some(Location { path: file.to_owned(), line: item.line, domain: words::domain(&item.node_id) })
}

fn phase_report(node_id: &str, phase: &PhaseReport) -> Report {
    let outcome = outcome(phase.class, phase.detail.as_deref());
    let (category, letter, word) = match &phase.status {
        Some(status) => {
            (status.category.clone().into(), status.letter.clone().into(), status.word.clone().into())
        }
        None => default_status(phase.phase, outcome, phase.xfail.is_some()),
    };
    Report {
        node_id: node_id.to_owned(),
        when: When::Phase(phase.phase),
        subtest: is_subtest(phase),
        outcome,
        detail: phase.detail.clone(),
        category,
        letter,
        word,
        duration_us: phase.duration_us,
        location: None,
        failure: phase.failure.clone(),
        skip: phase.skip.clone(),
        xfail: phase.xfail.clone(),
        sections: Vec::new(),
        properties: Vec::new(),
    }
}

fn outcome(class: OutcomeClass, detail: Option<&str>) -> Outcome {
    match (class, detail) {
        // A plugin's own outcome, `rerun` for example, is neither passed nor failed.
        (OutcomeClass::Pass, Some(detail)) if detail != "xpassed" => Outcome::Other,
        (OutcomeClass::Pass, _) => Outcome::Passed,
        (OutcomeClass::Skip, _) => Outcome::Skipped,
        (OutcomeClass::Fail | OutcomeClass::Infrastructure, _) => Outcome::Failed,
    }
}

/// A subtest is known by how it is shown: by a word of its own, or, having passed, not at all, as no call is.
fn is_subtest(phase: &PhaseReport) -> bool {
    let unseen = |status: &Status| status.word.is_empty() && status.letter.is_empty();
    let shown = phase.status.as_ref();
    phase.phase == Phase::Call && shown.is_some_and(|status| status.word.starts_with("SUB") || unseen(status))
}

type Shown = (Cow<'static, str>, Cow<'static, str>, Cow<'static, str>);

/// pytest's own answer to `pytest_report_teststatus`.
fn default_status(phase: Phase, outcome: Outcome, xfail: bool) -> Shown {
    let (category, letter, word) = match (outcome, phase) {
        (Outcome::Skipped, _) if xfail => ("xfailed", "x", "XFAIL"),
        (Outcome::Passed, _) if xfail => ("xpassed", "X", "XPASS"),
        (Outcome::Passed, Phase::Call) => ("passed", ".", "PASSED"),
        (Outcome::Passed | Outcome::Other, _) => ("", "", ""),
        (Outcome::Skipped, _) => ("skipped", "s", "SKIPPED"),
        (Outcome::Failed, Phase::Call) => ("failed", "F", "FAILED"),
        (Outcome::Failed, Phase::Setup | Phase::Teardown) => ("error", "E", "ERROR"),
    };
    (category.into(), letter.into(), word.into())
}

/// The report of a collector.
pub(crate) fn collect_report(report: &CollectReport) -> Report {
    let skipped = report.class == OutcomeClass::Skip;
    let path = words::split_node_id(&report.node_id).0.to_owned();
    Report {
        node_id: report.node_id.clone(),
        when: When::Collect,
        subtest: false,
        detail: None,
        outcome: if skipped { Outcome::Skipped } else { Outcome::Failed },
        category: if skipped { "skipped" } else { "error" }.into(),
        letter: if skipped { "s" } else { "E" }.into(),
        word: if skipped { "SKIPPED" } else { "ERROR" }.into(),
        duration_us: 0,
        location: Some(Location { path: path.clone(), line: None, domain: path }),
        failure: report.failure.clone(),
        skip: report.skip.clone(),
        xfail: None,
        sections: report.sections.clone(),
        properties: Vec::new(),
    }
}

/// What a crashed item had reported of earlier phases; empty if those only passed.
pub(crate) fn reports_before(crash: &Crash, item: Option<&Item>, node_id: &str) -> Vec<Report> {
    crash.report.as_ref().map_or_else(Vec::new, |report| item_reports(item, node_id, report))
}

/// The failed report of an item that the test process did not survive.
pub(crate) fn crash_report(node_id: &str, text: String) -> Report {
    let path = words::split_node_id(node_id).0.to_owned();
    Report {
        node_id: node_id.to_owned(),
        when: When::Crash,
        subtest: false,
        outcome: Outcome::Failed,
        detail: None,
        category: "failed".into(),
        letter: "F".into(),
        word: "FAILED".into(),
        duration_us: 0,
        // pytest-xdist heads it by the file, so that is what people look for.
        location: Some(Location { path: path.clone(), line: None, domain: path }),
        failure: Some(FailureText { text, ansi: None, crash: None }),
        skip: None,
        xfail: None,
        sections: Vec::new(),
        properties: Vec::new(),
    }
}
