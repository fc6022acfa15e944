//! What strangers try at the gate, one test for each claim of `docs/security.md`; a host that has joined before is never
//! harmed.
#![expect(clippy::disallowed_methods, reason = "threads do what strangers do at the same time")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;
use support::{ByHand, Bystander, DEADLINE, Dialer, Gate, Proxy, rest_of};
use xdist_link::carrier::MAX_DATA_BYTES;
use xdist_link::gate::Limits;
use xdist_link::opening::{self, DialerOpening, MAX_OPENING_BYTES, Reason};
use xdist_link::token::{Secret, Token};

fn plain(gate: &Gate) -> TcpStream {
    TcpStream::connect(gate.address()).unwrap()
}

/// Why a dialer gives up.
fn error_of(token: &Token) -> String {
    Dialer::with(token, "exit 9", DEADLINE).end().unwrap_err().to_string()
}

#[test]
fn a_wrong_secret_is_refused() {
    let mut gate = Gate::open();
    let bystander = Bystander::join(&mut gate);
    let token = Token { secret: Secret::new([0; 32]), ..gate.token.clone() };
    let error = error_of(&token);
    assert!(
        error.contains("its secret is not this run's: use the token that this run has printed"),
        "{error}"
    );
    gate.expect_refusal("its secret is not this run's");
    bystander.leave();
}

#[test]
fn the_token_of_another_run_is_refused_before_anything_is_said() {
    let earlier = Gate::open();
    let mut gate = Gate::open();
    let bystander = Bystander::join(&mut gate);
    // As if the later run had got the earlier one's port.
    let token = Token { addresses: gate.token.addresses.clone(), ..earlier.token.clone() };
    let error = error_of(&token);
    assert!(error.contains("the token is of another run, which is over"), "{error}");
    gate.expect_refusal("TLS");
    bystander.leave();
}

/// Whoever has recorded a connection sends the same bytes again.
#[test]
fn a_recorded_connection_is_worth_nothing() {
    let mut gate = Gate::open();
    let proxy = Proxy::start(gate.address(), Vec::new());
    let mut bystander = Bystander::join(&mut gate);
    let dialer = Dialer::start(&proxy.token(&gate.token));
    let (link, _, _) = gate.next_host();
    let mut replayed = plain(&gate);
    let _ = replayed.write_all(&proxy.sent_to_gate(0));
    rest_of(&mut replayed);
    gate.expect_refusal("TLS");
    bystander.is_unharmed();
    drop(link);
    dialer.ends_well();
    bystander.leave();
}

/// Somebody in the middle, who has made a good dialer talk, cannot use its proof either.
#[test]
fn a_proof_of_another_tls_session_is_refused() {
    let mut gate = Gate::open();
    let bystander = Bystander::join(&mut gate);
    let good = ByHand::connect(&gate.token);
    let proof = good.opening(&gate.token.secret, None, 0);
    let mut thief = ByHand::connect(&gate.token);
    assert_eq!(thief.ask(proof).unwrap_err().reason, Reason::Secret);
    gate.expect_refusal("its secret is not this run's");
    bystander.leave();
}

/// The certificate is right, but whoever has it does not know the secret.
#[test]
fn a_gate_that_does_not_know_the_secret_is_refused() {
    let mut gate = Gate::open();
    let other = Gate::open();
    let mut bystander = Bystander::join(&mut gate);
    let token = Token { secret: other.token.secret.clone(), ..gate.token.clone() };
    let mut dialer = ByHand::connect(&gate.token);
    let open = dialer.opening(&gate.token.secret, None, 0);
    let accepted = dialer.ask(open).unwrap();
    let knows =
        |secret| xdist_link::tls::is_proof(&dialer.tls, secret, xdist_link::tls::Side::Gate, accepted.proof);
    assert!(knows(&gate.token.secret) && !knows(&token.secret));
    bystander.is_unharmed();
    bystander.leave();
}

#[test]
fn tls_1_2_is_refused() {
    let mut gate = Gate::open();
    let bystander = Bystander::join(&mut gate);
    let mut old = plain(&gate);
    old.write_all(&client_hello_of_tls_1_2()).unwrap();
    // An alert, fatal: protocol_version.
    let said = rest_of(&mut old);
    assert!(said.starts_with(&[21, 3]) && said.ends_with(&[0, 2, 2, 70]), "{said:?}");
    gate.expect_refusal("TLS");
    bystander.leave();
}

/// As OpenSSL 1.0 would say it: ECDHE with AES, P-256, no word of newer versions.
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let extensions: &[&[u8]] = &[
        &[0, 10, 0, 4, 0, 2, 0, 23],
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4],
        &[0, 16, 0, 10, 0, 8, 7, b'x', b'd', b'i', b's', b't', b'/', b'1'],
    ];
    let extensions = extensions.concat();
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let ciphers = [0xc0, 0x2b, 0xc0, 0x2f];
    let mut body = [&[3, 3][..], &[7; 32], &[0], &length(&ciphers), &ciphers, &[1, 0]].concat();
    body.extend([&length(&extensions)[..], &extensions].concat());
    let handshake = [&[1, 0][..], &length(&body), &body].concat();
    [&[22, 3, 1][..], &length(&handshake), &handshake].concat()
}

#[test]
fn a_plain_peer_gets_a_readable_answer() {
    let mut gate = Gate::open();
    let bystander = Bystander::join(&mut gate);
    let mut browser = plain(&gate);
    browser.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    let said = String::from_utf8(rest_of(&mut browser)).unwrap();
    assert!(
        said.starts_with("HTTP/1.1 400 Bad Request\r\n") && said.contains("xdist worker --join"),
        "{said}"
    );
    gate.expect_refusal("does not speak TLS, but began with \"GET / HTTP/1.1");
    // A host that was given the address for a plain link.
    let mut host = plain(&gate);
    host.write_all(&xdist_proto::handshake::preamble()).unwrap();
    let said = String::from_utf8(rest_of(&mut host)).unwrap();
    assert!(said.starts_with("This is the gate of a test run"), "{said}");
    gate.expect_refusal("does not speak TLS");
    bystander.leave();
}

/// The other way round: the token leads to something that is no gate.
#[test]
fn a_dialer_knows_what_is_no_gate() {
    let gate = Gate::open();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let token = Token { addresses: vec![server.local_addr().unwrap().to_string()], ..gate.token.clone() };
    let serving = thread::spawn(move || {
        let (mut socket, _) = server.accept().unwrap();
        let _ = socket.read(&mut [0; 4096]);
        socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        rest_of(&mut socket);
    });
    let error = error_of(&token);
    assert!(error.contains("does not speak TLS") && error.contains("is the port right?"), "{error}");
    serving.join().unwrap();
}

#[test]
fn a_peer_that_trickles_is_dropped_in_time() {
    let limits = Limits { opening_time: Duration::from_millis(300), ..Limits::default() };
    let mut gate = Gate::with(Duration::from_secs(20), limits);
    let bystander = Bystander::join(&mut gate);
    let mut slow = plain(&gate);
    slow.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    // A record of the handshake, as long as they come, a byte now and then.
    let hello = [&[22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb][..], &[0; 16_000]].concat();
    let mut sent = 0;
    for byte in hello {
        if slow.write_all(&[byte]).is_err() {
            break;
        }
        sent += 1;
        match slow.read(&mut [0; 16]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    assert!(sent < 16_000, "nobody stopped it");
    gate.expect_refusal("it did not prove anything within 0.3 s");
    bystander.leave();
}

#[test]
fn a_peer_that_says_nothing_is_dropped_in_time() {
    let limits = Limits { opening_time: Duration::from_secs(1), ..Limits::default() };
    let mut gate = Gate::with(Duration::from_secs(20), limits);
    let bystander = Bystander::join(&mut gate);
    rest_of(&mut plain(&gate));
    gate.expect_refusal("it did not prove anything within 1 s");
    // Nor does it help to stop after the handshake.
    let mut later = ByHand::connect(&gate.token);
    later.is_closed();
    gate.expect_refusal("it did not prove anything within 1 s");
    bystander.leave();
}

#[test]
fn thousands_of_half_open_connections_keep_nobody_out() {
    let mut gate = Gate::open();
    let mut bystander = Bystander::join(&mut gate);
    let half_open: Vec<_> = (0..2000)
        .map(|number| {
            let mut socket = plain(&gate);
            // Some say nothing, some begin a handshake.
            if number % 2 == 0 {
                let _ = socket.write_all(&[22, 3, 1, 2, 0, 1]);
            }
            socket
        })
        .collect();
    let late = Bystander::join(&mut gate);
    bystander.is_unharmed();
    gate.expect_refusal("too many others");
    drop(half_open);
    late.leave();
    bystander.leave();
}

#[test]
fn a_peer_that_sends_too_much_before_its_proof_is_dropped() {
    let mut gate = Gate::open();
    let mut bystander = Bystander::join(&mut gate);
    let mut loud = ByHand::connect(&gate.token);
    // An opening that never becomes complete, in small pieces that the gate reads one after the other.
    loud.send(&[0, 0, 15, 0]);
    for _ in 0..40 {
        for _ in 0..30 {
            loud.send(&[0]);
        }
        bystander.is_unharmed();
    }
    loud.is_closed();
    gate.expect_refusal("more than 16384 bytes");
    bystander.leave();
}

#[test]
fn an_opening_that_is_too_long_is_refused_by_its_length() {
    let mut gate = Gate::open();
    let bystander = Bystander::join(&mut gate);
    let mut loud = ByHand::connect(&gate.token);
    loud.send(&(MAX_OPENING_BYTES + 1).to_be_bytes());
    assert!(loud.is_closed().is_empty());
    gate.expect_refusal("no opening");
    bystander.leave();
}

#[test]
fn garbage_after_the_handshake_is_refused() {
    let mut gate = Gate::open();
    let bystander = Bystander::join(&mut gate);
    for garbage in [&b"\0\0\0\x01\xc1"[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 64]] {
        let mut peer = ByHand::connect(&gate.token);
        peer.send(garbage);
        assert!(peer.is_closed().is_empty());
        gate.expect_refusal("no opening");
    }
    bystander.leave();
}

/// Whoever has seen another host's number cannot take its stream over.
#[test]
fn a_session_is_nobodys_without_the_secret() {
    let mut gate = Gate::open();
    let mut bystander = Bystander::join(&mut gate);
    let mut victim = ByHand::connect(&gate.token);
    let open = victim.opening(&gate.token.secret, None, 0);
    let accepted = victim.ask(open).unwrap();
    let (mut link, _, _) = gate.next_host();
    let mut thief = ByHand::connect(&gate.token);
    let open = thief.opening(&Secret::new([1; 32]), Some(accepted.session), 0);
    assert_eq!(thief.ask(open).unwrap_err().reason, Reason::Secret);
    gate.expect_refusal("its secret is not this run's");
    // A number that was never given is nobody's, whoever asks for it.
    let mut guesser = ByHand::connect(&gate.token);
    let open = guesser.opening(&gate.token.secret, Some([0; 16]), 0);
    assert_eq!(guesser.ask(open).unwrap_err().reason, Reason::Session);
    let echoing = thread::spawn(move || victim.echo(&accepted));
    link.write_all(b"mine").unwrap();
    let mut heard = [0; 4];
    link.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"mine");
    drop(link);
    echoing.join().unwrap();
    bystander.is_unharmed();
    bystander.leave();
}

/// A host that has proved itself and then breaks the rules ends alone.
#[test]
fn a_host_that_breaks_the_rules_ends_alone() {
    let mut gate = Gate::open();
    let bystander = Bystander::join(&mut gate);
    let too_long = u32::try_from(MAX_DATA_BYTES + 1).unwrap().to_be_bytes();
    for record in [
        &[9, 0, 0, 0, 0][..],
        &[&[1][..], &too_long].concat(),
        b"\x02\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut host = ByHand::connect(&gate.token);
        let open = host.opening(&gate.token.secret, None, 0);
        host.ask(open).unwrap();
        let (mut link, _, _) = gate.next_host();
        host.send(record);
        assert_eq!(link.read(&mut [0]).unwrap(), 0);
        host.is_closed();
    }
    bystander.leave();
}

/// More than the window, though nobody reads: it is no way to make the gate keep what it is sent.
#[test]
fn a_host_that_ignores_the_window_ends_alone() {
    let mut gate = Gate::open();
    let bystander = Bystander::join(&mut gate);
    let mut host = ByHand::connect(&gate.token);
    let open = host.opening(&gate.token.secret, None, 0);
    let accepted = host.ask(open).unwrap();
    let (mut link, _, _) = gate.next_host();
    let record = [&[1, 0, 0, 0x40, 0][..], &[7; 0x4000]].concat();
    let mut sent = 0;
    while sent < 3 * u64::from(accepted.window) {
        host.send(&record);
        sent += 0x4000;
    }
    host.is_closed();
    let mut heard = Vec::new();
    link.read_to_end(&mut heard).unwrap();
    assert!(heard.len() as u64 <= u64::from(accepted.window) + (1 << 20), "{}", heard.len());
    bystander.leave();
}

#[test]
fn an_opening_with_more_behind_it_is_refused() {
    let mut gate = Gate::open();
    let bystander = Bystander::join(&mut gate);
    let mut hasty = ByHand::connect(&gate.token);
    let open = DialerOpening::Open(hasty.opening(&gate.token.secret, None, 0));
    let bytes = [opening::encode(&open).unwrap(), vec![2, 0, 0, 0, 8]].concat();
    hasty.send(&bytes);
    assert!(hasty.is_closed().is_empty());
    gate.expect_refusal("5 bytes too many");
    bystander.leave();
}

#[test]
fn hosts_have_a_limit_too() {
    let limits = Limits { hosts: 1, ..Limits::default() };
    let mut gate = Gate::with(Duration::from_secs(20), limits);
    let bystander = Bystander::join(&mut gate);
    let mut second = ByHand::connect(&gate.token);
    let open = second.opening(&gate.token.secret, None, 0);
    assert_eq!(second.ask(open).unwrap_err().reason, Reason::Full);
    bystander.leave();
}
