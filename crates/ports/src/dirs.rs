//! Directories on the file system of the store: cache volumes and temporary directories.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rondel_fault::Result;

/// Cache volumes by name. Everything here blocks.
pub trait Volumes: Send + Sync {
    /// Returns the directory of the cache volume `name`, and creates it if it is missing.
    ///
    /// # Errors
    /// When the disk is full.
    fn volume(&self, name: &str) -> Result<PathBuf>;
}

/// Temporary directories on the file system of the store. Everything here blocks.
pub trait TempDirs: Send + Sync {
    /// Creates an empty temporary directory.
    ///
    /// What a killed engine leaves behind is removed at the next start.
    ///
    /// # Errors
    /// When the disk is full.
    fn temp_dir(&self) -> Result<TempDir>;
}

/// A directory that is removed with its content when this value is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Takes ownership of the existing directory `path`.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Creates a directory with a new name in `parent`.
    ///
    /// # Errors
    /// When the directory cannot be created.
    pub fn create_in(parent: &Path) -> io::Result<Self> {
        let mut number = 0u64;
        loop {
            let path = parent.join(number.to_string());
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(e),
            }
        }
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What remains is removed at the next start of the engine.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_directories_have_own_names_and_are_removed() {
        let parent = TempDir::new(std::env::temp_dir().join(format!("rondel-ports-{}", std::process::id())));
        fs::create_dir_all(parent.path()).expect("creates");
        let (one, other) = (TempDir::create_in(parent.path()), TempDir::create_in(parent.path()));
        let (one, other) = (one.expect("creates"), other.expect("creates"));
        assert_ne!(one.path(), other.path());
        let path = one.path().to_owned();
        fs::write(path.join("file"), "x").expect("writes");
        drop(one);
        assert!(!path.exists() && other.path().exists());
    }
}
