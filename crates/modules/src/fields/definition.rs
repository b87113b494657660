//! Fields that all type definitions share: documentation, source map, deprecation.

use rondel_fault::Result;
use rondel_model::Value;
use rondel_module_model::typedef::builder::Annotations;
use rondel_module_model::typedef::type_def::SourceMap;
use rondel_query::Outcome;
use rondel_session::Args;
use rondel_surface::Surface;
use rondel_version::View;

/// Before this version a missing source map is an empty object instead of null.
const NULL_PLACES_SINCE: View = View::new(0, 19, 0);

/// Optional text as a string or null.
pub(super) fn optional(text: Option<&str>) -> Value {
    text.map_or(Value::Null, Value::string)
}

/// Registers the field `sourceMap` of `type_name`.
pub(super) fn source_map_field<T>(surface: &mut Surface, type_name: &str, place: fn(&T) -> Option<&SourceMap>)
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

/// Reads description, source map and deprecation, as far as the field has arguments for them.
pub(super) async fn annotations(args: &Args) -> Result<Annotations> {
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
