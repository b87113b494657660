//! The data behind explanations of cache misses: the inputs of a piece of work by name, and the
//! differences between two sets of inputs. The records are stored and searched elsewhere.
//!
//! For display only: no result and no cache key depends on it. So long values are cut, inputs above
//! a limit are dropped, and the values of variables with private names are replaced by digests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::LayerId;

/// The longest value of an input, in bytes.
const MAX_VALUE_BYTES: usize = 120;
/// The most inputs that are recorded.
const MAX_PARTS: usize = 200;
/// The most layers of a tree that are recorded. An import from the host has one.
const MAX_LAYERS: usize = 3;
/// Parts of variable names whose values are hidden.
const PRIVATE: [&str; 7] = ["TOKEN", "SECRET", "PASSW", "PWD", "KEY", "CREDENTIAL", "AUTH"];

/// The named inputs of work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    parts: BTreeMap<String, String>,
    /// The layers of inputs that are small trees, so that their files can be compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    trees: BTreeMap<String, Vec<LayerId>>,
}

/// An input that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its name.
    pub part: String,
    /// The previous value, or `None` if the input is new.
    pub old: Option<String>,
    /// The current value, or `None` if the input is gone.
    pub new: Option<String>,
    /// The files that differ, removed ones with a leading minus.
    #[serde(default)]
    pub files: Vec<String>,
}

impl Parts {
    /// No inputs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input. A long value is cut and gets a digest that tells it apart.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let mut value: String = value.into();
        if value.len() > MAX_VALUE_BYTES {
            let digest = rondel_digest::Digest::of_bytes(value.as_bytes());
            value.truncate(value.floor_char_boundary(MAX_VALUE_BYTES - 20));
            value = format!("{value}… ({})", digest.short());
        }
        if self.parts.len() < MAX_PARTS {
            self.parts.insert(name.into(), value);
        }
    }

    /// Adds an environment variable. The value of one with a private name is replaced by its
    /// digest.
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

    /// Copies of names and values.
    pub fn listed(&self) -> Vec<(String, String)> {
        self.parts.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The layers of the tree `name`, if they were recorded.
    pub fn tree(&self, name: &str) -> Option<&[LayerId]> {
        self.trees.get(name).map(Vec::as_slice)
    }

    /// Maps every value with `change`.
    #[must_use]
    pub fn map(mut self, change: impl Fn(&str) -> String) -> Self {
        self.parts.values_mut().for_each(|value| *value = change(value));
        self
    }

    /// The names of inputs that differ from `other` or exist in only one of both.
    pub fn differing<'a>(&'a self, other: &'a Parts) -> Vec<&'a str> {
        let names = self.parts.keys().chain(other.parts.keys().filter(|name| !self.parts.contains_key(*name)));
        names.map(String::as_str).filter(|name| self.parts.get(*name) != other.parts.get(*name)).collect()
    }

    /// The inputs that changed since `before`, without files.
    pub fn differences(&self, before: &Parts) -> Vec<Difference> {
        let difference = |name: &str| Difference {
            part: name.to_owned(),
            old: before.parts.get(name).cloned(),
            new: self.parts.get(name).cloned(),
            files: Vec::new(),
        };
        self.differing(before).into_iter().map(difference).collect()
    }

    /// The item of `earlier` with the fewest different inputs. Among several, the first.
    pub fn nearest<'a, T>(
        &self,
        earlier: impl Iterator<Item = &'a T>,
        parts: impl Fn(&'a T) -> &'a Parts,
    ) -> Option<&'a T> {
        earlier.min_by_key(|other| self.differing(parts(other)).len())
    }
}

/// Whether work ran or was cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Its result was cached.
    Cached,
    /// It ran.
    Ran,
    /// It ran, and its result was not stored.
    Failed,
}

/// The record of one piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub at: i64,
    /// The session id.
    pub session: String,
    /// The kind of work: `exec`, `import`, `function`, `session`.
    pub kind: String,
    /// Its title, for display.
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
        assert!(long("a").iter().all(|(_, value)| value.len() <= MAX_VALUE_BYTES + 20));
    }
}
