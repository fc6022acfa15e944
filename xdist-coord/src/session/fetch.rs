//! Files of other machines, fetched when the run is over (`--fetch`).
//!
//! When the last worker is down, every host that is elsewhere is asked for what fits, directory by directory; the run
//! ends when all of it is here. Whoever is lost before, or sends nothing for too long, has its files missed and told of.

use super::event::FilesFetched;
use super::input::Stored;
use super::output::FetchStep;
use super::timer::Timer;
use super::violation::Violation;
use super::{Output, RunEvent, Session};
use crate::workers::{HostId, HostLife, Workers};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use xdist_proto::fetch::{FEATURE_FETCH, Fetch, FetchDone, Fetched, FileEnd, MAX_PART_BYTES};
use xdist_proto::message::CoordinatorMessage;
use xdist_proto::{FetchId, WorkerId};

/// Where the files of all machines come to, unless `--fetch-to` says otherwise.
const DIRECTORY: &str = "xdist-fetched";

/// The most files that are fetched from one directory.
const MOST_FILES: u32 = 10_000;

/// The most bytes that they have together.
const MOST_BYTES: u64 = 4 << 30;

/// The most problems of a host that are told.
const MOST_PROBLEMS: usize = 100;

/// The longest name in a path, in bytes, as file systems have it.
const NAME_BYTES: usize = 255;

/// The longest path, in bytes.
const PATH_BYTES: usize = 4095;

/// What is fetched, and from where.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Where the workers of each host that is elsewhere are, in order.
    directories: BTreeMap<HostId, Vec<String>>,
    /// Whether hosts were asked.
    is_begun: bool,
    /// What each host is to send, that which it is asked for first.
    jobs: BTreeMap<HostId, VecDeque<Job>>,
    next: u32,
    /// The directories on this side that are taken, in small letters, since not every file system tells them apart.
    taken: BTreeSet<String>,
}

/// The files of one directory.
#[derive(Debug)]
struct Job {
    id: FetchId,
    /// What it is about and has come to.
    result: FilesFetched,
    /// The file that is arriving: its path, and how much is here.
    open: Option<(String, u64)>,
    files: u32,
    bytes: u64,
    /// Whether nothing more of it counts.
    has_ended: bool,
}

impl Session {
    /// Remembers where a worker elsewhere is.
    pub(super) fn note_directory(&mut self, worker: WorkerId, directory: &str) {
        let host = self.workers.get(worker).host;
        if self.workers.other_machine(host).is_some() && !directory.is_empty() {
            let known = self.fetches.directories.entry(host).or_default();
            if known.iter().all(|known| known != directory) {
                known.push(directory.to_owned());
            }
        }
    }

    /// Whether nothing is fetched any more. Begins when it is asked for the first time.
    pub(super) fn has_fetched(&mut self) -> bool {
        if !std::mem::replace(&mut self.fetches.is_begun, true) {
            self.begin_fetches();
        }
        self.fetches.jobs.is_empty()
    }

    fn begin_fetches(&mut self) {
        let wanted = self.plan.as_ref().is_some_and(|plan| !plan.fetch.is_empty());
        // Where nothing was run there is only what earlier runs have left.
        if !wanted || self.books.is_empty() {
            return;
        }
        let directories = std::mem::take(&mut self.fetches.directories);
        let mut asked = BTreeSet::new();
        let is_open = |workers: &Workers, host| matches!(workers.host(host).life, HostLife::Open { .. });
        // A machine that was lost and reached again is asked once, and what is there is all there.
        let (open, lost): (Vec<_>, Vec<_>) =
            directories.into_iter().partition(|(host, _)| is_open(&self.workers, *host));
        for (host, directories) in open.into_iter().chain(lost) {
            let is_lost = !is_open(&self.workers, host);
            for directory in directories {
                let machine = self.workers.other_machine(host).map(str::to_owned);
                let place = (self.workers.host(host).spec.clone(), machine, directory.clone());
                if asked.insert(place) || !is_lost {
                    self.plan_fetch(host, directory);
                }
            }
            self.ask_for_files(host);
        }
    }

    /// Enters a directory among what is to be fetched, or says why that cannot be.
    fn plan_fetch(&mut self, host: HostId, directory: String) {
        let machine = self.workers.other_machine(host).unwrap_or_default().to_owned();
        let into = self.free_directory(&machine);
        let result = FilesFetched { machine, from: directory, into, ..FilesFetched::default() };
        let found = self.workers.host(host);
        let obstacle = match (&found.life, found.features.contains_key(FEATURE_FETCH)) {
            (HostLife::Open { .. }, true) => None,
            (HostLife::Open { .. }, false) => Some("what runs there cannot send files"),
            (HostLife::Launching | HostLife::Launched { .. } | HostLife::Closed, _) => {
                Some("the connection was lost")
            }
        };
        if let Some(obstacle) = obstacle {
            return self.report_unfetched(result, obstacle);
        }
        let id = FetchId(self.fetches.next);
        self.fetches.next += 1;
        let job = Job { id, result, open: None, files: 0, bytes: 0, has_ended: false };
        self.fetches.jobs.entry(host).or_default().push_back(job);
    }

    /// A directory for the files of one machine's directory, which no other has.
    fn free_directory(&mut self, machine: &str) -> String {
        let to = self.plan.as_ref().and_then(|plan| plan.fetch_to.clone());
        let parent = to.unwrap_or_else(|| DIRECTORY.to_owned());
        let name = as_file_name(machine);
        let names = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name}-{number}")));
        let taken = &mut self.fetches.taken;
        let free = names.map(|name| (name.to_lowercase(), name)).find(|(key, _)| taken.insert(key.clone()));
        let (_, name) = free.unwrap_or_default();
        format!("{}/{name}", parent.trim_end_matches('/'))
    }

    /// Asks the host for the next of its directories, if there is one.
    fn ask_for_files(&mut self, host: HostId) {
        let HostLife::Open { link, .. } = self.workers.host(host).life else { return };
        let (Some(plan), Some(jobs)) = (&self.plan, self.fetches.jobs.get(&host)) else { return };
        let Some(Job { id, result, .. }) = jobs.front() else { return };
        let to = plan.fetch_to.as_deref().unwrap_or(DIRECTORY);
        let request = Fetch {
            request: *id,
            directory: result.from.clone(),
            patterns: plan.fetch.clone(),
            // On a shared file system, or this machine under another name, what was fetched before is there too.
            except: vec![to.trim_end_matches('/').trim_start_matches("./").to_owned()],
            max_files: MOST_FILES,
            max_bytes: MOST_BYTES,
        };
        let step = FetchStep::Begin { directory: result.into.clone() };
        self.outputs.push_back(Output::Fetch { fetch: *id, step });
        self.outputs.push_back(Output::Send { link, message: CoordinatorMessage::Fetch(request) });
        self.timers.set(Timer::Fetch(host), self.now + self.config.timeouts.fetch);
    }

    /// Takes in a part of a file.
    pub(super) fn fetched(&mut self, host: HostId, part: Fetched) -> Result<(), Violation> {
        let job = self.current_job(host, part.request)?;
        let length = part.unpacked.map_or(part.data.len(), |length| length as usize);
        if part.data.len() > MAX_PART_BYTES || length > MAX_PART_BYTES {
            return Err(Violation::Fetched("a part of a file is too long"));
        }
        let (path, offset) = match job.open.take() {
            Some(open) => open,
            None if !is_fit(&part.path) => {
                return Err(Violation::Fetched("a path is not one below a directory"));
            }
            None => (part.path.clone(), 0),
        };
        if path != part.path || offset != part.offset || (length == 0 && part.end.is_none()) {
            return Err(Violation::Fetched("the parts of a file are not in order"));
        }
        let here = offset + length as u64;
        if job.files >= MOST_FILES || job.bytes + here > MOST_BYTES {
            return Err(Violation::Fetched("there are more files than were asked for"));
        }
        match part.end {
            None => job.open = Some((path, here)),
            Some(FileEnd::Complete(_)) => {
                job.files += 1;
                job.bytes += here;
            }
            Some(FileEnd::Broken(_)) => {}
        }
        let fetch = job.id;
        self.outputs.push_back(Output::Fetch { fetch, step: FetchStep::Part(Box::new(part)) });
        self.timers.set(Timer::Fetch(host), self.now + self.config.timeouts.fetch);
        Ok(())
    }

    /// The host has sent everything.
    pub(super) fn fetch_done(&mut self, host: HostId, done: FetchDone) -> Result<(), Violation> {
        let job = self.current_job(host, done.request)?;
        if job.open.is_some() {
            return Err(Violation::Fetched("a file has no end"));
        }
        job.result.problems.extend(done.problems.into_iter().take(MOST_PROBLEMS));
        self.end_job(host);
        Ok(())
    }

    fn current_job(&mut self, host: HostId, request: FetchId) -> Result<&mut Job, Violation> {
        let job = self.fetches.jobs.get_mut(&host).and_then(VecDeque::front_mut);
        let is_asked = |job: &&mut Job| job.id == request && !job.has_ended;
        job.filter(is_asked).ok_or(Violation::Fetched("nobody asked for this"))
    }

    /// Nothing more comes of what the host was asked for; what is here is put in order.
    fn end_job(&mut self, host: HostId) {
        self.timers.cancel(Timer::Fetch(host));
        if let Some(job) = self.fetches.jobs.get_mut(&host).and_then(VecDeque::front_mut)
            && !std::mem::replace(&mut job.has_ended, true)
        {
            self.outputs.push_back(Output::Fetch { fetch: job.id, step: FetchStep::End });
        }
    }

    /// What is here of a directory is in order.
    pub(super) fn stored(&mut self, fetch: FetchId, stored: Stored) {
        let is_it = |job: &Job| job.id == fetch && job.has_ended;
        let mut hosts = self.fetches.jobs.iter();
        let host = hosts.find(|(_, jobs)| jobs.front().is_some_and(is_it)).map(|(host, _)| *host);
        let Some(host) = host else { return };
        let Some(jobs) = self.fetches.jobs.get_mut(&host) else { return };
        let Some(Job { mut result, .. }) = jobs.pop_front() else { return };
        if jobs.is_empty() {
            self.fetches.jobs.remove(&host);
        }
        result.files = stored.files;
        result.bytes = stored.bytes;
        // In the order in which they came about: what is left out for want of a connection is told last.
        result.problems.splice(0..0, stored.problems);
        self.report(RunEvent::FilesFetched(Box::new(result)));
        self.ask_for_files(host);
    }

    fn report_unfetched(&mut self, mut result: FilesFetched, why: &str) {
        result.problems.push(format!("whatever is there: {why}"));
        self.report(RunEvent::FilesFetched(Box::new(result)));
    }

    /// The host has sent all that it ever will.
    pub(super) fn fetch_lost(&mut self, host: HostId, why: &str) {
        let Some(jobs) = self.fetches.jobs.get_mut(&host) else { return };
        let rest: Vec<Job> = jobs.drain(1.min(jobs.len())..).collect();
        if let Some(job) = jobs.front_mut()
            && !job.has_ended
        {
            job.result.problems.push(format!("the rest: {why}"));
        }
        self.end_job(host);
        for job in rest {
            self.report_unfetched(job.result, why);
        }
    }

    /// The host has sent nothing for too long.
    pub(super) fn fetch_due(&mut self, host: HostId) {
        let text = format!("nothing came for {} s", self.config.timeouts.fetch.as_secs_f64());
        self.fetch_lost(host, &text);
        self.release_host(host);
    }

    /// The user does not want to wait for files.
    pub(super) fn abandon_fetches(&mut self) {
        let hosts: Vec<HostId> = self.fetches.jobs.keys().copied().collect();
        for host in hosts {
            self.fetch_lost(host, "interrupted");
            self.release_host(host);
        }
    }

    /// Begins no fetch any more.
    pub(super) fn forgo_fetches(&mut self) {
        self.fetches.is_begun = true;
    }
}

/// Whether a path from elsewhere leads to a place below the directory that it is relative to, and nowhere else.
pub(super) fn is_fit(path: &str) -> bool {
    let is_fit_name =
        |name: &str| !matches!(name, "" | "." | "..") && name.len() <= NAME_BYTES && !name.contains('\0');
    path.len() <= PATH_BYTES && path.split('/').all(is_fit_name)
}

/// What a machine is called, as a name of a directory.
fn as_file_name(machine: &str) -> String {
    let plain = |char: char| if char == '/' || char.is_control() { '_' } else { char };
    let name: String = machine.chars().map(plain).take(NAME_BYTES / 8).collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if name.is_empty() => "_".to_owned(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_from_elsewhere_lead_below_the_directory() {
        for path in ["a", ".coverage.x", "a/b.c/d", "...", "a b", "a\\..\\b"] {
            assert!(is_fit(path), "{path:?}");
        }
        for path in ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "./a", "a\0b"] {
            assert!(!is_fit(path), "{path:?}");
        }
        assert!(is_fit(&"n".repeat(255)) && !is_fit(&"n".repeat(256)));
        assert!(!is_fit(&"n/".repeat(2050)));
    }

    #[test]
    fn machines_have_names_that_are_names_of_directories() {
        let names = ["build1", "::1", "../x", ".", "", "a/b", "a\nb"].map(as_file_name);
        assert_eq!(names, ["build1", "::1", "_._x", "_", "_", "a_b", "a_b"]);
    }
}
