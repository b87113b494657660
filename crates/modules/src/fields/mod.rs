//! The API of modules and types, registered on the surface of the core.

mod current_module;
mod current_type_defs;
mod edit_source;
mod function_call;
mod functions;
mod module;
mod source;
mod typedefs;
mod up;
mod workspace;

use std::sync::Arc;

use rondel_api::Surface;
use rondel_fault::Result;
use rondel_model::Value;
use rondel_query::{Args, Outcome};
use rondel_version::View;

use crate::load::modules::Modules;
use crate::typedef::builder::Annotations;
use crate::typedef::type_def::SourceMap;

pub(crate) use functions::GeneratedCode;
pub(crate) use workspace::value as workspace_value;

/// Registers everything that concerns modules.
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

/// Text that may be missing.
fn optional(text: Option<&str>) -> Value {
    text.map_or(Value::Null, Value::string)
}

/// Views before this one say nowhere where later ones say null.
const NULL_PLACES_SINCE: View = View::new(0, 19, 0);

/// Registers the field `sourceMap` of `type_name`.
fn source_map_field<T>(surface: &mut Surface, type_name: &str, place: fn(&T) -> Option<&SourceMap>)
where
    T: Send + Sync + 'static,
{
    surface.field(type_name, "sourceMap", move |cx, node, _| {
        let nowhere = (cx.view < NULL_PLACES_SINCE).then(SourceMap::default);
        let value = node.get::<T>().map(|it| {
            let place = place(it).cloned().or(nowhere);
            place.map_or(Value::Null, |place| Value::object("SourceMap", place))
        });
        std::future::ready(value.map(Outcome::from))
    });
}

/// Documentation, place and deprecation, as far as the field has arguments for them.
async fn annotations(args: &Args) -> Result<Annotations> {
    let place = match args.field().arg("sourceMap") {
        Some(_) => args.opt_object("sourceMap").await?,
        None => None,
    };
    Ok(Annotations {
        description: args.opt_str("description")?.unwrap_or_default().to_string(),
        source_map: place.map(|node| node.get::<SourceMap>().cloned()).transpose()?,
        deprecated: match args.field().arg("deprecated") {
            Some(_) => args.opt_str("deprecated")?.map(|reason| reason.to_string()),
            None => None,
        },
    })
}
