//! Tells people, and a file, how workers join a run.

use crate::invocation::Invocation;
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
        let prepared = prepare(&path).map_err(|error| {
            anyhow::anyhow!("--join-file: {path:?} cannot be written: {error}; name another file")
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

/// A file that only its user can read, beside where it is to be, where nothing is then that could not be replaced: whoever
/// is to join reads it there, so that a run need not begin that cannot put it there.
fn prepare(path: &Path) -> io::Result<NamedTempFile> {
    let is_name = path.file_name().is_some() && !path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if !is_name {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "that is the name of no file"));
    }
    match path.metadata() {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => {
            return Err(io::Error::other("that is no file, but a device or a pipe"));
        }
        // That of a run that is over: of no use, and perhaps somebody else's.
        Ok(_) => std::fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // Temporary files are for their user only.
    NamedTempFile::new_in(directory.unwrap_or(Path::new("."))).map_err(without_temporary_name)
}

/// The error itself: the name of a file that nobody has asked for says nothing.
fn without_temporary_name(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.split_once(" at path ") {
        Some((text, _)) => io::Error::other(text.to_owned()),
        None => error,
    }
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

    #[test]
    fn what_cannot_be_written_is_known_before_the_run_begins() {
        let directory = tempfile::tempdir().unwrap();
        let long = "x".repeat(300);
        let names = ["", "/", "..", "none/", "none/file", long.as_str()];
        for path in
            names.map(|name| if name.is_empty() { PathBuf::new() } else { directory.path().join(name) })
        {
            let error = prepare(&path).unwrap_err().to_string();
            assert!(!error.contains(".tmp"), "{error}");
        }
        let error = prepare(Path::new("/dev/null")).unwrap_err().to_string();
        assert_eq!(error, "that is no file, but a device or a pipe");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn the_token_of_a_run_that_is_over_is_not_left_to_be_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("join");
        std::fs::write(&path, "old").unwrap();
        let prepared = prepare(&path).unwrap();
        assert!(!path.exists());
        drop(prepared);
    }
}
