//! Edits of the dependencies in a module's configuration file.
//!
//! *Invariants.* Dependencies are sorted by name. Two of them have neither one name nor one place.
//! No edit makes a module depend on itself. An entry keeps the keys that its edit is not about.

use std::collections::HashSet;
use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::AbsPath;
use serde_json::{Map, Value as Json, json};

use crate::source::git_origin::split_version;
use crate::source::module_source::{Dependency, ModuleSource, SourceKind};
use crate::source::reference::{ReferenceKind, classify, inside_context};

const DEPENDENCIES: &str = "dependencies";
const NAME: &str = "name";
const SOURCE: &str = "source";
const PIN: &str = "pin";

impl ModuleSource {
    /// Adds dependencies. One in the same place is replaced: it may have another name or version.
    /// So is one of the same name whose folder is gone or has no configuration that can be read.
    ///
    /// # Errors
    /// When another module has the name, the module cannot be referred to from here, or it depends
    /// on this one.
    pub fn with_dependencies(&self, added: &[Self]) -> Result<Self> {
        let mut all = self.entries();
        for dependency in added {
            self.check_no_cycle(dependency)?;
            let new = DependencyEntry::new(self, dependency)?;
            let same = all.iter().position(|entry| entry.is_in_place_of(self, &new));
            let same = same.or_else(|| all.iter().position(|entry| entry.name == new.name && entry.is_unusable()));
            let taken = all.iter().enumerate().find(|(at, entry)| Some(*at) != same && entry.name == new.name);
            if let Some((_, known)) = taken {
                // Users match on the first words; see docs/protocol.md#changing-dependencies.
                return Err(Fault::user(format!(
                    "duplicate dependency name \"{}\": it is `{}` already, and cannot be `{}` as well",
                    new.name, known.source, new.source
                ))
                .with_hint("give the new one another name: `rondel install --name NAME`, in the API `withName`"));
            }
            match same {
                Some(at) if all[at].is_equal(&new) && all[at].is_in_place_of(self, &new) => all[at].found = new.found,
                Some(at) => all[at].replace(new),
                None => all.push(new),
            }
        }
        self.with_entries(all)
    }

    /// Removes dependencies by name, or by a path or address that is equal or leads to the same
    /// place. A version in a name or address must be the installed one.
    ///
    /// # Errors
    /// When one of them is not a dependency, or has another version.
    pub fn without_dependencies(&self, names: &[String]) -> Result<Self> {
        let mut all = self.entries();
        for name in names {
            let (at, version) = find(&all, self, name).ok_or_else(|| self.no_dependency(name, "uninstalled"))?;
            if let Some(version) = version {
                all[at].check_version(version)?;
            }
            all.remove(at);
        }
        self.with_entries(all)
    }

    /// Finds a dependency by name, path or address: its index, and the version after the name or
    /// address.
    pub fn find_dependency<'n>(&self, name: &'n str) -> Option<(usize, Option<&'n str>)> {
        find(&self.entries(), self, name)
    }

    /// The error that there is no dependency `name`, which was to be `done`.
    pub fn no_dependency(&self, name: &str, done: &str) -> Fault {
        // Users match on this text; see docs/protocol.md#changing-dependencies.
        let fault = Fault::user(format!(
            "dependency \"{name}\" was requested to be {done}, but it is not found in the dependencies list"
        ));
        match self.dependencies.as_slice() {
            [] => fault.with_hint(format!("module `{}` has no dependencies", self.name())),
            known => {
                let known: Vec<_> = known.iter().map(|known| format!("`{}`", known.name())).collect();
                fault.with_hint(format!("there are {}", known.join(", ")))
            }
        }
    }

    /// The entries of the configuration for dependencies, with the sources that they lead to.
    fn entries(&self) -> Vec<DependencyEntry> {
        let keys = self.config.format.keys(&self.config_text).unwrap_or_default();
        let texts = keys.get(DEPENDENCIES).and_then(Json::as_array).cloned().unwrap_or_default();
        let listed = self.config.dependencies.iter().zip(&self.dependencies).zip(texts);
        listed
            .map(|((config, found), text)| DependencyEntry {
                name: found.name().to_owned(),
                source: config.source.clone(),
                pin: config.pin.clone(),
                text,
                found: found.clone(),
            })
            .collect()
    }

    fn with_entries(&self, mut entries: Vec<DependencyEntry>) -> Result<Self> {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let texts: Vec<Json> = entries.iter().map(|entry| entry.text.clone()).collect();
        let changed = self.with_config_edit(|config| {
            match texts.is_empty() {
                true => config.shift_remove(DEPENDENCIES),
                false => config.insert(DEPENDENCIES.into(), Json::Array(texts)),
            };
            Ok(())
        })?;
        Ok(Self { dependencies: entries.into_iter().map(|entry| entry.found).collect(), ..changed })
    }

    /// Checks that `dependency` is not this module and does not depend on it.
    fn check_no_cycle(&self, dependency: &Self) -> Result<()> {
        let place = |source: &Self| (source.kind != SourceKind::Dir).then(|| source.describe());
        let Some(mine) = place(self) else { return Ok(()) };
        let mut seen = HashSet::new();
        let mut pending = vec![dependency];
        while let Some(next) = pending.pop() {
            let Some(place) = place(next) else { continue };
            if place == mine {
                // Users match on this text; see docs/protocol.md#references-to-modules.
                return Err(Fault::user(format!(
                    "module \"{}\" has a circular dependency on itself through dependency \"{}\"",
                    self.name(),
                    dependency.name()
                )));
            }
            if seen.insert(place) {
                pending.extend(next.found().map(|found| &**found));
            }
        }
        Ok(())
    }

    /// Whether both are in one repository at one commit.
    fn is_in_repository_of(&self, other: &Self) -> bool {
        let place = |source: &Self| source.git.as_ref().map(|git| (git.url.clone(), git.commit.clone()));
        place(self).is_some() && place(self) == place(other)
    }

    /// The reference to `other` from the configuration of this source, and the commit to pin.
    fn reference_to(&self, other: &Self) -> Result<(String, String)> {
        if let (false, Some(git)) = (self.is_in_repository_of(other), &other.git) {
            return Ok((git.reference(&other.root), git.commit.clone()));
        }
        if self.kind != other.kind {
            return Err(Fault::user(format!(
                "{} cannot depend on {}: one is on a host, the other is not",
                self.describe(),
                other.describe()
            )));
        }
        if self.kind == SourceKind::Local && self.host != other.host {
            // Users match on this text; see docs/protocol.md#module-configuration.
            return Err(Fault::user(format!(
                "local module dependency context directory \"{}\" is not in parent context directory \"{}\"",
                other.host, self.host
            ))
            .with_hint(
                "a context directory is the nearest folder above with a `.git`; without one, the module's own",
            ));
        }
        Ok((relative(&self.root, &other.root), String::new()))
    }
}

/// The index of the dependency that `name` means, and the version in `name`.
fn find<'n>(all: &[DependencyEntry], from: &ModuleSource, name: &'n str) -> Option<(usize, Option<&'n str>)> {
    if let Some(at) = all.iter().position(|entry| entry.name == name || entry.leads_to(from, name)) {
        return Some((at, None));
    }
    let (wanted, version) = split_version(name);
    let is_wanted = |entry: &DependencyEntry| entry.name == wanted || split_version(&entry.source).0 == wanted;
    all.iter().position(is_wanted).map(|at| (at, version))
}

/// A dependency in the configuration with its source.
struct DependencyEntry {
    name: String,
    source: String,
    pin: String,
    /// The entry as it is written.
    text: Json,
    found: Dependency,
}

impl DependencyEntry {
    /// The entry for `dependency` in the configuration of `from`.
    fn new(from: &ModuleSource, dependency: &ModuleSource) -> Result<Self> {
        let (source, pin) = from.reference_to(dependency)?;
        let name = dependency.name().to_owned();
        let mut text = Map::from_iter([(NAME.to_owned(), json!(name)), (SOURCE.to_owned(), json!(source))]);
        if !pin.is_empty() {
            text.insert(PIN.into(), json!(pin));
        }
        let found = Dependency::Found(Arc::new(dependency.clone()));
        Ok(Self { name, source, pin, text: Json::Object(text), found })
    }

    fn is_equal(&self, other: &Self) -> bool {
        (&self.name, &self.source, &self.pin) == (&other.name, &other.source, &other.pin)
            || (self.pin.is_empty() && other.pin.is_empty() && self.name == other.name)
    }

    /// Whether it is a folder that is gone or has no configuration that can be read.
    fn is_unusable(&self) -> bool {
        self.pin.is_empty() && self.found.found().is_none() && classify(&self.source, "") == ReferenceKind::Local
    }

    /// Changes the entry to `new`. Its other keys stay.
    fn replace(&mut self, new: Self) {
        let mut text = match std::mem::take(&mut self.text) {
            Json::Object(text) => text,
            _ => Map::new(),
        };
        text.shift_remove(PIN);
        if let Json::Object(keys) = &new.text {
            text.extend(keys.clone());
        }
        *self = Self { text: Json::Object(text), ..new };
    }

    /// Whether this entry and `new` are one module: the same folder, or the same folder of the same
    /// repository in any version.
    fn is_in_place_of(&self, from: &ModuleSource, new: &Self) -> bool {
        let repository = |entry: &Self| {
            let found = entry.found.found()?;
            found.git.as_ref().map(|git| (git.url.clone(), found.root.clone()))
        };
        let is_local = self.pin.is_empty() && new.pin.is_empty();
        let one_address = !is_local && split_version(&self.source).0 == split_version(&new.source).0;
        let one_folder = is_local && self.leads_to(from, &new.source);
        one_address || one_folder || !is_local && repository(self).is_some_and(|it| repository(new) == Some(it))
    }

    /// Whether `reference`, seen from `from`, leads to the same place.
    fn leads_to(&self, from: &ModuleSource, reference: &str) -> bool {
        let place = |text: &str| match text.strip_prefix('/') {
            Some(_) => Some(AbsPath::new(text).to_string()),
            None => {
                inside_context(&from.root, text).map(|inside| AbsPath::new(&from.host).join_inside(&inside).to_string())
            }
        };
        self.source == reference || place(&self.source).is_some_and(|mine| place(reference) == Some(mine))
    }

    /// Checks that the dependency is installed in the version that a removal names.
    fn check_version(&self, version: &str) -> Result<()> {
        // Users match on these texts; see docs/protocol.md#changing-dependencies.
        let refused = |installed: &str| {
            Err(Fault::user(format!(
                "version \"{version}\" was requested to be uninstalled but the dependency \"{}\" was installed {installed}. \
                 Try re-running without specifying the version number",
                self.name
            )))
        };
        match split_version(&self.source).1 {
            _ if !self.pin.is_empty() && self.pin == version => Ok(()),
            None => refused("without a specific version"),
            Some(installed) if installed == version || installed.starts_with(&format!("{version}.")) => Ok(()),
            Some(installed) => refused(&format!("with \"{installed}\"")),
        }
    }
}

/// The relative path from the folder `from` to the folder `to`, both relative to one context
/// directory.
fn relative(from: &str, to: &str) -> String {
    let parts = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (from, to) = (parts(from), parts(to));
    let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n("..".to_owned(), from.len() - shared);
    let way: Vec<_> = up.chain(to[shared..].iter().cloned()).collect();
    if way.is_empty() { ".".to_owned() } else { way.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::dependency::Unresolved;
    use crate::source::edit_config::tests::{json_of, named, source};

    #[test]
    fn dependencies() {
        let it = named("app", "app");
        let with = it.with_dependencies(&[named("lib/z", "z"), named("app/in", "b")]).expect("works");
        let want = json!([{"name": "b", "source": "in"}, {"name": "z", "source": "../lib/z"}]);
        assert_eq!(json_of(&with)["dependencies"], want);
        assert_eq!(with.dependencies.iter().map(|d| d.name()).collect::<Vec<_>>(), ["b", "z"]);
        let again = with.with_dependencies(&[named("lib/z", "z")]).expect("works");
        assert_eq!(again.config_text, with.config_text);
        let fault = |result: Result<ModuleSource>| result.expect_err("is refused").to_string();
        let twice = fault(with.with_dependencies(&[named("elsewhere", "z")]));
        assert!(twice.starts_with("duplicate dependency name \"z\""), "{twice}");
        for gone in ["z", "../lib/z", "../lib/./z/", "/repository/lib/z"] {
            let without = with.without_dependencies(&[gone.into()]).expect(gone);
            assert_eq!(without.dependencies.len(), 1, "{gone}");
        }
        let none = fault(with.without_dependencies(&["y".into()]));
        assert_eq!(
            none,
            "dependency \"y\" was requested to be uninstalled, but it is not found in the dependencies list"
        );
        let mut far = named("x", "x");
        far.host = "/outside".into();
        let far = fault(it.with_dependencies(&[far]));
        assert_eq!(
            far,
            "local module dependency context directory \"/outside\" is not in parent context directory \"/repository\""
        );
    }

    #[test]
    fn what_a_dependency_says_besides_stays() {
        let mut it =
            source("", r#"{"name": "a", "dependencies": [{"name": "n", "source": "./d", "ignoreChecks": ["x"]}]}"#);
        let renamed = ModuleSource { renamed: Some("n".into()), ..named("d", "d") };
        it.dependencies = vec![Dependency::Found(Arc::new(renamed))];
        let with = it.with_dependencies(&[named("c", "c")]).expect("works");
        let want = json!([{"name": "c", "source": "c"}, {"name": "n", "source": "./d", "ignoreChecks": ["x"]}]);
        assert_eq!(json_of(&with)["dependencies"], want);
    }

    #[test]
    fn paths() {
        let check = |from: &str, to: &str, want: &str| assert_eq!(relative(from, to), want);
        check("a", "b", "../b");
        check("", "b/c", "b/c");
        check("a/b", "a", "..");
        check("a", "a", ".");
    }

    #[test]
    fn installing_again_replaces() {
        let it = named("app", "app").with_dependencies(&[named("lib", "lib")]).expect("works");
        let renamed = ModuleSource { renamed: Some("other".into()), ..named("lib", "lib") };
        let again = it.with_dependencies(&[renamed]).expect("works");
        assert_eq!(json_of(&again)["dependencies"], json!([{"name": "other", "source": "../lib"}]));
        let gone = Unresolved { name: "other".into(), why: Fault::user("it is not there") };
        let moved = ModuleSource { dependencies: vec![Dependency::Unresolved(gone)], ..again };
        let again = moved.with_dependencies(&[named("new/other", "other")]).expect("works");
        assert_eq!(json_of(&again)["dependencies"], json!([{"name": "other", "source": "../new/other"}]));
        let entry = |source: &str, pin: &str| DependencyEntry {
            name: "g".into(),
            source: source.into(),
            pin: pin.into(),
            text: json!({"name": "g", "source": source, "pin": pin, "ignoreChecks": ["x"]}),
            found: Dependency::Found(Arc::new(named("g", "g"))),
        };
        let mut old = entry("github.com/a/b/c@v1", "1");
        let new = entry("github.com/a/b/c@v2", "2");
        assert!(old.is_in_place_of(&it, &new) && !old.is_equal(&new));
        assert!(!old.is_in_place_of(&it, &entry("github.com/a/b/d@v1", "1")));
        old.replace(new);
        assert_eq!(old.text, json!({"name": "g", "source": "github.com/a/b/c@v2", "pin": "2", "ignoreChecks": ["x"]}));
    }

    #[test]
    fn versions_of_removals() {
        let check = |source: &str, version: &str, want: Result<(), &str>| {
            let entry = DependencyEntry {
                name: "g".into(),
                source: source.into(),
                pin: "c0ffee".into(),
                text: Json::Null,
                found: Dependency::Found(Arc::new(named("g", "g"))),
            };
            let got = entry.check_version(version).map_err(|e| e.to_string());
            assert_eq!(got.is_ok(), want.is_ok(), "{source} {version}");
            if let (Err(got), Err(want)) = (got, want) {
                assert!(got.contains(want), "{got}");
            }
        };
        check("h/r@v1.2.3", "v1.2.3", Ok(()));
        check("h/r@v1.2.3", "v1", Ok(()));
        check("h/r@v1.2.3", "c0ffee", Ok(()));
        check("h/r@v1", "v2", Err("was installed with \"v1\". Try re-running without specifying the version number"));
        check("h/r", "v2", Err("was installed without a specific version. Try re-running"));
    }

    #[test]
    fn a_module_does_not_come_to_depend_on_itself() {
        let it = named("app", "app");
        let refused = |dependency: &ModuleSource| {
            it.with_dependencies(std::slice::from_ref(dependency)).expect_err("is refused").to_string()
        };
        let said = |name| format!("module \"app\" has a circular dependency on itself through dependency \"{name}\"");
        assert_eq!(refused(&it), said("app"));
        let mut lib = named("lib", "lib");
        lib.dependencies = vec![Dependency::Found(Arc::new(named("app", "app")))];
        assert_eq!(refused(&lib), said("lib"));
    }
}
