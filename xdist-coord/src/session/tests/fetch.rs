//! Files that come back from other machines.

use super::*;

/// A run of one item on each of these, which are ready; each worker is in its own directory.
fn running(specs: &[&str], patterns: &[&str]) -> Bench {
    let workers = WorkerSpec::parse_all(specs.iter().copied(), []).unwrap();
    let mut bench = Bench::new(Config { workers: Some(workers), ..config(None) });
    let fetch = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    let options = RunOptions { fetch, ..options() };
    let hosts = bench.said.iter().filter(|line| line.starts_with("launch")).count();
    for host in 0..u32::try_from(hosts).unwrap() {
        bench.launch(host);
        bench.hello(LinkId(host), VersionRange::SUPPORTED, Role::Worker, 1);
    }
    for worker in 0..u32::try_from(specs.len()).unwrap() {
        let cwd = format!("/d{}", worker / 2);
        let ready = Ready { worker: WorkerId(worker), options: options.clone(), cwd, ..Ready::default() };
        bench.tell_on(host_of(&bench, worker), WorkerMessage::Ready(Box::new(ready)));
    }
    let items: Vec<&str> = ["a", "b", "c", "d"].into_iter().take(specs.len()).collect();
    let collection = collection(&items.join(" "));
    for worker in 0..u32::try_from(specs.len()).unwrap() {
        let host = host_of(&bench, worker);
        let worker = WorkerId(worker);
        bench.tell_on(host, WorkerMessage::Collecting(Collecting { worker }));
        let (digest, count) = (collection.digest(), u32::try_from(items.len()).unwrap());
        let files = BTreeMap::new();
        let collected = Collected { worker, digest, count, deselected: 0, unforkable: None, files };
        bench.tell_on(host, WorkerMessage::Collected(collected));
    }
    bench.list(0, &items.join(" "));
    bench.said.clear();
    bench
}

fn host_of(bench: &Bench, worker: u32) -> u32 {
    bench.session.workers.get(WorkerId(worker)).host.0
}

impl Bench {
    fn tell_on(&mut self, link: u32, message: WorkerMessage) {
        self.input(Input::Received { link: LinkId(link), message });
    }

    /// The user interrupts, and the workers end in good order.
    fn interrupt_and_end(&mut self, workers: u32) {
        self.input(Input::InterruptRequested);
        for worker in 0..workers {
            let link = host_of(self, worker);
            let id = WorkerId(worker);
            self.tell_on(
                link,
                WorkerMessage::WorkerOutput(WorkerOutput { worker: id, ..WorkerOutput::default() }),
            );
            if worker + 1 == workers {
                self.said.clear();
            }
            self.tell_on(link, down(worker));
        }
    }

    fn part(&mut self, link: u32, fetch: u32, path: &str, offset: u64, end: Option<FileEnd>) {
        let (request, path, data) = (FetchId(fetch), path.to_owned(), vec![1, 2, 3]);
        let part = Fetched { request, path, mode: 0, offset, data, unpacked: None, end };
        self.tell_on(link, WorkerMessage::Fetched(part));
    }

    fn done(&mut self, link: u32, fetch: u32, problems: &[&str]) {
        let problems = problems.iter().map(|problem| (*problem).to_owned()).collect();
        let done = FetchDone { request: FetchId(fetch), files: 0, bytes: 0, problems };
        self.tell_on(link, WorkerMessage::FetchDone(done));
    }

    fn stored(&mut self, fetch: u32, files: u32, problems: &[&str]) {
        let problems = problems.iter().map(|problem| (*problem).to_owned()).collect();
        let stored = Stored { files, bytes: 1_234_000, problems };
        self.input(Input::Stored { fetch: FetchId(fetch), stored });
    }
}

fn down(worker: u32) -> WorkerMessage {
    WorkerMessage::Down(Down {
        worker: WorkerId(worker),
        cause: EndCause::Exited(0),
        out_of_memory: false,
        item: None,
        report: None,
        stderr_tail: String::new(),
        stack: None,
        peak_rss_kib: 0,
        finished: 0,
    })
}

fn complete() -> Option<FileEnd> {
    Some(FileEnd::Complete([0; 32]))
}

const ENDED: &str = "finished Stopped(Interrupted)";

#[test]
fn files_are_asked_for_when_the_last_worker_is_down_and_waited_for() {
    let mut bench = running(&["popen", "ssh=a"], &["*.xml", ".coverage*"]);
    bench.interrupt_and_end(2);
    bench.expect(
        "* gw1 down
         fetch 0 into xdist-fetched/a
         fetch 0 from /d0: *.xml .coverage*",
    );
    bench.part(1, 0, "x/a.xml", 0, None);
    bench.part(1, 0, "x/a.xml", 3, complete());
    bench.part(1, 0, "b.xml", 0, Some(FileEnd::Broken("it changed".to_owned())));
    bench.done(1, 0, &["c.xml: permission denied"]);
    bench.expect(
        "fetch 0: x/a.xml from 0
         fetch 0: x/a.xml from 3
         fetch 0: b.xml from 0
         fetch 0 ends",
    );
    bench.stored(0, 1, &["b.xml: it changed"]);
    bench.expect(&format!(
        "* fetched 1 file (1.2 MB) from a into xdist-fetched/a; not fetched from a: b.xml: it changed; \
           not fetched from a: c.xml: permission denied
         * not run 0 1: interrupted
         close 0 Done
         close 1 Done
         {ENDED} 2 = 0 + 0 + 2, 0 failed"
    ));
}

#[test]
fn nothing_is_asked_for_if_nothing_is_wanted_or_all_is_here() {
    for (spec, patterns) in [("ssh=a", &[][..]), ("popen", &["*"][..])] {
        let mut bench = running(&[spec], patterns);
        bench.interrupt_and_end(1);
        bench.expect_among(&format!("{ENDED} 1 = 0 + 0 + 1, 0 failed"));
    }
}

#[test]
fn each_directory_of_each_machine_has_a_directory_of_its_own() {
    let mut bench = running(&["ssh=a", "ssh=-p 7 a", "ssh=a//chdir=x", "ssh=A"], &["*"]);
    bench.interrupt_and_end(4);
    bench.expect(
        "* gw3 down
         fetch 0 into xdist-fetched/a
         fetch 0 from /d0: *
         fetch 2 into xdist-fetched/a-3
         fetch 2 from /d0: *
         fetch 3 into xdist-fetched/A-4
         fetch 3 from /d1: *",
    );
    bench.done(0, 0, &[]);
    bench.stored(0, 0, &[]);
    bench.expect(
        "fetch 0 ends
         * fetched nothing from a: no file in /d0 matches
         fetch 1 into xdist-fetched/a-2
         fetch 1 from /d1: *",
    );
    for (link, fetch) in [(0, 1), (1, 2), (2, 3)] {
        bench.done(link, fetch, &[]);
        bench.stored(fetch, 2, &[]);
    }
    bench.expect_among(&format!(
        "* fetched 2 files (1.2 MB) from A into xdist-fetched/A-4
         {ENDED} 4 = 0 + 0 + 4, 0 failed"
    ));
}

#[test]
fn a_host_that_is_lost_before_or_meanwhile_has_its_files_missed() {
    let mut bench = running(&["ssh=a", "ssh=b"], &["*"]);
    bench.input(Input::Closed { link: LinkId(0), cause: CloseCause::EndOfStream });
    bench.input(Input::LaunchFailed { host: HostId(2), error: "gone".to_owned() });
    bench.input(Input::InterruptRequested);
    bench.tell_on(
        1,
        WorkerMessage::WorkerOutput(WorkerOutput { worker: WorkerId(1), ..WorkerOutput::default() }),
    );
    bench.said.clear();
    bench.tell_on(1, down(1));
    bench.expect(
        "* gw1 down
         fetch 0 into xdist-fetched/b
         fetch 0 from /d0: *
         * not fetched from a: whatever is there: the connection was lost",
    );
    bench.part(1, 0, "x", 0, None);
    bench.input(Input::Closed { link: LinkId(1), cause: CloseCause::EndOfStream });
    bench.stored(0, 3, &[]);
    bench.expect_among(
        "fetch 0 ends
         * fetched 3 files (1.2 MB) from b into xdist-fetched/b; not fetched from b: the rest: it closed the link",
    );
}

#[test]
fn what_comes_must_be_what_was_asked_for() {
    let refused = |tell: fn(&mut Bench)| {
        let mut bench = running(&["ssh=a"], &["*"]);
        bench.interrupt_and_end(1);
        bench.said.clear();
        tell(&mut bench);
        let said = bench.said.iter().find(|line| line.starts_with("close 0 Protocol"));
        said.unwrap_or_else(|| panic!("{:#?}", bench.said)).clone()
    };
    let because = |why: &str| format!("close 0 Protocol(\"of the files that it sends, {why}\")");
    let path = because("a path is not one below a directory");
    assert_eq!(refused(|bench| bench.part(0, 0, "../x", 0, complete())), path);
    assert_eq!(refused(|bench| bench.part(0, 0, "/etc/passwd", 0, complete())), path);
    let order = because("the parts of a file are not in order");
    assert_eq!(refused(|bench| bench.part(0, 0, "x", 1, complete())), order);
    let two = refused(|bench| {
        bench.part(0, 0, "x", 0, None);
        bench.part(0, 0, "y", 3, complete());
    });
    assert_eq!(two, order);
    let nobody = because("nobody asked for this");
    assert_eq!(refused(|bench| bench.part(0, 1, "x", 0, complete())), nobody);
    let twice = refused(|bench| {
        bench.done(0, 0, &[]);
        bench.done(0, 0, &[]);
    });
    assert_eq!(twice, nobody);
    let open = refused(|bench| {
        bench.part(0, 0, "x", 0, None);
        bench.done(0, 0, &[]);
    });
    assert_eq!(open, because("a file has no end"));
    let endless = refused(|bench| {
        let (request, path) = (FetchId(0), "x".to_owned());
        let part = Fetched { request, path, mode: 0, offset: 0, data: Vec::new(), unpacked: None, end: None };
        bench.tell_on(0, WorkerMessage::Fetched(part));
    });
    assert_eq!(endless, order);
    let bomb = refused(|bench| {
        let (request, path, data) = (FetchId(0), "x".to_owned(), vec![1]);
        let (unpacked, end) = (Some(1 << 30), complete());
        bench.tell_on(
            0,
            WorkerMessage::Fetched(Fetched { request, path, mode: 0, offset: 0, data, unpacked, end }),
        );
    });
    assert_eq!(bomb, because("a part of a file is too long"));
}

#[test]
fn files_that_nobody_asked_for_end_a_run_in_its_middle() {
    let mut bench = running(&["ssh=a"], &["*"]);
    bench.part(0, 0, "x", 0, complete());
    bench.expect_among("close 0 Protocol(\"of the files that it sends, nobody asked for this\")");
}

#[test]
fn a_host_that_sends_nothing_is_given_up_and_one_that_sends_is_not() {
    let mut bench = running(&["ssh=a"], &["*"]);
    bench.session.config.timeouts.heartbeat = Duration::from_secs(10_000);
    bench.session.config.timeouts.host = Duration::from_secs(10_000);
    bench.interrupt_and_end(1);
    bench.said.clear();
    for offset in 0..3 {
        bench.wait(59);
        bench.part(0, 0, "x", 3 * offset, None);
    }
    bench.said.clear();
    bench.wait(61);
    assert_eq!(bench.said.last().map(String::as_str), Some("close 0 Done"));
    bench.stored(0, 0, &[]);
    bench.expect_among(&format!(
        "fetch 0 ends
         * not fetched from a: the rest: nothing came for 60 s
         {ENDED} 1 = 0 + 0 + 1, 0 failed"
    ));
}

#[test]
fn who_interrupts_the_fetching_does_not_wait_for_it() {
    let mut bench = running(&["ssh=a", "ssh=a//chdir=x"], &["*"]);
    bench.interrupt_and_end(2);
    bench.said.clear();
    bench.input(Input::InterruptRequested);
    bench.expect_among("fetch 0 ends\nclose 0 Done");
    bench.stored(0, 1, &[]);
    bench.expect_among(
        "* fetched 1 file (1.2 MB) from a into xdist-fetched/a; not fetched from a: the rest: interrupted",
    );
}

#[test]
fn who_interrupts_twice_gets_no_files() {
    let mut bench = running(&["ssh=a"], &["*"]);
    bench.input(Input::InterruptRequested);
    bench.said.clear();
    bench.input(Input::InterruptRequested);
    bench.expect(&format!(
        "gw0 shutdown 0 ms
         * not run 0: interrupted
         close 0 Done
         {ENDED} 1 = 0 + 0 + 1, 0 failed"
    ));
}

#[test]
fn a_host_that_cannot_send_files_is_told_of() {
    let mut bench = running(&["ssh=a"], &["*"]);
    bench.session.workers.host_mut(HostId(0)).features.clear();
    bench.interrupt_and_end(1);
    bench.expect_among("* not fetched from a: whatever is there: what runs there cannot send files");
}
