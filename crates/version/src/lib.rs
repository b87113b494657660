//! API versions: what a caller sees (a view), when a member exists (a gate), and which versions
//! work together.
//!
//! *Invariants.* A [`View`] is always a base version: no prerelease, no build metadata. Comparison
//! is semantic. Nothing here knows what a schema is. The rules are those of the compatibility table
//! in `docs/compatibility.md`; the constants below are their single source.

use std::fmt;
use std::str::FromStr;

/// The newest API version that this engine speaks, and the version it answers with.
pub const ENGINE: View = View::new(0, 21, 8);
/// The oldest `engineVersion` a module may ask for; also what an absent one means.
pub const OLDEST_MODULE: View = View::new(0, 9, 9);
/// The oldest client library that is served.
pub const OLDEST_CLIENT: View = OLDEST_MODULE;
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

    /// The view of a client, from its version alone. An empty text means the engine's own version.
    /// A missing `v` is added; prerelease and build metadata are dropped. A text that is no
    /// version counts as `v0.11.9`.
    pub fn of_client(version: &str) -> Self {
        Semantic::normal(version).base
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
    /// The first view that has the member. `None`: every older view has it.
    pub since: Option<View>,
    /// The first view without the member. `None`: every newer view has it.
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

/// Why a version cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The module wants a newer API than this engine has.
    // The text is matched by users of the API; see docs/protocol.md#versions-and-views.
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
    /// The client library is older than everything that is served.
    // As above.
    #[error("incompatible client version {wanted}")]
    Client {
        /// The version the client has.
        wanted: String,
    },
}

/// The view of a module, from the text of `engineVersion` in its `dagger.json`.
///
/// # Errors
/// When the version is newer than [`ENGINE`] or older than [`OLDEST_MODULE`]. A prerelease is older
/// than its release.
pub fn of_module(engine_version: &str) -> Result<View, Refused> {
    match engine_version {
        "" => return Ok(OLDEST_MODULE),
        "latest" => return Ok(ENGINE),
        _ => {}
    }
    let asked = Semantic::normal(engine_version);
    if asked > Semantic::release(ENGINE) {
        return Err(Refused::TooNew { wanted: clean(engine_version) });
    }
    if asked < Semantic::release(OLDEST_MODULE) {
        return Err(Refused::TooOld { wanted: clean(engine_version) });
    }
    Ok(asked.base)
}

/// The view of a client library, from the version that it says it has. One that is newer than
/// [`ENGINE`] is served: it handles missing fields itself.
///
/// # Errors
/// When it is older than [`OLDEST_CLIENT`].
pub fn of_client(version: &str) -> Result<View, Refused> {
    let asked = Semantic::normal(version);
    match asked < Semantic::release(OLDEST_CLIENT) {
        true => Err(Refused::Client { wanted: clean(version) }),
        false => Ok(asked.base),
    }
}

/// Why an API version that a user typed is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// It is no version.
    #[error(transparent)]
    NoVersion(#[from] NotAVersion),
    /// It is outside of what there is.
    #[error("cannot serve the API version `{asked}`: there are {OLDEST_CLIENT} to {ENGINE}")]
    OutOfRange {
        /// The version that was asked for.
        asked: String,
    },
}

/// The view that a user typed. Nothing is guessed.
///
/// # Errors
/// When it is no version, or one that this engine does not have.
pub fn asked_for(text: &str) -> Result<View, NotServed> {
    let asked = Semantic::read(&clean(text)).ok_or_else(|| NotAVersion(text.to_owned()))?;
    match (OLDEST_CLIENT..=ENGINE).contains(&asked.base) {
        true => Ok(asked.base),
        false => Err(NotServed::OutOfRange { asked: text.to_owned() }),
    }
}

/// A version with what comes after its numbers, in the order of semantic versioning 2.0.0 §11.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Semantic {
    base: View,
    /// Sorts after every prerelease.
    release: bool,
    /// The identifiers of the prerelease; numbers sort before words.
    pre: Vec<Identifier>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

impl Semantic {
    fn release(base: View) -> Self {
        Self { base, release: true, pre: Vec::new() }
    }

    /// As clients mean it: see [`View::of_client`].
    fn normal(text: &str) -> Self {
        match clean(text).as_str() {
            "" => Self::release(ENGINE),
            text => Self::read(text).unwrap_or(Self::release(FALLBACK)),
        }
    }

    /// Reads `v1`, `v1.2` or `v1.2.3-pre.1+build`.
    fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v')?;
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (numbers, pre) = text.split_once('-').map_or((text, None), |(text, pre)| (text, Some(pre)));
        let numbers: Vec<u32> = numbers.split('.').map(number).collect::<Option<_>>()?;
        let whole = numbers.len() == 3 || (numbers.len() < 3 && pre.is_none() && build.is_none());
        if !whole || build.is_some_and(|build| !build.split('.').all(is_identifier)) {
            return None;
        }
        let at = |place: usize| numbers.get(place).copied().unwrap_or(0);
        let base = View::new(at(0), at(1), at(2));
        let identifiers = pre.map(|pre| pre.split('.').map(identifier).collect::<Option<Vec<_>>>());
        match identifiers {
            None => Some(Self::release(base)),
            Some(pre) => Some(Self { base, release: false, pre: pre? }),
        }
    }
}

/// A number without zeros in front.
fn number<N: FromStr>(text: &str) -> Option<N> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn identifier(text: &str) -> Option<Identifier> {
    match is_identifier(text) && text.bytes().all(|b| b.is_ascii_digit()) {
        true => number(text).map(Identifier::Number),
        false => is_identifier(text).then(|| Identifier::Word(text.to_owned())),
    }
}

/// The text with the `v` that it may lack.
fn clean(text: &str) -> String {
    let with = format!("v{text}");
    if Semantic::read(&with).is_some() { with } else { text.to_owned() }
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
        let check = |text: &str, want: Result<&str, &str>| {
            let got = of_module(text).map(|view| view.to_string()).map_err(|error| error.to_string());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{text}");
        };
        check("", Ok("v0.9.9"));
        check("latest", Ok("v0.21.8"));
        check("v0.18.10", Ok("v0.18.10"));
        check("0.18.10", Ok("v0.18.10"));
        check("v0.21.8-dev-123", Ok("v0.21.8"));
        check("v0.18.11-rc.1+build.5", Ok("v0.18.11"));
        check("soon", Ok("v0.11.9"));
        check("v0.18.", Ok("v0.11.9"));
        check("v0.18.010", Ok("v0.11.9"));
        check("v0.18", Ok("v0.18.0"));
        check("v100.0.0", Err("module requires dagger v100.0.0, but you have v0.21.8"));
        check("v99", Err("module requires dagger v99, but you have v0.21.8"));
        check("0.21.9-dev-1", Err("module requires dagger v0.21.9-dev-1, but you have v0.21.8"));
        check("v0.9.8", Err("module requires dagger v0.9.8, but support for that version has been removed"));
        check("v0.9.9-rc.1", Err("module requires dagger v0.9.9-rc.1, but support for that version has been removed"));
    }

    #[test]
    fn client_versions() {
        let check = |text: &str, want: Result<&str, &str>| {
            let got = of_client(text).map(|view| view.to_string()).map_err(|error| error.to_string());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{text}");
        };
        check("", Ok("v0.21.8"));
        check("v0.3.0-old", Err("incompatible client version v0.3.0-old"));
        check("0.9.8", Err("incompatible client version v0.9.8"));
        check("v0.18.12", Ok("v0.18.12"));
        check("v123.456.789", Ok("v123.456.789"));
        check("0e1a2b", Ok("v0.11.9"));
    }

    #[test]
    fn typed_versions_are_not_guessed() {
        let check = |text: &str, want: Result<&str, &str>| {
            let got = asked_for(text).map(|view| view.to_string()).map_err(|error| error.to_string());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{text}");
        };
        check("v0.18.10", Ok("v0.18.10"));
        check("0.9.9", Ok("v0.9.9"));
        check("v0.21.8-dev-1", Ok("v0.21.8"));
        check("v99", Err("cannot serve the API version `v99`: there are v0.9.9 to v0.21.8"));
        check("v0.9.8", Err("cannot serve the API version `v0.9.8`: there are v0.9.9 to v0.21.8"));
        check("soon", Err("`soon` is not a version of the form v1.2.3"));
        check("", Err("`` is not a version of the form v1.2.3"));
    }

    #[test]
    fn prereleases_come_before_their_release() {
        let texts = ["v1.0.0-1", "v1.0.0-11", "v1.0.0-a", "v1.0.0-a.1", "v1.0.0-a.b", "v1.0.0", "v1.0.1-0"];
        let versions: Vec<Semantic> = texts.iter().map(|text| Semantic::read(text).expect("a version")).collect();
        assert!(versions.is_sorted(), "{versions:?}");
        for bad in ["1.0.0", "v", "v1.", "v1-a", "v1.2+b", "v1.2.3-", "v1.2.3-01", "v1.2.3-a..b", "v1.2.3+", "v01.0.0"]
        {
            assert_eq!(Semantic::read(bad), None, "{bad}");
        }
    }
}
