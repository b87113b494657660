//! SDKs that are modules, and calls of their functions. See docs/protocol.md#functions-of-an-sdk.

use std::sync::Arc;

use rondel_call::{Call, Literal};
use rondel_fault::{Fault, Kind as FaultKind, Result};
use rondel_gql::types::FieldDef;
use rondel_model::Container;
use rondel_module_model::loaded_module::{Module, Provider, SdkModule};
use rondel_module_model::names::field_name;
use rondel_module_model::sdk_contract::{
    CONFIG, Contract, FOLDER, INTROSPECTION, OUTPUT, OUTPUT_PATH, RUNTIME, SOURCE, TYPES, takes,
};
use rondel_module_model::typedef::type_def::{Function, TypeDef, TypeDefKind};
use rondel_query::Node;
use rondel_session::{Caller, Evaluator};
use rondel_version::ENGINE;
use serde_json::{Map, Value as Json};

use crate::module::introspection::introspection;
use crate::module::module_schema::ModuleSchema;

type Arguments = Vec<(Arc<str>, Literal)>;

/// Arguments of an SDK's function, in addition to the module's source.
#[derive(Default)]
pub struct SdkArguments {
    /// The introspection file. `None` gives that of the schema for the module's code.
    pub introspection: Option<Arc<Call>>,
    /// The output directory for the files of a client.
    pub folder: Option<String>,
}

/// The module of `schema` as the SDK `name`, configured with `config`.
///
/// # Errors
/// When it has no main object, a function of the wrong signature, or does not accept the
/// configuration.
pub fn from_schema(schema: &ModuleSchema, name: &str, config: Option<&Map<String, Json>>) -> Result<SdkModule> {
    let module = schema.module.clone();
    let find = |function: &str| -> Option<Arc<Function>> {
        module.main()?.functions.iter().find(|known| known.name == function).cloned()
    };
    let contract = match find(TYPES) {
        None => Contract::EmptyCall,
        Some(function) => Contract::of_signature(&function).map_err(|came| signature(name, &function, &came))?,
    };
    if let (Contract::Typed, Provider::Entrypoint(entrypoint)) = (contract, &module.provider) {
        return Err(Fault::user(format!(
            "the SDK `{name}` cannot keep the contract \"{contract}\": its functions are served by the entrypoint `{}`, \
             so that processes which it starts speak for the SDK and not for the module being loaded",
            entrypoint.name
        ))
        .with_hint("let `moduleTypes` give a container that registers the types, or the types themselves"));
    }
    if let Some(function) = find(RUNTIME) {
        let fits = function.returns.describe() == "Container!" && takes(&function, &[SOURCE, INTROSPECTION]);
        if !fits {
            return Err(signature(name, &function, "(modSource: ModuleSource!, introspectionJson: File!): Container!"));
        }
    }
    if let Some(arg) =
        module.main().and_then(|main| main.constructor.clone()).and_then(|c| c.first_required_arg().cloned())
    {
        return Err(Fault::user(format!(
            "the SDK `{name}` cannot be used: its constructor requires `{}`, and an SDK is made without arguments",
            arg.original
        ))
        .with_hint("give the argument a default"));
    }
    if let (Some(function), Some(main)) = (find(CONFIG), module.main())
        && function.returns.describe() != format!("{}!", main.name)
    {
        return Err(signature(name, &function, &format!("a result of the type `{}!`", main.name)));
    }
    let config = match config.filter(|config| !config.is_empty()) {
        None => None,
        Some(config) => Some(configuration(name, find(CONFIG), config)?),
    };
    let main = module.main().and_then(|main| schema.types.iter().find(|ty| *ty.name == *main.name).cloned());
    Ok(SdkModule { module, name: name.to_owned(), contract, constructor: schema.constructor.clone(), main, config })
}

/// The container whose entrypoint serves the functions of `of`.
///
/// # Errors
/// When the SDK does not support runtimes, or its function fails.
pub async fn runtime(
    sdk: &SdkModule,
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    of: &Arc<Module>,
) -> Result<Container> {
    if !sdk.has(RUNTIME) {
        // Users match on the middle of this text; see docs/protocol.md#functions-of-an-sdk.
        return Err(Fault::user(format!(
            "the SDK `{}` of module `{}`: SDK does not support defining and executing functions",
            sdk.name,
            of.name()
        ))
        .with_hint(
            "it has no function `moduleRuntime(modSource: ModuleSource!, introspectionJson: File!): Container!`",
        ));
    }
    Ok(call(sdk, evaluator, caller, of, RUNTIME, SdkArguments::default()).await?.get::<Container>()?.clone())
}

/// Calls `function` for the module `of`, with those of the known arguments that it has.
///
/// # Errors
/// When the function fails.
pub async fn call(
    sdk: &SdkModule,
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    of: &Arc<Module>,
    function: &str,
    given: SdkArguments,
) -> Result<Node> {
    let doing = |e: Fault| {
        with_guide(e.context(format!("call `{function}` of the SDK `{}` for module `{}`", sdk.name, of.name())))
    };
    let object = object(sdk, evaluator, caller).await.map_err(doing)?;
    let field = field(sdk, function);
    let field = field.ok_or_else(|| Fault::bug(format!("an SDK lost its function `{function}`")))?;
    let mut args: Arguments = Vec::new();
    for arg in &field.args {
        let value = match &*arg.name {
            SOURCE => Literal::Call(of.source.content().call()),
            INTROSPECTION => Literal::Call(match &given.introspection {
                Some(call) => call.clone(),
                None => introspection(evaluator, caller, of).await.map_err(doing)?,
            }),
            OUTPUT => Literal::String(OUTPUT_PATH.into()),
            FOLDER => Literal::String(given.folder.as_deref().unwrap_or_default().into()),
            _ => continue,
        };
        args.push((arg.name.clone(), value));
    }
    evaluator.invoke(caller, &object, &field, args, ENGINE).await.map_err(doing)
}

fn field(sdk: &SdkModule, function: &str) -> Option<Arc<FieldDef>> {
    sdk.main.as_ref()?.field(function).cloned()
}

/// The main object, configured.
async fn object(sdk: &SdkModule, evaluator: &Arc<Evaluator>, caller: &Arc<Caller>) -> Result<Node> {
    let constructor = sdk.constructor.as_ref();
    let constructor = constructor.ok_or_else(|| Fault::user("the SDK has no main object"))?;
    let object = evaluator.invoke(caller, &Node::root(), constructor, Vec::new(), ENGINE).await?;
    let Some(config) = &sdk.config else { return Ok(object) };
    let field = field(sdk, CONFIG);
    let field = field.ok_or_else(|| Fault::bug(format!("an SDK lost its function `{CONFIG}`")))?;
    evaluator.invoke(caller, &object, &field, config.clone(), ENGINE).await
}
/// Adds a hint to the guide for SDK authors, unless the fault has a hint.
pub fn with_guide(fault: Fault) -> Fault {
    if !fault.hints().is_empty() || fault.kind() != FaultKind::User {
        return fault;
    }
    fault.with_hint("docs/sdk-authors.md says what each function of an SDK gives, and which types a module may have")
}

fn signature(sdk: &str, function: &Function, wanted: &str) -> Fault {
    Fault::user(format!(
        "the SDK `{sdk}` has a function `{}` that the engine cannot call: expected {wanted}, got {}",
        function.name,
        function.signature()
    ))
    .with_hint("docs/sdk-authors.md lists the functions of an SDK and their signatures")
}

/// The arguments of `withConfig` for the keys of `sdk.config`.
fn configuration(sdk: &str, function: Option<Arc<Function>>, config: &Map<String, Json>) -> Result<Arguments> {
    let Some(function) = function else {
        return Err(Fault::user(format!("the SDK `{sdk}` takes no configuration: it has no function `{CONFIG}`"))
            .with_hint("remove `sdk.config` from `dagger.json`"));
    };
    let mut args = Vec::new();
    for (key, value) in config {
        let arg = function.args.iter().find(|arg| arg.original == *key || arg.name == field_name(key));
        let Some(arg) = arg else {
            let known: Vec<_> = function.args.iter().map(|arg| format!("`{}`", arg.original)).collect();
            return Err(Fault::user(format!("the SDK `{sdk}` knows no configuration key `{key}`"))
                .with_hint(format!("it knows {}", known.join(", "))));
        };
        let literal = literal(&arg.type_def, value).ok_or_else(|| {
            Fault::user(format!(
                "the configuration key `{key}` of the SDK `{sdk}` must be `{}`, and is {value}",
                arg.type_def.describe()
            ))
            .with_hint("change it under `sdk.config` in `dagger.json`")
        })?;
        args.push((arg.name.as_str().into(), literal));
    }
    if let Some(missing) = function.args.iter().find(|arg| {
        !arg.type_def.optional
            && arg.default_value.is_none()
            && !args.iter().any(|(name, _): &(Arc<str>, _)| **name == *arg.name)
    }) {
        return Err(Fault::user(format!(
            "the SDK `{sdk}` needs the configuration key `{}` of type `{}`",
            missing.original,
            missing.type_def.describe()
        ))
        .with_hint("set it under `sdk.config` in `dagger.json`"));
    }
    // IDENTITY: arguments are in the order of the schema, independent of the order in the file.
    args.sort_by_key(|(name, _)| function.args.iter().position(|arg| *arg.name == **name));
    Ok(args)
}

/// `json` as a literal of the type `ty`, or `None` when it is no such value.
pub fn literal(ty: &TypeDef, json: &Json) -> Option<Literal> {
    Some(match (&ty.kind, json) {
        (_, Json::Null) if ty.optional => Literal::Null,
        (TypeDefKind::String, Json::String(text)) => Literal::String(text.as_str().into()),
        (TypeDefKind::Enum(_), Json::String(text)) => Literal::Enum(text.as_str().into()),
        (TypeDefKind::Scalar(_), Json::String(text)) => Literal::String(text.as_str().into()),
        (TypeDefKind::Boolean, Json::Bool(value)) => Literal::Bool(*value),
        (TypeDefKind::Integer, Json::Number(number)) => Literal::Int(number.as_i64()?),
        (TypeDefKind::Float, Json::Number(number)) => Literal::Float(number.as_f64()?),
        (TypeDefKind::List(element), Json::Array(items)) => {
            Literal::List(items.iter().map(|item| literal(element, item)).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
