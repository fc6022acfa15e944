//! Tells people, and a file, how workers join a run.

use crate::invocation::Invocation;
use anyhow::Context;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use xdist_coord::launch::Invitation;
use xdist_proto::RunId;

/// The file that has the join token, which is a secret. It is gone when the run is over.
#[derive(Debug)]
pub(crate) struct JoinFile {
    path: PathBuf,
    /// What will be it, until it is.
    prepared: Option<NamedTempFile>,
}

impl JoinFile {
    /// What a run has that lets workers join.
    ///
    /// # Errors
    /// When nobody could find out how to join.
    pub(crate) fn new(invocation: &Invocation, run: &RunId) -> anyhow::Result<Option<Self>> {
        if invocation.listen.is_empty() {
            anyhow::ensure!(invocation.join_file.is_none(), "--join-file needs --listen");
            return Ok(None);
        }
        let path = invocation.join_file.clone();
        let path = path.unwrap_or_else(|| std::env::temp_dir().join(format!("xdist-join-{run}")));
        let prepared = prepare(&path).with_context(|| {
            format!("--join-file: {} cannot be written; name another file", path.display())
        })?;
        Ok(Some(Self { path, prepared: Some(prepared) }))
    }

    /// Writes the file, and says where it is.
    #[expect(clippy::print_stderr, reason = "it is meant for people, whoever writes the report")]
    pub(crate) fn announce(&mut self, invitation: &Invitation) {
        let addresses = invitation.addresses.join(", ");
        let Some(prepared) = self.prepared.take() else { return };
        match write(prepared, &self.path, &invitation.token) {
            Ok(()) => {
                let path = self.path.display();
                eprintln!("xdist: workers can join at {addresses}: xdist worker --join {path}");
            }
            Err(error) => eprintln!(
                "xdist: workers can join at {addresses}, but {} cannot be written: {error}; name another file with \
                 --join-file",
                self.path.display()
            ),
        }
        // Not where it would stay in a log.
        if io::stderr().is_terminal() {
            eprintln!("xdist: on machines without this file, `xdist worker --join -` takes this token:");
            eprintln!("{}", invitation.token);
        }
    }
}

impl Drop for JoinFile {
    fn drop(&mut self) {
        if self.prepared.is_none() {
            // It is of no use any more, wherever it went.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A file that only its user can read, beside where it is to be.
fn prepare(path: &Path) -> io::Result<NamedTempFile> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // Temporary files are for their user only.
    NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))
}

/// Whoever looks for the file finds all of it or nothing.
fn write(mut file: NamedTempFile, path: &Path, token: &str) -> io::Result<()> {
    writeln!(file, "{token}")?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_its_user_can_read_the_token_and_only_while_the_run_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("join");
        let mut file = JoinFile { path: path.clone(), prepared: Some(prepare(&path).unwrap()) };
        file.announce(&Invitation { addresses: vec!["a:1".to_owned()], token: "secret".to_owned() });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "secret\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }
}
