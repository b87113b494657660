//! Reader for JSON objects as every version reads them. The last of equal keys counts, `null`
//! counts as absent, unknown keys are ignored, and errors name the key.

use rondel_fault::{Fault, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::json::kind_of;

/// The object at `place` in a JSON document.
pub struct JsonObject {
    /// The keys from the root of the document, joined by dots.
    place: String,
    map: Map<String, Json>,
}

impl JsonObject {
    /// Parses a document that is one object.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text).map(Self::of)
    }

    /// A root object.
    pub fn of(map: Map<String, Json>) -> Self {
        Self { place: String::new(), map }
    }

    /// The value of `key`, or the default when it is absent.
    ///
    /// # Errors
    /// When it has another type.
    pub fn get<T: DeserializeOwned + Default>(&self, key: &str) -> Result<T> {
        let of = |place: &str, e: serde_json::Error| Fault::user(format!("`{place}`: {e}"));
        self.read(key, |place, value| serde_json::from_value(value.clone()).map_err(|e| of(place, e)))
    }

    /// The list of `key`, with each item converted by `read`.
    ///
    /// # Errors
    /// When it is no list, or `read` fails.
    pub fn list<T>(&self, key: &str, read: impl Fn(&str, &Json) -> Result<T>) -> Result<Vec<T>> {
        self.read(key, |place, value| match value {
            Json::Array(items) => items.iter().map(|item| read(place, item)).collect(),
            other => Err(unexpected(place, other, "a list")),
        })
    }

    /// The value of `key` converted by `read`, which gets the place of the value.
    ///
    /// # Errors
    /// When `read` fails.
    pub fn read<T: Default>(&self, key: &str, read: impl FnOnce(&str, &Json) -> Result<T>) -> Result<T> {
        let place = if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) };
        match self.map.get(key) {
            None | Some(Json::Null) => Ok(T::default()),
            Some(value) => read(&place, value),
        }
    }
}

/// A value that is either a string or an object.
pub enum StringOrObject {
    /// A string.
    String(String),
    /// An object.
    Object(JsonObject),
}

impl StringOrObject {
    /// Reads `value`, which is at `place`.
    ///
    /// # Errors
    /// When it is neither a string nor an object.
    pub fn of(place: &str, value: &Json) -> Result<Self> {
        match value {
            Json::String(text) => Ok(Self::String(text.clone())),
            other => object(place, other, "a string or an object").map(Self::Object),
        }
    }
}

/// Reads the object `value`, which is at `place`.
///
/// # Errors
/// When it is no object. The message says what was `expected`.
pub fn object(place: &str, value: &Json, expected: &str) -> Result<JsonObject> {
    match value {
        Json::Object(map) => Ok(JsonObject { place: place.to_owned(), map: map.clone() }),
        other => Err(unexpected(place, other, expected)),
    }
}

fn unexpected(place: &str, value: &Json, expected: &str) -> Fault {
    let kind = kind_of(value);
    Fault::user(format!("`{place}`: invalid type: {kind}, expected {expected}"))
}
