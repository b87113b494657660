//! Annotations: from values to types of the API, by the rules of the library.

use super::ast::{Expr, ExprKind};
use super::interpreter::{Interpreter, Scan, Scope};
use super::module::ApiType;
use super::parse;
use super::values::{ClassId, Hint, Meta, Value};

/// How deep annotations may be nested.
const MAX_DEPTH: usize = 30;

/// A type as the library registers it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    Void,
    String,
    Int,
    Float,
    Boolean,
    /// A type of the core API.
    Core(String),
    Class(ClassId),
    List(Box<Type>),
    Optional(Box<Type>),
    /// `typing.Self`.
    Itself,
}

impl Type {
    pub(super) fn is_nullable(&self) -> bool {
        matches!(self, Type::Void | Type::Optional(_))
    }
}

/// The place of an annotation: where its names are looked up.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) scope: Scope,
    pub(super) line: u32,
}

impl Interpreter<'_> {
    /// An annotation after the library evaluated its strings.
    pub(super) fn evaluated(&mut self, at: Place, value: &Value) -> Scan<Value> {
        let mut value = value.clone();
        for _ in 0..MAX_DEPTH {
            let expr = match &value {
                Value::Str(text) => match parse::parse_expression(text, at.line) {
                    Some(expr) => expr,
                    None => return self.undecided(at.scope, at.line, "an annotation that is no expression"),
                },
                Value::Hint(hint) => match &**hint {
                    Hint::Deferred(Expr { kind: ExprKind::Str(text), .. }) => {
                        value = Value::Str(text.as_str().into());
                        continue;
                    }
                    Hint::Deferred(expr) => expr.clone(),
                    _ => return Ok(value),
                },
                _ => return Ok(value),
            };
            value = self.eval(at.scope, &expr)?;
        }
        self.undecided(at.scope, at.line, "an annotation is nested too deeply")
    }

    /// The type that an annotation stands for.
    pub(super) fn resolve(&mut self, at: Place, value: &Value) -> Scan<Type> {
        self.resolve_within(at, value, MAX_DEPTH)
    }

    fn resolve_within(&mut self, at: Place, value: &Value, depth: usize) -> Scan<Type> {
        if depth == 0 {
            return self.undecided(at.scope, at.line, "an annotation is nested too deeply");
        }
        let value = self.evaluated(at, value)?;
        match &value {
            Value::None => Ok(Type::Void),
            Value::Class(id) => self.own_type(at, *id),
            Value::Foreign(path) => self.foreign_type(at, path),
            Value::Unknown(reason) => self.undecided(at.scope, at.line, format!("a type is not decided: {reason}")),
            Value::Hint(hint) => match &**hint {
                Hint::List(element) => Ok(Type::List(self.resolve_within(at, element, depth - 1)?.into())),
                Hint::Union(members) => self.union_type(at, members, depth - 1),
                Hint::Annotated(inner, _) | Hint::InitVar(inner) => self.resolve_within(at, inner, depth - 1),
                Hint::Other(what) => self.undecided(at.scope, at.line, format!("{what} is no type of the API")),
                Hint::ClassVar | Hint::Deferred(_) => self.undecided(at.scope, at.line, "an annotation is no type"),
            },
            _ => self.undecided(at.scope, at.line, "an annotation is no type"),
        }
    }

    fn union_type(&mut self, at: Place, members: &[Value], depth: usize) -> Scan<Type> {
        let (mut nullable, mut types) = (false, Vec::new());
        for member in members {
            let member = match self.resolve_within(at, member, depth)? {
                Type::Void => {
                    nullable = true;
                    continue;
                }
                Type::Optional(inner) => {
                    nullable = true;
                    *inner
                }
                member => member,
            };
            if !types.contains(&member) {
                types.push(member);
            }
        }
        match (types.pop(), types.is_empty(), nullable) {
            (None, ..) => Ok(Type::Void),
            (Some(only), true, true) => Ok(Type::Optional(only.into())),
            (Some(only), true, false) => Ok(only),
            (Some(_), false, _) => self.undecided(at.scope, at.line, "a union is no type of the API"),
        }
    }

    fn own_type(&mut self, at: Place, id: ClassId) -> Scan<Type> {
        let class = &self.classes[id];
        let is_empty_interface = |id: ClassId| {
            let is_exposed = |value: &Value| matches!(value, Value::Function(_));
            !self.classes[id]
                .mro
                .iter()
                .any(|owner| self.classes[*owner].namespace.iter().any(|(_, it)| is_exposed(it)))
        };
        match &class.object {
            Some(mark) if mark.interface && is_empty_interface(id) => {
                self.undecided(at.scope, at.line, "an interface without functions")
            }
            Some(_) => Ok(Type::Class(id)),
            None if class.exposed_enum => Ok(Type::Class(id)),
            None => {
                let name = class.def.name.clone();
                self.undecided(at.scope, at.line, format!("the class `{name}` is not registered"))
            }
        }
    }

    fn foreign_type(&mut self, at: Place, path: &str) -> Scan<Type> {
        match path {
            "builtins.str" => return Ok(Type::String),
            "builtins.int" => return Ok(Type::Int),
            "builtins.float" => return Ok(Type::Float),
            "builtins.bool" => return Ok(Type::Boolean),
            "types.NoneType" => return Ok(Type::Void),
            "typing.Self" => return Ok(Type::Itself),
            _ => {}
        }
        let name = path.strip_prefix("dagger.").unwrap_or_default();
        match self.api.find(name) {
            Some(ApiType::Object | ApiType::Scalar | ApiType::Enum(_)) => Ok(Type::Core(name.to_owned())),
            _ => self.undecided(at.scope, at.line, format!("`{path}` is no type of the core API")),
        }
    }

    /// The metadata of an annotation, last first.
    pub(super) fn metadata(&mut self, at: Place, value: &Value) -> Scan<Vec<Meta>> {
        let mut found = Vec::new();
        let mut value = self.evaluated(at, value)?;
        loop {
            let (inner, metadata) = match &value {
                Value::Hint(hint) => match &**hint {
                    Hint::InitVar(inner) => (inner.clone(), &[][..]),
                    Hint::Annotated(inner, metadata) => (inner.clone(), metadata.as_slice()),
                    _ => return Ok(found),
                },
                _ => return Ok(found),
            };
            for item in metadata.iter().rev() {
                match item {
                    Value::Meta(meta) => found.push(meta.clone()),
                    Value::Unknown(reason) => {
                        return self.undecided(at.scope, at.line, format!("metadata of a type is computed: {reason}"));
                    }
                    _ => {}
                }
            }
            value = self.evaluated(at, &inner)?;
        }
    }

    /// The docstring of the class that an annotation names. The library takes it for the
    /// documentation of what has the annotation.
    pub(super) fn documentation_of_class(&mut self, at: Place, value: &Value) -> Scan<Option<String>> {
        match value {
            Value::Class(id) => self.class_doc(at.scope, *id),
            _ => Ok(None),
        }
    }
}
