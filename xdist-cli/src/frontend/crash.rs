//! The unexpected end of a test process, in words.

use super::value::repr_text;
use super::words;
use xdist_coord::session::event::{Crash, CrashCause, CrashedItem};
use xdist_proto::message::EndCause;
use xdist_proto::report::Phase;

/// How the test process ended: `exit code 3`, `signal 11 (SIGSEGV)`, `signal 9 (SIGKILL), out of memory`.
pub(crate) fn cause(crash: &Crash) -> String {
    let end = crash.cause.to_string();
    if crash.out_of_memory { end + ", out of memory" } else { end }
}

/// The sentence that pytest-xdist says of a crashed item.
pub(crate) fn headline(name: &str, node_id: &str) -> String {
    format!("worker {} crashed while running {}", repr_text(name), repr_text(node_id))
}

/// What is told of a worker's end when it happens: `signal 11 (SIGSEGV), in call of a.py::test_1, after 0.5s (pid 123 on
/// buildhost)`.
pub(crate) fn line(node_id: Option<&str>, crash: &Crash) -> String {
    let place = words::in_parentheses(&words::place(crash.pid, &crash.host));
    let at = match (node_id, &crash.item) {
        (Some(node_id), Some(item)) => format!(", {} of {node_id}{}", phase(item), after(item, crash)),
        (None, _) | (_, None) if crash.pid.is_none() && is_end_of_process(crash) => EARLY_END.to_owned(),
        (None, _) | (_, None) => String::new(),
    };
    let cause = match &crash.cause {
        // Why was just said of the host.
        CrashCause::HostLost(_) => HOST_LOST.to_owned(),
        CrashCause::Process(_) => cause(crash),
    };
    format!("{cause}{at}{place}")
}

/// How the error of a worker begins whose host is lost, and what is said of the worker then.
pub(crate) const HOST_LOST: &str = "host lost";

/// What is told of a process that ended by itself before it told anything.
const EARLY_END: &str = ", before pytest was up: what it wrote may say why, or a conftest or plugin ended it";

const fn is_end_of_process(crash: &Crash) -> bool {
    matches!(crash.cause, CrashCause::Process(EndCause::Exited(_) | EndCause::Signaled(_)))
}

/// Everything that is known of a crash in the middle of an item, for its failure.
pub(crate) fn body(name: &str, node_id: &str, item: &CrashedItem, crash: &Crash) -> String {
    let mut text = match crash.time_limit() {
        Some(_) => format!(
            "{} ({})\nworker {} was killed while running {}{}",
            cause(crash),
            phase(item),
            repr_text(name),
            repr_text(node_id),
            facts(crash)
        ),
        None => format!(
            "{}\n{}{}: {}{}",
            headline(name, node_id),
            phase(item),
            after(item, crash),
            cause(crash),
            facts(crash)
        ),
    };
    for (title, lines) in details(crash) {
        text.push_str(&format!("\n\n{title}:\n{lines}"));
    }
    text
}

/// The stack and the last words, each with its title, as far as there are any.
pub(crate) fn details(crash: &Crash) -> Vec<(&'static str, String)> {
    let stack = crash.stack.as_deref().map(without_machinery).unwrap_or_default();
    let last_words = crash.stderr_tail.trim_end().to_owned();
    let shown = [("stack", stack), ("last lines on standard error", last_words)];
    shown.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

/// The stack without the outermost frames of each thread that are pytest's and ours: they are the same for every test.
fn without_machinery(stack: &str) -> String {
    let machinery = |line: &&str| {
        let ours = ["/_pytest/", "/pluggy/", "/xdist_pytest/", "File \"<string>\""];
        line.starts_with("  File ") && ours.iter().any(|part| line.contains(part))
    };
    let mut lines: Vec<String> = Vec::new();
    for thread in stack.trim_end().split("\n\n") {
        let all: Vec<&str> = thread.lines().collect();
        let frames = all.iter().filter(|line| line.starts_with("  File ")).count();
        let around = all.iter().rev().take_while(|line| machinery(line)).count();
        // Where the machinery itself crashed, its frames are all there is to see.
        let hidden = if around < frames { around } else { 0 };
        lines.extend(all[..all.len() - hidden].iter().map(|line| (*line).to_owned()));
        if hidden > 0 {
            lines.push(format!("  ... and {hidden} frames of pytest around it"));
        }
        lines.push(String::new());
    }
    lines.join("\n").trim_end().to_owned()
}

/// `, after 0.5s`, where it is known and says anything new.
fn after(item: &CrashedItem, crash: &Crash) -> String {
    let time = item.running.filter(|_| crash.time_limit().is_none());
    time.map_or_else(String::new, |time| format!(", after {}", words::running_time(time)))
}

const fn phase(item: &CrashedItem) -> &'static str {
    match item.phase {
        None => "in an unknown phase",
        Some(Phase::Setup) => "in setup",
        Some(Phase::Call) => "in call",
        Some(Phase::Teardown) => "in teardown",
    }
}

/// ` (pid 123 on buildhost, peak memory 34.5 MiB)`, as far as it is known.
fn facts(crash: &Crash) -> String {
    let place = words::place(crash.pid, &crash.host);
    let memory = (crash.peak_rss_kib > 0)
        .then(|| format!("peak memory {:.1} MiB", crash.peak_rss_kib as f64 / 1024.0));
    let facts: Vec<String> =
        Some(place).filter(|place| !place.is_empty()).into_iter().chain(memory).collect();
    words::in_parentheses(&facts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use xdist_coord::session::event::CrashCause;
    use xdist_proto::message::EndCause;
    use xdist_proto::{ItemIndex, WorkerId};

    fn crash(cause: CrashCause) -> Crash {
        Crash {
            worker: WorkerId(0),
            item: None,
            report: None,
            cause,
            out_of_memory: false,
            pid: Some(123),
            host: "buildhost".to_owned(),
            stderr_tail: "last words\n".to_owned(),
            stack: Some("Fatal Python error: Segmentation fault\n".to_owned()),
            peak_rss_kib: 35_328,
            asked: false,
            retries: 0,
        }
    }

    #[test]
    fn causes_are_told_in_words() {
        let told = |end| cause(&crash(CrashCause::Process(end)));
        assert_eq!(told(EndCause::Exited(3)), "exit code 3");
        assert_eq!(told(EndCause::Signaled(11)), "signal 11 (SIGSEGV)");
        assert_eq!(told(EndCause::Signaled(99)), "signal 99");
        assert_eq!(told(EndCause::Killed("timed out".to_owned())), "killed: timed out");
        let killed = CrashCause::Process(EndCause::Signaled(9));
        assert_eq!(
            cause(&Crash { out_of_memory: true, ..crash(killed) }),
            "signal 9 (SIGKILL), out of memory"
        );
        assert_eq!(cause(&crash(CrashCause::HostLost("no answer".to_owned()))), "host lost: no answer");
    }

    #[test]
    fn the_machinerys_frames_are_left_out() {
        let stack = "Fatal Python error: Segmentation fault\n\n\
                     Current thread 0x01 (most recent call first):\n  \
                     File \"/suite/test_a.py\", line 5 in test_d\n  \
                     File \"/lib/_pytest/python.py\", line 187 in pytest_pyfunc_call\n  \
                     File \"<string>\", line 1 in <module>\n\n\
                     Extension modules: numpy (total: 1)\n";
        insta::assert_snapshot!(without_machinery(stack), @r#"
        Fatal Python error: Segmentation fault

        Current thread 0x01 (most recent call first):
          File "/suite/test_a.py", line 5 in test_d
          ... and 2 frames of pytest around it

        Extension modules: numpy (total: 1)
        "#);
    }

    fn item() -> CrashedItem {
        CrashedItem {
            item: ItemIndex(0),
            phase: Some(Phase::Call),
            running: Some(Duration::from_millis(520)),
        }
    }

    #[test]
    fn a_test_that_took_too_long_is_told_from_a_crash() {
        let crash =
            Crash { item: Some(item()), stack: None, ..crash(CrashCause::Process(EndCause::TimedOut(2500))) };
        insta::assert_snapshot!(body("gw0", "a.py::test_it", &item(), &crash), @r#"
        timeout: ran for more than 2.5 s (in call)
        worker 'gw0' was killed while running 'a.py::test_it' (pid 123 on buildhost, peak memory 34.5 MiB)

        last lines on standard error:
        last words
        "#);
    }

    #[test]
    fn the_line_tells_who_where_and_for_how_long() {
        let crash = |end| Crash { item: Some(item()), ..crash(CrashCause::Process(end)) };
        let shown = |crash: &Crash| line(Some("a.py::test_it"), crash);
        let signaled = crash(EndCause::Signaled(11));
        assert_eq!(
            shown(&signaled),
            "signal 11 (SIGSEGV), in call of a.py::test_it, after 0.5s (pid 123 on buildhost)"
        );
        assert_eq!(
            shown(&crash(EndCause::TimedOut(500))),
            "timeout: ran for more than 0.5 s, in call of a.py::test_it (pid 123 on buildhost)"
        );
        assert_eq!(line(None, &signaled), "signal 11 (SIGSEGV) (pid 123 on buildhost)");
        let nowhere = |end| Crash { pid: None, host: String::new(), ..crash(end) };
        assert_eq!(line(None, &nowhere(EndCause::TimedOut(500))), "timeout: ran for more than 0.5 s");
        let told = line(None, &nowhere(EndCause::Exited(3)));
        assert!(told.starts_with("exit code 3, before pytest was up: "), "{told}");
    }

    #[test]
    fn the_body_tells_all_there_is() {
        let item = item();
        let crash = crash(CrashCause::Process(EndCause::Signaled(11)));
        insta::assert_snapshot!(body("gw0", "a.py::test_it[it's]", &item, &crash), @r#"
        worker 'gw0' crashed while running "a.py::test_it[it's]"
        in call, after 0.5s: signal 11 (SIGSEGV) (pid 123 on buildhost, peak memory 34.5 MiB)

        stack:
        Fatal Python error: Segmentation fault

        last lines on standard error:
        last words
        "#);
    }
}
