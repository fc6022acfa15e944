//! Scenarios with a pytest host: what it is asked, and what comes of its answers and of its end.

use super::*;
use xdist_proto::frontend::CrashHandled;
use xdist_proto::message::HostWanted;

/// A run with a pytest host, or with one that can be had.
fn hosted(pytest_host: PytestHost, workers: Option<&str>) -> Config {
    Config { pytest_host, ..config(workers) }
}

impl Bench {
    /// A local host has said hello, and the pytest host, which is there from the start, judges crashes.
    fn judged(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.input(Input::PytestHostJoined { judges_crashes: true, schedules: false });
        bench.launch(0);
        bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
        bench
    }

    /// The same, with so many workers that have agreed on these items.
    pub(super) fn judged_running(mode: Mode, workers: u32, items: &str, options: &RunOptions) -> Self {
        let specs = format!("{workers}*popen");
        let config = Config { mode: Some(mode), ..hosted(PytestHost::Present, Some(&specs)) };
        let mut bench = Self::judged(config);
        for worker in 0..workers {
            bench.answer(worker, "");
            bench.tell_ready(worker, options.clone());
        }
        (0..workers).for_each(|worker| bench.collect(worker, items));
        bench.list(0, items);
        bench.said.clear();
        bench
    }

    /// A replacement comes up and collects the same.
    fn replace(&mut self, worker: u32, items: &str) {
        self.answer(worker, "");
        self.tell_ready(worker, options());
        self.collect(worker, items);
    }

    fn want_host(&mut self, worker: u32) {
        let hooks = vec!["a hook".to_owned()];
        self.tell(WorkerMessage::HostWanted(HostWanted { worker: WorkerId(worker), hooks }));
    }

    /// The pytest host answers with these entries.
    pub(super) fn answer(&mut self, worker: u32, entries: &str) {
        let input = entries.split_whitespace().map(|entry| (entry.to_owned(), Value::Nil)).collect();
        self.input(Input::NodeConfigured { worker: WorkerId(worker), input });
    }

    pub(super) fn crash(&mut self, worker: u32, lease: u32, item: u32) {
        self.down(worker, EndCause::Signaled(11), Some((lease, item)));
    }

    fn judge(&mut self, request: u32, again: bool, excused: bool) {
        self.input(Input::CrashHandled(CrashHandled { request, again, excused }));
    }

    pub(super) fn again(&mut self, request: u32) {
        self.judge(request, true, false);
    }

    pub(super) fn not_again(&mut self, request: u32) {
        self.judge(request, false, false);
    }

    pub(super) fn excuse(&mut self, request: u32) {
        self.judge(request, false, true);
    }

    fn lose_pytest_host(&mut self) {
        self.input(Input::PytestHostLost { error: "it died".to_owned() });
    }
}

#[test]
fn the_first_worker_that_wants_the_pytest_host_has_it_started_and_waits() {
    let mut bench = Bench::new(hosted(PytestHost::OnDemand, None));
    bench.launch(0);
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    bench.expect("* gw0 starts\nlaunch 0\nwelcome gw0\ngw0 configure gw0 of 0, hooks");
    bench.want_host(0);
    bench.expect("start the pytest host for a hook\nask about gw0");
    bench.answer(0, "key other");
    bench.expect("gw0 proceed with key with other, full");
    bench.tell_ready(0, RunOptions { workers: Some(2), ..options() });
    // Of later workers it is known that they want one.
    bench.expect("* configured 2 workers, load\n* gw1 starts\nask about gw1");
    bench.answer(1, "key");
    bench.expect("gw1 configure gw1 of 2 with key, full");
}

#[test]
fn of_two_workers_that_want_it_the_first_to_say_so_has_it_started() {
    let mut bench = Bench::connected(hosted(PytestHost::OnDemand, Some("2*popen")));
    bench.want_host(1);
    bench.expect("start the pytest host for a hook\nask about gw1");
    bench.want_host(0);
    bench.expect("ask about gw0");
    bench.answer(0, "a");
    bench.answer(1, "b");
    bench.expect("gw0 proceed with a, full\ngw1 proceed with b, full");
}

#[test]
fn workers_whose_hosts_come_up_after_the_pytest_host_was_started_are_asked_about_too() {
    let run = || WorkerSpec { host: HostSpec::Exec(vec!["run".to_owned()]), ..WorkerSpec::default() };
    let workers = Some(vec![WorkerSpec::default(), run(), run()]);
    let mut bench = Bench::new(Config { workers, ..hosted(PytestHost::OnDemand, None) });
    bench.launch(0);
    bench.launch(1);
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    bench.said.clear();
    bench.want_host(0);
    bench.expect("start the pytest host for a hook\nask about gw0\nask about gw1\nask about gw2");
    bench.hello(LinkId(1), VersionRange::SUPPORTED, Role::Worker, 1);
    bench.expect("welcome gw1");
    bench.answer(1, "key");
    bench.expect("gw1 configure gw1 of 3 with key, full");
    bench.answer(2, "other");
    bench.launch(2);
    bench.expect("");
    bench.hello(LinkId(2), VersionRange::SUPPORTED, Role::Worker, 1);
    bench.expect("welcome gw2\ngw2 configure gw2 of 3 with other, full");
}

#[test]
fn once_a_worker_is_ready_that_does_not_want_it_nobody_gets_it() {
    let mut bench = Bench::connected(hosted(PytestHost::OnDemand, Some("2*popen")));
    bench.tell_ready(0, options());
    bench.said.clear();
    bench.want_host(1);
    bench.expect("gw1 proceed");
    bench.tell_ready(1, options());
    bench.collect(0, "a");
    bench.down(1, EndCause::Signaled(11), None);
    bench.expect_among("* gw2 starts for gw1\ngw2 configure gw2 of 2");
}

#[test]
fn a_run_without_a_pytest_host_lets_everyone_go_on() {
    let mut bench = Bench::new(hosted(PytestHost::Never, None));
    bench.launch(0);
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    bench.expect("* gw0 starts\nlaunch 0\nwelcome gw0\ngw0 configure gw0 of 0");
    bench.want_host(0);
    bench.expect("gw0 proceed");
}

#[test]
fn a_pytest_host_that_is_there_is_asked_before_anyone_is_configured() {
    let mut bench = Bench::new(hosted(PytestHost::Present, Some("2*popen")));
    bench.expect("* gw0 starts\nask about gw0\nlaunch 0\n* gw1 starts\nask about gw1");
    bench.answer(1, "early");
    bench.launch(0);
    bench.expect("");
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    bench.expect("welcome gw0 gw1\ngw1 configure gw1 of 2 with early, full");
    bench.answer(0, "late");
    bench.expect("gw0 configure gw0 of 2 with late, full");
    // It has its input, so it is not kept waiting.
    bench.want_host(0);
    bench.expect("gw0 proceed, full");
}

#[test]
fn a_replacement_is_asked_about_as_any_worker() {
    let mut bench = Bench::judged_running(Mode::Load, 1, "a b c", &options());
    bench.down(0, EndCause::Signaled(11), None);
    bench.expect(
        "* gw0 crashed: signal 11 (SIGSEGV)
         * gw0 down: signal 11 (SIGSEGV)
         * gw1 starts for gw0
         ask about gw1",
    );
    bench.answer(1, "key");
    bench.expect("gw1 configure gw1 of 1 with key, full");
}

#[test]
fn answers_to_what_was_not_asked_are_ignored() {
    let mut bench = Bench::connected(hosted(PytestHost::OnDemand, Some("2*popen")));
    bench.answer(0, "early");
    bench.answer(7, "of nobody");
    bench.want_host(0);
    bench.want_host(1);
    bench.answer(0, "key");
    bench.said.clear();
    bench.answer(0, "again");
    bench.not_again(0);
    bench.down(1, EndCause::Exited(1), None);
    bench.said.clear();
    bench.answer(1, "too late");
    bench.expect("");
}

#[test]
fn a_worker_that_waits_says_so_once_and_before_it_is_ready() {
    let check = |breach: fn(&mut Bench), reason: &str| {
        let mut bench = Bench::connected(hosted(PytestHost::OnDemand, Some("popen")));
        breach(&mut bench);
        bench.expect_among(&format!("close 0 Protocol({reason:?})"));
    };
    check(
        |bench| {
            bench.want_host(0);
            bench.want_host(0);
        },
        "gw0 sent host_wanted twice",
    );
    check(
        |bench| {
            bench.tell_ready(0, options());
            bench.want_host(0);
        },
        "gw0 sent host_wanted while it was ready",
    );
}

#[test]
fn a_worker_that_does_not_wait_although_it_said_so_is_borne_with() {
    let mut bench = Bench::connected(hosted(PytestHost::OnDemand, Some("popen")));
    bench.want_host(0);
    bench.tell_ready(0, options());
    bench.said.clear();
    bench.answer(0, "key");
    bench.expect("gw0 proceed with key, full");
}

#[test]
fn a_run_whose_pytest_host_cannot_be_had_ends() {
    let mut bench = Bench::connected(hosted(PytestHost::OnDemand, Some("2*popen")));
    bench.want_host(0);
    bench.said.clear();
    bench.lose_pytest_host();
    bench.expect(
        "* lost the pytest host: it died
         * stopping: the pytest host is gone
         gw0 shutdown 2500 ms
         gw1 shutdown 2500 ms",
    );
    bench.want_host(1);
    bench.down(0, EndCause::Killed("told to".to_owned()), None);
    bench.down(1, EndCause::Killed("told to".to_owned()), None);
    bench.expect(
        "* gw0 down
         * gw1 down
         close 0 Done
         finished Stopped(PytestHostLost) 0 = 0 + 0 + 0, 0 failed",
    );
}

#[test]
fn workers_that_wait_to_be_configured_end_with_the_pytest_host() {
    let mut bench = Bench::connected(hosted(PytestHost::Present, Some("2*popen")));
    bench.lose_pytest_host();
    bench.expect(
        "* lost the pytest host: it died
         * stopping: the pytest host is gone
         * gw0 down
         * gw1 down
         close 0 Done
         finished Stopped(PytestHostLost) 0 = 0 + 0 + 0, 0 failed",
    );
}

#[test]
fn a_run_that_loses_its_pytest_host_finishes_what_is_running_and_no_more() {
    let mut bench = Bench::judged_running(Mode::Load, 2, "a b c d e f", &options());
    bench.lose_pytest_host();
    bench.expect(
        "* lost the pytest host: it died
         * stopping: the pytest host is gone
         gw0 cancel 0
         gw0 drain
         gw1 cancel 1
         gw1 drain",
    );
    bench.unscheduled(0, 0, &[1]);
    bench.unscheduled(1, 1, &[3]);
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.end(0);
    // Nobody is there to judge it.
    bench.crash(1, 1, 2);
    bench.expect(
        "* gw0 finished 0 Pass
         * gw0 down
         * gw1 crashed in 2 Some(Call): signal 11 (SIGSEGV)
         * gw1 down: signal 11 (SIGSEGV)
         * not run 1 3 4 5: the pytest host is gone
         close 0 Done
         finished Stopped(PytestHostLost) 6 = 1 + 1 + 4, 1 failed",
    );
}

#[test]
fn a_run_is_not_complete_before_the_pytest_host_has_heard_of_the_last_worker() {
    let mut bench = Bench::judged_running(Mode::Load, 1, "a", &options());
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.expect("* gw0 finished 0 Pass\ngw0 drain");
    bench.lose_pytest_host();
    bench.end(0);
    bench.expect(
        "* lost the pytest host: it died
         * stopping: the pytest host is gone
         * gw0 down
         close 0 Done
         finished Stopped(PytestHostLost) 1 = 1 + 0 + 0, 0 failed",
    );
    // Whatever ended it, it is told once.
    let mut bench =
        Bench::judged_running(Mode::Load, 1, "a b", &RunOptions { max_fail: Some(1), ..options() });
    bench.finish(0, 0, 0, OutcomeClass::Fail);
    bench.lose_pytest_host();
    bench.end(0);
    bench.expect_among("finished Stopped(Failures(1)) 2 = 1 + 0 + 1, 1 failed");
}

#[test]
fn an_item_that_crashed_runs_again_next_and_counts_once() {
    let mut bench = Bench::judged_running(Mode::Load, 2, "a b c d e f g h", &options());
    bench.crash(0, 0, 0);
    bench.expect(
        "* question 0: gw0 crashed in 0
         * gw0 down: signal 11 (SIGSEGV)
         * gw2 starts for gw0
         ask about gw2",
    );
    bench.again(0);
    bench.expect("");
    bench.finish(1, 1, 2, OutcomeClass::Pass);
    bench.expect("* gw1 finished 2 Pass\ngw1 run 2: 0 1");
    for (lease, item) in [(1, 3), (2, 0), (2, 1), (3, 4), (4, 5), (5, 6), (6, 7)] {
        bench.finish(1, lease, item, OutcomeClass::Pass);
    }
    bench.end(1);
    bench.down(2, EndCause::Killed("told to".to_owned()), None);
    bench.expect_among("* gw1 finished 0 Pass\nfinished Completed 8 = 8 + 0 + 0, 0 failed");
}

#[test]
fn an_only_worker_is_replaced_for_an_item_whose_fate_is_open() {
    let mut bench = Bench::judged_running(Mode::Load, 1, "a", &options());
    bench.crash(0, 0, 0);
    bench.expect_among("* question 0: gw0 crashed in 0\n* gw1 starts for gw0");
    bench.replace(1, "a");
    // Nothing is pending, and the run is not complete.
    bench.expect_among("* gw1 collected 1");
    bench.again(0);
    bench.expect("gw1 run 1: 0\ngw1 park");
    bench.crash(1, 1, 0);
    bench.expect_among("* question 1: gw1 crashed in 0\n* gw2 starts for gw1");
    bench.replace(2, "a");
    bench.said.clear();
    bench.not_again(1);
    bench.expect("* gw1 crashed in 0 Some(Call): signal 11 (SIGSEGV), as was asked about\ngw2 drain");
    bench.end(2);
    bench.expect_among("finished Completed 1 = 0 + 1 + 0, 1 failed");
}

#[test]
fn a_crash_that_is_excused_is_no_failure() {
    let options = RunOptions { max_fail: Some(1), ..options() };
    let mut bench = Bench::judged_running(Mode::Load, 2, "a b c d", &options);
    bench.crash(0, 0, 0);
    bench.said.clear();
    bench.excuse(0);
    bench.expect("* gw0 crashed in 0 Some(Call): signal 11 (SIGSEGV), as was asked about");
    for (lease, item) in [(1, 2), (1, 3), (2, 1)] {
        bench.finish(1, lease, item, OutcomeClass::Pass);
    }
    bench.end(1);
    bench.down(2, EndCause::Killed("told to".to_owned()), None);
    bench.expect_among("finished Completed 4 = 3 + 1 + 0, 0 failed");
}

#[test]
fn a_crash_counts_for_maxfail_once_it_is_judged() {
    let options = RunOptions { max_fail: Some(1), ..options() };
    let mut bench = Bench::judged_running(Mode::Load, 2, "a b c d", &options);
    bench.crash(0, 0, 0);
    bench.expect(
        "* question 0: gw0 crashed in 0
         * gw0 down: signal 11 (SIGSEGV)
         * gw2 starts for gw0
         ask about gw2",
    );
    bench.not_again(0);
    bench.expect(
        "* gw0 crashed in 0 Some(Call): signal 11 (SIGSEGV), as was asked about
         * stopping: stopping after 1 failures
         gw1 cancel 1
         gw1 drain
         * gw2 down",
    );
}

#[test]
fn a_run_that_is_ending_runs_nothing_again() {
    let options = RunOptions { max_fail: Some(1), ..options() };
    let mut bench = Bench::judged_running(Mode::Load, 2, "a b", &options);
    bench.finish(0, 0, 0, OutcomeClass::Fail);
    bench.crash(1, 1, 1);
    bench.expect_among("* question 1: gw1 crashed in 1");
    bench.again(1);
    bench.expect("* gw1 crashed in 1 Some(Call): signal 11 (SIGSEGV), as was asked about");
    bench.end(0);
    bench.expect_among("finished Stopped(Failures(1)) 2 = 1 + 1 + 0, 2 failed");
}

#[test]
fn a_pytest_host_that_does_not_judge_crashes_is_told_of_them() {
    let mut bench = Bench::new(hosted(PytestHost::Present, Some("popen")));
    bench.input(Input::PytestHostJoined { judges_crashes: false, schedules: false });
    bench.launch(0);
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    bench.replace(0, "a b");
    bench.list(0, "a b");
    bench.said.clear();
    bench.crash(0, 0, 0);
    bench.expect_among("* gw0 crashed in 0 Some(Call): signal 11 (SIGSEGV)");
}

#[test]
fn nobody_waits_for_the_judgement_of_a_pytest_host_that_is_lost() {
    let mut bench = Bench::judged_running(Mode::Load, 2, "a b c d", &options());
    bench.crash(0, 0, 0);
    bench.said.clear();
    bench.lose_pytest_host();
    bench.expect(
        "* lost the pytest host: it died
         * stopping: the pytest host is gone
         gw1 cancel 1
         gw1 drain
         * gw2 down
         * gw0 crashed in 0 Some(Call): signal 11 (SIGSEGV), as was asked about",
    );
    bench.unscheduled(1, 1, &[3]);
    bench.finish(1, 1, 2, OutcomeClass::Pass);
    bench.end(1);
    bench.expect_among("finished Stopped(PytestHostLost) 4 = 1 + 1 + 2, 1 failed");
}

#[test]
fn a_question_that_is_open_when_the_last_worker_is_gone_is_waited_for() {
    let no_restarts = RunOptions { max_restarts: Some(0), ..options() };
    let begin = |items| {
        let mut bench = Bench::judged_running(Mode::Load, 1, items, &no_restarts);
        bench.crash(0, 0, 0);
        bench.expect(
            "* question 0: gw0 crashed in 0
             * gw0 down: signal 11 (SIGSEGV)
             * gw0 not replaced, limit 0",
        );
        bench
    };
    // Nobody is left to run it.
    let mut bench = begin("a");
    bench.again(0);
    bench.expect(
        "* stopping: more than 0 workers crashed
         * not run 0: more than 0 workers crashed
         close 0 Done
         finished Stopped(RestartsExhausted(0)) 1 = 0 + 0 + 1, 0 failed",
    );
    let mut bench = begin("a b");
    bench.not_again(0);
    bench.expect_among(
        "* not run 1: more than 0 workers crashed
         finished Stopped(RestartsExhausted(0)) 2 = 0 + 1 + 1, 1 failed",
    );
    let mut bench = begin("a");
    bench.excuse(0);
    bench.expect_among("finished Completed 1 = 0 + 1 + 0, 0 failed");
    let mut bench = begin("a");
    bench.lose_pytest_host();
    bench.expect_among("finished Stopped(PytestHostLost) 1 = 0 + 1 + 0, 1 failed");
    let mut bench = begin("a");
    bench.input(Input::InterruptRequested);
    bench.expect_among("finished Stopped(Interrupted) 1 = 0 + 1 + 0, 1 failed");
}

#[test]
fn in_mode_each_the_replacement_runs_again_what_its_predecessor_crashed_in() {
    let mut bench = Bench::judged_running(Mode::Each, 2, "a b", &options());
    bench.crash(0, 0, 0);
    bench.expect_among("* question 0: gw0 crashed in 0\n* gw2 starts for gw0");
    bench.finish(1, 1, 0, OutcomeClass::Pass);
    bench.said.clear();
    bench.again(0);
    bench.expect("");
    bench.replace(2, "a b");
    bench.expect_among("* 2 items of gw2\ngw2 run 2: 0 1");
    bench.finish(1, 1, 1, OutcomeClass::Pass);
    bench.finish(2, 2, 0, OutcomeClass::Pass);
    bench.finish(2, 2, 1, OutcomeClass::Pass);
    bench.end(1);
    bench.end(2);
    bench.expect_among("finished Completed 4 = 4 + 0 + 0, 0 failed");
}

#[test]
fn in_mode_each_a_crash_that_is_judged_late_does_not_keep_the_others() {
    let no_restarts = RunOptions { max_restarts: Some(0), ..options() };
    let mut bench = Bench::judged_running(Mode::Each, 2, "a b", &no_restarts);
    bench.crash(0, 0, 0);
    bench.finish(1, 1, 0, OutcomeClass::Pass);
    bench.finish(1, 1, 1, OutcomeClass::Pass);
    bench.expect_among("* gw1 finished 1 Pass");
    bench.again(0);
    bench.expect("* stopping: more than 0 workers crashed\ngw1 drain");
    bench.end(1);
    bench.expect_among(
        "* not run 0 1: more than 0 workers crashed
         finished Stopped(RestartsExhausted(0)) 4 = 2 + 0 + 2, 0 failed",
    );
}

#[test]
fn an_interrupt_ends_workers_that_wait_for_the_pytest_host() {
    // To be configured.
    let mut bench = Bench::connected(hosted(PytestHost::Present, Some("2*popen")));
    bench.input(Input::InterruptRequested);
    bench.expect(
        "* stopping: interrupted
         * gw0 down
         * gw1 down
         close 0 Done
         finished Stopped(Interrupted) 0 = 0 + 0 + 0, 0 failed",
    );
    // To go on.
    let mut bench = Bench::connected(hosted(PytestHost::OnDemand, None));
    bench.want_host(0);
    bench.said.clear();
    bench.input(Input::InterruptRequested);
    bench.expect("* stopping: interrupted\ngw0 shutdown 2500 ms");
    bench.answer(0, "key");
    bench.expect("");
    bench.down(0, EndCause::Killed("told to".to_owned()), None);
    bench.expect_among("finished Stopped(Interrupted) 0 = 0 + 0 + 0, 0 failed");
}

#[test]
fn interrupts_settle_what_is_open() {
    let mut bench = Bench::judged_running(Mode::Load, 2, "a b c d", &options());
    bench.crash(0, 0, 0);
    bench.said.clear();
    bench.input(Input::InterruptRequested);
    bench.expect("* stopping: interrupted\ngw1 interrupt\n* gw2 down");
    bench.input(Input::InterruptRequested);
    bench.expect(
        "gw1 shutdown 0 ms
         * gw0 crashed in 0 Some(Call): signal 11 (SIGSEGV), as was asked about
         * not run 1 3: interrupted
         * not run 2: interrupted
         close 0 Done
         finished Stopped(Interrupted) 4 = 0 + 1 + 3, 1 failed",
    );
}
