//! Prepares a request: text and variables to an operation that can be run.

use std::cell::Cell;
use std::collections::HashMap;

use crate::coerce::{Coercer, Variable, Variables, from_json, is_id};
use crate::document::{Document, OperationDefinition, OperationKind, VariableDefinition};
use crate::error::{GqlError, Limits};
use crate::expand;
use crate::operation::Operation;
use crate::rules;
use crate::types::{Schema, TypeKind};
use crate::value::Value;

/// What a client sends.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The document.
    pub query: &'a str,
    /// Which operation of the document to run; needed when there are several.
    pub operation_name: Option<&'a str>,
    /// Values of variables.
    pub variables: Option<&'a serde_json::Map<String, serde_json::Value>>,
}

/// Parses and validates a request.
///
/// # Errors
/// When the text is no document, does not fit the schema, or exceeds a limit. Only the first error
/// is returned.
pub fn prepare(schema: &Schema, request: &Request<'_>, limits: &Limits) -> Result<Operation, GqlError> {
    let document = Document::parse(request.query, limits)?;
    let fragments = rules::check(&document, schema)?;
    let operation = choose(&document, request.operation_name)?;
    let variables = variables(schema, operation, request)?;
    let coercer = Coercer { schema, variables: &variables, operation: operation.name };
    let prepared = expand::expand(&document, &fragments, operation, &coercer, limits)?;
    match operation.variables.iter().find(|declared| !variables[declared.name].used.get()) {
        None => Ok(prepared),
        Some(unused) => Err(GqlError::validation(never_used(unused.name, operation.name), unused.location)),
    }
}

fn never_used(variable: &str, operation: Option<&str>) -> String {
    match operation {
        Some(operation) => format!("Variable \"${variable}\" is never used in operation \"{operation}\"."),
        None => format!("Variable \"${variable}\" is never used."),
    }
}

fn choose<'d, 'a>(document: &'d Document<'a>, name: Option<&str>) -> Result<&'d OperationDefinition<'a>, GqlError> {
    let operation = match (name.filter(|name| !name.is_empty()), document.operations.as_slice()) {
        (_, []) => return Err(GqlError::request("Must provide an operation.")),
        (None, [only]) => only,
        (None, _) => {
            return Err(GqlError::request("Must provide operation name if query contains multiple operations."));
        }
        (Some(name), all) => match all.iter().find(|operation| operation.name == Some(name)) {
            Some(operation) => operation,
            None => return Err(GqlError::request(format!("Unknown operation named \"{name}\"."))),
        },
    };
    let unsupported = match operation.kind {
        OperationKind::Query => return Ok(operation),
        OperationKind::Mutation => "mutation",
        OperationKind::Subscription => "subscription",
    };
    let message = format!("Schema is not configured to execute {unsupported} operation.");
    Err(GqlError::validation(message, operation.location))
}

fn variables<'a>(
    schema: &Schema,
    operation: &OperationDefinition<'a>,
    request: &Request<'a>,
) -> Result<Variables<'a>, GqlError> {
    let mut all = HashMap::with_capacity(operation.variables.len());
    for declared in &operation.variables {
        let variable = variable(schema, declared, request)?;
        if all.insert(declared.name, variable).is_some() {
            let message = format!("There can be only one variable named \"${}\".", declared.name);
            return Err(GqlError::validation(message, declared.location));
        }
        if !declared.directives.is_empty() {
            let message = format!("Variable \"${}\" may not have directives.", declared.name);
            return Err(GqlError::validation(message, declared.location));
        }
    }
    Ok(all)
}

fn variable<'a>(
    schema: &Schema,
    declared: &VariableDefinition<'a>,
    request: &Request<'a>,
) -> Result<Variable, GqlError> {
    let fail = |message: String| GqlError::validation(message, declared.location);
    let (name, ty) = (declared.name, &declared.ty);
    match schema.types.get(ty.base()).map(|def| &def.kind) {
        Some(TypeKind::Object(_) | TypeKind::Interface(_)) => {
            return Err(fail(format!("Variable \"${name}\" cannot be non-input type \"{ty}\".")));
        }
        None if !is_id(schema, ty.base()) => return Err(fail(format!("Unknown type \"{}\".", ty.base()))),
        _ => {}
    }
    let none = HashMap::new();
    let coercer = Coercer { schema, variables: &none, operation: None };
    let default = match &declared.default {
        None => None,
        Some(literal) => coercer.coerce(literal, ty, false).map_err(fail)?,
    };
    let has_default = default.as_ref().is_some_and(|value| *value != Value::Null);
    let given = request.variables.and_then(|values| values.get(name));
    let value = match given {
        Some(json) if json.is_null() && ty.is_non_null() => {
            return Err(fail(format!("Variable \"${name}\" of non-null type \"{ty}\" must not be null.")));
        }
        Some(json) => coercer
            .coerce(&from_json(json), ty, false)
            .map_err(|why| fail(format!("Variable \"${name}\" got an invalid value; {why}")))?,
        None => default,
    };
    if value.is_none() && ty.is_non_null() {
        return Err(fail(format!("Variable \"${name}\" of required type \"{ty}\" was not provided.")));
    }
    Ok(Variable { ty: ty.clone(), has_default, value, used: Cell::new(false) })
}
