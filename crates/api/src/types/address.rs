//! `Address`: a text that stands for a container, files or a secret.

use rondel_call::Literal;
use rondel_fault::{Fault, Result};
use rondel_model::Value;
use rondel_query::{Args, Cx, Node, Outcome};

use crate::types::query::ask;
use crate::{Surface, inputs, providers};

/// A text that stands for something.
#[derive(Debug, Clone)]
pub struct Address(pub String);

pub(crate) fn new(args: &Args) -> Result<Value> {
    Ok(Value::object("Address", Address(args.str("value")?.to_string())))
}

pub(crate) fn register(surface: &mut Surface) {
    surface.plain("Address", "value", |address: &Address, _| Ok(Value::string(&*address.0)));
    surface.field("Address", "container", container);
    surface.field("Address", "directory", directory);
    surface.field("Address", "file", file);
    surface.field("Address", "secret", secret);
}

async fn container(cx: Cx, node: Node, _: Args) -> Result<Outcome> {
    let address = node.get::<Address>()?;
    let empty = ask(&cx, &Node::root(), "container", Vec::new()).await?;
    Ok(ask(&cx, &empty, "from", vec![("address", inputs::string(&address.0))]).await?.into())
}

async fn directory(cx: Cx, node: Node, args: Args) -> Result<Outcome> {
    on_host(&cx, &node, &args, "directory").await
}

async fn file(cx: Cx, node: Node, args: Args) -> Result<Outcome> {
    let address = node.get::<Address>()?;
    let filtered = ["include", "exclude"].iter().any(|name| args.given(name)) || args.bool("gitignore")?;
    if !filtered {
        return on_host(&cx, &node, &args, "file").await;
    }
    let path = local(&address.0)?;
    let (parent, name) = split(path);
    let host = ask(&cx, &Node::root(), "host", Vec::new()).await?;
    let mut passed = vec![("path", inputs::string(parent))];
    passed.extend(given(&args, &["exclude", "include", "gitignore", "noCache"]));
    let directory = ask(&cx, &host, "directory", passed).await?;
    Ok(ask(&cx, &directory, "file", vec![("path", inputs::string(name))]).await?.into())
}

async fn on_host(cx: &Cx, node: &Node, args: &Args, field: &str) -> Result<Outcome> {
    let path = local(&node.get::<Address>()?.0)?;
    let host = ask(cx, &Node::root(), "host", Vec::new()).await?;
    let mut passed = vec![("path", inputs::string(path))];
    let names: &[&str] = if field == "file" { &["noCache"] } else { &["exclude", "include", "gitignore", "noCache"] };
    passed.extend(given(args, names));
    Ok(ask(cx, &host, field, passed).await?.into())
}

fn given<'a>(args: &Args, names: &[&'a str]) -> Vec<(&'a str, Literal)> {
    names.iter().filter(|name| args.given(name)).map(|name| (*name, args.literal(name))).collect()
}

async fn secret(cx: Cx, node: Node, _: Args) -> Result<Outcome> {
    let uri = providers::normal(&node.get::<Address>()?.0);
    Ok(ask(&cx, &Node::root(), "secret", vec![("uri", inputs::string(&uri))]).await?.into())
}

/// The path of an address of local files.
fn local(address: &str) -> Result<&str> {
    if is_git(address) {
        return Err(Fault::user(format!("cannot use `{address}`: git addresses are not supported by this engine yet")));
    }
    Ok(address.strip_prefix("file://").unwrap_or(address))
}

/// Whether an address names a git repository.
fn is_git(address: &str) -> bool {
    if let Some((scheme, _)) = address.split_once("://") {
        return matches!(scheme, "http" | "https" | "ssh" | "git");
    }
    let Some((user_and_host, _)) = address.split_once(':') else { return false };
    let Some((user, host)) = user_and_host.split_once('@') else { return false };
    !user.is_empty() && !host.is_empty() && !user_and_host.contains('/')
}

fn split(path: &str) -> (&str, &str) {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None => (".", path),
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
    fn local_paths() {
        assert_eq!(local("file:///a/b").expect("a path"), "/a/b");
        assert_eq!(local("../x").expect("a path"), "../x");
        assert!(local("https://example.com/x").is_err());
        assert_eq!(split("/a/b"), ("/a", "b"));
        assert_eq!(split("/b"), ("/", "b"));
        assert_eq!(split("b"), (".", "b"));
    }
}
