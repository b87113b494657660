//! Internal fields of the module loader. Call recipes may select them, but no schema contains them.

use std::sync::Arc;

use rondel_call::CallSpec;
use rondel_fault::{Fault, Result};
use rondel_gql::types::{FieldDef, TypeRef};
use rondel_model::Value;
use rondel_module_model::loaded_module::{self, ModuleValue};
use rondel_module_model::source::module_source::ModuleSource;
use rondel_module_model::source::source_call;
use rondel_query::Outcome;
use rondel_session::{Caller, Resolver, ResolverContext};

use crate::call::codec::{self, Codec, parse_type};
use crate::load::modules::Modules;
use crate::module::module_schema::type_ref;
use crate::source::workspace::{self, Workspace};

impl Modules {
    /// Finds a field that the core registry does not have: of a module, or of the module loader.
    ///
    /// # Errors
    /// When the module of the field cannot be loaded.
    pub async fn find_field(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        parent: &str,
        spec: &CallSpec,
    ) -> Result<Option<Arc<FieldDef>>> {
        if let Some(own) = find(self, parent, spec) {
            return Ok(Some(own));
        }
        if let Some(reference) = &spec.module {
            let schema = self.schema_of_reference(None, caller, reference).await?;
            return Ok(schema.field(parent, &spec.field));
        }
        Ok(None)
    }
}

/// The internal field that `spec` selects on `parent`.
fn find(modules: &Arc<Modules>, parent: &str, spec: &CallSpec) -> Option<Arc<FieldDef>> {
    match (parent, &*spec.field) {
        ("Query", source_call::FIELD) => Some(field(
            source_call::FIELD,
            named("ModuleSource"),
            Resolver::new(|cx: ResolverContext, _, _| async move {
                let source = ModuleSource::of_call(&cx.call)?;
                Ok(Value::object("ModuleSource", source).into())
            }),
        )),
        ("ModuleSource", loaded_module::FIELD) => Some(as_module(modules)),
        ("Query", codec::FIELD) => Some(module_value(modules, spec)),
        ("Query", workspace::FIELD) => Some(field(
            workspace::FIELD,
            named("Workspace"),
            Resolver::new(|cx: ResolverContext, _, _| async move {
                Ok(Value::object("Workspace", Workspace::of_call(&cx.call)?).into())
            }),
        )),
        _ => None,
    }
}

/// Gives a module from its source, the same for every caller.
fn as_module(modules: &Arc<Modules>) -> Arc<FieldDef> {
    let modules = modules.clone();
    let resolver = Resolver::new(move |cx: ResolverContext, node, _| {
        let modules = modules.clone();
        async move {
            let source = Arc::new(rondel_query::Node::get::<ModuleSource>(&node)?.clone());
            let module = modules.load(Some(&cx.evaluator), &cx.caller, &source).await?;
            let value = ModuleValue { types: module.types.clone(), loaded: Some(module) };
            Ok(Outcome::from(Value::object("Module", value)))
        }
    });
    field(loaded_module::FIELD, named("Module"), resolver)
}

fn module_value(modules: &Arc<Modules>, spec: &CallSpec) -> Arc<FieldDef> {
    let (modules, reference) = (modules.clone(), spec.module.clone());
    let owner = reference.clone();
    let mut resolver = Resolver::new(move |cx: ResolverContext, _, _| {
        let (modules, owner) = (modules.clone(), owner.clone());
        async move {
            let damaged = || Fault::user("cannot load a value of a module: its ID is damaged");
            let get = |name: &str| cx.call.arg(name).cloned();
            let (Some(rondel_call::Literal::String(ty)), Some(rondel_call::Literal::String(json)), Some(owner)) =
                (get("type"), get("json"), owner)
            else {
                return Err(damaged());
            };
            let schema = modules.schema_of_reference(Some(&cx.evaluator), &cx.caller, &owner).await?;
            let json = serde_json::from_str(&json).map_err(|_| damaged())?;
            let ty = parse_type(&schema.module, &ty);
            let codec = Codec { evaluator: &cx.evaluator, caller: &cx.caller, module: &schema.module };
            let node = codec.decode(&ty, &json, "a module").await?;
            Ok(Outcome::from(node.value))
        }
    });
    resolver.module = reference;
    // The actual type needs the module. Callers use only its name.
    let ty = type_ref(&rondel_module_model::typedef::type_def::TypeDef::default(), false);
    let ty = if spec.returns.is_empty() { ty } else { TypeRef::Named(spec.returns.clone()) };
    field(codec::FIELD, ty, resolver)
}

fn named(name: &str) -> TypeRef {
    TypeRef::NonNull(Box::new(TypeRef::Named(name.into())))
}

fn field(name: &str, ty: TypeRef, resolver: Resolver) -> Arc<FieldDef> {
    Arc::new(FieldDef {
        name: name.into(),
        description: "".into(),
        args: Vec::new(),
        ty,
        deprecated: None,
        directives: Vec::new(),
        resolver: resolver.erased(),
    })
}
