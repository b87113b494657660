//! Objects of JSON as every version read them: of equal keys the last counts, `null` is as if nothing was said, and keys
//! that nobody knows are ignored. What is wrong is said with the key.

use rondel_fault::{Fault, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::json::kind_of;

/// The keys of an object.
pub(crate) struct JsonObject {
    /// The keys that lead to it.
    place: String,
    map: Map<String, Json>,
}

impl JsonObject {
    /// Those of the text's only object.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub(crate) fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text).map(Self::of)
    }

    /// Those of an object that stands nowhere else.
    pub(crate) fn of(map: Map<String, Json>) -> Self {
        Self { place: String::new(), map }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// When it is of another type.
    pub(crate) fn get<T: DeserializeOwned + Default>(&self, key: &str) -> Result<T> {
        let of = |place: &str, e: serde_json::Error| Fault::user(format!("`{place}`: {e}"));
        self.read(key, |place, value| serde_json::from_value(value.clone()).map_err(|e| of(place, e)))
    }

    /// The list of `key`, each item by `read`.
    ///
    /// # Errors
    /// When it is no list, or what `read` fails with.
    pub(crate) fn list<T>(&self, key: &str, read: impl Fn(&str, &Json) -> Result<T>) -> Result<Vec<T>> {
        self.read(key, |place, value| match value {
            Json::Array(items) => items.iter().map(|item| read(place, item)).collect(),
            other => Err(unexpected(place, other, "a list")),
        })
    }

    /// The value of `key` by `read`, which is told where it stands.
    ///
    /// # Errors
    /// What `read` fails with.
    pub(crate) fn read<T: Default>(&self, key: &str, read: impl FnOnce(&str, &Json) -> Result<T>) -> Result<T> {
        let place = if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) };
        match self.map.get(key) {
            None | Some(Json::Null) => Ok(T::default()),
            Some(value) => read(&place, value),
        }
    }
}

/// What is written as a text, or as an object with more to say.
pub(crate) enum StringOrObject {
    /// The text alone.
    String(String),
    /// The object.
    Object(JsonObject),
}

impl StringOrObject {
    /// `value`, which stands at `place`.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn of(place: &str, value: &Json) -> Result<Self> {
        match value {
            Json::String(text) => Ok(Self::String(text.clone())),
            other => object(place, other, "a string or an object").map(Self::Object),
        }
    }
}

/// The object `value`, which stands at `place`.
///
/// # Errors
/// When it is something else than what was `expected`.
pub(crate) fn object(place: &str, value: &Json, expected: &str) -> Result<JsonObject> {
    match value {
        Json::Object(map) => Ok(JsonObject { place: place.to_owned(), map: map.clone() }),
        other => Err(unexpected(place, other, expected)),
    }
}

fn unexpected(place: &str, value: &Json, expected: &str) -> Fault {
    let kind = kind_of(value);
    Fault::user(format!("`{place}`: invalid type: {kind}, expected {expected}"))
}
