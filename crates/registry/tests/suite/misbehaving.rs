//! Registries that break off, lie, refuse for a while or never answer.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::StreamExt as _;
use rondel_events::Emitter;
use rondel_fault::{Kind, Result};
use rondel_ports::images::{Images as _, ResolvedImage};
use rondel_registry::{Registry, RegistryConfig, RegistryEnvironment, Timeouts};
use rondel_web::ProxyEnvironment;

use crate::fake::{Asked, Fake, Served, bytes, status};
use crate::fixtures::*;

/// A body that gives `content` and then breaks off.
fn broken(content: &[u8], promised: usize, code: u16, range: Option<String>) -> Response {
    let content = Bytes::copy_from_slice(content);
    let end = futures_util::stream::once(async {
        // The server sends what it has while it waits for more.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("broken off"))
    });
    let parts = futures_util::stream::iter([Ok(content)]).chain(end);
    let mut response = Response::builder().status(code).header("content-length", promised);
    if let Some(range) = range {
        response = response.header("content-range", range);
    }
    response.body(Body::from_stream(parts)).unwrap()
}

fn offset(asked: &Asked) -> usize {
    let range = asked.headers.get("range").map(|v| v.to_str().unwrap());
    range.map_or(0, |r| r.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap())
}

async fn resolve(fake: &Fake) -> Result<ResolvedImage> {
    plain().resolve(&reference(&format!("{}/app", fake.address)), &platform("linux/amd64"), true, None).await
}

/// Fetches the layer from a registry whose answers for it are `answer`; everything else is honest.
async fn fetch(answer: impl Fn(&Served, &Asked) -> Response + Send + Sync + 'static) -> (Result<()>, usize) {
    let served = Served::new();
    let fake =
        Fake::start(move |asked| if served.is_layer(asked) { answer(&served, asked) } else { served.answer(asked) })
            .await;
    let image = resolve(&fake).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("layer");
    let result = plain().fetch(&image, &image.layers[0], &into, None, &Emitter::nowhere()).await;
    assert_eq!(into.exists(), result.is_ok(), "no partial file may stay");
    if result.is_ok() {
        assert_eq!(rondel_digest::Sha256Digest::of_bytes(&std::fs::read(&into).unwrap()), image.layers[0].digest);
    }
    (result, fake.log().iter().filter(|l| l.contains(&image.layers[0].digest.to_string())).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_downloads_continue() {
    let (result, requests) = fetch(|served, asked| {
        let (all, from) = (served.layer.len(), offset(asked));
        let to = if asked.before < 3 { from + 300_000 } else { all };
        let range = format!("bytes {from}-{}/{all}", all - 1);
        match (from, to == all) {
            (0, _) => broken(&served.layer[..to], all, 200, None),
            (_, false) => broken(&served.layer[from..to], all - from, 206, Some(range)),
            (_, true) => Response::builder()
                .status(206)
                .header("content-range", range)
                .body(Body::from(served.layer[from..].to_vec()))
                .unwrap(),
        }
    })
    .await;
    result.unwrap();
    assert_eq!(requests, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_ranges_starts_again() {
    let (result, requests) = fetch(|served, asked| match asked.before {
        0 => broken(&served.layer[..300_000], served.layer.len(), 200, None),
        _ => bytes(&served.layer, "application/octet-stream"),
    })
    .await;
    result.unwrap();
    assert_eq!(requests, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn lasting_breaks_end_with_an_error() {
    let (result, requests) = fetch(|served, _| broken(&served.layer[..1000], served.layer.len(), 200, None)).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), requests), (Kind::Environment, 4));
    assert!(error.to_string().contains("cannot download the blob"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_refused() {
    let wrong = |change: fn(&mut Vec<u8>)| {
        move |served: &Served, _: &Asked| {
            let mut content = served.layer.clone();
            change(&mut content);
            bytes(&content, "application/octet-stream")
        }
    };
    let check = |result: Result<()>, want: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    check(fetch(wrong(|c| c[700] ^= 1)).await.0, "is damaged: its digest is");
    check(fetch(wrong(|c| c.truncate(900))).await.0, "is truncated: it has 900 of");
    check(fetch(wrong(|c| c.push(0))).await.0, "is larger than");
    check(fetch(|_, _| status(404)).await.0, "it is in none of its sources");
}

#[tokio::test(flavor = "multi_thread")]
async fn short_refusals_are_waited_for() {
    for code in [429, 500, 502, 503] {
        let served = Served::new();
        let fake = Fake::start(move |asked| match asked.before {
            0 | 1 if asked.path != "/v2/" => {
                Response::builder().status(code).header("retry-after", "0").body(Body::empty()).unwrap()
            }
            _ => served.answer(asked),
        })
        .await;
        resolve(&fake).await.unwrap();
        assert_eq!(fake.log().len(), 6, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lasting_refusals_are_told() {
    let check = |code: u16, body: &'static str, kind: Kind, want: &'static str| async move {
        let fake = Fake::start(move |asked| match asked.path.as_str() {
            "/v2/" => status(200),
            _ => Response::builder().status(code).header("retry-after", "0").body(Body::from(body)).unwrap(),
        })
        .await;
        let error = resolve(&fake).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(want), "{error}");
    };
    check(503, "later", Kind::Environment, "the registry answered 503 Service Unavailable: later").await;
    let limit = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#;
    check(429, limit, Kind::Environment, "429 Too Many Requests: pull rate limit").await;
    check(403, r#"{"errors":[{"code":"DENIED"}]}"#, Kind::Denied, "the registry refuses it: DENIED").await;
    check(400, "line\n\u{1b}[31m red", Kind::User, "400 Bad Request: line [31m red").await;
    check(401, "", Kind::Denied, "the registry refuses it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_bounded_and_verified() {
    let check = |answer: fn(&Served, &Asked) -> Option<Response>, want: &'static str| async move {
        let served = Served::new();
        let fake = Fake::start(move |asked| answer(&served, asked).unwrap_or_else(|| served.answer(asked))).await;
        let error = resolve(&fake).await.unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    let endless = |_: &Served, asked: &Asked| {
        let chunks = futures_util::stream::repeat(Ok::<_, std::convert::Infallible>(Bytes::from(vec![b' '; 1 << 16])));
        asked.path.ends_with("/latest").then(|| Response::new(Body::from_stream(chunks.take(1000))))
    };
    check(endless, "is larger than 4194304 bytes").await;
    let lying = |served: &Served, asked: &Asked| {
        let digest = format!("sha256:{}", "0".repeat(64));
        let mut response = served.answer(asked);
        response.headers_mut().insert("docker-content-digest", digest.parse().unwrap());
        asked.path.ends_with("/latest").then_some(response)
    };
    check(lying, "is damaged: its digest is").await;
    let no_json = |_: &Served, asked: &Asked| asked.path.ends_with("/latest").then(|| bytes(b"<html>", "text/html"));
    check(no_json, "is no valid manifest").await;
    let no_config =
        |_: &Served, asked: &Asked| (asked.path.contains("/blobs/")).then(|| bytes(b"{}", "application/octet-stream"));
    check(no_config, "is damaged: its digest is").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_absence_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let target = reference(&format!("{address}/app"));
    let error = plain().resolve(&target, &platform("linux/amd64"), true, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Environment);
    assert!(error.to_string().contains("Connection refused"), "{error}");

    let served = Served::new();
    let fake = Fake::start(move |asked| {
        if !served.is_layer(asked) {
            return served.answer(asked);
        }
        let start = Bytes::copy_from_slice(&served.layer[..10]);
        let start = futures_util::stream::iter([Ok::<_, std::io::Error>(start)]);
        Response::new(Body::from_stream(start.chain(futures_util::stream::pending())))
    })
    .await;
    let image = resolve(&fake).await.unwrap();
    let timing = Timeouts { idle: Duration::from_millis(100), pause: Duration::ZERO, ..Timeouts::default() };
    let registry = Registry::with_timeouts(RegistryConfig::default(), RegistryEnvironment::default(), timing).unwrap();
    let error = fetch_all(&registry, &image, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Environment);
    assert!(error.to_string().contains("no answer in time"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_are_used_for_others_only() {
    let served = Served::new();
    let proxy = Fake::start(move |asked| served.answer(asked)).await;
    let config = RegistryConfig { insecure: vec!["registry.invalid".into()], ..RegistryConfig::default() };
    let environment = RegistryEnvironment {
        web: ProxyEnvironment { http_proxy: Some(format!("http://{}", proxy.address)), ..ProxyEnvironment::default() },
        ..RegistryEnvironment::default()
    };
    let found = client(config.clone(), environment.clone())
        .resolve(&reference("registry.invalid/app"), &platform("linux/amd64"), true, None)
        .await
        .unwrap();
    assert_eq!(found.origin, "registry registry.invalid");
    let asked = proxy.log().len();
    assert_eq!(asked, 2);

    let server = RealRegistry::start(crate::fixtures::Kind::default());
    let local = reference(&format!("{}/app", server.address));
    let registry = client(config, environment);
    registry.resolve(&local, &platform("linux/amd64"), true, None).await.unwrap_err();
    assert_eq!(proxy.log().len(), asked, "loopback does not go through the proxy");
}
