//! The dots, and the lines of `-v`.

use super::stats::Stats;
use super::view::{ProgressStyle, View};
use crate::frontend::report::{Outcome, Report};
use crate::frontend::screen::Screen;
use crate::frontend::style::{self, Color, Markup};
use crate::frontend::words;
use std::time::Duration;

/// How far along the run is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How many items were shown.
    pub(super) reported: u64,
    /// How many items there are.
    pub(super) total: u64,
}

impl Progress {
    /// Whether every item was shown.
    pub(super) const fn complete(&self) -> bool {
        self.reported == self.total
    }

    /// Shows one character of the dots.
    pub(super) fn letter(&self, report: &Report, screen: &mut Screen, view: &View, stats: &Stats) {
        screen.write(&view.palette.paint(&report.letter, markup(report)));
        // The last 100% is written when every worker is done.
        if view.progress == ProgressStyle::Classic || self.complete() {
            return;
        }
        let longest = match view.progress {
            ProgressStyle::Count => format!(" [{0}/{0}]", self.total).len(),
            ProgressStyle::Times => " 99h 59m".len(),
            ProgressStyle::Classic | ProgressStyle::Percent => " [100%]".len(),
        };
        if screen.column() + longest + 1 >= screen.width() {
            let message = self.message(view, None) + "\n";
            screen.write(&view.palette.paint(&message, stats.main_color(false).into()));
        }
    }

    /// Shows a line of `-v`: `[gw1] [ 33%] PASSED path::test`.
    pub(super) fn verbose_line(
        &self,
        worker: &str,
        report: &Report,
        screen: &mut Screen,
        view: &View,
        group: &str,
    ) {
        let duration = Duration::from_micros(report.duration_us);
        let progress = match view.progress {
            ProgressStyle::Classic => " ".to_owned(),
            _ => view
                .palette
                .paint(&(self.message(view, Some(duration)) + " "), Color::Cyan.into())
                .into_owned(),
        };
        let word = view.palette.paint(&report.word, markup(report));
        let place = place(report, view);
        let line = format!("[{worker}]{progress}{word} {place}{group} ");
        let reason = reason(report, style::visible_width(&line), screen.width(), view);
        screen.line(&(line + &reason));
    }

    /// Ends the dots with the progress at the right edge.
    pub(super) fn end(&self, screen: &mut Screen, view: &View, stats: &Stats) {
        if view.progress == ProgressStyle::Classic || self.reported == 0 {
            return;
        }
        let room = screen.width().saturating_sub(screen.column() + 1);
        let message = format!("{:>room$}", self.message(view, None));
        screen.write(&view.palette.paint(&message, stats.main_color(self.complete()).into()));
    }

    fn message(&self, view: &View, duration: Option<Duration>) -> String {
        let total = self.total;
        match view.progress {
            ProgressStyle::Classic => String::new(),
            ProgressStyle::Count if total == 0 => " [ 0 / 0 ]".to_owned(),
            ProgressStyle::Count => {
                let digits = total.to_string().len();
                format!(" [{:digits$}/{total}]", self.reported)
            }
            ProgressStyle::Times => {
                duration.map_or_else(String::new, |time| format!(" {}", words::test_duration(time)))
            }
            ProgressStyle::Percent => {
                format!(" [{:3}%]", (self.reported * 100).checked_div(total).unwrap_or(100))
            }
        }
    }
}

/// The bare line that announces a test before its result is known.
pub(super) fn announcement(node_id: &str, view: &View) -> String {
    view.node_id(node_id) + " "
}

fn markup(report: &Report) -> Markup {
    match report.outcome {
        Outcome::Passed if report.xfail.is_none() => Color::Green.into(),
        Outcome::Passed | Outcome::Skipped => Color::Yellow.into(),
        Outcome::Failed => Color::Red.into(),
        Outcome::Other if report.detail.as_deref() == Some("rerun") => Color::Yellow.into(),
        Outcome::Other => Markup::PLAIN,
    }
}

/// The node id, and at `-vv` the file that the test was taken from if that is another.
fn place(report: &Report, view: &View) -> String {
    let node_id = view.node_id(&report.node_id);
    let file = words::split_node_id(&report.node_id).0;
    match &report.location {
        Some(location) if view.verbosity() >= 2 && location.path != file => {
            format!("{node_id} <- {}", view.path(&location.path))
        }
        Some(_) | None => node_id,
    }
}

/// Why it was skipped or expected to fail, in parentheses, cut to the rest of the line unless `-vv` is given.
fn reason(report: &Report, column: usize, width: usize, view: &View) -> String {
    let reason = report.raw_reason();
    if reason.is_empty() {
        String::new()
    } else if view.verbosity() >= 2 {
        format!("({reason})")
    } else {
        style::trimmed("(", reason, ")", width.saturating_sub(column + 1)).unwrap_or_default()
    }
}
