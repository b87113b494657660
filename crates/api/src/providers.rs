//! Secret providers: their addresses, and how the client reads them.

use std::io::{ErrorKind, Read as _};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rondel_fault::{Attempt as _, Fault, Result};
use rondel_model::SecretRef;
use rondel_ports::BoxFuture;
use rondel_ports::secrets::{Plaintext, Secrets};
use rondel_session::{Client, ProvidedSecret, Session};

use crate::host_path;

/// The largest secret, in bytes.
pub const MAX_PLAINTEXT: usize = 512_000;

/// Providers that the engine reads through the link to the client: variables, files, commands.
const OWN: [&str; 3] = ["env", "file", "cmd"];
/// Providers that the client queries. The session caches their secrets.
const ASKED: [&str; 4] = ["op", "vault", "aws+sm", "aws+ps"];
/// Providers of the API that this engine does not have.
const KNOWN: [&str; 2] = ["libsecret", "gcp"];

/// The address of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUri {
    /// The address without `cacheKey`.
    pub uri: String,
    /// The key in place of one made from the plaintext, if the address has a `cacheKey`.
    pub cache_key: Option<String>,
}

/// Parses an address in its present form `scheme://…`. The query parameter `cacheKey` is removed,
/// others stay.
///
/// # Errors
/// When it is no address.
pub fn parse(text: &str) -> Result<SecretUri> {
    if !text.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) {
        // Clients match on this text; see behaviour SEC-006.
        return Err(Fault::user(format!("malformed id: `{text}` is no secret address"))
            .with_hint("use an address such as `env://NAME`, `file://PATH` or `cmd://COMMAND`"));
    }
    let Some((base, query)) = text.split_once('?') else {
        return Ok(SecretUri { uri: text.to_owned(), cache_key: None });
    };
    let mut cache_key = None;
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.strip_prefix("cacheKey=") {
            Some(value) => cache_key = Some(value.to_owned()),
            None => kept.push(pair),
        }
    }
    let uri = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    Ok(SecretUri { uri, cache_key })
}

/// Converts an address as users type it to its present form: `NAME` and `env:NAME` are variables,
/// `file:` and `cmd:` may lack slashes.
pub fn normal(text: &str) -> String {
    if text.contains("://") {
        return text.to_owned();
    }
    match text.split_once(':') {
        Some((scheme @ ("env" | "file" | "cmd"), rest)) => format!("{scheme}://{rest}"),
        Some(_) => text.to_owned(),
        None => format!("env://{text}"),
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Checks that there is a provider for `uri`, without a query to it.
///
/// # Errors
/// When there is none.
pub fn check(uri: &str) -> Result<()> {
    let scheme = uri.split("://").next().unwrap_or_default();
    let known = OWN.contains(&scheme) || ASKED.contains(&scheme) || KNOWN.contains(&scheme);
    // Clients match on this text; see behaviour SEC-006.
    known.then_some(()).ok_or_else(|| {
        let names: Vec<String> = OWN.iter().chain(&ASKED).map(|name| format!("`{name}://`")).collect();
        Fault::user(format!("unsupported secret provider: \"{scheme}\""))
            .with_hint(format!("the providers are {}", names.join(", ")))
    })
}

/// Reads the secret at `uri` on behalf of `client`.
///
/// # Errors
/// When the provider is unknown, or has no such secret, or the secret is larger than
/// [`MAX_PLAINTEXT`].
pub async fn read(client: &Client, uri: &str) -> Result<ProvidedSecret> {
    provided(client, uri).await.map_err(|fault| fault.context(format!("cannot read the secret `{}`", shown(uri))))
}

/// An address as messages show it. A variable is shown in full if its name is written like one:
/// users put plaintext there by mistake.
fn shown(uri: &str) -> String {
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    match uri.strip_prefix("env://") {
        Some(name) if !name.chars().all(is_name) => format!("env://{}", shortened(name)),
        _ => uri.to_owned(),
    }
}

/// The first characters of a name that may be plaintext.
fn shortened(name: &str) -> String {
    match name.chars().count() {
        0..4 => name.to_owned(),
        _ => name.chars().take(3).chain("...".chars()).collect(),
    }
}

async fn provided(client: &Client, uri: &str) -> Result<ProvidedSecret> {
    let (scheme, rest) = uri.split_once("://").unwrap_or((uri, ""));
    let bytes = match scheme {
        "env" => variable(client, rest).await?,
        "file" => file(client, rest).await?,
        "cmd" => command(client, rest).await?,
        // The session's cache holds secrets of the user's clients only.
        asked if ASKED.contains(&asked) && client.is_nested_client() => return ask(client, uri).await,
        asked if ASKED.contains(&asked) => return client.session.secrets.provided(uri, ask(client, uri)).await,
        known if KNOWN.contains(&known) => {
            return Err(Fault::user(format!("secret provider `{known}` is not supported by this engine"))
                .with_hint("use `cmd://` with the provider's own program"));
        }
        _ => {
            check(uri)?;
            return Err(Fault::bug(format!("no way to read a secret of the provider `{scheme}`")));
        }
    };
    check_size(bytes.bytes())?;
    Ok(ProvidedSecret::lasting(bytes))
}

/// Queries the provider at `uri`. The parameter `ttl` says how long the secret is valid.
async fn ask(client: &Client, uri: &str) -> Result<ProvidedSecret> {
    let (bare, lasts) = time_to_live(uri)?;
    let Some(link) = &client.link else { return Err(no_link(uri)) };
    let bytes = Plaintext::new(link.secret(&bare).await?);
    check_size(bytes.bytes())?;
    Ok(ProvidedSecret {
        until: lasts.and_then(|lasts| Instant::now().checked_add(lasts)),
        ..ProvidedSecret::lasting(bytes)
    })
}

/// Removes the parameter `ttl` from an address.
fn time_to_live(uri: &str) -> Result<(String, Option<Duration>)> {
    let Some((base, query)) = uri.split_once('?') else { return Ok((uri.to_owned(), None)) };
    let (ttl, kept): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with("ttl="));
    let bare = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    let Some(text) = ttl.first().and_then(|pair| pair.strip_prefix("ttl=")).filter(|text| !text.is_empty()) else {
        return Ok((bare, None));
    };
    let lasts = duration(text).ok_or_else(|| {
        Fault::user(format!("invalid ttl {text:?} provided for secret {base:?}"))
            .with_hint("write it as `90s`, `5m` or `1h30m`")
    })?;
    Ok((bare, (!lasts.is_zero()).then_some(lasts)))
}

/// Parses a duration such as `1h30m`, `2.5s` or `300ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = if rest == "0" { return Some(Duration::ZERO) } else { 0.0 };
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |length| digits + length);
        let seconds = match &rest[digits..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number * seconds;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(total).ok()).flatten()
}

/// Checks the size of a secret.
///
/// # Errors
/// When it is larger than [`MAX_PLAINTEXT`].
pub fn check_size(bytes: &[u8]) -> Result<()> {
    match bytes.len() > MAX_PLAINTEXT {
        true => Err(Fault::user(too_large(bytes.len() as u64))),
        false => Ok(()),
    }
}

/// The secrets of a client: those of its session, and those that its own providers have for a
/// secret of another session.
pub struct ClientSecrets {
    session: Arc<Session>,
    /// Weak, because a client holds its secrets.
    client: Weak<Client>,
}

impl ClientSecrets {
    /// The secrets of `session` and of the providers of `client`.
    pub fn new(session: Arc<Session>, client: Weak<Client>) -> Arc<Self> {
        Arc::new(Self { session, client })
    }
}

impl Secrets for ClientSecrets {
    fn plaintext<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<Arc<Plaintext>>> {
        Box::pin(async move {
            let known = self.session.secrets.get(secret).is_some() || self.session.secrets.failure(secret).is_some();
            let client =
                self.client.upgrade().filter(|_| !known && !secret.uri.is_empty() && !secret.from_nested_client);
            if let Some(client) = client {
                let provided = read(&client, &secret.uri).await?;
                self.session.secrets.put(secret, provided.clone());
                return Ok(provided.plaintext);
            }
            self.session.secrets.plaintext(secret).await
        })
    }

    fn known(&self, secret: &SecretRef) -> Option<Arc<Plaintext>> {
        self.session.secrets.get(secret)
    }
}

async fn variable(client: &Client, name: &str) -> Result<Plaintext> {
    let found = match &client.link {
        Some(link) => link.variable(name).await?,
        None => return Err(no_link("env")),
    };
    // Clients match on this text.
    let missing = || Fault::not_found(format!("secret env var not found: \"{}\"", shortened(name)));
    Ok(Plaintext::new(found.ok_or_else(missing)?.into_bytes()))
}

async fn command(client: &Client, command: &str) -> Result<Plaintext> {
    let Some(link) = &client.link else { return Err(no_link("cmd")) };
    let output = link.command(command).await.map_err(|fault| fault.context("failed to run secret command"))?;
    Ok(Plaintext::new(output))
}

fn too_large(size: u64) -> String {
    format!("secret is too large: {size} bytes, the limit is {MAX_PLAINTEXT}")
}

async fn file(client: &Client, path: &str) -> Result<Plaintext> {
    let found = host_path::resolve(client, path).await?;
    let (host, real) = (client.services.ops.ports().host.clone(), found.real);
    let read = tokio::task::spawn_blocking(move || {
        let (mut content, file) = (Vec::new(), host.open(&real)?);
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(std::io::Error::other("it is no regular file"));
        }
        if found.len() > MAX_PLAINTEXT as u64 {
            return Err(std::io::Error::new(ErrorKind::FileTooLarge, too_large(found.len())));
        }
        // Some files, such as those in `/proc`, report no size, and files grow.
        file.take(MAX_PLAINTEXT as u64 + 1).read_to_end(&mut content)?;
        Ok::<_, std::io::Error>(content)
    });
    let read = read.await.attempt(|| format!("read secret file `{path}`"))?;
    read.map(Plaintext::new).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => Fault::user(error.to_string()),
        ErrorKind::NotFound => Fault::not_found(format!("cannot read secret file `{path}`: no such file or directory")),
        _ => Fault::user(format!("cannot read secret file `{path}`")).caused_by(error),
    })
}

fn no_link(uri: &str) -> Fault {
    let scheme = uri.split("://").next().unwrap_or_default();
    Fault::user(format!("secret provider `{scheme}` needs a client on a host; a process in a container has none"))
        .with_hint("pass the secret into the container as an argument or a variable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_keys_are_cut_out() {
        let check = |text: &str, uri: &str, key: Option<&str>| {
            let want = SecretUri { uri: uri.to_owned(), cache_key: key.map(ToOwned::to_owned) };
            assert_eq!(parse(text).expect("an address"), want);
        };
        check("env://A", "env://A", None);
        check("env://A?cacheKey=k", "env://A", Some("k"));
        check("op://v/i/f?ttl=2s&cacheKey=k&x=y", "op://v/i/f?ttl=2s&x=y", Some("k"));
        check("cmd://curl x?y&z", "cmd://curl x?y&z", None);
        for bad in ["wtf", "", "://x", "a b://c"] {
            let error = parse(bad).expect_err("is refused").to_string();
            assert!(error.starts_with("malformed id"), "{error}");
        }
    }

    #[test]
    fn what_may_be_plaintext_is_not_shown() {
        let check = |uri: &str, want: &str| assert_eq!(shown(uri), want);
        check("env://NPM_TOKEN2", "env://NPM_TOKEN2");
        check("env://ghp_16C7e42F292c69", "env://ghp...");
        check("env://pw", "env://pw");
        check("file:///a b", "file:///a b");
        check("cmd://pass show x", "cmd://pass show x");
    }

    #[test]
    fn short_forms() {
        let check = |text: &str, want: &str| assert_eq!(normal(text), want);
        check("TOKEN", "env://TOKEN");
        check("env:TOKEN", "env://TOKEN");
        check("file:./a", "file://./a");
        check("cmd:echo a", "cmd://echo a");
        check("vault://p.f", "vault://p.f");
    }

    #[test]
    fn times_to_live() {
        let check = |uri: &str, bare: &str, lasts: Option<f64>| {
            let (found, time) = time_to_live(uri).expect("an address");
            assert_eq!((found.as_str(), time.map(|time| time.as_secs_f64())), (bare, lasts), "{uri}");
        };
        check("op://v/an item/f", "op://v/an item/f", None);
        check("op://v/i/f?ttl=2s", "op://v/i/f", Some(2.0));
        check("op://v/i/f?attribute=otp&ttl=1h30m", "op://v/i/f?attribute=otp", Some(5400.0));
        check("vault://p.f?ttl=1.5s", "vault://p.f", Some(1.5));
        check("vault://p.f?ttl=0", "vault://p.f", None);
        for bad in ["x", "2", "s", "2x", "-2s", "1..5s"] {
            let message = time_to_live(&format!("op://v/i/f?ttl={bad}")).expect_err("is refused").to_string();
            assert!(message.starts_with("invalid ttl"), "{message}");
        }
    }

    #[test]
    fn the_limit_is_exact() {
        assert!(check_size(&vec![0; MAX_PLAINTEXT]).is_ok());
        assert!(check_size(&vec![0; MAX_PLAINTEXT + 1]).is_err());
    }
}
