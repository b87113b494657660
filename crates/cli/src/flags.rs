//! From argument types to flags, and from flag texts to GraphQL.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use rondel_fault::{Fault, Result};
use serde_json::Value;

use crate::schema::{ArgInfo, TypeInfo, kebab};

/// What a flag's text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Written into the query as a string.
    Text,
    /// Written into the query as it is: a number or a boolean.
    Bare,
    /// A boolean.
    Switch,
    /// The name of an enum member.
    Member(Vec<String>),
    /// An address, resolved by the engine to an object through this field.
    Address(&'static str),
    /// The key of a cache volume.
    CacheKey,
    /// The reference of a module; the field after `moduleSource`.
    Module(Option<&'static str>),
    /// `KEY=VALUE`.
    BuildArg,
    /// `frontend:backend`.
    PortForward,
}

/// The text of a GraphQL value, or a query that gives the ID of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A literal.
    Literal(String),
    /// A selection on the root whose innermost field is `id`.
    Object(String),
}

/// What the texts of a flag for `arg` mean; none: there is no flag for such an argument. `lookup` knows enum types.
pub(crate) fn meaning(arg: &ArgInfo, enumeration: Option<&TypeInfo>) -> Option<Meaning> {
    if arg.ty.lists() > 1 {
        return None;
    }
    let name = arg.type_name();
    let object = name != arg.ty.base_name() || arg.ty.base_name().ends_with("ID");
    Some(match (arg.ty.base().kind.as_str(), name.as_str()) {
        ("SCALAR", "String") => Meaning::Text,
        ("SCALAR", "Int" | "Float") => Meaning::Bare,
        ("SCALAR", "Boolean") => Meaning::Switch,
        ("ENUM", _) => Meaning::Member(enumeration?.enum_values.iter().flatten().map(|m| m.name.clone()).collect()),
        ("INPUT_OBJECT", "BuildArg") => Meaning::BuildArg,
        ("INPUT_OBJECT", "PortForward") => Meaning::PortForward,
        ("SCALAR", name) if object => match name {
            "Container" => Meaning::Address("container"),
            "Directory" => Meaning::Address("directory"),
            "File" => Meaning::Address("file"),
            "Secret" => Meaning::Address("secret"),
            "Service" => Meaning::Address("service"),
            "Socket" => Meaning::Address("socket"),
            "GitRepository" => Meaning::Address("gitRepository"),
            "GitRef" => Meaning::Address("gitRef"),
            "CacheVolume" => Meaning::CacheKey,
            "Module" => Meaning::Module(Some("asModule")),
            "ModuleSource" => Meaning::Module(None),
            _ => return None,
        },
        ("SCALAR", _) => Meaning::Text,
        _ => return None,
    })
}

/// The flag for an argument.
pub(crate) fn flag(arg: &ArgInfo, meaning: &Meaning) -> Arg {
    let mut help = arg.description.clone().unwrap_or_default();
    if let Some(default) = arg.default_value.as_deref().filter(|d| !matches!(*d, "null" | "[]" | "\"\"")) {
        help = format!("{help} (default {default})").trim_start().to_owned();
    }
    let list = arg.ty.lists() > 0;
    let mut flag = Arg::new(arg.name.clone()).long(kebab(&arg.name)).help(help).required(arg.is_required());
    flag = if list { flag.action(ArgAction::Append) } else { flag.action(ArgAction::Set) };
    flag = match meaning {
        Meaning::Switch if !list => {
            flag.num_args(0..=1).require_equals(true).default_missing_value("true").value_parser(value_parser!(bool))
        }
        Meaning::Member(names) if !list => {
            flag.value_parser(PossibleValuesParser::new(names.clone())).ignore_case(true)
        }
        _ => flag.value_parser(value_parser!(String)).allow_hyphen_values(true),
    };
    flag.value_name(match meaning {
        Meaning::Switch => "BOOL".to_owned(),
        _ => arg.type_name().to_uppercase(),
    })
}

/// The pieces of the value that was given for `arg`; none: it was not given. The flag says whether they make a list.
pub(crate) fn pieces(arg: &ArgInfo, meaning: &Meaning, matches: &ArgMatches) -> Result<Option<(Vec<Piece>, bool)>> {
    let list = arg.ty.lists() > 0;
    if matches!(meaning, Meaning::Switch) && !list {
        let given = matches.get_one::<bool>(&arg.name);
        return Ok(given.map(|value| (vec![Piece::Literal(value.to_string())], false)));
    }
    let Some(texts) = matches.get_many::<String>(&arg.name) else { return Ok(None) };
    let mut pieces = Vec::new();
    for text in texts {
        let parts = if list { elements(text).map_err(|why| wrong_list(arg, text, why))? } else { vec![text.clone()] };
        for part in parts {
            pieces.push(piece(arg, meaning, &part)?);
        }
    }
    Ok(Some((pieces, list)))
}

fn piece(arg: &ArgInfo, meaning: &Meaning, text: &str) -> Result<Piece> {
    let flag = kebab(&arg.name);
    Ok(match meaning {
        Meaning::Text if arg.ty.base_name() == "Platform" && text == "current" => {
            Piece::Object("defaultPlatform".into())
        }
        Meaning::Text => Piece::Literal(quote(text)),
        Meaning::Bare | Meaning::Switch => {
            let ok = match arg.ty.base_name() {
                "Int" => text.parse::<i64>().is_ok(),
                "Boolean" => text.parse::<bool>().is_ok(),
                _ => text.parse::<f64>().is_ok_and(f64::is_finite),
            };
            let wanted = arg.ty.base_name().to_lowercase();
            if !ok {
                return Err(Fault::user(format!("`--{flag}` wants a value of type {wanted}, not `{text}`")));
            }
            Piece::Literal(text.to_owned())
        }
        Meaning::Member(names) => match names.iter().find(|name| name.eq_ignore_ascii_case(text)) {
            Some(name) => Piece::Literal(name.clone()),
            None => {
                let names = names.join(",");
                return Err(Fault::user(format!(
                    "invalid value `{text}` for `--{flag}`: value should be one of {names}"
                )));
            }
        },
        Meaning::Address(kind) => Piece::Object(format!("address(value:{}){{{kind}{{id}}}}", quote(&address(text)))),
        Meaning::CacheKey => Piece::Object(format!("cacheVolume(key:{}){{id}}", quote(text))),
        Meaning::Module(None) => Piece::Object(format!("moduleSource(refString:{}){{id}}", quote(text))),
        Meaning::Module(Some(field)) => {
            Piece::Object(format!("moduleSource(refString:{}){{{field}{{id}}}}", quote(text)))
        }
        Meaning::BuildArg => match text.split_once('=') {
            None => {
                return Err(Fault::user(format!("`--{flag} {text}`: build arguments must be formatted as name=value")));
            }
            Some(("", _)) => {
                return Err(Fault::user(format!("`--{flag} {text}`: build arguments cannot have an empty name")));
            }
            Some((name, value)) => Piece::Literal(format!("{{name:{},value:{}}}", quote(name), quote(value))),
        },
        Meaning::PortForward => {
            let ports = text.split_once(':').and_then(|(f, b)| Some((f.parse::<u16>().ok()?, b.parse::<u16>().ok()?)));
            let (frontend, backend) = ports.ok_or_else(|| {
                Fault::user(format!("`--{flag} {text}`: ports must be formatted as frontend:backend"))
            })?;
            Piece::Literal(format!("{{frontend:{frontend},backend:{backend}}}"))
        }
    })
}

/// `~` is this user's home: the engine does not know whose.
fn address(text: &str) -> String {
    match (text.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => text.to_owned(),
    }
}

/// A GraphQL string literal.
pub(crate) fn quote(text: &str) -> String {
    // JSON escapes are GraphQL escapes.
    Value::from(text).to_string()
}

fn wrong_list(arg: &ArgInfo, text: &str, why: &str) -> Fault {
    Fault::user(format!("invalid list `{text}` for `--{}`: {why}", kebab(&arg.name))).with_hint(
        "write a JSON array, or values separated by commas; one that has a comma or quotes is quoted: `a,\"b,c\"`",
    )
}

/// The elements of a list: a JSON array of scalars, or a line of comma-separated values. An empty
/// text is an empty list.
fn elements(text: &str) -> std::result::Result<Vec<String>, &'static str> {
    if let Some(array) = json_array(text) {
        return Ok(array);
    }
    if text.is_empty() { Ok(Vec::new()) } else { csv(text) }
}

/// The elements of a JSON array of scalars. `None`: the text is something else.
fn json_array(text: &str) -> Option<Vec<String>> {
    if !text.trim_start().starts_with('[') {
        return None;
    }
    let items: Vec<Value> = serde_json::from_str(text).ok()?;
    let element = |item: Value| match item {
        Value::String(text) => Some(text),
        Value::Bool(_) | Value::Number(_) => Some(item.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    items.into_iter().map(element).collect()
}

/// Splits at commas. A value that begins with a double quote ends with the next one; two inside of
/// it are one.
fn csv(text: &str) -> std::result::Result<Vec<String>, &'static str> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, behind) = match rest.strip_prefix('"') {
            Some(inside) => quoted(inside)?,
            None => {
                let (part, behind) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                (part.to_owned(), behind)
            }
        };
        parts.push(part);
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(parts),
            None => return Err("there is text behind the closing quote of a value"),
        }
    }
}

/// The value up to its closing quote, and what is behind that.
fn quoted(mut rest: &str) -> std::result::Result<(String, &str), &'static str> {
    let mut value = String::new();
    loop {
        let end = rest.find('"').ok_or("the closing quote of a value is missing")?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Ok((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_lists() {
        for (text, want) in [
            ("a", vec!["a"]),
            ("a,b", vec!["a", "b"]),
            ("a,\"b,c\",d", vec!["a", "b,c", "d"]),
            ("\"x\"\"y\"", vec!["x\"y"]),
            ("it's 5\" wide", vec!["it's 5\" wide"]),
            ("a,,\"\"", vec!["a", "", ""]),
            ("a,", vec!["a", ""]),
            ("", vec![]),
            ("\"\"", vec![""]),
            ("[]", vec![]),
            (r#"["b,ar","ba,z"]"#, vec!["b,ar", "ba,z"]),
            (r#" ["a\"b", 1, -2.5, true] "#, vec!["a\"b", "1", "-2.5", "true"]),
            ("[a,b]", vec!["[a", "b]"]),
            ("[[1]]", vec!["[[1]]"]),
        ] {
            assert_eq!(elements(text), Ok(want.into_iter().map(ToOwned::to_owned).collect()), "{text}");
        }
        for wrong in ["\"a", "\"a\"b", "x,\"a\" ,c"] {
            assert!(elements(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn strings_are_quoted_for_graphql() {
        assert_eq!(quote("a\"b\\\n\u{1}"), "\"a\\\"b\\\\\\n\\u0001\"");
    }
}
