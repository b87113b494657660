//! The registry and how it is filled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use rondel_fault::{Fault, Result};
use rondel_gql::types::{
    AppliedDirective, ArgDef, DirectiveDef, EnumValue, FieldDef, FieldResolver, Name, Schema, TypeDef, TypeRef,
};
use rondel_version::{Gate, View};

use crate::project::Projection;
use crate::read;

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

/// What a registry says about a field to whoever attaches behaviour to it.
#[derive(Debug, Clone, Copy)]
pub struct FieldInfo<'r> {
    /// The type.
    pub type_name: &'r str,
    /// The field.
    pub field: &'r str,
    /// What it returns.
    pub returns: &'r TypeRef,
    /// The views it belongs to. A field that occurs several times is asked about once for each.
    pub gate: Gate,
    /// Whether its calls record the view: its meaning depends on it, or a later view lost it or one
    /// of its arguments.
    pub versioned: bool,
    /// What its results are shared by, when that is not everybody.
    pub scope: Option<Scope>,
    /// Whether only the engine itself may select it.
    pub internal: bool,
}

/// A registry that still lacks behaviour.
pub struct RegistryBuilder {
    pub(crate) query: Name,
    pub(crate) types: Vec<Entry>,
    pub(crate) index: HashMap<Name, usize>,
    pub(crate) directives: Vec<Arc<DirectiveDef>>,
}

/// Every type of the API in every version.
pub struct Registry {
    pub(crate) query: usize,
    pub(crate) types: Vec<Entry>,
    pub(crate) directives: Vec<Arc<DirectiveDef>>,
    /// Implementing objects by interface, as positions in `types`.
    pub(crate) implementers: HashMap<usize, Vec<usize>>,
    /// The views at which something changes, ascending.
    pub(crate) boundaries: Vec<View>,
    /// One projection for the views before the first boundary, one from each boundary on.
    pub(crate) projections: Vec<OnceLock<Arc<Projection>>>,
    pub(crate) legacy: bool,
    missing: Vec<String>,
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
    /// What was projected already, by what was chosen.
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
    /// What was projected already, by which arguments were chosen.
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

impl Registry {
    /// Reads a registry from schema text with gate directives: `@since(v:)`, `@until(v:)`,
    /// `@alias(of:)`, `@versioned`, `@scope(per:)`, `@hidden`, `@internal`, and on a type that
    /// nothing refers to `@kept`. None of those is shown to clients.
    ///
    /// # Errors
    /// When the text is no schema, refers to a type that it does not define, or misuses a gate
    /// directive.
    pub fn from_sdl(sdl: &str) -> Result<RegistryBuilder, Fault> {
        read::read(sdl)
    }

    /// The schema that callers of `view` see. Projected once for all views that admit the same
    /// members.
    pub fn project(&self, view: View) -> Arc<Schema> {
        self.projection(view).schema.clone()
    }

    /// The field in `view`, internal ones included.
    pub fn lookup(&self, type_name: &str, field: &str, view: View) -> Option<Arc<FieldDef>> {
        let projection = self.projection(view);
        let shown = projection.schema.types.get(type_name).and_then(|ty| ty.field(field));
        let internal = || projection.internal.get(type_name)?.get(field);
        shown.or_else(internal).cloned()
    }

    /// The fields that were dropped because nothing evaluates them, as `Type.field`, in order.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// The views at which the API changes, ascending.
    pub fn boundaries(&self) -> &[View] {
        &self.boundaries
    }

    fn projection(&self, view: View) -> &Arc<Projection> {
        let at = self.boundaries.partition_point(|boundary| *boundary <= view);
        self.projections[at].get_or_init(|| Arc::new(self.make_projection(view)))
    }
}

impl RegistryBuilder {
    /// Attaches behaviour to a field, in all its variants.
    ///
    /// # Errors
    /// When there is no such field.
    pub fn attach(&mut self, type_name: &str, field: &str, behaviour: FieldResolver) -> Result<()> {
        let mut found = false;
        self.attach_with(|info| {
            let matches = info.type_name == type_name && info.field == field;
            found |= matches;
            matches.then(|| behaviour.clone())
        });
        match found {
            true => Ok(()),
            false => Err(Fault::bug(format!(
                "cannot attach behaviour to `{type_name}.{field}`: the schema has no such field"
            ))),
        }
    }

    /// Asks `behaviour` about every field of every object; where it has an answer, that is
    /// attached.
    pub fn attach_with(&mut self, mut behaviour: impl FnMut(FieldInfo<'_>) -> Option<FieldResolver>) {
        for entry in &mut self.types {
            let Kind::Object(members) = &mut entry.kind else { continue };
            if entry.builtin {
                continue;
            }
            for variant in members.fields.iter_mut().flatten() {
                let field = &mut variant.it;
                let info = FieldInfo {
                    type_name: &entry.name,
                    field: &field.bare.name,
                    returns: &field.bare.ty,
                    gate: variant.gate,
                    versioned: field.versioned,
                    scope: field.scope,
                    internal: field.internal,
                };
                if let Some(behaviour) = behaviour(info) {
                    field.bare.behaviour = behaviour;
                    field.attached = true;
                }
            }
        }
    }

    /// Every object field of the text, with what it says about it.
    pub fn fields(&self) -> Vec<FieldInfo<'_>> {
        let mut all = Vec::new();
        for entry in self.types.iter().filter(|entry| !entry.builtin) {
            let Kind::Object(members) = &entry.kind else { continue };
            all.extend(members.fields.iter().flatten().map(|variant| FieldInfo {
                type_name: &entry.name,
                field: &variant.it.bare.name,
                returns: &variant.it.bare.ty,
                gate: variant.gate,
                versioned: variant.it.versioned,
                scope: variant.it.scope,
                internal: variant.it.internal,
            }));
        }
        all
    }

    /// Closes the registry. Object fields without behaviour are dropped; interfaces keep the fields
    /// that all their implementers have; types that nothing reaches are dropped. With
    /// `legacy_load`, views before [`LEGACY_IDS_UNTIL`] get the legacy ID surface.
    pub fn finish(mut self, legacy_load: Option<LegacyLoad>) -> Registry {
        let mut missing = Vec::new();
        for entry in self.types.iter_mut().filter(|entry| !entry.builtin) {
            let Kind::Object(members) = &mut entry.kind else { continue };
            for group in &mut members.fields {
                group.retain(|variant| {
                    if !variant.it.attached {
                        missing.push(format!("{}.{}", entry.name, variant.it.bare.name));
                    }
                    variant.it.attached
                });
            }
            members.fields.retain(|group| !group.is_empty());
        }
        missing.dedup();
        if let Some(load) = &legacy_load {
            self.add_legacy(load);
        }
        let mut implementers: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, entry) in self.types.iter().enumerate() {
            if let Kind::Object(members) = &entry.kind {
                for interface in &members.interfaces {
                    implementers.entry(*interface).or_default().push(at);
                }
            }
        }
        let boundaries = self.all_boundaries(legacy_load.is_some());
        Registry {
            query: self.index.get(&self.query).copied().unwrap_or(0),
            projections: (0..=boundaries.len()).map(|_| OnceLock::new()).collect(),
            types: self.types,
            directives: self.directives,
            implementers,
            boundaries,
            legacy: legacy_load.is_some(),
            missing,
        }
    }

    fn add_legacy(&mut self, load: &LegacyLoad) {
        let query = self.query.clone();
        let defined: Vec<bool> =
            self.types.iter().map(|entry| self.index.contains_key(format!("{}ID", entry.name).as_str())).collect();
        for (entry, defined) in self.types.iter_mut().zip(defined) {
            let composite = matches!(entry.kind, Kind::Object(_) | Kind::Interface(_));
            if composite && !entry.builtin && !defined && entry.name != query {
                entry.legacy = legacy_of(&entry.name, load);
            }
        }
    }

    fn all_boundaries(&self, legacy: bool) -> Vec<View> {
        let mut all = Vec::new();
        let mut add = |gate: &Gate| all.extend(gate.since.into_iter().chain(gate.until));
        for entry in &self.types {
            add(&entry.gate);
            match &entry.kind {
                Kind::Scalar => {}
                Kind::Object(members) | Kind::Interface(members) => {
                    for field in members.fields.iter().flatten() {
                        add(&field.gate);
                        field.it.args.iter().flatten().for_each(|arg| add(&arg.gate));
                    }
                }
                Kind::Enum(groups) => groups.iter().flatten().for_each(|member| add(&member.gate)),
                Kind::Input(groups) => groups.iter().flatten().for_each(|field| add(&field.gate)),
            }
        }
        if legacy {
            all.push(LEGACY_IDS_UNTIL);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The legacy ID surface of the type called `name`; none for private types and for `Node`, which
/// has its own `node(id:)`.
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
        behaviour: load(name),
    };
    let scalar = TypeDef {
        name: scalar_name,
        description: Name::from(format!("An identifier of an object of type `{name}`.")),
        kind: rondel_gql::types::TypeKind::Scalar,
        directives: Vec::new(),
    };
    Some(Legacy { scalar: Arc::new(scalar), load: Arc::new(load) })
}
