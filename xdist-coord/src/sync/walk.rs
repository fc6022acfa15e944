//! Goes through a directory: what is there, and by which hashes it is known.

use super::select::Selection;
use super::{Source, Stop, known};
use ignore::{DirEntry, WalkBuilder};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use xdist_proto::index::{FileIndex, Known, Signature};
use xdist_proto::tree::{
    BlobHash, Entry, EntryKind, Hasher, MAX_DEPTH, MAX_LISTING_BYTES, MODE_BITS, encode_listing, is_name,
    is_target,
};

const READ_BYTES: usize = 256 << 10;

/// In a copy, its owner can always read a file: whether it is still the same has to be seen. Directories are let in to instead.
const OWNERS_FILE: u16 = 0o400;

/// A directory as it was when it was gone through.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: BlobHash,
    pub(super) blobs: HashMap<BlobHash, Blob>,
}

/// What is behind a hash.
#[derive(Clone, Debug)]
pub(super) enum Blob {
    /// The listing of a directory.
    Listing(Vec<u8>),
    /// The content of this file.
    File(PathBuf),
}

/// A directory cannot be read. Reads as a sentence of its own.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error(
        "cannot read {path:?} to copy it: {error}; leave it out with --rsyncignore, or see what is wrong with it"
    )]
    Read { path: PathBuf, error: String },
    #[error("{path:?} has too many files in one directory; leave some out with --rsyncignore")]
    TooMany { path: PathBuf },
    #[error("{path:?} is nested more than {MAX_DEPTH} directories deep; leave it out with --rsyncignore")]
    TooDeep { path: PathBuf },
    #[error("nobody waits for it any more")]
    Stopped,
}

/// Goes through a directory. Symbolic links are not followed.
pub(super) fn walk(source: &Source, stop: &Stop) -> Result<Tree, WalkError> {
    let Source { root, ignore, cache } = source;
    let index_path = cache.as_ref().map(|cache| known::path(cache, &root.path));
    let path = Path::new(&root.path);
    let selection = Selection::new(root, ignore);
    let mut builder = WalkBuilder::new(path);
    builder
        .standard_filters(false)
        .ignore(root.heeds_ignore_files)
        .git_ignore(root.heeds_ignore_files)
        .parents(root.heeds_ignore_files)
        .require_git(false)
        .sort_by_file_name(|one, other| one.as_bytes().cmp(other.as_bytes()))
        .filter_entry(move |entry| {
            entry.depth() == 0
                || selection.has(entry.path(), entry.file_type().is_some_and(|kind| kind.is_dir()))
        });
    let mut walker = Walker {
        root: path,
        blobs: HashMap::new(),
        open: vec![Open { path: path.to_owned(), name: Vec::new(), mode: 0, entries: Vec::new() }],
        buffer: vec![0; READ_BYTES],
        known: index_path.as_deref().map(known::read).unwrap_or_default(),
        now_known: FileIndex::default(),
        hashed: 0,
        stop,
    };
    for entry in builder.build() {
        match entry {
            Ok(entry) if entry.depth() > 0 => walker.entry(&entry)?,
            Ok(_) => {}
            Err(error) => walker.error(&error)?,
        }
    }
    while walker.open.len() > 1 {
        walker.close()?;
    }
    let listing = walker.listing(0)?;
    if let Some(path) = index_path.filter(|_| walker.hashed > 0) {
        known::write(&walker.now_known, &path);
    }
    Ok(Tree { root: listing, blobs: walker.blobs })
}

struct Walker<'a> {
    root: &'a Path,
    blobs: HashMap<BlobHash, Blob>,
    /// The directory that is being gone through, and those that it is in.
    open: Vec<Open>,
    buffer: Vec<u8>,
    /// What was known of files before, and what is now.
    known: FileIndex,
    now_known: FileIndex,
    hashed: u64,
    stop: &'a Stop,
}

struct Open {
    path: PathBuf,
    name: Vec<u8>,
    mode: u16,
    entries: Vec<Entry>,
}

impl Walker<'_> {
    fn entry(&mut self, entry: &DirEntry) -> Result<(), WalkError> {
        if self.stop.is_set() {
            return Err(WalkError::Stopped);
        }
        if entry.depth() > MAX_DEPTH {
            return Err(WalkError::TooDeep { path: entry.path().to_owned() });
        }
        while self.open.len() > entry.depth() {
            self.close()?;
        }
        let path = entry.path();
        let name = entry.file_name().as_bytes().to_vec();
        debug_assert!(is_name(&name), "the system gives one name at a time");
        let read = entry.metadata().map_err(|error| error.into_io_error());
        let metadata = match read {
            Ok(metadata) => metadata,
            // It is gone meanwhile.
            Err(Some(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(path, &error.unwrap_or_else(|| io::Error::other("a loop")))),
        };
        let mode = u16::try_from(metadata.mode() & u32::from(MODE_BITS)).unwrap_or(0);
        if metadata.is_dir() {
            self.open.push(Open { path: path.to_owned(), name, mode, entries: Vec::new() });
        } else if let Some(kind) = self.kind(path, &metadata, mode | OWNERS_FILE)? {
            self.add(Entry { name, kind });
        }
        Ok(())
    }

    fn error(&self, error: &ignore::Error) -> Result<(), WalkError> {
        let is_gone = error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
        let path = match error {
            ignore::Error::WithDepth { err, .. } => match &**err {
                ignore::Error::WithPath { path, .. } => path.as_path(),
                _ => self.root,
            },
            ignore::Error::WithPath { path, .. } => path.as_path(),
            _ => self.root,
        };
        match is_gone && path != self.root {
            true => Ok(()),
            false => match error.io_error() {
                Some(error) => Err(unreadable(path, error)),
                None => Err(WalkError::Read { path: path.to_owned(), error: error.to_string() }),
            },
        }
    }

    fn add(&mut self, entry: Entry) {
        if let Some(open) = self.open.last_mut() {
            open.entries.push(entry);
        }
    }

    /// What a file or link is, if it is copied and still there.
    fn kind(&mut self, path: &Path, metadata: &Metadata, mode: u16) -> Result<Option<EntryKind>, WalkError> {
        let result = if metadata.is_symlink() {
            std::fs::read_link(path).map(|target| self.link(path, target))
        } else if metadata.is_file() {
            self.file(path, metadata, mode).map(Some)
        } else {
            // Sockets, pipes and devices are of no use elsewhere.
            return Ok(None);
        };
        match result {
            Ok(kind) => Ok(kind),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) if self.stop.is_set() => Err(WalkError::Stopped),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// A link into the directory by its absolute path leads into the copy there.
    fn link(&self, path: &Path, target: PathBuf) -> Option<EntryKind> {
        let inside = target.strip_prefix(self.root).ok().map(|inside| {
            let depth = path.strip_prefix(self.root).map_or(0, |path| path.components().count());
            let up: PathBuf = std::iter::repeat_n("..", depth.saturating_sub(1)).collect();
            match up.join(inside) {
                way if way.as_os_str().is_empty() => PathBuf::from("."),
                way => way,
            }
        });
        let target = inside.unwrap_or(target).into_os_string().into_vec();
        is_target(&target).then_some(EntryKind::Link { target })
    }

    fn file(&mut self, path: &Path, metadata: &Metadata, mode: u16) -> io::Result<EntryKind> {
        let inside = path.strip_prefix(self.root).unwrap_or(path).as_os_str().as_bytes();
        let known = match self.known.known(inside, known::signature(metadata)) {
            Some(known) => known,
            None => self.hash(path)?,
        };
        self.now_known.set(inside, known);
        let Known { signature, mtime_ns, content } = known;
        self.blobs.entry(content).or_insert_with(|| Blob::File(path.to_owned()));
        Ok(EntryKind::File { mode, mtime_ns, size: signature.size, content })
    }

    fn hash(&mut self, path: &Path) -> io::Result<Known> {
        self.hashed += 1;
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut hasher = Hasher::default();
        let mut size = 0;
        loop {
            match file.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => {
                    size += count as u64;
                    hasher.update(&self.buffer[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.stop.is_set() {
                return Err(io::Error::other("stopped"));
            }
        }
        // The length is that of what was hashed, should more be written to the file just now.
        let signature = Signature { size, ..known::signature(&metadata) };
        Ok(Known { signature, mtime_ns: signature.mtime_ns, content: hasher.finish() })
    }

    /// Ends the innermost directory.
    fn close(&mut self) -> Result<(), WalkError> {
        let listing = self.listing(self.open.len() - 1)?;
        if let Some(Open { name, mode, .. }) = self.open.pop() {
            self.add(Entry { name, kind: EntryKind::Directory { mode, listing } });
        }
        Ok(())
    }

    fn listing(&mut self, depth: usize) -> Result<BlobHash, WalkError> {
        let open = &self.open[depth];
        let bytes = encode_listing(&open.entries);
        if bytes.len() > MAX_LISTING_BYTES {
            return Err(WalkError::TooMany { path: open.path.clone() });
        }
        let hash = BlobHash::of(&bytes);
        self.blobs.insert(hash, Blob::Listing(bytes));
        Ok(hash)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> WalkError {
    WalkError::Read { path: path.to_owned(), error: error.to_string() }
}

/// When a file was changed, in nanoseconds since 1970.
pub(super) fn mtime_ns(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}
