use super::*;
use crate::frontend::testing::*;

use xdist_coord::session::event::RunEnd;
use xdist_proto::message::DisplayOptions;

struct Suite {
    directory: tempfile::TempDir,
}

impl Suite {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("sub/.pytest_cache")
    }

    fn run(&self, node_ids: &[&str], script: impl FnOnce(&mut Player<Cache>)) -> Vec<WarningRecord> {
        #[expect(clippy::disallowed_methods, reason = "the tests need some moment to begin at")]
        let started = Instant::now();
        let mut player = Player::new(Cache::default(), started);
        let cache_dir = Some(self.cache().display().to_string());
        player.configure(DisplayOptions { cache_dir, ..display() });
        player.collect(node_ids);
        script(&mut player);
        player.finish(RunEnd::Completed, 0);
        player.frontend.take_warnings()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.cache().join(name)).unwrap()
    }
}

#[test]
fn failures_are_kept_until_they_pass() {
    let suite = Suite::new();
    let node_ids = ["b.py::test_1", "a.py::test_2", "a.py::test_3"];
    suite.run(&node_ids, |player| {
        player.item(0, 0, failed_call("boom"));
        player.item(0, 1, vec![passed(Phase::Setup), passed(Phase::Call), failed(Phase::Teardown, "late")]);
        player.play(crash(1, Some(2), Phase::Call));
    });
    assert_eq!(
        suite.read(LAST_FAILED),
        "{\n  \"a.py::test_2\": true,\n  \"a.py::test_3\": true,\n  \"b.py::test_1\": true\n}"
    );
    assert_eq!(suite.read(NODE_IDS), "[\n  \"a.py::test_2\",\n  \"a.py::test_3\",\n  \"b.py::test_1\"\n]");
    suite.run(&["b.py::test_1", "a.py::test_3", "c.py::new"], |player| {
        player.item(0, 0, vec![]);
        player.item(0, 1, vec![skipped(Phase::Setup, 1, "no"), passed(Phase::Teardown)]);
    });
    assert_eq!(suite.read(LAST_FAILED), "{\n  \"a.py::test_2\": true\n}");
    assert!(suite.read(NODE_IDS).contains("c.py::new"));
}

#[test]
fn a_collector_that_recovers_hands_its_failure_down() {
    let suite = Suite::new();
    suite.run(&[], |player| player.play(collect_error("a.py")));
    assert_eq!(suite.read(LAST_FAILED), "{\n  \"a.py\": true\n}");
    suite.run(&["a.py::test_1", "a.py::TestC::test_2[x::y]", "b.py::test_3"], |player| {
        player.item(0, 0, vec![]);
    });
    assert_eq!(suite.read(LAST_FAILED), "{\n  \"a.py::TestC::test_2[x::y]\": true\n}");
}

#[test]
fn a_new_cache_directory_is_as_pytest_makes_it() {
    let suite = Suite::new();
    suite.run(&["a.py::test_1"], |player| player.item(0, 0, vec![]));
    assert!(suite.read("CACHEDIR.TAG").starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
    assert!(
        suite.read("README.md").starts_with("# pytest cache directory #\n\nThis directory contains data")
    );
    assert_eq!(suite.read(".gitignore"), "# Created by pytest automatically.\n*\n");
    let beside = fs::read_dir(suite.cache().parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "nothing temporary is left");
}

#[test]
fn what_cannot_be_written_is_a_warning() {
    let suite = Suite::new();
    fs::write(suite.directory.path().join("sub"), "in the way").unwrap();
    let warnings = suite.run(&["a.py::test_1"], |player| player.item(0, 0, failed_call("boom")));
    let texts: Vec<&str> = warnings.iter().map(|warning| warning.text.as_str()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    let begin = format!("PytestCacheWarning: could not create cache path {}", suite.cache().display());
    assert!(texts.iter().all(|text| text.starts_with(&begin)), "{texts:?}");
}

#[test]
fn a_broken_cache_is_taken_for_an_empty_one() {
    let suite = Suite::new();
    fs::create_dir_all(suite.cache().join("v/cache")).unwrap();
    fs::write(suite.cache().join(LAST_FAILED), "{").unwrap();
    suite.run(&["a.py::test_1"], |player| player.item(0, 0, failed_call("boom")));
    assert_eq!(suite.read(LAST_FAILED), "{\n  \"a.py::test_1\": true\n}");
}

#[test]
fn without_the_plugin_nothing_is_written() {
    let suite = Suite::new();
    #[expect(clippy::disallowed_methods, reason = "the tests need some moment to begin at")]
    let mut player = Player::new(Cache::default(), Instant::now());
    player.start(display(), &["a.py::test_1"]);
    player.item(0, 0, failed_call("boom"));
    player.finish(RunEnd::Completed, 0);
    assert!(player.frontend.take_warnings().is_empty());
    assert!(!suite.cache().exists());
}
