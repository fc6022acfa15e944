//! Where a copy is: its root, and beside the copied files the directory of our own that makes it known as a copy.

use super::enter::{self, Entered, Purpose};
use super::error::SyncError;
use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use xdist_proto::sync::SyncBegin;
use xdist_proto::tree::{OWN_DIRECTORY, is_name};

/// A directory of ours in the place of ours, for what is not in its own place yet.
const STAGING: &str = "new";

const LOCK: &str = "lock";

/// Copies that go nowhere in particular are below this one, in the cache directory.
const TREES: &str = "trees";

/// The root of a copy, with nobody else changing it.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    pub(super) root: OwnedFd,
    /// What is known of the copy.
    pub(super) own: OwnedFd,
    pub(super) staging: OwnedFd,
    /// Its lock ends with it.
    _lock: OwnedFd,
}

impl Place {
    /// Opens the place that is meant, makes what is missing, and waits until nobody else is copying there.
    pub(super) fn open(begin: &SyncBegin, cache: Option<PathBuf>) -> Result<Self, SyncError> {
        let name = checked(&begin.name)?;
        let base = match &begin.base {
            Some(base) => PathBuf::from(base),
            None => cache.ok_or(SyncError::NoCache)?.join(TREES).join(checked(&begin.project)?),
        };
        let own_choice = begin.base.is_none();
        let shown = base.as_os_str().as_bytes();
        // What is below the cache directory is nobody else's to read.
        let mode = if own_choice { 0o700 } else { 0o777 };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&base)
            .map_err(SyncError::io("make the directory", shown))?;
        let base = base.canonicalize().map_err(SyncError::io("find", shown))?;
        let shown = base.as_os_str().as_bytes();
        // The way to here is the user's own, and may lead over symbolic links.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = fs::open(&base, flags, Mode::empty()).map_err(SyncError::io("open", shown))?;
        Self::open_in(&parent, &base.join(name), name)
    }

    fn open_in(parent: &OwnedFd, path: &Path, name: &str) -> Result<Self, SyncError> {
        let shown = path.as_os_str().as_bytes();
        make_directory(parent, name.as_bytes(), 0o777).map_err(SyncError::io("make the directory", shown))?;
        let entered =
            Entered::open(parent, name.as_bytes(), Purpose::Look).map_err(SyncError::io("open", shown))?;
        match own_directory(&entered.directory, path) {
            Ok(own) => Self::of_ours(path, entered.directory, own).map_err(|error| error.in_copy(path)),
            // What is not ours stays as it was.
            Err(error) => {
                entered.leave();
                Err(error)
            }
        }
    }

    fn of_ours(path: &Path, root: OwnedFd, own: OwnedFd) -> Result<Self, SyncError> {
        let shown = path.as_os_str().as_bytes();
        enter::open_up(&root, Purpose::Change).map_err(SyncError::io("look at", shown))?;
        let inside = path.join(OsStr::from_bytes(OWN_DIRECTORY));
        let shown = inside.as_os_str().as_bytes();
        let lock = open_lock(&own).map_err(SyncError::io("lock", shown))?;
        let staging =
            make_and_open(&own, STAGING.as_bytes()).map_err(SyncError::io("make a directory in", shown))?;
        Ok(Self { path: path.to_owned(), root, own, staging, _lock: lock })
    }

    /// The path of the copy.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the copy, as it travels.
    pub(super) fn text(&self) -> Result<String, SyncError> {
        let text = self.path.to_str().map(str::to_owned);
        text.ok_or_else(|| SyncError::NotUnicode { path: self.path.display().to_string() })
    }

    /// The path of something in the copy, for people.
    pub(super) fn shown(&self, inside: &[u8]) -> Vec<u8> {
        self.path.join(OsStr::from_bytes(inside)).into_os_string().as_bytes().to_vec()
    }
}

fn checked(name: &str) -> Result<&str, SyncError> {
    match is_name(name.as_bytes()) && name.as_bytes() != OWN_DIRECTORY {
        true => Ok(name),
        false => Err(SyncError::Name { what: format!("{name:?}") }),
    }
}

/// What makes a directory a copy. One that has nothing in it becomes one.
fn own_directory(root: &OwnedFd, path: &Path) -> Result<OwnedFd, SyncError> {
    let shown = path.as_os_str().as_bytes();
    // Somebody else may be about to copy to the same place: where that has begun, it is seen before anything else.
    let is_new = is_empty(root).map_err(SyncError::io("read", shown))?;
    match Entered::open(root, OWN_DIRECTORY, Purpose::Change) {
        Ok(own) => Ok(own.directory),
        Err(Errno::NOENT) if is_new => {
            let inside = path.join(OsStr::from_bytes(OWN_DIRECTORY));
            let shown = inside.as_os_str().as_bytes();
            enter::open_up(root, Purpose::Change)
                .and_then(|_| make_and_open(root, OWN_DIRECTORY))
                .map_err(SyncError::io("make the directory", shown))
        }
        Err(Errno::NOENT) => Err(SyncError::NotOurs { path: path.display().to_string() }),
        // Only copies have anything of this name.
        Err(error) => Err(SyncError::io("open", shown)(error).in_copy(path)),
    }
}

/// A directory for ourselves, which may be there already.
fn make_and_open(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    make_directory(parent, name, 0o700)?;
    Ok(Entered::open(parent, name, Purpose::Change)?.directory)
}

/// Makes a directory unless there is something of that name.
pub(super) fn make_directory(parent: &OwnedFd, name: &[u8], mode: u16) -> Result<(), Errno> {
    match fs::mkdirat(parent, name, Mode::from_raw_mode(mode.into())) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

/// Opens a directory by its name in another one, if that is no symbolic link.
pub(super) fn open_directory(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

fn is_empty(directory: &OwnedFd) -> Result<bool, Errno> {
    for entry in Dir::read_from(directory)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn open_lock(own: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = fs::openat(own, LOCK, flags, Mode::from_raw_mode(0o600))?;
    loop {
        match fs::flock(&lock, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            // A file system without locks: the renames still leave every file whole.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => return Ok(lock),
            Err(error) => return Err(error),
        }
    }
}

/// What is called by this name in a directory, if anything is.
pub(super) fn stat(directory: &OwnedFd, name: &[u8]) -> Result<Option<fs::Stat>, Errno> {
    match fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
