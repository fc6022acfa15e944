//! Hosts and their links: launch, handshake, signs of life, loss.

use super::config::argument_there;
use super::input::{CloseCause, GarbledError};
use super::output::CloseReason;
use super::timer::Timer;
use super::violation::Violation;
use super::{Course, Output, RunEvent, Session};
use crate::workers::spec::{HostSpec, WorkerSpec};
use crate::workers::{Ending, HostId, HostLife, Life, LinkId, Pulse};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use xdist_proto::codec::CoordinatorOpening;
use xdist_proto::fetch::FEATURE_FETCH;
use xdist_proto::frame::MAX_FRAME_BYTES;
use xdist_proto::handshake::{Hello, Implementation, RefusalReason, Refused, Role, Welcome, negotiate};
use xdist_proto::message::{Collect, Configure, CoordinatorMessage, Ping, Wants, WorkerMessage};
use xdist_proto::sync;
use xdist_proto::version::{ProtocolVersion, VersionRange};
use xdist_proto::{RunId, WorkerId};

/// The longest payload on a host's link: what arrives there can be passed on to a frontend, with a few names and texts
/// more.
const HOST_FRAME_BYTES: u32 = MAX_FRAME_BYTES - (64 << 10);

/// The shortest wait that is ever set, so that no configuration makes the driver spin.
const SHORTEST: Duration = Duration::from_millis(1);

impl Session {
    /// Begins the life of a worker, on a host that is there or a new one.
    pub(super) fn start_worker(&mut self, spec: WorkerSpec, replaces: Option<WorkerId>) -> WorkerId {
        let (host, new) = self.workers.host_for(&spec.host);
        // A replacement is another worker, and what it leaves behind must not mix with its predecessor's.
        let name = if replaces.is_none() { spec.id.clone() } else { None };
        let worker = self.workers.add(spec, host, name);
        let name = self.workers.get(worker).name.clone();
        tracing::info!(%worker, name, "worker starting");
        let described = self.workers.get(worker).spec.to_string();
        self.report(RunEvent::WorkerStarting { worker, name, spec: described, replaces });
        if self.pytest_host.is_present() {
            self.ask_configuration(worker);
        }
        if new {
            self.timers.set(Timer::Connect(host), self.now + self.connect_timeout(host));
            self.launch(host);
        } else if matches!(self.workers.host(host).life, HostLife::Open { .. }) {
            self.configure_worker(worker);
        }
        worker
    }

    /// Has a host started.
    pub(super) fn launch(&mut self, host: HostId) {
        let spec = self.workers.host(host).spec.clone();
        self.outputs.push_back(Output::Launch { host, spec });
    }

    /// Tells a worker how to come up, unless that is still being asked.
    pub(super) fn configure_worker(&mut self, id: WorkerId) {
        let answered = self.pytest_host.input_of(id);
        if self.pytest_host.is_present() && answered.is_none() {
            return;
        }
        if !self.has_files(id) {
            return;
        }
        let worker = self.workers.get_mut(id);
        worker.life = Life::Configuring;
        let python = worker.spec.python.clone().unwrap_or_else(|| match worker.spec.host {
            HostSpec::Local => self.config.python.clone(),
            // The default interpreter is this machine's; the command may lead to another.
            HostSpec::Exec(_) | HostSpec::Ssh(_) | HostSpec::Launcher(_) | HostSpec::Joined(_) => Vec::new(),
        });
        let files = self.trees.asks(self.workers.get(id).host, self.is_anybody_elsewhere());
        let worker = self.workers.get(id);
        let copies = self.copies_of(id);
        let args: Vec<String> = self.config.args.iter().map(|text| argument_there(copies, text)).collect();
        let configure = Configure {
            worker: id,
            name: worker.name.clone(),
            worker_count: match (&self.plan, &self.config.workers) {
                (Some(plan), _) => self.worker_count(&plan.workers),
                (None, Some(workers)) => self.worker_count(workers),
                (None, None) => 0,
            },
            args: self.config.place.arguments(&worker.spec, copies).chain(args).collect(),
            python,
            chdir: self.config.place.directory_of(&worker.spec, copies),
            env: worker.spec.env.clone(),
            nice: worker.spec.nice,
            input: answered.unwrap_or_default(),
            wants: Wants {
                hooks: self.pytest_host.is_on_demand(),
                full: self.pytest_host.is_present(),
                debugger: self.config.wants.debugger && self.workers.other_machine_of(id).is_none(),
                files,
                ..self.config.wants.clone()
            },
            run: self.run_id().0,
            ramp_delay_ms: 0,
            start: self.config.start,
        };
        self.send(id, CoordinatorMessage::Configure(configure));
        self.send(id, CoordinatorMessage::Collect(Collect { worker: id }));
    }

    /// Whether there are workers on other machines, as far as that is known.
    fn is_anybody_elsewhere(&self) -> bool {
        self.workers.all().any(|(id, _)| self.workers.other_machine_of(id).is_some())
    }

    /// How long the host may take to come up.
    pub(super) fn connect_timeout(&self, host: HostId) -> Duration {
        let timeout = match self.workers.host(host).spec {
            // It is connected already, and only has to say hello.
            HostSpec::Joined(_) => self.config.timeouts.connect,
            HostSpec::Local | HostSpec::Exec(_) | HostSpec::Launcher(_) => self.config.timeouts.connect,
            HostSpec::Ssh(_) => self.config.timeouts.connect_far,
        };
        timeout.max(SHORTEST)
    }

    fn run_id(&self) -> RunId {
        self.plan.as_ref().map_or_else(|| self.config.run.clone(), |plan| plan.run.clone())
    }

    pub(super) fn launched(&mut self, host: HostId, link: LinkId) {
        if self.workers.knows_host(host) && matches!(self.workers.host(host).life, HostLife::Launching) {
            self.workers.set_link(host, link);
        } else {
            // It came up after it was given up.
            self.turn_away(link, CloseReason::Done);
        }
    }

    pub(super) fn launch_failed(&mut self, host: HostId, error: String) {
        if self.workers.knows_host(host) && matches!(self.workers.host(host).life, HostLife::Launching) {
            self.lose_host(host, error, CloseReason::Done);
        }
    }

    pub(super) fn opened(&mut self, link: LinkId, hello: &Hello) {
        let Some(host) = self.workers.host_of_link(link) else {
            if !self.turned_away.contains(&link) {
                let text = "this run takes only workers that it started itself";
                let refused = refusal(RefusalReason::NotNeeded, text);
                self.outputs
                    .push_back(Output::Answer { link, message: CoordinatorOpening::Refused(*refused) });
                self.turn_away(link, CloseReason::Refused);
            }
            return;
        };
        match self.workers.host(host).life {
            HostLife::Launched { .. } => {}
            HostLife::Open { .. } => return self.breach(host, &Violation::SecondHello),
            HostLife::Launching | HostLife::Closed => return,
        }
        if self.workers.host(host).is_launcher() {
            let text = "it speaks the protocol itself, so it is no launcher of others: leave out hosts=";
            return self.lose_host(host, text.to_owned(), CloseReason::Protocol(text.to_owned()));
        }
        let admitted = acceptance(hello).and_then(|version| {
            let admitted = self.admit_joiner(host, hello);
            admitted.map_err(|text| refusal(RefusalReason::NotNeeded, text)).map(|()| version)
        });
        match admitted {
            Ok(version) => {
                let features = features_in_force(&hello.features);
                let welcome = Welcome {
                    version,
                    features: features.clone(),
                    run: self.run_id(),
                    workers: self.workers.living_on(host),
                    heartbeat_ms: u64::try_from(self.config.timeouts.heartbeat.as_millis())
                        .unwrap_or(u64::MAX),
                    max_frame_bytes: HOST_FRAME_BYTES,
                };
                self.outputs
                    .push_back(Output::Answer { link, message: CoordinatorOpening::Welcome(welcome) });
                self.timers.cancel(Timer::Connect(host));
                self.timers.set(Timer::Ping(host), self.now + self.config.timeouts.heartbeat.max(SHORTEST));
                let pulse = Pulse { last_heard: self.now, unanswered: VecDeque::new() };
                let opened = self.workers.host_mut(host);
                opened.life = HostLife::Open { link, pulse };
                opened.came_up = true;
                opened.features = features;
                // As the user calls it, who may not know what it calls itself.
                let name = opened.spec.other_machine().map(str::to_owned);
                opened.name = name.unwrap_or_else(|| hello.host.hostname.clone());
                for worker in self.workers.living_on(host) {
                    // What one of them needs may have cost the host, and them all.
                    if !self.workers.get(worker).is_down() {
                        self.configure_worker(worker);
                    }
                }
            }
            Err(refused) => {
                let text = refused.text.clone();
                self.outputs
                    .push_back(Output::Answer { link, message: CoordinatorOpening::Refused(*refused) });
                self.lose_host(host, text, CloseReason::Refused);
            }
        }
    }

    /// Closes a link that belongs to no host of the run.
    fn turn_away(&mut self, link: LinkId, reason: CloseReason) {
        self.turned_away.insert(link);
        self.outputs.push_back(Output::Close { link, reason });
    }

    pub(super) fn received(&mut self, link: LinkId, message: WorkerMessage) {
        let Some(host) = self.workers.host_of_link(link) else { return };
        let now = self.now;
        let result = match &mut self.workers.host_mut(host).life {
            HostLife::Open { pulse, .. } => {
                pulse.last_heard = now;
                match message {
                    WorkerMessage::Pong(pong) => self.pong(host, pong.nonce),
                    WorkerMessage::Fetched(part) => self.fetched(host, part),
                    WorkerMessage::FetchDone(done) => self.fetch_done(host, done),
                    message => self.sync_message(host, message),
                }
            }
            HostLife::Launched { .. } => Err(Violation::Early),
            // What was under way when the link was closed.
            HostLife::Launching | HostLife::Closed => Ok(()),
        };
        if let Err(violation) = result {
            self.breach(host, &violation);
        }
    }

    pub(super) fn garbled(&mut self, link: LinkId, error: &GarbledError) {
        if let Some(host) = self.workers.host_of_link(link) {
            let text = format!("it does not keep to the protocol: {error}");
            self.lose_host(host, text, CloseReason::Protocol(error.to_string()));
        }
    }

    pub(super) fn breach(&mut self, host: HostId, violation: &Violation) {
        tracing::warn!(host = host.0, %violation, "protocol violation");
        let text = format!("it does not keep to the protocol: {violation}");
        self.lose_host(host, text, CloseReason::Protocol(violation.to_string()));
    }

    pub(super) fn closed(&mut self, link: LinkId, cause: &CloseCause) {
        let Some(host) = self.workers.host_of_link(link) else { return };
        let is_launcher = self.workers.host(host).is_launcher();
        let text = match cause {
            CloseCause::Failed(error) if is_launcher => error.clone(),
            CloseCause::EndOfStream => "it closed the link".to_owned(),
            CloseCause::Truncated => "it closed the link in the middle of a message".to_owned(),
            CloseCause::Failed(error) => format!("the link failed: {error}"),
            CloseCause::Explained(text) => text.clone(),
        };
        if self.workers.host(host).life.link().is_some() {
            self.forget_host(host);
            // A launcher that ends has done what it can: some only put something into a queue.
            if !(is_launcher && *cause == CloseCause::EndOfStream) {
                self.workers_lost(host, &text);
            }
        }
    }

    /// Gives up a host: closes its link if there is one, and takes its workers for crashed.
    pub(super) fn lose_host(&mut self, host: HostId, error: String, reason: CloseReason) {
        let life = &self.workers.host(host).life;
        if matches!(life, HostLife::Closed) {
            return;
        }
        if let Some(link) = life.link() {
            if reason == CloseReason::Done {
                self.dismiss(host, &error);
            }
            self.outputs.push_back(Output::Close { link, reason });
        }
        self.forget_host(host);
        self.workers_lost(host, &error);
    }

    /// Closes the link to a host that is not needed any more.
    pub(super) fn release_host(&mut self, host: HostId) {
        if let Some(link) = self.workers.host(host).life.link() {
            self.outputs.push_back(Output::Close { link, reason: CloseReason::Done });
        }
        self.forget_host(host);
    }

    fn forget_host(&mut self, host: HostId) {
        self.workers.host_mut(host).life = HostLife::Closed;
        self.forget_copies(host);
        for timer in [Timer::Connect(host), Timer::Ping(host), Timer::Silence(host), Timer::Fetch(host)] {
            self.timers.cancel(timer);
        }
    }

    /// The workers of a host that is gone are gone too. A host that has none left is not missed.
    fn workers_lost(&mut self, host: HostId, error: &str) {
        if self.workers.host(host).is_launcher() {
            return self.launcher_failed(host, error);
        }
        self.fetch_lost(host, error);
        let workers = self.workers.living_on(host);
        if workers.is_empty() {
            return;
        }
        let name = self.workers.host(host).spec.describe();
        self.report(RunEvent::HostLost { host: name, error: error.to_owned() });
        // The details, and what to do about it, were said once.
        let brief = error.lines().next().and_then(|line| line.split("; ").next()).unwrap_or(error);
        let departures = workers.into_iter().map(|worker| self.departure_with_host(worker, brief)).collect();
        self.depart(departures);
    }

    pub(super) fn ping_due(&mut self, host: HostId) {
        let nonce = self.random.u64(..);
        let HostLife::Open { link, pulse } = &mut self.workers.host_mut(host).life else { return };
        pulse.unanswered.push_back(nonce);
        let (link, last_heard) = (*link, pulse.last_heard);
        self.outputs.push_back(Output::Send { link, message: CoordinatorMessage::Ping(Ping { nonce }) });
        // Counted from when it was heard last, so that it is given up in time; but it must have been able to answer.
        let (patience, beat) = (self.config.timeouts.host.max(SHORTEST), self.config.timeouts.heartbeat);
        let due = (last_heard + patience).max(self.now + beat.min(patience).max(SHORTEST));
        self.timers.set_if_unset(Timer::Silence(host), due);
        self.timers.set(Timer::Ping(host), self.now + self.config.timeouts.heartbeat.max(SHORTEST));
    }

    fn pong(&mut self, host: HostId, nonce: u64) -> Result<(), Violation> {
        let HostLife::Open { pulse, .. } = &mut self.workers.host_mut(host).life else { return Ok(()) };
        let Some(at) = pulse.unanswered.iter().position(|&sent| sent == nonce) else {
            return Err(Violation::Pong { nonce });
        };
        pulse.unanswered.drain(..=at);
        if pulse.unanswered.is_empty() {
            self.timers.cancel(Timer::Silence(host));
        } else {
            self.timers.set(Timer::Silence(host), self.now + self.config.timeouts.host.max(SHORTEST));
        }
        Ok(())
    }

    /// A ping has gone unanswered for long; `late` is how long ago that was noticed too late.
    pub(super) fn silence_due(&mut self, host: HostId, late: Duration) {
        let patience = self.config.timeouts.host.max(SHORTEST);
        let HostLife::Open { pulse, .. } = &self.workers.host(host).life else { return };
        let heard_until = pulse.last_heard + patience;
        if late > self.config.timeouts.heartbeat.max(SHORTEST) {
            // It was this process that slept (a stopped job, a suspended machine): the answer may be waiting to be read.
            self.timers.set(Timer::Silence(host), self.now + patience);
        } else if heard_until > self.now {
            // Whatever else it sends is a sign of life too; its answer is behind that.
            self.timers.set(Timer::Silence(host), heard_until);
        } else {
            let text = format!("it has not answered for {} s", patience.as_secs_f64());
            self.lose_host(host, text, CloseReason::Silent);
        }
    }

    pub(super) fn connect_due(&mut self, host: HostId) {
        let text = format!("it did not connect within {} s", self.connect_timeout(host).as_secs_f64());
        self.lose_host(host, text, CloseReason::Silent);
    }

    /// The worker should have been reported down by now.
    pub(super) fn shutdown_due(&mut self, worker: WorkerId) {
        let (host, name) = (self.workers.get(worker).host, &self.workers.get(worker).name);
        let text = format!(
            "it did not report the end of {name} within {} s",
            self.config.timeouts.shutdown.as_secs_f64()
        );
        self.lose_host(host, text, CloseReason::Silent);
    }

    /// The worker should have ended by now.
    pub(super) fn finish_due(&mut self, worker: WorkerId) {
        let text =
            format!("it did not end within {} s and was killed", self.config.timeouts.finish.as_secs_f64());
        self.end_worker(worker, Ending::Shutdown(Some(text)), Duration::ZERO);
    }

    pub(super) fn expire(&mut self) {
        while let Some((timer, due)) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Connect(host) => self.connect_due(host),
                Timer::Ping(host) => self.ping_due(host),
                Timer::Silence(host) => self.silence_due(host, self.now - due),
                Timer::Muster => self.muster_due(),
                Timer::Ramp(worker) => self.ramp_due(worker),
                Timer::Finish(worker) => self.finish_due(worker),
                Timer::Shutdown(worker) => self.shutdown_due(worker),
                Timer::Fetch(host) => self.fetch_due(host),
            }
            if self.course == Course::Over {
                return;
            }
        }
    }
}

/// The version to speak with this peer, or why it is refused.
fn acceptance(hello: &Hello) -> Result<ProtocolVersion, Box<Refused>> {
    let version = negotiate(&ourselves(), VersionRange::SUPPORTED, hello)?;
    let problem = match (hello.role, hello.slots) {
        (Role::Worker, 1..) => return Ok(version),
        (Role::Worker, 0) => "a worker host needs at least one slot, and this one offers none",
        (Role::Frontend, _) => "this link is for a worker host, and what said hello is a frontend",
        (Role::Other, _) => "this coordinator does not know the role that was named: connect as a worker",
    };
    Err(refusal(RefusalReason::Unacceptable, problem))
}

/// The features that both sides have, each as far as the lesser side has it.
fn features_in_force(theirs: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let own = [(FEATURE_FETCH, 1), (sync::FEATURE, 1)].into_iter();
    own.filter_map(|(name, ours)| Some((name.to_owned(), ours.min(*theirs.get(name)?)))).collect()
}

fn refusal(reason: RefusalReason, text: &str) -> Box<Refused> {
    Box::new(Refused { reason, text: text.to_owned(), versions: VersionRange::SUPPORTED })
}

fn ourselves() -> Implementation {
    Implementation { name: "xdist".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}
