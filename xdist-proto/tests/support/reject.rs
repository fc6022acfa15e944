//! Streams that must be refused.

use super::vectors::Family;
use rmpv::Value;
use xdist_proto::frame::encode_frame;

/// A stream that must be refused by whoever receives this family of messages.
pub(crate) struct Reject {
    /// What is wrong with it.
    pub(crate) name: &'static str,
    /// Who would send it.
    pub(crate) family: Family,
    /// The bytes, prefix included.
    pub(crate) stream: Vec<u8>,
}

/// All of them.
pub(crate) fn all() -> Vec<Reject> {
    let mut rejects = frames();
    rejects.extend(structures());
    rejects.extend(shapes());
    rejects.extend(fields());
    rejects
}

fn frames() -> Vec<Reject> {
    let stream = |name, stream: &[u8]| Reject { name, family: Family::Worker, stream: stream.to_vec() };
    vec![
        stream("frame-empty", &[0, 0, 0, 0]),
        stream("frame-over-the-limit", &[1, 0, 0, 1]),
        stream("frame-of-text", b"Traceback (most recent call last):\n"),
    ]
}

/// Payloads that are not one value within the limits.
fn structures() -> Vec<Reject> {
    let collecting = |rest: &[u8]| [b"\x81\xaacollecting", rest].concat();
    let mut deep = collecting(b"\x82\xa6worker\x00\xa6future");
    deep.extend([0x91; 100]);
    deep.push(0xc0);
    vec![
        reject("value-reserved-marker", collecting(b"\xc1")),
        reject("value-cut-off", collecting(b"\x81\xa6worker")),
        reject("value-followed-by-another", collecting(b"\x81\xa6worker\x00\xc0")),
        reject("value-nested-too-deeply-in-an-unknown-field", deep),
        reject("count-of-map-beyond-the-end", collecting(b"\xdf\xff\xff\xff\xff\xa6worker\x00")),
        reject(
            "count-of-array-beyond-the-end",
            collecting(b"\x82\xa6worker\x00\xa6future\xdd\xff\xff\xff\xff"),
        ),
        reject(
            "length-of-text-beyond-the-end",
            collecting(b"\x82\xa6worker\x00\xa6future\xdb\xff\xff\xff\xff"),
        ),
        reject(
            "length-of-bytes-beyond-the-end",
            collecting(b"\x82\xa6worker\x00\xa6future\xc6\xff\xff\xff\xff"),
        ),
        reject(
            "length-of-extension-beyond-the-end",
            collecting(b"\x82\xa6worker\x00\xa6future\xc9\xff\xff\xff\xff\x01"),
        ),
    ]
}

/// Values that are no messages.
fn shapes() -> Vec<Reject> {
    let body = || map(&[("worker", Value::from(0))]);
    vec![
        reject("message-nil", b"\xc0".to_vec()),
        reject("message-text", b"\xaacollecting".to_vec()),
        reject("message-array", b"\x92\xaacollecting\x00".to_vec()),
        reject("message-without-kind", b"\x80".to_vec()),
        reject(
            "message-with-two-kinds",
            b"\x82\xaacollecting\x81\xa6worker\x00\xa4pong\x81\xa5nonce\x00".to_vec(),
        ),
        reject("kind-a-number", b"\x81\x01\x80".to_vec()),
        reject("kind-bytes", b"\x81\xc4\x0acollecting\x81\xa6worker\x00".to_vec()),
        reject("kind-not-unicode", b"\x81\xa2\xff\xfe\x80".to_vec()),
        reject("kind-unknown", encoded("explode", body())),
        reject("kind-of-the-other-side", encoded("configure", body())),
        reject("kind-of-the-opening", encoded("hello", body())),
        reject("kind-unknown-and-long", encoded(&"k\u{1b}[31m".repeat(500), body())),
        reject("fields-nil", encoded("collecting", Value::Nil)),
        reject("fields-in-an-array", encoded("collecting", Value::Array(vec![Value::from(0)]))),
    ]
}

/// Messages whose fields do not fit.
fn fields() -> Vec<Reject> {
    let collecting = |worker| encoded("collecting", map(&[("worker", worker)]));
    let usage_error =
        |text| encoded("usage_error", map(&[("worker", 0.into()), ("text", text), ("exit_code", 4.into())]));
    let collected = |digest: &[u8]| {
        encoded(
            "collected",
            map(&[("worker", 0.into()), ("digest", Value::Binary(digest.to_vec())), ("count", 0.into())]),
        )
    };
    let finished = |field, value| {
        let report = map(&[(field, value)]);
        encoded(
            "item_finished",
            map(&[("worker", 0.into()), ("lease", 0.into()), ("item", 0.into()), ("report", report)]),
        )
    };
    let down = |cause| encoded("down", map(&[("worker", 0.into()), ("cause", cause)]));
    let numbers = |count: u32| Value::Array((0..count).map(Value::from).collect());
    let rejects = vec![
        reject("field-missing", encoded("collecting", map(&[]))),
        reject("field-twice", encoded("collecting", map(&[("worker", 0.into()), ("worker", 0.into())]))),
        reject("field-by-its-number", encoded("collecting", Value::Map(vec![(0.into(), 0.into())]))),
        reject("field-named-by-bytes", b"\x81\xaacollecting\x81\xc4\x06worker\x00".to_vec()),
        reject("worker-nil", collecting(Value::Nil)),
        reject("worker-negative", collecting(Value::from(-1))),
        reject("worker-over-32-bits", collecting(Value::from(1_u64 << 32))),
        reject("worker-a-float", collecting(Value::from(1.0))),
        reject("worker-text", collecting(Value::from("gw0"))),
        reject("worker-true", collecting(Value::from(true))),
        reject("worker-an-extension", collecting(Value::Ext(1, b"7".to_vec()))),
        reject(
            "text-not-unicode",
            b"\x81\xabusage_error\x83\xa6worker\x00\xa4text\xa1\xff\xa9exit_code\x04".to_vec(),
        ),
        reject("text-a-number", usage_error(Value::from(7))),
        reject("text-an-extension", usage_error(Value::Ext(6, b"x".to_vec()))),
        reject("digest-too-short", collected(&[0; 15])),
        reject("digest-too-long", collected(&[0; 17])),
        reject(
            "digest-an-array",
            encoded("collected", map(&[("worker", 0.into()), ("digest", numbers(16)), ("count", 0.into())])),
        ),
        reject(
            "bytes-as-text",
            encoded(
                "output",
                map(&[("worker", 0.into()), ("stream", "stdout".into()), ("data", "x".into())]),
            ),
        ),
        reject(
            "list-as-bytes",
            encoded(
                "unscheduled",
                map(&[("worker", 0.into()), ("request", 0.into()), ("items", Value::Binary(vec![1]))]),
            ),
        ),
        reject(
            "report-an-array",
            encoded(
                "item_finished",
                map(&[("worker", 0.into()), ("lease", 0.into()), ("item", 0.into()), ("report", numbers(2))]),
            ),
        ),
        reject("durations-of-two-phases", finished("us", numbers(2))),
        reject("durations-of-four-phases", finished("us", numbers(4))),
        reject("class-unknown", finished("class", Value::from("flaky"))),
        reject("class-by-its-number", finished("class", Value::from(0))),
        reject("class-a-map", finished("class", map(&[("pass", Value::Nil), ("fail", Value::Nil)]))),
        reject("cause-unknown", down(map(&[("vanished", Value::from(0))]))),
        reject("cause-without-its-value", down(Value::from("exited"))),
        reject("cause-twofold", down(map(&[("exited", Value::from(0)), ("signaled", Value::from(9))]))),
    ];
    let versions = map(&[("min", numbers(2)), ("max", numbers(3))]);
    let implementation = map(&[("name", Value::from("acme")), ("version", Value::from("1"))]);
    let hello = |versions| {
        let fields = [
            ("implementation", implementation.clone()),
            ("versions", versions),
            ("role", Value::from("worker")),
        ];
        encoded("hello", map(&fields))
    };
    let opening = |name, payload| Reject { family: Family::PeerOpening, ..reject(name, payload) };
    rejects
        .into_iter()
        .chain([
            opening("version-of-three-numbers", hello(versions)),
            opening(
                "version-a-text",
                hello(map(&[("min", Value::from("1.0")), ("max", Value::from("1.0"))])),
            ),
        ])
        .collect()
}

fn reject(name: &'static str, payload: Vec<u8>) -> Reject {
    let mut stream = Vec::new();
    encode_frame(&payload, u32::MAX, &mut stream).unwrap();
    Reject { name, family: Family::Worker, stream }
}

fn encoded(kind: &str, body: Value) -> Vec<u8> {
    let mut payload = Vec::new();
    rmpv::encode::write_value(&mut payload, &map(&[(kind, body)])).unwrap();
    payload
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(entries.iter().map(|(key, value)| (Value::from(*key), value.clone())).collect())
}
