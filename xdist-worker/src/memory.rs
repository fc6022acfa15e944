//! Tells whether a process that was killed with SIGKILL was killed for want of memory, as far as one can tell.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Watches the kernel's count of processes killed for want of memory.
#[derive(Debug)]
pub(crate) struct OutOfMemoryWatch {
    source: Option<Source>,
    /// The count up to which kills are explained.
    explained: u64,
}

/// Where the count is read.
#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    key: &'static str,
}

impl OutOfMemoryWatch {
    pub(crate) fn new() -> Self {
        Self::with_source(Source::find())
    }

    fn with_source(source: Option<Source>) -> Self {
        let explained = source.as_ref().and_then(Source::read).unwrap_or(0);
        Self { source, explained }
    }

    /// Whether a kill happened that no death claimed before. Each kill explains one death only, so that a runner that
    /// somebody kills by hand is not blamed on the memory that another one ran out of.
    pub(crate) fn claim(&mut self) -> bool {
        let count = self.source.as_ref().and_then(Source::read).unwrap_or(0);
        let claimed = count > self.explained;
        self.explained += u64::from(claimed);
        claimed
    }
}

impl Source {
    /// This process's memory group if there is one (version 2, then 1), else the whole machine.
    fn find() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = Path::new("/sys/fs/cgroup");
        let version_2 = groups.lines().find_map(|line| line.strip_prefix("0::/"));
        let version_1 = groups.lines().find_map(|line| line.split_once(":memory:/").map(|(_, path)| path));
        let candidates = [
            version_2.map(|path| (mounts.join(path).join("memory.events"), "oom_kill")),
            version_1.map(|path| (mounts.join("memory").join(path).join("memory.oom_control"), "oom_kill")),
            Some((PathBuf::from("/proc/vmstat"), "oom_kill")),
        ];
        let sources = candidates.into_iter().flatten().map(|(path, key)| Self { path, key });
        sources.into_iter().find(|source| source.read().is_some())
    }

    fn read(&self) -> Option<u64> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "cannot read the count of kills");
                return None;
            }
        };
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.into_iter().find_map(|(key, value)| (key == self.key).then(|| value.trim().parse().ok())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kill_explains_one_death() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory.events");
        fs::write(&path, "oom 9\noom_kill 3\n").unwrap();
        let mut watch = OutOfMemoryWatch::with_source(Some(Source { path: path.clone(), key: "oom_kill" }));
        assert!(!watch.claim());
        fs::write(&path, "oom 9\noom_kill 5\n").unwrap();
        assert_eq!([watch.claim(), watch.claim(), watch.claim()], [true, true, false]);
    }

    #[test]
    fn without_a_count_nothing_is_claimed() {
        assert!(!OutOfMemoryWatch::with_source(None).claim());
    }
}
