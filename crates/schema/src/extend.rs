//! A schema with the types of modules added.

use std::sync::Arc;

use rondel_gql::types::{FieldDef, Name, Schema, TypeDef, TypeKind};
use rondel_version::View;

use crate::entry::{LEGACY_IDS_UNTIL, LegacyLoad, legacy_of};
use crate::project::{add_legacy, add_query_fields};

/// What modules add to a schema.
#[derive(Clone, Default)]
pub struct Extension {
    /// Their types. One that the schema has already takes its place.
    pub types: Vec<Arc<TypeDef>>,
    /// Fields of the root type, such as constructors.
    pub query_fields: Vec<Arc<FieldDef>>,
    /// Objects and the interfaces that they implement as well: core objects that satisfy a module's
    /// interface.
    pub implements: Vec<(Name, Name)>,
    /// Makes the legacy ID surface of the types, in views that have it.
    pub legacy_load: Option<LegacyLoad>,
}

/// The schema `base` of `view` with `extension`; everything that stays the same is shared.
pub fn extend(base: &Arc<Schema>, view: View, extension: Extension) -> Schema {
    let mut schema = Schema::clone(base);
    let Extension { types, query_fields, implements, legacy_load } = extension;
    let load = legacy_load.filter(|_| view < LEGACY_IDS_UNTIL);
    let legacy: Vec<_> = match &load {
        Some(load) => types.iter().filter(|ty| ty.is_composite()).filter_map(|ty| legacy_of(&ty.name, load)).collect(),
        None => Vec::new(),
    };
    for ty in types {
        schema.types.insert(ty.name.clone(), ty);
    }
    for (object, interface) in implements {
        add_interface(&mut schema, &object, interface);
    }
    add_query_fields(&mut schema, query_fields);
    add_legacy(&mut schema, legacy.iter());
    schema
}

fn add_interface(schema: &mut Schema, object: &Name, interface: Name) {
    let Some(ty) = schema.types.get_mut(object) else { return };
    let known = ty.fields().is_none_or(|fields| fields.interfaces.contains(&interface));
    if known {
        return;
    }
    if let TypeKind::Object(fields) | TypeKind::Interface(fields) = &mut Arc::make_mut(ty).kind {
        fields.interfaces.push(interface);
    }
}
