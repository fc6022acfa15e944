//! From the first worker's options to the agreement on what there is to run.

use super::collection::{Mapping, SetDifference};
use super::event::{Configured, Difference, Mismatch, RunEnd};
use super::joining::launchers_among;
use super::plan::Plan;
use super::results::Book;
use super::timer::Timer;
use super::violation::Violation;
use super::{Course, RunEvent, Session};
use crate::scheduler::{Distribution, Mode};
use crate::sync::{self, RootError};
use crate::workers::spec::WorkerSpec;
use crate::workers::{Active, Ending, Farewell, Life, Worker};
use std::collections::BTreeSet;
use std::rc::Rc;
use xdist_proto::message::{
    Collected, CollectionChunk, CoordinatorMessage, Ready, RunOptions, SendCollection,
};
use xdist_proto::report::{CollectReport, OutcomeClass};
use xdist_proto::{Collection, CollectionDigest, Item, WorkerId};

/// pytest's exit code for wrong arguments.
const USAGE_ERROR: i32 = 4;

impl Session {
    pub(super) fn start_first_workers(&mut self) {
        let launchers = self.config.workers.as_mut().map(launchers_among).unwrap_or_default();
        self.start_launchers(launchers);
        let first = match &self.config.workers {
            Some(wanted) if !wanted.is_empty() || self.expects_joiners() => wanted.clone(),
            Some(_) | None => vec![WorkerSpec::default()],
        };
        self.adjust_workers(first);
    }

    /// Makes the workers those that are wanted: keeps the ones that fit their position, shuts the others down, starts
    /// what is missing. A position whose worker has crashed stays empty.
    fn adjust_workers(&mut self, wanted: Vec<WorkerSpec>) {
        for name in wanted.iter().filter_map(|spec| spec.id.as_ref()) {
            self.workers.claim_name(name);
        }
        let present = std::mem::take(&mut self.initial);
        let fits = |position: usize| {
            present.get(position).copied().filter(|&id| self.workers.get(id).spec == wanted[position])
        };
        let kept: Vec<Option<WorkerId>> = (0..wanted.len()).map(fits).collect();
        let still_wanted: BTreeSet<WorkerId> = kept.iter().flatten().copied().collect();
        for worker in present {
            if !still_wanted.contains(&worker) {
                self.end_worker(worker, Ending::Shutdown(None), self.config.timeouts.grace());
            }
        }
        for (spec, kept) in wanted.into_iter().zip(kept) {
            let worker = kept.unwrap_or_else(|| self.start_worker(spec, None));
            self.initial.push(worker);
        }
    }

    pub(super) fn ready(&mut self, mut ready: Box<Ready>) -> Result<(), Violation> {
        let id = ready.worker;
        ready.machine = self.workers.other_machine_of(id).map(str::to_owned);
        let worker = self.workers.get_mut(id);
        if !matches!(worker.life, Life::Configuring) {
            return Err(self.unexpected(id, "ready"));
        }
        worker.life = Life::Ready;
        worker.pid = Some(ready.pid).filter(|&pid| pid != 0);
        worker.versions = ready.header.first().and_then(|line| versions_in(line));
        self.note_directory(id, &ready.cwd);
        if self.plan.is_none() && self.course == Course::Gathering {
            self.configure(&ready);
        }
        if !self.is_discarded(id) {
            let unforkable = ready.unforkable.clone();
            let host = self.workers.machine_of(id);
            let elsewhere = self.workers.other_machine_of(id).is_some();
            self.report(RunEvent::WorkerReady { worker: id, host, elsewhere, ready });
            self.report_unforkable(id, unforkable);
        }
        Ok(())
    }

    /// Takes the options of the first worker that is ready for the run's.
    fn configure(&mut self, ready: &Ready) {
        if let Some(reason) = &ready.options.plain {
            self.begin_ending(RunEnd::Plain(reason.clone()), &Ending::Shutdown(None));
            return;
        }
        if let Err(error) = self.take_files(&ready.options) {
            self.usage_error(ready.worker, format!("ERROR: {error}"), USAGE_ERROR);
            return;
        }
        let mut plan = match Plan::new(&self.config, &ready.options, self.others_may_join()) {
            Ok(plan) => plan,
            Err(error) => return self.usage_error(ready.worker, format!("ERROR: {error}"), USAGE_ERROR),
        };
        let spec = &self.workers.get(ready.worker).spec;
        let copies = self.copies_of(ready.worker);
        let here = |path: &mut String| *path = self.config.place.path_here(spec, copies, ready, path);
        let (mut options, mut display) = (ready.options.clone(), ready.display.clone());
        let mut rootdir = ready.rootdir.clone();
        let junit = display.junit.as_mut().map(|junit| &mut junit.path);
        let files = [options.durations_from.as_mut(), display.cache_dir.as_mut(), junit];
        files.into_iter().flatten().chain([&mut rootdir]).for_each(here);
        self.trees.root_is(rootdir.clone());
        self.start_launchers(launchers_among(&mut plan.workers));
        let configured = Configured {
            run: plan.run.clone(),
            workers: self.worker_count(&plan.workers),
            mode: plan.mode,
            options,
            display,
            header: ready.header.clone(),
            rootdir,
        };
        tracing::info!(run = %plan.run, workers = configured.workers, mode = plan.mode.name(), "configured");
        let wanted = plan.workers.clone();
        self.pytest_host.decide();
        self.plan = Some(plan);
        self.report(RunEvent::Configured(Box::new(configured)));
        self.release_withheld();
        self.adjust_workers(wanted);
        self.check_failures();
    }

    pub(super) fn collecting(&mut self, id: WorkerId) -> Result<(), Violation> {
        let worker = self.workers.get_mut(id);
        if !matches!(worker.life, Life::Ready) {
            return Err(self.unexpected(id, "collecting"));
        }
        worker.life = Life::Collecting;
        if !self.is_discarded(id) {
            self.report(RunEvent::WorkerCollecting { worker: id });
        }
        Ok(())
    }

    pub(super) fn collect_report(&mut self, id: WorkerId, report: CollectReport) -> Result<(), Violation> {
        if !matches!(self.workers.get(id).life, Life::Ready | Life::Collecting) {
            return Err(self.unexpected(id, "collect_report"));
        }
        if self.is_discarded(id) {
            return Ok(());
        }
        let failed = matches!(report.class, OutcomeClass::Fail | OutcomeClass::Infrastructure);
        let failure = report.failure.as_ref().map(|failure| &failure.text);
        let text = failure.or(report.skip.as_ref().map(|skip| &skip.reason)).cloned().unwrap_or_default();
        let known = (report.node_id.clone(), text);
        // What is wrong on one machine only is not the suite's fault; while all collect, nobody can tell.
        let is_new = self.course == Course::Running && !self.collect_reports.contains(&known);
        if failed
            && is_new
            && self.turned_away_late(id, &format!("{} cannot be collected there", report.node_id))
        {
            return Ok(());
        }
        if self.collect_reports.insert(known) {
            self.report(RunEvent::CollectReport { worker: id, report });
            if failed {
                self.counts.collect_errors += 1;
                self.counts.failures += 1;
                self.check_failures();
            }
        }
        Ok(())
    }

    /// Where workers come from configuration files, so may what is copied to them. Otherwise that was looked up before the
    /// first worker was started, which may be elsewhere and see other files.
    fn take_files(&mut self, options: &RunOptions) -> Result<(), RootError> {
        let place = &mut self.config.place;
        if self.config.workers.is_none() && !options.files.is_empty() {
            place.roots = sync::roots(&options.files)?;
            place.files = options.files.clone();
        }
        Ok(())
    }

    fn report_unforkable(&mut self, worker: WorkerId, reason: Option<String>) {
        if let Some(reason) = reason {
            self.report(RunEvent::Unforkable { worker, reason });
        }
    }

    pub(super) fn collected(&mut self, collected: Collected) -> Result<(), Violation> {
        let Collected { worker: id, digest, count, deselected, unforkable, files } = collected;
        let worker = self.workers.get_mut(id);
        if !matches!(worker.life, Life::Ready | Life::Collecting) {
            return Err(self.unexpected(id, "collected"));
        }
        worker.life = Life::Collected { digest, count };
        if self.is_discarded(id) {
            return Ok(());
        }
        self.trees.found(self.workers.get(id).host, files);
        self.report(RunEvent::WorkerCollected { worker: id, items: count, deselected });
        self.report_unforkable(id, unforkable);
        if !std::mem::replace(&mut self.ever_collected, true) {
            self.replace_hopeless();
        }
        match self.course {
            Course::Gathering => {
                self.want_list(id, digest, count)?;
                self.advance_gathering();
                Ok(())
            }
            Course::Running => self.join(id),
            Course::Ending(_) | Course::Over => Ok(()),
        }
    }

    /// The list, if it is known; if not, somebody has been asked for it.
    fn list_of(
        &mut self,
        id: WorkerId,
        digest: CollectionDigest,
        count: u32,
    ) -> Result<Option<Rc<Collection>>, Violation> {
        if self.lists.get(digest).is_none() {
            // An empty one is known by that.
            self.want_list(id, digest, count)?;
        }
        Ok(self.lists.get(digest).cloned())
    }

    fn want_list(&mut self, id: WorkerId, digest: CollectionDigest, count: u32) -> Result<(), Violation> {
        if self.lists.want(id, digest, count)? {
            self.send(id, CoordinatorMessage::SendCollection(SendCollection { worker: id }));
        }
        Ok(())
    }

    pub(super) fn collection_chunk(&mut self, chunk: CollectionChunk) -> Result<(), Violation> {
        let id = chunk.worker;
        let Life::Collected { digest, count } = self.workers.get(id).life else {
            return Err(self.unexpected(id, "collection"));
        };
        if self.lists.add(digest, count, chunk)? {
            match self.course {
                Course::Gathering => self.advance_gathering(),
                Course::Running => {
                    for (worker, _) in self.waiting_with(digest) {
                        self.join_or_breach(worker);
                    }
                }
                Course::Ending(_) | Course::Over => {}
            }
        }
        Ok(())
    }

    /// A worker that owed its list is gone: the next one with the same digest is asked.
    pub(super) fn ask_again(&mut self, digest: CollectionDigest) {
        if let Some(&(worker, count)) = self.waiting_with(digest).first()
            && let Err(violation) = self.want_list(worker, digest, count)
        {
            self.breach(self.workers.get(worker).host, &violation);
        }
    }

    /// The workers in use that collected this and cannot be given items yet.
    fn waiting_with(&self, wanted: CollectionDigest) -> Vec<(WorkerId, u32)> {
        self.collected_workers()
            .into_iter()
            .filter(|&(_, digest, _)| digest == wanted)
            .map(|(id, _, count)| (id, count))
            .collect()
    }

    /// The workers in use that have collected and cannot be given items yet.
    fn collected_workers(&self) -> Vec<(WorkerId, CollectionDigest, u32)> {
        let collected = |(id, worker): (WorkerId, &Worker)| {
            let Life::Collected { digest, count } = worker.life else { return None };
            worker.is_in_use().then_some((id, digest, count))
        };
        self.workers.all().filter_map(collected).collect()
    }

    /// Begins to run when every worker of the beginning that is still there has collected, and the lists are known.
    pub(super) fn advance_gathering(&mut self) {
        if self.course != Course::Gathering || self.plan.is_none() {
            return;
        }
        let has_collected = |id: &WorkerId| {
            let worker = self.workers.get(*id);
            !worker.is_in_use() || matches!(worker.life, Life::Collected { .. })
        };
        if !self.initial.iter().all(has_collected) {
            return;
        }
        let collected = self.collected_workers();
        if collected.is_empty() || self.awaits_more_than(collected.len()) {
            return;
        }
        let has_found_nothing = |&(_, _, count): &(_, _, u32)| count == 0;
        let is_still_looking = |(_, worker): (WorkerId, &Worker)| {
            worker.is_in_use() && !matches!(worker.life, Life::Collected { .. })
        };
        if collected.iter().all(has_found_nothing) && self.workers.all().any(is_still_looking) {
            // Whoever has dialled in first may be where the tests are not.
            return;
        }
        if collected.iter().any(|&(_, digest, _)| self.lists.get(digest).is_none()) {
            return;
        }
        for &(id, digest, count) in &collected {
            let length = self.lists.get(digest).map(|list| list.items.len());
            if length != Some(count as usize) {
                // Its end brings us back here.
                return self.breach(self.workers.get(id).host, &Violation::Digest { worker: id });
            }
        }
        if !self.reads_files_here() {
            self.agree(&collected);
        }
    }

    fn agree(&mut self, collected: &[(WorkerId, CollectionDigest, u32)]) {
        let Some(plan) = &self.plan else { return };
        let mode = plan.mode;
        let from_the_start = |entry: &&(WorkerId, CollectionDigest, u32)| self.initial.contains(&entry.0);
        let mut party: Vec<_> = collected.iter().filter(from_the_start).copied().collect();
        if party.is_empty() {
            // All that remain are replacements, or have dialled in.
            party = collected.to_vec();
        }
        if mode != Mode::Each && !self.compare(&party) {
            return;
        }
        self.course = Course::Running;
        self.await_joiners_no_more();
        let unlike = if mode == Mode::Each { None } else { self.unlike_workers(&party) };
        let warnings = self.unheeded_marks(mode, party[0].1).into_iter().chain(unlike);
        let warnings: Vec<String> = warnings.chain(self.trees.differences(&self.workers)).collect();
        let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
        if mode == Mode::Each {
            self.report(RunEvent::Scheduling { mode, warning });
        } else {
            let digest = party[0].1;
            let book = self.open_book(digest, None);
            let collection = self.books[book].collection.clone();
            self.report(RunEvent::Collected { worker: None, collection });
            self.report(RunEvent::Scheduling { mode, warning });
        }
        self.admit(&party);
        for &(id, ..) in collected.iter().filter(|entry| !party.contains(entry)) {
            self.join_or_breach(id);
        }
        if mode != Mode::Each {
            self.books[0].distribution.begin();
            self.carry_out(0);
        }
        self.check_left();
    }

    /// Why marks that keep items from running beside others have no effect, if there are such marks and that is so.
    fn unheeded_marks(&self, mode: Mode, digest: CollectionDigest) -> Option<String> {
        let reason = match mode {
            Mode::Each => "in mode each, where every worker runs every test",
            _ if self.is_scheduled_elsewhere() => {
                "beside a scheduler of your own (pytest_xdist_make_scheduler)"
            }
            Mode::Load | Mode::LoadScope | Mode::LoadFile | Mode::LoadGroup | Mode::WorkSteal => return None,
        };
        let is_marked = |item: &Item| item.exclusive || !item.resources.is_empty();
        let marked = self.lists.get(digest).is_some_and(|list| list.items.iter().any(is_marked));
        marked.then(|| format!("xdist_exclusive and xdist_resource have no effect {reason}"))
    }

    /// How the workers differ in what runs the tests, if they do: the same test may then end differently. In mode `each` it
    /// is what people want.
    fn unlike_workers(&self, party: &[(WorkerId, CollectionDigest, u32)]) -> Option<String> {
        let mut kinds: Vec<(String, &str)> = Vec::new();
        for &(id, ..) in party {
            let worker = self.workers.get(id);
            let Some(versions) = &worker.versions else { continue };
            if kinds.iter().all(|(_, known)| known != versions) {
                let place = self.workers.other_machine_of(id).map(|machine| format!(" (on {machine})"));
                kinds.push((format!("{}{}", worker.name, place.unwrap_or_default()), versions));
            }
        }
        let described = kinds.iter().map(|(name, versions)| format!("{name} has {versions}"));
        let described: Vec<String> = described.collect();
        (described.len() > 1).then(|| format!("the workers differ: {}", described.join("; ")))
    }

    /// Tells it if a worker that comes later differs from one that is at work.
    fn tell_unlike(&mut self, id: WorkerId) {
        let worker = self.workers.get(id);
        let differs = |other: &Worker| other.active().is_some() && other.versions != worker.versions;
        let Some(versions) = &worker.versions else { return };
        let other = self.workers.all().find(|(_, other)| other.versions.is_some() && differs(other));
        let Some((name, theirs)) = other.and_then(|(_, other)| Some((&other.name, other.versions.as_ref()?)))
        else {
            return;
        };
        let text = format!("it has {versions}, where {name} has {theirs}");
        self.report(RunEvent::WorkerUnlike { worker: id, text });
    }

    /// Lets the workers of the beginning in, each in its turn.
    fn admit(&mut self, party: &[(WorkerId, CollectionDigest, u32)]) {
        for &(id, ..) in party {
            let position = self.initial.iter().position(|&other| other == id).unwrap_or(0);
            let delay = self.plan.as_ref().map(|plan| plan.ramp_delay(position)).unwrap_or_default();
            if delay.is_zero() {
                self.join_or_breach(id);
            } else {
                self.timers.set(Timer::Ramp(id), self.now + delay);
            }
        }
    }

    /// The worker's turn has come.
    pub(super) fn ramp_due(&mut self, id: WorkerId) {
        self.join_or_breach(id);
    }

    /// Whether all collected the same items, in whatever order. If not, says so, and the run is over.
    fn compare(&mut self, party: &[(WorkerId, CollectionDigest, u32)]) -> bool {
        let (reference, agreed_digest, _) = party[0];
        let Some(agreed) = self.lists.get(agreed_digest).cloned() else { return false };
        let mut differing = Vec::new();
        for &(worker, digest, _) in party {
            if digest == agreed_digest || self.mappings.contains_key(&digest) {
                continue;
            }
            let Some(own) = self.lists.get(digest) else { continue };
            match Mapping::new(&agreed, own) {
                Ok(mapping) => {
                    self.mappings.insert(digest, Rc::new(mapping));
                    self.lists.release(digest);
                }
                Err(SetDifference { missing, extra }) => {
                    differing.push(Difference { worker, missing, extra })
                }
            }
        }
        if differing.is_empty() {
            self.mappings.insert(agreed_digest, Rc::new(Mapping::same(&agreed)));
            return true;
        }
        self.report(RunEvent::CollectionMismatch(Mismatch { reference, differing }));
        self.begin_ending(RunEnd::Mismatch, &Ending::Drain);
        false
    }

    fn join_or_breach(&mut self, id: WorkerId) {
        if let Err(violation) = self.join(id) {
            self.breach(self.workers.get(id).host, &violation);
        }
    }

    /// Lets a worker that has collected take part, or finds out whether it can.
    fn join(&mut self, id: WorkerId) -> Result<(), Violation> {
        let Life::Collected { digest, count } = self.workers.get(id).life else { return Ok(()) };
        if self.course != Course::Running || !self.workers.get(id).is_in_use() {
            return Ok(());
        }
        if self.is_each() { self.join_each(id, digest, count) } else { self.join_shared(id, digest, count) }
    }

    fn join_shared(&mut self, id: WorkerId, digest: CollectionDigest, count: u32) -> Result<(), Violation> {
        let agreed = self.books[0].collection.clone();
        if !self.mappings.contains_key(&digest) {
            let Some(own) = self.list_of(id, digest, count)? else { return Ok(()) };
            match Mapping::new(&agreed, &own) {
                Ok(mapping) => {
                    self.mappings.insert(digest, Rc::new(mapping));
                    self.lists.release(digest);
                }
                Err(difference) => {
                    self.reject(id, difference.describe());
                    return Ok(());
                }
            }
        }
        if agreed.items.len() != count as usize {
            return Err(Violation::Digest { worker: id });
        }
        let mapping = self.mappings[&digest].clone();
        self.tell_unlike(id);
        self.activate(id, 0, mapping);
        Ok(())
    }

    fn join_each(&mut self, id: WorkerId, digest: CollectionDigest, count: u32) -> Result<(), Violation> {
        if let Some(book) = self.workers.get(id).inherits {
            return self.join_in_place_of(id, book, digest, count);
        }
        let Some(collection) = self.list_of(id, digest, count)? else { return Ok(()) };
        if collection.items.len() != count as usize {
            return Err(Violation::Digest { worker: id });
        }
        let mapping = Rc::new(Mapping::same(&collection));
        let book = self.open_book(digest, Some(id));
        self.report(RunEvent::Collected { worker: Some(id), collection });
        self.books[book].distribution.begin();
        self.activate(id, book, mapping);
        // There may be nothing in it.
        self.check_books();
        Ok(())
    }

    /// Lets a replacement take over the book of its predecessor.
    fn join_in_place_of(
        &mut self,
        id: WorkerId,
        book: usize,
        digest: CollectionDigest,
        count: u32,
    ) -> Result<(), Violation> {
        let collection = self.books[book].collection.clone();
        let mapping = if self.books[book].digest == digest {
            Mapping::same(&collection)
        } else {
            let Some(own) = self.list_of(id, digest, count)? else { return Ok(()) };
            match Mapping::new(&collection, &own) {
                Ok(mapping) => mapping,
                Err(_) => {
                    self.reject(id, "it collected other tests than the worker that it replaces".to_owned());
                    return Ok(());
                }
            }
        };
        if collection.items.len() != count as usize {
            return Err(Violation::Digest { worker: id });
        }
        self.books[book].owner = Some(id);
        self.report(RunEvent::Collected { worker: Some(id), collection });
        self.activate(id, book, Rc::new(mapping));
        Ok(())
    }

    fn open_book(&mut self, digest: CollectionDigest, owner: Option<WorkerId>) -> usize {
        let collection = self.lists.get(digest).cloned().unwrap_or_else(|| {
            debug_assert!(false, "a book is opened for a list that is not known");
            Rc::new(Collection::default())
        });
        let (mode, options) = self.plan.as_ref().map(|plan| (plan.mode, plan.scheduling)).unwrap_or_default();
        // In mode each, where there are more books, no order is better than another.
        let took = std::mem::take(&mut self.history).of(&collection);
        let distribution = match self.is_scheduled_elsewhere() {
            true => Distribution::foreign(),
            false => Distribution::expecting(mode, &collection, options, &took),
        };
        let book = Book::new(digest, collection, distribution, owner);
        if !book.is_closed() {
            self.open_books += 1;
        }
        self.books.push(book);
        self.books.len() - 1
    }

    fn activate(&mut self, id: WorkerId, book: usize, mapping: Rc<Mapping>) {
        self.workers.get_mut(id).life =
            Life::Active(Active { book, mapping, leased: 0, finished: 0, steal: None, cancel: None });
        self.await_joiners_no_more();
        self.suspend_if_terminal_is_lent(id);
        self.books[book].distribution.add_worker(id);
        self.carry_out(book);
        let kept = self.pytest_host.kept_for(id);
        if !kept.is_empty() {
            self.assigned(id, kept);
        }
    }

    /// A replacement is of no use.
    fn reject(&mut self, id: WorkerId, reason: String) {
        if self.turned_away_late(id, &reason) {
            return;
        }
        tracing::warn!(worker = %id, reason, "replacement not used");
        self.end_worker(id, Ending::Shutdown(Some(reason)), self.config.timeouts.grace());
        self.check_left();
    }

    /// Whether the worker was shut down, so that nothing it still says matters.
    pub(super) fn is_discarded(&self, id: WorkerId) -> bool {
        matches!(self.workers.get(id).ending, Some(Ending::Shutdown(_)))
    }

    pub(super) fn unexpected(&self, id: WorkerId, kind: &'static str) -> Violation {
        Violation::Unexpected { worker: id, kind, state: self.workers.get(id).life.name() }
    }

    /// Ends the run over wrong arguments, unless it is ending anyway.
    pub(super) fn usage_error(&mut self, id: WorkerId, text: String, code: i32) {
        if self.turned_away_late(id, &text) {
            return;
        }
        self.workers.get_mut(id).farewell = Farewell::Error;
        let ending = match self.course {
            Course::Gathering => Ending::Shutdown(None),
            Course::Running => Ending::Drain,
            Course::Ending(_) | Course::Over => return,
        };
        self.dismiss(self.workers.get(id).host, text.trim().trim_start_matches("ERROR: "));
        // What is missing is missing there.
        let text = match self.workers.other_machine_of(id) {
            Some(machine) => format!("{text} (on {machine})"),
            None => text,
        };
        self.report(RunEvent::UsageError { worker: id, text });
        self.begin_ending(RunEnd::UsageError(code), &ending);
    }
}

/// What pytest's first line says of Python and itself: `platform linux -- Python 3.11.2, pytest-9.0.1, pluggy-1.6.0`.
fn versions_in(line: &str) -> Option<String> {
    let (_, versions) = line.split_once(" -- ")?;
    let known: Vec<&str> = versions.split(", ").take(2).collect();
    Some(known.join(", "))
}
