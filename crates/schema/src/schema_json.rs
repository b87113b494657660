//! The introspection file that code generators read.

use std::collections::HashSet;
use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_gql::types::{ArgDef, FieldDef, Fields, Schema, TypeDef, TypeKind, TypeRef};
use rondel_gql::{Limits, Request, prepare};
use rondel_version::View;

use crate::introspect::{introspect, text};

const QUERY: &str = r"
{
  __schema {
    queryType { name }
    mutationType { name }
    subscriptionType { name }
    types {
      kind name description
      fields(includeDeprecated: true) {
        name description
        args(includeDeprecated: true) { ...Input }
        type { ...Reference }
        isDeprecated deprecationReason
        directives { ...Applied }
      }
      inputFields(includeDeprecated: true) { ...Input }
      interfaces { ...Reference }
      enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason directives { ...Applied } }
      possibleTypes { ...Reference }
      directives { ...Applied }
    }
    directives { name description locations args(includeDeprecated: true) { ...Input } }
  }
}
fragment Input on __InputValue {
  name description type { ...Reference } defaultValue isDeprecated deprecationReason directives { ...Applied }
}
fragment Applied on _DirectiveApplication { name args { name value } }
fragment Reference on __Type {
  kind name ofType { kind name ofType { kind name ofType { kind name ofType {
    kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } }
  } } } } }
}
";

/// The introspection file of `schema`: byte for byte the same for the same schema. The types of
/// `hide`, their ID scalars and every field and argument that mentions one of them are left out.
///
/// # Errors
/// When the schema cannot be introspected.
pub fn schema_json(schema: &Schema, view: View, hide: &[&str]) -> Result<String> {
    let hidden = without(schema, hide);
    let request = Request { query: QUERY, ..Request::default() };
    let operation = prepare(&hidden, &request, &Limits::default())
        .map_err(|error| Fault::bug("cannot write the introspection file").caused_by(error))?;
    let mut out = String::from("{\"__schemaVersion\":");
    text(&mut out, &view.to_string());
    out.push_str(",\"__schema\":");
    out.push_str(&introspect(&hidden, &operation, operation.roots[0])?);
    out.push('}');
    Ok(out)
}

/// The schema without the types of `hide`, their ID scalars and what mentions them.
pub fn without(schema: &Schema, hide: &[&str]) -> Schema {
    let mut hidden: HashSet<String> = HashSet::new();
    for name in hide {
        hidden.insert((*name).to_owned());
        hidden.insert(format!("{name}ID"));
    }
    let mut left = schema.clone();
    if hide.is_empty() {
        return left;
    }
    left.types.retain(|name, _| !hidden.contains(&**name));
    for ty in left.types.values_mut() {
        if mentions(ty, &hidden) {
            strip(Arc::make_mut(ty), &hidden);
        }
    }
    left
}

fn is_hidden(ty: &TypeRef, expected: Option<&str>, hidden: &HashSet<String>) -> bool {
    hidden.contains(&**ty.base()) || expected.is_some_and(|name| hidden.contains(name))
}

fn hides_field(field: &FieldDef, hidden: &HashSet<String>) -> bool {
    is_hidden(&field.ty, field.expected_type(), hidden)
}

fn hides_arg(arg: &ArgDef, hidden: &HashSet<String>) -> bool {
    is_hidden(&arg.ty, arg.expected_type(), hidden)
}

fn mentions(ty: &TypeDef, hidden: &HashSet<String>) -> bool {
    match &ty.kind {
        TypeKind::Scalar | TypeKind::Enum(_) => false,
        TypeKind::Input(fields) => fields.iter().any(|field| hides_arg(field, hidden)),
        TypeKind::Object(fields) | TypeKind::Interface(fields) => {
            fields.interfaces.iter().any(|name| hidden.contains(&**name))
                || fields
                    .list
                    .iter()
                    .any(|field| hides_field(field, hidden) || field.args.iter().any(|arg| hides_arg(arg, hidden)))
        }
    }
}

fn strip(ty: &mut TypeDef, hidden: &HashSet<String>) {
    match &mut ty.kind {
        TypeKind::Scalar | TypeKind::Enum(_) => {}
        TypeKind::Input(fields) => fields.retain(|field| !hides_arg(field, hidden)),
        TypeKind::Object(fields) | TypeKind::Interface(fields) => {
            let mut interfaces = std::mem::take(&mut fields.interfaces);
            interfaces.retain(|name| !hidden.contains(&**name));
            let mut list = std::mem::take(&mut fields.list);
            list.retain(|field| !hides_field(field, hidden));
            for field in &mut list {
                if field.args.iter().any(|arg| hides_arg(arg, hidden)) {
                    Arc::make_mut(field).args.retain(|arg| !hides_arg(arg, hidden));
                }
            }
            *fields = Fields::new(list, interfaces);
        }
    }
}
