//! Executes a validated operation. A chain of single selections is a loop; siblings run
//! concurrently.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use rondel_fault::{CAUSES, Detail, Fault, Kind};
use rondel_gql::types::{FieldDef, Name, Schema};
use rondel_gql::{Location, Operation, SelectionId, Target};
use rondel_model::Value;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::caller::Caller;
use crate::evaluator::Evaluator;
use crate::node::Node;
use crate::resolver::{CacheScope, Resolver};

/// The levels of nested siblings within one task. Deeper levels continue in a new task, so that
/// stacks stay small.
const LEVELS_PER_TASK: usize = 16;

/// The result of an operation.
#[derive(Debug)]
pub struct Response {
    /// The data as JSON text. `None` if a field failed.
    pub data: Option<String>,
    /// The errors of fields.
    pub errors: Vec<ResponseError>,
}

/// The error of a field.
#[derive(Debug, Clone)]
pub struct ResponseError {
    /// The error.
    pub fault: Fault,
    /// Response keys and list indexes down to the field.
    pub path: Vec<serde_json::Value>,
    /// The location of the field in the document.
    pub location: Location,
}

impl Response {
    /// The body of the HTTP response.
    pub fn body(&self) -> String {
        if self.errors.is_empty() {
            return format!("{{\"data\":{}}}", self.data.as_deref().unwrap_or("null"));
        }
        let errors: Vec<_> = self.errors.iter().map(ResponseError::json).collect();
        json!({"data": null, "errors": errors}).to_string()
    }
}

impl ResponseError {
    fn json(&self) -> serde_json::Value {
        let mut error = json!({
            "message": self.fault.full_message(),
            "path": self.path,
            "locations": [{"line": self.location.line, "column": self.location.column}],
        });
        error["extensions"] = extensions(&self.fault).into();
        error
    }
}

/// The `extensions` from which clients build typed errors: `_type`, the stable `code`, the hints,
/// the causes and the detail. Values that a module attached to its error win over our own.
fn extensions(fault: &Fault) -> serde_json::Map<String, serde_json::Value> {
    let mut map = match fault.detail() {
        Some(Detail::Exec(failure)) => {
            let value = json!({
                "_type": "EXEC_ERROR",
                "cmd": failure.cmd,
                "exitCode": failure.exit_code,
                "stdout": failure.stdout,
                "stderr": failure.stderr,
            });
            value.as_object().cloned().unwrap_or_default()
        }
        Some(Detail::Values(values)) => values.clone(),
        None => serde_json::Map::new(),
    };
    if !fault.hints().is_empty() {
        map.insert("hints".into(), fault.hints().into());
    }
    if !fault.causes().is_empty() {
        map.insert(CAUSES.into(), json!(fault.causes()));
    }
    map.entry("code").or_insert_with(|| fault.code().as_str().into());
    // One of the clients refuses extensions without this field.
    if !map.get("_type").is_some_and(serde_json::Value::is_string) {
        let kind = match fault.kind() {
            Kind::User => "USER_ERROR",
            Kind::Environment => "ENVIRONMENT_ERROR",
            Kind::Denied => "DENIED_ERROR",
            Kind::Cancelled => "CANCELLED_ERROR",
            Kind::Bug => "BUG_ERROR",
        };
        map.insert("_type".into(), kind.into());
    }
    map
}

/// Runs `operation` for `caller`.
pub async fn execute<C: Send + Sync + 'static>(
    evaluator: &Arc<Evaluator<C>>,
    caller: &Arc<Caller<C>>,
    operation: Arc<Operation>,
) -> Response {
    let run = Run { evaluator: evaluator.clone(), caller: caller.clone(), schema: caller.schema(), operation };
    let roots = run.operation.roots.clone();
    match Arc::new(run).object(Node::root(), roots, Vec::new(), 0).await {
        Ok(data) => Response { data: Some(data), errors: Vec::new() },
        Err(errors) => Response { data: None, errors },
    }
}

type Path = Vec<serde_json::Value>;
/// A selection and the selections on its result.
type Selected = (SelectionId, Vec<SelectionId>);
type Text = std::result::Result<String, Vec<ResponseError>>;

struct Run<C: Send + Sync + 'static> {
    evaluator: Arc<Evaluator<C>>,
    caller: Arc<Caller<C>>,
    schema: Arc<Schema>,
    operation: Arc<Operation>,
}

/// The result of a selection.
enum Step {
    Text(String),
    Object(Node, Vec<SelectionId>),
}

impl<C: Send + Sync + 'static> Run<C> {
    /// The selections on an object as a JSON object.
    fn object(
        self: Arc<Self>,
        mut node: Node,
        mut selections: Vec<SelectionId>,
        mut path: Path,
        level: usize,
    ) -> BoxFuture<'static, Text> {
        Box::pin(async move {
            let mut text = String::new();
            let mut open = 0;
            loop {
                let selected = self.applicable(&node, &selections);
                if let [(only, children)] = &selected[..] {
                    let key = self.key(*only);
                    path.push(key.clone());
                    text.push('{');
                    push_json(&mut text, &key);
                    text.push(':');
                    open += 1;
                    match self.clone().selection(&node, *only, children, &path, level).await? {
                        Step::Object(next, children) => {
                            (node, selections) = (next, children);
                            continue;
                        }
                        Step::Text(leaf) => {
                            text.push_str(&leaf);
                            break;
                        }
                    }
                }
                text.push_str(&self.clone().siblings(&node, selected, &path, level + 1).await?);
                break;
            }
            text.extend(std::iter::repeat_n('}', open));
            Ok(text)
        })
    }

    async fn siblings(self: Arc<Self>, node: &Node, selected: Vec<Selected>, path: &Path, level: usize) -> Text {
        let each = selected.iter().map(|(id, children)| {
            let (run, node) = (self.clone(), node.clone());
            let mut path = path.clone();
            path.push(self.key(*id));
            run.complete(node, *id, children.clone(), path, level)
        });
        let mut text = String::from("{");
        for (i, part) in gather(join_all(each).await)?.into_iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            push_json(&mut text, &self.key(selected[i].0));
            text.push(':');
            text.push_str(&part);
        }
        text.push('}');
        Ok(text)
    }

    /// Evaluates one selection with everything below it.
    fn complete(
        self: Arc<Self>,
        node: Node,
        id: SelectionId,
        children: Vec<SelectionId>,
        path: Path,
        level: usize,
    ) -> BoxFuture<'static, Text> {
        let work = async move {
            match self.clone().selection(&node, id, &children, &path, level).await? {
                Step::Text(text) => Ok(text),
                Step::Object(node, children) => self.object(node, children, path, level).await,
            }
        };
        if level % LEVELS_PER_TASK == LEVELS_PER_TASK - 1 {
            let task = AbortOnDropHandle::new(tokio::spawn(rondel_graph::inherit(work)));
            return Box::pin(async move { task.await.unwrap_or_else(|e| Err(vec![panicked(&e)])) });
        }
        Box::pin(work)
    }

    async fn selection(
        self: Arc<Self>,
        node: &Node,
        id: SelectionId,
        children: &[SelectionId],
        path: &Path,
        level: usize,
    ) -> std::result::Result<Step, Vec<ResponseError>> {
        let operation = self.operation.clone();
        let selection = &operation.selections[id as usize];
        let location = selection.location;
        let fail = |fault| vec![ResponseError { fault, path: path.clone(), location }];
        let (def, args) = match &selection.target {
            Target::Field { def, args, .. } => (def, args),
            Target::Typename => return Ok(Step::Text(json!(node.type_name()).to_string())),
            Target::Schema | Target::Type(_) => {
                let text = self.evaluator.introspection().get(&self.schema, &self.operation, id).map_err(fail)?;
                return Ok(Step::Text(text.to_string()));
            }
            Target::Introspection { field, .. } => {
                return Err(fail(Fault::bug(format!("`{field}` was selected outside of introspection"))));
            }
        };
        if &*def.name == "id" && !self.schema.types.contains_key(node.type_name()) {
            // An object of a module that the caller is not served has an ID too.
            return self.evaluator.id_of(node).map(|id| Step::Text(json!(id).to_string())).map_err(fail);
        }
        let def = self.concrete(node, def);
        let result = self.evaluator.select(&self.caller, node, &def, args).await.map_err(fail)?;
        self.value(result, &def, children, path, location, level).await
    }

    /// The field of the object's own type for a field that was selected on an interface.
    fn concrete(&self, node: &Node, def: &Arc<FieldDef>) -> Arc<FieldDef> {
        let own = match self.schema.types.get(node.type_name()) {
            Some(shown) => shown.field(&def.name).cloned(),
            None => self.evaluator.type_of(&self.caller, node).and_then(|ty| ty.field(&def.name).cloned()),
        };
        own.unwrap_or_else(|| def.clone())
    }

    async fn value(
        self: Arc<Self>,
        node: Node,
        def: &FieldDef,
        children: &[SelectionId],
        path: &Path,
        location: Location,
        level: usize,
    ) -> std::result::Result<Step, Vec<ResponseError>> {
        match &node.value {
            // Null is the only value of `Void`.
            Value::Null if def.ty.is_non_null() && &**def.ty.base() != "Void" => {
                let fault = Fault::user(format!("`{}` must not be null, and is", def.name));
                Err(vec![ResponseError { fault, path: path.clone(), location }])
            }
            Value::Object(_) => Ok(Step::Object(node, children.to_vec())),
            list @ Value::List(_) if holds_objects(list) => {
                self.list(&node, children, path, location, level).await.map(Step::Text)
            }
            leaf => Ok(Step::Text(leaf_json(leaf).to_string())),
        }
    }

    /// The elements of a list, which may be lists themselves.
    fn list<'a>(
        self: Arc<Self>,
        node: &'a Node,
        children: &'a [SelectionId],
        path: &'a Path,
        location: Location,
        level: usize,
    ) -> BoxFuture<'a, Text> {
        Box::pin(async move {
            let length = if let Value::List(items) = &node.value { items.len() } else { 0 };
            let each = (0..length).map(|index| {
                let mut path = path.clone();
                path.push(index.into());
                self.clone().element(node.element(index), children, path, location, level + 1)
            });
            Ok(format!("[{}]", gather(join_all(each).await)?.join(",")))
        })
    }

    async fn element(
        self: Arc<Self>,
        node: Option<Node>,
        children: &[SelectionId],
        path: Path,
        location: Location,
        level: usize,
    ) -> Text {
        match node {
            Some(node) if matches!(node.value, Value::Object(_)) && children.is_empty() => {
                self.record(&node, &path, location).await
            }
            Some(node) if matches!(node.value, Value::Object(_)) => {
                self.object(node, children.to_vec(), path, level).await
            }
            Some(node) if holds_objects(&node.value) => self.list(&node, children, &path, location, level).await,
            Some(node) => Ok(leaf_json(&node.value).to_string()),
            None => {
                let fault = Fault::bug("an object in a list of lists does not say which call gives it");
                Err(vec![ResponseError { fault, path, location }])
            }
        }
    }

    /// An element of a list without selections on it. Clients select lists of plain data, such as
    /// `diffStats`, in this way, and receive all fields of a type that has scalars only.
    async fn record(self: &Arc<Self>, node: &Node, path: &Path, location: Location) -> Text {
        let ty = self.evaluator.type_of(&self.caller, node);
        let fields = ty.as_ref().and_then(|ty| ty.fields()).map(|fields| &fields.list[..]).unwrap_or_default();
        let own: Vec<_> = fields.iter().filter(|field| &*field.name != "id").collect();
        let leaf = |field: &FieldDef| {
            let ty = self.schema.types.get(field.ty.base());
            // Functions of modules and fields with a side effect run only when they are selected.
            let is_data = Resolver::<C>::of(&field.resolver).is_some_and(|it| {
                it.module.is_none() && matches!(it.cache_scope, CacheScope::Global | CacheScope::Uncached)
            });
            is_data && field.args.is_empty() && field.ty.element().is_none() && !ty.is_some_and(|ty| ty.is_composite())
        };
        let mut record = serde_json::Map::new();
        if own.iter().all(|field| leaf(field)) {
            for field in own {
                let value = self.evaluator.select(&self.caller, node, field, &[]).await;
                let fail = |fault| vec![ResponseError { fault, path: path.clone(), location }];
                record.insert(field.name.to_string(), leaf_json(&value.map_err(fail)?.value));
            }
        }
        Ok(serde_json::Value::Object(record).to_string())
    }

    /// The selections that apply to the runtime type of `node`.
    fn applicable(&self, node: &Node, selections: &[SelectionId]) -> Vec<Selected> {
        let holds = |name: &Name| self.evaluator.is_a(&self.caller, node, name);
        let applicable = self.operation.applicable(selections, holds);
        applicable.into_iter().map(|a| (a.id, a.children.into_owned())).collect()
    }

    fn key(&self, id: SelectionId) -> serde_json::Value {
        (*self.operation.selections[id as usize].alias).into()
    }
}

fn gather(parts: Vec<Text>) -> std::result::Result<Vec<String>, Vec<ResponseError>> {
    let mut texts = Vec::with_capacity(parts.len());
    let mut errors = Vec::new();
    for part in parts {
        match part {
            Ok(text) => texts.push(text),
            Err(more) => errors.extend(more),
        }
    }
    if errors.is_empty() { Ok(texts) } else { Err(errors) }
}

fn panicked(e: &tokio::task::JoinError) -> ResponseError {
    let fault = Fault::bug(format!("a selection panicked: {e}"));
    ResponseError { fault, path: Vec::new(), location: Location::default() }
}

fn push_json(text: &mut String, value: &serde_json::Value) {
    text.push_str(&value.to_string());
}

/// Whether the value is an object, or a list that holds objects at any depth.
fn holds_objects(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::List(items) => items.iter().any(holds_objects),
        _ => false,
    }
}

/// A value without objects as JSON.
pub fn leaf_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null | Value::Object(_) => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(i) => (*i).into(),
        Value::Float(x) => (*x).into(),
        Value::String(s) | Value::Enum(s) => (**s).into(),
        Value::List(items) => items.iter().map(leaf_json).collect(),
    }
}
