use super::*;
use crate::frontend::testing::*;
use std::fs;
use std::time::Duration;
use xdist_coord::session::event::{Configured, RunEnd};
use xdist_proto::message::DisplayOptions;

/// A cache directory, and runs that use it on different days.
struct Suite {
    directory: tempfile::TempDir,
}

/// What a run read, by call in microseconds, and what it warned of.
#[derive(Debug, PartialEq)]
struct Run {
    read: Vec<Option<u32>>,
    warnings: Vec<String>,
}

impl Suite {
    fn new() -> Self {
        let suite = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(suite.cache()).unwrap();
        suite
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    fn file(&self) -> PathBuf {
        self.cache().join(FILE)
    }

    fn run(&self, day: u64, tests: &[(&str, u64)]) -> Run {
        self.run_from(None, day, tests)
    }

    fn run_from(&self, from: Option<&Path>, day: u64, tests: &[(&str, u64)]) -> Run {
        let display = DisplayOptions { cache_dir: Some(self.cache().display().to_string()), ..display() };
        let mut configured = configured(display);
        configured.options.durations_from = from.map(|path| path.display().to_string());
        play(configured, day, tests)
    }
}

fn play(configured: Configured, day: u64, tests: &[(&str, u64)]) -> Run {
    #[expect(clippy::disallowed_methods, reason = "the tests need some moment to begin at")]
    let started = Instant::now();
    let today = UNIX_EPOCH + Duration::from_secs(day * SECONDS_PER_DAY);
    let mut player = Player::new(History::new(today), started);
    player.play(RunEvent::Configured(Box::new(configured)));
    let node_ids: Vec<&str> = tests.iter().map(|test| test.0).collect();
    let read = player.frontend.read().map(|history| history.of(&collection(&node_ids)));
    player.collect(&node_ids);
    for (at, (_, us)) in (0..).zip(tests) {
        let mut event = finished(0, at, vec![]);
        if let RunEvent::ItemFinished { report, .. } = &mut event {
            report.durations_us = [7, *us, 3];
        }
        player.play(event);
    }
    player.finish(RunEnd::Completed, 0);
    let warnings = player.frontend.take_warnings();
    Run {
        read: read.into_iter().flatten().map(|took| took.map(|took| took.call_us)).collect(),
        warnings: warnings.into_iter().map(|warning| warning.message).collect(),
    }
}

fn read(run: Run) -> Vec<Option<u32>> {
    assert_eq!(run.warnings, Vec::<String>::new());
    run.read
}

#[test]
fn durations_are_known_in_the_next_run_and_follow_changes() {
    let suite = Suite::new();
    assert_eq!(read(suite.run(1, &[("a", 8000), ("b", 100)])), []);
    assert_eq!(read(suite.run(1, &[("b", 100), ("c", 5), ("a", 4000)])), [Some(100), None, Some(8000)]);
    assert_eq!(read(suite.run(1, &[("a", 6000)])), [Some(6000)]);
    assert_eq!(read(suite.run(1, &[("c", 1), ("b", 1), ("a", 1)])), [Some(5), Some(100), Some(6000)]);
}

#[test]
fn setup_and_teardown_are_kept_apart_from_the_call() {
    let suite = Suite::new();
    suite.run(1, &[("a", 8000)]);
    let rows = store::read(&suite.file()).unwrap();
    let row = Row { took: Took { call_us: 8000, fixtures_us: 10 }, seen_day: 1 };
    assert_eq!(rows, Rows::from([(scheduler::History::key("a"), row)]));
}

#[test]
fn a_run_of_a_part_forgets_nothing_and_vanished_tests_are_forgotten_after_a_while() {
    let suite = Suite::new();
    suite.run(1, &[("a", 1000), ("b", 2000)]);
    suite.run(60, &[("b", 2000)]);
    assert_eq!(store::read(&suite.file()).unwrap().len(), 2);
    suite.run(92, &[("b", 2000)]);
    assert_eq!(read(suite.run(93, &[("a", 1), ("b", 1)])), [None, Some(2000)]);
}

#[test]
fn of_too_many_rows_the_oldest_are_forgotten() {
    let suite = Suite::new();
    let rows = |day, names: &str| -> Vec<(String, Row)> {
        let row = Row { took: Took::default(), seen_day: day };
        names.split(' ').map(|name| (name.to_owned(), row)).collect()
    };
    store::write(&suite.file(), &rows(2, "a b c"), Keep { since_day: 0, rows: 3 }).unwrap();
    store::write(&suite.file(), &rows(3, "a d"), Keep { since_day: 0, rows: 2 }).unwrap();
    let left = store::read(&suite.file()).unwrap();
    assert!(["a", "d"].iter().all(|name| left.contains_key(&scheduler::History::key(name))), "{left:?}");
    assert_eq!(left.len(), 2);
}

#[test]
fn what_has_hardly_changed_is_written_once_a_week() {
    let suite = Suite::new();
    suite.run(1, &[("a", 80_000)]);
    let written = || store::read(&suite.file()).unwrap()[&scheduler::History::key("a")];
    suite.run(7, &[("a", 81_000)]);
    assert_eq!((written().took.call_us, written().seen_day), (80_000, 1));
    suite.run(8, &[("a", 81_000)]);
    assert_eq!((written().took.call_us, written().seen_day), (80_500, 8));
}

#[test]
fn a_broken_file_is_replaced_with_one_warning() {
    let other_version = |path: &Path| {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.pragma_update(None, "user_version", 77).unwrap();
    };
    let other_table = |path: &Path| {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.execute_batch("PRAGMA user_version = 1; CREATE TABLE durations (x)").unwrap();
    };
    let junk = |path: &Path| fs::write(path, "junk ".repeat(2000)).unwrap();
    let cut_off = |path: &Path| {
        let suite = Suite::new();
        let names: Vec<String> = (0..500).map(|number| format!("a.py::test_{number}")).collect();
        let tests: Vec<_> = names.iter().map(|name| (name.as_str(), 9000)).collect();
        suite.run(1, &tests);
        let whole = fs::read(suite.file()).unwrap();
        fs::write(path, &whole[..whole.len() / 2]).unwrap();
    };
    check_broken(other_version, "another version of xdist wrote it");
    check_broken(other_table, "no such column: node_id");
    check_broken(junk, "file is not a database");
    check_broken(cut_off, "database disk image is malformed");
}

fn check_broken(breakage: impl Fn(&Path), reason: &str) {
    let suite = Suite::new();
    fs::create_dir_all(suite.file().parent().unwrap()).unwrap();
    breakage(&suite.file());
    let run = suite.run(1, &[("a", 9000)]);
    assert_eq!((run.read.len(), run.warnings.len()), (0, 1), "{:?}", run.warnings);
    assert!(run.warnings[0].contains(reason), "{:?} lacks {reason}", run.warnings);
    assert!(run.warnings[0].ends_with("; starting anew"), "{:?}", run.warnings);
    assert_eq!(read(suite.run(1, &[("a", 9000)])), [Some(9000)]);
}

#[test]
fn an_empty_file_is_as_good_as_none() {
    let suite = Suite::new();
    fs::create_dir_all(suite.file().parent().unwrap()).unwrap();
    fs::write(suite.file(), "").unwrap();
    assert_eq!(read(suite.run(1, &[("a", 9000)])), []);
    assert_eq!(read(suite.run(1, &[("a", 9000)])), [Some(9000)]);
}

#[test]
fn a_locked_file_is_left_alone_with_one_warning() {
    let suite = Suite::new();
    suite.run(1, &[("a", 9000)]);
    let other = rusqlite::Connection::open(suite.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let run = suite.run(1, &[("a", 90_000)]);
    assert_eq!(run.warnings.len(), 1, "{:?}", run.warnings);
    assert!(
        run.warnings[0].ends_with("durations.sqlite3: it is in use; going without"),
        "{:?}",
        run.warnings
    );
    drop(other);
    assert_eq!(read(suite.run(1, &[("a", 9000)])), [Some(9000)]);
}

#[test]
fn where_nothing_can_be_written_there_is_one_warning() {
    let suite = Suite::new();
    fs::write(suite.cache().join("d"), "in the way").unwrap();
    let run = suite.run(1, &[("a", 9000)]);
    assert_eq!(run.warnings.len(), 1, "{:?}", run.warnings);
    assert!(run.warnings[0].starts_with("cannot write durations of tests in "), "{:?}", run.warnings);
}

#[test]
fn without_a_cache_directory_nothing_is_read_or_written() {
    let run = play(configured(display()), 1, &[("a", 9000)]);
    assert_eq!(run, Run { read: vec![], warnings: vec![] });
    // One that pytest could not make either is left to its warning.
    let suite = Suite::new();
    fs::remove_dir(suite.cache()).unwrap();
    assert_eq!(read(suite.run(1, &[("a", 9000)])), []);
    assert!(!suite.cache().exists());
}

#[test]
fn durations_from_another_file_are_used_and_the_file_stays_as_it_is() {
    let other = Suite::new();
    other.run(1, &[("a", 5_000_000)]);
    let before = fs::read(other.file()).unwrap();
    let suite = Suite::new();
    suite.run(1, &[("a", 9000)]);
    assert_eq!(read(suite.run_from(Some(&other.file()), 1, &[("a", 9000)])), [Some(5_000_000)]);
    assert_eq!(fs::read(other.file()).unwrap(), before);
    assert_eq!(read(suite.run(1, &[("a", 9000)])), [Some(9000)]);
}

#[test]
fn a_named_pipe_to_take_durations_from_is_not_waited_for() {
    let suite = Suite::new();
    let pipe = suite.cache().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let run = suite.run_from(Some(&pipe), 1, &[("a", 9000)]);
    assert!(run.warnings[0].contains("it is no file"), "{:?}", run.warnings);
}

#[test]
fn a_missing_file_to_take_durations_from_is_warned_of_and_replaced_by_the_cache() {
    let suite = Suite::new();
    suite.run(1, &[("a", 9000)]);
    let run = suite.run_from(Some(Path::new("/no/such/file")), 1, &[("a", 9000)]);
    assert_eq!(run.read, [Some(9000)]);
    assert_eq!(
        run.warnings,
        [
            "cannot read durations of tests in /no/such/file: there is no such file; going by the cache instead, if it has any"
        ]
    );
}
