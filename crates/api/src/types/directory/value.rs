//! Directories as values of the API.

use rondel_fault::{Fault, Result};
use rondel_model::{Directory, Fs, Value};
use rondel_query::Node;

/// The type's name.
pub(super) const TYPE: &str = "Directory";

/// A directory as a value of the API.
pub fn value(directory: Directory) -> Value {
    Value::object(TYPE, directory)
}

/// The receiver's directory, for a field that evaluates it.
///
/// # Errors
/// When the directory has an error.
pub(crate) fn of(node: &Node) -> Result<&Directory> {
    let directory = node.get::<Directory>()?;
    match &directory.error {
        Some(error) => Err(Fault::user(&**error)),
        None => Ok(directory),
    }
}

/// The directory with its tree changed.
pub(super) fn on(directory: &Directory, change: impl FnOnce(Fs) -> Fs) -> Directory {
    let mut directory = directory.clone();
    directory.place.fs = change(directory.place.fs);
    directory
}
