//! `Query.currentTypeDefs`: the schema of the client as type definitions.

use std::collections::HashMap;
use std::sync::Arc;

use rondel_fault::Result;
use rondel_gql::Value as Constant;
use rondel_gql::types::{AppliedDirective, ArgDef, FieldDef as Field, Schema, TypeDef as Type, TypeKind, TypeRef};
use rondel_model::Value;
use rondel_module_model::typedef::type_def::{
    EnumDef, EnumMember, FieldDef, Function, FunctionArg, InputDef, InterfaceDef, ObjectDef, ScalarDef, TypeDef,
    TypeDefKind,
};
use rondel_query::Outcome;
use rondel_session::{Args, ResolverContext, client};
use rondel_surface::Surface;

use super::typedefs::value;
use crate::load::modules::Modules;

pub(super) fn register(surface: &mut Surface, modules: &Arc<Modules>) {
    let modules = modules.clone();
    surface.field("Query", "currentTypeDefs", move |cx: ResolverContext, _, args| {
        let listed = current(&modules, &cx, &args);
        async move { listed }
    });
}

fn current(modules: &Modules, cx: &ResolverContext, args: &Args) -> Result<Outcome> {
    let (all, hide_core) = (args.bool("returnAllTypes")?, args.bool("hideCore")?);
    let schema = cx.caller.schema();
    let me = client(&cx.caller);
    let (view, shown) = modules.visible(me, cx.caller.view);
    let mut owners = HashMap::new();
    for served in &shown {
        let schema = modules.schema_of(&served.module);
        owners.extend(schema.types.iter().map(|ty| (ty.name.to_string(), served.module.clone())));
    }
    let listing = Listing { schema: &schema, owners };
    let core = me.services.registry.project(view);
    let mut types: Vec<&Arc<Type>> = schema.types.values().collect();
    types.sort_by(|a, b| a.name.cmp(&b.name));
    let mut found = Vec::new();
    for ty in types {
        let own = listing.owners.contains_key(&*ty.name);
        let wanted = own || ty.name == schema.query || all || !hide_core;
        if !wanted || ty.name.starts_with("__") || ty.name.ends_with("ID") && matches!(ty.kind, TypeKind::Scalar) {
            continue;
        }
        let hidden = (hide_core && ty.name == schema.query).then(|| core.types.get(&schema.query)).flatten();
        if let Some(def) = listing.definition(ty, hidden) {
            found.push(value(def));
        }
    }
    Ok(Value::List(found.into()).into())
}

struct Listing<'a> {
    schema: &'a Schema,
    owners: HashMap<String, Arc<rondel_module_model::loaded_module::Module>>,
}

impl Listing<'_> {
    fn owner(&self, name: &str) -> String {
        self.owners.get(name).map(|module| module.name().to_owned()).unwrap_or_default()
    }

    /// The definition of `ty`, without the fields that `hidden` has too.
    fn definition(&self, ty: &Type, hidden: Option<&Arc<Type>>) -> Option<TypeDef> {
        let name = ty.name.to_string();
        if let Some(module) = self.owners.get(&name) {
            let own = (module.types.object(&name).cloned().map(TypeDefKind::Object))
                .or_else(|| module.types.interface(&name).cloned().map(TypeDefKind::Interface))
                .or_else(|| module.types.enumeration(&name).cloned().map(TypeDefKind::Enum));
            return own.map(TypeDef::of);
        }
        let description = ty.description.to_string();
        let original = name.clone();
        let source_module = String::new();
        let shown = |field: &&Arc<Field>| {
            !field.name.starts_with('_')
                && hidden.is_none_or(|core| core.field(&field.name).is_none_or(|known| !same(known, field)))
        };
        Some(TypeDef::of(match &ty.kind {
            TypeKind::Object(fields) => {
                let functions = fields.list.iter().filter(shown).map(|field| self.function(field)).collect();
                TypeDefKind::Object(Arc::new(ObjectDef {
                    name,
                    original,
                    description,
                    functions,
                    source_module,
                    ..ObjectDef::default()
                }))
            }
            TypeKind::Interface(fields) => {
                let functions = fields.list.iter().map(|field| self.function(field)).collect();
                TypeDefKind::Interface(Arc::new(InterfaceDef {
                    name,
                    original,
                    description,
                    functions,
                    source_map: None,
                    source_module,
                }))
            }
            TypeKind::Enum(members) => {
                let members = members.iter().filter(|member| !member.hidden).map(|member| EnumMember {
                    name: member.name.to_string(),
                    original: member.name.to_string(),
                    value: member.alias_of.as_ref().unwrap_or(&member.name).to_string(),
                    description: member.description.to_string(),
                    source_map: None,
                    deprecated: member.deprecated.as_deref().map(ToOwned::to_owned),
                });
                TypeDefKind::Enum(Arc::new(EnumDef {
                    name,
                    original,
                    description,
                    members: members.collect(),
                    source_map: None,
                    source_module,
                }))
            }
            TypeKind::Input(fields) => {
                let fields = fields.iter().filter(|field| !field.hidden).map(|field| FieldDef {
                    name: field.name.to_string(),
                    original: field.name.to_string(),
                    description: field.description.to_string(),
                    type_def: self.type_def(&field.ty, field.expected_type()),
                    ..FieldDef::default()
                });
                TypeDefKind::Input(Arc::new(InputDef { name, fields: fields.collect() }))
            }
            TypeKind::Scalar => match &*name {
                "String" | "Int" | "Float" | "Boolean" | "Void" => return None,
                _ => TypeDefKind::Scalar(Arc::new(ScalarDef { name, description, source_module })),
            },
        }))
    }

    fn function(&self, field: &Field) -> Arc<Function> {
        let constructor =
            |module: &Arc<rondel_module_model::loaded_module::Module>| module.constructor_name() == *field.name;
        Arc::new(Function {
            name: field.name.to_string(),
            original: field.name.to_string(),
            description: field.description.to_string(),
            args: field.args.iter().filter(|arg| !arg.hidden).map(|arg| self.argument(arg)).collect(),
            returns: self.type_def(&field.ty, (*field.name != *"id").then(|| field.expected_type()).flatten()),
            deprecated: field.deprecated.as_deref().map(ToOwned::to_owned),
            source_module: self
                .owners
                .values()
                .find(|module| constructor(module))
                .map(|module| module.name().to_owned())
                .unwrap_or_default(),
            ..Function::default()
        })
    }

    fn argument(&self, arg: &ArgDef) -> FunctionArg {
        let text = |directive: &str| match argument_of(&arg.directives, directive) {
            Some(Constant::String(text)) => Some(text.to_string()),
            _ => None,
        };
        let ignore = match argument_of(&arg.directives, "ignorePatterns") {
            Some(Constant::List(patterns)) => {
                patterns.iter().filter_map(Constant::as_str).map(ToOwned::to_owned).collect()
            }
            _ => Vec::new(),
        };
        FunctionArg {
            name: arg.name.to_string(),
            original: arg.name.to_string(),
            description: arg.description.to_string(),
            type_def: self.type_def(&arg.ty, arg.expected_type()),
            default_value: arg.default.as_ref().map(|value| json(value).to_string()),
            default_path: text("defaultPath"),
            default_address: text("defaultAddress"),
            ignore,
            source_map: None,
            deprecated: arg.deprecated.as_deref().map(ToOwned::to_owned),
        }
    }

    fn type_def(&self, ty: &TypeRef, expected: Option<&str>) -> TypeDef {
        let (inner, optional) = match ty {
            TypeRef::NonNull(inner) => (&**inner, false),
            other => (other, true),
        };
        let kind = match inner {
            TypeRef::List(element) => TypeDefKind::List(Arc::new(self.type_def(element, expected))),
            TypeRef::Named(name) => self.named(if &**name == "ID" { expected.unwrap_or("ID") } else { name }),
            TypeRef::NonNull(_) => TypeDefKind::Unset,
        };
        TypeDef { kind, optional }
    }

    fn named(&self, name: &str) -> TypeDefKind {
        let (own, source_module) = (name.to_owned(), self.owner(name));
        let original = own.clone();
        match (name, self.schema.types.get(name).map(|ty| &ty.kind)) {
            ("String", _) => TypeDefKind::String,
            ("Int", _) => TypeDefKind::Integer,
            ("Float", _) => TypeDefKind::Float,
            ("Boolean", _) => TypeDefKind::Boolean,
            ("Void", _) => TypeDefKind::Void,
            (_, Some(TypeKind::Object(_))) => {
                TypeDefKind::Object(Arc::new(ObjectDef { name: own, original, source_module, ..ObjectDef::default() }))
            }
            (_, Some(TypeKind::Interface(_))) => TypeDefKind::Interface(Arc::new(InterfaceDef {
                name: own,
                original,
                source_module,
                ..InterfaceDef::default()
            })),
            (_, Some(TypeKind::Enum(_))) => {
                TypeDefKind::Enum(Arc::new(EnumDef { name: own, original, source_module, ..EnumDef::default() }))
            }
            (_, Some(TypeKind::Input(_))) => TypeDefKind::Input(Arc::new(InputDef { name: own, fields: Vec::new() })),
            _ => TypeDefKind::Scalar(Arc::new(ScalarDef { name: own, ..ScalarDef::default() })),
        }
    }
}

/// Whether both are the same field of the core. A module's field may have the name of a core field.
fn same(known: &Arc<Field>, field: &Arc<Field>) -> bool {
    Arc::ptr_eq(&known.resolver.0, &field.resolver.0)
}

fn argument_of<'a>(directives: &'a [AppliedDirective], name: &str) -> Option<&'a Constant> {
    let found = directives.iter().find(|directive| &*directive.name == name)?;
    found.args.first().map(|(_, value)| value)
}

fn json(value: &Constant) -> serde_json::Value {
    match value {
        Constant::Null => serde_json::Value::Null,
        Constant::Bool(b) => (*b).into(),
        Constant::Int(i) => (*i).into(),
        Constant::Float(x) => (*x).into(),
        Constant::String(text) | Constant::Enum(text) => (**text).into(),
        Constant::List(items) => items.iter().map(json).collect(),
        Constant::Object(fields) => {
            serde_json::Value::Object(fields.iter().map(|(name, value)| (name.to_string(), json(value))).collect())
        }
    }
}
