//! The ports that a store implements.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondel_digest::{Digest, Sha256Digest};
use rondel_fault::Result;
use rondel_model::{LayerId, Snapshot};
use rondel_ports::dirs::{TempDir, TempDirs, Volumes};
use rondel_ports::index::{Index, Table};
use rondel_ports::snapshots::{Compression, LayerBlob, LayerBlobs, Layers, LinkableLayer, Snapshots, Tree, WorkTree};

use crate::sqlite::IndexTable;
use crate::store::Store;
use crate::{blobs, commit, mounts, pack, path_layers, shared_inodes, sys, unpack, volumes};

impl Snapshots for Store {
    fn view(&self, snapshot: &Snapshot) -> Result<Tree> {
        mounts::view(self, snapshot)
    }

    fn view_for_process(&self, snapshot: &Snapshot) -> Result<Tree> {
        mounts::view_for_process(self, snapshot)
    }

    fn prepare(&self, snapshot: &Snapshot) -> Result<WorkTree> {
        mounts::prepare(self, snapshot)
    }

    fn commit(&self, tree: WorkTree) -> Result<Snapshot> {
        commit::commit(self, tree)
    }

    fn abort(&self, tree: WorkTree) {
        let WorkTree { root, scratch, .. } = tree;
        drop(root);
        let _ = sys::remove_tree(&scratch);
    }

    fn touch_if_present(&self, snapshot: &Snapshot) -> bool {
        snapshot.layers().iter().all(|layer| self.touch_layer(layer).is_some())
    }

    fn contains(&self, snapshot: &Snapshot) -> bool {
        snapshot.layers().iter().all(|layer| self.inspect(layer).is_some())
    }
}

impl Layers for Store {
    fn layers_at(&self, snapshot: &Snapshot, path: &Path) -> Result<Vec<LayerId>> {
        path_layers::layers_at(self, snapshot, path)
    }

    fn linkable_layers(&self, source: &Snapshot, base: &Snapshot) -> Option<Vec<LinkableLayer>> {
        shared_inodes::linkable_layers(self, source, base)
    }
}

impl LayerBlobs for Store {
    fn unpack(&self, blob: &Path, compression: Compression, expected: &LayerBlob) -> Result<LayerId> {
        unpack::unpack(self, blob, compression, expected)
    }

    fn layer_of_diff(&self, diff_id: &Sha256Digest) -> Option<LayerId> {
        let layer: LayerId = self.get_fact(IndexTable::Diffs, &blobs::key_of_diff(diff_id))?;
        self.touch_layer(&layer).map(|_| layer)
    }

    fn pack(&self, layer: &LayerId, compression: Compression) -> Result<(LayerBlob, PathBuf)> {
        pack::pack(self, layer, compression)
    }

    fn blob(&self, digest: &Sha256Digest) -> Option<PathBuf> {
        blobs::find(self, digest)
    }

    fn put_blob(&self, digest: &Sha256Digest, content: &mut dyn Read) -> Result<PathBuf> {
        blobs::put(self, digest, content)
    }
}

impl Volumes for Store {
    fn volume(&self, name: &str) -> Result<PathBuf> {
        volumes::open(self, name)
    }
}

impl TempDirs for Store {
    fn temp_dir(&self) -> Result<TempDir> {
        self.state.scratch_dir().map(TempDir::new)
    }
}

impl Index for Store {
    fn get(&self, table: Table, key: &Digest) -> Option<Vec<u8>> {
        self.index.get(table, key)
    }

    fn put(&self, table: Table, key: &Digest, value: &[u8], expires_in: Option<Duration>) -> Result<()> {
        self.index.put(table, key, value, expires_in)
    }

    fn remove(&self, table: Table, key: &Digest) -> Result<()> {
        self.index.remove(table, key)
    }

    fn each(&self, table: Table, visit: &mut dyn FnMut(Digest, &[u8])) -> Result<()> {
        self.index.each(table, visit)
    }
}
