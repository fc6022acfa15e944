//! How worker hosts come up: a process of ours, connected by a socket pair that it inherits.
#![expect(clippy::disallowed_methods, reason = "a shell module: it bounds its waits by the clock")]

use crate::workers::spec::{CommandSpec, HostSpec, LauncherSpec, SlurmSpec, SshSpec};
use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The descriptor that a host finds its end of the link at. Its number is also in [`LINK_FD_VARIABLE`].
pub const LINK_FD: i32 = 3;

/// Tells what a launcher starts how to dial in: the join token. The environment of a process can be read by its user only.
pub const JOIN_VARIABLE: &str = "XDIST_JOIN";

/// Tells what a launcher starts by which launcher that is.
pub const LAUNCH_VARIABLE: &str = "XDIST_LAUNCH";

/// Tells a host the number of the descriptor that its link is on.
pub const LINK_FD_VARIABLE: &str = "XDIST_LINK_FD";

/// How long a host's process may take to end after its link is closed.
const HOST_EXIT_GRACE: Duration = Duration::from_secs(2);

/// The same for what looks after a launcher, which it ends in steps (`xdist connect`): with its hosts, when it is told to, and
/// by force.
const LAUNCHER_EXIT_GRACE: Duration = Duration::from_secs(14);

/// Starts hosts.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program that is the host of this machine's workers.
    pub host_program: PathBuf,
    /// Its arguments.
    pub host_args: Vec<OsString>,
    /// The arguments that make the same program the way to a host on another machine. What `ssh` is to be given follows.
    pub ssh_args: Vec<OsString>,
    /// The arguments that make the same program look after a launcher, whose command follows.
    pub launch_args: Vec<OsString>,
    /// The arguments that make the same program have Slurm start hosts. What Slurm is asked for follows.
    pub slurm_args: Vec<OsString>,
    /// The arguments that make the same program the gate that hosts dial in at.
    pub gate_args: Vec<OsString>,
    /// Where the gate listens besides when hosts of this machine are to dial in.
    pub gate_here: Vec<OsString>,
    /// The same for hosts of other machines.
    pub gate_elsewhere: Vec<OsString>,
}

/// Which hosts are to dial in, where the user has not said where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those of this machine.
    Here,
    /// Those of other machines too.
    Elsewhere,
}

/// How hosts can dial in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Invitation {
    /// Where the gate listens.
    pub addresses: Vec<String>,
    /// What proves that a host is invited. A secret.
    pub token: String,
}

impl fmt::Debug for Invitation {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// A host could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// No socket pair could be made.
    #[error("cannot make a socket for the link to {command}: {source}")]
    Socket {
        /// What was to be started.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// The process could not be started.
    #[error("cannot start {command}: {source}; check that the program exists and may be executed")]
    Spawn {
        /// What was to be started.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// Only who is there can start it.
    #[error("{name} has to dial in again")]
    Elsewhere {
        /// What it calls itself.
        name: String,
    },
}

impl Launcher {
    /// Starts a host, or a launcher with the means for others to dial in, and gives our end of its link.
    ///
    /// # Errors
    /// [`LaunchError`] when the operating system refuses; trying again makes sense only after the cause is gone.
    pub fn launch(
        &self,
        spec: &HostSpec,
        invitation: Option<(&Invitation, u32)>,
    ) -> Result<(UnixStream, HostProcess), LaunchError> {
        let mut command = match spec {
            HostSpec::Local => self.program(&self.host_args),
            HostSpec::Joined(joined) => return Err(LaunchError::Elsewhere { name: joined.name.clone() }),
            HostSpec::Exec(words) => {
                let mut words = words.iter();
                let mut command = Command::new(words.next().map_or("", String::as_str));
                command.args(words);
                command
            }
            HostSpec::Launcher(LauncherSpec::Command(CommandSpec { words, .. })) => {
                let mut command = self.program(&self.launch_args);
                command.arg("--").args(words);
                command
            }
            HostSpec::Launcher(LauncherSpec::Slurm(slurm)) => self.slurm(slurm),
            HostSpec::Ssh(ssh) => self.ssh(ssh),
        };
        if let Some((invitation, launch)) = invitation {
            command.env(JOIN_VARIABLE, &invitation.token).env(LAUNCH_VARIABLE, launch.to_string());
        }
        let name = command.get_program().to_string_lossy().into_owned();
        let socket_error = |source| LaunchError::Socket { command: name.clone(), source };
        let (ours, theirs) = UnixStream::pair().map_err(socket_error)?;
        command
            .env(LINK_FD_VARIABLE, LINK_FD.to_string())
            .stdin(Stdio::null())
            .stdout(match spec {
                // What a host prints is for people to read, and standard output is for the report.
                HostSpec::Local | HostSpec::Exec(_) | HostSpec::Joined(_) => {
                    stderr_of_ours().map_err(socket_error)?
                }
                // Why it could not go on.
                HostSpec::Ssh(_) | HostSpec::Launcher(_) => Stdio::piped(),
            })
            // A group of its own: the terminal's Ctrl-C is for the coordinator, which decides.
            .process_group(0);
        let child = spawn_with_link(command, theirs)
            .map_err(|source| LaunchError::Spawn { command: name.clone(), source })?;
        let exit_grace = match spec {
            HostSpec::Launcher(_) => LAUNCHER_EXIT_GRACE,
            HostSpec::Local | HostSpec::Exec(_) | HostSpec::Ssh(_) | HostSpec::Joined(_) => HOST_EXIT_GRACE,
        };
        Ok((ours, HostProcess { child, name, own_group: true, exit_grace }))
    }

    fn program(&self, args: &[OsString]) -> Command {
        let mut command = Command::new(&self.host_program);
        command.args(args);
        command
    }

    fn ssh(&self, ssh: &SshSpec) -> Command {
        let mut command = self.program(&self.ssh_args);
        for hop in &ssh.via {
            command.arg(format!("--via={}", hop.arguments()));
        }
        if let Some(config) = &ssh.config {
            command.arg(format!("--ssh-config={config}"));
        }
        command.arg("--").args(&ssh.words);
        command
    }

    fn slurm(&self, slurm: &SlurmSpec) -> Command {
        let mut command = self.program(&self.slurm_args);
        if let Some(hosts) = slurm.hosts {
            command.arg(format!("--hosts={hosts}"));
        }
        if let Some(cpus) = slurm.cpus {
            command.arg(format!("--cpus={cpus}"));
        }
        if let Some(chdir) = &slurm.chdir {
            command.arg(format!("--chdir={chdir}"));
        }
        command.arg("--");
        command.args(slurm.options.iter().map(|(key, value)| format!("--{key}={value}"))).args(&slurm.args);
        command
    }
}

impl Launcher {
    /// Starts the gate, for hosts of other machines too if they are wanted, and gives our end of the socket that its reports
    /// and the links of hosts come over.
    ///
    /// # Errors
    /// [`LaunchError`] when the operating system refuses.
    pub fn launch_gate(&self, wanted: Wanted) -> Result<(OwnedFd, HostProcess), LaunchError> {
        let mut command = self.program(&self.gate_args);
        command.args(match wanted {
            Wanted::Here => &self.gate_here,
            Wanted::Elsewhere => &self.gate_elsewhere,
        });
        let name = command.get_program().to_string_lossy().into_owned();
        let socket_error = |source| LaunchError::Socket { command: name.clone(), source };
        let (ours, theirs) = datagram_pair().map_err(socket_error)?;
        command
            .env(LINK_FD_VARIABLE, LINK_FD.to_string())
            .stdin(Stdio::null())
            .stdout(stderr_of_ours().map_err(socket_error)?)
            .process_group(0);
        let child = spawn_with_link(command, theirs)
            .map_err(|source| LaunchError::Spawn { command: name.clone(), source })?;
        Ok((ours, HostProcess { child, name, own_group: true, exit_grace: HOST_EXIT_GRACE }))
    }
}

/// Starts the pytest host and gives our end of its link. It shares our terminal, and so our process group.
///
/// # Errors
/// [`LaunchError`] when the operating system refuses.
pub fn launch_pytest_host(mut command: Command) -> Result<(UnixStream, HostProcess), LaunchError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (ours, theirs) =
        UnixStream::pair().map_err(|source| LaunchError::Socket { command: name.clone(), source })?;
    command.env(LINK_FD_VARIABLE, LINK_FD.to_string());
    let child = spawn_with_link(command, theirs)
        .map_err(|source| LaunchError::Spawn { command: name.clone(), source })?;
    Ok((ours, HostProcess { child, name, own_group: false, exit_grace: HOST_EXIT_GRACE }))
}

/// Sockets that keep datagrams apart and, where the system can do that, tell when the other is closed.
fn datagram_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = if cfg!(target_os = "linux") { SocketType::SEQPACKET } else { SocketType::DGRAM };
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::empty(), None)?;
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::CLOEXEC)?;
    Ok((ours, theirs))
}

fn spawn_with_link(mut command: Command, link: impl Into<OwnedFd>) -> io::Result<Child> {
    let mapping = FdMapping { parent_fd: link.into(), child_fd: LINK_FD };
    command.fd_mappings(vec![mapping]).map_err(|collision| io::Error::other(collision.to_string()))?;
    command.spawn()
}

fn stderr_of_ours() -> io::Result<Stdio> {
    Ok(Stdio::from(rustix::io::dup(rustix::stdio::stderr())?))
}

/// A host's process. It is ended when this is dropped.
#[derive(Debug)]
pub struct HostProcess {
    child: Child,
    name: String,
    /// Whether it leads a process group of its own.
    own_group: bool,
    exit_grace: Duration,
}

impl HostProcess {
    /// Process id, and the id of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The program's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it may take to end after its link is closed.
    #[must_use]
    pub fn exit_grace(&self) -> Duration {
        self.exit_grace
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Why it ended, in its own words; to be asked once it has. Does not block.
    pub fn last_words(&mut self) -> Option<String> {
        let stdout = self.child.stdout.as_mut()?;
        rustix::io::ioctl_fionbio(&*stdout, true).ok()?;
        let mut said = Vec::new();
        // What came before an error counts.
        let _ = stdout.take(MAX_LAST_WORDS).read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        (!said.is_empty()).then_some(said)
    }

    /// Waits for the process to end, at most until `deadline`.
    pub fn wait_until(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.wait_for_change(left);
        }
    }

    /// Blocks until the process may have ended, at most for `limit`.
    #[cfg(target_os = "linux")]
    fn wait_for_change(&self, limit: Duration) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let pid = Pid::from_child(&self.child);
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
            std::thread::park_timeout(limit.min(POLL_INTERVAL));
            return;
        };
        let timeout = Timespec::try_from(limit).ok();
        // An interrupted or failed wait only means that the caller looks once more.
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], timeout.as_ref());
    }

    /// Blocks until the process may have ended, at most for `limit`.
    #[cfg(not(target_os = "linux"))]
    fn wait_for_change(&self, limit: Duration) {
        std::thread::park_timeout(limit.min(POLL_INTERVAL));
    }
}

/// Bytes of [`HostProcess::last_words`].
const MAX_LAST_WORDS: u64 = 8 << 10;

/// How often to look where the system cannot tell that a process has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

impl Drop for HostProcess {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let pid = rustix::process::Pid::from_child(&self.child);
        let signal = rustix::process::Signal::KILL;
        // Nothing of anyone else is in a group of its own.
        let _ = match self.own_group {
            true => rustix::process::kill_process_group(pid, signal),
            false => rustix::process::kill_process(pid, signal),
        };
        let _ = self.child.wait();
    }
}
