//! Numbers, times and paths in words, in pytest's forms.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use xdist_proto::frontend::FilesCopied;

/// `1 error`, `2 errors`: only nouns take a plural, `failed` and its kin do not.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    match (noun, count) {
        ("warnings", 1) => "1 warning".to_owned(),
        ("error" | "warning" | "test" | "flaky test" | "item" | "worker", 0 | 2..) => {
            format!("{count} {noun}s")
        }
        _ => format!("{count} {noun}"),
    }
}

/// A session's duration in the last line: `0.12s`, `75.30s (0:01:15)`.
pub(crate) fn session_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        return format!("{seconds:.2}s");
    }
    let whole = duration.as_secs();
    let days = match whole / 86_400 {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        days => format!("{days} days, "),
    };
    let (hours, minutes, rest) = (whole / 3600 % 24, whole / 60 % 60, whole % 60);
    format!("{seconds:.2}s ({days}{hours}:{minutes:02}:{rest:02})")
}

/// A test's duration in at most seven characters, as `console_output_style = times` shows it.
pub(crate) fn test_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let steps = [
        (1e6, "us", 3, 10.0),
        (1e6, "us", 2, 100.0),
        (1e6, "us", 1, 1000.0),
        (1e3, "ms", 3, 10.0),
        (1e3, "ms", 2, 100.0),
        (1e3, "ms", 1, 1000.0),
        (1.0, "s", 3, 60.0),
    ];
    for (scale, unit, precision, limit) in steps {
        let text = format!("{:.precision$}", seconds * scale);
        // The rounded value decides, or 999.96 us would show as 1000.0us.
        if text.parse::<f64>().is_ok_and(|rounded| rounded < limit) {
            return text + unit;
        }
    }
    let whole = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    match whole {
        0..3600 => format!("{}m {}s", whole / 60, whole % 60),
        _ => format!("{}h {}m", whole / 3600, whole % 3600 / 60),
    }
}

/// What was copied: `synced 3 of 20000 files to build1 (12 kB, 0.4 s)`.
pub(crate) fn files_copied(copied: &FilesCopied) -> String {
    let FilesCopied { host, name, path, files, written, removed, bytes, took_ms } = copied;
    let removed = if *removed > 0 { format!(", {removed} removed") } else { String::new() };
    let seconds = Duration::from_millis(*took_ms).as_secs_f64();
    let size = size(*bytes);
    format!("synced {name} to {path} on {host}: {written} of {files} files{removed}, {size}, {seconds:.1} s")
}

/// A number of bytes, to be read at a glance: `512 bytes`, `12 kB`, `3.4 MB`.
fn size(bytes: u64) -> String {
    let scaled = |unit: f64| bytes as f64 / unit;
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.0} kB", scaled(1e3)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", scaled(1e6)),
        _ => format!("{:.2} GB", scaled(1e9)),
    }
}

/// The time that something has been running, to be read at a glance: `5ms`, `1.2s`, `63.0s`, `12m03s`.
pub(crate) fn running_time(duration: Duration) -> String {
    match duration.as_secs() {
        0 if duration.as_millis() < 100 => format!("{}ms", duration.as_millis()),
        0..600 => format!("{:.1}s", duration.as_secs_f64()),
        seconds @ 600..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Where a process is: `pid 123 on buildhost`, as far as it is known.
pub(crate) fn place(pid: Option<u32>, host: &str) -> String {
    match (pid, host) {
        (Some(pid), "") => format!("pid {pid}"),
        (Some(pid), host) => format!("pid {pid} on {host}"),
        (None, "") => String::new(),
        (None, host) => format!("on {host}"),
    }
}

/// ` (this)`, or nothing for nothing.
pub(crate) fn in_parentheses(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

/// The path to `target` as seen from `directory`; both are absolute. `target` itself where nothing shorter exists.
pub(crate) fn relative_path(directory: &Path, target: &Path) -> PathBuf {
    if target.is_relative() {
        return target.to_owned();
    }
    if directory == target {
        return PathBuf::from(".");
    }
    let from: Vec<Component<'_>> = directory.components().collect();
    let to: Vec<Component<'_>> = target.components().collect();
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - common);
    up.chain(to[common..].iter().copied()).collect()
}

/// The file of a node id and what follows its first `::`.
pub(crate) fn split_node_id(node_id: &str) -> (&str, Option<&str>) {
    node_id.split_once("::").map_or((node_id, None), |(path, rest)| (path, Some(rest)))
}

/// What pytest calls the domain of a node id: `TestClass.test_method[param]`, or the file when there is nothing else.
pub(crate) fn domain(node_id: &str) -> String {
    let (path, rest) = split_node_id(node_id);
    let Some(rest) = rest else { return path.to_owned() };
    // A parameter may hold colons of its own.
    let (names, parameter) = rest.split_at(rest.find('[').unwrap_or(rest.len()));
    names.replace("::", ".") + parameter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nouns_take_a_plural() {
        assert_eq!(counted(1, "error"), "1 error");
        assert_eq!(counted(2, "error"), "2 errors");
        assert_eq!(counted(1, "warnings"), "1 warning");
        assert_eq!(counted(3, "warnings"), "3 warnings");
        assert_eq!(counted(3, "failed"), "3 failed");
        assert_eq!(counted(0, "item"), "0 items");
    }

    #[test]
    fn session_durations_name_hours_from_a_minute_on() {
        assert_eq!(session_duration(Duration::from_millis(123)), "0.12s");
        assert_eq!(session_duration(Duration::from_millis(75_300)), "75.30s (0:01:15)");
        assert_eq!(session_duration(Duration::from_secs(86_400 + 3661)), "90061.00s (1 day, 1:01:01)");
    }

    #[test]
    fn running_times_are_short() {
        let shown = [(5, "5ms"), (250, "0.2s"), (63_000, "63.0s"), (723_000, "12m03s"), (3_720_000, "1h02m")];
        for (millis, text) in shown {
            assert_eq!(running_time(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn test_durations_keep_four_digits() {
        let shown = [(1, "1.000us"), (999_999, "1.000s"), (12_345, "12.35ms"), (61_000_000, "1m 1s")];
        for (micros, text) in shown {
            assert_eq!(test_duration(Duration::from_micros(micros)), text);
        }
        assert_eq!(test_duration(Duration::from_secs(2 * 3600 + 120)), "2h 2m");
        assert_eq!(test_duration(Duration::from_nanos(999_960)), "1.000ms");
    }

    #[test]
    fn paths_are_relative_to_a_directory() {
        let seen = |from: &str, to: &str| relative_path(Path::new(from), Path::new(to)).display().to_string();
        assert_eq!(seen("/a/b", "/a/b/c.py"), "c.py");
        assert_eq!(seen("/a/b", "/a/x/c.py"), "../x/c.py");
        assert_eq!(seen("/a/b", "/a/b"), ".");
        assert_eq!(seen("/a/b", "c.py"), "c.py");
    }

    #[test]
    fn domains_leave_parameters_alone() {
        assert_eq!(domain("a.py::TestC::test_m[x::y]"), "TestC.test_m[x::y]");
        assert_eq!(domain("a.py"), "a.py");
    }
}
