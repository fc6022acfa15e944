//! Hosts on other machines.

use super::*;

fn place() -> Place {
    Place { directory: "/here".to_owned(), rootdir: Some("/here".to_owned()), ..Place::default() }
}

/// Two workers on one machine, one on another, and one here.
fn started(specs: &[&str]) -> Bench {
    let workers = WorkerSpec::parse_all(specs.iter().copied(), []).unwrap();
    let python = vec!["/here/python".to_owned()];
    Bench::new(Config { workers: Some(workers), place: place(), python, ..config(None) })
}

fn explained(link: u32, text: &str) -> Input {
    Input::Closed { link: LinkId(link), cause: CloseCause::Explained(text.to_owned()) }
}

#[test]
fn workers_on_one_machine_share_a_connection() {
    let mut bench = started(&["2*ssh=a//nice=5", "ssh=-p 7 me@b//chdir=t", "ssh=a//python=py", "popen"]);
    bench.expect(
        "* gw0 starts
         launch 0 ssh a
         * gw1 starts
         * gw2 starts
         launch 1 ssh -p 7 me@b
         * gw3 starts
         * gw4 starts
         launch 2",
    );
    bench.launch(0);
    bench.hello(LinkId(0), VersionRange::SUPPORTED, Role::Worker, 1);
    bench.expect(
        "welcome gw0 gw1 gw3
         gw0 configure gw0 of 5
         gw1 configure gw1 of 5
         gw3 configure gw3 of 5",
    );
}

#[test]
fn a_worker_elsewhere_starts_in_the_same_directory_with_the_python_of_its_machine() {
    let mut session = started(&["2*ssh=a//nice=5", "ssh=a//chdir=t//python=py", "popen"]).session;
    let mut configured = Vec::new();
    for host in 0..2 {
        #[expect(clippy::disallowed_methods, reason = "there is no other way to make an Instant")]
        let now = Instant::now();
        session.handle(Input::Launched { host: HostId(host), link: LinkId(host) }, now);
        let hello = Hello {
            implementation: Implementation { name: "other".to_owned(), version: "9".to_owned() },
            versions: VersionRange::SUPPORTED,
            role: Role::Worker,
            host: HostFacts::default(),
            slots: 1,
            features: BTreeMap::new(),
            generation: 0,
            proof: Vec::new(),
        };
        session.handle(Input::Opened { link: LinkId(host), hello: Box::new(hello) }, now);
        while let Some(output) = session.poll_output() {
            if let Output::Send { message: CoordinatorMessage::Configure(command), .. } = output {
                let Configure { args, python, chdir, nice, .. } = command;
                configured.push(format!("{} {} {chdir:?} {nice}", args.join(" "), python.join(" ")));
            }
        }
    }
    assert_eq!(
        configured,
        [
            "--rootdir=/here  Some(\"/here\") 5",
            "--rootdir=/here  Some(\"/here\") 5",
            "--rootdir=. py Some(\"t\") 0",
            "--rootdir=/here /here/python None 0",
        ]
    );
}

#[test]
fn a_machine_that_cannot_be_reached_is_not_tried_again_and_the_others_go_on() {
    let mut bench = started(&["popen", "2*ssh=a"]);
    bench.launch(0);
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    bench.launch(1);
    bench.tell_ready(0, options());
    bench.collect(0, "a b");
    bench.list(0, "a b");
    bench.said.clear();
    bench.input(explained(1, "no way in; get a key"));
    bench.expect(
        "* lost the worker host on a: no way in; get a key
         * gw1 crashed: host lost: no way in
         * gw1 down: host lost: no way in
         * gw2 crashed: host lost: no way in
         * gw2 down: host lost: no way in
         * 2 items
         * scheduling load
         gw0 run 0: 0 1",
    );
}

#[test]
fn who_was_lost_is_called_by_its_name() {
    let mut bench = started(&["2*ssh=a//id=far"]);
    bench.launch(0);
    bench.said.clear();
    bench.input(explained(0, "no way in; get a key"));
    bench.expect_among("* stopping: no worker is left (far0: host lost: no way in)");
}

#[test]
fn a_machine_that_was_lost_in_the_middle_is_tried_again_with_all_that_it_had() {
    let mut bench = started(&["ssh=a"]);
    bench.launch(0);
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    bench.tell_ready(0, options());
    bench.collect(0, "a b");
    bench.list(0, "a b");
    bench.said.clear();
    bench.input(explained(0, "the connection broke"));
    bench.expect(
        "* lost the worker host on a: the connection broke
         * gw0 down: host lost: the connection broke
         * gw1 starts for gw0
         launch 1 ssh a",
    );
    bench.launch(1);
    bench.hello(LinkId(1), VersionRange::SUPPORTED, Role::Worker, 1);
    bench.on(1).tell_ready(1, options());
    bench.said.clear();
    bench.on(1).collect(1, "a b");
    bench.expect("* gw1 collected 2\ngw1 run 1: 0 1");
}

#[test]
fn what_was_running_on_three_machines_that_were_lost_has_crashed() {
    let mut bench = started(&["ssh=a"]);
    for machine in 0..3 {
        bench.launch(machine);
        bench.hello(LinkId(machine), VersionRange::SUPPORTED, Role::Worker, 1);
        bench.on(machine).tell_ready(machine, options());
        bench.on(machine).collect(machine, "a b");
        if machine == 0 {
            bench.list(0, "a b");
        }
        bench.said.clear();
        bench.input(explained(machine, "the connection broke"));
    }
    bench.expect_among("* gw2 crashed in 0 None: host lost: the connection broke");
}

#[test]
fn a_machine_may_take_long_to_be_sent_the_program() {
    let mut bench = started(&["ssh=a"]);
    bench.launch(0);
    bench.wait(599);
    bench.expect("* gw0 starts\nlaunch 0 ssh a");
    bench.wait(2);
    bench.expect_among("* lost the worker host on a: it did not connect within 600 s");
}

#[test]
fn workers_with_other_versions_are_told_of_before_the_tests() {
    let mut bench = Bench::connected(config(Some("3*popen")));
    for (worker, versions) in [(0, "Python 3.11.2, pytest-9.0.1"), (1, "Python 3.9.1, pytest-8.0.0")] {
        let header = vec![format!("platform linux -- {versions}, pluggy-1.6.0"), "rootdir: /x".to_owned()];
        let ready = Ready { worker: WorkerId(worker), header, options: options(), ..Ready::default() };
        bench.tell(WorkerMessage::Ready(Box::new(ready)));
        bench.collect(worker, "a");
    }
    bench.tell_ready(2, options());
    bench.collect(2, "a");
    bench.said.clear();
    bench.list(0, "a");
    bench.expect_among(
        "* scheduling load, but the workers differ: gw0 has Python 3.11.2, pytest-9.0.1; gw1 has Python 3.9.1, pytest-8.0.0",
    );
}

/// Hashes of files.
fn files(hashes: &[(&str, u64)]) -> BTreeMap<String, u64> {
    hashes.iter().map(|&(path, hash)| (path.to_owned(), hash)).collect()
}

/// A run on one machine, whose tree is in another place, is about to begin; the answer is what it begins with when these
/// files are here.
fn begun_with(there: &[(&str, u64)], here: &[(&str, u64)]) -> String {
    let mut bench = started(&["ssh=a//chdir=/there/sub"]);
    bench.launch(0);
    bench.hello(LINK, VersionRange::SUPPORTED, Role::Worker, 1);
    let (cwd, rootdir) = ("/there/sub".to_owned(), "/there".to_owned());
    let ready = Ready { cwd, rootdir, options: options(), ..Ready::default() };
    bench.tell(WorkerMessage::Ready(Box::new(ready)));
    bench.collect_from(0, "a", files(there));
    bench.said.clear();
    bench.list(0, "a");
    bench.expect("read in /: a.py b.py");
    bench.input(Input::FilesRead { files: files(here) });
    bench.said.iter().find(|line| line.starts_with("* scheduling")).unwrap().clone()
}

#[test]
fn where_no_worker_is_here_files_are_compared_with_those_here() {
    let there = [("a.py", 1), ("b.py", 2), ("../up.py", 3)];
    assert_eq!(begun_with(&there[..2], &there[..2]), "* scheduling load");
    assert_eq!(
        begun_with(&there[..2], &[("a.py", 1), ("b.py", 3)]),
        "* scheduling load, but b.py is not the same on a as here: \
         check out the same revision, or have it copied (--sync)"
    );
    assert!(begun_with(&there[..2], &there[..1]).contains(", but b.py is not the same on a as here: "));
    // Paths that lead elsewhere are no business of other machines.
    assert_eq!(begun_with(&there, &there[..2]), "* scheduling load");
    // The tests need not be here at all.
    assert_eq!(begun_with(&there[..2], &[]), "* scheduling load");
}

fn unfit(worker: u32) -> WorkerMessage {
    let text = "ERROR: py has no pytest".to_owned();
    WorkerMessage::UsageError(UsageError { worker: WorkerId(worker), text, exit_code: 4, unfit: true })
}

#[test]
fn a_machine_whose_python_can_run_nothing_takes_no_part_where_there_are_others() {
    let mut bench = started(&["ssh=a", "ssh=b"]);
    for host in 0..2 {
        bench.launch(host);
        bench.hello(LinkId(host), VersionRange::SUPPORTED, Role::Worker, 1);
    }
    bench.said.clear();
    bench.on(1).tell(unfit(1));
    bench.expect_among("close 1 Done");
    assert_eq!(bench.session.course, Course::Gathering);
    // It is wrong everywhere, and so with what the user said.
    bench.on(0).tell(unfit(0));
    bench.expect_among("* gw0 usage error: ERROR: py has no pytest (on a)");
}
