//! Golden bytes of every message. A vector of a released version that changes is a broken protocol, not a file to renew.

mod support;

use insta::assert_snapshot;
use std::collections::BTreeSet;
use std::path::PathBuf;
use support::vectors::{self, Any, Family};
use support::{annotate, files, in_crate};
use xdist_proto::codec::{CoordinatorOpening, Message, PeerOpening};
use xdist_proto::frame::{FrameDecoder, MAX_FRAME_BYTES, PREFIX_BYTES};
use xdist_proto::handshake::{check_preamble, preamble};
use xdist_proto::{CoordinatorMessage, WorkerMessage};

const DIRECTORY: &str = "tests/vectors/v1.0";

#[test]
fn every_message_has_its_golden_bytes() {
    let mut names = BTreeSet::from(["preamble".to_owned()]);
    let mut written = Vec::from_iter(check_golden("preamble", &preamble()));
    for (name, message) in vectors::v1_0() {
        written.extend(check_golden(name, &message.frame()));
        names.insert(name.to_owned());
    }
    assert_eq!(
        written,
        Vec::<PathBuf>::new(),
        "written now because they were missing: check and commit them"
    );
    let found = files(DIRECTORY, "bin").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, found, "vectors and files");
}

/// Compares with the file. A missing one is written, for a person to check and commit, and its path is the answer.
fn check_golden(name: &str, bytes: &[u8]) -> Option<PathBuf> {
    let path = in_crate(DIRECTORY).join(format!("{name}.bin"));
    match std::fs::read(&path) {
        Ok(golden) => {
            assert_eq!(golden, bytes, "{name}");
            None
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::write(&path, bytes).unwrap();
            Some(path)
        }
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

#[test]
fn golden_bytes_mean_what_they_say() {
    for (name, message) in vectors::v1_0() {
        let golden = std::fs::read(in_crate(DIRECTORY).join(format!("{name}.bin"))).unwrap();
        let decoded = message.family().decode(&golden[PREFIX_BYTES..]);
        assert_eq!(decoded, Ok(Some(message.clone())), "{name}");
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(in_crate(DIRECTORY));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| assert_snapshot!(name, format!("{}\n{message:#?}", annotate::frame(&golden))));
    }
    assert!(matches!(
        check_preamble(&std::fs::read(in_crate(DIRECTORY).join("preamble.bin")).unwrap()),
        Ok(Some(_))
    ));
}

#[test]
fn every_kind_has_a_vector() {
    fn kinds<M: Message>(family: Family) -> Vec<(Family, String)> {
        M::KINDS.iter().map(|kind| (family, (*kind).to_owned())).collect()
    }
    let mut missing = kinds::<PeerOpening>(Family::PeerOpening);
    missing.extend(kinds::<CoordinatorOpening>(Family::CoordinatorOpening));
    missing.extend(kinds::<CoordinatorMessage>(Family::Coordinator));
    missing.extend(kinds::<WorkerMessage>(Family::Worker));
    for (name, message) in vectors::v1_0() {
        let kind = kind_of(&message);
        assert_eq!(name.split('-').next(), Some(kind.as_str()), "a vector is named for its kind");
        missing.retain(|(family, other)| (*family, other) != (message.family(), &kind));
    }
    assert_eq!(missing, []);
}

#[test]
fn every_truncation_is_an_error() {
    for (name, message) in vectors::v1_0() {
        let frame = message.frame();
        let payload = &frame[PREFIX_BYTES..];
        for length in 0..payload.len() {
            assert!(message.family().decode(&payload[..length]).is_err(), "{name} cut to {length} bytes");
        }
        for length in 1..frame.len() {
            let mut decoder = FrameDecoder::new(MAX_FRAME_BYTES);
            decoder.push(&frame[..length]);
            assert_eq!(decoder.next_frame(), Ok(None), "{name} cut to {length} bytes");
            assert_eq!(decoder.pending_bytes(), length);
        }
    }
}

#[test]
fn every_changed_byte_is_read_or_refused_in_words() {
    for (name, message) in vectors::v1_0() {
        let mut payload = message.payload();
        for position in 0..payload.len() {
            let original = payload[position];
            // Every kind of marker, a letter or two, and the neighbours of what was there.
            let markers = (0xc0..=0xdf)
                .chain([0, 1, 0x7f, 0x80, 0x81, 0x90, 0x91, 0xa0, 0xa1, 0xbf, 0xe0, 0xff, b'a', b'~']);
            for byte in markers.chain([original.wrapping_sub(1), original.wrapping_add(1)]) {
                payload[position] = byte;
                if let Err(error) = message.family().decode(&payload) {
                    let text = error.to_string();
                    assert!(
                        !text.is_empty() && text.len() < 400 && !text.contains('\x1b'),
                        "{name}: {text:?}"
                    );
                }
            }
            payload[position] = original;
        }
    }
}

fn kind_of(message: &Any) -> String {
    let payload = message.payload();
    let value = rmpv::decode::read_value_ref(&mut payload.as_slice()).unwrap();
    let rmpv::ValueRef::Map(entries) = value else { panic!("not a map: {value}") };
    entries[0].0.to_owned().as_str().unwrap().to_owned()
}
