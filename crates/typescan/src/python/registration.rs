//! What the library registers: the types in the order of their definition.

use std::collections::BTreeSet;

use crate::document::{DeclaredField, DeclaredFunction, DeclaredKind, DeclaredType, TypesDocument};

use super::ast::docstring;
use super::hints::Place;
use super::interpreter::{Interpreter, Scan, Scope};
use super::signatures::Binding;
use super::values::{ClassId, Meta, ModuleId, Value};

/// Members that change what a class is.
const SPECIAL: &[&str] = &[
    "__new__",
    "__init_subclass__",
    "__signature__",
    "__doc__",
    "__annotations__",
    "__dataclass_fields__",
    "__set_name__",
    "__class__",
    "__dict__",
    "__name__",
    "__module__",
    "__call__",
    "__slots__",
];

impl Interpreter<'_> {
    /// Imports the main object and gives the types that are registered then.
    pub(super) fn document(&mut self) -> Scan<TypesDocument> {
        let main = self.load()?;
        let description = self.description(self.classes[main].module)?;
        let mut types = Vec::new();
        for id in self.objects.clone() {
            types.push(self.declared_object(id, id == main)?);
        }
        for id in self.enums.clone() {
            types.push(self.declared_enum(id)?);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = types.iter().find(|ty: &&DeclaredType| !names.insert(ty.name.clone())) {
            let scope = Scope { module: self.classes[main].module, class: None };
            return self.undecided(scope, self.classes[main].def.line, format!("there are two types `{}`", twice.name));
        }
        Ok(TypesDocument { description, types })
    }

    /// Imports the module with the main object.
    fn load(&mut self) -> Scan<ClassId> {
        let declared = self.facts.main_object.clone();
        let declared = declared.as_deref().and_then(|text| text.split_once(':'));
        let (path, attribute) = match declared {
            Some((path, attribute)) => (path.trim().to_owned(), attribute.trim().to_owned()),
            None => (self.facts.package.clone(), self.facts.main_class.clone()),
        };
        let found = declared.is_some() || self.tree.find(&path).is_some();
        let path = if found { path } else { "main".to_owned() };
        let outside = Scope { module: usize::MAX, class: None };
        let missing = |what: String| super::interpreter::Undecided(what);
        if self.tree.find(&path).is_none() {
            return Err(missing(format!("there is no package `{path}`")));
        }
        let Some(module) = self.import(&path, outside, 1)? else {
            return Err(missing(format!("the package `{path}` is not code of the module")));
        };
        match self.modules[module].namespace.get(&attribute) {
            Some(Value::Class(id)) if self.classes[*id].object.is_some() => {}
            Some(Value::Unknown(reason)) => return Err(missing(reason.to_string())),
            _ => return Err(missing(format!("`{path}` has no object type `{attribute}`"))),
        }
        let name = &self.facts.main_class;
        let main = self.objects.iter().find(|id| self.classes[**id].def.name == *name);
        main.copied().ok_or_else(|| missing(format!("there is no object type `{name}`")))
    }

    /// The docstring of the package that contains a module.
    fn description(&self, module: ModuleId) -> Scan<String> {
        let module = &self.modules[module];
        let package = match (module.is_package, module.name.rsplit_once('.')) {
            (true, _) => Some(module),
            (false, Some((package, _))) => self.module_named(package).map(|id| &self.modules[id]),
            (false, None) => None,
        };
        let Some(package) = package else { return Ok(String::new()) };
        let scope = Scope { module: self.module_named(&package.name).unwrap_or_default(), class: None };
        if package.namespace.get("__doc__").is_some() {
            return self.undecided(scope, 1, "`__doc__` is set");
        }
        Ok(self.clean(scope, 1, package.doc.as_deref())?.unwrap_or_default())
    }

    fn declared_object(&mut self, id: ClassId, is_main: bool) -> Scan<DeclaredType> {
        let scope = Scope { module: self.classes[id].module, class: None };
        self.check_members(scope, id)?;
        let Some(mark) = self.classes[id].object.clone() else {
            return self.undecided(scope, self.classes[id].def.line, "a class that is no object type");
        };
        let constructor = match is_main && !mark.interface {
            true => {
                Some(self.constructor_of(id, matches!(self.member(id, "create"), Some((_, Value::ClassMethod(_)))))?)
            }
            false => None,
        };
        if is_main && mark.interface {
            return self.undecided(scope, self.classes[id].def.line, "the main object is an interface");
        }
        Ok(DeclaredType {
            kind: if mark.interface { DeclaredKind::Interface } else { DeclaredKind::Object },
            name: self.classes[id].def.name.clone(),
            description: self.class_doc(scope, id)?.unwrap_or_default(),
            deprecated: mark.deprecated.filter(|_| !mark.interface),
            fields: if mark.interface { Vec::new() } else { self.declared_fields(id)? },
            constructor,
            functions: self.declared_functions(id)?,
            ..DeclaredType::default()
        })
    }

    /// Checks that the source decides the members of a class and its bases.
    fn check_members(&self, scope: Scope, id: ClassId) -> Scan<()> {
        for owner in &self.classes[id].mro {
            let class = &self.classes[*owner];
            let (name, line) = (&class.def.name, class.def.line);
            let at = Scope { module: class.module, ..scope };
            if let Some(reason) = &class.undecided {
                return Err(super::interpreter::Undecided(reason.to_string()));
            }
            for (member, value) in class.namespace.iter() {
                if SPECIAL.contains(&member) {
                    return self.undecided(at, line, format!("`{name}` defines `{member}`"));
                }
                let annotated = class.annotations.iter().any(|(known, ..)| known == member);
                if let (Value::Unknown(reason), false) = (value, annotated) {
                    return self.undecided(at, line, format!("`{name}.{member}` is not decided: {reason}"));
                }
            }
        }
        Ok(())
    }

    /// The docstring of a class, as the library reads it.
    pub(super) fn class_doc(&self, scope: Scope, id: ClassId) -> Scan<Option<String>> {
        let class = &self.classes[id];
        let scope = Scope { module: class.module, ..scope };
        let line = class.def.line;
        let is_dataclass = class.mro.iter().any(|owner| self.classes[*owner].dataclass.is_some());
        let Some(doc) = docstring(&class.def.body).filter(|doc| !doc.is_empty()) else {
            if class.dataclass.is_none() {
                return Ok(docstring(&class.def.body));
            }
            // Python writes the signature of the constructor in its place. The library takes that
            // for documentation if a string annotation of the result is the end of it.
            return match class.namespace.get("__init__") {
                Some(Value::Function(init)) if self.functions[*init].returns.as_ref().is_some_and(Self::is_textual) => {
                    self.undecided(scope, line, format!("the class `{}` has no docstring", class.def.name))
                }
                _ => Ok(None),
            };
        };
        if is_dataclass && doc.starts_with(&format!("{}(", class.def.name)) && doc.ends_with(')') {
            return Ok(None);
        }
        self.clean(scope, line, Some(&doc))
    }

    fn declared_fields(&mut self, id: ClassId) -> Scan<Vec<DeclaredField>> {
        let fields: Vec<_> = self.data_fields(id)?.into_iter().filter(|field| !field.init_only).collect();
        let mut declared: Vec<DeclaredField> = Vec::new();
        for field in fields {
            let Some(exposed) = field.spec.exposed.clone() else { continue };
            let scope = Scope { module: self.classes[field.owner].module, class: None };
            let at = Place { scope, line: field.line };
            let name = match exposed.name.filter(|name| !name.is_empty()) {
                Some(name) => name,
                None => self.normalized(scope, field.line, &field.name)?,
            };
            let ty = self.resolve(at, &field.hint)?;
            self.no_self(at, &ty)?;
            let description = if Self::is_textual(&field.hint) {
                String::new()
            } else {
                self.field_doc(at, &field.hint)?.unwrap_or_default()
            };
            let ty = self.text_of(&ty, false);
            declared.retain(|known| known.name != name);
            declared.push(DeclaredField { name, ty, description, deprecated: exposed.deprecated, source_map: None });
        }
        if !declared.is_empty() {
            self.check_annotations(id)?;
        }
        Ok(declared)
    }

    fn field_doc(&mut self, at: Place, hint: &Value) -> Scan<Option<String>> {
        let doc = self.metadata(at, hint)?.into_iter().find_map(|meta| match meta {
            Meta::Doc(text) => Some(text),
            _ => None,
        });
        match doc {
            Some(doc) => Ok(Some(doc)),
            None => self.documentation_of_class(at, hint),
        }
    }

    /// Checks that all annotations of a class can be evaluated, which the library does for fields.
    fn check_annotations(&mut self, id: ClassId) -> Scan<()> {
        for owner in self.classes[id].mro.clone() {
            let scope = Scope { module: self.classes[owner].module, class: None };
            for (name, hint, line) in self.classes[owner].annotations.clone() {
                if let Value::Unknown(reason) = self.evaluated(Place { scope, line }, &hint)? {
                    return self.undecided(scope, line, format!("the annotation of `{name}` is not decided: {reason}"));
                }
            }
        }
        Ok(())
    }

    /// The functions of a class: classes that are exposed as functions first, each in the order of
    /// their names in Python.
    fn declared_functions(&mut self, id: ClassId) -> Scan<Vec<DeclaredFunction>> {
        let mro = self.classes[id].mro.clone();
        let names: BTreeSet<String> = mro
            .iter()
            .flat_map(|owner| self.classes[*owner].namespace.iter().map(|(name, _)| name.to_owned()))
            .collect();
        let (mut classes, mut methods) = (Vec::new(), Vec::new());
        for name in &names {
            let Some((owner, value)) = self.member(id, name) else { continue };
            let value = value.clone();
            let (function, how) = match value {
                Value::Constructor(class, exposure, alternative) => {
                    classes.push(self.declared_class_function(name, class, &exposure, alternative)?);
                    continue;
                }
                Value::Function(function) | Value::StaticMethod(function) => (function, Binding::Plain),
                Value::ClassMethod(function) => (function, Binding::Bound),
                _ => continue,
            };
            if self.functions[function].exposure.is_none() {
                continue;
            }
            if name.starts_with("__") {
                let scope = Scope { module: self.classes[owner].module, class: None };
                return self.undecided(scope, self.functions[function].def.line, format!("`{name}` is a function"));
            }
            methods.push(self.declared_function(function, id, how)?);
        }
        let mut all: Vec<DeclaredFunction> = Vec::new();
        for function in classes.into_iter().chain(methods) {
            match all.iter_mut().find(|known| known.name == function.name) {
                Some(known) => *known = function,
                None => all.push(function),
            }
        }
        Ok(all)
    }
}
