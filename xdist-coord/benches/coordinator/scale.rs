//! Many workers: what the server costs with that many processes, and how near to the ideal the schedulers end, in
//! virtual time.

use crate::fake::{self, Suite};
use crate::wire::{self, Case, Cost};
use crate::{alone, grouped};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};
use xdist_coord::scheduler::Mode;
use xdist_coord::session::event::RunEnd;
use xdist_coord::session::{Input, Output, Session};
use xdist_proto::message::{CoordinatorMessage, WorkerMessage};
use xdist_proto::{CollectionDigest, ItemIndex, LeaseId, WorkerId};

const WORKERS: [usize; 3] = [64, 256, 1_000];

/// Tests for each worker in virtual time.
const TESTS_PER_WORKER: usize = 100;

/// The mean length of a test in virtual time; the lengths are distributed exponentially.
const MEAN: Duration = Duration::from_millis(20);

/// How long a message is on its way in virtual time.
const LATENCY: Duration = Duration::from_micros(200);

pub(crate) fn bench(quick: bool) {
    let suite = Suite::new(if quick { 100_000 } else { 500_000 });
    println!(
        "\nThe server, {} tests, a link for each worker, results written one by one; and the makespan beside the ideal in \
         virtual time, {TESTS_PER_WORKER} tests for each worker, of {} ms in the mean (exponential)\n",
        grouped(suite.items.into()),
        MEAN.as_millis()
    );
    println!("| workers | results/s of one core | results/s, wall | makespan, worksteal | makespan, load |");
    println!("| --- | --- | --- | --- | --- |");
    for workers in WORKERS {
        let case = Case { workers, mode: Mode::WorkSteal, one_link: false, together: false };
        let cost = wire::run(suite, case);
        let makespan = |mode| Simulation::new(workers, mode).run();
        println!(
            "| {} | {} | {} | {:.3} | {:.3} |",
            grouped(workers as u64),
            Cost::per_second(suite, cost.cpu),
            Cost::per_second(suite, cost.wall),
            makespan(Mode::WorkSteal),
            makespan(Mode::Load),
        );
    }
}

/// What is handed to the session at some time.
enum Event {
    /// A command arrives at its worker.
    Command(CoordinatorMessage),
    /// The worker has finished what it was at.
    Finished(WorkerId),
    /// A message arrives at the coordinator.
    Message(WorkerMessage),
}

/// A worker that takes its time.
#[derive(Clone, Default)]
struct Worker {
    running: Option<(LeaseId, ItemIndex)>,
    queue: VecDeque<(LeaseId, ItemIndex)>,
}

struct Simulation {
    suite: Suite,
    digest: CollectionDigest,
    session: Session,
    begin: Instant,
    /// The virtual time.
    now: Duration,
    lengths: Vec<Duration>,
    workers: Vec<Worker>,
    /// By time, and in order at one time.
    agenda: BinaryHeap<Reverse<(Duration, usize)>>,
    events: Vec<Option<Event>>,
    /// From the first assignment to the last result.
    first: Option<Duration>,
    last: Duration,
    finished: bool,
}

impl Simulation {
    fn new(workers: usize, mode: Mode) -> Self {
        let suite = Suite::new(u32::try_from(workers * TESTS_PER_WORKER).unwrap());
        let mut random = fastrand::Rng::with_seed(1);
        let lengths = (0..suite.items).map(|_| MEAN.mul_f64(-(1.0 - random.f64()).ln())).collect();
        let begin = Instant::now();
        Self {
            suite,
            digest: suite.digest(),
            session: alone::session(workers, mode, begin),
            begin,
            now: Duration::ZERO,
            lengths,
            workers: vec![Worker::default(); workers],
            agenda: BinaryHeap::new(),
            events: Vec::new(),
            first: None,
            last: Duration::ZERO,
            finished: false,
        }
    }

    /// The makespan as a multiple of what no schedule can go below.
    fn run(mut self) -> f64 {
        self.carry_out();
        self.handle(Input::Opened { link: alone::LINK, hello: Box::new(fake::hello()) });
        while !self.finished {
            let Reverse((time, event)) = self.agenda.pop().unwrap();
            self.now = time;
            match self.events[event].take().unwrap() {
                Event::Command(command) => self.obey(command),
                Event::Finished(worker) => self.finish(worker),
                Event::Message(message) => {
                    if matches!(message, WorkerMessage::ItemFinished(_)) {
                        self.last = self.now;
                    }
                    self.handle(Input::Received { link: alone::LINK, message });
                }
            }
        }
        let work = self.lengths.iter().sum::<Duration>().div_f64(self.workers.len() as f64);
        let longest = self.lengths.iter().max().copied().unwrap_or_default();
        (self.last - self.first.unwrap()).as_secs_f64() / work.max(longest).as_secs_f64()
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.agenda.push(Reverse((self.now + after, self.events.len())));
        self.events.push(Some(event));
    }

    fn say(&mut self, message: WorkerMessage) {
        self.later(LATENCY, Event::Message(message));
    }

    fn handle(&mut self, input: Input) {
        self.session.handle(input, self.begin + self.now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Launch { host, .. } => {
                    let launched = Input::Launched { host, link: alone::LINK };
                    self.session.handle(launched, self.begin + self.now);
                }
                Output::Send { message, .. } => {
                    if matches!(message, CoordinatorMessage::Run(_)) {
                        self.first.get_or_insert(self.now);
                    }
                    self.later(LATENCY, Event::Command(message));
                }
                Output::Answer { .. } | Output::Close { .. } | Output::Report(_) => {}
                Output::StartPytestHost { .. }
                | Output::AskConfiguration { .. }
                | Output::Sync { .. }
                | Output::ReadFiles { .. }
                | Output::FreeTerminal { .. }
                | Output::Fetch { .. } => {
                    unreachable!("nobody asks in this run")
                }
                Output::Finished(summary) => {
                    assert_eq!(summary.end, RunEnd::Completed);
                    self.finished = true;
                }
            }
        }
    }

    fn obey(&mut self, command: CoordinatorMessage) {
        match command {
            CoordinatorMessage::SendCollection(command) => {
                for offset in self.suite.offsets() {
                    self.say(WorkerMessage::Collection(self.suite.chunk(command.worker, offset)));
                }
            }
            CoordinatorMessage::Run(run) => {
                let items = run.items.into_iter().map(|item| (run.lease, item));
                self.workers[run.worker.0 as usize].queue.extend(items);
                self.go_on(run.worker);
            }
            CoordinatorMessage::Steal(steal) => {
                let queue = &mut self.workers[steal.worker.0 as usize].queue;
                let items = alone::give_back(queue, &steal.items);
                self.say(fake::unscheduled(steal.worker, steal.request, items));
            }
            command => {
                for message in fake::answer(&self.suite, self.digest, &command) {
                    self.say(message);
                }
            }
        }
    }

    fn go_on(&mut self, id: WorkerId) {
        let worker = &mut self.workers[id.0 as usize];
        if worker.running.is_none()
            && let Some((lease, item)) = worker.queue.pop_front()
        {
            worker.running = Some((lease, item));
            self.later(self.lengths[item.as_usize()], Event::Finished(id));
        }
    }

    fn finish(&mut self, id: WorkerId) {
        if let Some((lease, item)) = self.workers[id.0 as usize].running.take() {
            self.say(fake::finished(id, lease, item));
        }
        self.go_on(id);
    }
}
