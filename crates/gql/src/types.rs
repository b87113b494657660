//! The type system that documents are validated against: pure data, every part shared.
//!
//! A [`Schema`] is a map of shared [`TypeDef`]s, so that a further view or a further module costs
//! only what is different in it.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::value::Value;

pub use crate::name::Name;

/// One schema: what one caller sees.
#[derive(Clone, Default)]
pub struct Schema {
    /// Every type by name, the introspection types and built-in scalars included.
    pub types: HashMap<Name, Arc<TypeDef>>,
    /// Directive definitions, in the order in which introspection lists them.
    pub directives: Vec<Arc<DirectiveDef>>,
    /// The name of the root type.
    pub query: Name,
}

/// A type.
#[derive(Clone)]
pub struct TypeDef {
    /// The name.
    pub name: Name,
    /// What people read about it; may be empty.
    pub description: Name,
    /// Its members.
    pub kind: TypeKind,
    /// Directives applied to it.
    pub directives: Vec<AppliedDirective>,
}

/// What a type is made of.
#[derive(Clone)]
pub enum TypeKind {
    /// A leaf with a text form.
    Scalar,
    /// An object.
    Object(Fields),
    /// An interface.
    Interface(Fields),
    /// An enumeration.
    Enum(Vec<Arc<EnumValue>>),
    /// An input object.
    Input(Vec<Arc<ArgDef>>),
}

/// The fields of an object or interface, in order, with an index by name.
#[derive(Clone, Default)]
pub struct Fields {
    /// In the order in which introspection lists them.
    pub list: Vec<Arc<FieldDef>>,
    /// Position in `list` by name.
    pub index: HashMap<Name, usize>,
    /// Names of the interfaces that the type implements.
    pub interfaces: Vec<Name>,
}

/// A field.
#[derive(Clone, Debug)]
pub struct FieldDef {
    /// The name.
    pub name: Name,
    /// What people read about it; may be empty.
    pub description: Name,
    /// Arguments in order.
    pub args: Vec<Arc<ArgDef>>,
    /// The type that it returns.
    pub ty: TypeRef,
    /// The reason, when it is deprecated.
    pub deprecated: Option<Name>,
    /// Directives applied to it (`expectedType`, `sourceMap`, …).
    pub directives: Vec<AppliedDirective>,
    /// What evaluates it. This crate carries it and never looks inside.
    pub resolver: FieldResolver,
}

/// What evaluates a field, opaque to this crate.
#[derive(Clone)]
pub struct FieldResolver(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for FieldResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldResolver")
    }
}

/// An argument of a field or directive, or a field of an input object.
#[derive(Clone, Debug)]
pub struct ArgDef {
    /// The name.
    pub name: Name,
    /// What people read about it; may be empty.
    pub description: Name,
    /// Its type.
    pub ty: TypeRef,
    /// The default, when there is one.
    pub default: Option<Value>,
    /// The reason, when it is deprecated.
    pub deprecated: Option<Name>,
    /// Directives applied to it.
    pub directives: Vec<AppliedDirective>,
    /// Accepted but not listed: an older or newer spelling that clients of other versions send.
    pub hidden: bool,
}

/// A member of an enumeration.
#[derive(Clone, Debug)]
pub struct EnumValue {
    /// The name.
    pub name: Name,
    /// What people read about it; may be empty.
    pub description: Name,
    /// The reason, when it is deprecated.
    pub deprecated: Option<Name>,
    /// The canonical member this one is another name for.
    pub alias_of: Option<Name>,
    /// Accepted as input, but not listed in this view.
    pub hidden: bool,
    /// Directives applied to it.
    pub directives: Vec<AppliedDirective>,
}

/// A directive definition.
#[derive(Clone, Debug)]
pub struct DirectiveDef {
    /// The name, without `@`.
    pub name: Name,
    /// What people read about it; may be empty.
    pub description: Name,
    /// Where it may stand, such as `FIELD_DEFINITION`.
    pub locations: Vec<Name>,
    /// Arguments in order.
    pub args: Vec<Arc<ArgDef>>,
}

/// A directive applied to a member of the schema.
#[derive(Clone, Debug, PartialEq)]
pub struct AppliedDirective {
    /// The name, without `@`.
    pub name: Name,
    /// Arguments in order.
    pub args: Vec<(Name, Value)>,
}

/// A reference to a type, with its wrappers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TypeRef {
    /// A nullable named type.
    Named(Name),
    /// A nullable list.
    List(Box<TypeRef>),
    /// The same, never null.
    NonNull(Box<TypeRef>),
}

impl TypeRef {
    /// The named type inside all wrappers.
    pub fn base(&self) -> &Name {
        match self {
            TypeRef::Named(name) => name,
            TypeRef::List(inner) | TypeRef::NonNull(inner) => inner.base(),
        }
    }

    /// Whether null is no value of it.
    pub fn is_non_null(&self) -> bool {
        matches!(self, TypeRef::NonNull(_))
    }

    /// The element type, when it is a list, nullable or not.
    pub fn element(&self) -> Option<&TypeRef> {
        match self {
            TypeRef::Named(_) => None,
            TypeRef::List(inner) => Some(inner),
            TypeRef::NonNull(inner) => inner.element(),
        }
    }
}

impl fmt::Display for TypeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypeRef::Named(name) => f.write_str(name),
            TypeRef::List(inner) => write!(f, "[{inner}]"),
            TypeRef::NonNull(inner) => write!(f, "{inner}!"),
        }
    }
}

impl TypeDef {
    /// The fields, when it is an object or an interface.
    pub fn fields(&self) -> Option<&Fields> {
        match &self.kind {
            TypeKind::Object(fields) | TypeKind::Interface(fields) => Some(fields),
            _ => None,
        }
    }

    /// The field called `name`.
    pub fn field(&self, name: &str) -> Option<&Arc<FieldDef>> {
        self.fields()?.get(name)
    }

    /// Whether values of it have sub-selections.
    pub fn is_composite(&self) -> bool {
        self.fields().is_some()
    }
}

impl Fields {
    /// Fields from a list; a later field of the same name replaces an earlier one in place.
    pub fn new(list: impl IntoIterator<Item = Arc<FieldDef>>, interfaces: Vec<Name>) -> Self {
        let mut fields = Fields { interfaces, ..Fields::default() };
        for field in list {
            match fields.index.get(&field.name) {
                Some(&at) => fields.list[at] = field,
                None => {
                    fields.index.insert(field.name.clone(), fields.list.len());
                    fields.list.push(field);
                }
            }
        }
        fields
    }

    /// The field called `name`.
    pub fn get(&self, name: &str) -> Option<&Arc<FieldDef>> {
        self.index.get(name).map(|&at| &self.list[at])
    }
}

impl FieldDef {
    /// Whether introspection lists it. A name that starts with two underscores may be selected
    /// only: clients refuse to read a schema that lists one.
    pub fn is_listed(&self) -> bool {
        !self.name.starts_with("__")
    }

    /// The argument called `name`.
    pub fn arg(&self, name: &str) -> Option<&Arc<ArgDef>> {
        self.args.iter().find(|arg| &*arg.name == name)
    }

    /// What the field says about the object type its ID values stand for (`@expectedType`).
    pub fn expected_type(&self) -> Option<&str> {
        expected_type(&self.directives)
    }
}

impl ArgDef {
    /// The object type that an ID argument expects (`@expectedType`).
    pub fn expected_type(&self) -> Option<&str> {
        expected_type(&self.directives)
    }
}

fn expected_type(directives: &[AppliedDirective]) -> Option<&str> {
    let found = directives.iter().find(|d| &*d.name == "expectedType")?;
    match &found.args.first()?.1 {
        Value::String(name) => Some(name),
        _ => None,
    }
}
