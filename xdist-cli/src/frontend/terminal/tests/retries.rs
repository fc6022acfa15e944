//! Tests that failed and ran again.

use super::*;

const NODE_IDS: [&str; 2] = ["test_a.py::test_1", "test_a.py::test_2"];

fn flaky(player: &mut Player<Terminal>) {
    player.play(retried(1, finished(0, 0, failed_call("AssertionError: first"))));
    player.item(0, 1, vec![]);
    player.play(retried(2, finished(1, 0, failed_call("AssertionError: other"))));
    player.play(finished_after(2, finished(1, 0, vec![])));
}

#[test]
fn a_flaky_test_is_shown_with_how_it_failed_first() {
    let out = shown(display(), &NODE_IDS, |player| {
        flaky(player);
        player.finish(RunEnd::Completed, 0);
    });
    insta::assert_snapshot!(out, @"
    R.R.                                                 [100%]
    ========================== FLAKY ===========================
    __________________________ test_1 __________________________
    [gw0] linux -- Python 3.11.7 /usr/bin/python3

        def test():
    >       assert x
    E       AssertionError: first

    test_a.py:3: AssertionError
    ================= short test summary info ==================
    FLAKY test_a.py::test_1 - passed after 2 retries (gw0: As...
    ================ 2 passed, 1 flaky in 0.16s ================
    ");
}

#[test]
fn attempts_have_lines_of_their_own_at_v() {
    let out = shown(verbose(1), &NODE_IDS, flaky);
    insta::assert_snapshot!(out, @"
    [gw0] [  0%] RETRY 1/2 test_a.py::test_1 
    [gw0] [ 50%] PASSED test_a.py::test_2 
    [gw1] [ 50%] RETRY 2/2 test_a.py::test_1 
    [gw1] [100%] PASSED test_a.py::test_1
    ");
}

#[test]
fn a_worker_that_crashed_is_told_of_once() {
    let out = shown(display(), &NODE_IDS, |player| {
        player.item(0, 1, vec![]);
        player.play(retried(1, crash(1, Some(0), Phase::Call)));
        let error = Some("signal 11 (SIGSEGV)".to_owned());
        player.play(RunEvent::WorkerDown { worker: WorkerId(1), error });
        // It could not run again.
        player.play(crash(1, Some(0), Phase::Call));
        player.finish(RunEnd::Completed, 0);
    });
    assert_eq!(out.matches("node down").count(), 1, "{out}");
    assert!(out.contains("1 failed, 1 passed in"), "{out}");
    assert!(!out.to_lowercase().contains("flaky"), "{out}");
}

#[test]
fn a_crash_is_told_by_its_cause() {
    let out = shown(display(), &NODE_IDS, |player| {
        player.play(retried(1, crash(1, Some(0), Phase::Call)));
        player.play(finished_after(1, finished(0, 0, vec![])));
        player.finish(RunEnd::Completed, 1);
    });
    let line = "FLAKY test_a.py::test_1 - passed after 1 retry (gw1: sign...";
    assert!(out.lines().any(|shown| shown == line), "{out}");
}

#[test]
fn what_fails_every_time_is_no_flaky_test() {
    let out = shown(display(), &NODE_IDS, |player| {
        player.play(retried(1, finished(0, 0, failed_call("first"))));
        player.item(0, 1, vec![]);
        player.play(finished_after(1, finished(0, 0, failed_call("last"))));
        player.finish(RunEnd::Completed, 0);
    });
    assert!(!out.contains("FLAKY") && !out.contains("first") && !out.contains("flaky"), "{out}");
    assert_eq!(out.matches("FAILED").count(), 1);
    assert!(out.contains("1 failed, 1 passed in"), "{out}");
}

#[test]
fn flaky_tests_that_fail_the_run_are_named_as_the_reason() {
    let out = |report_chars: &str| {
        let (mut player, stdout, _) = player(Target::Plain);
        let display = DisplayOptions { report_chars: report_chars.to_owned(), color: true, ..display() };
        let mut configured = configured(display);
        configured.options.flaky_fails = true;
        player.play(RunEvent::Configured(Box::new(configured)));
        (0..2).for_each(|worker| player.play(ready(worker)));
        player.collect(&NODE_IDS);
        stdout.take();
        flaky(&mut player);
        player.finish(RunEnd::Completed, 0);
        stdout.take()
    };
    let shown = out("f");
    let last: Vec<&str> = shown.lines().rev().take(2).collect();
    assert!(last[1].contains(" 1 flaky test (--flaky=fail) "), "{last:?}");
    assert!(last[0].starts_with("\u{1b}[31m="), "{last:?}");
    // Where no summary has named it.
    assert!(out("x").lines().any(|line| line == "test_a.py::test_1"));
}

#[test]
fn an_error_at_setup_is_headed_as_such() {
    let out = shown(display(), &NODE_IDS, |player| {
        let phases = vec![failed(Phase::Setup, "no"), passed(Phase::Teardown)];
        player.play(retried(1, finished(0, 0, phases)));
        player.play(finished_after(1, finished(1, 0, vec![skipped(Phase::Setup, 3, "not now")])));
        player.finish(RunEnd::Completed, 1);
    });
    assert!(out.contains("_ ERROR at setup of test_1 _"), "{out}");
    assert!(out.contains("FLAKY test_a.py::test_1 - skipped after 1 retry (gw0: no)"), "{out}");
}
