//! `Directory`: a place in a tree, what is in it, and changes to it.

mod build;
mod change;
mod read;

use rondel_fault::{Fault, Result};
use rondel_model::{Directory, Fs, Value};
use rondel_query::Node;

use rondel_surface::Surface;

/// The type's name.
const TYPE: &str = "Directory";

pub(crate) fn register(surface: &mut Surface) {
    build::register(surface);
    change::register(surface);
    read::register(surface);
}

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
fn on(directory: &Directory, change: impl FnOnce(Fs) -> Fs) -> Directory {
    let mut directory = directory.clone();
    directory.place.fs = change(directory.place.fs);
    directory
}
