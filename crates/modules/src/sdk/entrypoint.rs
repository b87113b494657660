//! Entrypoints: modules that register the types of another module and serve its function calls. See
//! docs/protocol.md#entrypoints.
//!
//! An entrypoint's own process acts as the entrypoint, and processes that it starts act as the
//! module that it serves, as with SDKs. Unlike an SDK an entrypoint receives values of others, as
//! arguments of the module's functions. These keep their identity. Results of `call` are cached
//! under the call of the module's function, so that the cache policy of that function applies and
//! not the entrypoint's.

use std::sync::Arc;

use rondel_call::Literal;
use rondel_fault::{Fault, Result};
use rondel_module_model::loaded_module::{EntrypointModule, Module, ModuleObject};
use rondel_module_model::typedef::type_def::Function;
use rondel_query::Node;
use rondel_session::{Caller, Evaluator, FunctionCall};
use rondel_version::ENGINE;
use serde_json::{Map, Value as Json};

use crate::module::module_schema::ModuleSchema;
use crate::source::workspace::Workspace;

/// The signature of a function that an entrypoint must have.
struct Signature {
    name: &'static str,
    args: &'static [(&'static str, &'static str)],
    returns: &'static str,
}

const WORKSPACE: &str = "workspace";
const RECEIVER_TYPE: &str = "receiverType";
const RECEIVER: &str = "receiverValue";
const FUNCTION: &str = "fnName";
const ARGS: &str = "fnArgs";

/// The function that registers types.
const TYPES: Signature = Signature { name: "types", args: &[(WORKSPACE, "Workspace!")], returns: "[TypeDef!]!" };
/// The function that serves a function call.
const CALL: Signature = Signature {
    name: "call",
    args: &[
        (WORKSPACE, "Workspace!"),
        (RECEIVER_TYPE, "String!"),
        (RECEIVER, "JSON"),
        (FUNCTION, "String!"),
        (ARGS, "JSON!"),
    ],
    returns: "JSON!",
};

impl Signature {
    fn describe(&self) -> String {
        let args: Vec<_> = self.args.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
        format!("`{}({}): {}`", self.name, args.join(", "), self.returns)
    }

    /// Whether `function` accepts these arguments and returns this type.
    fn fits(&self, function: &Function) -> bool {
        let takes = |(name, ty): &(&str, &str)| {
            let given = function.args.iter().find(|arg| arg.name == *name).map(|arg| arg.type_def.describe());
            // A nullable argument accepts a non-null value as well.
            given.is_some_and(|given| given == *ty || Some(&*given) == ty.strip_suffix('!'))
        };
        let known = |name: &str| self.args.iter().any(|(known, _)| *known == name);
        let free = |arg: &rondel_module_model::typedef::type_def::FunctionArg| {
            arg.type_def.optional || arg.default_value.is_some()
        };
        function.returns.describe() == self.returns
            && self.args.iter().all(takes)
            && function.args.iter().all(|arg| known(&arg.name) || free(arg))
    }
}

/// `module` of `schema` as the entrypoint `name` of the module `of`.
///
/// # Errors
/// When it lacks one of the functions, or has one with another signature.
pub(crate) fn from_schema(schema: &ModuleSchema, name: &str, of: &str) -> Result<EntrypointModule> {
    let module = schema.module.clone();
    let refused = |expected: &str, got: &str| {
        Fault::user(format!(
            "the entrypoint `{name}` of module `{of}` broke the contract \"entrypoint\": expected {expected}, got {got}"
        ))
        .with_hint(format!(
            "this is for the author of the entrypoint: the main object of its module `{}` has the functions {} and {}",
            module.name(),
            TYPES.describe(),
            CALL.describe()
        ))
    };
    let Some(main) = module.main().cloned() else {
        return Err(refused("a module with functions", "one without"));
    };
    if let Some(arg) = main.constructor.as_deref().and_then(Function::first_required_arg) {
        let got = format!("one that requires `{}: {}`", arg.original, arg.type_def.describe());
        return Err(refused("a main object that is made without arguments", &got));
    }
    let find = |wanted: &Signature| -> Result<Arc<Function>> {
        let found = main.functions.iter().find(|function| function.name == wanted.name);
        match found {
            Some(function) if wanted.fits(function) => Ok(function.clone()),
            Some(function) => Err(refused(
                &format!("a function {}", wanted.describe()),
                &format!("`{}{}`", function.name, function.signature()),
            )),
            None => {
                let known: Vec<_> = main.functions.iter().map(|function| format!("`{}`", function.name)).collect();
                let known = if known.is_empty() { "no function".to_owned() } else { known.join(", ") };
                Err(refused(&format!("a function {}", wanted.describe()), &known))
            }
        }
    };
    let (types, call) = (find(&TYPES)?, find(&CALL)?);
    let lost = || Fault::bug("an entrypoint lost its functions");
    let types = schema.field(&main.name, &types.name).ok_or_else(lost)?;
    let constructor = schema.constructor.clone().ok_or_else(lost)?;
    Ok(EntrypointModule { module, name: name.to_owned(), constructor, types, main, call })
}

/// The type definitions of `of`, as `types` returns them. Processes that `caller` starts act as
/// `of`.
///
/// # Errors
/// When the function fails.
pub async fn types(
    entrypoint: &EntrypointModule,
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    of: &Module,
) -> Result<Node> {
    let doing = |e: Fault| e.context(format!("call `{}` of the entrypoint `{}`", TYPES.name, entrypoint.name));
    let object = object(entrypoint, evaluator, caller).await.map_err(doing)?;
    let args = vec![(WORKSPACE.into(), Literal::Call(Workspace::of(&of.source).call()))];
    evaluator.invoke(caller, &object, &entrypoint.types, args, ENGINE).await.map_err(doing)
}

/// The call of the function `call` that serves `asked`, a function call of `of`. Processes that
/// `caller` starts act as `of`.
///
/// # Errors
/// When the main object cannot be constructed.
pub(crate) async fn serving_call(
    entrypoint: &EntrypointModule,
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    of: &Module,
    asked: &FunctionCall,
) -> Result<Arc<FunctionCall>> {
    let object = object(entrypoint, evaluator, caller).await?;
    let state = Json::Object(object.get::<ModuleObject>()?.state.as_ref().clone()).to_string();
    let inner = FunctionCall::new(
        entrypoint.call.original.clone(),
        entrypoint.main.original.clone(),
        state,
        arguments(entrypoint, evaluator, of, asked)?,
    );
    Ok(Arc::new(inner))
}

/// The arguments of `call` by their names in the entrypoint's code, as JSON texts.
fn arguments(
    entrypoint: &EntrypointModule,
    evaluator: &Evaluator,
    of: &Module,
    asked: &FunctionCall,
) -> Result<Vec<(String, String)>> {
    let broken = |e| Fault::bug("an argument of a function call is no JSON").caused_by(e);
    let mut given = Map::new();
    for (name, text) in &asked.args {
        given.insert(name.clone(), serde_json::from_str(text).map_err(broken)?);
    }
    let receiver: Json = serde_json::from_str(&asked.parent).map_err(broken)?;
    let mut arguments = Vec::new();
    for arg in &entrypoint.call.args {
        let value = match arg.name.as_str() {
            WORKSPACE => Json::from(evaluator.encode(&Workspace::of(&of.source).call())),
            RECEIVER_TYPE => asked.parent_name.as_str().into(),
            // A value of the scalar `JSON` is JSON text.
            RECEIVER if receiver.is_null() => Json::Null,
            RECEIVER => receiver.to_string().into(),
            FUNCTION => asked.name.as_str().into(),
            ARGS => Json::Object(given.clone()).to_string().into(),
            _ => match &arg.default_value {
                Some(text) => serde_json::from_str(text).map_err(broken)?,
                None => continue,
            },
        };
        arguments.push((arg.original.clone(), value.to_string()));
    }
    Ok(arguments)
}

/// The JSON text of the result of a function of `of`, from `text`, the answer of `call`.
///
/// # Errors
/// When the answer is not JSON text.
pub(crate) fn answer(entrypoint: &EntrypointModule, of: &Module, text: &str) -> Result<String> {
    let broken = |got: &str| {
        let shown: String = got.chars().take(80).collect();
        Fault::user(format!(
            "the entrypoint `{}` of module `{}` broke the contract \"entrypoint\": expected JSON text from `{}`, got {shown}",
            entrypoint.name,
            of.name(),
            CALL.name
        ))
        .with_hint("a result is written as for `returnValue`; of a function without a result it is `null`")
    };
    match serde_json::from_str(text) {
        Ok(Json::String(inner)) => match serde_json::from_str::<Json>(&inner) {
            Ok(_) => Ok(inner),
            Err(_) => Err(broken(&inner)),
        },
        Ok(Json::Null) => Err(broken("no value")),
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(broken(text)),
    }
}

/// Its main object.
async fn object(entrypoint: &EntrypointModule, evaluator: &Arc<Evaluator>, caller: &Arc<Caller>) -> Result<Node> {
    evaluator.invoke(caller, &Node::root(), &entrypoint.constructor, Vec::new(), ENGINE).await
}
#[cfg(test)]
mod tests {
    use super::*;
    use rondel_module_model::typedef::type_def::{FunctionArg, ObjectDef, ScalarDef, TypeDef, TypeDefKind};

    fn ty(text: &str) -> TypeDef {
        let (name, optional) = text.strip_suffix('!').map_or((text, true), |name| (name, false));
        let kind = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            Some(element) => TypeDefKind::List(Arc::new(ty(element))),
            None if name == "String" => TypeDefKind::String,
            None if name == "JSON" => {
                TypeDefKind::Scalar(Arc::new(ScalarDef { name: name.into(), ..ScalarDef::default() }))
            }
            None => TypeDefKind::Object(Arc::new(ObjectDef { name: name.into(), ..ObjectDef::default() })),
        };
        TypeDef { kind, optional }
    }

    fn function(args: &[(&str, &str)], returns: &str) -> Function {
        let arg = |(name, text): &(&str, &str)| FunctionArg {
            name: (*name).into(),
            type_def: ty(text),
            ..FunctionArg::default()
        };
        Function { args: args.iter().map(arg).collect(), returns: ty(returns), ..Function::default() }
    }

    #[test]
    fn signatures() {
        let types = |args: &[(&str, &str)], returns: &str| TYPES.fits(&function(args, returns));
        assert!(types(&[("workspace", "Workspace!")], "[TypeDef!]!"));
        assert!(types(&[("workspace", "Workspace"), ("more", "String")], "[TypeDef!]!"));
        assert!(!types(&[], "[TypeDef!]!"));
        assert!(!types(&[("workspace", "Directory!")], "[TypeDef!]!"));
        assert!(!types(&[("workspace", "Workspace!"), ("more", "String!")], "[TypeDef!]!"));
        assert!(!types(&[("workspace", "Workspace!")], "[TypeDef!]"));
        assert!(CALL.fits(&function(CALL.args, "JSON!")));
        let mut args = CALL.args.to_vec();
        args[2].1 = "JSON!";
        assert!(!CALL.fits(&function(&args, "JSON!")), "a constructor has no receiver");
        assert!(!CALL.fits(&function(CALL.args, "String!")));
        assert_eq!(TYPES.describe(), "`types(workspace: Workspace!): [TypeDef!]!`");
    }
}
