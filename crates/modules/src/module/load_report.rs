//! Load reports: the versions in force, the contract, which work ran or was cached, and the inputs
//! that differ from the nearest earlier load when something had to run.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rondel_call::{Call, Literal};
use rondel_digest::Digest;
use rondel_events::{Event, Outcome, Sink, SpanId, Work};
use rondel_fault::{Result, lock};
use rondel_model::explain::Parts;
use rondel_model::{LayerId, Snapshot};
use rondel_module_model::loaded_module::{Module, Provider, ResultLifetime};
use rondel_module_model::source::module_source::ModuleSource;
use rondel_ops::{OpContext, Ops};
use rondel_ports::index::{Index, Table};
use rondel_query::Node;
use rondel_session::{Caller, client};

use crate::module::function_target::FunctionTarget;

/// How many earlier loads of a module are kept for comparison.
const MAX_CACHED: usize = 8;
/// How many pieces of work a report lists.
const MAX_LISTED: usize = 12;
/// How many pieces of work of one load are recorded. Of the others, only their number is.
const MAX_RECORDED: usize = 1_000;
/// The name of the input that is a tree of files.
const FILES: &str = "files";

/// Where the types of a module come from when they are not cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypesOrigin {
    /// The source of the module.
    Source,
    /// The provider of the module.
    Provider,
    /// The code of the module. Why it ran.
    Code(String),
}

/// A report of one load.
pub struct LoadReport {
    /// Where the types came from. `None` if they were cached.
    pub registered: Option<TypesOrigin>,
    /// The differences from the nearest earlier load.
    pub changes: Vec<String>,
    /// The processes and function calls of the load, at most [`MAX_RECORDED`] of them.
    pub work: Vec<RecordedWork>,
    /// How many more there were.
    pub more_work: usize,
    again: AtomicBool,
}

impl LoadReport {
    /// A report of a finished load.
    pub fn new(registered: Option<TypesOrigin>, changes: Vec<String>, seen: &WorkRecorder) -> Self {
        let (work, more_work) = seen.work();
        Self { registered, changes, work, more_work, again: AtomicBool::new(false) }
    }

    /// Records that the loaded module was asked for again.
    pub fn reuse(&self) {
        self.again.store(true, Ordering::Relaxed);
    }
}

/// A process or a function call of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedWork {
    /// The name of the work, for users.
    pub name: String,
    /// Whether the result was cached.
    pub cached: bool,
    /// The parts of its cache key, by name.
    pub parts: Vec<(String, String)>,
}

/// Records the work of one load from its events.
#[derive(Default)]
pub struct WorkRecorder(Mutex<Recorded>);

#[derive(Default)]
struct Recorded {
    work: BTreeMap<SpanId, RecordedWork>,
    more: usize,
}

impl Sink for WorkRecorder {
    fn emit(&self, event: Event) {
        let Recorded { work: recorded, more } = &mut *lock(&self.0);
        match event {
            Event::Start { work: Work::Exec | Work::Function, .. } if recorded.len() >= MAX_RECORDED => *more += 1,
            Event::Start { span, work: Work::Exec | Work::Function, name, .. } => {
                recorded.insert(span, RecordedWork { name, ..RecordedWork::default() });
            }
            Event::End { span, outcome, .. } => {
                if let Some(done) = recorded.get_mut(&span) {
                    done.cached = outcome == Outcome::Cached;
                }
            }
            _ => {}
        }
    }

    fn explain(&self, span: SpanId, parts: &dyn Fn() -> Vec<(String, String)>) {
        if let Some(done) = lock(&self.0).work.get_mut(&span) {
            done.parts = parts();
        }
    }
}

impl WorkRecorder {
    /// The recorded work, and how much more there was.
    fn work(&self) -> (Vec<RecordedWork>, usize) {
        let Recorded { work, more } = &*lock(&self.0);
        (work.values().cloned().collect(), *more)
    }
}

/// The inputs of the load of `module`.
fn inputs(module: &Module) -> Parts {
    let source = &module.source;
    let config = &source.config;
    let written = &config.engine_version;
    let mut parts = Parts::new();
    parts.add("name", source.name());
    parts.add("engineVersion", if written.is_empty() { "(absent)" } else { written });
    parts.add("view", module.view.to_string());
    parts.add_all_of_tree(FILES, source.snapshot.digest().short().to_string(), source.snapshot.layers());
    if let Provider::Builtin(sdk) = &module.provider {
        parts.add("SDK", format!("{} {}", module.sdk_name(), sdk.version()));
    }
    add_used(&mut parts, "", module);
    parts
}

/// Adds the direct and indirect dependencies of `module`. A change in any of them may cause a miss.
fn add_used(parts: &mut Parts, of: &str, module: &Module) {
    let maker = match &module.provider {
        Provider::Module(sdk) => Some(("SDK".to_owned(), &sdk.module)),
        Provider::Entrypoint(entrypoint) => Some(("entrypoint".to_owned(), &entrypoint.module)),
        Provider::None | Provider::Builtin(_) => None,
    };
    let dependencies = module.dependencies.iter().map(|used| (format!("dependency {}", used.name()), used));
    for (role, used) in maker.into_iter().chain(dependencies) {
        let name = format!("{role}{of}");
        if parts.tree(&name).is_some() {
            continue;
        }
        let shown = format!("{} {}", used.name(), used.implementation.short());
        parts.add_all_of_tree(&name, shown, used.source.snapshot.layers());
        add_used(parts, &format!(" of {name}"), used);
    }
    for (name, _) in &module.broken {
        parts.add(format!("dependency {name}{of}"), "(cannot be loaded)");
    }
}

/// The inputs of a function call.
pub(crate) fn of_call(call: &Call, receiver: &Node, target: &FunctionTarget) -> Parts {
    let mut parts = Parts::new();
    parts.add("module", target.module.implementation.short());
    parts.add("function", target.describe());
    parts.add(
        "kept",
        match target.module.lifetime(&target.function) {
            ResultLifetime::Persistent(_) => "for everybody",
            ResultLifetime::Session => "for one session",
            ResultLifetime::Never => "never",
        },
    );
    if let Some(parent) = &receiver.call {
        parts.add("parent object", parent.digest().short());
    }
    if let Some(identity) = call.identity() {
        parts.add("acts as", format!("{} {}", identity.module.implementation.short(), identity.view));
    }
    for (name, value) in call.args() {
        let name = format!("argument {name}");
        match value {
            Literal::Call(object) => {
                let shown = format!("{} {}", object.returns(), object.digest().short());
                parts.add_tree(name, shown, &layers_of(object).unwrap_or_default());
            }
            Literal::String(text) => parts.add(name, &**text),
            other => parts.add(name, format!("{other:?}")),
        }
    }
    parts
}

/// The layers of a directory or file that came from a client's machine.
fn layers_of(object: &Call) -> Option<Vec<LayerId>> {
    if !object.field().starts_with("_snapshot") {
        return None;
    }
    let Literal::List(layers) = object.arg("layers")? else { return None };
    let layer = |literal: &Literal| match literal {
        Literal::String(text) => text.parse().ok().map(LayerId),
        _ => None,
    };
    layers.iter().map(layer).collect()
}

// IDENTITY: of the place, so that loads of one module are compared. Nothing else depends on it.
fn place_of(source: &ModuleSource) -> Digest {
    rondel_digest::of("loads/v3", &(&source.host, &source.root, source.name()))
}

/// Saves the inputs of `module`, whose types were just registered. Returns the differences from the
/// nearest earlier load of the module at the same place.
///
/// # Errors
/// When the inputs cannot be saved.
pub async fn compared(caller: &Caller, module: &Module) -> Result<Vec<String>> {
    let me = client(caller);
    let key = place_of(&module.source);
    let kept = me.services.index.get(Table::Facts, &key);
    let mut earlier: Vec<Parts> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let now = inputs(module);
    let nearest = now.nearest(earlier.iter(), |earlier| earlier);
    let changes = match nearest {
        None => vec!["this module was not loaded here before".to_owned()],
        Some(nearest) => differences(&me.services.ops, &me.op_cx, &now, nearest).await,
    };
    earlier.retain(|earlier| *earlier != now);
    earlier.insert(0, now);
    earlier.truncate(MAX_CACHED);
    remember(&*me.services.index, &key, &earlier)?;
    Ok(changes)
}

fn remember(index: &dyn Index, key: &Digest, loads: &[Parts]) -> Result<()> {
    use rondel_fault::Attempt;
    let bytes = serde_json::to_vec(loads).attempt(|| "remember the inputs of a module".into())?;
    index.put(Table::Facts, key, &bytes, None)
}

async fn differences(ops: &std::sync::Arc<Ops>, cx: &OpContext, now: &Parts, before: &Parts) -> Vec<String> {
    let mut lines = Vec::new();
    for difference in now.differences(before) {
        let name = difference.part;
        if let (Some(old), Some(new)) = (before.tree(&name), now.tree(&name))
            && (old != new || name == FILES)
        {
            let files = ops.changed_files(cx, &Snapshot::new(old), &Snapshot::new(new)).await.unwrap_or_default();
            let of = if name == FILES { name } else { format!("files of {name}") };
            let named = if files.is_empty() { "something changed".to_owned() } else { files.join(", ") };
            lines.push(format!("{of}: {named}"));
            continue;
        }
        let value = |value: Option<String>| value.unwrap_or_else(|| "(none)".to_owned());
        lines.push(format!("{name}: {} → {}", value(difference.old), value(difference.new)));
    }
    if lines.is_empty() {
        lines.push("nothing: what was registered for these inputs was thrown away".to_owned());
    }
    lines
}

/// Describes the load of `module` for users, as labels and texts.
pub fn rows(module: &Module, report: Option<&LoadReport>) -> Vec<(String, String)> {
    let config = &module.source.config;
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut row = |label: &str, text: String| rows.push((label.to_owned(), text));
    row("module", format!("{} from {}", module.name(), module.source.describe()));
    row(
        "engineVersion",
        match config.engine_version.as_str() {
            "" => format!("absent, read as {}", module.view),
            written => format!("{written}, read as {}", module.view),
        },
    );
    row("view", module.view.to_string());
    row(
        "SDK",
        match &module.provider {
            Provider::None => "none".to_owned(),
            Provider::Entrypoint(_) => "none: the module has an entrypoint".to_owned(),
            Provider::Builtin(sdk) => format!("{} (built in, {})", module.sdk_name(), sdk.version()),
            Provider::Module(sdk) => format!(
                "{} (module `{}` at view {}, {})",
                sdk.name,
                sdk.module.name(),
                sdk.module.view,
                sdk.module.implementation.short()
            ),
        },
    );
    row("contract", module.contract().to_string());
    let again = report.is_none_or(|report| report.again.load(Ordering::Relaxed));
    let fresh = report.filter(|_| !again).and_then(|report| Some((report, report.registered.as_ref()?)));
    row(
        "types",
        match (&fresh, again) {
            (Some((_, TypesOrigin::Source)), _) => "read from the source now: nothing was run".to_owned(),
            (Some((_, TypesOrigin::Provider)), _) => "registered now".to_owned(),
            (Some((_, TypesOrigin::Code(why))), _) => format!("registered now by the module's code: {why}"),
            (None, true) => "held by the engine: nothing was run".to_owned(),
            (None, false) => "found in the store: nothing was run".to_owned(),
        },
    );
    if let Some((report, _)) = fresh {
        let (cached, ran): (Vec<_>, Vec<_>) = report.work.iter().partition(|done| done.cached);
        row("ran", listed(&ran));
        row("cached", listed(&cached));
        if report.more_work > 0 {
            row("more work", format!("{} processes and function calls", report.more_work));
        }
        row("differs", report.changes.join("; "));
        for done in report.work.iter().take(MAX_LISTED).filter(|done| !done.parts.is_empty()) {
            let parts: Vec<_> = done.parts.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            row("key of", format!("{}: {}", done.name, parts.join("; ")));
        }
    }
    for (name, value) in inputs(module).iter() {
        row("key", format!("{name} = {value}"));
    }
    row("implementation", module.implementation.to_string());
    for (name, fault) in &module.broken {
        row("broken", format!("dependency `{name}`: {}", fault.full_message()));
    }
    rows
}

fn listed(work: &[&RecordedWork]) -> String {
    let mut names: Vec<&str> = work.iter().take(MAX_LISTED).map(|done| done.name.as_str()).collect();
    let more = format!("and {} more", work.len().saturating_sub(MAX_LISTED));
    if work.len() > MAX_LISTED {
        names.push(&more);
    }
    if names.is_empty() { "nothing".to_owned() } else { names.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_watched() {
        let seen = std::sync::Arc::new(WorkRecorder::default());
        let events = rondel_events::Emitter::nowhere().also(seen.clone());
        let load = events.span(Work::Load, "load");
        let exec = load.emitter().span(Work::Exec, "a");
        exec.emitter().explain(&|| vec![("args".into(), "make".into())]);
        exec.end(Outcome::Cached);
        load.emitter().span(Work::Function, "b").end(Outcome::Done);
        load.end(Outcome::Done);
        let a = RecordedWork { name: "a".into(), cached: true, parts: vec![("args".into(), "make".into())] };
        let b = RecordedWork { name: "b".into(), ..RecordedWork::default() };
        assert_eq!(seen.work(), (vec![a, b], 0));
    }

    #[test]
    fn recorded_work_is_bounded() {
        let seen = std::sync::Arc::new(WorkRecorder::default());
        let events = rondel_events::Emitter::nowhere().also(seen.clone());
        (0..100_000).for_each(|_| events.span(Work::Exec, "exec").end(Outcome::Done));
        let (work, more) = seen.work();
        assert_eq!((work.len(), more), (MAX_RECORDED, 100_000 - MAX_RECORDED));
    }
}
