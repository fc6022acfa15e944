//! What one slot decides: which command its runner gets next, what is taken back, how it is ended. Pure: events in,
//! actions out; it starts nothing, reads no clock and touches no descriptor.
//!
//! The queue in front of a runner has two parts. The front, a window of a few datagrams, lies in the runner's socket, so
//! that the runner never waits for its next item. The rest is here. What the runner has not read can be taken back at any
//! time ([`Action::ClawBack`]), so the window costs nothing when items are stolen or cancelled.

#[cfg(test)]
mod tests;

use crate::runner::Command;
use std::collections::VecDeque;
use std::time::Duration;
use xdist_proto::{ItemIndex, LeaseId};

/// How many unfinished items are in the runner's hands or its socket. One would do were it not for very short tests,
/// where the host would have to answer between any two. A window of the shortest, which take 0.2 ms each, lasts three
/// times as long as the host pauses (`threads.rs`), which it does only while more waits behind the window.
pub(crate) const WINDOW: usize = 32;

/// How long a runner that has announced its end may take to exit. pytest-xdist 3.8 allows as much (`EXIT_TIMEOUT`).
const EXIT_GRACE: Duration = Duration::from_secs(10);

/// Something that concerns a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The coordinator lets a runner that waits go on.
    Proceed,
    /// The coordinator wants the runner to collect.
    Collect,
    /// The coordinator wants the list of items.
    SendCollection,
    /// The coordinator appends items.
    Run { lease: LeaseId, items: Vec<ItemIndex> },
    /// The coordinator wants items back, all or none.
    Steal { request: u32, items: Vec<ItemIndex> },
    /// The coordinator wants the queue back.
    Cancel { request: u32 },
    /// The coordinator has no successor for the last item.
    Park,
    /// The coordinator has nothing more to run here.
    Drain,
    /// The coordinator wants the running test interrupted and the session ended.
    Interrupt,
    /// The coordinator wants the process gone.
    Shutdown { grace: Duration },
    /// The answer to [`Action::ClawBack`], which comes before any other event: how many of the commands sent last the
    /// runner had not taken.
    ClawedBack { untaken: u32 },
    /// The runner waits for an answer.
    Asks,
    /// The answer is in its memory file.
    Answer,
    /// No item is to begin until [`Event::Resume`].
    Suspend,
    /// Items may begin again.
    Resume,
    /// So many items may begin here in all.
    Limit { items: u32 },
    /// No more items are to begin here than have.
    Recycle,
    /// The running item takes too long, and the runner is ended for it.
    Expired,
    /// The runner has finished an item.
    Finished { item: ItemIndex, lease: LeaseId },
    /// The runner's session wants to run nothing more.
    StopRequested,
    /// The runner has ended its session, or has closed its end of the event pipe, and is about to exit.
    SessionEnded,
}

/// Something to be done for a slot, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Put a datagram into the runner's socket.
    Send(Command),
    /// Take back all commands that the runner has not taken, and answer with [`Event::ClawedBack`].
    ClawBack,
    /// Tell the coordinator that the worker has done its share and ends after what it has begun or has in its socket; these
    /// items leave the queue.
    GiveUp { items: Vec<ItemIndex> },
    /// Answer a `steal` or `cancel`.
    Unscheduled { request: u32, items: Vec<ItemIndex> },
    /// Send SIGINT to the runner, and to it alone: its children are its own affair.
    Interrupt,
    /// Send SIGTERM to the runner, for this reason.
    Terminate { reason: &'static str },
    /// Kill the runner's process group if the runner is still there after this time; zero means now. An earlier such
    /// deadline stands.
    KillAfter { delay: Duration, reason: &'static str },
    /// The runner broke its contract: kill it, and say so.
    Fault(String),
}

/// How far a slot's session has come, as far as its queue is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Items can be added.
    Open,
    /// A `drain` is at the end of the queue.
    Draining,
    /// The same, and the worker has done its share.
    Recycled,
    /// Nothing more will be begun.
    Stopped,
}

/// What a claw back is for.
#[derive(Debug)]
enum Purpose {
    Run { lease: LeaseId, items: Vec<ItemIndex> },
    Steal { request: u32, items: Vec<ItemIndex> },
    Cancel { request: u32 },
    SendCollection,
    Interrupt,
    Stop,
    Recycle,
    Wait,
}

/// The queue of one worker, and the part of it that its runner can see.
#[derive(Debug)]
pub(crate) struct Slot {
    /// [`WINDOW`], or less in tests.
    window: usize,
    mode: Mode,
    collect_asked: bool,
    /// What the runner cannot see yet. A `Park`, `Drain` or `Interrupt` is the last entry.
    queue: VecDeque<Command>,
    /// What was sent and, if it is an item, is not finished. What was read is known only after a claw back, or when a
    /// later item is finished.
    sent: VecDeque<Command>,
    finished: u32,
    /// How many items may begin in all.
    limit: Option<u32>,
    /// Whether the runner waits for an answer, and would take anything else for that.
    is_asking: bool,
    is_suspended: bool,
    clawing: Option<Purpose>,
    actions: VecDeque<Action>,
}

impl Slot {
    pub(crate) const fn new(window: usize) -> Self {
        Self {
            window,
            mode: Mode::Open,
            collect_asked: false,
            queue: VecDeque::new(),
            sent: VecDeque::new(),
            finished: 0,
            limit: None,
            is_asking: false,
            is_suspended: false,
            clawing: None,
            actions: VecDeque::new(),
        }
    }

    /// Whether items can be added.
    pub(crate) fn is_open(&self) -> bool {
        self.mode == Mode::Open
    }

    /// Takes an event in. Afterwards [`Slot::poll_action`] is to be called until it answers `None`.
    pub(crate) fn handle(&mut self, event: Event) {
        match event {
            Event::Proceed => self.proceed(),
            Event::Collect => self.collect(),
            Event::SendCollection => self.send_collection(),
            Event::Run { lease, items } => self.run(lease, items),
            Event::Steal { request, items } => self.steal(request, items),
            Event::Cancel { request } => self.cancel(request),
            Event::Park => self.park(),
            Event::Drain => self.drain(),
            Event::Interrupt => self.interrupt(),
            Event::Shutdown { grace } => self.shutdown(grace),
            Event::ClawedBack { untaken } => self.clawed_back(untaken),
            Event::Asks => {
                self.is_asking = true;
                self.claw_back_if(!self.sent.is_empty(), Purpose::Wait);
            }
            Event::Answer => self.answer(),
            Event::Suspend => {
                self.is_suspended = true;
                self.claw_back_if(!self.sent.is_empty(), Purpose::Wait);
            }
            Event::Resume => {
                self.is_suspended = false;
                self.top_up();
            }
            Event::Limit { items } => self.limit = Some(items),
            Event::Recycle => self.claw_back_if(!self.sent.is_empty(), Purpose::Recycle),
            Event::Expired => self.claw_back_if(!self.sent.is_empty(), Purpose::Stop),
            Event::Finished { item, lease } => self.finished(item, lease),
            Event::StopRequested => self.stop(),
            Event::SessionEnded => {
                self.stop();
                let reason = "it did not exit after the end of its session";
                self.actions.push_back(Action::KillAfter { delay: EXIT_GRACE, reason });
            }
        }
    }

    /// The next thing to be done.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether the runner was given this item and has not finished it.
    pub(crate) fn is_unfinished(&self, item: ItemIndex, lease: LeaseId) -> bool {
        self.sent.contains(&Command::Item(item, lease))
    }

    /// Whether the runner has any item that it has not finished.
    pub(crate) fn has_unfinished(&self) -> bool {
        self.sent.iter().any(is_item)
    }

    /// Whether items wait that the runner cannot see yet.
    pub(crate) fn has_backlog(&self) -> bool {
        self.queue.front().is_some_and(is_item)
    }

    /// No item can be there yet, so the order does not matter.
    fn proceed(&mut self) {
        if self.mode != Mode::Stopped {
            self.queue.push_front(Command::Proceed);
            self.top_up();
        }
    }

    fn answer(&mut self) {
        if self.is_asking {
            self.is_asking = false;
            self.queue.push_front(Command::Answer);
            self.top_up();
        }
    }

    fn collect(&mut self) {
        if self.mode == Mode::Open && !self.collect_asked {
            self.collect_asked = true;
            self.queue.push_back(Command::Collect);
            self.top_up();
        }
    }

    fn send_collection(&mut self) {
        if self.mode != Mode::Stopped {
            // Whoever asks for the list wants it now, not after the items in the socket.
            self.claw_back_if(!self.sent.is_empty(), Purpose::SendCollection);
        }
    }

    fn run(&mut self, lease: LeaseId, items: Vec<ItemIndex>) {
        if self.mode == Mode::Recycled {
            // It crossed what was said before.
            return self.actions.push_back(Action::GiveUp { items });
        }
        if self.mode != Mode::Open || !self.collect_asked {
            tracing::debug!(?lease, mode = ?self.mode, "items that cannot be run here are dropped");
            return;
        }
        self.claw_back_if(self.sent.contains(&Command::Park), Purpose::Run { lease, items });
    }

    fn steal(&mut self, request: u32, items: Vec<ItemIndex>) {
        let is_queued = |item: &ItemIndex| self.queue.iter().any(|command| holds(command, *item));
        let is_sent = |item: &ItemIndex| self.sent.iter().any(|command| holds(command, *item));
        let reachable = items.iter().all(|item| is_queued(item) || is_sent(item));
        let needed = reachable && !items.iter().all(is_queued) && self.mode != Mode::Stopped;
        self.claw_back_if(needed, Purpose::Steal { request, items });
    }

    fn cancel(&mut self, request: u32) {
        let needed = self.has_unfinished() && self.mode != Mode::Stopped;
        self.claw_back_if(needed, Purpose::Cancel { request });
    }

    fn park(&mut self) {
        let mut all = self.sent.iter().chain(&self.queue);
        // Without an item before it there is nothing that a `Park` could end.
        let useful = all.clone().any(is_item) && !all.any(|command| *command == Command::Park);
        if self.mode == Mode::Open && useful {
            self.queue.push_back(Command::Park);
            self.top_up();
        }
    }

    fn drain(&mut self) {
        if self.mode == Mode::Open {
            self.mode = Mode::Draining;
            self.queue.retain(|command| *command != Command::Park);
            self.queue.push_back(Command::Drain);
            self.top_up();
        }
    }

    fn interrupt(&mut self) {
        if self.mode != Mode::Stopped {
            self.claw_back_if(!self.sent.is_empty(), Purpose::Interrupt);
        }
    }

    fn shutdown(&mut self, grace: Duration) {
        self.stop();
        let reason = "the coordinator asked for it";
        if !grace.is_zero() {
            self.actions.push_back(Action::Terminate { reason });
        }
        self.actions.push_back(Action::KillAfter { delay: grace, reason });
    }

    fn finished(&mut self, item: ItemIndex, lease: LeaseId) {
        let position = self.sent.iter().position(is_item);
        match position {
            Some(position) if self.sent[position] == Command::Item(item, lease) => {
                // It was read, and so was everything before it.
                self.sent.drain(..=position);
                self.finished = self.finished.saturating_add(1);
                self.top_up();
            }
            Some(_) | None => {
                let text = format!("it reported item {} (lease {}), which was not its turn", item.0, lease.0);
                self.actions.push_back(Action::Fault(text));
            }
        }
    }

    fn stop(&mut self) {
        self.mode = Mode::Stopped;
        // The coordinator knows that nothing of this will run here. The rest of the window is not taken back: a runner
        // that stops reads no further, and the item it is in may still be reported.
        self.queue.clear();
    }

    /// Follows the purpose, after a claw back if one is needed.
    fn claw_back_if(&mut self, needed: bool, purpose: Purpose) {
        debug_assert!(self.clawing.is_none(), "a claw back is answered before any other event");
        if needed {
            self.clawing = Some(purpose);
            self.actions.push_back(Action::ClawBack);
        } else {
            self.follow(purpose);
        }
    }

    fn clawed_back(&mut self, untaken: u32) {
        for _ in 0..untaken {
            // What was forgotten had been taken.
            let sent = self.sent.pop_back();
            debug_assert!(sent.is_some(), "what comes back is the end of what was sent");
            if let Some(command) = sent {
                self.queue.push_front(command);
            }
        }
        // What is left was taken; of that, only items are still to be heard of.
        self.sent.retain(is_item);
        if let Some(purpose) = self.clawing.take() {
            self.follow(purpose);
        }
    }

    /// Changes the queue, of which everything that can be changed is now here, and sends the front of it again.
    fn follow(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Run { lease, items } => {
                self.queue.retain(|command| *command != Command::Park);
                self.queue.extend(items.into_iter().map(|item| Command::Item(item, lease)));
                self.top_up();
            }
            Purpose::Steal { request, items } => {
                let items = self.take_all(&items).unwrap_or_default();
                self.actions.push_back(Action::Unscheduled { request, items });
                self.top_up();
            }
            Purpose::Cancel { request } => {
                let items = self.take_items();
                self.actions.push_back(Action::Unscheduled { request, items });
                self.top_up();
            }
            Purpose::SendCollection => {
                if !self.queue.contains(&Command::SendCollection) {
                    let behind_collect = usize::from(self.queue.front() == Some(&Command::Collect));
                    self.queue.insert(behind_collect, Command::SendCollection);
                }
                self.top_up();
            }
            Purpose::Stop => self.stop(),
            Purpose::Wait => self.top_up(),
            Purpose::Recycle => {
                self.limit = Some(self.begun());
                self.top_up();
            }
            Purpose::Interrupt => {
                self.queue.clear();
                self.queue.push_back(Command::Interrupt);
                self.top_up();
                self.mode = Mode::Stopped;
                // After the datagram, so that a runner that looks finds out whose interrupt it was.
                self.actions.push_back(Action::Interrupt);
            }
        }
    }

    /// Takes these items out of the queue, in queue order, unless one of them is not there.
    fn take_all(&mut self, wanted: &[ItemIndex]) -> Option<Vec<ItemIndex>> {
        let is_wanted = |item: &ItemIndex| wanted.contains(item);
        let there: Vec<_> = self.queue.iter().filter_map(item_of).filter(is_wanted).collect();
        if !wanted.iter().all(|item| there.contains(item)) {
            return None;
        }
        self.queue.retain(|command| item_of(command).is_none_or(|item| !is_wanted(&item)));
        Some(there)
    }

    fn take_items(&mut self) -> Vec<ItemIndex> {
        let items = self.queue.iter().filter_map(item_of).collect();
        self.queue.retain(|command| !is_item(command));
        items
    }

    /// How many items have begun, or may begin at any moment.
    fn begun(&self) -> u32 {
        let unfinished = self.sent.iter().filter(|command| is_item(command)).count();
        self.finished.saturating_add(u32::try_from(unfinished).unwrap_or(u32::MAX))
    }

    /// Ends the session after what may begin. Only once there is something that may not: nothing is gained by a new
    /// process for nothing.
    fn give_up_rest(&mut self) {
        let items = self.take_items();
        self.mode = Mode::Recycled;
        self.queue.clear();
        self.queue.push_back(Command::Drain);
        self.actions.push_back(Action::GiveUp { items });
    }

    /// Whether the runner may not have this command now.
    const fn has_to_wait(&self, command: Command) -> bool {
        match command {
            Command::Answer | Command::Interrupt => false,
            Command::Item(..) => self.is_asking || self.is_suspended,
            Command::Proceed
            | Command::Collect
            | Command::SendCollection
            | Command::Park
            | Command::Drain => self.is_asking,
        }
    }

    fn top_up(&mut self) {
        let mut unfinished = self.sent.iter().filter(|command| is_item(command)).count();
        while let Some(mut command) = self.queue.front().copied() {
            if self.has_to_wait(command) {
                return;
            }
            if is_item(&command) && self.limit.is_some_and(|limit| self.begun() >= limit) {
                self.give_up_rest();
                command = Command::Drain;
            }
            if is_item(&command) {
                if unfinished == self.window {
                    return;
                }
                unfinished += 1;
            }
            self.queue.pop_front();
            self.sent.push_back(command);
            self.actions.push_back(Action::Send(command));
        }
    }
}

const fn is_item(command: &Command) -> bool {
    matches!(command, Command::Item(..))
}

const fn item_of(command: &Command) -> Option<ItemIndex> {
    match command {
        Command::Item(item, _) => Some(*item),
        Command::Proceed
        | Command::Answer
        | Command::Collect
        | Command::SendCollection
        | Command::Park
        | Command::Drain
        | Command::Interrupt => None,
    }
}

fn holds(command: &Command, item: ItemIndex) -> bool {
    item_of(command) == Some(item)
}
