//! Which runners are started as programs of their own, and which are forked from an image. Pure, but for the images it
//! holds.
//!
//! Workers that differ in nothing but their names can share a collection. The first of them is started as any other, with
//! the offer to leave an image behind. The others wait until that is there, or until it is known that there will be none; and
//! then until the image has forked them.

use std::collections::BTreeMap;
use xdist_proto::message::{Configure, Start, Wants};
use xdist_proto::{CoordinatorMessage, WorkerId};

/// How a runner is to be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way<'a, I> {
    /// As a program.
    Spawn,
    /// As a program, with the offer to leave an image behind ([`Images::offered`]).
    SpawnFirst,
    /// Not yet ([`Images::wait`]).
    Wait,
    /// By this image.
    Fork(&'a I),
}

/// A worker that waits for its runner.
#[derive(Debug, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) configure: Configure,
    /// What the coordinator has commanded meanwhile.
    pub(crate) commands: Vec<CoordinatorMessage>,
}

/// The images of a host: of type `I`, accepted from offers of type `O`. What the host keeps of a runner that it has asked one for
/// is of type `R`.
#[derive(Debug)]
pub(crate) struct Images<O, I, R> {
    kinds: Vec<Kind<O, I>>,
    /// Without a worker where that was told to end meanwhile.
    asked: BTreeMap<WorkerId, (R, Option<Waiting>)>,
}

/// Workers that differ in nothing but their names.
#[derive(Debug)]
struct Kind<O, I> {
    model: Configure,
    state: State<O, I>,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
enum State<O, I> {
    /// The first runner has not said whether it leaves an image behind.
    Awaited {
        first: WorkerId,
        offer: Option<O>,
    },
    There(I),
    /// It does not.
    Refused,
}

impl<O, I, R> Images<O, I, R> {
    pub(crate) const fn new() -> Self {
        Self { kinds: Vec::new(), asked: BTreeMap::new() }
    }

    pub(crate) fn way(&self, configure: &Configure) -> Way<'_, I> {
        if configure.start == Start::Spawn || !cfg!(target_os = "linux") {
            return Way::Spawn;
        }
        let model = model_of(configure);
        match self.kinds.iter().find(|kind| kind.model == model).map(|kind| &kind.state) {
            None => Way::SpawnFirst,
            Some(State::Awaited { .. }) => Way::Wait,
            Some(State::There(image)) => Way::Fork(image),
            Some(State::Refused) => Way::Spawn,
        }
    }

    /// A runner was started with an offer.
    pub(crate) fn offered(&mut self, configure: &Configure, offer: O) {
        let state = State::Awaited { first: configure.worker, offer: Some(offer) };
        self.kinds.push(Kind { model: model_of(configure), state, waiting: Vec::new() });
    }

    /// Keeps a worker until its [`Way`] is known.
    pub(crate) fn wait(&mut self, configure: Configure) {
        let model = model_of(&configure);
        if let Some(kind) = self.kinds.iter_mut().find(|kind| kind.model == model) {
            kind.waiting.push(Waiting { configure, commands: Vec::new() });
        }
    }

    /// An image was asked for a runner for this worker.
    pub(crate) fn asked(&mut self, configure: Configure, runner: R) {
        let waiting = Waiting { configure, commands: Vec::new() };
        self.asked.insert(waiting.configure.worker, (runner, Some(waiting)));
    }

    /// An image has answered. Answers what was kept of the runner, and who waited for it, if somebody still does.
    pub(crate) fn answered(&mut self, worker: WorkerId) -> Option<(R, Option<Waiting>)> {
        self.asked.remove(&worker)
    }

    /// Whether this worker waits, or has waited for a runner that is still to come.
    pub(crate) fn is_waiting(&self, worker: WorkerId) -> bool {
        if self.asked.contains_key(&worker) {
            return true;
        }
        self.kinds.iter().flat_map(|kind| &kind.waiting).any(|waiting| waiting.configure.worker == worker)
    }

    /// Takes a command for a worker that waits, and answers whether it is to end. It then waits no more.
    pub(crate) fn command(&mut self, worker: WorkerId, command: CoordinatorMessage) -> bool {
        let ends = matches!(
            command,
            CoordinatorMessage::Drain(_) | CoordinatorMessage::Interrupt(_) | CoordinatorMessage::Shutdown(_)
        );
        if let Some((_, waiting)) = self.asked.get_mut(&worker) {
            if ends {
                return waiting.take().is_some();
            }
            if let Some(waiting) = waiting {
                waiting.commands.push(command);
            }
            return false;
        }
        for kind in &mut self.kinds {
            if ends {
                kind.waiting.retain(|waiting| waiting.configure.worker != worker);
            } else if let Some(waiting) =
                kind.waiting.iter_mut().find(|waiting| waiting.configure.worker == worker)
            {
                waiting.commands.push(command);
                return false;
            }
        }
        ends
    }

    /// Whether this is a first runner, of which is not known yet whether it leaves an image behind.
    pub(crate) fn is_awaited_from(&self, worker: WorkerId) -> bool {
        self.kinds.iter().any(|kind| matches!(&kind.state, State::Awaited { first, .. } if *first == worker))
    }

    /// Whether any image may yet come to be, or a runner from one.
    pub(crate) fn is_any_awaited(&self) -> bool {
        !self.asked.is_empty() || self.kinds.iter().any(|kind| matches!(kind.state, State::Awaited { .. }))
    }

    /// A first runner has collected: its image is there if `accept` finds one. Answers who waited for it.
    pub(crate) fn accept(&mut self, first: WorkerId, accept: impl FnOnce(O) -> Option<I>) -> Vec<Waiting> {
        self.settle(first, |offer| accept(offer).map_or(State::Refused, State::There))
    }

    /// A first runner leaves no image behind. Answers who waited for it.
    pub(crate) fn refuse(&mut self, first: WorkerId) -> Vec<Waiting> {
        self.settle(first, |_| State::Refused)
    }

    /// The image for such workers does not work.
    pub(crate) fn give_up(&mut self, configure: &Configure) {
        let model = model_of(configure);
        if let Some(kind) = self.kinds.iter_mut().find(|kind| kind.model == model) {
            kind.state = State::Refused;
        }
    }

    fn settle(&mut self, worker: WorkerId, settle: impl FnOnce(O) -> State<O, I>) -> Vec<Waiting> {
        for kind in &mut self.kinds {
            if let State::Awaited { first, offer } = &mut kind.state
                && *first == worker
            {
                kind.state = offer.take().map_or(State::Refused, settle);
                return std::mem::take(&mut kind.waiting);
            }
        }
        Vec::new()
    }
}

/// What is common to workers that can share a collection.
fn model_of(configure: &Configure) -> Configure {
    Configure {
        worker: WorkerId(0),
        name: String::new(),
        ramp_delay_ms: 0,
        // The same for all workers, but the first may have been told to find out by itself.
        worker_count: 0,
        run: String::new(),
        // The collection is the same whatever plugins put in; a worker that looked at it before it had collected leaves
        // no image.
        input: BTreeMap::new(),
        // The first has asked for the pytest host; later ones are told that it is there.
        wants: Wants { hooks: false, full: false, ..configure.wants.clone() },
        ..configure.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xdist_proto::message::{Collect, Shutdown};

    fn configure(worker: u32) -> Configure {
        Configure { worker: WorkerId(worker), name: format!("gw{worker}"), ..Configure::default() }
    }

    /// One kind of worker, whose first has been started.
    fn awaited() -> Images<&'static str, &'static str, &'static str> {
        let mut images = Images::new();
        assert_eq!(images.way(&configure(0)), Way::SpawnFirst);
        images.offered(&configure(0), "offer");
        images
    }

    fn names(waiting: &[Waiting]) -> Vec<&str> {
        waiting.iter().map(|waiting| waiting.configure.name.as_str()).collect()
    }

    #[test]
    fn workers_wait_for_the_image_of_the_first_and_are_forked_from_it() {
        let mut images = awaited();
        assert_eq!(images.way(&configure(1)), Way::Wait);
        images.wait(configure(1));
        let collect = CoordinatorMessage::Collect(Collect { worker: WorkerId(1) });
        assert!(!images.command(WorkerId(1), collect.clone()));
        assert!(images.is_waiting(WorkerId(1)) && images.is_awaited_from(WorkerId(0)));
        let waiting = images.accept(WorkerId(0), |offer| (offer == "offer").then_some("image"));
        assert_eq!(waiting, [Waiting { configure: configure(1), commands: vec![collect] }]);
        assert!(!images.is_any_awaited() && !images.is_waiting(WorkerId(1)));
        assert_eq!(images.way(&configure(2)), Way::Fork(&"image"));
        images.give_up(&configure(2));
        assert_eq!(images.way(&configure(2)), Way::Spawn);
    }

    #[test]
    fn without_an_image_everyone_is_started_alike() {
        let mut images = awaited();
        images.wait(configure(1));
        assert_eq!(names(&images.refuse(WorkerId(0))), ["gw1"]);
        assert_eq!(images.way(&configure(1)), Way::Spawn);
        assert!(images.refuse(WorkerId(0)).is_empty());

        let mut images = awaited();
        images.wait(configure(1));
        assert_eq!(names(&images.accept(WorkerId(0), |_| None)), ["gw1"]);
        assert_eq!(images.way(&configure(1)), Way::Spawn);
    }

    #[test]
    fn a_worker_that_waits_can_be_ended() {
        let mut images = awaited();
        images.wait(configure(1));
        images.wait(configure(2));
        let shutdown = Shutdown { worker: WorkerId(1), grace_ms: 0 };
        assert!(images.command(WorkerId(1), CoordinatorMessage::Shutdown(shutdown)));
        assert!(!images.is_waiting(WorkerId(1)));
        assert_eq!(names(&images.refuse(WorkerId(0))), ["gw2"]);
    }

    #[test]
    fn who_waits_for_a_runner_keeps_commands_until_it_is_there() {
        let mut images = awaited();
        images.accept(WorkerId(0), |_| Some("image"));
        images.asked(configure(1), "runner");
        assert!(images.is_waiting(WorkerId(1)) && images.is_any_awaited());
        let collect = CoordinatorMessage::Collect(Collect { worker: WorkerId(1) });
        assert!(!images.command(WorkerId(1), collect.clone()));
        let waiting = Waiting { configure: configure(1), commands: vec![collect] };
        assert_eq!(images.answered(WorkerId(1)), Some(("runner", Some(waiting))));
        assert!(!images.is_waiting(WorkerId(1)) && !images.is_any_awaited());
        assert_eq!(images.answered(WorkerId(1)), None);
    }

    #[test]
    fn who_waits_for_a_runner_can_be_ended_once() {
        let mut images = awaited();
        images.accept(WorkerId(0), |_| Some("image"));
        images.asked(configure(1), "runner");
        let shutdown = CoordinatorMessage::Shutdown(Shutdown { worker: WorkerId(1), grace_ms: 0 });
        assert!(images.command(WorkerId(1), shutdown.clone()));
        assert!(!images.command(WorkerId(1), shutdown));
        // The runner comes all the same, and has to be adopted.
        assert!(images.is_any_awaited());
        assert_eq!(images.answered(WorkerId(1)), Some(("runner", None)));
    }

    #[test]
    fn what_the_first_worker_finds_out_by_itself_makes_no_difference() {
        let images = awaited();
        let told = Configure { worker_count: 3, run: "from the options".to_owned(), ..configure(1) };
        assert_eq!(images.way(&told), Way::Wait);
    }

    #[test]
    fn workers_that_differ_do_not_share() {
        let images = awaited();
        let other = Configure { args: vec!["-x".to_owned()], ..configure(1) };
        assert_eq!(images.way(&other), Way::SpawnFirst);
        let alone = Configure { start: Start::Spawn, ..configure(1) };
        assert_eq!(images.way(&alone), Way::Spawn);
    }
}
