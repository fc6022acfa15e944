//! Which interpreter runs the tests.
#![expect(clippy::disallowed_methods, reason = "a shell module: the interpreter depends on the environment")]

use std::env;
use std::path::{Path, PathBuf};

/// No interpreter where one was asked for or expected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PythonError {
    /// `--python` is not made of words.
    #[error("--python {command:?} has an unclosed quote")]
    Unreadable {
        /// What was typed.
        command: String,
    },
    /// The interpreter does not exist.
    #[error(
        "the interpreter {command:?} does not exist or may not be executed (from {origin}); \
         name another one with --python"
    )]
    Missing {
        /// The interpreter.
        command: String,
        /// Where the name comes from.
        origin: &'static str,
    },
}

/// The command that starts the interpreter: `--python`, else the active virtual environment's, else that of the virtual
/// environment that this program is installed in together with pytest, else `python3`.
///
/// # Errors
/// [`PythonError`] when it does not exist.
pub(crate) fn find(option: Option<&str>) -> Result<Vec<String>, PythonError> {
    if let Some(option) = option {
        let words = shlex::split(option).filter(|words| !words.is_empty());
        let words = words.ok_or_else(|| PythonError::Unreadable { command: option.to_owned() })?;
        return existing(words, "--python");
    }
    if let Some(root) = env::var_os("VIRTUAL_ENV").filter(|root| !root.is_empty()) {
        return existing(vec![interpreter_in(Path::new(&root))], "VIRTUAL_ENV");
    }
    if let Some(root) = own_environment() {
        return existing(vec![interpreter_in(&root)], "the environment of this program");
    }
    existing(vec!["python3".to_owned()], "the default")
}

fn interpreter_in(environment: &Path) -> String {
    environment.join("bin/python").to_string_lossy().into_owned()
}

/// The virtual environment that this program stands in, if it has pytest: a tool installed by itself does not.
fn own_environment() -> Option<PathBuf> {
    let root = env::current_exe().ok()?.parent()?.parent()?.to_path_buf();
    if !root.join("pyvenv.cfg").is_file() {
        return None;
    }
    let versions = root.join("lib").read_dir().ok()?;
    let has_pytest = versions.flatten().any(|version| version.path().join("site-packages/pytest").is_dir());
    has_pytest.then_some(root)
}

fn existing(words: Vec<String>, origin: &'static str) -> Result<Vec<String>, PythonError> {
    let command = &words[0];
    let exists = match command.contains('/') {
        true => is_executable(Path::new(command)),
        false => env::var_os("PATH").is_some_and(|path| {
            env::split_paths(&path).any(|directory| is_executable(&directory.join(command)))
        }),
    };
    match exists {
        true => Ok(words),
        false => Err(PythonError::Missing { command: command.clone(), origin }),
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}
