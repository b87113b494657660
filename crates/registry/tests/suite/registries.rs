//! Against `docker-registry`: anonymous, with passwords, with TLS.

use std::net::TcpStream;
use std::sync::Arc;

use rondel_digest::Digest;
use rondel_fault::{Attempt as _, Fault, Kind as FaultKind};
use rondel_ports::images::{Credentials, Images as _, MediaTypes};
use rondel_ports::network::{Dial, Host};
use rondel_registry::{Mirror, MirrorLocation, RegistryConfig, RegistryEnvironment};
use rondel_web::ProxyEnvironment;

use crate::fixtures::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_pulled() {
    let server = RealRegistry::start(Kind::default());
    let folder = tempfile::tempdir().unwrap();
    let registry = plain();
    for (types, tag) in [(MediaTypes::Oci, "oci"), (MediaTypes::Docker, "docker")] {
        let name = format!("{}/team/app:{tag}", server.address);
        let images = vec![image(folder.path(), "linux/amd64"), image(folder.path(), "linux/arm64")];
        let digest = push(&registry, &name, images, types).await.unwrap();
        for wanted in ["linux/amd64", "linux/arm64"] {
            let found = registry.resolve(&reference(&name), &platform(wanted), true, None).await.unwrap();
            assert_eq!(found.platform.to_string(), wanted);
            assert_eq!(found.reference.digest, Some(digest));
            assert_eq!(found.origin, format!("registry {}", server.address));
            let sent = image(folder.path(), wanted);
            assert_eq!(found.config.get().as_bytes(), sent.config);
            let layers: Vec<_> = sent.layers.into_iter().map(|(l, _)| l).collect();
            assert_eq!(found.layers, layers);
            fetch_all(&registry, &found, None).await.unwrap();
            let again = registry.resolve(&found.reference, &platform(wanted), true, None).await.unwrap();
            assert_eq!(again.manifest, found.manifest);
        }
        let error = registry.resolve(&reference(&name), &platform("linux/s390x"), true, None).await.unwrap_err();
        assert!(
            error.to_string().ends_with("for platform `linux/s390x`, only for linux/amd64, linux/arm64"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_images_are_manifests_and_pushes_are_repeatable() {
    let server = RealRegistry::start(Kind::default());
    let folder = tempfile::tempdir().unwrap();
    let registry = plain();
    let name = format!("{}/one", server.address);
    let first = push(&registry, &name, vec![image(folder.path(), "linux/arm64")], MediaTypes::Oci).await.unwrap();
    let second = push(&plain(), &name, vec![image(folder.path(), "linux/arm64")], MediaTypes::Oci).await.unwrap();
    assert_eq!(first, second);
    let found = registry.resolve(&reference(&name), &platform("linux/amd64"), false, None).await.unwrap();
    assert_eq!((found.manifest, found.platform.to_string()), (first, "linux/arm64".into()));
    let error = registry.resolve(&reference(&name), &platform("linux/amd64"), true, None).await.unwrap_err();
    assert!(error.to_string().contains("only for linux/arm64"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_images_are_user_errors() {
    let server = RealRegistry::start(Kind::default());
    let name = format!("{}/nothing:1", server.address);
    let error = plain().resolve(&reference(&name), &platform("linux/amd64"), false, None).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::User);
    assert_eq!(error.to_string(), format!("there is no image `{name}`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_inside_the_registry_is_found() {
    let server = RealRegistry::start(Kind::default());
    let folder = tempfile::tempdir().unwrap();
    let name = format!("{}/x", server.address);
    push(&plain(), &name, vec![image(folder.path(), "linux/amd64")], MediaTypes::Oci).await.unwrap();
    let registry = plain();
    let found = registry.resolve(&reference(&name), &platform("linux/amd64"), false, None).await.unwrap();
    let layer = &found.layers[0];
    let original = std::fs::read(server.blob(layer.digest)).unwrap();
    let mut wrong = original.clone();
    wrong[600] ^= 1;
    for (content, want) in [(wrong, "is damaged"), (original[..700].to_vec(), "is truncated")] {
        std::fs::write(server.blob(layer.digest), content).unwrap();
        let into = folder.path().join("into");
        let fetched = registry.fetch(&found, layer, &into, None, &rondel_events::Emitter::nowhere()).await;
        let error = fetched.unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
        assert!(!into.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_asked_for() {
    let server = RealRegistry::start(Kind { passwords: true, tls: false });
    let folder = tempfile::tempdir().unwrap();
    let registry = plain();
    let name = format!("{}/app", server.address);
    let image = || vec![image(folder.path(), "linux/amd64")];
    let target = reference(&name);
    let nowhere = rondel_events::Emitter::nowhere();

    let error = push(&registry, &name, image(), MediaTypes::Oci).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::Denied);
    assert!(error.hints().iter().any(|h| h.contains("docker login")), "{error:?}");

    let wrong = Some(Credentials { username: USER.into(), password: "hunter2".into() });
    let error = registry.push(&target, image(), MediaTypes::Oci, wrong.clone(), &nowhere).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::Denied);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");

    registry.push(&target, image(), MediaTypes::Oci, login(), &nowhere).await.unwrap();
    let found = registry.resolve(&target, &platform("linux/amd64"), false, login()).await.unwrap();
    fetch_all(&registry, &found, login()).await.unwrap();

    // What one caller may do, another one still may not.
    for credentials in [None, wrong] {
        let error = registry.resolve(&target, &platform("linux/amd64"), false, credentials).await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::Denied);
    }

    // The user's own configuration.
    let home = tempfile::tempdir().unwrap();
    let auths = serde_json::json!({ "auths": { &server.address: { "username": USER, "password": PASSWORD } } });
    std::fs::write(home.path().join("config.json"), auths.to_string()).unwrap();
    let environment = RegistryEnvironment { docker_config: Some(home.path().into()), ..RegistryEnvironment::default() };
    let registry = client(RegistryConfig::default(), environment);
    let found = registry.resolve(&target, &platform("linux/amd64"), false, None).await.unwrap();
    fetch_all(&registry, &found, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_uses_the_certificates_of_the_environment() {
    let server = RealRegistry::start(Kind { passwords: true, tls: true });
    let folder = tempfile::tempdir().unwrap();
    let environment = RegistryEnvironment {
        web: ProxyEnvironment { certificate_file: Some(server.certificate()), ..ProxyEnvironment::default() },
        ..RegistryEnvironment::default()
    };
    let registry = client(RegistryConfig::default(), environment);
    let target = reference(&format!("{}/app", server.address));
    let nowhere = rondel_events::Emitter::nowhere();
    let images = vec![image(folder.path(), "linux/amd64")];
    registry.push(&target, images, MediaTypes::Oci, login(), &nowhere).await.unwrap();
    let found = registry.resolve(&target, &platform("linux/amd64"), false, login()).await.unwrap();
    fetch_all(&registry, &found, login()).await.unwrap();
    // Without the certificate nothing is sent.
    let error = plain().resolve(&target, &platform("linux/amd64"), false, login()).await.unwrap_err();
    assert_ne!(error.kind(), FaultKind::Denied);
}

/// A host that is `server`, on `port` alone.
fn host(server: &RealRegistry, port: u16, folder: &std::path::Path) -> Host {
    let address = server.address.clone();
    let dial: Dial = Arc::new(move |asked| match asked == port {
        true => TcpStream::connect(&address).attempt(|| "connect".into()),
        false => Err(Fault::environment(format!("nobody listens on port {asked}"))),
    });
    Host { key: Digest::of_bytes(b"host"), dial, folder: folder.to_owned(), guard: Arc::new(()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_no_name_leads_to_is_a_registry() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = rondel_events::Emitter::nowhere();
    // Neither what is configured for others counts, nor that nobody else is asked.
    let mirror = Mirror { registry: None, location: MirrorLocation::Layout("/nonexistent".into()) };
    let config = RegistryConfig { mirrors: vec![mirror], offline: true, ..RegistryConfig::default() };
    for (tls, name, port) in [(false, "hub:5000/app", 5000), (true, "localhost/app", 443)] {
        let server = RealRegistry::start(Kind { passwords: true, tls });
        let certificate_file = tls.then(|| server.certificate());
        let environment = RegistryEnvironment {
            web: ProxyEnvironment { certificate_file, ..ProxyEnvironment::default() },
            ..RegistryEnvironment::default()
        };
        let registry = client(config.clone(), environment);
        let through = |port| registry.via_host(host(&server, port, folder.path()));
        let target = reference(name);
        let images = || vec![image(folder.path(), "linux/amd64")];
        let push = |port, login| {
            let (images, target, nowhere) = (images(), &target, &nowhere);
            async move { through(port).push(target, images, MediaTypes::Oci, login, nowhere).await }
        };
        assert_eq!(push(port, None).await.unwrap_err().kind(), FaultKind::Denied);
        let digest = push(port, login()).await.unwrap();
        let error = push(port + 1, login()).await.unwrap_err().full_message();
        assert!(error.contains("cannot reach the registry") && error.contains("nobody listens"), "{error}");
        let found = through(port).resolve(&target, &platform("linux/amd64"), true, login()).await.unwrap();
        assert_eq!(found.reference.digest, Some(digest));
        let into = folder.path().join("layer");
        through(port).fetch(&found, &found.layers[0], &into, login(), &nowhere).await.unwrap();
        assert!(registry.resolve(&target, &platform("linux/amd64"), true, login()).await.is_err());
    }
    // Ways are gone with who took them.
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_come_first_and_the_registry_is_the_fallback() {
    let (main, mirror) = (RealRegistry::start(Kind::default()), RealRegistry::start(Kind::default()));
    let folder = tempfile::tempdir().unwrap();
    let name = |server: &RealRegistry, tag: &str| format!("{}/app:{tag}", server.address);
    let mirrored = format!("{}/copies/app:both", mirror.address);
    push(&plain(), &name(&main, "both"), vec![image(folder.path(), "linux/amd64")], MediaTypes::Oci).await.unwrap();
    push(&plain(), &name(&main, "main"), vec![image(folder.path(), "linux/amd64")], MediaTypes::Oci).await.unwrap();
    push(&plain(), &mirrored, vec![image(folder.path(), "linux/amd64")], MediaTypes::Oci).await.unwrap();
    let url = format!("http://{}/copies", mirror.address);
    let config = RegistryConfig {
        mirrors: vec![
            Mirror { registry: Some("other.example".into()), location: MirrorLocation::Layout("/nonexistent".into()) },
            Mirror { registry: None, location: MirrorLocation::Layout("/nonexistent".into()) },
            Mirror { registry: Some(main.address.clone()), location: MirrorLocation::Url(url.clone()) },
        ],
        ..RegistryConfig::default()
    };
    let registry = client(config, RegistryEnvironment::default());
    for (tag, origin) in [("both", format!("mirror {url}")), ("main", format!("registry {}", main.address))] {
        let found =
            registry.resolve(&reference(&name(&main, tag)), &platform("linux/amd64"), true, None).await.unwrap();
        assert_eq!(found.origin, origin);
        fetch_all(&registry, &found, None).await.unwrap();
    }
}
