//! Built-in parts of every schema: the scalars, directives and introspection types of the GraphQL
//! specification, and the extension that lists applied directives.

use std::sync::Arc;

use crate::error::GqlError;
use crate::sdl;
use crate::types::{ArgDef, DirectiveDef, FieldDef, FieldResolver, Name, Schema, TypeDef, TypeRef};

/// The introspection types. `directives` on members, with the two types behind it, is an extension
/// that code generators of official clients read.
const INTROSPECTION: &str = r#"
"The root of introspection."
type __Schema {
  description: String
  types: [__Type!]!
  queryType: __Type!
  mutationType: __Type
  subscriptionType: __Type
  directives: [__Directive!]!
}
"A type, or a wrapper around one."
type __Type {
  kind: __TypeKind!
  name: String
  description: String
  fields(includeDeprecated: Boolean = false): [__Field!]
  interfaces: [__Type!]
  possibleTypes: [__Type!]
  enumValues(includeDeprecated: Boolean = false): [__EnumValue!]
  inputFields(includeDeprecated: Boolean = false): [__InputValue!]
  ofType: __Type
  specifiedByURL: String
  isOneOf: Boolean
  directives: [_DirectiveApplication!]!
}
"What a type is made of."
enum __TypeKind {
  "A leaf." SCALAR
  "A type with fields." OBJECT
  "Fields that several types share." INTERFACE
  "One of several types." UNION
  "One of several names." ENUM
  "An argument with fields." INPUT_OBJECT
  "A list of `ofType`." LIST
  "`ofType`, never null." NON_NULL
}
"A field of an object or interface."
type __Field {
  name: String!
  description: String
  args(includeDeprecated: Boolean = false): [__InputValue!]!
  type: __Type!
  isDeprecated: Boolean!
  deprecationReason: String
  directives: [_DirectiveApplication!]!
}
"An argument, or a field of an input object."
type __InputValue {
  name: String!
  description: String
  type: __Type!
  "The default as a literal."
  defaultValue: String
  isDeprecated: Boolean!
  deprecationReason: String
  directives: [_DirectiveApplication!]!
}
"A member of an enum."
type __EnumValue {
  name: String!
  description: String
  isDeprecated: Boolean!
  deprecationReason: String
  directives: [_DirectiveApplication!]!
}
"A directive that documents or schemas may use."
type __Directive {
  name: String!
  description: String
  isRepeatable: Boolean!
  locations: [__DirectiveLocation!]!
  args(includeDeprecated: Boolean = false): [__InputValue!]!
}
"Where a directive may stand."
enum __DirectiveLocation {
  QUERY MUTATION SUBSCRIPTION FIELD FRAGMENT_DEFINITION FRAGMENT_SPREAD INLINE_FRAGMENT VARIABLE_DEFINITION
  SCHEMA SCALAR OBJECT FIELD_DEFINITION ARGUMENT_DEFINITION INTERFACE UNION ENUM ENUM_VALUE INPUT_OBJECT
  INPUT_FIELD_DEFINITION
}
"A directive applied to a member of the schema."
type _DirectiveApplication {
  name: String!
  args: [_DirectiveApplicationArg!]!
}
"An argument of an applied directive."
type _DirectiveApplicationArg {
  name: String!
  "The value as a literal."
  value: String!
}
"Text."
scalar String
"An integer of 64 bits."
scalar Int
"A floating point number."
scalar Float
"`true` or `false`."
scalar Boolean
"An opaque identifier."
scalar ID
"Leaves the selection out when `if` is true."
directive @skip(if: Boolean!) on FIELD | FRAGMENT_SPREAD | INLINE_FRAGMENT
"Leaves the selection out unless `if` is true."
directive @include(if: Boolean!) on FIELD | FRAGMENT_SPREAD | INLINE_FRAGMENT
"Marks what is no longer supported."
directive @deprecated(
  "Why, and what to use instead."
  reason: String = "No longer supported"
) on FIELD_DEFINITION | ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION | ENUM_VALUE
"#;

/// The types that every schema has, scalars included. Their fields have no resolvers of their own.
pub fn types() -> Vec<Arc<TypeDef>> {
    parsed().types.into_iter().map(|ty| Arc::new(ty.into_type(nothing))).collect()
}

/// The same as they are written, for code that builds a schema from definitions.
pub fn definitions() -> Vec<sdl::Type> {
    parsed().types
}

/// The directives that every schema has.
pub fn directives() -> Vec<Arc<DirectiveDef>> {
    parsed().directives.into_iter().map(Arc::new).collect()
}

/// A schema from a text without gates, with the built-in types added. `resolver` gives what
/// evaluates a field, from the names of its type and its own.
///
/// # Errors
/// When the text is no schema.
pub fn schema(text: &str, resolver: impl Fn(&str, &str) -> FieldResolver) -> Result<Schema, GqlError> {
    let document = sdl::parse(text)?;
    let mut schema = Schema { query: document.query.unwrap_or_else(|| Name::from("Query")), ..Schema::default() };
    schema.directives = directives();
    schema.directives.extend(document.directives.into_iter().map(Arc::new));
    let own = document.types.into_iter().map(|ty| Arc::new(ty.into_type(&resolver)));
    for ty in types().into_iter().chain(own) {
        schema.types.insert(ty.name.clone(), ty);
    }
    Ok(schema)
}

/// Whether `name` is one of the types that only introspection returns.
pub fn is_introspection(name: &str) -> bool {
    name.starts_with("__") || name == "_DirectiveApplication" || name == "_DirectiveApplicationArg"
}

/// Whether `name` is a scalar of the GraphQL specification.
pub fn is_builtin_scalar(name: &str) -> bool {
    matches!(name, "String" | "Int" | "Float" | "Boolean" | "ID")
}

/// The resolver of a field that nothing evaluates: of an interface, or of an introspection type.
pub fn nothing(_: &str, _: &str) -> FieldResolver {
    FieldResolver(Arc::new(()))
}

fn parsed() -> sdl::Document {
    // The text is a constant; the tests parse it.
    sdl::parse(INTROSPECTION).unwrap_or_default()
}

/// The fields that are selected on any type or on the root, and listed on none.
pub(crate) struct MetaFields {
    pub(crate) typename: Arc<FieldDef>,
    pub(crate) schema: Arc<FieldDef>,
    pub(crate) ty: Arc<FieldDef>,
}

/// Makes them.
pub(crate) fn meta_fields() -> MetaFields {
    let required = |name: &str| TypeRef::NonNull(Box::new(TypeRef::Named(Name::from(name))));
    let field = |name: &str, ty: TypeRef, args: Vec<Arc<ArgDef>>| {
        Arc::new(FieldDef {
            name: Name::from(name),
            description: Name::from(""),
            args,
            ty,
            deprecated: None,
            directives: Vec::new(),
            resolver: nothing("", ""),
        })
    };
    let name = ArgDef {
        name: Name::from("name"),
        description: Name::from(""),
        ty: required("String"),
        default: None,
        deprecated: None,
        directives: Vec::new(),
        hidden: false,
    };
    MetaFields {
        typename: field("__typename", required("String"), Vec::new()),
        schema: field("__schema", required("__Schema"), Vec::new()),
        ty: field("__type", TypeRef::Named(Name::from("__Type")), vec![Arc::new(name)]),
    }
}
