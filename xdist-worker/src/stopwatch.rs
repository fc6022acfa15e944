//! When something is done about an item that takes long, and when to look at it next. Pure: it is told for how long the
//! item has been running.

use std::time::Duration;
use xdist_proto::{ItemIndex, LeaseId};

/// Looking at the status page more often than this would cost more than it tells.
const SHORTEST_LOOK: Duration = Duration::from_millis(20);

/// An item, and the assignment that it is run for.
pub(crate) type Running = (ItemIndex, LeaseId);

/// What is to be done about the running item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Wait,
    /// Tell the coordinator that it is running.
    Tell,
    /// End it: it takes longer than this, which is as long as an item may take.
    Expired(Duration),
}

/// The times after which something is done about an item, and what was done.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    /// When the coordinator is to be told of an item.
    tell_after: Option<Duration>,
    /// When it is to be told of it again, and again each time that this time has doubled.
    slow_after: Option<Duration>,
    /// How long an item may take.
    timeout: Option<Duration>,
    /// The item that was told of, and for how long it had been running.
    told: Option<(Running, Duration)>,
    /// The item that was over the limit at the last look. What it has reported since may not have been read yet.
    overdue: Option<Running>,
}

impl Stopwatch {
    /// A watch that tells of items after this time; zero is never, whatever else is said.
    pub(crate) fn new(tell_after: Duration) -> Self {
        Self { tell_after: Some(tell_after).filter(|after| !after.is_zero()), ..Self::default() }
    }

    /// Sets how long an item may take; zero is for ever.
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
    }

    /// Sets when to tell of an item again; zero is never.
    pub(crate) fn set_slow_after(&mut self, slow_after: Duration) {
        self.slow_after = Some(slow_after).filter(|after| !after.is_zero() && self.tell_after.is_some());
    }

    /// How long to wait for the first look; `None` if there is nothing to look for.
    pub(crate) fn first_look(&self) -> Option<Duration> {
        let first = [self.tell_after, self.slow_after, self.timeout].into_iter().flatten().min();
        first.map(|first| first.max(SHORTEST_LOOK))
    }

    /// What is to be done about the item that has been running for so long, if one is, and how long to wait for the next
    /// look. An item is ended only if two looks find it over the limit.
    pub(crate) fn look(&mut self, running: Option<(Running, Duration)>) -> (Verdict, Option<Duration>) {
        let overdue = self.overdue.take();
        let Some((item, time)) = running else { return (Verdict::Wait, self.first_look()) };
        if let Some(timeout) = self.timeout.filter(|timeout| time >= *timeout) {
            if overdue == Some(item) {
                return (Verdict::Expired(timeout), None);
            }
            self.overdue = Some(item);
        }
        let verdict = match self.next_telling(item) {
            Some(after) if time >= after => {
                self.told = Some((item, time));
                Verdict::Tell
            }
            Some(_) | None => Verdict::Wait,
        };
        (verdict, self.wait(item, time))
    }

    /// Until the earliest time at which something may have to be done, about this item or one that begins right now.
    fn wait(&self, item: Running, time: Duration) -> Option<Duration> {
        let of_item = [self.next_telling(item), self.timeout].into_iter().flatten();
        let waits = of_item.map(|after| after.saturating_sub(time)).chain(self.first_look());
        waits.min().map(|wait| wait.max(SHORTEST_LOOK))
    }

    fn next_telling(&self, item: Running) -> Option<Duration> {
        match self.told {
            Some((told, time)) if told == item => self.slow_after.map(|slow| next_doubling(slow, time)),
            Some(_) | None => [self.tell_after, self.slow_after].into_iter().flatten().min(),
        }
    }
}

/// The first of a time, twice that, four times that … that comes after another.
fn next_doubling(mut time: Duration, after: Duration) -> Duration {
    while time <= after && time < Duration::MAX {
        time = time.saturating_mul(2);
    }
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Running = (ItemIndex(1), LeaseId(0));
    const OTHER: Running = (ItemIndex(2), LeaseId(0));

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The verdict on an item at a time, and after how many milliseconds to look again.
    fn look(watch: &mut Stopwatch, item: Running, time: u64) -> (Verdict, u128) {
        let (verdict, wait) = watch.look(Some((item, ms(time))));
        (verdict, wait.map_or(0, |wait| wait.as_millis()))
    }

    #[test]
    fn without_limits_nobody_looks() {
        let mut watch = Stopwatch::new(Duration::ZERO);
        watch.set_timeout(Duration::ZERO);
        assert_eq!(watch.first_look(), None);
        assert_eq!(watch.look(Some((ONE, ms(100_000)))), (Verdict::Wait, None));
    }

    #[test]
    fn an_item_is_told_of_once() {
        let mut watch = Stopwatch::new(ms(500));
        assert_eq!(look(&mut watch, ONE, 100), (Verdict::Wait, 400));
        assert_eq!(look(&mut watch, ONE, 500), (Verdict::Tell, 500));
        assert_eq!(look(&mut watch, ONE, 1000), (Verdict::Wait, 500));
        assert_eq!(look(&mut watch, OTHER, 499), (Verdict::Wait, 20));
        assert_eq!(watch.look(None), (Verdict::Wait, Some(ms(500))));
    }

    #[test]
    fn a_slow_item_is_told_of_again_each_time_its_time_has_doubled() {
        use Verdict::{Tell, Wait};
        let mut watch = Stopwatch::new(ms(500));
        watch.set_slow_after(ms(2000));
        let times = [400, 600, 1900, 2100, 3900, 4000, 7000, 50_000, 63_000, 64_000];
        let told: Vec<u64> =
            times.into_iter().filter(|&time| look(&mut watch, ONE, time).0 == Tell).collect();
        assert_eq!(told, [600, 2100, 4000, 50_000, 64_000]);
        assert_eq!(look(&mut watch, OTHER, 499), (Wait, 20));

        let mut early = Stopwatch::new(ms(500));
        early.set_slow_after(ms(100));
        let told = [100, 150, 200, 390, 500, 700, 800].map(|time| look(&mut early, ONE, time).0);
        assert_eq!(told, [Tell, Wait, Tell, Wait, Tell, Wait, Tell]);

        let mut unwanted = Stopwatch::new(Duration::ZERO);
        unwanted.set_slow_after(ms(100));
        assert_eq!(unwanted.first_look(), None);
    }

    #[test]
    fn an_item_expires_if_two_looks_find_it_over_the_limit() {
        let mut watch = Stopwatch::new(Duration::ZERO);
        watch.set_timeout(ms(2000));
        assert_eq!(watch.first_look(), Some(ms(2000)));
        assert_eq!(look(&mut watch, ONE, 1500), (Verdict::Wait, 500));
        assert_eq!(look(&mut watch, ONE, 2000), (Verdict::Wait, 20));
        assert_eq!(look(&mut watch, OTHER, 2000), (Verdict::Wait, 20));
        assert_eq!(watch.look(None), (Verdict::Wait, Some(ms(2000))));
        assert_eq!(look(&mut watch, OTHER, 2100), (Verdict::Wait, 20));
        assert_eq!(look(&mut watch, OTHER, 2120), (Verdict::Expired(ms(2000)), 0));
    }

    #[test]
    fn what_begins_during_a_long_item_is_noticed_in_time() {
        let mut watch = Stopwatch::new(ms(500));
        watch.set_timeout(ms(60_000));
        assert_eq!(look(&mut watch, ONE, 3000), (Verdict::Tell, 500));
        assert_eq!(look(&mut watch, ONE, 59_900), (Verdict::Wait, 100));
    }
}
