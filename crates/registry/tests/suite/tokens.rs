//! Registries that want tokens.

use std::sync::{Arc, Mutex, OnceLock};

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use rondel_events::Emitter;
use rondel_fault::Kind;
use rondel_ports::images::{Credentials, Images as _, MediaTypes};
use rondel_registry::{RegistryConfig, RegistryEnvironment};

use crate::fake::{Asked, Fake, Served, bytes, status};
use crate::fixtures::*;

/// Everybody may pull; only the tester may push. Tokens are the scope and whether the tester asked.
async fn start(lasts: u64) -> Fake {
    let served = Served::new();
    let place = Arc::new(OnceLock::<String>::new());
    let stored = Mutex::new(Vec::<String>::new());
    let own = place.clone();
    let fake = Fake::start(move |asked| {
        let here = own.get().cloned().unwrap_or_default();
        if asked.path == "/token" {
            return token(asked, lasts);
        }
        let pushes = asked.query.contains("digest=") || !matches!(asked.method.as_str(), "GET" | "HEAD");
        let granted = asked.authorization().strip_prefix("Bearer ").unwrap_or_default().to_owned();
        let allowed = if pushes { granted.contains("push by tester") } else { granted.contains("repository:app:pull") };
        if !allowed {
            let scope = if pushes { "pull,push" } else { "pull" };
            let header =
                format!("Bearer realm=\"http://{here}/token\",service=\"fake\",scope=\"repository:app:{scope}\"");
            return Response::builder().status(401).header("www-authenticate", header).body(Body::empty()).unwrap();
        }
        write(asked, &stored).unwrap_or_else(|| served.answer(asked))
    })
    .await;
    place.set(fake.address.clone()).unwrap();
    fake
}

fn token(asked: &Asked, lasts: u64) -> Response {
    let query = asked.query.replace("%3A", ":").replace("%2C", ",");
    let scope = query.split('&').find_map(|p| p.strip_prefix("scope=")).unwrap_or_default().to_owned();
    let expected = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let form = String::from_utf8_lossy(&asked.body).into_owned();
    let tester = asked.authorization() == format!("Basic {expected}") || form.contains("refresh_token=identity");
    if !tester && !asked.authorization().is_empty() {
        return Response::builder().status(401).body(Body::from(format!("no {}", asked.authorization()))).unwrap();
    }
    let scope = if form.is_empty() { scope } else { form.replace("%3A", ":").replace("%2C", ",") };
    let name = if tester { " by tester" } else { "" };
    let answer = serde_json::json!({ "token": format!("{scope}{name}"), "expires_in": lasts });
    bytes(answer.to_string().as_bytes(), "application/json")
}

fn write(asked: &Asked, stored: &Mutex<Vec<String>>) -> Option<Response> {
    let mut stored = stored.lock().unwrap();
    match asked.method.as_str() {
        "POST" => Some(
            Response::builder().status(202).header("location", "/v2/app/up/1?state=x").body(Body::empty()).unwrap(),
        ),
        "PUT" if asked.path.contains("/manifests/") => Some(status(201)),
        "PUT" => {
            assert!(asked.query.starts_with("state=x&digest="), "{}", asked.query);
            stored.push(asked.query.clone());
            Some(status(201))
        }
        "HEAD" => Some(status(404)),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_pull_does_not_spoil_a_push() {
    let fake = start(300).await;
    let folder = tempfile::tempdir().unwrap();
    let registry = plain();
    let target = reference(&format!("{}/app", fake.address));
    let found = registry.resolve(&target, &platform("linux/amd64"), true, None).await.unwrap();
    fetch_all(&registry, &found, None).await.unwrap();
    assert_eq!(fake.log().iter().filter(|l| *l == "GET /token").count(), 1, "the token is used again");
    let images = || vec![image(folder.path(), "linux/amd64")];
    let error = registry.push(&target, images(), MediaTypes::Oci, None, &Emitter::nowhere()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
    registry.push(&target, images(), MediaTypes::Oci, login(), &Emitter::nowhere()).await.unwrap();
    registry.resolve(&target, &platform("linux/amd64"), true, None).await.unwrap();
    let error = registry.push(&target, images(), MediaTypes::Oci, None, &Emitter::nowhere()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "the token of the tester is for the tester only");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_tokens_are_renewed() {
    let fake = start(0).await;
    let registry = plain();
    let target = reference(&format!("{}/app", fake.address));
    registry.resolve(&target, &platform("linux/amd64"), true, None).await.unwrap();
    assert_eq!(fake.log().iter().filter(|l| *l == "GET /token").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_told_without_the_password() {
    let fake = start(300).await;
    let target = reference(&format!("{}/app", fake.address));
    let wrong = Some(Credentials { username: USER.into(), password: "hunter2".into() });
    let error = plain().resolve(&target, &platform("linux/amd64"), true, wrong).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    let shown = format!("{error:?}");
    assert!(shown.contains("get a token for") && !shown.contains("hunter2"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_tokens_are_exchanged() {
    let fake = start(300).await;
    let folder = tempfile::tempdir().unwrap();
    let auths = serde_json::json!({ "auths": { &fake.address: { "identitytoken": "identity" } } });
    std::fs::write(folder.path().join("config.json"), auths.to_string()).unwrap();
    let environment =
        RegistryEnvironment { docker_config: Some(folder.path().into()), ..RegistryEnvironment::default() };
    let registry = client(RegistryConfig::default(), environment);
    let target = reference(&format!("{}/app", fake.address));
    let images = vec![image(folder.path(), "linux/amd64")];
    registry.push(&target, images, MediaTypes::Oci, None, &Emitter::nowhere()).await.unwrap();
    assert!(fake.log().contains(&"POST /token".to_owned()));
}
