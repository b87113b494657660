//! `resolv.conf`: parses the host's and writes the one of a container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;

const PORT: u16 = 53;

/// A parsed `resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    /// The name servers, in this order.
    pub(crate) nameservers: Vec<SocketAddr>,
    /// The other lines: search domains and options.
    pub(crate) other_lines: Vec<String>,
}

impl ResolvConf {
    /// Reads a file. Without a name server, or without the file, the name server is this machine.
    pub(crate) fn read(path: &Path) -> Self {
        let mut settings = Self::parse(&std::fs::read_to_string(path).unwrap_or_default());
        if settings.nameservers.is_empty() {
            settings.nameservers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
        }
        settings
    }

    fn parse(text: &str) -> Self {
        let mut settings = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default().trim();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => settings.nameservers.extend(words.next().and_then(nameserver)),
                Some("search" | "domain" | "options" | "sortlist") => settings.other_lines.push(line.to_owned()),
                _ => {}
            }
        }
        settings
    }

    /// The text of a container's file with other name servers.
    pub(crate) fn text(&self, nameservers: &[Ipv4Addr]) -> String {
        let mut text = String::new();
        for server in nameservers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        for line in &self.other_lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// The name servers that a container can reach without our name service: IPv4, not loopback.
    pub(crate) fn reachable(&self) -> Vec<Ipv4Addr> {
        let v4 = |server: &SocketAddr| match server.ip() {
            IpAddr::V4(address) if !address.is_loopback() && !address.is_unspecified() => Some(address),
            _ => None,
        };
        self.nameservers.iter().filter_map(v4).collect()
    }
}

fn nameserver(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, PORT));
    }
    let (address, scope) = text.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let scope = scope.parse().ok().or_else(|| interface_index(scope))?;
    Some(SocketAddrV6::new(address, PORT, 0, scope).into())
}

fn interface_index(name: &str) -> Option<u32> {
    if name.contains('/') {
        return None;
    }
    std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_settings_become_those_of_a_container() {
        let text = "# made by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.53 ; second\nnameserver fe80::1%1\nnameserver nonsense\nsearch a.example b.example\noptions ndots:3 edns0\n";
        let settings = ResolvConf::parse(text);
        assert_eq!(
            settings.nameservers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["127.0.0.53:53", "192.0.2.53:53", "[fe80::1%1]:53"]
        );
        assert_eq!(settings.reachable(), [Ipv4Addr::new(192, 0, 2, 53)]);
        assert_eq!(
            settings.text(&[Ipv4Addr::new(10, 87, 0, 1)]),
            "nameserver 10.87.0.1\nsearch a.example b.example\noptions ndots:3 edns0\n"
        );
    }

    #[test]
    fn a_missing_file_means_this_machine() {
        let settings = ResolvConf::read(Path::new("/nonexistent/resolv.conf"));
        assert_eq!(settings.nameservers, [SocketAddr::from(([127, 0, 0, 1], 53))]);
        assert!(settings.reachable().is_empty());
    }
}
