use super::*;
use crate::frontend::testing::*;
use std::fs;
use std::time::Duration;
use xdist_coord::session::event::{FilesFetched, RunEnd, StopReason};
use xdist_proto::message::Stream;
use xdist_proto::report::Phase;

fn moment() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the tests need some moment to begin at")]
    Instant::now()
}

/// The lines that a script leads to.
fn log(node_ids: &[&str], script: impl FnOnce(&mut Player<JsonLines>)) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("logs/run.jsonl");
    let started = moment();
    let started_at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
    let mut player = Player::new(JsonLines::create(&path, started, started_at), started);
    player.start(display(), node_ids);
    script(&mut player);
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn of_type(lines: &[String], kind: &str) -> String {
    let begin = format!("{{\"$report_type\":\"{kind}\",");
    let found: Vec<&str> = lines.iter().filter(|line| line.starts_with(&begin)).map(String::as_str).collect();
    found.join("\n")
}

#[test]
fn the_first_line_names_the_version_and_every_line_its_type() {
    let lines = log(&["a.py::test_1"], |player| player.item(0, 0, vec![]));
    assert!(
        lines[0].starts_with(r#"{"$report_type":"SessionStart","time":0.0,"report_log":1,"#),
        "{}",
        lines[0]
    );
    let types: Vec<String> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["$report_type"].as_str().unwrap().to_owned())
        .collect();
    insta::assert_snapshot!(types.join(" "), @"SessionStart WorkerStarting Configured WorkerStarting WorkerReady WorkerReady WorkerCollecting WorkerCollected WorkerCollecting WorkerCollected Collected Scheduling TestReport TestReport TestReport");
}

#[test]
fn an_items_reports_are_pytests() {
    let lines = log(&["a.py::test_1"], |player| {
        let mut call = printing(failed(Phase::Call, "boom"), "Captured stdout call", "out\n");
        call.properties = vec![("odd".to_owned(), xdist_proto::Value::Binary(vec![0xff]))];
        player.item(1, 0, vec![passed(Phase::Setup), call, passed(Phase::Teardown)]);
    });
    insta::assert_snapshot!(of_type(&lines, "TestReport"), @r#"
    {"$report_type":"TestReport","time":0.12,"nodeid":"a.py::test_1","worker_id":"gw1","item_index":0,"when":"setup","outcome":"passed","location":["a.py",null,"test_1"],"sections":[],"user_properties":[],"duration":0.002,"start":1.0,"stop":1.002}
    {"$report_type":"TestReport","time":0.12,"nodeid":"a.py::test_1","worker_id":"gw1","item_index":0,"when":"call","outcome":"failed","location":["a.py",null,"test_1"],"longrepr":"\n    def test():\n>       assert x\nE       boom\n\ntest_a.py:3: AssertionError","reprcrash":["/suite/test_a.py",3,"boom"],"sections":[["Captured stdout call","out\n"]],"user_properties":[["odd","�"]],"duration":0.002,"start":1.002,"stop":1.004}
    {"$report_type":"TestReport","time":0.12,"nodeid":"a.py::test_1","worker_id":"gw1","item_index":0,"when":"teardown","outcome":"passed","location":["a.py",null,"test_1"],"sections":[["Captured stdout call","out\n"]],"user_properties":[["odd","�"]],"duration":0.002,"start":1.004,"stop":1.006}
    "#);
}

#[test]
fn a_crash_is_an_event_and_a_report() {
    let lines = log(&["a.py::test_1"], |player| player.play(crash(0, Some(0), Phase::Call)));
    insta::assert_snapshot!(of_type(&lines, "Crashed"), @r#"{"$report_type":"Crashed","time":0.12,"nodeid":"a.py::test_1","worker_id":"gw0","item_index":0,"when":"call","running":0.52,"cause":"signal 11 (SIGSEGV)","signal":11,"out_of_memory":false,"pid":100,"host":"buildhost","peak_rss_kib":35328,"stack":"Fatal Python error: Segmentation fault\n","stderr_tail":"the last words\n"}"#);
    assert!(of_type(&lines, "TestReport").contains(r#""when":"???","outcome":"failed""#));
}

#[test]
fn bytes_that_are_no_text_do_no_harm() {
    let lines = log(&[], |player| {
        let data = b"a\xff\n".to_vec();
        player.play(RunEvent::Output { worker: WorkerId(0), stream: Stream::Stderr, data });
    });
    assert!(of_type(&lines, "Output").ends_with("\"stream\":\"stderr\",\"text\":\"a\u{fffd}\\n\"}"));
}

#[test]
fn the_last_line_accounts_for_every_item() {
    let lines = log(&["a.py::test_1", "a.py::test_2"], |player| {
        player.item(0, 0, failed_call("boom"));
        let reason = "stopping after 1 failures".to_owned();
        player.play(RunEvent::NotRun { worker: None, items: vec![ItemIndex(1)], reason });
        player.finish(RunEnd::Stopped(StopReason::Failures(1)), 1);
    });
    insta::assert_snapshot!(of_type(&lines, "NotRun"), @r#"{"$report_type":"NotRun","time":0.13,"items":[1],"nodeids":["a.py::test_2"],"reason":"stopping after 1 failures"}"#);
    insta::assert_snapshot!(of_type(&lines, "SessionFinish"), @r#"{"$report_type":"SessionFinish","time":0.14,"exitstatus":2,"end":"stopped","detail":{"why":"failures","count":1},"collected":2,"finished":1,"crashed":0,"not_run":1,"failed":0,"flaky":0,"collect_errors":0}"#);
}

#[test]
fn a_log_that_cannot_be_written_is_told_once() {
    let started = moment();
    let mut log = JsonLines::create(Path::new("/dev/full"), started, UNIX_EPOCH);
    log.event(&RunEvent::Stopping(StopReason::Interrupted), started);
    let error = log.take_error().expect("the device is full");
    assert!(error.to_string().starts_with("could not write /dev/full: No space left"), "{error}");
    assert!(log.take_error().is_none());
}

#[test]
fn attempts_are_numbered_and_their_failures_reruns() {
    let lines = log(&["a.py::test_1"], |player| {
        player.play(retried(1, finished(0, 0, vec![failed(Phase::Setup, "no"), passed(Phase::Teardown)])));
        player.play(retried(2, crash(1, Some(0), Phase::Call)));
        player.play(finished_after(2, finished(0, 0, vec![passed(Phase::Call)])));
        player.finish(RunEnd::Completed, 0);
    });
    let report = |line: &String| {
        let fields: Value = serde_json::from_str(line).unwrap();
        let is_report = fields["$report_type"] == "TestReport";
        is_report.then(|| format!("{} {} {}", fields["attempt"], fields["when"], fields["outcome"]))
    };
    let reports: Vec<String> = lines.iter().filter_map(report).collect();
    let expected =
        [r#"1 "setup" "rerun""#, r#"1 "teardown" "passed""#, r#"2 "???" "rerun""#, r#"3 "call" "passed""#];
    assert_eq!(reports, expected);
    insta::assert_snapshot!(of_type(&lines, "ItemRetried"), @r#"
    {"$report_type":"ItemRetried","time":0.12,"nodeid":"a.py::test_1","worker_id":"gw0","item_index":0,"retry":1,"retries":2}
    {"$report_type":"ItemRetried","time":0.13,"nodeid":"a.py::test_1","worker_id":"gw1","item_index":0,"retry":2,"retries":2,"crash":{"nodeid":"a.py::test_1","worker_id":"gw1","item_index":0,"when":"call","running":0.52,"cause":"signal 11 (SIGSEGV)","signal":11,"out_of_memory":false,"pid":101,"host":"buildhost","peak_rss_kib":35328,"stack":"Fatal Python error: Segmentation fault\n","stderr_tail":"the last words\n"}}
    "#);
    assert!(of_type(&lines, "SessionFinish").contains(r#""failed":0,"flaky":1,"#));
}

#[test]
fn what_ran_or_was_fetched_elsewhere_names_the_machine() {
    let lines = log(&["a.py::test_1"], |player| {
        player.play(ready_elsewhere(1));
        player.item(1, 0, vec![]);
        player.play(RunEvent::FilesFetched(Box::new(FilesFetched {
            machine: "buildhost".to_owned(),
            from: "/srv/t".to_owned(),
            into: "xdist-fetched/buildhost".to_owned(),
            files: 2,
            bytes: 3,
            problems: vec!["x: permission denied".to_owned()],
        })));
    });
    let reports = of_type(&lines, "TestReport");
    assert_eq!(reports.matches(r#""worker_id":"gw1","host":"buildhost","#).count(), 3, "{reports}");
    insta::assert_snapshot!(of_type(&lines, "FilesFetched"), @r#"{"$report_type":"FilesFetched","time":0.14,"host":"buildhost","from":"/srv/t","into":"xdist-fetched/buildhost","files":2,"bytes":3,"problems":["x: permission denied"]}"#);
}
