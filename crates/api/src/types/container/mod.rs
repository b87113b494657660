//! `Container`: configuration, files, mounts and processes of a container.

mod config;
mod environment;
mod exec;
mod export;
mod files;
mod health;
mod images;
mod mounts;
mod output;
mod paths;
pub(crate) mod service;
mod value;

use rondel_surface::Surface;

pub use exec::{ExecRequest, after};
pub(crate) use value::of;
pub use value::value;

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
