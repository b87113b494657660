//! A log file of bounded size: a full file is renamed, and the oldest one is removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The size at which a log file is rotated, in bytes.
pub const MAX_FILE_BYTES: u64 = 8 << 20;
/// How many rotated files are kept, as `engine.log.1` (the newest) to `engine.log.3`.
pub const MAX_ROTATED_FILES: usize = 3;

/// Called with each file that is opened.
pub type OnOpen = Box<dyn Fn(&File) + Send>;

/// A file that is rotated when it is full.
pub struct RotatingFile {
    path: PathBuf,
    max_bytes: u64,
    file: File,
    bytes: u64,
    on_open: Option<OnOpen>,
}

impl RotatingFile {
    /// Opens `path` and appends to it.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let (file, bytes) = append_to(path)?;
        Ok(Self { path: path.to_owned(), max_bytes, file, bytes, on_open: None })
    }

    /// Calls `on_open` with the present file, and with each further one after a rotation.
    pub fn follow(&mut self, on_open: OnOpen) {
        on_open(&self.file);
        self.on_open = Some(on_open);
    }

    /// Writes one line, after rotating a file that is full.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.max_bytes {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.path.exists() {
            for number in (1..MAX_ROTATED_FILES).rev() {
                // A file that is not there yet is not renamed.
                let _ = fs::rename(self.rotated(number), self.rotated(number + 1));
            }
        }
        match fs::rename(&self.path, self.rotated(1)) {
            // Renamed by an attempt that could not open the next file, or removed by someone.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        (self.file, self.bytes) = append_to(&self.path)?;
        if let Some(on_open) = &self.on_open {
            on_open(&self.file);
        }
        Ok(())
    }

    fn rotated(&self, number: usize) -> PathBuf {
        rotated(&self.path, number)
    }
}

fn rotated(path: &Path, number: usize) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(format!(".{number}"));
    path.into()
}

/// The log at `path` and its rotated files, whether they are there or not.
pub fn all_files(path: &Path) -> Vec<PathBuf> {
    std::iter::once(path.to_owned()).chain((1..=MAX_ROTATED_FILES).map(|number| rotated(path, number))).collect()
}

fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_removed_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.log");
        let mut log = RotatingFile::open(&path, 10).unwrap();
        log.write_line(b"1234567\n").unwrap();
        log.write_line(b"2345678\n").unwrap();
        fs::remove_file(&path).unwrap();
        log.write_line(b"3456789\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "3456789\n");
        assert_eq!(fs::read_to_string(folder.path().join("engine.log.1")).unwrap(), "1234567\n");
    }

    #[test]
    fn size_and_number_of_files_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path();
        let path = folder.join("engine.log");
        let mut log = RotatingFile::open(&path, 20).unwrap();
        for number in 0..20 {
            log.write_line(format!("line {number:03}\n").as_bytes()).unwrap();
        }
        drop(log);
        let mut log = RotatingFile::open(&path, 20).unwrap();
        log.write_line(b"the last\n").unwrap();
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["engine.log", "engine.log.1", "engine.log.2", "engine.log.3"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "the last\n");
        assert_eq!(fs::read_to_string(folder.join("engine.log.1")).unwrap(), "line 018\nline 019\n");
    }
}
