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
    is_written: bool,
}

impl JoinFile {
    /// What a run has that lets workers join.
    pub(crate) fn new(invocation: &Invocation, run: &RunId) -> Option<Self> {
        if invocation.listen.is_empty() {
            return None;
        }
        let path = invocation.join_file.clone();
        let path = path.unwrap_or_else(|| std::env::temp_dir().join(format!("xdist-join-{run}")));
        Some(Self { path, is_written: false })
    }

    /// Writes the file, and says where it is.
    #[expect(clippy::print_stderr, reason = "it is meant for people, whoever writes the report")]
    pub(crate) fn announce(&mut self, invitation: &Invitation) {
        let addresses = invitation.addresses.join(", ");
        match write_private(&self.path, &invitation.token) {
            Ok(()) => {
                self.is_written = true;
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
        if self.is_written {
            // It is of no use any more, wherever it went.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes a file that only its user can read. Whoever looks for it finds all of it or nothing.
fn write_private(path: &Path, token: &str) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // Temporary files are for their user only.
    let mut file = NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
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
        let mut file = JoinFile { path: path.clone(), is_written: false };
        file.announce(&Invitation { addresses: vec!["a:1".to_owned()], token: "secret".to_owned() });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "secret\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }
}
