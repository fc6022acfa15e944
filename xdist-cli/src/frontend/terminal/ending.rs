//! What follows the summaries: what was not run, the banners, and the last line.

use super::stats::Stats;
use super::view::{Page, View};
use crate::frontend::roster::Roster;
use crate::frontend::style::{Color, Markup, rule_around};
use crate::frontend::words::{counted, session_duration};
use std::time::Duration;
use xdist_coord::session::event::{RunEnd, RunSummary, StopReason};
use xdist_proto::{ItemIndex, WorkerId};

/// Items that never ran, for one reason.
#[derive(Debug)]
pub(super) struct NotRun {
    /// Whose items these are, in mode `each`.
    pub(super) worker: Option<WorkerId>,
    pub(super) items: Vec<ItemIndex>,
    pub(super) reason: String,
}

/// Tells how many tests were not run, and at `-v` which.
pub(super) fn not_run(groups: &[NotRun], page: &mut Page, view: &View, roster: &Roster) {
    for NotRun { worker, items, reason } in groups {
        let title = format!("{} not run: {reason}", counted(items.len() as u64, "test"));
        page.rule('=', &title, Color::Yellow);
        if view.verbosity() > 0 {
            for item in items {
                page.line(&format!("NOT RUN {}", view.node_id(&roster.any_node_id(*worker, *item))));
            }
        }
    }
}

/// Says why the run was stopped, in the words of pytest and pytest-xdist; `advised` are the losses that came with advice.
pub(super) fn banners(end: &RunEnd, page: &mut Page, stats: &Stats, roster: &Roster, advised: &[String]) {
    let RunEnd::Stopped(reason) = end else { return };
    match reason {
        StopReason::Failures(count) => {
            // Tests that were under way may have failed since.
            let failures = (stats.total("failed") + stats.total("error")).max(u64::from(*count));
            page.rule('!', &format!("stopping after {failures} failures"), Color::Red);
            page.rule('!', &interrupted(&format!("stopping after {count} failures")), Markup::PLAIN);
        }
        StopReason::Session(reason) => page.rule('!', &interrupted(reason), Markup::PLAIN),
        StopReason::Exit { reason, .. } => {
            page.rule('!', &format!("_pytest.outcomes.Exit: {reason}"), Markup::PLAIN);
        }
        StopReason::Interrupted => page.rule('!', "KeyboardInterrupt", Markup::PLAIN),
        StopReason::KeyboardInterrupt(worker) => {
            // The form of pytest-xdist, which some look for.
            let name = roster.name(*worker);
            let reason = format!("<WorkerController {name}> received keyboard-interrupt");
            page.rule('!', &interrupted(&reason), Markup::PLAIN);
        }
        StopReason::NoWorkers(reason) => {
            let advised = advised.iter().any(|why| reason.contains(why));
            let advice = if advised { "; what to do stands above, behind \"host lost\"" } else { "" };
            page.rule('!', &format!("{reason}{advice}"), Color::Red);
        }
        // Told where it happened.
        StopReason::InternalError | StopReason::RestartsExhausted(_) | StopReason::PytestHostLost => {}
    }
}

fn interrupted(reason: &str) -> String {
    format!("xdist.dsession.Interrupted: {reason}")
}

/// The last line: the counts and the time.
pub(super) fn last_line(
    page: &mut Page,
    stats: &Stats,
    summary: &RunSummary,
    duration: Duration,
    view: &View,
) {
    if view.verbosity() < -1 {
        return;
    }
    let complete = summary.finished + summary.crashed == summary.collected;
    let color = stats.main_color(complete);
    let (counts, width) = stats.counts(summary.not_run, color, view.palette);
    let duration = format!(" in {}", session_duration(duration));
    let width = width + duration.len();
    let text = format!("{counts}{}", view.palette.paint(&duration, color.into()));
    if view.verbosity() < 0 {
        page.line(&text);
        return;
    }
    // Each painted part ends the colour, so the right half of the rule begins it again.
    let title = text + &view.palette.start(color.into());
    page.line(&view.palette.paint(&rule_around('=', &title, width, page.width()), color.into()));
}
