//! `xdist connect launch` and `xdist connect slurm`: look after a command that has worker hosts dial in.
//!
//! The coordinator starts it in place of a host, whose link it only watches: with its end the command has to end too, also
//! one that waits in a queue, and however the coordinator went. It is given time to end together with its hosts, then it is
//! told to end, and then it is ended.

use super::trouble::in_words;
use super::{LAST_LINES_GRACE, QUEUED_EVENTS, REMEMBERED_LINES, await_end_of, read_lines, start};
use rustix::process::{Signal, getpgrp, kill_process_group, setpgid};
use signal_hook::consts::SIGTERM;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// How long the command may take to end together with its hosts, which end with the run.
const END_GRACE: Duration = Duration::from_secs(2);

/// How long it may take to end when it is told to.
const TERMINATION_GRACE: Duration = Duration::from_secs(10);

/// What the threads report.
#[derive(Debug)]
enum Event {
    /// The command has written this line.
    Said(String),
    /// Nobody can write any more.
    Silent,
    /// The command has ended.
    Exited(io::Result<ExitStatus>),
    /// The coordinator has closed the link, or is gone.
    LinkEnded,
    /// Somebody wants this process to end.
    Terminated,
}

/// A command that could not do its work.
#[derive(Debug)]
pub(super) enum Failure {
    /// It cannot be started.
    Start(io::Error),
    /// It has ended before its time, and said this last.
    Ended(ExitStatus, VecDeque<String>),
}

impl Failure {
    /// Why, in words; `name` is what the user calls the command.
    pub(super) fn describe(&self, name: &str) -> String {
        match self {
            Self::Start(error) => {
                format!("cannot start {name}: {error}; check that the program exists and may be executed")
            }
            Self::Ended(status, said) => {
                // Some frame what they say with rulers.
                let says_something = |line: &&String| line.chars().any(char::is_alphanumeric);
                let last = said.iter().rev().find(says_something);
                let last = last.map(|line| format!("; it said last: {line}")).unwrap_or_default();
                format!("it ended with {}{last}", in_words(*status))
            }
        }
    }
}

/// Runs a command that is given in words.
///
/// # Errors
/// Why it could not do its work, in words.
pub(super) fn run_words(words: &[String], link: OwnedFd) -> Result<(), String> {
    let name = words.first().map_or("", String::as_str);
    let mut command = Command::new(name);
    command.args(words.iter().skip(1));
    run(command, link).map_err(|failure| failure.describe(name))
}

/// Runs the command until it ends, or the coordinator wants it to.
///
/// # Errors
/// [`Failure`] when it ends otherwise than well and by itself.
pub(super) fn run(command: Command, link: OwnedFd) -> Result<(), Failure> {
    lead_group().map_err(Failure::Start)?;
    Watched::start(command, UnixStream::from(link)).map_err(Failure::Start)?.see_out()
}

/// Makes this process' group its own and the command's, so that both it and what it starts can be told to end.
fn lead_group() -> io::Result<()> {
    if getpgrp() != rustix::process::getpid() {
        setpgid(None, None)?;
    }
    Ok(())
}

/// A running command.
#[derive(Debug)]
struct Watched {
    events: Receiver<Event>,
    said: VecDeque<String>,
}

impl Watched {
    fn start(mut command: Command, link: UnixStream) -> io::Result<Self> {
        let (sender, events) = sync_channel(QUEUED_EVENTS);
        // Before there is anything to end.
        let mut signals = signal_hook::iterator::Signals::new([SIGTERM])?;
        let (reader, writer) = io::pipe()?;
        command.env_remove(xdist_coord::launch::LINK_FD_VARIABLE);
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn()?;
        // It has the writing ends, which would otherwise keep the pipe open.
        drop(command);
        start("signals", &sender, move |sender| {
            for _ in &mut signals {
                let _ = sender.send(Event::Terminated);
            }
        })?;
        start("watch", &sender, move |sender| {
            await_end_of(&link);
            let _ = sender.send(Event::LinkEnded);
        })?;
        start("output", &sender, move |sender| {
            read_lines(reader, |line| sender.send(Event::Said(line)).is_ok());
            let _ = sender.send(Event::Silent);
        })?;
        start("wait", &sender, move |sender| _ = sender.send(Event::Exited(child.wait())))?;
        Ok(Self { events, said: VecDeque::new() })
    }

    fn see_out(mut self) -> Result<(), Failure> {
        loop {
            match self.events.recv() {
                Ok(Event::Exited(status)) => return self.judge(status),
                Ok(Event::LinkEnded) => break self.end(),
                Ok(Event::Terminated) => break self.terminate(),
                Ok(event) => self.note(event),
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// The run is over, and with it the command's hosts.
    fn end(&mut self) {
        if !self.ends_within(END_GRACE) {
            self.terminate();
        }
    }

    /// Tells the command to end, and sees to it.
    fn terminate(&mut self) {
        let group = getpgrp();
        // This process hears it too, and knows.
        let _ = kill_process_group(group, Signal::TERM);
        if !self.ends_within(TERMINATION_GRACE) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Whether the command ends in time.
    fn ends_within(&mut self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Exited(_)) => return true,
                Ok(event) => self.note(event),
                Err(_) => return false,
            }
        }
    }

    fn judge(&mut self, status: io::Result<ExitStatus>) -> Result<(), Failure> {
        self.hear_last_lines();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::Ended(status, std::mem::take(&mut self.said))),
            Err(error) => Err(Failure::Start(error)),
        }
    }

    /// Others may hold the pipe open, whom nobody waits for.
    fn hear_last_lines(&mut self) {
        let deadline = Instant::now() + LAST_LINES_GRACE;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Silent) | Err(_) => return,
                Ok(event) => self.note(event),
            }
        }
    }

    /// Passes on what is said.
    fn note(&mut self, event: Event) {
        let Event::Said(line) = event else { return };
        // Nobody may be there any more to read it.
        let _ = writeln!(io::stderr(), "{line}");
        self.said.push_back(line);
        if self.said.len() > REMEMBERED_LINES {
            self.said.pop_front();
        }
    }
}
