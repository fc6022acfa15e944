//! `docs/protocol.md` says what the code does: the example of a token, the limits, the labels.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use xdist_link::carrier::{LEAST_WINDOW_BYTES, MAX_DATA_BYTES};
use xdist_link::gate::Limits;
use xdist_link::opening::MAX_OPENING_BYTES;
use xdist_link::token::{Secret, Token};

fn section() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
    let document = std::fs::read_to_string(path).unwrap();
    document[document.find("\n## 17. Joining from elsewhere").unwrap()..].to_owned()
}

#[test]
fn the_token_of_the_example_is_right() {
    let token = Token {
        addresses: vec!["192.0.2.1:4711".to_owned()],
        fingerprint: [7; 32],
        secret: Secret::new([9; 32]),
        run: "r1".to_owned(),
    };
    let text = token.to_string();
    assert!(section().lines().any(|line| line == text), "{text}");
}

#[test]
fn the_limits_are_those_of_the_code() {
    let limits = Limits::default();
    let sentences = [
        format!("of at most {MAX_OPENING_BYTES} bytes"),
        format!("less than {LEAST_WINDOW_BYTES} counts as {LEAST_WINDOW_BYTES}"),
        format!("| `01`, data | 1 to {MAX_DATA_BYTES} |"),
        format!("there may be {} seconds and {} bytes", limits.opening_time.as_secs(), limits.opening_bytes),
    ];
    for sentence in sentences {
        assert!(section().contains(&sentence), "{sentence}");
    }
}
