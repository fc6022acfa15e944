//! Puts files of other machines where they belong: below a directory, complete, or not at all.
//!
//! What a path from elsewhere may be is for the session to check. Here directories are entered one by one without
//! following links, so that none that is there already leads elsewhere. A file gets its name when all of it is there and
//! has the right hash. Each part is a small step: nothing is read back, and nothing is waited for but the disk's cache.

use crate::session::input::Stored;
use crate::session::output::FetchStep;
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use xdist_proto::FetchId;
use xdist_proto::fetch::{Fetched, FileEnd, MAX_PART_BYTES};

/// The most problems of one fetch that are named.
const MOST_PROBLEMS: usize = 100;

/// Directories that are made, as far as the user's mask allows it.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o777);

/// All that is being fetched.
#[derive(Debug, Default)]
pub(super) struct Stores {
    stores: BTreeMap<FetchId, Store>,
}

impl Stores {
    /// Takes a step. The last one of a fetch answers what has come of it.
    pub(super) fn step(&mut self, fetch: FetchId, step: FetchStep) -> Option<Stored> {
        match step {
            FetchStep::Begin { directory } => {
                self.stores.insert(fetch, Store::new(directory));
                None
            }
            FetchStep::Part(part) => {
                if let Some(store) = self.stores.get_mut(&fetch) {
                    store.part(*part);
                }
                None
            }
            FetchStep::End => Some(self.stores.remove(&fetch).map(Store::end).unwrap_or_default()),
        }
    }
}

/// Files that come into one directory.
#[derive(Debug)]
struct Store {
    directory: String,
    /// Opened when there is something to put there.
    root: Option<OwnedFd>,
    /// What is arriving. A file that cannot be stored is let go by.
    open: Option<Result<Arriving, String>>,
    result: Stored,
}

/// A file that is arriving.
#[derive(Debug)]
struct Arriving {
    /// The directory that it belongs into.
    directory: OwnedFd,
    /// What it is called until it is complete.
    temporary: String,
    file: File,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl Store {
    fn new(directory: String) -> Self {
        Self { directory, root: None, open: None, result: Stored::default() }
    }

    fn part(&mut self, part: Fetched) {
        let arriving = self.open.take().unwrap_or_else(|| self.begin(&part.path));
        let arriving = arriving.and_then(|mut arriving| match arriving.add(&part) {
            Ok(()) => Ok(arriving),
            Err(why) => {
                arriving.discard();
                Err(why)
            }
        });
        let Some(end) = part.end else {
            self.open = Some(arriving);
            return;
        };
        let finished = match (arriving, end) {
            (Ok(arriving), FileEnd::Complete(hash)) => arriving.finish(&part.path, part.mode, &hash),
            (Ok(arriving), FileEnd::Broken(why)) => {
                arriving.discard();
                Err(why)
            }
            (Err(why), _) => Err(why),
        };
        match finished {
            Ok(bytes) => {
                self.result.files += 1;
                self.result.bytes += bytes;
            }
            Err(why) if self.result.problems.len() < MOST_PROBLEMS => {
                self.result.problems.push(format!("{}: {why}", part.path));
            }
            Err(_) => {}
        }
    }

    fn begin(&mut self, path: &str) -> Result<Arriving, String> {
        let cannot = |error: io::Error| format!("cannot be stored in {}: {error}", self.directory);
        let root = match self.root.take() {
            Some(root) => root,
            None => open_root(&self.directory).map_err(cannot)?,
        };
        let arriving = Arriving::new(&root, path);
        self.root = Some(root);
        arriving.map_err(|errno| cannot(errno.into()))
    }

    fn end(self) -> Stored {
        if let Some(Ok(arriving)) = self.open {
            arriving.discard();
        }
        self.result
    }
}

/// Opens the directory that the user has named, and makes it if need be.
fn open_root(directory: &str) -> io::Result<OwnedFd> {
    std::fs::create_dir_all(directory)?;
    Ok(fs::open(directory, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a directory within another, and makes it if need be. Does not follow links.
fn enter(directory: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match fs::mkdirat(directory, name, DIRECTORY_MODE) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    fs::openat(directory, name, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

impl Arriving {
    fn new(root: &OwnedFd, path: &str) -> Result<Self, Errno> {
        let mut directory = rustix::io::fcntl_dupfd_cloexec(root, 0)?;
        if let Some((parents, _)) = path.rsplit_once('/') {
            for name in parents.split('/') {
                directory = enter(&directory, name)?;
            }
        }
        let temporary = format!(".xdist-fetch-{}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // One file arrives at a time, and each host has a directory of its own: what is there was left behind.
        match fs::unlinkat(&directory, &temporary, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        let file = fs::openat(&directory, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Self { directory, temporary, file: file.into(), bytes: 0, hasher: blake3::Hasher::new() })
    }

    fn add(&mut self, part: &Fetched) -> Result<(), String> {
        let unpacked;
        let data = match part.unpacked {
            None => &part.data,
            Some(length) => {
                let found = zstd::bulk::decompress(&part.data, MAX_PART_BYTES);
                let is_right = |data: &Vec<u8>| data.len() == length as usize;
                unpacked = found.ok().filter(is_right).ok_or("it arrived damaged")?;
                &unpacked
            }
        };
        self.hasher.update(data);
        self.bytes += data.len() as u64;
        self.file.write_all(data).map_err(|error| format!("cannot be written: {error}"))
    }

    /// Gives it its name, in place of an earlier file of that name.
    fn finish(self, path: &str, mode: u32, hash: &[u8; 32]) -> Result<u64, String> {
        let name = Path::new(path).file_name().unwrap_or_default();
        // Whoever fetched it can read and delete it; nothing runs as somebody else.
        let mode = Mode::from_raw_mode((mode & 0o777 | 0o600) as _);
        let result = if self.hasher.finalize().as_bytes() == hash {
            fs::fchmod(&self.file, mode)
                .and_then(|()| {
                    fs::renameat(&self.directory, &self.temporary, &self.directory, name.as_bytes())
                })
                .map_err(|error| format!("cannot be stored: {}", io::Error::from(error)))
        } else {
            Err("it arrived damaged".to_owned())
        };
        match result {
            Ok(()) => Ok(self.bytes),
            Err(why) => {
                self.discard();
                Err(why)
            }
        }
    }

    fn discard(self) {
        if let Err(error) = fs::unlinkat(&self.directory, &self.temporary, AtFlags::empty()) {
            tracing::debug!(%error, self.temporary, "what is incomplete stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const FETCH: FetchId = FetchId(7);

    /// A directory, and what is fetched into `in` below it.
    struct Bench {
        directory: tempfile::TempDir,
        stores: Stores,
    }

    fn part(path: &str, offset: u64, data: &[u8], end: Option<FileEnd>) -> FetchStep {
        let (path, data) = (path.to_owned(), data.to_vec());
        FetchStep::Part(Box::new(Fetched {
            request: FETCH,
            path,
            mode: 0o4640,
            offset,
            data,
            unpacked: None,
            end,
        }))
    }

    fn complete(data: &[u8]) -> Option<FileEnd> {
        Some(FileEnd::Complete(*blake3::hash(data).as_bytes()))
    }

    impl Bench {
        fn new() -> Self {
            let mut bench = Self { directory: tempfile::tempdir().unwrap(), stores: Stores::default() };
            let directory = bench.path("in");
            assert_eq!(bench.stores.step(FETCH, FetchStep::Begin { directory }), None);
            bench
        }

        fn path(&self, path: &str) -> String {
            self.directory.path().join(path).to_str().unwrap().to_owned()
        }

        fn whole(&mut self, path: &str, data: &[u8]) {
            assert_eq!(self.stores.step(FETCH, part(path, 0, data, complete(data))), None);
        }

        fn end(&mut self) -> Stored {
            self.stores.step(FETCH, FetchStep::End).unwrap()
        }

        /// Every file below the directory.
        fn files(&self) -> String {
            let mut found = Vec::new();
            let mut left = vec![self.directory.path().to_owned()];
            while let Some(directory) = left.pop() {
                for entry in std::fs::read_dir(directory).unwrap() {
                    let path = entry.unwrap().path();
                    match path.is_dir() && !path.is_symlink() {
                        true => left.push(path),
                        false => found.push(
                            path.strip_prefix(self.directory.path()).unwrap().to_str().unwrap().to_owned(),
                        ),
                    }
                }
            }
            found.sort();
            found.join(" ")
        }
    }

    #[test]
    fn files_get_their_names_when_they_are_complete() {
        let mut bench = Bench::new();
        bench.stores.step(FETCH, part("a/b/c", 0, b"12", None));
        assert_eq!(bench.files(), format!("in/a/b/.xdist-fetch-{}", std::process::id()));
        bench.stores.step(FETCH, part("a/b/c", 2, b"3", complete(b"123")));
        bench.whole("empty", b"");
        assert_eq!(bench.files(), "in/a/b/c in/empty");
        assert_eq!(std::fs::read(bench.path("in/a/b/c")).unwrap(), b"123");
        let mode = std::fs::metadata(bench.path("in/a/b/c")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert_eq!(bench.end(), Stored { files: 2, bytes: 3, problems: Vec::new() });
    }

    #[test]
    fn what_is_incomplete_or_damaged_is_not_kept_and_the_rest_is() {
        let mut bench = Bench::new();
        bench.stores.step(FETCH, part("broken", 0, b"12", None));
        bench.stores.step(FETCH, part("broken", 2, b"", Some(FileEnd::Broken("it changed".to_owned()))));
        bench.stores.step(FETCH, part("damaged", 0, b"12", complete(b"13")));
        let FetchStep::Part(mut bomb) =
            part("packed", 0, &zstd::bulk::compress(&[0; 1 << 20], 1).unwrap(), complete(b""))
        else {
            unreachable!("it is one");
        };
        bomb.unpacked = Some(4);
        bench.stores.step(FETCH, FetchStep::Part(bomb));
        bench.whole("whole", b"1");
        bench.stores.step(FETCH, part("cut off", 0, b"12", None));
        let stored = bench.end();
        assert_eq!(
            stored.problems,
            ["broken: it changed", "damaged: it arrived damaged", "packed: it arrived damaged"]
        );
        assert_eq!((stored.files, stored.bytes), (1, 1));
        assert_eq!(bench.files(), "in/whole");
    }

    #[test]
    fn links_that_are_there_lead_nowhere() {
        let mut bench = Bench::new();
        std::fs::create_dir_all(bench.path("in")).unwrap();
        std::fs::create_dir_all(bench.path("elsewhere")).unwrap();
        std::fs::write(bench.path("precious"), b"p").unwrap();
        symlink(bench.path("elsewhere"), bench.path("in/way")).unwrap();
        symlink(bench.path("precious"), bench.path("in/file")).unwrap();
        bench.whole("way/x", b"x");
        bench.whole("file", b"x");
        let stored = bench.end();
        assert_eq!((stored.files, stored.problems.len()), (1, 1));
        assert!(stored.problems[0].starts_with("way/x: cannot be stored in "), "{stored:?}");
        assert_eq!(bench.files(), "in/file in/way precious");
        assert_eq!(std::fs::read(bench.path("precious")).unwrap(), b"p");
        assert_eq!(std::fs::read(bench.path("in/file")).unwrap(), b"x");
    }

    #[test]
    fn an_earlier_file_is_replaced_and_a_directory_is_not() {
        let mut bench = Bench::new();
        std::fs::create_dir_all(bench.path("in/directory")).unwrap();
        std::fs::write(bench.path("in/old"), b"old").unwrap();
        bench.whole("old", b"new");
        bench.whole("directory", b"x");
        bench.whole("old/below", b"x");
        let stored = bench.end();
        assert_eq!(stored.files, 1);
        assert!(stored.problems[0].starts_with("directory: cannot be stored: "), "{stored:?}");
        assert!(stored.problems[1].starts_with("old/below: cannot be stored in "), "{stored:?}");
        assert_eq!(std::fs::read(bench.path("in/old")).unwrap(), b"new");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told_for_each_file() {
        let mut bench = Bench::new();
        std::fs::write(bench.path("in"), b"no directory").unwrap();
        bench.whole("a", b"x");
        bench.whole("b", b"x");
        let stored = bench.end();
        assert_eq!((stored.files, stored.problems.len()), (0, 2));
    }
}
