//! Which directories are copied to workers elsewhere: what arguments and settings say, checked before anything is started.
#![expect(clippy::disallowed_methods, reason = "a shell module: settings may stand in the environment")]

use crate::invocation::{Invocation, found_files};
use anyhow::{Context, bail};
use std::env;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use xdist_coord::session::Place;
use xdist_coord::sync::roots;
use xdist_coord::workers::spec::{HostSpec, WorkerSpec};
use xdist_proto::sync::Files;
use xdist_proto::tree::BlobHash;
use xdist_worker::python_half::{self, PythonHalf};

/// How much of a hash tells projects apart, in hexadecimal digits.
const PROJECT_DIGITS: usize = 16;

/// Where pytest looks for its settings.
const SETTINGS: [&str; 7] =
    ["pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg"];

/// One of these stands in settings that are about copying.
const MENTIONS: [&str; 2] = ["rsync", "--sync"];

/// What the arguments and settings say, with absolute paths.
///
/// # Errors
/// When a directory is not there.
pub(crate) fn given(
    invocation: &Invocation,
    workers: Option<&[WorkerSpec]>,
    python: &[String],
) -> anyhow::Result<Files> {
    if let Some(found) = &invocation.found_files {
        return Ok(found.clone());
    }
    let is_elsewhere = |spec: &WorkerSpec| spec.host != HostSpec::Local || spec.chdir.is_some();
    if workers.is_some_and(|workers| workers.iter().any(is_elsewhere)) && settings_matter(invocation) {
        return ask_pytest(invocation, python);
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

/// Whether anything that pytest reads besides the arguments may be about copying. To find out what it says takes a Python.
fn settings_matter(invocation: &Invocation) -> bool {
    let mentioned = |text: &str| MENTIONS.iter().any(|mention| text.contains(mention));
    let in_environment = env::var("PYTEST_ADDOPTS").is_ok_and(|text| mentioned(&text));
    let here = env::current_dir().unwrap_or_default();
    let in_file = |path: &Path| std::fs::read_to_string(path).is_ok_and(|text| mentioned(&text));
    // Settings are looked for where the tests are, and may be any file that an option names.
    let paths = invocation.pytest_args.iter().map(|argument| {
        let value = argument.split_once('=').map_or(argument.as_str(), |(_, value)| value);
        here.join(value.split("::").next().unwrap_or(value))
    });
    let paths: Vec<PathBuf> = paths.filter(|path| path.exists()).chain([here.clone()]).collect();
    let directories = paths.iter().flat_map(|path| path.ancestors());
    let candidates = directories.flat_map(|directory| SETTINGS.iter().map(|name| directory.join(name)));
    in_environment
        || paths.iter().any(|path| in_file(path))
        || candidates.into_iter().any(|path| in_file(&path))
}

/// Has pytest read arguments and settings.
fn ask_pytest(invocation: &Invocation, python: &[String]) -> anyhow::Result<Files> {
    let answer = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    let half = PythonHalf::unpack(None)?;
    let mut command = half.settings_command(python, answer.path(), &invocation.pytest_args);
    let status = command
        .stdin(Stdio::null())
        .stdout(rustix::io::dup(rustix::stdio::stderr()).context("cannot use standard error")?)
        .status()
        .context("cannot read pytest's settings, which may say what to copy to other machines")?;
    if !status.success() {
        bail!(
            "pytest does not take these options or settings, which may say what to copy to other machines; its reason \
             stands above"
        );
    }
    let text =
        std::fs::read_to_string(answer.path()).context("cannot read what pytest makes of its settings")?;
    match text.strip_prefix("refused=") {
        Some(reason) => bail!("{reason}"),
        None => Ok(found_files(&text)),
    }
}

/// The absolute path of a directory that is there. The Python half's `options.py` says the same of what is not.
fn directory(path: &str) -> anyhow::Result<String> {
    let real = match Path::new(path).canonicalize() {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            bail!("there is no such directory here; name one that is, or leave this out")
        }
        real => real?,
    };
    if !real.is_dir() {
        bail!("this is no directory, and only directories are copied; name the directory that it is in");
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
    let cache = python_half::cache_directory().and_then(|cache| cache.to_str().map(str::to_owned));
    Ok(Place { files, roots, project, cache, ..place })
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
    env::current_dir().unwrap_or_else(|_| PathBuf::new()).to_string_lossy().into_owned()
}
