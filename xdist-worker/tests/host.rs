//! A real host, with its threads, processes and pipes, over an in-process link; its runners follow a script instead of
//! running pytest. Needs `python3`.
#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod support;

use rustix::process::{Pid, Signal};
use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use support::{Coordinator, assert_ends, fake, watch};
use xdist_proto::handshake::PreambleError;
use xdist_proto::message::{
    self, Collect, CoordinatorMessage, Dismissed, Down, EndCause, Interrupt, Park, Ping, SendCollection,
    Shutdown, StopKind, Stream, WorkerMessage,
};
use xdist_proto::report::{OutcomeClass, Phase};
use xdist_proto::{ItemIndex, LeaseId, WorkerId};
use xdist_worker::{HandshakeError, HostError, HostOptions, run_host};

const WORKER: WorkerId = WorkerId(0);
const FRAME_BYTES: u32 = 1 << 20;

/// Runs items 0 to 3 with this plan, and answers how the worker ended.
fn end_of(plan: &str) -> (Vec<WorkerMessage>, Down) {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.start_fake(WORKER, plan);
    coordinator.run(WORKER, 1, 0..4);
    coordinator.drain(WORKER);
    let end = coordinator.wait_for_down();
    coordinator.vanish().unwrap();
    end
}

fn finished_items(messages: &[WorkerMessage]) -> Vec<u32> {
    let items = messages.iter().filter_map(|message| match message {
        WorkerMessage::ItemFinished(finished) => Some(finished.item.0),
        _ => None,
    });
    items.collect()
}

/// The process id that a fake runner printed for its child.
fn child_of(coordinator: &mut Coordinator, worker: WorkerId) -> u32 {
    coordinator.wait_for_output(worker, Stream::Stdout, "\n");
    let text = coordinator.output_text(worker, Stream::Stdout);
    text.strip_prefix("child ").unwrap().lines().next().unwrap().parse().unwrap()
}

/// What every child of this process inherits, whoever starts it: not the host's doing.
fn inheritable_descriptors() -> Vec<i32> {
    let inheritable = |descriptor: &i32| {
        let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap_or_default();
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
        // Open for long enough to be seen, and without O_CLOEXEC.
        flags.is_some_and(|flags| i32::from_str_radix(flags, 8).unwrap() & 0o2_000_000 == 0)
    };
    let listed = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = listed.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
    let mut descriptors: Vec<i32> = numbers.filter(|number| *number > 2).filter(inheritable).collect();
    descriptors.sort_unstable();
    descriptors
}

#[test]
fn a_normal_run() {
    let (messages, down) = end_of("{}");
    assert_eq!(finished_items(&messages), [0, 1, 2, 3]);
    assert!(matches!(messages.first(), Some(WorkerMessage::Ready(_))));
    assert!(matches!(messages.last(), Some(WorkerMessage::WorkerOutput(_))));
    assert_eq!((down.cause, down.item, down.finished), (EndCause::Exited(0), None, 4));
    assert!(down.peak_rss_kib > 0);
}

/// What is told of the interpreter if this shell script is it.
fn unfit(script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("script");
    std::fs::write(&path, script).unwrap();
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    let python = vec!["/bin/sh".to_owned(), path.to_str().unwrap().to_owned()];
    coordinator.send(CoordinatorMessage::Configure(message::Configure { python, ..fake(WORKER, "{}") }));
    let (messages, down) = coordinator.wait_for_down();
    coordinator.vanish().unwrap();
    assert!(matches!(down.cause, EndCause::Exited(_)), "{down:?}");
    let [WorkerMessage::UsageError(error)] = &messages[..] else { panic!("{messages:?}") };
    assert!(error.unfit && error.exit_code == 4);
    assert!(
        error.text.ends_with("; choose another with --python, or with python= in --tx"),
        "{}",
        error.text
    );
    error.text.replace(path.to_str().unwrap(), "script")
}

#[test]
fn an_interpreter_that_is_too_old_is_told_with_its_version() {
    let text = unfit("printf '\\000\\000\\000\\004\\3013.8' >/dev/fd/$5; exit 4");
    assert!(text.starts_with("ERROR: /bin/sh script is Python 3.8, and xdist needs 3.9 or newer"), "{text}");
}

#[test]
fn what_is_no_interpreter_is_told_with_what_it_said() {
    let text = unfit("echo what is this >&2; exit 2");
    assert!(text.starts_with("ERROR: /bin/sh script is no Python that xdist can use: it ended with exit code 2 and said \"what is this\""), "{text}");
    assert!(unfit("exit 3").contains("exit code 3; "));
}

#[test]
fn the_host_introduces_itself() {
    let coordinator = Coordinator::start(FRAME_BYTES);
    assert_eq!(coordinator.hello.slots, 2);
    assert_eq!(coordinator.hello.host.pid, std::process::id());
    coordinator.vanish().unwrap();
}

#[test]
fn a_runner_gets_its_environment_and_nothing_else_of_the_hosts() {
    let directory = tempfile::tempdir().unwrap();
    let start = directory.path().join("start");
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    let mut configure = fake(WORKER, "{}");
    configure.chdir = Some(start.to_str().unwrap().to_owned());
    configure.env.insert("EXTRA".to_owned(), "more".to_owned());
    coordinator.send(CoordinatorMessage::Configure(configure));
    let ready = coordinator.wait_for_ready();
    assert_eq!(ready.cwd, start.canonicalize().unwrap().to_str().unwrap());
    let (run_directory, others): (Vec<_>, Vec<_>) =
        ready.header.into_iter().partition(|line| line.starts_with("XDIST_RUN_DIR="));
    assert_eq!(
        others,
        [
            "PYTEST_XDIST_WORKER=gw0",
            "PYTEST_XDIST_TESTRUNUID=the-run",
            "PYTEST_XDIST_WORKER_COUNT=2",
            "EXTRA=more",
            &format!("descriptors={:?}", inheritable_descriptors()),
        ]
    );
    let run_directory = run_directory[0].split_once('=').unwrap().1.to_owned();
    assert!(std::path::Path::new(&run_directory).is_dir());
    assert!(matches!(coordinator.vanish(), Err(HostError::Abandoned)));
    assert!(!std::path::Path::new(&run_directory).exists());
}

#[test]
fn the_collection_comes_when_asked_for() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.start_fake(WORKER, r#"{"count": 3}"#);
    coordinator.send(CoordinatorMessage::SendCollection(SendCollection { worker: WORKER }));
    let chunk = coordinator.wait_for(|message| match message {
        WorkerMessage::Collection(chunk) => Some(chunk),
        _ => None,
    });
    assert_eq!((chunk.offset, chunk.total, chunk.items.len()), (0, 3, 3));
    assert!(matches!(coordinator.vanish(), Err(HostError::Abandoned)));
}

#[test]
fn a_crash_is_blamed_on_the_item_and_phase_that_ran() {
    for (name, phase) in [("setup", Phase::Setup), ("call", Phase::Call), ("teardown", Phase::Teardown)] {
        let (messages, down) = end_of(&format!(r#"{{"at": {{"2:{name}": "segfault"}}}}"#));
        assert_eq!(finished_items(&messages), [0, 1]);
        assert_eq!(down.cause, EndCause::Signaled(Signal::SEGV.as_raw()));
        let item = down.item.unwrap();
        assert_eq!((item.item, item.lease, item.phase), (ItemIndex(2), LeaseId(1), phase));
        let stack = down.stack.unwrap();
        assert!(stack.starts_with("Fatal Python error: Segmentation fault"), "{stack}");
        assert!(stack.contains("do_segfault"), "{stack}");
        assert!(!down.stderr_tail.contains("Fatal"), "{}", down.stderr_tail);
        assert_eq!(down.finished, 2);
    }
}

#[test]
fn what_an_item_had_reported_before_its_crash_is_told() {
    let (messages, down) =
        end_of(r#"{"at": {"0:call": "so_far", "1:call": "so_far", "1:teardown": "exit"}}"#);
    assert_eq!(finished_items(&messages), [0]);
    assert_eq!(down.item.unwrap().item, ItemIndex(1));
    let report = down.report.unwrap();
    assert_eq!(report.class, OutcomeClass::Fail);
    assert_eq!(report.phases[0].failure.as_ref().unwrap().text, "it failed");
}

#[test]
fn what_a_finished_item_had_reported_is_not_told_again() {
    let (_, down) = end_of(r#"{"at": {"0:call": "so_far", "1:call": "exit"}}"#);
    assert_eq!((down.item.unwrap().item, down.report), (ItemIndex(1), None));
}

#[test]
fn an_exit_in_a_test_is_its_crash() {
    let (messages, down) = end_of(r#"{"at": {"1:call": "partial exit"}}"#);
    assert_eq!(finished_items(&messages), [0]);
    assert_eq!(down.cause, EndCause::Exited(7));
    assert_eq!(down.item.unwrap().item, ItemIndex(1));
    assert_eq!((down.stderr_tail.as_str(), down.stack), ("whole line\nno end", None));
}

#[test]
fn a_killed_runner_is_not_taken_for_one_out_of_memory() {
    let (_, down) = end_of(r#"{"at": {"0:call": "kill"}}"#);
    assert_eq!(down.cause, EndCause::Signaled(Signal::KILL.as_raw()));
    assert!(!down.out_of_memory);
    assert_eq!(down.item.unwrap().item, ItemIndex(0));
}

#[test]
fn a_death_between_items_is_nobodys() {
    let (messages, down) = end_of(r#"{"at": {"1:after": "exit"}}"#);
    assert_eq!(finished_items(&messages), [0, 1]);
    assert_eq!((down.cause, down.item, down.finished), (EndCause::Exited(7), None, 2));
}

#[test]
fn a_grandchild_that_holds_the_pipes_does_not_hold_the_end() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.start_fake(WORKER, r#"{"at": {"0:call": "child wait"}}"#);
    let ready = coordinator.wait_for_ready();
    coordinator.run(WORKER, 1, 0..1);
    let child = watch(child_of(&mut coordinator, WORKER));
    let runner = Pid::from_raw(i32::try_from(ready.pid).unwrap()).unwrap();
    rustix::process::kill_process(runner, Signal::KILL).unwrap();
    let (_, down) = coordinator.wait_for_down();
    assert_eq!(down.cause, EndCause::Signaled(Signal::KILL.as_raw()));
    assert_ends(&child);
    coordinator.vanish().unwrap();
}

#[test]
fn a_runner_that_dies_at_once_is_reported_with_its_last_words() {
    let (messages, down) = end_of(r#"{"boot": "dying young"}"#);
    assert_eq!((messages, down.cause, down.item), (Vec::new(), EndCause::Exited(1), None));
    assert_eq!(down.stderr_tail, "dying young");
}

#[test]
fn an_interpreter_that_does_not_start_is_named() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    let mut configure = fake(WORKER, "{}");
    configure.python = vec!["/no/such/python".to_owned()];
    coordinator.send(CoordinatorMessage::Configure(configure));
    let (_, down) = coordinator.wait_for_down();
    let EndCause::NotStarted(text) = down.cause else { panic!("{down:?}") };
    assert!(text.contains("\"/no/such/python\"") && text.contains("--python"), "{text}");

    let mut configure = fake(WorkerId(1), "{}");
    configure.chdir = Some("/no/such/directory".to_owned());
    coordinator.send(CoordinatorMessage::Configure(configure));
    let (_, down) = coordinator.wait_for_down();
    let EndCause::NotStarted(text) = down.cause else { panic!("{down:?}") };
    assert!(text.contains("\"/no/such/directory\""), "{text}");
    coordinator.vanish().unwrap();
}

#[test]
fn a_runner_that_breaks_its_contract_is_killed() {
    for (deed, reason) in [
        ("garbage", "it broke the runner's protocol"),
        ("huge", "exceeds the limit"),
        ("foreign", "it spoke for worker gw1"),
        ("pong", "only the host sends"),
        ("twice", "not its turn"),
    ] {
        let (messages, down) = end_of(&format!(r#"{{"at": {{"1:call": "{deed} wait"}}}}"#));
        assert_eq!(finished_items(&messages), [0]);
        let EndCause::Killed(text) = down.cause else { panic!("{down:?}") };
        assert!(text.contains(reason), "{text}");
        assert_eq!(down.item.unwrap().item, ItemIndex(1));
    }
}

#[test]
fn nothing_outlives_the_coordinator() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    let mut processes = Vec::new();
    for (number, (deed, sign)) in
        [("stop", "stopping"), ("hold", "holding"), ("child", "child")].iter().enumerate()
    {
        let worker = WorkerId(u32::try_from(number).unwrap());
        coordinator.start_fake(worker, &format!(r#"{{"at": {{"0:call": "{deed} wait"}}}}"#));
        processes.push(watch(coordinator.wait_for_ready().pid));
        coordinator.run(worker, 1, 0..1);
        coordinator.wait_for_output(worker, Stream::Stdout, sign);
        if *deed == "child" {
            processes.push(watch(child_of(&mut coordinator, worker)));
        }
    }
    assert!(matches!(coordinator.vanish(), Err(HostError::Abandoned)));
    processes.iter().for_each(assert_ends);
}

#[test]
fn a_coordinator_that_speaks_nonsense_is_left() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.start_fake(WORKER, "{}");
    let runner = watch(coordinator.wait_for_ready().pid);
    coordinator.write(b"\x00\x00\x00\x04junk");
    assert_ends(&runner);
    assert!(matches!(coordinator.vanish(), Err(HostError::Garbled(_))));
}

#[test]
fn commands_for_workers_that_are_not_there_are_ignored() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    let worker = WorkerId(7);
    coordinator.run(worker, 1, 0..3);
    coordinator.steal(worker, 1, 0..3);
    coordinator.drain(worker);
    coordinator.send(CoordinatorMessage::Collect(Collect { worker }));
    coordinator.send(CoordinatorMessage::Shutdown(Shutdown { worker, grace_ms: 0 }));
    coordinator.send(CoordinatorMessage::Ping(Ping { nonce: 5 }));
    assert!(matches!(coordinator.receive(), WorkerMessage::Pong(pong) if pong.nonce == 5));
    coordinator.vanish().unwrap();
}

#[test]
fn stealing_is_answered_while_a_test_holds_the_interpreter() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.start_fake(WORKER, r#"{"at": {"0:call": "hold"}}"#);
    coordinator.run(WORKER, 1, 0..10);
    coordinator.wait_for_output(WORKER, Stream::Stdout, "holding");
    coordinator.steal(WORKER, 1, [9, 3]);
    coordinator.steal(WORKER, 2, [0, 1]);
    coordinator.cancel(WORKER, 3);
    let mut finished = Vec::new();
    let answers: Vec<_> = (0..3)
        .map(|_| coordinator.wait_for_unscheduled(&mut finished))
        .map(|answer| (answer.request, answer.items.iter().map(|item| item.0).collect::<Vec<_>>()))
        .collect();
    assert_eq!(answers, [(1, vec![3, 9]), (2, vec![]), (3, vec![1, 2, 4, 5, 6, 7, 8])]);
    coordinator.send(CoordinatorMessage::Shutdown(Shutdown { worker: WORKER, grace_ms: 50 }));
    let (_, down) = coordinator.wait_for_down();
    assert!(matches!(down.cause, EndCause::Killed(_)), "{down:?}");
    assert_eq!(down.item.unwrap().item, ItemIndex(0));
    coordinator.vanish().unwrap();
}

#[test]
fn under_load_every_item_is_either_finished_or_given_back() {
    const COUNT: u32 = 3000;
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.start_fake(WORKER, &format!(r#"{{"count": {COUNT}}}"#));
    coordinator.wait_for_ready();
    let mut finished = Vec::new();
    let mut given_back = Vec::new();
    let mut next = 0;
    for request in 0..150 {
        coordinator.run(WORKER, request, next..next + 20);
        next += 20;
        match request % 3 {
            0 => coordinator.steal(WORKER, request, [next - 1, next - 7]),
            1 => coordinator.cancel(WORKER, request),
            _ => {
                coordinator.send(CoordinatorMessage::Park(Park { worker: WORKER }));
                continue;
            }
        }
        let answer = coordinator.wait_for_unscheduled(&mut finished);
        assert_eq!(answer.request, request);
        given_back.extend(answer.items.iter().map(|item| item.0));
    }
    assert_eq!(next, COUNT);
    coordinator.drain(WORKER);
    let (messages, down) = coordinator.wait_for_down();
    assert_eq!(down.cause, EndCause::Exited(0));
    let mut items: Vec<_> = finished.iter().map(|item| item.item.0).collect();
    items.extend(finished_items(&messages));
    assert!(items.is_sorted(), "in queue order");
    assert_eq!(down.finished as usize, items.len());
    items.extend(given_back);
    assert_eq!(items.len(), COUNT as usize);
    assert_eq!(items.into_iter().collect::<BTreeSet<_>>(), (0..COUNT).collect());
    coordinator.vanish().unwrap();
}

#[test]
fn an_interrupt_ends_the_running_test_and_drops_the_others() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.start_fake(WORKER, r#"{"at": {"0:call": "wait"}}"#);
    coordinator.run(WORKER, 1, 0..10);
    coordinator.wait_for_output(WORKER, Stream::Stdout, "waiting");
    coordinator.send(CoordinatorMessage::Interrupt(Interrupt { worker: WORKER }));
    let (messages, down) = coordinator.wait_for_down();
    assert_eq!(finished_items(&messages), [0]);
    assert!(matches!(messages.last(), Some(WorkerMessage::WorkerOutput(_))));
    assert_eq!((down.cause, down.item, down.finished), (EndCause::Exited(2), None, 1));
    coordinator.vanish().unwrap();
}

#[test]
fn shutdown_kills_what_does_not_end() {
    for (grace_ms, deeds) in [(0, "wait"), (50, "ignore_sigterm wait"), (60_000, "wait")] {
        let mut coordinator = Coordinator::start(FRAME_BYTES);
        coordinator.start_fake(WORKER, &format!(r#"{{"at": {{"0:call": "{deeds}"}}}}"#));
        coordinator.run(WORKER, 1, 0..1);
        coordinator.wait_for_output(WORKER, Stream::Stdout, "waiting");
        coordinator.send(CoordinatorMessage::Shutdown(Shutdown { worker: WORKER, grace_ms }));
        let (_, down) = coordinator.wait_for_down();
        assert_eq!(down.cause, EndCause::Killed("the coordinator asked for it".to_owned()));
        coordinator.vanish().unwrap();
    }
}

#[test]
fn a_session_that_stops_by_itself_ends_in_good_order() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.start_fake(WORKER, r#"{"at": {"1:call": "stop_requested"}}"#);
    coordinator.run(WORKER, 1, 0..3);
    coordinator.wait_for(|message| matches!(message, WorkerMessage::StopRequested(_)).then_some(()));
    coordinator.steal(WORKER, 1, [2]);
    let mut finished = Vec::new();
    let answer = coordinator.wait_for_unscheduled(&mut finished);
    assert_eq!(answer.items, []);
    coordinator.vanish().unwrap();
}

#[test]
fn a_long_test_is_announced_once() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    let mut configure = fake(WORKER, r#"{"at": {"2:call": "wait"}}"#);
    configure.wants.started_after_ms = 300;
    coordinator.send(CoordinatorMessage::Configure(configure));
    coordinator.send(CoordinatorMessage::Collect(Collect { worker: WORKER }));
    coordinator.run(WORKER, 1, 0..10);
    let started = coordinator.wait_for(|message| match message {
        WorkerMessage::ItemStarted(started) if started.item == ItemIndex(2) => Some(started),
        _ => None,
    });
    assert_eq!((started.lease, started.phase), (LeaseId(1), Phase::Call));
    assert!(started.running_ms >= 300);
    coordinator.send(CoordinatorMessage::Interrupt(Interrupt { worker: WORKER }));
    let (messages, _) = coordinator.wait_for_down();
    assert!(!messages.iter().any(|message| matches!(message, WorkerMessage::ItemStarted(_))));
    coordinator.vanish().unwrap();
}

#[test]
fn a_slow_test_is_told_of_again_each_time_its_time_has_doubled() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    let mut configure = fake(WORKER, r#"{"options": {"slow_after_ms": 100}, "at": {"0:call": "wait"}}"#);
    configure.wants.started_after_ms = 20;
    coordinator.send(CoordinatorMessage::Configure(configure));
    coordinator.send(CoordinatorMessage::Collect(Collect { worker: WORKER }));
    coordinator.run(WORKER, 1, 0..1);
    let mut next = 20;
    for _ in 0..4 {
        let started = coordinator.wait_for(|message| match message {
            WorkerMessage::ItemStarted(started) => Some(started),
            _ => None,
        });
        assert!(started.running_ms >= next, "{started:?} came before {next} ms");
        while next <= started.running_ms {
            next = (next * 2).max(100);
        }
    }
    assert!(matches!(coordinator.vanish(), Err(HostError::Abandoned)));
}

/// Runs items 0 to 3, of which item 1 does this, with a limit that only that one reaches.
fn end_of_too_long(deeds: &str) -> (Vec<WorkerMessage>, Down) {
    let (messages, down) =
        end_of(&format!(r#"{{"options": {{"timeout_ms": 1000}}, "at": {{"1:call": "{deeds}"}}}}"#));
    assert_eq!(finished_items(&messages), [0]);
    assert_eq!((&down.cause, down.finished), (&EndCause::TimedOut(1000), 1));
    let item = down.item.unwrap();
    assert_eq!((item.item, item.lease, item.phase), (ItemIndex(1), LeaseId(1), Phase::Call));
    assert!(item.running_ms >= 1000, "{item:?}");
    (messages, down)
}

#[test]
fn an_item_that_takes_too_long_is_ended_with_a_stack_dump() {
    let (messages, down) = end_of_too_long("partial dump_when_asked hold");
    let stack = down.stack.expect("a stack");
    assert!(stack.contains("in do_hold"), "{stack}");
    assert_eq!(down.stderr_tail, "whole line\nno end");
    assert!(!messages.iter().any(|message| format!("{message:?}").contains("in do_hold")), "told once");
}

#[test]
fn an_item_that_takes_too_long_is_ended_whatever_it_does() {
    for deeds in ["hold", "be_deaf hold", "child wait", "stop"] {
        assert_eq!(end_of_too_long(deeds).1.stack, None, "{deeds}");
    }
}

#[test]
fn an_item_that_ends_too_late_has_failed_all_the_same_and_nothing_follows_it() {
    end_of_too_long("end_when_asked");
}

#[test]
fn what_was_reported_before_the_limit_was_reached_is_kept() {
    let (_, down) =
        end_of(r#"{"options": {"timeout_ms": 1000}, "at": {"0:call": "so_far", "0:teardown": "wait"}}"#);
    assert_eq!(down.cause, EndCause::TimedOut(1000));
    assert_eq!(down.item.unwrap().phase, Phase::Teardown);
    assert_eq!(down.report.unwrap().class, OutcomeClass::Fail);
}

#[test]
fn time_spent_waiting_for_the_host_is_not_the_items() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    let limits = r#""options": {"timeout_ms": 500}"#;
    let at = r#""at": {"0:teardown": "wait_for_host"}"#;
    coordinator.start_fake(WORKER, &format!("{{{limits}, {at}}}"));
    coordinator.start_fake(WorkerId(1), &format!(r#"{{{limits}, "at": {{"0:call": "wait"}}}}"#));
    coordinator.run(WORKER, 1, 0..1);
    coordinator.wait_for_output(WORKER, Stream::Stdout, "waiting");
    // The other one reaches its limit and is down, and this one, which began before, is still there.
    coordinator.run(WorkerId(1), 2, 0..1);
    let (_, down) = coordinator.wait_for_down();
    assert_eq!(down.worker, WorkerId(1));
    coordinator.drain(WORKER);
    let (messages, down) = coordinator.wait_for_down();
    assert_eq!((finished_items(&messages), down.cause), (vec![0], EndCause::Exited(0)));
    coordinator.vanish().unwrap();
}

/// The items that were finished, those that were given up, and the reasons for that.
fn shares(messages: &[WorkerMessage]) -> (Vec<u32>, Vec<u32>, BTreeSet<String>) {
    let stops = messages.iter().filter_map(|message| match message {
        WorkerMessage::StopRequested(stop) if stop.kind == StopKind::Recycle => Some(stop),
        _ => None,
    });
    let (items, reasons): (Vec<_>, BTreeSet<_>) =
        stops.map(|stop| (stop.items.iter().map(|item| item.0), stop.reason.clone())).unzip();
    (finished_items(messages), items.into_iter().flatten().collect(), reasons)
}

#[test]
fn a_worker_ends_in_good_order_when_it_has_run_as_many_tests_as_it_may() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.start_fake(WORKER, r#"{"options": {"max_tests": 3}}"#);
    coordinator.wait_for_ready();
    coordinator.run(WORKER, 1, 0..2);
    coordinator.run(WORKER, 2, 2..6);
    let (messages, down) = coordinator.wait_for_down();
    let (finished, given_up, reasons) = shares(&messages);
    assert_eq!((finished, given_up), (vec![0, 1, 2], vec![3, 4, 5]));
    assert_eq!(reasons, BTreeSet::from(["--max-tests-per-worker=3".to_owned()]));
    assert!(matches!(messages.last(), Some(WorkerMessage::WorkerOutput(_))));
    assert_eq!((down.cause, down.finished), (EndCause::Exited(0), 3));
    coordinator.vanish().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_with_too_much_memory_ends_after_what_it_has_begun() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.start_fake(WORKER, r#"{"count": 100, "options": {"memory_limit_kib": 1}}"#);
    coordinator.wait_for_ready();
    coordinator.run(WORKER, 1, 0..100);
    let (messages, down) = coordinator.wait_for_down();
    let (mut items, given_up, reasons) = shares(&messages);
    assert!(!items.is_empty() && !given_up.is_empty(), "{items:?} {given_up:?}");
    assert_eq!((down.cause, down.finished as usize), (EndCause::Exited(0), items.len()));
    items.extend(given_up);
    assert_eq!(items, Vec::from_iter(0..100));
    assert!(reasons.iter().all(|reason| reason.contains("MiB is above the limit of 0.0 MiB")), "{reasons:?}");
    coordinator.vanish().unwrap();
}

#[test]
fn a_coordinator_that_reads_late_loses_nothing() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.start_fake(WORKER, r#"{"at": {"0:call": "flood", "1:call": "flood"}}"#);
    coordinator.run(WORKER, 1, 0..2);
    coordinator.drain(WORKER);
    let pings = 500;
    for nonce in 0..pings {
        coordinator.send(CoordinatorMessage::Ping(Ping { nonce }));
    }
    let (messages, down) = coordinator.wait_for_down();
    assert_eq!((down.cause, down.finished), (EndCause::Exited(0), 2));
    let pongs = messages.iter().filter(|message| matches!(message, WorkerMessage::Pong(_))).count();
    assert_eq!(pongs as u64, pings);
    assert_eq!(coordinator.output[&(WORKER, Stream::Stdout)].len(), 32 << 20);
    coordinator.vanish().unwrap();
}

#[test]
fn a_report_that_is_too_long_is_cut_and_still_counts() {
    let mut coordinator = Coordinator::start(64 << 10);
    coordinator.start_fake(WORKER, r#"{"at": {"0:call": "long"}}"#);
    coordinator.run(WORKER, 1, 0..2);
    coordinator.drain(WORKER);
    let (messages, down) = coordinator.wait_for_down();
    assert_eq!(down.finished, 2);
    let finished = messages.iter().find_map(|message| match message {
        WorkerMessage::ItemFinished(finished) => Some(finished),
        _ => None,
    });
    let report = &finished.unwrap().report;
    assert_eq!(report.class, OutcomeClass::Fail);
    let text = &report.phases[0].failure.as_ref().unwrap().text;
    assert!(text.starts_with("begin") && text.ends_with("end") && text.contains("cut by xdist"));
    coordinator.vanish().unwrap();
}

#[test]
fn a_host_that_is_of_no_use_ends_with_the_reason() {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.send(CoordinatorMessage::Dismissed(Dismissed { text: "it has other tests".to_owned() }));
    let end = coordinator.vanish().unwrap_err();
    assert_eq!(end.to_string(), "take part in the run: it has other tests");
}

#[test]
fn links_that_are_none_are_refused() {
    use std::io::Write;
    use std::net::Shutdown;
    let opened = |bytes: &[u8]| {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(bytes).unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        run_host(theirs, HostOptions::default())
    };
    let handshake = |result| match result {
        Err(HostError::Handshake(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(handshake(opened(b"")), HandshakeError::Closed));
    assert!(matches!(
        handshake(opened(b"GET / HTTP/1.1")),
        HandshakeError::Preamble(PreambleError::NotThisProtocol { .. })
    ));
    let mut newer = xdist_proto::handshake::preamble();
    newer[6] += 1;
    assert!(matches!(
        handshake(opened(&newer)),
        HandshakeError::Preamble(PreambleError::TooNew { theirs: 2, .. })
    ));
    let mut junk = xdist_proto::handshake::preamble().to_vec();
    junk.extend_from_slice(b"\x00\x00\x00\x04junk");
    assert!(matches!(handshake(opened(&junk)), HandshakeError::Garbled(_)));
}
