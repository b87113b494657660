//! Conversion of names between a module's language and the API.
//!
//! The rules are those of docs/protocol.md#names: a run of capitals counts as one word whose tail
//! becomes lower case, a digit ends a word, and `LLM` and `JSON` keep their capitals.

/// Names of types that keep their capitals.
const FIXED: &[&str] = &["LLM", "JSON"];

/// The name of a type: `my_type` → `MyType`.
pub fn type_name(original: &str) -> String {
    if FIXED.contains(&original) { original.to_owned() } else { camel(original, true) }
}

/// The name of a field, function or argument: `my_field` → `myField`.
pub fn field_name(original: &str) -> String {
    if original.starts_with("load") && original.ends_with("FromID") {
        return original.to_owned();
    }
    camel(original, false)
}

/// The name of an enum member: unchanged if it is in capitals, else `myMember` → `MY_MEMBER`.
pub fn member_name(original: &str) -> String {
    let kept = original.starts_with(|c: char| c.is_ascii_uppercase())
        && original.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if kept { original.to_owned() } else { delimited(original, '_').to_ascii_uppercase() }
}

/// The name on a command line: `myField` → `my-field`.
pub fn kebab(name: &str) -> String {
    delimited(name, '-').to_ascii_lowercase()
}

/// The name of a module's type in the API. The main object has the module's name, all other types
/// have it as a prefix.
pub fn namespaced(original: &str, module_original: &str, module: &str) -> String {
    let (own, prefix, name) = (type_name(original), type_name(module_original), type_name(module));
    if same_type(original, module_original) {
        return name;
    }
    match own.strip_prefix(prefix.as_str()) {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_uppercase()) => type_name(&format!("{name}{rest}")),
        _ => type_name(&format!("{name}_{own}")),
    }
}

/// Whether two names give the same type name: `x-ray` is `XRay` as a type, which is a run of
/// capitals itself.
pub fn same_type(one: &str, other: &str) -> bool {
    type_name(&type_name(one)) == type_name(&type_name(other))
}

/// Whether `name` is a valid name in GraphQL.
pub fn is_graphql_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn camel(text: &str, first_upper: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word_starts = first_upper;
    let mut before_was_capital = false;
    for (at, c) in text.trim().chars().enumerate() {
        if !c.is_ascii_alphabetic() {
            if c.is_ascii_digit() {
                out.push(c);
            }
            word_starts = c.is_ascii_digit() || is_separator(c);
            before_was_capital = false;
            continue;
        }
        let lower = !word_starts && (at == 0 || before_was_capital);
        out.push(match (word_starts, lower) {
            (true, _) => c.to_ascii_uppercase(),
            (false, true) => c.to_ascii_lowercase(),
            (false, false) => c,
        });
        before_was_capital = c.is_ascii_uppercase();
        word_starts = false;
    }
    out
}

fn is_separator(c: char) -> bool {
    matches!(c, '_' | ' ' | '-' | '.')
}

/// The words of `text`, delimited. A word ends where lower case turns into capitals, before the
/// last of several capitals that a lower-case letter follows, and around digits.
fn delimited(text: &str, separator: char) -> String {
    let chars: Vec<char> = text.trim().chars().collect();
    let mut out = String::with_capacity(text.len() + 4);
    for (at, &c) in chars.iter().enumerate() {
        if is_separator(c) {
            out.push(separator);
            continue;
        }
        if at > 0 && ends_word(chars[at - 1], c, chars.get(at + 1).copied()) {
            out.push(separator);
        }
        out.push(c);
    }
    out
}

fn ends_word(before: char, c: char, after: Option<char>) -> bool {
    let (lower, upper) = (|c: char| c.is_ascii_lowercase(), |c: char| c.is_ascii_uppercase());
    (lower(before) && upper(c))
        || (upper(before) && upper(c) && after.is_some_and(lower))
        || (before.is_ascii_alphabetic() && c.is_ascii_digit())
        || (before.is_ascii_digit() && c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_fields() {
        let check = |original: &str, ty: &str, field: &str| {
            assert_eq!((&*type_name(original), &*field_name(original)), (ty, field), "{original}");
        };
        check("my_module", "MyModule", "myModule");
        check("my-module", "MyModule", "myModule");
        check("MyModule", "MyModule", "myModule");
        check("introspectionJSON", "IntrospectionJson", "introspectionJson");
        check("HTTPServer", "Httpserver", "httpserver");
        check("container_echo", "ContainerEcho", "containerEcho");
        check("sha256sum", "Sha256Sum", "sha256Sum");
        check("enums-v0.18.10", "EnumsV01810", "enumsV01810");
        check("ID", "Id", "id");
        check("URL", "Url", "url");
        check("x", "X", "x");
        check("", "", "");
        assert_eq!(
            (type_name("JSON"), type_name("LLM"), field_name("LLM")),
            ("JSON".into(), "LLM".into(), "llm".into())
        );
        assert_eq!(field_name("loadContainerFromID"), "loadContainerFromID");
    }

    #[test]
    fn members_and_kebab() {
        let check = |original: &str, member: &str| assert_eq!(member_name(original), member);
        check("ACTIVE", "ACTIVE");
        check("LEVEL_2", "LEVEL_2");
        check("low", "LOW");
        check("inProgress", "IN_PROGRESS");
        check("TRUE", "TRUE");
        let check = |name: &str, want: &str| assert_eq!(kebab(name), want);
        check("containerEcho", "container-echo");
        check("HTTPServer", "http-server");
        check("dockerConfig", "docker-config");
        check("sha256Sum", "sha-256-sum");
        check("already-kebab", "already-kebab");
    }

    #[test]
    fn namespaces() {
        let check = |original: &str, module_original: &str, module: &str, want: &str| {
            assert_eq!(namespaced(original, module_original, module), want);
        };
        check("Foo", "bar", "bar", "BarFoo");
        check("Bar", "bar", "bar", "Bar");
        check("Bar", "bar", "renamed", "Renamed");
        check("BarFoo", "bar", "bar", "BarFoo");
        check("Barista", "bar", "bar", "BarBarista");
        check("BarFoo", "bar", "other-name", "OtherNameFoo");
        check("Status", "dep", "dep", "DepStatus");
    }

    #[test]
    fn graphql_names() {
        for good in ["a", "_x", "A1"] {
            assert!(is_graphql_name(good), "{good}");
        }
        for bad in ["", "1ACTIVE", "#ACTIVE", "ACTIVE ", " A", "A-B", "é"] {
            assert!(!is_graphql_name(bad), "{bad}");
        }
    }
}
