//! A fake pytest host: comes up late, answers late, judges crashes at random, and sometimes vanishes.

use crate::scenario::{Plugins, millis, one_in};
use std::time::Duration;
use xdist_coord::session::Input;
use xdist_proto::frontend::CrashHandled;
use xdist_proto::{Value, WorkerId};

#[derive(Debug)]
pub(crate) struct FakePytestHost {
    plugins: Plugins,
    state: State,
    /// When the last of what it has said arrives; nothing overtakes.
    last: Duration,
    rng: fastrand::Rng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Present,
    Gone,
}

/// What it says, and when that arrives.
pub(crate) type Saying = (Duration, Input);

impl FakePytestHost {
    pub(crate) fn new(plugins: Plugins, seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed.rotate_left(16));
        Self { plugins, state: State::Absent, last: Duration::ZERO, rng }
    }

    /// It is started: what it says of itself, or why it cannot be started.
    pub(crate) fn start(&mut self, now: Duration) -> Result<Vec<Saying>, String> {
        assert_eq!(self.state, State::Absent, "the pytest host is started once");
        if self.plugins.fails {
            self.state = State::Gone;
            return Err("no such program".to_owned());
        }
        self.state = State::Present;
        self.last = now + self.plugins.startup;
        let mut sayings = vec![(
            self.last,
            Input::PytestHostJoined { judges_crashes: self.plugins.judges, schedules: false },
        )];
        sayings.extend(self.plugins.vanishes.map(|after| (now + after, lost("it closed the link"))));
        Ok(sayings)
    }

    /// It is asked about a worker.
    pub(crate) fn ask(&mut self, worker: WorkerId, now: Duration) -> Vec<Saying> {
        let entry = ("answer".to_owned(), Value::from(self.rng.u32(..)));
        let mut sayings = self.say(now, Input::NodeConfigured { worker, input: [entry].into() });
        if self.babbles() {
            let someone = WorkerId(self.rng.u32(0..12));
            sayings.extend(self.say(now, Input::NodeConfigured { worker: someone, input: [].into() }));
        }
        sayings
    }

    /// It is asked about a crash.
    pub(crate) fn judge(&mut self, request: u32, now: Duration) -> Vec<Saying> {
        let (again, excused) = (self.rng.bool(), self.rng.bool());
        let mut sayings = self.say(now, Input::CrashHandled(CrashHandled { request, again, excused }));
        if self.babbles() {
            let request = self.rng.u32(0..20);
            let answer = CrashHandled { request, again: true, excused: false };
            sayings.extend(self.say(now, Input::CrashHandled(answer)));
        }
        sayings
    }

    fn babbles(&mut self) -> bool {
        self.plugins.babbles && one_in(&mut self.rng, 3)
    }

    fn say(&mut self, now: Duration, input: Input) -> Vec<Saying> {
        if self.state != State::Present {
            return Vec::new();
        }
        self.last = self.last.max(now + millis(&mut self.rng, self.plugins.slowness_ms));
        vec![(self.last, input)]
    }

    /// Whether what it said still arrives.
    pub(crate) fn is_heard(&mut self, input: &Input) -> bool {
        let heard = self.state == State::Present;
        if matches!(input, Input::PytestHostLost { .. }) {
            self.state = State::Gone;
        }
        heard
    }
}

fn lost(error: &str) -> Input {
    Input::PytestHostLost { error: error.to_owned() }
}
