//! `Address`: a text that names a container, files, a git repository, a secret, a service or a
//! socket.

use rondel_call::Literal;
use rondel_fault::{Fault, Result};
use rondel_model::Value;
use rondel_model::git_address::{self, is_git};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};

use crate::select::select;
use crate::{inputs, providers};
use rondel_surface::Surface;

/// The text of an address.
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
    surface.field("Address", "gitRepository", git_repository);
    surface.field("Address", "gitRef", git_ref);
    surface.field("Address", "secret", secret);
    surface.field("Address", "service", service);
    surface.field("Address", "socket", socket);
}

async fn container(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let address = node.get::<Address>()?;
    let empty = select(&cx, &Node::root(), "container", Vec::new()).await?;
    Ok(select(&cx, &empty, "from", vec![("address", inputs::string(&address.0))]).await?.into())
}

async fn directory(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let address = &node.get::<Address>()?.0;
    if !is_git(address) {
        return on_host(&cx, address, &args, "directory").await;
    }
    let directory = git_directory(&cx, address).await?;
    let patterns = given(&args, &["exclude", "include", "gitignore"]);
    if patterns.is_empty() {
        return Ok(directory.into());
    }
    Ok(select(&cx, &directory, "filter", patterns).await?.into())
}

async fn file(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let address = &node.get::<Address>()?.0;
    let filtered = ["include", "exclude"].iter().any(|name| args.given(name)) || args.bool("gitignore")?;
    let remote = is_git(address);
    if !filtered && !remote {
        return on_host(&cx, address, &args, "file").await;
    }
    let (directory, name) = if remote {
        let parsed = git_address::Address::parse(address);
        // Users match on this text; see docs/protocol.md#addresses.
        let path = parsed.path.ok_or_else(|| {
            Fault::user(format!("no file path specified within git repository `{address}`"))
                .with_hint("name the file as in `https://example.com/repository#main:path`")
        })?;
        let (parent, name) = split(&path);
        let whole = git_address::Address { path: Some(parent.to_owned()).filter(|parent| parent != "."), ..parsed };
        let directory = git_tree(&cx, &whole).await?;
        let patterns = given(&args, &["exclude", "include", "gitignore"]);
        match filtered {
            true => (select(&cx, &directory, "filter", patterns).await?, name.to_owned()),
            false => (directory, name.to_owned()),
        }
    } else {
        let (parent, name) = split(local(address));
        let host = select(&cx, &Node::root(), "host", Vec::new()).await?;
        let mut passed = vec![("path", inputs::string(parent))];
        passed.extend(given(&args, &["exclude", "include", "gitignore", "noCache"]));
        (select(&cx, &host, "directory", passed).await?, name.to_owned())
    };
    Ok(select(&cx, &directory, "file", vec![("path", inputs::string(&name))]).await?.into())
}

async fn on_host(cx: &ResolverContext, address: &str, args: &Args, field: &str) -> Result<Outcome> {
    let host = select(cx, &Node::root(), "host", Vec::new()).await?;
    let mut passed = vec![("path", inputs::string(local(address)))];
    let names: &[&str] = if field == "file" { &["noCache"] } else { &["exclude", "include", "gitignore", "noCache"] };
    passed.extend(given(args, names));
    Ok(select(cx, &host, field, passed).await?.into())
}

/// The directory of a git address.
async fn git_directory(cx: &ResolverContext, address: &str) -> Result<Node> {
    git_tree(cx, &git_address::Address::parse(address)).await
}

async fn git_tree(cx: &ResolverContext, address: &git_address::Address) -> Result<Node> {
    let found = named_ref(cx, address).await?;
    let tree = select(cx, &found, "tree", Vec::new()).await?;
    match &address.path {
        Some(path) => select(cx, &tree, "directory", vec![("path", inputs::string(path))]).await,
        None => Ok(tree),
    }
}

/// The ref of a git address, or `HEAD` if it names none.
async fn named_ref(cx: &ResolverContext, address: &git_address::Address) -> Result<Node> {
    let repository = named_repository(cx, &address.url).await?;
    match &address.name {
        Some(name) => select(cx, &repository, "ref", vec![("name", inputs::string(name))]).await,
        None => select(cx, &repository, "head", Vec::new()).await,
    }
}

/// The repository on a server, or in a directory of the host.
async fn named_repository(cx: &ResolverContext, url: &str) -> Result<Node> {
    if is_git(url) {
        return select(cx, &Node::root(), "git", vec![("url", inputs::string(url))]).await;
    }
    let host = select(cx, &Node::root(), "host", Vec::new()).await?;
    let directory = select(cx, &host, "directory", vec![("path", inputs::string(local(url)))]).await?;
    select(cx, &directory, "asGit", Vec::new()).await
}

async fn git_repository(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let address = &node.get::<Address>()?.0;
    let parsed = git_address::Address::parse(address);
    if is_git(address) && (parsed.name.is_some() || parsed.path.is_some()) {
        return Err(Fault::user(format!("`{address}` names more than a repository"))
            .with_hint("leave out what follows `#`, or take it as a git ref"));
    }
    let url = if is_git(address) { &parsed.url } else { address };
    Ok(named_repository(&cx, url).await?.into())
}

async fn git_ref(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let address = &node.get::<Address>()?.0;
    let parsed = git_address::Address::parse(address);
    if parsed.path.is_some() {
        return Err(Fault::user(format!("`{address}` names files, and not a git ref"))
            .with_hint("leave out what follows the last `:`"));
    }
    Ok(named_ref(&cx, &parsed).await?.into())
}

fn given<'a>(args: &Args, names: &[&'a str]) -> Vec<(&'a str, Literal)> {
    names.iter().filter(|name| args.given(name)).map(|name| (*name, args.literal(name))).collect()
}

async fn secret(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let uri = providers::normal(&node.get::<Address>()?.0);
    Ok(select(&cx, &Node::root(), "secret", vec![("uri", inputs::string(&uri))]).await?.into())
}

async fn service(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let address = &node.get::<Address>()?.0;
    let (protocol, name, port) = service_parts(address).ok_or_else(|| {
        Fault::user(format!("the address {address:?} names no service")).with_hint("write `tcp://HOST:PORT`")
    })?;
    let port = Literal::Int(i64::from(port));
    let forward = [("frontend", port.clone()), ("backend", port), ("protocol", Literal::Enum(protocol.into()))];
    let forward = Literal::Object(forward.into_iter().map(|(name, value)| (name.into(), value)).collect());
    let host = select(&cx, &Node::root(), "host", Vec::new()).await?;
    let passed = vec![("ports", Literal::List([forward].into())), ("host", inputs::string(name))];
    Ok(select(&cx, &host, "service", passed).await?.into())
}

/// Protocol, host and port of a service's address.
fn service_parts(address: &str) -> Option<(&'static str, &str, u16)> {
    let (protocol, rest) = match address.split_once("://")? {
        ("tcp", rest) => ("TCP", rest),
        ("udp", rest) => ("UDP", rest),
        _ => return None,
    };
    let (host, port) = rest.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty() && !host.contains('/')).then_some((protocol, host, port))
}

async fn socket(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let address = node.get::<Address>()?;
    let path = address.0.strip_prefix("unix://").unwrap_or(&address.0);
    let host = select(&cx, &Node::root(), "host", Vec::new()).await?;
    Ok(select(&cx, &host, "unixSocket", vec![("path", inputs::string(path))]).await?.into())
}

/// The path of a local address.
fn local(address: &str) -> &str {
    address.strip_prefix("file://").unwrap_or(address)
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
    fn addresses_of_services() {
        assert_eq!(service_parts("tcp://host:80"), Some(("TCP", "host", 80)));
        assert_eq!(service_parts("udp://127.0.0.1:53"), Some(("UDP", "127.0.0.1", 53)));
        for wrong in
            ["", "localhost:80", "tcp://", "http://localhost", "foo://bar", "tcp://h", "tcp://h:0", "tcp://h:80/x"]
        {
            assert_eq!(service_parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn local_paths() {
        assert_eq!(local("file:///a/b"), "/a/b");
        assert_eq!(local("../x"), "../x");
        assert_eq!(split("/a/b"), ("/a", "b"));
        assert_eq!(split("/b"), ("/", "b"));
        assert_eq!(split("b"), (".", "b"));
    }
}
