//! Types and their members with the versions they belong to, as plain data.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rondel_gql::types::{
    AppliedDirective, ArgDef, DirectiveDef, EnumValue, FieldDef, FieldResolver, Name, TypeDef, TypeRef,
};
use rondel_version::{Gate, View};

/// Views before this one have a scalar `FooID` and a field `loadFooFromID` for every object type
/// `Foo`.
pub const LEGACY_IDS_UNTIL: View = View::new(0, 22, 0);

/// Gives what evaluates `loadFooFromID`, from the name `Foo`.
pub type LegacyLoad = Arc<dyn Fn(&str) -> FieldResolver + Send + Sync>;

/// What results of a field are shared by; from `@scope(per:)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One result per client.
    Client,
    /// One result per session.
    Session,
    /// One result per call.
    Call,
    /// Never kept.
    Never,
}

/// The types of a closed registry.
pub(crate) struct Content {
    /// Position of the root type in `types`.
    pub(crate) query: usize,
    pub(crate) types: Vec<Entry>,
    pub(crate) directives: Vec<Arc<DirectiveDef>>,
    /// Implementing objects by interface, as positions in `types`.
    pub(crate) implementers: HashMap<usize, Vec<usize>>,
    /// Whether old views have the legacy ID surface.
    pub(crate) legacy: bool,
}

/// A type with its gate.
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) description: Name,
    pub(crate) directives: Vec<AppliedDirective>,
    pub(crate) gate: Gate,
    pub(crate) builtin: bool,
    /// Whether a view has it although nothing gives or takes it.
    pub(crate) kept: bool,
    pub(crate) kind: Kind,
    /// Definitions that were projected already, by the members that were chosen.
    pub(crate) made: Mutex<HashMap<Vec<u32>, Arc<TypeDef>>>,
    pub(crate) legacy: Option<Legacy>,
}

/// The legacy ID surface of a type.
#[derive(Clone)]
pub(crate) struct Legacy {
    pub(crate) scalar: Arc<TypeDef>,
    pub(crate) load: Arc<FieldDef>,
}

pub(crate) enum Kind {
    Scalar,
    Object(Members),
    Interface(Members),
    /// Groups of members of one name.
    Enum(Vec<Vec<Gated<Member>>>),
    /// Groups of fields of one name.
    Input(Vec<Vec<Gated<Input>>>),
}

/// The fields of an object or interface.
pub(crate) struct Members {
    pub(crate) interfaces: Vec<usize>,
    /// Groups of fields of one name.
    pub(crate) fields: Vec<Vec<Gated<Field>>>,
}

/// Something that belongs to some views.
pub(crate) struct Gated<T> {
    pub(crate) gate: Gate,
    pub(crate) it: T,
}

/// A field in one of its variants.
pub(crate) struct Field {
    /// The definition without arguments.
    pub(crate) bare: FieldDef,
    pub(crate) attached: bool,
    pub(crate) internal: bool,
    pub(crate) versioned: bool,
    pub(crate) scope: Option<Scope>,
    /// Position of the returned type.
    pub(crate) returns: usize,
    /// Groups of arguments of one name.
    pub(crate) args: Vec<Vec<Gated<Input>>>,
    /// Definitions that were projected already, by the arguments that were chosen.
    pub(crate) made: Mutex<HashMap<Vec<u32>, Arc<FieldDef>>>,
}

/// An argument or input field.
pub(crate) struct Input {
    pub(crate) def: Arc<ArgDef>,
    /// Position of its type.
    pub(crate) ty: usize,
}

/// An enum member, in both of its forms.
pub(crate) struct Member {
    pub(crate) shown: Arc<EnumValue>,
    pub(crate) hidden: Arc<EnumValue>,
}

/// The legacy ID surface of the type called `name`. `None` for private types, and for `Node`,
/// which has its own `node(id:)`.
pub(crate) fn legacy_of(name: &str, load: &LegacyLoad) -> Option<Legacy> {
    if name.starts_with('_') || name == "Node" {
        return None;
    }
    let scalar_name = Name::from(format!("{name}ID"));
    let required = |name: &Name| TypeRef::NonNull(Box::new(TypeRef::Named(name.clone())));
    let id = ArgDef {
        name: Name::from("id"),
        description: Name::from(""),
        ty: required(&scalar_name),
        default: None,
        deprecated: None,
        directives: Vec::new(),
        hidden: false,
    };
    let load = FieldDef {
        name: Name::from(format!("load{name}FromID")),
        description: Name::from(format!("Load a {name} from its ID.")),
        args: vec![Arc::new(id)],
        ty: required(&Name::from(name)),
        deprecated: None,
        directives: Vec::new(),
        resolver: load(name),
    };
    let scalar = TypeDef {
        name: scalar_name,
        description: Name::from(format!("An identifier of an object of type `{name}`.")),
        kind: rondel_gql::types::TypeKind::Scalar,
        directives: Vec::new(),
    };
    Some(Legacy { scalar: Arc::new(scalar), load: Arc::new(load) })
}
