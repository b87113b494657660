//! The import of a module, followed statement by statement without running it.
//!
//! A name has a value as far as the source decides it. All else is [`Value::Unknown`], which
//! matters only where the types of the module depend on it.

use std::rc::Rc;

use super::ast::Stmt;
use super::module::{Api, PythonModule};
use super::parse;
use super::stdlib;
use super::tree::SourceTree;
use super::values::{Class, ClassId, Function, Module, ModuleId, Namespace, Value};

/// Why the source does not decide the types.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undecided(pub(super) String);

pub(super) type Scan<T> = Result<T, Undecided>;

/// How deep imports may be nested.
const MAX_DEPTH: usize = 60;

/// Where names are looked up and bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) module: ModuleId,
    pub(super) class: Option<ClassId>,
}

pub(super) struct Interpreter<'a> {
    pub(super) tree: SourceTree<'a>,
    pub(super) facts: &'a PythonModule,
    pub(super) api: &'a dyn Api,
    pub(super) modules: Vec<Module>,
    pub(super) classes: Vec<Class>,
    pub(super) functions: Vec<Function>,
    /// Classes in the order in which they were decorated as objects or interfaces.
    pub(super) objects: Vec<ClassId>,
    /// The same for enums.
    pub(super) enums: Vec<ClassId>,
    /// How many bodies are followed that may not run.
    pub(super) uncertain: usize,
    depth: usize,
}

impl<'a> Interpreter<'a> {
    pub(super) fn new(tree: SourceTree<'a>, facts: &'a PythonModule, api: &'a dyn Api) -> Self {
        Self {
            tree,
            facts,
            api,
            modules: Vec::new(),
            classes: Vec::new(),
            functions: Vec::new(),
            objects: Vec::new(),
            enums: Vec::new(),
            uncertain: 0,
            depth: 0,
        }
    }

    /// The reason `what`, at a line of a module.
    pub(super) fn reason(&self, module: ModuleId, line: u32, what: impl AsRef<str>) -> Rc<str> {
        let path = self.modules.get(module).map(|module| module.path.as_str()).unwrap_or_default();
        format!("`{path}:{line}`: {}", what.as_ref()).into()
    }

    pub(super) fn undecided<T>(&self, scope: Scope, line: u32, what: impl AsRef<str>) -> Scan<T> {
        Err(Undecided(self.reason(scope.module, line, what).to_string()))
    }

    pub(super) fn unknown(&self, scope: Scope, line: u32, what: impl AsRef<str>) -> Value {
        Value::Unknown(self.reason(scope.module, line, what))
    }

    pub(super) fn namespace(&self, scope: Scope) -> &Namespace {
        match scope.class {
            Some(class) => &self.classes[class].namespace,
            None => &self.modules[scope.module].namespace,
        }
    }

    pub(super) fn namespace_mut(&mut self, scope: Scope) -> &mut Namespace {
        match scope.class {
            Some(class) => &mut self.classes[class].namespace,
            None => &mut self.modules[scope.module].namespace,
        }
    }

    pub(super) fn bind(&mut self, scope: Scope, name: &str, value: Value) {
        self.namespace_mut(scope).bind(name, value);
    }

    /// The value of the name `name`. `None` if it is not bound.
    pub(super) fn lookup(&self, scope: Scope, name: &str) -> Option<Value> {
        let module = &self.modules[scope.module];
        let in_class = scope.class.and_then(|class| self.classes[class].namespace.get(name));
        if let Some(value) = in_class.or_else(|| module.namespace.get(name)) {
            return Some(value.clone());
        }
        if let Some(reason) = &module.namespace.foreign_star {
            return Some(Value::Unknown(reason.clone()));
        }
        match name {
            "__name__" => Some(Value::Str(module.name.as_str().into())),
            "__file__" | "__path__" | "__package__" | "__spec__" => {
                Some(Value::Opaque(format!("`{name}`").as_str().into()))
            }
            _ => stdlib::is_builtin(name).then(|| Value::Foreign(format!("builtins.{name}").as_str().into())),
        }
    }

    pub(super) fn module_named(&self, name: &str) -> Option<ModuleId> {
        self.modules.iter().position(|module| module.name == name)
    }

    /// Imports the module with the dotted name `name` and the packages that contain it. `None` if
    /// it is no code of the user.
    pub(super) fn import(&mut self, name: &str, from: Scope, line: u32) -> Scan<Option<ModuleId>> {
        let mut found: Option<ModuleId> = None;
        let ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
        for end in ends {
            let part = &name[..end];
            let known = self.module_named(part);
            let id = match known {
                Some(id) => Some(id),
                None => self.import_one(part, from, line)?,
            };
            let Some(id) = id else {
                return match found {
                    None => self.foreign(name, from, line).map(|()| None),
                    Some(_) => self.undecided(from, line, format!("there is no module `{part}`")),
                };
            };
            if let (None, Some(parent), Some((_, last))) = (known, found, part.rsplit_once('.')) {
                self.modules[parent].namespace.bind(last, Value::Module(id));
            }
            found = Some(id);
        }
        Ok(found)
    }

    fn import_one(&mut self, name: &str, from: Scope, line: u32) -> Scan<Option<ModuleId>> {
        let Some(found) = self.tree.find(name) else { return Ok(None) };
        let top_level = !name.contains('.');
        let shadows = top_level && (stdlib::is_stdlib(name) || stdlib::comes_with_library(name));
        if shadows && found.file.is_some() {
            return self.undecided(from, line, format!("`{name}` is a file of the module and a library"));
        }
        if shadows {
            return Ok(None);
        }
        if self.depth == MAX_DEPTH {
            return self.undecided(from, line, "imports are nested too deeply");
        }
        let mut module = Module {
            name: name.to_owned(),
            path: found.file.map(|file| file.path.clone()).unwrap_or_default(),
            is_package: found.is_package,
            doc: None,
            future_annotations: false,
            namespace: Namespace::default(),
        };
        let mut body: Vec<Stmt> = Vec::new();
        if let Some(file) = found.file {
            let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
            let parsed =
                parse::parse(text).map_err(|line| Undecided(format!("`{}:{line}`: a syntax error", file.path)))?;
            body = parsed.body;
            module.doc = parsed.doc;
            module.future_annotations = parsed.future_annotations;
        }
        let id = self.modules.len();
        self.modules.push(module);
        self.depth += 1;
        self.run(Scope { module: id, class: None }, &body)?;
        self.depth -= 1;
        Ok(Some(id))
    }

    /// Checks an import of code that is not the user's.
    fn foreign(&self, name: &str, from: Scope, line: u32) -> Scan<()> {
        let top = name.split('.').next().unwrap_or_default();
        if stdlib::is_stdlib(top) || stdlib::comes_with_library(top) || self.uncertain > 0 {
            return Ok(());
        }
        let PythonModule { requirements, local_packages, .. } = self.facts;
        if requirements.is_empty() {
            return self.undecided(from, line, format!("no package that the project requires provides `{top}`"));
        }
        let same = |name: &String| name.replace(['-', '.'], "_").eq_ignore_ascii_case(top);
        let indexed = requirements.iter().filter(|name| !local_packages.contains(name)).any(same);
        if top.contains("dagger") || (!local_packages.is_empty() && !indexed) {
            return self.undecided(from, line, format!("the package `{top}` may register types"));
        }
        Ok(())
    }
}
