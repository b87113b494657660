//! Entitlements: permissions to leave the isolation of containers. The names are those of BuildKit.

use std::fmt;
use std::str::FromStr;

/// A permission that modules and processes in containers need from the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entitlement {
    /// A process in the network of the host: `RUN --network=host`.
    NetworkHost,
    /// A process with every capability, which is root of the host: `insecureRootCapabilities`, `RUN
    /// --security=insecure`.
    SecurityInsecure,
}

impl Entitlement {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::NetworkHost, Self::SecurityInsecure];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NetworkHost => "network.host",
            Self::SecurityInsecure => "security.insecure",
        }
    }
}

impl fmt::Display for Entitlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no entitlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownEntitlement;

impl FromStr for Entitlement {
    type Err = UnknownEntitlement;

    fn from_str(text: &str) -> Result<Self, UnknownEntitlement> {
        Self::ALL.into_iter().find(|known| known.name() == text).ok_or(UnknownEntitlement)
    }
}
