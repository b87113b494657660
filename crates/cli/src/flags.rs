//! From argument types to flags, and from flag texts to GraphQL.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use rondel_fault::{Fault, Result};

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
        let parts = if list { csv(text) } else { vec![text.clone()] };
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
    serde_json::Value::from(text).to_string()
}

/// Splits at commas; double quotes keep commas together, two of them inside quotes are one.
fn csv(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(last) = parts.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                last.push('"');
            }
            '"' if quoted || last.is_empty() => quoted = !quoted,
            ',' if !quoted => parts.push(String::new()),
            c => last.push(c),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comma_separated_values() {
        for (text, want) in [
            ("a", vec!["a"]),
            ("a,b", vec!["a", "b"]),
            ("a,\"b,c\",d", vec!["a", "b,c", "d"]),
            ("\"x\"\"y\"", vec!["x\"y"]),
            ("it's 5\" wide", vec!["it's 5\" wide"]),
            ("", vec![""]),
        ] {
            assert_eq!(csv(text), want, "{text}");
        }
    }

    #[test]
    fn strings_are_quoted_for_graphql() {
        assert_eq!(quote("a\"b\\\n\u{1}"), "\"a\\\"b\\\\\\n\\u0001\"");
    }
}
