//! Removal of trees by several threads side by side.
//!
//! Where a file system tells its disk of each block that becomes free, removing a file waits for
//! the disk, and one thread waits for one file after the other.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rondel_fault::lock;

use crate::sys;

/// The number of threads. It may exceed the number of processors, because they wait for the disk.
const REMOVERS: usize = 8;
/// Directories down to this level are shared between the threads. The tree below is removed by one
/// thread.
const SHARED_LEVELS: usize = 16;

/// Removes the trees at `paths` as far as possible. A path that is no directory is left alone.
/// Errors are not reported: the caller checks what is left. The trees must not be changed
/// meanwhile.
pub(crate) fn remove_trees(paths: impl Iterator<Item = PathBuf>) {
    let roots = paths.filter(|path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()));
    let folders = roots.map(|path| Arc::new(PendingDir { path, level: 0, _within: None })).collect();
    let work = Work { state: Mutex::new(RemovalQueue { folders, busy: 0 }), changed: Condvar::new() };
    thread::scope(|scope| {
        for _ in 1..REMOVERS {
            // Without further threads it takes longer.
            let _ = thread::Builder::new().spawn_scoped(scope, || work.run());
        }
        work.run();
    });
}

/// A directory that is removed on drop: it was listed, and all directories in it are gone.
struct PendingDir {
    path: PathBuf,
    level: usize,
    _within: Option<Arc<PendingDir>>,
}

impl Drop for PendingDir {
    // ORDER: before the fields, and so before the folder that it is in.
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

struct Work {
    state: Mutex<RemovalQueue>,
    changed: Condvar,
}

struct RemovalQueue {
    /// Directories that no thread has listed yet.
    folders: Vec<Arc<PendingDir>>,
    /// How many threads list one, and may find more.
    busy: usize,
}

impl Work {
    fn run(&self) {
        while let Some(folder) = self.take() {
            self.empty(&folder);
            drop(folder);
            self.state().busy -= 1;
            self.changed.notify_all();
        }
    }

    /// The next folder, or nothing when there will be none.
    fn take(&self) -> Option<Arc<PendingDir>> {
        let mut state = self.state();
        loop {
            if let Some(folder) = state.folders.pop() {
                state.busy += 1;
                return Some(folder);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Removes what is in a folder, and leaves the folders in it to everybody.
    fn empty(&self, folder: &Arc<PendingDir>) {
        for entry in fs::read_dir(&folder.path).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && folder.level < SHARED_LEVELS {
                let inner = PendingDir { path, level: folder.level + 1, _within: Some(folder.clone()) };
                self.state().folders.push(Arc::new(inner));
                self.changed.notify_one();
            } else {
                let _ = sys::remove_tree(&path);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, RemovalQueue> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn trees_go_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "kept").unwrap();
        let trees = ["wide", "deep", "empty"].map(|name| dir.path().join(name));
        for n in 0..40 {
            let folder = trees[0].join(format!("{n}/below"));
            fs::create_dir_all(&folder).unwrap();
            for file in ["a", "b", "c"] {
                fs::write(folder.join(file), "x").unwrap();
            }
            symlink(&outside, folder.join("out")).unwrap();
        }
        let bottom = (0..SHARED_LEVELS * 3).fold(trees[1].clone(), |path, n| path.join(n.to_string()));
        fs::create_dir_all(&bottom).unwrap();
        fs::write(bottom.join("file"), "x").unwrap();
        fs::create_dir(&trees[2]).unwrap();
        let link = dir.path().join("link");
        symlink(&outside, &link).unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();

        super::remove_trees(trees.iter().cloned().chain([link.clone(), file.clone(), dir.path().join("missing")]));

        assert_eq!(trees.map(|tree| tree.exists()), [false; 3]);
        assert!(link.is_symlink() && file.exists());
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
    }
}
