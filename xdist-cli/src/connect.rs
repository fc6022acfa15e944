//! `xdist connect`: the ways to worker hosts on other machines. What follows is about ssh; the others are in
//! [`launcher`].
//!
//! The coordinator starts it in place of a host. It runs ssh, has the far side start `xdist worker --stdio`, after sending
//! it this very program where it is not there, and then passes bytes in both directions. What it says on standard output
//! is why it could not go on; the coordinator tells that.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell module: every thread does one blocking thing, and the waits have deadlines"
)]

mod greeting;

mod launcher;

mod script;

mod slurm;

mod trouble;

use crate::args::{ConnectArgs, Means, SshArgs, VerifyArgs};
use crate::exit_code::ExitCode;
use anyhow::Context;
use greeting::{Heard, Listener};
use rustix::event::{PollFd, PollFlags, poll};
use script::{Answer, Key, Other};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use trouble::{Far, Stage, Trouble};

/// There is nobody to ask for a password, and no terminal to ask at.
const QUIETLY: [&str; 3] = ["-T", "-o", "BatchMode=yes"];

/// How many events may wait.
const QUEUED_EVENTS: usize = 256;

/// How many of ssh's last lines are looked at for the reason of a failure.
const REMEMBERED_LINES: usize = 20;

/// The longest line that is passed on as one.
const MAX_LINE_BYTES: u64 = 8 << 10;

/// How much of the program is sent between two signs of life.
const SENT_AT_ONCE: usize = 1 << 20;

/// How long ssh may take to end once its output has.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// How long the last lines are waited for after a failure. A connection that it shares with others may keep them open.
const LAST_LINES_GRACE: Duration = Duration::from_secs(1);

/// How long a line is kept that may be the last one, and so the reason of a failure, which is told otherwise.
const HELD_FOR: Duration = Duration::from_millis(300);

/// Answers whether this program is what it should be: it says the hash if it is, and otherwise ends with a code of its own,
/// so that it cannot be taken for a program that could not be started.
#[expect(clippy::print_stdout, reason = "it is the answer")]
pub(crate) fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let hash = xdist_worker::own_hash().context("cannot read this program's file")?;
    if hash != args.hash {
        return Ok(ExitCode::Own(script::DAMAGED));
    }
    println!("{hash}");
    Ok(ExitCode::Ok)
}

/// Connects, and passes on until either side ends.
///
/// # Errors
/// When the link cannot be used, or ssh cannot be started.
pub(crate) fn connect(args: ConnectArgs) -> anyhow::Result<ExitCode> {
    let link = xdist_worker::inherited_link(args.link_fd)
        .with_context(|| format!("descriptor {} is no link to a coordinator", args.link_fd))?;
    // ssh may leave a process behind that others share, which must not hold the link.
    rustix::io::fcntl_setfd(&link, rustix::io::FdFlags::CLOEXEC)?;
    let patience = Duration::try_from_secs_f64(args.patience).context("--patience")?;
    let outcome = match args.means {
        Means::Ssh(ssh) => Connection::open(&ssh, link, patience)
            .and_then(Connection::serve)
            .map_err(|trouble| trouble.to_string()),
        Means::Launch(launch) => launcher::run_words(&launch.words, link),
        Means::Slurm(slurm) => slurm::run(&slurm, link),
    };
    match outcome {
        Ok(()) => Ok(ExitCode::Ok),
        Err(trouble) => {
            tell(&trouble);
            Ok(ExitCode::TestsFailed)
        }
    }
}

fn tell(trouble: &str) {
    // The coordinator reads it, if it is still there.
    let _ = writeln!(io::stdout(), "{trouble}");
}

/// What the threads of a connection report.
enum Event {
    /// ssh or the far side has written this line to standard error.
    Said(String),
    /// Standard error is closed.
    Silent,
    /// The far side has answered.
    Answered(Answer),
    /// A part of the program was sent.
    Sent,
    /// All of it was sent, or that failed; here is the pipe back.
    SentAll(io::Result<ChildStdin>),
    /// The coordinator has closed the link.
    LinkEnded,
    /// The far side's output is at its end.
    FarEnded,
}

/// A running ssh.
struct Connection {
    ssh: Child,
    /// Until it is handed to a thread.
    stdin: Option<ChildStdin>,
    link: UnixStream,
    far: Far,
    /// What the far side has besides.
    other: Other,
    events: Receiver<Event>,
    sender: SyncSender<Event>,
    patience: Duration,
    /// The last lines on standard error.
    said: VecDeque<String>,
    /// The last of them, as long as it may be why there is no way: then it is told as that, and not twice.
    held: Option<String>,
    stage: Stage,
}

impl Connection {
    fn open(args: &SshArgs, link: OwnedFd, patience: Duration) -> Result<Self, Trouble> {
        let key = Key::new().map_err(|error| Trouble::local("cannot read this program's file", &error))?;
        let mut command = command(args, &key)?;
        let program = command.get_program().to_string_lossy().into_owned();
        let mut ssh = command.spawn().map_err(|error| Trouble::no_ssh(&program, &error))?;
        let (stdin, stdout, stderr) = (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take());
        let (sender, events) = sync_channel(QUEUED_EVENTS);
        let connection = Self {
            ssh,
            stdin,
            link: UnixStream::from(link),
            far: Far::new(args),
            other: Other::default(),
            events,
            sender,
            patience,
            said: VecDeque::new(),
            held: None,
            stage: Stage::Login,
        };
        if let (Some(stdout), Some(stderr)) = (stdout, stderr) {
            let (to_link, watched) = (connection.share_link()?, connection.share_link()?);
            let listener = key.listener();
            connection.start("watch", move |sender| {
                await_end_of(&watched);
                let _ = sender.send(Event::LinkEnded);
            })?;
            connection.start("standard error", move |sender| {
                read_lines(stderr, |line| sender.send(Event::Said(line)).is_ok());
                let _ = sender.send(Event::Silent);
            })?;
            connection.start("output", move |sender| listen(stdout, &listener, to_link, &sender))?;
        }
        Ok(connection)
    }

    fn share_link(&self) -> Result<UnixStream, Trouble> {
        self.link.try_clone().map_err(|error| Trouble::local("cannot share the link", &error))
    }

    fn start(
        &self,
        name: &str,
        body: impl FnOnce(SyncSender<Event>) + Send + 'static,
    ) -> Result<(), Trouble> {
        start(name, &self.sender, body).map_err(|error| Trouble::local("cannot start a thread", &error))
    }

    /// Until either end ends.
    fn serve(mut self) -> Result<(), Trouble> {
        let outcome = self.converse();
        if let Err(trouble) = &outcome {
            let trouble = trouble.to_string();
            self.held.take_if(|line| trouble.contains(line.trim()));
        }
        self.pass_on_held();
        outcome
    }

    fn converse(&mut self) -> Result<(), Trouble> {
        loop {
            match self.next_event()? {
                Event::Said(line) => self.hear(line),
                Event::Silent | Event::Sent => {}
                Event::Answered(answer) => self.answered(answer)?,
                Event::SentAll(Ok(stdin)) => self.stdin = Some(stdin),
                // Why it could not be sent is what ssh ends with.
                Event::SentAll(Err(error)) => tracing::debug!(%error, "the program was not sent"),
                Event::FarEnded => return Err(self.ended()),
                Event::LinkEnded => {
                    self.wait_for_the_end();
                    return Ok(());
                }
            }
        }
    }

    fn next_event(&mut self) -> Result<Event, Trouble> {
        if self.stage == Stage::Open {
            self.pass_on_held();
            return self.events.recv().map_err(|_| self.far.silent(self.stage, Duration::ZERO));
        }
        // It may ask for something, as a key does that wants to be touched.
        if self.held.is_some() {
            if let Ok(event) = self.events.recv_timeout(HELD_FOR.min(self.patience)) {
                return Ok(event);
            }
            self.pass_on_held();
        }
        self.events.recv_timeout(self.patience).map_err(|_| self.far.silent(self.stage, self.patience))
    }

    fn hear(&mut self, line: String) {
        self.pass_on_held();
        self.held = Some(line.clone());
        self.said.push_back(line);
        if self.said.len() > REMEMBERED_LINES {
            self.said.pop_front();
        }
    }

    #[expect(clippy::print_stderr, reason = "it is meant for people")]
    fn pass_on_held(&mut self) {
        if let Some(line) = self.held.take() {
            eprintln!("[{}] {line}", self.far.machine);
        }
    }

    fn answered(&mut self, answer: Answer) -> Result<(), Trouble> {
        match answer {
            Answer::Absent { writable, other } => {
                self.other = other;
                let is_ours = self.other.is_our_platform();
                if is_ours && writable {
                    return self.send_program();
                }
                self.use_installed().unwrap_or_else(|| {
                    self.hear_last_lines();
                    Err(match is_ours {
                        true => self.far.unwritable(&self.other, &self.said),
                        false => self.far.other_platform(&self.other),
                    })
                })
            }
            Answer::Full => {
                self.hear_last_lines();
                Err(self.far.full(&self.said))
            }
            Answer::Unusable(code) => self.use_installed().unwrap_or_else(|| {
                self.hear_last_lines();
                Err(self.far.unusable(code, &self.other, &self.said))
            }),
            Answer::Ready => self.relay(),
        }
    }

    fn send_program(&mut self) -> Result<(), Trouble> {
        let program =
            script::program().map_err(|error| Trouble::local("cannot read this program's file", &error))?;
        self.reply(move |stdin, sender| send(stdin, program, sender))
    }

    /// Has the far side use what is installed there, if it is of our version.
    fn use_installed(&mut self) -> Option<Result<(), Trouble>> {
        let fits = self.other.has_our_version();
        fits.then(|| self.reply(|stdin, _| stdin.write_all(b"installed\n")))
    }

    fn reply(
        &mut self,
        write: impl FnOnce(&mut ChildStdin, &SyncSender<Event>) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Trouble> {
        self.stage = Stage::Sending;
        let mut stdin = self.take_stdin()?;
        self.start("sender", move |sender| {
            let sent = write(&mut stdin, &sender).map(|()| stdin);
            let _ = sender.send(Event::SentAll(sent));
        })
    }

    /// The pipe to the far side, which comes back a moment after the last byte has gone through it, and so perhaps after
    /// the answer to that.
    fn take_stdin(&mut self) -> Result<ChildStdin, Trouble> {
        loop {
            if let Some(stdin) = self.stdin.take() {
                return Ok(stdin);
            }
            match self.next_event()? {
                Event::SentAll(Ok(stdin)) => self.stdin = Some(stdin),
                Event::Said(line) => self.hear(line),
                Event::Sent | Event::Silent => {}
                Event::SentAll(Err(_)) | Event::FarEnded | Event::Answered(_) | Event::LinkEnded => {
                    return Err(self.ended());
                }
            }
        }
    }

    /// From now on all bytes are the protocol's.
    fn relay(&mut self) -> Result<(), Trouble> {
        let mut stdin = self.take_stdin()?;
        self.stage = Stage::Open;
        let mut link = self.share_link()?;
        self.start("link", move |_| {
            // Whichever of the two has ended, the far side is told by the end of its input.
            let _ = xdist_worker::relay(&mut link, &mut stdin);
        })
    }

    /// The coordinator needs us no more. If the far side is up, it is told so by the end of its input.
    fn wait_for_the_end(&mut self) {
        let deadline = Instant::now() + EXIT_GRACE;
        while self.stage == Stage::Open
            && let Ok(event) = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            match event {
                Event::Said(line) => self.hear(line),
                Event::FarEnded => break,
                Event::Silent | Event::Answered(_) | Event::Sent | Event::SentAll(_) | Event::LinkEnded => {}
            }
        }
    }

    /// The far side has ended: why?
    fn ended(&mut self) -> Trouble {
        let status = self.exit_status();
        self.hear_last_lines();
        self.far.ended(self.stage, status, &self.said)
    }

    /// What is said about a failure comes another way than the failure, and so perhaps a moment later.
    fn hear_last_lines(&mut self) {
        let deadline = Instant::now() + LAST_LINES_GRACE;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Said(line)) => self.hear(line),
                Ok(Event::Silent) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// How ssh ended; `None` if it does not.
    fn exit_status(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + EXIT_GRACE;
        loop {
            match self.ssh.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => thread::park_timeout(Duration::from_millis(5)),
                Ok(None) | Err(_) => {
                    let _ = self.ssh.kill();
                    return None;
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

/// What runs ssh.
fn command(args: &SshArgs, key: &Key) -> Result<Command, Trouble> {
    let words = shlex::split(&args.ssh).unwrap_or_default();
    let Some((program, options)) = words.split_first() else { return Err(Trouble::no_words(&args.ssh)) };
    let mut command = Command::new(program);
    command.args(options);
    let mut hops: VecDeque<Vec<String>> = args.via.iter().filter_map(|words| shlex::split(words)).collect();
    let config = args.ssh_config.iter().flat_map(|config| ["-F", config]);
    hops.push_back(config.chain(args.words.iter().map(String::as_str)).map(str::to_owned).collect());
    let nearest = hops.pop_front().unwrap_or_default();
    // What is run on each machine is ssh to the next, and on the last the host.
    let remote = hops.iter().rev().try_fold(key.command(), |remote, words| {
        let words = QUIETLY.iter().copied().chain(words.iter().map(String::as_str));
        shlex::try_join(std::iter::once("ssh").chain(words).chain([remote.as_str()]))
    });
    let remote = remote.map_err(|_| Trouble::no_words(&args.ssh))?;
    command.args(QUIETLY).args(nearest).arg(remote);
    command.env_remove(xdist_coord::launch::LINK_FD_VARIABLE);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Sends the program, after its length.
fn send(
    stdin: &mut ChildStdin,
    (mut program, length): (File, u64),
    sender: &SyncSender<Event>,
) -> io::Result<()> {
    stdin.write_all(format!("send {length}\n").as_bytes())?;
    let mut buffer = vec![0; SENT_AT_ONCE];
    let mut left = length;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(SENT_AT_ONCE).min(SENT_AT_ONCE);
        let count = program.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stdin.write_all(&buffer[..count])?;
        left -= count as u64;
        let _ = sender.send(Event::Sent);
    }
    Ok(())
}

/// Starts a thread that reports to this sender.
fn start<E: Send + 'static>(
    name: &str,
    sender: &SyncSender<E>,
    body: impl FnOnce(SyncSender<E>) + Send + 'static,
) -> io::Result<()> {
    let sender = sender.clone();
    thread::Builder::new().name(name.to_owned()).spawn(move || body(sender)).map(drop)
}

/// Waits for the end of the link, whatever is still to be read from it.
fn await_end_of(link: &UnixStream) {
    // That the other end is gone is reported without being asked for.
    while let Err(rustix::io::Errno::INTR) = poll(&mut [PollFd::new(link, PollFlags::empty())], None) {}
}

/// Reads lines until there are no more, or nobody takes them.
fn read_lines(from: impl Read, mut take: impl FnMut(String) -> bool) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if !take(String::from_utf8_lossy(&line).trim_end().to_owned()) => return,
            Ok(_) => {}
        }
    }
}

/// Reports the answers among what a login shell prints, until the worker host is up; then passes on what it says.
fn listen(stdout: impl Read, listener: &Listener, mut link: UnixStream, sender: &SyncSender<Event>) {
    let mut reader = BufReader::new(stdout);
    loop {
        match listener.next(&mut reader) {
            Ok(Heard::Answer(answer)) => {
                let is_last = answer == Answer::Ready;
                if sender.send(Event::Answered(answer)).is_err() {
                    return;
                }
                if is_last {
                    break;
                }
            }
            Ok(Heard::End) | Err(_) => {
                let _ = sender.send(Event::FarEnded);
                return;
            }
        }
    }
    let _ = xdist_worker::relay(&mut reader, &mut link);
    let _ = sender.send(Event::FarEnded);
}
