//! Workers that collected different items, in words.

use super::roster::Roster;
use std::collections::BTreeSet;
use xdist_coord::session::event::{Difference, Mismatch};
use xdist_proto::WorkerId;

/// Most names that are listed of one difference.
const MOST_NAMES: usize = 40;

/// Each worker that differs, with the text of its error. A difference that several workers share is listed once.
pub(crate) fn errors(mismatch: &Mismatch, roster: &Roster) -> Vec<(WorkerId, String)> {
    let name = |worker| roster.name_and_machine(worker);
    let advice = if roster.is_anybody_elsewhere() { ADVICE_ELSEWHERE } else { ADVICE };
    let reference = name(mismatch.reference);
    let mut errors: Vec<(&Difference, String)> = Vec::new();
    for difference in &mismatch.differing {
        let own = name(difference.worker);
        let same = errors
            .iter()
            .find(|(earlier, _)| earlier.missing == difference.missing && earlier.extra == difference.extra);
        let listing = match same {
            Some((earlier, _)) => format!("the same as for {}.", name(earlier.worker)),
            None => format!("{}\n{advice}", listing(difference, &reference, &own)),
        };
        let text = format!(
            "Different tests were collected between {reference} and {own}. The difference is:\n{listing}"
        );
        errors.push((difference, text));
    }
    errors.into_iter().map(|(difference, text)| (difference.worker, text)).collect()
}

fn listing(difference: &Difference, reference: &str, own: &str) -> String {
    if difference.missing.is_empty() && difference.extra.is_empty() {
        return format!("{own} has the same tests as {reference}, in another order.");
    }
    let mut lines = vec![format!("--- {reference}"), format!("+++ {own}")];
    let (missing, extra): (BTreeSet<_>, BTreeSet<_>) =
        (difference.missing.iter().collect(), difference.extra.iter().collect());
    let names =
        missing.iter().map(|name| format!("-{name}")).chain(extra.iter().map(|name| format!("+{name}")));
    let count = missing.len() + extra.len();
    let shown = if count > MOST_NAMES { MOST_NAMES / 2 } else { count };
    if shown == count {
        lines.extend(names);
    } else {
        lines.extend(missing.iter().take(shown).map(|name| format!("-{name}")));
        lines.extend(more('-', missing.len(), shown));
        lines.extend(extra.iter().take(shown).map(|name| format!("+{name}")));
        lines.extend(more('+', extra.len(), shown));
    }
    lines.join("\n")
}

fn more(sign: char, count: usize, shown: usize) -> Option<String> {
    (count > shown).then(|| format!("{sign}... and {} more", count - shown))
}

/// pytest-xdist's words, and what its documentation says there.
const ADVICE: &str = "To see why this happens see 'Known limitations' in documentation for pytest-xdist\n\
    Names and order of tests must not depend on chance, time, or the order of a set.";

/// The same where there are several machines, which mostly differ for another reason.
const ADVICE_ELSEWHERE: &str = "The machines must have the same files: check out the same revision on each, or have them copied (--sync).\n\
    Names and order of tests must not depend on chance, time, or the order of a set, nor on the machine.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::testing;

    fn difference(worker: u32, missing: &[&str], extra: &[&str]) -> Difference {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Difference { worker: WorkerId(worker), missing: owned(missing), extra: owned(extra) }
    }

    fn told(differing: Vec<Difference>) -> String {
        let mismatch = Mismatch { reference: WorkerId(0), differing };
        let errors = errors(&mismatch, &Roster::default());
        errors.into_iter().map(|(worker, text)| format!("{worker}: {text}\n")).collect()
    }

    #[test]
    fn each_difference_is_listed_once() {
        let differing = vec![
            difference(1, &["a::x[2]"], &["a::x[3]", "a::x[1]"]),
            difference(2, &["a::x[2]"], &["a::x[3]", "a::x[1]"]),
            difference(3, &[], &[]),
        ];
        insta::assert_snapshot!(told(differing), @r"
        gw1: Different tests were collected between gw0 and gw1. The difference is:
        --- gw0
        +++ gw1
        -a::x[2]
        +a::x[1]
        +a::x[3]
        To see why this happens see 'Known limitations' in documentation for pytest-xdist
        Names and order of tests must not depend on chance, time, or the order of a set.
        gw2: Different tests were collected between gw0 and gw2. The difference is:
        the same as for gw1.
        gw3: Different tests were collected between gw0 and gw3. The difference is:
        gw3 has the same tests as gw0, in another order.
        To see why this happens see 'Known limitations' in documentation for pytest-xdist
        Names and order of tests must not depend on chance, time, or the order of a set.
        ");
    }

    #[test]
    fn machines_are_named_and_what_to_do_about_them() {
        let mut roster = Roster::default();
        roster.observe(&testing::ready_elsewhere(1));
        let mismatch = Mismatch { reference: WorkerId(0), differing: vec![difference(1, &["a::x"], &[])] };
        insta::assert_snapshot!(errors(&mismatch, &roster)[0].1, @r"
        Different tests were collected between gw0 and gw1 (on buildhost). The difference is:
        --- gw0
        +++ gw1 (on buildhost)
        -a::x
        The machines must have the same files: check out the same revision on each, or have them copied (--sync).
        Names and order of tests must not depend on chance, time, or the order of a set, nor on the machine.
        ");
    }

    #[test]
    fn big_differences_are_cut_with_counts() {
        let names: Vec<String> = (0..100).map(|number| format!("a::t{number:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = told(vec![difference(1, &names, &names[..3])]);
        assert!(text.contains("-a::t19\n-... and 80 more\n+a::t00\n"), "{text}");
    }
}
