//! Why something ran, or did not have to: the inputs that decided, by name, compared with those of earlier times. For
//! people only: nothing here decides anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::LayerId;

/// The longest value of a part that is kept, in bytes.
const LONGEST: usize = 120;
/// The most parts that are kept.
const MAX_PARTS: usize = 200;
/// The most layers of a tree that are kept: files of the host are one.
const MAX_LAYERS: usize = 3;
/// Names of variables whose values nobody wants to see.
const PRIVATE: [&str; 7] = ["TOKEN", "SECRET", "PASSW", "PWD", "KEY", "CREDENTIAL", "AUTH"];

/// Named inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    parts: BTreeMap<String, String>,
    /// The layers of parts that are small trees, so that their files can be compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    trees: BTreeMap<String, Vec<LayerId>>,
}

/// A part that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its name.
    pub part: String,
    /// What it was; none: it was not there.
    pub old: Option<String>,
    /// What it is; none: it is gone.
    pub new: Option<String>,
    /// The files that differ, those that are gone with a minus before them.
    #[serde(default)]
    pub files: Vec<String>,
}

impl Parts {
    /// No inputs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input. Of a long value the beginning is kept, and what tells it from others.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let mut value: String = value.into();
        if value.len() > LONGEST {
            let digest = rondel_digest::Digest::of_bytes(value.as_bytes());
            value.truncate(value.floor_char_boundary(LONGEST - 20));
            value = format!("{value}… ({})", digest.short());
        }
        if self.parts.len() < MAX_PARTS {
            self.parts.insert(name.into(), value);
        }
    }

    /// Adds an environment variable; of one whose name says that it is private, only whether it changed.
    pub fn add_variable(&mut self, name: &str, value: &str) {
        let upper = name.to_ascii_uppercase();
        let private = PRIVATE.iter().any(|word| upper.contains(word));
        let shown = if private {
            format!("(hidden, {})", rondel_digest::of("hidden/v1", &value).short())
        } else {
            value.to_owned()
        };
        self.add(format!("env {name}"), shown);
    }

    /// Adds a tree of files.
    pub fn add_tree(&mut self, name: impl Into<String>, shown: impl Into<String>, layers: &[LayerId]) {
        let name = name.into();
        if layers.len() <= MAX_LAYERS {
            self.trees.insert(name.clone(), layers.to_vec());
        }
        self.add(name, shown);
    }

    /// Adds a tree of files, however many layers it has.
    pub fn add_all_of_tree(&mut self, name: impl Into<String>, shown: impl Into<String>, layers: &[LayerId]) {
        let name = name.into();
        self.trees.insert(name.clone(), layers.to_vec());
        self.add(name, shown);
    }

    /// The inputs, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The inputs by themselves.
    pub fn listed(&self) -> Vec<(String, String)> {
        self.parts.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The layers of the tree `name`, when they are known.
    pub fn tree(&self, name: &str) -> Option<&[LayerId]> {
        self.trees.get(name).map(Vec::as_slice)
    }

    /// The same with every value as `change` makes it.
    #[must_use]
    pub fn map(mut self, change: impl Fn(&str) -> String) -> Self {
        self.parts.values_mut().for_each(|value| *value = change(value));
        self
    }

    /// The names of the parts that are different in `other`, or in one of both only.
    pub fn differing<'a>(&'a self, other: &'a Parts) -> Vec<&'a str> {
        let names = self.parts.keys().chain(other.parts.keys().filter(|name| !self.parts.contains_key(*name)));
        names.map(String::as_str).filter(|name| self.parts.get(*name) != other.parts.get(*name)).collect()
    }

    /// What differs from `before`, without files.
    pub fn differences(&self, before: &Parts) -> Vec<Difference> {
        let difference = |name: &str| Difference {
            part: name.to_owned(),
            old: before.parts.get(name).cloned(),
            new: self.parts.get(name).cloned(),
            files: Vec::new(),
        };
        self.differing(before).into_iter().map(difference).collect()
    }

    /// That of `earlier` in which the fewest parts differ, the first of several.
    pub fn nearest<'a, T>(
        &self,
        earlier: impl Iterator<Item = &'a T>,
        parts: impl Fn(&'a T) -> &'a Parts,
    ) -> Option<&'a T> {
        earlier.min_by_key(|other| self.differing(parts(other)).len())
    }
}

/// Whether something ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Its result was known.
    Cached,
    /// It ran.
    Ran,
    /// It ran, and its result is not kept.
    Failed,
}

/// What is remembered of one piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub at: i64,
    /// For which session.
    pub session: String,
    /// What kind of work: `exec`, `import`, `function`, `session`.
    pub kind: String,
    /// What people call it.
    pub title: String,
    /// Whether it ran.
    pub ended: Ended,
    /// Its inputs.
    pub parts: Parts,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[(&str, &str)]) -> Parts {
        let mut all = Parts::new();
        parts.iter().for_each(|(name, value)| all.add(*name, *value));
        all
    }

    #[test]
    fn what_differs() {
        let now = parts(&[("args", "make"), ("user", "x"), ("mount /a", "1")]);
        let before = parts(&[("args", "make all"), ("user", "x"), ("mount /b", "1")]);
        assert_eq!(now.differing(&before), ["args", "mount /a", "mount /b"]);
        assert!(now.differing(&now).is_empty());
        let all = [before.clone(), parts(&[("args", "make"), ("user", "y"), ("mount /a", "1")])];
        assert_eq!(now.nearest(all.iter(), |parts| parts), Some(&all[1]));
        assert_eq!(now.differences(&before)[0].old.as_deref(), Some("make all"));
    }

    #[test]
    fn what_is_private_is_not_shown() {
        let mut all = Parts::new();
        all.add_variable("API_TOKEN", "plain");
        all.add_variable("HOME", "/root");
        let shown: Vec<_> = all.iter().collect();
        assert!(!format!("{shown:?}").contains("plain") && format!("{shown:?}").contains("/root"));
    }

    #[test]
    fn long_values_are_told_apart() {
        let long = |end: &str| parts(&[("args", &format!("{}{end}", "x".repeat(500)))]);
        assert_ne!(long("a"), long("b"));
        assert!(long("a").iter().all(|(_, value)| value.len() <= LONGEST + 20));
    }
}
