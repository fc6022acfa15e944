use super::*;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use xdist_proto::FetchId;

/// A tree of files, and what comes of asking for some.
struct Tree {
    directory: tempfile::TempDir,
}

/// What came: files by path, and what was said at the end.
#[derive(Debug, Default)]
struct Got {
    files: Vec<(String, u32, Vec<u8>)>,
    broken: Vec<String>,
    done: FetchDone,
}

impl Tree {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let tree = Self { directory: tempfile::tempdir().unwrap() };
        for (path, content) in files {
            tree.write(path, content);
        }
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), content).unwrap();
    }

    fn request(&self, patterns: &[&str]) -> Fetch {
        Fetch {
            request: FetchId(3),
            directory: self.directory.path().to_str().unwrap().to_owned(),
            patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
            except: vec!["xdist-fetched".to_owned()],
            max_files: 10,
            max_bytes: 1 << 20,
        }
    }

    fn names(&self, patterns: &[&str]) -> String {
        let got = ask(&self.request(patterns), |_| {});
        assert_eq!(got.done.problems, Vec::<String>::new());
        got.files.into_iter().map(|(path, ..)| path).collect::<Vec<_>>().join(" ")
    }
}

/// Asks, does something on the way after each message, and checks that the messages go together.
fn ask(request: &Fetch, mut between: impl FnMut(&WorkerMessage)) -> Got {
    let mut got = Got::default();
    let mut open: Option<(String, Vec<u8>)> = None;
    fetch(request, |message| {
        match &message {
            WorkerMessage::Fetched(part) => {
                let (path, bytes) = open.get_or_insert_with(|| (part.path.clone(), Vec::new()));
                assert_eq!((&*path, bytes.len() as u64), (&part.path, part.offset));
                bytes.extend(match part.unpacked {
                    None => part.data.clone(),
                    Some(length) => zstd::bulk::decompress(&part.data, length as usize).unwrap(),
                });
                match (&part.end, part.end.as_ref().and_then(|_| open.take())) {
                    (Some(FileEnd::Complete(hash)), Some((path, bytes))) => {
                        assert_eq!(blake3::hash(&bytes).as_bytes(), hash);
                        got.files.push((path, part.mode, bytes));
                    }
                    (Some(FileEnd::Broken(why)), Some((path, _))) => {
                        got.broken.push(format!("{path}: {why}"))
                    }
                    (_, _) => {}
                }
            }
            WorkerMessage::FetchDone(done) => got.done = done.clone(),
            other => panic!("{other:?}"),
        }
        between(&message);
        true
    });
    assert_eq!((got.done.request, got.done.files as usize), (request.request, got.files.len()));
    got
}

#[test]
fn files_that_fit_are_found_below_the_directory() {
    let tree = Tree::new(&[
        (".coverage.box.1", b""),
        ("a.xml", b""),
        ("shots/a.png", b""),
        ("shots/deep/er/b.png", b""),
        ("shots/deep/c.txt", b""),
        ("shots/.hidden/d.png", b""),
        ("xdist-fetched/build1/shots/a.png", b""),
    ]);
    assert_eq!(tree.names(&[".coverage*"]), ".coverage.box.1");
    assert_eq!(tree.names(&["**/*.png"]), "shots/a.png shots/deep/er/b.png");
    assert_eq!(tree.names(&["shots/*.png", "*.xml", "a*"]), "a.xml shots/a.png");
    assert_eq!(tree.names(&["*/deep/**/*"]), "shots/deep/c.txt shots/deep/er/b.png");
    assert_eq!(tree.names(&["shots/**"]), "shots/a.png shots/deep/c.txt shots/deep/er/b.png");
    assert_eq!(tree.names(&["shots", "nothing/*", "a.xml/x"]), "");
}

#[test]
fn content_and_mode_arrive_whatever_the_size() {
    let noise: Vec<u8> = (0..600_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    let tree =
        Tree::new(&[("empty", b""), ("exact", &[7; MAX_PART_BYTES]), ("noise", &noise), ("short", b"x")]);
    fs::set_permissions(tree.path("short"), fs::Permissions::from_mode(0o4751)).unwrap();
    let got = ask(&tree.request(&["*"]), |_| {});
    let sizes: Vec<_> = got.files.iter().map(|(path, _, bytes)| (path.as_str(), bytes.len())).collect();
    assert_eq!(sizes, [("empty", 0), ("exact", MAX_PART_BYTES), ("noise", 600_000), ("short", 1)]);
    assert_eq!(got.files[2].2, noise);
    assert_eq!(got.files[3].1, 0o751);
    assert_eq!(got.done.bytes, 600_001 + MAX_PART_BYTES as u64);
}

#[test]
fn a_name_that_is_not_unicode_is_named_as_a_problem() {
    let tree = Tree::new(&[("a.png", b"1")]);
    fs::write(tree.directory.path().join(OsStr::from_bytes(b"\xff.png")), b"2").unwrap();
    let got = ask(&tree.request(&["*.png"]), |_| {});
    assert_eq!(got.files.len(), 1);
    assert_eq!(got.done.problems, ["\u{fffd}.png: its name is not Unicode"]);
}

#[test]
fn links_are_followed_within_the_directory_only() {
    let outside = Tree::new(&[("secret", b"s"), ("more/secret", b"s")]);
    let tree = Tree::new(&[("real/a", b"a")]);
    symlink("real/a", tree.path("inside")).unwrap();
    symlink(outside.path("secret"), tree.path("outside")).unwrap();
    symlink(outside.path("more"), tree.path("more")).unwrap();
    symlink("real", tree.path("way")).unwrap();
    symlink(".", tree.path("real/back")).unwrap();
    symlink("nowhere", tree.path("dangling")).unwrap();
    let got = ask(&tree.request(&["*", "more/*", "way/*", "**/a"]), |_| {});
    let names: Vec<_> = got.files.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(names, ["inside", "real/a", "way/a"]);
    assert_eq!(
        got.done.problems,
        ["more: it leads out of the directory", "outside: it leads out of the directory"]
    );
}

#[test]
fn a_file_that_changes_is_broken_and_the_others_arrive() {
    let tree =
        Tree::new(&[("a", &[1; 3 * MAX_PART_BYTES / 2]), ("b", &[1; 3 * MAX_PART_BYTES / 2]), ("c", b"c")]);
    let got = ask(&tree.request(&["*"]), |message| {
        let WorkerMessage::Fetched(part) = message else { return };
        match (part.path.as_str(), part.offset) {
            ("a", 0) => File::options().write(true).open(tree.path("a")).unwrap().set_len(5).unwrap(),
            ("b", 0) => tree.write("b", &[2; 2 * MAX_PART_BYTES]),
            _ => {}
        }
    });
    assert_eq!(got.broken, ["a: it changed while it was read", "b: it changed while it was read"]);
    assert_eq!(got.files.len(), 1);
    assert_eq!(got.done.bytes, 1);
}

#[test]
fn what_exceeds_a_bound_or_cannot_be_read_is_named() {
    let tree = Tree::new(&[("a", b"12345"), ("b", b"1234567"), ("c", b"123"), ("d", b"1"), ("e", b"")]);
    let request = Fetch { max_bytes: 9, max_files: 3, ..tree.request(&["*"]) };
    let got = ask(&request, |_| {});
    assert_eq!(
        got.done.problems,
        ["b: with it there would be more than 9 bytes", "e: there are 3 files already"]
    );
    let missing = Fetch { directory: "/nonexistent/x".to_owned(), ..request };
    let got = ask(&missing, |_| {});
    assert_eq!(got.done.problems, ["/nonexistent/x: no such file or directory"]);
}

#[test]
fn many_problems_are_counted() {
    let tree = Tree::new(&[]);
    (0..120).for_each(|number| tree.write(&format!("f{number:03}"), b"x"));
    let got = ask(&Fetch { max_files: 0, ..tree.request(&["*"]) }, |_| {});
    assert_eq!(got.done.problems.len(), 100);
    assert_eq!(got.done.problems[99], "21 more files");
}

#[test]
fn it_ends_when_nobody_listens() {
    let tree = Tree::new(&[("a", b""), ("b", b"")]);
    let mut count = 0;
    fetch(&tree.request(&["*"]), |_| {
        count += 1;
        false
    });
    assert_eq!(count, 1);
}
