//! Challenges of registries, and the tokens that answer them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use rondel_digest::Sha256Digest;
use rondel_fault::{Attempt as _, Fault, Result, lock};
use rondel_ports::images::Credentials;
use serde::Deserialize;

use crate::credentials::Login;

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A token from the server `realm`.
    Bearer {
        /// The address of the token server.
        realm: String,
        /// The name of the registry there.
        service: Option<String>,
        /// What the registry says the token must allow.
        scope: Option<String>,
    },
    /// A user name and password.
    Basic,
}

impl Challenge {
    /// The challenge of a refusal; a token is preferred.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
        let mut basic = None;
        for (scheme, parameters) in values.flat_map(challenges) {
            let value = |name: &str| parameters.get(name).cloned();
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Self::Basic);
            } else if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = value("realm")
            {
                return Some(Self::Bearer { realm, service: value("service"), scope: value("scope") });
            }
        }
        basic
    }
}

/// Splits a header by RFC 9110: schemes, each with parameters.
fn challenges(text: &str) -> Vec<(String, HashMap<String, String>)> {
    let mut all: Vec<(String, HashMap<String, String>)> = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if let Some(value) = after.strip_prefix('=') {
            let (value, left) = value_of(value);
            if let Some((_, parameters)) = all.last_mut() {
                parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = left;
        } else {
            all.push((word.to_owned(), HashMap::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
        if word.is_empty() && rest.len() == end {
            break;
        }
    }
    all
}

fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

/// What a request wants to do. Each kind has its own tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    /// Reading.
    Pull,
    /// Writing, and mounting blobs of the other repository, if any.
    Push(Option<String>),
}

impl Access {
    /// The scopes of a token for it.
    pub(crate) fn scopes(&self, repository: &str) -> Vec<String> {
        match self {
            Self::Pull => vec![format!("repository:{repository}:pull")],
            Self::Push(from) => {
                let own = format!("repository:{repository}:pull,push");
                let other = from.as_ref().map(|from| format!("repository:{from}:pull"));
                std::iter::once(own).chain(other).collect()
            }
        }
    }
}

/// Names one token: for whom, where and for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    /// Scheme, host and port.
    pub(crate) origin: String,
    /// The repository.
    pub(crate) repository: String,
    /// What it allows.
    pub(crate) access: Access,
    /// Whose it is: a digest of the credentials that the caller gave; none for those of the host's
    /// configuration.
    pub(crate) owner: Option<Sha256Digest>,
}

/// The digest that stands for credentials in a key.
pub(crate) fn owner(credentials: &Credentials) -> Sha256Digest {
    Sha256Digest::of_bytes(format!("{}\0{}", credentials.username, credentials.password).as_bytes())
}

/// Headers that worked, until they expire.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<TokenKey, (HeaderValue, Instant)>>);

impl Tokens {
    /// The header to send, if there is one.
    pub(crate) fn get(&self, key: &TokenKey) -> Option<HeaderValue> {
        let tokens = lock(&self.0);
        tokens.get(key).filter(|(_, until)| *until > Instant::now()).map(|(header, _)| header.clone())
    }

    /// Keeps a header for a while.
    pub(crate) fn put(&self, key: TokenKey, header: HeaderValue, lasts: Duration) {
        let now = Instant::now();
        let mut tokens = lock(&self.0);
        tokens.retain(|_, (_, until)| *until > now);
        tokens.insert(key, (header, now + lasts));
    }
}

/// A token and how long it may be kept.
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    pub(crate) lasts: Duration,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Token {
    /// Reads the answer of a token server. The text of the answer is in no error.
    pub(crate) fn parse(answer: &[u8], server: &str) -> Result<Self> {
        let odd = || Fault::environment(format!("the token server `{server}` gave an answer without a token"));
        let answer: TokenAnswer = serde_json::from_slice(answer).map_err(|_| odd())?;
        let token = answer.token.filter(|t| !t.is_empty()).or(answer.access_token).ok_or_else(odd)?;
        // The specification's default is 60 s. Some seconds less, so that it does not expire on the
        // way.
        let lasts = answer.expires_in.unwrap_or(60).clamp(0, 24 * 3600).saturating_sub(5);
        Ok(Self { header: secret_header(&format!("Bearer {token}"))?, lasts: Duration::from_secs(lasts) })
    }
}

/// The header for a token that was given as it is.
pub(crate) fn bearer(token: &str) -> Result<Token> {
    Ok(Token { header: secret_header(&format!("Bearer {token}"))?, lasts: Duration::from_secs(3600) })
}

/// The header for a user name and password.
pub(crate) fn basic(credentials: &Credentials) -> Result<Token> {
    let text = format!("{}:{}", credentials.username, credentials.password);
    let text = base64::engine::general_purpose::STANDARD.encode(text);
    Ok(Token { header: secret_header(&format!("Basic {text}"))?, lasts: Duration::from_secs(3600) })
}

fn secret_header(text: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_str(text)
        .map_err(|_| Fault::environment("a token has characters that no header can carry"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// The request for a token: the address, and the body of a POST where one is needed.
pub(crate) fn token_request(
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
    login: Option<&Login>,
) -> Result<(Url, Option<String>)> {
    let mut url = Url::parse(realm).attempt(|| format!("use `{realm}` as the address of a token server"))?;
    if let Some(Login::Identity(token)) = login {
        let mut form = url.clone();
        form.query_pairs_mut()
            .clear()
            .extend_pairs([("grant_type", "refresh_token"), ("client_id", "rondel"), ("refresh_token", token)])
            .extend_pairs(service.map(|s| ("service", s)))
            .append_pair("scope", &scopes.join(" "));
        return Ok((url, form.query().map(str::to_owned)));
    }
    url.query_pairs_mut()
        .extend_pairs(service.map(|s| ("service", s)))
        .extend_pairs(scopes.iter().map(|s| ("scope", s)));
    Ok((url, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], want: Option<Challenge>) {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, header.parse().unwrap());
        }
        assert_eq!(Challenge::of(&map), want, "{headers:?}");
    }

    #[test]
    fn challenges_are_understood() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.into(),
                service: service.map(Into::into),
                scope: scope.map(Into::into),
            })
        };
        check(&[], None);
        check(&["Basic realm=\"x\""], Some(Challenge::Basic));
        check(&["basic"], Some(Challenge::Basic));
        check(&["Bearer realm=\"https://t/x\",service=\"s\""], bearer("https://t/x", Some("s"), None));
        check(
            &["Bearer realm=\"https://t\", service=s, scope=\"repository:a/b:pull,push\""],
            bearer("https://t", Some("s"), Some("repository:a/b:pull,push")),
        );
        check(&["Basic realm=\"x\", Bearer realm=\"https://t\""], bearer("https://t", None, None));
        check(&["Basic realm=\"x\"", "Bearer realm=\"a\\\"b\""], bearer("a\"b", None, None));
        check(&["Negotiate abc==", "Bearer"], None);
        check(&["=", "=,=", ",,,", "Bearer realm=\"open"], bearer("open", None, None));
    }

    #[test]
    fn tokens_are_kept_apart_and_expire() {
        let tokens = Tokens::default();
        let key = |access, owner| TokenKey { origin: "o".into(), repository: "r".into(), access, owner };
        tokens.put(key(Access::Pull, None), HeaderValue::from_static("a"), Duration::from_secs(60));
        assert!(tokens.get(&key(Access::Pull, None)).is_some());
        assert!(tokens.get(&key(Access::Push(None), None)).is_none());
        assert!(tokens.get(&key(Access::Pull, Some(Sha256Digest::of_bytes(b"x")))).is_none());
        tokens.put(key(Access::Push(None), None), HeaderValue::from_static("a"), Duration::ZERO);
        assert!(tokens.get(&key(Access::Push(None), None)).is_none());
    }

    #[test]
    fn token_answers_are_read() {
        let read = |text: &str| {
            Token::parse(text.as_bytes(), "t").map(|t| (t.header.to_str().unwrap().to_owned(), t.lasts.as_secs()))
        };
        assert_eq!(read(r#"{"token":"a"}"#).unwrap(), ("Bearer a".into(), 55));
        assert_eq!(read(r#"{"access_token":"b","expires_in":300}"#).unwrap(), ("Bearer b".into(), 295));
        let error = read(r#"{"refresh":"hunter2"}"#).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
