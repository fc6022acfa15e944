//! Changes a tree to what it should be, now that all contents are at hand.

use super::enter::{Entered, Purpose};
use super::error::SyncError;
use super::fetch::garbled;
use super::index;
use super::place::{self, Place};
use super::scan::{Found, Node, Nodes, push};
use super::staging::{Staged, Staging};
use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use xdist_proto::index::{FileIndex, Known};
use xdist_proto::tree::{BlobHash, MAX_DEPTH};

/// The name of a symbolic link that is about to be moved into its place.
const NEW_LINK: &str = "link";

/// What was done.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) index: FileIndex,
    pub(super) files: u64,
    pub(super) written: u64,
    pub(super) removed: u64,
    adjusted: u64,
}

impl Applied {
    /// All is as it should be.
    pub(super) fn nothing(found: &Found) -> Self {
        let (index, files) = (found.index.clone(), count(&found.nodes));
        Self { index, files, written: 0, removed: 0, adjusted: 0 }
    }

    pub(super) const fn changes(&self) -> u64 {
        self.written + self.removed + self.adjusted
    }
}

/// How many files and links there are.
fn count(nodes: &Nodes) -> u64 {
    let each = |node: &Node| match node {
        Node::Directory { nodes, .. } => count(nodes),
        Node::File { .. } | Node::Link { .. } => 1,
        Node::Other => 0,
    };
    nodes.values().map(each).sum()
}

/// Makes the tree that was found the target.
pub(super) fn apply(
    place: &Place,
    found: &Found,
    target: &Nodes,
    staging: Staging<'_>,
) -> Result<Applied, SyncError> {
    let applied =
        Applied { index: found.index.clone(), files: count(target), written: 0, removed: 0, adjusted: 0 };
    let mut changer = Changer { place, staging, applied, path: Vec::new() };
    let result = changer.directory(&place.root, &found.nodes, target);
    if result.is_err() {
        // What was done so far need not be found out again.
        index::write(&changer.applied.index, place);
    }
    result.map(|()| changer.applied)
}

struct Changer<'a> {
    place: &'a Place,
    staging: Staging<'a>,
    applied: Applied,
    /// Of what is being changed, below the root.
    path: Vec<u8>,
}

impl Changer<'_> {
    fn error<E: Into<std::io::Error>>(&self, doing: &'static str) -> impl FnOnce(E) -> SyncError + use<E> {
        SyncError::io(doing, &self.place.shown(&self.path))
    }

    fn directory(&mut self, directory: &OwnedFd, found: &Nodes, target: &Nodes) -> Result<(), SyncError> {
        for name in found.keys().filter(|name| !target.contains_key(*name)) {
            self.at(name, |this| this.remove(directory, name))?;
        }
        for (name, node) in target {
            self.at(name, |this| this.name(directory, name, found.get(name), node))?;
        }
        Ok(())
    }

    fn at(
        &mut self,
        name: &[u8],
        act: impl FnOnce(&mut Self) -> Result<(), SyncError>,
    ) -> Result<(), SyncError> {
        let length = push(&mut self.path, name);
        act(self)?;
        self.path.truncate(length);
        Ok(())
    }

    fn name(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        found: Option<&Node>,
        target: &Node,
    ) -> Result<(), SyncError> {
        match (found, target) {
            (Some(found), target) if found == target => Ok(()),
            (Some(Node::File { content: old, .. }), Node::File { mode, mtime_ns, content, .. })
                if old == content =>
            {
                self.adjust(parent, name, *mode, *mtime_ns, *content)
            }
            (
                Some(Node::Directory { mode: old_mode, listing: old, nodes: found }),
                Node::Directory { mode, listing, nodes },
            ) => {
                let purpose = if old == listing { Purpose::Look } else { Purpose::Change };
                let entered = Entered::open(parent, name, purpose).map_err(self.error("open"))?;
                if old != listing {
                    self.directory(&entered.directory, found, nodes)?;
                }
                if old_mode != mode || entered.was_opened_up() {
                    self.set_mode(&entered.directory, *mode)?;
                }
                Ok(())
            }
            (Some(Node::Directory { .. }), _) | (Some(_), Node::Directory { .. }) => {
                self.remove(parent, name)?;
                self.create(parent, name, target)
            }
            // A rename takes the place of what is there.
            (Some(_), target) => self.create(parent, name, target),
            (None, target) => {
                if place::stat(parent, name).map_err(self.error("look at"))?.is_some() {
                    return Err(self.in_the_way());
                }
                self.create(parent, name, target)
            }
        }
    }

    fn in_the_way(&self) -> SyncError {
        let path = self.place.shown(&self.path);
        SyncError::InTheWay { path: String::from_utf8_lossy(&path).into_owned() }
    }

    fn create(&mut self, parent: &OwnedFd, name: &[u8], target: &Node) -> Result<(), SyncError> {
        match target {
            Node::File { mode, mtime_ns, content, .. } => {
                self.create_file(parent, name, *mode, *mtime_ns, *content)
            }
            Node::Directory { mode, nodes, .. } => {
                match fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
                    Err(Errno::EXIST) => return Err(self.in_the_way()),
                    result => result.map_err(self.error("make the directory"))?,
                }
                let inside = place::open_directory(parent, name).map_err(self.error("open"))?;
                self.directory(&inside, &Nodes::new(), nodes)?;
                self.applied.adjusted += 1;
                self.set_mode(&inside, *mode)
            }
            Node::Link { target } => {
                let staging = &self.place.staging;
                fs::symlinkat(&target[..], staging, NEW_LINK)
                    .and_then(|()| fs::renameat(staging, NEW_LINK, parent, name))
                    .map_err(self.error("make the symbolic link"))?;
                self.applied.index.forget(&self.path);
                self.applied.written += 1;
                Ok(())
            }
            Node::Other => Err(garbled("a listing was made up")),
        }
    }

    fn create_file(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        mode: u16,
        mtime_ns: i64,
        wanted: BlobHash,
    ) -> Result<(), SyncError> {
        let (content, mtime_ns) = match self.staging.state(wanted)? {
            Staged::Whole => (wanted, mtime_ns),
            Staged::Changed { content, mtime_ns } => (content, mtime_ns),
            // As if it had been gone before.
            Staged::Gone => {
                self.applied.files -= 1;
                return self.remove_file(parent, name);
            }
        };
        let staged = self.staging.take(wanted).map_err(self.error("write"))?;
        let staging = &self.place.staging;
        let file = open(staging, staged.as_bytes()).map_err(self.error("write"))?;
        self.set_mode(&file, mode)?;
        fs::futimens(&file, &times(mtime_ns)).map_err(self.error("set the time of"))?;
        fs::renameat(staging, &staged, parent, name).map_err(self.error("write"))?;
        self.note(&file, mtime_ns, content)?;
        self.applied.written += 1;
        Ok(())
    }

    /// Gives a file that has the right content the rest.
    fn adjust(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        mode: u16,
        mtime_ns: i64,
        content: BlobHash,
    ) -> Result<(), SyncError> {
        let file = open(parent, name).map_err(self.error("open"))?;
        self.set_mode(&file, mode)?;
        fs::futimens(&file, &times(mtime_ns)).map_err(self.error("set the time of"))?;
        self.applied.adjusted += 1;
        self.note(&file, mtime_ns, content)
    }

    fn set_mode(&self, file: &OwnedFd, mode: u16) -> Result<(), SyncError> {
        fs::fchmod(file, Mode::from_raw_mode(mode.into())).map_err(self.error("set the permissions of"))
    }

    fn note(&mut self, file: &OwnedFd, mtime_ns: i64, content: BlobHash) -> Result<(), SyncError> {
        let stat = fs::fstat(file).map_err(self.error("look at"))?;
        let known = Known { signature: index::signature(&stat), mtime_ns, content };
        self.applied.index.set(&self.path, known);
        Ok(())
    }

    fn remove_file(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<(), SyncError> {
        self.applied.index.forget(&self.path);
        match fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) => self.applied.removed += 1,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(self.error("remove")(error)),
        }
        Ok(())
    }

    /// Removes what is called so, with all that is in it.
    fn remove(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<(), SyncError> {
        self.remove_below(parent, name, 0)
    }

    fn remove_below(&mut self, parent: &OwnedFd, name: &[u8], depth: usize) -> Result<(), SyncError> {
        let stat = place::stat(parent, name).map_err(self.error("look at"))?;
        let is_directory =
            stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if !is_directory {
            return self.remove_file(parent, name);
        }
        if depth > MAX_DEPTH {
            let path = String::from_utf8_lossy(&self.place.shown(&self.path)).into_owned();
            return Err(SyncError::TooDeep { path, limit: MAX_DEPTH });
        }
        let inside = Entered::open(parent, name, Purpose::Change).map_err(self.error("open"))?.directory;
        for inner in all_names(&inside).map_err(self.error("read"))? {
            self.at(&inner, |this| this.remove_below(&inside, &inner, depth + 1))?;
        }
        fs::unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(self.error("remove"))
    }
}

fn open(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

fn all_names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(&name[..], b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

fn times(mtime_ns: i64) -> Timestamps {
    let mtime =
        Timespec { tv_sec: mtime_ns.div_euclid(1_000_000_000), tv_nsec: mtime_ns.rem_euclid(1_000_000_000) };
    Timestamps { last_access: mtime, last_modification: mtime }
}
