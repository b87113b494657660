//! Serves one function call, by a process of the module's runtime or by its entrypoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{BoxFuture, try_join_all};
use rondel_fault::{Cause, Detail, FailedProcess, Fault, Kind, OutputTail, Result};
use rondel_model::exec::Scope;
use rondel_model::{AbsPath, Container, ExecOp, ExecTitle};
use rondel_module_model::loaded_module::{EntrypointModule, Module, Provider};
use rondel_module_model::names::{field_name, kebab};
use rondel_module_model::source::module_source::SourceKind;
use rondel_session::{ActingModule, CallOutcome, Caller, Evaluator, ExecScope, FunctionCall, client};

use crate::module::acting_as::acting_as;
use crate::sdk::entrypoint;
use crate::sdk::runtime::{runtime, runtime_provider};

/// Serves one function call of `module` by its runtime or its entrypoint. Returns the JSON text of
/// the answer, and whether the code may have started a process that acts as the caller's child
/// identity.
///
/// # Errors
/// The error that the code answered, or its failure when it answered nothing, or that it did
/// neither.
pub async fn run(
    evaluator: &Arc<Evaluator>,
    caller: &Arc<Caller>,
    module: &Arc<Module>,
    call: Arc<FunctionCall>,
) -> Result<(String, bool)> {
    // A missing dependency may be the cause of the failure, so its error becomes a hint.
    let blamed = |fault: Fault| {
        module.broken.iter().fold(fault, |fault, (name, why)| {
            fault.with_hint(format!("the dependency `{name}` could not be loaded: {}", why.full_message()))
        })
    };
    if let Provider::Entrypoint(entrypoint) = &module.provider {
        // Every caller gets the same result: processes that the entrypoint starts act as the
        // module. So do those of unevaluated calls in its result.
        return match run_by_entrypoint(evaluator, caller, module, entrypoint, &call).await {
            Ok(text) => Ok((text, false)),
            Err(fault) if call.outcome().is_some() => Err(blamed(failed_in(fault, &call, module, None))),
            Err(fault) => Err(blamed(failed_in(fault, &call, module, None).prefixed(failed(&call, module)))),
        };
    }
    let container = runtime(evaluator, caller, module).await?;
    let me = client(caller);
    let mut cx = me.op_cx.clone();
    cx.events = caller.events.clone();
    let ExecScope { children_act_as, adopts, .. } = me.scope.as_deref().cloned().unwrap_or_default();
    let started = Arc::new(AtomicBool::new(false));
    let (acting_module, served) = (Some(ActingModule::new(module.clone())), Some(call.clone()));
    let scope = ExecScope { acting_module, call: served, children_act_as, adopts, started: started.clone() };
    let mut exec = process(&container, scope.into_op_scope()).ok_or_else(|| {
        Fault::user(format!("the runtime of module `{}` is a container without a command", module.name()))
            .with_hint(format!("the SDK `{}` must give it an entrypoint", module.sdk_name()))
    })?;
    // IDENTITY: the answer is cached under the function call, never under the process.
    exec.salt = Some(format!("{:032x}", rand::random::<u128>()));
    exec.title = Some(match (call.name.as_str(), call.parent_name.as_str()) {
        ("", "") => title_of_types(module),
        _ => ExecTitle { text: format!("runtime of module {}", module.name()).into(), internal: true },
    });
    // The runtime's own deferred work runs first. Its failure is an error of the SDK, not of the
    // module's code.
    let ops = &me.services.ops;
    let making_cx = match module.provider {
        Provider::Module(_) => cx.reporting(&cx.events.internal()),
        _ => cx.clone(),
    };
    let making =
        || format!("make the runtime of module `{}`, as {} describes it", module.name(), runtime_provider(module));
    try_join_all(exec.inputs().into_iter().map(|fs| ops.tree(&making_cx, fs)))
        .await
        .map_err(|e| e.context(making()))?;
    let ended = ops.exec(&cx, &Arc::new(exec)).await;
    match (call.outcome(), ended) {
        (Some(CallOutcome::Error(fault)), ended) => {
            let output = match &ended {
                Ok(result) => Some(OutputTail::new(&result.stderr, 0)),
                Err(failure) => match failure.detail() {
                    Some(Detail::Exec(exec)) => Some(OutputTail::new(&exec.stderr, 0)),
                    _ => None,
                },
            };
            Err(blamed(failed_in(fault, &call, module, output)))
        }
        (Some(CallOutcome::Value(_)), Err(fault)) | (None, Err(fault)) => {
            let started = matches!(fault.detail(), Some(Detail::Exec(_))) || fault.kind() != Kind::User;
            let runs = || format!("start the command of the runtime, which {} gave", runtime_provider(module));
            let fault = if started { fault } else { fault.context(runs()) };
            let fault = if fault.causes().is_empty() { fault } else { failed_in(fault, &call, module, None) };
            Err(blamed(fault.prefixed(failed(&call, module))))
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

/// Puts `call` in front of what led to `fault`, an error of the code of `module`.
///
/// The causes before the first function call or process are those of this code. An SDK may know
/// none: then `output` is kept, the end of what its runtime wrote to standard error.
fn failed_in(fault: Fault, call: &FunctionCall, module: &Module, output: Option<OutputTail>) -> Fault {
    let title = match (call.name.as_str(), call.parent_name.as_str()) {
        ("", "") => format!("loading module {}", module.name()),
        ("", _) => format!("constructor of {}", module.name()),
        (function, object) if module.main().is_some_and(|main| main.original == object) => {
            format!("{} {}", module.name(), kebab(&field_name(function)))
        }
        (function, object) => format!("{} {object}.{function}", module.name()),
    };
    let origin = match (module.source.kind, &module.source.git) {
        (SourceKind::Git, Some(git)) => git.reference(""),
        _ => String::new(),
    };
    let mut causes = fault.causes().to_vec();
    let own = causes.iter().take_while(|cause| cause.call.is_empty() && cause.exec.is_none()).count();
    for cause in &mut causes[..own] {
        cause.origin.clone_from(&origin);
    }
    match causes.first_mut() {
        Some(first) if own > 0 => first.call = title,
        Some(_) => causes.insert(0, Cause { call: title, ..Cause::default() }),
        None => {
            let output = output.filter(|output| !output.is_empty() && output.text.trim() != fault.message().trim());
            let exec = output.map(|output| FailedProcess { output, ..FailedProcess::default() });
            causes.push(Cause { call: title, exec, ..Cause::attempt(fault.message()) });
        }
    }
    fault.with_causes(causes)
}

fn failed(call: &FunctionCall, module: &Module) -> String {
    match (call.name.as_str(), call.parent_name.as_str()) {
        ("", "") => format!("run the runtime of module `{}` for its types", module.name()),
        ("", _) => format!("call the constructor of module `{}`", module.name()),
        (function, object) => format!("call function `{function}` of `{object}` in module `{}`", module.name()),
    }
}

/// The title of the process that registers the types of `module`.
pub fn title_of_types(module: &Module) -> ExecTitle {
    ExecTitle { text: format!("register the types of module {}", module.name()).into(), internal: true }
}

/// The command of `container` as a process with the exec scope `scope`. `None` when the container
/// has no command.
pub fn process(container: &Container, scope: Scope) -> Option<ExecOp> {
    let config = &container.config;
    let args: Vec<String> = config.entrypoint.iter().chain(&config.cmd).flatten().cloned().collect();
    (!args.is_empty()).then(|| ExecOp { workdir: AbsPath::new("/scratch"), scope: Some(scope), ..container.exec(args) })
}

/// Serves one function call of `of` by its entrypoint. Returns the JSON text of the result.
///
/// # Errors
/// The error that the entrypoint answers, which then is the answer to `asked` as well. Its failure.
/// Or that its answer is not JSON text.
fn run_by_entrypoint<'a>(
    evaluator: &'a Arc<Evaluator>,
    caller: &'a Arc<Caller>,
    of: &'a Arc<Module>,
    entrypoint: &'a EntrypointModule,
    asked: &'a FunctionCall,
) -> BoxFuture<'a, Result<String>> {
    Box::pin(async move {
        let caller = acting_as(caller, of);
        let inner = entrypoint::serving_call(entrypoint, evaluator, &caller, of, asked).await?;
        let text = match run(evaluator, &caller, &entrypoint.module, inner.clone()).await {
            Ok((text, _)) => text,
            Err(fault) => {
                if let Some(CallOutcome::Error(_)) = inner.outcome() {
                    asked.answer(CallOutcome::Error(fault.clone()))?;
                }
                return Err(fault);
            }
        };
        entrypoint::answer(entrypoint, of, &text)
    })
}
