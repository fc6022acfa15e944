//! What the server has to do with the pytest host: starts it, tells it everything, hears it, and waits for it in the end.
#![expect(clippy::disallowed_methods, reason = "a shell module: this is where the clock is read")]

mod link;

pub(super) use link::PytestHostLink;

use super::{EVENTS_PER_TURN, PytestHostSource, Server, ServerError};
use crate::launch::{HostProcess, launch_pytest_host};
use crate::session::event::{RunEnd, RunEvent, RunSummary, StopReason};
use crate::session::input::Input;
use mio::Events;
use std::collections::BTreeMap;
use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use xdist_proto::WorkerId;

/// How many events are kept for a pytest host that may be started. Only starting workers come before that.
const MAX_KEPT_EVENTS: usize = 10_000;

/// How often to look whether the pytest host's process is still there. Its end is mostly noticed by that of its link, but
/// what it has started may hold that open.
const PYTEST_HOST_CHECK: Duration = Duration::from_secs(1);

/// How often to look for signals while a process is waited for.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);

/// How the pytest host was parted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    /// It has dealt with everything, as far as that is known.
    Heard,
    /// It was gone before that.
    Gone,
    /// The user did not want to wait for it.
    Interrupted,
}

impl Server<'_> {
    /// Tells the pytest host, or keeps it for one that may still be started.
    pub(super) fn tell_pytest_host(&mut self, event: RunEvent) {
        match (&mut self.pytest_host, &self.pytest_host_source) {
            (Some(pytest_host), _) => pytest_host.tell(event),
            (None, PytestHostSource::Command(_)) => {
                if matches!(event, RunEvent::Configured(_)) {
                    // The run goes on without one.
                    self.pytest_host_source = PytestHostSource::None;
                    self.told_so_far.clear();
                } else if self.told_so_far.len() < MAX_KEPT_EVENTS {
                    self.told_so_far.push(event);
                }
            }
            (None, PytestHostSource::None | PytestHostSource::Link(_)) => {}
        }
    }

    /// Asks the pytest host about a worker.
    pub(super) fn ask_configuration(&mut self, worker: WorkerId) {
        match &mut self.pytest_host {
            Some(pytest_host) if !pytest_host.leaves_nodes_alone() => pytest_host.ask_configuration(worker),
            Some(_) => {
                self.session.handle(Input::NodeConfigured { worker, input: BTreeMap::new() }, Instant::now())
            }
            // It could not be started, and the session knows.
            None => {}
        }
    }

    /// Starts the pytest host, or listens to the one that there is, and tells it what has happened so far.
    pub(super) fn start_pytest_host(&mut self) {
        let source = std::mem::replace(&mut self.pytest_host_source, PytestHostSource::None);
        let started = match source {
            PytestHostSource::None => Err("there is none".to_owned()),
            PytestHostSource::Link(socket) => Ok((socket, None)),
            PytestHostSource::Command(command) => command()
                .and_then(|command| launch_pytest_host(command).map_err(|error| error.to_string()))
                .map(|(socket, process)| (socket, Some(process))),
        };
        let link = started.and_then(|(socket, process)| {
            PytestHostLink::new(socket, process, self.poll.registry()).map_err(|error| error.to_string())
        });
        match link {
            Ok(mut link) => {
                for event in std::mem::take(&mut self.told_so_far) {
                    link.tell(event);
                }
                self.pytest_host = Some(link);
                // Whoever draws on the terminal now is the pytest host.
                self.keyboard = None;
                self.observer.handed_over();
            }
            // Not through `handle`: the session's further outputs are being carried out already.
            Err(error) => self.session.handle(Input::PytestHostLost { error }, Instant::now()),
        }
    }

    /// Reads from the pytest host for one turn.
    pub(super) fn read_pytest_host(&mut self) {
        if !std::mem::take(&mut self.pytest_host_readable) {
            return;
        }
        let Some(pytest_host) = &mut self.pytest_host else { return };
        let turn = pytest_host.read(&mut self.scratch);
        self.pytest_host_readable = turn.more;
        for input in turn.inputs {
            self.handle(input);
        }
        if let Some(error) = turn.lost {
            self.lose_pytest_host(error);
        }
    }

    /// Notices that the pytest host has ended although its link has not.
    pub(super) fn check_pytest_host(&mut self) {
        if self.pytest_host.as_mut().is_some_and(PytestHostLink::has_ended) {
            self.lose_pytest_host_after_reading(
                "its process is gone, and something that it started holds its link",
            );
        }
    }

    /// The pytest host is gone. What it said last may say more about that, and so be the better reason.
    pub(super) fn lose_pytest_host_after_reading(&mut self, error: &str) {
        self.pytest_host_readable = true;
        while self.pytest_host_readable {
            self.read_pytest_host();
        }
        self.lose_pytest_host(error.to_owned());
    }

    fn lose_pytest_host(&mut self, error: String) {
        if self.summary.is_some() {
            // The session is over, and hears of nothing more: `end_pytest_host` finds that it is gone.
            return;
        }
        let Some(pytest_host) = self.pytest_host.take() else { return };
        self.pytest_host_readable = false;
        let process = pytest_host.hang_up(self.poll.registry());
        let status =
            process.and_then(|mut process| process.wait_until(Instant::now() + process.exit_grace()));
        let error = match status {
            Some(status) => format!("{error}; its process ended with {status}"),
            None => error,
        };
        // One that has nothing to complain of is gone too early all the same.
        self.lost_pytest_host = status.filter(|status| !status.success());
        self.handle(Input::PytestHostLost { error });
    }

    /// Tells the pytest host that the run is over, waits until it knows everything, and until it has ended. That may take
    /// as long as its plugins like, unless the user interrupts it.
    pub(super) fn end_pytest_host(
        &mut self,
        summary: &mut RunSummary,
    ) -> Result<Option<ExitStatus>, ServerError> {
        let Some(mut pytest_host) = self.pytest_host.take() else { return Ok(self.lost_pytest_host) };
        pytest_host.finish(summary);
        let parting = self.send_the_rest(&mut pytest_host)?;
        let process = pytest_host.hang_up(self.poll.registry());
        let ended = match (parting, process) {
            (Parting::Heard | Parting::Gone, None) => return Ok(None),
            (Parting::Heard | Parting::Gone, Some(process)) => self.see_out(process),
            (Parting::Interrupted, _) => None,
        };
        let Some(status) = ended else {
            summary.end = RunEnd::Stopped(StopReason::Interrupted);
            return Ok(None);
        };
        // What it exits with after that is its plugins' business. Whoever is killed has not come to its end.
        if parting == Parting::Gone || status.code().is_none() {
            self.observe_loss(status);
            summary.end = RunEnd::Stopped(StopReason::PytestHostLost);
            return Ok(Some(status).filter(|status| !status.success()));
        }
        Ok(Some(status))
    }

    /// Tells those who watch what the session cannot, which is over.
    fn observe_loss(&mut self, status: ExitStatus) {
        let host = "the pytest host".to_owned();
        let error = format!("it is gone before it has come to its end; its process ended with {status}");
        for event in [RunEvent::HostLost { host, error }, RunEvent::Stopping(StopReason::PytestHostLost)] {
            self.observer.event(&event, Instant::now());
        }
    }

    /// Waits until the pytest host has dealt with everything.
    fn send_the_rest(&mut self, pytest_host: &mut PytestHostLink) -> Result<Parting, ServerError> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        loop {
            // What it has said before it ended is read afterwards.
            let has_ended = pytest_host.has_ended();
            let turn = pytest_host.read(&mut self.scratch);
            let is_unreachable = pytest_host.flush(self.poll.registry()).is_err();
            if pytest_host.has_heard_all() {
                return Ok(Parting::Heard);
            }
            if turn.lost.is_some() || is_unreachable || (has_ended && !turn.more) {
                return Ok(Parting::Gone);
            }
            let wait = if turn.more { Some(Duration::ZERO) } else { pytest_host.check_interval() };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
            if self.signals.ending() > 0 {
                return Ok(Parting::Interrupted);
            }
        }
    }

    /// Waits for the pytest host to end; `None` if the user does not want to. Then it is ended.
    fn see_out(&mut self, mut process: HostProcess) -> Option<ExitStatus> {
        loop {
            let status = process.wait_until(Instant::now() + SIGNAL_CHECK);
            if status.is_some() || self.signals.ending() > 0 {
                return status;
            }
        }
    }
}
