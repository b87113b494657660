//! Nothing of a developer's machine is in the repository: its paths, its hosts, its credentials.

use super::{Findings, Text};

pub(super) fn check(texts: &[Text], findings: &mut Findings) {
    // Put together here, so that this file does not find itself.
    let paths = ["main", "shared", ".library"].map(|folder| ["", "work", folder].join("/"));
    let scratch = ["/tmp", "rondel/"].join("/");
    let keys = ["PRIVATE KEY", "OPENSSH PRIVATE"].map(|k| format!("-----BEGIN {k}"));
    let tokens = ["ghp_", "github_pat_", "glpat-", "npm_", "pypi-AgE", "AKIA"];
    let own_host = own_host();
    for text in texts.iter().filter(|t| t.path != "Cargo.lock") {
        for (number, line) in text.content.lines().enumerate() {
            let place = format!("{}:{}", text.path, number + 1);
            if paths.iter().chain([&scratch]).any(|p| line.contains(p.as_str())) {
                findings.add(&place, "names a path of one machine; use a relative or a temporary path");
            }
            let secret = keys.iter().any(|k| line.contains(k.as_str())) || tokens.iter().any(|t| has_token(line, t));
            if secret {
                findings.add(&place, "holds what looks like a credential; make one at run time");
            }
            if own_host.as_deref().is_some_and(|host| line.contains(host)) {
                findings.add(&place, "names this machine");
            }
        }
    }
}

/// The prefix of a token with at least sixteen characters of it.
fn has_token(line: &str, prefix: &str) -> bool {
    line.split(prefix).skip(1).any(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).count() >= 16)
}

/// The name of this machine, when it is telling.
fn own_host() -> Option<String> {
    let name = std::fs::read_to_string("/etc/hostname").ok()?.trim().to_owned();
    (name.len() >= 8 && name != "localhost").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_by_their_length() {
        assert!(has_token(&["x = npm", "abcdefghijklmnop1"].join("_"), "npm_"));
        assert!(!has_token("npm_config_cache", "npm_"));
    }
}
