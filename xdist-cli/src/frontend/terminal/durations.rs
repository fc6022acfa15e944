//! The slowest durations.

use super::view::{Page, View};
use crate::frontend::report::{Report, When};
use crate::frontend::style::Markup;
use xdist_proto::report::Phase;

/// What pytest hides unless `-vv` or `--durations-min` is given, in milliseconds.
const DEFAULT_MINIMUM_MS: u64 = 5;

/// How long each phase took. Empty unless `--durations` asks for it.
#[derive(Debug, Default)]
pub(super) struct Durations {
    entries: Vec<(u64, When, String)>,
}

impl Durations {
    /// Takes in a report of an item.
    pub(super) fn add(&mut self, report: &Report, view: &View) {
        if view.options.durations.is_some() {
            self.entries.push((report.duration_us, report.when, report.node_id.clone()));
        }
    }

    /// Writes the slowest, longest first.
    pub(super) fn write(&mut self, page: &mut Page, view: &View) {
        let Some(wanted) = view.options.durations else { return };
        if self.entries.is_empty() {
            return;
        }
        self.entries.sort_by_key(|(us, ..)| std::cmp::Reverse(*us));
        let title = match wanted {
            0 => "slowest durations".to_owned(),
            wanted => format!("slowest {wanted} durations"),
        };
        page.rule('=', &title, Markup::PLAIN);
        let most = if wanted == 0 { usize::MAX } else { wanted as usize };
        let shown = &self.entries[..self.entries.len().min(most)];
        let minimum_ms = view.options.durations_min_ms;
        for (position, (us, when, node_id)) in shown.iter().enumerate() {
            if *us < minimum_ms * 1000 {
                page.line("");
                page.line(&hidden(shown.len() - position, minimum_ms, view));
                break;
            }
            page.line(&format!("{:.2}s {:<8} {node_id}", *us as f64 / 1e6, name(*when)));
        }
    }
}

fn hidden(count: usize, minimum_ms: u64, view: &View) -> String {
    let seconds = minimum_ms as f64 / 1000.0;
    let default = minimum_ms == DEFAULT_MINIMUM_MS && view.verbosity() < 2;
    let hint = if default { "  Use -vv to show these durations." } else { "" };
    format!("({count} durations < {seconds}s hidden.{hint})")
}

const fn name(when: When) -> &'static str {
    match when {
        When::Phase(Phase::Setup) => "setup",
        When::Phase(Phase::Call) => "call",
        When::Phase(Phase::Teardown) => "teardown",
        When::Collect => "collect",
        When::Crash => "???",
    }
}
