//! The sections that show reports in full: ERRORS, FAILURES, XFAILURES, PASSES and XPASSES.

use super::stats::{Filed, Stats};
use super::view::{Page, View};
use crate::frontend::report::Report;
use crate::frontend::roster::Roster;
use crate::frontend::style::{Color, Markup};
use xdist_proto::report::{FailureText, Section};

/// What the sections are drawn from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Material<'r> {
    pub(super) stats: &'r Stats,
    pub(super) roster: &'r Roster,
    pub(super) view: &'r View,
}

impl Material<'_> {
    /// Errors of collection, setup and teardown.
    pub(super) fn errors(self, page: &mut Page) {
        let errors = self.stats.reports("error");
        if errors.is_empty() || !self.view.tracebacks() {
            return;
        }
        page.rule('=', "ERRORS", Markup::PLAIN);
        for filed in errors {
            page.rule('_', &filed.report.title(), Markup::from(Color::Red).bold());
            self.report(filed, page);
        }
    }

    /// Failed tests.
    pub(super) fn failures(self, page: &mut Page) {
        self.failed("failed", "FAILURES", page);
    }

    /// Expected failures, where `--xfail-tb` asks for them.
    pub(super) fn expected_failures(self, page: &mut Page) {
        if self.view.flag("xfail-tb") {
            self.failed("xfailed", "XFAILURES", page);
        }
    }

    fn failed(self, category: &str, title: &str, page: &mut Page) {
        let failed = self.stats.reports(category);
        if failed.is_empty() || !self.view.tracebacks() {
            return;
        }
        page.rule('=', title, Markup::PLAIN);
        for filed in failed {
            if self.view.options.traceback_style == "line" {
                self.report(filed, page);
                page.line(&crash_line(&filed.report));
            } else {
                page.rule('_', &filed.report.head_line(), Markup::from(Color::Red).bold());
                self.report(filed, page);
                self.teardowns(&filed.report.node_id, page);
            }
        }
    }

    /// What passed tests captured, where `-rP` asks for it.
    pub(super) fn passes(self, page: &mut Page) {
        self.passed("passed", "PASSES", 'P', page);
    }

    /// What unexpectedly passed tests captured, where `-rX` asks for it.
    pub(super) fn unexpected_passes(self, page: &mut Page) {
        self.passed("xpassed", "XPASSES", 'X', page);
    }

    fn passed(self, category: &str, title: &str, kind: char, page: &mut Page) {
        let passed = self.stats.reports(category);
        if passed.is_empty() || !self.view.tracebacks() || !self.view.reports(kind) {
            return;
        }
        page.rule('=', title, Markup::PLAIN);
        for filed in passed {
            if !filed.report.sections.is_empty() {
                page.rule('_', &filed.report.head_line(), Markup::from(Color::Green).bold());
                self.report(filed, page);
            }
            self.teardowns(&filed.report.node_id, page);
        }
    }

    /// The platform, the failure and what was captured.
    pub(super) fn report(self, filed: &Filed, page: &mut Page) {
        if let Some(line) = filed.worker.and_then(|worker| self.roster.platform_line(worker)) {
            page.line(&line);
        }
        match (&filed.report.failure, &filed.report.skip) {
            (Some(failure), _) => page.line(self.rendered(failure)),
            (None, Some(skip)) => page.line(&format!("{}:{}: {}", skip.path, skip.line, skip.reason)),
            (None, None) => {}
        }
        self.captured(&filed.report.sections, page);
    }

    fn rendered(self, failure: &FailureText) -> &str {
        let colored = failure.ansi.as_deref().filter(|_| self.view.options.color);
        colored.unwrap_or(&failure.text)
    }

    /// What the passed teardown of a test captured, which no report of its own shows.
    fn teardowns(self, node_id: &str, page: &mut Page) {
        for report in self.stats.teardowns(node_id) {
            let own = report.sections.iter().filter(|section| section.title.contains("teardown"));
            own.for_each(|section| self.captured(std::slice::from_ref(section), page));
        }
    }

    fn captured(self, sections: &[Section], page: &mut Page) {
        for section in sections.iter().filter(|section| self.view.shows_section(&section.title)) {
            page.rule('-', &section.title, Markup::PLAIN);
            page.line(section.text.strip_suffix('\n').unwrap_or(&section.text));
        }
    }
}

/// Where it failed and why, in one line; the beginning of the failure where no place is known.
fn crash_line(report: &Report) -> String {
    let Some(failure) = &report.failure else { return String::new() };
    match &failure.crash {
        Some(crash) => {
            let message = crash.message.lines().next().unwrap_or_default();
            format!("{}:{}: {message}", crash.path, crash.line)
        }
        None => failure.text.chars().take(50).collect(),
    }
}
