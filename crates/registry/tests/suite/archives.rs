//! Image archives, written and read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rondel_digest::Sha256Digest;
use rondel_fault::Result;
use rondel_ports::images::{Images as _, MediaTypes, ResolvedImage};
use rondel_ports::snapshots::Compression;
use serde_json::json;

use crate::fixtures::*;

fn read(archive: &Path, tag: &str, wanted: &str) -> Result<(ResolvedImage, Vec<PathBuf>)> {
    let scratch = tempfile::tempdir().unwrap();
    let (image, paths) = plain().read_archive(archive, tag, &platform(wanted), scratch.path())?;
    for (layer, path) in image.layers.iter().zip(&paths) {
        assert!(path.starts_with(scratch.path()));
        assert_eq!(Sha256Digest::of_bytes(&std::fs::read(path).unwrap()), layer.digest);
    }
    assert_eq!(image.layers.len(), paths.len());
    Ok((image, paths))
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for types in [MediaTypes::Oci, MediaTypes::Docker] {
        for platforms in [&["linux/amd64"][..], &["linux/amd64", "linux/arm64"]] {
            let write = |name: &str| {
                let into = folder.path().join(name);
                let images = platforms.iter().map(|p| image(folder.path(), p)).collect();
                plain().archive(images, types, &into).unwrap();
                assert_eq!(std::fs::metadata(&into).unwrap().permissions().mode() & 0o777, 0o600);
                into
            };
            let (one, two) = (write("one"), write("two"));
            let bytes = std::fs::read(&one).unwrap();
            assert!(bytes == std::fs::read(two).unwrap(), "equal images give equal bytes");
            for packing in [Compression::None, Compression::Gzip, Compression::Zstd] {
                std::fs::write(&one, packed(&bytes, packing).0).unwrap();
                for wanted in platforms {
                    let (found, _) = read(&one, "", wanted).unwrap();
                    let sent = image(folder.path(), wanted);
                    assert_eq!(found.config.get().as_bytes(), sent.config);
                    assert_eq!(found.layers, sent.layers.into_iter().map(|(l, _)| l).collect::<Vec<_>>());
                }
            }
        }
    }
}

#[test]
fn archives_are_plain() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("archive");
    plain().archive(vec![image(folder.path(), "linux/amd64")], MediaTypes::Oci, &into).unwrap();
    let mut tar = tar::Archive::new(std::fs::File::open(&into).unwrap());
    let mut names = Vec::new();
    for entry in tar.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        let mode = if header.entry_type().is_dir() { 0o755 } else { 0o644 };
        assert_eq!(header.mode().unwrap(), mode);
        names.push(entry.path().unwrap().display().to_string());
    }
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(names, sorted);
    assert!(["index.json", "manifest.json", "oci-layout"].iter().all(|n| names.contains(&(*n).to_owned())));
}

enum Entry<'a> {
    File(&'a str, Vec<u8>),
    Link(&'a str, &'a str),
}

/// Writes a tar without any of the checks of the library.
fn tar_with(folder: &Path, entries: Vec<Entry>) -> PathBuf {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let (name, content) = match &entry {
            Entry::File(name, content) => (*name, content.as_slice()),
            Entry::Link(name, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
                (*name, &[][..])
            }
        };
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }
    let path = folder.join("made.tar");
    std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
    path
}

fn saved(folder: &Path, tags: serde_json::Value) -> Vec<Entry<'static>> {
    let layers = vec![layer(folder, b"one", Compression::None), layer(folder, b"two", Compression::None)];
    let config = config(&platform("linux/amd64"), &layers);
    let content = |n: usize| std::fs::read(&layers[n].1).unwrap();
    let list = json!([{ "Config": "c.json", "RepoTags": tags, "Layers": ["a/layer.tar", "b/layer.tar"] }]);
    vec![
        Entry::File("a/layer.tar", content(0)),
        Entry::File("d/layer.tar", content(1)),
        Entry::Link("b/layer.tar", "../d/layer.tar"),
        Entry::File("c.json", config),
        Entry::File("manifest.json", list.to_string().into_bytes()),
    ]
}

#[test]
fn the_older_form_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let archive = tar_with(folder.path(), saved(folder.path(), json!(["app:1", "app:2"])));
    for tag in ["", "1", "app:2"] {
        let (found, _) = read(&archive, tag, "linux/amd64").unwrap();
        assert_eq!(found.layers.len(), 2);
        assert_eq!(found.reference.name(), "docker.io/library/app");
        assert!(found.layers.iter().all(|l| l.digest == l.diff_id));
    }
    let error = format!("{:?}", read(&archive, "3", "linux/amd64").unwrap_err());
    assert!(error.contains("no image with the tag `3`") && error.contains("app:1, app:2"), "{error}");
    let archive = tar_with(folder.path(), saved(folder.path(), json!(null)));
    assert_eq!(read(&archive, "", "linux/arm64").unwrap().0.reference.name(), "localhost/archive");
}

#[test]
fn hostile_and_damaged_archives_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |change: &dyn Fn(&mut Vec<Entry>), want: &str| {
        let mut entries = saved(folder.path(), json!(["app:1"]));
        change(&mut entries);
        let error = read(&tar_with(folder.path(), entries), "", "linux/amd64").unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    let out = "leads out of the archive";
    check(&|e| e.push(Entry::File("../evil", vec![])), out);
    check(&|e| e.push(Entry::File("/etc/evil", vec![])), out);
    check(&|e| e.push(Entry::File("a/../../evil", vec![])), out);
    check(&|e| e.push(Entry::Link("a/link", "../../etc/passwd")), out);
    check(&|e| e.push(Entry::Link("a/link", "/etc/passwd")), out);
    check(&|e| e[2] = Entry::Link("b/layer.tar", "../b/layer.tar"), "`b/layer.tar` is missing");
    check(&|e| drop(e.remove(0)), "`a/layer.tar` is missing");
    check(&|e| e[0] = Entry::File("a/layer.tar", tar_of("file", b"other")), "is damaged");
    check(&|e| e[4] = Entry::File("manifest.json", b"{".to_vec()), "`manifest.json` is not valid");
    check(&|e| e[3] = Entry::File("c.json", b"{}".to_vec()), "no valid image configuration");
    check(&|e| e.truncate(2), "no image archive");
    check(&|e| e.push(Entry::File("index.json", b"[]".to_vec())), "`index.json` is not valid");

    let refuse = |content: &[u8], want: &str| {
        let path = folder.path().join("x");
        std::fs::write(&path, content).unwrap();
        let error = read(&path, "", "linux/amd64").unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    refuse(b"not a tar at all", "cannot read the image archive");
    refuse(&[0x1f, 0x8b, 0, 1, 2], "cannot read the image archive");
    refuse(b"", "no image archive");
    let whole = std::fs::read(tar_with(folder.path(), saved(folder.path(), json!(null)))).unwrap();
    refuse(&whole[..1000], "cannot read the image archive");
}

#[test]
fn damage_in_a_layout_archive_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("archive");
    let sent = image(folder.path(), "linux/amd64");
    let victim = sent.layers[0].1.clone();
    let mut content = std::fs::read(&victim).unwrap();
    content[600] ^= 1;
    std::fs::write(&victim, content).unwrap();
    plain().archive(vec![sent], MediaTypes::Oci, &into).unwrap();
    let error = read(&into, "", "linux/amd64").unwrap_err().to_string();
    assert!(error.contains("is damaged"), "{error}");
    let mut lost = image(folder.path(), "linux/amd64");
    lost.layers[1].1 = folder.path().join("nothing");
    assert!(plain().archive(vec![lost], MediaTypes::Oci, &into).is_err());
    assert!(!into.exists());
}
