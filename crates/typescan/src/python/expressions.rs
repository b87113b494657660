//! Expressions at import time.

use std::rc::Rc;

use super::ast::{Call, Expr, ExprKind};
use super::interpreter::{Interpreter, Scan, Scope};
use super::library;
use super::values::{ClassId, Hint, Value};

impl Interpreter<'_> {
    /// The value of an expression.
    pub(super) fn eval(&mut self, scope: Scope, expr: &Expr) -> Scan<Value> {
        let computed = |this: &Self| this.unknown(scope, expr.line, "a computed value");
        Ok(match &expr.kind {
            ExprKind::None => Value::None,
            ExprKind::Bool(value) => Value::Bool(*value),
            ExprKind::Int(digits) => Value::Int(digits.as_str().into()),
            ExprKind::Float(value) => Value::Float(*value),
            ExprKind::Str(text) => Value::Str(text.as_str().into()),
            ExprKind::Ellipsis => Value::Ellipsis,
            ExprKind::Lambda => Value::Lambda,
            ExprKind::Name(name) => match self.lookup(scope, name) {
                Some(value) => value,
                None => self.unknown(scope, expr.line, format!("`{name}` is not defined")),
            },
            ExprKind::List(items) => {
                self.items(scope, items)?.map_or_else(|| computed(self), |it| Value::List(it.into()))
            }
            ExprKind::Tuple(items) => {
                self.items(scope, items)?.map_or_else(|| computed(self), |it| Value::Tuple(it.into()))
            }
            ExprKind::Dict(pairs) => {
                let evaluated = pairs.iter().map(|(key, value)| Ok((self.eval(scope, key)?, self.eval(scope, value)?)));
                Value::Dict(evaluated.collect::<Scan<Vec<_>>>()?.into())
            }
            ExprKind::Negative(inner) => match self.eval(scope, inner)? {
                Value::Int(digits) if !digits.starts_with('-') && *digits != *"0" => {
                    Value::Int(format!("-{digits}").into())
                }
                Value::Float(value) => Value::Float(-value),
                _ => computed(self),
            },
            ExprKind::Attribute(object, name) => {
                let object = self.eval(scope, object)?;
                self.attribute(scope, expr.line, &object, name)
            }
            ExprKind::Or(left, right) => {
                let (left, right) = (self.eval(scope, left)?, self.eval(scope, right)?);
                self.union(scope, expr.line, left, right)
            }
            ExprKind::Subscript(value, items) => self.subscript(scope, expr.line, value, items)?,
            ExprKind::Call(call) => self.call(scope, expr.line, call)?,
            ExprKind::Walrus(name, value) => {
                let value = self.eval(scope, value)?;
                self.bind(scope, name, value.clone());
                value
            }
            ExprKind::Not(inner) => {
                self.eval(scope, inner)?;
                computed(self)
            }
            ExprKind::Compare(left, _, right) => {
                self.eval(scope, left)?;
                self.eval(scope, right)?;
                computed(self)
            }
            ExprKind::Other(parts) => self.other(scope, expr.line, parts)?,
        })
    }

    /// The values of the items of a list. `None` if `*` adds items.
    fn items(&mut self, scope: Scope, items: &[Expr]) -> Scan<Option<Vec<Value>>> {
        let spreads = items.iter().any(|item| matches!(item.kind, ExprKind::Other(_)));
        let values = items.iter().map(|item| self.eval(scope, item)).collect::<Scan<Vec<_>>>()?;
        Ok((!spreads).then_some(values))
    }

    /// A computed value. It is opaque if nothing of the library has a part in it.
    fn other(&mut self, scope: Scope, line: u32, parts: &[Expr]) -> Scan<Value> {
        let mut tainted = false;
        for part in parts {
            let value = self.eval(scope, part)?;
            tainted |= self.taints(&value);
        }
        let reason = self.reason(scope.module, line, "a computed value");
        Ok(if tainted { Value::Unknown(reason) } else { Value::Opaque(reason) })
    }

    /// Whether foreign code that gets `value` may make types of the module.
    pub(super) fn taints(&self, value: &Value) -> bool {
        match value {
            Value::Foreign(path) => library::makes_types(path),
            Value::List(items) | Value::Tuple(items) => items.iter().any(|item| self.taints(item)),
            Value::Dict(pairs) => pairs.iter().any(|(key, value)| self.taints(key) || self.taints(value)),
            Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Str(_)
            | Value::Ellipsis
            | Value::Opaque(_)
            | Value::Lambda
            | Value::Member(..)
            | Value::Meta(_)
            | Value::Hint(_)
            | Value::Auto
            | Value::Property => false,
            _ => true,
        }
    }

    pub(super) fn attribute(&self, scope: Scope, line: u32, object: &Value, name: &str) -> Value {
        match object {
            Value::Foreign(path) => library::foreign(&format!("{path}.{name}")),
            Value::Module(id) => match self.modules[*id].namespace.get(name) {
                Some(value) => value.clone(),
                None => self.unknown(scope, line, format!("`{}` has no name `{name}`", self.modules[*id].name)),
            },
            Value::Class(id) => self.class_attribute(scope, line, *id, name),
            Value::Member(class, member) => match name {
                "name" => Value::Str(member.clone()),
                "value" => match self.classes[*class].namespace.get(member) {
                    Some(value @ (Value::Str(_) | Value::Int(_) | Value::Float(_))) => value.clone(),
                    _ => self.unknown(scope, line, "a computed value"),
                },
                _ => self.unknown(scope, line, "a computed value"),
            },
            Value::Unknown(_) | Value::Opaque(_) => object.clone(),
            // `@name.setter`.
            Value::Property => library::foreign("builtins.property"),
            Value::Str(_) | Value::List(_) | Value::Dict(_) => {
                Value::Opaque(self.reason(scope.module, line, "a computed value"))
            }
            _ => self.unknown(scope, line, "a computed value"),
        }
    }

    /// The attribute of a class, from the class itself or its bases.
    pub(super) fn member(&self, class: ClassId, name: &str) -> Option<(ClassId, &Value)> {
        let mut mro = self.classes[class].mro.iter();
        mro.find_map(|owner| self.classes[*owner].namespace.get(name).map(|value| (*owner, value)))
    }

    fn class_attribute(&self, scope: Scope, line: u32, class: ClassId, name: &str) -> Value {
        if self.is_enum(class) && self.enum_member_names(class).iter().any(|member| member == name) {
            return Value::Member(class, name.into());
        }
        match self.member(class, name) {
            Some((_, value)) => value.clone(),
            None => self.unknown(scope, line, format!("an attribute of `{}`", self.classes[class].def.name)),
        }
    }

    /// `left | right`.
    fn union(&self, scope: Scope, line: u32, left: Value, right: Value) -> Value {
        let is_type = |value: &Value| match value {
            Value::Class(_) | Value::Hint(_) => true,
            Value::Foreign(path) => self.is_type_name(path),
            _ => false,
        };
        if let Value::Unknown(_) = left {
            return left;
        }
        if let Value::Unknown(_) = right {
            return right;
        }
        let none = |value: &Value| *value == Value::None;
        let valid =
            (is_type(&left) && is_type(&right)) || (is_type(&left) && none(&right)) || (none(&left) && is_type(&right));
        if !valid {
            return self.unknown(scope, line, "a computed value");
        }
        Value::Hint(Hint::Union(vec![left, right]).into())
    }

    fn is_type_name(&self, path: &str) -> bool {
        matches!(
            path,
            "builtins.str"
                | "builtins.int"
                | "builtins.float"
                | "builtins.bool"
                | "builtins.list"
                | "builtins.dict"
                | "builtins.tuple"
                | "builtins.set"
                | "builtins.bytes"
                | "builtins.object"
                | "typing.Any"
                | "typing.Self"
        ) || path.strip_prefix("dagger.").is_some_and(|name| self.api.find(name).is_some())
            || !path.starts_with("builtins.") && !path.starts_with("dagger.")
    }

    fn subscript(&mut self, scope: Scope, line: u32, value: &Expr, items: &[Expr]) -> Scan<Value> {
        let value = self.eval(scope, value)?;
        let items = match items {
            [Expr { kind: ExprKind::Tuple(items), .. }] => items.as_slice(),
            items => items,
        };
        let args = items.iter().map(|item| self.eval(scope, item)).collect::<Scan<Vec<_>>>()?;
        let Value::Foreign(path) = &value else {
            return Ok(match value {
                Value::Unknown(_) | Value::Opaque(_) => value,
                _ => self.unknown(scope, line, "a computed value"),
            });
        };
        Ok(Value::Hint(Rc::new(generic(path, args))))
    }

    pub(super) fn call(&mut self, scope: Scope, line: u32, call: &Call) -> Scan<Value> {
        if let ExprKind::Attribute(object, method) = &call.function.kind
            && let ExprKind::Name(name) = &object.kind
            && !library::is_reader(method)
        {
            self.forget(scope, std::slice::from_ref(name));
        }
        let function = self.eval(scope, &call.function)?;
        let args = call.args.iter().map(|arg| self.eval(scope, arg)).collect::<Scan<Vec<_>>>()?;
        let keywords = call.keywords.iter().map(|(name, value)| Ok((name.clone(), self.eval(scope, value)?)));
        let keywords = keywords.collect::<Scan<Vec<_>>>()?;
        if !matches!(&function, Value::Foreign(path) if library::is_pure(path)) {
            let passed = call.args.iter().chain(call.keywords.iter().map(|(_, value)| value));
            let names: Vec<String> = passed
                .filter_map(|arg| match &arg.kind {
                    ExprKind::Name(name) => Some(name.clone()),
                    _ => None,
                })
                .collect();
            self.forget(scope, &names);
        }
        let call = Arguments { line, args, keywords, spreads: call.spreads };
        self.apply(scope, function, &call)
    }
}

/// The evaluated arguments of a call.
pub(super) struct Arguments {
    pub(super) line: u32,
    pub(super) args: Vec<Value>,
    pub(super) keywords: Vec<(String, Value)>,
    pub(super) spreads: bool,
}

impl Arguments {
    /// All arguments, without their names.
    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.args.iter().chain(self.keywords.iter().map(|(_, value)| value))
    }

    /// The argument called `name`.
    pub(super) fn keyword(&self, name: &str) -> Option<&Value> {
        self.keywords.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// `path[args]` as a type.
fn generic(path: &str, args: Vec<Value>) -> Hint {
    let other = || Hint::Other(format!("`{path}[…]`").into());
    let mut args = args;
    match path {
        "builtins.list"
        | "typing.List"
        | "typing.Sequence"
        | "typing.MutableSequence"
        | "collections.abc.Sequence"
        | "collections.abc.MutableSequence"
        | "collections.deque"
        | "typing.Deque"
            if args.len() == 1 =>
        {
            Hint::List(args.remove(0))
        }
        "builtins.tuple" | "typing.Tuple" if args.len() == 2 && args[1] == Value::Ellipsis => {
            Hint::List(args.remove(0))
        }
        "typing.Optional" if args.len() == 1 => Hint::Union(vec![args.remove(0), Value::None]),
        "typing.Union" if !args.is_empty() => Hint::Union(args),
        "typing.Annotated" if args.len() >= 2 => {
            let metadata = args.split_off(1);
            Hint::Annotated(args.remove(0), metadata)
        }
        "dataclasses.InitVar" if args.len() == 1 => Hint::InitVar(args.remove(0)),
        "typing.ClassVar" => Hint::ClassVar,
        _ => other(),
    }
}
