//! Files that are either written whole or left as they were.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Replaces the file's contents at once: a reader sees the old contents or the new ones, and so does whoever looks
/// after a crash. Missing parent directories are created. What is no regular file (`/dev/stdout`, a named pipe) is
/// written to as it is.
///
/// # Errors
/// Whatever the file system answers; the file is then unchanged.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    // Behind a symbolic link, the file it leads to is replaced and not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = match fs::metadata(&path) {
        Ok(found) if found.is_file() => Some(found.permissions()),
        Ok(_) => return OpenOptions::new().write(true).open(&path)?.write_all(contents),
        Err(_) => None,
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    fs::create_dir_all(&directory)?;
    // The mode of a new file follows the umask, as it does for files that are simply created.
    let mut file = tempfile::Builder::new()
        .prefix(".xdist-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(&directory)?;
    file.write_all(contents)?;
    if let Some(mode) = mode {
        file.as_file().set_permissions(mode)?;
    }
    file.persist(&path)?;
    Ok(())
}

/// Opens a file to be written from its beginning. Missing parent directories are created.
///
/// # Errors
/// Whatever the file system answers.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn parents_are_created_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/report.xml");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_symbolic_link_stays_one_and_permissions_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o640)).unwrap();
        symlink(&target, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn a_device_is_written_to() {
        replace(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
