//! Secrets Manager and Parameter Store of AWS.
//!
//! Keys come from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, else from
//! the shared credentials file. The region comes from the address, `AWS_REGION` or
//! `AWS_DEFAULT_REGION`. `AWS_ENDPOINT_URL` names another server.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use rondel_fault::{Fault, Kind, Result};
use rondel_web::network;
use serde_json::{Value, json};

use crate::address::Address;
use crate::machine::{Machine, json as json_of};
use crate::sign::{Keys, Request, Scope, authorization, stamp};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// A service of AWS.
struct Service {
    /// Its name in host names and signatures.
    name: &'static str,
    /// The variable that names another server for this service alone.
    endpoint: &'static str,
    /// The operation that reads an entry.
    target: &'static str,
    /// The kind of its values, for messages.
    kind: &'static str,
}

const SECRETS: Service = Service {
    name: "secretsmanager",
    endpoint: "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    target: "secretsmanager.GetSecretValue",
    kind: "secret",
};
const PARAMETERS: Service =
    Service { name: "ssm", endpoint: "AWS_ENDPOINT_URL_SSM", target: "AmazonSSM.GetParameter", kind: "parameter" };

/// Reads a secret of Secrets Manager, or with `field` one field of a JSON secret.
pub(crate) async fn secret(address: &Address<'_>, machine: &Machine<'_>) -> Result<Vec<u8>> {
    let name = address.path;
    let mut asked = json!({ "SecretId": name });
    match (address.parameter("version"), address.parameter("stage")) {
        (Some(_), Some(_)) => return Err(Fault::user("cannot specify both version and stage parameters")),
        (Some(version), None) => asked["VersionId"] = version.into(),
        (None, stage) => asked["VersionStage"] = stage.unwrap_or("AWSCURRENT").into(),
    }
    let answer = call(&SECRETS, name, &asked, address, machine).await?;
    let text = answer.get("SecretString").and_then(Value::as_str).map(|text| text.as_bytes().to_vec());
    let binary = || STANDARD.decode(answer.get("SecretBinary")?.as_str()?).ok();
    let plaintext = text.or_else(binary);
    let plaintext = plaintext.ok_or_else(|| Fault::user(format!("secret {name:?} has no string or binary value")))?;
    match address.parameter("field") {
        Some(field) => field_of(&plaintext, field)
            .map_err(|fault| Fault::user(format!("failed to extract field {field:?} from secret {name:?}: {fault}"))),
        None => Ok(plaintext),
    }
}

/// Reads a parameter of Parameter Store, decrypted.
pub(crate) async fn parameter(address: &Address<'_>, machine: &Machine<'_>) -> Result<Vec<u8>> {
    let name = format!("/{}", address.path.trim_start_matches('/'));
    let asked = json!({ "Name": name, "WithDecryption": true });
    let answer = call(&PARAMETERS, &name, &asked, address, machine).await?;
    let value = answer.pointer("/Parameter/Value").and_then(Value::as_str);
    let value = value.ok_or_else(|| Fault::user(format!("parameter {name:?} has no value")))?;
    Ok(value.as_bytes().to_vec())
}

fn field_of(plaintext: &[u8], field: &str) -> Result<Vec<u8>> {
    let document: Value =
        serde_json::from_slice(plaintext).map_err(|_| Fault::user("secret value is not valid JSON"))?;
    match document.get(field) {
        // Clients match on this text; see behaviour SEC-013.
        None => Err(Fault::not_found(format!("field {field:?} not found in JSON secret"))),
        Some(Value::String(text)) => Ok(text.clone().into_bytes()),
        Some(Value::Null) => Ok(Vec::new()),
        Some(other) => Ok(other.to_string().into_bytes()),
    }
}

async fn call(
    service: &Service,
    name: &str,
    asked: &Value,
    address: &Address<'_>,
    machine: &Machine<'_>,
) -> Result<Value> {
    let region = address.parameter("region").map(ToOwned::to_owned);
    let region = region.or_else(|| machine.text("AWS_REGION")).or_else(|| machine.text("AWS_DEFAULT_REGION"));
    let region = region
        .ok_or_else(|| Fault::user("AWS_REGION environment variable not set and no region parameter provided"))?;
    let url = endpoint(service, &region, machine)?;
    let keys = keys(machine).await?;
    let body = asked.to_string();
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let time = stamp(SystemTime::now());
    let mut headers = vec![("content-type", CONTENT_TYPE), ("host", host.as_str()), ("x-amz-date", time.as_str())];
    headers.extend(keys.session.as_deref().map(|token| ("x-amz-security-token", token)));
    headers.push(("x-amz-target", service.target));
    let request = Request { method: "POST", path: url.path(), headers: &headers, body: body.as_bytes() };
    let scope = Scope { time: &time, region: &region, service: service.name };
    let signed = authorization(&keys, &request, &scope);
    let attempted = format!("retrieve {} {name:?}", service.kind);
    let mut sending = machine.http(machine.text("AWS_CA_BUNDLE"))?.post(url.clone()).body(body.clone());
    for (header, value) in headers.iter().copied().chain([("authorization", signed.as_str())]) {
        let text = HeaderValue::from_str(value)
            .map_err(|_| Fault::user("a key of AWS has characters that no header can carry"))?;
        sending =
            sending.header(HeaderName::from_bytes(header.as_bytes()).map_err(|_| Fault::bug("a header's name"))?, text);
    }
    let response = sending.send().await.map_err(|e| network(e, &attempted))?;
    let status = response.status();
    let answer = json_of(response, "AWS").await?;
    if status.is_success() { Ok(answer) } else { Err(refused(service, name, &answer, status)) }
}

fn endpoint(service: &Service, region: &str, machine: &Machine<'_>) -> Result<Url> {
    let chosen = machine.text(service.endpoint).or_else(|| machine.text("AWS_ENDPOINT_URL"));
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let text = chosen.unwrap_or_else(|| format!("https://{}.{region}.{domain}", service.name));
    let url = Url::parse(&text).ok().filter(Url::has_host);
    url.ok_or_else(|| {
        Fault::user(format!("`{region}` gives no address of AWS")).with_hint("check AWS_ENDPOINT_URL and the region")
    })
}

async fn keys(machine: &Machine<'_>) -> Result<Keys> {
    if let (Some(id), Some(secret)) = (machine.text("AWS_ACCESS_KEY_ID"), machine.text("AWS_SECRET_ACCESS_KEY")) {
        return Ok(Keys { id, secret, session: machine.text("AWS_SESSION_TOKEN") });
    }
    let shared = match machine.text("AWS_SHARED_CREDENTIALS_FILE") {
        Some(path) => tokio::fs::read_to_string(path).await.ok(),
        None => machine.home_file(".aws/credentials").await,
    };
    let profile = machine.text("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    let found = shared.as_deref().and_then(|text| profile_of(text, &profile));
    found.ok_or_else(|| {
        Fault::user("cannot sign requests to AWS: there are no keys")
            .with_hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
    })
}

/// The keys of a profile in a file of shared credentials.
fn profile_of(text: &str, profile: &str) -> Option<Keys> {
    let header = format!("[{profile}]");
    let lines = text.lines().map(str::trim).skip_while(|line| *line != header).skip(1);
    let section: Vec<(&str, &str)> = lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let value = |name: &str| section.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
    Some(Keys {
        id: value("aws_access_key_id")?,
        secret: value("aws_secret_access_key")?,
        session: value("aws_session_token"),
    })
}

fn refused(service: &Service, name: &str, answer: &Value, status: reqwest::StatusCode) -> Fault {
    let code = answer.get("__type").and_then(Value::as_str).unwrap_or_default();
    let code = code.rsplit('#').next().and_then(|code| code.split(':').next()).unwrap_or_default();
    let said = ["message", "Message"].iter().find_map(|key| answer.get(*key)?.as_str()).unwrap_or_default();
    let kind = service.kind;
    // Clients match on these texts; see behaviour SEC-013.
    let (of, text) = match code {
        "ResourceNotFoundException" => (Kind::User, format!("secret not found: {name:?}")),
        "ParameterNotFound" => (Kind::User, format!("parameter not found: {name:?}")),
        "AccessDeniedException" => (Kind::Denied, format!("access denied to {kind} {name:?}: check IAM permissions")),
        "DecryptionFailure" => (Kind::Denied, format!("failed to decrypt {kind} {name:?}: check KMS permissions")),
        "InvalidRequestException" => (Kind::User, format!("invalid request for {kind} {name:?}: {said}")),
        _ => (Kind::Environment, format!("failed to retrieve {kind} {name:?}: {status} {code} {said}")),
    };
    Fault::new(of, text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_json() {
        let document = br#"{"user":"me","port":5432,"none":null,"all":{"a":1}}"#;
        let field = |name: &str| field_of(document, name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(field("user").expect("text"), "me");
        assert_eq!(field("port").expect("a number"), "5432");
        assert_eq!(field("none").expect("nothing"), "");
        assert_eq!(field("all").expect("an object"), "{\"a\":1}");
        assert!(field("other").is_err_and(|e| e.to_string().contains("not found in JSON secret")));
        assert!(field_of(b"hunter2", "x").is_err_and(|e| !e.to_string().contains("hunter2")));
    }

    #[test]
    fn profiles() {
        let text = "[default]\naws_access_key_id = a\naws_secret_access_key = b\n[ci]\naws_access_key_id=c\naws_secret_access_key=d=\naws_session_token = e\n";
        let keys = |profile| profile_of(text, profile).map(|keys| (keys.id, keys.secret, keys.session));
        assert_eq!(keys("default"), Some(("a".into(), "b".into(), None)));
        assert_eq!(keys("ci"), Some(("c".into(), "d=".into(), Some("e".into()))));
        assert_eq!(keys("other"), None);
    }
}
