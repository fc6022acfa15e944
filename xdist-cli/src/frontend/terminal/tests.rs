use super::*;
use crate::frontend::screen::testing::{Tape, tapes};
use crate::frontend::testing::*;
use std::time::Duration;
use xdist_coord::session::event::StopReason;
use xdist_proto::message::{DisplayOptions, EndCause};
use xdist_proto::report::{PhaseReport, Status};

mod retries;

const WIDTH: usize = 60;

fn player(target: Target) -> (Player<Terminal>, Tape, Tape) {
    let (streams, stdout, stderr) = tapes();
    let surroundings = Surroundings { cwd: "/suite".into(), on_ci: false };
    #[expect(clippy::disallowed_methods, reason = "the tests need some moment to begin at")]
    let started = Instant::now();
    let terminal = Terminal::new(streams, target, Box::new(|| WIDTH), surroundings, started);
    (Player::new(terminal, started), stdout, stderr)
}

/// What a script writes to standard output of a pipe, the header left out.
fn shown(display: DisplayOptions, node_ids: &[&str], script: impl FnOnce(&mut Player<Terminal>)) -> String {
    let (mut player, stdout, _) = player(Target::Plain);
    player.start(display, node_ids);
    player.end_turn();
    stdout.take();
    script(&mut player);
    player.end_turn();
    stdout.take()
}

fn verbose(verbosity: i32) -> DisplayOptions {
    DisplayOptions { verbosity, ..display() }
}

#[test]
fn a_run_from_header_to_last_line() {
    let (mut player, stdout, stderr) = player(Target::Plain);
    player.start(display(), &["test_a.py::test_1", "test_a.py::test_2", "test_b.py::test_3"]);
    player.item(0, 0, vec![]);
    player.item(1, 2, vec![skipped(Phase::Setup, 3, "not now"), passed(Phase::Teardown)]);
    player.item(0, 1, vec![]);
    player.finish(RunEnd::Completed, 0);
    insta::assert_snapshot!(stdout.take(), @"
    =================== test session starts ====================
    platform linux -- Python 3.11.7
    rootdir: /suite
    created: 2/2 workers
    2 workers [3 items]

    .s.                                                  [100%]
    =============== 2 passed, 1 skipped in 0.15s ===============
    ");
    assert_eq!(stderr.take(), "");
}

#[test]
fn failures_and_errors_in_full_and_in_short() {
    let node_ids =
        ["test_a.py::test_1", "test_a.py::TestC::test_2", "test_a.py::test_3", "test_a.py::test_4"];
    let out = shown(display(), &node_ids, |player| {
        player.play(collect_error("test_b.py"));
        player.item(
            0,
            0,
            vec![
                printing(passed(Phase::Setup), "Captured stdout setup", "set up\n"),
                printing(failed(Phase::Call, "AssertionError: boom\nmore"), "Captured stderr call", "oops\n"),
                printing(passed(Phase::Teardown), "Captured stdout teardown", "torn down\n"),
            ],
        );
        player.item(1, 1, vec![failed(Phase::Setup, "RuntimeError: no fixture"), passed(Phase::Teardown)]);
        let broken_teardown =
            failed(Phase::Teardown, "ValueError: a message that is much too long for the line");
        player.item(0, 2, vec![passed(Phase::Setup), passed(Phase::Call), broken_teardown]);
        player.item(1, 3, failed_call("assert 1 == 2"));
        player.finish(RunEnd::Completed, 0);
    });
    insta::assert_snapshot!(out, @"
    FE.EF                                                [100%]
    ========================== ERRORS ==========================
    ________________ ERROR collecting test_b.py ________________
    ImportError while importing test module '/suite/test_b.py'.
    E   No module named 'x'
    ______________ ERROR at setup of TestC.test_2 ______________
    [gw1] linux -- Python 3.11.7 /usr/bin/python3

        def test():
    >       assert x
    E       RuntimeError: no fixture

    test_a.py:3: AssertionError
    _______________ ERROR at teardown of test_3 ________________
    [gw0] linux -- Python 3.11.7 /usr/bin/python3

        def test():
    >       assert x
    E       ValueError: a message that is much too long for the line

    test_a.py:3: AssertionError
    ========================= FAILURES =========================
    __________________________ test_1 __________________________
    [gw0] linux -- Python 3.11.7 /usr/bin/python3

        def test():
    >       assert x
    E       AssertionError: boom
    more

    test_a.py:3: AssertionError
    ------------------ Captured stdout setup -------------------
    set up
    ------------------- Captured stderr call -------------------
    oops
    ----------------- Captured stdout teardown -----------------
    torn down
    __________________________ test_4 __________________________
    [gw1] linux -- Python 3.11.7 /usr/bin/python3

        def test():
    >       assert x
    E       assert 1 == 2

    test_a.py:3: AssertionError
    ================= short test summary info ==================
    FAILED test_a.py::test_1 - AssertionError: boom
    FAILED test_a.py::test_4 - assert 1 == 2
    ERROR test_b.py - ImportError while importing test module...
    ERROR test_a.py::TestC::test_2 - RuntimeError: no fixture
    ERROR test_a.py::test_3 - ValueError: a message that is m...
    ========== 2 failed, 1 passed, 3 errors in 0.17s ===========
    ");
}

#[test]
fn every_kind_of_report_on_request() {
    let options = DisplayOptions { report_chars: "wPpsxXEf".to_owned(), ..display() };
    let node_ids = ["a.py::test_1", "a.py::test_2", "a.py::test_3", "a.py::test_4", "a.py::test_5"];
    let out = shown(options, &node_ids, |player| {
        let call = printing(passed(Phase::Call), "Captured stdout call", "passing\n");
        player.item(0, 0, vec![passed(Phase::Setup), call, passed(Phase::Teardown)]);
        player.item(0, 1, xfailed("known"));
        player.item(0, 2, xpassed(""));
        player.item(0, 3, vec![skipped(Phase::Call, 7, "inside"), passed(Phase::Teardown)]);
        player.item(0, 4, vec![skipped(Phase::Call, 7, "inside"), passed(Phase::Teardown)]);
        player.finish(RunEnd::Completed, 0);
    });
    insta::assert_snapshot!(out, @"
    .xXss                                                [100%]
    ========================== PASSES ==========================
    __________________________ test_1 __________________________
    [gw0] linux -- Python 3.11.7 /usr/bin/python3
    ------------------- Captured stdout call -------------------
    passing
    ========================= XPASSES ==========================
    ================= short test summary info ==================
    PASSED a.py::test_1
    SKIPPED [2] test_a.py:7: inside
    XFAIL a.py::test_2 - known
    XPASS a.py::test_3
    ==== 1 passed, 2 skipped, 1 xfailed, 1 xpassed in 0.17s ====
    ");
}

#[test]
fn verbose_lines_name_worker_and_reason() {
    let node_ids = ["a.py::test_1", "a.py::test_2", "a.py::test_3"];
    let out = shown(verbose(1), &node_ids, |player| {
        player.item(0, 0, vec![]);
        let reason = "a reason that is longer than what the line has left for it";
        player.item(1, 1, vec![skipped(Phase::Setup, 3, reason), passed(Phase::Teardown)]);
        player.item(0, 2, vec![passed(Phase::Setup), passed(Phase::Call), failed(Phase::Teardown, "late")]);
        player.finish(RunEnd::Completed, 0);
    });
    insta::assert_snapshot!(out, @"
    [gw0] [ 33%] PASSED a.py::test_1 
    [gw1] [ 66%] SKIPPED a.py::test_2 (a reason that is lon...)
    [gw0] [100%] PASSED a.py::test_3 
    [gw0] [100%] ERROR a.py::test_3 

    ========================== ERRORS ==========================
    _______________ ERROR at teardown of test_3 ________________
    [gw0] linux -- Python 3.11.7 /usr/bin/python3

        def test():
    >       assert x
    E       late

    test_a.py:3: AssertionError
    ================= short test summary info ==================
    ERROR a.py::test_3 - late
    ========== 2 passed, 1 skipped, 1 error in 0.15s ===========
    ");
}

#[test]
fn a_slow_test_is_announced_where_there_is_no_live_area() {
    let slow = || RunEvent::ItemStarted {
        worker: WorkerId(0),
        item: ItemIndex(0),
        phase: Phase::Call,
        running: Duration::from_secs(1),
        slow: None,
    };
    let out = shown(verbose(1), &["a.py::test_1", "a.py::test_2"], |player| {
        player.play(slow());
        player.item(1, 1, vec![]);
        player.item(0, 0, vec![]);
    });
    insta::assert_snapshot!(out, @"
    a.py::test_1 
    [gw1] [ 50%] PASSED a.py::test_2 
    [gw0] [100%] PASSED a.py::test_1
    ");
    let out = shown(verbose(2), &["a.py::test_1"], |player| player.item(1, 0, vec![]));
    assert!(out.contains("a.py::test_1 \n[gw1] [100%] PASSED a.py::test_1 \n"), "{out}");
}

/// The second test has been running for more than so many seconds.
fn slow(seconds: u64) -> RunEvent {
    RunEvent::ItemStarted {
        worker: WorkerId(1),
        item: ItemIndex(1),
        phase: Phase::Call,
        running: Duration::from_millis(seconds * 1000 + 20),
        slow: Some(Duration::from_secs(seconds)),
    }
}

#[test]
fn of_a_test_that_takes_long_it_is_said_how_long() {
    let script = |player: &mut Player<Terminal>| {
        player.item(0, 0, vec![]);
        player.play(slow(60));
        player.play(slow(120));
        player.item(1, 1, vec![]);
    };
    insta::assert_snapshot!(shown(display(), &["a.py::test_1", "a.py::test_2"], script), @"
    .
    SLOW [gw1] > 60s a.py::test_2 (in call, pid 101 on buildhost)
    SLOW [gw1] > 120s a.py::test_2 (in call, pid 101 on buildhost)
    .
    ");
    insta::assert_snapshot!(shown(verbose(1), &["a.py::test_1", "a.py::test_2"], script), @"
    [gw0] [ 50%] PASSED a.py::test_1 
    SLOW [gw1] > 60s a.py::test_2 (in call, pid 101 on buildhost)
    SLOW [gw1] > 120s a.py::test_2 (in call, pid 101 on buildhost)
    [gw1] [100%] PASSED a.py::test_2 
    ");
}

#[test]
fn the_dots_wrap_with_the_progress_at_the_edge() {
    let node_ids: Vec<String> = (0..60).map(|number| format!("a.py::test_{number}")).collect();
    let node_ids: Vec<&str> = node_ids.iter().map(String::as_str).collect();
    let script = |player: &mut Player<Terminal>| {
        (0..60).for_each(|item| player.item(0, item, vec![]));
        player.finish(RunEnd::Completed, 0);
    };
    insta::assert_snapshot!(shown(display(), &node_ids, script), @"
    .................................................... [ 86%]
    ........                                             [100%]
    ==================== 60 passed in 0.72s ====================
    ");
    let count = DisplayOptions { progress_style: "count".to_owned(), ..display() };
    insta::assert_snapshot!(shown(count, &node_ids, script), @"
    ................................................... [51/60]
    .........                                           [60/60]
    ==================== 60 passed in 0.72s ====================
    ");
    let classic = DisplayOptions { progress_style: "classic".to_owned(), ..display() };
    let out = shown(classic, &node_ids, script);
    assert!(out.starts_with(&format!("{}\n", ".".repeat(60))), "{out}");
}

#[test]
fn quiet_output_is_short() {
    let (mut player, stdout, _) = player(Target::Plain);
    player.start(verbose(-1), &["a.py::test_1"]);
    player.item(0, 0, vec![]);
    player.finish(RunEnd::Completed, 0);
    insta::assert_snapshot!(stdout.take(), @"
    bringing up nodes...
    bringing up nodes...

    .                                                    [100%]
    1 passed in 0.13s
    ");
}

#[test]
fn what_may_change_outcomes_is_said_however_little_is_shown() {
    for verbosity in [0, -1, -2] {
        let said = shown(verbose(verbosity), &["t.py::test_a"], |player| {
            let warning = Some("test_a.py is not the same on box as here".to_owned());
            player.play(RunEvent::Scheduling { mode: Mode::WorkSteal, warning });
        });
        assert!(said.contains("warning: test_a.py is not the same on box as here"), "{said}");
    }
}

#[test]
fn without_the_terminal_plugin_nothing_is_shown() {
    let (mut player, stdout, stderr) = player(Target::Plain);
    player.start(DisplayOptions { no_terminal: true, ..display() }, &["a.py::test_1"]);
    player.item(0, 0, failed_call("boom"));
    player.finish(RunEnd::Completed, 0);
    assert_eq!((stdout.take(), stderr.take()), (String::new(), String::new()));
}

#[test]
fn a_crash_is_told_when_it_happens_and_in_full_at_the_end() {
    let out = shown(display(), &["test_a.py::test_1", "test_a.py::test_2"], |player| {
        player.play(crash(0, Some(0), Phase::Call));
        player.play(RunEvent::WorkerDown { worker: WorkerId(0), error: Some("signal 11".to_owned()) });
        player.play(starting(2, Some(0)));
        player.item(1, 1, vec![]);
        player.finish(RunEnd::Completed, 0);
    });
    insta::assert_snapshot!(out, @"
    [gw0] node down: signal 11 (SIGSEGV), in call of test_a.py::test_1, after 0.5s (pid 100 on buildhost)
    F
    replacing crashed worker gw0
    .                                                    [100%]
    ========================= FAILURES =========================
    ________________________ test_a.py _________________________
    [gw0] linux -- Python 3.11.7 /usr/bin/python3
    worker 'gw0' crashed while running 'test_a.py::test_1'
    in call, after 0.5s: signal 11 (SIGSEGV) (pid 100 on buildhost, peak memory 34.5 MiB)

    stack:
    Fatal Python error: Segmentation fault

    last lines on standard error:
    the last words
    ================= short test summary info ==================
    FAILED test_a.py::test_1 - worker 'gw0' crashed while run...
    =============== 1 failed, 1 passed in 0.16s ================
    ");
}

/// pytest-xdist's acceptance tests pin this (`test_crashing_item[teardown]`), as pytest counts a failing teardown.
#[test]
fn a_crash_in_teardown_leaves_the_passed_call_counted() {
    let out = shown(display(), &["test_a.py::test_1"], |player| {
        player.play(crash(0, Some(0), Phase::Teardown));
        player.finish(RunEnd::Completed, 0);
    });
    assert!(out.contains("= 1 failed, 1 passed in "), "{out}");
}

#[test]
fn a_crash_outside_of_tests_shows_its_last_words_once() {
    let (mut player, stdout, stderr) = player(Target::Plain);
    player.configure(display());
    player.end_turn();
    stdout.take();
    player.play(RunEvent::Output {
        worker: WorkerId(1),
        stream: Stream::Stderr,
        data: b"the last words\n".to_vec(),
    });
    player.play(crash(1, None, Phase::Setup));
    player.play(RunEvent::RestartsExhausted { worker: WorkerId(1), limit: 0 });
    player.play(crash(0, None, Phase::Setup));
    player.finish(RunEnd::Stopped(StopReason::RestartsExhausted(0)), 0);
    insta::assert_snapshot!(stdout.take(), @"
    [gw1] node down: signal 11 (SIGSEGV) (pid 101 on buildhost)
    [gw1] stack:
    [gw1]   Fatal Python error: Segmentation fault

    worker gw1 crashed and worker restarting disabled
    [gw0] node down: signal 11 (SIGSEGV) (pid 100 on buildhost)
    [gw0] stack:
    [gw0]   Fatal Python error: Segmentation fault
    [gw0] last lines on standard error:
    [gw0]   the last words

    = xdist: worker gw1 crashed and worker restarting disabled =
    ================== no tests ran in 0.10s ===================
    ");
    insta::assert_snapshot!(stderr.take(), @"[gw1] the last words");
}

#[test]
fn a_stopped_run_says_why_and_what_was_not_run() {
    let not_run = || RunEvent::NotRun {
        worker: None,
        items: vec![ItemIndex(1), ItemIndex(2)],
        reason: "stopping after 1 failures".to_owned(),
    };
    let script = |player: &mut Player<Terminal>| {
        player.item(0, 0, failed_call("boom"));
        player.play(RunEvent::Stopping(StopReason::Failures(1)));
        player.play(not_run());
        player.finish(RunEnd::Stopped(StopReason::Failures(1)), 2);
    };
    let node_ids = ["a.py::test_1", "a.py::test_2", "a.py::test_3"];
    insta::assert_snapshot!(shown(display(), &node_ids, script), @"
    F
    ========================= FAILURES =========================
    __________________________ test_1 __________________________
    [gw0] linux -- Python 3.11.7 /usr/bin/python3

        def test():
    >       assert x
    E       boom

    test_a.py:3: AssertionError
    ================= short test summary info ==================
    FAILED a.py::test_1 - boom
    ======== 2 tests not run: stopping after 1 failures ========
    !!!!!!!!!!!!!!!! stopping after 1 failures !!!!!!!!!!!!!!!!!
    !! xdist.dsession.Interrupted: stopping after 1 failures !!!
    =============== 2 not run, 1 failed in 0.15s ===============
    ");
    let out = shown(verbose(1), &node_ids, script);
    assert!(out.contains("\nNOT RUN a.py::test_2\nNOT RUN a.py::test_3\n"), "{out}");
}

#[test]
fn banners_are_pytests() {
    let banner = |reason: StopReason| {
        let out = shown(display(), &[], |player| player.finish(RunEnd::Stopped(reason), 0));
        out.lines().filter(|line| line.starts_with('!')).map(|line| format!("{line}\n")).collect::<String>()
    };
    let exit = StopReason::Exit { reason: "enough".to_owned(), code: Some(7) };
    let banners = [
        banner(StopReason::Interrupted),
        banner(exit),
        banner(StopReason::Session("too slow".to_owned())),
        banner(StopReason::KeyboardInterrupt(WorkerId(0))),
        banner(StopReason::NoWorkers("no worker is left (gw0: exit code 1)".to_owned())),
    ];
    insta::assert_snapshot!(banners.concat(), @"
    !!!!!!!!!!!!!!!!!!!! KeyboardInterrupt !!!!!!!!!!!!!!!!!!!!!
    !!!!!!!!!!!!!! _pytest.outcomes.Exit: enough !!!!!!!!!!!!!!!
    !!!!!!!!!!! xdist.dsession.Interrupted: too slow !!!!!!!!!!!
    ! xdist.dsession.Interrupted: <WorkerController gw0> received keyboard-interrupt !
    !!!!!!!!!!! no worker is left (gw0: exit code 1) !!!!!!!!!!!
    ");
}

#[test]
fn a_mismatch_is_an_error_of_each_worker_that_differs() {
    let (mut player, stdout, _) = player(Target::Plain);
    player.configure(display());
    for (worker, items) in [(0, 2), (1, 3)] {
        player.play(RunEvent::WorkerCollected { worker: WorkerId(worker), items, deselected: 0 });
    }
    player.end_turn();
    stdout.take();
    let difference = event::Difference {
        worker: WorkerId(1),
        missing: vec!["a.py::test[1]".to_owned()],
        extra: vec!["a.py::test[2]".to_owned(), "a.py::test[3]".to_owned()],
    };
    player
        .play(RunEvent::CollectionMismatch(Mismatch { reference: WorkerId(0), differing: vec![difference] }));
    player.finish(RunEnd::Mismatch, 0);
    insta::assert_snapshot!(stdout.take(), @"
    2 workers [2 items]


    ========================== ERRORS ==========================
    ___________________ ERROR collecting gw1 ___________________
    Different tests were collected between gw0 and gw1. The difference is:
    --- gw0
    +++ gw1
    -a.py::test[1]
    +a.py::test[2]
    +a.py::test[3]
    To see why this happens see 'Known limitations' in documentation for pytest-xdist
    Names and order of tests must not depend on chance, time, or the order of a set.
    ================= short test summary info ==================
    ERROR gw1 - Different tests were collected between gw0 an...
    ===================== 1 error in 0.09s =====================
    ");
}

#[test]
fn a_usage_error_before_the_header_is_all_there_is() {
    let (mut player, stdout, stderr) = player(Target::Plain);
    player.play(starting(0, None));
    player.play(RunEvent::UsageError { worker: WorkerId(0), text: "ERROR: usage: pytest\n".to_owned() });
    player.finish(RunEnd::UsageError(4), 0);
    assert_eq!((stdout.take().as_str(), stderr.take().as_str()), ("", "ERROR: usage: pytest\n\n"));
}

#[test]
fn a_usage_error_after_the_header_follows_the_last_line() {
    let (mut player, stdout, stderr) = player(Target::Plain);
    player.configure(display());
    player.play(RunEvent::UsageError { worker: WorkerId(0), text: "ERROR: not found: x\n".to_owned() });
    player.finish(RunEnd::UsageError(4), 0);
    assert!(stdout.take().contains("= no tests ran in "));
    assert_eq!(stderr.take(), "ERROR: not found: x\n\n");
}

#[test]
fn raw_output_is_attributed_but_for_the_first_workers_while_it_comes_up() {
    let output = |worker, stream, data: &[u8]| RunEvent::Output {
        worker: WorkerId(worker),
        stream,
        data: data.to_vec(),
    };
    let (mut player, stdout, stderr) = player(Target::Plain);
    player.play(starting(0, None));
    player.play(output(0, Stream::Stderr, b"plugin is active\n"));
    player.configure(display());
    player.play(output(1, Stream::Stderr, b"plugin is active\n"));
    assert_eq!(stderr.take(), "plugin is active\n[gw1] plugin is active\n");
    player.collect(&["a.py::test_1", "a.py::test_2"]);
    player.end_turn();
    stdout.take();
    player.item(0, 0, vec![]);
    player.play(output(1, Stream::Stdout, b"out\xff\nmore"));
    player.play(output(0, Stream::Stderr, b"err\n"));
    assert_eq!(stdout.take(), ".\n[gw1] out\u{fffd}\n[gw1] more\n");
    assert_eq!(stderr.take(), "[gw0] err\n");
}

#[test]
fn internal_errors_are_marked_line_by_line() {
    let out = shown(display(), &["a.py::test_1"], |player| {
        let text = "Traceback\nRuntimeError: broken".to_owned();
        player.play(RunEvent::InternalError { worker: WorkerId(0), text });
    });
    assert_eq!(out, "INTERNALERROR> Traceback\nINTERNALERROR> RuntimeError: broken\n");
}

#[test]
fn durations_are_sorted_and_short_ones_hidden() {
    let options = DisplayOptions { durations: Some(4), ..display() };
    let out = shown(options, &["a.py::test_1"], |player| {
        player.item(0, 0, vec![]);
        player.finish(RunEnd::Completed, 0);
    });
    insta::assert_snapshot!(out, @"
    .                                                    [100%]
    =================== slowest 4 durations ====================
    0.02s call     a.py::test_1

    (2 durations < 0.005s hidden.  Use -vv to show these durations.)
    ==================== 1 passed in 0.13s =====================
    ");
}

#[test]
fn colours_are_pytests() {
    let options = DisplayOptions { color: true, ..display() };
    let out = shown(options, &["a.py::test_1", "a.py::test_2"], |player| {
        player.item(0, 0, vec![]);
        player.item(0, 1, failed_call("boom"));
        player.finish(RunEnd::Completed, 0);
    });
    insta::assert_snapshot!(out.replace('\x1b', "^"), @"
    ^[32m.^[0m^[31mF^[0m^[31m                                                   [100%]^[0m
    ========================= FAILURES =========================
    ^[31m^[1m__________________________ test_2 __________________________^[0m
    [gw0] linux -- Python 3.11.7 /usr/bin/python3

        def test():
    >       assert x
    E       boom

    test_a.py:3: AssertionError
    ^[36m^[1m================= short test summary info ==================^[0m
    ^[31mFAILED^[0m a.py::^[1mtest_2^[0m - boom
    ^[31m=============== ^[31m^[1m1 failed^[0m, ^[32m1 passed^[0m^[31m in 0.14s^[0m^[31m ================^[0m
    ");
}

#[test]
fn a_plugins_own_outcome_is_counted_under_its_own_name() {
    let status = Status { category: "rerun".to_owned(), letter: "R".to_owned(), word: "RERUN".to_owned() };
    let out = shown(display(), &["a.py::test_1"], |player| {
        let rerun = PhaseReport {
            detail: Some("rerun".to_owned()),
            status: Some(status),
            ..failed(Phase::Call, "boom")
        };
        let rerun = PhaseReport { class: Default::default(), ..rerun };
        let again = [passed(Phase::Setup), passed(Phase::Call), passed(Phase::Teardown)];
        player.item(0, 0, [vec![passed(Phase::Setup), rerun], again.to_vec()].concat());
        player.finish(RunEnd::Completed, 0);
    });
    assert!(out.starts_with("R."), "{out}");
    assert!(out.contains("= 1 passed, 1 rerun in "), "{out}");
}

#[test]
fn on_a_terminal_the_status_line_is_drawn_anew_and_a_live_area_follows() {
    let (mut player, stdout, _) = player(Target::Terminal);
    player.configure(display());
    player.end_turn();
    assert!(stdout.take().ends_with("\ninitialized: 2/2 workers"));
    player.collect(&["a.py::test_1", "a.py::test_2"]);
    player.item(0, 0, vec![]);
    player.play(RunEvent::ItemStarted {
        worker: WorkerId(1),
        item: ItemIndex(1),
        phase: Phase::Call,
        running: Duration::from_secs(2),
        slow: None,
    });
    player.now += Duration::from_secs(1);
    let now = player.now;
    assert!(player.frontend.next_tick().is_some_and(|due| due <= now));
    player.frontend.tick(now);
    insta::assert_snapshot!(stdout.take().replace('\x1b', "^"), @"\r^[J2 workers [2 items]\n\n.\n[==================>                    ]  1/2  1.0/s  1.0s\ngw1     3.0s  call      a.py::test_2");
    player.frontend.key(b't', now);
    let out = stdout.take();
    assert!(out.contains("[gw1] (pid 101 on buildhost) call for 3.0s: a.py::test_2\n"), "{out}");
    player.item(1, 1, vec![]);
    player.finish(RunEnd::Completed, 0);
    insta::assert_snapshot!(stdout.take().replace('\x1b', "^"), @"\r^[2A^[J..                                                   [100%]\n==================== 2 passed in 1.15s =====================");
}

#[test]
fn what_is_said_of_a_slow_test_stands_above_the_dots_and_the_live_area() {
    let (mut player, stdout, _) = player(Target::Terminal);
    player.configure(display());
    player.collect(&["a.py::test_1", "a.py::test_2"]);
    player.item(0, 0, vec![]);
    player.end_turn();
    stdout.take();
    player.play(slow(60));
    player.now += Duration::from_secs(1);
    player.frontend.tick(player.now);
    let out = stdout.take().replace('\x1b', "^");
    assert!(out.contains("SLOW [gw1] > 60s a.py::test_2 (in call, pid 101 on buildhost)\n.\n["), "{out}");
}

#[test]
fn node_ids_and_paths_are_seen_from_the_current_directory() {
    let surroundings = Surroundings { cwd: "/suite/sub".into(), on_ci: false };
    let view = View::new(display(), surroundings, "/suite".into());
    assert_eq!(view.node_id("sub/a.py::test[x::y]"), "a.py::test[x::y]");
    assert_eq!(view.node_id("b.py"), "../b.py");
    assert_eq!(view.path("/suite/sub/a.py"), "a.py");
}

#[test]
fn what_started_no_process_is_told() {
    let cause = event::CrashCause::Process(EndCause::NotStarted("no such file: python9".to_owned()));
    let RunEvent::Crashed(crash) = crash(0, None, Phase::Setup) else { unreachable!() };
    let crash =
        Crash { cause, pid: None, host: String::new(), stack: None, stderr_tail: String::new(), ..*crash };
    let (mut player, stdout, _) = player(Target::Plain);
    player.play(starting(0, None));
    player.play(RunEvent::Crashed(Box::new(crash)));
    player
        .finish(RunEnd::Stopped(StopReason::NoWorkers("no worker is left (gw0: not started)".to_owned())), 0);
    insta::assert_snapshot!(stdout.take(), @"
    [gw0] node down: not started: no such file: python9
    !!!!!!!!!!! no worker is left (gw0: not started) !!!!!!!!!!!
    ");
}

#[test]
fn the_last_line_says_where_it_stands_what_to_do() {
    let lost = |error: &str| {
        let (mut player, stdout, _) = player(Target::Plain);
        player.play(starting(0, None));
        let host = "the worker host on a".to_owned();
        player.play(RunEvent::HostLost { host, error: error.to_owned() });
        player
            .finish(RunEnd::Stopped(StopReason::NoWorkers("no worker is left (gw0: no way)".to_owned())), 0);
        stdout.take().lines().last().unwrap().trim_matches(['!', ' ']).to_owned()
    };
    assert_eq!(
        lost("no way; get a key"),
        r#"no worker is left (gw0: no way); what to do stands above, behind "host lost""#
    );
    assert_eq!(lost("no way"), "no worker is left (gw0: no way)", "nothing is known to do");
    assert_eq!(lost("it died; so what"), "no worker is left (gw0: no way)", "that was another loss");
}
