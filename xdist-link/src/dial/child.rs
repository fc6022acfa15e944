//! The host that a dialer starts: an ordinary one, with a socket pair for its link.

use command_fds::{CommandFdExt, FdMapping};
use mio::net::UnixStream;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// The descriptor that the host finds its link at.
const LINK_FD: i32 = 3;

/// Tells it the number.
const LINK_FD_VARIABLE: &str = "XDIST_LINK_FD";

/// How a host is started.
#[derive(Clone, Debug)]
pub struct HostCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables that it must not see: the token is nothing for tests.
    pub without: Vec<&'static str>,
}

/// A running host, in a process group of its own. It ends with its link, and at the latest when this is dropped.
#[derive(Debug)]
pub(super) struct Host {
    child: Child,
}

impl Host {
    /// Starts a host, and gives the other end of its link.
    pub(super) fn start(command: &HostCommand) -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        rustix::io::ioctl_fionbio(&theirs, false)?;
        let mut process = Command::new(&command.program);
        process.args(&command.args).env(LINK_FD_VARIABLE, LINK_FD.to_string());
        for name in &command.without {
            process.env_remove(name);
        }
        // The terminal's Ctrl-C is for us, who know what to do about it.
        process.stdin(Stdio::null()).process_group(0);
        process
            .fd_mappings(vec![FdMapping { parent_fd: theirs, child_fd: LINK_FD }])
            .map_err(|collision| io::Error::other(collision.to_string()))?;
        Ok((Self { child: process.spawn()? }, ours))
    }

    /// How it has ended, if it has.
    pub(super) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end.
    pub(super) fn terminate(&mut self) {
        if self.status().is_none() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
    }

    /// Ends it and all of its group.
    pub(super) fn kill(&mut self) {
        if self.status().is_none() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}
