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

/// A directory to evaluate something of.
pub(crate) fn of(node: &Node) -> Result<&Directory> {
    let directory = node.get::<Directory>()?;
    match &directory.error {
        Some(error) => Err(Fault::user(&**error)),
        None => Ok(directory),
    }
}

/// The same place in a changed tree.
pub(super) fn on(directory: &Directory, change: impl FnOnce(Fs) -> Fs) -> Directory {
    let mut directory = directory.clone();
    directory.place.fs = change(directory.place.fs);
    directory
}
