//! What running or collecting produced.

use crate::value::{self, Value};
use serde::{Deserialize, Serialize};

/// A part of a test's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Phase {
    /// Fixtures are set up.
    #[serde(rename = "setup")]
    Setup,
    /// The test function runs.
    #[serde(rename = "call")]
    Call,
    /// Fixtures are torn down.
    #[serde(rename = "teardown")]
    Teardown,
}

impl Phase {
    /// The name that pytest uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Call => "call",
            Self::Teardown => "teardown",
        }
    }
}

/// The class of an outcome. It is closed: new kinds of outcome are a class with a new detail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum OutcomeClass {
    /// It did what it should.
    #[default]
    #[serde(rename = "pass")]
    Pass,
    /// It did not.
    #[serde(rename = "fail")]
    Fail,
    /// It was not run, or its failure was expected.
    #[serde(rename = "skip")]
    Skip,
    /// The machinery failed, not the test: a crash, a vanished host.
    #[serde(rename = "infra")]
    Infrastructure,
}

impl OutcomeClass {
    /// Whether it is [`OutcomeClass::Pass`], which the wire leaves out.
    #[must_use]
    pub fn is_pass(&self) -> bool {
        *self == Self::Pass
    }
}

/// Where a failure happened, and its message: pytest's `reprcrash`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CrashLine {
    /// The file.
    #[serde(rename = "path")]
    pub path: String,
    /// The line, from 1.
    #[serde(rename = "line")]
    pub line: u32,
    /// The exception's text; may have several lines.
    #[serde(rename = "message")]
    pub message: String,
}

/// A rendered failure: pytest's `longrepr`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct FailureText {
    /// Plain text in the style of `--tb`, without a final newline.
    #[serde(rename = "text")]
    pub text: String,
    /// The same with terminal colours, where they were asked for and differ.
    #[serde(rename = "ansi", default, skip_serializing_if = "Option::is_none")]
    pub ansi: Option<String>,
    /// The place and message for one-line summaries.
    #[serde(rename = "crash", default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<CrashLine>,
}

/// Where and why something was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SkipReason {
    /// The file that skipped.
    #[serde(rename = "path")]
    pub path: String,
    /// The line, from 1.
    #[serde(rename = "line", default)]
    pub line: u32,
    /// The reason as pytest gives it, for example `Skipped: no network`.
    #[serde(rename = "reason")]
    pub reason: String,
    /// Whether summaries leave the line out: the mark that skipped it stands on the module or class, so that one line
    /// tells of all its tests.
    #[serde(rename = "fold", default, skip_serializing_if = "std::ops::Not::not")]
    pub fold: bool,
}

/// Output or log records captured during one phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Section {
    /// For example `Captured stdout call`.
    #[serde(rename = "title")]
    pub title: String,
    /// The text.
    #[serde(rename = "text")]
    pub text: String,
}

/// How a report is shown: the answer of `pytest_report_teststatus`. Sent only where it is not pytest's own for the
/// outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Status {
    /// The group it is counted in, for example `rerun`; empty is not counted.
    #[serde(rename = "category")]
    pub category: String,
    /// The progress character.
    #[serde(rename = "letter")]
    pub letter: String,
    /// The word of verbose lines.
    #[serde(rename = "word")]
    pub word: String,
}

/// pytest's `location` of an item: where it is defined and its name within the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Location {
    /// The file relative to the root directory.
    #[serde(rename = "path")]
    pub path: String,
    /// The line, from 0.
    #[serde(rename = "line", default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// For example `TestClass.test_method[param]`.
    #[serde(rename = "domain")]
    pub domain: String,
}

/// One report of one phase of one item: pytest's `TestReport`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct PhaseReport {
    /// The phase.
    #[serde(rename = "phase")]
    pub phase: Phase,
    /// The class of the outcome.
    #[serde(rename = "class")]
    pub class: OutcomeClass,
    /// What refines the class: `xfailed` (skip), `xpassed` (pass; strict: fail), `rerun`, …
    #[serde(rename = "detail", default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How long the phase took, in microseconds.
    #[serde(rename = "us", default)]
    pub duration_us: u64,
    /// Where the item is defined; sent when there is something to show under its name.
    #[serde(rename = "location", default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The failure.
    #[serde(rename = "failure", default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureText>,
    /// Why it was skipped.
    #[serde(rename = "skip", default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<SkipReason>,
    /// The reason of the `xfail` mark that applied (pytest's `wasxfail`), which may be empty.
    #[serde(rename = "xfail", default, skip_serializing_if = "Option::is_none")]
    pub xfail: Option<String>,
    /// What was captured since the item's previous report. pytest repeats earlier sections in later reports; the wire
    /// does not.
    #[serde(rename = "sections", default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
    /// `record_property` values added since the item's previous report.
    #[serde(
        rename = "properties",
        default,
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "value::properties"
    )]
    #[cfg_attr(feature = "arbitrary", arbitrary(with = value::any::properties))]
    pub properties: Vec<(String, Value)>,
    /// How to show it, where not as pytest does by default.
    #[serde(rename = "status", default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// A failed or skipped collector: pytest's `CollectReport`. Passed ones are not sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CollectReport {
    /// The collector's node id, mostly a file; may be empty.
    #[serde(rename = "node")]
    pub node_id: String,
    /// [`OutcomeClass::Fail`] or [`OutcomeClass::Skip`].
    #[serde(rename = "class")]
    pub class: OutcomeClass,
    /// The failure.
    #[serde(rename = "failure", default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureText>,
    /// Why it was skipped.
    #[serde(rename = "skip", default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<SkipReason>,
    /// What was captured meanwhile.
    #[serde(rename = "sections", default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
    /// The same in the worker implementation's own form, for a frontend of the same implementation; sent if it was asked
    /// for (`wants.full`) and has more to tell. Opaque to everyone else.
    #[serde(rename = "full", default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub full: Vec<u8>,
}

/// A Python warning that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct WarningRecord {
    /// pytest's `when`: `config`, `collect` or `runtest`.
    #[serde(rename = "when")]
    pub when: String,
    /// The item or collector, or empty.
    #[serde(rename = "node", default)]
    pub node_id: String,
    /// The category's class name.
    #[serde(rename = "category")]
    pub category: String,
    /// The warning as pytest's summary prints it: `path:line: Category: message`, and the source line.
    #[serde(rename = "text")]
    pub text: String,
    /// The message alone.
    #[serde(rename = "message", default)]
    pub message: String,
    /// The file that it was attributed to.
    #[serde(rename = "path", default)]
    pub path: String,
    /// The line in that file, from 1.
    #[serde(rename = "line", default)]
    pub line: u32,
    /// Where it was issued from, where no node id says so: pytest's `location`.
    #[serde(rename = "location", default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The same in the worker implementation's own form, for a frontend of the same implementation; sent if it was asked
    /// for (`wants.full`) and has more to tell. Opaque to everyone else.
    #[serde(rename = "full", default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub full: Vec<u8>,
}

/// The result of one item. Small when all three phases passed and there is nothing else to tell: `phases` is then
/// empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ItemReport {
    /// The class over all phases: fail if one failed, else skip if one was skipped, else pass.
    #[serde(rename = "class", default, skip_serializing_if = "OutcomeClass::is_pass")]
    pub class: OutcomeClass,
    /// When setup began, in microseconds since the Unix epoch.
    #[serde(rename = "start", default)]
    pub start_us: u64,
    /// How long setup, call and teardown took, in microseconds; 0 for a phase that did not run.
    #[serde(rename = "us", default)]
    pub durations_us: [u64; 3],
    /// The reports in the order they were made, if there is more to tell than `us` does. Usually up to three; more with
    /// reruns and subtests.
    #[serde(rename = "phases", default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseReport>,
    /// The same in the worker implementation's own form, for a frontend of the same implementation; sent if it was asked
    /// for (`wants.full`) and has more to tell. Opaque to everyone else.
    #[serde(rename = "full", default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub full: Vec<u8>,
}
