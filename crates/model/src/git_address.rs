//! Addresses of git repositories.

use rondel_fault::{Fault, Result};

/// The protocol of a git server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP, without encryption.
    Http,
    /// HTTPS, the usual one.
    Https,
    /// SSH, also written `user@host:path`.
    Ssh,
    /// The git protocol, without encryption and credentials.
    Git,
}

/// A repository with an optional ref and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The repository.
    pub url: String,
    /// A ref. `None` means `HEAD`.
    pub name: Option<String>,
    /// A path in its files.
    pub path: Option<String>,
}

impl Address {
    /// Parses `url#ref:path`.
    pub fn parse(text: &str) -> Self {
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (name, path) = fragment.split_once(':').unwrap_or((fragment, ""));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self { url: url.to_owned(), name: some(name), path: some(path) }
    }
}

/// Whether an address names a git repository: it has one of the schemes, or the form
/// `user@host:path`.
pub fn is_git(address: &str) -> bool {
    if let Some((scheme, _)) = address.split_once("://") {
        return matches!(scheme, "http" | "https" | "ssh" | "git");
    }
    let Some((user_and_host, _)) = address.split_once(':') else { return false };
    let Some((user, host)) = user_and_host.split_once('@') else { return false };
    !user.is_empty() && !host.is_empty() && !user_and_host.contains('/')
}

/// The scheme of an address. `None` when it has none.
///
/// # Errors
/// When it is no address of a repository on a server.
pub fn scheme(url: &str) -> Result<Option<Scheme>> {
    let wrong = |why: &str| Fault::user(format!("cannot use the git address `{}`: {why}", without_password(url)));
    if url.is_empty() || url.starts_with('-') || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(wrong("it is empty, starts with `-`, or has spaces in it"));
    }
    if url.contains('#') {
        return Err(wrong("what follows `#` is not part of a repository").with_hint("name the ref with `ref`"));
    }
    if let Some((scheme, rest)) = url.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        return match scheme {
            _ if host.is_empty() || host.starts_with('-') => Err(wrong("it names no host")),
            "http" => Ok(Some(Scheme::Http)),
            "https" => Ok(Some(Scheme::Https)),
            "ssh" => Ok(Some(Scheme::Ssh)),
            "git" => Ok(Some(Scheme::Git)),
            other => Err(wrong(&format!("the protocol `{other}` is not supported")).with_hint(
                "use `https`, `ssh`, `http` or `git`; a repository on this machine is a directory with `asGit`",
            )),
        };
    }
    if is_git(url) {
        return Ok(Some(Scheme::Ssh));
    }
    if url.starts_with(['.', '/', '~']) || url.contains("::") {
        return Err(wrong("it is a path or a helper, and not the address of a server")
            .with_hint("use `host.directory` and `asGit` for a repository on this machine"));
    }
    Ok(None)
}

/// The address without a password, for messages.
fn without_password(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    // In an invalid address the end of the host is ambiguous: the last `@` before a path counts, or
    // else the last one.
    let place = rest.find('/').map_or(rest, |at| &rest[..at]);
    let place = if place.contains('@') { place } else { rest };
    match place.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) {
        Some((user, password)) => {
            let after = &rest[user.len() + 1 + password.len()..];
            let scheme = &url[..url.len() - rest.len()];
            format!("{scheme}{user}{after}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_addresses_are_recognised() {
        for git in ["https://example.com/r.git", "git@example.com:a/b", "ssh://h/r", "git://h/r#main:sub"] {
            assert!(is_git(git), "{git}");
        }
        for path in ["./a", "/a:b", "a@b/c:d", "file:///x", "C:x", "~/x", "."] {
            assert!(!is_git(path), "{path}");
        }
    }

    #[test]
    fn schemes() {
        let check = |url: &str, want: Option<Option<Scheme>>| assert_eq!(scheme(url).ok(), want, "{url}");
        check("https://h/r", Some(Some(Scheme::Https)));
        check("me@h:a/b", Some(Some(Scheme::Ssh)));
        check("github.com/a/b", Some(None));
        check("localhost:81/a", Some(None));
        for bad in
            ["", "-x", "ext::sh -c x", "ext::sh", "file:///x", "../x", "https://", "ssh://-oProxyCommand=x/y", "a\nb"]
        {
            check(bad, None);
        }
        check("https://h/r#main", None);
    }

    #[test]
    fn errors_show_no_password() {
        for url in [
            "ftp://u:secret@h/r",
            "https://u:secret@h/r#main",
            "u:secret@h/r x",
            "ssh://u:sec@secret@h r",
            "ftp://u:a/secret@h",
        ] {
            let said = scheme(url).expect_err(url).to_string();
            assert!(!said.contains("secret") && said.contains("u@h"), "{said}");
        }
        assert!(scheme("ftp://h:21/r").expect_err("refused").to_string().contains("`ftp://h:21/r`"));
    }

    #[test]
    fn what_follows_the_number_sign() {
        let check = |text: &str, name: Option<&str>, path: Option<&str>| {
            let got = Address::parse(text);
            assert_eq!((&*got.url, got.name.as_deref(), got.path.as_deref()), ("https://h/r", name, path), "{text}");
        };
        check("https://h/r", None, None);
        check("https://h/r#main", Some("main"), None);
        check("https://h/r#main:a/b", Some("main"), Some("a/b"));
        check("https://h/r#:a", None, Some("a"));
    }
}
