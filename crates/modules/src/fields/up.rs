//! `UpGroup` and `Up`: functions of a module that return services, brought up on the client's
//! machine.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use futures_util::future::try_join_all;
use rondel_fault::{Fault, Result};
use rondel_model::Value;
use rondel_model::op::Filter;
use rondel_model::pattern::Matcher;
use rondel_model::service::{Protocol, Service};
use rondel_module_model::loaded_module::Module;
use rondel_module_model::loaded_module::module_of;
use rondel_module_model::names::kebab;
use rondel_module_model::typedef::type_def::{Function, ObjectDef, TypeDef, TypeDefKind};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};
use rondel_surface::Surface;

use super::objects::module_object;
use crate::call::field_resolvers::callable_schema;

/// The depth to which functions that return objects are followed to services.
const MAX_DEPTH: usize = 8;

/// A function of a module that returns a service.
#[derive(Clone)]
struct Up {
    module: Arc<Module>,
    /// The fields from the main object to the function.
    path: Vec<String>,
    description: String,
}

/// A group of such functions.
#[derive(Clone)]
struct UpGroup(Vec<Up>);

pub(super) fn register(surface: &mut Surface) {
    surface.field("Module", "services", |_, node: Node, args: Args| async move {
        let module = module_of(&node)?;
        let include = if args.given("include") { args.strings("include")? } else { Vec::new() };
        Ok(Value::object("UpGroup", UpGroup(found(&module, &include)?)).into())
    });
    surface.plain("UpGroup", "list", |group: &UpGroup, _| {
        Ok(Value::List(group.0.iter().map(|up| Value::object("Up", up.clone())).collect()))
    });
    surface.field("UpGroup", "run", |cx: ResolverContext, node: Node, _| async move {
        let group = node.get::<UpGroup>()?.clone();
        let services = try_join_all(group.0.iter().map(|up| made(&cx, up))).await?;
        check_ports(group.0.iter().zip(&services))?;
        try_join_all(group.0.iter().zip(&services).map(|(up, service)| bring_up(&cx, up, service))).await?;
        Ok(Outcome::from(Value::object("UpGroup", group)))
    });
    surface.plain("Up", "name", |up: &Up, _| Ok(Value::string(up.name())));
    surface.plain("Up", "description", |up: &Up, _| Ok(Value::string(&*up.description)));
    surface
        .plain("Up", "path", |up: &Up, _| Ok(Value::List(up.path.iter().map(|name| Value::string(&**name)).collect())));
    surface.plain("Up", "originalModule", |up: &Up, _| Ok(module_object(&up.module).value));
    surface.field("Up", "run", |cx: ResolverContext, node: Node, _| async move {
        let up = node.get::<Up>()?.clone();
        let service = made(&cx, &up).await?;
        bring_up(&cx, &up, &service).await?;
        Ok(Outcome::from(Value::object("Up", up)))
    });
}

impl Up {
    /// The name as users write it: `web`, `backend:database`.
    fn name(&self) -> String {
        self.path.iter().map(|name| kebab(name)).collect::<Vec<_>>().join(":")
    }

    fn attempted(&self) -> String {
        format!("bring up `{}` of module `{}`", self.name(), self.module.name())
    }
}

/// The functions of `module` that return services and match one of the patterns `include`. All of
/// them when there are no patterns.
fn found(module: &Arc<Module>, include: &[String]) -> Result<Vec<Up>> {
    let mut all = Vec::new();
    if let Some(main) = module.main() {
        follow(module, main, &mut Vec::new(), &mut all);
    }
    if include.is_empty() {
        return Ok(all);
    }
    let slashed = |text: &str| text.replace(':', "/");
    let filter = Filter { include: include.iter().map(|pattern| slashed(pattern)).collect(), ..Filter::default() };
    let matcher = Matcher::new(&filter).map_err(|e| Fault::user(e.to_string()))?;
    all.retain(|up| matcher.file(slashed(&up.name()).as_bytes()));
    Ok(all)
}

/// Adds the services of `object`, and those of the objects that it leads to without arguments.
fn follow(module: &Arc<Module>, object: &ObjectDef, path: &mut Vec<String>, all: &mut Vec<Up>) {
    let below = |ty: &TypeDef| match &ty.kind {
        TypeDefKind::Object(def) => module.types.object(&def.name).cloned(),
        _ => None,
    };
    let fields = object.fields.iter().map(|field| (&field.name, None, below(&field.type_def)));
    let callable = object.functions.iter().filter(|function| !function.args.iter().any(is_required));
    let functions = callable.map(|function| (&function.name, Some(function), below(&function.returns)));
    for (name, function, next) in fields.chain(functions) {
        path.push(name.clone());
        if let Some(function) = function.filter(|function| function.up) {
            all.push(Up { module: module.clone(), path: path.clone(), description: function.description.clone() });
        } else if let Some(next) = next.filter(|next| path.len() < MAX_DEPTH && next.name != object.name) {
            follow(module, &next, path, all);
        }
        path.pop();
    }
}

fn is_required(arg: &rondel_module_model::typedef::type_def::FunctionArg) -> bool {
    !arg.type_def.optional && arg.default_value.is_none() && arg.default_path.is_none() && arg.default_address.is_none()
}

/// The service that a function returns. It is not started.
async fn made(cx: &ResolverContext, up: &Up) -> Result<Node> {
    service(cx, up).await.map_err(|fault| fault.context(up.attempted()))
}

/// Brings a service up. Returns when the service ends or its client disconnects.
async fn bring_up(cx: &ResolverContext, up: &Up, service: &Node) -> Result<()> {
    let ended = cx.evaluator.internal(&cx.caller, service, "up", Vec::new()).await;
    ended.map_err(|fault| fault.context(up.attempted())).map(drop)
}

/// Checks that no two services want the same port of the client's machine, before any of them
/// starts.
fn check_ports<'a>(services: impl Iterator<Item = (&'a Up, &'a Node)>) -> Result<()> {
    let mut taken: HashMap<(u16, Protocol), String> = HashMap::new();
    let mut collisions = Vec::new();
    for (up, node) in services {
        for port in node.get::<Service>()?.ports() {
            match taken.entry((port.number, port.protocol)) {
                Entry::Vacant(free) => _ = free.insert(up.name()),
                Entry::Occupied(first) => {
                    let (number, protocol, first) = (port.number, port.protocol.name(), first.get());
                    collisions.push(format!("`{first}` and `{}` both expose port {number}/{protocol}", up.name()));
                }
            }
        }
    }
    match collisions.is_empty() {
        true => Ok(()),
        // Users match on the first words.
        false => Err(Fault::user(format!("port collision: {}", collisions.join(", ")))
            .with_hint("name the services to bring up, or let one expose another port")),
    }
}

async fn service(cx: &ResolverContext, up: &Up) -> Result<Node> {
    let schema = callable_schema(&up.module);
    let lost = |what: &str| Fault::bug(format!("the module lost its `{what}`"));
    let constructor = schema.constructor.clone().ok_or_else(|| lost("constructor"))?;
    if let Some(arg) = up.module.main().and_then(|main| required(main.constructor.as_deref())) {
        return Err(Fault::user(format!("its constructor requires `{arg}`")).with_hint("give the argument a default"));
    }
    let mut node = cx.evaluator.invoke(&cx.caller, &Node::root(), &constructor, Vec::new(), cx.view).await?;
    for name in &up.path {
        let field = schema.field(node.type_name(), name).ok_or_else(|| lost(name))?;
        node = cx.evaluator.invoke(&cx.caller, &node, &field, Vec::new(), cx.view).await?;
    }
    Ok(node)
}

fn required(function: Option<&Function>) -> Option<&str> {
    function?.args.iter().find(|arg| is_required(arg)).map(|arg| arg.original.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_people_type() {
        let matches = |pattern: &str, name: &str| {
            let filter = Filter { include: vec![pattern.replace(':', "/")], ..Filter::default() };
            Matcher::new(&filter).expect("a pattern").file(name.replace(':', "/").as_bytes())
        };
        assert!(matches("web", "web") && matches("w*", "web") && matches("test:*", "test:lint"));
        assert!(matches("test", "test:lint") && !matches("web", "other") && !matches("*:lint", "lint"));
    }
}
