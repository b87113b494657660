//! Calls of a module's functions: docs/protocol.md#function-calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use rondel_call::{Call, Literal};
use rondel_digest::Digest;
use rondel_events::{Outcome as Ended, Work};
use rondel_fault::{Detail, ExecFailure, Fault, Kind, Result};
use rondel_model::exec::{Expect, Scope, Stdin};
use rondel_model::explain::Ended as Cause;
use rondel_model::{AbsPath, Container, ExecOp};
use rondel_ports::index::Table;
use rondel_query::{Args, Caller, Evaluator, Node, Outcome, ResolverContext};
use rondel_session::client::op_cx;
use rondel_session::{CallOutcome, ExecScope, FunctionCall, client};
use serde_json::Value as Json;

use crate::call::codec::{Codec, is_session_bound};
use crate::module::load_report;
use crate::module::loaded_module::{Module, ModuleObject, Provider, ResultLifetime};
use crate::sdk::runtime::{runtime, runtime_provider};
use crate::typedef::type_def::{Function, ObjectDef};

/// The longest time for which results are kept, in seconds.
const MAX_RESULT_SECONDS: u64 = 7 * 24 * 3600;

/// A function of a module, bound to its place.
#[derive(Clone)]
pub struct FunctionTarget {
    /// The module.
    pub module: Arc<Module>,
    /// The object that it is a function of.
    pub object: Arc<ObjectDef>,
    /// The function; the constructor has an empty name.
    pub function: Arc<Function>,
}

impl FunctionTarget {
    /// How people name it: `greeter.hello`.
    pub fn describe(&self) -> String {
        let module = self.module.name();
        match (self.function.original.as_str(), &self.object.name) {
            ("", _) => format!("{module} (constructor)"),
            (function, object) if self.module.main().is_some_and(|main| main.name == *object) => {
                format!("{module}.{function}")
            }
            (function, _) => format!("{module}.{}.{function}", self.object.original),
        }
    }
}

/// Calls the function: from the index when it is known, else by running the module's runtime.
///
/// # Errors
/// What the function fails with; an answer of the wrong type; no answer.
pub async fn call(cx: ResolverContext, receiver: Node, args: Args, target: FunctionTarget) -> Result<Outcome> {
    let span = cx.caller.events.span(Work::Function, target.describe());
    let cx = ResolverContext { caller: cx.caller.reporting(span.emitter().clone()), ..cx };
    let evaluated = evaluate(&cx, &receiver, &args, &target).await;
    let ended = match &evaluated {
        Ok((_, true)) => Cause::Cached,
        Ok(_) => Cause::Ran,
        Err(_) => Cause::Failed,
    };
    let parts = || load_report::of_call(&cx.call, &receiver, &target);
    span.emitter().explain(&|| parts().listed());
    client(&cx.caller)?.services.ops.explain(&op_cx(&cx)?, "function", target.describe(), ended, parts());
    match evaluated {
        Ok((outcome, cached)) => {
            span.end(if cached { Ended::Cached } else { Ended::Done });
            Ok(outcome)
        }
        Err(fault) if fault.kind() == Kind::Cancelled => {
            span.end(Ended::Cancelled);
            Err(fault)
        }
        Err(fault) => {
            span.end(Ended::Failed(fault.full_message()));
            Err(fault)
        }
    }
}

/// What the function gives, and whether it was known.
async fn evaluate(
    cx: &ResolverContext,
    receiver: &Node,
    args: &Args,
    target: &FunctionTarget,
) -> Result<(Outcome, bool)> {
    if !matches!(target.module.lifetime(&target.function), ResultLifetime::Persistent(Some(_))) {
        return find_or_run(cx, receiver, args, target).await;
    }
    // IDENTITY: what holds for a time is no result of the call as the graph remembers it, so that calls of it are never the
    // same; those of a session that wait for it at the same time are given one answer.
    let key = rondel_digest::of("timed-call/v1", &(stable_keys(&cx.call).0, &cx.caller.session));
    let ran = Arc::new(AtomicBool::new(false));
    let (own, receiver, args, target, mine) = (cx.clone(), receiver.clone(), args.clone(), target.clone(), ran.clone());
    let label = target.describe();
    let work = || async move {
        let (outcome, known) = find_or_run(&own, &receiver, &args, &target).await?;
        mine.store(!known, Ordering::Relaxed);
        Ok(Node { call: outcome.rebind, value: outcome.value })
    };
    let node = cx.evaluator.graph().evaluate_uncached(key, || label.into(), work).await?;
    Ok((Outcome { value: node.value, rebind: node.call }, !ran.load(Ordering::Relaxed)))
}

async fn find_or_run(
    cx: &ResolverContext,
    receiver: &Node,
    args: &Args,
    target: &FunctionTarget,
) -> Result<(Outcome, bool)> {
    let services = client(&cx.caller)?.services.clone();
    let lifetime = target.module.lifetime(&target.function);
    let (own, shared) = stable_keys(&cx.call);
    let find = |key: &Digest| match lifetime {
        ResultLifetime::Persistent(_) => services.index.get(Table::Calls, key),
        _ => None,
    };
    for kept in [find(&own), find(&shared)].into_iter().flatten() {
        if let Ok(json) = serde_json::from_slice::<Json>(&kept)
            && let Ok(outcome) = decode(cx, target, &json).await
        {
            return Ok((outcome, true));
        }
    }
    let (json, started) = run_function(cx, receiver, args, target).await?;
    let outcome = decode(cx, target, &json).await?;
    if let ResultLifetime::Persistent(seconds) = lifetime
        && !is_session_bound(&cx.evaluator, &json)
    {
        let expires = Duration::from_secs(seconds.unwrap_or(MAX_RESULT_SECONDS));
        let key = if started { own } else { shared };
        services.index.put(Table::Calls, &key, json.to_string().as_bytes(), Some(expires))?;
    }
    Ok((outcome, false))
}

// IDENTITY: what was asked of which implementation, without client and session. The first key has the module as which
// processes act that the function starts; the second is for results of functions that started none.
fn stable_keys(call: &Call) -> (Digest, Digest) {
    let mut spec = call.spec();
    spec.implicit = Vec::new();
    let own = Call::new(call.receiver().cloned(), spec.clone()).digest();
    spec.act_as(None);
    let any = Call::new(call.receiver().cloned(), spec).digest();
    (
        rondel_digest::of("function-call/v1", &own.as_bytes()),
        rondel_digest::of("function-call-as-any/v1", &any.as_bytes()),
    )
}

async fn decode(cx: &ResolverContext, target: &FunctionTarget, json: &Json) -> Result<Outcome> {
    let codec = Codec { evaluator: &cx.evaluator, caller: &cx.caller, module: &target.module };
    let place = if target.function.original.is_empty() {
        format!("the constructor of `{}`", target.object.original)
    } else {
        format!("function `{}`", target.function.original)
    };
    codec.decode(&target.function.returns, json, &place).await.map(Outcome::from)
}

/// What the function answers, and whether it may have started a process that speaks to the API.
async fn run_function(
    cx: &ResolverContext,
    receiver: &Node,
    args: &Args,
    target: &FunctionTarget,
) -> Result<(Json, bool)> {
    let codec = Codec { evaluator: &cx.evaluator, caller: &cx.caller, module: &target.module };
    let mut given = Vec::new();
    for arg in &target.function.args {
        let value = args.literal(&arg.name);
        if value == Literal::Null && !args.given(&arg.name) {
            continue;
        }
        let json = codec.encode(&arg.type_def, &value).await?;
        given.push((arg.original.clone(), json.to_string()));
    }
    let constructor = target.function.original.is_empty();
    let parent = match receiver.value.get::<ModuleObject>() {
        Some(object) if !constructor => Json::Object(object.state.as_ref().clone()).to_string(),
        _ => "null".to_owned(),
    };
    let call = FunctionCall::new(target.function.original.clone(), target.object.original.clone(), parent, given);
    let (text, started) = run(&cx.evaluator, &cx.caller, &target.module, Arc::new(call)).await?;
    let json = serde_json::from_str(&text).map_err(|e| {
        Fault::user(format!("{} answered with something that is not JSON", target.describe())).caused_by(e)
    })?;
    Ok((json, started))
}

/// Has one function call of `module` served, by its runtime or its entrypoint, and gives the JSON text that is the answer,
/// and whether the code may have started a process that speaks for whom those of the caller do.
///
/// # Errors
/// The error that it answered, its failure when it answered nothing, or that it did neither.
pub async fn run(
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    module: &Arc<Module>,
    call: Arc<FunctionCall>,
) -> Result<(String, bool)> {
    // What the code lacked may be why it failed.
    let blamed = |fault: Fault| {
        module.broken.iter().fold(fault, |fault, (name, why)| {
            fault.with_hint(format!("the dependency `{name}` could not be loaded: {}", why.full_message()))
        })
    };
    if let Provider::Entrypoint(entrypoint) = &module.provider {
        // The result is the same for every caller: processes that the entrypoint starts act as the module, and so do those
        // of calls in its result that are not evaluated yet.
        return match entrypoint.call(evaluator, caller, module, &call).await {
            Ok(text) => Ok((text, false)),
            Err(fault) if call.outcome().is_some() => Err(blamed(fault)),
            Err(fault) => Err(blamed(fault.context(failed(&call, module)))),
        };
    }
    let container = runtime(evaluator, caller, module).await?;
    let me = client(caller)?;
    let mut cx = me.op_cx.clone();
    cx.events = caller.events.clone();
    let ExecScope { children_act_as, adopts, .. } = me.scope.as_deref().cloned().unwrap_or_default();
    let started = Arc::new(AtomicBool::new(false));
    let (acting_module, served) = (Some(module.acting_module()), Some(call.clone()));
    let scope = ExecScope { acting_module, call: served, children_act_as, adopts, started: started.clone() };
    let mut exec = process(&container, scope.seal()).ok_or_else(|| {
        Fault::user(format!("the runtime of module `{}` is a container without a command", module.name()))
            .with_hint(format!("the SDK `{}` must give it an entrypoint", module.sdk_name()))
    })?;
    // IDENTITY: what a call answers is kept under the call, never under the process.
    exec.salt = Some(format!("{:032x}", rand::random::<u128>()));
    // A runtime may be work that nobody did yet: when it fails, the module's code has no part in it.
    let ops = &me.services.ops;
    let making =
        || format!("make the runtime of module `{}`, as {} describes it", module.name(), runtime_provider(module));
    try_join_all(exec.inputs().into_iter().map(|fs| ops.tree(&cx, fs))).await.map_err(|e| e.context(making()))?;
    let ended = ops.exec(&cx, &Arc::new(exec)).await;
    match (call.outcome(), ended) {
        (Some(CallOutcome::Error(fault)), _) => Err(blamed(fault)),
        (Some(CallOutcome::Value(_)), Err(fault)) | (None, Err(fault)) => {
            let started = matches!(fault.detail(), Some(Detail::Exec(_))) || fault.kind() != Kind::User;
            let runs = || format!("start the command of the runtime, which {} gave", runtime_provider(module));
            let fault = if started { fault } else { fault.context(runs()) };
            Err(blamed(fault.context(failed(&call, module))))
        }
        (Some(CallOutcome::Value(text)), Ok(_)) => Ok((text, started.load(Ordering::Relaxed))),
        // Users match on this text; see docs/protocol.md#the-runtime.
        (None, Ok(_)) if call.name.is_empty() && call.parent_name.is_empty() => Err(Fault::user(format!(
            "module `{}` registered no types: its runtime completed without returning a value",
            module.name()
        ))
        .with_hint("it is asked for types by a call with an empty function name, and must answer with `returnValue`")),
        (None, Ok(_)) => {
            let what = if call.name.is_empty() { "constructor".into() } else { format!("function \"{}\"", call.name) };
            let hint = format!(
                "the runtime of module `{}`, which {} gave, has to answer every call with `returnValue` or `returnError`",
                module.name(),
                runtime_provider(module)
            );
            Err(Fault::user(format!("{what} completed without returning a value")).with_hint(hint))
        }
    }
}

fn failed(call: &FunctionCall, module: &Module) -> String {
    match (call.name.as_str(), call.parent_name.as_str()) {
        ("", "") => format!("run the runtime of module `{}` for its types", module.name()),
        ("", _) => format!("call the constructor of module `{}`", module.name()),
        (function, object) => format!("call function `{function}` of `{object}` in module `{}`", module.name()),
    }
}

/// The command of `container` as a process that speaks as `scope` says; none when there is no command.
pub fn process(container: &Container, scope: Scope) -> Option<ExecOp> {
    let config = &container.config;
    let args: Vec<String> = config.entrypoint.iter().chain(&config.cmd).flatten().cloned().collect();
    (!args.is_empty()).then(|| ExecOp {
        rootfs: container.rootfs.clone(),
        mounts: container.mounts.to_vec(),
        args,
        env: container.environment(),
        secret_env: container.secret_environment(),
        volatile_env: container.volatile_environment(),
        workdir: AbsPath::new("/scratch"),
        user: config.user.clone(),
        stdin: Stdin::Empty,
        redirect_stdout: None,
        redirect_stderr: None,
        expect: Expect::Success,
        scope: Some(scope),
        insecure: false,
        no_init: false,
        offline: false,
        host_network: false,
        scrub: container.scrub.clone(),
        platform: container.platform.clone(),
        services: container.services.values().cloned().collect(),
        salt: None,
    })
}

/// The error that `message` and `values` of the API's `Error` stand for: a failed process when they say so.
pub fn error_of(message: &str, values: &[(String, Json)]) -> Fault {
    let get = |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let fault = Fault::user(message);
    if values.is_empty() {
        return fault;
    }
    let text = |name: &str| get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    if get("_type").and_then(Json::as_str) == Some("EXEC_ERROR") {
        let words = get("cmd").and_then(Json::as_array).into_iter().flatten();
        let failure = ExecFailure {
            cmd: words.filter_map(Json::as_str).map(ToOwned::to_owned).collect(),
            exit_code: get("exitCode").and_then(Json::as_i64).and_then(|code| i32::try_from(code).ok()).unwrap_or(1),
            stdout: text("stdout"),
            stderr: text("stderr"),
        };
        return fault.with_detail(Detail::Exec(failure));
    }
    fault.with_detail(Detail::Values(values.iter().cloned().collect()))
}

/// The context for deferred work on behalf of the caller of `cx`.
///
/// # Errors
/// When the caller was not made by an engine.
pub fn op_context(cx: &ResolverContext) -> Result<(Arc<rondel_ops::Ops>, rondel_ops::OpContext)> {
    Ok((client(&cx.caller)?.services.ops.clone(), op_cx(cx)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_of_functions() {
        let values =
            |json: Json| json.as_object().map(|map| map.clone().into_iter().collect::<Vec<_>>()).unwrap_or_default();
        let exec =
            values(json!({"_type": "EXEC_ERROR", "cmd": ["sh", "-c"], "exitCode": 42, "stdout": "o", "stderr": "e"}));
        let fault = error_of("boom", &exec);
        assert!(
            matches!(fault.detail(), Some(Detail::Exec(f)) if f.exit_code == 42 && f.cmd == ["sh", "-c"] && f.stderr == "e")
        );
        let fault = error_of("boom", &values(json!({"reason": {"a": 1}})));
        assert!(matches!(fault.detail(), Some(Detail::Values(map)) if map["reason"]["a"] == 1));
        assert!(error_of("boom", &[]).detail().is_none());
    }
}
