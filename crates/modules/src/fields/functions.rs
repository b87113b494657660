//! `Function`, `FunctionArg`, `GeneratedCode`.

use rondel_fault::Result;
use rondel_model::Value;
use rondel_module_model::typedef::type_def::{Function, FunctionArg, SourceMap, TypeDef};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext};
use rondel_surface::Surface;

use super::definition::{annotations, optional, source_map_field};
use super::typedefs::value as type_value;
use crate::load::codegen::GeneratedCode;

pub(super) fn register(surface: &mut Surface) {
    surface.field("Query", "function", |_, _, args: Args| async move {
        let returns = args.object("returnType").await?.get::<TypeDef>()?.clone();
        Ok(value(Function::new(&args.str("name")?, returns)).into())
    });
    builders(surface);
    readers(surface);
    arguments(surface);
    generated(surface);
}

fn value(function: Function) -> Value {
    Value::object("Function", function)
}

fn builders(surface: &mut Surface) {
    surface.plain("Function", "withDescription", |f: &Function, args| {
        Ok(value(Function { description: args.str("description")?.to_string(), ..f.clone() }))
    });
    surface.plain("Function", "withDeprecated", |f: &Function, args| {
        let reason = args.opt_str("reason")?.unwrap_or_default().to_string();
        Ok(value(Function { deprecated: Some(reason), ..f.clone() }))
    });
    surface.field("Function", "withSourceMap", |_, node, args| async move {
        let place = args.object("sourceMap").await?.get::<SourceMap>()?.clone();
        Ok(value(Function { source_map: Some(place), ..node.get::<Function>()?.clone() }).into())
    });
    surface.field("Function", "withArg", with_arg);
    surface.plain("Function", "withCachePolicy", |f: &Function, args| {
        let time = args.opt_str("timeToLive")?;
        f.clone().with_cache_policy(&args.str("policy")?, time.as_deref()).map(value)
    });
    surface.plain("Function", "withCheck", |f: &Function, _| Ok(value(Function { check: true, ..f.clone() })));
    surface.plain("Function", "withGenerator", |f: &Function, _| Ok(value(Function { generator: true, ..f.clone() })));
    surface.plain("Function", "withUp", |f: &Function, _| Ok(value(Function { up: true, ..f.clone() })));
}

async fn with_arg(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let notes = annotations(&args).await?;
    let text = |name: &str| Ok(args.opt_str(name)?.filter(|text| !text.is_empty()).map(|text| text.to_string()));
    let default_value = match args.literal("defaultValue") {
        rondel_call::Literal::Null => None,
        rondel_call::Literal::String(text) => Some(text.to_string()).filter(|text| !text.is_empty()),
        other => Some(crate::call::codec::literal_json(&cx.evaluator, &other).to_string()),
    };
    let arg = FunctionArg {
        original: args.str("name")?.to_string(),
        type_def: args.object("typeDef").await?.get::<TypeDef>()?.clone(),
        description: notes.description,
        source_map: notes.source_map,
        deprecated: notes.deprecated,
        default_value,
        default_path: text("defaultPath")?,
        default_address: text("defaultAddress")?,
        ignore: args.strings("ignore")?,
        ..FunctionArg::default()
    };
    node.get::<Function>()?.clone().with_arg(arg).map(|function| value(function).into())
}

fn readers(surface: &mut Surface) {
    surface.plain("Function", "name", |f: &Function, _| Ok(Value::string(&*f.name)));
    surface.plain("Function", "description", |f: &Function, _| Ok(Value::string(&*f.description)));
    surface.plain("Function", "returnType", |f: &Function, _| Ok(type_value(f.returns.clone())));
    surface.plain("Function", "deprecated", |f: &Function, _| Ok(optional(f.deprecated.as_deref())));
    source_map_field(surface, "Function", |f: &Function| f.source_map.as_ref());
    surface.plain("Function", "sourceModuleName", |f: &Function, _| Ok(Value::string(&*f.source_module)));
    surface.plain("Function", "args", |f: &Function, _| {
        Ok(Value::List(f.args.iter().map(|arg| Value::object("FunctionArg", arg.clone())).collect()))
    });
}

fn arguments(surface: &mut Surface) {
    surface.plain("FunctionArg", "name", |it: &FunctionArg, _| Ok(Value::string(&*it.name)));
    surface.plain("FunctionArg", "description", |it: &FunctionArg, _| Ok(Value::string(&*it.description)));
    surface.plain("FunctionArg", "typeDef", |it: &FunctionArg, _| Ok(type_value(it.type_def.clone())));
    surface.plain("FunctionArg", "defaultValue", |it: &FunctionArg, _| {
        Ok(Value::string(it.default_value.as_deref().unwrap_or_default()))
    });
    surface.plain("FunctionArg", "defaultPath", |it: &FunctionArg, _| {
        Ok(Value::string(it.default_path.as_deref().unwrap_or_default()))
    });
    surface.plain("FunctionArg", "defaultAddress", |it: &FunctionArg, _| {
        Ok(Value::string(it.default_address.as_deref().unwrap_or_default()))
    });
    surface
        .plain("FunctionArg", "ignore", |it: &FunctionArg, _| Ok(Value::strings(it.ignore.iter().map(String::as_str))));
    source_map_field(surface, "FunctionArg", |it: &FunctionArg| it.source_map.as_ref());
    surface.plain("FunctionArg", "deprecated", |it: &FunctionArg, _| Ok(optional(it.deprecated.as_deref())));
}

fn generated(surface: &mut Surface) {
    let value = |code: GeneratedCode| Value::object("GeneratedCode", code);
    surface.field("Query", "generatedCode", move |_, _, args: Args| async move {
        let code = args.object("code").await?;
        Ok(value(GeneratedCode { code, generated: Vec::new(), ignored: Vec::new() }).into())
    });
    surface.field("GeneratedCode", "code", |_, node: Node, _| async move {
        Ok(node.get::<GeneratedCode>()?.code.clone().into())
    });
    surface.plain("GeneratedCode", "withVCSGeneratedPaths", move |it: &GeneratedCode, args| {
        Ok(value(GeneratedCode { generated: args.strings("paths")?, ..it.clone() }))
    });
    surface.plain("GeneratedCode", "withVCSIgnoredPaths", move |it: &GeneratedCode, args| {
        Ok(value(GeneratedCode { ignored: args.strings("paths")?, ..it.clone() }))
    });
    surface.plain("GeneratedCode", "vcsGeneratedPaths", |it: &GeneratedCode, _| {
        Ok(Value::strings(it.generated.iter().map(String::as_str)))
    });
    surface.plain("GeneratedCode", "vcsIgnoredPaths", |it: &GeneratedCode, _| {
        Ok(Value::strings(it.ignored.iter().map(String::as_str)))
    });
}
