//! Hosts join, lose their connections, and come back: a real gate and real dialers, with a proxy between them.
#![expect(clippy::disallowed_methods, reason = "a thread writes what another reads")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use rustix::process::{Signal, getpid, kill_process};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Duration;
use support::{ByHand, DEADLINE, Dialer, Fate, Gate, Proxy};
use xdist_link::dial::Departure;
use xdist_link::gate::Limits;
use xdist_link::opening::Reason;

/// Sends bytes that are like no others near them, and hears them come back.
fn exchange(link: &UnixStream, count: usize) {
    let bytes: Vec<u8> = (0..count).flat_map(|at| u32::try_from(at).unwrap().to_be_bytes()).collect();
    let (mut writer, sent) = (link.try_clone().unwrap(), bytes.clone());
    let writing = thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut heard = vec![0; bytes.len()];
    (&*link).read_exact(&mut heard).unwrap();
    writing.join().unwrap();
    assert!(heard == bytes, "other bytes came back");
}

/// Whether the other end is closed, once what is there was read.
fn ends(mut link: &UnixStream) {
    let mut rest = Vec::new();
    // With bytes of ours unread over there it ends with an error.
    let _ = link.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn a_host_joins_works_and_is_told_the_end() {
    let mut gate = Gate::open();
    let dialer = Dialer::start(&gate.token);
    let (link, peer, launch) = gate.next_host();
    assert!(peer.contains("127.0.0.1:"), "{peer}");
    assert_eq!(launch, 7);
    exchange(&link, 1 << 20);
    drop(link);
    dialer.ends_well();
    gate.close();
}

#[test]
fn the_end_of_the_coordinator_is_the_end_of_all() {
    let mut gate = Gate::open();
    let dialers = [(); 3].map(|()| Dialer::start(&gate.token));
    let links = [(); 3].map(|()| gate.next_host().0);
    drop(links);
    gate.close();
    dialers.into_iter().for_each(Dialer::ends_well);
}

/// The coordinator's links are open still when its control socket closes.
#[test]
fn a_gate_that_is_closed_first_tells_everybody_too() {
    let mut gate = Gate::open();
    let dialer = Dialer::start(&gate.token);
    let (link, _, _) = gate.next_host();
    exchange(&link, 10);
    gate.close();
    dialer.ends_well();
}

#[test]
fn what_a_host_says_last_arrives() {
    let mut gate = Gate::open();
    let dialer = Dialer::with(&gate.token, "printf goodbye >&3", DEADLINE);
    let (mut link, _, _) = gate.next_host();
    let mut heard = String::new();
    link.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "goodbye");
    dialer.ends_well();
}

#[test]
fn the_exit_code_is_the_hosts() {
    let mut gate = Gate::open();
    let dialer = Dialer::with(&gate.token, "exit 3", DEADLINE);
    let (link, _, _) = gate.next_host();
    ends(&link);
    let Ok(Departure::Host(status)) = dialer.end() else { panic!("no host") };
    assert_eq!(status.code(), Some(3));
}

#[test]
fn connections_may_be_cut_at_any_byte() {
    // In the handshake and in the opening, after each of which there is a connection that gets further.
    let early = [0, 1, 5, 200, 300, 420, 500, 600, 700, 900];
    let late = [2000, 5000, 20_000, 33_333, 70_001];
    let both = |count| [Fate::CutToGate(count), Fate::CutToDialer(count)];
    let fates: Vec<_> = early
        .into_iter()
        .flat_map(|count| [both(count), both(3000 + count)])
        .chain(late.map(both))
        .flatten()
        .collect();
    let count = fates.len();
    let mut gate = Gate::open();
    let proxy = Proxy::start(gate.address(), fates);
    let dialer = Dialer::start(&proxy.token(&gate.token));
    // Those that are cut before a host has joined are tried again, until one gets through.
    let (link, _, _) = gate.next_host();
    while proxy.connections() <= count {
        exchange(&link, 1 << 12);
    }
    drop(link);
    dialer.ends_well();
}

#[test]
fn a_connection_that_freezes_is_replaced() {
    let mut gate = Gate::with(Duration::from_secs(4), Limits::default());
    let proxy = Proxy::start(gate.address(), vec![Fate::Freeze(30_000)]);
    let dialer = Dialer::start(&proxy.token(&gate.token));
    let (link, _, _) = gate.next_host();
    exchange(&link, 1 << 15);
    assert!(proxy.connections() >= 2);
    drop(link);
    dialer.ends_well();
}

#[test]
fn nobody_reads_faster_than_the_other_end_does() {
    let mut gate = Gate::open();
    // It reads nothing until it is told to go on.
    let directory = tempfile::tempdir().unwrap();
    let bell = directory.path().join("bell");
    assert!(Command::new("mkfifo").arg(&bell).status().unwrap().success());
    let script = format!("read line <{}; exec cat <&3 >&3", bell.display());
    let dialer = Dialer::with(&gate.token, &script, DEADLINE);
    let (link, _, _) = gate.next_host();
    link.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let piece = [7; 64 << 10];
    // Until nothing more was taken for a while; a host that reads nothing must come to that.
    let mut idle = 0;
    while idle < 50 {
        match (&link).write(&piece) {
            Ok(count) => (sent, idle) = (sent + count, 0),
            Err(_) => {
                idle += 1;
                thread::park_timeout(Duration::from_millis(10));
            }
        }
        assert!(sent < 64 << 20, "somewhere there is no limit");
    }
    link.set_nonblocking(false).unwrap();
    std::fs::write(&bell, "go on\n").unwrap();
    let mut heard = vec![0; sent];
    (&link).read_exact(&mut heard).unwrap();
    assert!(heard.iter().all(|&byte| byte == 7));
    drop(link);
    dialer.ends_well();
}

#[test]
fn a_host_that_stays_away_is_given_up() {
    let mut gate = Gate::with(Duration::from_millis(400), Limits::default());
    let mut away = ByHand::connect(&gate.token);
    let open = away.opening(&gate.token.secret, None, 0);
    let accepted = away.ask(open).unwrap();
    let (link, _, _) = gate.next_host();
    drop(away);
    ends(&link);
    // It comes back too late.
    let mut late = ByHand::connect(&gate.token);
    let open = late.opening(&gate.token.secret, Some(accepted.session), 0);
    assert_eq!(late.ask(open).unwrap_err().reason, Reason::Session);
    gate.expect_refusal("not there any more");
}

#[test]
fn a_silent_connection_is_given_up() {
    let mut gate = Gate::with(Duration::from_millis(400), Limits::default());
    let mut frozen = ByHand::connect(&gate.token);
    let open = frozen.opening(&gate.token.secret, None, 0);
    frozen.ask(open).unwrap();
    let (link, _, _) = gate.next_host();
    // It stays open and says nothing.
    ends(&link);
    frozen.is_closed();
}

/// Long away, its work given to others: it comes back as somebody new.
#[test]
fn a_host_that_was_given_up_joins_again() {
    let mut gate = Gate::with(Duration::from_millis(800), Limits::default());
    let proxy = Proxy::start(gate.address(), vec![Fate::Freeze(3000)]);
    let dialer = Dialer::start(&proxy.token(&gate.token));
    let (first, _, _) = gate.next_host();
    // From here on it takes so long until the frozen connection is noticed that its stream may be gone by then, or not.
    let mut waiting = vec![first];
    let link = loop {
        let link = waiting.pop().unwrap();
        let _ = (&link).write_all(&[1; 6000]);
        let mut heard = vec![0; 6000];
        match (&link).read_exact(&mut heard) {
            Ok(()) => break link,
            Err(_) => waiting.push(gate.next_host().0),
        }
    };
    drop(link);
    dialer.ends_well();
}

#[test]
fn a_host_that_is_given_up_while_it_is_away_may_join_anew() {
    let mut gate = Gate::open();
    let mut away = ByHand::connect(&gate.token);
    let open = away.opening(&gate.token.secret, None, 0);
    let accepted = away.ask(open).unwrap();
    drop(away);
    // The coordinator does not wait for it.
    drop(gate.next_host());
    // The gate may not have noticed both yet.
    let refused = loop {
        let mut back = ByHand::connect(&gate.token);
        let open = back.opening(&gate.token.secret, Some(accepted.session), 0);
        if let Err(refused) = back.ask(open) {
            break refused;
        }
    };
    assert_eq!(refused.reason, Reason::Session);
}

#[test]
fn a_newer_connection_takes_the_place_of_an_older_one() {
    let mut gate = Gate::open();
    let mut first = ByHand::connect(&gate.token);
    let open = first.opening(&gate.token.secret, None, 0);
    let accepted = first.ask(open).unwrap();
    let (link, _, _) = gate.next_host();
    let mut second = ByHand::connect(&gate.token);
    let open = second.opening(&gate.token.secret, Some(accepted.session), 0);
    let again = second.ask(open).unwrap();
    assert_eq!(again.session, accepted.session);
    first.is_closed();
    let echoing = thread::spawn(move || second.echo(&again));
    exchange(&link, 1000);
    drop(link);
    echoing.join().unwrap();
}

#[test]
fn two_hundred_hosts_join_at_once() {
    let mut gate = Gate::open();
    let hosts: Vec<_> = (0..200)
        .map(|_| {
            let token = gate.token.clone();
            thread::spawn(move || {
                let mut host = ByHand::connect(&token);
                let open = host.opening(&token.secret, None, 0);
                let accepted = host.ask(open).unwrap();
                host.echo(&accepted);
            })
        })
        .collect();
    let links: Vec<_> = hosts.iter().map(|_| gate.next_host().0).collect();
    for link in &links {
        exchange(link, 1000);
    }
    drop(links);
    for host in hosts {
        host.join().unwrap();
    }
}

/// An address at which nobody listens as long as the socket is there: it is taken, so that no other test gets it.
fn deaf_address() -> (OwnedFd, String) {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: SocketAddrV4 = getsockname(&socket).unwrap().try_into().unwrap();
    (socket, address.to_string())
}

#[test]
fn a_gate_that_is_not_there_yet_is_waited_for() {
    let (_taken, address) = deaf_address();
    let mut gate = Gate::open();
    let mut token = gate.token.clone();
    token.addresses.insert(0, address);
    let dialer = Dialer::start(&token);
    let (link, _, _) = gate.next_host();
    exchange(&link, 10);
    drop(link);
    dialer.ends_well();
}

#[test]
fn where_nobody_listens_there_is_an_error_with_advice() {
    let (_taken, address) = deaf_address();
    let gate = Gate::open();
    let mut token = gate.token.clone();
    token.addresses = vec![address];
    gate.close();
    let error = Dialer::with(&token, "exit 9", Duration::ZERO).end().unwrap_err().to_string();
    let address = &token.addresses[0];
    assert!(error.starts_with(&format!("join the run the run: {address}: ")), "{error}");
    assert!(error.contains("refused") && error.contains("is the run over?"), "{error}");
}

/// In a process of its own, since a signal is for all threads.
#[test]
#[ignore = "run by the next test"]
fn terminated() {
    let mut gate = Gate::open();
    let dialer = Dialer::start(&gate.token);
    let (link, _, _) = gate.next_host();
    exchange(&link, 10);
    kill_process(getpid(), Signal::TERM).unwrap();
    // The gate hears it too, but whoever of them is first, the host has gone.
    assert!(matches!(dialer.end(), Ok(Departure::Terminated | Departure::Host(_))));
    ends(&link);
}

#[test]
fn a_dialer_that_is_asked_to_end_takes_its_host_with_it() {
    let program = std::env::current_exe().unwrap();
    let args = ["--exact", "terminated", "--ignored", "--nocapture"];
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
