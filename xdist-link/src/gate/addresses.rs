//! Where the gate listens, and what it says where it can be reached.

use mio::net::TcpListener;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

/// The host of an address that names none: nothing listens beyond this machine unless told to.
const DEFAULT_HOST: &str = "127.0.0.1";

/// How many connections may wait to be accepted, where the system lets as many. Whoever comes in one too many waits a
/// second until the system tries again, so a flood of connections should not fill it.
const BACKLOG: i32 = 4096;

/// The gate cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address makes no sense.
    #[error("--listen {address}: not an address: say HOST:PORT, or a port alone for this machine only")]
    Address {
        /// What was given.
        address: String,
    },
    /// The host has no address.
    #[error("--listen {address}: cannot find the host: {source}")]
    Host {
        /// What was given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The system refuses.
    #[error("cannot listen at {address}: {source}; {}", remedy(source))]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "choose another port with --listen, or 0 for any that is free",
        io::ErrorKind::AddrNotAvailable => {
            "name an address that this machine has, or 0.0.0.0 for all of them"
        }
        io::ErrorKind::PermissionDenied => "choose a port above 1023",
        _ => "choose another address with --listen",
    }
}

/// Listens at all of these addresses.
pub(super) fn listen(addresses: &[String]) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for address in addresses {
        for resolved in resolve(address)? {
            let bind_error = |source| ListenError::Bind { address: resolved, source };
            let listener = TcpListener::bind(resolved).map_err(bind_error)?;
            rustix::net::listen(&listener, BACKLOG).map_err(|error| bind_error(error.into()))?;
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

fn resolve(address: &str) -> Result<Vec<SocketAddr>, ListenError> {
    let bad = || ListenError::Address { address: address.to_owned() };
    let (host, port) = match address.rsplit_once(':') {
        Some(("", port)) => (DEFAULT_HOST, port),
        Some((host, port)) => (host, port),
        None => (DEFAULT_HOST, address),
    };
    let port: u16 = port.parse().map_err(|_| bad())?;
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !is_bracketed {
        return Err(bad());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|source| ListenError::Host { address: address.to_owned(), source })?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort();
    found.dedup();
    if port == 0 {
        // Two ports for one name would be one too many to tell.
        found.truncate(1);
    }
    Ok(found)
}

/// What a token says where the gate is: what the user says, or else what can be found out.
pub(super) fn advertise(wanted: &[String], bound: &[SocketAddr]) -> Vec<String> {
    let port = bound.first().map_or(0, SocketAddr::port);
    let mut told = match wanted {
        [] => bound.iter().flat_map(|&address| reachable(address)).collect(),
        _ => wanted.iter().map(|address| with_port(address, port)).collect::<Vec<_>>(),
    };
    let mut seen = Vec::new();
    told.retain(|address| {
        let is_new = !seen.contains(address);
        seen.push(address.clone());
        is_new
    });
    told
}

/// An address as somebody would dial it.
fn with_port(address: &str, port: u16) -> String {
    let has_port = match address.rsplit_once(':') {
        Some((host, after)) => (!host.contains(':') || host.ends_with(']')) && after.parse::<u16>().is_ok(),
        None => false,
    };
    let is_bare_v6 = address.parse::<Ipv6Addr>().is_ok();
    match (has_port, is_bare_v6) {
        (true, _) => address.to_owned(),
        (false, true) => format!("[{address}]:{port}"),
        (false, false) => format!("{address}:{port}"),
    }
}

/// What to dial for an address that is listened at. One that stands for all addresses is none to dial.
fn reachable(address: SocketAddr) -> Vec<String> {
    if !address.ip().is_unspecified() {
        return vec![address.to_string()];
    }
    let port = address.port();
    let outward = outward(address.is_ipv6()).map(|ip| SocketAddr::new(ip, port).to_string());
    let name = rustix::system::uname().nodename().to_str().ok().map(|name| format!("{name}:{port}"));
    let local: IpAddr = match address.is_ipv6() {
        true => Ipv6Addr::LOCALHOST.into(),
        false => Ipv4Addr::LOCALHOST.into(),
    };
    outward.into_iter().chain(name).chain([SocketAddr::new(local, port).to_string()]).collect()
}

/// The address from which this machine talks to others. Nothing is sent: the system only looks for the way.
fn outward(is_v6: bool) -> Option<IpAddr> {
    // Addresses that are kept for documentation.
    let (own, other) = if is_v6 { ("[::]:0", "[2001:db8::1]:9") } else { ("0.0.0.0:0", "192.0.2.1:9") };
    let socket = UdpSocket::bind(own).ok()?;
    socket.connect(other).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(address: &str) -> String {
        match resolve(address) {
            Ok(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_port_alone_is_for_this_machine_only() {
        for address in ["4711", ":4711"] {
            assert_eq!(resolved(address), "127.0.0.1:4711");
        }
    }

    #[test]
    fn hosts_may_be_names_and_addresses() {
        assert_eq!(resolved("0.0.0.0:1"), "0.0.0.0:1");
        assert_eq!(resolved("[::1]:2"), "[::1]:2");
        assert!(resolved("localhost:3").contains("127.0.0.1:3"));
    }

    #[test]
    fn what_is_no_address_is_told() {
        for address in ["", "host", "host:", "host:port", "host:70000", "::1", "::1:80"] {
            assert!(resolved(address).contains("not an address"), "{address}: {}", resolved(address));
        }
    }

    #[test]
    fn what_is_advertised_has_a_port() {
        let bound = [SocketAddr::from(([127, 0, 0, 1], 4711))];
        let wanted =
            ["gate.example.org", "gate:80", "::1", "[::1]:80", "192.0.2.7", "gate:80"].map(ToOwned::to_owned);
        assert_eq!(
            advertise(&wanted, &bound),
            ["gate.example.org:4711", "gate:80", "[::1]:4711", "[::1]:80", "192.0.2.7:4711"]
        );
        assert_eq!(advertise(&[], &bound), ["127.0.0.1:4711"]);
    }

    #[test]
    fn all_addresses_are_none_to_dial() {
        let told = advertise(&[], &[SocketAddr::from(([0, 0, 0, 0], 4711))]);
        assert!(told.iter().all(|address| !address.starts_with("0.0.0.0")), "{told:?}");
        assert_eq!(told.last().unwrap(), "127.0.0.1:4711");
    }

    #[test]
    fn a_port_that_is_taken_is_told_with_a_remedy() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = listen(std::slice::from_ref(&address)).unwrap_err().to_string();
        assert!(error.contains(&address) && error.contains("choose another port"), "{error}");
    }
}
