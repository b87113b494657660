//! Generated code: what an SDK's `codegen` adds to a module's source. spec/protocol.md §4.6.

use std::sync::Arc;

use rondel_call::Literal;
use rondel_fault::{Fault, Result};
use rondel_model::op::Place;
use rondel_query::{Cx, Node, Outcome};

use crate::call::work;
use crate::context::known;
use crate::fields::GeneratedCode;
use crate::load::{Modules, on_behalf};
use crate::module::Provider;
use crate::sdk_module::CODEGEN;
use crate::source::{ModuleSource, inside_context};

/// The context directory of `source` with the code that its SDK generates.
///
/// # Errors
/// When the SDK fails, or gives something else.
pub async fn generated(cx: &Cx, modules: &Arc<Modules>, source: &Arc<ModuleSource>) -> Result<Outcome> {
    let context = known(cx, "_snapshot", &source.snapshot, None).await?;
    let context = step(cx, &context, "directory", vec![("path", text(source.base.as_str()))]).await?;
    if source.config.sdk.is_none() {
        return Ok(context.into());
    }
    let module = Arc::new(modules.untyped(Some(&cx.evaluator), &cx.caller, source).await?);
    let Provider::Module(sdk) = &module.provider else { return Ok(context.into()) };
    if !sdk.has(CODEGEN) {
        return Ok(context.into());
    }
    let caller = on_behalf(&cx.caller, &module)?;
    let node = sdk.call(&cx.evaluator, &caller, &module, CODEGEN).await?;
    let code = node.value.get::<GeneratedCode>().ok_or_else(|| {
        Fault::user(format!(
            "`{CODEGEN}` of the SDK `{}` must give `GeneratedCode!`, and gave `{}`",
            sdk.name,
            node.type_name()
        ))
    })?;
    let call = code.code.call.clone().ok_or_else(|| Fault::bug("a directory has no call"))?;
    let args = vec![("path", text("/")), ("source", Literal::Call(call))];
    let mut all = step(cx, &context, "withDirectory", args).await?;
    if source.config.generates_ignores() {
        let attributes = code.generated.iter().map(|path| format!("/{path} linguist-generated"));
        all = with_lines(cx, source, all, ".gitattributes", attributes.collect()).await?;
        let ignored = code.ignored.iter().map(|path| format!("/{path}"));
        all = with_lines(cx, source, all, ".gitignore", ignored.collect()).await?;
    }
    Ok(all.into())
}

/// `directory` with `lines` at the end of the file `name` of the module's source, but none that is there already.
async fn with_lines(cx: &Cx, source: &ModuleSource, directory: Node, name: &str, lines: Vec<String>) -> Result<Node> {
    if lines.is_empty() {
        return Ok(directory);
    }
    let folder = inside_context(&source.root, source.config.source_subpath()).unwrap_or_default();
    let (ops, op_cx) = work(cx)?;
    let place = directory.get::<rondel_model::Directory>()?.place.clone();
    let file = Place { fs: place.fs, path: place.path.join_inside(&folder).join(name) };
    let mut content = match ops.stat(&op_cx, &file, true).await? {
        Some(_) => String::from_utf8_lossy(&ops.read(&op_cx, &file).await?).into_owned(),
        None => String::new(),
    };
    for line in lines {
        if content.lines().any(|known| known == line) {
            continue;
        }
        if !content.is_empty() && !content.ends_with('\n') {
            content.push('\n');
        }
        content.push_str(&line);
        content.push('\n');
    }
    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    step(cx, &directory, "withNewFile", vec![("path", text(&path)), ("contents", text(&content))]).await
}

async fn step(cx: &Cx, receiver: &Node, field: &str, args: Vec<(&str, Literal)>) -> Result<Node> {
    let args = args.into_iter().map(|(name, value)| (name.into(), value)).collect();
    cx.evaluator.internal(&cx.caller, receiver, field, args).await
}

fn text(text: &str) -> Literal {
    Literal::String(text.into())
}
