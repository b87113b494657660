//! Coercion of literals and variables to the schema's types, with the leniencies that official
//! clients need; see docs/protocol.md#graphql-leniencies.
//!
//! Enums may be quoted and may name hidden or alias members; numbers and booleans may be quoted; an
//! ID or string may be an integer; one value is taken as a list of one; a `String!` field that an
//! input object leaves out is the empty text. A `null` for a field of an input object counts as
//! left out.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;

use crate::document::Literal;
use crate::suggest::did_you_mean;
use crate::types::{ArgDef, EnumValue, Name, Schema, TypeKind, TypeRef};
use crate::value::Value;

/// A declared variable.
pub(crate) struct Variable {
    /// Its declared type.
    pub(crate) ty: TypeRef,
    /// Whether it has a default that is not null.
    pub(crate) has_default: bool,
    /// Its value. `None` when neither the request nor a default gives one.
    pub(crate) value: Option<Value>,
    /// Whether the document uses it.
    pub(crate) used: Cell<bool>,
}

/// Variables by name.
pub(crate) type Variables<'a> = HashMap<&'a str, Variable>;

/// Coerces values of one operation.
pub(crate) struct Coercer<'x, 'a> {
    /// The types.
    pub(crate) schema: &'x Schema,
    /// The variables.
    pub(crate) variables: &'x Variables<'a>,
    /// The name of the operation, for messages.
    pub(crate) operation: Option<&'a str>,
}

impl<'a> Coercer<'_, 'a> {
    /// The value of `literal` where `ty` is expected. `None` for a variable without a value.
    pub(crate) fn coerce(
        &self,
        literal: &Literal<'a>,
        ty: &TypeRef,
        has_default: bool,
    ) -> Result<Option<Value>, String> {
        if let Literal::Variable(name) = literal {
            return self.variable(name, ty, has_default);
        }
        match (ty, literal) {
            (TypeRef::NonNull(_), Literal::Null) if !has_default => {
                Err(format!("Expected value of type \"{ty}\", found null."))
            }
            (_, Literal::Null) => Ok(Some(Value::Null)),
            (TypeRef::NonNull(inner), _) => self.coerce(literal, inner, has_default),
            (TypeRef::List(inner), Literal::List(items)) => {
                let items: Result<Vec<Value>, String> = items.iter().map(|item| self.item(item, inner)).collect();
                items.map(|items| Some(Value::List(items)))
            }
            (TypeRef::List(inner), single) => Ok(Some(Value::List(vec![self.item(single, inner)?]))),
            (TypeRef::Named(name), _) => self.named(literal, name).map(Some),
        }
    }

    fn item(&self, literal: &Literal<'a>, ty: &TypeRef) -> Result<Value, String> {
        match self.coerce(literal, ty, false)? {
            Some(Value::Null) | None if ty.is_non_null() => {
                Err(format!("Expected value of type \"{ty}\", found null."))
            }
            value => Ok(value.unwrap_or(Value::Null)),
        }
    }

    fn variable(&self, name: &str, ty: &TypeRef, has_default: bool) -> Result<Option<Value>, String> {
        let Some(variable) = self.variables.get(name) else {
            return Err(match self.operation {
                Some(operation) => format!("Variable \"${name}\" is not defined by operation \"{operation}\"."),
                None => format!("Variable \"${name}\" is not defined."),
            });
        };
        variable.used.set(true);
        let fits = match (ty, &variable.ty) {
            (TypeRef::NonNull(_), TypeRef::NonNull(_)) => self.subtype(&variable.ty, ty),
            (TypeRef::NonNull(inner), _) if variable.has_default || has_default => self.subtype(&variable.ty, inner),
            _ => self.subtype(&variable.ty, ty),
        };
        if !fits {
            let declared = &variable.ty;
            return Err(format!(
                "Variable \"${name}\" of type \"{declared}\" used in position expecting type \"{ty}\"."
            ));
        }
        Ok(variable.value.clone())
    }

    /// Whether a value of type `given` is one of type `wanted`. Scalars that stand for IDs are all
    /// the same.
    fn subtype(&self, given: &TypeRef, wanted: &TypeRef) -> bool {
        match (given, wanted) {
            (TypeRef::NonNull(given), TypeRef::NonNull(wanted)) => self.subtype(given, wanted),
            (_, TypeRef::NonNull(_)) => false,
            (TypeRef::NonNull(given), _) => self.subtype(given, wanted),
            (TypeRef::List(given), TypeRef::List(wanted)) => self.subtype(given, wanted),
            (TypeRef::Named(given), TypeRef::Named(wanted)) => {
                given == wanted || (is_id(self.schema, given) && is_id(self.schema, wanted))
            }
            _ => false,
        }
    }

    fn named(&self, literal: &Literal<'a>, name: &Name) -> Result<Value, String> {
        match self.schema.types.get(name).map(|def| &def.kind) {
            Some(TypeKind::Scalar) => self.scalar(literal, name),
            None if is_id(self.schema, name) => self.scalar(literal, name),
            Some(TypeKind::Enum(members)) => member(literal, name, members).map(Value::Enum),
            Some(TypeKind::Input(fields)) => self.object(literal, name, fields),
            _ => Err(format!("Unknown input type \"{name}\".")),
        }
    }

    fn scalar(&self, literal: &Literal<'a>, name: &Name) -> Result<Value, String> {
        let shown = || show(literal);
        match &**name {
            "Int" => integer(literal).map(Value::Int).ok_or_else(|| match literal {
                Literal::Int(_) => format!("Int cannot represent non 64-bit signed integer value: {}", shown()),
                _ => format!("Int cannot represent non-integer value: {}", shown()),
            }),
            "Float" => match literal {
                Literal::Int(text) | Literal::Float(text) => text.parse().ok(),
                Literal::String(text) => text.trim().parse().ok(),
                _ => None,
            }
            .filter(|x: &f64| x.is_finite())
            .map(Value::Float)
            .ok_or_else(|| format!("Float cannot represent non numeric value: {}", shown())),
            "Boolean" => match literal {
                Literal::Bool(value) => Some(*value),
                Literal::String(text) => text.parse().ok(),
                _ => None,
            }
            .map(Value::Bool)
            .ok_or_else(|| format!("Boolean cannot represent a non boolean value: {}", shown())),
            "String" => match literal {
                Literal::String(text) | Literal::Int(text) | Literal::Float(text) => Ok(Value::string(&**text)),
                _ => Err(format!("String cannot represent a non string value: {}", shown())),
            },
            other if is_id(self.schema, other) => match literal {
                Literal::String(text) | Literal::Int(text) => Ok(Value::string(&**text)),
                _ => Err(format!("{other} cannot represent a non-string and non-integer value: {}", shown())),
            },
            _ => self.raw(literal),
        }
    }

    /// A value of a scalar about which only its handler knows more.
    fn raw(&self, literal: &Literal<'a>) -> Result<Value, String> {
        Ok(match literal {
            Literal::Null => Value::Null,
            Literal::Bool(value) => Value::Bool(*value),
            Literal::Int(text) => match text.parse() {
                Ok(value) => Value::Int(value),
                Err(_) => Value::string(&**text),
            },
            Literal::Float(text) => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Value::Float(value),
                _ => Value::string(&**text),
            },
            Literal::String(text) => Value::string(&**text),
            Literal::Enum(name) => Value::Enum(Name::from(*name)),
            Literal::Variable(name) => match self.variables.get(name) {
                Some(variable) => {
                    variable.used.set(true);
                    variable.value.clone().unwrap_or(Value::Null)
                }
                None => return Err(format!("Variable \"${name}\" is not defined.")),
            },
            Literal::List(items) => Value::List(items.iter().map(|item| self.raw(item)).collect::<Result<_, _>>()?),
            Literal::Object(fields) => {
                let named = fields.iter().map(|(name, value)| Ok((Name::from(*name), self.raw(value)?)));
                Value::Object(named.collect::<Result<_, String>>()?)
            }
        })
    }

    /// An input object: fields in the order of the definition, defaults filled in.
    fn object(&self, literal: &Literal<'a>, name: &Name, fields: &[std::sync::Arc<ArgDef>]) -> Result<Value, String> {
        let Literal::Object(given) = literal else {
            return Err(format!("Expected value of type \"{name}\", found {}.", show(literal)));
        };
        for (at, (field, _)) in given.iter().enumerate() {
            if given[..at].iter().any(|(before, _)| before == field) {
                return Err(format!("There can be only one input field named \"{field}\"."));
            }
            if !fields.iter().any(|known| &*known.name == *field) {
                let near = did_you_mean(field, fields.iter().filter(|known| !known.hidden).map(|known| &*known.name));
                return Err(format!("Field \"{field}\" is not defined by type \"{name}\".{near}"));
            }
        }
        let mut object = Vec::with_capacity(fields.len());
        for field in fields {
            if let Some(value) = self.input_field(given, name, field)? {
                object.push((field.name.clone(), value));
            }
        }
        Ok(Value::Object(object))
    }

    fn input_field(
        &self,
        given: &[(&'a str, Literal<'a>)],
        name: &Name,
        field: &ArgDef,
    ) -> Result<Option<Value>, String> {
        let written = given.iter().find(|(written, _)| *written == &*field.name).map(|(_, value)| value);
        let lenient = matches!(&field.ty, TypeRef::NonNull(inner) if **inner == TypeRef::Named(Name::from("String")));
        let value = match written {
            None | Some(Literal::Null) => None,
            Some(value) => self.coerce(value, &field.ty, field.default.is_some())?,
        };
        match value {
            Some(Value::Null) | None => {}
            given => return Ok(given),
        }
        match &field.default {
            Some(default) => Ok(Some(default.clone())),
            None if lenient => Ok(Some(Value::string(""))),
            None if field.ty.is_non_null() => {
                let (ty, field) = (&field.ty, &field.name);
                Err(format!("Field \"{name}.{field}\" of required type \"{ty}\" was not provided."))
            }
            None => Ok(None),
        }
    }
}

/// Whether values of the type called `name` are IDs: `ID` itself and the `FooID` scalars of older
/// views, also where the view does not list them any more.
pub(crate) fn is_id(schema: &Schema, name: &str) -> bool {
    name == "ID"
        || (name.ends_with("ID") && schema.types.get(name).is_none_or(|def| matches!(def.kind, TypeKind::Scalar)))
}

fn integer(literal: &Literal<'_>) -> Option<i64> {
    match literal {
        Literal::Int(text) => text.parse().ok(),
        Literal::String(text) => text.trim().parse().ok(),
        Literal::Float(text) => {
            let value: f64 = text.parse().ok()?;
            (value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0).then_some(value as i64)
        }
        _ => None,
    }
}

fn member(literal: &Literal<'_>, name: &Name, members: &[std::sync::Arc<EnumValue>]) -> Result<Name, String> {
    let text: &str = match literal {
        Literal::Enum(text) => text,
        Literal::String(text) => text,
        // Members may be called so, and clients print them bare.
        Literal::Bool(true) => "true",
        Literal::Bool(false) => "false",
        _ => return Err(format!("Enum \"{name}\" cannot represent non-enum value: {}.", show(literal))),
    };
    match members.iter().find(|member| &*member.name == text) {
        Some(member) => Ok(member.alias_of.as_ref().unwrap_or(&member.name).clone()),
        None => {
            let near = did_you_mean(text, members.iter().filter(|m| !m.hidden).map(|m| &*m.name));
            Err(format!("Value \"{text}\" does not exist in \"{name}\" enum.{near}"))
        }
    }
}

/// The value as it is written, shortened.
fn show(literal: &Literal<'_>) -> String {
    match literal {
        Literal::Null => "null".to_owned(),
        Literal::Bool(value) => value.to_string(),
        Literal::Int(text) | Literal::Float(text) => text.chars().take(60).collect(),
        Literal::String(text) => Value::string(text.chars().take(60).collect::<String>()).to_string(),
        Literal::Enum(name) => name.chars().take(60).collect(),
        Literal::Variable(name) => format!("${name}"),
        Literal::List(_) => "a list".to_owned(),
        Literal::Object(_) => "an object".to_owned(),
    }
}

/// A JSON value of a variable, in the form of a literal.
pub(crate) fn from_json(json: &serde_json::Value) -> Literal<'_> {
    match json {
        serde_json::Value::Null => Literal::Null,
        serde_json::Value::Bool(value) => Literal::Bool(*value),
        serde_json::Value::Number(number) if number.is_f64() => Literal::Float(Cow::Owned(number.to_string())),
        serde_json::Value::Number(number) => Literal::Int(Cow::Owned(number.to_string())),
        serde_json::Value::String(text) => Literal::String(Cow::Borrowed(text)),
        serde_json::Value::Array(items) => Literal::List(items.iter().map(from_json).collect()),
        serde_json::Value::Object(fields) => {
            Literal::Object(fields.iter().map(|(name, value)| (name.as_str(), from_json(value))).collect())
        }
    }
}
