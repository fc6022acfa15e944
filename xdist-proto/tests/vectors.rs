//! Golden bytes of every message. A vector of a released version that changes is a broken protocol, not a file to renew.

#![allow(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

mod support;

use insta::assert_snapshot;
use std::collections::BTreeSet;
use std::path::PathBuf;
use support::vectors::{self, Any, Family};
use support::{annotate, files, in_crate, reject};
use xdist_proto::codec::{CoordinatorOpening, Message, PeerOpening};
use xdist_proto::frame::{FrameDecoder, MAX_FRAME_BYTES, PREFIX_BYTES};
use xdist_proto::frontend::{FrontendCommand, FrontendMessage};
use xdist_proto::handshake::{check_preamble, preamble};
use xdist_proto::{CoordinatorMessage, WorkerMessage};

const DIRECTORY: &str = "tests/vectors/v1.0";
const REJECT_DIRECTORY: &str = "tests/vectors/reject";

#[test]
fn every_message_has_its_golden_bytes() {
    let mut names = BTreeSet::from(["preamble".to_owned()]);
    let mut written = Vec::from_iter(check_golden(DIRECTORY, "preamble", &preamble()));
    for (name, message) in vectors::v1_0() {
        written.extend(check_golden(DIRECTORY, name, &message.frame()));
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
fn check_golden(directory: &str, name: &str, bytes: &[u8]) -> Option<PathBuf> {
    let path = in_crate(directory).join(format!("{name}.bin"));
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
        let text = format!("{}\n{message:#?}", annotate::frame(&golden));
        beside(DIRECTORY).bind(|| assert_snapshot!(name, text));
    }
    assert!(matches!(
        check_preamble(&std::fs::read(in_crate(DIRECTORY).join("preamble.bin")).unwrap()),
        Ok(Some(_))
    ));
}

#[test]
fn what_must_be_refused_is_refused_in_these_words() {
    let mut written = Vec::new();
    let mut errors = String::new();
    for reject in reject::all() {
        written.extend(check_golden(REJECT_DIRECTORY, reject.name, &reject.stream));
        let mut decoder = FrameDecoder::new(MAX_FRAME_BYTES);
        decoder.push(&reject.stream);
        let error = match decoder.next_frame() {
            Ok(payload) => match reject.family.decode(payload.expect("a whole frame")) {
                Ok(message) => panic!("{} is accepted: {message:?}", reject.name),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        errors.push_str(&format!("{}: {error}\n", reject.name));
    }
    assert_eq!(
        written,
        Vec::<PathBuf>::new(),
        "written now because they were missing: check and commit them"
    );
    assert_eq!(files(REJECT_DIRECTORY, "bin").len(), reject::all().len(), "vectors and files");
    beside(REJECT_DIRECTORY).bind(|| assert_snapshot!("errors", errors));
}

/// Keeps snapshots beside the bytes that they explain.
fn beside(directory: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(in_crate(directory));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
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
    missing.extend(kinds::<FrontendMessage>(Family::Frontend));
    missing.extend(kinds::<FrontendCommand>(Family::FrontendCommand));
    for (name, message) in vectors::v1_0() {
        let kind = kind_of(&message);
        assert_eq!(
            name.split('-').next(),
            Some(kind.trim_start_matches('~')),
            "a vector is named for its kind"
        );
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
