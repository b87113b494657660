//! HashiCorp Vault: fields of secrets in its key-value engines, version 1 and 2.
//!
//! Environment variables have the names that Vault's own programs use. The others have the names
//! that are customary in CI pipelines: `VAULT_PATH_PREFIX` (the mount, `secret`),
//! `VAULT_APPROLE_ROLE_ID`, `VAULT_APPROLE_SECRET_ID` and `VAULT_APPROLE_MOUNT_PATH` (`approle`).

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use rondel_fault::{Fault, Result};
use rondel_web::network;
use serde_json::{Value, json};

use crate::address::Address;
use crate::machine::{Machine, json as json_of};

const WHOM: &str = "Vault";
/// The default address of Vault's own programs.
const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";

/// Reads a field of a secret: the field is behind the last dot of the address, the secret's path
/// before it.
pub(crate) async fn read(address: &Address<'_>, machine: &Machine<'_>) -> Result<Vec<u8>> {
    let parts = address.path.rsplit_once('.').filter(|(path, field)| !path.is_empty() && !field.is_empty());
    let Some((path, field)) = parts else {
        return Err(
            Fault::user(format!("invalid key format: {}", address.path)).with_hint("write `vault://PATH.FIELD`")
        );
    };
    let vault = Vault::open(machine).await?;
    let data = vault.secret(path).await?;
    match data.get(field) {
        Some(Value::String(text)) => Ok(text.clone().into_bytes()),
        // Clients match on these texts; see behaviour SEC-010.
        None | Some(Value::Null) => Err(Fault::not_found(format!("secret {field:?} not found in path {path:?}"))),
        Some(_) => Err(Fault::user(format!("secret {field:?} in path {path:?} is not a string"))),
    }
}

struct Vault {
    http: Client,
    base: Url,
    headers: HeaderMap,
    mount: String,
}

impl Vault {
    async fn open(machine: &Machine<'_>) -> Result<Self> {
        let address = machine.text("VAULT_ADDR").unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
        let base = Url::parse(&address).ok().filter(|url| !url.cannot_be_a_base());
        let base = base.ok_or_else(|| Fault::user("VAULT_ADDR is not the address of a server"))?;
        let mut headers = HeaderMap::new();
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = machine.text("VAULT_NAMESPACE") {
            headers.insert("x-vault-namespace", header(&namespace, "VAULT_NAMESPACE")?);
        }
        let mount = machine.text("VAULT_PATH_PREFIX").unwrap_or_else(|| "secret".to_owned());
        let http = machine.http(machine.text("VAULT_CACERT"))?;
        let mut vault = Self { http, base, headers, mount };
        let token = vault.token(machine).await?;
        vault.headers.insert("x-vault-token", header(token.trim(), "the token of Vault")?);
        Ok(vault)
    }

    async fn token(&self, machine: &Machine<'_>) -> Result<String> {
        if let Some(role) = machine.text("VAULT_APPROLE_ROLE_ID") {
            let secret = machine.text("VAULT_APPROLE_SECRET_ID").unwrap_or_default();
            let mount = machine.text("VAULT_APPROLE_MOUNT_PATH").unwrap_or_else(|| "approle".to_owned());
            return self.login(&mount, &role, &secret).await;
        }
        if let Some(token) = machine.text("VAULT_TOKEN") {
            return Ok(token);
        }
        let kept = machine.home_file(".vault-token").await.filter(|token| !token.trim().is_empty());
        kept.ok_or_else(|| {
            Fault::user("cannot read from Vault: there is no token").with_hint(
                "set VAULT_TOKEN, or VAULT_APPROLE_ROLE_ID and VAULT_APPROLE_SECRET_ID, or run `vault login`",
            )
        })
    }

    async fn login(&self, mount: &str, role: &str, secret: &str) -> Result<String> {
        let attempted = "log in to Vault with an AppRole";
        let url = self.url(&["auth", mount, "login"])?;
        let body = json!({ "role_id": role, "secret_id": secret }).to_string();
        let response = self.http.post(url).headers(self.headers.clone()).body(body).send().await;
        let response = response.map_err(|e| network(e, attempted))?;
        let status = response.status();
        let answer = json_of(response, WHOM).await?;
        if !status.is_success() {
            return Err(refused(attempted, status, &answer));
        }
        let token = answer.pointer("/auth/client_token").and_then(Value::as_str);
        token.map(ToOwned::to_owned).ok_or_else(|| Fault::environment(format!("cannot {attempted}: it gave no token")))
    }

    /// The fields of a secret in an engine of either version.
    async fn secret(&self, path: &str) -> Result<Value> {
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (status, answer) = self.get(&["data"], &segments, path).await?;
        if status.is_success() {
            return match answer.pointer("/data/data") {
                Some(data) if data.is_object() => Ok(data.clone()),
                _ => Err(missing(path)),
            };
        }
        if !matches!(status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN) {
            return Err(refused(&format!("read path {path:?}"), status, &answer));
        }
        let (older, found) = self.get(&[], &segments, path).await?;
        match found.get("data") {
            Some(data) if older.is_success() && data.is_object() => Ok(data.clone()),
            _ if status == StatusCode::NOT_FOUND => Err(missing(path)),
            _ => Err(refused(&format!("read path {path:?}"), status, &answer)),
        }
    }

    async fn get(&self, between: &[&str], segments: &[&str], path: &str) -> Result<(StatusCode, Value)> {
        let all: Vec<&str> =
            self.mount.split('/').chain(between.iter().copied()).chain(segments.iter().copied()).collect();
        let response = self.http.get(self.url(&all)?).headers(self.headers.clone()).send().await;
        let response = response.map_err(|e| network(e, &format!("read path {path:?} of Vault")))?;
        Ok((response.status(), json_of(response, WHOM).await?))
    }

    fn url(&self, segments: &[&str]) -> Result<Url> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut path) => {
                path.pop_if_empty().push("v1").extend(segments.iter().filter(|part| !part.is_empty()));
            }
            Err(()) => return Err(Fault::user("VAULT_ADDR is not the address of a server")),
        }
        Ok(url)
    }
}

fn header(text: &str, what: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_str(text)
        .map_err(|_| Fault::user(format!("{what} has characters that no header can carry")))?;
    header.set_sensitive(true);
    Ok(header)
}

fn missing(path: &str) -> Fault {
    // Clients match on the last words; see behaviour SEC-010.
    Fault::not_found(format!("path {path:?}: secret not found"))
}

/// The error of a refused request, with the reasons that Vault lists.
fn refused(attempted: &str, status: StatusCode, answer: &Value) -> Fault {
    let reasons = answer.get("errors").and_then(Value::as_array).into_iter().flatten();
    let reasons: Vec<&str> = reasons.filter_map(Value::as_str).collect();
    let reasons = if reasons.is_empty() { status.to_string() } else { reasons.join("; ") };
    let text = format!("cannot {attempted}: {reasons}");
    if status.is_server_error() { Fault::environment(text) } else { Fault::denied(text) }
}
