//! Writing image archives: an OCI layout in a tar whose bytes depend on the images alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rondel_digest::Sha256Digest;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_ports::images::{MediaTypes, OutgoingImage};
use serde_json::json;

use crate::manifest;
use crate::push::documents;

enum ArchiveEntry {
    Directory,
    Memory(Vec<u8>),
    File(PathBuf, u64),
}

/// Writes `images` to the file `into`, with access for the owner only.
pub(crate) fn write(images: &[OutgoingImage], media_types: MediaTypes, into: &Path) -> Result<()> {
    let entries = entries(images, media_types)?;
    let attempted = || format!("write the image archive `{}`", into.display());
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(into).attempt(attempted)?;
    let written = write_entries(&entries, file).attempt(attempted);
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(into);
    }
    written
}

/// What the archive holds, by path.
fn entries(images: &[OutgoingImage], media_types: MediaTypes) -> Result<BTreeMap<String, ArchiveEntry>> {
    let (manifests, root) = documents(images, media_types)?;
    let mut entries = BTreeMap::from([
        ("blobs/".to_owned(), ArchiveEntry::Directory),
        ("blobs/sha256/".to_owned(), ArchiveEntry::Directory),
    ]);
    let blob = |digest: Sha256Digest| format!("blobs/sha256/{}", digest.hex());
    for image in images {
        entries.insert(blob(Sha256Digest::of_bytes(&image.config)), ArchiveEntry::Memory(image.config.clone()));
        for (layer, path) in &image.layers {
            entries.insert(blob(layer.digest), ArchiveEntry::File(path.clone(), layer.size));
        }
    }
    for manifest in manifests.into_iter().chain([root.clone()]) {
        entries.insert(blob(manifest.digest), ArchiveEntry::Memory(manifest.bytes));
    }
    let descriptor = match images {
        [one] => manifest::for_image(root.descriptor, one, media_types),
        _ => root.descriptor,
    };
    let index = manifest::write_index(vec![descriptor], MediaTypes::Oci)?;
    entries.insert("index.json".into(), ArchiveEntry::Memory(index.bytes));
    entries.insert("oci-layout".into(), ArchiveEntry::Memory(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    if let [one] = images {
        let layers: Vec<String> = one.layers.iter().map(|(layer, _)| blob(layer.digest)).collect();
        let config = blob(Sha256Digest::of_bytes(&one.config));
        let list = json!([{ "Config": config, "RepoTags": null, "Layers": layers }]);
        let list =
            serde_json::to_vec(&list).map_err(|e| Fault::bug("a manifest list could not be written").caused_by(e))?;
        entries.insert("manifest.json".into(), ArchiveEntry::Memory(list));
    }
    Ok(entries)
}

fn write_entries(entries: &BTreeMap<String, ArchiveEntry>, file: File) -> io::Result<()> {
    let mut tar = tar::Builder::new(BufWriter::with_capacity(1 << 18, file));
    for (path, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let (kind, mode, size) = match content {
            ArchiveEntry::Directory => (tar::EntryType::Directory, 0o755, 0),
            ArchiveEntry::Memory(bytes) => (tar::EntryType::Regular, 0o644, bytes.len() as u64),
            ArchiveEntry::File(_, size) => (tar::EntryType::Regular, 0o644, *size),
        };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        match content {
            ArchiveEntry::Directory => tar.append_data(&mut header, path, io::empty())?,
            ArchiveEntry::Memory(bytes) => tar.append_data(&mut header, path, bytes.as_slice())?,
            ArchiveEntry::File(from, size) => {
                let blob = File::open(from)?;
                if blob.metadata()?.len() != *size {
                    return Err(io::Error::other(format!("`{}` has not the size that the image says", from.display())));
                }
                tar.append_data(&mut header, path, blob.take(*size))?;
            }
        }
    }
    tar.into_inner()?.flush()
}
