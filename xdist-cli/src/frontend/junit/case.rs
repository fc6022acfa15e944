//! Test cases, put together from reports.

use super::Tally;
use super::xml::{Element, printable};
use crate::frontend::report::{Outcome, Report, When};
use crate::frontend::value;
use crate::frontend::words::split_node_id;
use xdist_proto::message::JunitOptions;
use xdist_proto::report::{Phase, Section};

/// Longest message attribute, in characters. The whole message is in the element's text.
const MESSAGE_BUDGET: usize = 500;

/// Which phases' durations count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Total,
    Call,
}

/// Which attributes a test case has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// With `file` and `line`.
    Xunit1,
    /// Without.
    Xunit2,
}

/// The settings, interpreted.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) options: JunitOptions,
    family: Family,
    times: Times,
}

impl Settings {
    pub(super) fn new(options: JunitOptions) -> Self {
        let family = match options.family.as_str() {
            "xunit1" | "legacy" => Family::Xunit1,
            _ => Family::Xunit2,
        };
        let times = if options.duration_report == "call" { Times::Call } else { Times::Total };
        Self { options, family, times }
    }

    fn logs(&self, streams: &[&str]) -> bool {
        streams.contains(&self.options.logging.as_str())
    }
}

/// One `testcase` element in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Case {
    attributes: Vec<(&'static str, String)>,
    duration_us: u64,
    pub(super) properties: Vec<(String, String)>,
    nodes: Vec<Element>,
}

impl Case {
    pub(super) fn element(&self) -> Element {
        let mut case = Element::new("testcase");
        for (name, value) in &self.attributes {
            case = case.with(*name, value.clone());
        }
        case = case.with("time", format!("{:.3}", self.duration_us as f64 / 1e6));
        if !self.properties.is_empty() {
            let mut properties = Element::new("properties");
            for (name, value) in &self.properties {
                properties
                    .push(Element::new("property").with("name", name.clone()).with("value", value.clone()));
            }
            case.push(properties);
        }
        self.nodes.iter().for_each(|node| case.push(node.clone()));
        case
    }

    fn identify(&mut self, report: &Report, settings: &Settings) {
        let mut names = mangled(&report.node_id);
        let name = names.pop().unwrap_or_default();
        if !settings.options.prefix.is_empty() {
            names.insert(0, settings.options.prefix.clone());
        }
        self.attributes = vec![("classname", names.join(".")), ("name", printable(&name))];
        if settings.family == Family::Xunit1 {
            let location = report.location.as_ref();
            let file = location.map_or_else(|| split_node_id(&report.node_id).0, |location| &location.path);
            self.attributes.push(("file", file.to_owned()));
            let line = location.and_then(|location| location.line);
            self.attributes.extend(line.map(|line| ("line", line.to_string())));
        }
    }

    fn add(&mut self, node: Element, tally: &mut Tally) {
        match node.tag() {
            "failure" => tally.failure += 1,
            "error" => tally.error += 1,
            "skipped" => tally.skipped += 1,
            _ => {}
        }
        self.nodes.push(node);
    }

    fn add_failure(&mut self, report: &Report, tally: &mut Tally) {
        let node = match report.xfail {
            Some(_) => Element::new("skipped").with("message", "xfail-marked test passes unexpectedly"),
            None => Element::new("failure")
                .with("message", printable(&shortened(&message(report))))
                .containing(printable(text(report))),
        };
        self.add(node, tally);
    }

    fn add_error(&mut self, report: &Report, tally: &mut Tally) {
        let message = match report.when {
            When::Phase(phase) => {
                let phase = if phase == Phase::Teardown { "teardown" } else { "setup" };
                format!("failed on {phase} with \"{}\"", message(report))
            }
            When::Collect => "collection failure".to_owned(),
            When::Crash => message(report).lines().next().unwrap_or_default().to_owned(),
        };
        let node = Element::new("error").with("message", printable(&shortened(&message)));
        self.add(node.containing(printable(text(report))), tally);
    }

    /// A failure of an attempt that another one followed, as Maven's surefire reports it: `flakyFailure` and `flakyError`
    /// where the test did not fail in the end, otherwise `rerunFailure` and `rerunError`.
    pub(super) fn add_attempt(&mut self, report: &Report, failed: bool, settings: &Settings) {
        if report.outcome != Outcome::Failed {
            return;
        }
        let tag = match (report.when, failed) {
            (When::Phase(Phase::Call), false) => "flakyFailure",
            (When::Phase(Phase::Call), true) => "rerunFailure",
            (When::Phase(_) | When::Collect | When::Crash, false) => "flakyError",
            (When::Phase(_) | When::Collect | When::Crash, true) => "rerunError",
        };
        let kind = match report.when {
            When::Phase(phase) => phase.name(),
            When::Collect => "collect",
            When::Crash => "crash",
        };
        let mut node = Element::new(tag)
            .with("message", printable(&shortened(&attempt_message(report))))
            .with("type", kind);
        node.push(Element::new("stackTrace").containing(printable(text(report))));
        let mut output = Self::default();
        output.add_output(report, settings, &mut Tally::default());
        output.nodes.into_iter().for_each(|element| node.push(element));
        self.nodes.push(node);
    }

    fn add_skipped(&mut self, report: &Report, settings: &Settings, tally: &mut Tally) {
        if report.xfail.is_some() {
            let reason = printable(report.raw_reason());
            self.add(Element::new("skipped").with("type", "pytest.xfail").with("message", reason), tally);
            return;
        }
        let reason = report.skip.as_ref().map_or("", |skip| skip.reason.as_str());
        let reason = reason.strip_prefix("Skipped: ").unwrap_or(reason);
        let place =
            report.skip.as_ref().map_or_else(String::new, |skip| format!("{}:{}: ", skip.path, skip.line));
        let node = Element::new("skipped").with("type", "pytest.skip").with("message", printable(reason));
        self.add(node.containing(printable(&format!("{place}{reason}"))), tally);
        self.add_output(report, settings, tally);
    }

    /// What was captured, as far as the settings want it.
    fn add_output(&mut self, report: &Report, settings: &Settings, tally: &mut Tally) {
        if settings.logs(&["no", ""]) || (report.outcome == Outcome::Passed && !settings.options.log_passing)
        {
            return;
        }
        let mut content = String::new();
        if settings.logs(&["log", "all"]) {
            content += &titled(" Captured Log ", &captured(&report.sections, "Captured log", "\n"));
        }
        if settings.logs(&["system-out", "out-err", "all"]) {
            content += &titled(" Captured Out ", &captured(&report.sections, "Captured stdout", ""));
            self.add(Element::new("system-out").containing(printable(&std::mem::take(&mut content))), tally);
        }
        if settings.logs(&["system-err", "out-err", "all"]) {
            content += &titled(" Captured Err ", &captured(&report.sections, "Captured stderr", ""));
            self.add(Element::new("system-err").containing(printable(&std::mem::take(&mut content))), tally);
        }
        if !content.is_empty() {
            self.add(Element::new("system-out").containing(printable(&content)), tally);
        }
    }
}

/// The test cases of one item: one for each of its runs, and one more for a teardown that fails after a failed call.
#[derive(Debug)]
pub(super) struct ItemCases<'s> {
    settings: &'s Settings,
    tally: &'s mut Tally,
    finished: Vec<Case>,
    open: Option<Case>,
    /// The call has failed, and its teardown is still to come.
    failed_call: Option<Report>,
}

impl<'s> ItemCases<'s> {
    pub(super) fn new(settings: &'s Settings, tally: &'s mut Tally) -> Self {
        Self { settings, tally, finished: Vec::new(), open: None, failed_call: None }
    }

    pub(super) fn add(&mut self, report: &Report) {
        match (report.outcome, report.when) {
            (Outcome::Passed, When::Phase(Phase::Call)) => {
                self.case(report);
                self.tally.passed += 1;
            }
            (Outcome::Passed | Outcome::Other, _) => {}
            (Outcome::Failed, When::Phase(Phase::Call)) => self.add_failed_call(report),
            (Outcome::Failed, _) => self.add_error(report),
            (Outcome::Skipped, _) => {
                let (settings, tally) = (self.settings, &mut *self.tally);
                let case = identified(&mut self.open, report, settings);
                case.add_skipped(report, settings, tally);
            }
        }
        if self.settings.times == Times::Total || report.when == When::Phase(Phase::Call) {
            self.open.get_or_insert_default().duration_us += report.duration_us;
        }
        if report.when == When::Phase(Phase::Teardown) {
            let (settings, tally) = (self.settings, &mut *self.tally);
            identified(&mut self.open, report, settings).add_output(report, settings, tally);
            self.close(report);
            self.failed_call = None;
        }
    }

    fn add_failed_call(&mut self, report: &Report) {
        let (settings, tally) = (self.settings, &mut *self.tally);
        let case = identified(&mut self.open, report, settings);
        case.add_failure(report, tally);
        if !settings.options.log_passing {
            // The passed teardown, which writes the output otherwise, will not.
            case.add_output(report, settings, tally);
        }
        self.failed_call = Some(report.clone());
    }

    fn add_error(&mut self, report: &Report) {
        if report.when == When::Phase(Phase::Teardown) {
            match self.failed_call.take() {
                Some(failed) => self.close(&failed),
                None => self.tally.doubled += u64::from(self.open.is_some()),
            }
        }
        let (settings, tally) = (self.settings, &mut *self.tally);
        identified(&mut self.open, report, settings).add_error(report, tally);
    }

    fn case(&mut self, report: &Report) -> &mut Case {
        identified(&mut self.open, report, self.settings)
    }

    fn close(&mut self, report: &Report) {
        let Some(mut case) = self.open.take() else { return };
        let property =
            |(name, value): &(String, xdist_proto::Value)| (name.clone(), printable(&value::text(value)));
        case.properties.extend(report.properties.iter().map(property));
        self.finished.push(case);
    }

    /// The test cases, the one included whose teardown never came.
    pub(super) fn finish(mut self) -> Vec<Case> {
        self.finished.extend(self.open.take());
        self.finished
    }
}

fn identified<'c>(open: &'c mut Option<Case>, report: &Report, settings: &Settings) -> &'c mut Case {
    let case = open.get_or_insert_default();
    case.identify(report, settings);
    case
}

/// The test case of a collector that failed or was skipped.
pub(super) fn collector(report: &Report, settings: &Settings, tally: &mut Tally) -> Case {
    let mut case = Case::default();
    case.identify(report, settings);
    match &report.skip {
        Some(skip) => {
            // pytest prints the Python tuple of place and reason.
            let shown = format!(
                "({}, {}, {})",
                value::repr_text(&skip.path),
                skip.line,
                value::repr_text(&skip.reason)
            );
            let node = Element::new("skipped").with("message", "collection skipped");
            case.add(node.containing(printable(&shown)), tally);
        }
        None => case.add_error(report, tally),
    }
    case
}

/// The test case that pytest makes of an internal error.
pub(super) fn internal_error(text: &str, tally: &mut Tally) -> Case {
    let attributes = vec![("classname", "pytest".to_owned()), ("name", "internal".to_owned())];
    let mut case = Case { attributes, ..Case::default() };
    let node = Element::new("error").with("message", "internal error").containing(printable(text.trim()));
    case.add(node, tally);
    case
}

/// The node id's parts with the file as a dotted path: `a/b.py::TestC::test[x]` is `a.b`, `TestC`, `test[x]`.
fn mangled(node_id: &str) -> Vec<String> {
    let (path, rest) = split_node_id(node_id);
    let path = path.replace('/', ".");
    let mut names = vec![path.strip_suffix(".py").unwrap_or(&path).to_owned()];
    let Some(rest) = rest else { return names };
    // A parameter may hold colons of its own.
    let (plain, parameter) = rest.split_at(rest.find('[').unwrap_or(rest.len()));
    names.extend(plain.split("::").map(str::to_owned));
    names.last_mut().expect("at least the file is in it").push_str(parameter);
    names
}

fn message(report: &Report) -> String {
    let crash = report.failure.as_ref().and_then(|failure| failure.crash.as_ref());
    crash.map_or_else(|| text(report).to_owned(), |crash| crash.message.clone())
}

/// A crash is told in many lines, the first of which says what it is.
fn attempt_message(report: &Report) -> String {
    let message = message(report);
    match report.when {
        When::Crash => message.lines().next().unwrap_or_default().to_owned(),
        When::Phase(_) | When::Collect => message,
    }
}

fn text(report: &Report) -> &str {
    report.failure.as_ref().map_or("", |failure| failure.text.trim())
}

/// Whole lines while they fit into the budget, and a note of what was left out.
fn shortened(message: &str) -> String {
    let lines: Vec<&str> = message.lines().collect();
    let Some((first, rest)) = lines.split_first() else { return String::new() };
    let mut kept = vec![*first];
    let mut size = first.chars().count() + 1;
    for line in rest {
        size += line.chars().count() + 1;
        if size > MESSAGE_BUDGET {
            break;
        }
        kept.push(line);
    }
    let (left, mut shown) = (lines.len() - kept.len(), kept.join("\n"));
    let cut = shown.chars().count() > MESSAGE_BUDGET;
    if cut {
        shown = shown.chars().take(MESSAGE_BUDGET).collect::<String>() + "...";
    }
    let note = match left {
        0 if cut => "truncated".to_owned(),
        0 => return message.to_owned(),
        1 => "+1 more line".to_owned(),
        left => format!("+{left} more lines"),
    };
    format!("{shown}\n[{note}; full report in element text]")
}

fn captured(sections: &[Section], title: &str, separator: &str) -> String {
    let texts = sections.iter().filter(|section| section.title.starts_with(title));
    texts.map(|section| section.text.as_str()).collect::<Vec<_>>().join(separator)
}

fn titled(title: &str, content: &str) -> String {
    format!("{title:-^80}\n{content}\n")
}
