//! The guard against requests to where they should not go (SSRF): whoever may make a receiver could otherwise have the
//! broker speak to its own host, to a cloud's metadata service, or to the network behind it, and read the answer.
//!
//! An address is checked after its name was resolved, and that very address is then connected to: a name that resolves
//! to something else a moment later (DNS rebinding) changes nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network: an address and how many of its leading bits count, `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    const fn v4(base: [u8; 4], bits: u8) -> Network {
        let [a, b, c, d] = base;
        Network { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
    }

    const fn v6(base: [u16; 8], bits: u8) -> Network {
        let [a, b, c, d, e, f, g, h] = base;
        Network { base: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), bits }
    }

    /// Whether the address is in it. An IPv4 address is never in an IPv6 network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (base, found, width) = match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(found)) => {
                (u128::from(base.to_bits()), u128::from(found.to_bits()), 32)
            }
            (IpAddr::V6(base), IpAddr::V6(found)) => (base.to_bits(), found.to_bits(), 128),
            _ => return false,
        };
        (base ^ found).checked_shr(width - u32::from(self.bits)).unwrap_or(0) == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.base, self.bits)
    }
}

/// `10.0.0.0/8`, or one address.
impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let refuse = || format!("'{}' is not a network such as 10.0.0.0/8 or fd00::/8", text.escape_debug());
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits.parse::<u8>().map_err(|_| refuse())?)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| refuse())?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width {
            return Err(refuse());
        }
        Ok(Network { base, bits })
    }
}

/// Networks that receivers may be in although they are not public. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNetworks(Vec<Network>);

impl From<Vec<Network>> for AllowedNetworks {
    fn from(networks: Vec<Network>) -> AllowedNetworks {
        AllowedNetworks(networks)
    }
}

/// An address that notifications do not go to, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is {what}, and notifications go to public addresses only; if this receiver is meant to be there, start \
     the broker with --webhook-allow {address} (or a network that holds it)"
)]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// What it is, for people.
    pub what: &'static str,
}

impl AllowedNetworks {
    /// Whether notifications may go to the address.
    ///
    /// # Errors
    /// It is not public, and no allowed network holds it.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        // `::ffff:10.0.0.1` is 10.0.0.1 to the system that connects.
        let address = address.to_canonical();
        if self.0.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        match not_public(address) {
            Some(what) => Err(Refused { address, what }),
            None => Ok(()),
        }
    }
}

/// Special IPv4 networks (IANA, "IPv4 Special-Purpose Address Registry").
const SPECIAL_V4: [(Network, &str); 15] = [
    (Network::v4([0, 0, 0, 0], 8), "an address of this host"),
    (Network::v4([10, 0, 0, 0], 8), "a private address"),
    (Network::v4([100, 64, 0, 0], 10), "an address shared by a carrier or cloud"),
    (Network::v4([127, 0, 0, 0], 8), "a loopback address"),
    (Network::v4([169, 254, 0, 0], 16), "a link-local address, where clouds keep their metadata"),
    (Network::v4([172, 16, 0, 0], 12), "a private address"),
    (Network::v4([192, 0, 0, 0], 24), "a reserved address"),
    (Network::v4([192, 0, 2, 0], 24), "an address for documents"),
    (Network::v4([192, 88, 99, 0], 24), "a reserved address"),
    (Network::v4([192, 168, 0, 0], 16), "a private address"),
    (Network::v4([198, 18, 0, 0], 15), "an address for benchmarks"),
    (Network::v4([198, 51, 100, 0], 24), "an address for documents"),
    (Network::v4([203, 0, 113, 0], 24), "an address for documents"),
    (Network::v4([224, 0, 0, 0], 4), "a multicast address"),
    (Network::v4([240, 0, 0, 0], 4), "a reserved address"),
];

/// What IPv6 addresses outside the global unicast network are, as far as people know them by name.
const SPECIAL_V6: [(Network, &str); 6] = [
    (Network::v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "an address of this host"),
    (Network::v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "a loopback address"),
    (Network::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "a private address"),
    (Network::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "a link-local address"),
    (Network::v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "a private address"),
    (Network::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "a multicast address"),
];

/// The only IPv6 network from which public addresses are given out (RFC 4291), and what in it leads elsewhere: Teredo
/// and its neighbours, documents, and 6to4, which holds an IPv4 address.
const GLOBAL_V6: Network = Network::v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const NOT_GLOBAL_V6: [Network; 4] = [
    Network::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    Network::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    Network::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    Network::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// The well-known prefix of NAT64 (RFC 6052): its last 32 bits are the IPv4 address that is reached.
const NAT64: Network = Network::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// What a canonical address is when it is not public.
fn not_public(address: IpAddr) -> Option<&'static str> {
    let named = |special: &[(Network, &'static str)]| {
        special.iter().find(|(network, _)| network.contains(address)).map(|(_, what)| *what)
    };
    match address {
        IpAddr::V4(_) => named(&SPECIAL_V4),
        IpAddr::V6(v6) if NAT64.contains(address) => {
            let [.., a, b, c, d] = v6.octets();
            not_public(IpAddr::from([a, b, c, d]))
        }
        IpAddr::V6(_) => named(&SPECIAL_V6).or_else(|| {
            let is_public =
                GLOBAL_V6.contains(address) && !NOT_GLOBAL_V6.iter().any(|network| network.contains(address));
            (!is_public).then_some("a reserved address")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_public_addresses_are_let_through() {
        let guard = AllowedNetworks::default();
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert_eq!(guard.check(address(public)), Ok(()), "{public}");
        }
        for (text, what) in [
            ("0.0.0.0", "this host"),
            ("0.1.2.3", "this host"),
            ("10.0.0.1", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.1", "shared"),
            ("100.100.100.200", "shared"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("169.254.169.254", "metadata"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "reserved"),
            ("192.168.1.1", "private"),
            ("198.19.255.255", "benchmarks"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "this host"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:169.254.169.254", "metadata"),
            ("::ffff:10.1.2.3", "private"),
            ("::127.0.0.1", "reserved"),
            ("64:ff9b::127.0.0.1", "loopback"),
            ("64:ff9b::169.254.169.254", "metadata"),
            ("64:ff9b:1::1", "reserved"),
            ("100::1", "reserved"),
            ("2001::1", "reserved"),
            ("2001:db8::1", "reserved"),
            ("2002:7f00:1::", "reserved"),
            ("3fff::1", "reserved"),
            ("5f00::1", "reserved"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "private"),
            ("ff02::1", "multicast"),
        ] {
            let refused = guard.check(address(text)).expect_err(text);
            assert!(refused.what.contains(what), "{text}: {}", refused.what);
            assert!(refused.to_string().contains("--webhook-allow"), "the way out is named");
        }
    }

    #[test]
    fn what_is_allowed_is_let_through_in_every_spelling_and_nothing_else() {
        let networks = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"].map(|text| text.parse::<Network>().unwrap());
        let guard = AllowedNetworks::from(networks.to_vec());
        for allowed in ["127.0.0.1", "::ffff:127.0.0.1", "10.9.8.7", "fd00:ec2::254", "1.1.1.1"] {
            assert_eq!(guard.check(address(allowed)), Ok(()), "{allowed}");
        }
        for refused in ["127.0.0.2", "11::", "fc00::1", "192.168.0.1", "::1", "169.254.169.254"] {
            assert!(guard.check(address(refused)).is_err(), "{refused}");
        }
    }

    #[test]
    fn networks_read_as_people_write_them() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/8", "127.0.0.1/32", "::1/128"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert_eq!("127.0.0.1".parse::<Network>().unwrap().to_string(), "127.0.0.1/32");
        for bad in
            ["", "10.0.0.0/33", "::/129", "10.0.0/8", "localhost", "10.0.0.0/", "10.0.0.0/-1", "1.1.1.1/8/8"]
        {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(address("203.0.113.7")) && !all.contains(address("::1")));
        assert!("::/0".parse::<Network>().unwrap().contains(address("::1")));
    }
}
