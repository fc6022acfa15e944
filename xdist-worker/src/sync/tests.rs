//! Copies with a coordinator that is made of a few lines, and may be hostile.

use super::*;
use crossbeam_channel::bounded;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;
use xdist_proto::sync::{Changed, Piece, PieceEnd};
use xdist_proto::tree::{BlobHash, Entry, EntryKind, MAX_DEPTH, encode_listing};

/// What is in a directory at the coordinator's side.
type Tree = BTreeMap<String, Thing>;

#[derive(Clone, Debug, PartialEq)]
enum Thing {
    File(String),
    Directory(Tree),
    Link(String),
}

fn file(content: &str) -> Thing {
    Thing::File(content.to_owned())
}

fn tree<const N: usize>(things: [(&str, Thing); N]) -> Tree {
    things.into_iter().map(|(name, thing)| (name.to_owned(), thing)).collect()
}

fn directory<const N: usize>(things: [(&str, Thing); N]) -> Thing {
    Thing::Directory(tree(things))
}

/// A coordinator: what it has, and what it was asked for.
#[derive(Default)]
struct Coordinator {
    blobs: HashMap<BlobHash, Vec<u8>>,
    wanted: Vec<BlobHash>,
    /// The permissions of directories of these names, where they are not [`USUAL_MODE`].
    modes: HashMap<String, u16>,
}

const USUAL_MODE: u16 = 0o750;

/// What a coordinator sends for a blob.
type Answer<'a> = &'a mut dyn FnMut(BlobHash, Vec<u8>) -> Option<SyncData>;

impl Coordinator {
    fn blob(&mut self, bytes: &[u8]) -> BlobHash {
        let hash = BlobHash::of(bytes);
        self.blobs.insert(hash, bytes.to_vec());
        hash
    }

    fn listing(&mut self, tree: &Tree) -> BlobHash {
        let entries: Vec<Entry> = tree
            .iter()
            .map(|(name, thing)| {
                let kind = match thing {
                    Thing::File(content) => EntryKind::File {
                        mode: 0o640,
                        mtime_ns: 1_234_567_890_123_456_789,
                        size: content.len() as u64,
                        content: self.blob(content.as_bytes()),
                    },
                    Thing::Directory(tree) => {
                        let mode = self.modes.get(name).copied().unwrap_or(USUAL_MODE);
                        EntryKind::Directory { mode, listing: self.listing(tree) }
                    }
                    Thing::Link(target) => EntryKind::Link { target: target.clone().into_bytes() },
                };
                Entry { name: name.clone().into_bytes(), kind }
            })
            .collect();
        self.blob(&encode_listing(&entries))
    }

    fn begin(&mut self, base: &Path, tree: &Tree) -> SyncBegin {
        let base = Some(base.to_str().unwrap().to_owned());
        let root = self.listing(tree);
        SyncBegin { tree: 7, base, project: "project".to_owned(), name: "copy".to_owned(), root }
    }

    /// Has something copied, and answers for every blob what `answer` says; when that is nothing, the link ends.
    fn serve(&mut self, begin: SyncBegin, answer: Answer<'_>) -> Option<WorkerMessage> {
        let (commands, incoming) = bounded(QUEUED_COMMANDS);
        let (outgoing, events) = bounded(QUEUED_COMMANDS);
        std::thread::scope(|scope| {
            scope.spawn(|| copy_trees(&incoming, &outgoing, None));
            commands.send(SyncCommand::Begin(begin)).unwrap();
            let commands = commands;
            loop {
                let Event::Sync(said) = events.recv().unwrap() else { panic!("something else") };
                match *said {
                    WorkerMessage::SyncWant(want) => {
                        for blob in want.blobs {
                            self.wanted.push(blob);
                            let data = answer(blob, self.blobs.get(&blob).cloned().unwrap_or_default())?;
                            // It may have had enough.
                            let _ = commands.send(SyncCommand::Data(data));
                        }
                    }
                    WorkerMessage::SyncTaken(_) => {}
                    message => return Some(message),
                }
            }
        })
    }

    fn copy(&mut self, base: &Path, tree: &Tree) -> SyncEnd {
        let begin = self.begin(base, tree);
        match self.serve(begin, &mut |_, bytes| Some(whole(bytes))) {
            Some(WorkerMessage::SyncEnd(end)) => end,
            other => panic!("not copied: {other:?}"),
        }
    }

    /// Why it is not copied.
    fn failure(&mut self, begin: SyncBegin, answer: Answer<'_>) -> String {
        match self.serve(begin, answer) {
            Some(WorkerMessage::SyncFailed(failed)) => failed.text,
            other => panic!("expected a failure, not {other:?}"),
        }
    }
}

fn whole(bytes: Vec<u8>) -> SyncData {
    data(bytes, PieceEnd::Whole)
}

fn data(bytes: Vec<u8>, end: PieceEnd) -> SyncData {
    let length = u32::try_from(bytes.len()).unwrap();
    SyncData { tree: 7, pieces: vec![Piece { length, end }], packed: false, data: bytes }
}

/// What is in a directory on disk, but for what is the copy's own.
fn on_disk(path: &Path) -> Tree {
    let mut found = Tree::new();
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name == ".xdist-sync" {
            continue;
        }
        let kind = entry.file_type().unwrap();
        let thing = if kind.is_symlink() {
            Thing::Link(fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned())
        } else if kind.is_dir() {
            Thing::Directory(on_disk(&entry.path()))
        } else {
            Thing::File(fs::read_to_string(entry.path()).unwrap())
        };
        found.insert(name, thing);
    }
    found
}

fn base() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_tree_is_copied_and_the_next_time_nothing_is_wanted() {
    let base = base();
    let mut coordinator = Coordinator::default();
    let wanted = tree([
        ("a", file("same")),
        ("b", directory([("c", file("same")), ("d", Thing::Link("../a".to_owned())), ("e", directory([]))])),
    ]);
    let end = coordinator.copy(base.path(), &wanted);
    let copy = base.path().canonicalize().unwrap().join("copy");
    assert_eq!((end.files, end.written, end.removed, end.path.as_str()), (3, 3, 0, copy.to_str().unwrap()));
    assert_eq!(on_disk(&copy), wanted);
    // Two listings (the third is that of an empty directory, as the root was), and one content for two files.
    assert_eq!(coordinator.wanted.len(), 3);
    let state = fs::metadata(copy.join("b/c")).unwrap();
    assert_eq!(state.permissions().mode() & 0o7777, 0o640);
    assert_eq!((state.mtime(), state.mtime_nsec()), (1_234_567_890, 123_456_789));
    assert_eq!(fs::metadata(copy.join("b/e")).unwrap().permissions().mode() & 0o7777, 0o750);

    let end = coordinator.copy(base.path(), &wanted);
    assert_eq!((end.files, end.written, coordinator.wanted.len()), (3, 0, 3));
}

#[test]
fn what_is_different_there_is_put_right() {
    let base = base();
    let mut coordinator = Coordinator::default();
    let wanted = tree([("a", file("a")), ("d", directory([("b", file("b"))]))]);
    coordinator.copy(base.path(), &wanted);
    let copy = base.path().join("copy");
    fs::write(copy.join("a"), "b").unwrap();
    fs::write(copy.join("new"), "").unwrap();
    fs::create_dir_all(copy.join("made/there")).unwrap();
    fs::set_permissions(copy.join("d/b"), fs::Permissions::from_mode(0o600)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        copy.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let end = coordinator.copy(base.path(), &wanted);
    assert_eq!((end.written, end.removed), (1, 2));
    assert_eq!(on_disk(&copy), wanted);
    assert_eq!(fs::metadata(copy.join("d/b")).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn caches_stay_with_the_directory_that_they_are_in() {
    let base = base();
    let mut coordinator = Coordinator::default();
    let with = tree([("a", file("a")), ("d", directory([("b", file("b"))]))]);
    coordinator.copy(base.path(), &with);
    let copy = base.path().join("copy");
    for cache in ["__pycache__", "d/__pycache__"] {
        fs::create_dir(copy.join(cache)).unwrap();
        fs::write(copy.join(cache).join("a.pyc"), "").unwrap();
    }
    coordinator.copy(base.path(), &tree([("a", file("other"))]));
    assert!(copy.join("__pycache__/a.pyc").exists());
    assert!(!copy.join("d").exists());
}

#[test]
fn a_moved_file_is_not_sent_again() {
    let base = base();
    let mut coordinator = Coordinator::default();
    coordinator.copy(base.path(), &tree([("a", file("large")), ("b", directory([("c", file("c"))]))]));
    coordinator.wanted.clear();
    let moved = tree([("d", file("large")), ("e", directory([("c", file("c"))])), ("f", file("large"))]);
    coordinator.copy(base.path(), &moved);
    assert_eq!(on_disk(&base.path().join("copy")), moved);
    assert_eq!(coordinator.wanted.len(), 1, "the root's listing");
}

#[test]
fn symbolic_links_are_never_followed() {
    let (base, outside) = (base(), base());
    let mut coordinator = Coordinator::default();
    let wanted = tree([("d", directory([("f", file("f"))])), ("g", file("g"))]);
    coordinator.copy(base.path(), &wanted);
    let copy = base.path().join("copy");
    fs::write(outside.path().join("f"), "outside").unwrap();
    fs::remove_dir_all(copy.join("d")).unwrap();
    symlink(outside.path(), copy.join("d")).unwrap();
    fs::remove_file(copy.join("g")).unwrap();
    symlink(outside.path().join("f"), copy.join("g")).unwrap();
    coordinator.copy(base.path(), &wanted);
    assert_eq!(on_disk(&copy), wanted);
    // Nor when the coordinator itself makes the link first.
    let link = Thing::Link(outside.path().to_str().unwrap().to_owned());
    coordinator.copy(base.path(), &tree([("d", link.clone()), ("g", link)]));
    coordinator.copy(base.path(), &wanted);
    assert_eq!(on_disk(outside.path()), tree([("f", file("outside"))]));
}

#[test]
fn a_root_that_is_a_link_or_not_ours_is_refused() {
    let (base, outside) = (base(), base());
    let mut coordinator = Coordinator::default();
    fs::write(outside.path().join("precious"), "").unwrap();
    symlink(outside.path(), base.path().join("copy")).unwrap();
    let begin = coordinator.begin(base.path(), &tree([]));
    let text = coordinator.failure(begin.clone(), &mut |_, bytes| Some(whole(bytes)));
    assert!(text.contains("something else is there, a symbolic link perhaps"), "{text}");
    fs::remove_file(base.path().join("copy")).unwrap();
    fs::create_dir(base.path().join("copy")).unwrap();
    fs::write(base.path().join("copy/precious"), "").unwrap();
    let text = coordinator.failure(begin, &mut |_, bytes| Some(whole(bytes)));
    assert!(text.contains("is there already, and is no copy that xdist has made"), "{text}");
    assert_eq!(on_disk(&base.path().join("copy")), tree([("precious", file(""))]));
    assert!(outside.path().join("precious").exists());
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let base = base();
    let mut coordinator = Coordinator::default();
    for name in ["..", ".", "", "a/b", "/etc", ".xdist-sync", "a\0"] {
        let begin = SyncBegin { name: name.to_owned(), ..coordinator.begin(base.path(), &tree([])) };
        let text = coordinator.failure(begin, &mut |_, bytes| Some(whole(bytes)));
        assert!(text.contains("cannot be the name of a copy"), "{name:?}: {text}");
    }
    for name in ["..", "../x", "/tmp/x", "a\0b", ".xdist-sync", "__pycache__"] {
        let begin = coordinator.begin(base.path(), &tree([(name, file("x"))]));
        let text = coordinator.failure(begin, &mut |_, bytes| Some(whole(bytes)));
        assert!(text.contains("cannot be the name of a file") || text.contains("is not copied"), "{text}");
    }
    assert_eq!(on_disk(base.path()), tree([("copy", directory([]))]));
}

#[test]
fn what_is_not_what_was_announced_is_not_used() {
    let mut coordinator = Coordinator::default();
    let old = tree([("f", file("old"))]);
    let new = tree([("f", file("new"))]);
    let content = BlobHash::of(b"new");
    let piece = |length, end| Piece { length, end };
    let bomb = zstd::bulk::compress(&vec![0; 10 << 20], 1).unwrap();
    let packed = |data: Vec<u8>| SyncData { packed: true, ..whole(data) };
    let of = |pieces| SyncData { tree: 7, pieces, packed: false, data: b"new".to_vec() };
    let changed = Changed { content: BlobHash::of(b"other"), mtime_ns: 0 };
    let cases = [
        (whole(b"bad".to_vec()), "a file has another hash"),
        (whole(b"ne".to_vec()), "a file has another hash"),
        (data(b"new".to_vec(), PieceEnd::Changed(changed)), "a file has another hash"),
        (of(vec![piece(4, PieceEnd::Whole)]), "a piece is longer than what came"),
        (of(vec![piece(u32::MAX, PieceEnd::More)]), "a piece is longer than what came"),
        (of(vec![piece(2, PieceEnd::More)]), "more came than the pieces have"),
        (of(vec![piece(3, PieceEnd::Whole), piece(0, PieceEnd::Whole)]), "more came than was wanted"),
        (packed(b"new".to_vec()), "it cannot be unpacked"),
        (packed(bomb), "it cannot be unpacked"),
    ];
    for (answer, expected) in cases {
        let base = base();
        coordinator.copy(base.path(), &old);
        let begin = coordinator.begin(base.path(), &new);
        let mut answer = Some(answer);
        let text = coordinator.failure(begin, &mut |blob, bytes| {
            if blob == content {
                Some(answer.take().unwrap_or_else(|| whole(Vec::new())))
            } else {
                Some(whole(bytes))
            }
        });
        assert!(text.contains(expected), "{text}");
        assert_eq!(on_disk(&base.path().join("copy")), old, "after: {expected}");
    }
    let base = base();
    let begin = coordinator.begin(base.path(), &new);
    let text = coordinator.failure(begin, &mut |_, _| Some(whole(b"no listing".to_vec())));
    assert!(text.contains("a listing has another hash"), "{text}");
}

#[test]
fn a_tree_without_bounds_is_refused_before_it_is_built() {
    let base = base();
    let mut coordinator = Coordinator::default();
    let mut listing = coordinator.listing(&tree([]));
    for _ in 0..60 {
        let entry =
            |name: &str| Entry { name: name.into(), kind: EntryKind::Directory { mode: 0o700, listing } };
        listing = coordinator.blob(&encode_listing(&[entry("a"), entry("b")]));
    }
    let begin = SyncBegin { root: listing, ..coordinator.begin(base.path(), &tree([])) };
    let text = coordinator.failure(begin, &mut |_, bytes| Some(whole(bytes)));
    assert!(text.contains("the directory has more than"), "{text}");

    let mut deep = tree([]);
    for _ in 0..=MAX_DEPTH {
        deep = tree([("d", Thing::Directory(deep))]);
    }
    let begin = coordinator.begin(base.path(), &deep);
    let text = coordinator.failure(begin, &mut |_, bytes| Some(whole(bytes)));
    assert!(text.contains("is nested more than"), "{text}");
}

#[test]
fn what_is_cut_off_changes_nothing_and_is_gone_on_with() {
    let base = base();
    let mut coordinator = Coordinator::default();
    let old = tree([("a", file("old a")), ("b", file("old b"))]);
    coordinator.copy(base.path(), &old);
    let new = tree([("a", file("new a")), ("b", file("new b"))]);
    let begin = coordinator.begin(base.path(), &new);
    let mut sent = 0;
    let last = BlobHash::of(b"new b");
    let ended = coordinator.serve(begin, &mut |blob, bytes| {
        sent += 1;
        (blob != last).then(|| whole(bytes))
    });
    assert_eq!((ended, sent), (None, 3));
    assert_eq!(on_disk(&base.path().join("copy")), old);
    coordinator.wanted.clear();
    coordinator.copy(base.path(), &new);
    assert_eq!(on_disk(&base.path().join("copy")), new);
    assert!(!coordinator.wanted.contains(&BlobHash::of(b"new a")), "it was there already");
    assert_eq!(fs::read_dir(base.path().join("copy/.xdist-sync/new")).unwrap().count(), 0);
}

#[test]
fn files_that_change_or_go_meanwhile_are_taken_as_they_are() {
    let base = base();
    let mut coordinator = Coordinator::default();
    let wanted = tree([("a", file("a")), ("b", file("b")), ("c", file("c"))]);
    let begin = coordinator.begin(base.path(), &wanted);
    let content = BlobHash::of(b"changed");
    let end = coordinator.serve(begin, &mut |blob, bytes| {
        Some(if blob == BlobHash::of(b"a") {
            data(b"changed".to_vec(), PieceEnd::Changed(Changed { content, mtime_ns: 5 }))
        } else if blob == BlobHash::of(b"b") {
            data(Vec::new(), PieceEnd::Gone)
        } else {
            whole(bytes)
        })
    });
    assert!(matches!(end, Some(WorkerMessage::SyncEnd(SyncEnd { files: 2, .. }))), "{end:?}");
    let copy = base.path().join("copy");
    assert_eq!(on_disk(&copy), tree([("a", file("changed")), ("c", file("c"))]));
    // The next time they are what they should be.
    coordinator.copy(base.path(), &wanted);
    assert_eq!(on_disk(&copy), wanted);
}

#[test]
fn a_name_that_is_suddenly_there_is_not_overwritten() {
    // So is one that differs in upper and lower case, where the file system takes both for the same.
    let base = base();
    let mut coordinator = Coordinator::default();
    for (content, wanted) in
        [("x", tree([("d", directory([("f", file("x"))]))])), ("y", tree([("d", file("y"))]))]
    {
        let begin = coordinator.begin(base.path(), &wanted);
        let text = coordinator.failure(begin, &mut |blob, bytes| {
            if blob == BlobHash::of(content.as_bytes()) {
                fs::write(base.path().join("copy/d"), "theirs").unwrap();
            }
            Some(whole(bytes))
        });
        assert!(text.contains("is in the way"), "{text}");
        assert_eq!(fs::read_to_string(base.path().join("copy/d")).unwrap(), "theirs");
        fs::remove_file(base.path().join("copy/d")).unwrap();
    }
}

/// Does something on a thread for which permissions count, even if root is who runs the tests.
#[cfg(target_os = "linux")]
fn heeding_permissions<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    let act = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        set_capabilities(None, sets).unwrap();
        act()
    };
    std::thread::scope(|scope| scope.spawn(act).join().unwrap())
}

#[cfg(not(target_os = "linux"))]
fn heeding_permissions<T>(act: impl FnOnce() -> T) -> T {
    act()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn directories_have_the_permissions_of_their_originals_and_can_be_changed_all_the_same() {
    let base = base();
    let copy = base.path().join("copy");
    heeding_permissions(|| {
        let modes = [("read only".to_owned(), 0o555), ("closed".to_owned(), 0)].into();
        let mut coordinator = Coordinator { modes, ..Coordinator::default() };
        let inner =
            |content| directory([("f", file(content)), ("read only", directory([("g", file(content))]))]);
        for content in ["first", "second"] {
            let wanted = tree([("closed", inner(content)), ("read only", inner(content))]);
            let end = coordinator.copy(base.path(), &wanted);
            assert_eq!((end.files, end.written), (4, 4));
            assert_eq!((mode(&copy.join("closed")), mode(&copy.join("read only"))), (0, 0o555));
            assert_eq!(mode(&copy.join("read only/read only")), 0o555);
            coordinator.wanted.clear();
            let end = coordinator.copy(base.path(), &wanted);
            assert_eq!((end.written, coordinator.wanted.len()), (0, 0), "looking changes nothing");
            assert_eq!((mode(&copy.join("closed")), mode(&copy.join("read only"))), (0, 0o555));
        }
        coordinator.wanted.clear();
        coordinator.copy(base.path(), &tree([("usual", directory([("f", file("second"))]))]));
        assert_eq!(on_disk(&copy), tree([("usual", directory([("f", file("second"))]))]));
        assert!(!coordinator.wanted.contains(&BlobHash::of(b"second")), "it was in a closed directory");
    });
}

#[test]
fn permissions_that_tests_have_left_behind_do_not_hinder_the_next_copying() {
    let base = base();
    let copy = base.path().join("copy");
    heeding_permissions(|| {
        let mut coordinator = Coordinator::default();
        let wanted = |content| {
            tree([
                ("a", directory([("b", directory([("f", file(content))])), ("g", file(content))])),
                ("same", directory([("h", file("h"))])),
            ])
        };
        coordinator.copy(base.path(), &wanted("old"));
        fs::create_dir_all(copy.join("left/behind")).unwrap();
        fs::write(copy.join("left/behind/f"), "").unwrap();
        let closed = [
            ("left/behind", 0),
            ("left", 0),
            ("a/b", 0),
            ("a", 0o500),
            ("same", 0o2),
            (".xdist-sync/new", 0o400),
            (".xdist-sync", 0o100),
            ("", 0o500),
        ];
        for (path, mode) in closed {
            set_mode(&copy.join(path), mode);
        }
        coordinator.copy(base.path(), &wanted("new"));
        assert_eq!(on_disk(&copy), wanted("new"));
        for path in ["a", "a/b", "same"] {
            assert_eq!(mode(&copy.join(path)), u32::from(USUAL_MODE), "{path}");
        }
        assert_eq!(mode(&copy), 0o700, "whatever it was, the copy itself can be used");
    });
}

#[test]
fn a_directory_that_is_not_ours_keeps_its_permissions() {
    let base = base();
    let theirs = base.path().join("copy");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("precious"), "").unwrap();
    heeding_permissions(|| {
        let mut coordinator = Coordinator::default();
        let begin = coordinator.begin(base.path(), &tree([]));
        for closed in [0, 0o500, 0o600] {
            set_mode(&theirs, closed);
            let text = coordinator.failure(begin.clone(), &mut |_, bytes| Some(whole(bytes)));
            assert!(text.contains("is there already, and is no copy that xdist has made"), "{text}");
            assert_eq!(mode(&theirs), closed);
        }
    });
    set_mode(&theirs, 0o700);
}

#[test]
fn where_a_copy_cannot_be_changed_it_may_be_deleted() {
    let base = base();
    let mut coordinator = Coordinator::default();
    coordinator.copy(base.path(), &tree([]));
    let copy = base.path().canonicalize().unwrap().join("copy");
    let advice = format!("or delete {:?} there: it is a copy, and is made anew", copy.to_str().unwrap());
    // Not even root can remove a directory as if it were a file.
    fs::create_dir(copy.join(".xdist-sync/new/directory")).unwrap();
    let wanted = tree([("f", file("f"))]);
    let begin = coordinator.begin(base.path(), &wanted);
    let text = coordinator.failure(begin, &mut |_, bytes| Some(whole(bytes)));
    assert!(text.contains(&advice), "{text}");
    fs::remove_dir_all(&copy).unwrap();
    coordinator.copy(base.path(), &wanted);
    assert_eq!(on_disk(&copy), wanted);
    // Of the directory that copies are in, nothing of the kind is said.
    fs::write(base.path().join("file"), "").unwrap();
    let begin = coordinator.begin(&base.path().join("file/directory"), &wanted);
    let text = coordinator.failure(begin, &mut |_, bytes| Some(whole(bytes)));
    assert!(text.contains("chdir=") && !text.contains("delete"), "{text}");
}

#[test]
fn many_may_copy_to_one_place_at_once() {
    let base = base();
    let wanted: Tree = (0..100).map(|number| (format!("f{number}"), file(&number.to_string()))).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| Coordinator::default().copy(base.path(), &wanted));
        }
    });
    assert_eq!(on_disk(&base.path().join("copy")), wanted);
}

#[test]
fn a_directory_of_the_hosts_own_choice_is_in_the_cache_and_private() {
    let cache = base();
    let mut coordinator = Coordinator::default();
    let begin = SyncBegin { base: None, ..coordinator.begin(cache.path(), &tree([])) };
    let (commands, incoming) = bounded(QUEUED_COMMANDS);
    let (outgoing, events) = bounded(QUEUED_COMMANDS);
    commands.send(SyncCommand::Begin(begin.clone())).unwrap();
    commands.send(SyncCommand::Data(whole(encode_listing(&[])))).unwrap();
    commands.send(SyncCommand::Begin(SyncBegin { project: "../x".to_owned(), ..begin.clone() })).unwrap();
    drop(commands);
    copy_trees(&incoming, &outgoing, Some(cache.path().join("new/cache")));
    drop(outgoing);
    let said: Vec<WorkerMessage> = events
        .iter()
        .map(|event| match event {
            Event::Sync(said) => *said,
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    let path = cache.path().canonicalize().unwrap().join("new/cache/trees/project/copy");
    let ended = said.iter().any(|message| match message {
        WorkerMessage::SyncEnd(end) => end.path == path.to_str().unwrap(),
        _ => false,
    });
    assert!(ended && path.is_dir(), "{said:?}");
    let mode = fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else may look");
    assert!(matches!(said.last(), Some(WorkerMessage::SyncFailed(_))), "{said:?}");
}

/// Trees of few names, so that they have many in common.
fn any_tree() -> impl Strategy<Value = Tree> {
    let name = || prop::sample::select(vec!["a", "b", "C", "d.py", "e f"]);
    let text = || prop::sample::select(vec!["", "x", "y", "longer"]);
    let leaf = prop_oneof![
        3 => text().prop_map(file),
        1 => text().prop_filter("empty", |text| !text.is_empty()).prop_map(|text| Thing::Link(text.to_owned())),
    ];
    let thing = leaf.prop_recursive(4, 40, 5, move |inner| {
        prop::collection::btree_map(name().prop_map(str::to_owned), inner, 0..5).prop_map(Thing::Directory)
    });
    prop::collection::btree_map(name().prop_map(str::to_owned), thing, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_becomes_any_other(trees in prop::collection::vec(any_tree(), 1..4)) {
        let base = base();
        let mut coordinator = Coordinator::default();
        for wanted in &trees {
            coordinator.wanted.clear();
            coordinator.copy(base.path(), wanted);
            prop_assert_eq!(&on_disk(&base.path().join("copy")), wanted);
            // An empty file and the listing of an empty directory have the same name.
            coordinator.wanted.retain(|blob| *blob != BlobHash::of(b""));
            let mut once = coordinator.wanted.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), coordinator.wanted.len(), "nothing is wanted twice");
            coordinator.wanted.clear();
            let end = coordinator.copy(base.path(), wanted);
            prop_assert_eq!((end.written, coordinator.wanted.len()), (0, 0), "nothing is left to do");
        }
    }
}
