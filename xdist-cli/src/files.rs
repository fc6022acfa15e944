//! Which directories are copied to workers elsewhere: what the arguments say, checked before anything is started.

use crate::invocation::Invocation;
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use xdist_coord::session::Place;
use xdist_coord::sync::roots;
use xdist_proto::sync::Files;
use xdist_proto::tree::BlobHash;

/// How much of a hash tells projects apart, in hexadecimal digits.
const PROJECT_DIGITS: usize = 16;

/// What the arguments say, with absolute paths.
///
/// # Errors
/// When a directory is not there.
pub(crate) fn given(invocation: &Invocation) -> anyhow::Result<Files> {
    if let Some(found) = &invocation.found_files {
        return Ok(found.clone());
    }
    let absolute = |option: &'static str, paths: &[String]| -> anyhow::Result<Vec<String>> {
        paths.iter().map(|path| directory(path).with_context(|| format!("{option} {path}"))).collect()
    };
    Ok(Files {
        sync: absolute("--sync", &invocation.sync)?,
        rsync: absolute("--rsyncdir", &invocation.rsync)?,
        ignore: invocation.rsync_ignore.clone(),
    })
}

/// The absolute path of a directory that is there.
fn directory(path: &str) -> anyhow::Result<String> {
    let real = Path::new(path).canonicalize()?;
    if !real.is_dir() {
        bail!("it is no directory");
    }
    let text = real.to_str().context("its path is not Unicode")?;
    Ok(text.to_owned())
}

/// Adds to a place what is copied from there.
///
/// # Errors
/// When directories cannot be copied together.
pub(crate) fn place(files: Files, place: Place, hostname: &str) -> anyhow::Result<Place> {
    let roots = roots(&files)?;
    // What is copied may also come to light later, from a configuration file.
    let whose = roots.first().map_or(&place.directory, |root| &root.path);
    let project = project(whose, hostname);
    Ok(Place { files, roots, project, ..place })
}

/// A name that no other project has, of any machine, and that people recognize.
fn project(path: &str, hostname: &str) -> String {
    let hash = BlobHash::of(format!("{hostname}\0{path}").as_bytes()).to_string();
    let plain = |char: char| if char.is_ascii_alphanumeric() || "._-".contains(char) { char } else { '_' };
    let name: String = path.rsplit('/').next().unwrap_or_default().chars().map(plain).take(64).collect();
    format!("{name}-{}", &hash[..PROJECT_DIGITS])
}

/// The directory of this process, as others can name it; empty where it has no such name.
pub(crate) fn current_directory() -> String {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::new()).to_string_lossy().into_owned()
}
