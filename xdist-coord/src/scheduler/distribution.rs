//! One collection being handed out.

use super::foreign::Foreign;
use super::history::Took;
use super::queues::Queues;
use super::resources::Gate;
use super::units::Units;
use super::{Mode, Options, Scheduler};
use std::collections::BTreeSet;
use std::time::Duration;
use xdist_proto::{Collection, ItemIndex, WorkerId};

/// Something that a scheduler wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Append these items to the worker's queue.
    Run {
        /// The worker.
        worker: WorkerId,
        /// The items, in order.
        items: Vec<ItemIndex>,
    },
    /// Ask the worker for these items; [`Distribution::answered`] takes its answer. One at a time for each worker.
    Steal {
        /// The worker.
        worker: WorkerId,
        /// The items, in order; none of them is known to have begun.
        items: Vec<ItemIndex>,
    },
    /// Tell the worker that its last item has no successor for now.
    Park {
        /// The worker.
        worker: WorkerId,
    },
}

/// Hands out the items of one collection to workers that come and go.
///
/// ```
/// use std::time::Duration;
/// use xdist_coord::scheduler::{Action, Distribution, Mode, Options};
/// use xdist_proto::{Collection, Item, ItemIndex, WorkerId};
///
/// let collection = Collection { items: vec![Item::new("a.py::test_1"), Item::new("a.py::test_2")] };
/// let mut distribution = Distribution::new(Mode::WorkSteal, &collection, Options::default());
/// distribution.add_worker(WorkerId(0));
/// distribution.begin();
/// let items = vec![ItemIndex(0), ItemIndex(1)];
/// assert_eq!(distribution.poll_action(), Some(Action::Run { worker: WorkerId(0), items }));
/// distribution.item_finished(WorkerId(0), ItemIndex(0), Duration::ZERO);
/// assert_eq!(distribution.poll_action(), Some(Action::Park { worker: WorkerId(0) }));
/// ```
#[derive(Debug)]
pub struct Distribution(Kind);

#[derive(Debug)]
enum Kind {
    /// By the rule of a mode.
    Ruled(Box<Ruled>),
    /// As somebody else decides.
    Foreign(Foreign),
}

#[derive(Debug)]
struct Ruled {
    scheduler: Box<dyn Scheduler>,
    queues: Queues,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Gathering,
    Running,
    Stopped,
}

impl Distribution {
    /// A collection of which nothing is handed out yet.
    #[must_use]
    pub fn new(mode: Mode, collection: &Collection, options: Options) -> Self {
        Self::expecting(mode, collection, options, &[])
    }

    /// A collection of which nothing is handed out yet, with what each of its items took in earlier runs, as far as that
    /// is known. Nothing at all is known if `took` is empty or has another length.
    #[must_use]
    pub fn expecting(mode: Mode, collection: &Collection, options: Options, took: &[Option<Took>]) -> Self {
        let (units, mut order) = Units::new(mode, collection, options, took);
        let gate = match mode {
            // Of the other workers, which run the same, nothing is known here.
            Mode::Each => Gate::default(),
            Mode::Load | Mode::LoadScope | Mode::LoadFile | Mode::LoadGroup | Mode::WorkSteal => {
                Gate::new(collection, options.workers, &units, &mut order)
            }
        };
        Self(Kind::Ruled(Box::new(Ruled {
            scheduler: mode.scheduler(options),
            queues: Queues::new(units, order, gate),
            stage: Stage::Gathering,
        })))
    }

    /// A collection that is handed out as somebody else decides ([`assign`](Self::assign), [`ask`](Self::ask),
    /// [`park`](Self::park)), and not otherwise.
    #[must_use]
    pub fn foreign() -> Self {
        Self(Kind::Foreign(Foreign::default()))
    }

    /// A worker has come, with nothing to do yet.
    pub fn add_worker(&mut self, worker: WorkerId) {
        match &mut self.0 {
            Kind::Ruled(ruled) => {
                ruled.queues.add_worker(worker);
                ruled.settle();
            }
            Kind::Foreign(foreign) => foreign.add_worker(worker),
        }
    }

    /// Hands out the first items to the workers that are there.
    pub fn begin(&mut self) {
        if let Kind::Ruled(ruled) = &mut self.0
            && ruled.stage == Stage::Gathering
        {
            ruled.stage = Stage::Running;
            ruled.queues.pass_gate();
            ruled.scheduler.begin(&mut ruled.queues);
            ruled.settle();
        }
    }

    /// Gives a worker these items, which nobody has. Of a foreign distribution only.
    pub fn assign(&mut self, worker: WorkerId, items: &[ItemIndex]) {
        if let Kind::Foreign(foreign) = &mut self.0 {
            foreign.assign(worker, items);
        }
    }

    /// Asks a worker for items back; answers whether it is asked at all. Of a foreign distribution only.
    pub fn ask(&mut self, worker: WorkerId, items: &[ItemIndex]) -> bool {
        match &mut self.0 {
            Kind::Ruled(_) => false,
            Kind::Foreign(foreign) => foreign.ask(worker, items),
        }
    }

    /// Tells a worker that its last item has no successor for now. Of a foreign distribution only.
    pub fn park(&mut self, worker: WorkerId) {
        if let Kind::Foreign(foreign) = &mut self.0 {
            foreign.park(worker);
        }
    }

    /// The worker has finished an item, which took so long.
    pub fn item_finished(&mut self, worker: WorkerId, item: ItemIndex, took: Duration) {
        let known = match &mut self.0 {
            Kind::Ruled(ruled) => ruled.item_finished(worker, item, took, None),
            Kind::Foreign(foreign) => foreign.finish(worker, item),
        };
        debug_assert!(known, "{worker} finished an item that it did not have");
    }

    /// The worker has finished an item, which took so long and is to run once more, like [`put_aside`](Self::put_aside).
    pub fn item_failed(
        &mut self,
        worker: WorkerId,
        item: ItemIndex,
        took: Duration,
        tried: BTreeSet<WorkerId>,
    ) {
        let known = match &mut self.0 {
            Kind::Ruled(ruled) => ruled.item_finished(worker, item, took, Some(tried)),
            Kind::Foreign(foreign) => foreign.finish(worker, item),
        };
        debug_assert!(known, "{worker} finished an item that it did not have");
    }

    /// The worker has answered a [`Action::Steal`]: it gave back all of the items, or none.
    pub fn answered(&mut self, worker: WorkerId, given: bool) {
        match &mut self.0 {
            Kind::Ruled(ruled) => {
                ruled.queues.answered(worker, given);
                ruled.settle();
            }
            Kind::Foreign(foreign) => foreign.answered(worker, given),
        }
    }

    /// The worker takes nothing more, and has given these items up; it finishes the rest of what it has.
    pub fn retire_worker(&mut self, worker: WorkerId, given_up: &[ItemIndex]) {
        match &mut self.0 {
            Kind::Ruled(ruled) => {
                ruled.queues.retire_worker(worker, given_up);
                ruled.settle();
            }
            Kind::Foreign(foreign) => foreign.give_up(worker, given_up),
        }
    }

    /// Workers are gone, all at once, so that none of them is given what another one had. What they had queued goes to
    /// others, except for each one's lost item, which is never run again.
    pub fn remove_workers(&mut self, gone: impl IntoIterator<Item = (WorkerId, Option<ItemIndex>)>) {
        match &mut self.0 {
            Kind::Ruled(ruled) => {
                for (worker, lost) in gone {
                    ruled.queues.remove_worker(worker, lost);
                }
                ruled.settle();
            }
            Kind::Foreign(foreign) => {
                for (worker, _) in gone {
                    foreign.remove_worker(worker);
                }
            }
        }
    }

    /// An item that was lost with its worker, or is finished, is to run once more: next, and alone. Of a foreign
    /// distribution, whoever decides knows.
    pub fn put_back(&mut self, item: ItemIndex) {
        if let Kind::Ruled(ruled) = &mut self.0 {
            ruled.queues.put_back(item);
            ruled.settle();
        }
    }

    /// An item that was lost with its worker is to run once more: alone, and on a worker that is none of these as soon as
    /// such a one has nothing else to do; or on any, as long as there are no others. Not of a foreign distribution.
    pub fn put_aside(&mut self, item: ItemIndex, tried: BTreeSet<WorkerId>) {
        if let Kind::Ruled(ruled) = &mut self.0 {
            ruled.queues.put_aside(item, tried);
            ruled.settle();
        }
    }

    /// Nothing more is handed out.
    pub fn stop(&mut self) {
        match &mut self.0 {
            Kind::Ruled(ruled) => {
                ruled.stage = Stage::Stopped;
                ruled.queues.forget_actions();
            }
            Kind::Foreign(foreign) => foreign.forget_actions(),
        }
    }

    /// What the worker has been given and has not finished or given back, in order.
    pub fn queued(&self, worker: WorkerId) -> impl Iterator<Item = ItemIndex> {
        let (ruled, foreign) = match &self.0 {
            Kind::Ruled(ruled) => (Some(ruled.queues.queued(worker)), None),
            Kind::Foreign(foreign) => (None, Some(foreign.queued(worker))),
        };
        ruled.into_iter().flatten().chain(foreign.into_iter().flatten())
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        match &mut self.0 {
            Kind::Ruled(ruled) => ruled.queues.next_action(),
            Kind::Foreign(foreign) => foreign.next_action(),
        }
    }
}

impl Ruled {
    /// Takes in a result, and puts the item aside if it is to run where it was not `tried`.
    fn item_finished(
        &mut self,
        worker: WorkerId,
        item: ItemIndex,
        took: Duration,
        tried: Option<BTreeSet<WorkerId>>,
    ) -> bool {
        let known = self.queues.finish(worker, item);
        if let Some(tried) = tried {
            self.queues.put_aside(item, tried);
        }
        if self.stage == Stage::Running {
            self.queues.pass_gate();
            if self.queues.pending_items() > 0 && self.queues.can_refill(worker) {
                self.scheduler.refill(&mut self.queues, worker, took);
            }
        }
        self.settle();
        known
    }

    /// Sees to it that nobody waits who could have work, and that nobody waits for work that will not come.
    fn settle(&mut self) {
        if self.stage != Stage::Running {
            return;
        }
        self.queues.hand_out_aside();
        self.queues.pass_gate();
        self.queues.vacate();
        if self.queues.pending_items() > 0 && !self.queues.are_closed() {
            for worker in self.queues.hungry() {
                self.scheduler.refill(&mut self.queues, worker, Duration::ZERO);
                if self.queues.pending_items() == 0 {
                    break;
                }
            }
        }
        if self.queues.pending_items() == 0 {
            self.queues.steal_for_gate();
            self.queues.steal();
        }
        self.queues.park();
    }
}
