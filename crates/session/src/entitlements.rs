//! Who may ask for what goes beyond the walls of a container.
//!
//! *Invariants.* The user's own clients may ask for everything. Modules and processes in containers
//! may ask for what the configuration or a client on the user's machine allows, and nothing that
//! runs in a container can add to that. A module is known by where it was found, never by its name,
//! which its author chooses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::RwLock;

use rondel_fault::{Code, Fault, Result, read_lock, write_lock};
use rondel_model::AbsPath;
use rondel_model::entitlement::Entitlement;

use crate::client::Client;

/// What is allowed: to every module and process, and to single modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    everyone: BTreeSet<Entitlement>,
    modules: BTreeMap<String, BTreeSet<Entitlement>>,
}

impl Grants {
    /// What `texts` allow, each `NAME` or `NAME=MODULE`. Folders of modules are relative to `base`.
    ///
    /// # Errors
    /// When a text names no entitlement, or no module behind its `=`.
    pub fn of<T: AsRef<str>>(texts: &[T], base: &Path) -> Result<Self> {
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
                Some(module) => grants.modules.entry(place(module, base)).or_default().insert(entitlement),
            };
        }
        Ok(grants)
    }

    /// Whether a module that was found at `module` may ask for `entitlement`; without one, a
    /// process in a container that acts as no module.
    fn include(&self, entitlement: Entitlement, module: Option<&str>) -> bool {
        if self.everyone.contains(&entitlement) {
            return true;
        }
        let Some(found) = module.filter(|found| !found.is_empty()).map(plain) else { return false };
        // A repository may be named without its version.
        let any_version = found.rsplit_once('@').map(|(place, _)| place.to_owned());
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

/// A module as a user names it: a folder, made absolute, or a repository with perhaps a folder in
/// it and a version.
fn place(module: &str, base: &Path) -> String {
    match module.starts_with(['/', '.']) {
        true => AbsPath::new(&base.to_string_lossy()).join(module).to_string(),
        false => plain(module),
    }
}

/// A place without protocol, user and `.git`, so that however it is written it is the same.
fn plain(module: &str) -> String {
    let module = module.split_once("://").map_or(module, |(_, rest)| rest);
    let module = match module.split_once('@') {
        Some((user, rest)) if !user.contains('/') => rest.replacen(':', "/", 1),
        _ => module.to_owned(),
    };
    module.replacen(".git/", "/", 1).replacen(".git@", "@", 1).trim_end_matches(".git").to_owned()
}

/// What is allowed in one session.
#[derive(Debug, Default)]
pub struct SessionGrants(RwLock<Grants>);

impl SessionGrants {
    pub(crate) fn new(grants: Grants) -> Self {
        Self(RwLock::new(grants))
    }

    /// Allows more, because a client on the user's machine says so. See [`Grants::of`].
    ///
    /// # Errors
    /// When a text cannot be understood.
    pub fn allow<T: AsRef<str>>(&self, texts: &[T], base: &Path) -> Result<()> {
        let more = Grants::of(texts, base)?;
        write_lock(&self.0).add(more);
        Ok(())
    }

    fn include(&self, entitlement: Entitlement, module: Option<&str>) -> bool {
        read_lock(&self.0).include(entitlement, module)
    }
}

/// Refuses a client that may not ask for `entitlement`.
///
/// # Errors
/// That it may not, and how to allow it.
pub fn check_entitled(client: &Client, entitlement: Entitlement) -> Result<()> {
    // The user's own clients are no process in a container.
    let Some(scope) = &client.scope else { return Ok(()) };
    let module =
        scope.acting_module.as_ref().or(scope.children_act_as.as_ref()).map(|acting_module| &*acting_module.source);
    if client.session.grants.include(entitlement, module) {
        return Ok(());
    }
    let who = match module {
        None => "a process in a container".to_owned(),
        Some("") => "a module without a place of its own".to_owned(),
        Some(module) => format!("the module `{module}`"),
    };
    // Users of BuildKit match on the last words.
    let fault = Fault::denied(format!("{who} may not ask for this: {entitlement} is not allowed"));
    let fault = fault.with_code(Code::EntitlementRequired).with_hint(format!(
        "`--allow {entitlement}` allows it to every module and process of the session, `allow = [\"{entitlement}\"]` in \
         the configuration to those of every session"
    ));
    Err(match module.filter(|module| !module.is_empty()) {
        Some(module) => fault.with_hint(format!("`--allow {entitlement}={module}` allows it to this module alone")),
        None => fault,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSECURE: Entitlement = Entitlement::SecurityInsecure;

    #[test]
    fn modules_are_known_by_their_place() {
        let check = |text: &str, found: &str, want: bool| {
            let grants = Grants::of(&[text], Path::new("/home/me")).expect("it is understood");
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
        let grants = Grants::of(&["security.insecure"], Path::new("/")).expect("it is understood");
        assert!(grants.include(INSECURE, None) && grants.include(INSECURE, Some("/x")));
        assert!(!grants.include(Entitlement::NetworkHost, None));
        for wrong in ["insecure", "", "=x", "security.insecure="] {
            assert!(Grants::of(&[wrong], Path::new("/")).is_err(), "{wrong}");
        }
    }
}
