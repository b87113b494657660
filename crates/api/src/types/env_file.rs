//! `EnvFile`: variables of a `.env` file.

use std::collections::BTreeMap;

use rondel_fault::{Fault, Result};
use rondel_model::op::TreePath;
use rondel_model::{AbsPath, File, Fs, Platform, Value};
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext, client};

use crate::dotenv::Dotenv;
use crate::edit;
use crate::types::plain_objects;
use rondel_session::client::ops_and_context;
use rondel_surface::Surface;

/// The type's name.
const TYPE: &str = "EnvFile";

/// The name of the file that variables are written to.
const NAME: &str = ".env";

/// The largest env file, in bytes.
const LARGEST: usize = 1 << 20;

pub(crate) fn register(surface: &mut Surface) {
    surface.field("Query", "envFile", |_, _, _| std::future::ready(Ok(value(Dotenv::default()).into())));
    surface.field("File", "asEnvFile", of_file);
    surface.plain(TYPE, "asFile", as_file);
    surface.plain(TYPE, "exists", |file: &Dotenv, args| Ok(Value::Bool(file.raw(&args.str("name")?).is_some())));
    surface.plain(TYPE, "withVariable", |file: &Dotenv, args| {
        let mut file = file.clone();
        file.set(&args.str("name")?, &args.str("value")?)?;
        Ok(value(file))
    });
    surface.plain(TYPE, "withoutVariable", |file: &Dotenv, args| {
        let mut file = file.clone();
        file.remove(&args.str("name")?);
        Ok(value(file))
    });
    surface.field(TYPE, "get", get);
    surface.field(TYPE, "variables", variables);
    surface.field(TYPE, "namespace", namespace);
    surface.depends_on_client(TYPE, &["get", "variables", "namespace"]);
}

fn value(file: Dotenv) -> Value {
    Value::object(TYPE, file)
}

async fn of_file(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let file = node.get::<File>()?;
    let (ops, op_cx) = ops_and_context(&cx);
    let bytes = ops.read(&op_cx, &file.place).await?;
    if bytes.len() > LARGEST {
        let name = edit::file_name(file);
        return Err(Fault::user(format!("cannot read `{name}` as variables: it is larger than {LARGEST} bytes")));
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(value(Dotenv::parse(&text)?).into())
}

fn as_file(file: &Dotenv, _: &Args) -> Result<Value> {
    let path = AbsPath::new(NAME);
    let fs = edit::written(Fs::scratch(), path.clone(), file.text().as_bytes(), 0o644, None);
    let place = TreePath { fs, path };
    Ok(Value::object("File", File { place, platform: Platform::native(), name: None, asked: None }))
}

async fn get(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let (file, name) = (node.get::<Dotenv>()?, args.str("name")?);
    let found = match args.bool("raw")? {
        true => file.raw(&name),
        false => file.get(&name, &outside(&cx, file).await?)?,
    };
    Ok(Value::string(found.unwrap_or_default()).into())
}

async fn variables(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let file = node.get::<Dotenv>()?;
    let variables = match args.bool("raw")? {
        true => file.all_raw(),
        false => evaluated(&cx, file).await?,
    };
    Ok(plain_objects::pairs("EnvVariable", variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .into())
}

async fn namespace(cx: ResolverContext, node: Node, args: Args) -> Result<Outcome> {
    let file = node.get::<Dotenv>()?;
    Ok(value(file.namespace(&args.str("prefix")?, &outside(&cx, file).await?)?).into())
}

/// Every variable with its value.
///
/// # Errors
/// When one cannot be evaluated.
pub(crate) async fn evaluated(cx: &ResolverContext, file: &Dotenv) -> Result<Vec<(String, String)>> {
    file.all(&outside(cx, file).await?)
}

/// The variables of the client's own environment that the file refers to. Empty for a process in a
/// container.
async fn outside(cx: &ResolverContext, file: &Dotenv) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let Some(link) = &client(&cx.caller).link else { return Ok(found) };
    for name in file.refers_to() {
        if let Some(value) = link.variable(&name).await? {
            found.insert(name, value);
        }
    }
    Ok(found)
}
