//! Edits of the text of a configuration file: the difference between two states of its keys is
//! applied to the text.
//!
//! *Invariants.* Keys without a difference keep their text, order, indentation and comments. The
//! result always reads as the wanted state.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstRootNode};
use rondel_fault::{Fault, Result};
use serde::Serialize as _;
use serde_json::{Map, Value as Json};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, TomlError, Value as Toml};

use crate::config::module_config::ConfigFormat;

/// The keys of a configuration.
pub(crate) type Keys = Map<String, Json>;

/// The key of the SDK in the keys of both formats.
pub(crate) const SDK: &str = "sdk";
/// The key of the SDK in the text of a `dagger-module.toml`.
const RUNTIME: &str = "runtime";

/// The order in which new keys are written.
const ORDER: [&str; 12] = [
    "$schema",
    "name",
    "engineVersion",
    SDK,
    "blueprint",
    "toolchains",
    "include",
    "dependencies",
    "source",
    "codegen",
    "clients",
    "disableDefaultFunctionCaching",
];

impl ConfigFormat {
    /// The keys in `text`. The SDK has the key `sdk` in both formats.
    ///
    /// # Errors
    /// When it cannot be parsed.
    pub(crate) fn keys(self, text: &str) -> Result<Keys> {
        let unreadable = |e: String| Fault::bug(format!("a configuration that was read cannot be read again: {e}"));
        match self {
            _ if text.is_empty() => Ok(Map::new()),
            ConfigFormat::Json => serde_json::from_str(text).map_err(|e| unreadable(e.to_string())),
            ConfigFormat::Toml => {
                let mut keys: Keys = toml::from_str(text).map_err(|e| unreadable(e.to_string()))?;
                keys.shift_remove(SDK);
                if let Some(runtime) = keys.shift_remove(RUNTIME) {
                    keys.insert(SDK.into(), runtime);
                }
                Ok(keys)
            }
        }
    }

    /// `text`, which has the keys `before`, changed so that it has the keys `after`.
    ///
    /// # Errors
    /// When a value has no form in this format.
    pub(crate) fn edited(self, text: &str, before: &Keys, after: &Keys) -> Result<String> {
        match self {
            ConfigFormat::Json => Ok(edited_json(text, before, after)),
            ConfigFormat::Toml => edited_toml(text, before, after),
        }
    }
}

/// What differs between two states of an object, in the order of the wanted state.
enum Difference<'a> {
    Removed(&'a str),
    Added(&'a str, &'a Json),
    Changed(&'a str, &'a Json, &'a Json),
}

fn differences<'a>(before: &'a Keys, after: &'a Keys) -> Vec<Difference<'a>> {
    let removed = before.keys().filter(|key| !after.contains_key(*key)).map(|key| Difference::Removed(key));
    let others = after.iter().filter_map(|(key, value)| match before.get(key) {
        None => Some(Difference::Added(key, value)),
        Some(old) if old == value => None,
        Some(old) => Some(Difference::Changed(key, old, value)),
    });
    removed.chain(others).collect()
}

/// What differs between two lists, if no item changed its place. The first number is the index of
/// each removed item, from the last to the first. The second is that of each new item in `after`.
fn list_differences(before: &[Json], after: &[Json]) -> Option<(Vec<usize>, Vec<usize>)> {
    let removed: Vec<usize> = (0..before.len()).rev().filter(|at| !after.contains(&before[*at])).collect();
    let added: Vec<usize> = (0..after.len()).filter(|at| !before.contains(&after[*at])).collect();
    let kept = |list: &[Json], left_out: &[usize]| -> Vec<Json> {
        list.iter().enumerate().filter(|(at, _)| !left_out.contains(at)).map(|(_, item)| item.clone()).collect()
    };
    (kept(before, &removed) == kept(after, &added)).then_some((removed, added))
}

fn edited_json(text: &str, before: &Keys, after: &Keys) -> String {
    let edited = |text: &str| {
        let root = CstRootNode::parse(text, &ParseOptions::default()).ok()?;
        edit_object(&root.object_value()?, before, after, &ORDER);
        let edited = root.to_string();
        // A key that occurs twice is one that this cannot edit.
        (serde_json::from_str::<Keys>(&edited).ok().as_ref() == Some(after)).then_some(edited)
    };
    match text {
        "" => edited("{}").map(|text| text + "\n"),
        text => edited(text),
    }
    .unwrap_or_else(|| pretty(text, after))
}

fn edit_object(object: &CstObject, before: &Keys, after: &Keys, order: &[&str]) {
    for difference in differences(before, after) {
        match difference {
            Difference::Removed(key) => _ = object.get(key).map(|property| property.remove()),
            Difference::Added(key, value) => {
                let property = object.insert(place_of(object, key, order), key, input(value));
                multiline(property.value());
            }
            Difference::Changed(key, old, value) => {
                let Some(property) = object.get(key) else { continue };
                match (old, value, property.object_value(), property.array_value()) {
                    (Json::Object(old), Json::Object(value), Some(object), _) => edit_object(&object, old, value, &[]),
                    (Json::Array(old), Json::Array(value), _, Some(array)) if edit_array(&array, old, value) => {}
                    _ => {
                        property.set_value(input(value));
                        multiline(property.value());
                    }
                }
            }
        }
    }
}

/// The index of the new property `key`: before the first one that comes later in `order`.
fn place_of(object: &CstObject, key: &str, order: &[&str]) -> usize {
    let rank = |key: &str| order.iter().position(|known| *known == key);
    let properties = object.properties();
    let later = |name: Option<String>| name.and_then(|name| rank(&name)) > rank(key);
    match rank(key) {
        Some(_) => properties.iter().position(|property| later(property.decoded_name())).unwrap_or(properties.len()),
        None => properties.len(),
    }
}

fn edit_array(array: &CstArray, before: &[Json], after: &[Json]) -> bool {
    let Some((removed, added)) = list_differences(before, after) else { return false };
    let mut elements = array.elements();
    for at in removed {
        elements.remove(at).remove();
    }
    for at in added {
        array.insert(at, input(&after[at]));
    }
    true
}

/// A new list has one item on a line, as in files that other tools write.
fn multiline(value: Option<CstNode>) {
    if let Some(array) = value.and_then(|value| value.as_array()).filter(|array| !array.elements().is_empty()) {
        array.ensure_multiline();
    }
}

fn input(value: &Json) -> CstInputValue {
    match value {
        Json::Null => CstInputValue::Null,
        Json::Bool(value) => CstInputValue::Bool(*value),
        Json::Number(number) => CstInputValue::Number(number.to_string()),
        Json::String(text) => CstInputValue::String(text.clone()),
        Json::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Json::Object(keys) => {
            CstInputValue::Object(keys.iter().map(|(key, value)| (key.clone(), input(value))).collect())
        }
    }
}

/// `keys` as text, with the indentation of `like`.
fn pretty(like: &str, keys: &Keys) -> String {
    let indented = like.lines().find(|line| line.starts_with([' ', '\t']) && !line.trim().is_empty());
    let indent = indented.map_or("  ", |line| &line[..line.len() - line.trim_start().len()]);
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let written = keys.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter));
    debug_assert!(written.is_ok(), "JSON values can be written");
    String::from_utf8_lossy(&text).into_owned() + "\n"
}

fn edited_toml(text: &str, before: &Keys, after: &Keys) -> Result<String> {
    let unreadable = |e: TomlError| Fault::bug("a configuration that was read cannot be read again").caused_by(e);
    let mut document: DocumentMut = text.parse().map_err(unreadable)?;
    edit_table(document.as_table_mut(), before, after, true)?;
    Ok(document.to_string())
}

fn edit_table(table: &mut dyn TableLike, before: &Keys, after: &Keys, is_top: bool) -> Result<()> {
    for difference in differences(before, after) {
        let written = |key| if is_top && key == SDK { RUNTIME } else { key };
        match difference {
            Difference::Removed(key) => _ = table.remove(written(key)),
            Difference::Added(key, value) => _ = table.insert(written(key), item(value, is_top)?),
            Difference::Changed(key, old, value) => {
                let Some(known) = table.get_mut(written(key)) else { continue };
                match (old, value) {
                    (Json::Object(old), Json::Object(value)) if known.is_table_like() => {
                        if let Some(known) = known.as_table_like_mut() {
                            edit_table(known, old, value, false)?;
                        }
                    }
                    (Json::Array(old), Json::Array(value)) if edit_list(known, old, value)? => {}
                    _ => *known = item(value, known.is_table() || known.is_array_of_tables())?,
                }
            }
        }
    }
    Ok(())
}

fn edit_list(known: &mut Item, before: &[Json], after: &[Json]) -> Result<bool> {
    let Some((removed, added)) = list_differences(before, after) else { return Ok(false) };
    if let Some(array) = known.as_array_mut() {
        for at in removed {
            array.remove(at);
        }
        for at in added {
            array.insert(at, toml(&after[at])?);
        }
        for value in array.iter_mut().skip(1) {
            let prefix = value.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
            if prefix.is_empty() {
                value.decor_mut().set_prefix(" ");
            }
        }
        return Ok(true);
    }
    let Some(tables) = known.as_array_of_tables_mut() else { return Ok(false) };
    // Tables can be appended only. So those after the first new one are appended again.
    let first = added.first().copied().unwrap_or(after.len());
    for at in removed {
        tables.remove(at);
    }
    let mut rest: Vec<Table> = Vec::new();
    while tables.len() > first {
        rest.extend(tables.get(first).cloned());
        tables.remove(first);
    }
    let mut rest = rest.into_iter();
    for (at, value) in after.iter().enumerate().skip(first) {
        let next = if added.contains(&at) { new_table(value)? } else { rest.next() };
        tables.push(next.ok_or_else(|| no_form(value))?);
    }
    // Tables are written in the order of their positions in the document, so all get the same.
    let position = tables.iter().find_map(Table::position);
    if let Some(position) = position {
        tables.iter_mut().for_each(|table| table.set_position(position));
    }
    Ok(true)
}

fn new_table(value: &Json) -> Result<Option<Table>> {
    let Json::Object(keys) = value else { return Ok(None) };
    let mut table = Table::new();
    for (key, value) in keys {
        table.insert(key, item(value, false)?);
    }
    Ok(Some(table))
}

/// `value` as a new item. With `as_tables`, objects and lists of objects have headers of their own.
fn item(value: &Json, as_tables: bool) -> Result<Item> {
    match value {
        Json::Object(_) if as_tables => Ok(Item::Table(new_table(value)?.unwrap_or_default())),
        Json::Array(items) if as_tables && !items.is_empty() && items.iter().all(Json::is_object) => {
            let mut tables = toml_edit::ArrayOfTables::new();
            for item in items {
                tables.push(new_table(item)?.unwrap_or_default());
            }
            Ok(Item::ArrayOfTables(tables))
        }
        value => Ok(Item::Value(toml(value)?)),
    }
}

fn toml(value: &Json) -> Result<Toml> {
    Ok(match value {
        Json::Null => return Err(no_form(value)),
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => return Err(no_form(value)),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Toml::Array(items.iter().map(toml).collect::<Result<Array>>()?),
        Json::Object(keys) => {
            let mut table = InlineTable::new();
            for (key, value) in keys {
                table.insert(key, toml(value)?);
            }
            Toml::InlineTable(table)
        }
    })
}

fn no_form(value: &Json) -> Fault {
    Fault::user(format!("`{value}` cannot be written to a TOML file"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edited(format: ConfigFormat, text: &str, change: impl FnOnce(&mut Keys)) -> String {
        let before = format.keys(text).expect("parses");
        let mut after = before.clone();
        change(&mut after);
        let text = format.edited(text, &before, &after).expect("is written");
        assert_eq!(format.keys(&text).expect("parses"), after, "{text}");
        text
    }

    #[test]
    fn a_new_file_has_the_usual_order() {
        let text = edited(ConfigFormat::Json, "", |keys| {
            keys.insert("source".into(), json!("src"));
            keys.insert("include".into(), json!(["a", "b"]));
            keys.insert("sdk".into(), json!({"source": "python"}));
            keys.insert("engineVersion".into(), json!("v0.21.8"));
            keys.insert("name".into(), json!("x"));
        });
        let want = r#"{
  "name": "x",
  "engineVersion": "v0.21.8",
  "sdk": {
    "source": "python"
  },
  "include": [
    "a",
    "b"
  ],
  "source": "src"
}
"#;
        assert_eq!(text, want);
    }

    #[test]
    fn json_keeps_what_does_not_change() {
        let text = "{\n\t\"author\": {\"name\":   \"A\"},\n\t\"name\": \"x\",\n\t\"include\": [\"a\", \"b\"],\n\t\"n\": 1.50\n}";
        let got = edited(ConfigFormat::Json, text, |keys| {
            keys.insert("dependencies".into(), json!([{"name": "d", "source": "../d"}]));
            keys.insert("include".into(), json!(["a"]));
        });
        let want = "{\n\t\"author\": {\"name\":   \"A\"},\n\t\"name\": \"x\",\n\t\"include\": [\"a\"],\n\t\"n\": 1.50,\n\t\"dependencies\": [\n\t\t{\n\t\t\t\"name\": \"d\",\n\t\t\t\"source\": \"../d\"\n\t\t}\n\t]\n}";
        assert_eq!(got, want);
        let back = edited(ConfigFormat::Json, &got, |keys| _ = keys.shift_remove("dependencies"));
        assert_eq!(back, text.replace(", \"b\"", ""));
    }

    #[test]
    fn items_of_json_lists_keep_their_text() {
        let text = "{\n    \"dependencies\": [\n        {\"source\": \"b\", \"name\": \"b\"}\n    ]\n}\n";
        let got = edited(ConfigFormat::Json, text, |keys| {
            keys.insert("dependencies".into(), json!([{"name": "a"}, {"source": "b", "name": "b"}]));
        });
        assert!(got.contains("        {\"source\": \"b\", \"name\": \"b\"}\n    ]"), "{got}");
        assert!(got.contains("        {\n            \"name\": \"a\"\n        },\n"), "{got}");
    }

    #[test]
    fn a_key_that_occurs_twice_is_written_once() {
        let got = edited(ConfigFormat::Json, "{\n   \"name\": \"x\", \"name\": \"y\"}", |keys| {
            keys.insert("name".into(), json!("z"));
        });
        assert_eq!(got, "{\n   \"name\": \"z\"\n}\n");
    }

    #[test]
    fn toml_keeps_what_does_not_change() {
        let text = "# ours\nname = \"x\" # the name\nengineVersion = 'v0.18.0'\n\n[runtime]\nsource = \"python\"\n\n[other]\nk = 1979-05-27\n";
        let got = edited(ConfigFormat::Toml, text, |keys| {
            keys.insert("engineVersion".into(), json!("v0.21.8"));
            keys.insert("dependencies".into(), json!([{"name": "d", "source": "../d"}]));
        });
        assert!(got.starts_with("# ours\nname = \"x\" # the name\nengineVersion = \"v0.21.8\"\n"), "{got}");
        assert!(got.contains("[other]\nk = 1979-05-27\n") && got.contains("[[dependencies]]\nname = \"d\"\n"), "{got}");
        let more = edited(ConfigFormat::Toml, &got, |keys| {
            keys.insert(
                "dependencies".into(),
                json!([{"name": "a", "source": "../a"}, {"name": "d", "source": "../d"}]),
            );
        });
        assert!(more.find("name = \"a\"") < more.find("name = \"d\""), "{more}");
        let fewer = edited(ConfigFormat::Toml, &more, |keys| {
            keys.insert("dependencies".into(), json!([{"name": "d", "source": "../d"}]));
            keys.shift_remove("sdk");
        });
        assert!(!fewer.contains("runtime") && fewer.contains("[other]"), "{fewer}");
        let inline = edited(ConfigFormat::Toml, "dependencies = [\"../b\"]\n", |keys| {
            keys.insert("dependencies".into(), json!([{"name": "a", "source": "../a"}, "../b"]));
        });
        assert_eq!(inline, "dependencies = [{ name = \"a\", source = \"../a\" }, \"../b\"]\n");
    }
}
