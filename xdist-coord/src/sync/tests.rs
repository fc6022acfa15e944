//! Directories as they are read and packed, on a real file system.

use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;
use walk::{Blob, Tree};
use xdist_proto::sync::{MAX_CHUNK_BYTES, PieceEnd};
use xdist_proto::tree::{Entry, EntryKind, decode_listing};

fn source(directory: &Path, heeds_ignore_files: bool) -> Source {
    let path = directory.to_str().unwrap().to_owned();
    let root = Root { path, name: "d".to_owned(), heeds_ignore_files };
    Source { root, ignore: Vec::new(), cache: None }
}

fn walked(directory: &Path) -> Tree {
    walk::walk(&source(directory, true), &Stop::default()).unwrap()
}

/// The names below a directory, with what they are.
fn shown(tree: &Tree) -> String {
    let mut lines = Vec::new();
    show(tree, tree.root, "", &mut lines);
    lines.join(" ")
}

fn show(tree: &Tree, listing: BlobHash, prefix: &str, lines: &mut Vec<String>) {
    let Blob::Listing(bytes) = &tree.blobs[&listing] else { panic!("no listing") };
    for Entry { name, kind } in decode_listing(bytes).unwrap() {
        let name = format!("{prefix}{}", String::from_utf8_lossy(&name));
        match kind {
            EntryKind::File { mode, size, .. } => lines.push(format!("{name}:{mode:o}:{size}")),
            EntryKind::Directory { mode, listing } => {
                lines.push(format!("{name}/:{mode:o}"));
                show(tree, listing, &format!("{name}/"), lines);
            }
            EntryKind::Link { target } => lines.push(format!("{name}->{}", String::from_utf8_lossy(&target))),
        }
    }
}

fn write(directory: &TempDir, name: &str, text: impl AsRef<[u8]>) {
    let path = directory.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(&directory, name, text);
    }
    directory
}

/// All chunks for these blobs, unpacked.
fn chunks(stream: &mut Stream, blobs: Vec<BlobHash>) -> Vec<(Vec<xdist_proto::sync::Piece>, Vec<u8>)> {
    stream.want(blobs).unwrap();
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next().unwrap() {
        let bytes = match chunk.packed {
            true => zstd::bulk::decompress(&chunk.data, MAX_CHUNK_BYTES).unwrap(),
            false => chunk.data,
        };
        assert_eq!(chunk.pieces.iter().map(|piece| piece.length as usize).sum::<usize>(), bytes.len());
        chunks.push((chunk.pieces, bytes));
    }
    chunks
}

#[test]
fn a_directory_is_listed_in_the_order_of_names_with_what_is_left_out() {
    let directory = directory(&[
        ("b/x.py", "xx"),
        ("b.py", ""),
        ("b/__pycache__/x.pyc", ""),
        ("B", "1"),
        (".gitignore", "*.log\n"),
        ("b/a.log", ""),
        ("env/pyvenv.cfg", ""),
        (".git/config", ""),
    ]);
    fs::set_permissions(directory.path().join("b"), fs::Permissions::from_mode(0o055)).unwrap();
    symlink(directory.path().join("B"), directory.path().join("b/l")).unwrap();
    fs::set_permissions(directory.path().join("B"), fs::Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(
        shown(&walked(directory.path())),
        ".gitignore:644:6 B:755:1 b/:55 b/l->../B b/x.py:644:2 b.py:644:0"
    );
}

#[test]
fn the_root_has_the_same_name_until_something_changes() {
    let directory = directory(&[("a/b/c", "1"), ("a/d", "2")]);
    let root = || walked(directory.path()).root;
    let first = root();
    assert_eq!(root(), first);
    write(&directory, "a/b/c", "3");
    let changed = root();
    assert_ne!(changed, first);
    fs::set_permissions(directory.path().join("a/d"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_ne!(root(), changed);
}

#[test]
fn what_is_known_is_not_read_again() {
    let directory = directory(&[("a", "1"), ("b", "2")]);
    let cache = tempfile::tempdir().unwrap();
    let cache_path = Some(cache.path().to_str().unwrap().to_owned());
    let source = Source { cache: cache_path.clone(), ..source(directory.path(), true) };
    let walk = || walk::walk(&source, &Stop::default()).unwrap().root;
    let first = walk();
    let index = known::path(cache_path.as_ref().unwrap(), &source.root.path);
    // Another content under the same signature tells whether the file was read.
    let mut known = known::read(&index);
    let (path, entry) = known.files().next().map(|(path, known)| (path.clone(), *known)).unwrap();
    known.set(&path, xdist_proto::index::Known { content: BlobHash::of(b"remembered"), ..entry });
    known::write(&known, &index);
    let later = fs::metadata(&index).unwrap().modified().unwrap() + std::time::Duration::from_secs(60);
    fs::File::options().write(true).open(&index).unwrap().set_modified(later).unwrap();
    assert_ne!(walk(), first, "what is remembered counts");
    fs::write(&index, "damaged").unwrap();
    assert_eq!(walk(), first);
}

#[test]
fn small_files_share_a_chunk_and_large_ones_have_many() {
    let large: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(MAX_CHUNK_BYTES * 2 + 5).collect();
    let directory = directory(&[("a", "aa"), ("b", "bbb")]);
    write(&directory, "c", &large);
    let tree = Arc::new(walked(directory.path()));
    let hashes = [b"aa".as_slice(), b"bbb", &large].map(BlobHash::of);
    let mut stream = Stream::new(7, tree);
    let chunks = chunks(&mut stream, hashes.to_vec());
    let bytes: Vec<u8> = chunks.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(bytes, [b"aabbb".as_slice(), &large].concat());
    assert!(chunks.iter().all(|(_, bytes)| bytes.len() <= MAX_CHUNK_BYTES));
    let ends: Vec<String> = chunks
        .iter()
        .map(|(pieces, _)| {
            pieces.iter().map(|piece| format!("{:?}", piece.end)).collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(ends, ["Whole Whole More", "More", "Whole"]);
    assert!(stream.is_awaited(), "a chunk is owed");
}

#[test]
fn a_file_that_has_changed_or_gone_meanwhile_is_told_so() {
    let directory = directory(&[("a", "a"), ("b", "b"), ("c", "c")]);
    let tree = Arc::new(walked(directory.path()));
    write(&directory, "a", "changed");
    fs::remove_file(directory.path().join("b")).unwrap();
    let hashes = [b"a", b"b", b"c"].map(|bytes| BlobHash::of(bytes));
    let chunks = chunks(&mut Stream::new(7, tree), hashes.to_vec());
    let [(pieces, bytes)] = &chunks[..] else { panic!("{chunks:?}") };
    assert_eq!(bytes, b"changedc");
    assert!(
        matches!(&pieces[0].end, PieceEnd::Changed(changed) if changed.content == BlobHash::of(b"changed"))
    );
    assert_eq!((&pieces[1].end, &pieces[2].end), (&PieceEnd::Gone, &PieceEnd::Whole));
}

#[test]
fn a_host_gets_only_what_is_in_the_tree_and_only_so_often() {
    let directory = directory(&[("a", "a")]);
    let tree = Arc::new(walked(directory.path()));
    let root = tree.root;
    let mut stream = Stream::new(7, Arc::clone(&tree));
    let error = stream.want(vec![BlobHash::of(b"/etc/passwd")]).unwrap_err();
    assert!(error.contains("which is in no listing"), "{error}");
    let error = (0..10).find_map(|_| stream.want(vec![root]).err()).unwrap();
    assert!(error.contains("it wants more than there is"), "{error}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let missing = tempfile::tempdir().unwrap().path().join("missing");
    let error = walk::walk(&source(&missing, true), &Stop::default()).unwrap_err().to_string();
    assert!(error.contains(missing.to_str().unwrap()) && error.contains("No such file"), "{error}");
    let directory = directory(&[]);
    let deep: std::path::PathBuf = std::iter::repeat_n("d", 130).collect();
    fs::create_dir_all(directory.path().join(deep)).unwrap();
    let error = walk::walk(&source(directory.path(), true), &Stop::default()).unwrap_err().to_string();
    assert!(error.contains("nested more than"), "{error}");
}

#[test]
fn a_directory_is_gone_through_once_however_many_hosts_want_it() {
    let directory = directory(&[("a", "a")]);
    let (told, events) = mpsc::channel();
    let packer = Packer::start(move || told.send(()).unwrap()).unwrap();
    let mut roots = Vec::new();
    for tree in 0..2 {
        packer.begin(tree, source(directory.path(), true));
        events.recv().unwrap();
        for packed in packer.packed() {
            let Packed::Begun { root, .. } = packed else { panic!("{packed:?}") };
            roots.push(root);
        }
        write(&directory, "a", "changed, but that is for the next run");
    }
    assert_eq!(roots[0], roots[1]);
    packer.next(0);
    packer.want(0, vec![roots[0]]);
    events.recv().unwrap();
    assert!(matches!(&packer.packed()[..], [Packed::Chunk(_)]), "it was asked for before it was wanted");
}
