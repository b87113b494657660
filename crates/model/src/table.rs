//! Persistent maps: values by name, in order, stored as the edits that made them. See
//! [`crate::chain`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::chain::Chain;

/// Values by name. The order is part of the value.
#[derive(Clone)]
pub struct Table<V>(Chain<(Arc<str>, Edit<V>)>);

#[derive(Clone)]
enum Edit<V> {
    /// An existing name keeps its position.
    Set(V),
    /// The name moves to the end.
    Append(V),
    Remove,
}

/// Tables with fewer edits are never compacted.
const MIN_COMPACTED: usize = 64;

impl<V: Clone> Table<V> {
    /// An empty table.
    pub const fn new() -> Self {
        Self(Chain::new())
    }

    /// Sets the value of `name`. An existing name keeps its position.
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: V) {
        self.edit(name.into(), Edit::Set(value));
    }

    /// Sets the value of `name`. The name moves to the end.
    pub fn append(&mut self, name: impl Into<Arc<str>>, value: V) {
        self.edit(name.into(), Edit::Append(value));
    }

    /// Removes `name` if it exists.
    pub fn remove(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.edit(name.into(), Edit::Remove);
        }
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&V> {
        let (_, edit) = self.0.newest_first().find(|(known, _)| **known == *name)?;
        match edit {
            Edit::Set(value) | Edit::Append(value) => Some(value),
            Edit::Remove => None,
        }
    }

    /// Names and values in order.
    pub fn iter(&self) -> std::vec::IntoIter<(&str, &V)> {
        let mut at: HashMap<&str, usize> = HashMap::new();
        let mut all: Vec<Option<(&str, &V)>> = Vec::new();
        for (name, edit) in self.0.iter() {
            let position = at.get(&**name).copied();
            match (edit, position) {
                (Edit::Set(value), Some(position)) => all[position] = Some((name, value)),
                (Edit::Set(value) | Edit::Append(value), _) => {
                    if let Some(position) = position {
                        all[position] = None;
                    }
                    at.insert(name, all.len());
                    all.push(Some((name, value)));
                }
                (Edit::Remove, _) => {
                    if let Some(position) = at.remove(&**name) {
                        all[position] = None;
                    }
                }
            }
        }
        all.into_iter().flatten().collect::<Vec<_>>().into_iter()
    }

    /// The values in order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Whether it has no names.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty() || self.iter().len() == 0
    }

    fn edit(&mut self, name: Arc<str>, edit: Edit<V>) {
        self.0.push((name, edit));
        let edits = self.0.len();
        // A table whose edits mostly undo one another is compacted. The check runs only at powers
        // of two, so that its cost per edit is constant on average.
        if edits >= MIN_COMPACTED && edits.is_power_of_two() && self.iter().len() <= edits / 2 {
            *self = self.iter().map(|(name, value)| (Arc::from(name), value.clone())).collect();
        }
    }
}

impl<V: Clone> Default for Table<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Into<Arc<str>>, V: Clone> FromIterator<(K, V)> for Table<V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        let mut table = Self::new();
        table.extend(items);
        table
    }
}

impl<K: Into<Arc<str>>, V: Clone> Extend<(K, V)> for Table<V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, items: I) {
        items.into_iter().for_each(|(name, value)| self.set(name, value));
    }
}

impl<V: Clone + PartialEq> PartialEq for Table<V> {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same(&other.0) || self.iter().eq(other.iter())
    }
}

impl<V: Clone + fmt::Debug> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: Clone + Serialize> Serialize for Table<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Table<serde_json::Value> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(serde_json::Map::deserialize(deserializer)?.into_iter().collect())
    }
}

/// Tables that are serialized as lists of `NAME=value`, such as the environment of an image. The
/// value is the whole entry, so an entry without `=` stays as it is.
pub mod entries {
    use super::*;

    /// The name in an entry.
    pub fn name_of(entry: &str) -> &str {
        entry.split('=').next().unwrap_or_default()
    }

    /// The table of `entries`. The last entry of a name counts.
    pub fn table<S: Into<Arc<str>>>(entries: impl IntoIterator<Item = S>) -> Table<Arc<str>> {
        entries
            .into_iter()
            .map(|entry| {
                let entry: Arc<str> = entry.into();
                (Arc::from(name_of(&entry)), entry)
            })
            .collect()
    }

    /// Writes the entries as a list.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(table: &Option<Table<Arc<str>>>, serializer: S) -> Result<S::Ok, S::Error> {
        table.as_ref().map(|table| table.values().collect::<Vec<_>>()).serialize(serializer)
    }

    /// Reads a list of entries.
    ///
    /// # Errors
    /// When it is not a list of strings.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Table<Arc<str>>>, D::Error> {
        Ok(Option::<Vec<Arc<str>>>::deserialize(deserializer)?.map(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(table: &Table<u32>) -> String {
        table.iter().map(|(name, value)| format!("{name}{value}")).collect()
    }

    #[test]
    fn names_keep_their_position_unless_they_are_appended() {
        let mut table: Table<u32> = [("a", 1), ("b", 2), ("c", 3)].into_iter().collect();
        table.set("a", 4);
        assert_eq!(shown(&table), "a4b2c3");
        table.append("a", 5);
        assert_eq!(shown(&table), "b2c3a5");
        table.remove("b");
        table.remove("x");
        assert_eq!((shown(&table), table.get("b"), table.get("c")), ("c3a5".into(), None, Some(&3)));
        table.set("b", 6);
        assert_eq!(shown(&table), "c3a5b6");
        ["a", "b", "c"].into_iter().for_each(|name| table.remove(name));
        assert!(table.is_empty());
        assert_eq!(table, Table::new());
    }

    #[test]
    fn every_step_of_a_chain_shares_what_the_last_one_has() {
        let mut steps = vec![Table::<u32>::new()];
        for step in 0..1_000 {
            let mut next = steps[step].clone();
            next.set(format!("n{step}"), 0);
            steps.push(next);
        }
        for pair in steps.windows(2) {
            let mut without_last = pair[1].0.clone();
            let last = pair[1].0.newest_first().next().expect("has an edit").0.clone();
            without_last.retain(|(name, _)| *name != last);
            assert!(without_last.is_same(&pair[0].0));
        }
    }

    #[test]
    fn edits_that_undo_one_another_do_not_pile_up() {
        let mut table = Table::<u32>::new();
        for step in 0..100_000 {
            table.set("same", step);
        }
        assert!(table.0.len() < 2 * MIN_COMPACTED, "{}", table.0.len());
        assert_eq!(shown(&table), "same99999");
    }

    #[test]
    fn tables_are_written_as_maps_and_lists() {
        #[derive(serde::Serialize, serde::Deserialize, Default, PartialEq, Debug)]
        #[serde(default)]
        struct Both {
            map: Table<serde_json::Value>,
            #[serde(with = "entries")]
            list: Option<Table<Arc<str>>>,
        }
        let text = r#"{"map":{"z":1,"a":{}},"list":["PATH=/bin","ODD","A=b=c"]}"#;
        let both: Both = serde_json::from_str(text).expect("is read");
        assert_eq!(serde_json::to_string(&both).expect("is written"), text);
        assert_eq!(both.list.as_ref().and_then(|list| list.get("A")).map(|entry| &**entry), Some("A=b=c"));
        assert_eq!(serde_json::from_str::<Both>("{}").expect("is read"), Both::default());
        let none: Both = serde_json::from_str(r#"{"list":null}"#).expect("is read");
        assert_eq!(none, Both::default());
    }
}
