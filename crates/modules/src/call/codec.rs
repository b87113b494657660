//! Conversion between values of the API and the JSON that a module's code reads and writes:
//! docs/protocol.md#encoding-of-values.
//!
//! Objects of the module itself are encoded as their state, all other objects as IDs, enum members
//! by the name that the module gave them.

use std::sync::Arc;

use futures_util::future::{BoxFuture, try_join_all};
use rondel_call::{Call, CallSpec, Literal};
use rondel_fault::{Fault, Result};
use rondel_model::{Platform, Value};
use rondel_module_model::json::{integer, kind_of};
use rondel_module_model::loaded_module::{Module, ModuleObject};
use rondel_module_model::typedef::type_def::{TypeDef, TypeDefKind};
use rondel_query::Node;
use rondel_session::{Caller, Evaluator};
use serde_json::Value as Json;

use crate::module::module_schema::object_conforms;

/// The internal field that gives a value from its JSON.
pub const FIELD: &str = "_moduleValue";

/// Converts values for one module and one caller.
#[derive(Clone, Copy)]
pub struct Codec<'a> {
    /// Evaluates IDs.
    pub evaluator: &'a Arc<Evaluator>,
    /// The caller.
    pub caller: &'a Arc<Caller>,
    /// The module.
    pub module: &'a Arc<Module>,
}

impl<'a> Codec<'a> {
    /// Encodes an argument as JSON. An argument that was not given is null.
    ///
    /// # Errors
    /// When an object cannot be evaluated.
    pub fn encode(self, ty: &'a TypeDef, value: &'a Literal) -> BoxFuture<'a, Result<Json>> {
        Box::pin(async move {
            Ok(match (value, &ty.kind) {
                (Literal::Null, _) => Json::Null,
                (Literal::List(items), TypeDefKind::List(element)) => {
                    Json::Array(try_join_all(items.iter().map(|item| self.encode(element, item))).await?)
                }
                (Literal::Call(call), TypeDefKind::Object(def)) if self.module.types.object(&def.name).is_some() => {
                    let node = self.evaluator.load_as(self.caller, call, Some(&def.name)).await?;
                    Json::Object(node.get::<ModuleObject>()?.state.as_ref().clone())
                }
                (Literal::Call(call), TypeDefKind::Object(_) | TypeDefKind::Interface(_)) => {
                    let node = self.evaluator.load(self.caller, call).await?;
                    if !self.fits(ty, &node) {
                        let (wanted, got) = (ty.name(), node.type_name());
                        // Clients match on this text; see docs/protocol.md#ids.
                        return Err(Fault::user(format!("load {wanted}: expected {wanted}, got {got}")));
                    }
                    literal_json(self.evaluator, value)
                }
                (Literal::Enum(name) | Literal::String(name), TypeDefKind::Enum(def)) => {
                    self.member_for_module(&def.name, name).into()
                }
                (Literal::String(text), TypeDefKind::Scalar(def)) if def.name == "Platform" => platform(text)?.into(),
                (other, _) => literal_json(self.evaluator, other),
            })
        })
    }

    fn member_for_module(self, ty: &str, name: &str) -> String {
        let own = self.module.types.enumeration(ty);
        let member = own.and_then(|def| def.members.iter().find(|member| member.name == name));
        member.map_or(name, |member| &member.original).to_owned()
    }

    /// Decodes a value that the module's code returned. An object comes with the call that gives
    /// it. `place` names the function or field, for messages.
    ///
    /// # Errors
    /// When the value is of another type, or an ID cannot be evaluated.
    pub fn decode(self, ty: &'a TypeDef, json: &'a Json, place: &'a str) -> BoxFuture<'a, Result<Node>> {
        Box::pin(async move {
            let wrong = || {
                let shown: String = json.to_string().chars().take(80).collect();
                Fault::user(format!("{place} must give `{}`, and gave {}: {shown}", ty.describe(), kind_of(json)))
            };
            let leaf = |value| Ok(Node { call: None, value });
            match (&ty.kind, json) {
                (TypeDefKind::Void, _) => leaf(Value::Null),
                (_, Json::Null) if ty.optional => leaf(Value::Null),
                (kind, Json::Null) => {
                    let name = if matches!(kind, TypeDefKind::List(_)) { "List" } else { ty.name() };
                    // Users match on this text; see docs/protocol.md#encoding-of-values.
                    Err(Fault::user(format!("{place}: cannot create {name} from <nil>")))
                }
                (TypeDefKind::String, Json::String(text)) => leaf(Value::string(&**text)),
                (TypeDefKind::Integer, Json::Number(number)) => match integer(number) {
                    Some(number) => leaf(Value::Int(number)),
                    None => Err(wrong()),
                },
                (TypeDefKind::Float, Json::Number(number)) => leaf(Value::Float(number.as_f64().ok_or_else(wrong)?)),
                (TypeDefKind::Boolean, Json::Bool(value)) => leaf(Value::Bool(*value)),
                (TypeDefKind::Scalar(def), Json::String(text)) if def.name == "Platform" => {
                    leaf(Value::string(platform(text)?))
                }
                (TypeDefKind::Scalar(_), Json::String(text)) => leaf(Value::string(&**text)),
                (TypeDefKind::Scalar(def), other) if def.name == "JSON" => leaf(Value::string(other.to_string())),
                (TypeDefKind::Enum(def), Json::String(text)) => {
                    let own = self.module.types.enumeration(&def.name);
                    match own.map(|def| def.member(text)) {
                        Some(Some(member)) => leaf(Value::member(&*member.name)),
                        Some(None) => {
                            Err(Fault::user(format!("{place}: invalid enum value `{text}` for `{}`", def.name)))
                        }
                        None => self.core_member(&def.name, text, place).and_then(leaf),
                    }
                }
                (TypeDefKind::List(element), Json::Array(items)) => {
                    let items = try_join_all(items.iter().map(|item| self.decode(element, item, place))).await?;
                    leaf(Value::List(items.into_iter().map(listed).collect()))
                }
                (TypeDefKind::Object(def), Json::Object(state)) => match self.module.types.object(&def.name) {
                    Some(def) => Ok(self.own(ty, def, state)),
                    None => Err(wrong()),
                },
                (TypeDefKind::Object(_) | TypeDefKind::Interface(_), Json::String(id)) => {
                    let node = self.evaluator.load_id(self.caller, id, None).await.map_err(|e| e.context(place))?;
                    self.check(ty, &node, place)?;
                    Ok(node)
                }
                _ => Err(wrong()),
            }
        })
    }

    fn core_member(self, ty: &str, text: &str, place: &str) -> Result<Value> {
        let schema = self.caller.schema();
        let Some(rondel_gql::types::TypeKind::Enum(members)) = schema.types.get(ty).map(|ty| &ty.kind) else {
            return Ok(Value::member(text));
        };
        match members.iter().find(|member| &*member.name == text) {
            Some(member) => Ok(Value::Enum(member.alias_of.as_ref().unwrap_or(&member.name).clone())),
            None => Err(Fault::user(format!("{place}: invalid enum value `{text}` for `{ty}`"))),
        }
    }

    fn own(
        self,
        ty: &TypeDef,
        def: &Arc<rondel_module_model::typedef::type_def::ObjectDef>,
        state: &serde_json::Map<String, Json>,
    ) -> Node {
        let state = Arc::new(state.clone());
        let call = self.call(ty, &Json::Object(state.as_ref().clone()));
        let object = ModuleObject { module: self.module.clone(), def: def.clone(), state };
        Node { call: Some(call), value: Value::object(&*def.name, object) }
    }

    /// Whether the object of `node` may be used where `ty` is expected.
    fn fits(self, ty: &TypeDef, node: &Node) -> bool {
        match &ty.kind {
            TypeDefKind::Object(def) => node.type_name() == def.name,
            TypeDefKind::Interface(def) => {
                if self.caller.schema().types.contains_key(&*def.name) {
                    return self.evaluator.is_a(self.caller, node, &def.name);
                }
                object_conforms(self.module, &self.caller.schema(), node, &def.name)
            }
            _ => false,
        }
    }

    fn check(self, ty: &TypeDef, node: &Node, place: &str) -> Result<()> {
        if self.fits(ty, node) {
            return Ok(());
        }
        Err(Fault::user(format!("{place} must give `{}`, and gave `{}`", ty.describe(), node.type_name())))
    }

    // IDENTITY: the call of a value that a module returned is its content, not the function that
    // returned it.
    fn call(self, ty: &TypeDef, json: &Json) -> Arc<Call> {
        let text = |text: String| Literal::String(text.into());
        let mut spec =
            CallSpec::new(ty.base().name(), FIELD).arg("type", text(ty.describe())).arg("json", text(json.to_string()));
        spec.module = Some(self.module.reference());
        Call::new(None, spec)
    }
}

/// A node as a list element. An object keeps the call that gives it, so that its ID does not
/// contain the whole list.
fn listed(node: Node) -> Value {
    match (node.value, node.call) {
        (Value::Object(object), Some(call)) => Value::Object(object.from_call(call)),
        (value, _) => value,
    }
}

/// Parses a type such as `[Foo!]!`. Names are resolved among the types of `module`.
pub fn parse_type(module: &Module, text: &str) -> TypeDef {
    let (text, optional) = match text.strip_suffix('!') {
        Some(inner) => (inner, false),
        None => (text, true),
    };
    let element = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let kind = match (element, text) {
        (Some(element), _) => TypeDefKind::List(Arc::new(parse_type(module, element))),
        (_, "String") => TypeDefKind::String,
        (_, "Int") => TypeDefKind::Integer,
        (_, "Float") => TypeDefKind::Float,
        (_, "Boolean") => TypeDefKind::Boolean,
        (_, "Void") => TypeDefKind::Void,
        (_, name) => named(module, name),
    };
    TypeDef { kind, optional }
}

fn named(module: &Module, name: &str) -> TypeDefKind {
    let types = &module.types;
    if let Some(def) = types.interface(name) {
        return TypeDefKind::Interface(def.clone());
    }
    if let Some(def) = types.enumeration(name) {
        return TypeDefKind::Enum(def.clone());
    }
    let foreign =
        || Arc::new(rondel_module_model::typedef::type_def::ObjectDef { name: name.to_owned(), ..Default::default() });
    TypeDefKind::Object(types.object(name).cloned().unwrap_or_else(foreign))
}

/// A literal as JSON. An object becomes its ID.
pub fn literal_json(evaluator: &Evaluator, value: &Literal) -> Json {
    match value {
        Literal::Null => Json::Null,
        Literal::Bool(b) => (*b).into(),
        Literal::Int(i) => (*i).into(),
        Literal::Float(x) => (*x).into(),
        Literal::String(text) | Literal::Enum(text) => (**text).into(),
        Literal::List(items) => items.iter().map(|item| literal_json(evaluator, item)).collect(),
        Literal::Object(fields) => Json::Object(
            fields.iter().map(|(name, value)| (name.to_string(), literal_json(evaluator, value))).collect(),
        ),
        Literal::Call(call) => evaluator.encode(call).into(),
    }
}

fn platform(text: &str) -> Result<String> {
    // Users match on this text; see docs/protocol.md#encoding-of-values.
    let parsed = text.parse::<Platform>().map(|platform| platform.to_string());
    parsed.map_err(|_| Fault::user(format!("\"{text}\": unknown operating system or architecture: invalid argument")))
}

/// Whether a value refers to data that only this session has: secrets that were set in it, files of
/// its clients.
pub fn is_session_bound(evaluator: &Evaluator, json: &Json) -> bool {
    match json {
        Json::String(text) => text.len() > 8 && evaluator.decode(text).is_ok_and(|call| is_bound(evaluator, &call)),
        Json::Array(items) => items.iter().any(|item| is_session_bound(evaluator, item)),
        Json::Object(fields) => fields.values().any(|value| is_session_bound(evaluator, value)),
        _ => false,
    }
}

fn is_bound(evaluator: &Evaluator, call: &Arc<Call>) -> bool {
    let mut seen = std::collections::HashSet::new();
    let mut pending = vec![call.clone()];
    while let Some(call) = pending.pop() {
        if !seen.insert(call.digest()) {
            continue;
        }
        let private = matches!(&**call.field(), "setSecret" | "_secret");
        if private || !call.implicit().is_empty() {
            return true;
        }
        pending.extend(call.receiver().cloned());
        for (name, value) in call.args() {
            value.calls(&mut pending);
            if &**call.field() == FIELD && &**name == "json" {
                let inner = if let Literal::String(text) = value { serde_json::from_str(text).ok() } else { None };
                if inner.as_ref().is_some_and(|json| is_session_bound(evaluator, json)) {
                    return true;
                }
            }
        }
    }
    false
}
