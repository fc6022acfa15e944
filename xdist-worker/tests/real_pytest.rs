//! A real host with real pytest. Needs an interpreter that has pytest, named by `XDIST_TEST_PYTHON`; without it every test
//! here says that it was not run.
#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]
#![expect(clippy::disallowed_methods, reason = "the interpreter is named by the environment")]

mod support;

use rustix::process::Signal;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use support::Coordinator;
use xdist_proto::message::{
    Collect, Configure, CoordinatorMessage, Down, EndCause, Interrupt, SendCollection, StopKind, Stream,
    WorkerMessage,
};
use xdist_proto::report::{OutcomeClass, Phase};
use xdist_proto::{Item, ItemIndex, WorkerId};
use xdist_worker::python_half::PythonHalf;

const WORKER: WorkerId = WorkerId(0);
const FRAME_BYTES: u32 = 1 << 20;

/// The interpreter to test with. `None`, said aloud, when there is none.
fn interpreter() -> Option<String> {
    let python = std::env::var("XDIST_TEST_PYTHON").ok();
    if python.is_none() {
        let test = std::thread::current();
        let name = test.name().unwrap_or("?");
        // Not by a macro, whose output is shown for failed tests only.
        let line = format!("not run: {name} (XDIST_TEST_PYTHON names no interpreter)\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    python
}

/// A directory with one test file.
fn suite(name: &str, text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(name), text).unwrap();
    std::fs::write(directory.path().join("pytest.ini"), "[pytest]\n").unwrap();
    directory
}

fn configure(python: String, directory: &Path, args: &[&str]) -> CoordinatorMessage {
    CoordinatorMessage::Configure(Configure {
        worker: WORKER,
        name: WORKER.to_string(),
        worker_count: 1,
        run: "the-run".to_owned(),
        python: vec![python],
        chdir: Some(directory.to_str().unwrap().to_owned()),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: BTreeMap::from([("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned())]),
        ..Configure::default()
    })
}

/// A worker that has collected a suite of one file, and its items.
fn collected(python: String, directory: &Path, args: &[&str]) -> (Coordinator, Vec<Item>) {
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.send(configure(python, directory, args));
    coordinator.send(CoordinatorMessage::Collect(Collect { worker: WORKER }));
    coordinator.send(CoordinatorMessage::SendCollection(SendCollection { worker: WORKER }));
    let chunk = coordinator.wait_for(|message| match message {
        WorkerMessage::Collection(chunk) => Some(chunk),
        _ => None,
    });
    assert_eq!(chunk.items.len(), chunk.total as usize);
    (coordinator, chunk.items)
}

/// Runs a whole file.
fn run_all(python: String, text: &str) -> (Vec<Item>, Vec<WorkerMessage>, Down) {
    let directory = suite("test_it.py", text);
    let (mut coordinator, items) = collected(python, directory.path(), &[]);
    coordinator.run(WORKER, 1, 0..u32::try_from(items.len()).unwrap());
    coordinator.drain(WORKER);
    let (messages, down) = coordinator.wait_for_down();
    coordinator.vanish().unwrap();
    (items, messages, down)
}

fn outcomes(messages: &[WorkerMessage]) -> Vec<(u32, OutcomeClass)> {
    let finished = messages.iter().filter_map(|message| match message {
        WorkerMessage::ItemFinished(finished) => Some((finished.item.0, finished.report.class)),
        _ => None,
    });
    finished.collect()
}

#[test]
fn a_suite_is_collected_and_run() {
    let Some(python) = interpreter() else { return };
    let (items, messages, down) = run_all(
        python,
        "import pytest\n\
         def test_pass(): pass\n\
         def test_fail(): assert 1 == 2\n\
         @pytest.mark.skip(reason='not now')\n\
         def test_skip(): pass\n\
         @pytest.mark.parametrize('n', range(100))\n\
         def test_many(n): pass\n",
    );
    assert_eq!(items.len(), 103);
    assert_eq!(items[0].node_id, "test_it.py::test_pass");
    let outcomes = outcomes(&messages);
    assert_eq!(outcomes.iter().map(|(item, _)| *item).collect::<Vec<_>>(), (0..103).collect::<Vec<_>>());
    let classes: Vec<_> = outcomes.iter().take(3).map(|(_, class)| *class).collect();
    assert_eq!(classes, [OutcomeClass::Pass, OutcomeClass::Fail, OutcomeClass::Skip]);
    assert!(matches!(messages.last(), Some(WorkerMessage::WorkerOutput(output)) if output.exit_status == 1));
    assert_eq!((down.cause, down.item, down.finished), (EndCause::Exited(1), None, 103));
}

#[test]
fn a_crash_is_blamed_on_the_test_and_phase_with_its_stack() {
    let Some(python) = interpreter() else { return };
    for (phase, wanted) in [("setup", Phase::Setup), ("call", Phase::Call), ("teardown", Phase::Teardown)] {
        let text = format!(
            "import os, signal, sys, pytest\n\
             def crash(phase):\n    if phase == '{phase}':\n        os.write(2, b'last words\\n')\n        \
             os.kill(os.getpid(), signal.SIGSEGV)\n\
             @pytest.fixture\ndef deadly():\n    crash('setup')\n    yield\n    crash('teardown')\n\
             def test_before(): pass\n\
             def test_it(deadly): crash('call')\n\
             def test_after(): pass\n"
        );
        let directory = suite("test_it.py", &text);
        // Without capturing, so that what is written to descriptor 2 is seen.
        let (mut coordinator, _) = collected(python.clone(), directory.path(), &["-s"]);
        coordinator.run(WORKER, 1, 0..3);
        coordinator.drain(WORKER);
        let (messages, down) = coordinator.wait_for_down();
        assert_eq!(outcomes(&messages), [(0, OutcomeClass::Pass)]);
        assert_eq!(down.cause, EndCause::Signaled(Signal::SEGV.as_raw()));
        let item = down.item.unwrap();
        assert_eq!((item.item, item.phase), (ItemIndex(1), wanted));
        assert!(down.stack.unwrap().contains("in crash"));
        assert_eq!(down.stderr_tail, "last words");
        coordinator.vanish().unwrap();
    }
}

#[test]
fn an_interrupted_test_is_torn_down() {
    let Some(python) = interpreter() else { return };
    let directory = suite(
        "test_it.py",
        "import signal, pytest\n\
         @pytest.fixture\ndef careful():\n    yield\n    print('torn down', flush=True)\n\
         def test_it(careful):\n    print('waiting', flush=True)\n    signal.pause()\n\
         def test_after(): pass\n",
    );
    let (mut coordinator, _) = collected(python, directory.path(), &["-s"]);
    coordinator.run(WORKER, 1, 0..2);
    coordinator.wait_for_output(WORKER, Stream::Stdout, "waiting");
    coordinator.send(CoordinatorMessage::Interrupt(Interrupt { worker: WORKER }));
    let (messages, down) = coordinator.wait_for_down();
    assert!(coordinator.output_text(WORKER, Stream::Stdout).contains("torn down"));
    assert!(matches!(messages.last(), Some(WorkerMessage::WorkerOutput(_))), "{messages:?}");
    assert!(!messages.iter().any(|message| matches!(message, WorkerMessage::StopRequested(_))));
    assert_eq!(down.cause, EndCause::Exited(2));
    coordinator.vanish().unwrap();
}

#[test]
fn pytest_exit_ends_the_session_and_gives_the_queue_up() {
    let Some(python) = interpreter() else { return };
    let (_, messages, down) = run_all(
        python,
        "import pytest\ndef test_it(): pytest.exit('enough', returncode=7)\ndef test_after(): pass\n",
    );
    let stop = messages.iter().find_map(|message| match message {
        WorkerMessage::StopRequested(stop) => Some((stop.kind, stop.exit_code)),
        _ => None,
    });
    assert_eq!(stop, Some((StopKind::Exit, Some(7))));
    assert!(matches!(down.cause, EndCause::Exited(_)));
}

#[test]
fn wrong_arguments_are_a_usage_error() {
    let Some(python) = interpreter() else { return };
    let directory = suite("test_it.py", "");
    let mut coordinator = Coordinator::start(FRAME_BYTES);
    coordinator.send(configure(python, directory.path(), &["--no-such-option"]));
    let (messages, _) = coordinator.wait_for_down();
    let [WorkerMessage::UsageError(error)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(error.exit_code, 4);
    assert!(error.text.contains("--no-such-option"), "{}", error.text);
    coordinator.vanish().unwrap();
}

#[test]
fn plain_pytest_understands_our_options() {
    let Some(python) = interpreter() else { return };
    let directory = suite("test_it.py", "def test_it(): pass\n");
    let args = ["-n", "0", "-q", "-p", "no:cacheprovider"].map(Into::into);
    let cache = tempfile::tempdir().unwrap();
    let no_cache = tempfile::NamedTempFile::new().unwrap();
    for (place, lasts) in [(cache.path(), true), (no_cache.path(), false)] {
        let half = PythonHalf::unpack(Some(place.to_owned())).unwrap();
        let files = half.directory().to_owned();
        let mut command = half.into_plain_command(std::slice::from_ref(&python), &args);
        let output = command.current_dir(directory.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        assert_eq!(files.exists(), lasts);
    }
}
