//! `Container`: configuration, files, mounts and processes of a container.

mod config;
mod environment;
mod exec;
mod export;
mod files;
mod health;
pub(crate) mod images;
mod mounts;
mod output;
mod paths;
pub(crate) mod service;

use rondel_fault::{Fault, Result};
use rondel_model::{Container, Value};
use rondel_query::{Node, Outcome};
use rondel_session::Args;

use rondel_surface::Surface;

pub use exec::{ExecRequest, after};

/// The type's name.
const TYPE: &str = "Container";

pub(crate) fn register(surface: &mut Surface) {
    config::register(surface);
    environment::register(surface);
    exec::register(surface);
    export::register(surface);
    files::register(surface);
    health::register(surface);
    images::register(surface);
    mounts::register(surface);
    output::register(surface);
    paths::register(surface);
    service::register(surface);
}

/// A container as a value of the API.
pub fn value(container: Container) -> Value {
    Value::object(TYPE, container)
}

/// Fails when the container was made to fail.
pub(crate) fn ready(container: &Container) -> Result<()> {
    match &container.error {
        Some(error) => Err(Fault::user(&**error)),
        None => Ok(()),
    }
}

/// A container to evaluate something of.
pub(crate) fn of(node: &Node) -> Result<&Container> {
    let container = node.get::<Container>()?;
    ready(container)?;
    Ok(container)
}

/// Registers a field that gives a changed container without looking at anything but it.
fn change(surface: &mut Surface, field: &str, change: fn(&Container, &Args) -> Result<Container>) {
    surface.plain(TYPE, field, move |container: &Container, args| change(container, args).map(value));
}

/// Registers a field that reads the configuration.
fn read(surface: &mut Surface, field: &str, read: fn(&Container, &Args) -> Result<Value>) {
    surface.plain(TYPE, field, read);
}

/// A changed container as the outcome of a handler.
fn changed(container: Container) -> Outcome {
    value(container).into()
}
