//! Uploads: what is there already is not sent, what can be mounted neither, and what fails is sent again.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::Response;
use rondel_events::{Emitter, Event, Sink, Work};
use rondel_fault::Kind;
use rondel_ports::images::{Images as _, MediaTypes, OutgoingImage};
use rondel_registry::{RegistryConfig, RegistryEnvironment};

use crate::fake::{Asked, Fake, Served, status};
use crate::fixtures::*;

/// Events, as they came.
#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Sink for Heard {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

fn see_other(code: u16, location: &str) -> Response {
    Response::builder().status(code).header("location", location).body(Body::empty()).unwrap()
}

/// Serves `app`; takes everything for `other`, after having failed once in the middle.
fn answer(served: &Served, asked: &Asked) -> Response {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/v2/other/blobs/uploads/") if asked.query.contains("mount=") => status(201),
        ("POST", "/v2/other/blobs/uploads/") => see_other(202, "up?a=b"),
        ("PUT", "/v2/other/blobs/uploads/up") if asked.before == 0 => status(500),
        ("PUT", path) if path.starts_with("/v2/other/") => status(201),
        ("HEAD", _) => status(404),
        _ => served.answer(asked),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_mounted_and_failures_repeated() {
    let served = Served::new();
    let fake = Fake::start(move |asked| answer(&served, asked)).await;
    let folder = tempfile::tempdir().unwrap();
    let registry = plain();
    let from = reference(&format!("{}/app", fake.address));
    let found = registry.resolve(&from, &platform("linux/amd64"), true, None).await.unwrap();
    let path = folder.path().join("layer");
    registry.fetch(&found, &found.layers[0], &path, None, &Emitter::nowhere()).await.unwrap();
    let heard = Arc::new(Heard::default());
    let image = OutgoingImage {
        config: found.config.get().as_bytes().to_vec(),
        platform: found.platform.clone(),
        layers: vec![(found.layers[0].clone(), path)],
        annotations: Vec::new(),
    };
    let to = reference(&format!("{}/other:1", fake.address));
    let span = Emitter::new(heard.clone()).span(Work::Push, "push");
    registry.push(&to, vec![image], MediaTypes::Oci, None, span.emitter()).await.unwrap();
    drop(span);
    let count = |line: &str| fake.log().iter().filter(|l| *l == line).count();
    assert_eq!(count("PUT /v2/other/blobs/uploads/up"), 2, "the configuration, twice; the layer never");
    assert_eq!(count("PUT /v2/other/manifests/1"), 1);
    let events = heard.0.lock().unwrap();
    let all = found.layers[0].size + found.config.get().len() as u64;
    let progress = events.iter().rev().find(|e| matches!(e, Event::Progress { .. }));
    assert!(matches!(progress, Some(Event::Progress { done, total, .. }) if done == total && *total == all));
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_pushes_are_user_errors() {
    let folder = tempfile::tempdir().unwrap();
    let digest = format!("localhost:1/x@sha256:{}", "0".repeat(64));
    let images = || vec![image(folder.path(), "linux/amd64")];
    let error = push(&plain(), &digest, images(), MediaTypes::Oci).await.unwrap_err();
    assert!(error.to_string().contains("to a tag, not to a digest"), "{error}");
    assert_eq!(error.kind(), Kind::User);
    let offline = RegistryConfig { offline: true, ..RegistryConfig::default() };
    let offline = client(offline, RegistryEnvironment::default());
    let error = push(&offline, "localhost:1/x", images(), MediaTypes::Oci).await.unwrap_err();
    assert!(error.to_string().contains("offline"), "{error}");
}
