//! Which directories are copied, and what of them.

use super::fnmatch::{Pattern, characters};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use xdist_proto::sync::Files;
use xdist_proto::tree::stays_where_it_is;

/// What `--rsyncdir` always leaves out (pytest-xdist 3.8, `workermanage.py`).
const RSYNC_IGNORES: [&str; 4] = [".*", "*.pyc", "*.pyo", "*~"];

/// What `--sync` leaves out whatever ignore files say: the business of version control and of tools that make environments.
const SYNC_IGNORES: [&str; 7] = [".git", ".hg", ".svn", ".tox", ".nox", ".DS_Store", "*~"];

/// A file that is in every virtual environment, which is of no use elsewhere.
const ENVIRONMENT: &str = "pyvenv.cfg";

/// A directory to be copied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Root {
    /// Its path, absolute.
    pub path: String,
    /// Its own name, which the copy has too.
    pub name: String,
    /// Whether what ignore files (`.gitignore`, `.ignore`) name is left out.
    pub heeds_ignore_files: bool,
}

/// Directories that cannot be copied as wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// Two would be copied to one place.
    #[error(
        "{first:?} and {second:?} would be copied to the same place, since both are called {name:?}; rename one of them, or copy the directory that both are in"
    )]
    SameName {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// The name of both.
        name: String,
    },
    /// A directory without a name.
    #[error("{path:?} has no name of its own to be copied under; name directories in it")]
    NoName {
        /// The directory.
        path: String,
    },
}

/// The directories to copy, each once.
///
/// # Errors
/// [`RootError`] names what is wrong.
pub fn roots(files: &Files) -> Result<Vec<Root>, RootError> {
    let mut roots: Vec<Root> = Vec::new();
    let wanted = [(&files.sync, true), (&files.rsync, false)];
    let wanted = wanted.into_iter().flat_map(|(paths, heeds)| paths.iter().map(move |path| (path, heeds)));
    for (path, heeds_ignore_files) in wanted {
        let path = match path.trim_end_matches('/') {
            "" => return Err(RootError::NoName { path: path.clone() }),
            path => path.to_owned(),
        };
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        if matches!(&name[..], "." | ".." | "") {
            return Err(RootError::NoName { path });
        }
        match roots.iter().find(|root| root.name == name) {
            Some(root) if root.path == path => {}
            Some(root) => {
                return Err(RootError::SameName { first: root.path.clone(), second: path, name });
            }
            None => roots.push(Root { path, name, heeds_ignore_files }),
        }
    }
    Ok(roots)
}

/// Says of files whether they are copied.
#[derive(Debug)]
pub(super) struct Selection {
    patterns: Vec<Pattern>,
    without_environments: bool,
}

impl Selection {
    pub(super) fn new(root: &Root, ignore: &[String]) -> Self {
        let always: &[&str] = if root.heeds_ignore_files { &SYNC_IGNORES } else { &RSYNC_IGNORES };
        let patterns = always.iter().copied().chain(ignore.iter().map(String::as_str));
        Self { patterns: patterns.map(Pattern::new).collect(), without_environments: root.heeds_ignore_files }
    }

    /// Whether this file or directory is copied.
    pub(super) fn has(&self, path: &Path, is_directory: bool) -> bool {
        let name = path.file_name().unwrap_or(OsStr::new(""));
        let texts = [name, path.as_os_str()].map(|text| characters(text.as_bytes()));
        let is_ignored = self.patterns.iter().any(|pattern| texts.iter().any(|text| pattern.matches(text)));
        let is_environment =
            || is_directory && self.without_environments && path.join(ENVIRONMENT).symlink_metadata().is_ok();
        !stays_where_it_is(name.as_bytes()) && !is_ignored && !is_environment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sync: &[&str], rsync: &[&str], ignore: &[&str]) -> Files {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Files { sync: owned(sync), rsync: owned(rsync), ignore: owned(ignore) }
    }

    fn check(files: &Files, expected: &str) {
        let found = match roots(files) {
            Ok(roots) => roots.iter().map(|root| format!("{}={} ", root.name, root.path)).collect(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn every_directory_is_copied_once_under_its_name() {
        check(&files(&["/a/b", "/c/"], &["/a/b"], &[]), "b=/a/b c=/c ");
        check(
            &files(&["/a/b"], &["/c/b"], &[]),
            r#""/a/b" and "/c/b" would be copied to the same place, since both are called "b"; rename one of them, or copy the directory that both are in"#,
        );
        check(
            &files(&["/"], &[], &[]),
            r#""/" has no name of its own to be copied under; name directories in it"#,
        );
    }

    #[test]
    fn what_is_ignored_is_so_by_its_name_or_its_path() {
        let root = Root { path: "/p".to_owned(), name: "p".to_owned(), heeds_ignore_files: false };
        let ignore = ["*.log".to_owned(), "/p/data/*".to_owned(), "[!x]y".to_owned(), "[".to_owned()];
        let selection = Selection::new(&root, &ignore);
        let has = |path: &str| selection.has(Path::new(path), false);
        for left_out in ["/p/a.log", "/p/s/b.log", "/p/data/x/y", "/p/s/[", "/p/zy", "/p/.env", "/p/s/a.pyc"]
        {
            assert!(!has(left_out), "{left_out}");
        }
        for copied in ["/p/a", "/p/data", "/p/xy", "/p/__init__.py", "/p/a.logs"] {
            assert!(has(copied), "{copied}");
        }
    }

    #[test]
    fn sync_takes_hidden_files_but_those_of_version_control() {
        let root = Root { path: "/p".to_owned(), name: "p".to_owned(), heeds_ignore_files: true };
        let selection = Selection::new(&root, &[]);
        let has = |path: &str| selection.has(Path::new(path), true);
        assert!(has("/p/.env") && has("/p/.github") && has("/p/x.egg-info"));
        assert!(
            !has("/p/.git") && !has("/p/__pycache__") && !has("/p/.pytest_cache") && !has("/p/.xdist-sync")
        );
    }
}
