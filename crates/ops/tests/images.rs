//! Images in and out, over the real store and a toy registry.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rondel_digest::Sha256Digest;
use rondel_model::EgressScope;
use rondel_model::image::ImageRef;
use rondel_model::op::{ImageOp, ImportOp};
use rondel_model::{Container, Fs, History, Platform};
use rondel_ops::RegistryImage;
use rondel_ports::images::{MediaTypes, ResolvedImage};
use rondel_ports::snapshots::{Compression, LayerBlobs};
use serde_json::json;
use support::*;

/// Makes an image of `files`, one layer per file, known to the toy registry under `names`.
async fn serve(from: &World, to: &World, names: &[&str], files: &[(&str, &str)]) -> ImageRef {
    let snapshot = from.ops.tree(&from.cx, &from.files(files)).await.unwrap();
    let packed = snapshot.layers().iter().map(|layer| from.store.pack(layer, Compression::Gzip).unwrap());
    let layers: Vec<_> = packed
        .map(|(blob, path)| {
            to.images.blobs.lock().unwrap().insert(blob.digest, path);
            blob
        })
        .collect();
    let manifest = Sha256Digest::of_bytes(b"manifest");
    for name in names {
        let reference: ImageRef = name.parse::<ImageRef>().unwrap().pinned(manifest);
        let image = ResolvedImage {
            reference: reference.clone(),
            origin: "toy".into(),
            manifest,
            config: serde_json::value::RawValue::from_string("{}".into()).unwrap(),
            platform: Platform::native(),
            layers: layers.clone(),
        };
        to.images.known.lock().unwrap().insert(reference.name(), image);
    }
    names[0].parse().unwrap()
}

fn image(reference: &ImageRef) -> Fs {
    Fs::from(ImageOp {
        reference: reference.clone(),
        platform: Platform::native(),
        service: None,
        egress: EgressScope::Anywhere,
    })
}

#[tokio::test]
async fn pulled_once() {
    let (builder, w) = (world(), world());
    let files = [("/a", "1"), ("/b", "2"), ("/c", "3"), ("/d", "4"), ("/e", "5")];
    let reference = serve(&builder, &w, &["r.example/one", "r.example/two"], &files).await;
    let platform = Platform::native();
    let resolved = w.ops.resolve_image(&w.cx, &RegistryImage::named(&reference), &platform, true).await.unwrap();
    assert_eq!(w.images.fetched.load(Ordering::SeqCst), 0);
    assert_eq!(w.names(&image(&resolved.reference)).await, ["a", "b", "c", "d", "e"]);
    assert_eq!(w.images.fetched.load(Ordering::SeqCst), 5);
    let again = w.restarted();
    again.ops.resolve_image(&w.cx, &RegistryImage::named(&resolved.reference), &platform, true).await.unwrap();
    again.names(&image(&resolved.reference)).await;
    assert_eq!((w.images.resolved.load(Ordering::SeqCst), w.images.fetched.load(Ordering::SeqCst)), (1, 5));
    let two: ImageRef = "r.example/two".parse().unwrap();
    let two = w.ops.resolve_image(&w.cx, &RegistryImage::named(&two), &platform, true).await.unwrap();
    assert_eq!(w.names(&image(&two.reference)).await.len(), 5);
    assert_eq!((w.images.resolved.load(Ordering::SeqCst), w.images.fetched.load(Ordering::SeqCst)), (2, 5));
    let unknown: ImageRef = "r.example/none".parse().unwrap();
    let fault = w.ops.resolve_image(&w.cx, &RegistryImage::named(&unknown), &platform, true).await.unwrap_err();
    assert!(fault.to_string().contains("not found"));
}

#[tokio::test]
async fn pushed_with_a_layer_per_step() {
    let w = world();
    let mut container = Container::scratch(Platform::native());
    let target: ImageRef = "r.example/out:1".parse().unwrap();
    let push = async |container: &Container| {
        let variants = std::slice::from_ref(container);
        w.ops.publish(&w.cx, &RegistryImage::named(&target), variants, None, MediaTypes::Oci).await.unwrap()
    };
    let empty = push(&container).await;
    container.rootfs = w.files(&[("/a", "1"), ("/b", "2"), ("/c", "3")]);
    container = container.configure(|config| config.cmd = Some(vec!["/a".into()]));
    let full = push(&container).await;
    assert_ne!(empty, full);
    assert_eq!(full, push(&container).await);
    let pushed = w.images.pushed.lock().unwrap();
    assert_eq!(pushed.iter().map(|(_, _, layers)| layers[0].len()).collect::<Vec<_>>(), [0, 3, 3]);
    let config: serde_json::Value = serde_json::from_slice(&pushed[1].1[0]).unwrap();
    assert_eq!(config["config"]["Cmd"][0], "/a");
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
    assert_eq!(config["os"], "linux");
    assert_eq!(pushed[1].2[0][0].media_type, "application/vnd.oci.image.layer.v1.tar+gzip");
}

#[tokio::test]
async fn the_history_of_the_base_is_kept() {
    let w = world();
    let target: ImageRef = "r.example/out:1".parse().unwrap();
    let mut container = Container::scratch(Platform::native());
    let configuration = async |container: &Container| -> serde_json::Value {
        let variants = std::slice::from_ref(container);
        w.ops.publish(&w.cx, &RegistryImage::named(&target), variants, None, MediaTypes::Oci).await.unwrap();
        serde_json::from_slice(&w.images.pushed.lock().unwrap().last().unwrap().1[0]).unwrap()
    };
    let ours = json!({"created": "1970-01-01T00:00:00Z", "created_by": "rondel"});
    container.rootfs = w.files(&[("/a", "1"), ("/b", "2")]);
    let mut base = configuration(&container).await;
    assert_eq!(base["history"], json!([ours, ours]));
    let (layer, empty) = (json!({"created_by": "RUN x", "comment": "c"}), json!({"empty_layer": true}));
    base["history"] = json!([layer, empty, layer, empty]);
    container.history = History::of_image(&base.to_string()).map(Arc::new);
    assert_eq!(configuration(&container).await["history"], base["history"]);
    container.rootfs = edit(&container.rootfs, write("/c", "3"));
    assert_eq!(configuration(&container).await["history"], json!([layer, empty, layer, empty, ours]));
    container.rootfs = w.files(&[("/other", "1"), ("/b", "2"), ("/c", "3")]);
    assert_eq!(configuration(&container).await["history"], json!([ours, ours, ours]));
}

#[tokio::test]
async fn archives() {
    let (builder, w) = (world(), world());
    serve(&builder, &w, &["r.example/one"], &[("/a", "1"), ("/b", "2")]).await;
    let archive = w.files(&[("/in/archive.tar", "r.example/one")]);
    let source = place(&archive, "/in/archive.tar");
    let platform = Platform::native();
    let resolved = w.ops.read_image_archive(&w.cx, &source, "", &platform).await.unwrap();
    assert_eq!(resolved.layers.len(), 2);
    let import = Fs::from(ImportOp { source: source.clone(), tag: String::new(), platform: platform.clone() });
    assert_eq!(w.names(&import).await, ["a", "b"]);
    let wrong = place(&archive, "/in/none.tar");
    let fault = w.ops.read_image_archive(&w.cx, &wrong, "", &platform).await.unwrap_err();
    assert_eq!(fault.to_string(), "/in/none.tar: no such file or directory");
    let mut container = Container::scratch(platform);
    container.rootfs = import;
    let variants = [container];
    let made = w.ops.archive(&w.cx, &variants, None, MediaTypes::Oci).await.unwrap();
    assert_eq!(w.names(&made).await, ["image.tar"]);
    let again = w.restarted().ops.archive(&w.cx, &variants, None, MediaTypes::Oci).await.unwrap();
    assert_eq!(made, again);
}
