//! Names of the API in Python, by the rules of the library's own code generator.

/// The keywords of Python, as `keyword.iskeyword` defines them.
const KEYWORDS: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];
/// Builtins that are used in signatures. A method of that name would shadow them in the class.
const BUILTINS: &[&str] = &["str", "int", "float", "bool", "list", "type"];

/// `withExec` as `with_exec`, `asJSON` as `as_json`, `import` as `import_`, `str` as `str_`.
pub(crate) fn snake_case(name: &str) -> String {
    let words = separate_words(&title_acronyms(name));
    if is_keyword(&words) || BUILTINS.contains(&&*words) { format!("{words}_") } else { words }
}

/// The same for an argument of a method, which already has one called `self`.
pub(crate) fn argument_name(name: &str) -> String {
    let name = snake_case(name);
    if name == "self" { "self_".to_owned() } else { name }
}

/// Whether `name` is reserved in Python.
pub(crate) fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name)
}

/// `asJSON` as `asJson` and `URLPath` as `UrlPath`: in each run of capitals and digits, the part
/// that belongs to one word is capitalized as one word.
fn title_acronyms(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let is_upper = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit();
    let mut out = String::with_capacity(name.len());
    let mut at = 0;
    while at < chars.len() {
        let run = chars[at..].iter().take_while(|c| is_upper(c)).count();
        // The last capital of a run starts the next word, unless the name ends there.
        let word = if at + run == chars.len() { run } else { run.saturating_sub(1) };
        let mut after_letter = false;
        for c in &chars[at..at + word] {
            out.push(if after_letter { c.to_ascii_lowercase() } else { *c });
            after_letter = c.is_ascii_alphabetic();
        }
        at += word;
        if let Some(c) = chars.get(at) {
            out.push(*c);
            at += 1;
        }
    }
    out
}

/// `asJson` as `as_json`: a word ends before a capital that follows a lower-case letter, and before
/// the last capital of a run of capitals and digits.
fn separate_words(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let is_upper = |at: usize| chars.get(at).is_some_and(char::is_ascii_uppercase);
    let in_run = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit();
    let mut out = String::with_capacity(name.len() + 4);
    let mut at = 0;
    while at < chars.len() {
        let run = chars[at..].iter().take_while(|c| in_run(c)).count();
        let word = match run {
            0 => usize::from(chars[at].is_ascii_lowercase() && is_upper(at + 1)),
            run => (1..run).rev().find(|length| is_upper(at + length)).unwrap_or_default(),
        };
        let length = word.max(1);
        out.extend(chars[at..at + length].iter().map(char::to_ascii_lowercase));
        if word > 0 {
            out.push('_');
        }
        at += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |name: &str, want: &str| assert_eq!(snake_case(name), want, "{name}");
        // These are the outputs of the library's generator.
        check("withExec", "with_exec");
        check("asJSON", "as_json");
        check("sourceRootURL", "source_root_url");
        check("URLPath", "url_path");
        check("experimentalWithAllGPUs", "experimental_with_all_gp_us");
        check("loadGitRefFromID", "load_git_ref_from_id");
        check("sha256Sum", "sha256_sum");
        check("withX509Cert", "with_x509_cert");
        check("get2FACode", "get2_fa_code");
        check("v1Beta2Test", "v1_beta2_test");
        check("toK8SX", "to_k8_sx");
        check("IPv4Addr", "i_pv4_addr");
        check("aB2C", "a_b2_c");
        check("helloWORLD123foo", "hello_world123foo");
        check("x", "x");
        check("already_snake", "already_snake");
        check("from", "from_");
        check("import", "import_");
        check("str", "str_");
        check("list", "list_");
        check("type", "type_");
        check("match", "match");
        check("dict", "dict");
        check("self", "self");
        assert_eq!((&*argument_name("self"), &*argument_name("class")), ("self_", "class_"));
    }
}
