//! The short test summary: a line for each report that `-r` asks for.

use super::stats::{Stats, category_color};
use super::view::{Page, View};
use crate::frontend::report::{Report, When};
use crate::frontend::style::{Color, Markup, trimmed, visible_width};
use std::collections::HashMap;
use xdist_proto::report::Phase;

/// Writes the short summary, in the order of the letters given to `-r`.
pub(super) fn write(page: &mut Page, stats: &Stats, view: &View) {
    let summary = Summary { stats, view, width: page.width() };
    let mut lines = Vec::new();
    for kind in view.options.report_chars.chars() {
        match kind {
            'x' => summary.expected("xfailed", &mut lines),
            'X' => summary.expected("xpassed", &mut lines),
            'f' => {
                summary.simple("failed", &mut lines);
                summary.flaky(&mut lines);
            }
            'E' => summary.simple("error", &mut lines),
            'p' => summary.simple("passed", &mut lines),
            's' if view.flag("no-fold-skipped") => summary.skipped(&mut lines),
            's' => summary.skipped_folded(&mut lines),
            _ => {}
        }
    }
    if !lines.is_empty() {
        page.rule('=', "short test summary info", Markup::from(Color::Cyan).bold());
        lines.iter().for_each(|line| page.line(line));
    }
}

struct Summary<'s> {
    stats: &'s Stats,
    view: &'s View,
    width: usize,
}

impl Summary<'_> {
    /// `FAILED path::test - message`.
    fn simple(&self, category: &str, lines: &mut Vec<String>) {
        for filed in self.stats.reports(category) {
            let mut line = self.head(&filed.report, category_color(category), "");
            if let Some(message) = filed.report.message() {
                line += &self.message(message, visible_width(&line)).unwrap_or_default();
            }
            lines.push(line);
        }
    }

    /// `FLAKY path::test - passed after 1 retry (gw0: message)`.
    fn flaky(&self, lines: &mut Vec<String>) {
        for flaky in self.stats.flaky() {
            let report = Report { word: "FLAKY".into(), ..flaky.first.report.clone() };
            let mut line = self.head(&report, Color::Yellow, "");
            line += &self.message(&flaky.story, visible_width(&line)).unwrap_or_default();
            lines.push(line);
        }
    }

    /// The message behind the head, trimmed to the line unless there is room for more.
    fn message(&self, message: &str, column: usize) -> Option<String> {
        let whole = (self.view.surroundings.on_ci || self.view.verbosity() >= 2)
            && !self.view.flag("force-short-summary");
        match whole {
            true => Some(format!(" - {message}")),
            false => trimmed(" - ", message, "", self.width.saturating_sub(column)),
        }
    }

    /// `XFAIL path::test - reason`, `XPASS path::test - reason`.
    fn expected(&self, category: &str, lines: &mut Vec<String>) {
        for filed in self.stats.reports(category) {
            let report = &filed.report;
            let place = match report.when {
                When::Phase(phase @ (Phase::Setup | Phase::Teardown)) if category == "xfailed" => {
                    format!("at {} of ", phase.name())
                }
                When::Phase(_) | When::Collect | When::Crash => String::new(),
            };
            let reason = report.xfail.as_deref().filter(|reason| !reason.is_empty());
            let reason = reason.map_or_else(String::new, |reason| format!(" - {reason}"));
            lines.push(self.head(report, Color::Yellow, &place) + &reason);
        }
    }

    /// `SKIPPED [2] path:12: reason`: one line for all that were skipped at the same place for the same reason.
    fn skipped_folded(&self, lines: &mut Vec<String>) {
        let mut positions = HashMap::new();
        let mut folded: Vec<(String, u64)> = Vec::new();
        for filed in self.stats.reports("skipped") {
            let place = self.skip_place(&filed.report);
            let position = *positions.entry(place.clone()).or_insert(folded.len());
            match folded.get_mut(position) {
                Some((_, count)) => *count += 1,
                None => folded.push((place, 1)),
            }
        }
        let word = self.view.palette.paint("SKIPPED", Color::Yellow.into());
        lines.extend(folded.iter().map(|(place, count)| format!("{word} [{count}] {place}")));
    }

    fn skip_place(&self, report: &Report) -> String {
        // A plugin's own report may say nothing of the place.
        let Some(skip) = &report.skip else { return self.view.node_id(&report.node_id) };
        let line = if skip.fold || skip.line == 0 { String::new() } else { format!(":{}", skip.line) };
        let reason = skip.reason.strip_prefix("Skipped: ").unwrap_or(&skip.reason);
        format!("{}{line}: {reason}", self.view.path(&skip.path))
    }

    /// `SKIPPED path::test - reason`, a line for each.
    fn skipped(&self, lines: &mut Vec<String>) {
        for filed in self.stats.reports("skipped") {
            let reason = filed.report.skip.as_ref().map_or("", |skip| &skip.reason);
            let reason = if reason.is_empty() { String::new() } else { format!(" - {reason}") };
            lines.push(self.head(&filed.report, Color::Yellow, "") + &reason);
        }
    }

    /// The word and the node id, its part behind the file in bold.
    fn head(&self, report: &Report, color: Color, place: &str) -> String {
        let word = self.view.palette.paint(&report.word, color.into());
        let node_id = self.view.node_id(&report.node_id);
        let node_id = match node_id.split_once("::") {
            Some((path, rest)) => format!("{path}::{}", self.view.palette.paint(rest, Markup::BOLD)),
            None => node_id,
        };
        format!("{word} {place}{node_id}")
    }
}
