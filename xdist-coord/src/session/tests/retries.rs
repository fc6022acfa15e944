//! Items that failed and run again (`--retries`).

use super::*;

fn retrying(retries: u32) -> RunOptions {
    RunOptions { retries, ..options() }
}

#[test]
fn an_item_that_fails_runs_again_on_another_worker_and_counts_once() {
    let mut bench = Bench::running(2, "a b", &retrying(2));
    bench.expect_among("gw0 run 0: 0\ngw1 run 1: 1");
    bench.finish(1, 1, 1, OutcomeClass::Pass);
    bench.said.clear();
    bench.finish(0, 0, 0, OutcomeClass::Fail);
    bench.expect("* gw0 finished 0 Fail, retry 1 of 2\ngw1 run 2: 0\ngw1 park");
    bench.finish(1, 2, 0, OutcomeClass::Pass);
    bench.expect("* gw1 finished 0 Pass, after 1 failures\ngw0 drain\ngw1 drain");
    bench.end(0);
    bench.end(1);
    bench.expect_among("finished Completed 2 = 2 + 0 + 0, 0 failed, 1 flaky");
}

#[test]
fn an_item_that_fails_every_time_has_failed_once() {
    let mut bench = Bench::running(1, "a", &RunOptions { max_fail: Some(2), ..retrying(2) });
    bench.said.clear();
    bench.finish(0, 0, 0, OutcomeClass::Fail);
    bench.expect("* gw0 finished 0 Fail, retry 1 of 2\ngw0 run 1: 0\ngw0 park");
    bench.finish(0, 1, 0, OutcomeClass::Fail);
    bench.expect("* gw0 finished 0 Fail, retry 2 of 2\ngw0 run 2: 0\ngw0 park");
    bench.finish(0, 2, 0, OutcomeClass::Fail);
    bench.expect("* gw0 finished 0 Fail, after 2 failures\ngw0 drain");
    bench.end(0);
    bench.expect_among("finished Completed 1 = 1 + 0 + 0, 1 failed");
}

#[test]
fn an_item_that_crashes_runs_again() {
    let mut bench = Bench::running(1, "a b", &retrying(1));
    bench.said.clear();
    bench.down(0, EndCause::Signaled(11), Some((0, 0)));
    bench.expect(
        "* gw0 crashed in 0, retry 1 of 1
         * gw0 down: signal 11 (SIGSEGV)
         * gw1 starts for gw0
         gw1 configure gw1 of 1",
    );
    bench.tell_ready(1, retrying(1));
    bench.collect(1, "a b");
    bench.expect("* gw1 collected 2\ngw1 run 1: 0\ngw1 run 2: 1");
    // As is what takes too long.
    bench.down(1, EndCause::TimedOut(500), Some((1, 0)));
    bench.expect(
        "* gw1 crashed in 0 Some(Call): timeout: ran for more than 0.5 s, after 1 failures
         * gw1 down: timeout: ran for more than 0.5 s
         * gw2 starts for gw1
         gw2 configure gw2 of 1",
    );
}

#[test]
fn what_crashed_with_the_last_worker_ends_with_that_crash() {
    let mut bench = Bench::running(1, "a", &RunOptions { max_restarts: Some(0), ..retrying(1) });
    bench.said.clear();
    bench.down(0, EndCause::Signaled(11), Some((0, 0)));
    bench.expect(
        "* gw0 crashed in 0, retry 1 of 1
         * gw0 down: signal 11 (SIGSEGV)
         * gw0 not replaced, limit 0
         * gw0 crashed in 0 Some(Call): signal 11 (SIGSEGV)
         close 0 Done
         finished Completed 1 = 0 + 1 + 0, 1 failed",
    );
}

#[test]
fn what_waits_to_run_again_when_the_run_stops_ends_with_its_last_failure() {
    let options = RunOptions { max_fail: Some(1), ..retrying(1) };
    let mut bench = Bench::running(2, "a b c d", &options);
    bench.expect_among("gw0 run 0: 0 1\ngw1 run 1: 2 3");
    bench.finish(0, 0, 0, OutcomeClass::Fail);
    bench.expect("* gw0 finished 0 Fail, retry 1 of 1\ngw0 park");
    bench.finish(1, 1, 2, OutcomeClass::Fail);
    // Each is the other's other worker.
    bench.expect("* gw1 finished 2 Fail, retry 1 of 1\ngw1 run 2: 0\ngw0 run 3: 2");
    bench.finish(0, 0, 1, OutcomeClass::Pass);
    bench.said.clear();
    bench.finish(0, 3, 2, OutcomeClass::Fail);
    bench.expect(
        "* gw0 finished 2 Fail, after 1 failures
         * stopping: stopping after 1 failures
         gw0 drain
         gw1 cancel 0
         gw1 drain",
    );
    bench.unscheduled(1, 0, &[0]);
    bench.finish(1, 1, 3, OutcomeClass::Pass);
    bench.end(0);
    bench.said.clear();
    bench.end(1);
    bench.expect(
        "* gw1 down
         * gw0 finished 0 Fail
         close 0 Done
         finished Stopped(Failures(1)) 4 = 4 + 0 + 0, 2 failed",
    );
}

#[test]
fn what_is_interrupted_when_it_runs_again_ends_with_its_last_failure() {
    for kill in [false, true] {
        let mut bench = Bench::running(1, "a b", &retrying(3));
        bench.finish(0, 0, 0, OutcomeClass::Fail);
        bench.finish(0, 0, 1, OutcomeClass::Pass);
        bench.finish(0, 1, 0, OutcomeClass::Fail);
        bench.input(Input::InterruptRequested);
        bench.said.clear();
        if kill {
            bench.input(Input::InterruptRequested);
        } else {
            bench.down(0, EndCause::Signaled(2), Some((2, 0)));
        }
        bench.expect_among(
            "* gw0 finished 0 Fail, after 1 failures
             finished Stopped(Interrupted) 2 = 2 + 0 + 0, 1 failed",
        );
    }
}

#[test]
fn a_failure_while_the_run_ends_is_the_last() {
    let mut bench = Bench::running(1, "a b", &retrying(3));
    bench.stop(0, StopKind::ShouldStop);
    bench.said.clear();
    bench.finish(0, 0, 0, OutcomeClass::Fail);
    bench.expect("* gw0 finished 0 Fail");
}

#[test]
fn in_mode_each_an_item_runs_again_where_it_failed() {
    let config = Config { mode: Some(Mode::Each), ..config(Some("2*popen")) };
    let mut bench = Bench::connected(config);
    for worker in 0..2 {
        bench.tell_ready(worker, retrying(1));
    }
    for worker in 0..2 {
        bench.collect(worker, "a");
    }
    bench.list(0, "a");
    bench.said.clear();
    bench.finish(0, 0, 0, OutcomeClass::Fail);
    bench.expect("* gw0 finished 0 Fail, retry 1 of 1\ngw0 run 2: 0\ngw0 park");
    bench.finish(0, 2, 0, OutcomeClass::Pass);
    bench.expect("* gw0 finished 0 Pass, after 1 failures");
    bench.down(1, EndCause::Exited(3), Some((1, 0)));
    bench.expect(
        "* gw1 crashed in 0, retry 1 of 1
         * gw1 down: exit code 3
         * gw2 starts for gw1
         gw2 configure gw2 of 2",
    );
}

#[test]
fn plugins_are_asked_about_a_crash_first() {
    let options = retrying(1);
    let mut bench = Bench::judged_running(Mode::Load, 1, "a", &options);
    bench.crash(0, 0, 0);
    bench.expect_among("* question 0: gw0 crashed in 0\n* gw1 starts for gw0");
    bench.not_again(0);
    bench.expect("* gw0 crashed in 0, as was asked about, retry 1 of 1");
    bench.answer(1, "");
    bench.tell_ready(1, options);
    bench.collect(1, "a");
    bench.crash(1, 1, 0);
    bench.said.clear();
    bench.not_again(1);
    bench.expect_among(
        "* gw1 crashed in 0 Some(Call): signal 11 (SIGSEGV), as was asked about, after 1 failures",
    );
}

#[test]
fn a_plugin_that_has_run_a_crashed_item_again_says_when_that_is_enough() {
    let options = retrying(1);
    let mut bench = Bench::judged_running(Mode::Load, 1, "a", &options);
    bench.crash(0, 0, 0);
    bench.again(0);
    bench.answer(1, "");
    bench.tell_ready(1, options);
    bench.collect(1, "a");
    bench.crash(1, 1, 0);
    bench.said.clear();
    bench.not_again(1);
    bench.expect_among("* gw1 crashed in 0 Some(Call): signal 11 (SIGSEGV), as was asked about");
}

#[test]
fn what_plugins_excuse_does_not_run_again() {
    let mut bench = Bench::judged_running(Mode::Load, 1, "a", &retrying(1));
    bench.crash(0, 0, 0);
    bench.said.clear();
    bench.excuse(0);
    bench.expect_among("* gw0 crashed in 0 Some(Call): signal 11 (SIGSEGV), as was asked about");
}

#[test]
fn flaky_items_can_be_taken_for_a_failure() {
    for flaky_fails in [false, true] {
        let mut bench = Bench::running(1, "a", &RunOptions { flaky_fails, ..retrying(1) });
        bench.finish(0, 0, 0, OutcomeClass::Fail);
        bench.finish(0, 1, 0, OutcomeClass::Skip);
        bench.tell(WorkerMessage::WorkerOutput(WorkerOutput::default()));
        let down = Down {
            worker: WorkerId(0),
            cause: EndCause::Exited(0),
            out_of_memory: false,
            item: None,
            report: None,
            stderr_tail: String::new(),
            stack: None,
            peak_rss_kib: 0,
            finished: 2,
        };
        let message = WorkerMessage::Down(down);
        bench.session.handle(Input::Received { link: LINK, message }, bench.now);
        let finished = std::iter::from_fn(|| bench.session.poll_output()).find_map(|output| match output {
            Output::Finished(summary) => Some((summary.flaky, summary.flaky_fails, summary.failed)),
            _ => None,
        });
        assert_eq!(finished, Some((1, flaky_fails, 0)));
    }
}
