//! Typed digests and the one stable way to hash structured data.
//!
//! *Invariants.* A [`Digest`] is 32 bytes of BLAKE3 and names something of ours; a [`Sha256Digest`]
//! names a blob of the OCI world. Neither can be mistaken for the other. Structured data is hashed
//! through [`of`], whose byte layout is written down in [`stable`] and never depends on the
//! platform, on map order or on the version of a library. This crate does not know what it hashes,
//! does no I/O and reads no clock.

pub mod stable;

use std::fmt;
use std::str::FromStr;

pub use stable::{Hasher, of};

/// A BLAKE3 digest of 32 bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps 32 bytes that are already a BLAKE3 digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The BLAKE3 digest of `bytes`, with no domain separation.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `given` is this MAC, in the same time for every other one.
    pub fn is_mac(&self, given: &[u8]) -> bool {
        given
            .try_into()
            .is_ok_and(|given: [u8; 32]| blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(given))
    }

    /// The 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// The first 12 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        hex(&self.0[..6])
    }
}

/// A key that follows from `secret`, for one use: `context` names it and is used nowhere else.
pub fn derived_key(context: &'static str, secret: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key(context, secret)
}

/// The MAC of `bytes` under `key`.
pub fn mac(key: &[u8; 32], bytes: &[u8]) -> Digest {
    Digest(*blake3::keyed_hash(key, bytes).as_bytes())
}

/// A SHA-256 digest as the OCI world writes it: `sha256:<64 hexadecimal digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// Wraps 32 bytes that are already a SHA-256 digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The SHA-256 digest of `bytes`.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text has another length than a digest has.
    #[error("a digest has 64 hexadecimal digits, `{0}` has another length")]
    Length(String),
    /// The text contains something that is not a hexadecimal digit.
    #[error("`{0}` is not a hexadecimal number")]
    NotHex(String),
    /// The text names an algorithm that is not supported here.
    #[error("`{0}` is not a sha256 digest")]
    Algorithm(String),
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        unhex(s).map(Self)
    }
}

impl FromStr for Sha256Digest {
    type Err = ParseError;

    fn from_str(s: &str) -> Result<Self, ParseError> {
        match s.strip_prefix("sha256:") {
            Some(rest) => unhex(rest).map(Self),
            None => Err(ParseError::Algorithm(s.to_owned())),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! serde_as_text {
    ($($t:ty),*) => {$(
        impl serde::Serialize for $t {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $t {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(Digest, Sha256Digest);

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        out.push(DIGITS[usize::from(b >> 4)] as char);
        out.push(DIGITS[usize::from(b & 15)] as char);
    }
    out
}

fn unhex(s: &str) -> Result<[u8; 32], ParseError> {
    if s.len() != 64 {
        return Err(ParseError::Length(s.to_owned()));
    }
    let digit = |c: u8| match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(ParseError::NotHex(s.to_owned())),
    };
    let mut out = [0u8; 32];
    for (byte, pair) in out.iter_mut().zip(s.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let d = Digest::of_bytes(b"x");
        assert_eq!(d.hex().parse(), Ok(d));
        let s = Sha256Digest::of_bytes(b"");
        assert_eq!(s.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(s.to_string().parse(), Ok(s));
    }

    #[test]
    fn wrong_text_is_refused() {
        assert!(matches!("12".parse::<Digest>(), Err(ParseError::Length(_))));
        assert!(matches!("G".repeat(64).parse::<Digest>(), Err(ParseError::NotHex(_))));
        assert!(matches!("md5:00".parse::<Sha256Digest>(), Err(ParseError::Algorithm(_))));
    }
}
