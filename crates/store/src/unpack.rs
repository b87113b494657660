//! From a packed layer blob to a layer: decompress, verify, and write the entries in overlay form.

mod errors;
mod tree;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rondel_digest::Sha256Digest;
use rondel_fault::{Attempt, Fault, Result};
use rondel_model::LayerId;
use rondel_ports::snapshots::{Compression, Label, LayerBlob};

use crate::blobs::{self, Hashing};
use crate::layer_digest::{Times, layer_id};
use crate::layer_info::LayerInfo;
use crate::read_ahead::read_ahead;
use crate::sqlite::IndexTable;
use crate::store::Store;
use crate::tar_read::Archive;
use crate::{scan, sys};

use errors::{damaged, disk};
use tree::TreeWriter;

/// Unpacks `blob` as a layer, and keeps the blob.
pub(crate) fn unpack(store: &Store, blob: &Path, compression: Compression, expected: &LayerBlob) -> Result<LayerId> {
    let name = format!("the layer `{}`", expected.digest);
    let layer = blobs::with_scratch(store, |scratch| {
        let root_path = scratch.join("upper");
        std::fs::create_dir(&root_path).attempt(|| format!("make `{}`", root_path.display()))?;
        let root = sys::open_dir(&root_path).attempt(|| format!("open `{}`", root_path.display()))?;
        let mut tree = TreeWriter::new(&root, store.state.user_xattrs, store.options.limits);
        stream(blob, compression, expected, &mut tree)
            .map_err(|fault| fault.context(format!("cannot unpack {name}")))?;
        tree.finish().map_err(|e| disk(&format!("unpack {name}"), e))?;
        let failed = || format!("read {name} after unpacking");
        let nodes = scan::scan(&root, store.state.user_xattrs).attempt(failed)?;
        let contents = scan::hash_files(root.as_fd(), &nodes).attempt(failed)?;
        let times = Times::default();
        let layer = layer_id(&nodes, &contents, &times);
        blobs::keep(store, blob, &expected.digest)?;
        let label = Label::new("regular", "Container.from", format!("image layer {}", expected.digest));
        // It may be used in any snapshot, so it must not share inodes.
        let replaces = |there: &LayerInfo| !there.shares.is_empty();
        store.commit_layer(&layer, &root_path, scratch, LayerInfo::new(&nodes, times, label), &replaces)?;
        Ok(layer)
    })?;
    store.put_fact(IndexTable::Packed, &blobs::key_of_packed(&layer, compression), expected)?;
    store.put_fact(IndexTable::Diffs, &blobs::key_of_diff(&expected.diff_id), &layer)?;
    Ok(layer)
}

/// Reads `blob` once: its digest, the digest of the tar and the entries come from the same bytes.
fn stream(blob: &Path, compression: Compression, expected: &LayerBlob, tree: &mut TreeWriter<'_>) -> Result<()> {
    let file = File::open(blob).attempt(|| format!("open `{}`", blob.display()))?;
    let mut packed = Hashing::new(file);
    let result = unpack_from(&mut packed, compression, tree);
    io::copy(&mut packed, &mut io::sink()).attempt(|| format!("read `{}`", blob.display()))?;
    let (_, digest, size) = packed.finish();
    if size != expected.size {
        let what = if size < expected.size { "truncated" } else { "too long" };
        return Err(Fault::environment(format!("it is {what}: it has {size} bytes instead of {}", expected.size)));
    }
    if digest != expected.digest {
        return Err(Fault::environment(format!("its content has the digest `{digest}`")));
    }
    let diff_id = result?.unwrap_or(digest);
    if diff_id != expected.diff_id {
        return Err(Fault::environment(format!(
            "the archive in it has the digest `{diff_id}` instead of `{}`",
            expected.diff_id
        )));
    }
    Ok(())
}

/// Writes the entries; the digest of the tar, unless it is the packed one.
fn unpack_from(
    packed: &mut (impl Read + Send),
    compression: Compression,
    tree: &mut TreeWriter<'_>,
) -> Result<Option<Sha256Digest>> {
    let packed = BufReader::with_capacity(256 << 10, packed);
    let plain: Box<dyn Read + Send + '_> = match compression {
        Compression::None => return read_ahead(packed, |tar| write_entries(tar, tree)).map(|()| None),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(packed).map_err(damaged)?),
    };
    read_ahead(plain, |tar| {
        let mut tar = Hashing::new(tar);
        write_entries(&mut tar, tree)?;
        let (_, diff_id, _) = tar.finish();
        Ok(Some(diff_id))
    })
}

/// Reads `tar` to its end.
fn write_entries(tar: &mut impl Read, tree: &mut TreeWriter<'_>) -> Result<()> {
    let mut archive = Archive::new(BufReader::with_capacity(64 << 10, tar));
    while let Some(entry) = archive.next().map_err(damaged)? {
        tree.add(entry, &mut archive)?;
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(())
}
