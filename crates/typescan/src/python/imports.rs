//! Import statements: names from the module's own files and from libraries.

use std::rc::Rc;

use super::ast::FromImport;
use super::interpreter::{Interpreter, Scan, Scope};
use super::library;
use super::values::{ModuleId, Value};

impl Interpreter<'_> {
    pub(super) fn import_stmt(&mut self, scope: Scope, line: u32, names: &[(String, Option<String>)]) -> Scan<()> {
        for (path, alias) in names {
            let found = self.import(path, scope, line)?;
            let top = path.split('.').next().unwrap_or_default();
            let (name, value) = match (alias, found) {
                (Some(alias), Some(id)) => (alias.as_str(), Value::Module(id)),
                (Some(alias), None) => (alias.as_str(), library::foreign(path)),
                (None, Some(_)) => match self.module_named(top) {
                    Some(id) => (top, Value::Module(id)),
                    None => (top, library::foreign(top)),
                },
                (None, None) => (top, library::foreign(top)),
            };
            self.bind(scope, name, value);
        }
        Ok(())
    }

    /// The absolute name of the module that a `from` import names.
    fn absolute(&self, scope: Scope, line: u32, import: &FromImport) -> Scan<String> {
        if import.level == 0 {
            return Ok(import.module.clone());
        }
        let module = &self.modules[scope.module];
        let mut parts: Vec<&str> = module.name.split('.').collect();
        let up = import.level - usize::from(module.is_package);
        if up >= parts.len() {
            return self.undecided(scope, line, "a relative import beyond the top-level package");
        }
        parts.truncate(parts.len() - up);
        if !import.module.is_empty() {
            parts.push(&import.module);
        }
        Ok(parts.join("."))
    }

    pub(super) fn import_from(&mut self, scope: Scope, line: u32, import: &FromImport) -> Scan<()> {
        let path = self.absolute(scope, line, import)?;
        let Some(id) = self.import(&path, scope, line)? else {
            return self.import_from_foreign(scope, line, &path, import);
        };
        if import.names.is_empty() {
            return self.star_of_module(scope, id);
        }
        for (name, alias) in &import.names {
            let mut value = self.modules[id].namespace.get(name).cloned();
            if value.is_none() && self.modules[id].is_package {
                let below = format!("{path}.{name}");
                if self.module_named(&below).is_some() || self.tree.find(&below).is_some() {
                    value = self.import(&below, scope, line)?.map(Value::Module);
                }
            }
            if value.is_none() {
                value = self.modules[id].namespace.foreign_star.clone().map(Value::Unknown);
            }
            let Some(value) = value else {
                return self.undecided(scope, line, format!("`{path}` has no name `{name}`"));
            };
            self.bind(scope, alias.as_ref().unwrap_or(name), value);
        }
        Ok(())
    }

    fn import_from_foreign(&mut self, scope: Scope, line: u32, path: &str, import: &FromImport) -> Scan<()> {
        let of_library = path == "dagger" || path == "dagger.mod";
        if import.names.is_empty() && of_library {
            let names = library::public_names().map(ToOwned::to_owned).chain(self.api.names());
            for name in names.collect::<Vec<_>>() {
                self.bind(scope, &name, library::foreign(&format!("dagger.{name}")));
            }
            return Ok(());
        }
        if import.names.is_empty() {
            let reason = self.reason(scope.module, line, format!("names come from `{path}` by `import *`"));
            return self.star_of_foreign(scope, &reason);
        }
        for (name, alias) in &import.names {
            if of_library && !library::is_public(name) && self.api.find(name).is_none() {
                return self.undecided(scope, line, format!("`{name}` is not in the library or the core API"));
            }
            let value = library::foreign(&format!("{path}.{name}"));
            self.bind(scope, alias.as_ref().unwrap_or(name), value);
        }
        Ok(())
    }

    /// `from module import *`, of a module of the user's code.
    fn star_of_module(&mut self, scope: Scope, id: ModuleId) -> Scan<()> {
        let source = &self.modules[id].namespace;
        let listed = match source.get("__all__") {
            None => None,
            Some(Value::List(items) | Value::Tuple(items)) => Some(items.clone()),
            Some(_) => {
                let reason: Rc<str> = format!("`__all__` of `{}` is computed", self.modules[id].path).as_str().into();
                return self.star_of_foreign(scope, &reason);
            }
        };
        let is_listed = |name: &str| match &listed {
            Some(items) => items.iter().any(|item| matches!(item, Value::Str(text) if **text == *name)),
            None => !name.starts_with('_'),
        };
        let names: Vec<(String, Value)> = source
            .iter()
            .filter(|(name, _)| is_listed(name))
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        let star = source.foreign_star.clone();
        for (name, value) in names {
            self.bind(scope, &name, value);
        }
        match star {
            Some(reason) => self.star_of_foreign(scope, &reason),
            None => Ok(()),
        }
    }

    /// All names may have any value from here on, unless they are bound again.
    fn star_of_foreign(&mut self, scope: Scope, reason: &Rc<str>) -> Scan<()> {
        let names: Vec<String> = self.namespace(scope).iter().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            self.bind(scope, &name, Value::Unknown(reason.clone()));
        }
        self.namespace_mut(scope).foreign_star = Some(reason.clone());
        Ok(())
    }
}
