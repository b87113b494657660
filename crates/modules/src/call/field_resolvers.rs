//! Resolvers of a module's fields. Functions are called, data fields are read from the state of the
//! object.

use std::sync::Arc;

use rondel_module_model::loaded_module::{Module, ModuleObject, ResultLifetime};
use rondel_module_model::typedef::type_def::{FieldDef, ObjectDef, TypeDef, TypeDefKind};
use rondel_query::{CacheScope, Node, Outcome};
use rondel_session::{Resolver, ResolverContext};
use serde_json::Value as Json;

use crate::call::codec::Codec;
use crate::call::context_args::complete;
use crate::call::function_call::call;
use crate::module::function_target::FunctionTarget;
use crate::module::module_schema::{FieldResolvers, ModuleSchema};

/// The schema of `module`, with fields that call its functions.
pub fn callable_schema(module: &Arc<Module>) -> Arc<ModuleSchema> {
    ModuleSchema::new(module, &CallingResolvers)
}

/// Resolvers that call the functions of the module.
struct CallingResolvers;

impl FieldResolvers for CallingResolvers {
    fn function(&self, target: FunctionTarget) -> Resolver {
        // IDENTITY: within a session the graph caches results. Across sessions the index does,
        // under a key without the session.
        let cache_scope = match target.module.lifetime(&target.function) {
            ResultLifetime::Persistent(None) | ResultLifetime::Session => CacheScope::Session,
            ResultLifetime::Persistent(Some(_)) | ResultLifetime::Never => CacheScope::PerCall,
        };
        let reference = target.module.reference();
        let contextual = target.clone();
        let mut resolver =
            Resolver::new(move |cx, node, args| call(cx, node, args, target.clone())).cache_scope(cache_scope);
        resolver.module = Some(reference);
        resolver.prepare = Some(Arc::new(move |cx: &ResolverContext, args| {
            let (cx, target) = (cx.clone(), contextual.clone());
            Box::pin(async move { complete(&cx, &target, args).await })
        }));
        resolver
    }

    fn data(&self, module: &Arc<Module>, object: &Arc<ObjectDef>, field: &FieldDef) -> Resolver {
        let shared = Arc::new((module.clone(), object.clone(), field.clone()));
        Resolver::new(move |cx: ResolverContext, node: Node, _| {
            let shared = shared.clone();
            async move {
                let (module, object, field) = &*shared;
                let left_out = zero(&field.type_def);
                let state = &node.get::<ModuleObject>()?.state;
                let json = match state.get(&field.original) {
                    None | Some(Json::Null) => &left_out,
                    Some(json) => json,
                };
                let codec = Codec { evaluator: &cx.evaluator, caller: &cx.caller, module };
                let place = format!("field `{}` of `{}`", field.original, object.original);
                codec.decode(&field.type_def, json, &place).await.map(Outcome::from)
            }
        })
    }

    fn empty_object(&self, module: &Arc<Module>, returns: &TypeDef) -> Resolver {
        let (owner, returns) = (module.clone(), returns.clone());
        Resolver::new(move |cx: ResolverContext, _, _| {
            let (owner, returns) = (owner.clone(), returns.clone());
            async move {
                let codec = Codec { evaluator: &cx.evaluator, caller: &cx.caller, module: &owner };
                codec.decode(&returns, &Json::Object(Default::default()), "a constructor").await.map(Outcome::from)
            }
        })
    }
}

/// The JSON value of a data field that the module's code left out.
fn zero(ty: &TypeDef) -> Json {
    match &ty.kind {
        _ if ty.optional => Json::Null,
        TypeDefKind::String => "".into(),
        TypeDefKind::Integer => 0.into(),
        TypeDefKind::Float => 0.0.into(),
        TypeDefKind::Boolean => false.into(),
        TypeDefKind::List(_) => Json::Array(Vec::new()),
        _ => Json::Null,
    }
}
