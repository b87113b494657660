//! Calls of a module's functions: docs/protocol.md#function-calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rondel_call::{Call, Literal};
use rondel_digest::Digest;
use rondel_events::{Outcome as Ended, Work};
use rondel_fault::{Fault, Result};
use rondel_model::explain::Ended as Cause;
use rondel_module_model::loaded_module::{ModuleObject, ResultLifetime};
use rondel_ports::index::Table;
use rondel_ports::outcome::outcome;
use rondel_query::{Node, Outcome};
use rondel_session::client::op_cx;
use rondel_session::{Args, FunctionCall, ResolverContext, client};
use serde_json::Value as Json;

use crate::call::codec::{Codec, is_session_bound};
use crate::call::run::run;
use crate::module::function_target::FunctionTarget;
use crate::module::load_report;

/// How long a result is kept at most, in seconds.
const MAX_RESULT_SECONDS: u64 = 7 * 24 * 3600;

/// Calls the function `target`. A cached result comes from the index, otherwise the module's
/// runtime runs.
///
/// # Errors
/// When the function fails, its answer has the wrong type, or it does not answer.
pub async fn call(cx: ResolverContext, receiver: Node, args: Args, target: FunctionTarget) -> Result<Outcome> {
    let span = cx.caller.events.span(Work::Function, target.title());
    let cx = ResolverContext { caller: cx.caller.reporting(span.emitter().clone()), ..cx };
    let evaluated = evaluate(&cx, &receiver, &args, &target).await;
    let ended = match &evaluated {
        Ok((_, true)) => Cause::Cached,
        Ok(_) => Cause::Ran,
        Err(_) => Cause::Failed,
    };
    let parts = || load_report::of_call(&cx.call, &receiver, &target);
    span.emitter().explain(&|| parts().listed());
    client(&cx.caller).services.ops.explain(&op_cx(&cx), "function", target.describe(), ended, parts());
    span.end(match &evaluated {
        Ok((_, true)) => Ended::Cached,
        evaluated => outcome(evaluated),
    });
    evaluated.map(|(outcome, _)| outcome)
}

/// Returns the result of the function, and whether it was cached.
async fn evaluate(
    cx: &ResolverContext,
    receiver: &Node,
    args: &Args,
    target: &FunctionTarget,
) -> Result<(Outcome, bool)> {
    if !matches!(target.module.lifetime(&target.function), ResultLifetime::Persistent(Some(_))) {
        return find_or_run(cx, receiver, args, target).await;
    }
    // IDENTITY: the graph does not cache a result with a time to live, so every such call has a
    // digest of its own. Calls of one session that wait for it at the same time share one
    // evaluation.
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
    let services = client(&cx.caller).services.clone();
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

// IDENTITY: the keys hold the call and the implementation of the module, without client and
// session. The first key includes the module identity given to processes that the function starts.
// The second is for results of functions that started no process.
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

/// Runs the function. Returns its answer, and whether it may have started a process with API
/// access.
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
