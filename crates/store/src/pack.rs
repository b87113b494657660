//! From a layer to a blob. The bytes depend on the layer and the compression only.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use gzp::deflate::Gzip;
use gzp::par::compress::{ParCompress, ParCompressBuilder};
use gzp::{GzpError, ZWriter as _};
use rondel_digest::Sha256Digest;
use rondel_fault::{Attempt, Fault, Result};
use rondel_model::LayerId;
use rondel_ports::snapshots::{Compression, LayerBlob};
use rustix::fs::OFlags;

use crate::blobs::{self, Hashing};
use crate::scan::{self, Node, NodeKind};
use crate::sqlite::IndexTable;
use crate::store::Store;
use crate::tar_write::{self, Header};
use crate::{layer_digest, sys};

/// What one thread packs at a time, in bytes.
const GZIP_BLOCK: usize = 1 << 20;

/// The blob of `layer`, made when there is none yet.
pub(crate) fn pack(store: &Store, layer: &LayerId, compression: Compression) -> Result<(LayerBlob, PathBuf)> {
    let key = blobs::key_of_packed(layer, compression);
    if let Some(blob) = store.get_fact::<LayerBlob>(IndexTable::Packed, &key)
        && let Some(path) = blobs::find(store, &blob.digest)
    {
        return Ok((blob, path));
    }
    let name = layer.0.short();
    let root = store.layer_root(layer)?;
    let nodes = scan::scan(&root, store.state.user_xattrs).attempt(|| format!("read the layer `{name}`"))?;
    let (blob, path) = blobs::with_scratch(store, |scratch| {
        let temp = scratch.join("blob");
        let (digest, size, diff_id) =
            write_blob(&temp, root.as_fd(), &nodes, compression).attempt(|| format!("pack the layer `{name}`"))?;
        blobs::adopt(store, &temp, &digest, size)?;
        let blob = LayerBlob { digest, size, diff_id, media_type: compression.oci_media_type().to_owned() };
        Ok((blob, blobs::path_of(store, &digest)))
    })?;
    store.put_fact(IndexTable::Packed, &key, &blob)?;
    if store.get_fact::<LayerId>(IndexTable::Diffs, &blobs::key_of_diff(&blob.diff_id)).is_none() {
        store.put_fact(IndexTable::Diffs, &blobs::key_of_diff(&blob.diff_id), layer)?;
    }
    Ok((blob, path))
}

type Written = (Sha256Digest, u64, Sha256Digest);

fn write_blob(path: &Path, root: BorrowedFd<'_>, nodes: &[Node], compression: Compression) -> io::Result<Written> {
    let packed = Hashing::new(BufWriter::with_capacity(256 << 10, File::create_new(path)?));
    let (packed, diff_id) = match compression {
        Compression::None => write_tar(packed, root, nodes)?,
        Compression::Gzip => {
            let bytes: u64 = nodes.iter().map(|node| node.size).sum();
            let (mut gzip, diff_id) = write_tar(gzip(packed, bytes)?, root, nodes)?;
            (gzip.finish().map_err(plain)?, diff_id)
        }
        Compression::Zstd => {
            let (zstd, diff_id) = write_tar(zstd::stream::write::Encoder::new(packed, 3)?, root, nodes)?;
            (zstd.finish()?, diff_id)
        }
    };
    let (file, digest, size) = packed.finish();
    file.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok((digest, size, diff_id))
}

/// Packs in as many threads as there are processors and blocks. Each block is packed by itself, so
/// what comes out is the same for any number of threads: one stream, and hardly larger than if one
/// thread had made it.
fn gzip<W: Write + Send + 'static>(out: W, bytes: u64) -> io::Result<ParCompress<'static, Gzip, W>> {
    let blocks = usize::try_from(bytes / GZIP_BLOCK as u64).unwrap_or(usize::MAX).saturating_add(1);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(blocks);
    let gzip = ParCompressBuilder::new().buffer_size(GZIP_BLOCK).and_then(|builder| builder.num_threads(threads));
    Ok(gzip.map_err(plain)?.compression_level(flate2::Compression::new(6)).from_writer(out))
}

/// A full disk stays a full disk.
fn plain(error: GzpError) -> io::Error {
    match error {
        GzpError::Io(error) => error,
        other => io::Error::other(other),
    }
}

fn write_tar<W: Write>(out: W, root: BorrowedFd<'_>, nodes: &[Node]) -> io::Result<(W, Sha256Digest)> {
    let links = layer_digest::link_targets(nodes);
    let names: HashMap<usize, &[u8]> = links.iter().map(|(at, first)| (*at, nodes[*first].path.as_slice())).collect();
    let mut out = Hashing::new(out);
    for (index, node) in nodes.iter().enumerate() {
        write_node(&mut out, root, node, names.get(&index).copied())?;
    }
    tar_write::finish(&mut out)?;
    let (out, diff_id, _) = out.finish();
    Ok((out, diff_id))
}

fn write_node(out: &mut impl Write, root: BorrowedFd<'_>, node: &Node, link: Option<&[u8]>) -> io::Result<()> {
    let mut header = Header {
        name: node.path.clone(),
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        mtime: node.mtime,
        device: node.device,
        link: &node.target,
        xattrs: node.xattrs.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect(),
        ..Header::default()
    };
    if let Some(first) = link {
        let header = Header { kind: b'1', link: first, xattrs: Vec::new(), ..header };
        return tar_write::write_header(out, &header);
    }
    header.kind = match node.kind {
        NodeKind::File => b'0',
        NodeKind::Symlink => b'2',
        NodeKind::Char => b'3',
        NodeKind::Block => b'4',
        NodeKind::Dir => b'5',
        NodeKind::Fifo => b'6',
        NodeKind::Socket => return Ok(()),
        NodeKind::Whiteout => {
            return write_mark(out, scan::parent(&node.path), &[b".wh.", scan::base_name(&node.path)].concat());
        }
    };
    if node.kind == NodeKind::Dir {
        header.name = if node.path.is_empty() { b"./".to_vec() } else { scan::join(&node.path, b"") };
        tar_write::write_header(out, &header)?;
        return if node.opaque { write_mark(out, &node.path, b".wh..wh..opq") } else { Ok(()) };
    }
    if node.kind != NodeKind::File {
        return tar_write::write_header(out, &header);
    }
    header.size = node.size;
    tar_write::write_header(out, &header)?;
    let file = File::from(sys::open_below(root, &node.path, OFlags::RDONLY)?);
    let copied = io::copy(&mut file.take(node.size), out)?;
    if copied != node.size {
        return Err(io::Error::other(Fault::bug(format!(
            "`{}` changed inside a layer",
            String::from_utf8_lossy(&node.path)
        ))));
    }
    tar_write::pad(out, node.size)
}

fn write_mark(out: &mut impl Write, dir: &[u8], name: &[u8]) -> io::Result<()> {
    let header = Header { name: scan::join(dir, name), kind: b'0', ..Header::default() };
    tar_write::write_header(out, &header)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_told_wherever_it_shows() {
        for bytes in [10, 40 * GZIP_BLOCK] {
            let mut out = gzip(Full, bytes as u64).expect("starts");
            let written = io::copy(&mut io::repeat(7).take(bytes as u64), &mut out);
            let told = written.map(drop).and_then(|()| out.finish().map(drop).map_err(plain));
            assert_eq!(told.expect_err("fails").kind(), io::ErrorKind::StorageFull, "{bytes}");
        }
    }
}
