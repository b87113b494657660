//! Linking: turns the types that a module registers into those that are served. Names get the
//! module's name as prefix, references are resolved, and invalid types are refused.

use std::collections::HashSet;
use std::sync::Arc;

use rondel_fault::{Fault, Result};

use crate::names::{field_name, is_graphql_name, namespaced, same_type, type_name};
use crate::typedef::default_value::fitting;
use crate::typedef::external_types::{ExternalType, TypeOwner};
use crate::typedef::type_def::{
    EnumDef, FieldDef, Function, FunctionArg, InterfaceDef, ModuleTypes, ObjectDef, ScalarDef, TypeDef, TypeDefKind,
};

/// The names of a module, and the types that it can see.
pub struct LinkContext<'a> {
    /// The name in `dagger.json`.
    pub original: &'a str,
    /// The name under which it is served.
    pub name: &'a str,
    /// Looks up an external type.
    pub owner: &'a dyn Fn(&str) -> Option<ExternalType>,
}

/// The linked types.
///
/// # Errors
/// When there is no main object, a name is invalid, duplicate or reserved, a type is unknown, of
/// another kind or of another module, or a default is no value of its type.
pub fn link_types(raw: &ModuleTypes, names: &LinkContext<'_>) -> Result<ModuleTypes> {
    check_served_name(names.name)?;
    let main = type_name(names.original);
    if !raw.objects.iter().any(|object| same_type(&object.original, names.original)) {
        let found: Vec<&str> = raw.objects.iter().map(|object| &*object.original).collect();
        let found = if found.is_empty() { "none".to_owned() } else { format!("`{}`", found.join("`, `")) };
        return Err(Fault::user(format!(
            "module `{}` has no main object `{main}`; it registered: {found}",
            names.original
        ))
        .with_hint(format!("name the main class `{main}`, or change the module's name in `dagger.json`")));
    }
    let resolver = TypeLinker { raw, names };
    let types = ModuleTypes {
        description: raw.description.clone(),
        objects: raw.objects.iter().map(|def| resolver.object(def).map(Arc::new)).collect::<Result<_>>()?,
        interfaces: raw.interfaces.iter().map(|def| resolver.interface(def).map(Arc::new)).collect::<Result<_>>()?,
        enums: raw.enums.iter().map(|def| Arc::new(resolver.enumeration(def))).collect(),
    };
    if let Some(empty) = types.enums.iter().find(|def| def.members.is_empty()) {
        return Err(Fault::user(format!(
            "the enum `{}` of module `{}` has no members",
            empty.original, names.original
        ))
        .with_hint("an enum of the API has at least one"));
    }
    check_types(&types, names)?;
    Ok(types)
}

/// Checks that the module can be served under the name that a dependent gave it.
fn check_served_name(name: &str) -> Result<()> {
    if is_graphql_name(&type_name(name)) && is_graphql_name(&field_name(name)) {
        return Ok(());
    }
    Err(Fault::user(format!("`{name}` is not a valid name for a module"))
        .with_hint("a module's name, also under `dependencies`, starts with a letter and has letters, digits and `-`"))
}

/// Checks that no two types are served under one name, and none under the name of an external type.
fn check_types(types: &ModuleTypes, names: &LinkContext<'_>) -> Result<()> {
    let mut taken = HashSet::new();
    let all = types
        .objects
        .iter()
        .map(|d| &d.name)
        .chain(types.interfaces.iter().map(|d| &d.name))
        .chain(types.enums.iter().map(|d| &d.name));
    for name in all {
        if !taken.insert(name.clone()) {
            return Err(Fault::user(format!(
                "module `{}` registers two types that are both served as `{name}`",
                names.original
            )));
        }
        let Some(ExternalType { owner, .. }) = (names.owner)(name) else { continue };
        let (other, hint) = match owner {
            TypeOwner::Core => ("the API".to_owned(), "rename the type".to_owned()),
            TypeOwner::Module(other) => (
                format!("the dependency `{other}`"),
                format!("rename the type, or give `{other}` another `name` under `dependencies` in `dagger.json`"),
            ),
        };
        return Err(Fault::user(format!(
            "module `{}` registers the type `{name}`, which {other} has already",
            names.original
        ))
        .with_hint(hint));
    }
    Ok(())
}

struct TypeLinker<'a> {
    raw: &'a ModuleTypes,
    names: &'a LinkContext<'a>,
}

impl TypeLinker<'_> {
    fn served(&self, original: &str) -> String {
        namespaced(original, self.names.original, self.names.name)
    }

    fn module(&self) -> String {
        self.names.name.to_owned()
    }

    fn object(&self, def: &ObjectDef) -> Result<ObjectDef> {
        let place = format!("object \"{}\"", def.original);
        let reserved =
            def.fields.iter().map(|f| &f.name).chain(def.functions.iter().map(|f| &f.name)).any(|name| name == "id");
        if reserved {
            // Users match on this text; see docs/protocol.md#type-definitions.
            return Err(Fault::user(format!("cannot define field with reserved name \"id\" on {place}")));
        }
        if let Some(field) = def.fields.iter().find(|field| def.functions.iter().any(|f| f.name == field.name)) {
            return Err(Fault::user(format!(
                "{place} has a field and a function that are both called `{}` in the API",
                field.name
            ))
            .with_hint("rename one of them"));
        }
        let field = |field: &FieldDef| {
            let at = || format!("{place} field \"{}\"", field.original);
            check_name(&field.name, &at)?;
            Ok(FieldDef { type_def: self.type_def(&field.type_def, &at)?, ..field.clone() })
        };
        let constructor =
            def.constructor.as_ref().map(|f| self.function(f, &format!("{place} constructor"), "")).transpose()?;
        Ok(ObjectDef {
            name: self.served(&def.original),
            fields: def.fields.iter().map(field).collect::<Result<_>>()?,
            functions: self.functions(&def.functions, &place)?,
            constructor,
            source_module: self.module(),
            ..def.clone()
        })
    }

    fn interface(&self, def: &InterfaceDef) -> Result<InterfaceDef> {
        let place = format!("interface \"{}\"", def.original);
        if def.functions.iter().any(|function| function.name == "id") {
            return Err(Fault::user(format!("cannot define field with reserved name \"id\" on {place}")));
        }
        let (name, functions) = (self.served(&def.original), self.functions(&def.functions, &place)?);
        Ok(InterfaceDef { name, functions, source_module: self.module(), ..def.clone() })
    }

    fn enumeration(&self, def: &EnumDef) -> EnumDef {
        EnumDef { name: self.served(&def.original), source_module: self.module(), ..def.clone() }
    }

    fn functions(&self, functions: &[Arc<Function>], place: &str) -> Result<Vec<Arc<Function>>> {
        let one = |f: &Arc<Function>| {
            let label = format!(" function \"{}\"", f.original);
            check_name(&f.name, &|| format!("{place}{label}"))?;
            self.function(f, place, &label)
        };
        functions.iter().map(one).collect()
    }

    fn function(&self, function: &Function, place: &str, label: &str) -> Result<Arc<Function>> {
        let at = || format!("{place}{label}");
        let mut resolved = function.clone();
        resolved.returns = self.type_def(&function.returns, &at)?;
        resolved.source_module = self.module();
        for arg in &mut resolved.args {
            let at = || format!("{place}{label} arg \"{}\"", arg.original);
            let type_def = self.type_def(&arg.type_def, &at)?;
            arg.default_value = self.default(arg, &type_def, &at)?;
            let contextual = arg.default_path.is_some() || arg.default_address.is_some();
            arg.type_def = type_def.clone().with_optional(type_def.optional || contextual);
        }
        Ok(Arc::new(resolved))
    }

    /// The default of `arg` as the API writes it. `ty` is its linked type.
    fn default(&self, arg: &FunctionArg, ty: &TypeDef, at: &dyn Fn() -> String) -> Result<Option<String>> {
        let Some(text) = &arg.default_value else { return Ok(None) };
        let members = |name: &str| self.members(name);
        let fitting = serde_json::from_str(text).ok().and_then(|json| fitting(ty, &json, &members));
        if let Some(json) = fitting {
            return Ok(Some(json.to_string()));
        }
        let refused = Fault::user(format!("{}: the default {text} is no {}", at(), arg.type_def.shown()));
        Err(match &ty.base().kind {
            TypeDefKind::Enum(def) => {
                let known = self.members(&def.name);
                let known = known.iter().flat_map(|def| &def.members).map(|member| format!("`{}`", member.name));
                refused.with_hint(format!("the members are {}", known.collect::<Vec<_>>().join(", ")))
            }
            _ => refused.with_hint("a default is the JSON text of a value of the argument's type"),
        })
    }

    /// The enum that is served as `name`.
    fn members(&self, name: &str) -> Option<Arc<EnumDef>> {
        let own = self.raw.enums.iter().find(|def| self.served(&def.original) == name);
        own.cloned().or_else(|| match (self.names.owner)(name)?.kind {
            TypeDefKind::Enum(def) => Some(def),
            _ => None,
        })
    }

    fn type_def(&self, ty: &TypeDef, at: &dyn Fn() -> String) -> Result<TypeDef> {
        let kind = match &ty.kind {
            TypeDefKind::Unset => return Err(Fault::user(format!("{}: the type has no kind", at()))),
            TypeDefKind::List(element) => TypeDefKind::List(Arc::new(self.type_def(element, at)?)),
            TypeDefKind::Object(def) => self.reference(&def.name, &ty.kind, at)?,
            TypeDefKind::Interface(def) => self.reference(&def.name, &ty.kind, at)?,
            TypeDefKind::Enum(def) => self.reference(&def.name, &ty.kind, at)?,
            TypeDefKind::Scalar(def) => self.reference(&def.name, &ty.kind, at)?,
            other => other.clone(),
        };
        Ok(TypeDef { kind, optional: ty.optional })
    }

    /// Resolves a reference by name: own types first, then external ones.
    fn reference(&self, name: &str, kind: &TypeDefKind, at: &dyn Fn() -> String) -> Result<TypeDefKind> {
        if let Some(own) = self.own(name) {
            check_kind(name, kind, &own, at)?;
            return Ok(own);
        }
        let Some(ExternalType { owner, kind: found }) = (self.names.owner)(name) else {
            return Err(Fault::user(format!("{}: type `{name}` is not known to the module", at())).with_hint(
                "types come from the module itself and the API at its `engineVersion`, enums also from dependencies",
            ));
        };
        match owner {
            // Users match on this text; see docs/protocol.md#type-definitions
            TypeOwner::Module(module) if !matches!(found, TypeDefKind::Enum(_)) => {
                Err(Fault::user(format!("{} cannot reference external type from dependency module \"{module}\"", at()))
                    .with_hint("wrap it in an object of the module itself"))
            }
            owner => {
                check_kind(name, kind, &found, at)?;
                let module = if let TypeOwner::Module(module) = owner { module } else { String::new() };
                Ok(reference_to(name, &found, module))
            }
        }
    }

    fn own(&self, name: &str) -> Option<TypeDefKind> {
        let module = self.module();
        if let Some(def) = self.raw.object(name) {
            let def = ObjectDef {
                name: self.served(&def.original),
                original: def.original.clone(),
                source_module: module,
                ..ObjectDef::default()
            };
            return Some(TypeDefKind::Object(Arc::new(def)));
        }
        if let Some(def) = self.raw.interface(name) {
            let def = InterfaceDef {
                name: self.served(&def.original),
                original: def.original.clone(),
                source_module: module,
                ..InterfaceDef::default()
            };
            return Some(TypeDefKind::Interface(Arc::new(def)));
        }
        let def = self.raw.enumeration(name)?;
        Some(TypeDefKind::Enum(Arc::new(self.enumeration(def))))
    }
}

/// Checks that a field or function has a valid name in the API.
fn check_name(name: &str, at: &dyn Fn() -> String) -> Result<()> {
    if is_graphql_name(name) {
        return Ok(());
    }
    Err(Fault::user(format!("{}: `{name}` is not a valid name in the API", at()))
        .with_hint("a name there has letters of ASCII, digits and underscores, and does not start with a digit"))
}

/// Checks that a type is of the kind that the reference `given` says. Some libraries refer to enums
/// as scalars and to interfaces as objects.
fn check_kind(name: &str, given: &TypeDefKind, found: &TypeDefKind, at: &dyn Fn() -> String) -> Result<()> {
    let object = matches!((given, found), (TypeDefKind::Object(_), TypeDefKind::Object(_) | TypeDefKind::Interface(_)));
    let interface = matches!((given, found), (TypeDefKind::Interface(_), TypeDefKind::Interface(_)));
    let leaf = |kind: &TypeDefKind| matches!(kind, TypeDefKind::Enum(_) | TypeDefKind::Scalar(_));
    let fits = object || interface || (leaf(given) && leaf(found));
    if fits {
        return Ok(());
    }
    let cure = match found {
        TypeDefKind::Object(_) => "refer to it by `withObject`",
        TypeDefKind::Interface(_) => "refer to it by `withInterface`",
        TypeDefKind::Enum(_) => "refer to it by `withEnum`",
        TypeDefKind::Scalar(_) => "refer to it by `withScalar`",
        _ => "functions have no arguments and results of this kind: take its fields one by one",
    };
    let (wanted, is) = (kind_word(given), kind_word(found));
    Err(Fault::user(format!("{}: `{name}` is taken for {wanted}, and is {is}", at())).with_hint(cure))
}

fn kind_word(kind: &TypeDefKind) -> &'static str {
    match kind {
        TypeDefKind::Object(_) => "an object",
        TypeDefKind::Interface(_) => "an interface",
        TypeDefKind::Enum(_) => "an enum",
        TypeDefKind::Input(_) => "an input object",
        _ => "a scalar",
    }
}

fn reference_to(name: &str, kind: &TypeDefKind, source_module: String) -> TypeDefKind {
    let (name, original) = (name.to_owned(), name.to_owned());
    match kind {
        TypeDefKind::Object(_) => {
            TypeDefKind::Object(Arc::new(ObjectDef { name, original, source_module, ..ObjectDef::default() }))
        }
        TypeDefKind::Interface(_) => {
            TypeDefKind::Interface(Arc::new(InterfaceDef { name, original, source_module, ..InterfaceDef::default() }))
        }
        TypeDefKind::Enum(_) => {
            TypeDefKind::Enum(Arc::new(EnumDef { name, original, source_module, ..EnumDef::default() }))
        }
        _ => TypeDefKind::Scalar(Arc::new(ScalarDef { name, source_module, ..ScalarDef::default() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::typedef::builder::{Annotations, ENUM_MEMBERS_SINCE};

    fn object(name: &str) -> TypeDef {
        TypeDef::default().with_object(name, Annotations::default()).expect("an object")
    }

    fn module(types: &[TypeDef]) -> ModuleTypes {
        let add = |module: ModuleTypes, ty: &TypeDef| module.with_type("withObject", ty).expect("an object");
        types.iter().fold(ModuleTypes::default(), add)
    }

    fn level(name: &str, member: &str, value: &str) -> TypeDef {
        let level = TypeDef::default().with_enum(name, Annotations::default());
        level
            .and_then(|ty| ty.with_enum_member(ENUM_MEMBERS_SINCE, member, value, Annotations::default()))
            .expect("an enum")
    }

    fn owner(name: &str) -> Option<ExternalType> {
        let (core, dep) = (TypeOwner::Core, TypeOwner::Module("dep".into()));
        let (owner, ty) = match name {
            "Container" => (core, object(name)),
            "Protocol" => (core, level(name, "TCP", "")),
            "Forward" => (core, TypeDef::of(TypeDefKind::Input(Arc::default()))),
            "DepThing" | "RenamedTaken" => (dep, object(name)),
            "DepStatus" => (dep, level(name, "GONE", "gone")),
            _ => return None,
        };
        Some(ExternalType { owner, kind: ty.kind })
    }

    fn names() -> LinkContext<'static> {
        LinkContext { original: "bar", name: "renamed", owner: &owner }
    }

    #[test]
    fn references_get_the_names_that_are_served() {
        let function = Function::new("make_it", TypeDef::of(TypeDefKind::List(Arc::new(object("Foo")))));
        let main = object("Bar").with_function(Arc::new(function)).expect("taken");
        let main = main.with_field("base_image", object("Container"), Annotations::default()).expect("taken");
        let main = main.with_constructor(&Function::new("", object("Bar"))).expect("taken");
        let types = link_types(&module(&[main, object("Foo")]), &names()).expect("resolves");
        let served: Vec<&str> = types.objects.iter().map(|o| &*o.name).collect();
        assert_eq!(served, ["Renamed", "RenamedFoo"]);
        let main = &types.objects[0];
        assert_eq!(
            (&*main.functions[0].name, main.functions[0].returns.describe()),
            ("makeIt", "[RenamedFoo!]!".into())
        );
        assert_eq!((&*main.fields[0].name, main.fields[0].type_def.describe()), ("baseImage", "Container!".into()));
        assert_eq!(main.constructor.as_ref().map(|c| c.returns.describe()), Some("Renamed!".into()));
    }

    #[test]
    fn refusals() {
        let check = |types: &[TypeDef], want: &str| {
            let got = link_types(&module(types), &names()).map_err(|e| e.to_string());
            assert_eq!(got.err().as_deref(), Some(want));
        };
        let with =
            |returns: TypeDef| object("Bar").with_function(Arc::new(Function::new("f", returns))).expect("taken");
        assert!(
            link_types(&module(&[object("XRay")]), &LinkContext { original: "x-ray", name: "x-ray", owner: &owner })
                .is_ok()
        );
        check(&[], "module `bar` has no main object `Bar`; it registered: none");
        check(&[object("Foo")], "module `bar` has no main object `Bar`; it registered: `Foo`");
        check(&[with(object("Nope"))], "object \"Bar\" function \"f\": type `Nope` is not known to the module");
        check(
            &[with(object("DepThing"))],
            "object \"Bar\" function \"f\" cannot reference external type from dependency module \"dep\"",
        );
        check(&[with(TypeDef::default())], "object \"Bar\" function \"f\": the type has no kind");
        let id =
            object("Bar").with_field("id", TypeDef::of(TypeDefKind::String), Annotations::default()).expect("taken");
        check(&[id], "cannot define field with reserved name \"id\" on object \"Bar\"");
        check(
            &[object("Bar"), object("Taken")],
            "module `bar` registers the type `RenamedTaken`, which the dependency `dep` has already",
        );
        let field =
            |name: &str| object("Bar").with_field(name, TypeDef::of(TypeDefKind::String), Annotations::default());
        let both =
            field("f").and_then(|ty| ty.with_function(Arc::new(Function::new("F", TypeDef::of(TypeDefKind::Void)))));
        check(&[both.expect("taken")], "object \"Bar\" has a field and a function that are both called `f` in the API");
        let taken_for = |returns: TypeDef, want: &str| {
            check(&[with(returns)], &format!("object \"Bar\" function \"f\": {want}"));
        };
        let kinds = |ty: Result<TypeDef>| ty.expect("a type");
        let by_enum = |name: &str| kinds(TypeDef::default().with_enum(name, Annotations::default()));
        taken_for(by_enum("Container"), "`Container` is taken for an enum, and is an object");
        taken_for(by_enum("Bar"), "`Bar` is taken for an enum, and is an object");
        let by_interface = kinds(TypeDef::default().with_interface("Container", Annotations::default()));
        taken_for(by_interface, "`Container` is taken for an interface, and is an object");
        taken_for(object("Protocol"), "`Protocol` is taken for an object, and is an enum");
        taken_for(object("Forward"), "`Forward` is taken for an object, and is an input object");
        taken_for(object("DepStatus"), "`DepStatus` is taken for an object, and is an enum");
        let by_scalar = kinds(TypeDef::default().with_scalar("Protocol", String::new()));
        assert!(link_types(&module(&[with(by_scalar)]), &names()).is_ok());
    }

    #[test]
    fn names_that_are_none() {
        let check = |name: &str, want: Option<&str>| {
            let function = Function::new(name, TypeDef::of(TypeDefKind::Void));
            let main = object("Bar").with_function(Arc::new(function)).expect("taken");
            let got = link_types(&module(&[main]), &names()).err().map(|e| e.to_string());
            assert_eq!(got.as_deref(), want, "{name}");
        };
        check("größe", None);
        check("a b", None);
        check("", Some("object \"Bar\" function \"\": `` is not a valid name in the API"));
        check("é", Some("object \"Bar\" function \"é\": `` is not a valid name in the API"));
        check("1abc", Some("object \"Bar\" function \"1abc\": `1Abc` is not a valid name in the API"));
        let main =
            object("Bar").with_field("---", TypeDef::of(TypeDefKind::String), Annotations::default()).expect("taken");
        assert_eq!(
            link_types(&module(&[main]), &names()).err().map(|e| e.to_string()).as_deref(),
            Some("object \"Bar\" field \"---\": `` is not a valid name in the API")
        );
        let renamed = LinkContext { name: "1", ..names() };
        assert_eq!(
            link_types(&module(&[object("Bar")]), &renamed).err().map(|e| e.to_string()).as_deref(),
            Some("`1` is not a valid name for a module")
        );
    }

    #[test]
    fn defaults() {
        let resolved = |ty: TypeDef, default: &str| {
            let arg = FunctionArg {
                original: "a".into(),
                type_def: ty,
                default_value: Some(default.into()),
                ..FunctionArg::default()
            };
            let function = Function::new("f", TypeDef::of(TypeDefKind::Void)).with_arg(arg).expect("taken");
            let main = object("Bar").with_function(Arc::new(function)).expect("taken");
            let own = level("Level", "lowest", "low");
            let types = module(&[main]).with_type("withEnum", &own).expect("taken");
            let types = link_types(&types, &names()).map_err(|e| e.to_string())?;
            Ok::<_, String>(types.objects[0].functions[0].args[0].default_value.clone().unwrap_or_default())
        };
        let named = |name: &str| TypeDef::default().with_enum(name, Annotations::default()).expect("an enum");
        assert_eq!(resolved(named("Level"), "\"low\"").as_deref(), Ok("\"LOWEST\""));
        assert_eq!(resolved(named("DepStatus"), "\"gone\"").as_deref(), Ok("\"GONE\""));
        assert_eq!(resolved(named("Protocol"), "\"TCP\"").as_deref(), Ok("\"TCP\""));
        let refused = |ty: TypeDef, default: &str, want: &str| {
            let want = format!("object \"Bar\" function \"f\" arg \"a\": the default {default} is no `{want}`");
            assert_eq!(resolved(ty, default), Err(want));
        };
        refused(named("Level"), "\"high\"", "Level!");
        refused(named("Protocol"), "\"XXX\"", "Protocol!");
        refused(named("DepStatus"), "\"HERE\"", "DepStatus!");
        refused(object("Container"), "\"abc\"", "Container!");
        refused(TypeDef::of(TypeDefKind::Integer), "\"x\"", "Int!");
        refused(TypeDef::of(TypeDefKind::String), "null", "String!");
    }

    #[test]
    fn contextual_arguments_become_optional() {
        let arg = crate::typedef::type_def::FunctionArg {
            original: "src".into(),
            type_def: object("Container"),
            default_address: Some("alpine".into()),
            ..Default::default()
        };
        let function = Function::new("f", TypeDef::of(TypeDefKind::Void)).with_arg(arg).expect("taken");
        let main = object("Bar").with_function(Arc::new(function)).expect("taken");
        let types = link_types(&module(&[main]), &names()).expect("resolves");
        assert!(types.objects[0].functions[0].args[0].type_def.optional);
    }
}
