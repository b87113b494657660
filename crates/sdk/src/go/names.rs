//! Names of the API in Go, by the rules of the original's code generator.

/// Words that Go writes in capitals.
const INITIALISMS: [&str; 41] = [
    "ACL", "API", "ASCII", "CPU", "CSS", "DNS", "EOF", "FS", "GUID", "HTML", "HTTP", "HTTPS", "ID", "IP", "JSON",
    "LHS", "LLM", "QPS", "RAM", "RHS", "RPC", "SDK", "SLA", "SMTP", "SQL", "SSH", "TCP", "TLS", "TTL", "UDP", "UI",
    "UID", "UUID", "URI", "URL", "UTF8", "VM", "XML", "XMPP", "XSRF", "XSS",
];
/// Keywords, and names that generated methods use.
const RESERVED: [&str; 38] = [
    "break",
    "case",
    "chan",
    "const",
    "continue",
    "default",
    "defer",
    "else",
    "fallthrough",
    "for",
    "func",
    "go",
    "goto",
    "if",
    "import",
    "interface",
    "map",
    "package",
    "range",
    "return",
    "select",
    "struct",
    "switch",
    "type",
    "var",
    "r",
    "q",
    "i",
    "err",
    "ids",
    "out",
    "ctx",
    "opts",
    "response",
    "required",
    "nil",
    "len",
    "make",
];

/// `withEnvVariable` as `WithEnvVariable`, `cloneUrl` as `CloneURL`.
pub(crate) fn exported(name: &str) -> String {
    let mut out = String::new();
    for word in words(name) {
        let upper = word.to_uppercase();
        if INITIALISMS.contains(&&*upper) {
            out.push_str(&upper);
        } else {
            let mut chars = word.chars();
            out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
            out.push_str(chars.as_str());
        }
    }
    out
}

/// The words of a name: they end before `_` and where a capital follows a small letter.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        if c == '_' || (before.is_lowercase() && !c.is_lowercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c != '_') {
            word.push(c);
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The name of a parameter.
pub(crate) fn parameter(name: &str) -> String {
    if RESERVED.contains(&name) { format!("{name}_") } else { name.to_owned() }
}

/// `FAIL_EARLY` as `FailEarly`, `PerSession` as it is, `OCIMediaTypes` as `OcimediaTypes`.
///
/// A capital stays one at the start of a word and after a small letter.
pub(crate) fn constant(member: &str) -> String {
    let mut out = String::new();
    let mut before = '_';
    for c in member.chars() {
        match (before, c) {
            (_, '_' | '-' | ' ' | '.') => {}
            ('_' | '-' | ' ' | '.' | '0'..='9', c) => out.extend(c.to_uppercase()),
            (before, c) if before.is_uppercase() => out.extend(c.to_lowercase()),
            (_, c) => out.push(c),
        }
        before = c;
    }
    out
}

/// `my_Module` as `my-module`: the name of a generated file and of a module path.
pub(crate) fn kebab(name: &str) -> String {
    let mut out = String::new();
    let mut before = '-';
    for c in name.chars() {
        if c == '_' || c == ' ' || c == '.' || c == '-' {
            if !out.is_empty() && !out.ends_with('-') {
                out.push('-');
            }
        } else {
            if c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit()) {
                out.push('-');
            }
            out.extend(c.to_lowercase());
        }
        before = c;
    }
    out.trim_end_matches('-').to_owned()
}

/// A string literal. JSON's escapes are escapes of Go.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |name: &str, want: &str| assert_eq!(exported(name), want);
        check("withEnvVariable", "WithEnvVariable");
        check("cloneUrl", "CloneURL");
        check("http", "HTTP");
        check("id", "ID");
        check("asLlm", "AsLLM");
        check("asHTTPState", "AsHTTPState");
        check("with_some_id", "WithSomeID");
        let check = |member: &str, want: &str| assert_eq!(constant(member), want);
        check("FAIL_EARLY", "FailEarly");
        check("TCP", "Tcp");
        check("PerSession", "PerSession");
        check("OCIMediaTypes", "OcimediaTypes");
        check("EStarGZ", "EstarGz");
        check("v1beta_2x", "V1Beta2X");
        assert_eq!((parameter("type"), parameter("path")), ("type_".into(), "path".into()));
        assert_eq!((kebab("MyModule"), kebab("my_mod.x")), ("my-module".into(), "my-mod-x".into()));
    }
}
