//! JSON values kept as text. A value is parsed one level at a time, so that parts that are not read
//! stay as written: numbers keep all their digits, and strings their escapes.

use std::fmt;
use std::sync::Arc;

use rondel_fault::{Fault, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text of one JSON value, with the white space around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonText(Arc<str>);

/// The members of an object in the order of the text. If a name occurs twice, the last one counts.
#[derive(Default)]
struct Members<'a>(Vec<(String, &'a str)>);

impl JsonText {
    /// Parses `text`.
    ///
    /// # Errors
    /// When it is not one JSON value.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        // Clients match on the first words.
        let _: &RawValue = serde_json::from_str(text).map_err(|error| Fault::user(format!("invalid JSON: {error}")))?;
        Ok(Self(text.into()))
    }

    /// Serializes a value.
    pub(crate) fn of(value: impl Into<serde_json::Value>) -> Self {
        Self(value.into().to_string().into())
    }

    /// The text as written.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The value as a `T`, or `None` if it is none.
    pub(crate) fn read<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_str(&self.0).ok()
    }

    /// The items of an array, or `None` for another value.
    pub(crate) fn items(&self) -> Option<Vec<Self>> {
        let items: Vec<&RawValue> = self.read()?;
        Some(items.into_iter().map(|item| Self(item.get().into())).collect())
    }

    /// The sorted member names of an object, or `None` for another value.
    pub(crate) fn names(&self) -> Option<Vec<String>> {
        let mut names: Vec<_> = members(&self.0)?.0.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    /// The value at `path`.
    ///
    /// # Errors
    /// When there is no such member, or a value on the path is no object.
    pub(crate) fn at(&self, path: &[String]) -> Result<Self> {
        let found = path.iter().try_fold(&*self.0, |current, name| {
            let found = members(current)
                .ok_or_else(|| Fault::user(format!("can't lookup field '{name}' in non-object value")))?
                .get(name);
            found.ok_or_else(|| Fault::user(format!("no such field: '{name}'")))
        });
        found.map(|found| Self(found.into()))
    }

    /// Returns the value with `value` at `path`. Values on the path that are no objects become
    /// objects.
    pub(crate) fn with(&self, path: &[String], value: &Self) -> Self {
        let mut levels = Vec::with_capacity(path.len());
        let mut current = Some(&*self.0);
        for name in path {
            let level = current.and_then(members).unwrap_or_default();
            current = level.get(name);
            levels.push((name, level));
        }
        let whole =
            levels.into_iter().rev().fold(value.0.trim().to_owned(), |inner, (name, level)| level.set(name, &inner));
        Self(whole.into())
    }

    /// The text with one item per line. Each level is indented by `indent`.
    pub(crate) fn pretty(&self, indent: &str) -> String {
        let mut out = String::with_capacity(self.0.len() * 2);
        let mut level = 0_usize;
        let break_line = |out: &mut String, level: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n(indent, level));
        };
        let (mut in_string, mut escaped, mut opened) = (false, false, false);
        for c in self.0.chars() {
            if in_string {
                out.push(c);
                in_string = escaped || c != '"';
                escaped = !escaped && c == '\\';
                continue;
            }
            if c.is_ascii_whitespace() {
                continue;
            }
            let closes = matches!(c, '}' | ']');
            if closes {
                level = level.saturating_sub(1);
            }
            // An empty array or object stays on one line.
            if opened != closes {
                break_line(&mut out, level);
            }
            opened = matches!(c, '{' | '[');
            in_string = c == '"';
            out.push(c);
            match c {
                '{' | '[' => level += 1,
                ':' => out.push(' '),
                ',' => break_line(&mut out, level),
                _ => {}
            }
        }
        out
    }
}

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rfind(|(other, _)| other == name).map(|(_, value)| *value)
    }

    /// The object with the member `name` being `value`, as text.
    fn set(&self, name: &str, value: &str) -> String {
        let replaced = self.0.iter().rposition(|(other, _)| other == name);
        let kept = self
            .0
            .iter()
            .enumerate()
            .map(|(at, (other, old))| (&**other, if Some(at) == replaced { value } else { old }));
        let added = replaced.is_none().then_some((name, value));
        let members: Vec<String> =
            kept.chain(added).map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name))).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// The members of an object, or `None` for another value.
fn members(text: &str) -> Option<Members<'_>> {
    serde_json::from_str(text).ok()
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

/// Reads members.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            members.push((name, value.get()));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> JsonText {
        JsonText::parse(text).expect("JSON")
    }

    fn words(path: &[&str]) -> Vec<String> {
        path.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn fields_are_set_and_found() {
        let value = json(r#"{"a": 1, "b": {"c": 2}}"#);
        let value = value.with(&words(&["b", "d", "e"]), &json(" [3] ")).with(&words(&["a", "x"]), &json("\"y\""));
        assert_eq!(value.text(), r#"{"a":{"x":"y"},"b":{"c":2,"d":{"e":[3]}}}"#);
        assert_eq!(value.at(&words(&["b", "d", "e"])).expect("is there").text(), "[3]");
        let missing = value.at(&words(&["b", "z"])).expect_err("is not there").to_string();
        assert_eq!(missing, "no such field: 'z'");
        let deep = value.at(&words(&["b", "c", "z"])).expect_err("is no object").to_string();
        assert_eq!(deep, "can't lookup field 'z' in non-object value");
        assert_eq!(json("7").with(&words(&["a", "b"]), &json("1")).text(), r#"{"a":{"b":1}}"#);
    }

    #[test]
    fn what_is_not_looked_at_stays_as_written() {
        let text = r#" {"big": 12345678901234567890123, "f": 1.50, "e": 1E400, "u": "\u00e9<&>", "n": -0} "#;
        let value = json(text);
        assert_eq!(value.text(), text);
        assert_eq!(value.at(&words(&["big"])).expect("is there").text(), "12345678901234567890123");
        let changed = value.with(&words(&["new"]), &json("0.10")).with(&words(&["n"]), &json("1"));
        let expected = r#"{"big":12345678901234567890123,"f":1.50,"e":1E400,"u":"\u00e9<&>","n":1,"new":0.10}"#;
        assert_eq!(changed.text(), expected);
        let items = json("[1.0, {\"a\" : 2e0}]").items().expect("an array");
        assert_eq!(items, [json("1.0"), json("{\"a\" : 2e0}")]);
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        let value = json(r#"{"a":1,"\u0061":2}"#);
        assert_eq!(value.at(&words(&["a"])).expect("is there").text(), "2");
        assert_eq!(value.with(&words(&["a"]), &json("3")).at(&words(&["a"])).expect("is there").text(), "3");
        assert_eq!(value.names(), Some(words(&["a"])));
    }

    #[test]
    fn lines_are_broken_where_items_begin() {
        let check = |text: &str, indent: &str, expected: &str| assert_eq!(json(text).pretty(indent), expected);
        check(
            r#" {"a":[1.50,"x, y: [\"\\"],"b":{},"c":[ ]}"#,
            "  ",
            concat!("{\n  \"a\": [\n    1.50,\n    \"x, y: [\\\"\\\\\"\n  ],\n", "  \"b\": {},\n  \"c\": []\n}"),
        );
        check("[1]", "", "[\n1\n]");
        check(" null ", "  ", "null");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for wrong in ["", "nope", "{", "{\"a\":1}{}", "01", "[1,]"] {
            let error = JsonText::parse(wrong).expect_err(wrong).to_string();
            assert!(error.starts_with("invalid JSON: "), "{error}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(json(&deep).text(), deep);
    }
}
