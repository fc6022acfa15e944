//! Hosts that dial in.

use super::*;
use crate::session::config::Joining;

fn open(workers: Option<&str>, min_workers: u32) -> Config {
    let joining = Joining { open: true, min_workers, patience: Duration::from_secs(10) };
    let workers = workers.map_or_else(Vec::new, |text| WorkerSpec::parse_tx(text).unwrap());
    Config { workers: Some(workers), mode: Some(Mode::WorkSteal), joining, ..config(None) }
}

impl Bench {
    /// A host dials in over this link, with so many slots.
    pub(super) fn join(&mut self, link: u32, slots: u32, launcher: Option<u32>) {
        let (link, launcher) = (LinkId(link), launcher.map(HostId));
        self.input(Input::Joined { link, peer: format!("peer{}", link.0), launcher });
        self.hello(link, VersionRange::SUPPORTED, Role::Worker, slots);
    }
}

/// A run whose only worker has dialled in.
fn running() -> Bench {
    let mut bench = Bench::new(open(None, 1));
    bench.join(0, 1, None);
    bench.tell_ready(0, options());
    bench.collect(0, "a b c d");
    bench.list(0, "a b c d");
    bench.said.clear();
    bench
}

#[test]
fn a_host_that_joins_has_as_many_workers_as_slots() {
    let mut bench = Bench::new(open(None, 1));
    bench.expect("");
    bench.join(0, 2, None);
    bench.expect(
        "* gw0 starts
         * gw1 starts
         welcome gw0 gw1
         gw0 configure gw0 of 2
         gw1 configure gw1 of 2",
    );
}

#[test]
fn a_late_one_gets_work_at_once() {
    let mut bench = running();
    bench.join(1, 1, None);
    bench.on(1).tell_ready(1, options());
    bench.said.clear();
    bench.on(1).collect(1, "a b c d");
    bench.expect(
        "* gw1 collected 4
         gw0 steal 0: 2 3",
    );
}

#[test]
fn one_that_collects_something_else_is_turned_away_and_the_run_goes_on() {
    let mut bench = running();
    bench.join(1, 1, None);
    bench.on(1).tell_ready(1, options());
    bench.on(1).collect(1, "a b");
    bench.said.clear();
    bench.on(1).list(1, "a b");
    let why = "it collected other tests than the run: 2 missing, such as c";
    let told = format!("it takes no part, since {why}");
    bench.expect(&format!(
        "dismissed: {why}\nclose 1 Done\n* lost the worker host on peer1: {told}\n* gw1 down: host lost: {told}"
    ));
}

#[test]
fn one_that_collects_nothing_is_turned_away_too() {
    let mut bench = running();
    bench.join(1, 1, None);
    bench.on(1).tell_ready(1, options());
    bench.said.clear();
    bench.on(1).collect(1, "");
    bench.expect_among("dismissed: it collected other tests than the run: 4 missing, such as a");
}

#[test]
fn where_the_first_finds_nothing_those_who_are_still_looking_are_waited_for() {
    let mut bench = Bench::new(open(None, 1));
    bench.join(0, 1, None);
    bench.join(1, 1, None);
    bench.on(0).tell_ready(0, options());
    bench.on(1).tell_ready(1, options());
    bench.on(0).collect(0, "");
    assert_eq!(bench.session.course, Course::Gathering);
    bench.on(1).collect(1, "a b");
    bench.on(1).list(1, "a b");
    assert_eq!(bench.session.course, Course::Ending(RunEnd::Mismatch));
}

#[test]
fn a_late_one_with_other_versions_is_told_of() {
    let ready = |worker, versions: &str| {
        let header = vec![format!("platform linux -- {versions}, pluggy-1.6.0")];
        WorkerMessage::Ready(Box::new(Ready {
            worker: WorkerId(worker),
            header,
            options: options(),
            ..Ready::default()
        }))
    };
    let mut bench = Bench::new(open(None, 1));
    bench.join(0, 1, None);
    bench.tell(ready(0, "Python 3.11.2, pytest-9.0.1"));
    bench.collect(0, "a b c d");
    bench.list(0, "a b c d");
    bench.join(1, 1, None);
    bench.on(1).tell(ready(1, "Python 3.9.1, pytest-8.0.0"));
    bench.said.clear();
    bench.on(1).collect(1, "a b c d");
    bench.expect_among(
        "* gw1 differs: it has Python 3.9.1, pytest-8.0.0, where gw0 has Python 3.11.2, pytest-9.0.1",
    );
}

#[test]
fn who_was_at_work_explains_why_nobody_is_left() {
    let mut bench = running();
    bench.join(1, 1, None);
    bench.on(1).tell_ready(1, options());
    bench.on(1).collect(1, "");
    bench.input(Input::Closed { link: LINK, cause: CloseCause::EndOfStream });
    bench.said.clear();
    bench.wait(11);
    bench.expect_among(
        "* stopping: no worker is left (gw0: host lost: it closed the link), and no other joined within 10 s \
         (--wait-for-workers)",
    );
}

#[test]
fn in_mode_each_nobody_runs_what_a_lost_one_had() {
    let mut bench = Bench::new(Config { mode: Some(Mode::Each), ..open(None, 2) });
    for worker in 0..2 {
        bench.join(worker, 1, None);
        bench.on(worker).tell_ready(worker, options());
        bench.on(worker).collect(worker, "a");
    }
    bench.on(0).list(0, "a");
    bench.input(Input::Closed { link: LinkId(1), cause: CloseCause::EndOfStream });
    bench.said.clear();
    bench.on(0).finish(0, 0, 0, OutcomeClass::Pass);
    bench.expect_among(
        "* stopping: gw1: host lost: it closed the link; in mode each, nobody else runs what a worker was to run",
    );
}

#[test]
fn what_was_running_when_a_machine_ends_its_processes_runs_elsewhere() {
    let mut bench = running();
    bench.join(1, 1, None);
    bench.on(1).tell_ready(1, options());
    bench.on(1).collect(1, "a b c d");
    bench.on(0).unscheduled(0, 0, &[2, 3]);
    bench.said.clear();
    bench.on(0).down(0, EndCause::Signaled(15), Some((0, 0)));
    assert!(!bench.said.iter().any(|line| line.contains("crashed")), "{:?}", bench.said);
    bench.expect_among("* gw0 down: signal 15 (SIGTERM)");
}

#[test]
fn what_is_wrong_with_a_late_one_is_no_affair_of_the_run() {
    let wrong: [fn(&mut Bench); 3] = [
        |bench| {
            let text = "ERROR: no such option".to_owned();
            bench.tell(WorkerMessage::UsageError(UsageError {
                worker: WorkerId(1),
                text,
                exit_code: 4,
                unfit: false,
            }));
        },
        |bench| bench.stop(1, StopKind::Exit),
        |bench| {
            let (worker, text) = (WorkerId(1), "broken".to_owned());
            bench.tell(WorkerMessage::InternalError(InternalError { worker, text }));
        },
    ];
    for go_wrong in wrong {
        let mut bench = running();
        bench.join(1, 1, None);
        bench.on(1);
        bench.said.clear();
        go_wrong(&mut bench);
        assert!(bench.said[0].starts_with("dismissed: "), "{:?}", bench.said);
        assert!(
            bench.said[2].starts_with("* lost the worker host on peer1: it takes no part, since "),
            "{:?}",
            bench.said
        );
        assert_eq!(bench.session.course, Course::Running);
    }
}

#[test]
fn what_a_lost_one_had_goes_to_others_and_nobody_takes_its_place() {
    let mut bench = running();
    bench.join(1, 1, None);
    bench.on(1).tell_ready(1, options());
    bench.on(1).collect(1, "a b c d");
    bench.said.clear();
    bench.input(Input::Closed { link: LINK, cause: CloseCause::EndOfStream });
    bench.expect(
        "* lost the worker host on peer0: it closed the link
         * gw0 down: host lost: it closed the link
         gw1 run 1: 0 1 2 3",
    );
}

#[test]
fn when_the_last_one_is_lost_another_is_waited_for() {
    let mut bench = running();
    bench.input(Input::Closed { link: LINK, cause: CloseCause::EndOfStream });
    bench.wait(9);
    bench.said.clear();
    bench.join(1, 1, None);
    bench.on(1).tell_ready(1, options());
    bench.said.clear();
    bench.on(1).collect(1, "a b c d");
    bench.expect("* gw1 collected 4\ngw1 run 1: 0 1 2 3");
    bench.input(Input::Closed { link: LinkId(1), cause: CloseCause::EndOfStream });
    bench.expect_among("* awaits others for 10 s");
    bench.said.clear();
    bench.wait(11);
    let text = "no worker is left (gw0: host lost: it closed the link), and no other joined within 10 s (--wait-for-workers)";
    bench.expect_among(&format!("finished Stopped(NoWorkers(\"{text}\")) 4 = 0 + 0 + 4, 0 failed"));
}

#[test]
fn a_run_that_nobody_joins_ends() {
    let mut bench = Bench::new(open(None, 1));
    bench.wait(11);
    bench.expect(
        "* stopping: no worker joined within 10 s (--wait-for-workers)
         finished Stopped(NoWorkers(\"no worker joined within 10 s (--wait-for-workers)\")) 0 = 0 + 0 + 0, 0 failed",
    );
}

#[test]
fn tests_begin_when_there_are_enough_workers() {
    let mut bench = Bench::new(open(Some("popen"), 3));
    bench.launch(0);
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    bench.tell_ready(0, options());
    bench.collect(0, "a b c d");
    bench.list(0, "a b c d");
    bench.join(1, 2, None);
    bench.on(1).tell_ready(1, options());
    bench.on(1).tell_ready(2, options());
    bench.on(1).collect(1, "a b c d");
    bench.said.clear();
    bench.on(1).collect(2, "a b c d");
    bench.expect_among("* scheduling worksteal\ngw0 run 0: 0\ngw1 run 1: 1\ngw2 run 2: 2 3");
}

#[test]
fn too_few_workers_are_told_of() {
    let mut bench = Bench::new(open(Some("popen"), 3));
    bench.launch(0);
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    bench.tell_ready(0, options());
    bench.collect(0, "a");
    bench.list(0, "a");
    bench.wait(11);
    bench.expect_among("* stopping: 1 of 3 workers came within 10 s (--min-workers, --wait-for-workers)");
}

#[test]
fn whoever_comes_when_the_run_ends_is_told_so() {
    let mut bench = running();
    bench.input(Input::InterruptRequested);
    bench.said.clear();
    bench.join(1, 1, None);
    bench.expect_among("refuse: the run is ending and needs no more workers\nclose 1 Refused");
}

#[test]
fn the_hosts_of_a_launcher_have_workers_as_it_says() {
    let launcher = WorkerSpec::parse_tx("exec=srun xdist worker --join//hosts=2//nice=3").unwrap();
    let mut bench = Bench::new(Config { workers: Some(launcher), ..config(None) });
    bench.expect("launch 0 exec=srun xdist worker --join//hosts=2");
    bench.launch(0);
    bench.join(1, 1, Some(0));
    bench.expect("* gw0 starts\nwelcome gw0\ngw0 configure gw0 of 1");
    assert_eq!(bench.session.workers.get(WorkerId(0)).spec.nice, 3);
}

#[test]
fn the_gate_is_opened_for_those_who_come_from_other_machines() {
    let texts = ["exec=x//hosts=2", "slurm=2//cpus=4", "popen"];
    let workers = WorkerSpec::parse_all(texts, []).unwrap();
    let mut bench = Bench::new(Config { workers: Some(workers), ..config(None) });
    bench.expect("launch 0 slurm=2//cpus=4\nlaunch 1 exec=x//hosts=2\n* gw0 starts\nlaunch 2");
}

#[test]
fn a_launcher_that_fails_ends_a_run_that_has_nobody_else() {
    let launcher = WorkerSpec::parse_tx("exec=srun x//hosts=2").unwrap();
    let mut bench = Bench::new(Config { workers: Some(launcher), ..config(None) });
    bench.launch(0);
    bench.said.clear();
    bench.input(Input::Closed { link: LINK, cause: CloseCause::Explained("no such partition".to_owned()) });
    let text = "no worker is left (the launcher \\\"srun x\\\": no such partition)";
    bench.expect(&format!(
        "* lost the launcher \"srun x\": no such partition
         * stopping: {}
         finished Stopped(NoWorkers(\"{text}\")) 0 = 0 + 0 + 0, 0 failed",
        text.replace('\\', ""),
    ));
}

#[test]
fn nobody_is_waited_for_when_all_hosts_of_a_launcher_are_there_and_none_has_a_worker() {
    let launcher = WorkerSpec::parse_tx("exec=srun x//hosts=2").unwrap();
    let mut bench = Bench::new(Config { workers: Some(launcher), ..config(None) });
    bench.launch(0);
    bench.join(1, 1, Some(0));
    bench.on(1).down(0, EndCause::NotStarted("no Python".to_owned()), None);
    // The other one may do better.
    assert!(bench.session.next_deadline().is_some());
    bench.join(2, 1, Some(0));
    bench.said.clear();
    bench.on(2).down(1, EndCause::NotStarted("no Python".to_owned()), None);
    bench.expect_among("* stopping: no worker is left (gw0: host lost: it takes no part, since no Python)");
}

#[test]
fn a_host_on_which_no_worker_can_be_started_is_turned_away_at_once() {
    let mut bench = Bench::new(open(None, 1));
    bench.join(0, 3, None);
    bench.said.clear();
    bench.down(0, EndCause::NotStarted("no Python".to_owned()), None);
    let why = "it takes no part, since no Python";
    bench.expect(&format!(
        "dismissed: no Python
         close 0 Done
         * lost the worker host on peer0: {why}"
    ));
    // Another may do better.
    bench.join(1, 1, None);
    bench.expect_among("gw3 configure gw3 of 1");
}

#[test]
fn a_host_on_which_some_workers_could_be_started_keeps_them() {
    let mut bench = Bench::new(open(None, 1));
    bench.join(0, 2, None);
    bench.tell_ready(0, options());
    bench.said.clear();
    bench.down(1, EndCause::NotStarted("no more processes".to_owned()), None);
    assert!(!bench.said.iter().any(|line| line.starts_with("close")), "{:?}", bench.said);
}

#[test]
fn whoever_looks_at_the_first_host_hears_what_is_wrong_there() {
    let mut bench = Bench::new(open(None, 1));
    bench.join(0, 1, None);
    bench.said.clear();
    let text = "ERROR: no pytest here".to_owned();
    bench.tell(WorkerMessage::UsageError(UsageError {
        worker: WorkerId(0),
        text,
        exit_code: 4,
        unfit: false,
    }));
    assert_eq!(bench.said[0], "dismissed: no pytest here");
}

#[test]
fn a_launcher_that_has_done_its_work_is_not_missed() {
    let launcher = WorkerSpec::parse_tx("exec=sbatch x//hosts=2").unwrap();
    let mut bench = Bench::new(Config { workers: Some(launcher), ..config(None) });
    bench.launch(0);
    bench.said.clear();
    bench.input(Input::Closed { link: LINK, cause: CloseCause::EndOfStream });
    bench.expect("");
    bench.join(1, 1, Some(0));
    bench.expect("* gw0 starts\nwelcome gw0\ngw0 configure gw0 of 1");
}

#[test]
fn when_nobody_can_join_any_more_nobody_is_waited_for() {
    let mut bench = Bench::new(open(None, 1));
    bench.input(Input::GateLost { error: "it ended".to_owned() });
    bench.expect_among("* lost the way in for hosts that join: it ended");
    assert!(bench.session.next_deadline().is_none());
}
