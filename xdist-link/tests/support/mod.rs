//! A coordinator that only has a control socket, a host that only echoes, a proxy that cuts, and a dialer made by hand.
#![expect(clippy::disallowed_methods, reason = "threads stand in for processes, and waits have deadlines")]
#![allow(dead_code, reason = "not every test needs everything")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg,
    socketpair, sockopt,
};
use rustls::Connection;
use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use xdist_link::carrier::{Carrier, WINDOW_BYTES};
use xdist_link::control::Report;
use xdist_link::dial::{self, Departure, DialError, DialOptions, HostCommand};
use xdist_link::gate::{self, GateError, GateOptions, Limits};
use xdist_link::opening::{
    self, Accepted, DialerOpening, GateOpening, Open, OpeningDecoder, Refused, SessionId,
};
use xdist_link::tls::{self, Side};
use xdist_link::token::{Secret, Token};
use xdist_proto::codec::{self, Decoded};

/// Nothing takes that long; what does is stuck.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) const HOLD: Duration = Duration::from_secs(20);

/// A gate in a thread, and the coordinator's end of its control socket.
pub(crate) struct Gate {
    control: Option<OwnedFd>,
    thread: Option<JoinHandle<Result<(), GateError>>>,
    pub(crate) token: Token,
    /// Reports that somebody has read who waited for others.
    refusals: VecDeque<String>,
}

impl Gate {
    pub(crate) fn open() -> Self {
        Self::with(HOLD, Limits::default())
    }

    pub(crate) fn with(hold: Duration, limits: Limits) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        sockopt::set_socket_timeout(&ours, sockopt::Timeout::Recv, Some(DEADLINE)).unwrap();
        let options = GateOptions {
            listen: vec!["127.0.0.1:0".to_owned()],
            advertise: Vec::new(),
            run: "the run".to_owned(),
            hold,
            limits,
        };
        let thread = thread::spawn(move || gate::run(theirs, options));
        let Some((Report::Listening(listening), None)) = receive(&ours) else {
            panic!("the gate is not open")
        };
        let token: Token = listening.token.parse().unwrap();
        assert_eq!(listening.addresses, token.addresses);
        Self { control: Some(ours), thread: Some(thread), token, refusals: VecDeque::new() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.token.addresses[0].parse().unwrap()
    }

    /// The link of the next host, who it is, and its launch number.
    pub(crate) fn next_host(&mut self) -> (UnixStream, String, u32) {
        loop {
            match self.receive() {
                (Report::Joined(joined), Some(link)) => {
                    let link = UnixStream::from(link);
                    link.set_read_timeout(Some(DEADLINE)).unwrap();
                    return (link, joined.peer, joined.launch);
                }
                (Report::Refused(refused), None) => self.refusals.push_back(refused.text),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until a refusal is told that has this in its text.
    pub(crate) fn expect_refusal(&mut self, text: &str) {
        loop {
            let refusal = match self.refusals.pop_front() {
                Some(refusal) => refusal,
                None => match self.receive() {
                    (Report::Refused(refused), None) => refused.text,
                    other => panic!("{other:?}"),
                },
            };
            if refusal.contains(text) {
                return;
            }
            assert!(refusal.contains("more connections"), "{refusal:?} is not about {text:?}");
        }
    }

    fn receive(&self) -> (Report, Option<OwnedFd>) {
        receive(self.control.as_ref().unwrap()).expect("the gate has ended")
    }

    /// The coordinator ends, and with it the gate.
    pub(crate) fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.control = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.end();
        }
    }
}

fn receive(control: &OwnedFd) -> Option<(Report, Option<OwnedFd>)> {
    let mut buffer = vec![0; xdist_link::control::MAX_DATAGRAM_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(control, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
    let count = received.unwrap().bytes;
    let descriptors: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten()
        .collect();
    assert!(descriptors.len() <= 1);
    match codec::decode(&buffer[..count]) {
        Ok(Decoded::Message(report)) => Some((report, descriptors.into_iter().next())),
        _ if count == 0 => None,
        other => panic!("{other:?}"),
    }
}

/// A dialer in a thread, whose host echoes.
pub(crate) struct Dialer(JoinHandle<Result<Departure, DialError>>);

impl Dialer {
    pub(crate) fn start(token: &Token) -> Self {
        Self::with(token, "exec cat <&3 >&3", Duration::from_secs(20))
    }

    pub(crate) fn with(token: &Token, script: &str, patience: Duration) -> Self {
        let host = HostCommand {
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            without: vec!["XDIST_JOIN"],
        };
        let options = DialOptions { token: token.clone(), host, launch: 7, patience };
        Self(thread::spawn(move || dial::join(options)))
    }

    pub(crate) fn end(self) -> Result<Departure, DialError> {
        self.0.join().unwrap()
    }

    /// Waits for the end that follows from the coordinator's.
    pub(crate) fn ends_well(self) {
        match self.end() {
            Ok(Departure::Host(status)) => assert!(status.success(), "{status}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Somebody who has joined and is not to be harmed by what happens to others.
pub(crate) struct Bystander {
    link: UnixStream,
    dialer: Dialer,
    said: u8,
}

impl Bystander {
    pub(crate) fn join(gate: &mut Gate) -> Self {
        let dialer = Dialer::start(&gate.token);
        let (link, _, _) = gate.next_host();
        let mut bystander = Self { link, dialer, said: 0 };
        bystander.is_unharmed();
        bystander
    }

    pub(crate) fn is_unharmed(&mut self) {
        self.said += 1;
        self.link.write_all(&[self.said]).unwrap();
        let mut heard = [0];
        self.link.read_exact(&mut heard).unwrap();
        assert_eq!(heard, [self.said]);
    }

    pub(crate) fn leave(mut self) {
        self.is_unharmed();
        drop(self.link);
        self.dialer.ends_well();
    }
}

/// What a proxy does to one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// Nothing.
    Pass,
    /// Closes it after so many bytes to the gate.
    CutToGate(usize),
    /// Closes it after so many bytes to the dialer.
    CutToDialer(usize),
    /// Passes no more on after so many bytes to the gate, in either direction, and closes nothing.
    Freeze(usize),
}

/// Between dialer and gate.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    /// What the dialers have sent, by connection.
    to_gate: Vec<Vec<u8>>,
    /// Sockets that stay open though nothing passes.
    kept: Vec<TcpStream>,
}

impl Proxy {
    /// Does to each connection what is its fate, and nothing to those that come after these.
    pub(crate) fn start(gate: SocketAddr, fates: Vec<Fate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            let mut fates = fates.into_iter();
            for dialer in listener.incoming() {
                let (Ok(dialer), Ok(gate)) = (dialer, TcpStream::connect(gate)) else { return };
                let fate = fates.next().unwrap_or(Fate::Pass);
                let number = {
                    let mut seen = shared.lock().unwrap();
                    seen.connections += 1;
                    seen.to_gate.push(Vec::new());
                    seen.connections - 1
                };
                forward(fate, number, dialer, gate, &shared);
            }
        });
        Self { address, seen }
    }

    /// The token that leads here.
    pub(crate) fn token(&self, token: &Token) -> Token {
        Token { addresses: vec![self.address.to_string()], ..token.clone() }
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    pub(crate) fn sent_to_gate(&self, connection: usize) -> Vec<u8> {
        self.seen.lock().unwrap().to_gate[connection].clone()
    }
}

fn forward(fate: Fate, number: usize, dialer: TcpStream, gate: TcpStream, seen: &Arc<Mutex<Seen>>) {
    let (to_gate, to_dialer, is_frozen) = match fate {
        Fate::Pass => (usize::MAX, usize::MAX, false),
        Fate::CutToGate(count) => (count, usize::MAX, false),
        Fate::CutToDialer(count) => (usize::MAX, count, false),
        Fate::Freeze(count) => (count, usize::MAX, true),
    };
    let frozen = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ways = [
        (dialer.try_clone().unwrap(), gate.try_clone().unwrap(), to_gate, true),
        (gate, dialer, to_dialer, false),
    ];
    for (mut from, mut to, budget, is_to_gate) in ways {
        let (seen, frozen) = (Arc::clone(seen), Arc::clone(&frozen));
        thread::spawn(move || {
            let mut left = budget;
            let mut piece = [0; 4096];
            while left > 0 {
                let wanted = piece.len().min(left);
                let Ok(count @ 1..) = from.read(&mut piece[..wanted]) else { break };
                if frozen.load(std::sync::atomic::Ordering::SeqCst) {
                    left = 0;
                    break;
                }
                if is_to_gate {
                    seen.lock().unwrap().to_gate[number].extend(&piece[..count]);
                }
                if to.write_all(&piece[..count]).is_err() {
                    break;
                }
                left -= count;
            }
            if is_frozen && left == 0 {
                frozen.store(true, std::sync::atomic::Ordering::SeqCst);
                seen.lock().unwrap().kept.extend([from, to]);
                return;
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

/// A dialer made by hand, to do what ours does not.
pub(crate) struct ByHand {
    pub(crate) socket: TcpStream,
    pub(crate) tls: Connection,
}

impl ByHand {
    /// Connects, and does the handshake of TLS.
    pub(crate) fn connect(token: &Token) -> Self {
        let socket = TcpStream::connect(&token.addresses[0]).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut tls = tls::dial(token.fingerprint).unwrap();
        let mut stream = &socket;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).unwrap();
        }
        Self { socket, tls }
    }

    /// What our dialer would say with this secret.
    pub(crate) fn opening(&self, secret: &Secret, session: Option<SessionId>, received: u64) -> Open {
        let proof = tls::proof(&self.tls, secret, Side::Dialer).unwrap();
        Open { proof, session, received, window: WINDOW_BYTES, launch: 0, name: "by hand".to_owned() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // The other side may have enough before all is sent.
        let _ = self.tls.writer().write_all(bytes);
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut self.socket).is_err() {
                return;
            }
        }
    }

    pub(crate) fn ask(&mut self, open: Open) -> Result<Accepted, Refused> {
        self.send(&opening::encode(&DialerOpening::Open(open)).unwrap());
        let mut prefix = [0; 4];
        self.read_exact(&mut prefix);
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes(prefix)).unwrap()];
        self.read_exact(&mut payload);
        let mut decoder = OpeningDecoder::default();
        assert!(decoder.push::<GateOpening>(&prefix).unwrap().is_none());
        match decoder.push(&payload).unwrap().unwrap() {
            GateOpening::Accepted(accepted) => Ok(accepted),
            GateOpening::Refused(refused) => Err(refused),
        }
    }

    fn read_exact(&mut self, wanted: &mut [u8]) {
        let mut done = 0;
        while done < wanted.len() {
            match self.tls.reader().read(&mut wanted[done..]) {
                Ok(0) => panic!("the gate has closed the connection"),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.hear().unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn hear(&mut self) -> io::Result<()> {
        match self.tls.read_tls(&mut self.socket)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => self.tls.process_new_packets().map_err(io::Error::other)?,
        };
        Ok(())
    }

    /// Waits until the gate has closed the connection. Answers what it has said before.
    pub(crate) fn is_closed(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        loop {
            let mut piece = [0; 4096];
            match self.tls.reader().read(&mut piece) {
                Ok(0) => return said,
                Ok(count) => said.extend(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.hear() {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it stays open"),
                    Err(_) => return said,
                },
                Err(_) => return said,
            }
        }
    }

    /// Does a host's part: echoes everything until the end, and ends.
    pub(crate) fn echo(mut self, accepted: &Accepted) {
        let mut carrier = Carrier::new(WINDOW_BYTES);
        carrier.resume(accepted.received, accepted.window).unwrap();
        while !carrier.is_settled() {
            let mut out = Vec::new();
            while carrier.has_output() {
                carrier.encode(&mut out);
            }
            self.send(&out);
            let mut piece = [0; 16 << 10];
            match self.tls.reader().read(&mut piece) {
                Ok(0) => return,
                Ok(count) => carrier.decode(&piece[..count]).unwrap(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.hear().is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
            while !carrier.deliverable().is_empty() && carrier.room() > 0 {
                let count = carrier.deliverable().len().min(carrier.room());
                let bytes = carrier.deliverable()[..count].to_vec();
                carrier.accept(&bytes);
                carrier.delivered(count);
            }
            if carrier.is_peer_finished() {
                carrier.finish();
            }
        }
    }
}

/// Waits until the gate has closed a plain connection. Answers what it has said before.
pub(crate) fn rest_of(socket: &mut TcpStream) -> Vec<u8> {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match socket.read(&mut piece) {
            Ok(0) => return said,
            Ok(count) => said.extend(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it stays open"),
            Err(_) => return said,
        }
    }
}
