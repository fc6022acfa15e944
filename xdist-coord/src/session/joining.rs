//! Hosts that dial in, by themselves or because a launcher had them: how they become part of the run, and how long they
//! are waited for.

use super::event::{RunEnd, StopReason};
use super::output::{CloseReason, Output};
use super::timer::Timer;
use super::{Course, RunEvent, Session};
use crate::workers::spec::{HostSpec, JoinedSpec, LauncherSpec, MAX_WORKERS, WorkerSpec};
use crate::workers::{Ending, HostId, HostLife, Life, LinkId};
use std::collections::{BTreeMap, BTreeSet};
use xdist_proto::WorkerId;
use xdist_proto::handshake::Hello;
use xdist_proto::message::{CoordinatorMessage, Dismissed};

/// What is known of hosts that dial in.
#[derive(Debug, Default)]
pub(super) struct State {
    launchers: BTreeMap<HostId, Launcher>,
    /// Hosts that have dialled in and not said `hello`, with the launcher that has started them.
    at_the_door: BTreeMap<HostId, Option<HostId>>,
    /// Hosts that have dialled in and are of no use.
    dismissed: BTreeSet<HostId>,
    /// How many have dialled in.
    count: u32,
    /// Whether they have been waited for long enough.
    waited: bool,
}

/// What starts hosts that dial in.
#[derive(Debug)]
struct Launcher {
    /// What the workers of its hosts are to be like.
    template: WorkerSpec,
    has_failed: bool,
    /// The hosts that it has started, as far as they have dialled in.
    hosts: Vec<HostId>,
}

impl Launcher {
    /// How many hosts it is to start, if that is known.
    fn wanted(&self) -> Option<usize> {
        match &self.template.host {
            HostSpec::Launcher(LauncherSpec::Command(command)) => Some(command.hosts as usize),
            HostSpec::Launcher(LauncherSpec::Slurm(slurm)) => slurm.hosts.map(|hosts| hosts as usize),
            HostSpec::Local | HostSpec::Exec(_) | HostSpec::Ssh(_) | HostSpec::Joined(_) => None,
        }
    }
}

impl Session {
    /// Starts launchers, and waits for those who dial in.
    pub(super) fn start_launchers(&mut self, launchers: Vec<WorkerSpec>) {
        for spec in launchers {
            let host = self.workers.add_host(spec.host.clone());
            self.launch(host);
            let launcher = Launcher { template: spec, has_failed: false, hosts: Vec::new() };
            self.joining.launchers.insert(host, launcher);
        }
        self.await_joiners();
    }

    /// How many workers there are: those that were asked for, or more when more have joined.
    pub(super) fn worker_count(&self, planned: &[WorkerSpec]) -> u32 {
        let present = self.workers.all().filter(|(_, worker)| worker.is_in_use()).count();
        u32::try_from(planned.len().max(present)).unwrap_or(u32::MAX)
    }

    /// Whether there may be more workers than were asked for, awaited or not.
    pub(super) fn others_may_join(&self) -> bool {
        self.config.joining.open || !self.joining.launchers.is_empty()
    }

    /// Whether it makes sense to wait for somebody to dial in.
    pub(super) fn expects_joiners(&self) -> bool {
        let joining = &self.joining;
        let is_launching = || joining.launchers.values().any(|launcher| !launcher.has_failed);
        !joining.waited && (self.config.joining.open || is_launching())
    }

    /// Whether somebody may still dial in when nobody here is of use any more. Of a launcher whose hosts are all there,
    /// nothing more can be hoped for; hosts that are gone may be started anew by what has them in its care, unless they were of no
    /// use.
    pub(super) fn hopes_for_joiners(&self) -> bool {
        let is_there = |host: &&HostId| {
            let is_open = matches!(self.workers.host(**host).life, HostLife::Open { .. });
            is_open || self.joining.dismissed.contains(*host)
        };
        let may_start_more = |launcher: &Launcher| {
            let there = launcher.hosts.iter().filter(is_there).count();
            !launcher.has_failed && launcher.wanted().is_none_or(|wanted| there < wanted)
        };
        self.expects_joiners()
            && (self.config.joining.open || self.joining.launchers.values().any(may_start_more))
    }

    /// Whether there are too few workers to begin with.
    pub(super) fn awaits_more_than(&self, workers: usize) -> bool {
        self.expects_joiners() && workers < self.config.joining.min_workers as usize
    }

    /// Puts a bound to waiting for somebody to dial in.
    pub(super) fn await_joiners(&mut self) {
        if self.expects_joiners() {
            self.timers.set_if_unset(Timer::Muster, self.now + self.config.joining.patience);
        }
    }

    /// The same, when everybody who was there is gone.
    pub(super) fn await_others(&mut self) {
        if !self.timers.is_set(Timer::Muster) {
            self.report(RunEvent::WorkersAwaited { patience: self.config.joining.patience });
        }
        self.await_joiners();
    }

    /// There are workers; nobody is waited for.
    pub(super) fn await_joiners_no_more(&mut self) {
        self.timers.cancel(Timer::Muster);
    }

    /// Hosts were waited for long enough.
    pub(super) fn muster_due(&mut self) {
        self.joining.waited = true;
        let collected = |life: &Life| matches!(life, Life::Collected { .. });
        let present = self.workers.all().filter(|(_, worker)| worker.is_in_use() && collected(&worker.life));
        let (present, wanted) = (present.count(), self.config.joining.min_workers);
        if self.course == Course::Gathering && (1..wanted as usize).contains(&present) {
            let text = format!(
                "{present} of {wanted} workers came within {} s (--min-workers, --wait-for-workers)",
                self.config.joining.patience.as_secs_f64()
            );
            return self.begin_ending(RunEnd::Stopped(StopReason::NoWorkers(text)), &Ending::Drain);
        }
        self.check_left();
    }

    /// Why nobody is left, if that is since nobody has dialled in.
    pub(super) fn nobody_joined(&self) -> Option<String> {
        let patience = self.config.joining.patience.as_secs_f64();
        let missed = self.joining.waited && self.joining.count == 0;
        missed.then(|| format!("no worker joined within {patience} s (--wait-for-workers)"))
    }

    /// What is to be added if others were waited for when all who had joined were gone.
    pub(super) fn no_other_joined(&self) -> String {
        let patience = self.config.joining.patience.as_secs_f64();
        let missed = self.joining.waited && self.joining.count > 0;
        let text = || format!(", and no other joined within {patience} s (--wait-for-workers)");
        missed.then(text).unwrap_or_default()
    }

    /// Nobody can dial in any more.
    pub(super) fn gate_lost(&mut self, error: &str) {
        self.joining.waited = true;
        let name = "the way in for hosts that join";
        self.lost_first(name, error);
        self.report(RunEvent::HostLost { host: name.to_owned(), error: error.to_owned() });
        self.check_left();
    }

    /// Somebody has dialled in.
    pub(super) fn joined(&mut self, link: LinkId, peer: &str, launcher: Option<HostId>) {
        let number = self.joining.count;
        self.joining.count += 1;
        let spec = JoinedSpec { number, name: peer.to_owned() };
        let host = self.workers.add_host(HostSpec::Joined(spec));
        self.joining.at_the_door.insert(host, launcher);
        self.launched(host, link);
        self.timers.set(Timer::Connect(host), self.now + self.connect_timeout(host));
    }

    /// Turns a host away that is of no use to a run which goes on with others, and answers whether that was so: whatever is
    /// wrong is its machine's affair, and not the run's.
    pub(super) fn turned_away_late(&mut self, id: WorkerId, text: &str) -> bool {
        let worker = self.workers.get(id);
        let host = worker.host;
        let is_needed = match self.course {
            // If it is wrong with the run, others will say the same, and the last of them ends it.
            Course::Gathering => !self.is_anybody_beside(host),
            Course::Running => worker.active().is_some(),
            Course::Ending(_) | Course::Over => true,
        };
        if is_needed || !matches!(worker.spec.host, HostSpec::Joined(_)) {
            return false;
        }
        self.turn_away_host(host, text);
        true
    }

    fn is_anybody_beside(&self, host: HostId) -> bool {
        self.workers.all().any(|(_, worker)| worker.host != host && worker.is_in_use())
    }

    /// Turns a host on another machine away on which no worker can be started, and answers whether that was so: whatever it
    /// would be started with the next time is the same.
    pub(super) fn turned_away_unstarted(&mut self, id: WorkerId, text: &str) -> bool {
        let host = self.workers.get(id).host;
        let is_of_use = |life: &Life| !matches!(life, Life::Waiting | Life::Configuring | Life::Down);
        let is_running = matches!(self.course, Course::Gathering | Course::Running);
        if !is_running
            || self.workers.other_machine(host).is_none()
            || self.workers.all().any(|(_, worker)| worker.host == host && is_of_use(&worker.life))
        {
            return false;
        }
        // Over a new connection it would be the same.
        self.workers.host_mut(host).came_up = false;
        self.turn_away_host(host, text);
        true
    }

    /// The same, for an interpreter with which nothing can be run. Where nobody else is there, that is an error in what the user
    /// said, unless others may still join.
    pub(super) fn turned_away_unfit(&mut self, id: WorkerId, text: &str) -> bool {
        let worker = self.workers.get(id);
        let is_needed =
            !matches!(worker.spec.host, HostSpec::Joined(_)) && !self.is_anybody_beside(worker.host);
        !is_needed && self.turned_away_unstarted(id, text)
    }

    fn turn_away_host(&mut self, host: HostId, text: &str) {
        let text = text.trim().trim_start_matches("ERROR: ");
        self.dismiss(host, text);
        self.lose_host(host, format!("it takes no part, since {text}"), CloseReason::Done);
    }

    /// Tells a host that has dialled in why it is of no use, once: those who look at it see nothing of what the run tells.
    pub(super) fn dismiss(&mut self, host: HostId, text: &str) {
        let known = self.workers.host(host);
        let (HostSpec::Joined(_), HostLife::Open { link, .. }) = (&known.spec, &known.life) else { return };
        let link = *link;
        if self.joining.dismissed.insert(host) {
            let message = CoordinatorMessage::Dismissed(Dismissed { text: text.to_owned() });
            self.outputs.push_back(Output::Send { link, message });
        }
    }

    /// Gives a host that has dialled in its name and its workers, and says why it cannot have any.
    pub(super) fn admit_joiner(&mut self, host: HostId, hello: &Hello) -> Result<(), &'static str> {
        let Some(launcher) = self.joining.at_the_door.remove(&host) else { return Ok(()) };
        if matches!(self.course, Course::Ending(_) | Course::Over) {
            return Err("the run is ending and needs no more workers");
        }
        let launcher = launcher.and_then(|launcher| self.joining.launchers.get_mut(&launcher));
        let settings = launcher.map_or_else(WorkerSpec::default, |launcher| {
            launcher.hosts.push(host);
            launcher.template.clone()
        });
        let HostSpec::Joined(spec) = &mut self.workers.host_mut(host).spec else { return Ok(()) };
        if !hello.host.hostname.is_empty() {
            spec.name.clone_from(&hello.host.hostname);
        }
        let host_spec = HostSpec::Joined(spec.clone());
        tracing::info!(host = host.0, name = spec.name, slots = hello.slots, "a host joined");
        for _ in 0..hello.slots.min(MAX_WORKERS) {
            self.start_worker(WorkerSpec { id: None, host: host_spec.clone(), ..settings.clone() }, None);
        }
        Ok(())
    }

    /// A launcher has failed: whoever it should have started does not come.
    pub(super) fn launcher_failed(&mut self, host: HostId, error: &str) {
        let name = self.workers.host(host).spec.describe();
        self.lost_first(&name, error);
        self.report(RunEvent::HostLost { host: name, error: error.to_owned() });
        if let Some(launcher) = self.joining.launchers.get_mut(&host) {
            launcher.has_failed = true;
        }
        self.check_left();
    }
}

/// Takes the launchers out of these specifications. The first of them has the gate opened, so those come first that need
/// one which is open to other machines.
pub(super) fn launchers_among(specs: &mut Vec<WorkerSpec>) -> Vec<WorkerSpec> {
    let launchers = specs.extract_if(.., |spec| matches!(spec.host, HostSpec::Launcher(_)));
    let mut launchers: Vec<WorkerSpec> = launchers.collect();
    launchers.sort_by_key(|spec| !spec.host.wants_others_in());
    launchers
}
