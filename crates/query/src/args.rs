//! Typed access to the arguments of a call.

use std::sync::Arc;

use futures_util::future::try_join_all;
use rondel_call::{Call, Literal};
use rondel_fault::{Fault, Result};
use rondel_gql::types::FieldDef;

use crate::caller::Caller;
use crate::context::ResolverContext;
use crate::node::{Node, literal_of_constant};

/// The arguments of a call. Defaults are filled in on access.
pub struct Args<C: Send + Sync + 'static> {
    cx: ResolverContext<C>,
    field: Arc<FieldDef>,
}

impl<C: Send + Sync + 'static> Clone for Args<C> {
    fn clone(&self) -> Self {
        Self { cx: self.cx.clone(), field: self.field.clone() }
    }
}

impl<C: Send + Sync + 'static> Args<C> {
    pub(crate) fn new(cx: ResolverContext<C>, field: Arc<FieldDef>) -> Self {
        Self { cx, field }
    }

    /// The field as the schema defines it.
    pub fn field(&self) -> &Arc<FieldDef> {
        &self.field
    }

    /// The context of the handler.
    pub fn cx(&self) -> &ResolverContext<C> {
        &self.cx
    }

    /// The caller that selected the field.
    pub fn caller(&self) -> &Arc<Caller<C>> {
        &self.cx.caller
    }

    /// Whether the argument was given with a value other than its default.
    pub fn given(&self, name: &str) -> bool {
        self.cx.call.arg(name).is_some()
    }

    /// The given value, or the default. Null if there is neither.
    pub fn literal(&self, name: &str) -> Literal {
        if let Some(value) = self.cx.call.arg(name) {
            return value.clone();
        }
        let default = self.field.arg(name).and_then(|arg| arg.default.as_ref());
        default.map_or(Literal::Null, literal_of_constant)
    }

    /// A string, or the member name of an enum.
    ///
    /// # Errors
    /// When it is missing or of another type.
    pub fn str(&self, name: &str) -> Result<Arc<str>> {
        self.opt_str(name)?.ok_or_else(|| self.missing(name))
    }

    /// A string, or the member name of an enum, if there is one.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn opt_str(&self, name: &str) -> Result<Option<Arc<str>>> {
        match self.literal(name) {
            Literal::Null => Ok(None),
            Literal::String(text) | Literal::Enum(text) => Ok(Some(text)),
            other => Err(self.wrong(name, "a string", &other)),
        }
    }

    /// A boolean. False if there is none.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn bool(&self, name: &str) -> Result<bool> {
        match self.literal(name) {
            Literal::Null => Ok(false),
            Literal::Bool(value) => Ok(value),
            other => Err(self.wrong(name, "a boolean", &other)),
        }
    }

    /// An integer.
    ///
    /// # Errors
    /// When it is missing or of another type.
    pub fn int(&self, name: &str) -> Result<i64> {
        self.opt_int(name)?.ok_or_else(|| self.missing(name))
    }

    /// An integer, if there is one.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn opt_int(&self, name: &str) -> Result<Option<i64>> {
        match self.literal(name) {
            Literal::Null => Ok(None),
            Literal::Int(value) => Ok(Some(value)),
            other => Err(self.wrong(name, "an integer", &other)),
        }
    }

    /// A list of strings. Empty if there is none.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn strings(&self, name: &str) -> Result<Vec<String>> {
        let items = match self.literal(name) {
            Literal::Null => return Ok(Vec::new()),
            Literal::List(items) => items,
            other => return Err(self.wrong(name, "a list of strings", &other)),
        };
        let text = |item| match item {
            Literal::String(text) | Literal::Enum(text) => Ok(text.to_string()),
            other => Err(self.wrong(name, "a list of strings", &other)),
        };
        items.into_iter().map(text).collect()
    }

    /// An object.
    ///
    /// # Errors
    /// When it is missing, of another type, or cannot be evaluated.
    pub async fn object(&self, name: &str) -> Result<Node> {
        self.opt_object(name).await?.ok_or_else(|| self.missing(name))
    }

    /// An object, if there is one.
    ///
    /// # Errors
    /// When it is of another type, or cannot be evaluated.
    pub async fn opt_object(&self, name: &str) -> Result<Option<Node>> {
        match self.literal(name) {
            Literal::Null => Ok(None),
            Literal::Call(call) => self.load(name, &call).await.map(Some),
            other => Err(self.wrong(name, "an object", &other)),
        }
    }

    /// A list of objects. Empty if there is none.
    ///
    /// # Errors
    /// When one is of another type, or cannot be evaluated.
    pub async fn objects(&self, name: &str) -> Result<Vec<Node>> {
        let calls = match self.literal(name) {
            Literal::Null => return Ok(Vec::new()),
            Literal::List(items) => items,
            other => return Err(self.wrong(name, "a list of objects", &other)),
        };
        let calls: Vec<Arc<Call>> = calls
            .into_iter()
            .map(|item| match item {
                Literal::Call(call) => Ok(call),
                other => Err(self.wrong(name, "a list of objects", &other)),
            })
            .collect::<Result<_>>()?;
        try_join_all(calls.iter().map(|call| self.load(name, call))).await
    }

    async fn load(&self, name: &str, call: &Arc<Call>) -> Result<Node> {
        let expected = self.field.arg(name).and_then(|arg| arg.expected_type().map(ToOwned::to_owned));
        self.cx.evaluator.load_as(&self.cx.caller, call, expected.as_deref()).await
    }

    fn missing(&self, name: &str) -> Fault {
        Fault::user(format!("argument `{name}` of `{}` is required", self.field.name))
    }

    fn wrong(&self, name: &str, expected: &str, got: &Literal) -> Fault {
        let got = match got {
            Literal::Null => "null",
            Literal::Bool(_) => "a boolean",
            Literal::Int(_) => "an integer",
            Literal::Float(_) => "a number",
            Literal::String(_) => "a string",
            Literal::Enum(_) => "an enum member",
            Literal::List(_) => "a list",
            Literal::Object(_) => "an input object",
            Literal::Call(_) => "an object",
        };
        Fault::user(format!("argument `{name}` of `{}` must be {expected}, not {got}", self.field.name))
    }
}
