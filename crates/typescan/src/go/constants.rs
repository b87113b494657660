//! The values of constants.

use std::collections::HashMap;

use super::syntax::{ConstDecl, Value};

/// How many references from constant to constant are followed.
const MAX_DEPTH: usize = 50;

/// A value that was computed.
#[derive(Clone, Debug, PartialEq)]
enum Constant {
    Text(String),
    Integer(i64),
    Other(String),
}

/// The constants of a package.
pub(crate) struct Constants<'a>(pub(crate) HashMap<&'a str, &'a ConstDecl>);

impl Constants<'_> {
    /// The value of a constant as text. `None` when it takes more than literals, names, `iota`,
    /// conversions, `+`, `-`, `*` and `<<`.
    pub(crate) fn text(&self, constant: &ConstDecl) -> Option<String> {
        Some(match self.evaluate(constant.value.as_ref()?, constant.iota, 0)? {
            Constant::Text(text) | Constant::Other(text) => text,
            Constant::Integer(number) => number.to_string(),
        })
    }

    fn evaluate(&self, value: &Value, iota: i64, depth: usize) -> Option<Constant> {
        if depth > MAX_DEPTH {
            return None;
        }
        let depth = depth + 1;
        match value {
            Value::Text(text) => Some(Constant::Text(text.clone())),
            Value::Literal(text) => {
                Some(text.parse().map_or_else(|_| Constant::Other(text.clone()), Constant::Integer))
            }
            Value::Name(name) if name == "iota" => Some(Constant::Integer(iota)),
            Value::Name(name) => {
                let other = self.0.get(name.as_str())?;
                self.evaluate(other.value.as_ref()?, other.iota, depth)
            }
            Value::Call(_, inner) => self.evaluate(inner, iota, depth),
            Value::Binary(left, operator, right) => {
                let sides = (self.evaluate(left, iota, depth)?, self.evaluate(right, iota, depth)?);
                match (operator.as_str(), sides) {
                    ("+", (Constant::Text(a), Constant::Text(b))) => Some(Constant::Text(a + &b)),
                    ("+", (Constant::Integer(a), Constant::Integer(b))) => a.checked_add(b).map(Constant::Integer),
                    ("-", (Constant::Integer(a), Constant::Integer(b))) => a.checked_sub(b).map(Constant::Integer),
                    ("*", (Constant::Integer(a), Constant::Integer(b))) => a.checked_mul(b).map(Constant::Integer),
                    ("<<", (Constant::Integer(a), Constant::Integer(b))) => {
                        u32::try_from(b).ok().and_then(|b| a.checked_shl(b)).map(Constant::Integer)
                    }
                    _ => None,
                }
            }
            Value::Other => None,
        }
    }
}
