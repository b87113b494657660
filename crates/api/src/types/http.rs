//! `Query.http`: a file of an HTTP server.

use percent_encoding::percent_decode_str;
use rondel_call::Literal;
use rondel_fault::{Fault, Result};
use rondel_model::op::{CopyOp, Filter, TreePath};
use rondel_model::service::Service;
use rondel_model::{AbsPath, File, Fs, Platform, SecretRef, Value};
use rondel_ops::Download;
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext, client};
use url::Url;

use crate::select::select;
use crate::{edit, inputs};
use rondel_session::client::ops_and_context;
use rondel_surface::Surface;
use rondel_surface::snapshot_object::imported_file;
use rondel_surface::surface::Arguments;

/// The default permission bits.
const PERMISSIONS: u32 = 0o600;
/// The file name for an address without one.
const UNNAMED: &str = "index";

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Query", "http", http);
    surface.field("Query", "_http", fetched);
    surface.prepare("Query", "http", |cx, args| Box::pin(async move { with_service(&cx, args) }));
}

/// The argument that holds the service of the session that is the address's host. No client sets
/// it.
const NAMED: &str = "_service";

/// Adds the service of the session that is the host of `url`, unless the client named a service.
// IDENTITY: an address has another meaning if another service has the name of its host.
pub(crate) fn with_service(cx: &ResolverContext, mut args: Arguments) -> Result<Arguments> {
    args.retain(|(name, _)| &**name != NAMED);
    let of = |wanted: &str| args.iter().find(|(name, _)| &**name == wanted).map(|(_, value)| value);
    let given = of("experimentalServiceHost").is_some_and(|value| !matches!(value, Literal::Null));
    if let (Some(Literal::String(url)), false) = (of("url"), given)
        && let Some(service) = service_of(cx, url)?
    {
        args.push((NAMED.into(), inputs::string(&service.digest().hex())));
    }
    Ok(args)
}

/// The service that [`with_service`] added.
pub(crate) fn found_service(cx: &ResolverContext, args: &Args, url: &str) -> Result<Option<Service>> {
    let Literal::String(known) = args.literal(NAMED) else { return Ok(None) };
    Ok(service_of(cx, url)?.filter(|service| service.digest().hex() == *known))
}

async fn http(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let url = args.str("url")?;
    let checksum = args.opt_str("checksum")?.filter(|text| !text.is_empty());
    let checksum = checksum.as_deref().map(checked).transpose()?;
    let name = match args.opt_str("name")?.filter(|name| !name.is_empty()) {
        Some(name) => name.to_string(),
        None => last_segment(&url)?,
    };
    check_name(&name)?;
    let permissions = inputs::permissions(&args, "permissions")?.unwrap_or(PERMISSIONS);
    // One request per session, whatever name and permissions the file gets.
    let mut passed = vec![("url", inputs::string(&url))];
    for (argument, name) in [("authHeader", "authHeader"), ("experimentalServiceHost", "service")] {
        if args.given(argument) {
            passed.push((name, args.literal(argument)));
        }
    }
    if let Some(service) = found_service(&cx, &args, &url)? {
        passed.push(("named", inputs::string(&service.digest().hex())));
    }
    let found = downloaded(&cx, &url, passed, checksum.as_deref()).await?;
    copied(&cx, found, &name, permissions).await
}

/// A file for an instruction of a Dockerfile. Its host may be a running service of the session.
pub(crate) async fn for_a_step(cx: &ResolverContext, url: &str, checksum: Option<&str>) -> Result<File> {
    let checksum = checksum.map(checked).transpose()?;
    let name = last_segment(url)?;
    check_name(&name)?;
    let mut passed = vec![("url", inputs::string(url))];
    if let Some(service) = service_of(cx, url)? {
        passed.push(("named", inputs::string(&service.digest().hex())));
    }
    let found = downloaded(cx, url, passed, checksum.as_deref()).await?;
    let file = copied(cx, found, &name, PERMISSIONS).await?.value;
    file.get::<File>().cloned().ok_or_else(|| Fault::bug("a file of the web is no file"))
}

/// The running service of the session that has the host name of the address.
pub(crate) fn service_of(cx: &ResolverContext, url: &str) -> Result<Option<Service>> {
    let me = client(&cx.caller);
    let module = me
        .scope
        .as_ref()
        .and_then(|scope| scope.acting_module.as_ref())
        .map(|acting_module| acting_module.implementation);
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(ToOwned::to_owned));
    Ok(host.and_then(|host| me.session.services.named(&host, module.as_ref())))
}

/// Fetches an address. The result is a call with the SHA-256 of the content.
async fn downloaded(
    cx: &ResolverContext,
    url: &str,
    passed: Vec<(&str, Literal)>,
    checksum: Option<&str>,
) -> Result<TreePath> {
    let source = select(cx, &Node::root(), "_http", passed).await?;
    let source = source.get::<File>()?.place.clone();
    let digest = source.path.relative();
    match checksum.filter(|expected| *expected != digest) {
        None => Ok(source),
        Some(expected) => {
            // Clients match on this text; see behaviour HTTP-002.
            let url = bare(url);
            let text = format!("http checksum mismatch for `{url}`: expected sha256:{expected}, got sha256:{digest}");
            Err(Fault::user(text))
        }
    }
}

async fn copied(cx: &ResolverContext, source: TreePath, name: &str, permissions: u32) -> Result<Outcome> {
    let copy = CopyOp {
        base: Fs::scratch(),
        source,
        source_is_file: true,
        source_name: None,
        target: AbsPath::new(name),
        target_is_dir: false,
        filter: Filter::default(),
        owner: None,
        permissions: Some(permissions),
    };
    let (ops, op_cx) = ops_and_context(cx);
    let snapshot = ops.tree(&op_cx, &Fs::from(copy)).await?;
    Ok(imported_file(snapshot, name))
}

/// The file as it was when the session first fetched it, by the SHA-256 of its content.
async fn fetched(cx: ResolverContext, _: Node, args: Args) -> Result<Outcome> {
    let url = args.str("url")?;
    let secret = args.opt_object("authHeader").await?;
    let secret = secret.as_ref().map(|node| node.get::<SecretRef>()).transpose()?;
    let (ops, op_cx) = ops_and_context(&cx);
    let named = args.opt_str("named")?;
    let named = service_of(&cx, &url)?.filter(|service| named.is_some_and(|named| service.digest().hex() == *named));
    let service = inputs::service(&args, "service").await?.or(named);
    let download = Download { url: &url, authorization: secret, service: service.as_ref() };
    let place = ops.download(&op_cx, &download).await?;
    Ok(Value::object("File", File { place, platform: Platform::native(), name: None, asked: None }).into())
}

/// The digits of a checksum.
fn checked(text: &str) -> Result<String> {
    let digits = text.strip_prefix("sha256:").filter(|digits| {
        digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    // Clients match on this text; see behaviour HTTP-002.
    digits.map(ToOwned::to_owned).ok_or_else(|| {
        Fault::user(format!("invalid checksum {text:?}")).with_hint("write `sha256:` and 64 hexadecimal digits")
    })
}

/// The last path segment of an address.
fn last_segment(url: &str) -> Result<String> {
    let parsed = Url::parse(url).map_err(|e| Fault::user("cannot fetch a file: its address is no URL").caused_by(e))?;
    let path = percent_decode_str(parsed.path()).decode_utf8_lossy();
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    Ok(if name.is_empty() { UNNAMED.to_owned() } else { name.to_owned() })
}

fn check_name(name: &str) -> Result<()> {
    if name.contains('/') || name == "." || name == ".." {
        return Err(Fault::user(format!("`{name}` cannot be the name of a file"))
            .with_hint("set `name` to a name without slashes"));
    }
    edit::check_path(name)
}

/// The address without parts that may be secret.
fn bare(url: &str) -> String {
    Url::parse(url)
        .map_or_else(|_| String::new(), |url| format!("{}{}", url.origin().ascii_serialization(), url.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_addresses() {
        let check = |url: &str, want: &str| assert_eq!(last_segment(url).expect("an address"), want);
        check("http://h.example/a/b.txt?x=/y", "b.txt");
        check("http://h.example/a%20b", "a b");
        check("http://h.example/a%2Fb", "b");
        check("http://h.example/a/", "a");
        check("http://h.example", "index");
        assert!(last_segment("no address").is_err());
        assert!(check_name("..").is_err() && check_name("a/b").is_err());
    }

    #[test]
    fn checksums() {
        let digits = "0".repeat(64);
        assert_eq!(checked(&format!("sha256:{digits}")).expect("a checksum"), digits);
        for bad in ["not-a-digest", "sha256:12", &digits, &format!("sha256:{}", "G".repeat(64))] {
            let message = checked(bad).expect_err("is refused").to_string();
            assert_eq!(message, format!("invalid checksum \"{bad}\""));
        }
    }
}
