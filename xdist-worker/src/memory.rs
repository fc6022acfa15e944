//! How much memory a runner has, and whether one that was killed with SIGKILL was killed for want of memory, as far as one
//! can tell.

use rustix::process::Pid;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

/// A runner's memory is not looked at more often than this: after very short tests it would take a part of their time.
const SHORTEST_LOOK: Duration = Duration::from_millis(20);

/// How much memory a runner may have.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    limit_kib: u64,
    /// When it is looked at next.
    due: Instant,
    /// How much it had when that was too much.
    exceeded_by_kib: Option<u64>,
}

impl MemoryLimit {
    pub(crate) const fn new(limit_kib: u64, now: Instant) -> Self {
        Self { limit_kib, due: now, exceeded_by_kib: None }
    }

    /// Whether to look now. If so, the next time is some time later.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.exceeded_by_kib.is_none() && self.due <= now;
        if is_due {
            self.due = now + SHORTEST_LOOK;
        }
        is_due
    }

    /// Whether this is too much.
    pub(crate) fn is_exceeded_by(&mut self, used_kib: u64) -> bool {
        self.exceeded_by_kib = Some(used_kib).filter(|used| *used > self.limit_kib);
        self.exceeded_by_kib.is_some()
    }

    /// By what it was exceeded, in words.
    pub(crate) fn excess(&self) -> Option<String> {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let (used, limit) = (mib(self.exceeded_by_kib?), mib(self.limit_kib));
        Some(format!("its memory of {used:.1} MiB is above the limit of {limit:.1} MiB"))
    }
}

/// The resident memory of a process, what it shares with others included; `None` where that cannot be told, which is
/// everywhere but on Linux.
pub(crate) fn resident_kib(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_pid())).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * (rustix::param::page_size() as u64 / 1024))
}

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
    #[expect(clippy::disallowed_methods, reason = "a test has to begin somewhere")]
    fn memory_is_looked_at_now_and_then_until_it_is_too_much() {
        let now = Instant::now();
        let mut limit = MemoryLimit::new(2048, now);
        assert_eq!([limit.is_due(now), limit.is_due(now + SHORTEST_LOOK / 2)], [true, false]);
        assert!(!limit.is_exceeded_by(2048));
        assert_eq!(limit.excess(), None);
        assert!(limit.is_due(now + SHORTEST_LOOK));
        assert!(limit.is_exceeded_by(3000));
        let excess = "its memory of 2.9 MiB is above the limit of 2.0 MiB";
        assert_eq!(limit.excess().as_deref(), Some(excess));
        assert!(!limit.is_due(now + SHORTEST_LOOK * 10));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_of_a_process_is_known() {
        let own = resident_kib(rustix::process::getpid()).unwrap();
        assert!((100..100_000_000).contains(&own), "{own} KiB");
        assert_eq!(resident_kib(Pid::from_raw(i32::MAX).unwrap()), None);
    }

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
