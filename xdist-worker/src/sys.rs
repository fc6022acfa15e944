//! What needs unsafe code: the only place in the workspace that has any.
#![allow(
    unsafe_code,
    reason = "some system interfaces have no safe form: work between fork and exec, wait4, inherited descriptors, \
              and real-time signals"
)]

use rustix::process::{Pid, Signal};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

/// Makes the kernel kill the child as soon as the *thread* that spawns it is gone. Only Linux has this; elsewhere a
/// runner notices the end of its command socket.
pub(crate) fn die_with_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        let parent = rustix::process::getpid();
        let in_child = move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the call above, which would then never take effect.
            match rustix::process::getppid() == Some(parent) {
                true => Ok(()),
                false => Err(io::Error::from(rustix::io::Errno::SRCH)),
            }
        };
        // SAFETY: between fork and exec only async-signal-safe functions may be called. The closure makes two system
        // calls, and builds its errors from error numbers, without allocating.
        unsafe {
            command.pre_exec(in_child);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (command, Signal::KILL);
}

/// Takes over the socket that the coordinator left open on this descriptor for its host.
///
/// # Errors
/// When no socket is open there, or it is one of the standard streams.
pub fn inherited_link(descriptor: RawFd) -> io::Result<OwnedFd> {
    if descriptor <= libc::STDERR_FILENO {
        return Err(io::Error::other("a standard stream cannot be a link"));
    }
    // SAFETY: only borrowed for the length of one system call, which fails harmlessly if nothing is open there.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    rustix::net::sockopt::socket_type(borrowed)?;
    // SAFETY: the descriptor is open, as was just seen, and nothing else in this process owns it: it was opened by the
    // coordinator before this program started, which is what the caller was told its number for.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// What a runner is sent to have it dump its stacks and end: a signal that ends processes, and that hardly any test has
/// a use for.
pub(crate) fn dump_signal() -> Signal {
    #[cfg(target_os = "linux")]
    let number = libc::SIGRTMAX() - 3;
    #[cfg(not(target_os = "linux"))]
    let number = libc::SIGSYS;
    // SAFETY: it is the number of a signal, and none of those that the C library keeps to itself, which are below
    // `SIGRTMIN`.
    unsafe { Signal::from_raw_unchecked(number) }
}

/// How a child ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaped {
    pub(crate) status: ExitStatus,
    /// Peak resident memory in KiB.
    pub(crate) peak_rss_kib: u64,
}

/// Collects a child that has ended, or answers `None` if it has not. Its process id is free for others afterwards.
pub(crate) fn reap(pid: Pid) -> io::Result<Option<Reaped>> {
    let mut status: libc::c_int = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to writable memory of the right types for the length of the call, and an all-zero
    // `rusage` is valid, so it may be read whatever the call does.
    let (result, usage) = unsafe {
        let result = libc::wait4(pid.as_raw_pid(), &raw mut status, libc::WNOHANG, usage.as_mut_ptr());
        (result, usage.assume_init())
    };
    match result {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => {
            let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0);
            // Darwin counts bytes, the others KiB.
            let peak_rss_kib = if cfg!(target_vendor = "apple") { peak / 1024 } else { peak };
            Ok(Some(Reaped { status: ExitStatus::from_raw(status), peak_rss_kib }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_open_socket_is_a_link() {
        use std::os::fd::{AsRawFd, IntoRawFd};
        let file = tempfile::tempfile().unwrap();
        assert!(inherited_link(file.as_raw_fd()).is_err());
        assert!(inherited_link(0).is_err());
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(inherited_link(socket.into_raw_fd()).is_ok());
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "reaping it otherwise is what is tested")]
    fn a_child_is_reaped_with_its_status_and_memory() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]);
        die_with_parent(&mut command);
        let child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let exited = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), exited).unwrap();
        let reaped = reap(pid).unwrap().unwrap();
        assert_eq!(reaped.status.code(), Some(7));
        assert!(reaped.peak_rss_kib > 0);
        assert!(reap(pid).is_err());
    }
}
