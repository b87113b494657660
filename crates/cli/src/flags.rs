//! Flags of functions: from argument types to flags, and from flag texts to GraphQL values.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use rondel_fault::{Fault, Result};
use serde_json::Value;

use crate::introspection::{ArgInfo, TypeInfo, kebab};

/// How the text of a flag becomes a GraphQL value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FlagKind {
    /// A string.
    Text,
    /// A number or a boolean, written into the query as it is.
    Number,
    /// A boolean whose flag needs no value.
    Switch,
    /// The name of an enum member.
    Member(Vec<String>),
    /// An address, resolved by the engine to an object through this field.
    Address(&'static str),
    /// The key of a cache volume.
    CacheKey,
    /// The reference of a module. Holds the field after `moduleSource`, or `None` for the source
    /// itself.
    Module(Option<&'static str>),
    /// `KEY=VALUE`.
    BuildArg,
    /// `frontend:backend`.
    PortForward,
}

/// A value of a flag: a GraphQL literal, or a selection that returns the ID of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FlagValue {
    /// A literal.
    Literal(String),
    /// A selection on the root whose innermost field is `id`.
    Object(String),
}

/// The kind of the flag for `arg`, or `None` if arguments of this type have no flag. `enumeration`
/// is the type of `arg` if that is an enum.
pub(crate) fn flag_kind(arg: &ArgInfo, enumeration: Option<&TypeInfo>) -> Option<FlagKind> {
    if arg.ty.lists() > 1 {
        return None;
    }
    let name = arg.type_name();
    let object = name != arg.ty.base_name() || arg.ty.base_name().ends_with("ID");
    Some(match (arg.ty.base().kind.as_str(), name.as_str()) {
        ("SCALAR", "String") => FlagKind::Text,
        ("SCALAR", "Int" | "Float") => FlagKind::Number,
        ("SCALAR", "Boolean") => FlagKind::Switch,
        ("ENUM", _) => FlagKind::Member(enumeration?.enum_values.iter().flatten().map(|m| m.name.clone()).collect()),
        ("INPUT_OBJECT", "BuildArg") => FlagKind::BuildArg,
        ("INPUT_OBJECT", "PortForward") => FlagKind::PortForward,
        ("SCALAR", name) if object => match name {
            "Container" => FlagKind::Address("container"),
            "Directory" => FlagKind::Address("directory"),
            "File" => FlagKind::Address("file"),
            "Secret" => FlagKind::Address("secret"),
            "Service" => FlagKind::Address("service"),
            "Socket" => FlagKind::Address("socket"),
            "GitRepository" => FlagKind::Address("gitRepository"),
            "GitRef" => FlagKind::Address("gitRef"),
            "CacheVolume" => FlagKind::CacheKey,
            "Module" => FlagKind::Module(Some("asModule")),
            "ModuleSource" => FlagKind::Module(None),
            _ => return None,
        },
        ("SCALAR", _) => FlagKind::Text,
        _ => return None,
    })
}

/// The command-line flag for an argument.
pub(crate) fn flag_arg(arg: &ArgInfo, kind: &FlagKind) -> Arg {
    let mut help = arg.description.clone().unwrap_or_default();
    if let Some(default) = arg.default_value.as_deref().filter(|d| !matches!(*d, "null" | "[]" | "\"\"")) {
        help = format!("{help} (default {default})").trim_start().to_owned();
    }
    let list = arg.ty.lists() > 0;
    if let FlagKind::Member(names) = kind
        && list
    {
        help = format!("{help} [possible values: {}]", names.join(", ")).trim_start().to_owned();
    }
    let mut flag = Arg::new(arg.name.clone()).long(kebab(&arg.name)).help(help).required(arg.is_required());
    flag = if list { flag.action(ArgAction::Append) } else { flag.action(ArgAction::Set) };
    flag = match kind {
        FlagKind::Switch if !list => {
            flag.num_args(0..=1).require_equals(true).default_missing_value("true").value_parser(value_parser!(bool))
        }
        FlagKind::Member(names) if !list => {
            flag.value_parser(PossibleValuesParser::new(names.clone())).ignore_case(true)
        }
        _ => flag.value_parser(value_parser!(String)).allow_hyphen_values(true),
    };
    flag.value_name(match kind {
        FlagKind::Switch => "BOOL".to_owned(),
        _ => kebab(&arg.type_name()).to_uppercase(),
    })
}

/// The values given for `arg`, and whether they form a list. `None` if the flag was not given.
pub(crate) fn flag_values(
    arg: &ArgInfo,
    kind: &FlagKind,
    matches: &ArgMatches,
) -> Result<Option<(Vec<FlagValue>, bool)>> {
    let list = arg.ty.lists() > 0;
    if matches!(kind, FlagKind::Switch) && !list {
        let given = matches.get_one::<bool>(&arg.name);
        return Ok(given.map(|value| (vec![FlagValue::Literal(value.to_string())], false)));
    }
    let Some(texts) = matches.get_many::<String>(&arg.name) else { return Ok(None) };
    let mut values = Vec::new();
    for text in texts {
        let parts = if list { elements(text).map_err(|why| wrong_list(arg, text, why))? } else { vec![text.clone()] };
        for part in parts {
            values.push(flag_value(arg, kind, &part)?);
        }
    }
    Ok(Some((values, list)))
}

fn flag_value(arg: &ArgInfo, kind: &FlagKind, text: &str) -> Result<FlagValue> {
    let flag = kebab(&arg.name);
    Ok(match kind {
        FlagKind::Text if arg.ty.base_name() == "Platform" && text == "current" => {
            FlagValue::Object("defaultPlatform".into())
        }
        FlagKind::Text => FlagValue::Literal(quote(text)),
        FlagKind::Number | FlagKind::Switch => {
            let ok = match arg.ty.base_name() {
                "Int" => text.parse::<i64>().is_ok(),
                "Boolean" => text.parse::<bool>().is_ok(),
                _ => text.parse::<f64>().is_ok_and(f64::is_finite),
            };
            let wanted = arg.ty.base_name().to_lowercase();
            if !ok {
                return Err(Fault::user(format!("`--{flag}` wants a value of type {wanted}, not `{text}`")));
            }
            FlagValue::Literal(text.to_owned())
        }
        FlagKind::Member(names) => match names.iter().find(|name| name.eq_ignore_ascii_case(text)) {
            Some(name) => FlagValue::Literal(name.clone()),
            None => {
                let names = names.join(",");
                return Err(Fault::user(format!(
                    "invalid value `{text}` for `--{flag}`: value should be one of {names}"
                )));
            }
        },
        FlagKind::Address(kind) => {
            FlagValue::Object(format!("address(value:{}){{{kind}{{id}}}}", quote(&address(text))))
        }
        FlagKind::CacheKey => FlagValue::Object(format!("cacheVolume(key:{}){{id}}", quote(text))),
        FlagKind::Module(None) => FlagValue::Object(format!("moduleSource(refString:{}){{id}}", quote(text))),
        FlagKind::Module(Some(field)) => {
            FlagValue::Object(format!("moduleSource(refString:{}){{{field}{{id}}}}", quote(text)))
        }
        FlagKind::BuildArg => match text.split_once('=') {
            None => {
                return Err(Fault::user(format!("`--{flag} {text}`: build arguments must be formatted as name=value")));
            }
            Some(("", _)) => {
                return Err(Fault::user(format!("`--{flag} {text}`: build arguments cannot have an empty name")));
            }
            Some((name, value)) => FlagValue::Literal(format!("{{name:{},value:{}}}", quote(name), quote(value))),
        },
        FlagKind::PortForward => {
            let ports = text.split_once(':').and_then(|(f, b)| Some((f.parse::<u16>().ok()?, b.parse::<u16>().ok()?)));
            let (frontend, backend) = ports.ok_or_else(|| {
                Fault::user(format!("`--{flag} {text}`: ports must be formatted as frontend:backend"))
            })?;
            FlagValue::Literal(format!("{{frontend:{frontend},backend:{backend}}}"))
        }
    })
}

/// Expands a leading `~/` to the home directory of this user, which the engine does not know.
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

/// The elements of a list: a JSON array of scalars, or comma-separated values. An empty text is an
/// empty list.
fn elements(text: &str) -> std::result::Result<Vec<String>, &'static str> {
    if let Some(array) = json_array(text) {
        return Ok(array);
    }
    if text.is_empty() { Ok(Vec::new()) } else { csv(text) }
}

/// The elements of a JSON array of scalars. `None` if the text is anything else.
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

/// Splits at commas. A value that begins with a double quote ends at the next one. Two double
/// quotes inside it stand for one.
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

/// The value up to its closing quote, and the rest of the text.
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
