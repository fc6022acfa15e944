//! Whether a crashed worker is replaced.

/// How many workers, each the replacement of the other, may die without having finished or lost an item, when nothing
/// else bounds the restarts. Otherwise a suite that no longer starts would be started for ever.
const FRUITLESS_LIMIT: u32 = 3;

/// What is decided about a crashed worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// It is replaced.
    Replace,
    /// It is not, since so many crashes are the limit.
    Exhausted(u32),
    /// It is not, since this many in its place have done nothing.
    Fruitless(u32),
    /// It is not, and not counted: no worker has come as far as having collected, so the next would do no better. Once one
    /// has, there is hope.
    Hopeless,
}

/// The crashes of a run so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Restarts {
    crashes: u32,
    exhausted: Option<u32>,
}

impl Restarts {
    /// Counts a crash and decides. `limit` is the number of crashes that are made up for, `fruitless` how many workers
    /// in a row have now done nothing in this one's place.
    pub(crate) fn crashed(&mut self, limit: Option<u32>, ever_collected: bool, fruitless: u32) -> Restart {
        if !ever_collected && limit != Some(0) {
            return Restart::Hopeless;
        }
        self.crashes += 1;
        let (limit, decision) = match limit {
            // Who wants no replacements is told so in any case.
            Some(0) => (0, Restart::Exhausted(0)),
            Some(limit) if self.crashes > limit => (limit, Restart::Exhausted(limit)),
            _ if fruitless > FRUITLESS_LIMIT => (FRUITLESS_LIMIT, Restart::Fruitless(FRUITLESS_LIMIT)),
            Some(_) | None => return Restart::Replace,
        };
        self.exhausted = Some(limit);
        decision
    }

    /// The limit, once it has kept a worker from being replaced.
    pub(crate) const fn exhausted(&self) -> Option<u32> {
        self.exhausted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_crashes_are_made_up_for_as_the_limit_says() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.crashed(Some(2), true, 0), Restart::Replace);
        assert_eq!(restarts.crashed(Some(2), true, 0), Restart::Replace);
        assert_eq!(restarts.crashed(Some(2), true, 0), Restart::Exhausted(2));
        assert_eq!(restarts.exhausted(), Some(2));
        assert_eq!(Restarts::default().crashed(Some(0), true, 0), Restart::Exhausted(0));
    }

    #[test]
    fn nothing_is_replaced_before_anything_was_collected() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.crashed(None, false, 0), Restart::Hopeless);
        assert_eq!(Restarts::default().crashed(Some(0), false, 0), Restart::Exhausted(0));
        assert_eq!(restarts.exhausted(), None);
    }

    #[test]
    fn without_a_limit_replacements_that_do_nothing_come_to_an_end() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.crashed(None, true, FRUITLESS_LIMIT), Restart::Replace);
        assert_eq!(restarts.crashed(None, true, FRUITLESS_LIMIT + 1), Restart::Fruitless(FRUITLESS_LIMIT));
    }
}
