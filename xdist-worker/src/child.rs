//! The process of a runner: how it is started, signalled and collected, and its command socket and status page.

use crate::image::Image;
use crate::python_half::PythonHalf;
use crate::runner::{Command as RunnerCommand, STATUS_BYTES, Status};
use crate::sys::{self, Reaped};
use command_fds::CommandFdExt;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use xdist_proto::CoordinatorMessage;
use xdist_proto::codec;
use xdist_proto::message::Configure;

/// Starts the Python half: its directory comes first on `sys.path`, until `main` takes it out again. An interpreter that
/// cannot read that says so: any version can read this.
const BOOT: &str = "import sys, os, struct\n\
                    if sys.version_info < (3, 9):\n    \
                        version = ('%d.%d' % sys.version_info[:2]).encode()\n    \
                        os.write(int(sys.argv[3]), struct.pack('>IB', len(version) + 1, 0xc1) + version)\n    \
                        os._exit(4)\n\
                    sys.path.insert(0, sys.argv[1])\n\
                    from xdist_pytest.runner import main\n\
                    main(*map(int, sys.argv[2:7]))";

/// In place of a descriptor: there is no offer of an image.
const NO_DESCRIPTOR: i32 = -1;

/// What is started where the coordinator names nothing.
const DEFAULT_PYTHON: &str = "python3";

/// What somebody does whose interpreter cannot be used.
pub(crate) const OTHER_PYTHON: &str = "choose another with --python, or with python= in --tx";

/// What somebody does whose interpreter did not start for this reason.
fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM) => {
            "raise the limit (ulimit -n for files, ulimit -u for processes), or start fewer workers (-n)"
        }
        _ => OTHER_PYTHON,
    }
}

/// A runner could not be started. The text goes to the person at the coordinator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SpawnError {
    /// The interpreter did not start.
    #[error("cannot start the Python interpreter {program:?}: {source}; {}", remedy(source))]
    Interpreter {
        /// What was to be started.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory to start in cannot be had.
    #[error("cannot use the directory {path:?} to start in: {source}; name another with chdir= in --tx")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The tree of tests is not on this machine.
    #[error(
        "there is no directory {path:?} on {machine}; have the tests copied there with --sync ., put them into it (a shared \
         file system, a checkout), or name the directory that has them with chdir= in --tx"
    )]
    NoTree {
        /// The directory.
        path: PathBuf,
        /// What this machine calls itself.
        machine: String,
    },
    /// What all runners need cannot be put anywhere.
    #[error("{0}")]
    Ground(String),
    /// The priority cannot be set.
    #[error("cannot set the priority that nice={nice} in --tx asks for: {source}; only root may go below 0")]
    Priority {
        /// What was asked for.
        nice: i32,
        /// What the system says.
        source: io::Error,
    },
    /// The system has no more descriptors, memory or threads to give.
    #[error("cannot prepare a worker process: {0}; fewer workers (-n) need fewer descriptors and processes")]
    Resources(#[source] io::Error),
}

/// What all runners of a host share.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) half: &'a PythonHalf,
    /// Where the runners of one run agree on things; removed at its end.
    pub(crate) run_directory: &'a Path,
    /// Whether a directory that is missing is an error.
    pub(crate) existing_directories: bool,
}

/// A runner's process. Killed with its whole group when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    reaped: bool,
    commands: CommandSocket,
    status: File,
    configuration: File,
}

/// The host's ends of a new runner's pipes, for the threads that read them.
#[derive(Debug)]
pub(crate) struct ChildPipes {
    pub(crate) events: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Both sides of what connects the host and a runner, the standard streams apart.
struct Connection {
    commands: CommandSocket,
    events: OwnedFd,
    status: File,
    configuration: File,
    /// The runner's descriptors: commands, events, status, configuration.
    runner: [OwnedFd; 4],
}

impl Connection {
    fn new(configure: &Configure) -> io::Result<Self> {
        let (commands, runner_end) = CommandSocket::pair()?;
        let (events, events_writer) = io::pipe()?;
        let status = memory_file("xdist-status", &Status::INITIAL)?;
        let payload = codec::encode(&CoordinatorMessage::Configure(configure.clone()));
        let configuration = memory_file("xdist-configuration", &payload)?;
        let copies = [status.try_clone()?.into(), configuration.try_clone()?.into()];
        let [status_copy, configuration_copy] = copies;
        let runner = [runner_end, events_writer.into(), status_copy, configuration_copy];
        Ok(Self { commands, events: events.into(), status, configuration, runner })
    }
}

/// A runner that an image is asked for, and all that connects it with the host.
#[derive(Debug)]
pub(crate) struct Unborn {
    commands: CommandSocket,
    status: File,
    configuration: File,
    pipes: ChildPipes,
}

impl Unborn {
    /// Asks an image for a runner. The environment and the directory are the image's.
    ///
    /// # Errors
    /// When the image cannot be asked, or there are no descriptors left.
    pub(crate) fn ask_for(configure: &Configure, image: &Image) -> io::Result<Self> {
        let Connection { commands, events, status, configuration: file, runner } =
            Connection::new(configure)?;
        let (stdout, stdout_writer) = io::pipe()?;
        let (stderr, stderr_writer) = io::pipe()?;
        let [runner_end, events_writer, status_copy, configuration] = runner;
        let descriptors = [
            runner_end,
            events_writer,
            status_copy,
            configuration,
            stdout_writer.into(),
            stderr_writer.into(),
        ];
        image.ask(configure.worker, &descriptors)?;
        let pipes = ChildPipes { events, stdout: stdout.into(), stderr: stderr.into() };
        Ok(Self { commands, status, configuration: file, pipes })
    }

    /// It has been forked, and is this process.
    pub(crate) fn born(self, pid: Pid) -> (Child, ChildPipes) {
        let Self { commands, status, configuration, pipes } = self;
        (Child { pid, reaped: false, commands, status, configuration }, pipes)
    }
}

/// Starts a runner, which may leave an image behind on the socket `offer`.
///
/// To be called from a thread that lives as long as the host: on Linux, runners die with the thread that started them.
/// Blocks until the interpreter is executed.
pub(crate) fn spawn(
    configure: &Configure,
    surroundings: &Surroundings<'_>,
    offer: Option<OwnedFd>,
) -> Result<(Child, ChildPipes), SpawnError> {
    let directory = configure.chdir.as_deref().map(Path::new);
    if let Some(directory) = directory {
        match surroundings.existing_directories {
            true => expect_directory(directory)?,
            false => ensure_directory(directory)?,
        }
    }
    let Connection { commands, events, status, configuration, runner } =
        Connection::new(configure).map_err(SpawnError::Resources)?;
    let mut command = interpreter(&configure.python);
    command.arg("-c").arg(BOOT).arg(surroundings.half.directory());
    command.args(runner.iter().map(|descriptor| descriptor.as_raw_fd().to_string()));
    command.arg(offer.as_ref().map_or(NO_DESCRIPTOR, AsRawFd::as_raw_fd).to_string());
    let inherited: Vec<OwnedFd> = runner.into_iter().chain(offer).collect();
    set_environment(&mut command, configure, surroundings);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    // The numbers stay what they are: moving descriptors in the child could hit the one over which the standard library
    // learns whether the program was executed.
    command.preserved_fds(inherited);
    sys::die_with_parent(&mut command);

    let mut child = command
        .spawn()
        .map_err(|source| SpawnError::Interpreter { program: command.get_program().into(), source })?;
    let pid = Pid::from_child(&child);
    let child_process = Child { pid, reaped: false, commands, status, configuration };
    be_nice(pid, configure.nice)?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(SpawnError::Resources(io::Error::other("the standard streams are not there")));
    };
    let pipes = ChildPipes { events, stdout: stdout.into(), stderr: stderr.into() };
    Ok((child_process, pipes))
}

impl Child {
    pub(crate) const fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) const fn commands(&mut self) -> &mut CommandSocket {
        &mut self.commands
    }

    /// Puts a command into the memory file, in place of what is there.
    pub(crate) fn reconfigure(&self, command: &CoordinatorMessage) -> io::Result<()> {
        self.configuration.set_len(0)?;
        self.configuration.write_all_at(&codec::encode(command), 0)
    }

    /// What the runner says it is doing; `None` if that makes no sense.
    pub(crate) fn status(&self) -> Option<Status> {
        let mut page = [0; STATUS_BYTES];
        self.status.read_exact_at(&mut page, 0).ok()?;
        Status::decode(&page)
    }

    /// Signals the runner alone.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.reaped
            && let Err(error) = rustix::process::kill_process(self.pid, signal)
        {
            tracing::debug!(pid = ?self.pid, ?signal, %error, "cannot signal a runner");
        }
    }

    /// Sends the runner's process group a signal that means nothing to whoever has no handler for it. With `--isolate` the test
    /// is in a process of its own there.
    pub(crate) fn nudge(&self) {
        if !self.reaped
            && let Err(error) = rustix::process::kill_process_group(self.pid, Signal::URG)
        {
            tracing::debug!(pid = ?self.pid, %error, "cannot nudge a runner");
        }
    }

    /// Kills everything in the runner's process group. As the runner is reaped by [`Child::reap`] only, its id cannot
    /// belong to anybody else meanwhile.
    pub(crate) fn kill_group(&self) {
        if !self.reaped
            && let Err(error) = rustix::process::kill_process_group(self.pid, Signal::KILL)
        {
            tracing::debug!(pid = ?self.pid, %error, "cannot kill a process group");
        }
    }

    /// Collects the runner if it has exited. Nothing can be signalled afterwards.
    pub(crate) fn reap(&mut self) -> io::Result<Option<Reaped>> {
        let reaped = sys::reap(self.pid)?;
        self.reaped |= reaped.is_some();
        Ok(reaped)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill_group();
        // It does not wait for a process that the kernel cannot end at once; that one is collected by init.
        if !self.reaped {
            let _ = self.reap();
        }
    }
}

/// Waits until a child has exited, and leaves it to be reaped.
pub(crate) fn wait_for_exit(pid: Pid) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(error) = waitid(WaitId::Pid(pid), exited) {
        if error != Errno::INTR {
            // It is not our child any more, so it was reaped.
            tracing::debug!(?pid, %error, "cannot wait for a runner");
            return;
        }
    }
}

/// Both ends of the socket that a runner's commands lie in.
#[derive(Debug)]
pub(crate) struct CommandSocket {
    host_end: OwnedFd,
    /// The same socket that the runner reads from.
    runner_end: OwnedFd,
    /// Of the next command.
    number: u32,
}

impl CommandSocket {
    /// The socket, and the runner's own copy of its end.
    fn pair() -> io::Result<(Self, OwnedFd)> {
        // Darwin has no sequenced packets for local sockets; its datagrams are reliable and ordered too.
        let linux = cfg!(target_os = "linux");
        let kind = if linux { SocketType::SEQPACKET } else { SocketType::DGRAM };
        let (host_end, runner_end) =
            rustix::net::socketpair(AddressFamily::UNIX, kind, close_on_exec_flag(), None)?;
        close_on_exec(&host_end)?;
        close_on_exec(&runner_end)?;
        let copy = runner_end.try_clone()?;
        Ok((Self { host_end, runner_end, number: 0 }, copy))
    }

    /// Puts a command into the socket.
    ///
    /// # Errors
    /// When it is full, which the slot's window prevents.
    pub(crate) fn send(&mut self, command: RunnerCommand) -> io::Result<()> {
        rustix::net::send(&self.host_end, &command.encode(self.number), SendFlags::DONTWAIT)?;
        self.number = self.number.wrapping_add(1);
        Ok(())
    }

    /// Takes back what the runner has not taken, and answers how many commands that are, counted from the last one sent.
    ///
    /// A runner may read between two reads here. What it then reads has a higher number than it expects, so it drops it;
    /// the first number that is read here therefore tells from where on nothing was taken.
    pub(crate) fn claw_back(&mut self) -> u32 {
        let mut first = None;
        let mut datagram = [0; RunnerCommand::MAX_BYTES];
        loop {
            match rustix::net::recv(&self.runner_end, &mut datagram, RecvFlags::DONTWAIT) {
                Ok((length, _)) => match RunnerCommand::number(&datagram[..length]) {
                    Some(number) => first = first.or(Some(number)),
                    // The end of the stream reads as an empty datagram.
                    None => break,
                },
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let first = first.unwrap_or(self.number);
        let count = self.number.wrapping_sub(first);
        self.number = first;
        count
    }
}

#[cfg(target_os = "linux")]
const fn close_on_exec_flag() -> SocketFlags {
    SocketFlags::CLOEXEC
}

#[cfg(not(target_os = "linux"))]
const fn close_on_exec_flag() -> SocketFlags {
    SocketFlags::empty()
}

fn close_on_exec(descriptor: &OwnedFd) -> io::Result<()> {
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    Ok(())
}

/// A file without a name that holds these bytes, positioned at its beginning.
fn memory_file(name: &str, bytes: &[u8]) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    let mut file = File::from(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?);
    #[cfg(not(target_os = "linux"))]
    let mut file = {
        let _ = name;
        tempfile::tempfile()?
    };
    file.write_all(bytes)?;
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// The command for an interpreter, which may consist of several words.
pub(crate) fn interpreter(python: &[String]) -> Command {
    let (program, arguments) = match python.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => (DEFAULT_PYTHON, python),
    };
    // A relative path means the host's directory, not the one that the runner starts in. Links are not followed: that
    // would lead out of a virtual environment.
    let absolute = program.contains('/').then(|| std::path::absolute(program).ok()).flatten();
    let mut command = Command::new(absolute.unwrap_or_else(|| PathBuf::from(program)));
    command.args(arguments);
    command
}

/// The interpreter as people write it.
pub(crate) fn shown_interpreter(python: &[String]) -> String {
    if python.is_empty() { DEFAULT_PYTHON.to_owned() } else { python.join(" ") }
}

fn set_environment(command: &mut Command, configure: &Configure, surroundings: &Surroundings<'_>) {
    // The descriptor behind it is not inherited, so the number would mislead.
    command.env_remove("XDIST_LINK_FD");
    command.envs(&configure.env);
    command.env("PYTEST_XDIST_WORKER", &configure.name);
    command.env("PYTEST_XDIST_TESTRUNUID", &configure.run);
    match configure.worker_count {
        0 => command.env_remove("PYTEST_XDIST_WORKER_COUNT"),
        count => command.env("PYTEST_XDIST_WORKER_COUNT", count.to_string()),
    };
    command.env("XDIST_RUN_DIR", surroundings.run_directory);
}

/// Adds to the niceness of a process that has just been started; what it starts itself inherits that.
fn be_nice(pid: Pid, nice: i32) -> Result<(), SpawnError> {
    if nice == 0 {
        return Ok(());
    }
    let change = || {
        let present = rustix::process::getpriority_process(None)?;
        rustix::process::setpriority_process(Some(pid), (present + nice).clamp(-20, 19))
    };
    change().map_err(|error| SpawnError::Priority { nice, source: error.into() })
}

/// Only looks whether the directory is there.
fn expect_directory(path: &Path) -> Result<(), SpawnError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => {
            Err(SpawnError::Directory { path: path.to_owned(), source: io::ErrorKind::NotADirectory.into() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SpawnError::NoTree {
            path: path.to_owned(),
            machine: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }),
        Err(source) => Err(SpawnError::Directory { path: path.to_owned(), source }),
    }
}

/// Creates the directory if only its last part is missing, as pytest-xdist does (execnet 2.1, `chdir=`).
fn ensure_directory(path: &Path) -> Result<(), SpawnError> {
    match std::fs::create_dir(path) {
        Ok(()) => Ok(()),
        Err(_) if path.is_dir() => Ok(()),
        Err(source) => Err(SpawnError::Directory { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a runner is played by a thread")]
mod tests {
    use super::*;
    use xdist_proto::{ItemIndex, LeaseId};

    fn read(runner: &OwnedFd) -> Vec<u8> {
        let mut datagram = [0; 64];
        let (length, _) = rustix::net::recv(runner, &mut datagram, RecvFlags::DONTWAIT).unwrap();
        datagram[..length].to_vec()
    }

    #[test]
    fn unread_commands_are_taken_back_and_their_numbers_used_again() {
        let (mut socket, runner) = CommandSocket::pair().unwrap();
        let items = [0, 1, 2].map(|item| RunnerCommand::Item(ItemIndex(item), LeaseId(1)));
        for item in items {
            socket.send(item).unwrap();
        }
        assert_eq!(read(&runner), items[0].encode(0));
        assert_eq!(socket.claw_back(), 2);
        assert_eq!(socket.claw_back(), 0);
        socket.send(items[2]).unwrap();
        assert_eq!(read(&runner), items[2].encode(1));
        assert_eq!(socket.claw_back(), 0);
    }

    #[test]
    fn a_runner_that_reads_meanwhile_takes_every_command_once_and_in_order() {
        const COUNT: u32 = 20_000;
        let (mut socket, runner) = CommandSocket::pair().unwrap();
        let reader = std::thread::spawn(move || {
            let mut taken = Vec::new();
            let mut datagram = [0; 64];
            while taken.len() < COUNT as usize {
                let (length, _) = rustix::net::recv(&runner, &mut datagram, RecvFlags::empty()).unwrap();
                if RunnerCommand::number(&datagram[..length]) == u32::try_from(taken.len()).ok() {
                    taken.push(datagram[..length].to_vec());
                }
            }
            taken
        });
        let command = |item| RunnerCommand::Item(ItemIndex(item), LeaseId(1));
        let mut next = 0;
        while next < COUNT {
            for _ in 0..8.min(COUNT - next) {
                socket.send(command(next)).unwrap();
                next += 1;
            }
            // What comes back is sent again in the next round, or not at all if the reader was faster.
            next -= socket.claw_back();
        }
        let taken = reader.join().unwrap();
        assert!((0..COUNT).zip(taken).all(|(item, datagram)| datagram == command(item).encode(item)));
    }

    #[test]
    fn a_relative_interpreter_is_the_hosts() {
        assert_eq!(interpreter(&[]).get_program(), DEFAULT_PYTHON);
        assert_eq!(interpreter(&["pypy3".to_owned()]).get_program(), "pypy3");
        let program = interpreter(&["venv/bin/python".to_owned(), "-X".to_owned()]);
        assert!(Path::new(program.get_program()).is_absolute());
        assert!(Path::new(program.get_program()).ends_with("venv/bin/python"));
        assert_eq!(program.get_args().collect::<Vec<_>>(), ["-X"]);
    }

    #[test]
    fn only_the_last_part_of_a_directory_is_created() {
        let directory = tempfile::tempdir().unwrap();
        let new = directory.path().join("new");
        ensure_directory(&new).unwrap();
        ensure_directory(&new).unwrap();
        assert!(new.is_dir());
        let deep = directory.path().join("missing/deep");
        assert!(matches!(ensure_directory(&deep), Err(SpawnError::Directory { .. })));
    }

    #[test]
    fn elsewhere_no_directory_is_created() {
        let directory = tempfile::tempdir().unwrap();
        expect_directory(directory.path()).unwrap();
        let new = directory.path().join("new");
        assert!(matches!(expect_directory(&new), Err(SpawnError::NoTree { .. })));
        assert!(!new.exists());
        std::fs::write(&new, "").unwrap();
        assert!(matches!(expect_directory(&new), Err(SpawnError::Directory { .. })));
    }

    #[test]
    fn a_process_is_made_nicer_and_the_impossible_is_told() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let before = rustix::process::getpriority_process(None).unwrap();
        be_nice(pid, 3).unwrap();
        assert_eq!(rustix::process::getpriority_process(Some(pid)).unwrap(), (before + 3).min(19));
        child.kill().unwrap();
        child.wait().unwrap();
        let error = be_nice(pid, 3).unwrap_err().to_string();
        assert!(error.contains("nice=3"), "{error}");
    }
}
