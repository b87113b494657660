//! Egress rules: which addresses a container may reach. The outside is allowed, the host itself is
//! not.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use rondel_fault::{Fault, Result};
pub use rondel_model::EgressScope;
use serde::Deserialize;

/// A range of IP addresses, written as an address or in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cidr {
    /// Its first address.
    pub base: IpAddr,
    /// How many leading bits are fixed.
    pub prefix: u8,
}

impl Cidr {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(segments: [u16; 8], prefix: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = segments;
        Self { base: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix }
    }

    /// Whether `address` is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (base, address, length) = match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => (u128::from(base.to_bits()), u128::from(address.to_bits()), 32),
            (IpAddr::V6(base), IpAddr::V6(address)) => (base.to_bits(), address.to_bits(), 128),
            _ => return false,
        };
        let free = length - u32::from(self.prefix).min(length);
        base.checked_shr(free).unwrap_or(0) == address.checked_shr(free).unwrap_or(0)
    }
}

impl FromStr for Cidr {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Fault::user(format!("`{text}` is neither an IP address nor a range such as `192.0.2.0/24`"));
        let (base, prefix) = text.split_once('/').map_or((text, None), |(base, prefix)| (base, Some(prefix)));
        let base: IpAddr = base.trim().parse().map_err(|_| wrong())?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.trim().parse().map_err(|_| wrong()))?;
        if prefix > longest { Err(wrong()) } else { Ok(Self { base, prefix }) }
    }
}

impl TryFrom<String> for Cidr {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// Refused ranges: addresses of a host or its link, and metadata services of clouds, which hand out
/// the credentials of a host.
const REFUSED: [Cidr; 12] = [
    Cidr::v4(0, 0, 0, 0, 8),
    Cidr::v4(127, 0, 0, 0, 8),
    Cidr::v4(169, 254, 0, 0, 16),
    Cidr::v4(100, 100, 100, 200, 32),
    Cidr::v4(168, 63, 129, 16, 32),
    Cidr::v4(192, 0, 0, 192, 32),
    Cidr::v4(224, 0, 0, 0, 4),
    Cidr::v4(255, 255, 255, 255, 32),
    // The unspecified address and the loopback.
    Cidr::v6([0, 0, 0, 0, 0, 0, 0, 0], 127),
    Cidr::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    Cidr::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
    Cidr::v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254], 128),
];

/// IPv6 ranges that embed an IPv4 address, each with the number of bits that follow that address.
const EMBEDDED: [(Cidr, u32); 4] = [
    (Cidr::v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), 0),
    (Cidr::v6([0, 0, 0, 0, 0, 0, 0, 0], 96), 0),
    (Cidr::v6([0x0064, 0xff9b, 0, 0, 0, 0, 0, 0], 96), 0),
    (Cidr::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), 80),
];

/// The refused IPv4 ranges whose packets would leave the host.
pub fn refused_ranges() -> Vec<(Ipv4Addr, u8)> {
    let v4 = |range: &Cidr| match range.base {
        IpAddr::V4(base) => Some((base, range.prefix)),
        IpAddr::V6(_) => None,
    };
    REFUSED.iter().filter_map(v4).collect()
}

/// Returns whether an address belongs to this host, or leads to a container on it.
pub type OfMachine = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The egress rules of one engine.
#[derive(Clone)]
pub struct Egress {
    allowed: Arc<[Cidr]>,
    of_machine: OfMachine,
}

impl Egress {
    /// Allows every address outside of this host, and the ranges in `allowed`. `of_machine` knows
    /// the addresses of this host.
    pub fn new(allowed: impl Into<Arc<[Cidr]>>, of_machine: OfMachine) -> Self {
        Self { allowed: allowed.into(), of_machine }
    }

    /// Returns whether a connection to `address` is refused. An IPv4 address inside of an IPv6
    /// address is checked as that IPv4 address.
    pub fn refuses(&self, address: IpAddr) -> bool {
        let address = embedded(address);
        let allowed = self.allowed.iter().any(|range| range.contains(address));
        !allowed && (REFUSED.iter().any(|range| range.contains(address)) || (self.of_machine)(address))
    }

    /// Checks one address that the name `host` resolves to.
    ///
    /// # Errors
    /// When it is refused.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<()> {
        if !self.refuses(address) {
            return Ok(());
        }
        let at =
            if host.trim_matches(['[', ']']) == address.to_string() { String::new() } else { format!(" ({address})") };
        Err(Fault::user(format!("`{host}`{at} is an address of the engine's machine or its link, which a container does not reach"))
            .with_hint(format!(
                "run it as a service of the session, or allow it in the engine's configuration: `[security]` `egress = [\"{}\"]`",
                embedded(address)
            )))
    }
}

impl Default for Egress {
    /// The rules without knowledge of this host: refuses what belongs to any host.
    fn default() -> Self {
        Self::new([], Arc::new(|_| false))
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

/// The IPv4 address embedded in an IPv6 address, or the address itself.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    // The loopback is no IPv4 address, although it looks like one.
    if v6.to_bits() <= 1 {
        return address;
    }
    let found = EMBEDDED.iter().find(|(range, _)| range.contains(address));
    found.map_or(address, |(_, end)| Ipv4Addr::from_bits((v6.to_bits() >> end) as u32).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_refused_under_every_name() {
        let egress = Egress::new(
            ["10.9.0.0/16".parse().expect("a range"), "127.0.0.7".parse().expect("an address")],
            Arc::new(|address| ["192.0.2.1", "10.9.1.1", "2001:db8::1"].contains(&&*address.to_string())),
        );
        for refused in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "192.0.2.1",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "2001:db8::1",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(egress.refuses(refused.parse().expect("an address")), "{refused}");
        }
        for passes in ["192.0.2.2", "10.9.1.1", "127.0.0.7", "::ffff:127.0.0.7", "8.8.8.8", "2001:db8::2", "10.0.0.1"] {
            assert!(!egress.refuses(passes.parse().expect("an address")), "{passes}");
        }
    }

    #[test]
    fn ranges_are_read() {
        let check = |text: &str, inside: &str, outside: &str| {
            let range: Cidr = text.parse().expect("a range");
            assert!(range.contains(inside.parse().expect("an address")), "{text} {inside}");
            assert!(!range.contains(outside.parse().expect("an address")), "{text} {outside}");
        };
        check("10.0.0.0/8", "10.255.0.1", "11.0.0.1");
        check("0.0.0.0/0", "1.2.3.4", "::1");
        check("::/0", "::1", "1.2.3.4");
        check("fe80::/10", "febf::1", "fec0::1");
        check("192.0.2.1", "192.0.2.1", "192.0.2.2");
        for wrong in ["", "10.0.0.0/33", "::/129", "example.com", "10.0.0.0/x", "10.0.0"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
