//! One repository of one registry.

use std::sync::Arc;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE};
use reqwest::{Body, Method, Response, StatusCode, Url};
use rondel_digest::Sha256Digest;
use rondel_fault::{Attempt as _, Fault, Kind, Result};
use rondel_model::image::ImageRef;
use rondel_ports::egress::Egress;
use rondel_ports::images::Credentials;
use rondel_web::{body, network, origin};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::auth::{self, Access, Challenge, Token, TokenKey};
use crate::connection::{Connection, REGISTRY, RETRIES, worth_repeating};
use crate::credentials::{self, FoundCredentials, Login};
use crate::manifest;

const MAX_ANSWER: u64 = 1 << 20;
const MAX_ERROR: u64 = 64 << 10;

/// Where a registry is, before anybody asked it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As users write it; the name under which credentials are listed.
    pub(crate) registry: String,
    authority: String,
    scheme: Option<&'static str>,
    prefix: String,
    namespace: Option<String>,
    is_mirror: bool,
}

impl Endpoint {
    /// The registry that a reference names.
    pub(crate) fn of(reference: &ImageRef) -> Self {
        let authority = match reference.registry.as_str() {
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        Self {
            registry: reference.registry.clone(),
            authority: authority.to_owned(),
            scheme: None,
            prefix: String::new(),
            namespace: None,
            is_mirror: false,
        }
    }

    /// Whether it is a mirror.
    pub(crate) fn is_mirror(&self) -> bool {
        self.is_mirror
    }

    /// Checks whether a process in a container may ask it, as far as its name is an address.
    ///
    /// # Errors
    /// When it may not.
    pub(crate) fn check(&self, egress: &Egress) -> Result<()> {
        let attempted = || format!("reach the registry `{}`", self.registry);
        let url = Url::parse(&format!("https://{}/", self.authority)).attempt(attempted)?;
        rondel_web::check(egress, &url).map_err(|fault| fault.context(format!("cannot {}", attempted())))
    }

    /// Host and port, where requests go.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// A mirror of the registry that `reference` names.
    pub(crate) fn mirror(location: &str, reference: &ImageRef) -> Result<Self> {
        let wrong = |reason: &str| Fault::user(format!("the address of a mirror is not usable: {reason}"));
        let (scheme, rest) = match location.split_once("://") {
            None => (None, location),
            Some(("http", rest)) => (Some("http"), rest),
            Some(("https", rest)) => (Some("https"), rest),
            Some(_) => return Err(wrong("it is neither http nor https")),
        };
        if rest.contains(['@', '?', '#']) {
            return Err(wrong("it has parts that no address of a registry has")
                .with_hint("credentials belong into the configuration of the container client (`docker login`)"));
        }
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/').trim_start_matches("v2").trim_matches('/');
        if authority.is_empty() {
            return Err(wrong("it has no host"));
        }
        let same = authority == reference.registry;
        Ok(Self {
            registry: authority.to_owned(),
            authority: if authority == "docker.io" { "registry-1.docker.io".into() } else { authority.to_owned() },
            scheme,
            prefix: prefix.to_owned(),
            namespace: (!same).then(|| reference.registry.clone()),
            is_mirror: true,
        })
    }
}

/// A repository that can be asked.
pub(crate) struct Remote<'a> {
    connection: &'a Connection,
    endpoint: Endpoint,
    base: Url,
    repository: String,
    given: Option<Credentials>,
    found: OnceCell<FoundCredentials>,
}

/// Makes the body of a request, and tells its length.
pub(crate) type MakeBody<'c> = Arc<dyn Fn() -> Result<(Body, u64)> + Send + Sync + 'c>;

/// A request that can be made several times.
pub(crate) struct RegistryRequest<'c> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) access: Access,
    /// The body, if any.
    pub(crate) body: Option<MakeBody<'c>>,
    /// Whether it may simply be made again after a failure.
    pub(crate) repeat: bool,
    /// What is attempted, after "cannot".
    pub(crate) attempted: String,
}

/// A document as a registry served it.
pub(crate) struct ServedManifest {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Sha256Digest,
    pub(crate) media_type: Option<String>,
}

#[derive(Deserialize)]
struct ErrorResponse {
    errors: Vec<ErrorDetail>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The digest of a tag, as far as a source tells it without the content.
pub(crate) enum TagDigest {
    /// The tag has this digest.
    Known(Sha256Digest),
    /// The source has no such tag.
    Missing,
    /// The source does not tell the digest.
    Unknown,
}

impl<'a> Remote<'a> {
    /// Opens the repository of `reference` at `endpoint`.
    pub(crate) async fn open(
        connection: &'a Connection,
        endpoint: Endpoint,
        reference: &ImageRef,
        given: Option<Credentials>,
    ) -> Result<Remote<'a>> {
        let repository = match endpoint.prefix.as_str() {
            "" => reference.repository.clone(),
            prefix => format!("{prefix}/{}", reference.repository),
        };
        let scheme = match endpoint.scheme {
            Some(scheme) => scheme,
            None => connection.scheme(&endpoint.authority).await,
        };
        let text = format!("{scheme}://{}/v2/{repository}/", endpoint.authority);
        let base =
            Url::parse(&text).attempt(|| format!("use `{}` as the address of a registry", endpoint.authority))?;
        Ok(Self { connection, endpoint, base, repository, given, found: OnceCell::new() })
    }

    /// The registry as users write it.
    pub(crate) fn registry(&self) -> &str {
        &self.endpoint.registry
    }

    /// The repository in that registry.
    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    /// What requests share.
    pub(crate) fn connection(&self) -> &'a Connection {
        self.connection
    }

    /// The address of something in the repository, such as `blobs/sha256:…`.
    pub(crate) fn url(&self, path: &str) -> Result<Url> {
        let mut url = self.base.join(path).attempt(|| format!("make an address of `{path}`"))?;
        if let Some(namespace) = &self.endpoint.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        Ok(url)
    }

    /// A plain request for `path`.
    pub(crate) fn call(
        &self,
        method: Method,
        path: &str,
        access: Access,
        attempted: String,
    ) -> Result<RegistryRequest<'static>> {
        let url = self.url(path)?;
        Ok(RegistryRequest { method, url, headers: Vec::new(), access, body: None, repeat: true, attempted })
    }

    /// The document of a tag or digest; `None` when there is none.
    pub(crate) async fn document(&self, name: &str, pinned: Option<Sha256Digest>) -> Result<Option<ServedManifest>> {
        let what = format!("`{name}` of `{}/{}`", self.registry(), self.repository);
        let mut call =
            self.call(Method::GET, &format!("manifests/{name}"), Access::Pull, format!("get the manifest {what}"))?;
        call.headers.push((ACCEPT, HeaderValue::from_static(manifest::ACCEPT)));
        let response = self.send(&call).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = self.expect(response, &call).await?;
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let media_type = header("content-type").map(|t| t.split(';').next().unwrap_or_default().trim().to_owned());
        let promised = header("docker-content-digest").and_then(|d| d.parse::<Sha256Digest>().ok());
        let bytes = body(response, manifest::MAX_MANIFEST, REGISTRY)
            .await
            .map_err(|fault| fault.context(format!("cannot get the manifest {what}")))?;
        let digest = Sha256Digest::of_bytes(&bytes);
        match pinned.or(promised) {
            Some(wanted) if wanted != digest => Err(wrong_digest(&format!("the manifest {what}"), wanted, digest)),
            _ => Ok(Some(ServedManifest { bytes, digest, media_type })),
        }
    }

    /// The digest of a tag, if the registry tells it. Requested once. Without an answer the caller
    /// makes the full request.
    pub(crate) async fn tag_digest(&self, name: &str) -> Result<TagDigest> {
        let attempted = format!("find the manifest `{name}` of `{}/{}`", self.registry(), self.repository);
        let mut call = self.call(Method::HEAD, &format!("manifests/{name}"), Access::Pull, attempted)?;
        call.headers.push((ACCEPT, HeaderValue::from_static(manifest::ACCEPT)));
        call.repeat = false;
        let response = self.send(&call).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(TagDigest::Missing);
        }
        let digest =
            response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(match digest {
            Some(digest) if response.status().is_success() => TagDigest::Known(digest),
            _ => TagDigest::Unknown,
        })
    }

    /// A small blob in memory; `None` when there is none.
    pub(crate) async fn blob(&self, digest: Sha256Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(response) = self.blob_from(digest, 0).await? else {
            return Ok(None);
        };
        let what = format!("the blob `{digest}` of `{}/{}`", self.registry(), self.repository);
        let bytes = body(response, limit, REGISTRY).await.map_err(|f| f.context(format!("cannot get {what}")))?;
        let got = Sha256Digest::of_bytes(&bytes);
        if got == digest { Ok(Some(bytes)) } else { Err(wrong_digest(&what, digest, got)) }
    }

    /// The response with the bytes of a blob from `offset`; it may start at 0 all the same (status
    /// 200).
    pub(crate) async fn blob_from(&self, digest: Sha256Digest, offset: u64) -> Result<Option<Response>> {
        let attempted = format!("get the blob `{digest}` of `{}/{}`", self.registry(), self.repository);
        let mut call = self.call(Method::GET, &format!("blobs/{digest}"), Access::Pull, attempted)?;
        if offset > 0 {
            let range = format!("bytes={offset}-");
            call.headers.push((RANGE, HeaderValue::from_str(&range).attempt(|| "ask for a range".into())?));
        }
        let response = self.send(&call).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.expect(response, &call).await.map(Some)
    }

    /// Makes a request, with credentials when they are asked for, again when that may help.
    pub(crate) async fn send(&self, call: &RegistryRequest<'_>) -> Result<Response> {
        let mut attempt = 0;
        loop {
            let asked = match self.authorized(call).await {
                Ok(response) => match worth_repeating(&response) {
                    Some(asked) if call.repeat && attempt < RETRIES => asked,
                    _ => return Ok(response),
                },
                Err(fault) if call.repeat && attempt < RETRIES && is_transient(&fault) => None,
                Err(fault) => return Err(fault),
            };
            self.connection.back_off(attempt, asked).await;
            attempt += 1;
        }
    }

    /// The response, if it is a success; else what it says.
    pub(crate) async fn expect(&self, response: Response, call: &RegistryRequest<'_>) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let said = self.reason(response).await;
        let told = if said.is_empty() { String::new() } else { format!(": {said}") };
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(self.denied(&format!("cannot {}: the registry refuses it{told}", call.attempted)));
        }
        let message = format!("cannot {}: the registry answered {status}{told}", call.attempted);
        Err(if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
            Fault::user(message)
        } else {
            Fault::environment(message)
        })
    }

    async fn authorized(&self, call: &RegistryRequest<'_>) -> Result<Response> {
        let here = origin(&call.url) == origin(&self.base);
        let key = TokenKey {
            origin: origin(&self.base),
            repository: self.repository.clone(),
            access: call.access.clone(),
            owner: self.given.as_ref().map(auth::owner),
        };
        let known = if here { self.connection.tokens.get(&key) } else { None };
        let response = self.once(call, known).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !here {
            return Ok(response);
        }
        let Some(challenge) = Challenge::of(response.headers()) else {
            return Ok(response);
        };
        let Some(token) = self.answer(&challenge, call).await? else {
            return Ok(response);
        };
        let header = token.header.clone();
        self.connection.tokens.put(key, token.header, token.lasts);
        self.once(call, Some(header)).await
    }

    async fn once(&self, call: &RegistryRequest<'_>, authorization: Option<HeaderValue>) -> Result<Response> {
        let mut headers: HeaderMap = call.headers.iter().cloned().collect();
        if let Some(header) = authorization {
            headers.insert(AUTHORIZATION, header);
        }
        let mut request = self.connection.request(call.method.clone(), call.url.clone())?;
        if let Some(body) = &call.body {
            let (body, length) = body()?;
            headers.insert(CONTENT_LENGTH, length.into());
            request = request.body(body);
        }
        request.headers(headers).send().await.map_err(|e| network(e, &call.attempted))
    }

    async fn answer(&self, challenge: &Challenge, call: &RegistryRequest<'_>) -> Result<Option<Token>> {
        let login = self.login().await;
        match (challenge, login) {
            (_, Some(Login::Access(token))) => auth::bearer(token).map(Some),
            (Challenge::Basic, Some(Login::Password(credentials))) => auth::basic(credentials).map(Some),
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { realm, service, scope }, login) => {
                let mut scopes = call.access.scopes(&self.repository);
                if let (Some(scope), Access::Pull) = (scope, &call.access) {
                    scopes = vec![scope.clone()];
                }
                self.token(realm, service.as_deref(), &scopes, login).await.map(Some)
            }
        }
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
        login: Option<&Login>,
    ) -> Result<Token> {
        let (url, form) = auth::token_request(realm, service, scopes, login)?;
        let server = origin(&url);
        if self.base.scheme() == "https" && url.scheme() != "https" {
            return Err(
                self.denied(&format!("the registry names the token server `{server}`, which is not reached by TLS"))
            );
        }
        let attempted = format!("get a token for `{}/{}` from `{server}`", self.registry(), self.repository);
        let mut attempt = 0;
        loop {
            let mut request = match &form {
                None => self.connection.request(Method::GET, url.clone())?,
                Some(form) => self
                    .connection
                    .request(Method::POST, url.clone())?
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.clone()),
            };
            if let Some(Login::Password(credentials)) = login {
                request = request.header(AUTHORIZATION, auth::basic(credentials)?.header);
            }
            let asked = match request.send().await {
                Ok(response) => match worth_repeating(&response) {
                    Some(asked) if attempt < RETRIES => asked,
                    _ => return self.token_of(response, &server, &attempted).await,
                },
                Err(error) if attempt < RETRIES => {
                    tracing::debug!(error = %error.without_url(), "no answer from the token server");
                    None
                }
                Err(error) => return Err(network(error, &attempted)),
            };
            self.connection.back_off(attempt, asked).await;
            attempt += 1;
        }
    }

    async fn token_of(&self, response: Response, server: &str, attempted: &str) -> Result<Token> {
        let status = response.status();
        if status.is_success() {
            return Token::parse(&body(response, MAX_ANSWER, REGISTRY).await?, server);
        }
        let refused = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
        let said = self.reason(response).await;
        let told = if said.is_empty() { String::new() } else { format!(": {said}") };
        if refused {
            return Err(self.denied(&format!("cannot {attempted}: it refuses{told}")));
        }
        Err(Fault::environment(format!("cannot {attempted}: it answered {status}{told}")))
    }

    async fn login(&self) -> Option<&Login> {
        let found = self.found.get_or_init(|| async {
            match &self.given {
                Some(credentials) => {
                    FoundCredentials { login: Some(Login::Password(credentials.clone())), remarks: Vec::new() }
                }
                None => credentials::find(&self.connection.environment, self.registry(), &self.repository).await,
            }
        });
        found.await.login.as_ref()
    }

    fn denied(&self, message: &str) -> Fault {
        let registry = self.registry();
        let found = self.found.get();
        let fault = Fault::denied(message);
        let fault = match found.and_then(|f| f.login.as_ref()) {
            Some(_) if self.given.is_some() => fault.with_hint("check the user name and the password that were given"),
            Some(_) => fault.with_hint(format!(
                "the credentials of the host for `{registry}` do not suffice: renew them with `docker login {registry}`"
            )),
            None => fault.with_hint(format!(
                "if the image exists, it needs credentials: `docker login {registry}`, or `withRegistryAuth` in code"
            )),
        };
        found.into_iter().flat_map(|f| &f.remarks).fold(fault, |fault, remark| fault.with_hint(remark.clone()))
    }

    /// What a refusal says, in one bounded line without our own secrets.
    async fn reason(&self, response: Response) -> String {
        let bytes = body(response, MAX_ERROR, REGISTRY).await.unwrap_or_default();
        let text = match serde_json::from_slice::<ErrorResponse>(&bytes) {
            Ok(refusal) => {
                let one = |r: &ErrorDetail| {
                    if r.message.is_empty() { r.code.clone() } else { r.message.clone() }
                };
                refusal.errors.iter().map(one).collect::<Vec<_>>().join("; ")
            }
            Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        let secret = match self.found.get().and_then(|f| f.login.as_ref()) {
            Some(Login::Password(credentials)) => credentials.password.as_str(),
            Some(Login::Identity(token) | Login::Access(token)) => token,
            None => "",
        };
        let text = if secret.is_empty() { text } else { text.replace(secret, "…") };
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().filter(|c| !c.is_control()).take(300).collect()
    }
}

fn is_transient(fault: &Fault) -> bool {
    fault.kind() == Kind::Environment
}

/// The hint for bytes of a registry that are not those promised.
pub(crate) const CHANGED_ON_THE_WAY: &str =
    "something between here and the registry changes the content, or the registry has lost it";

/// The error for bytes of a registry that are not those promised.
pub(crate) fn wrong_digest(what: &str, wanted: Sha256Digest, got: Sha256Digest) -> Fault {
    damaged(what, wanted, got).with_hint(CHANGED_ON_THE_WAY)
}

/// The error for bytes that are not those promised.
pub(crate) fn damaged(what: &str, wanted: Sha256Digest, got: Sha256Digest) -> Fault {
    Fault::environment(format!("{what} is damaged: its digest is `{got}` instead of `{wanted}`"))
}
