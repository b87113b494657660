//! Statements at import time.

use super::ast::{Expr, ExprKind, Stmt, StmtKind, Try};
use super::interpreter::{Interpreter, Scan, Scope};
use super::values::{Hint, Value};

impl Interpreter<'_> {
    /// Follows the statements `body`.
    pub(super) fn run(&mut self, scope: Scope, body: &[Stmt]) -> Scan<()> {
        body.iter().try_for_each(|stmt| self.stmt(scope, stmt))
    }

    fn stmt(&mut self, scope: Scope, stmt: &Stmt) -> Scan<()> {
        let line = stmt.line;
        match &stmt.kind {
            StmtKind::Import(names) => self.import_stmt(scope, line, names),
            StmtKind::FromImport(import) => self.import_from(scope, line, import),
            StmtKind::Class(def) => {
                let value = self.class(scope, def)?;
                self.bind(scope, &def.name, value);
                Ok(())
            }
            StmtKind::Function(def) => {
                let value = self.function(scope, def)?;
                self.bind(scope, &def.name, value);
                Ok(())
            }
            StmtKind::Assign(targets, value) => {
                let value = self.eval(scope, value)?;
                targets.iter().try_for_each(|target| self.assign(scope, target, value.clone()))
            }
            StmtKind::Annotated(target, annotation, value) => self.annotated(scope, target, annotation, value.as_ref()),
            StmtKind::Augmented(target, value) => {
                self.eval(scope, value)?;
                let value = self.unknown(scope, line, "a computed value");
                self.assign(scope, target, value)
            }
            StmtKind::Expr(expr) => self.eval(scope, expr).map(|_| ()),
            StmtKind::If(condition, then, otherwise) => self.if_stmt(scope, condition, then, otherwise),
            StmtKind::Try(parts) => self.try_stmt(scope, line, parts),
            StmtKind::Loop(targets, body) => self.loop_stmt(scope, line, targets, body),
            StmtKind::With(values, targets, body) => {
                values.iter().try_for_each(|value| self.eval(scope, value).map(|_| ()))?;
                self.assign_unknown(scope, targets, "the value of a `with` statement")?;
                self.run(scope, body)
            }
            StmtKind::Match(subject, cases) => {
                self.eval(scope, subject)?;
                let cases: Vec<&[Stmt]> = cases.iter().map(Vec::as_slice).collect();
                self.alternatives(scope, line, &cases)
            }
            StmtKind::Raise if self.uncertain > 0 => Ok(()),
            StmtKind::Raise => self.undecided(scope, line, "an exception is raised at import"),
            StmtKind::Delete(targets) => self.delete(scope, line, targets),
            StmtKind::Pass => Ok(()),
            StmtKind::Other(what) => match scope.class {
                Some(_) => self.members_undecided(scope, line, &format!("a {what} in a class")),
                None => Ok(()),
            },
        }
    }

    fn annotated(&mut self, scope: Scope, target: &Expr, annotation: &Expr, value: Option<&Expr>) -> Scan<()> {
        let hint = self.annotation(scope, annotation)?;
        let value = value.map(|value| self.eval(scope, value)).transpose()?;
        if let (Some(class), ExprKind::Name(name)) = (scope.class, &target.kind) {
            let known = self.classes[class].annotations.iter_mut().find(|(known, ..)| known == name);
            match known {
                Some(entry) => entry.1 = hint,
                None => self.classes[class].annotations.push((name.clone(), hint, target.line)),
            }
        }
        match value {
            Some(value) => self.assign(scope, target, value),
            None => Ok(()),
        }
    }

    /// The value of an annotation, or the annotation itself if it is evaluated later.
    pub(super) fn annotation(&mut self, scope: Scope, annotation: &Expr) -> Scan<Value> {
        if self.modules[scope.module].future_annotations {
            return Ok(Value::Hint(Hint::Deferred(annotation.clone()).into()));
        }
        self.eval(scope, annotation)
    }

    pub(super) fn assign(&mut self, scope: Scope, target: &Expr, value: Value) -> Scan<()> {
        match &target.kind {
            ExprKind::Name(name) => self.bind(scope, name, value),
            ExprKind::Tuple(targets) | ExprKind::List(targets) => {
                let values: Vec<Value> = match &value {
                    Value::Tuple(items) | Value::List(items) if items.len() == targets.len() => items.to_vec(),
                    _ => vec![self.unknown(scope, target.line, "an unpacked value"); targets.len()],
                };
                for (target, value) in targets.iter().zip(values) {
                    self.assign(scope, target, value)?;
                }
            }
            ExprKind::Attribute(owner, name) => {
                let owner = self.eval(scope, owner)?;
                if !matches!(&owner, Value::Foreign(path) if !path.starts_with("dagger")) {
                    return self.undecided(scope, target.line, format!("the attribute `{name}` is set at import"));
                }
            }
            ExprKind::Subscript(owner, _) => {
                let owner_value = self.eval(scope, owner)?;
                if matches!(owner_value, Value::Unknown(_)) {
                    return self.undecided(scope, target.line, "an item is set at import");
                }
                self.forget(scope, &owner.names());
            }
            _ => {}
        }
        Ok(())
    }

    fn assign_unknown(&mut self, scope: Scope, targets: &[Expr], what: &str) -> Scan<()> {
        for target in targets {
            for name in target.names() {
                let value = self.unknown(scope, target.line, what);
                self.bind(scope, &name, value);
            }
        }
        Ok(())
    }

    fn delete(&mut self, scope: Scope, line: u32, targets: &[Expr]) -> Scan<()> {
        for target in targets {
            match &target.kind {
                ExprKind::Name(name) => self.namespace_mut(scope).remove(name),
                _ => return self.undecided(scope, line, "`del` at import"),
            }
        }
        Ok(())
    }

    fn if_stmt(&mut self, scope: Scope, condition: &Expr, then: &[Stmt], otherwise: &[Stmt]) -> Scan<()> {
        match self.truth(scope, condition)? {
            Some(true) => self.run(scope, then),
            Some(false) => self.run(scope, otherwise),
            None => self.alternatives(scope, condition.line, &[then, otherwise]),
        }
    }

    /// Whether a condition holds. `None` if the source does not decide it.
    fn truth(&mut self, scope: Scope, condition: &Expr) -> Scan<Option<bool>> {
        match &condition.kind {
            ExprKind::Not(inner) => Ok(self.truth(scope, inner)?.map(|holds| !holds)),
            ExprKind::Compare(left, operator, right) if operator == "==" || operator == "!=" => {
                let (left, right) = (self.eval(scope, left)?, self.eval(scope, right)?);
                Ok(match (left, right) {
                    (Value::Str(left), Value::Str(right)) => Some((left == right) == (operator == "==")),
                    _ => None,
                })
            }
            _ => Ok(match self.eval(scope, condition)? {
                Value::Bool(holds) => Some(holds),
                Value::Foreign(path) if *path == *"typing.TYPE_CHECKING" => Some(false),
                _ => None,
            }),
        }
    }

    /// Follows bodies of which one runs, or none.
    fn alternatives(&mut self, scope: Scope, line: u32, bodies: &[&[Stmt]]) -> Scan<()> {
        let reason = self.reason(scope.module, line, "it depends on a condition at import");
        let before = self.namespace(scope).clone();
        let mut merged = None;
        for body in bodies {
            *self.namespace_mut(scope) = before.clone();
            self.uncertainly(scope, line, |this| this.run(scope, body))?;
            let after = self.namespace(scope).clone();
            match &mut merged {
                None => merged = Some(after),
                Some(merged) => merged.merge(&after, &reason),
            }
        }
        *self.namespace_mut(scope) = merged.unwrap_or(before);
        Ok(())
    }

    /// Follows a body that may not run. It must not register types.
    fn uncertainly(&mut self, scope: Scope, line: u32, run: impl FnOnce(&mut Self) -> Scan<()>) -> Scan<()> {
        let registered = (self.objects.len(), self.enums.len());
        let annotated = scope.class.map(|class| self.classes[class].annotations.len());
        self.uncertain += 1;
        let done = run(self);
        self.uncertain -= 1;
        done?;
        let now = scope.class.map(|class| self.classes[class].annotations.len());
        if registered != (self.objects.len(), self.enums.len()) || annotated != now {
            return self.undecided(scope, line, "types are defined under a condition");
        }
        Ok(())
    }

    fn try_stmt(&mut self, scope: Scope, line: u32, parts: &Try) -> Scan<()> {
        let registered = (self.objects.len(), self.enums.len());
        self.uncertain += 1;
        let done = self.run(scope, &parts.body);
        self.uncertain -= 1;
        done?;
        if registered != (self.objects.len(), self.enums.len()) && !parts.handlers.is_empty() {
            return self.undecided(scope, line, "types are defined in a `try` statement");
        }
        let reason = self.reason(scope.module, line, "it depends on a `try` statement");
        let after_body = self.namespace(scope).clone();
        let mut merged = after_body.clone();
        for handler in &parts.handlers {
            *self.namespace_mut(scope) = after_body.clone();
            self.uncertainly(scope, line, |this| this.run(scope, handler))?;
            merged.merge(&self.namespace(scope).clone(), &reason);
        }
        *self.namespace_mut(scope) = merged;
        self.run(scope, &parts.after)
    }

    fn loop_stmt(&mut self, scope: Scope, line: u32, targets: &[Expr], body: &[Stmt]) -> Scan<()> {
        for target in targets {
            self.eval(scope, target)?;
        }
        if let [target, ..] = targets {
            let bound = targets.len() > 1;
            self.assign_unknown(scope, if bound { std::slice::from_ref(target) } else { &[] }, "a variable of a loop")?;
        }
        self.alternatives(scope, line, &[&[], body])
    }

    /// Notes that the members of the class of `scope` are not known.
    fn members_undecided(&mut self, scope: Scope, line: u32, what: &str) -> Scan<()> {
        let reason = self.reason(scope.module, line, what);
        if let Some(class) = scope.class {
            self.classes[class].undecided.get_or_insert(reason);
        }
        Ok(())
    }

    /// Forgets the values of lists and dictionaries that are changed. Other names of the same value
    /// are forgotten too.
    pub(super) fn forget(&mut self, scope: Scope, names: &[String]) {
        for name in names {
            let Some(value @ (Value::List(_) | Value::Dict(_))) = self.lookup(scope, name) else { continue };
            let scopes = [scope, Scope { class: None, ..scope }];
            for place in scopes {
                let same: Vec<String> = self
                    .namespace(place)
                    .iter()
                    .filter(|(_, known)| **known == value)
                    .map(|(name, _)| name.to_owned())
                    .collect();
                for name in same {
                    self.bind(place, &name, Value::Unknown("a value that is changed at import".into()));
                }
            }
        }
    }
}
