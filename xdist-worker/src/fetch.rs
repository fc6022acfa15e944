//! Finds and reads the files that the coordinator wants back when a run is over (`--fetch`).
//!
//! What is sent is below the directory that was named, wherever symbolic links lead. A file that cannot be sent is a
//! problem to name, and the others are sent all the same.

mod pattern;

use pattern::{Name, Pattern};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use xdist_proto::WorkerMessage;
use xdist_proto::fetch::{Fetch, FetchDone, Fetched, FileEnd, MAX_PART_BYTES};

/// The most problems that are named one by one.
const MOST_PROBLEMS: usize = 99;

/// The most characters of a problem, so that they fit one message.
const PROBLEM_CHARS: usize = 1000;

/// Parts below this size are not worth packing.
const LEAST_PACKED_BYTES: usize = 128;

/// How hard to try: the level at which zstd is faster than most networks.
const PACKING_LEVEL: i32 = 1;

/// Nobody takes the messages any more.
#[derive(Debug, PartialEq, Eq)]
struct Unwanted;

/// Sends what is asked for, in messages that `send` takes for as long as it says so. Blocks.
pub(crate) fn fetch(request: &Fetch, send: impl FnMut(WorkerMessage) -> bool) {
    let done = FetchDone { request: request.request, ..FetchDone::default() };
    let mut fetching = Fetching { request, send, done, unnamed: 0 };
    // Whoever does not want them does not want the end of them either.
    let _ = fetching.run();
}

struct Fetching<'a, S> {
    request: &'a Fetch,
    send: S,
    done: FetchDone,
    /// How many problems there are beyond those that are named.
    unnamed: usize,
}

impl<S: FnMut(WorkerMessage) -> bool> Fetching<'_, S> {
    fn run(&mut self) -> Result<(), Unwanted> {
        match Path::new(&self.request.directory).canonicalize() {
            Ok(root) => {
                let mut search = Search::new(root, self.request);
                search.run();
                for problem in std::mem::take(&mut search.problems) {
                    self.problem(&problem);
                }
                for path in &search.found {
                    self.file(&search.root, path)?;
                }
            }
            Err(error) => self.problem(&format!("{}: {}", self.request.directory, plain(&error))),
        }
        if self.unnamed > 0 {
            self.done.problems.push(format!("{} more files", self.unnamed));
        }
        let done = std::mem::take(&mut self.done);
        self.tell(WorkerMessage::FetchDone(done))
    }

    fn tell(&mut self, message: WorkerMessage) -> Result<(), Unwanted> {
        if (self.send)(message) { Ok(()) } else { Err(Unwanted) }
    }

    fn problem(&mut self, text: &str) {
        if self.done.problems.len() < MOST_PROBLEMS {
            self.done.problems.push(text.chars().take(PROBLEM_CHARS).collect());
        } else {
            self.unnamed += 1;
        }
    }

    /// Sends a file, or says why not.
    fn file(&mut self, root: &Path, path: &Path) -> Result<(), Unwanted> {
        let Some(name) = path.to_str() else {
            self.problem(&format!("{}: its name is not Unicode", path.to_string_lossy()));
            return Ok(());
        };
        if self.done.files >= self.request.max_files {
            let text = format!("{name}: there are {} files already", self.request.max_files);
            self.problem(&text);
            return Ok(());
        }
        let source = match Source::open(root, path) {
            Ok(source) => source,
            Err(why) => {
                self.problem(&format!("{name}: {why}"));
                return Ok(());
            }
        };
        if source.size > self.request.max_bytes - self.done.bytes {
            let text = format!("{name}: with it there would be more than {} bytes", self.request.max_bytes);
            self.problem(&text);
            return Ok(());
        }
        self.content(name, source)
    }

    fn content(&mut self, name: &str, mut source: Source) -> Result<(), Unwanted> {
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        loop {
            let (data, end) = match source.next_part(offset) {
                Ok(data) => {
                    hasher.update(&data);
                    let is_last = offset + data.len() as u64 == source.size;
                    let end = is_last.then(|| match source.check_unchanged() {
                        Ok(()) => FileEnd::Complete(*hasher.finalize().as_bytes()),
                        Err(why) => FileEnd::Broken(why),
                    });
                    (data, end)
                }
                Err(why) => (Vec::new(), Some(FileEnd::Broken(why))),
            };
            let length = data.len() as u64;
            let is_complete = matches!(end, Some(FileEnd::Complete(_)));
            let is_last = end.is_some();
            let (data, unpacked) = packed(data);
            let mode = source.mode;
            let (request, path) = (self.request.request, name.to_owned());
            self.tell(WorkerMessage::Fetched(Fetched { request, path, mode, offset, data, unpacked, end }))?;
            offset += length;
            if is_complete {
                self.done.files += 1;
                self.done.bytes += offset;
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// The data, as a zstd frame if that is shorter.
fn packed(data: Vec<u8>) -> (Vec<u8>, Option<u32>) {
    if data.len() >= LEAST_PACKED_BYTES
        && let Ok(packed) = zstd::bulk::compress(&data, PACKING_LEVEL)
        && packed.len() < data.len()
    {
        return (packed, u32::try_from(data.len()).ok());
    }
    (data, None)
}

/// A file that is being sent.
struct Source {
    file: File,
    size: u64,
    mode: u32,
    modified: (i64, i64),
}

impl Source {
    /// Opens a regular file below the root.
    fn open(root: &Path, path: &Path) -> Result<Self, String> {
        let real = root.join(path).canonicalize().map_err(|error| plain(&error))?;
        if !real.starts_with(root) {
            return Err("it leads out of the directory".to_owned());
        }
        let mut options = File::options();
        // Something else may be there by now; a pipe would be waited for.
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
        let file = options.open(real).map_err(|error| plain(&error))?;
        let metadata = file.metadata().map_err(|error| plain(&error))?;
        if !metadata.is_file() {
            return Err("it is no file any more".to_owned());
        }
        let (size, mode) = (metadata.len(), metadata.mode() & 0o777);
        Ok(Self { file, size, mode, modified: (metadata.mtime(), metadata.mtime_nsec()) })
    }

    /// As much as goes into a message of what there was when it was opened.
    fn next_part(&mut self, offset: u64) -> Result<Vec<u8>, String> {
        let length = usize::try_from(self.size - offset).unwrap_or(usize::MAX).min(MAX_PART_BYTES);
        let mut data = vec![0; length];
        self.file.read_exact(&mut data).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => CHANGED.to_owned(),
            _ => plain(&error),
        })?;
        Ok(data)
    }

    fn check_unchanged(&self) -> Result<(), String> {
        let metadata = self.file.metadata().map_err(|error| plain(&error))?;
        let now = (metadata.len(), (metadata.mtime(), metadata.mtime_nsec()));
        if now == (self.size, self.modified) { Ok(()) } else { Err(CHANGED.to_owned()) }
    }
}

/// What became of a file that somebody still writes to.
const CHANGED: &str = "it changed while it was read";

/// The error in words, without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Looks for files whose paths fit patterns.
struct Search<'a> {
    root: PathBuf,
    request: &'a Fetch,
    /// Relative to the root.
    found: BTreeSet<PathBuf>,
    problems: Vec<String>,
}

impl<'a> Search<'a> {
    const fn new(root: PathBuf, request: &'a Fetch) -> Self {
        Self { root, request, found: BTreeSet::new(), problems: Vec::new() }
    }

    fn run(&mut self) {
        for pattern in &self.request.patterns {
            let pattern = Pattern::new(pattern);
            self.look(Path::new(""), pattern.names());
        }
    }

    /// Looks in a directory for what fits the rest of a pattern.
    fn look(&mut self, directory: &Path, names: &[Name]) {
        let Some((first, rest)) = names.split_first() else { return };
        if self.is_left_out(directory) {
            return;
        }
        match first {
            Name::Literal(name) => self.take(&directory.join(name), rest),
            Name::AnyDirectories => {
                self.look(directory, rest);
                for (name, is_directory) in self.entries(directory) {
                    // A link may lead back to where it is.
                    if is_directory && !name.as_encoded_bytes().starts_with(b".") {
                        self.look(&directory.join(name), names);
                    }
                }
            }
            Name::Wild(_) => {
                for (name, _) in self.entries(directory) {
                    if first.fits(&name.to_string_lossy()) {
                        self.take(&directory.join(name), rest);
                    }
                }
            }
        }
    }

    /// Takes a file that fits, or goes on below a directory.
    fn take(&mut self, path: &Path, rest: &[Name]) {
        let Ok(metadata) = fs::metadata(self.root.join(path)) else { return };
        if !rest.is_empty() {
            if metadata.is_dir() && self.is_inside(path) {
                self.look(path, rest);
            }
        } else if metadata.is_file() {
            self.found.insert(path.to_owned());
        }
    }

    fn is_inside(&mut self, path: &Path) -> bool {
        let inside = self.root.join(path).canonicalize().is_ok_and(|real| real.starts_with(&self.root));
        if !inside {
            self.problems.push(format!("{}: it leads out of the directory", path.display()));
        }
        inside
    }

    fn is_left_out(&self, directory: &Path) -> bool {
        self.request.except.iter().any(|except| directory == Path::new(except))
    }

    /// The names in a directory, and whether each is one itself.
    fn entries(&mut self, directory: &Path) -> Vec<(OsString, bool)> {
        let entries = match fs::read_dir(self.root.join(directory)) {
            Ok(entries) => entries,
            Err(error) => {
                self.problems.push(format!("{}: {}", directory.display(), plain(&error)));
                return Vec::new();
            }
        };
        let known = |entry: fs::DirEntry| {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            (entry.file_name(), is_directory)
        };
        entries.flatten().map(known).collect()
    }
}

#[cfg(test)]
mod tests;
