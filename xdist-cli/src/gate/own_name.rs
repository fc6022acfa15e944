//! The addresses that other machines of a cluster know this one by.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};

/// An address that is kept for documentation. Nothing is sent there.
const FAR_AWAY: &str = "192.0.2.1:9";

/// Where to listen so that other machines can reach this one, and no more than that: at the addresses of its name. Many
/// machines know themselves by a loopback address only; then at the address from which it talks to others, and if there is
/// none, at that of this machine alone. Blocks while a name is looked up.
pub(super) fn addresses() -> Vec<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let named = (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect());
    let chosen = choose(named.unwrap_or_default(), outward(), |ip| TcpListener::bind((ip, 0)).is_ok());
    chosen.into_iter().map(|ip| SocketAddr::new(ip, 0).to_string()).collect()
}

fn choose(mut named: Vec<IpAddr>, outward: Option<IpAddr>, is_ours: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let is_link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    named.retain(|ip| !ip.is_loopback() && !ip.is_unspecified() && !is_link_local(ip) && is_ours(*ip));
    named.sort();
    named.dedup();
    match (named.is_empty(), outward) {
        (false, _) => named,
        (true, Some(outward)) => vec![outward],
        (true, None) => vec![Ipv4Addr::LOCALHOST.into()],
    }
}

/// The address from which this machine talks to others.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect(FAR_AWAY).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(named: &[&str], outward: Option<&str>) -> String {
        let named = named.iter().map(|ip| ip.parse().unwrap()).collect();
        let theirs: IpAddr = "10.0.0.9".parse().unwrap();
        let chosen = choose(named, outward.map(|ip| ip.parse().unwrap()), |ip| ip != theirs);
        chosen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_addresses_of_the_name_come_first() {
        assert_eq!(
            chosen(&["10.0.0.1", "127.0.1.1", "10.0.0.1", "fd00::1"], Some("10.1.0.1")),
            "10.0.0.1 fd00::1"
        );
    }

    #[test]
    fn a_name_that_leads_nowhere_else_is_of_no_use() {
        for named in [&[][..], &["127.0.1.1", "::1"], &["fe80::1"], &["10.0.0.9"]] {
            assert_eq!(chosen(named, Some("10.1.0.1")), "10.1.0.1", "{named:?}");
            assert_eq!(chosen(named, None), "127.0.0.1", "{named:?}");
        }
    }

    #[test]
    fn this_machine_has_an_address_to_listen_at() {
        for address in addresses() {
            TcpListener::bind(&address).unwrap();
        }
    }
}
