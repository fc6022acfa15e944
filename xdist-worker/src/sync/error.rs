//! Why a directory was not copied.

use rustix::io::Errno;
use std::io;
use std::path::Path;
use xdist_proto::tree::ListingError;

/// A directory could not be made what it should be. Reads as a sentence of its own, with what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum SyncError {
    #[error("cannot {doing} {path:?}: {source}; {}{}", advice(*.source), anew(*.source, copy.as_deref()))]
    Io {
        doing: &'static str,
        path: String,
        source: Errno,
        /// The copy that this was in, if it is known to be ours.
        copy: Option<String>,
    },
    #[error(
        "{path:?} is there already, and is no copy that xdist has made; remove it or name another directory with \
         chdir=, or, to use it as it is, copy nothing (no --sync, no --rsyncdir)"
    )]
    NotOurs { path: String },
    #[error(
        "{path:?} is in the way: either something has just made it, or names that differ in upper and lower case are \
         the same to the file system there; copy to another one (chdir=), or rename it"
    )]
    InTheWay { path: String },
    #[error(
        "there is no directory for copies: the home directory is not known there; name one with chdir=, or set XDIST_CACHE_DIR there"
    )]
    NoCache,
    #[error("the path {path:?} is not Unicode; name another directory with chdir=")]
    NotUnicode { path: String },
    #[error("{what} cannot be the name of a copy")]
    Name { what: String },
    #[error("the directory has more than {limit} files; leave some out with --rsyncignore")]
    TooMany { limit: usize },
    #[error("{path:?} is nested more than {limit} directories deep; leave it out with --rsyncignore")]
    TooDeep { path: String, limit: usize },
    #[error(transparent)]
    Listing(#[from] ListingError),
    #[error(
        "what arrived is not what was announced: {0}; this is a bug in xdist, or the machine's memory is broken"
    )]
    Garbled(String),
    #[error("the link has ended")]
    Ended,
}

impl SyncError {
    /// For use with `map_err`.
    pub(super) fn io<E: Into<io::Error>>(
        doing: &'static str,
        path: &[u8],
    ) -> impl FnOnce(E) -> Self + use<E> {
        let path = String::from_utf8_lossy(path).into_owned();
        move |error| {
            let source = Errno::from_io_error(&error.into()).unwrap_or(Errno::IO);
            Self::Io { doing, path, source, copy: None }
        }
    }

    /// The same, with the copy that it has happened in.
    pub(super) fn in_copy(self, root: &Path) -> Self {
        match self {
            Self::Io { doing, path, source, copy: None } => {
                Self::Io { doing, path, source, copy: Some(root.display().to_string()) }
            }
            error => error,
        }
    }
}

const fn advice(error: Errno) -> &'static str {
    match error {
        Errno::NOSPC | Errno::DQUOT => {
            "make room there, or name a directory on another file system with chdir="
        }
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            "see that the user there may write to it, or name another directory with chdir="
        }
        Errno::LOOP | Errno::NOTDIR | Errno::EXIST | Errno::ISDIR => {
            "something else is there, a symbolic link perhaps: remove it, or name another directory with chdir="
        }
        _ => "see what is wrong with it, or name another directory with chdir=",
    }
}

/// What also helps where something is wrong with the copy itself, and not with the file system that it is on.
fn anew(error: Errno, copy: Option<&str>) -> String {
    match (copy, error) {
        (None, _) | (_, Errno::NOSPC | Errno::DQUOT | Errno::ROFS) => String::new(),
        (Some(copy), _) => format!("; or delete {copy:?} there: it is a copy, and is made anew"),
    }
}
