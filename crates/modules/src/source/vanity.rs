//! Vanity import paths: addresses whose web page names the repository, as the Go tools read it
//! (`<meta name="go-import" content="prefix git url">` in the answer to `?go-get=1`).
//!
//! *Invariants.* Pages are requested by HTTPS alone, and may name HTTPS and SSH addresses alone. A
//! page is valid for the requested path and for prefixes of it, and for nothing else.

use std::sync::Arc;

use rondel_fault::{Kind, Result};
use rondel_model::EgressScope;
use rondel_ops::{Download, OpContext};
use rondel_session::{Caller, client};

/// How much of a page is read, in bytes. The tag is in the head of the page.
const MAX_PAGE_BYTES: usize = 1 << 20;

/// The repository that a page names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct VanityRepository {
    /// The URL of the repository.
    pub(crate) url: String,
    /// How many segments of the requested path belong to the repository. The rest is a folder in
    /// it.
    pub(crate) parts: usize,
}

/// The repository that the page of `path` on `host` names. `None` when there is no such page.
///
/// # Errors
/// When the response cannot be read, or the caller cancelled.
pub(crate) async fn repository(
    caller: &Arc<Caller>,
    host: &str,
    path: &[&str],
    egress: EgressScope,
) -> Result<Option<VanityRepository>> {
    let me = client(caller);
    let op_cx = OpContext { egress, ..me.op_cx.clone() };
    let url = format!("https://{host}/{}?go-get=1", path.join("/"));
    let wanted = Download { url: &url, authorization: None, service: None };
    let page = match me.services.ops.download(&op_cx, &wanted).await {
        Ok(page) => me.services.ops.read(&op_cx, &page).await?,
        Err(fault) if fault.kind() == Kind::Cancelled => return Err(fault),
        // The error about the reference itself is more useful.
        Err(_) => return Ok(None),
    };
    let text = String::from_utf8_lossy(&page[..page.len().min(MAX_PAGE_BYTES)]);
    Ok(parse_page(&text, host, path))
}

/// The repository that `page` names for `path` on `host`.
fn parse_page(page: &str, host: &str, path: &[&str]) -> Option<VanityRepository> {
    let asked: Vec<&str> = std::iter::once(host).chain(path.iter().copied()).collect();
    let imports = Tags(page).filter(|tag| value(tag, "name").as_deref() == Some("go-import"));
    imports.filter_map(|tag| value(&tag, "content")).find_map(|content| {
        let words: Vec<&str> = content.split_whitespace().collect();
        let [prefix, "git", url] = words[..] else { return None };
        let prefix: Vec<&str> = prefix.trim_end_matches('/').split('/').collect();
        let known = url.starts_with("https://") || url.starts_with("ssh://");
        let fits = known && prefix.len() > 1 && asked.starts_with(&prefix);
        fits.then(|| VanityRepository { url: url.to_owned(), parts: prefix.len() - 1 })
    })
}

/// The contents of the `<meta …>` tags before the body of a page.
struct Tags<'a>(&'a str);

impl Iterator for Tags<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            let start = self.0.find('<')?;
            let rest = &self.0[start + 1..];
            let end = rest.find('>')?;
            let (tag, after) = (&rest[..end], &rest[end + 1..]);
            self.0 = after;
            let name = tag.split(|c: char| c.is_ascii_whitespace() || c == '/').next().unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "meta" => return Some(tag[name.len()..].trim_end_matches('/').to_owned()),
                "body" => return None,
                _ => {}
            }
        }
    }
}

/// The value of an attribute of a tag.
fn value(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag.trim_start();
    while let Some(end) = rest.find(|c: char| c == '=' || c.is_ascii_whitespace()) {
        let (key, after) = rest.split_at(end);
        let Some(after) = after.trim_start().strip_prefix('=') else {
            rest = after.trim_start();
            continue;
        };
        let after = after.trim_start();
        let (found, left) = match after.chars().next() {
            Some(quote @ ('"' | '\'')) => after[1..].split_once(quote)?,
            _ => after.split_at(after.find(|c: char| c.is_ascii_whitespace()).unwrap_or(after.len())),
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(found.replace("&amp;", "&"));
        }
        rest = left.trim_start();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_say_where_a_repository_is() {
        let check = |page: &str, want: Option<(&str, usize)>| {
            let got = parse_page(page, "v.example", &["team", "mod", "sub"]);
            assert_eq!(got.as_ref().map(|found| (&*found.url, found.parts)), want, "{page}");
        };
        let one = |content: &str| format!("<html><head><meta name=\"go-import\" content=\"{content}\"></head>");
        check(&one("v.example/team/mod git https://h/r.git"), Some(("https://h/r.git", 2)));
        check(&one("v.example/team/mod/ git ssh://git@h/r"), Some(("ssh://git@h/r", 2)));
        check(&one("v.example/team/mod/sub git https://h/r?a=1&amp;b"), Some(("https://h/r?a=1&b", 3)));
        check("<META charset=x CONTENT='v.example/team git https://h/r' Name=go-import />", Some(("https://h/r", 1)));
        let two = one("v.example/team hg https://h/hg") + &one("v.example/team git https://h/r");
        check(&two, Some(("https://h/r", 1)));
        for other in [
            "",
            "<meta",
            "<meta name>",
            &one("v.example git https://h/r"),
            &one("v.example/te git https://h/r"),
            &one("v.example/team/mod/sub/more git https://h/r"),
            &one("other.example/team git https://h/r"),
            &one("v.example/team git http://h/r"),
            &one("v.example/team git ext::sh -c id"),
            &one("v.example/team git --upload-pack=x"),
            &one("v.example/team git file:///r"),
            "<body><meta name=go-import content='v.example/team git https://h/r'>",
        ] {
            check(other, None);
        }
    }
}
