//! From what a module registered to what is served: names get their module in front, references find their types,
//! and what must not be is refused.

use std::collections::HashSet;
use std::sync::Arc;

use rondel_fault::{Fault, Result};

use crate::names::{namespaced, same_type, type_name};
use crate::typedef::{EnumDef, FieldDef, Function, InterfaceDef, Kind, ModuleTypes, ObjectDef, ScalarDef, TypeDef};

/// Where a type comes from that is not the module's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The API itself.
    Core,
    /// A dependency, by name.
    Module(String),
}

/// What a module is called, and what it can see.
pub struct Names<'a> {
    /// The name in `dagger.json`.
    pub original: &'a str,
    /// The name under which it is served.
    pub name: &'a str,
    /// Who owns a type that the module can see and does not own.
    pub owner: &'a dyn Fn(&str) -> Option<Owner>,
}

/// The types as they are served.
///
/// # Errors
/// When there is no main object, a name is taken twice or reserved, or a type is unknown or another module's.
pub fn resolve(raw: &ModuleTypes, names: &Names<'_>) -> Result<ModuleTypes> {
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
    let resolver = Resolver { raw, names };
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
        if (names.owner)(name) == Some(Owner::Core) {
            return Err(Fault::user(format!(
                "module `{}` registers the type `{name}`, which the API has already",
                names.original
            )));
        }
    }
    Ok(types)
}

struct Resolver<'a> {
    raw: &'a ModuleTypes,
    names: &'a Names<'a>,
}

impl Resolver<'_> {
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
            // Users match on this text; see spec/protocol.md §5.6.
            return Err(Fault::user(format!("cannot define field with reserved name \"id\" on {place}")));
        }
        let field = |field: &FieldDef| {
            let at = || format!("{place} field \"{}\"", field.original);
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
        let one = |f: &Arc<Function>| self.function(f, place, &format!(" function \"{}\"", f.original));
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
            let contextual = arg.default_path.is_some() || arg.default_address.is_some();
            arg.type_def = type_def.clone().with_optional(type_def.optional || contextual);
        }
        Ok(Arc::new(resolved))
    }

    fn type_def(&self, ty: &TypeDef, at: &dyn Fn() -> String) -> Result<TypeDef> {
        let kind = match &ty.kind {
            Kind::Unset => return Err(Fault::user(format!("{}: the type has no kind", at()))),
            Kind::List(element) => Kind::List(Arc::new(self.type_def(element, at)?)),
            Kind::Object(def) => self.reference(&def.name, &ty.kind, at)?,
            Kind::Interface(def) => self.reference(&def.name, &ty.kind, at)?,
            Kind::Enum(def) => self.reference(&def.name, &ty.kind, at)?,
            Kind::Scalar(def) => self.reference(&def.name, &ty.kind, at)?,
            other => other.clone(),
        };
        Ok(TypeDef { kind, optional: ty.optional })
    }

    /// A reference by name: own types first, then what the module can see.
    fn reference(&self, name: &str, kind: &Kind, at: &dyn Fn() -> String) -> Result<Kind> {
        if let Some(own) = self.own(name) {
            return Ok(own);
        }
        match (self.names.owner)(name) {
            Some(Owner::Core) => Ok(foreign(name, kind, String::new())),
            Some(Owner::Module(module)) if matches!(kind, Kind::Enum(_)) => Ok(foreign(name, kind, module)),
            // Users match on this text; see spec/protocol.md §5.6.
            Some(Owner::Module(module)) => {
                Err(Fault::user(format!("{} cannot reference external type from dependency module \"{module}\"", at()))
                    .with_hint("wrap it in an object of the module itself"))
            }
            None => Err(Fault::user(format!("{}: type `{name}` is not known to the module", at())).with_hint(
                "types come from the module itself and the API at its `engineVersion`, enums also from dependencies",
            )),
        }
    }

    fn own(&self, name: &str) -> Option<Kind> {
        let module = self.module();
        if let Some(def) = self.raw.object(name) {
            let def = ObjectDef {
                name: self.served(&def.original),
                original: def.original.clone(),
                source_module: module,
                ..ObjectDef::default()
            };
            return Some(Kind::Object(Arc::new(def)));
        }
        if let Some(def) = self.raw.interface(name) {
            let def = InterfaceDef {
                name: self.served(&def.original),
                original: def.original.clone(),
                source_module: module,
                ..InterfaceDef::default()
            };
            return Some(Kind::Interface(Arc::new(def)));
        }
        let def = self.raw.enumeration(name)?;
        Some(Kind::Enum(Arc::new(self.enumeration(def))))
    }
}

fn foreign(name: &str, kind: &Kind, source_module: String) -> Kind {
    let (name, original) = (name.to_owned(), name.to_owned());
    match kind {
        Kind::Object(_) => Kind::Object(Arc::new(ObjectDef { name, original, source_module, ..ObjectDef::default() })),
        Kind::Interface(_) => {
            Kind::Interface(Arc::new(InterfaceDef { name, original, source_module, ..InterfaceDef::default() }))
        }
        Kind::Enum(_) => Kind::Enum(Arc::new(EnumDef { name, original, source_module, ..EnumDef::default() })),
        _ => Kind::Scalar(Arc::new(ScalarDef { name, source_module, ..ScalarDef::default() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Notes;

    fn object(name: &str) -> TypeDef {
        TypeDef::default().with_object(name, Notes::default()).expect("an object")
    }

    fn module(types: &[TypeDef]) -> ModuleTypes {
        let add = |module: ModuleTypes, ty: &TypeDef| module.with_type("withObject", ty).expect("an object");
        types.iter().fold(ModuleTypes::default(), add)
    }

    fn owner(name: &str) -> Option<Owner> {
        match name {
            "Container" => Some(Owner::Core),
            "DepThing" => Some(Owner::Module("dep".into())),
            _ => None,
        }
    }

    fn names() -> Names<'static> {
        Names { original: "bar", name: "renamed", owner: &owner }
    }

    #[test]
    fn references_get_the_names_that_are_served() {
        let function = Function::new("make_it", TypeDef::of(Kind::List(Arc::new(object("Foo")))));
        let main = object("Bar").with_function(Arc::new(function)).expect("taken");
        let main = main.with_field("base_image", object("Container"), Notes::default()).expect("taken");
        let main = main.with_constructor(&Function::new("", object("Bar"))).expect("taken");
        let types = resolve(&module(&[main, object("Foo")]), &names()).expect("resolves");
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
            let got = resolve(&module(types), &names()).map_err(|e| e.to_string());
            assert_eq!(got.err().as_deref(), Some(want));
        };
        let with =
            |returns: TypeDef| object("Bar").with_function(Arc::new(Function::new("f", returns))).expect("taken");
        assert!(
            resolve(&module(&[object("XRay")]), &Names { original: "x-ray", name: "x-ray", owner: &owner }).is_ok()
        );
        check(&[], "module `bar` has no main object `Bar`; it registered: none");
        check(&[object("Foo")], "module `bar` has no main object `Bar`; it registered: `Foo`");
        check(&[with(object("Nope"))], "object \"Bar\" function \"f\": type `Nope` is not known to the module");
        check(
            &[with(object("DepThing"))],
            "object \"Bar\" function \"f\" cannot reference external type from dependency module \"dep\"",
        );
        check(&[with(TypeDef::default())], "object \"Bar\" function \"f\": the type has no kind");
        let id = object("Bar").with_field("id", TypeDef::of(Kind::String), Notes::default()).expect("taken");
        check(&[id], "cannot define field with reserved name \"id\" on object \"Bar\"");
    }

    #[test]
    fn contextual_arguments_become_optional() {
        let arg = crate::typedef::FunctionArg {
            original: "src".into(),
            type_def: object("Container"),
            default_address: Some("alpine".into()),
            ..Default::default()
        };
        let function = Function::new("f", TypeDef::of(Kind::Void)).with_arg(arg).expect("taken");
        let main = object("Bar").with_function(Arc::new(function)).expect("taken");
        let types = resolve(&module(&[main]), &names()).expect("resolves");
        assert!(types.objects[0].functions[0].args[0].type_def.optional);
    }
}
