//! What was reported, by category, and the counts of the last line.

use super::retries::Flaky;
use super::view::View;
use crate::frontend::report::{Report, When};
use crate::frontend::style::{Color, Markup, Palette};
use crate::frontend::words;
use xdist_proto::WorkerId;
use xdist_proto::report::Phase;

/// The categories that the last line always names in this order; plugins' own follow.
const KNOWN: [&str; 11] = [
    "failed",
    "passed",
    "skipped",
    "deselected",
    "xfailed",
    "xpassed",
    "warnings",
    "error",
    "subtests passed",
    "subtests failed",
    "subtests skipped",
];

/// A report that summaries come back to.
#[derive(Debug)]
pub(super) struct Filed {
    pub(super) report: Report,
    /// Where it ran; `None` for collectors, which every worker visits.
    pub(super) worker: Option<WorkerId>,
}

#[derive(Debug)]
struct Category {
    name: String,
    count: u64,
    reports: Vec<Filed>,
}

/// Everything reported so far.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// In the order of their first report.
    categories: Vec<Category>,
    /// Passed teardowns that captured something.
    teardowns: Vec<Report>,
    flaky: Vec<Flaky>,
    /// Whether those are a failure of the run.
    flaky_fails: bool,
}

impl Stats {
    /// Counts a report, and keeps it if a summary will need it.
    pub(super) fn file(&mut self, report: &Report, worker: Option<WorkerId>, view: &View) {
        if report.category.is_empty() {
            let at_teardown = report.when == When::Phase(Phase::Teardown);
            if at_teardown && report.sections.iter().any(|section| section.title.contains("teardown")) {
                self.teardowns.push(report.clone());
            }
            return;
        }
        let keep = match &*report.category {
            "passed" => view.reports('p') || view.reports('P'),
            "failed" | "error" | "skipped" | "xfailed" | "xpassed" => true,
            _ => false,
        };
        let category = self.category(&report.category);
        category.count += 1;
        if keep {
            category.reports.push(Filed { report: report.clone(), worker });
        }
    }

    /// Takes flaky tests for a failure of the run.
    pub(super) const fn take_flaky_for_failed(&mut self) {
        self.flaky_fails = true;
    }

    /// Counts and keeps a flaky test, beside its result.
    pub(super) fn file_flaky(&mut self, flaky: Flaky) {
        self.count("flaky", 1);
        self.flaky.push(flaky);
    }

    /// The tests that failed first, and did not in the end.
    pub(super) fn flaky(&self) -> &[Flaky] {
        &self.flaky
    }

    /// Counts what has no report.
    pub(super) fn count(&mut self, name: &str, count: u64) {
        if count > 0 {
            self.category(name).count += count;
        }
    }

    fn category(&mut self, name: &str) -> &mut Category {
        let known = self.categories.iter().position(|category| category.name == name);
        let position = known.unwrap_or_else(|| {
            self.categories.push(Category { name: name.to_owned(), count: 0, reports: Vec::new() });
            self.categories.len() - 1
        });
        &mut self.categories[position]
    }

    /// The reports kept of a category.
    pub(super) fn reports(&self, name: &str) -> &[Filed] {
        self.find(name).map_or(&[], |category| &category.reports)
    }

    /// What the teardowns of this item captured.
    pub(super) fn teardowns(&self, node_id: &str) -> impl Iterator<Item = &Report> {
        self.teardowns.iter().filter(move |report| report.node_id == node_id)
    }

    /// How many reports a category has.
    pub(super) fn total(&self, name: &str) -> u64 {
        self.find(name).map_or(0, |category| category.count)
    }

    fn find(&self, name: &str) -> Option<&Category> {
        self.categories.iter().find(|category| category.name == name)
    }

    fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn unknown(&self) -> impl Iterator<Item = &str> {
        self.categories.iter().map(|category| category.name.as_str()).filter(|name| !KNOWN.contains(name))
    }

    /// The colour of the progress and of the last line. `complete` is whether every item has a result.
    pub(super) fn main_color(&self, complete: bool) -> Color {
        if self.has("failed") || self.has("error") || (self.flaky_fails && self.has("flaky")) {
            Color::Red
        } else if self.has("warnings") || self.has("xpassed") || self.unknown().next().is_some() {
            Color::Yellow
        } else if self.has("passed") || !complete {
            Color::Green
        } else {
            Color::Yellow
        }
    }

    /// The counts of the last line in words, painted, and how many columns they take.
    pub(super) fn counts(&self, not_run: u64, color: Color, palette: Palette) -> (String, usize) {
        let mut parts = Vec::new();
        if not_run > 0 {
            // In front, because tools look for the other counts right before the time.
            parts.push((format!("{not_run} not run"), Markup::from(Color::Yellow)));
        }
        for name in KNOWN.into_iter().chain(self.unknown()) {
            let count = self.total(name);
            if count > 0 {
                let own = category_color(name);
                let markup = if own == color { Markup::from(own).bold() } else { own.into() };
                parts.push((words::counted(count, name), markup));
            }
        }
        if parts.is_empty() {
            parts.push(("no tests ran".to_owned(), Color::Yellow.into()));
        }
        let width = parts.iter().map(|(text, _)| text.len() + 2).sum::<usize>() - 2;
        let painted: Vec<_> = parts.iter().map(|(text, markup)| palette.paint(text, *markup)).collect();
        (painted.join(", "), width)
    }
}

/// The colour of a category in the last line and in the short summary.
pub(super) fn category_color(name: &str) -> Color {
    match name {
        "failed" | "error" | "subtests failed" => Color::Red,
        "passed" | "subtests passed" => Color::Green,
        _ => Color::Yellow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(counts: &[(&str, u64)]) -> Stats {
        let mut stats = Stats::default();
        counts.iter().for_each(|(name, count)| stats.count(name, *count));
        stats
    }

    fn line(stats: &Stats, not_run: u64) -> String {
        stats.counts(not_run, Color::Green, Palette::Plain).0
    }

    #[test]
    fn counts_come_in_pytests_order_whatever_came_first() {
        let stats = stats(&[("error", 2), ("rerun", 1), ("warnings", 1), ("passed", 3), ("failed", 1)]);
        assert_eq!(line(&stats, 0), "1 failed, 3 passed, 1 warning, 2 errors, 1 rerun");
        assert_eq!(line(&stats, 4), "4 not run, 1 failed, 3 passed, 1 warning, 2 errors, 1 rerun");
        assert_eq!(line(&Stats::default(), 0), "no tests ran");
        assert_eq!(line(&Stats::default(), 2), "2 not run");
    }

    #[test]
    fn the_main_colour_is_that_of_the_worst() {
        assert_eq!(stats(&[("passed", 1)]).main_color(false), Color::Green);
        assert_eq!(stats(&[("passed", 1), ("rerun", 1)]).main_color(false), Color::Yellow);
        assert_eq!(stats(&[("skipped", 1)]).main_color(false), Color::Green);
        assert_eq!(stats(&[("skipped", 1)]).main_color(true), Color::Yellow);
        assert_eq!(stats(&[("warnings", 1), ("error", 1)]).main_color(true), Color::Red);
    }

    #[test]
    fn a_count_in_the_main_colour_is_bold() {
        let (text, width) = stats(&[("failed", 1), ("passed", 2)]).counts(0, Color::Red, Palette::Ansi);
        assert_eq!(text, "\x1b[31m\x1b[1m1 failed\x1b[0m, \x1b[32m2 passed\x1b[0m");
        assert_eq!(width, "1 failed, 2 passed".len());
    }
}
