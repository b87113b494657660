//! API versions: what a caller sees (a view), when a member exists (a gate), and which versions work together.
//!
//! *Invariants.* A [`View`] is always a base version: no prerelease, no build metadata. Comparison is
//! semantic. Nothing here knows what a schema is. The rules are those of the compatibility table in
//! `docs/compatibility.md`; the constants below are their single source.

use std::fmt;
use std::str::FromStr;

/// The newest API version that this engine speaks, and the version it answers with.
pub const ENGINE: View = View::new(0, 21, 8);
/// The oldest `engineVersion` a module may ask for; also what an absent one means.
pub const OLDEST_MODULE: View = View::new(0, 9, 9);
/// What a version text that is not a version means.
const FALLBACK: View = View::new(0, 11, 9);

/// The API version that a caller sees, such as `v0.18.10`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View {
    major: u32,
    minor: u32,
    patch: u32,
}

impl View {
    /// The view `v<major>.<minor>.<patch>`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The view a client asks for: an empty text means the engine's own version, a missing `v` is added, prerelease
    /// and build metadata are dropped, and what is no version at all counts as `v0.11.9`.
    pub fn of_client(version: &str) -> Self {
        if version.is_empty() {
            return ENGINE;
        }
        version.parse().unwrap_or(FALLBACK)
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a semantic version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version of the form v1.2.3")]
pub struct NotAVersion(pub String);

impl FromStr for View {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let bad = || NotAVersion(text.to_owned());
        let core = text.strip_prefix('v').unwrap_or(text);
        let core = core.split(['-', '+']).next().unwrap_or(core);
        let mut parts = core.split('.').map(|p| {
            let plain = !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| p.parse::<u32>().ok()).flatten()
        });
        let mut next = || parts.next().flatten().ok_or_else(bad);
        let view = Self { major: next()?, minor: next()?, patch: next()? };
        match parts.next() {
            None => Ok(view),
            Some(_) => Err(bad()),
        }
    }
}

impl serde::Serialize for View {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for View {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The versions a member of the schema belongs to: from `since` on, and before `until`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Gate {
    /// The first view that has the member; none: all older ones have it.
    pub since: Option<View>,
    /// The first view that has the member no more; none: all newer ones have it.
    pub until: Option<View>,
}

impl Gate {
    /// A gate that admits every view.
    pub const OPEN: Gate = Gate { since: None, until: None };

    /// Whether callers of `view` see the member.
    pub fn admits(&self, view: View) -> bool {
        self.since.is_none_or(|since| view >= since) && self.until.is_none_or(|until| view < until)
    }

    /// Whether every view is admitted.
    pub fn is_open(&self) -> bool {
        *self == Self::OPEN
    }
}

/// Why a module's `engineVersion` cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The module wants a newer API than this engine has.
    // The text is matched by users of the API; see spec/protocol.md §1.9.
    #[error("module requires dagger {wanted}, but you have {ENGINE}")]
    TooNew {
        /// The version the module asks for.
        wanted: String,
    },
    /// The module wants an API whose support was removed.
    #[error("module requires dagger {wanted}, but support for that version has been removed")]
    TooOld {
        /// The version the module asks for.
        wanted: String,
    },
}

/// The view of a module, from the text of `engineVersion` in its `dagger.json`.
///
/// # Errors
/// When the version is newer than [`ENGINE`] or older than [`OLDEST_MODULE`].
pub fn of_module(engine_version: &str) -> Result<View, Refused> {
    let view = match engine_version {
        "" => return Ok(OLDEST_MODULE),
        "latest" => return Ok(ENGINE),
        text => text.parse().unwrap_or(FALLBACK),
    };
    if view > ENGINE {
        return Err(Refused::TooNew { wanted: normal(engine_version) });
    }
    if view < OLDEST_MODULE {
        return Err(Refused::TooOld { wanted: normal(engine_version) });
    }
    Ok(view)
}

fn normal(text: &str) -> String {
    if text.starts_with('v') { text.to_owned() } else { format!("v{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> View {
        text.parse().expect("a version")
    }

    #[test]
    fn normalises_as_clients_expect() {
        assert_eq!(View::of_client(""), ENGINE);
        assert_eq!(View::of_client("0.18.10"), v("v0.18.10"));
        assert_eq!(View::of_client("v0.18.11-dev-abc+x"), v("v0.18.11"));
        assert_eq!(View::of_client("main"), v("v0.11.9"));
        assert_eq!(View::of_client("v123.456.789").to_string(), "v123.456.789");
    }

    #[test]
    fn refuses_what_is_not_a_version() {
        for text in ["", "1", "1.2", "1.2.3.4", "a.b.c", "1.2.x", "1.+2.3", "v1.2.-3"] {
            assert!(text.parse::<View>().is_err(), "{text}");
        }
    }

    #[test]
    fn gates_are_half_open() {
        let gate = Gate { since: Some(v("v0.12.0")), until: Some(v("v0.19.0")) };
        assert!(!gate.admits(v("v0.11.9")));
        assert!(gate.admits(v("v0.12.0")));
        assert!(gate.admits(v("v0.18.19")));
        assert!(!gate.admits(v("v0.19.0")));
    }

    #[test]
    fn module_versions() {
        assert_eq!(of_module(""), Ok(OLDEST_MODULE));
        assert_eq!(of_module("latest"), Ok(ENGINE));
        assert_eq!(of_module("v0.21.8-dev-123"), Ok(ENGINE));
        assert_eq!(
            of_module("v100.0.0").map_err(|e| e.to_string()),
            Err("module requires dagger v100.0.0, but you have v0.21.8".to_owned())
        );
        assert!(matches!(of_module("v0.9.8"), Err(Refused::TooOld { .. })));
    }
}
