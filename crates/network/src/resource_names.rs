//! The names of the kernel resources of one engine. They are derived from its state directory, so
//! that a later run finds what an earlier one left behind.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rondel_digest::Digest;
use rondel_fault::{Attempt, Result};

use crate::firewall;
use crate::interfaces;
use crate::netlink::{Batch, Family, Socket};

/// The names of one engine's kernel resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceNames {
    /// The bridge.
    pub(crate) bridge: String,
    /// The packet filter table.
    pub(crate) table: String,
    /// The host's end of a container's veth pair, with `%d` for a number.
    pub(crate) veth: String,
    /// The file that records the helper process of an ordinary user's uplink.
    pub(crate) record: PathBuf,
}

impl ResourceNames {
    /// The names for a state directory.
    pub(crate) fn of(state_dir: &Path) -> Self {
        let place = state_dir.canonicalize().unwrap_or_else(|_| state_dir.to_owned());
        let digest = Digest::of_bytes(place.as_os_str().as_bytes()).hex();
        let short: String = digest.chars().take(8).collect();
        Self {
            bridge: format!("rnd{short}"),
            table: format!("rondel-{short}"),
            veth: format!("v{short}%d"),
            record: place.join("network-helper"),
        }
    }

    /// The prefix of the names of all veth interfaces of this engine, and of no other interface.
    pub(crate) fn veth_prefix(&self) -> &str {
        self.veth.trim_end_matches("%d")
    }

    /// Removes bridge, veth interfaces and rules from the namespace of the calling thread. A
    /// missing one is no error.
    pub(crate) fn remove_all(&self) -> Result<()> {
        self.remove_interfaces().attempt(|| format!("remove bridge `{}`", self.bridge))?;
        let rules = firewall::socket().and_then(|mut socket| firewall::remove(&mut socket, &self.table));
        match rules {
            Err(error) if !missing_in_kernel(&error) => {
                Err(error).attempt(|| format!("remove the packet filter table `{}`", self.table))
            }
            _ => Ok(()),
        }
    }

    fn remove_interfaces(&self) -> io::Result<()> {
        let mut socket = Socket::open(Family::Route)?;
        let prefix = self.veth_prefix();
        for link in interfaces::list(&mut socket)? {
            if link.name != self.bridge && !link.name.starts_with(prefix) {
                continue;
            }
            let mut batch = Batch::default();
            interfaces::remove(&mut batch, &link.name);
            match socket.apply(batch) {
                Err(error) if error.raw_os_error() != Some(libc::ENODEV) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether an interface has the name of an engine's bridge, or of the host's end of a veth pair.
pub(crate) fn is_engine_interface(name: &str) -> bool {
    let is_hex = |text: &str| text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_veth = |rest: &str| rest.get(..8).is_some_and(is_hex) && rest[8..].bytes().all(|b| b.is_ascii_digit());
    name.strip_prefix("rnd").is_some_and(is_hex) || name.strip_prefix('v').is_some_and(is_veth)
}

fn missing_in_kernel(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_differ() {
        let one = ResourceNames::of(Path::new("/nonexistent/one"));
        assert!(one.bridge.len() <= 15 && one.veth.trim_end_matches("%d").len() <= 9, "{one:?}");
        assert_eq!(one, ResourceNames::of(Path::new("/nonexistent/one")));
        assert_ne!(one, ResourceNames::of(Path::new("/nonexistent/two")));
        assert!(is_engine_interface(&one.bridge) && is_engine_interface(&one.veth.replace("%d", "17")));
        assert!(!["veth0", "eth0", "v1234", "rnd", "vé12345678"].into_iter().any(is_engine_interface));
    }
}
