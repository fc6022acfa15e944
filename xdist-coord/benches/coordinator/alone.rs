//! The session alone, with workers in memory: what it costs for any number of tests and workers.

use crate::fake::{self, Suite};
use crate::wire::config;
use crate::{grouped, thread_time};
use allocation_counter::AllocationInfo;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use xdist_coord::scheduler::Mode;
use xdist_coord::session::event::{RunEnd, RunEvent};
use xdist_coord::session::{Input, Output, Session};
use xdist_coord::workers::LinkId;
use xdist_coord::workers::spec::WorkerSpec;
use xdist_proto::message::{CoordinatorMessage, WorkerMessage};
use xdist_proto::{CollectionDigest, ItemIndex, LeaseId, WorkerId};

/// The only link.
pub(crate) const LINK: LinkId = LinkId(0);

/// A case is repeated until it has given this many results, so that small ones are measured as well as large ones.
const RESULTS: u32 = 100_000;

pub(crate) fn bench(quick: bool) {
    let most = if quick { 100_000 } else { 1_000_000 };
    println!("\nSession alone: us per result (the fake workers' part included)\n");
    println!("| tests | in files of | workers | {} |", Mode::ALL.map(Mode::name).join(" | "));
    println!("| --- | --- | --- | {} |", Mode::ALL.map(|_| "---").join(" | "));
    for items in [1_000, 10_000, 100_000, 1_000_000] {
        if items <= most {
            row(Suite::new(items), 64);
        }
    }
    for workers in [2, 256, 1_000] {
        row(Suite::new(100_000), workers);
    }
    row(Suite { per_file: 10_000, ..Suite::new(10_000) }, 64);
    row(Suite { per_file: 10_000, grouped: true, ..Suite::new(10_000) }, 64);
    row(Suite { per_file: 100_000, grouped: true, ..Suite::new(100_000) }, 64);
    memory(Suite::new(most), 64);
}

fn row(suite: Suite, workers: u32) {
    let digest = suite.digest();
    let costs: Vec<String> = Mode::ALL
        .into_iter()
        .map(|mode| {
            let results = if mode == Mode::Each { suite.items * workers } else { suite.items };
            // Mode each runs everything everywhere; more than a million results say nothing new.
            if results > 1_000_000 {
                return "-".to_owned();
            }
            let rounds = (RESULTS / results).max(1);
            let time: Duration = (0..rounds).map(|_| Driver::new(suite, digest, workers, mode).run()).sum();
            format!("{:.2}", time.as_secs_f64() * 1e6 / f64::from(results * rounds))
        })
        .collect();
    let grouped_by = if suite.grouped { " (grouped)" } else { "" };
    println!(
        "| {} | {}{grouped_by} | {workers} | {} |",
        grouped(suite.items.into()),
        grouped(suite.per_file.into()),
        costs.join(" | ")
    );
}

fn memory(suite: Suite, workers: u32) {
    let digest = suite.digest();
    println!(
        "\nMemory and allocations of the session: {} tests, {workers} workers\n",
        grouped(suite.items.into())
    );
    println!("| mode | peak bytes per test beyond its node id | allocations per result |");
    println!("| --- | --- | --- |");
    for mode in Mode::ALL.into_iter().filter(|mode| *mode != Mode::Each) {
        let driver = Driver::new(suite, digest, workers, mode);
        let AllocationInfo { bytes_max, count_total, .. } = allocation_counter::measure(|| {
            driver.run();
        });
        let items = f64::from(suite.items);
        println!(
            "| {} | {:.0} | {:.2} |",
            mode.name(),
            (bytes_max as f64 - suite.node_id_bytes() as f64) / items,
            count_total as f64 / items
        );
    }
}

/// What is handed to the session next.
enum Next {
    Message(Box<WorkerMessage>),
    /// The part of a worker's list that begins here, which is not built before its time.
    Chunk(WorkerId, u32),
}

struct Driver {
    suite: Suite,
    digest: CollectionDigest,
    session: Session,
    now: Instant,
    inbox: VecDeque<Next>,
    /// Each worker's items.
    queues: Vec<VecDeque<(LeaseId, ItemIndex)>>,
    finished: bool,
    /// When all was known that there is to run.
    begun: Duration,
}

/// A session that has not begun.
pub(crate) fn session(workers: usize, mode: Mode, now: Instant) -> Session {
    Session::new(config(vec![WorkerSpec::default(); workers], mode), 0, now)
}

/// Takes what a steal asks for out of a worker's queue: all of it or nothing.
pub(crate) fn give_back(queue: &mut VecDeque<(LeaseId, ItemIndex)>, asked: &[ItemIndex]) -> Vec<ItemIndex> {
    let kept = queue.len().saturating_sub(asked.len());
    // What can be asked for stands at the end.
    if !queue.range(kept..).map(|(_, item)| item).eq(asked) {
        return Vec::new();
    }
    queue.truncate(kept);
    asked.to_vec()
}

impl Driver {
    fn new(suite: Suite, digest: CollectionDigest, workers: u32, mode: Mode) -> Self {
        let now = Instant::now();
        Self {
            suite,
            digest,
            session: session(workers as usize, mode, now),
            now,
            inbox: VecDeque::new(),
            queues: vec![VecDeque::new(); workers as usize],
            finished: false,
            begun: Duration::ZERO,
        }
    }

    /// Runs to the end, and answers what everything took after the list was there.
    fn run(mut self) -> Duration {
        self.carry_out();
        self.handle(Input::Opened { link: LINK, hello: Box::new(fake::hello()) });
        while !self.finished {
            self.deliver();
            for worker in 0..self.queues.len() {
                if let Some((lease, item)) = self.queues[worker].pop_front() {
                    let worker = WorkerId(u32::try_from(worker).unwrap());
                    self.receive(fake::finished(worker, lease, item));
                    self.deliver();
                }
            }
        }
        thread_time() - self.begun
    }

    fn deliver(&mut self) {
        while let Some(next) = self.inbox.pop_front() {
            match next {
                Next::Message(message) => self.receive(*message),
                Next::Chunk(worker, offset) => {
                    let chunk = self.suite.chunk(worker, offset);
                    self.begun = thread_time();
                    self.receive(WorkerMessage::Collection(chunk));
                }
            }
        }
    }

    fn receive(&mut self, message: WorkerMessage) {
        self.handle(Input::Received { link: LINK, message });
    }

    fn handle(&mut self, input: Input) {
        self.session.handle(input, self.now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Launch { host, .. } => {
                    self.session.handle(Input::Launched { host, link: LINK }, self.now);
                }
                Output::Send { message, .. } => self.obey(message),
                Output::Report(RunEvent::HostLost { error, .. }) => panic!("{error}"),
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
                self.inbox.extend(self.suite.offsets().map(|offset| Next::Chunk(command.worker, offset)));
            }
            CoordinatorMessage::Run(run) => {
                let queue = &mut self.queues[run.worker.0 as usize];
                queue.extend(run.items.into_iter().map(|item| (run.lease, item)));
            }
            CoordinatorMessage::Steal(steal) => {
                let items = give_back(&mut self.queues[steal.worker.0 as usize], &steal.items);
                self.inbox.push_back(Next::Message(Box::new(fake::unscheduled(
                    steal.worker,
                    steal.request,
                    items,
                ))));
            }
            command => {
                let messages = fake::answer(&self.suite, self.digest, &command);
                self.inbox.extend(messages.into_iter().map(|message| Next::Message(Box::new(message))));
            }
        }
    }
}
