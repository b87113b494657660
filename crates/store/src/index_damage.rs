//! An index that cannot be used: what counts as that, and how it is set aside. It is only a cache,
//! so the engine starts without it, says so, and keeps what was there for inspection.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rondel_fault::{Attempt, Result};
use rusqlite::{Error, ErrorCode};

use crate::sys;

/// What SQLite appends to the name of the index for its log and its shared memory, and nothing for
/// the index itself.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];
/// Appended to the name of the index when it is set aside.
const QUARANTINE: &str = ".damaged";
/// Appended to the name of the index: a file that says why it is to be set aside when it is opened
/// the next time.
const SUSPECT: &str = ".suspect";

/// Whether `error` says that the index at `path` is damaged, and not that the disk is full, the
/// file is in use or the like.
pub(crate) fn is_damage(path: &Path, error: &Error) -> bool {
    match error {
        Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => true,
            ErrorCode::CannotOpen => PARTS.iter().any(|part| is_no_file(&with(path, part))),
            // SQLite's general error: a table or a column that is not there.
            ErrorCode::Unknown => true,
            _ => false,
        },
        Error::SqlInputError { .. }
        | Error::InvalidColumnType(..)
        | Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..) => true,
        _ => false,
    }
}

/// Gives the index at `path`, with its log, another name, which replaces an earlier one.
///
/// # Errors
/// When it cannot be renamed.
pub(crate) fn quarantine(path: &Path) -> Result<PathBuf> {
    let aside = with(path, QUARANTINE);
    for part in PARTS {
        let (from, to) = (with(path, part), with(&aside, part));
        let failed = || format!("set `{}` aside", from.display());
        sys::remove_tree(&to).attempt(failed)?;
        match fs::rename(&from, &to) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => other.attempt(failed)?,
        }
    }
    let _ = fs::remove_file(with(path, SUSPECT));
    Ok(aside)
}

/// Has the index at `path` set aside when it is opened the next time.
pub(crate) fn suspect(path: &Path, reason: &str) {
    // On a full disk it is opened again, and found damaged again.
    let _ = fs::write(with(path, SUSPECT), reason);
}

/// Why the index at `path` is to be set aside.
pub(crate) fn suspected(path: &Path) -> Option<String> {
    fs::read_to_string(with(path, SUSPECT)).ok()
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn is_no_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file())
}
