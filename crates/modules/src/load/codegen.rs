//! Code generation: adds what an SDK's `codegen` returns to a module's source. See
//! docs/protocol.md#generated-code.

use std::sync::Arc;

use rondel_call::Literal;
use rondel_events::Work;
use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_model::{Directory, Value};
use rondel_module_model::config::module_config::GeneratedClient;
use rondel_module_model::loaded_module::{Provider, SdkModule};
use rondel_module_model::sdk_contract::{CLIENT, CLIENT_FILES, CODEGEN};
use rondel_module_model::source::module_source::{ModuleSource, SourceKind};
use rondel_module_model::source::reference::inside_context;
use rondel_ports::outcome::outcome;
use rondel_query::{Node, Outcome};
use rondel_session::client::ops_and_context;
use rondel_session::{ResolverContext, client};

use crate::content::{file_with_content, snapshot_object};
use crate::load::modules::{Modules, builtin_sdk};
use crate::module::acting_as::acting_as;
use crate::module::introspection::client_introspection;
use crate::sdk::runtime::sdk_source;
use crate::sdk::sdk_module::{self, SdkArguments};
use crate::source::reload_source::host_directory;
use crate::source::resolve_source::exists;

/// The file with a user's own defaults, which belongs to no repository.
const ENV_FILE: &str = ".env";

/// The result of an SDK's `codegen`.
#[derive(Clone)]
pub(crate) struct GeneratedCode {
    /// The directory.
    pub code: Node,
    /// Paths that are marked as generated in `.gitattributes`.
    pub generated: Vec<String>,
    /// Paths that are added to `.gitignore`.
    pub ignored: Vec<String>,
}

/// The context directory of `source` with its configuration, the code that its SDK generates, and
/// its generated clients.
///
/// # Errors
/// When the SDK or a client generator fails, or returns another type.
pub async fn generated(cx: &ResolverContext, modules: &Arc<Modules>, source: &Arc<ModuleSource>) -> Result<Outcome> {
    source.config.check_sdk_of_source()?;
    let context = snapshot_object(cx, "_snapshot", &source.snapshot, None).await?;
    let mut all = step(cx, &context, "directory", vec![("path", text(source.base.as_str()))]).await?;
    if source.config_exists() {
        let path = source.root_path().join(source.config.format.file_name());
        let args = vec![("path", text(path.as_str())), ("contents", Literal::String(source.config_text.clone()))];
        all = step(cx, &all, "withNewFile", args).await?;
    }
    if source.config.sdk.is_some() {
        all = with_code(cx, modules, source, all).await?;
    }
    for client in &source.config.clients {
        let doing = |e: Fault| {
            e.context(format!("generate the client in `{}` of module `{}`", client.directory, source.name()))
        };
        all = with_client(cx, modules, source, client, all).await.map_err(doing)?;
    }
    Ok(all.into())
}

/// `all` with the code that the module's SDK generates.
async fn with_code(
    cx: &ResolverContext,
    modules: &Arc<Modules>,
    source: &Arc<ModuleSource>,
    all: Node,
) -> Result<Node> {
    let (all, generated, ignored) = match source.config.entrypoint.is_none() && source.sdk.is_none() {
        true => with_builtin_code(cx, modules, source, all).await?,
        false => match with_code_of_module(cx, modules, source, &all).await? {
            Some(found) => found,
            None => return Ok(all),
        },
    };
    let attributes = generated.iter().map(|path| (path.clone(), format!("/{path} linguist-generated")));
    let all = with_lines(cx, source, all, ".gitattributes", attributes.collect()).await?;
    if !source.config.generates_ignores() {
        return Ok(all);
    }
    let ignored = ignored.iter().map(|path| (path.clone(), format!("/{path}")));
    with_lines(cx, source, all, ".gitignore", ignored.collect()).await
}

/// A directory with generated code, the paths that are generated, and those that are ignored.
type WithCode = (Node, Vec<String>, Vec<String>);

/// `all` with the code of a built-in SDK. Dependencies are loaded if it has bindings of them. There
/// are none for a dependency that is not found.
async fn with_builtin_code(
    cx: &ResolverContext,
    modules: &Arc<Modules>,
    source: &Arc<ModuleSource>,
    all: Node,
) -> Result<WithCode> {
    source.config.check_name()?;
    source.config.check_supported()?;
    let sdk = builtin_sdk(&source.config)?;
    let me = client(&cx.caller);
    let dependencies = match sdk.generates_bindings() {
        true => {
            let module = modules.untyped(Some(&cx.evaluator), &cx.caller, source).await?;
            let is_found = |name: &str| source.found().any(|found| found.name() == name);
            if let Some((name, why)) = module.broken.iter().find(|(name, _)| is_found(name)) {
                return Err(why.clone().context(format!("generate code for the dependency `{name}`")));
            }
            module.dependencies
        }
        false => Vec::new(),
    };
    let (ops, op_cx) = ops_and_context(cx);
    let mut given = sdk_source(source, source.view()?, &me.services, &dependencies);
    given.is_new = ops.stat(&op_cx, &source.configuration_file(), true).await?.is_none();
    let span = cx.caller.events.span(Work::Load, format!("generate code of module {}", source.name()));
    let code = sdk.codegen(&ops, &op_cx, &given).await;
    span.end(outcome(&code));
    let code = code?;
    let before = all.clone();
    let mut all = all;
    for (path, contents) in &code.files {
        let is_generated = code.generated.iter().any(|pattern| match pattern.strip_suffix("**") {
            Some(folder) => path.starts_with(folder),
            None => path == pattern,
        });
        if !is_generated {
            check_replaces_nothing(cx, source, &before, path).await?;
        }
        all = with_file(cx, &all, &in_source(source, path), contents).await?;
    }
    Ok((all, code.generated, code.ignored))
}

/// Checks that a new file in the folder of the code replaces no file of the user's. A file that git
/// ignores is not in the context directory `all`.
async fn check_replaces_nothing(cx: &ResolverContext, source: &ModuleSource, all: &Node, path: &str) -> Result<()> {
    let refused = |hint: &str| {
        let name = source.name();
        Err(Fault::user(format!("cannot write `{path}`: the file is there, and module `{name}` does not have it"))
            .with_hint(hint))
    };
    let inside = in_source(source, path);
    let (ops, op_cx) = ops_and_context(cx);
    let place = all.get::<Directory>()?.place.clone();
    let file = TreePath { fs: place.fs, path: place.path.join_inside(&inside) };
    if ops.stat(&op_cx, &file, true).await?.is_some() {
        return refused("move it away, or make it a part of the module");
    }
    let me = client(&cx.caller);
    match source.kind == SourceKind::Local && exists(me, &host_directory(me, source)?.join(&inside)) {
        true => refused("git ignores it: change the `.gitignore`, or move the file away"),
        false => Ok(()),
    }
}

/// `all` with the code of an SDK that is a module. `None` if the SDK generates no code.
async fn with_code_of_module(
    cx: &ResolverContext,
    modules: &Arc<Modules>,
    source: &Arc<ModuleSource>,
    all: &Node,
) -> Result<Option<WithCode>> {
    let module = Arc::new(modules.untyped(Some(&cx.evaluator), &cx.caller, source).await?);
    let Provider::Module(sdk) = &module.provider else { return Ok(None) };
    if !sdk.has(CODEGEN) {
        return Ok(None);
    }
    let caller = acting_as(&cx.caller, &module);
    let seen = match module.wants_itself() {
        true => modules.load(Some(&cx.evaluator), &cx.caller, source).await?,
        false => module.clone(),
    };
    let node = sdk_module::call(sdk, &cx.evaluator, &caller, &seen, CODEGEN, SdkArguments::default()).await?;
    let code = node.value.get::<GeneratedCode>().ok_or_else(|| wrong(sdk, CODEGEN, "`GeneratedCode!`", &node))?;
    let doing = |e: Fault| e.context(format!("evaluate what `{CODEGEN}` of the SDK `{}` gave", sdk.name));
    let all = merged(cx, all, &code.code).await.map_err(doing)?;
    Ok(Some((all, code.generated.clone(), with_env_file(code.ignored.clone()))))
}

/// `ignored` with the file of a user's own defaults, if there are other ignored paths.
fn with_env_file(mut ignored: Vec<String>) -> Vec<String> {
    if !ignored.is_empty() && !ignored.iter().any(|path| path == ENV_FILE) {
        ignored.push(ENV_FILE.to_owned());
    }
    ignored
}

/// `all` with one generated client of the module.
async fn with_client(
    cx: &ResolverContext,
    modules: &Arc<Modules>,
    source: &Arc<ModuleSource>,
    client: &GeneratedClient,
    all: Node,
) -> Result<Node> {
    let name = &client.generator;
    if rondel_sdk::is_builtin(name) {
        return Err(Fault::user(format!("the built-in SDK `{name}` generates no clients"))
            .with_hint("name a module with a function `generateClient` as `generator` in `dagger.json`"));
    }
    let generator = modules.sources.tool(&cx.caller, source, name).await?;
    let schema = modules.load_schema(Some(&cx.evaluator), &cx.caller, &generator).await?;
    let generator = sdk_module::from_schema(&schema, name, None)?;
    if !generator.has(CLIENT) {
        return Err(Fault::user(format!("the SDK `{name}` generates no clients: it has no function `{CLIENT}`")));
    }
    let module = modules.load(Some(&cx.evaluator), &cx.caller, source).await?;
    let caller = acting_as(&cx.caller, &module);
    let mut files = Vec::new();
    if generator.has(CLIENT_FILES) {
        let node = sdk_module::call(&generator, &cx.evaluator, &caller, &module, CLIENT_FILES, SdkArguments::default())
            .await?;
        files = strings(&node.value).ok_or_else(|| wrong(&generator, CLIENT_FILES, "`[String!]!`", &node))?;
    }
    let given = SdkArguments {
        introspection: Some(client_introspection(&cx.evaluator, &caller, &module).await?),
        folder: Some(client.directory.clone()),
    };
    let seen = Arc::new(module.of_source(modules.sources.reloaded(&cx.caller, source, &files).await?));
    let node = sdk_module::call(&generator, &cx.evaluator, &caller, &seen, CLIENT, given).await?;
    if node.get::<Directory>().is_err() {
        return Err(wrong(&generator, CLIENT, "`Directory!`", &node));
    }
    merged(cx, &all, &node).await
}

fn strings(value: &Value) -> Option<Vec<String>> {
    let Value::List(items) = value else { return None };
    items
        .iter()
        .map(|item| match item {
            Value::String(text) => Some(text.to_string()),
            _ => None,
        })
        .collect()
}

fn wrong(sdk: &SdkModule, function: &str, wanted: &str, came: &Node) -> Fault {
    Fault::user(format!("`{function}` of the SDK `{}` must give {wanted}, and gave `{}`", sdk.name, came.type_name()))
}

/// `all` with the files of `more` on top.
async fn merged(cx: &ResolverContext, all: &Node, more: &Node) -> Result<Node> {
    let directory = more.get::<Directory>()?;
    if let Some(error) = &directory.error {
        return Err(Fault::user(&**error));
    }
    // Generated code is evaluated here and is content from now on. Otherwise an SDK that works for
    // another module, and gets this directory, would generate it again as that module.
    let (ops, op_cx) = ops_and_context(cx);
    let made = snapshot_object(cx, "_snapshot", &ops.tree(&op_cx, &directory.place.fs).await?, None).await?;
    let made = step(cx, &made, "directory", vec![("path", text(directory.place.path.as_str()))]).await?;
    let call = made.call.clone().ok_or_else(|| Fault::bug("a directory has no call"))?;
    step(cx, all, "withDirectory", vec![("path", text("/")), ("source", Literal::Call(call))]).await
}

/// `directory` with lines appended to the file `name` of the module's source: for each path its
/// line, unless the path occurs in the file. Its other bytes stay: it may have any encoding.
async fn with_lines(
    cx: &ResolverContext,
    source: &ModuleSource,
    directory: Node,
    name: &str,
    lines: Vec<(String, String)>,
) -> Result<Node> {
    if lines.is_empty() {
        return Ok(directory);
    }
    let path = in_source(source, name);
    let (ops, op_cx) = ops_and_context(cx);
    let place = directory.get::<Directory>()?.place.clone();
    let file = TreePath { fs: place.fs, path: place.path.join_inside(&path) };
    let before = match ops.stat(&op_cx, &file, true).await? {
        Some(_) => ops.read(&op_cx, &file).await?,
        None => {
            check_replaces_nothing(cx, source, &directory, name).await?;
            Vec::new()
        }
    };
    let text = String::from_utf8_lossy(&before);
    let mut content = before.clone();
    for (_, line) in lines.iter().filter(|(path, _)| !text.contains(path)) {
        if content.last().is_some_and(|last| *last != b'\n') {
            content.push(b'\n');
        }
        content.extend_from_slice(line.as_bytes());
        content.push(b'\n');
    }
    if content == before {
        return Ok(directory);
    }
    let made = file_with_content(cx, name, content).await?;
    let made = made.call.ok_or_else(|| Fault::bug("a file has no call"))?;
    step(cx, &directory, "withFile", vec![("path", Literal::String(path.into())), ("source", Literal::Call(made))])
        .await
}

/// A path in the folder of the code, relative to the context directory.
fn in_source(source: &ModuleSource, path: &str) -> String {
    let folder = inside_context(&source.root, source.config.source_subpath()).unwrap_or_default();
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

async fn with_file(cx: &ResolverContext, directory: &Node, path: &str, contents: &str) -> Result<Node> {
    step(cx, directory, "withNewFile", vec![("path", text(path)), ("contents", text(contents))]).await
}

async fn step(cx: &ResolverContext, receiver: &Node, field: &str, args: Vec<(&str, Literal)>) -> Result<Node> {
    let args = args.into_iter().map(|(name, value)| (name.into(), value)).collect();
    cx.evaluator.internal(&cx.caller, receiver, field, args).await
}

fn text(text: &str) -> Literal {
    Literal::String(text.into())
}
