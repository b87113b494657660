//! GraphQL fields of modules and types, registered on the API surface.

mod current_module;
mod current_type_defs;
mod definition;
mod edit_source;
mod function_call;
mod functions;
mod module;
mod objects;
mod source;
mod typedefs;
mod up;
mod workspace;

use std::sync::Arc;

use rondel_surface::Surface;

use crate::load::modules::Modules;

/// Registers all fields that concern modules.
pub fn register_modules(surface: &mut Surface, modules: &Arc<Modules>) {
    typedefs::register(surface);
    functions::register(surface);
    module::register(surface, modules);
    up::register(surface);
    source::register(surface, modules);
    edit_source::register(surface, modules);
    function_call::register(surface);
    current_module::register(surface);
    current_type_defs::register(surface, modules);
    workspace::register(surface);
}
