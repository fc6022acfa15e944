//! The warnings summary.

use super::view::{Page, View};
use crate::frontend::style::Color;
use crate::frontend::words::{counted, split_node_id};
use std::collections::{BTreeMap, HashMap};
use xdist_proto::WorkerId;
use xdist_proto::report::WarningRecord;

/// From this many places on, only the files are told.
const MANY_PLACES: usize = 10;

/// The warnings that were recorded.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    records: Vec<WarningRecord>,
    /// How often each warning outside of tests came from each worker.
    outside_tests: HashMap<(String, String), BTreeMap<Option<WorkerId>, u32>>,
}

impl Warnings {
    /// Takes in a warning, and answers whether it is news. Every worker configures itself and collects, so what they
    /// warn of meanwhile is told as often as the worker with the most warned of it.
    pub(super) fn add(&mut self, worker: Option<WorkerId>, record: &WarningRecord) -> bool {
        if record.when != "runtest" {
            let key = (record.node_id.clone(), record.text.clone());
            let times = self.outside_tests.entry(key).or_default();
            let most = times.values().copied().max().unwrap_or(0);
            let own = times.entry(worker).or_default();
            *own += 1;
            if *own <= most {
                return false;
            }
        }
        self.records.push(record.clone());
        true
    }

    /// Writes the summary: each message once, with the places it came from.
    pub(super) fn write(&self, page: &mut Page, view: &View) {
        if self.records.is_empty() || view.options.no_warnings {
            return;
        }
        page.rule('=', "warnings summary", Color::Yellow);
        for (message, records) in self.by_message() {
            let places: Vec<String> = records.iter().filter_map(|record| place(record, view)).collect();
            let indent = if places.is_empty() { "" } else { "  " };
            places_in_words(&places).iter().for_each(|place| page.line(place));
            let lines: Vec<String> = message.lines().map(|line| format!("{indent}{line}")).collect();
            page.line(lines.join("\n").trim_end());
            page.line("");
        }
        page.line("-- Docs: https://docs.pytest.org/en/stable/how-to/capture-warnings.html");
    }

    /// The records by message, in the order of each message's first.
    fn by_message(&self) -> Vec<(&str, Vec<&WarningRecord>)> {
        let mut positions = HashMap::new();
        let mut groups: Vec<(&str, Vec<&WarningRecord>)> = Vec::new();
        for record in &self.records {
            let position = *positions.entry(record.text.as_str()).or_insert(groups.len());
            match groups.get_mut(position) {
                Some((_, records)) => records.push(record),
                None => groups.push((&record.text, vec![record])),
            }
        }
        groups
    }
}

fn place(record: &WarningRecord, view: &View) -> Option<String> {
    if !record.node_id.is_empty() {
        return Some(record.node_id.clone());
    }
    (!record.path.is_empty()).then(|| format!("{}:{}", view.path(&record.path), record.line))
}

fn places_in_words(places: &[String]) -> Vec<String> {
    if places.len() < MANY_PLACES {
        return places.to_vec();
    }
    let mut counts: Vec<(&str, u64)> = Vec::new();
    for place in places {
        let file = split_node_id(place).0;
        match counts.iter_mut().find(|(known, _)| *known == file) {
            Some((_, count)) => *count += 1,
            None => counts.push((file, 1)),
        }
    }
    counts.into_iter().map(|(file, count)| format!("{file}: {}", counted(count, "warning"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::style::Palette;
    use crate::frontend::terminal::view::Surroundings;

    fn record(when: &str, node_id: &str, text: &str) -> WarningRecord {
        WarningRecord {
            when: when.to_owned(),
            node_id: node_id.to_owned(),
            category: "UserWarning".to_owned(),
            text: text.to_owned(),
            message: "careful".to_owned(),
            path: "/suite/conftest.py".to_owned(),
            line: 3,
            location: None,
            full: Vec::new(),
        }
    }

    fn summary(warnings: &Warnings) -> String {
        let surroundings = Surroundings { cwd: "/suite".into(), on_ci: false };
        let mut page = Page::new(Palette::Plain, 40);
        warnings.write(&mut page, &View::preliminary(surroundings));
        page.into_text()
    }

    #[test]
    fn equal_messages_are_told_once_with_their_places() {
        let mut warnings = Warnings::default();
        for node_id in ["a.py::test_1", "b.py::test_2"] {
            assert!(
                warnings.add(Some(WorkerId(0)), &record("runtest", node_id, "a.py:1: careful\n  warn()\n"))
            );
        }
        warnings.add(None, &record("config", "", "no cache"));
        insta::assert_snapshot!(summary(&warnings), @r"
        =========== warnings summary ===========
        a.py::test_1
        b.py::test_2
          a.py:1: careful
            warn()

        conftest.py:3
          no cache

        -- Docs: https://docs.pytest.org/en/stable/how-to/capture-warnings.html
        ");
    }

    #[test]
    fn ten_places_are_summed_up_by_file() {
        let mut warnings = Warnings::default();
        for number in 0..10 {
            warnings.add(Some(WorkerId(0)), &record("runtest", &format!("a.py::test_{number}"), "careful"));
        }
        warnings.add(Some(WorkerId(0)), &record("runtest", "b.py::test", "careful"));
        insta::assert_snapshot!(summary(&warnings), @r"
        =========== warnings summary ===========
        a.py: 10 warnings
        b.py: 1 warning
          careful

        -- Docs: https://docs.pytest.org/en/stable/how-to/capture-warnings.html
        ");
    }

    #[test]
    fn what_every_worker_warns_of_while_collecting_is_told_once() {
        let mut warnings = Warnings::default();
        let collecting = record("collect", "a.py", "careful");
        let news: Vec<bool> = [0, 1, 0, 1]
            .into_iter()
            .map(|worker| warnings.add(Some(WorkerId(worker)), &collecting))
            .collect();
        assert_eq!(news, [true, false, true, false]);
        let running = record("runtest", "a.py::test", "careful");
        assert!([0, 1].into_iter().all(|worker| warnings.add(Some(WorkerId(worker)), &running)));
    }
}
