//! Converts arguments of API fields to types of the model.

use rondel_call::Literal;
use rondel_fault::{Fault, Result};
use rondel_model::exec::{Expect, Sharing};
use rondel_model::op::{Filter, Owner};
use rondel_model::service::Service;
use rondel_model::{AbsPath, Container, Platform};
use rondel_ports::images::MediaTypes;
use rondel_ports::snapshots::Compression;
use rondel_session::Args;

use crate::expand::expand;

/// A service argument, or `None` if it was not given.
pub(crate) async fn service(args: &Args, name: &str) -> Result<Option<Service>> {
    match args.opt_object(name).await? {
        Some(node) => node.get::<Service>().cloned().map(Some),
        None => Ok(None),
    }
}

/// The text of a path argument, with variables expanded if `expand` is set.
pub(crate) fn text(container: &Container, args: &Args, name: &str) -> Result<String> {
    let text = args.str(name)?;
    if args.bool("expand")? { expand(container, &text) } else { Ok(text.to_string()) }
}

/// A path argument as a path of the container, relative to its working directory.
pub(crate) fn path(container: &Container, args: &Args, name: &str) -> Result<AbsPath> {
    Ok(container.workdir().join(&text(container, args, name)?))
}

/// The argument `owner`, or `None` if it is empty.
pub(crate) fn owner(args: &Args) -> Result<Option<Owner>> {
    Ok(args.opt_str("owner")?.filter(|owner| !owner.is_empty()).map(|owner| Owner((*owner).into())))
}

/// The argument `owner`, or root.
pub(crate) fn owner_or_root(args: &Args) -> Result<Option<Owner>> {
    Ok(Some(owner(args)?.unwrap_or_else(|| Owner("0:0".into()))))
}

/// An argument with permission bits.
pub(crate) fn permissions(args: &Args, name: &str) -> Result<Option<u32>> {
    let Some(bits) = args.opt_int(name)? else { return Ok(None) };
    match u32::try_from(bits) {
        Ok(bits) if bits <= 0o7777 => Ok(Some(bits)),
        _ => Err(Fault::user(format!("`{name}` must be permission bits between 0 and 0o7777, not {bits}"))),
    }
}

/// The arguments `include`, `exclude` and `gitignore`.
pub(crate) fn filter(args: &Args) -> Result<Filter> {
    Ok(Filter {
        include: args.strings("include")?,
        exclude: args.strings("exclude")?,
        gitignore: args.bool("gitignore")?,
    })
}

/// Parses a platform.
///
/// # Errors
/// When the text names none.
pub(crate) fn platform(text: &str) -> Result<Platform> {
    // Clients match on the last words; see behaviour PLT-006.
    text.parse().map_err(|unknown: rondel_model::platform::UnknownPlatform| Fault::user(unknown.to_string()))
}

/// The compression of layers, or `None` for the default.
pub(crate) fn compression(args: &Args) -> Result<Option<Compression>> {
    let Some(name) = args.opt_str("forcedCompression")? else { return Ok(None) };
    match Compression::of_api_name(&name) {
        Some(compression) => Ok(Some(compression)),
        None => Err(Fault::user(format!("layers cannot be packed as `{name}` by this engine"))
            .with_hint("use `Gzip`, which every reader of `EStarGZ` also reads")),
    }
}

/// The media types of manifests.
pub(crate) fn media_types(args: &Args) -> Result<MediaTypes> {
    match args.opt_str("mediaTypes")?.as_deref() {
        Some("DockerMediaTypes" | "DOCKER") => Ok(MediaTypes::Docker),
        _ => Ok(MediaTypes::Oci),
    }
}

/// The expected exit codes.
pub(crate) fn expect(args: &Args) -> Result<Expect> {
    match args.opt_str("expect")?.as_deref() {
        Some("FAILURE") => Ok(Expect::Failure),
        Some("ANY") => Ok(Expect::Any),
        _ => Ok(Expect::Success),
    }
}

/// The sharing mode of a cache volume, or `None` if the argument was not given.
pub(crate) fn sharing(args: &Args) -> Result<Option<Sharing>> {
    if !args.given("sharing") {
        return Ok(None);
    }
    match args.opt_str("sharing")?.as_deref() {
        Some("PRIVATE") => Ok(Some(Sharing::Private)),
        Some("LOCKED") => Ok(Some(Sharing::Locked)),
        _ => Ok(Some(Sharing::Shared)),
    }
}

/// A port argument as an image configuration writes it, such as `80/tcp`.
pub(crate) fn port(args: &Args) -> Result<String> {
    let number = args.int("port")?;
    let number = u16::try_from(number).ok().filter(|n| *n > 0);
    let number = number.ok_or_else(|| Fault::user("a port is a number between 1 and 65535"))?;
    let protocol = args.opt_str("protocol")?.unwrap_or_else(|| "TCP".into());
    Ok(format!("{number}/{}", protocol.to_ascii_lowercase()))
}

/// Checks a host name.
///
/// # Errors
/// When `text` is no host name.
pub(crate) fn host_name(what: &str, text: &str) -> Result<String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let labels = text.split('.').all(|label| (1..=63).contains(&label.len()));
    match labels && text.len() <= 200 && text.bytes().all(good) {
        true => Ok(text.to_owned()),
        false => Err(Fault::user(format!("the {what} {text:?} is no host name"))
            .with_hint("host names have letters, digits and hyphens, in parts of at most 63 characters between dots")),
    }
}

/// A string literal.
pub(crate) fn string(text: &str) -> Literal {
    Literal::String(text.into())
}
