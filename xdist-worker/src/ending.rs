//! How a runner ends, as a sequence: it exits; its pipes may stay open, because a child of it holds them; after a while
//! its process group is killed and what is left in the pipes is read; then it is over. Pure.

use crate::event::Pipe;
use std::time::{Duration, Instant};

/// How long pipes may stay open after the exit. Enough for helpers that notice the exit by themselves, such as the
/// resource tracker of `multiprocessing`, which has things to clean up.
const DRAIN_GRACE: Duration = Duration::from_millis(300);

/// Where in the sequence a runner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has not exited.
    Running,
    /// It has exited, and some pipes are open.
    Draining { until: Instant },
    /// Its group is killed, and the readers are told to take what is there and end.
    CutOff,
    /// Nothing more will come from it.
    Over,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Wait for more.
    Wait,
    /// Kill the process group, and let the readers end.
    CutOff,
    /// Report the end.
    Finish,
}

/// The state of one runner's end.
#[derive(Debug)]
pub(crate) struct Ending {
    state: State,
    open: Vec<Pipe>,
}

impl Ending {
    pub(crate) fn new() -> Self {
        Self { state: State::Running, open: Pipe::ALL.to_vec() }
    }

    pub(crate) fn exited(&mut self, now: Instant) -> Step {
        if self.state == State::Running {
            self.state = State::Draining { until: now + DRAIN_GRACE };
        }
        self.finish_if_complete()
    }

    pub(crate) fn closed(&mut self, pipe: Pipe) -> Step {
        self.open.retain(|open| *open != pipe);
        self.finish_if_complete()
    }

    pub(crate) fn time_passed(&mut self, now: Instant) -> Step {
        match self.state {
            State::Draining { until } if until <= now => {
                self.state = State::CutOff;
                Step::CutOff
            }
            State::Draining { .. } | State::Running | State::CutOff | State::Over => Step::Wait,
        }
    }

    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Draining { until } => Some(until),
            State::Running | State::CutOff | State::Over => None,
        }
    }

    /// Whether it has not exited.
    pub(crate) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    fn finish_if_complete(&mut self) -> Step {
        match self.state {
            State::Draining { .. } | State::CutOff if self.open.is_empty() => {
                self.state = State::Over;
                Step::Finish
            }
            State::Draining { .. } | State::CutOff | State::Running | State::Over => Step::Wait,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to begin somewhere")]
mod tests {
    use super::*;

    #[test]
    fn exit_and_all_pipes_in_either_order_finish_it() {
        let now = Instant::now();
        let mut ending = Ending::new();
        assert!(Pipe::ALL.iter().all(|pipe| ending.closed(*pipe) == Step::Wait));
        assert_eq!(ending.exited(now), Step::Finish);

        let mut ending = Ending::new();
        assert_eq!(ending.exited(now), Step::Wait);
        let steps: Vec<_> = Pipe::ALL.iter().map(|pipe| ending.closed(*pipe)).collect();
        assert_eq!(steps, [Step::Wait, Step::Wait, Step::Finish]);
        assert_eq!(ending.deadline(), None);
    }

    #[test]
    fn pipes_that_stay_open_are_cut_off_once_and_read_to_their_end() {
        let now = Instant::now();
        let mut ending = Ending::new();
        assert_eq!(ending.time_passed(now), Step::Wait);
        ending.exited(now);
        ending.closed(Pipe::Events);
        let deadline = ending.deadline().unwrap();
        assert_eq!(ending.time_passed(deadline - Duration::from_millis(1)), Step::Wait);
        assert_eq!(ending.time_passed(deadline), Step::CutOff);
        assert_eq!(ending.deadline(), None);
        assert_eq!(ending.time_passed(deadline), Step::Wait);
        assert_eq!(ending.closed(Pipe::Stdout), Step::Wait);
        assert_eq!(ending.closed(Pipe::Stderr), Step::Finish);
        assert_eq!(ending.closed(Pipe::Stderr), Step::Wait);
    }
}
