//! Carrying out what the scheduler decides, and taking in what workers report.

use super::event::{Failure, RunEnd, StopReason};
use super::results::ItemState;
use super::violation::Violation;
use super::{Course, RunEvent, Session};
use crate::scheduler::Action;
use crate::workers::{Active, Ending, Farewell, HostId, Life, Steal};
use std::time::Duration;
use xdist_proto::message::{
    self, CoordinatorMessage, Drain, ItemFinished, ItemStarted, Park, Run, StopKind, StopRequested,
    Unscheduled, UsageError, WorkerMessage, WorkerOutput,
};
use xdist_proto::report::{ItemReport, OutcomeClass};
use xdist_proto::{ItemIndex, LeaseId, WorkerId};

/// The most items in one `run`, so that it fits a frame whatever the collection's size.
const ITEMS_PER_RUN: usize = 50_000;

impl Session {
    /// Does what the book's scheduler wants done.
    pub(super) fn carry_out(&mut self, book: usize) {
        while let Some(action) = self.books[book].distribution.poll_action() {
            match action {
                Action::Run { worker, items } => {
                    for items in items.chunks(ITEMS_PER_RUN) {
                        self.run_items(book, worker, items);
                    }
                }
                Action::Steal { worker, items } => self.steal_items(worker, items),
                Action::Park { worker } => self.send(worker, CoordinatorMessage::Park(Park { worker })),
            }
        }
    }

    fn run_items(&mut self, book: usize, id: WorkerId, items: &[ItemIndex]) {
        let lease = self.leases.issue(id);
        let Some(active) = self.workers.get_mut(id).active_mut() else {
            debug_assert!(false, "{id} is given items before it has collected");
            return;
        };
        active.leased += items.len();
        let mapping = active.mapping.clone();
        for &item in items {
            self.books[book].lease(item, id, lease);
        }
        let items = items.iter().map(|&item| mapping.own(item)).collect();
        self.send(id, CoordinatorMessage::Run(Run { worker: id, lease, items }));
    }

    fn steal_items(&mut self, id: WorkerId, items: Vec<ItemIndex>) {
        let request = self.request();
        let Some(active) = self.workers.get_mut(id).active_mut() else {
            debug_assert!(false, "{id} is asked for items before it has collected");
            return;
        };
        let own = items.iter().map(|&item| active.mapping.own(item)).collect();
        active.steal = Some(Steal { request, items });
        self.send(id, CoordinatorMessage::Steal(message::Steal { worker: id, request, items: own }));
    }

    pub(super) fn worker_message(&mut self, host: HostId, message: WorkerMessage) -> Result<(), Violation> {
        let id = sender(&message);
        if let Some(id) = id
            && !self.workers.is_living_on(host, id)
        {
            return Err(Violation::Worker { worker: id });
        }
        if let Some(id) = id
            && matches!(self.workers.get(id).life, Life::Waiting)
        {
            return Err(self.unexpected(id, "a message"));
        }
        match message {
            WorkerMessage::HostWanted(wanted) => self.host_wanted(wanted),
            WorkerMessage::Ask(ask) => self.asked(&ask),
            WorkerMessage::AskWithdrawn(event) => {
                self.ask_withdrawn(&event);
                Ok(())
            }
            WorkerMessage::Made(made) => self.made(made),
            WorkerMessage::Released(released) => self.shared_released(released),
            WorkerMessage::TerminalReturned(event) => self.terminal_returned(&event),
            WorkerMessage::Ready(ready) => self.ready(ready),
            WorkerMessage::Collecting(event) => self.collecting(event.worker),
            WorkerMessage::CollectReport(event) => self.collect_report(event.worker, event.report),
            WorkerMessage::Collected(event) => self.collected(event),
            WorkerMessage::Collection(chunk) => self.collection_chunk(chunk),
            WorkerMessage::ItemStarted(event) => self.item_started(&event),
            WorkerMessage::ItemFinished(event) => self.item_finished(event),
            WorkerMessage::Unscheduled(event) => self.unscheduled(&event),
            WorkerMessage::StopRequested(event) if event.kind == StopKind::Recycle => self.recycle(event),
            WorkerMessage::StopRequested(event) => {
                self.stop_requested(event);
                Ok(())
            }
            WorkerMessage::Warning(event) => {
                self.tell(event.worker, RunEvent::Warning { worker: event.worker, warning: event.warning });
                Ok(())
            }
            WorkerMessage::Output(event) => {
                let (worker, stream, data) = (event.worker, event.stream, event.data);
                self.tell(worker, RunEvent::Output { worker, stream, data });
                Ok(())
            }
            WorkerMessage::InternalError(event) => {
                self.internal_error(event.worker, event.text);
                Ok(())
            }
            WorkerMessage::UsageError(event) => {
                if !self.is_discarded(event.worker) {
                    let UsageError { worker, text, exit_code, unfit } = event;
                    if !unfit || !self.turned_away_unfit(worker, &text) {
                        self.usage_error(worker, text, exit_code);
                    }
                }
                Ok(())
            }
            WorkerMessage::WorkerOutput(output) => self.worker_output(output),
            WorkerMessage::Down(down) => self.down(down),
            // They name no worker, and were dealt with where the link is.
            WorkerMessage::SyncWant(_)
            | WorkerMessage::SyncTaken(_)
            | WorkerMessage::SyncEnd(_)
            | WorkerMessage::SyncFailed(_)
            | WorkerMessage::Fetched(_)
            | WorkerMessage::FetchDone(_)
            | WorkerMessage::Pong(_) => Ok(()),
        }
    }

    /// Reports an event of a worker that matters.
    fn tell(&mut self, id: WorkerId, event: RunEvent) {
        if !self.is_discarded(id) {
            self.report(event);
        }
    }

    fn item_started(&mut self, event: &ItemStarted) -> Result<(), Violation> {
        let Some((book, item)) = self.leased_item(event.worker, event.lease, event.item, "item_started")?
        else {
            return Ok(());
        };
        debug_assert!(self.books[book].is_leased_to(item, event.worker));
        let running = Duration::from_millis(event.running_ms);
        let slow = self.plan.as_ref().and_then(|plan| plan.exceeded(running));
        let ItemStarted { worker, phase, .. } = *event;
        self.report(RunEvent::ItemStarted { worker, item, phase, running, slow });
        Ok(())
    }

    fn item_finished(&mut self, event: ItemFinished) -> Result<(), Violation> {
        let ItemFinished { worker: id, lease, item, report } = event;
        let Some((book, item)) = self.leased_item(id, lease, item, "item_finished")? else { return Ok(()) };
        if let Some(active) = self.workers.get_mut(id).active_mut() {
            active.leased -= 1;
            active.finished = active.finished.saturating_add(1);
        }
        let failed = matches!(report.class, OutcomeClass::Fail | OutcomeClass::Infrastructure);
        let took = duration(&report);
        if failed && self.may_retry(book, item) {
            let tried = self.retry(book, item, id, Failure::Report(Box::new(report)));
            self.books[book].distribution.item_failed(id, item, took, tried);
        } else {
            self.take_result(book, id, item, Box::new(report), failed);
            self.books[book].distribution.item_finished(id, item, took);
        }
        self.carry_out(book);
        self.arm_finish(id);
        self.close_book_if_done(book);
        Ok(())
    }

    /// Enters and tells what has become of an item.
    fn take_result(
        &mut self,
        book: usize,
        worker: WorkerId,
        item: ItemIndex,
        report: Box<ItemReport>,
        failed: bool,
    ) {
        let retries = self.books[book].done(item);
        self.counts.finished += 1;
        self.report(RunEvent::ItemFinished { worker, item, report, retries });
        if failed {
            self.counts.failed += 1;
            self.counts.failures += 1;
            self.check_failures();
        } else if retries > 0 {
            self.counts.flaky += 1;
        }
    }

    /// The item that a worker speaks of, with its book; `None` if the worker does not have it any more.
    fn leased_item(
        &self,
        id: WorkerId,
        lease: LeaseId,
        item: ItemIndex,
        kind: &'static str,
    ) -> Result<Option<(usize, ItemIndex)>, Violation> {
        let Some(active) = self.workers.get(id).active() else { return Err(self.unexpected(id, kind)) };
        let item = active.mapping.agreed(item).ok_or(Violation::Item { worker: id, item })?;
        if !self.leases.was_given(lease, id) {
            return Err(Violation::Lease { worker: id, lease });
        }
        if self.books[active.book].state(item) == (ItemState::Leased { worker: id, lease }) {
            return Ok(Some((active.book, item)));
        }
        tracing::debug!(worker = %id, item = item.0, lease = lease.0, kind, "late report ignored");
        Ok(None)
    }

    fn unscheduled(&mut self, event: &Unscheduled) -> Result<(), Violation> {
        let Unscheduled { worker: id, request, .. } = *event;
        let Some(active) = self.workers.get(id).active() else {
            return Err(self.unexpected(id, "unscheduled"));
        };
        let book = active.book;
        let items = self.given_back(id, active, &event.items)?;
        let Some(active) = self.workers.get_mut(id).active_mut() else { return Ok(()) };
        if let Some(steal) = active.steal.take_if(|steal| steal.request == request) {
            if !items.is_empty() && sorted(&items) != sorted(&steal.items) {
                return Err(Violation::PartlyGivenBack { worker: id });
            }
            active.leased -= items.len();
            for &item in &items {
                self.books[book].give_back(item);
            }
            self.books[book].distribution.answered(id, !items.is_empty());
            if self.is_scheduled_elsewhere() {
                self.report(RunEvent::TakenBack { worker: id, items });
            }
            self.carry_out(book);
        } else if active.cancel.take_if(|cancel| *cancel == request).is_some() {
            active.leased -= items.len();
            for &item in &items {
                self.books[book].give_back(item);
            }
        } else {
            return Err(Violation::Request { worker: id, request });
        }
        self.arm_finish(id);
        Ok(())
    }

    /// The items that a worker gives back, by agreed index; each must be its own, and be named once.
    fn given_back(
        &self,
        id: WorkerId,
        active: &Active,
        own: &[ItemIndex],
    ) -> Result<Vec<ItemIndex>, Violation> {
        let mut items = Vec::with_capacity(own.len());
        for &item in own {
            let agreed = active.mapping.agreed(item).ok_or(Violation::Item { worker: id, item })?;
            if !self.books[active.book].is_leased_to(agreed, id) {
                return Err(Violation::GivenBack { worker: id, item });
            }
            items.push(agreed);
        }
        match sorted(&items).windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(Violation::GivenBack { worker: id, item: twice[0] }),
            None => Ok(items),
        }
    }

    /// Takes a worker for one that has done its share: what it gives up goes to others, and when it is down another one
    /// takes its place. Items that it was given meanwhile it gives up in the same way.
    fn recycle(&mut self, event: StopRequested) -> Result<(), Violation> {
        let StopRequested { worker: id, reason, items, .. } = event;
        if self.is_discarded(id) {
            return Ok(());
        }
        let Some(active) = self.workers.get(id).active() else {
            return Err(self.unexpected(id, "stop_requested"));
        };
        let book = active.book;
        let items = self.given_back(id, active, &items)?;
        if let Some(active) = self.workers.get_mut(id).active_mut() {
            active.leased -= items.len();
        }
        for &item in &items {
            self.books[book].give_back(item);
        }
        self.books[book].distribution.retire_worker(id, &items);
        if self.is_scheduled_elsewhere() {
            self.report(RunEvent::TakenBack { worker: id, items });
        }
        if !self.workers.get(id).recycled {
            tracing::info!(worker = %id, reason, "worker recycled");
            self.workers.get_mut(id).recycled = true;
            self.report(RunEvent::WorkerRecycled { worker: id, reason });
            // It ends by itself; but a worker that waits to hear what follows would wait for ever.
            self.send(id, CoordinatorMessage::Drain(Drain { worker: id }));
        }
        self.carry_out(book);
        self.arm_finish(id);
        Ok(())
    }

    fn stop_requested(&mut self, event: StopRequested) {
        if self.is_discarded(event.worker) {
            return;
        }
        let reason = match event.kind {
            StopKind::ShouldFail | StopKind::ShouldStop => StopReason::Session(event.reason),
            StopKind::Exit => StopReason::Exit { reason: event.reason, code: event.exit_code },
            StopKind::Interrupt => StopReason::KeyboardInterrupt(event.worker),
            StopKind::Recycle => return,
        };
        if self.turned_away_late(event.worker, &reason.to_string()) {
            return;
        }
        self.begin_ending(RunEnd::Stopped(reason), &Ending::Drain);
    }

    fn internal_error(&mut self, id: WorkerId, text: String) {
        if self.is_discarded(id) {
            return;
        }
        if self.turned_away_late(id, text.lines().last().unwrap_or_default()) {
            return;
        }
        self.workers.get_mut(id).farewell = Farewell::Error;
        self.report(RunEvent::InternalError { worker: id, text });
        let stopped = RunEnd::Stopped(StopReason::InternalError);
        if self.course == Course::Ending(RunEnd::Completed) {
            // All is run, but the end of a session is part of the run too.
            self.course = Course::Ending(stopped);
            self.report(RunEvent::Stopping(StopReason::InternalError));
        } else {
            self.begin_ending(stopped, &Ending::Drain);
        }
    }

    fn worker_output(&mut self, output: WorkerOutput) -> Result<(), Violation> {
        let WorkerOutput { worker: id, exit_status, values } = output;
        let worker = self.workers.get_mut(id);
        if worker.farewell == Farewell::Output {
            return Err(Violation::SecondOutput { worker: id });
        }
        worker.farewell = Farewell::Output;
        let values = values.into_iter().collect();
        self.tell(id, RunEvent::WorkerOutput { worker: id, exit_status, values });
        Ok(())
    }

    /// Ends the run when there have been as many failures as the user will have.
    pub(super) fn check_failures(&mut self) {
        let limit = self.plan.as_ref().and_then(|plan| plan.max_fail);
        if limit.is_some_and(|limit| self.counts.failures >= limit)
            && matches!(self.course, Course::Gathering | Course::Running)
        {
            let reason = StopReason::Failures(self.counts.failures);
            self.begin_ending(RunEnd::Stopped(reason), &Ending::Drain);
        }
    }
}

/// The worker that a message is about.
const fn sender(message: &WorkerMessage) -> Option<WorkerId> {
    Some(match message {
        WorkerMessage::HostWanted(event) => event.worker,
        WorkerMessage::Ask(event) => event.worker,
        WorkerMessage::AskWithdrawn(event) => event.worker,
        WorkerMessage::Made(event) => event.worker,
        WorkerMessage::Released(event) => event.worker,
        WorkerMessage::TerminalReturned(event) => event.worker,
        WorkerMessage::Ready(event) => event.worker,
        WorkerMessage::Collecting(event) => event.worker,
        WorkerMessage::CollectReport(event) => event.worker,
        WorkerMessage::Collected(event) => event.worker,
        WorkerMessage::Collection(event) => event.worker,
        WorkerMessage::ItemStarted(event) => event.worker,
        WorkerMessage::ItemFinished(event) => event.worker,
        WorkerMessage::Unscheduled(event) => event.worker,
        WorkerMessage::StopRequested(event) => event.worker,
        WorkerMessage::Warning(event) => event.worker,
        WorkerMessage::Output(event) => event.worker,
        WorkerMessage::InternalError(event) => event.worker,
        WorkerMessage::UsageError(event) => event.worker,
        WorkerMessage::WorkerOutput(event) => event.worker,
        WorkerMessage::Down(event) => event.worker,
        WorkerMessage::SyncWant(_)
        | WorkerMessage::SyncTaken(_)
        | WorkerMessage::SyncEnd(_)
        | WorkerMessage::SyncFailed(_)
        | WorkerMessage::Fetched(_)
        | WorkerMessage::FetchDone(_)
        | WorkerMessage::Pong(_) => return None,
    })
}

fn duration(report: &ItemReport) -> Duration {
    Duration::from_micros(report.durations_us.iter().sum())
}

fn sorted(items: &[ItemIndex]) -> Vec<ItemIndex> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items
}
