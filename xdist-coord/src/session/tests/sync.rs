//! Directories that are copied to hosts before their workers come up.

use super::*;
use crate::sync::Root;
use xdist_proto::sync::{SyncEnd, SyncFailed, SyncTaken, SyncWant};
use xdist_proto::tree::BlobHash;

fn place(roots: &[&str]) -> Place {
    let root = |path: &&str| Root {
        path: (*path).to_owned(),
        name: path.rsplit('/').next().unwrap().to_owned(),
        heeds_ignore_files: true,
    };
    let roots = roots.iter().map(root).collect();
    let (directory, project) = ("/home/me/project/sub".to_owned(), "project-1".to_owned());
    Place { directory, roots, project, ..Place::default() }
}

fn started(roots: &[&str], specs: &[&str], args: &[&str]) -> Bench {
    let workers = WorkerSpec::parse_all(specs.iter().copied(), []).unwrap();
    let args = args.iter().map(|&text| text.to_owned()).collect();
    let config = Config { workers: Some(workers), place: place(roots), args, ..config(None) };
    let mut bench = Bench::new(config);
    bench.takes_files = true;
    bench
}

fn end(tree: u32, path: &str) -> WorkerMessage {
    let path = path.to_owned();
    WorkerMessage::SyncEnd(SyncEnd { tree, path, files: 9, written: 3, removed: 1, received: 70 })
}

fn connected(bench: &mut Bench, host: u32) {
    bench.launch(host);
    bench.hello(LinkId(host), VersionRange::SUPPORTED, Role::Worker, 1);
}

fn want(tree: u32) -> WorkerMessage {
    WorkerMessage::SyncWant(SyncWant { tree, blobs: vec![BlobHash::of(b""), BlobHash::of(b"x")] })
}

#[test]
fn a_host_has_all_copies_before_its_workers_are_configured() {
    let mut bench = started(&["/home/me/project", "/lib"], &["2*ssh=a", "popen"], &[]);
    bench.said.clear();
    connected(&mut bench, 0);
    bench.expect(
        r#"welcome gw0 gw1
           copy 0 on 0: /home/me/project to its own for project-1 without """#,
    );
    bench.tell(want(0));
    bench.tell(WorkerMessage::SyncTaken(SyncTaken { tree: 0, chunks: 1 }));
    bench.expect(
        "copy 0: 2 blobs are wanted
         copy 0: 1 were taken",
    );
    bench.tell(end(0, "/cache/project-1/project"));
    bench.expect(
        r#"copy 0 is over
           copy 1 on 0: /lib to its own for project-1 without """#,
    );
    bench.tell(end(1, "/cache/project-1/lib"));
    bench.expect(
        "copy 1 is over
         gw0 configure gw0 of 3
         gw1 configure gw1 of 3",
    );
    // A worker that starts here finds everything.
    connected(&mut bench, 1);
    bench.expect(
        "welcome gw2
         gw2 configure gw2 of 3",
    );
}

#[test]
fn workers_that_start_in_different_places_have_copies_of_their_own() {
    let specs = ["ssh=a//chdir=/x", "ssh=a//chdir=/y", "ssh=a//chdir=/x", "popen//chdir=/x"];
    let mut bench = started(&["/lib"], &specs, &[]);
    bench.said.clear();
    connected(&mut bench, 0);
    connected(&mut bench, 1);
    bench.expect(
        r#"welcome gw0 gw1 gw2
           copy 0 on 0: /lib to /x without ""
           copy 1 on 0: /lib to /y without ""
           welcome gw3
           copy 2 on 1: /lib to /x without """#,
    );
    bench.tell(end(1, "/y/lib"));
    bench.tell(end(0, "/x/lib"));
    bench.expect(
        "copy 1 is over
         gw1 configure gw1 of 4
         copy 0 is over
         gw0 configure gw0 of 4
         gw2 configure gw2 of 4",
    );
}

/// Where workers start and with which arguments, when everything was copied to `/there/` and its name.
fn configured(roots: &[&str], spec: &str, here: Place, args: &[&str]) -> Vec<String> {
    let args = args.iter().map(|&text| text.to_owned()).collect();
    let place = Place { roots: place(roots).roots, ..here };
    let workers = WorkerSpec::parse_all([spec], []).unwrap();
    let mut bench = Bench::new(Config { workers: Some(workers), place, args, ..config(None) });
    bench.takes_files = true;
    connected(&mut bench, 0);
    let mut found = Vec::new();
    for (tree, root) in (0..).zip(roots) {
        let path = format!("/there/{}", root.rsplit('/').next().unwrap());
        let message = end(tree, &path);
        bench.session.handle(Input::Received { link: LINK, message }, bench.now);
        while let Some(output) = bench.session.poll_output() {
            if let Output::Send { message: CoordinatorMessage::Configure(command), .. } = output {
                found.push(format!("{} {}", command.chdir.unwrap_or_default(), command.args.join(" ")));
            }
        }
    }
    found
}

#[test]
fn a_worker_starts_in_the_copy_of_the_directory_that_the_run_was_started_in() {
    let place = || Place {
        directory: "/home/me/project/sub".to_owned(),
        rootdir: Some("/home/me/project".to_owned()),
        inifile: Some("/home/me/project/pytest.ini".to_owned()),
        ..Place::default()
    };
    let args = ["a.py", "/home/me/project/t/b.py::test[/x::y]", "--cov=/lib/z", "/home/me/projects", "-k=/x"];
    assert_eq!(
        configured(&["/home/me/project", "/lib"], "ssh=a", place(), &args),
        ["/there/project/sub --rootdir=/there/project -c /there/project/pytest.ini a.py \
          /there/project/t/b.py::test[/x::y] --cov=/there/lib/z /home/me/projects -k=/x"]
    );
    // The nearest copy counts.
    let nested = configured(&["/home/me/project", "/home/me/project/sub"], "ssh=a", place(), &[]);
    assert_eq!(nested, ["/there/sub --rootdir=/there/project -c /there/project/pytest.ini"]);
}

#[test]
fn beside_the_copies_a_worker_starts_in_its_own_directory() {
    let place = || Place {
        directory: "/home/me".to_owned(),
        rootdir: Some("/home/me".to_owned()),
        inifile: Some("/home/me/pytest.ini".to_owned()),
        ..Place::default()
    };
    let args = ["/home/me/lib/a.py", "lib"];
    // What was not copied is not there, so nothing is said of the root directory.
    assert_eq!(configured(&["/home/me/lib"], "ssh=a//chdir=/d", place(), &args), ["/d /there/lib/a.py lib"]);
    assert_eq!(configured(&["/home/me/lib"], "ssh=a", place(), &args), ["/there /there/lib/a.py lib"]);
    assert_eq!(configured(&["/home/me/lib"], "popen//chdir=d", place(), &args), ["d /there/lib/a.py lib"]);
}

#[test]
fn a_host_that_cannot_take_the_copy_is_lost_and_not_tried_again() {
    let mut bench = started(&["/lib"], &["popen", "ssh=a", "ssh=a"], &[]);
    connected(&mut bench, 0);
    connected(&mut bench, 1);
    bench.said.clear();
    let text = "cannot write \"/x\": no space; make room".to_owned();
    let message = WorkerMessage::SyncFailed(SyncFailed { tree: 0, text });
    bench.input(Input::Received { link: LinkId(1), message });
    bench.expect("close 1 Done\ncopy 0 is over");
    bench.tell_ready(0, options());
    let said = bench.said.join("\n");
    assert!(said.contains("the worker host on a: cannot write \"/x\": no space; make room"), "{said}");
    assert!(!said.contains("launch"), "{said}");
}

#[test]
fn a_directory_that_cannot_be_read_here_ends_the_same() {
    let mut bench = started(&["/lib"], &["ssh=a"], &[]);
    connected(&mut bench, 0);
    bench.said.clear();
    bench.input(Input::SyncFailed { tree: 0, error: "cannot read /lib".to_owned() });
    let said = bench.said.join("\n");
    assert!(said.contains("cannot read /lib") && said.contains("close 0"), "{said}");
    // It was too late for that.
    bench.input(Input::SyncFailed { tree: 0, error: "again".to_owned() });
    bench.input(Input::SyncFailed { tree: 7, error: "never begun".to_owned() });
}

#[test]
fn a_host_that_does_not_take_files_is_told_so() {
    let mut bench = started(&["/lib"], &["2*ssh=a"], &[]);
    bench.takes_files = false;
    connected(&mut bench, 0);
    let said = bench.said.join("\n");
    assert!(said.contains("it does not take files"), "{said}");
    assert!(said.contains("finished Stopped(NoWorkers("), "none of its workers is waited for: {said}");
    // Somebody else's program may do without.
    let mut bench = started(&["/lib"], &["exec=x//chdir=/y"], &[]);
    bench.takes_files = false;
    bench.said.clear();
    connected(&mut bench, 0);
    bench.expect("welcome gw0\ngw0 configure gw0 of 1");
}

#[test]
fn only_what_is_being_copied_can_be_spoken_of() {
    for message in [want(3), end(3, "/x"), want(0)] {
        let mut bench = started(&["/lib"], &["ssh=a", "ssh=b"], &[]);
        connected(&mut bench, 0);
        connected(&mut bench, 1);
        bench.said.clear();
        // The first number belongs to the other host.
        bench.input(Input::Received { link: LinkId(1), message });
        let said = bench.said.join("\n");
        assert!(said.contains("close 1 Protocol(\"no copying has the number"), "{said}");
    }
}

#[test]
fn a_lost_host_and_what_was_copied_there_are_forgotten() {
    let mut bench = started(&["/lib"], &["ssh=a", "popen"], &[]);
    connected(&mut bench, 0);
    bench.said.clear();
    bench.input(Input::Closed { link: LINK, cause: CloseCause::EndOfStream });
    assert!(bench.said.contains(&"copy 0 is over".to_owned()), "{:?}", bench.said);
}

#[test]
fn options_from_a_configuration_file_count_when_workers_come_from_there_too() {
    let mut bench = Bench::new(Config { place: place(&[]), ..config(None) });
    bench.takes_files = true;
    connected(&mut bench, 0);
    bench.said.clear();
    let files = xdist_proto::sync::Files {
        sync: vec!["/home/me/project".to_owned()],
        ignore: vec!["*.log".to_owned()],
        ..Default::default()
    };
    bench.tell_ready(0, RunOptions { tx: vec!["ssh=a".to_owned()], files, ..options() });
    connected(&mut bench, 1);
    let copy = r#"copy 0 on 1: /home/me/project to its own for project-1 without "*.log""#;
    assert!(bench.said.contains(&copy.to_owned()), "{:?}", bench.said);
}
