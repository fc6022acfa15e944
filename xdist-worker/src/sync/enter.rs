//! Opens directories of a copy whatever their permissions: tests may have left them closed, and a copy may be closed to
//! writers because its original is. The copy is ours, so we let ourselves in.

use super::place::open_directory;
use rustix::fd::OwnedFd;
use rustix::fs::{self, Mode};
use rustix::io::Errno;

/// What is to be done in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// See what is in it, and open that.
    Look,
    /// Change what is in it.
    Change,
}

impl Purpose {
    const fn needs(self) -> Mode {
        match self {
            Self::Look => Mode::RUSR.union(Mode::XUSR),
            Self::Change => Mode::RWXU,
        }
    }
}

/// A directory that was opened, and opened up if need be.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) directory: OwnedFd,
    /// Its permissions before, if some were added.
    before: Option<Mode>,
}

impl Entered {
    /// Opens a directory by its name in another one, if that is no symbolic link.
    pub(super) fn open(parent: &OwnedFd, name: &[u8], purpose: Purpose) -> Result<Self, Errno> {
        match open_directory(parent, name) {
            Ok(directory) => {
                let before = open_up(&directory, purpose)?;
                Ok(Self { directory, before })
            }
            Err(Errno::ACCESS) => open_closed(parent, name, purpose),
            Err(error) => Err(error),
        }
    }

    /// Whether it has other permissions now than it had.
    pub(super) const fn was_opened_up(&self) -> bool {
        self.before.is_some()
    }

    /// Gives back the permissions that it had. Where nobody gets to do that, the next copying sees that they are not the right ones.
    pub(super) fn leave(self) {
        if let Some(before) = self.before
            && let Err(error) = fs::fchmod(&self.directory, before)
        {
            tracing::debug!(%error, "a directory stays opened up");
        }
    }
}

/// Adds the permissions that its owner needs; gives those from before if there were fewer.
///
/// A directory of somebody else stays as it is: its group may be allowed enough, and what is not allowed is told where it is tried.
pub(super) fn open_up(directory: &OwnedFd, purpose: Purpose) -> Result<Option<Mode>, Errno> {
    let before = Mode::from_raw_mode(fs::fstat(directory)?.st_mode);
    let enough = before.contains(purpose.needs());
    let changed = !enough && fs::fchmod(directory, before | purpose.needs()).is_ok();
    Ok(changed.then_some(before))
}

/// Opens a directory that we may not even read.
#[cfg(target_os = "linux")]
fn open_closed(parent: &OwnedFd, name: &[u8], purpose: Purpose) -> Result<Entered, Errno> {
    use rustix::fd::AsRawFd;
    use rustix::fs::OFlags;

    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = fs::openat(parent, name, flags, Mode::empty())?;
    let before = Mode::from_raw_mode(fs::fstat(&handle)?.st_mode);
    // `fchmod` takes no descriptor of this kind. This name leads to what the descriptor stands for, whatever has become of the
    // directory's own name meanwhile.
    let same = format!("/proc/self/fd/{}", handle.as_raw_fd());
    // Somebody else's, or there is no /proc: it stays closed.
    fs::chmod(same, before | purpose.needs()).map_err(|_| Errno::ACCESS)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::openat(&handle, ".", flags, Mode::empty())?;
    Ok(Entered { directory, before: Some(before) })
}

/// Opens a directory that we may not even read.
#[cfg(not(target_os = "linux"))]
fn open_closed(parent: &OwnedFd, name: &[u8], purpose: Purpose) -> Result<Entered, Errno> {
    use rustix::fs::AtFlags;

    let stat = super::place::stat(parent, name)?.ok_or(Errno::NOENT)?;
    let before = Mode::from_raw_mode(stat.st_mode);
    fs::chmodat(parent, name, before | purpose.needs(), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|_| Errno::ACCESS)?;
    Ok(Entered { directory: open_directory(parent, name)?, before: Some(before) })
}
