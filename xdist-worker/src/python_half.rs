//! The Python half of the worker: carried inside this binary, and written to a directory once.
//!
//! The directory is kept between runs and named after version and content, so that Python's byte-code beside the sources
//! is kept as well, and that different versions never meet.
#![expect(clippy::disallowed_methods, reason = "the place of the cache is the environment's to say")]

use crate::child::interpreter;
use blake2::digest::consts::U8;
use blake2::{Blake2b, Digest};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};
use tempfile::TempDir;

/// The name of the package.
const PACKAGE: &str = "xdist_pytest";

/// Starts the pytest host.
const BOOT_HOST: &str =
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from xdist_pytest.host import main; main(sys.argv[1:])";

/// Finds out what is to be copied to workers elsewhere.
const BOOT_SETTINGS: &str = "import sys; sys.path.insert(0, sys.argv.pop(1)); from xdist_pytest.settings import main; main(sys.argv[1:])";

/// Starts plain pytest with our options known to it.
const BOOT_PLAIN: &str = "import sys; sys.path.insert(0, sys.argv.pop(1)); from xdist_pytest.plain import main; main(sys.argv[1:])";

/// The same from a directory that nobody else uses, which is removed when Python exits.
const BOOT_PLAIN_PRIVATE: &str = "import sys, atexit, shutil; \
                                  atexit.register(shutil.rmtree, sys.argv[1], ignore_errors=True); \
                                  sys.path.insert(0, sys.argv.pop(1)); \
                                  from xdist_pytest.plain import main; main(sys.argv[1:])";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../python/xdist_pytest/", $name)))),*]
    };
}

/// Every file of the package, by its path within it.
const FILES: &[(&str, &str)] = files![
    "__init__.py",
    "basetemp.py",
    "bridge.py",
    "capturing.py",
    "channel.py",
    "collecting.py",
    "compat.py",
    "controller.py",
    "controllerhooks.py",
    "crashes.py",
    "debugging.py",
    "descriptors.py",
    "display.py",
    "dist.py",
    "distribution.py",
    "distributor.py",
    "distterminal.py",
    "dumps.py",
    "entry.py",
    "finalizers.py",
    "fixtures.py",
    "forkable.py",
    "freezing.py",
    "hookspecs.py",
    "host.py",
    "image.py",
    "interrupts.py",
    "isolation.py",
    "itemqueue.py",
    "link.py",
    "memory.py",
    "msgpack.py",
    "nextitem.py",
    "nodes.py",
    "options.py",
    "plain.py",
    "plainretries.py",
    "plugin.py",
    "process.py",
    "quiet.py",
    "reports.py",
    "resources.py",
    "retries.py",
    "runner.py",
    "scheduling.py",
    "session.py",
    "settings.py",
    "shared.py",
    "sharing.py",
    "shortcuts.py",
    "startup.py",
    "trees.py",
    "watch.py",
    "whole.py",
];

/// The Python half could not be written anywhere. A retry helps once there is space.
#[derive(Debug, thiserror::Error)]
#[error(
    "write the Python half of xdist to a temporary directory (set XDIST_CACHE_DIR to one that can be written)"
)]
pub struct PythonHalfError(#[source] io::Error);

/// The Python half on disk, to be put on `sys.path`.
#[derive(Debug)]
pub struct PythonHalf {
    directory: PathBuf,
    /// Removed in the end, where the directory is not a lasting one.
    private: Option<TempDir>,
}

impl PythonHalf {
    /// Makes sure that the files are there: in `cache` if given, else in `XDIST_CACHE_DIR` or the user's cache directory;
    /// and where that cannot be used, in a temporary directory that is removed when this is dropped.
    ///
    /// # Errors
    /// When no place can be written to.
    pub fn unpack(cache: Option<PathBuf>) -> Result<Self, PythonHalfError> {
        if let Some(cache) = cache.or_else(cache_directory) {
            match unpack_into(&cache) {
                Ok(directory) => return Ok(Self { directory, private: None }),
                Err(error) => {
                    tracing::warn!(cache = %cache.display(), %error, "the cache cannot be used; every start compiles Python anew");
                }
            }
        }
        let private = tempfile::Builder::new().prefix("xdist-python-").tempdir().map_err(PythonHalfError)?;
        write_package(private.path()).map_err(PythonHalfError)?;
        Ok(Self { directory: private.path().to_owned(), private: Some(private) })
    }

    /// The directory that holds the package.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The command that runs the pytest host in this interpreter, from these files. Its link is at the descriptor that
    /// `XDIST_LINK_FD` names; the rest is as of [`plain_command`].
    #[must_use]
    pub fn host_command(&self, python: &[String], args: &[String]) -> Command {
        let mut command = interpreter(python);
        command.arg("-c").arg(BOOT_HOST).arg(&self.directory).args(args);
        command
    }

    /// The command that writes to `answer` what `args` and the configuration files say of directories to be copied, one
    /// for each line, as `xdist run` takes it. The rest is as of [`plain_command`].
    #[must_use]
    pub fn settings_command(&self, python: &[String], answer: &Path, args: &[String]) -> Command {
        let mut command = interpreter(python);
        command.arg("-c").arg(BOOT_SETTINGS).arg(&self.directory).arg(answer).args(args);
        command
    }

    /// As [`plain_command`], from these files.
    #[must_use]
    pub fn into_plain_command(self, python: &[String], args: &[OsString]) -> Command {
        let boot = if self.private.is_some() { BOOT_PLAIN_PRIVATE } else { BOOT_PLAIN };
        // The process outlives what we could hold here, so it removes the directory itself.
        let directory = self.private.map_or(self.directory, TempDir::keep);
        let mut command = interpreter(python);
        command.arg("-c").arg(boot).arg(directory).args(args);
        command
    }
}

/// The command that runs plain pytest in this interpreter, with the xdist options registered so that they parse.
///
/// `python` is the interpreter, with arguments of its own; empty for `python3`. `args` are pytest's. Standard streams,
/// directory and environment are the caller's to set.
///
/// # Errors
/// When the Python half cannot be written anywhere.
pub fn plain_command(python: &[String], args: &[OsString]) -> Result<Command, PythonHalfError> {
    Ok(PythonHalf::unpack(None)?.into_plain_command(python, args))
}

/// Where what is of use to later runs is kept, if that is known: `XDIST_CACHE_DIR`, or `xdist` in the user's cache
/// directory.
#[must_use]
pub fn cache_directory() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(own) = env::var_os("XDIST_CACHE_DIR").filter(|path| !path.is_empty()) {
        return std::path::absolute(own).ok();
    }
    let user = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    user.map(|user| user.join("xdist"))
}

/// Writes the package below `cache` unless it is there, and answers the directory that holds it.
fn unpack_into(cache: &Path) -> io::Result<PathBuf> {
    let directory = cache.join(format!("{}-{}", env!("CARGO_PKG_VERSION"), content_hash()));
    if is_complete(&directory) {
        return Ok(directory);
    }
    fs::create_dir_all(cache)?;
    let fresh = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(cache)?;
    write_package(fresh.path())?;
    // Temporary directories are for their owner alone, and so this one stays: it holds code that gets executed.
    match fs::rename(fresh.path(), &directory) {
        Ok(()) => {}
        // Somebody else was faster, or somebody damaged what was there.
        Err(_) if is_complete(&directory) => return Ok(directory),
        Err(_) => {
            fs::remove_dir_all(&directory)?;
            fs::rename(fresh.path(), &directory)?;
        }
    }
    // It has moved, so there is nothing left to remove.
    let _ = fresh.keep();
    Ok(directory)
}

/// Whether every file is there in its length. A rename puts all in place at once, so this is about damage, not races.
fn is_complete(directory: &Path) -> bool {
    FILES.iter().all(|(name, text)| {
        let found = fs::metadata(directory.join(PACKAGE).join(name));
        found.is_ok_and(|found| found.is_file() && found.len() == text.len() as u64)
    })
}

fn write_package(directory: &Path) -> io::Result<()> {
    for (name, text) in FILES {
        let path = directory.join(PACKAGE).join(name);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(path, text)?;
    }
    Ok(())
}

fn content_hash() -> String {
    let mut hasher = Blake2b::<U8>::new();
    for (name, text) in FILES {
        for part in [name, text] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sources(directory: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                sources(&entry.path(), &format!("{prefix}{name}/"), found);
            } else if name.ends_with(".py") {
                found.insert(format!("{prefix}{name}"));
            }
        }
    }

    #[test]
    fn every_source_is_embedded() {
        let mut found = BTreeSet::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(PACKAGE), "", &mut found);
        let embedded: BTreeSet<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(embedded, found, "FILES lists the files of the package");
    }

    #[test]
    fn unpacking_is_done_once_and_repairs_damage() {
        let cache = tempfile::tempdir().unwrap();
        let directory = unpack_into(cache.path()).unwrap();
        assert!(is_complete(&directory));
        let added = directory.join("added");
        fs::write(&added, "").unwrap();
        assert_eq!(unpack_into(cache.path()).unwrap(), directory);
        assert!(added.exists(), "what is complete is left alone");
        fs::write(directory.join(PACKAGE).join(FILES[0].0), "damaged").unwrap();
        assert_eq!(unpack_into(cache.path()).unwrap(), directory);
        assert!(is_complete(&directory) && !added.exists());
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn many_may_unpack_at_once() {
        let cache = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| unpack_into(cache.path()).unwrap())).collect();
            for directory in all.into_iter().map(|one| one.join().unwrap()) {
                assert!(is_complete(&directory));
            }
        });
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1);
    }

    #[test]
    fn without_a_cache_the_copy_is_private_and_removed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let half = PythonHalf::unpack(Some(file.path().to_owned())).unwrap();
        let directory = half.directory().to_owned();
        assert!(is_complete(&directory));
        drop(half);
        assert!(!directory.exists());
    }
}
