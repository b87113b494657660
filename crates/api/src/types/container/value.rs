//! Containers as values of the API, and how their fields are registered.

use rondel_fault::{Fault, Result};
use rondel_model::{Container, Value};
use rondel_query::{Node, Outcome};
use rondel_session::Args;

use rondel_surface::Surface;

/// The type's name.
pub(super) const TYPE: &str = "Container";

/// A container as a value of the API.
pub fn value(container: Container) -> Value {
    Value::object(TYPE, container)
}

/// Fails with the container's error, if it has one.
pub(crate) fn ready(container: &Container) -> Result<()> {
    match &container.error {
        Some(error) => Err(Fault::user(&**error)),
        None => Ok(()),
    }
}

/// The receiver's container, for a field that evaluates it.
///
/// # Errors
/// When the container has an error.
pub(crate) fn of(node: &Node) -> Result<&Container> {
    let container = node.get::<Container>()?;
    ready(container)?;
    Ok(container)
}

/// Registers a field that changes the container and depends on nothing else.
pub(super) fn change(surface: &mut Surface, field: &str, change: fn(&Container, &Args) -> Result<Container>) {
    surface.plain(TYPE, field, move |container: &Container, args| change(container, args).map(value));
}

/// Registers a field that reads the configuration.
pub(super) fn read(surface: &mut Surface, field: &str, read: fn(&Container, &Args) -> Result<Value>) {
    surface.plain(TYPE, field, read);
}

/// A container as the outcome of a handler.
pub(super) fn changed(container: Container) -> Outcome {
    value(container).into()
}
