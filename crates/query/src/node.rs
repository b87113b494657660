//! Values with the calls that give them.

use std::sync::Arc;

use rondel_call::{Call, Literal};
use rondel_fault::{Fault, Result};
use rondel_gql::Value as Constant;
use rondel_model::Value;

/// A value and the call that gives it. The root of the schema has no call.
#[derive(Clone, Debug)]
pub struct Node {
    /// The call.
    pub call: Option<Arc<Call>>,
    /// The value.
    pub value: Value,
}

/// The data of the root object.
#[derive(Debug, Clone, Copy)]
pub struct Root;

impl Node {
    /// The root of the schema.
    pub fn root() -> Self {
        Self { call: None, value: Value::object("Query", Root) }
    }

    /// The element `index` (counted from zero) of a list. A call can name an element of a list and
    /// nothing deeper. So for an object in a list of lists this is `None`, unless the object itself
    /// holds the call that gives it.
    pub fn element(&self, index: usize) -> Option<Node> {
        let Value::List(items) = &self.value else { return None };
        let nth = u32::try_from(index + 1).ok()?;
        let value = items.get(index)?.clone();
        let own = if let Value::Object(object) = &value { object.origin().cloned() } else { None };
        let is_inside = self.call.as_ref().is_some_and(|call| call.nth() != 0);
        if is_inside && own.is_none() && matches!(value, Value::Object(_)) {
            return None;
        }
        let call = own.or_else(|| self.call.as_ref().map(|call| call.element(nth)));
        Some(Node { call, value })
    }

    /// The data of the object.
    ///
    /// # Errors
    /// When the value does not hold a `T`.
    pub fn get<T: Send + Sync + 'static>(&self) -> Result<&T> {
        let found = self.value.get();
        found.ok_or_else(|| Fault::bug(format!("a {} does not hold the data that was expected", self.type_name())))
    }

    /// The name of the object's type, or the kind of a value that is no object.
    pub fn type_name(&self) -> &str {
        match &self.value {
            Value::Object(object) => object.type_name(),
            Value::Null => "null",
            Value::List(_) => "list",
            _ => "scalar",
        }
    }
}

/// The literal of a GraphQL constant. Strings stay strings.
pub fn literal_of_constant(value: &Constant) -> Literal {
    match value {
        Constant::Null => Literal::Null,
        Constant::Bool(b) => Literal::Bool(*b),
        Constant::Int(i) => Literal::Int(*i),
        Constant::Float(x) => Literal::Float(*x),
        Constant::String(s) => Literal::String(s.clone()),
        Constant::Enum(s) => Literal::Enum(s.clone()),
        Constant::List(items) => Literal::List(items.iter().map(literal_of_constant).collect()),
        Constant::Object(fields) => {
            Literal::Object(fields.iter().map(|(name, value)| (name.clone(), literal_of_constant(value))).collect())
        }
    }
}
