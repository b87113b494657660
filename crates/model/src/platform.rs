//! Platforms: operating system and architecture, normalized as in containerd.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A platform such as `linux/arm64` or `linux/arm/v7`. Shared, because every tree that belongs to
/// one carries it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
#[serde(transparent)]
pub struct Platform(Arc<PlatformParts>);

/// The parts of a [`Platform`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct PlatformParts {
    /// `linux`, `windows`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, …; empty when the architecture has only one.
    pub variant: String,
}

/// The text names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
// Clients match on the last words.
#[error("`{0}`: unknown operating system or architecture")]
pub struct UnknownPlatform(pub String);

impl Platform {
    /// A platform of these parts, not normalized.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>, variant: impl Into<String>) -> Self {
        let (os, architecture, variant) = (os.into(), architecture.into(), variant.into());
        Self(Arc::new(PlatformParts { os, architecture, variant }))
    }

    /// The platform that this engine runs on.
    pub fn native() -> Self {
        let (architecture, variant) = normal(std::env::consts::ARCH, "");
        Self::new("linux", architecture, variant)
    }
}

impl Deref for Platform {
    type Target = PlatformParts;

    fn deref(&self) -> &PlatformParts {
        &self.0
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
];
const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x", "wasm",
];

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Self, UnknownPlatform> {
        let unknown = || UnknownPlatform(text.to_owned());
        let lower = text.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let native = Platform::native();
        let (os, arch, variant) = match parts[..] {
            [one] if SYSTEMS.contains(&system(one)) => {
                (system(one).to_owned(), native.architecture.clone(), native.variant.clone())
            }
            [one] => {
                let (arch, variant) = normal(one, "");
                (native.os.clone(), arch, variant)
            }
            [os, arch] => {
                let (arch, variant) = normal(arch, "");
                (system(os).to_owned(), arch, variant)
            }
            [os, arch, variant] => {
                let (arch, variant) = normal(arch, variant);
                (system(os).to_owned(), arch, variant)
            }
            _ => return Err(unknown()),
        };
        if !SYSTEMS.contains(&&*os) || !ARCHITECTURES.contains(&&*arch) {
            return Err(unknown());
        }
        Ok(Self::new(os, arch, variant))
    }
}

fn system(os: &str) -> &str {
    if os == "macos" { "darwin" } else { os }
}

fn normal(arch: &str, variant: &str) -> (String, String) {
    let (arch, variant) = match (arch, variant) {
        ("i386" | "i686" | "x86", v) => ("386", v),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", v) => ("amd64", v),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64", v) => ("arm64", v),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (arch.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_forms() {
        let check =
            |text: &str, want: &str| assert_eq!(text.parse::<Platform>().map(|p| p.to_string()), Ok(want.into()));
        check("linux/arm64/v8", "linux/arm64");
        check("linux/amd64", "linux/amd64");
        check("linux/x86_64", "linux/amd64");
        check("LINUX/arm", "linux/arm/v7");
        check("windows/amd64", "windows/amd64");
        assert!("windows98".parse::<Platform>().is_err());
        assert!("linux/amd64/v2/x".parse::<Platform>().is_err());
    }
}
