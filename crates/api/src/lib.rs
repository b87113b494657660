//! The GraphQL surface of the core API: one thin file per type, registered on one schema text.
//! *Invariants.* A handler takes values and returns values. Work on a disk, a network or a process
//! is an op inside a value, or a call of `rondel_ops`. The names, arguments, defaults, versions and
//! cache scopes of all fields are in `schema/core.graphql` and nowhere else. The plaintext of a
//! secret never becomes part of a call. A field of the schema text without a handler stays in the
//! schema and fails as not supported.

mod command;
mod credentials;
mod dockerfile;
pub mod dotenv;
mod edit;
mod entitlement_seal;
mod expand;
mod host_path;
mod image_config;
mod image_store;
mod inputs;
mod inspect;
mod json_text;
mod locate;
pub mod providers;
mod select;
pub mod types;

use rondel_fault::Result;
use rondel_schema::{Registry, RegistryBuilder};

pub use rondel_surface::{Surface, legacy_load};

/// The schema text of the core API, with the versions of every member.
pub fn core_sdl() -> &'static str {
    include_str!("../schema/core.graphql")
}

/// Registers all fields of the core API that this crate implements: all but those of modules.
pub fn register_core(surface: &mut Surface) {
    types::query::register(surface);
    types::error::register(surface);
    types::address::register(surface);
    types::cache_volume::register(surface);
    types::changeset::register(surface);
    types::container::register(surface);
    types::directory::register(surface);
    types::env_file::register(surface);
    types::engine::register(surface);
    types::file::register(surface);
    types::git::register(surface);
    types::host::register(surface);
    types::http::register(surface);
    types::json_value::register(surface);
    types::search::register(surface);
    types::secret::register(surface);
    types::service::register(surface);
    types::plain_objects::register(surface);
    types::socket::register(surface);
    types::terminal::register(surface);
    types::tunnel::register(surface);
}

/// The registry of the core schema text with the resolvers of `surface`.
///
/// # Errors
/// When the surface holds a field that the schema text does not have.
pub fn registry(surface: &Surface) -> Result<Registry> {
    let mut builder: RegistryBuilder = Registry::from_sdl(core_sdl())?;
    surface.attach(&mut builder)?;
    Ok(builder.finish(Some(legacy_load())))
}
