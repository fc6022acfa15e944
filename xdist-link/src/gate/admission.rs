//! How many strangers may wait, and how much is said about those who were refused. Pure.

use mio::Token;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// What strangers may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections that have not proved anything yet. When there is one more, the oldest is dropped.
    pub newcomers: usize,
    /// How many of them from one address, or one network of IPv6. Whole clusters dial in from behind one address.
    pub newcomers_per_address: usize,
    /// How long they may take, from their first packet to their proof, whatever trickles in meanwhile.
    pub opening_time: Duration,
    /// How many bytes they may send until then.
    pub opening_bytes: usize,
    /// How many hosts there may be.
    pub hosts: usize,
    /// How many refusals are told one by one in a second. The others are counted.
    pub refusals_per_second: u32,
    /// How long the gate waits at its end for hosts to take notice.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            newcomers: 512,
            newcomers_per_address: 256,
            opening_time: Duration::from_secs(10),
            opening_bytes: 16 << 10,
            hosts: 4096,
            refusals_per_second: 5,
            farewell: Duration::from_secs(2),
        }
    }
}

/// Who waits, by where it comes from.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Tokens rise, so the first is the oldest.
    all: BTreeSet<Token>,
    by_network: BTreeMap<IpAddr, BTreeSet<Token>>,
}

impl Waiting {
    /// Lets one more wait. Answers who has to go for that.
    pub(super) fn add(&mut self, token: Token, address: IpAddr, limits: &Limits) -> Option<Token> {
        let others = self.by_network.entry(network(address)).or_default();
        let crowded = others.len() >= limits.newcomers_per_address;
        let dropped = match crowded {
            true => others.first().copied(),
            false if self.all.len() >= limits.newcomers => self.all.first().copied(),
            false => None,
        };
        others.insert(token);
        self.all.insert(token);
        dropped
    }

    /// One does not wait any more.
    pub(super) fn remove(&mut self, token: Token, address: IpAddr) {
        self.all.remove(&token);
        let network = network(address);
        if let Some(others) = self.by_network.get_mut(&network) {
            others.remove(&token);
            if others.is_empty() {
                self.by_network.remove(&network);
            }
        }
    }
}

/// What counts as one address: whoever has one of IPv6 has all of its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

/// How many refusals were told of late.
#[derive(Debug)]
pub(super) struct Refusals {
    per_second: u32,
    told: u32,
    untold: u64,
    since: Instant,
}

impl Refusals {
    pub(super) const fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, told: 0, untold: 0, since: now }
    }

    /// Whether one more refusal is told by itself.
    pub(super) fn is_told(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= SECOND && self.untold == 0 {
            (self.since, self.told) = (now, 0);
        }
        let is_told = self.told < self.per_second && self.untold == 0;
        match is_told {
            true => self.told += 1,
            false => self.untold += 1,
        }
        is_told
    }

    /// When the number of the others is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.untold > 0).then(|| self.since + SECOND)
    }

    /// The number of the others, when it is due.
    pub(super) fn untold(&mut self, now: Instant) -> Option<u64> {
        if self.deadline()? > now {
            return None;
        }
        (self.since, self.told) = (now, 0);
        Some(std::mem::take(&mut self.untold))
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { newcomers: 3, newcomers_per_address: 2, refusals_per_second: 2, ..Limits::default() }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_oldest_of_a_crowded_address_goes_first() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.add(Token(1), address(1), &limits()), None);
        assert_eq!(waiting.add(Token(2), address(2), &limits()), None);
        assert_eq!(waiting.add(Token(3), address(2), &limits()), None);
        assert_eq!(waiting.add(Token(4), address(2), &limits()), Some(Token(2)));
        waiting.remove(Token(2), address(2));
        assert_eq!(waiting.add(Token(5), address(3), &limits()), Some(Token(1)));
        waiting.remove(Token(1), address(1));
        waiting.remove(Token(3), address(2));
        assert_eq!(waiting.add(Token(6), address(1), &limits()), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let near = |last| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        let mut waiting = Waiting::default();
        assert_eq!(waiting.add(Token(1), near(1), &limits()), None);
        assert_eq!(waiting.add(Token(2), near(2), &limits()), None);
        assert_eq!(waiting.add(Token(3), near(3), &limits()), Some(Token(1)));
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(network(mapped), address(1));
    }

    #[test]
    fn a_flood_of_refusals_becomes_a_number() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut refusals = Refusals::new(2, start);
        assert!(refusals.is_told(at(0)) && refusals.is_told(at(1)));
        for _ in 0..1000 {
            assert!(!refusals.is_told(at(2)));
        }
        assert_eq!(refusals.deadline(), Some(at(1000)));
        assert_eq!(refusals.untold(at(999)), None);
        assert_eq!(refusals.untold(at(1000)), Some(1000));
        assert_eq!((refusals.untold(at(1000)), refusals.deadline()), (None, None));
        assert!(refusals.is_told(at(1001)));
    }

    #[test]
    fn refusals_far_apart_are_all_told() {
        let start = Instant::now();
        let mut refusals = Refusals::new(2, start);
        for second in 0..10 {
            assert!(refusals.is_told(start + Duration::from_secs(second)));
        }
    }
}
