//! `Module` and `SDKConfig`.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::Value;
use rondel_module_model::config::module_config::SdkConfig;
use rondel_module_model::loaded_module::ModuleValue;
use rondel_module_model::loaded_module::module_of;
use rondel_module_model::typedef::type_def::{ModuleTypes, TypeDef, TypeDefKind};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};
use rondel_surface::Surface;

use super::objects::{introspection, module_object, sdk_value, source_object};
use super::typedefs::value as type_value;
use crate::load::modules::Modules;
use crate::sdk::runtime::runtime;

pub(super) fn register(surface: &mut Surface, modules: &Arc<Modules>) {
    surface.field("Query", "module", |_, _, _| std::future::ready(Ok(described(ModuleTypes::default()).into())));
    builders(surface);
    readers(surface);
    surface.field("Module", "introspectionSchemaJSON", |cx: ResolverContext, node, _| async move {
        let module = module_of(&node)?;
        introspection(&cx, module.view, &module.dependencies).await
    });
    let it = modules.clone();
    surface.field("Module", "generatedContextDirectory", move |cx: ResolverContext, node, _| {
        let modules = it.clone();
        async move { crate::load::codegen::generated(&cx, &modules, &module_of(&node)?.source).await }
    });
    let serving = modules.clone();
    surface.field("Module", "serve", move |cx: ResolverContext, node, args| {
        let modules = serving.clone();
        async move { serve(&modules, &cx, &node, &args) }
    });
    surface.plain("SDKConfig", "source", |it: &SdkConfig, _| Ok(Value::string(&*it.source)));
    surface.plain("SDKConfig", "debug", |it: &SdkConfig, _| Ok(Value::Bool(it.debug)));
}

fn described(types: ModuleTypes) -> Value {
    Value::object("Module", ModuleValue { types: Arc::new(types), loaded: None })
}

fn builders(surface: &mut Surface) {
    surface.plain("Module", "withDescription", |module: &ModuleValue, args| {
        Ok(described(ModuleTypes {
            description: args.str("description")?.to_string(),
            ..module.types.as_ref().clone()
        }))
    });
    for (field, arg) in [("withObject", "object"), ("withInterface", "iface"), ("withEnum", "enum")] {
        surface.field("Module", field, move |_, node, args| async move {
            let ty = args.object(arg).await?;
            let types = node.get::<ModuleValue>()?.types.as_ref().clone();
            types.with_type(field, ty.get::<TypeDef>()?).map(|types| described(types).into())
        });
    }
}

fn readers(surface: &mut Surface) {
    surface.plain("Module", "name", |it: &ModuleValue, _| {
        Ok(Value::string(it.loaded.as_ref().map(|module| module.name()).unwrap_or_default()))
    });
    surface.plain("Module", "description", |it: &ModuleValue, _| Ok(Value::string(&*it.types.description)));
    surface.plain("Module", "objects", |it: &ModuleValue, _| {
        Ok(Value::List(
            it.types.objects.iter().map(|def| type_value(TypeDef::of(TypeDefKind::Object(def.clone())))).collect(),
        ))
    });
    surface.plain("Module", "interfaces", |it: &ModuleValue, _| {
        Ok(Value::List(
            it.types
                .interfaces
                .iter()
                .map(|def| type_value(TypeDef::of(TypeDefKind::Interface(def.clone()))))
                .collect(),
        ))
    });
    surface.plain("Module", "enums", |it: &ModuleValue, _| {
        Ok(Value::List(
            it.types.enums.iter().map(|def| type_value(TypeDef::of(TypeDefKind::Enum(def.clone())))).collect(),
        ))
    });
    surface.plain("Module", "dependencies", |it: &ModuleValue, _| {
        let dependencies = it.loaded.iter().flat_map(|module| &module.dependencies);
        Ok(Value::List(dependencies.map(|module| module_object(module).value).collect()))
    });
    surface.plain("Module", "sdk", |it: &ModuleValue, _| {
        Ok(sdk_value(it.loaded.as_ref().and_then(|module| module.source.config.sdk.as_ref())))
    });
    surface.field("Module", "source", |_, node, _| async move {
        let value = node.get::<ModuleValue>()?;
        Ok(value.loaded.as_ref().map_or(Value::Null.into(), |module| source_object(&module.source)))
    });
    surface.field("Module", "sync", rondel_surface::surface::id);
    surface.field("Module", "runtime", |cx: ResolverContext, node, _| async move {
        let module = module_of(&node)?;
        Ok(Value::object("Container", runtime(&cx.evaluator, &cx.caller, &module).await?).into())
    });
}

fn serve(modules: &Arc<Modules>, cx: &ResolverContext, node: &Node, args: &Args) -> Result<Outcome> {
    let module = module_of(node)?;
    modules.serve(&cx.caller, &module, args.bool("includeDependencies")?, args.bool("entrypoint")?)?;
    Ok(Value::Null.into())
}
