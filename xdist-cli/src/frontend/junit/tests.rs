use super::*;
use crate::frontend::testing::*;
use std::fs;
use xdist_coord::session::event::RunEnd;
use xdist_proto::message::{DisplayOptions, JunitOptions};
use xdist_proto::report::{Phase, PhaseReport};

fn options(path: &Path) -> JunitOptions {
    JunitOptions {
        path: path.display().to_string(),
        suite_name: "pytest".to_owned(),
        family: "xunit2".to_owned(),
        logging: "no".to_owned(),
        log_passing: true,
        duration_report: "total".to_owned(),
        ..JunitOptions::default()
    }
}

/// The file that a script leads to, with a line for each test case.
fn written(
    change: impl FnOnce(&mut JunitOptions),
    node_ids: &[&str],
    script: impl FnOnce(&mut Player<Junit>),
) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("reports/junit.xml");
    let mut junit = options(&path);
    change(&mut junit);
    let mut player = player();
    player.start(DisplayOptions { junit: Some(junit), ..display() }, node_ids);
    script(&mut player);
    player.finish(RunEnd::Completed, 0);
    assert!(matches!(player.frontend.take_outcome(), Some(Ok(told)) if Path::new(&told) == path));
    fs::read_to_string(path)
        .unwrap()
        .replace("<testcase ", "\n<testcase ")
        .replace("</testsuite>", "\n</testsuite>")
}

fn player() -> Player<Junit> {
    #[expect(clippy::disallowed_methods, reason = "the tests need some moment to begin at")]
    let started = Instant::now();
    let started_at = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
    Player::new(Junit::new("here".to_owned(), started, started_at), started)
}

#[test]
fn each_outcome_has_pytests_form() {
    let node_ids = ["d/a.py::test_1", "d/a.py::TestC::test_2[x::<y>]", "d/a.py::test_3", "d/a.py::test_4"];
    let out = written(
        |_| {},
        &node_ids,
        |player| {
            player.play(collect_error("d/b.py"));
            player.item(0, 0, vec![]);
            player.item(0, 1, failed_call("assert 1 == 2\n  more"));
            player.item(1, 2, vec![skipped(Phase::Setup, 7, "not \"now\""), passed(Phase::Teardown)]);
            player.item(1, 3, xfailed("known"));
        },
    );
    insta::assert_snapshot!(out, @r#"
    <?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="2" tests="5" time="0.170" timestamp="2023-11-14T22:13:20.123456+00:00" hostname="here">
    <testcase classname="" name="d.b" time="0.000"><error message="collection failure">ImportError while importing test module '/suite/d/b.py'.
    E   No module named 'x'</error></testcase>
    <testcase classname="d.a" name="test_1" time="0.024" />
    <testcase classname="d.a.TestC" name="test_2[x::&lt;y&gt;]" time="0.006"><failure message="assert 1 == 2&#10;  more">def test():
    &gt;       assert x
    E       assert 1 == 2
      more

    test_a.py:3: AssertionError</failure></testcase>
    <testcase classname="d.a" name="test_3" time="0.004"><skipped type="pytest.skip" message="not &quot;now&quot;">/suite/test_a.py:7: not "now"</skipped></testcase>
    <testcase classname="d.a" name="test_4" time="0.006"><skipped type="pytest.xfail" message="known" /></testcase>
    </testsuite></testsuites>
    "#);
}

#[test]
fn a_failing_teardown_has_a_case_of_its_own_only_after_a_failed_call() {
    let late = || failed(Phase::Teardown, "late");
    let out = written(
        |_| {},
        &["a.py::test_1", "a.py::test_2"],
        |player| {
            player.item(0, 0, vec![passed(Phase::Setup), passed(Phase::Call), late()]);
            player.item(0, 1, vec![passed(Phase::Setup), failed(Phase::Call, "early"), late()]);
        },
    );
    assert_eq!(out.matches("name=\"test_1\"").count(), 1);
    assert_eq!(out.matches("name=\"test_2\"").count(), 2);
    assert!(out.contains("errors=\"2\" failures=\"1\" skipped=\"0\" tests=\"3\""), "{out}");
}

#[test]
fn a_run_that_is_repeated_has_a_case_for_each_attempt() {
    let rerun = PhaseReport { detail: Some("rerun".to_owned()), ..passed(Phase::Call) };
    let out = written(
        |_| {},
        &["a.py::test_1"],
        |player| {
            let first = [passed(Phase::Setup), rerun, passed(Phase::Teardown)];
            let second = [passed(Phase::Setup), passed(Phase::Call), passed(Phase::Teardown)];
            player.item(0, 0, [first, second].concat());
        },
    );
    assert_eq!(out.matches("name=\"test_1\"").count(), 2);
    assert!(out.contains("tests=\"1\""), "{out}");
}

#[test]
fn properties_and_captured_output_are_included() {
    let with_output = |logging: &'static str| {
        written(
            |options| options.logging = logging.to_owned(),
            &["a.py::test_1"],
            |player| {
                let call = printing(passed(Phase::Call), "Captured stdout call", "out\x1b\n");
                let mut call = printing(call, "Captured stderr call", "err\n");
                call.properties = vec![("answer".to_owned(), 42.into()), ("text".to_owned(), "a<b".into())];
                player.item(0, 0, vec![passed(Phase::Setup), call, passed(Phase::Teardown)]);
            },
        )
    };
    insta::assert_snapshot!(with_output("all"), @r#"
    <?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="0" skipped="0" tests="1" time="0.130" timestamp="2023-11-14T22:13:20.123456+00:00" hostname="here">
    <testcase classname="a" name="test_1" time="0.006"><properties><property name="answer" value="42" /><property name="text" value="a&lt;b" /></properties><system-out>--------------------------------- Captured Log ---------------------------------

    --------------------------------- Captured Out ---------------------------------
    out#x1B

    </system-out><system-err>--------------------------------- Captured Err ---------------------------------
    err

    </system-err></testcase>
    </testsuite></testsuites>
    "#);
    assert!(with_output("system-err").contains("err\n"));
    assert!(!with_output("system-err").contains("system-out"));
    assert!(!with_output("no").contains("system-"));
}

#[test]
fn the_older_family_names_file_and_line() {
    let change = |options: &mut JunitOptions| {
        options.family = "xunit1".to_owned();
        options.prefix = "pre".to_owned();
        options.duration_report = "call".to_owned();
    };
    let out = written(change, &["d/a.py::test_1"], |player| player.item(0, 0, vec![]));
    assert!(
        out.contains("<testcase classname=\"pre.d.a\" name=\"test_1\" file=\"d/a.py\" time=\"0.020\" />"),
        "{out}"
    );
}

#[test]
fn a_crash_is_an_error_with_all_there_is_to_tell() {
    let out = written(|_| {}, &["a.py::test_1"], |player| player.play(crash(0, Some(0), Phase::Call)));
    insta::assert_snapshot!(out, @r#"
    <?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="0" skipped="0" tests="1" time="0.130" timestamp="2023-11-14T22:13:20.123456+00:00" hostname="here">
    <testcase classname="a" name="test_1" time="0.000"><error message="worker 'gw0' crashed while running 'a.py::test_1'">worker 'gw0' crashed while running 'a.py::test_1'
    in call, after 0.5s: signal 11 (SIGSEGV) (pid 100 on buildhost, peak memory 34.5 MiB)

    stack:
    Fatal Python error: Segmentation fault

    last lines on standard error:
    the last words</error></testcase>
    </testsuite></testsuites>
    "#);
}

#[test]
fn a_file_that_cannot_be_written_is_told() {
    let mut player = player();
    player.start(DisplayOptions { junit: Some(options(Path::new("/dev/full"))), ..display() }, &[]);
    player.finish(RunEnd::Completed, 0);
    let Some(Err(unwritten)) = player.frontend.take_outcome() else { panic!("it cannot have been written") };
    assert!(unwritten.to_string().starts_with("could not write /dev/full: No space left"), "{unwritten}");
}

#[test]
fn nothing_is_written_that_nobody_asked_for() {
    let mut player = player();
    player.start(display(), &["a.py::test_1"]);
    player.item(0, 0, vec![]);
    player.finish(RunEnd::Completed, 0);
    assert!(player.frontend.take_outcome().is_none());
}

#[test]
fn dates_are_right() {
    let shown = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(shown(0), "1970-01-01T00:00:00.000000+00:00");
    assert_eq!(shown(951_782_400), "2000-02-29T00:00:00.000000+00:00");
    assert_eq!(shown(951_868_800), "2000-03-01T00:00:00.000000+00:00");
    assert_eq!(shown(1_798_761_599), "2026-12-31T23:59:59.000000+00:00");
    assert_eq!(shown(4_107_542_400), "2100-03-01T00:00:00.000000+00:00");
}

#[test]
fn attempts_are_told_as_surefire_does() {
    let out = written(
        |options| options.logging = "system-out".to_owned(),
        &["a.py::test_1", "a.py::test_2", "a.py::test_3"],
        |player| {
            let call = printing(failed(Phase::Call, "first"), "Captured stdout call", "said\n");
            player
                .play(retried(1, finished(0, 0, vec![passed(Phase::Setup), call, passed(Phase::Teardown)])));
            player.play(retried(2, crash(1, Some(0), Phase::Call)));
            player.play(finished_after(2, finished(0, 0, vec![])));
            let setup = vec![failed(Phase::Setup, "no"), passed(Phase::Teardown)];
            player.play(retried(1, finished(0, 1, setup)));
            player.play(finished_after(1, finished(1, 1, failed_call("last"))));
            // It was to run again, and could not.
            player.play(retried(1, finished(0, 2, failed_call("only"))));
            player.play(finished(0, 2, failed_call("only")));
        },
    );
    insta::assert_snapshot!(out, @r#"
    <?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="2" skipped="0" tests="3" time="0.190" timestamp="2023-11-14T22:13:20.123456+00:00" hostname="here">
    <testcase classname="a" name="test_1" time="0.024"><system-out>--------------------------------- Captured Out ---------------------------------

    </system-out><flakyFailure message="first" type="call"><stackTrace>def test():
    &gt;       assert x
    E       first

    test_a.py:3: AssertionError</stackTrace><system-out>--------------------------------- Captured Out ---------------------------------
    said

    </system-out></flakyFailure><flakyError message="worker 'gw1' crashed while running 'a.py::test_1'" type="crash"><stackTrace>worker 'gw1' crashed while running 'a.py::test_1'
    in call, after 0.5s: signal 11 (SIGSEGV) (pid 101 on buildhost, peak memory 34.5 MiB)

    stack:
    Fatal Python error: Segmentation fault

    last lines on standard error:
    the last words</stackTrace><system-out>--------------------------------- Captured Out ---------------------------------

    </system-out></flakyError></testcase>
    <testcase classname="a" name="test_2" time="0.006"><failure message="last">def test():
    &gt;       assert x
    E       last

    test_a.py:3: AssertionError</failure><system-out>--------------------------------- Captured Out ---------------------------------

    </system-out><rerunError message="no" type="setup"><stackTrace>def test():
    &gt;       assert x
    E       no

    test_a.py:3: AssertionError</stackTrace><system-out>--------------------------------- Captured Out ---------------------------------

    </system-out></rerunError></testcase>
    <testcase classname="a" name="test_3" time="0.006"><failure message="only">def test():
    &gt;       assert x
    E       only

    test_a.py:3: AssertionError</failure><system-out>--------------------------------- Captured Out ---------------------------------

    </system-out></testcase>
    </testsuite></testsuites>
    "#);
}

#[test]
fn a_test_that_ran_elsewhere_says_where() {
    let out = written(
        |_| {},
        &["a.py::test_1", "a.py::test_2"],
        |player| {
            player.play(ready_elsewhere(1));
            player.item(0, 0, vec![]);
            player.item(1, 1, vec![]);
        },
    );
    let property = r#"<properties><property name="ran_on" value="[gw1] linux -- Python 3.11.7 /usr/bin/python3 (on buildhost)" /></properties>"#;
    let (before, after) = out.split_once("test_2").unwrap();
    assert!(!before.contains("ran_on") && after.contains(property), "{out}");
}
