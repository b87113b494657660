//! Enums: their members, values and documentation.

use crate::document::{DeclaredKind, DeclaredMember, DeclaredType};

use super::ast::{Expr, ExprKind, Stmt, StmtKind};
use super::definitions::{class_of, is_enum_base, is_foreign};
use super::interpreter::{Interpreter, Scan, Scope};
use super::values::{ClassId, Value};

/// What the values of an enum are made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EnumKind {
    /// `enum.Enum` or `enum.IntEnum`.
    Plain,
    /// `enum.StrEnum`.
    Str,
    /// An enum with another base, such as `str`.
    Mixed,
    /// The library's own class, with a description beside each value.
    Described,
}

impl Interpreter<'_> {
    /// Whether a class is an enum.
    pub(super) fn is_enum(&self, id: ClassId) -> bool {
        let is_base = |value: &Value| matches!(value, Value::Foreign(path) if is_enum_base(path));
        self.classes[id].mro.iter().any(|owner| self.classes[*owner].bases.iter().any(is_base))
    }

    /// The names of the members of an enum, in order.
    pub(super) fn enum_member_names(&self, id: ClassId) -> Vec<String> {
        let class = &self.classes[id];
        let private = format!("_{}__", class.def.name.trim_start_matches('_'));
        let is_member = |name: &str, value: &Value| {
            let reserved =
                name.starts_with('_') && name.ends_with('_') || name.starts_with(&private) || name.starts_with("__");
            !reserved && is_member_value(value)
        };
        class.namespace.iter().filter(|(name, value)| is_member(name, value)).map(|(name, _)| name.to_owned()).collect()
    }

    fn enum_kind(&self, id: ClassId) -> EnumKind {
        let bases = self.classes[id].mro.iter().flat_map(|owner| &self.classes[*owner].bases);
        let bases: Vec<&Value> = bases.collect();
        let has = |path: &str| bases.iter().any(|base| is_foreign(base, path));
        if has("dagger.Enum") {
            EnumKind::Described
        } else if has("enum.StrEnum") {
            EnumKind::Str
        } else if bases
            .iter()
            .any(|base| class_of(base).is_none() && !is_foreign(base, "enum.Enum") && !is_foreign(base, "enum.IntEnum"))
        {
            EnumKind::Mixed
        } else {
            EnumKind::Plain
        }
    }

    /// The enum as the library registers it.
    pub(super) fn declared_enum(&mut self, id: ClassId) -> Scan<DeclaredType> {
        let scope = Scope { module: self.classes[id].module, class: None };
        self.check_enum(scope, id)?;
        let class = &self.classes[id];
        let (name, line, def, nested) = (class.def.name.clone(), class.def.line, class.def.clone(), class.nested);
        let kind = self.enum_kind(id);
        let mut members: Vec<DeclaredMember> = Vec::new();
        let mut last = Some(0_i64);
        for member in self.enum_member_names(id) {
            let Some(value) = self.classes[id].namespace.get(&member).cloned() else { continue };
            let Some((value, described)) = member_value(kind, &member, &value, &mut last) else {
                return self.undecided(scope, line, format!("the value of `{name}.{member}` is computed"));
            };
            if members.iter().any(|known| known.value == value) {
                return self.undecided(scope, line, format!("two members of `{name}` have one value"));
            }
            // The library parses the source of a class alone, which fails if it is indented.
            let doc = if nested { MemberDoc::default() } else { documented(&def.body, &member) };
            members.push(DeclaredMember {
                name: member,
                value,
                description: described.or(doc.description).unwrap_or_default(),
                deprecated: doc.deprecated,
                ..DeclaredMember::default()
            });
        }
        let description = self.class_doc(scope, id)?.unwrap_or_default();
        Ok(DeclaredType { kind: DeclaredKind::Enum, name, description, members, ..DeclaredType::default() })
    }

    fn check_enum(&self, scope: Scope, id: ClassId) -> Scan<()> {
        let class = &self.classes[id];
        let name = &class.def.name;
        if !self.is_enum(id) {
            return self.undecided(scope, class.def.line, format!("`{name}` is no enum"));
        }
        for owner in &class.mro {
            let owner = &self.classes[*owner];
            if let Some(reason) = &owner.undecided {
                return self.undecided(scope, class.def.line, reason);
            }
            let special = |name: &str| {
                matches!(
                    name,
                    "_generate_next_value_"
                        | "_missing_"
                        | "_ignore_"
                        | "__new__"
                        | "__init_subclass__"
                        | "description"
                        | "__init__"
                        | "value"
                        | "name"
                        | "_value_"
                )
            };
            if let Some((found, _)) = owner.namespace.iter().find(|(name, _)| special(name) && *name != "_missing_") {
                return self.undecided(scope, owner.def.line, format!("the enum `{name}` defines `{found}`"));
            }
            if let Some((found, _)) =
                owner.namespace.iter().find(|(_, value)| matches!(value, Value::Unknown(_) | Value::Class(_)))
            {
                return self.undecided(scope, owner.def.line, format!("`{name}.{found}` is computed"));
            }
            if let Some(found) = owner.namespace.rebound.first() {
                return self.undecided(scope, owner.def.line, format!("`{name}.{found}` is defined twice"));
            }
        }
        Ok(())
    }
}

fn is_member_value(value: &Value) -> bool {
    !matches!(
        value,
        Value::Function(_)
            | Value::StaticMethod(_)
            | Value::ClassMethod(_)
            | Value::Property
            | Value::Class(_)
            | Value::Lambda
    )
}

/// The value of a member as text, and the description beside it.
fn member_value(kind: EnumKind, name: &str, value: &Value, last: &mut Option<i64>) -> Option<(String, Option<String>)> {
    let plain = |value: &Value| match value {
        Value::Str(text) => Some(text.to_string()),
        Value::Int(digits) if kind != EnumKind::Str && kind != EnumKind::Described => Some(digits.to_string()),
        _ => None,
    };
    match (kind, value) {
        (EnumKind::Plain, Value::Auto) => {
            let next = (*last)?.checked_add(1)?;
            *last = Some(next);
            Some((next.to_string(), None))
        }
        (EnumKind::Str, Value::Auto) => Some((name.to_lowercase(), None)),
        (EnumKind::Described, Value::Tuple(items)) => match &**items {
            [value, Value::Str(description)] => Some((plain(value)?, Some(description.to_string()))),
            [value, Value::None] | [value] => Some((plain(value)?, None)),
            _ => None,
        },
        (EnumKind::Mixed, Value::Int(_)) => None,
        (_, value) => {
            *last = match value {
                Value::Int(digits) => digits.parse().ok().filter(|value| last.is_some_and(|last| *value >= last)),
                _ => None,
            };
            Some((plain(value)?, None))
        }
    }
}

/// The documentation of a member.
#[derive(Debug, Default, PartialEq, Eq)]
struct MemberDoc {
    description: Option<String>,
    deprecated: Option<String>,
}

/// The string below the assignment of a member.
fn documented(body: &[Stmt], member: &str) -> MemberDoc {
    let is_member = |target: &Expr| matches!(&target.kind, ExprKind::Name(name) if name == member);
    let assigns = |stmt: &Stmt| matches!(&stmt.kind, StmtKind::Assign(targets, _) if targets.iter().any(is_member));
    let next = body.iter().position(assigns).and_then(|at| body.get(at + 1));
    match next.map(|stmt| &stmt.kind) {
        Some(StmtKind::Expr(Expr { kind: ExprKind::Str(text), .. })) if !text.trim().is_empty() => {
            member_doc(text.trim())
        }
        _ => MemberDoc::default(),
    }
}

/// Separates a description from the directive `.. deprecated::` in it.
fn member_doc(text: &str) -> MemberDoc {
    const DIRECTIVE: &str = ".. deprecated::";
    let (mut description, mut deprecated) = (Vec::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(reason) = line.trim().strip_prefix(DIRECTIVE) else {
            description.push(line.trim());
            continue;
        };
        deprecated.push(reason.trim());
        for line in lines.by_ref() {
            match (line.trim(), line.starts_with("   ") || line.starts_with('\t')) {
                ("", _) => {}
                (line, true) => deprecated.push(line),
                (line, false) => {
                    description.push(line);
                    break;
                }
            }
        }
    }
    let joined = |lines: Vec<&str>| {
        let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        Some(lines.join("\n")).filter(|text| !text.is_empty())
    };
    MemberDoc { description: joined(description), deprecated: joined(deprecated) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_of_members() {
        let check = |text: &str, description: Option<&str>, deprecated: Option<&str>| {
            let want = MemberDoc { description: description.map(Into::into), deprecated: deprecated.map(Into::into) };
            assert_eq!(member_doc(text), want, "{text:?}");
        };
        check("One.\n\n    Two.", Some("One.\nTwo."), None);
        check(".. deprecated:: Use X", None, Some("Use X"));
        check("One.\n.. deprecated::\n    Use X\n    now\nTwo.", Some("One.\nTwo."), Some("Use X\nnow"));
    }
}
