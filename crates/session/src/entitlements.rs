//! Entitlements of a session: which modules and processes may use what leaves a container's
//! isolation.
//!
//! *Invariants.* The user's own clients have every entitlement. Modules and processes in containers
//! have those that the configuration or a client on the user's machine grants, and nothing that
//! runs in a container can add to them. A module is identified by where it was found, never by its
//! name, which its author chooses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::RwLock;

use rondel_fault::{Fault, Result, read_lock, write_lock};
use rondel_model::AbsPath;
use rondel_model::entitlement::Entitlement;

/// Granted entitlements: of every module and process, and of single modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    everyone: BTreeSet<Entitlement>,
    modules: BTreeMap<String, BTreeSet<Entitlement>>,
}

impl Grants {
    /// Parses grants, each `NAME` or `NAME=MODULE`. Directories of modules are relative to `base`.
    ///
    /// # Errors
    /// When a text names no entitlement, or no module behind its `=`.
    pub fn parse<T: AsRef<str>>(texts: &[T], base: &Path) -> Result<Self> {
        let mut grants = Self::default();
        for text in texts {
            let text = text.as_ref();
            let (name, module) = text.split_once('=').map_or((text, None), |(name, module)| (name, Some(module)));
            let entitlement = name.parse().map_err(|_| {
                let names = Entitlement::ALL.map(|known| format!("`{known}`"));
                Fault::user(format!("cannot allow `{text}`: there is no entitlement `{name}`"))
                    .with_hint(format!("the entitlements are {}", names.join(" and ")))
            })?;
            match module {
                None => grants.everyone.insert(entitlement),
                Some("") => {
                    return Err(Fault::user(format!("cannot allow `{text}`: no module is named behind the `=`")));
                }
                Some(module) => grants.modules.entry(location(module, base)).or_default().insert(entitlement),
            };
        }
        Ok(grants)
    }

    /// Whether the module at `module` has `entitlement`. `None` is a process in a container that
    /// acts as no module.
    fn include(&self, entitlement: Entitlement, module: Option<&str>) -> bool {
        if self.everyone.contains(&entitlement) {
            return true;
        }
        let Some(found) = module.filter(|found| !found.is_empty()).map(normalize) else { return false };
        // A grant may name a repository without a version.
        let any_version = found.rsplit_once('@').map(|(location, _)| location.to_owned());
        let names = [Some(found), any_version];
        names.iter().flatten().filter_map(|name| self.modules.get(name)).any(|allowed| allowed.contains(&entitlement))
    }

    fn add(&mut self, more: Self) {
        self.everyone.extend(more.everyone);
        for (module, allowed) in more.modules {
            self.modules.entry(module).or_default().extend(allowed);
        }
    }
}

/// Normalizes the module of a grant: a directory becomes absolute; a repository may have a
/// directory and a version.
fn location(module: &str, base: &Path) -> String {
    match module.starts_with(['/', '.']) {
        true => AbsPath::new(&base.to_string_lossy()).join(module).to_string(),
        false => normalize(module),
    }
}

/// A location without scheme, user and `.git`, so that all spellings of it are equal.
fn normalize(module: &str) -> String {
    let module = module.split_once("://").map_or(module, |(_, rest)| rest);
    let module = match module.split_once('@') {
        Some((user, rest)) if !user.contains('/') => rest.replacen(':', "/", 1),
        _ => module.to_owned(),
    };
    module.replacen(".git/", "/", 1).replacen(".git@", "@", 1).trim_end_matches(".git").to_owned()
}

/// The grants of one session.
#[derive(Debug, Default)]
pub struct SessionGrants(RwLock<Grants>);

impl SessionGrants {
    pub(crate) fn new(grants: Grants) -> Self {
        Self(RwLock::new(grants))
    }

    /// Adds grants of a client on the user's machine, written as for [`Grants::parse`].
    ///
    /// # Errors
    /// As for [`Grants::parse`].
    pub fn allow<T: AsRef<str>>(&self, texts: &[T], base: &Path) -> Result<()> {
        let more = Grants::parse(texts, base)?;
        write_lock(&self.0).add(more);
        Ok(())
    }

    pub(crate) fn include(&self, entitlement: Entitlement, module: Option<&str>) -> bool {
        read_lock(&self.0).include(entitlement, module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSECURE: Entitlement = Entitlement::SecurityInsecure;

    #[test]
    fn modules_are_known_by_their_place() {
        let check = |text: &str, found: &str, want: bool| {
            let grants = Grants::parse(&[text], Path::new("/home/me")).expect("it is understood");
            assert_eq!(grants.include(INSECURE, Some(found)), want, "{text} for {found}");
            assert!(!grants.include(Entitlement::NetworkHost, Some(found)));
            assert!(!grants.include(INSECURE, None) && !grants.include(INSECURE, Some("")));
        };
        check("security.insecure=./tool", "/home/me/tool", true);
        check("security.insecure=../tool/", "/home/tool", true);
        check("security.insecure=./tool", "/home/me/tool/sub", false);
        check("security.insecure=/home/me/tool", "/home/me/tool", true);
        for written in ["github.com/a/b/c", "https://github.com/a/b.git/c", "git@github.com:a/b.git/c"] {
            let text = format!("security.insecure={written}");
            check(&text, "github.com/a/b/c@v1", true);
            check(&text, "https://github.com/a/b.git/c@v2", true);
            check(&text, "github.com/a/b/d@v1", false);
            check(&text, "github.com/a/b@v1", false);
        }
        check("security.insecure=github.com/a/b@v1", "github.com/a/b@v1", true);
        check("security.insecure=github.com/a/b@v1", "https://github.com/a/b.git@v1", true);
        check("security.insecure=github.com/a/b@v1", "github.com/a/b@v2", false);
    }

    #[test]
    fn what_is_allowed_to_everyone() {
        let grants = Grants::parse(&["security.insecure"], Path::new("/")).expect("it is understood");
        assert!(grants.include(INSECURE, None) && grants.include(INSECURE, Some("/x")));
        assert!(!grants.include(Entitlement::NetworkHost, None));
        for wrong in ["insecure", "", "=x", "security.insecure="] {
            assert!(Grants::parse(&[wrong], Path::new("/")).is_err(), "{wrong}");
        }
    }
}
